// The size of the picture: "fit" makes a screen that is larger than the window smaller, and never blurs a small
// one by making it larger; "1:1" shows the machine's own pixels, with scroll bars.

import type RFB from "@novnc/novnc";

export class Scale {
  #fit = true;
  #rfb: RFB | null = null;
  readonly #screen: HTMLElement;
  readonly #picture = new MutationObserver(() => this.#apply());

  constructor(screen: HTMLElement) {
    this.#screen = screen;
    new ResizeObserver(() => this.#apply()).observe(screen);
  }

  get fit(): boolean {
    return this.#fit;
  }

  set fit(fit: boolean) {
    this.#fit = fit;
    this.#apply();
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
    const scale = this.#fit && tooLarge;
    if (this.#rfb.scaleViewport !== scale) {
      this.#rfb.scaleViewport = scale;
    }
  }
}
