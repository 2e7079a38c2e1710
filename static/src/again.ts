// Trying again by itself, with a visible countdown: each wait is longer than the one before, and the user may stop it.

import { t } from "./texts";
import { element } from "./view";

/** Seconds before each try; the last one counts for all further tries. */
const WAITS_S = [3, 5, 10, 20, 30];
/** After so many tries without a console the page waits for its user. */
const MAX_TRIES = 20;

export class Again {
  readonly #line = element("#again", HTMLElement);
  readonly #words = element("#again-in", HTMLElement);
  #tries = 0;
  #act: (() => void) | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor() {
    element("#again-stop", HTMLButtonElement).addEventListener("click", () => {
      this.cancel();
      element("#retry", HTMLButtonElement).focus();
    });
    addEventListener("online", () => this.#now()); // why it failed may be over
  }

  /** A console was open for a while: the next tries are the first ones again. */
  worked(): void {
    this.#tries = 0;
  }

  /** Count down and call `act`, unless that was done too often already; whether it will be called. */
  start(act: () => void): boolean {
    this.cancel();
    if (this.#tries >= MAX_TRIES) {
      return false;
    }
    let left = WAITS_S[Math.min(this.#tries, WAITS_S.length - 1)]!;
    this.#tries += 1;
    this.#act = act;
    this.#show(left);
    this.#timer = setInterval(() => {
      left -= 1;
      this.#show(left);
      if (left <= 0) {
        this.#now();
      }
    }, 1000);
    return true;
  }

  cancel(): void {
    this.#act = null;
    clearInterval(this.#timer);
    this.#line.hidden = true;
  }

  #now(): void {
    const act = this.#act;
    this.cancel();
    act?.();
  }

  #show(left: number): void {
    this.#words.textContent = t("again-in", { seconds: left });
    this.#line.hidden = false;
  }
}
