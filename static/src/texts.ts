// The page's words. English is part of the page; another language comes as a file of its own, which the proxy picks
// and which runs before this one (build.mjs makes it out of texts/, page-messages/ and the proxy's own messages/).

import english from "./texts/en.json";

export type TextKey = keyof typeof english;

export type Reasons = Readonly<Record<string, { readonly text: string; readonly advice: string }>>;

/** What a language's file leaves behind. */
interface LanguageFile {
  readonly texts: Readonly<Record<string, string>>;
  readonly reasons: Reasons;
}

declare global {
  var consoleLanguage: LanguageFile | undefined;
}

const other = globalThis.consoleLanguage;

/** The reasons in the page's language, where that is not English. */
export const translatedReasons: Reasons = other?.reasons ?? {};

/** A text, with `{name}` replaced by what `values` has under that name. */
export function t(key: TextKey, values: Readonly<Record<string, string | number>> = {}): string {
  const text = other?.texts[key] ?? english[key];
  return text.replace(/\{([a-z]+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A number as the page's language writes it, with so many digits behind the point. */
export function number(value: number, digits = 0): string {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString(document.documentElement.lang, options);
}
