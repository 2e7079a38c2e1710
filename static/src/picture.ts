// How the picture comes over the network (quality, compression), whether hands reach the machine, and the screenshot.

import type RFB from "@novnc/novnc";

import { remember, remembered } from "./preferences";
import { element, setViewOnly } from "./view";

const DEFAULTS = { quality: 6, compression: 2 } as const;

type Level = keyof typeof DEFAULTS;

interface Surroundings {
  /** The token allows no more than looking, so there is nothing to switch. */
  readonly onlyLook: boolean;
  /** What a screenshot taken now is called. */
  fileName(): string;
  /** Let go of all keys, before nothing reaches the machine any more. */
  letGo(): void;
}

export class PictureControl {
  readonly #viewOnly = element("#view-only", HTMLInputElement);
  readonly #screenshot = element("#screenshot", HTMLButtonElement);
  readonly #around: Surroundings;
  #rfb: RFB | null = null;

  constructor(around: Surroundings) {
    this.#around = around;
    for (const level of ["quality", "compression"] as const) {
      const range = element(`#${level}`, HTMLInputElement);
      range.value = String(kept(level));
      range.addEventListener("change", () => {
        remember(level, range.value);
        this.#apply();
      });
    }
    this.#viewOnly.checked = around.onlyLook;
    this.#viewOnly.disabled = around.onlyLook;
    this.#viewOnly.addEventListener("change", () => {
      this.#around.letGo();
      this.#apply();
    });
    this.#screenshot.addEventListener("click", () => this.#save());
  }

  get viewOnly(): boolean {
    return this.#viewOnly.checked;
  }

  attach(rfb: RFB): void {
    this.#rfb = rfb;
    this.#apply();
  }

  detach(): void {
    this.#rfb = null;
  }

  #apply(): void {
    setViewOnly(this.viewOnly);
    if (this.#rfb !== null) {
      this.#rfb.viewOnly = this.viewOnly;
      this.#rfb.qualityLevel = kept("quality");
      this.#rfb.compressionLevel = kept("compression");
    }
  }

  #save(): void {
    this.#rfb?.toBlob((picture: Blob | null) => {
      if (picture === null) {
        return; // there is no picture yet
      }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(picture);
      link.download = this.#around.fileName();
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still be asking where to
    }, "image/png");
    this.#rfb?.focus();
  }
}

function kept(level: Level): number {
  const found = Number.parseInt(remembered(level) ?? "", 10);
  return found >= 0 && found <= 9 ? found : DEFAULTS[level];
}

/** A file name for a screenshot: the machine, and the moment in local time. */
export function screenshotName(machine: string, now: Date): string {
  const plain = machine.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 80) || "console";
  const two = (number: number): string => String(number).padStart(2, "0");
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  return `${plain}_${day}_${two(now.getHours())}-${two(now.getMinutes())}-${two(now.getSeconds())}.png`;
}
