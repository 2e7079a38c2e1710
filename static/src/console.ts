// The console page: reads the link, opens the console, and says at each time what is going on.

import { explain } from "./explain";
import { hideLink, readLink, socketAddress } from "./link";
import { message, worthRetry, type Message } from "./messages";
import { Scale } from "./scale";
import { openSession, type SessionEnd } from "./session";
import { askStatus } from "./status";
import { Toolbar } from "./toolbar";
import { element, offerRetry, showConnected, showConnecting, showEnd, showName } from "./view";

const link = readLink(location.search);
hideLink();

const target = element("#screen", HTMLElement);
const scale = new Scale(target);
const toolbar = new Toolbar(target, scale);

const FOR_PROXY = "Waiting for the console proxy …";
const FOR_HOST = "Waiting for the machine's host …";

function openConsole(): void {
  showConnecting(FOR_PROXY);
  const rfb = openSession(target, socketAddress(link), {
    opened: () => showConnecting(FOR_HOST),
    connected: () => {
      if (rfb !== null) {
        scale.attach(rfb);
        toolbar.attach(rfb);
        showConnected();
        rfb.focus();
      }
    },
    named: showName,
    ended: (end) => {
      scale.detach();
      toolbar.detach();
      void sayWhy(end);
    },
  });
  if (rfb !== null) {
    rfb.showDotCursor = link.showDot;
    rfb.background = "var(--desk)";
  }
}

/** Say why it ended, and offer another try where one can help and the token still allows it. */
async function sayWhy(end: SessionEnd): Promise<void> {
  if (!end.opened && !end.brokenHere) {
    const status = await askStatus(link);
    finish(status.refusal ?? message("websocket-blocked"), status.retryable);
    return;
  }
  const why = explain(end);
  finish(why, false);
  if (worthRetry(why.slug) && (await askStatus(link)).retryable) {
    offerRetry(retry);
  }
}

function finish(why: Message, mayRetry: boolean): void {
  showEnd(why);
  if (mayRetry) {
    offerRetry(retry);
  }
}

/** Open the same token again; where the proxy would refuse it, say so instead. */
async function retry(): Promise<void> {
  showConnecting(FOR_PROXY);
  const status = await askStatus(link);
  if (status.refusal === null) {
    openConsole();
  } else {
    finish(status.refusal, status.retryable);
  }
}

if (link.token === "") {
  finish(message("token-missing"), false);
} else {
  openConsole();
}
