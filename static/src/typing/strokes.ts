// What has to be pressed to type a text: pure planning, nothing is sent here and no time passes.
//
// Every key event carries both the key's place and its keysym under the layout, because it is the host who decides
// which of the two counts: QEMU passes the place on to the guest, QEMU with a keymap of its own (-k) looks the keysym
// up in that, and Xvnc finds or makes a key for the keysym.

import { tableOf } from "./layouts";
import { ALT_GR, EURO, RETURN, RIGHT_ALT, SHIFT, TAB, keysymOf } from "./keysyms";
import {
  type GuestSystem,
  type Press,
  type Table,
  deadKey,
  lettersOf,
  readTable,
  signOf,
} from "./table";

/** One argument list for noVNC's `RFB.sendKey`. */
export interface KeyEvent {
  readonly keysym: number;
  /** The key's place, as KeyboardEvent.code names it; null where the keysym alone says what is meant. */
  readonly code: string | null;
  readonly down: boolean;
}

/** All that types one character. Whatever it presses it releases, and it leaves no dead key waiting. */
export type Stroke = readonly KeyEvent[];

export interface Plan {
  /** One for each character that can be typed. */
  readonly strokes: readonly Stroke[];
  /** The characters that cannot, each once, in order of appearance. */
  readonly untypable: readonly string[];
}

export type Way =
  /** On the keys of the guest's own keyboard layout. */
  | { readonly kind: "layout"; readonly id: string; readonly system: GuestSystem }
  /** Each character as its keysym, for hosts that find the keys themselves (Xvnc). */
  | { readonly kind: "characters" }
  /**
   * On the keys of the guest's layout, each called by what it is on a US keyboard: for hosts that know no places and
   * take keysyms for keys of a US keyboard (VMware ESXi).
   */
  | { readonly kind: "us-positions"; readonly id: string; readonly system: GuestSystem };

/**
 * Plan how to type a text. The time it takes grows with its length.
 *
 * @throws RangeError where there is no such layout.
 */
export function planTyping(text: string, way: Way): Plan {
  const strokeOf = way.kind === "characters" ? characterStroke : layoutStrokes(way);
  const known = new Map<string, Stroke | null>();
  const strokes: Stroke[] = [];
  for (const character of normalised(text)) {
    let stroke = known.get(character);
    if (stroke === undefined) {
      stroke = strokeOf(character);
      known.set(character, stroke);
    }
    if (stroke !== null) {
      strokes.push(stroke);
    }
  }
  const untypable = [...known].flatMap(([character, stroke]) => (stroke === null ? [character] : []));
  return { strokes, untypable };
}

/**
 * Composed characters (NFC), one sign for each end of line, and ordinary spaces: the no-break ones look the same,
 * come along with text that is copied from pages and documents, and make shells and configuration files stumble.
 */
function normalised(text: string): string {
  return text
    .normalize("NFC")
    .replace(/\r\n?/g, "\n")
    .replace(/[\u00a0\u202f]/g, " ");
}

const RETURN_STROKE = tap({ keysym: RETURN, code: "Enter" });
const TAB_STROKE = tap({ keysym: TAB, code: "Tab" });

function characterStroke(character: string): Stroke | null {
  if (character === "\n") {
    return RETURN_STROKE;
  }
  if (character === "\t") {
    return TAB_STROKE;
  }
  // control characters and halves of surrogate pairs are no characters to type
  return /^[\p{Cc}\p{Cs}]$/u.test(character) ? null : tap({ keysym: keysymOf(character), code: null });
}

interface Key {
  readonly keysym: number;
  readonly code: string | null;
}

/** Press and release a key while others are held, from the first on. */
function tap(key: Key, held: readonly Key[] = []): Stroke {
  const keys = [...held, key];
  return [...keys.map((each) => ({ ...each, down: true })), ...keys.reverse().map((each) => ({ ...each, down: false }))];
}

