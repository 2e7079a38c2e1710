// Keys by what they are on a US keyboard, for hosts that read keysyms so, whatever is printed on the user's own keys
// (VMware ESXi): the guest then sees the key in its place, and its own layout decides.

import { keysymOf } from "./typing/keysyms";
import { tableOf } from "./typing/layouts";
import { readTable } from "./typing/table";

const SIGNS = new Map(readTable(tableOf("us"), "other").map(({ code, shift, gives }) => [`${code} ${shift}`, gives]));

/** The keysym of a place on a US keyboard; `null` for places where it has no character. */
export function usMeaning(code: string | null, shift: boolean): number | null {
  const sign = SIGNS.get(`${code} ${shift}`);
  return sign === undefined ? null : keysymOf(sign);
}
