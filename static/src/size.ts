// The size of the picture. "fit" makes a screen that is larger than the window smaller, and never blurs a small one by
// making it larger; "actual" shows the machine's own pixels, with scroll bars or dragged; "guest" asks the machine for a
// screen of the window's size, and fits it where the machine does not do that.

import type RFB from "@novnc/novnc";

import { remember, remembered } from "./preferences";
import { element } from "./view";

type Size = "fit" | "actual" | "guest";

const SIZES: readonly Size[] = ["fit", "actual", "guest"];

/** How far an arrow key moves the view, in pixels. */
const ARROW_STEP = 64;

export class SizeControl {
  readonly #screen: HTMLElement;
  readonly #mover = element("#mover", HTMLElement);
  readonly #move = element("#move", HTMLInputElement);
  readonly #picture = new MutationObserver(() => this.#apply());
  #size: Size = "fit";
  #rfb: RFB | null = null;

  constructor(screen: HTMLElement) {
    this.#screen = screen;
    new ResizeObserver(() => this.#apply()).observe(screen);
    const kept = remembered("size");
    this.#size = SIZES.find((size) => size === kept) ?? "fit";
    for (const size of SIZES) {
      const choice = element(`#size-${size}`, HTMLInputElement);
      choice.checked = size === this.#size;
      choice.addEventListener("change", () => {
        this.#size = size;
        remember("size", size);
        this.#apply();
      });
    }
    this.#move.addEventListener("change", () => this.#apply());
    element("#view", HTMLElement).addEventListener("toggle", (event) => {
      if ((event as ToggleEvent).newState === "closed" && !this.#mover.hidden) {
        this.#mover.focus();
      }
    });
    this.#letMove();
  }

  /** Take care of this picture from now on. */
  attach(rfb: RFB): void {
    this.#rfb = rfb;
    this.#picture.disconnect();
    const canvas = this.#canvas();
    if (canvas !== null) {
      this.#picture.observe(canvas, { attributeFilter: ["width", "height"] });
    }
    this.#apply();
  }

  detach(): void {
    this.#rfb = null;
    this.#picture.disconnect();
    this.#mover.hidden = true;
  }

  #canvas(): HTMLCanvasElement | null {
    return this.#screen.querySelector("canvas");
  }

  #apply(): void {
    const canvas = this.#canvas();
    if (this.#rfb === null || canvas === null) {
      return;
    }
    const tooLarge = canvas.width > this.#screen.clientWidth || canvas.height > this.#screen.clientHeight;
    const scale = this.#size !== "actual" && tooLarge;
    if (this.#rfb.scaleViewport !== scale) {
      this.#rfb.scaleViewport = scale;
    }
    const resize = this.#size === "guest";
    if (this.#rfb.resizeSession !== resize) {
      this.#rfb.resizeSession = resize;
    }
    const movable = this.#size === "actual" && tooLarge;
    this.#move.disabled = !movable;
    this.#mover.hidden = !(movable && this.#move.checked);
  }

  /** The mover lies over the screen: what is dragged on it, or moved with arrow keys, scrolls the screen. */
  #letMove(): void {
    const mover = this.#mover;
    let from: { x: number; y: number } | null = null;
    mover.addEventListener("pointerdown", (event) => {
      mover.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY };
    });
    mover.addEventListener("pointermove", (event) => {
      if (from !== null) {
        this.#scrollBy(from.x - event.clientX, from.y - event.clientY);
        from = { x: event.clientX, y: event.clientY };
      }
    });
    for (const end of ["pointerup", "pointercancel"]) {
      mover.addEventListener(end, () => (from = null));
    }
    mover.addEventListener("wheel", (event) => this.#scrollBy(event.deltaX, event.deltaY), { passive: true });
    mover.addEventListener("keydown", (event) => {
      const [x, y] = ARROWS[event.key] ?? [0, 0];
      if (x !== 0 || y !== 0) {
        event.preventDefault();
        this.#scrollBy(x * ARROW_STEP, y * ARROW_STEP);
      } else if (event.key === "Escape") {
        this.#move.checked = false;
        this.#apply();
        this.#rfb?.focus();
      }
    });
  }

  #scrollBy(x: number, y: number): void {
    this.#canvas()?.parentElement?.scrollBy(x, y);
  }
}

const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
