// The on-screen keyboard of phones and tablets. They open one for text fields only, so a field that nobody sees has the
// focus; what is written into it, by whatever input method, becomes keys.

import type RFB from "@novnc/novnc";

import { element } from "./view";

/** Stands in the field at all times, so that there is something to delete. */
const FILLING = "x".repeat(64);

export interface TouchListener {
  /** Characters were written. */
  text(characters: string): void;
  /** That many characters before the caret were taken away. */
  erase(count: number): void;
  /** A key that the input method passed on as a key. */
  key(keysym: number, code: string): void;
}

const PASSED_ON: Readonly<Record<string, number>> = {
  Enter: 0xff0d,
  Tab: 0xff09,
  Escape: 0xff1b,
  ArrowLeft: 0xff51,
  ArrowUp: 0xff52,
  ArrowRight: 0xff53,
  ArrowDown: 0xff54,
};

export class TouchKeyboard {
  readonly #button = element("#touch-keyboard", HTMLButtonElement);
  readonly #field = element("#touch-input", HTMLTextAreaElement);
  readonly #listener: TouchListener;
  #rfb: RFB | null = null;
  #before = FILLING;
  #composing = false;
  /** It stays wanted while a panel or the bar has the focus for a moment. */
  #wanted = false;

  constructor(listener: TouchListener) {
    this.#listener = listener;
    this.#button.hidden = !matchMedia("(any-pointer: coarse)").matches;
    // With the pointer, not the click: by then the field would have lost the focus to the button.
    this.#button.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#button.addEventListener("click", () => (this.#wanted ? this.#close() : this.#open()));
    this.#field.addEventListener("blur", (event) => {
      const to = event.relatedTarget;
      if (!(to instanceof Element && to.closest("#bar, [popover]") !== null)) {
        this.#close();
      }
    });
    for (const popup of document.querySelectorAll("[popover]")) {
      popup.addEventListener("toggle", (event) => {
        if (this.#wanted && (event as ToggleEvent).newState === "closed") {
          this.#open();
        }
      });
    }
    this.#field.addEventListener("keydown", (event) => {
      const keysym = PASSED_ON[event.key];
      if (keysym !== undefined && !event.isComposing) {
        event.preventDefault();
        this.#listener.key(keysym, event.key);
      }
    });
    this.#field.addEventListener("compositionstart", () => (this.#composing = true));
    this.#field.addEventListener("compositionend", () => {
      this.#composing = false;
      this.#changed();
    });
    this.#field.addEventListener("input", () => this.#changed());
  }

  attach(rfb: RFB): void {
    this.#rfb = rfb;
  }

  detach(): void {
    this.#close();
    this.#rfb = null;
  }

  #close(): void {
    this.#want(false);
    this.#field.blur();
  }

  /** While it is wanted, a tap on the screen is a click and does not take the focus away. */
  #want(wanted: boolean): void {
    this.#wanted = wanted;
    this.#button.setAttribute("aria-pressed", String(wanted));
    if (this.#rfb !== null) {
      this.#rfb.focusOnClick = !wanted;
    }
  }

  #open(): void {
    this.#want(true);
    this.#refill();
    this.#field.focus();
    this.#refill(); // some browsers put the caret elsewhere on focus
  }

  /** Compare with what stood there before: input methods replace whole words as they go. */
  #changed(): void {
    const now = this.#field.value;
    let same = 0;
    while (same < this.#before.length && same < now.length && this.#before[same] === now[same]) {
      same += 1;
    }
    const erased = this.#before.length - same;
    if (erased > 0) {
      this.#listener.erase(erased);
    }
    const written = now.slice(same);
    if (written !== "") {
      this.#listener.text(written);
    }
    this.#before = now;
    if (!this.#composing) {
      this.#refill();
    }
  }

  #refill(): void {
    this.#before = this.#field.value = FILLING;
    this.#field.setSelectionRange(FILLING.length, FILLING.length);
  }
}
