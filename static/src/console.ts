// The console page: reads the link, opens the console, and says at each time what is going on.

import { Again } from "./again";
import { ClipboardPanel } from "./clipboard";
import { explain } from "./explain";
import { Hands } from "./hands";
import { KeyPanel } from "./keys";
import { hideLink, readLink, socketAddress } from "./link";
import { message, passes, worthRetry, type Message } from "./messages";
import { Meter } from "./meter";
import { EndingNotice, News } from "./notices";
import { PictureControl, screenshotName } from "./picture";
import type { Phase } from "./pulse";
import { openSession, type Session, type SessionEnd } from "./session";
import { readSetup } from "./setup";
import { SizeControl } from "./size";
import { askStatus } from "./status";
import { Toolbar } from "./toolbar";
import { TouchKeyboard } from "./touch";
import { TypePanel } from "./type-panel";
import { element, nameShown, offerRetry, showConnected, showConnecting, showEnd, showName, state, type Step } from "./view";

const setup = readSetup();
const link = readLink(location.search);
hideLink();

const STEP_OF: Readonly<Record<Phase, Step>> = {
  connect: "step-host",
  handshake: "step-login",
  relay: "step-picture",
};

const target = element("#screen", HTMLElement);
let session: Session | null = null;
/** When the console opened, on the page's own clock. */
let openedAt = 0;

const toolbar = new Toolbar(target);
const size = new SizeControl(target);
const news = new News();
const keys = new KeyPanel();
const picture = new PictureControl({
  onlyLook: setup.viewOnly,
  fileName: () => screenshotName(nameShown(), new Date()),
  letGo: () => keys.release(),
});
const clipboard = new ClipboardPanel(target, news);
const typePanel = new TypePanel({ clipboard, keys, news, locale: setup.locale, link });
const touch = new TouchKeyboard(typePanel);
const meter = new Meter();
const ending = new EndingNotice(
  { idleS: setup.idleTimeoutS, lifetimeS: setup.lifetimeS },
  () => session?.pulse.stay(),
);
const again = new Again();

showName(setup.name);

function openConsole(): void {
  again.cancel();
  showConnecting("step-proxy");
  session = openSession(target, socketAddress(link), {
    opened: () => showConnecting("step-host"),
    connected: attach,
    named: (name) => {
      if (setup.name === "") {
        showName(name);
      }
    },
    felt: (pulse) => {
      if (state() === "connecting") {
        showConnecting(STEP_OF[pulse.phase]);
        return Infinity;
      }
      meter.felt(pulse);
      return ending.felt(pulse);
    },
    ended: (end) => {
      detach();
      void sayWhy(end);
    },
  });
  if (session !== null) {
    session.rfb.showDotCursor = link.showDot;
    session.rfb.background = "var(--desk)";
  }
}

function attach({ rfb, channel }: Session): void {
  openedAt = performance.now();
  const hands = new Hands(rfb, typePanel.translation(rfb), () => typePanel.cancel());
  for (const part of [size, picture, keys, clipboard, toolbar]) {
    part.attach(rfb);
  }
  typePanel.attach(rfb, hands);
  meter.attach(channel);
  showConnected();
  rfb.focus();
}

function detach(): void {
  session = null;
  for (const part of [typePanel, size, picture, keys, clipboard, touch, toolbar, meter, ending]) {
    part.detach();
  }
  news.hide();
}

/** A console that lasted this long has worked: the next tries are the first ones again. */
const LASTING_MS = 30_000;

/** Say why it ended, and go on from there as far as the token allows. */
async function sayWhy(end: SessionEnd): Promise<void> {
  if (!end.opened && !end.brokenHere) {
    const status = await askStatus(link);
    finish(status.refusal ?? message("websocket-blocked"), status.retryable);
    return;
  }
  if (end.connected && performance.now() - openedAt > LASTING_MS) {
    again.worked();
  }
  const why = explain(end);
  finish(why, false);
  if (worthRetry(why.slug)) {
    const status = await askStatus(link);
    if (state() === "ended" && status.retryable) {
      finish(why, true);
    }
  }
}

function finish(why: Message, mayRetry: boolean): void {
  if (state() !== "ended" || document.documentElement.dataset.slug !== why.slug) {
    showEnd(why);
  }
  if (mayRetry) {
    const counting = passes(why.slug) && again.start(() => void retry());
    offerRetry(() => void retry(), counting ? "try-now" : "try-again");
  }
}

/** Open the same token again; where the proxy would refuse it, say so instead. */
async function retry(): Promise<void> {
  again.cancel();
  showConnecting("step-proxy");
  const status = await askStatus(link);
  if (status.refusal === null) {
    openConsole();
  } else {
    finish(status.refusal, status.retryable);
  }
}

if (link.token === "") {
  finish(message("token-missing"), false);
} else {
  openConsole();
}
