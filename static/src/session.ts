// One try at a console: one WebSocket, and noVNC on top of it.
//
// The socket is ours because noVNC drops the close code and reason, which say why a console ended.

import RFB from "@novnc/novnc";

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
  connected(): void;
  named(name: string): void;
  /** Called once, as the last. */
  ended(end: SessionEnd): void;
}

/** How long the socket may take to close after noVNC let go of it, before the page stops waiting for a reason. */
const CLOSE_PATIENCE_MS = 2_000;

export function openSession(target: HTMLElement, address: string, listener: SessionListener): RFB | null {
  const socket = new WebSocket(address, ["binary"]);
  socket.binaryType = "arraybuffer";

  let opened = false;
  let connected = false;
  let refusal = "";
  let brokenHere = false;
  let over = false;

  const end = (code: number, reason: string): void => {
    if (!over) {
      over = true;
      listener.ended({ opened, connected, code, reason, refusal, brokenHere });
    }
  };

  socket.addEventListener("open", () => {
    opened = true;
    listener.opened();
  });
  socket.addEventListener("close", (event) => end(event.code, event.reason));

  let rfb: RFB;
  try {
    rfb = new RFB(target, socket, { shared: true });
  } catch (error) {
    console.error(error);
    brokenHere = true;
    socket.close();
    end(0, "");
    return null;
  }
  rfb.addEventListener("connect", () => {
    connected = true;
    listener.connected();
  });
  rfb.addEventListener("desktopname", (event) => listener.named(event.detail.name));
  rfb.addEventListener("securityfailure", (event) => {
    refusal = event.detail.reason ?? "";
  });
  rfb.addEventListener("disconnect", (event) => {
    brokenHere = !event.detail.clean;
    setTimeout(() => end(0, ""), CLOSE_PATIENCE_MS);
  });
  return rfb;
}
