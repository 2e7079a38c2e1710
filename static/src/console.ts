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
import { Onlooker } from "./onlooker";
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
let hands: Hands | null = null;
/** When the console opened, on the page's own clock. */
let openedAt = 0;
/** What the last try ended with, while only the page has tried since. */
let seen = "";

const toolbar = new Toolbar(target);
const size = new SizeControl(target);
const news = new News();
const keys = new KeyPanel();
const picture = new PictureControl({
  onlyLook: setup.viewOnly,
  fileName: () => screenshotName(nameShown(), new Date()),
  letGo: () => {
    typePanel.cancel();
    hands?.release();
    keys.release();
  },
});
const clipboard = new ClipboardPanel(target, news, setup);
const typePanel = new TypePanel({ clipboard, keys, news, locale: setup.locale, link });
const touch = new TouchKeyboard(typePanel);
const meter = new Meter();
const ending = new EndingNotice(
  { idleS: setup.idleTimeoutS, lifetimeS: setup.lifetimeS },
  () => session?.pulse.stay(),
);
const onlooker = new Onlooker(news);
const again = new Again();

target.addEventListener("focusout", () => hands?.release()); // nobody would see the release

/** Who writes here is there, though the machine gets no key of it; told at most so often, in milliseconds. */
const THERE_MS = 10_000;
let thereAt = 0;
for (const event of ["keydown", "pointerdown"]) {
  document.addEventListener(event, ({ target: where }) => {
    const now = performance.now();
    if (where instanceof Element && where.closest("[popover]") !== null && now - thereAt > THERE_MS) {
      thereAt = now;
      session?.pulse.stay();
    }
  });
}

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
      onlooker.felt(pulse);
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
  seen = "";
  hands = new Hands(rfb, typePanel.translation(rfb), () => typePanel.cancel());
  for (const part of [size, picture, clipboard, touch, toolbar]) {
    part.attach(rfb);
  }
  keys.attach(hands);
  typePanel.attach(rfb, hands);
  meter.attach(channel);
  showConnected();
  rfb.focus();
}

function detach(): void {
  session = null;
  hands = null;
  for (const part of [typePanel, size, picture, keys, clipboard, touch, toolbar, meter, onlooker, ending]) {
    part.detach();
  }
  news.hide();
}

/** A console that lasted this long has worked: the next tries are the first ones again. */
const LASTING_MS = 30_000;

/** Say why it ended, and go on from there as far as the token allows. */
async function sayWhy(end: SessionEnd): Promise<void> {
  if (!end.opened && !end.brokenHere) {
    const { refusal, retryable } = await askStatus(link);
    finish(refusal ?? message("websocket-blocked"), retryable);
    return;
  }
  if (end.connected && performance.now() - openedAt > LASTING_MS) {
    again.worked();
  }
  const said = explain(end);
  const why = said.more || typePanel.interrupted === "" ? said : { ...said, more: typePanel.interrupted };
  finish(why, false);
  if (worthRetry(why.slug)) {
    const { refusal, retryable } = await askStatus(link);
    if (state() !== "ended") {
      return;
    }
    // What the sentence advises cannot be done with this link any more: say what has to come first.
    finish(retryable || refusal === null ? why : { ...why, advice: `${why.advice} ${refusal.advice}` }, retryable);
  }
}

function finish(why: Message, mayRetry: boolean): void {
  showEnd(why, seen === why.slug);
  seen = why.slug;
  if (mayRetry) {
    const counting = passes(why.slug) && again.start(() => void retry());
    offerRetry(
      () => {
        seen = "";
        void retry();
      },
      counting ? "try-now" : "try-again",
    );
  }
}

/** Open the same token again; where the proxy would refuse it, say so instead. */
async function retry(): Promise<void> {
  again.cancel();
  showConnecting("step-proxy");
  const { refusal, retryable } = await askStatus(link);
  if (refusal === null) {
    openConsole();
  } else {
    finish(refusal, retryable);
  }
}

if (link.token === "") {
  finish(message("token-missing"), false);
} else {
  openConsole();
}
