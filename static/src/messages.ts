// What a person is told: the proxy's own catalogue, and the few sentences only the page can need.

import catalogue from "../../trio_cpvm/messages/en.json";
import pageCatalogue from "./page-messages.json";

export interface Message {
  readonly slug: string;
  readonly text: string;
  /** What else was said: the words of the machine's host, where there are any. */
  readonly more?: string;
  readonly advice: string;
}

type Catalogue = Readonly<Record<string, { readonly text: string; readonly advice: string }>>;

const MESSAGES: Catalogue = { ...pageCatalogue, ...catalogue };

/**
 * The ends after which opening the same console again, unchanged, may help. After a refused password or a
 * certificate that does not fit it cannot, and the host may shut the proxy out for trying.
 */
const WORTH_A_RETRY: ReadonlySet<string> = new Set([
  "proxy-unreachable",
  "websocket-blocked",
  "connection-lost",
  "screen-failed",
  "request-timeout",
  "too-many-sessions",
  "draining",
  "upstream-unreachable",
  "upstream-timeout",
  "client-timeout",
  "idle-timeout",
  "replaced",
  "closed-by-guest",
  "closed-by-user",
  "internal-error",
]);

export function worthRetry(slug: string): boolean {
  return WORTH_A_RETRY.has(slug);
}

/** The catalogue's message for a slug. */
export function message(slug: keyof typeof catalogue | keyof typeof pageCatalogue): Message {
  return { slug, ...MESSAGES[slug]! };
}

/** Lay the proxy's words beside the catalogue's sentence: they may be cut off, go on after it, or be others. */
function told(slug: string, words: string): Message {
  const known = MESSAGES[slug]!;
  const cutOff = words.endsWith("…") && known.text.startsWith(words.slice(0, -1));
  if (words === "" || cutOff) {
    return { slug, ...known };
  }
  if (words.startsWith(known.text)) {
    return { slug, ...known, more: words.slice(known.text.length).trim() };
  }
  return { slug, text: words, advice: known.advice };
}

/**
 * Read the proxy's words: "slug: sentence", or a sentence of the catalogue with or without more after it.
 * `null` where they are neither.
 */
export function parseReason(words: string): Message | null {
  const [, slug, sentence = ""] = /^([a-z][a-z-]*)(?:: *(.*))?$/s.exec(words) ?? [];
  if (slug !== undefined && Object.hasOwn(MESSAGES, slug)) {
    return told(slug, sentence);
  }
  const spoken = Object.keys(MESSAGES).find((candidate) => words.startsWith(MESSAGES[candidate]!.text));
  return spoken === undefined ? null : told(spoken, words);
}
