// Types a plan: at a pace that guests can follow, with progress, until it is done or cancelled.

import type { Plan } from "./strokes";

/** As noVNC's `RFB.sendKey` takes it. */
export type SendKey = (keysym: number, code: string | null, down: boolean) => void;

export interface TypistOptions {
  /** How long to wait for each key event that was sent, in milliseconds; `EVENT_MS` where it is not said. */
  readonly eventMs?: number;
  /** Told after each character, and once before the first one. */
  readonly progress?: (done: number, total: number) => void;
}

/**
 * QEMU hands one key event to the guest every 10 ms (-vnc key-delay-ms), and drops what does not fit into its queue of
 * 1024 entries, three an event (ui/input.c). A text of 1300 characters arrives whole at 10.5 ms and more, and loses
 * keys at 8 ms and less; among them releases of Shift and AltGr, which spoils everything after them.
 */
export const EVENT_MS = 12;

/** Types one plan, once. */
export class Typist {
  readonly #plan: Plan;
  readonly #send: SendKey;
  readonly #eventMs: number;
  readonly #progress: (done: number, total: number) => void;
  #cancelled = false;
  #wake: () => void = () => {};

  constructor(plan: Plan, send: SendKey, { eventMs = EVENT_MS, progress = () => {} }: TypistOptions = {}) {
    this.#plan = plan;
    this.#send = send;
    this.#eventMs = eventMs;
    this.#progress = progress;
  }

  /**
   * Type. A character's events leave together, so that no key is held for longer than intended where timers are late
   * (in a hidden tab the guest would repeat it), and none is left held when typing ends before its end.
   *
   * @returns whether everything was typed; false after `cancel`.
   * @throws what `send` threw, after the keys that were down have been released.
   */
  async run(): Promise<boolean> {
    const { strokes } = this.#plan;
    this.#progress(0, strokes.length);
    for (const [at, stroke] of strokes.entries()) {
      if (this.#cancelled) {
        return false;
      }
      this.#type(stroke);
      this.#progress(at + 1, strokes.length);
      if (!this.#cancelled) {
        await this.#pause(stroke.length * this.#eventMs);
      }
    }
    return true;
  }

  /** Type no further character. Does nothing once it is done. */
  cancel(): void {
    this.#cancelled = true;
    this.#wake();
  }

  #type(stroke: Plan["strokes"][number]): void {
    for (const [at, { keysym, code, down }] of stroke.entries()) {
      try {
        this.#send(keysym, code, down);
      } catch (error) {
        this.#release(stroke.slice(0, at + 1));
        throw error;
      }
    }
  }

  /** Release what these events left pressed, as far as that is still possible. */
  #release(events: Plan["strokes"][number]): void {
    const pressed = new Map<number, string | null>();
    for (const { keysym, code, down } of events) {
      if (down) {
        pressed.set(keysym, code);
      } else {
        pressed.delete(keysym);
      }
    }
    for (const [keysym, code] of [...pressed].reverse()) {
      try {
        this.#send(keysym, code, false);
      } catch {
        // the first error is the one to tell
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
