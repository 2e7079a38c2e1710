// The clipboard, both ways. What the machine copies lands in the panel's box, and on this computer's clipboard where the
// user asked for that and the browser allows it; what stands in the box goes to the machine's clipboard at a button.

import type RFB from "@novnc/novnc";

import type { News } from "./notices";
import { takesAnyText } from "./novnc-inside";
import { t, type TextKey } from "./texts";
import { element } from "./view";

/** More is not sent to a machine nor kept of one, in UTF-16 units. */
export const MAX_TEXT = 1 << 20;

export class ClipboardPanel {
  readonly #panel = element("#clipboard", HTMLElement);
  readonly #box = element("#clipboard-text", HTMLTextAreaElement);
  readonly #note = element("#clipboard-note", HTMLElement);
  readonly #auto = element("#clipboard-auto", HTMLInputElement);
  readonly #news: News;
  #rfb: RFB | null = null;
  /** What both sides are known to have, so that a text is not sent back and forth. */
  #shared = "";
  /** The user has been told once where the machine's text is. */
  #told = false;

  constructor(screen: HTMLElement, news: News) {
    this.#news = news;
    this.#box.maxLength = MAX_TEXT;
    element("#clipboard-read", HTMLButtonElement).addEventListener("click", () => void this.#readHere());
    element("#clipboard-copy", HTMLButtonElement).addEventListener("click", () => void this.#copyHere());
    element("#clipboard-send", HTMLButtonElement).addEventListener("click", () => this.#send());
    this.#auto.addEventListener("change", () => void this.#askForAuto());
    // The browser lets a page read its clipboard while the page has the focus: when the user turns to the screen.
    screen.addEventListener("focusin", () => void this.#shareWithMachine());
    addEventListener("focus", () => void this.#shareWithMachine());
    this.#panel.addEventListener("toggle", () => this.say(null));
  }

  get text(): string {
    return this.#box.value;
  }

  attach(rfb: RFB): void {
    this.#rfb = rfb;
    rfb.addEventListener("clipboard", (event) => void this.#arrived(event.detail.text.slice(0, MAX_TEXT)));
  }

  detach(): void {
    this.#rfb = null;
  }

  /** Say something under the box; `null` for nothing. */
  say(key: TextKey | null, values: Readonly<Record<string, string | number>> = {}): void {
    this.#note.textContent = key === null ? "" : t(key, values);
    this.#note.hidden = key === null;
  }

  /** The machine copied something. */
  async #arrived(text: string): Promise<void> {
    this.#box.value = text;
    if (text === this.#shared) {
      return;
    }
    this.#shared = text;
    if (this.#auto.checked && (await write(text))) {
      return;
    }
    if (!this.#told && !this.#panel.matches(":popover-open")) {
      this.#told = true;
      this.#news.show(t("clipboard-arrived"), { words: "clipboard-copy-short", run: () => void this.#copyHere() });
    }
  }

  async #copyHere(): Promise<void> {
    if (await write(this.#box.value)) {
      this.say("clipboard-copied");
      return;
    }
    this.#panel.showPopover();
    this.#box.select();
    this.say(navigator.clipboard === undefined ? "clipboard-insecure" : "clipboard-copy-denied");
  }

  async #readHere(): Promise<void> {
    const text = await read();
    if (text === null) {
      this.say(navigator.clipboard === undefined ? "clipboard-insecure" : "clipboard-denied");
      this.#box.select();
      return;
    }
    this.#box.value = text;
    this.say(null);
  }

  #send(): void {
    if (this.#rfb === null) {
      return;
    }
    const text = this.#box.value;
    this.#shared = text;
    this.#rfb.clipboardPasteFrom(text);
    const lossy = !takesAnyText(this.#rfb) && /[^\u0000-\u00ff]/.test(text);
    this.say(lossy ? "clipboard-latin" : "clipboard-sent");
  }

  /** The user's click is what the browser wants before it asks; its answer decides whether the box stays ticked. */
  async #askForAuto(): Promise<void> {
    if (!this.#auto.checked) {
      return;
    }
    const text = await read();
    if (text === null) {
      this.#auto.checked = false;
      this.say(navigator.clipboard === undefined ? "clipboard-insecure" : "clipboard-auto-denied");
      return;
    }
    this.say(null);
    await this.#shareWithMachine();
  }

  async #shareWithMachine(): Promise<void> {
    if (!this.#auto.checked || this.#rfb === null || this.#rfb.viewOnly || !document.hasFocus()) {
      return;
    }
    const text = await read();
    if (text !== null && text !== "" && text !== this.#shared) {
      this.#shared = text;
      this.#rfb?.clipboardPasteFrom(text);
    }
  }
}

/** This computer's clipboard; `null` where the browser does not give it. */
async function read(): Promise<string | null> {
  try {
    return (await navigator.clipboard.readText()).slice(0, MAX_TEXT);
  } catch {
    return null;
  }
}

async function write(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
