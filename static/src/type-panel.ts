// Typing a text into the machine, for guests without a clipboard: which keyboard the guest has, what it cannot type,
// and how far the typing is. What keys a text takes is the business of typing/.

import type RFB from "@novnc/novnc";

import type { ClipboardPanel } from "./clipboard";
import type { Hands, Translate } from "./hands";
import type { KeyPanel } from "./keys";
import { layoutName } from "./layout-names";
import type { Link } from "./link";
import type { News } from "./notices";
import { takesPlaces } from "./novnc-inside";
import { remember, remembered } from "./preferences";
import { number, t } from "./texts";
import type { TouchListener } from "./touch";
import { layoutFor, LAYOUTS, type GuestSystem } from "./typing/layouts";
import { planTyping, type Plan, type Way } from "./typing/strokes";
import { Typist } from "./typing/typist";
import { usMeaning } from "./us-keys";
import { announce, catchFocus, element, focusScreen } from "./view";

/** The choice of no layout: each character's own keysym, for hosts that find the keys themselves. */
const CHARACTERS = "characters";

/** At most this many characters are typed at once: that takes half an hour and more. */
const MAX_CHARACTERS = 1 << 16;

/** So many of the characters that cannot be typed are shown. */
const MAX_SHOWN = 40;

const BACKSPACE = 0xff08;

interface Surroundings {
  readonly clipboard: ClipboardPanel;
  readonly keys: KeyPanel;
  readonly news: News;
  /** The guest's keyboard, as the platform names it. */
  readonly locale: string;
  readonly link: Link;
}

export class TypePanel implements TouchListener {
  readonly #around: Surroundings;
  readonly #layout = element("#layout", HTMLSelectElement);
  readonly #system = element("#system", HTMLSelectElement);
  readonly #warning = element("#untypable", HTMLElement);
  readonly #warningText = element("#untypable-text", HTMLElement);
  readonly #typeRest = element("#type-rest", HTMLButtonElement);
  readonly #notice = element("#typing", HTMLElement);
  readonly #progressText = element("#typing-text", HTMLElement);
  readonly #progress = element("#typing-progress", HTMLProgressElement);
  #rfb: RFB | null = null;
  #hands: Hands | null = null;
  #typist: Typist | null = null;
  #done = 0;
  #total = 0;
  /** What the user has been warned about, and nothing else, is typed at "the rest". */
  #warned: Plan | null = null;
  /** How far a text came that the console's end cut off; in words. */
  interrupted = "";
  /** The user has chosen the layout here, so nothing else may. */
  #chosen = false;

