// The keys that a browser or a phone keeps for itself: combinations, single keys, and modifiers that stay down.

import type { Hands } from "./hands";
import { element, focusScreen } from "./view";

/** A key as `RFB.sendKey` takes it: keysym (X11 keysymdef.h) and the name of its place on the keyboard. */
export interface Key {
  readonly label: string;
  readonly keysym: number;
  readonly code: string;
}

const key = (label: string, keysym: number, code: string): Key => ({ label, keysym, code });

const CTRL = key("Ctrl", 0xffe3, "ControlLeft");
const ALT = key("Alt", 0xffe9, "AltLeft");
const SHIFT = key("Shift", 0xffe1, "ShiftLeft");
const ALT_GR = key("AltGr", 0xfe03, "AltRight");
const SUPER = key("Super", 0xffeb, "MetaLeft");
const TAB = key("Tab", 0xff09, "Tab");
const ESCAPE = key("Esc", 0xff1b, "Escape");
const DELETE = key("Del", 0xffff, "Delete");
const BACKSPACE = key("Bksp", 0xff08, "Backspace");
const PRINT = key("PrtSc", 0xff61, "PrintScreen");
const FUNCTION_KEYS = Array.from({ length: 12 }, (_, i) => key(`F${i + 1}`, 0xffbe + i, `F${i + 1}`));
const F4 = FUNCTION_KEYS[3]!;

const MODIFIERS: readonly Key[] = [CTRL, ALT, SHIFT, ALT_GR, SUPER];

const SINGLE_KEYS: readonly Key[] = [
  TAB,
  ESCAPE,
  SUPER,
  key("Menu", 0xff67, "ContextMenu"),
  DELETE,
  BACKSPACE,
  key("Enter", 0xff0d, "Enter"),
  key("Ins", 0xff63, "Insert"),
  key("Home", 0xff50, "Home"),
  key("End", 0xff57, "End"),
  key("PgUp", 0xff55, "PageUp"),
  key("PgDn", 0xff56, "PageDown"),
  key("←", 0xff51, "ArrowLeft"),
  key("↑", 0xff52, "ArrowUp"),
  key("↓", 0xff54, "ArrowDown"),
  key("→", 0xff53, "ArrowRight"),
  PRINT,
  key("Pause", 0xff13, "Pause"),
  ...FUNCTION_KEYS,
];

const COMBINATIONS: readonly (readonly Key[])[] = [
  [CTRL, ALT, DELETE],
  [CTRL, ALT, BACKSPACE],
  [CTRL, SHIFT, ESCAPE],
  [ALT, TAB],
  [ALT, F4],
  [CTRL, ESCAPE],
  [ALT, PRINT],
  [SUPER, key("L", 0x6c, "KeyL")],
  [SUPER, key("R", 0x72, "KeyR")],
];

/** The panel of keys. */
export class KeyPanel {
  #hands: Hands | null = null;
  readonly #held = new Map<Key, HTMLButtonElement>();

  constructor() {
    for (const modifier of MODIFIERS) {
      const button = addButton("#modifiers", modifier.label, () => this.#toggle(modifier, button));
      button.setAttribute("aria-pressed", "false");
    }
    for (const single of SINGLE_KEYS) {
      addButton("#single-keys", single.label, () => this.press([single]));
    }
    for (const combination of COMBINATIONS) {
      addButton("#combinations", combination.map(({ label }) => label).join("-"), () => this.press(combination));
    }
    for (const functionKey of FUNCTION_KEYS) {
      const button = addButton("#function-keys", functionKey.label, () => this.press([CTRL, ALT, functionKey]));
      button.setAttribute("aria-label", `Ctrl-Alt-${functionKey.label}`);
    }
    element("#ctrl-alt-del", HTMLButtonElement).addEventListener("click", () => {
      this.press([CTRL, ALT, DELETE]);
      focusScreen();
    });
  }

  attach(hands: Hands): void {
    this.#hands = hands;
    this.enable(true);
  }

  /** Nothing can be pressed while a text is typed: it would end up inside it. */
  enable(enabled: boolean): void {
    const buttons = document.querySelectorAll<HTMLButtonElement>("#keys .grid button, #ctrl-alt-del");
    for (const button of buttons) {
      button.disabled = !enabled;
    }
  }

  /** The machine is gone, and with it what it was holding. */
  detach(): void {
    this.#hands = null;
    for (const button of this.#held.values()) {
      button.setAttribute("aria-pressed", "false");
    }
    this.#held.clear();
  }

  /** Press these one after the other and let go of them in reverse, as hands do; what is held stays so. */
  press(keys: readonly Key[]): void {
    const more = keys.filter((wanted) => !this.#held.has(wanted));
    for (const { keysym, code } of more) {
      this.#hands?.send(keysym, code, true);
    }
    for (const { keysym, code } of more.reverse()) {
      this.#hands?.send(keysym, code, false);
    }
  }

  /** Let go of everything that is held: what comes next brings its own modifiers. */
  release(): void {
    for (const [held, button] of [...this.#held]) {
      this.#toggle(held, button);
    }
  }

  #toggle(modifier: Key, button: HTMLButtonElement): void {
    const down = !this.#held.delete(modifier);
    if (down) {
      this.#held.set(modifier, button);
      this.#hands?.held.add(modifier.code);
    } else {
      this.#hands?.held.delete(modifier.code);
    }
    button.setAttribute("aria-pressed", String(down));
    this.#hands?.send(modifier.keysym, modifier.code, down);
  }
}

function addButton(group: string, label: string, act: () => void): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", act);
  element(group, HTMLElement).append(button);
  return button;
}
