// The X keysyms of characters and of the few other keys that typing a text takes.
//
// A host that has a keymap of its own (QEMU with -k) looks keys up by the names a real keyboard's keys have, so a
// character that has a name from the time before Unicode is given that one, as noVNC does for real keys.
// Source: X Window System Protocol, appendix A (keysym encoding), and X11/keysymdef.h.

export const RETURN = 0xff0d;
export const TAB = 0xff09;
export const SHIFT = 0xffe1; // Shift_L
export const ALT_GR = 0xfe03; // ISO_Level3_Shift
export const EURO = 0x20ac; // EuroSign
export const RIGHT_ALT = 0xffea; // Alt_R

/** The keysyms 0x1a1 to 0x1ff: ISO 8859-2's letters at their places in it. A dot: the same as in Latin-1. */
const LATIN_2 =
  ".Ą˘Ł.ĽŚ..ŠŞŤŹ.ŽŻ.ą˛ł.ľśˇ.šşťź˝žż" + "Ŕ..Ă.ĹĆ.Č.Ę.Ě..Ď" + "ĐŃŇ..Ő..ŘŮ.Ű..Ţ." + "ŕ..ă.ĺć.č.ę.ě..ď" + "đńň..ő..řů.ű..ţ˙";

/** Other characters with a name of their own, each with its keysym in hexadecimal. */
const OTHERS =
  "Ħ2a1 İ2a9 Ğ2ab ħ2b1 ı2b9 ğ2bb ĸ3a2 Ŧ3ac ŧ3bc Ŋ3bd ŋ3bf Œ13bc œ13bd Ÿ13be ¯af €20ac Ω7d9 π7f0 Π7d0 " +
  "–aaa —aa9 …aae ‘ad0 ’ad1 “ad2 ”ad3 ‚afd „afe ™ac9 ⅛ac3 ⅜ac4 ⅝ac5 ⅞ac6 " +
  "←8fb ↑8fc →8fd ↓8fe ≤8bc ≠8bd ≥8be ∞8c2 ∧8de ∨8df";

const NAMED: ReadonlyMap<string, number> = new Map([
  ...[...LATIN_2].map((character, at): [string, number] => [character, 0x1a0 + at]),
  ...OTHERS.split(" ").map((entry): [string, number] => [entry[0]!, Number.parseInt(entry.slice(1), 16)]),
  [".", 0x2e],
]);

/** The keysym of a printable character (one code point). */
export function keysymOf(character: string): number {
  const codePoint = character.codePointAt(0)!;
  const latin1 = (codePoint >= 0x20 && codePoint <= 0x7e) || (codePoint >= 0xa0 && codePoint <= 0xff);
  return latin1 ? codePoint : (NAMED.get(character) ?? 0x0100_0000 + codePoint);
}
