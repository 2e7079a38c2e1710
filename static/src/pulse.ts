// The page's talk with the proxy: how far the console is, how long a round trip takes, how long it may still go on.
//
// One small question every few seconds, in the WebSocket itself; what comes back is the proxy's own count, so the page
// never guesses when a limit ends the console.

import type { Channel } from "./channel";

export type Phase = "connect" | "handshake" | "relay";

export interface Pulse {
  readonly phase: Phase;
  /** Browser to proxy and back, in milliseconds. */
  readonly proxyMs: number;
  /** Proxy to the machine's host and back, in milliseconds; `null` where unknown. */
  readonly hostMs: number | null;
  /** Until the idle limit ends the console, in seconds; `null` where none does. */
  readonly idleLeftS: number | null;
  /** Likewise, the lifetime limit. */
  readonly lifetimeLeftS: number | null;
  /** Until the proxy ends the console because it stops itself, in seconds; `null` while it does not. */
  readonly drainLeftS: number | null;
  /** Somebody else has the machine's keyboard and mouse at this moment. */
  readonly looksOn: boolean;
}

/** How often the proxy is asked, in milliseconds: while the console opens, and afterwards; never more often than that. */
const OPENING_MS = 1_000;
const RUNNING_MS = 5_000;
const SOONEST_MS = 1_000;
/** A proxy that has not answered for so long is gone: a lost network tells the browser nothing for minutes. */
const PATIENCE_MS = 15_000;
/** After a page was asleep its timers run before its messages arrive. */
const WAKING_MS = 5_000;

export class PulseTaker {
  readonly #channel: Channel;
  readonly #felt: (pulse: Pulse) => number;
  readonly #silent: () => void;
  #number = 0;
  #askedAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * `felt` says within how many seconds it has to know more; infinity where the usual time does. `silent` is called
   * once, where the proxy does not answer.
   */
  constructor(channel: Channel, felt: (pulse: Pulse) => number, silent: () => void) {
    this.#channel = channel;
    this.#felt = felt;
    this.#silent = silent;
  }

  start(): void {
    this.#ask("ping");
  }

  /** Tell the proxy that the user is there, as a key would. */
  stay(): void {
    clearTimeout(this.#timer);
    this.#ask("stay");
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#askedAt = 0;
  }

  /** A text message of the proxy. */
  hear(text: string): void {
    const answer = readAnswer(text);
    if (answer === null || answer.number !== this.#number || this.#askedAt === 0) {
      return;
    }
    clearTimeout(this.#timer);
    const proxyMs = performance.now() - this.#askedAt;
    this.#askedAt = 0;
    const wantedMs = 1000 * this.#felt({ ...answer, proxyMs });
    const usualMs = answer.phase === "relay" ? RUNNING_MS : OPENING_MS;
    this.#timer = setTimeout(() => this.#ask("ping"), Math.max(SOONEST_MS, Math.min(wantedMs, usualMs)));
  }

  #ask(what: "ping" | "stay"): void {
    this.#number = (this.#number + 1) % 0x7fffffff;
    this.#askedAt = performance.now();
    this.#channel.say(JSON.stringify({ [what]: this.#number }));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#giveUp(), PATIENCE_MS);
  }

  #giveUp(): void {
    if (performance.now() - this.#askedAt > PATIENCE_MS + WAKING_MS) {
      this.#askedAt = performance.now() - PATIENCE_MS;
      this.#timer = setTimeout(() => this.#giveUp(), WAKING_MS);
      return;
    }
    this.stop();
    this.#silent();
  }
}

interface Answer extends Omit<Pulse, "proxyMs"> {
  readonly number: number;
}

/** The JSON object that a text is; an empty one where it is none. */
export function readObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function readAnswer(text: string): Answer | null {
  const found = readObject(text);
  const number = (name: string): number | null => (typeof found[name] === "number" ? found[name] : null);
  const pong = number("pong");
  const phase = found["phase"];
  if (pong === null || (phase !== "connect" && phase !== "handshake" && phase !== "relay")) {
    return null;
  }
  return {
    number: pong,
    phase,
    hostMs: number("host_rtt_ms"),
    idleLeftS: number("idle_left_s"),
    lifetimeLeftS: number("lifetime_left_s"),
    drainLeftS: number("drain_left_s"),
    looksOn: found["looks_on"] === true,
  };
}
