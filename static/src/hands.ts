// Between the user's hands and noVNC's `sendKey`: which keys are down, and whose.
//
// The hands are kept away while a text is typed, since what they press would end up inside it; and what they hold is let
// go of when they leave the screen, since nobody would see the release there.

import type RFB from "@novnc/novnc";

import type { SendKey } from "./typing/typist";

/** The keysym that a key is sent as, for hosts that read keys in a manner of their own; `null`: the key's own. */
export type Translate = (code: string | null, shift: boolean) => number | null;

const ESCAPE = 0xff1b;

export class Hands {
  /** Places of keys that something else holds: letting go of them on the keyboard changes nothing. */
  readonly held = new Set<string>();
  readonly #down = new Map<string, { readonly keysym: number; readonly code: string | null }>();
  readonly #send: SendKey;
  #busy = false;

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
      const place = code ?? String(keysym);
      // A key is let go of as what it was pressed as, whatever Shift has done meanwhile.
      const sent = (down ? translate?.(code, this.#shift) : this.#down.get(place)?.keysym) ?? keysym;
      if (down) {
        this.#down.set(place, { keysym: sent, code });
        this.#send(sent, code, true);
      } else if (this.#down.delete(place) && !this.held.has(place)) {
        this.#send(sent, code, false); // not of a key that went down while the hands were kept away
      }
    };
  }

  /** What is typed or held by other means than the keyboard goes past the hands. */
  get send(): SendKey {
    return this.#send;
  }

  get #shift(): boolean {
    return this.#down.has("ShiftLeft") || this.#down.has("ShiftRight");
  }

  /** Let go of what the hands hold. */
  release(): void {
    for (const [place, { keysym, code }] of this.#down) {
      if (!this.held.has(place)) {
        this.#send(keysym, code, false);
      }
    }
    this.#down.clear();
  }

  /** Keep the hands away until `free`. */
  take(): void {
    this.release();
    this.#busy = true;
  }

  free(): void {
    this.#busy = false;
  }
}