/** How each character is typed on a layout. */
function layoutStrokes({ kind, id, system }: Exclude<Way, { kind: "characters" }>): (character: string) => Stroke | null {
  const table = tableOf(id);
  const strokeOf = kind === "us-positions" ? usStroke() : strokeOn(table);
  const typed = new Map<string, Stroke>([
    ["\n", RETURN_STROKE],
    ["\t", TAB_STROKE],
    [" ", tap({ keysym: 0x20, code: "Space" })],
  ]);
  const composed = new Map<string, Stroke>();
  const offer = (to: Map<string, Stroke>, character: string, offered: Stroke): void => {
    if (!to.has(character)) {
      to.set(character, offered);
    }
  };

  const presses = readTable(table, system).flatMap((press) => {
    const made = strokeOf(press);
    return made === null ? [] : [{ press, made }];
  });
  for (const { press, made } of presses) {
    if (deadKey(press) === null) {
      offer(typed, press.gives, made);
    }
  }
  for (const { press, made } of presses) {
    const dead = deadKey(press);
    for (const letter of dead === null ? "" : lettersOf(press, table, system)) {
      const base = typed.get(letter);
      if (base !== undefined) {
        offer(composed, (letter + dead!.mark).normalize("NFC"), [...made, ...base]);
      }
    }
    if (dead !== null && dead.alone !== null) {
      offer(composed, dead.alone, [...made, ...typed.get(" ")!]);
    }
  }
  return (character) => typed.get(character) ?? composed.get(character) ?? null;
}

const SHIFT_KEY: Key = { keysym: SHIFT, code: "ShiftLeft" };

function held(press: Press, altGr: number): Key[] {
  return [...(press.shift ? [SHIFT_KEY] : []), ...(press.altGr ? [{ keysym: altGr, code: "AltRight" }] : [])];
}

/**
 * Names keys as QEMU's keymaps (-k) know them. With AltGr, which is held anyhow, dead keys and signs beyond Latin-1
 * are often not in there, or on other keys than today: such a key is called by what it gives without. So is one that
 * gives a letter which QEMU, not minding the case of A to Z, would look for on another key (Turkish I).
 */
function strokeOn(table: Table): (press: Press) => Stroke {
  const ownName = (press: Press): number => {
    const dead = table.undead === true ? null : deadKey(press);
    return dead === null ? keysymOf(signOf(press)) : dead.keysym;
  };
  const presses = readTable(table, "other"); // the keymaps are made of XKB's layouts
  const isElsewhere = (press: Press, name: number, altGr: boolean): boolean =>
    presses.some((other) => other.altGr === altGr && other.code !== press.code && ownName(other) === name);

  const nameOf = (press: Press): number => {
    const own = ownName(press);
    const known = deadKey(press) === null && (own <= 0xff || own === EURO);
    if (press.altGr ? known : !(/^[A-Z]$/.test(press.gives) && isElsewhere(press, own + 0x20, false))) {
      return own;
    }
    const shift = press.altGr && press.shift;
    const plain = presses.find((other) => other.code === press.code && !other.altGr && other.shift === shift);
    // of several keys with the same name QEMU takes the one that is so called with AltGr
    return plain === undefined || isElsewhere(press, ownName(plain), true) ? own : ownName(plain);
  };
  return (press) => tap({ keysym: nameOf(press), code: press.code }, held(press, ALT_GR));
}

/** Names keys by what they are on a US keyboard; null for those that it does not have. */
function usStroke(): (press: Press) => Stroke | null {
  const place = (press: Press): string => `${press.code} ${press.shift}`;
  const signs = new Map(readTable(tableOf("us"), "other").map((press) => [place(press), press.gives]));
  return (press) => {
    const sign = signs.get(place(press));
    return sign === undefined ? null : tap({ keysym: keysymOf(sign), code: press.code }, held(press, RIGHT_ALT));
  };
}
