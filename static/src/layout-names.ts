// What a keyboard layout is called in the page's language: browsers know the names of languages and countries.

import type { LayoutInfo } from "./typing/layouts";

/** The languages whose keyboard a layout is. A layout that is not here keeps its English name. */
const SPOKEN: Readonly<Record<string, readonly string[]>> = {
  "us": ["en-US"], "gb": ["en-GB"], "de": ["de"], "ch-de": ["de-CH"], "ch-fr": ["fr-CH"], "fr": ["fr"],
  "be": ["nl-BE", "fr-BE"], "ca-fr": ["fr-CA"], "nl": ["nl"], "it": ["it"], "es": ["es-ES"], "latam": ["es-419"],
  "pt": ["pt-PT"], "br": ["pt-BR"], "dk": ["da"], "no": ["nb"], "se-fi": ["sv", "fi"], "is": ["is"], "pl": ["pl"],
  "cz": ["cs"], "hu": ["hu"], "tr": ["tr"], "jp": ["ja"],
};

export function layoutName({ id, name }: LayoutInfo): string {
  const language = document.documentElement.lang;
  const spoken = SPOKEN[id];
  if (language === "en" || spoken === undefined) {
    return name;
  }
  try {
    const names = new Intl.DisplayNames(language, { type: "language" });
    return spoken.map((tag) => names.of(tag) ?? tag).join(", ");
  } catch {
    return name;
  }
}
