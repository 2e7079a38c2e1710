// What the proxy says about a token. A page is never told why its WebSocket was refused, so it asks here.

import { statusAddress, type Link } from "./link";
import { known, message, worthRetry, type Message } from "./messages";

export interface Status {
  /** Why it would not; `null` where it would. */
  readonly refusal: Message | null;
  /** Asking again later may bring another answer. */
  readonly retryable: boolean;
}

const PATIENCE_MS = 10_000;

const UNREACHABLE: Status = { refusal: message("proxy-unreachable"), retryable: true };

export async function askStatus(link: Link): Promise<Status> {
  try {
    const response = await fetch(statusAddress(link), {
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    return readStatus(await response.json());
  } catch {
    return UNREACHABLE; // no answer, or one that is not the proxy's
  }
}

function readStatus(answer: unknown): Status {
  if (typeof answer !== "object" || answer === null || !("usable" in answer)) {
    return UNREACHABLE;
  }
  if (answer.usable === true) {
    return { refusal: null, retryable: true };
  }
  const { slug, text, advice, retryable } = answer as Record<string, unknown>;
  if (typeof slug !== "string" || typeof text !== "string" || typeof advice !== "string") {
    return UNREACHABLE;
  }
  const again = typeof retryable === "boolean" ? retryable : worthRetry(slug);
  return { refusal: known(slug) ?? { slug, text, advice }, retryable: again };
}
