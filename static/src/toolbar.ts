// The bar: which of its tools can be used, hiding it, and how focus travels between it and the screen.

import type RFB from "@novnc/novnc";

import { canFullscreen, toggleFullscreen } from "./fullscreen";
import { remember, remembered } from "./preferences";
import { catchFocus, element } from "./view";
import { watchForChord } from "./way-out";

export class Toolbar {
  readonly #bar = element("#bar", HTMLElement);
  readonly #title = element("#bar .title", HTMLElement);
  readonly #tools = [...this.#bar.querySelectorAll("button")];
  readonly #popups = [...document.querySelectorAll<HTMLElement>("[popover]")];
  readonly #showBar = element("#show-bar", HTMLButtonElement);
  #rfb: RFB | null = null;

  constructor(screen: HTMLElement) {
    const fullscreen = element("#fullscreen", HTMLButtonElement);
    fullscreen.hidden = !canFullscreen();
    fullscreen.addEventListener("click", () => {
      void toggleFullscreen().catch(() => undefined); // the browser may say no
      this.#rfb?.focus();
    });
    document.addEventListener("fullscreenchange", () => {
      fullscreen.setAttribute("aria-pressed", String(document.fullscreenElement !== null));
    });

    element("#hide-bar", HTMLButtonElement).addEventListener("click", () => {
      this.#setHidden(true);
      this.#rfb?.focus();
    });
    this.#showBar.addEventListener("click", () => this.#reach());
    this.#setHidden(remembered("bar") === "hidden");

    this.#bar.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        this.#rfb?.focus();
      }
    });
    for (const popup of this.#popups) {
      popup.addEventListener("toggle", () => {
        if (!popup.matches(":popover-open")) {
          catchFocus(); // closed by a click beside it
        }
      });
    }
    screen.addEventListener("click", () => {
      if (this.#rfb?.focusOnClick) {
        this.#rfb.focus(); // beside the picture; noVNC keeps those on it
      }
    });
    for (const place of [screen, element("#mover", HTMLElement)]) {
      watchForChord(place, () => this.#reach());
    }
    const width = new ResizeObserver(() => this.#fit());
    for (const part of [this.#bar, ...this.#bar.children]) {
      width.observe(part);
    }
  }

  attach(rfb: RFB): void {
    this.#rfb = rfb;
    this.#enable(true);
  }

  detach(): void {
    this.#rfb = null;
    this.#enable(false);
    for (const popup of this.#popups) {
      popup.hidePopover();
    }
  }

  /** Bring the bar back and go there. */
  #reach(): void {
    this.#setHidden(false);
    const usable = this.#tools.filter((tool) => !tool.disabled && tool.checkVisibility());
    // Not the first one: Enter would be Ctrl-Alt-Del, which restarts many machines.
    (usable.find((tool) => tool.id !== "ctrl-alt-del") ?? usable[0])?.focus();
  }

  /** The words beside the pictures go where there is no room for them. */
  #fit(): void {
    this.#bar.removeAttribute("data-compact");
    const tight = [this.#bar, this.#title].some((part) => part.scrollWidth > part.clientWidth);
    this.#bar.toggleAttribute("data-compact", tight);
  }

  #setHidden(hidden: boolean): void {
    document.documentElement.toggleAttribute("data-bar-hidden", hidden);
    remember("bar", hidden ? "hidden" : "shown");
  }

  #enable(enabled: boolean): void {
    for (const tool of this.#tools) {
      tool.disabled = !enabled;
    }
  }
}
