// How the connection does: round trip and data rate, in the bar.

import type { Pulse } from "./pulse";
import type { Channel } from "./channel";
import { number, t } from "./texts";
import { element } from "./view";

const meter = element("#meter", HTMLElement);
const RATE_EVERY_MS = 2_000;

export class Meter {
  #channel: Channel | null = null;
  #pulse: Pulse | null = null;
  #counted = 0;
  #countedAt = 0;
  #rate = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  attach(channel: Channel): void {
    this.#channel = channel;
    this.#pulse = null;
    this.#counted = channel.received;
    this.#countedAt = performance.now();
    this.#rate = 0;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#count(), RATE_EVERY_MS);
  }

  detach(): void {
    clearInterval(this.#timer);
    this.#channel = null;
    meter.hidden = true;
  }

  felt(pulse: Pulse): void {
    this.#pulse = pulse;
    this.#show();
  }

  #count(): void {
    if (this.#channel === null) {
      return;
    }
    const now = performance.now();
    this.#rate = ((this.#channel.received - this.#counted) * 1000) / (now - this.#countedAt);
    this.#counted = this.#channel.received;
    this.#countedAt = now;
    this.#show();
  }

  #show(): void {
    if (this.#channel === null || this.#pulse === null) {
      return;
    }
    const { proxyMs, hostMs } = this.#pulse;
    meter.hidden = false;
    meter.textContent = t("meter", {
      rtt: t("meter-rtt", { ms: milliseconds(proxyMs + (hostMs ?? 0)) }),
      rate: bytes(this.#rate),
    });
    meter.title = t("meter-hint", {
      proxy: milliseconds(proxyMs),
      host: hostMs === null ? t("unknown") : t("meter-rtt", { ms: milliseconds(hostMs) }),
      received: bytes(this.#channel.received),
    });
  }
}

function milliseconds(value: number): string {
  return number(value, value < 9.95 ? 1 : 0);
}

/** "340 kB", "1.2 MB": decimal units, as networks are measured. */
function bytes(count: number): string {
  if (count < 999.5) {
    return `${number(count)} B`;
  }
  const [value, unit] =
    count < 999.5e3 ? [count / 1e3, "kB"] : count < 999.5e6 ? [count / 1e6, "MB"] : [count / 1e9, "GB"];
  return `${number(value, value < 9.95 ? 1 : 0)} ${unit}`;
}
