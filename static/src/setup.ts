// What the proxy says about this console before it is opened: a meta element that it fills in.

import { readObject } from "./pulse";

export interface Setup {
  /** What the platform calls the machine; empty where it does not say. */
  readonly name: string;
  /** The guest's keyboard, as the platform names it; empty where unknown. */
  readonly locale: string;
  /** The token lets its user look, and no more. */
  readonly viewOnly: boolean;
  /** Clipboard texts may go to the machine, and come from it. */
  readonly toGuest: boolean;
  readonly fromGuest: boolean;
  /** Seconds without input after which the console is closed, and seconds it may last; 0 for no limit. */
  readonly idleTimeoutS: number;
  readonly lifetimeS: number;
}

/** Read the meta element. A page that no proxy has filled in (a test's, say) gets the plainest console. */
export function readSetup(): Setup {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="setup"]');
  const found = readObject(meta?.content ?? "");
  const text = (name: string): string => (typeof found[name] === "string" ? found[name] : "");
  const seconds = (name: string): number => (typeof found[name] === "number" ? found[name] : 0);
  return {
    name: text("name"),
    locale: text("locale"),
    viewOnly: found["viewOnly"] === true,
    toGuest: found["toGuest"] !== false,
    fromGuest: found["fromGuest"] !== false,
    idleTimeoutS: seconds("idleTimeoutS"),
    lifetimeS: seconds("lifetimeS"),
  };
}
