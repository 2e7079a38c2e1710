// The buttons. Each hands the keyboard back to the machine once it has done its work.

import type RFB from "@novnc/novnc";

import { canFullscreen, toggleFullscreen } from "./fullscreen";
import type { Scale } from "./scale";
import { element } from "./view";
import { watchForChord } from "./way-out";

export class Toolbar {
  #rfb: RFB | null = null;
  readonly #ctrlAltDel = element("#ctrl-alt-del", HTMLButtonElement);
  readonly #fit = element("#fit", HTMLButtonElement);
  readonly #fullscreen = element("#fullscreen", HTMLButtonElement);

  constructor(screen: HTMLElement, scale: Scale) {
    this.#ctrlAltDel.addEventListener("click", () => {
      this.#rfb?.sendCtrlAltDel();
      this.#rfb?.focus();
    });
    this.#fit.addEventListener("click", () => {
      scale.fit = !scale.fit;
      this.#fit.setAttribute("aria-pressed", String(scale.fit));
      this.#rfb?.focus();
    });
    this.#fullscreen.hidden = !canFullscreen();
    this.#fullscreen.addEventListener("click", () => {
      void toggleFullscreen().catch(() => undefined); // the browser may say no
      this.#rfb?.focus();
    });
    document.addEventListener("fullscreenchange", () => {
      this.#fullscreen.setAttribute("aria-pressed", String(document.fullscreenElement !== null));
    });

    element("#bar", HTMLElement).addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        this.#rfb?.focus();
      }
    });
    screen.addEventListener("click", () => this.#rfb?.focus()); // beside the picture; noVNC keeps those on it
    watchForChord(screen, () => this.#ctrlAltDel.focus());
  }

  attach(rfb: RFB): void {
    this.#rfb = rfb;
    this.#enable(true);
  }

  detach(): void {
    this.#rfb = null;
    this.#enable(false);
  }

  #enable(enabled: boolean): void {
    for (const button of [this.#ctrlAltDel, this.#fit, this.#fullscreen]) {
      button.disabled = !enabled;
    }
  }
}
