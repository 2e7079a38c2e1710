// Who has the machine's keyboard and mouse, where several people watch it and one of them types.

import type { News } from "./notices";
import type { Pulse } from "./pulse";
import { t } from "./texts";
import { setLooksOn } from "./view";

export class Onlooker {
  readonly #news: News;
  #looksOn = false;

  constructor(news: News) {
    this.#news = news;
  }

  felt(pulse: Pulse): void {
    if (pulse.looksOn !== this.#looksOn) {
      this.#looksOn = pulse.looksOn;
      setLooksOn(pulse.looksOn);
      this.#news.show(t(pulse.looksOn ? "looks-on" : "looks-on-over"));
    }
  }

  detach(): void {
    this.#looksOn = false;
    setLooksOn(false);
  }
}
