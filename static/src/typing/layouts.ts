// The keyboard layouts that a text can be typed on, and which of them a platform means.

import { EASTERN } from "./layouts/eastern";
import { ENGLISH } from "./layouts/english";
import { IBERIAN } from "./layouts/iberian";
import { NORTHERN } from "./layouts/northern";
import { WESTERN } from "./layouts/western";
import type { Table } from "./table";

export type { GuestSystem } from "./table";

export interface LayoutInfo {
  readonly id: string;
  /** In English. */
  readonly name: string;
}

const TABLES: readonly Table[] = [...ENGLISH, ...WESTERN, ...IBERIAN, ...NORTHERN, ...EASTERN];

export const LAYOUTS: readonly LayoutInfo[] = TABLES.map(({ id, name }) => ({ id, name }));

/**
 * The layout with this id.
 *
 * @throws RangeError where there is none.
 */
export function tableOf(id: string): Table {
  const found = TABLES.find((table) => table.id === id);
  if (found === undefined) {
    throw new RangeError(`no such keyboard layout: ${id}`);
  }
  return found;
}

/**
 * What QEMU (pc-bios/keymaps), CloudStack (the VM detail "keyboard") and browsers call layouts, where that is not
 * the layout's own id. A language that is here stands for all its countries that are not.
 */
const LOCALES: Readonly<Record<string, string>> = {
  "en": "us", "en-gb": "gb", "en-ie": "gb", "uk": "gb",
  "de-ch": "ch-de", "de-li": "ch-de", "ch": "ch-de", "sg": "ch-de",
  "fr-be": "be", "nl-be": "be", "fr-ch": "ch-fr", "it-ch": "ch-fr", "sf": "ch-fr", "fr-ca": "ca-fr",
  "es-latam": "latam", "la": "latam", "es-419": "latam", "es-ar": "latam", "es-bo": "latam", "es-cl": "latam",
  "es-co": "latam", "es-cr": "latam", "es-do": "latam", "es-ec": "latam", "es-gt": "latam", "es-hn": "latam",
  "es-mx": "latam", "es-ni": "latam", "es-pa": "latam", "es-pe": "latam", "es-pr": "latam", "es-py": "latam",
  "es-sv": "latam", "es-us": "latam", "es-uy": "latam", "es-ve": "latam",
  "pt-br": "br", "da": "dk", "nb": "no", "nn": "no", "sv": "se-fi", "se": "se-fi", "fi": "se-fi",
  "cs": "cz", "ja": "jp",
};

/** The layout for a platform's locale or keymap ("de", "de_CH.UTF-8", "fr-be", "uk"); null where it is none of these. */
export function layoutFor(locale: string): string | null {
  const name = locale.trim().toLowerCase().replace(/[.@].*$/, "").replaceAll("_", "-");
  const language = name.replace(/-.*$/, "");
  for (const candidate of [name, language]) {
    if (Object.hasOwn(LOCALES, candidate)) {
      return LOCALES[candidate]!;
    }
    if (TABLES.some((table) => table.id === candidate)) {
      return candidate;
    }
  }
  return null;
}
