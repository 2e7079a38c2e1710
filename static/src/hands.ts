// Between the user's hands and noVNC's `sendKey`: what is pressed while a text is being typed would end up inside it.

import type RFB from "@novnc/novnc";

import type { SendKey } from "./typing/typist";

/** The keysym that a key is sent as, for hosts that read keys in a manner of their own; `null`: the key's own. */
export type Translate = (code: string | null, shift: boolean) => number | null;

const ESCAPE = 0xff1b;

export class Hands {
  #busy = false;
  readonly #down = new Map<string, { readonly keysym: number; readonly code: string | null }>();
  readonly #send: SendKey;

  /** From now on `rfb.sendKey` goes through this; `onEscape` is called where that key is pressed while busy. */
  constructor(rfb: RFB, translate: Translate | null, onEscape: () => void) {
    const send = rfb.sendKey.bind(rfb);
    this.#send = (keysym, code, down) => send(keysym, code, down);
    rfb.sendKey = (keysym: number, code: string | null, down?: boolean): void => {
      if (down === undefined) {
        rfb.sendKey(keysym, code, true);
        rfb.sendKey(keysym, code, false);
        return;
      }
      if (this.#busy) {
        if (keysym === ESCAPE && down) {
          onEscape();
        }
        return;
      }
      const held = code ?? String(keysym);
      // A key is let go of as what it was pressed as, whatever Shift has done meanwhile.
      const sent = (down ? translate?.(code, this.#shift) : this.#down.get(held)?.keysym) ?? keysym;
      if (down) {
        this.#down.set(held, { keysym: sent, code });
      } else {
        this.#down.delete(held);
      }
      this.#send(sent, code, down);
    };
  }

  /** What a text is typed with, past the hands. */
  get send(): SendKey {
    return this.#send;
  }

  get #shift(): boolean {
    return this.#down.has("ShiftLeft") || this.#down.has("ShiftRight");
  }

  /** Keep the hands away until `free`; what they hold is let go of first. */
  take(): void {
    for (const { keysym, code } of this.#down.values()) {
      this.#send(keysym, code, false);
    }
    this.#down.clear();
    this.#busy = true;
  }

  free(): void {
    this.#busy = false;
  }
}