  constructor(around: Surroundings) {
    this.#around = around;
    this.#layout.add(new Option(t("layout-characters"), CHARACTERS));
    const layouts = LAYOUTS.map((layout) => new Option(layoutName(layout), layout.id));
    for (const layout of layouts.sort((one, other) => one.text.localeCompare(other.text))) {
      this.#layout.add(layout);
    }
    this.#layout.addEventListener("change", () => {
      this.#chosen = true;
      remember("layout", this.#layout.value);
      this.#warn(null);
    });
    this.#system.value = around.link.windows ? "windows" : "other";
    this.#system.addEventListener("change", () => this.#warn(null));
    element("#type", HTMLButtonElement).addEventListener("click", () => this.#begin());
    this.#typeRest.addEventListener("click", () => this.#warned !== null && this.#start(this.#warned));
    element("#clipboard-text", HTMLTextAreaElement).addEventListener("input", () => this.#warn(null));
    element("#clipboard", HTMLElement).addEventListener("beforetoggle", () => this.#choose());
    element("#typing-cancel", HTMLButtonElement).addEventListener("click", () => this.cancel());
  }

  attach(rfb: RFB, hands: Hands): void {
    this.#rfb = rfb;
    this.#hands = hands;
    this.interrupted = "";
    this.#choose();
  }

  detach(): void {
    if (this.#typist !== null) {
      this.interrupted = this.#howFar(); // now: the typist itself notices only later
    }
    this.cancel();
    this.#rfb = null;
    this.#hands = null;
    this.#warn(null);
  }

  /** Stop typing, between two strokes. */
  cancel(): void {
    this.#typist?.cancel();
  }

  /** What the hands' own keys are sent as: by their US meaning, where the host is one that reads them so. */
  translation(rfb: RFB): Translate | null {
    if (this.#around.link.language === "") {
      return null;
    }
    return (code, shift) => (takesPlaces(rfb) ? null : usMeaning(code, shift));
  }

  // What is written on the on-screen keyboard takes the same way.

  text(characters: string): void {
    if (this.#hands === null || this.#typist !== null) {
      return;
    }
    const { strokes, untypable } = planTyping(characters, this.#way());
    if (untypable.length > 0) {
      this.#around.news.show(t("untypable", { characters: shown(untypable) }));
    }
    for (const event of strokes.flat()) {
      this.#hands.send(event.keysym, event.code, event.down);
    }
  }

  erase(count: number): void {
    for (let left = Math.min(count, 64); left > 0; left -= 1) {
      this.key(BACKSPACE, "Backspace");
    }
  }

  key(keysym: number, code: string): void {
    this.#rfb?.sendKey(keysym, code, true);
    this.#rfb?.sendKey(keysym, code, false);
  }

  /** Until the user chooses: the platform's layout, then what was chosen last, then what the host can do. */
  #choose(): void {
    if (this.#chosen || this.#rfb === null) {
      return;
    }
    const told = layoutFor(this.#around.locale) ?? layoutFor(this.#around.link.language);
    if (takesPlaces(this.#rfb) || this.#around.link.language !== "") {
      const last = LAYOUTS.find(({ id }) => id === remembered("layout"))?.id;
      this.#layout.value = told ?? last ?? "us";
    } else {
      this.#layout.value = CHARACTERS;
    }
  }

  #way(): Way {
    const id = this.#layout.value;
    const system: GuestSystem = this.#system.value === "windows" ? "windows" : "other";
    if (id === CHARACTERS) {
      return { kind: "characters" };
    }
    const usOnly = this.#around.link.language !== "" && this.#rfb !== null && !takesPlaces(this.#rfb);
    return { kind: usOnly ? "us-positions" : "layout", id, system };
  }

  /** Type what stands in the clipboard's box; first say what cannot be typed. */
  #begin(): void {
    const { clipboard } = this.#around;
    const text = clipboard.text;
    if (text === "") {
      element("#clipboard-text", HTMLTextAreaElement).focus();
      return;
    }
    if (text.length > MAX_CHARACTERS) {
      clipboard.say("text-too-long", { limit: number(MAX_CHARACTERS) });
      return;
    }
    const plan = planTyping(text, this.#way());
    if (plan.untypable.length > 0) {
      this.#warn(plan);
    } else {
      this.#start(plan);
    }
  }

  #start(plan: Plan): void {
    if (this.#hands === null || this.#typist !== null) {
      return;
    }
    this.#warn(null);
    this.#around.keys.release();
    element("#clipboard", HTMLElement).hidePopover();
    void this.#type(plan, this.#hands);
  }

  #warn(plan: Plan | null): void {
    this.#warned = plan;
    this.#warning.hidden = plan === null;
    if (plan !== null) {
      const characters = shown(plan.untypable);
      this.#warningText.textContent = t(plan.strokes.length > 0 ? "untypable" : "nothing-typable", { characters });
      this.#typeRest.hidden = plan.strokes.length === 0;
      if (plan.strokes.length > 0) {
        this.#typeRest.focus();
      }
    }
  }

  async #type(plan: Plan, hands: Hands): Promise<void> {
    const typist = new Typist(plan, hands.send, { progress: (done, total) => this.#showProgress(done, total) });
    this.#typist = typist;
    this.#notice.hidden = false;
    this.#around.keys.enable(false);
    hands.take();
    focusScreen();
    announce(t("typing-hint"));
    try {
      await typist.run();
    } finally {
      hands.free();
      this.#typist = null;
      this.#notice.hidden = true;
    }
    if (this.#rfb !== null) {
      this.#around.keys.enable(true);
      this.#around.news.show(this.#howFar());
      catchFocus();
    }
  }

  #howFar(): string {
    const [done, total] = [this.#done, this.#total];
    return done === total ? t("typing-done") : t("typing-cancelled", { done: number(done), total: number(total) });
  }

  #showProgress(done: number, total: number): void {
    [this.#done, this.#total] = [done, total];
    this.#progress.max = total;
    this.#progress.value = done;
    this.#progressText.textContent = t("typing-progress", { done: number(done), total: number(total) });
  }
}

/** Characters as they can be read in a list; a long list is cut off. */
function shown(characters: readonly string[]): string {
  const more = characters.length > MAX_SHOWN ? " …" : "";
  return characters.slice(0, MAX_SHOWN).map(visible).join(" ") + more;
}

/** A character as it can be read in a list of such. */
function visible(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const unseen = /[\p{C}\p{Z}\p{M}]/u.test(character);
  return unseen ? `U+${code.toString(16).toUpperCase().padStart(4, "0")}` : character;
}
