// The WebSocket as noVNC gets it. Binary messages are the console's; text messages are the page's own talk with the
// proxy, which noVNC must not see. Counts the bytes and keeps what the socket's end said, which noVNC drops.

export interface ChannelListener {
  opened(): void;
  /** A text message of the proxy. */
  said(text: string): void;
  closed(code: number, reason: string): void;
}

type OnMessage = (event: MessageEvent) => void;

/** Has what noVNC asks of a channel: `binaryType`, `readyState`, `protocol`, `send`, `close` and four `on` functions. */
export class Channel {
  onopen: ((event: Event) => void) | null = null;
  onmessage: OnMessage | null = null;
  onerror: ((event: Event) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  /** Bytes of the screen that came in so far. */
  received = 0;
  readonly #socket: WebSocket;

  constructor(address: string, listener: ChannelListener) {
    this.#socket = new WebSocket(address, ["binary"]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("open", (event) => {
      listener.opened();
      this.onopen?.(event);
    });
    this.#socket.addEventListener("message", (event: MessageEvent<ArrayBuffer | string>) => {
      if (typeof event.data === "string") {
        listener.said(event.data);
        return;
      }
      this.received += event.data.byteLength;
      this.onmessage?.(event);
    });
    this.#socket.addEventListener("error", (event) => this.onerror?.(event));
    this.#socket.addEventListener("close", (event) => {
      listener.closed(event.code, event.reason); // before noVNC takes the end for a fault of its own
      this.onclose?.(event);
    });
  }

  get readyState(): number {
    return this.#socket.readyState;
  }

  get protocol(): string {
    return this.#socket.protocol;
  }

  get binaryType(): BinaryType {
    return this.#socket.binaryType;
  }

  set binaryType(type: BinaryType) {
    this.#socket.binaryType = type;
  }

  send(data: ArrayBuffer | Uint8Array<ArrayBuffer>): void {
    this.#socket.send(data);
  }

  /** Say something to the proxy; nothing happens where the socket is not open. */
  say(text: string): void {
    if (this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.send(text);
    }
  }

  close(): void {
    this.#socket.close();
  }
}
