// One try at a console: one WebSocket, and noVNC on top of it.

import RFB from "@novnc/novnc";

import { Channel } from "./channel";
import { PulseTaker, type Pulse } from "./pulse";
import { t } from "./texts";

/** How one try ended, as far as the browser can know. */
export interface SessionEnd {
  /** The WebSocket was open at some time. */
  readonly opened: boolean;
  /** The screen was shown at some time. */
  readonly connected: boolean;
  /** The close code; 1006 where the connection broke off, 0 where the socket never closed. */
  readonly code: number;
  /** The proxy's close reason. */
  readonly reason: string;
  /** What was said inside the VNC protocol, where the handshake was refused there. */
  readonly refusal: string;
  /** noVNC gave up by itself. */
  readonly brokenHere: boolean;
}

export interface SessionListener {
  /** The proxy took the token; it now turns to the machine's host. */
  opened(): void;
  /** The first picture is on its way. */
  connected(session: Session): void;
  named(name: string): void;
  /** How the console does, every few seconds; says within how many seconds it has to know more. */
  felt(pulse: Pulse): number;
  /** Called once, as the last. */
  ended(end: SessionEnd): void;
}

export interface Session {
  readonly rfb: RFB;
  readonly channel: Channel;
  readonly pulse: PulseTaker;
}

/** How long the socket may take to close after noVNC let go of it, before the page stops waiting for a reason. */
const CLOSE_PATIENCE_MS = 2_000;
/** How long the WebSocket may take to open. */
const OPEN_PATIENCE_MS = 20_000;
/** The close code of a connection that broke off (RFC 6455, 7.4.1). */
const LOST = 1006;

export function openSession(target: HTMLElement, address: string, listener: SessionListener): Session | null {
  let opened = false;
  let connected = false;
  let refusal = "";
  let brokenHere = false;
  let over = false;

  const end = (code: number, reason: string): void => {
    if (!over) {
      over = true;
      clearTimeout(opening);
      pulse.stop();
      listener.ended({ opened, connected, code, reason, refusal, brokenHere });
    }
  };

  const channel = new Channel(address, {
    opened: () => {
      opened = true;
      clearTimeout(opening);
      listener.opened();
      pulse.start();
    },
    said: (text) => pulse.hear(text),
    closed: end,
  });
  /** Nobody is there any more; the socket would take minutes to notice. */
  const lose = (): void => {
    end(LOST, "");
    channel.close();
  };
  const pulse = new PulseTaker(channel, (felt) => (over ? Infinity : listener.felt(felt)), lose);
  const opening = setTimeout(lose, OPEN_PATIENCE_MS);

  let rfb: RFB;
  try {
    // The package's types know WebSockets only; noVNC takes anything with the same members.
    rfb = new RFB(target, channel as unknown as WebSocket, { shared: true });
  } catch (error) {
    console.error(error);
    brokenHere = true;
    channel.close();
    end(0, "");
    return null;
  }
  const session = { rfb, channel, pulse };
  const canvas = target.querySelector("canvas");
  canvas?.setAttribute("role", "application");
  canvas?.setAttribute("aria-label", t("screen-label"));
  rfb.addEventListener("connect", () => {
    connected = true;
    listener.connected(session);
  });
  rfb.addEventListener("desktopname", (event) => listener.named(event.detail.name));
  rfb.addEventListener("securityfailure", (event) => {
    refusal = event.detail.reason ?? "";
  });
  rfb.addEventListener("disconnect", (event) => {
    brokenHere = !event.detail.clean;
    setTimeout(() => end(0, ""), CLOSE_PATIENCE_MS);
  });
  return session;
}
