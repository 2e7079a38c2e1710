// How a keyboard layout is written down, and how that is read. Which layouts there are is not known here.
//
// A key is written as the signs it gives, in this order: alone, with Shift, with AltGr, with both. `␀` stands for no
// sign, and `◌` makes a dead key of the sign that follows it: `◌^°` is a dead circumflex that gives ° with Shift.

/** The guest's operating system: Windows, or anything that has its layouts from X.Org (XKB), Linux' console too. */
export type GuestSystem = "windows" | "other";

export interface Table {
  readonly id: string;
  /** In English. */
  readonly name: string;
  /** What every key gives alone and with Shift, in four lines: see `CODES`. A line may end early. */
  readonly keys: string;
  /** Where Windows differs from `keys`: the sign a key gives alone, then the one it gives with Shift. */
  readonly windowsShift?: string;
  /** With AltGr on Windows: the sign a key gives alone, then the one with AltGr, then the one with Shift and AltGr. */
  readonly windows?: string;
  /** Likewise on other systems; where `latin` is true, this is laid over `LATIN`. */
  readonly other?: string;
  readonly latin?: boolean;
  /**
   * QEMU's keymap of this layout (-k) is made of XKB's variant without dead keys, so that it has these keys under
   * the names of the signs alone.
   */
  readonly undead?: boolean;
  /** What Windows' dead keys make of letters, where that is not `COMPOSED`: a dead key's sign, then the letters. */
  readonly windowsComposed?: string;
}

/** The keys' places, as KeyboardEvent.code names them, in the lines of `Table.keys`. */
const CODES: readonly (readonly string[])[] = [
  [
    ...["Backquote", "Digit1", "Digit2", "Digit3", "Digit4", "Digit5", "Digit6", "Digit7", "Digit8", "Digit9"],
    ...["Digit0", "Minus", "Equal", "IntlYen"],
  ],
  [..."QWERTYUIOP"].map((letter) => `Key${letter}`).concat("BracketLeft", "BracketRight"),
  [..."ASDFGHJKL"].map((letter) => `Key${letter}`).concat("Semicolon", "Quote", "Backslash"),
  ["IntlBackslash", ...[..."ZXCVBNM"].map((letter) => `Key${letter}`), "Comma", "Period", "Slash", "IntlRo"],
];

/** What AltGr gives on most of XKB's layouts (symbols/latin), less what changed between its releases. */
const LATIN = `
¬¬ ¹¡ ²⅛ ³£ ¼$ ½⅜ ¬⅝ {⅞ [™ ]± }° \\¿ ◌¸
@Ω ␀ €¢ ¶® ŧŦ ←¥ ↓↑ →ı øØ þÞ ◌¨ ␀
æÆ ß ðÐ đª ŋŊ ħĦ ␀ ĸ& łŁ ◌´ ◌^ ◌\`
|¦ «< »> ¢© „‚ “‘ ”’ µº •× ·÷ ␀`;

/** A key with what has to be held for one of its signs. */
export interface Press {
  readonly code: string;
  readonly shift: boolean;
  readonly altGr: boolean;
  /** What it gives: a sign, or `◌` and a dead key's sign. */
  readonly gives: string;
}

const NOTHING = "␀";
const DEAD = "◌";

/** Everything the keys of a layout give on a system, the simplest way to press a key first. */
export function readTable(table: Table, system: GuestSystem): Press[] {
  const keys = new Map<string, string[]>();
  const codeOf = new Map<string, string>();
  for (const [code, signs] of placed(table.keys)) {
    keys.set(code, signs);
    if (!codeOf.has(signs[0]!)) {
      codeOf.set(signs[0]!, code);
    }
  }
  const overlay = (entries: string | undefined, first: number): void => {
    for (const [plain, ...signs] of words(entries).map(signsOf)) {
      const key = keys.get(codeOf.get(plain!)!)!;
      key.splice(first, key.length, ...Array.from({ length: first - key.length }, () => NOTHING), ...signs);
    }
  };
  if (system === "windows") {
    overlay(table.windowsShift, 1);
    overlay(table.windows, 2);
  } else {
    for (const [code, signs] of table.latin ? placed(LATIN) : []) {
      const key = keys.get(code)!;
      keys.set(code, [key[0]!, key[1] ?? NOTHING, ...signs]);
    }
    overlay(table.other, 2);
  }
  const presses: Press[] = [];
  for (let level = 0; level < 4; level += 1) {
    for (const [code, signs] of keys) {
      const gives = signs[level] ?? NOTHING;
      if (gives !== NOTHING) {
        presses.push({ code, shift: level % 2 === 1, altGr: level >= 2, gives });
      }
    }
  }
  return presses;
}

