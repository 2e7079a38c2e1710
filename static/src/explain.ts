// From the way a try ended to the message that is shown.

import { message, parseReason, type Message } from "./messages";
import type { SessionEnd } from "./session";

const NORMAL_CLOSURE = 1000;
const INTERNAL_ERROR = 1011;

/** The message for a try whose socket was open; one that never opened is the status answer's to explain. */
export function explain(end: SessionEnd): Message {
  const closed = parseReason(end.reason);
  const refused = parseReason(end.refusal);
  if (closed !== null) {
    // Both say the same; the close reason has room for 123 bytes only, the VNC protocol's has more.
    return refused?.slug === closed.slug ? refused : closed;
  }
  if (refused !== null) {
    return refused;
  }
  if (end.refusal !== "") {
    return { ...message("upstream-protocol"), more: end.refusal };
  }
  if (end.brokenHere) {
    return message("screen-failed");
  }
  switch (end.code) {
    case NORMAL_CLOSURE:
      return message("closed-by-guest");
    case INTERNAL_ERROR:
      return message("internal-error");
    default:
      return message("connection-lost");
  }
}
