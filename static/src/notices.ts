// Notices at the lower edge, beside the screen and never over the keyboard's focus: the console is about to end, or
// something happened that can be acted on.

import type { Pulse } from "./pulse";
import { t, type TextKey } from "./texts";
import { announce, catchFocus, element } from "./view";

/** The user is warned this long before a limit ends the console, in seconds: never for more than half of the limit. */
const WARN_S = 60;

const NEWS_MS = 8_000;

/** What may end a console that nobody ends; the words are `ending-` and this. */
type Ending = "idle" | "lifetime" | "draining";

/** Counts down to whichever end comes first, and offers to stay where that helps. */
export class EndingNotice {
  readonly #notice = element("#ending", HTMLElement);
  readonly #text = element("#ending-text", HTMLElement);
  readonly #stay = element("#stay", HTMLButtonElement);
  readonly #limits: { readonly idleS: number; readonly lifetimeS: number };
  /** What the user has read and cannot change. */
  readonly #understood = new Set<Ending>();
  #kind: Ending = "idle";
  #endsAt = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `limits` in seconds, 0 for none; `act` tells the proxy that the user is there. */
  constructor(limits: { readonly idleS: number; readonly lifetimeS: number }, act: () => void) {
    this.#limits = limits;
    this.#stay.addEventListener("click", () => {
      if (this.#kind === "idle") {
        act();
      } else {
        this.#understood.add(this.#kind);
      }
      this.#hide();
      catchFocus();
    });
  }

  /** Warn if it is time; says in how many seconds it may be. */
  felt(pulse: Pulse): number {
    const ends: readonly { readonly kind: Ending; readonly leftS: number; readonly warnS: number }[] = [
      { kind: "idle", leftS: pulse.idleLeftS ?? Infinity, warnS: warningS(this.#limits.idleS) },
      { kind: "lifetime", leftS: pulse.lifetimeLeftS ?? Infinity, warnS: warningS(this.#limits.lifetimeS) },
      { kind: "draining", leftS: pulse.drainLeftS ?? Infinity, warnS: pulse.drainLeftS ?? 0 }, // at once
    ];
    const open = ends.filter(({ kind }) => !this.#understood.has(kind));
    const [first] = open.filter(({ leftS, warnS }) => leftS <= warnS).sort((one, other) => one.leftS - other.leftS);
    if (first === undefined) {
      this.#hide();
      return Math.min(...open.map(({ leftS, warnS }) => leftS - warnS));
    }
    this.#kind = first.kind;
    this.#endsAt = performance.now() + 1000 * first.leftS;
    this.#stay.textContent = t(first.kind === "idle" ? "stay" : "understood");
    this.#show();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#show(), 1000);
    return 0;
  }

  detach(): void {
    this.#understood.clear();
    this.#hide();
  }

  #show(): void {
    const left = Math.max(0, Math.round((this.#endsAt - performance.now()) / 1000));
    const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    const words = t(`ending-${this.#kind}`, { time });
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

/** How long before a limit the user is warned of it, in seconds. */
function warningS(limitS: number): number {
  return Math.min(WARN_S, limitS / 2);
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