function placed(lines: string): [string, string[]][] {
  const rows = lines.trim().split("\n");
  return rows.flatMap((row, at) =>
    words(row).map((word, column): [string, string[]] => [CODES[at]![column]!, signsOf(word)]),
  );
}

function words(text: string | undefined): string[] {
  return text === undefined || text === "" ? [] : text.trim().split(" ");
}

function signsOf(word: string): string[] {
  return word.match(/◌?./gsu) ?? [];
}

/** A dead key: what it puts on the letter that follows. */
export interface DeadKey {
  readonly keysym: number;
  /** The combining character that stands for it in decomposed text (Unicode, NFD). */
  readonly mark: string;
  /** What it gives with the space bar, on every system; null where that differs. */
  readonly alone: string | null;
  /** The letters it makes one character with: in X.Org's compose table, Linux' console and Windows alike. */
  readonly letters: string;
}

/** Dead keys by their signs. `'` and `"` are acute and diaeresis on keys that are labelled so, and give that alone. */
export const DEAD_KEYS: Readonly<Record<string, DeadKey>> = {
  "`": { keysym: 0xfe50, mark: "\u0300", alone: "`", letters: "aeiouAEIOU" },
  "´": { keysym: 0xfe51, mark: "\u0301", alone: null, letters: "aeiouyAEIOUY" },
  "'": { keysym: 0xfe51, mark: "\u0301", alone: "'", letters: "aeiouyAEIOUY" },
  "^": { keysym: 0xfe52, mark: "\u0302", alone: "^", letters: "aeiouAEIOU" },
  "~": { keysym: 0xfe53, mark: "\u0303", alone: "~", letters: "anoANO" },
  "˘": { keysym: 0xfe55, mark: "\u0306", alone: null, letters: "" },
  "˙": { keysym: 0xfe56, mark: "\u0307", alone: null, letters: "" },
  "¨": { keysym: 0xfe57, mark: "\u0308", alone: null, letters: "aeiouyAEIOU" },
  '"': { keysym: 0xfe57, mark: "\u0308", alone: '"', letters: "aeiouyAEIOU" },
  "°": { keysym: 0xfe58, mark: "\u030a", alone: null, letters: "" },
  "˝": { keysym: 0xfe59, mark: "\u030b", alone: null, letters: "" },
  "ˇ": { keysym: 0xfe5a, mark: "\u030c", alone: null, letters: "" },
  "¸": { keysym: 0xfe5b, mark: "\u0327", alone: null, letters: "cC" },
  "˛": { keysym: 0xfe5c, mark: "\u0328", alone: null, letters: "" },
};

/** The sign that a press gives, be it a character or what a dead key is called by. */
export function signOf(press: Press): string {
  return press.gives.replace(/^◌(?=.)/u, "");
}

/** The dead key that a press gives; null where it gives a character. */
export function deadKey(press: Press): DeadKey | null {
  return press.gives.startsWith(DEAD) && press.gives !== DEAD ? DEAD_KEYS[signOf(press)]! : null;
}

/** The letters that a dead key makes one character with, on a system. */
export function lettersOf(press: Press, table: Table, system: GuestSystem): string {
  const sign = signOf(press);
  const own = system === "windows" ? words(table.windowsComposed).find((word) => word.startsWith(sign)) : undefined;
  return own === undefined ? (deadKey(press)?.letters ?? "") : own.slice(sign.length);
}
