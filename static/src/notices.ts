// Notices at the lower edge, beside the screen and never over the keyboard's focus: the console is about to end, or
// something happened that can be acted on.

import type { Pulse } from "./pulse";
import { t, type TextKey } from "./texts";
import { announce, catchFocus, element } from "./view";

/** The user is warned this long before a limit ends the console, in seconds: never for more than half of the limit. */
const WARN_S = 60;

const NEWS_MS = 8_000;

/** Counts down to the idle or lifetime limit, whichever comes first, and offers to stay where that helps. */
export class EndingNotice {
  readonly #notice = element("#ending", HTMLElement);
  readonly #text = element("#ending-text", HTMLElement);
  readonly #stay = element("#stay", HTMLButtonElement);
  readonly #limits: { readonly idleS: number; readonly lifetimeS: number };
  #kind: "idle" | "lifetime" = "idle";
  #endsAt = 0;
  #waved = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `limits` in seconds, 0 for none; `act` tells the proxy that the user is there. */
  constructor(limits: { readonly idleS: number; readonly lifetimeS: number }, act: () => void) {
    this.#limits = limits;
    this.#stay.addEventListener("click", () => {
      if (this.#kind === "idle") {
        act();
      } else {
        this.#waved = true;
      }
      this.#hide();
      catchFocus();
    });
  }

  /** Warn if it is time; says in how many seconds it may be. */
  felt(pulse: Pulse): number {
    const idle = due(pulse.idleLeftS, this.#limits.idleS);
    const lifetime = this.#waved ? Infinity : due(pulse.lifetimeLeftS, this.#limits.lifetimeS);
    const next = Math.min(idle, lifetime);
    if (next > 0) {
      this.#hide();
      return next;
    }
    this.#kind = lifetime > 0 || (idle <= 0 && pulse.idleLeftS! < pulse.lifetimeLeftS!) ? "idle" : "lifetime";
    this.#endsAt = performance.now() + 1000 * (this.#kind === "idle" ? pulse.idleLeftS! : pulse.lifetimeLeftS!);
    this.#stay.textContent = t(this.#kind === "idle" ? "stay" : "understood");
    this.#show();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#show(), 1000);
    return 0;
  }

  detach(): void {
    this.#waved = false;
    this.#hide();
  }

  #show(): void {
    const left = Math.max(0, Math.round((this.#endsAt - performance.now()) / 1000));
    const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    const words = t(this.#kind === "idle" ? "ending-idle" : "ending-lifetime", { time });
    this.#text.textContent = words;
    if (!this.#notice.matches(":popover-open")) {
      this.#notice.showPopover(); // over everything else, sheets of a phone too
      announce(words); // once, where the text that is seen counts down
    }
  }

  #hide(): void {
    clearInterval(this.#timer);
    this.#notice.hidePopover();
  }
}

/** Seconds until a limit is to be warned of: none or fewer where that is now, infinity where there is no limit. */
function due(leftS: number | null, limitS: number): number {
  return leftS === null ? Infinity : leftS - Math.min(WARN_S, limitS / 2);
}

/** One line of news at a time; it goes by itself. */
export class News {
  readonly #notice = element("#news", HTMLElement);
  readonly #text = element("#news-text", HTMLElement);
  readonly #act = element("#news-act", HTMLButtonElement);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    element("#news-close", HTMLButtonElement).addEventListener("click", () => {
      this.hide();
      catchFocus();
    });
  }

  show(words: string, act?: { readonly words: TextKey; readonly run: () => void }): void {
    this.#text.textContent = words;
    this.#act.hidden = act === undefined;
    if (act !== undefined) {
      this.#act.textContent = t(act.words);
      this.#act.onclick = () => {
        this.hide();
        act.run();
        catchFocus();
      };
    }
    this.#notice.hidden = false;
    announce(words);
    this.#hideLater();
  }

  /** Not while somebody is about to use it. */
  #hideLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#notice.matches(":hover, :focus-within")) {
        this.#hideLater();
      } else {
        this.hide();
      }
    }, NEWS_MS);
  }

  hide(): void {
    clearTimeout(this.#timer);
    this.#notice.hidden = true;
  }
}
