// The clipboard, both ways. What the machine copies lands in the panel's box, and on this computer's clipboard where the
// user asked for that and the browser allows it; what stands in the box goes to the machine's clipboard at a button.

import type RFB from "@novnc/novnc";

import type { News } from "./notices";
import { takesAnyText } from "./novnc-inside";
import { t, type TextKey } from "./texts";
import { announce, element } from "./view";

/** More is not sent to a machine nor kept of one, in UTF-16 units. */
export const MAX_TEXT = 1 << 20;

export class ClipboardPanel {
  readonly #panel = element("#clipboard", HTMLElement);
  readonly #box = element("#clipboard-text", HTMLTextAreaElement);
  readonly #note = element("#clipboard-note", HTMLElement);
  readonly #auto = element("#clipboard-auto", HTMLInputElement);
  readonly #news: News;
  readonly #toGuest: boolean;
  #rfb: RFB | null = null;
  /** What the user wrote into the box and did nothing with yet: the machine must not write over it. */
  #own = false;
  /** The last text of the machine's. */
  #machines = "";
  /** A text of the machine's that the browser did not take yet: it comes before anything of this computer's. */
  #pending: string | null = null;
  /** What both sides are known to have, so that a text is not sent back and forth. */
  #shared = "";
  #reading = false;
  /** The user has been told once where the machine's text is. */
  #told = false;

  /** `ways` are those that the proxy lets texts through; what it would drop is not offered. */
  constructor(screen: HTMLElement, news: News, ways: { readonly toGuest: boolean; readonly fromGuest: boolean }) {
    this.#news = news;
    this.#toGuest = ways.toGuest;
    element("#clipboard-send", HTMLButtonElement).hidden = !ways.toGuest;
    element("#clipboard-sharing", HTMLElement).hidden = !ways.toGuest && !ways.fromGuest;
    this.#box.maxLength = MAX_TEXT;
    this.#box.addEventListener("input", (event) => (this.#own = event.isTrusted && this.#box.value !== ""));
    element("#clipboard-read", HTMLButtonElement).addEventListener("click", () => void this.#readHere());
    element("#clipboard-copy", HTMLButtonElement).addEventListener("click", () => void this.#copy(this.#box.value));
    element("#clipboard-send", HTMLButtonElement).addEventListener("click", () => this.#send());
    this.#auto.addEventListener("change", () => void this.#askForAuto());
    // The browser gives its clipboard to pages that have the focus: when the user turns to the screen.
    screen.addEventListener("focusin", () => void this.#share());
    addEventListener("focus", () => void this.#share());
    this.#panel.addEventListener("toggle", (event) => {
      if ((event as ToggleEvent).newState === "closed") {
        this.say(null);
      }
    });
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
    this.#pending = null;
  }

  /** Say something under the box; `null` for nothing. */
  say(key: TextKey | null, values: Readonly<Record<string, string | number>> = {}): void {
    this.#note.textContent = key === null ? "" : t(key, values);
    this.#note.hidden = key === null;
    announce(this.#note.textContent);
  }

  /** The machine copied something; nothing at all is no reason to lose what is here. */
  async #arrived(text: string): Promise<void> {
    if (text === "" || text === this.#shared) {
      return;
    }
    this.#shared = this.#machines = text;
    if (!this.#own) {
      this.#fill(text);
    }
    if (this.#auto.checked) {
      this.#pending = (await write(text)) ? null : text;
      return;
    }
    if (this.#own || (!this.#told && !this.#panel.matches(":popover-open"))) {
      this.#told = true;
      const run = (): void => void this.#copy(this.#machines);
      this.#news.show(t("clipboard-arrived"), { words: "clipboard-copy-short", run });
    }
  }

  /** Put a text into the box, as if somebody had written it. */
  #fill(text: string): void {
    this.#box.value = text;
    this.#own = false;
    this.#box.dispatchEvent(new Event("input"));
  }

  async #copy(text: string): Promise<void> {
    if (await write(text)) {
      this.#panel.matches(":popover-open") ? this.say("clipboard-copied") : this.#news.show(t("clipboard-copied"));
      return;
    }
    if (this.#box.value !== text) {
      this.#fill(text);
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
    this.#fill(text);
    this.say(null);
  }

  #send(): void {
    if (this.#rfb !== null) {
      const text = this.#box.value;
      this.#own = false;
      this.#shared = text;
      this.#rfb.clipboardPasteFrom(text);
      this.say(this.#loses(text) ? "clipboard-latin" : "clipboard-sent");
    }
  }

  /** Whether the host's clipboard could not hold this text. */
  #loses(text: string): boolean {
    return this.#rfb !== null && !takesAnyText(this.#rfb) && /[^\u0000-\u00ff]/.test(text);
  }

  /** The user's click is what the browser wants before it asks; its answer decides what can be shared. */
  async #askForAuto(): Promise<void> {
    this.say(null);
    if (!this.#auto.checked) {
      return;
    }
    if (navigator.clipboard === undefined) {
      this.#auto.checked = false;
      this.say("clipboard-insecure");
      return;
    }
    if ((await permission()) === "unknown") {
      this.say("clipboard-auto-half"); // it would ask at each turn to the screen
      return;
    }
    if ((await read()) === null) {
      this.#auto.checked = false;
      this.say("clipboard-auto-denied");
      return;
    }
    await this.#share();
  }

  /** What waits for this computer's clipboard goes there; otherwise what is new there goes to the machine. */
  async #share(): Promise<void> {
    if (!this.#auto.checked || this.#reading || !document.hasFocus()) {
      return;
    }
    this.#reading = true;
    try {
      if (this.#pending !== null) {
        this.#pending = (await write(this.#pending)) ? null : this.#pending;
        return;
      }
      if (!this.#toGuest || this.#rfb === null || this.#rfb.viewOnly || (await permission()) !== "granted") {
        return;
      }
      const text = await read();
      if (text === null || text === "" || text === this.#shared || this.#pending !== null) {
        return;
      }
      this.#shared = text;
      if (this.#loses(text)) {
        this.#news.show(t("clipboard-latin")); // and it stays here: half a text is worse than none
      } else {
        this.#rfb?.clipboardPasteFrom(text);
      }
    } finally {
      this.#reading = false;
    }
  }
}

/** Whether pages may read the clipboard by themselves. Only Chromium's family can be asked; others ask at each reading. */
async function permission(): Promise<PermissionState | "unknown"> {
  try {
    return (await navigator.permissions.query({ name: "clipboard-read" as PermissionName })).state;
  } catch {
    return "unknown";
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
