// What a person is told: the proxy's own catalogue, and the few sentences only the page can need.

import catalogue from "../../trio_cpvm/messages/en.json";
import pageCatalogue from "./page-messages.json";
import { t, translatedReasons, type Reasons } from "./texts";

export interface Message {
  readonly slug: string;
  readonly text: string;
  /** What else was said: the words of the machine's host, or by whom a viewer was replaced, where that was told. */
  readonly more?: string;
  readonly advice: string;
}

/** What the proxy says is in English, so that is what its words are compared with. */
const ENGLISH: Reasons = { ...pageCatalogue, ...catalogue };
const MESSAGES: Reasons = { ...ENGLISH, ...translatedReasons };

/** The ends after which the page tries again by itself: nobody decided them, and they may pass. */
const PASSING: ReadonlySet<string> = new Set([
  "proxy-unreachable",
  "websocket-blocked",
  "connection-lost",
  "request-timeout",
  "too-many-sessions",
  "draining",
  "upstream-unreachable",
  "upstream-timeout",
  "client-timeout",
  "closed-by-guest",
  "internal-error",
]);

export function passes(slug: string): boolean {
  return PASSING.has(slug);
}

/**
 * The ends after which opening the same console again, unchanged, may help. After a refused password or a
 * certificate that does not fit it cannot, and the host may shut the proxy out for trying.
 */
const WORTH_A_RETRY: ReadonlySet<string> = new Set([
  ...PASSING,
  "screen-failed",
  "idle-timeout",
  "replaced",
  "closed-by-user",
]);

export function worthRetry(slug: string): boolean {
  return WORTH_A_RETRY.has(slug);
}

/** The catalogue's message for a slug. */
export function message(slug: keyof typeof catalogue | keyof typeof pageCatalogue): Message {
  return { slug, ...MESSAGES[slug]! };
}

/** Likewise, for a slug of the proxy's; `null` where this page does not know it. */
export function known(slug: string): Message | null {
  return Object.hasOwn(MESSAGES, slug) ? { slug, ...MESSAGES[slug]! } : null;
}

/** What the proxy says after its sentence: a user's name is given in the reader's language. */
function moreOf(slug: string, words: string): string {
  const [, name] = (slug === "replaced" && /^By: (.*)$/s.exec(words)) || [];
  return name === undefined ? words : t("by-user", { name });
}

/** Lay the proxy's words beside the catalogue's sentence: they may be cut off, go on after it, or be others. */
function told(slug: string, words: string): Message {
  const { text } = ENGLISH[slug]!;
  const known = MESSAGES[slug]!;
  const cutOff = words.endsWith("…") && text.startsWith(words.slice(0, -1));
  if (words === "" || cutOff) {
    return { slug, ...known };
  }
  if (words.startsWith(text)) {
    return { slug, ...known, more: moreOf(slug, words.slice(text.length).trim()) };
  }
  return { slug, text: words, advice: known.advice };
}

/**
 * Read the proxy's words: "slug: sentence", or a sentence of the catalogue with or without more after it.
 * `null` where they are neither.
 */
export function parseReason(words: string): Message | null {
  const [, slug, sentence = ""] = /^([a-z][a-z-]*)(?:: *(.*))?$/s.exec(words) ?? [];
  if (slug !== undefined && Object.hasOwn(ENGLISH, slug)) {
    return told(slug, sentence);
  }
  const spoken = Object.keys(ENGLISH).find((candidate) => words.startsWith(ENGLISH[candidate]!.text));
  return spoken === undefined ? null : told(spoken, words);
}
