// What is on the page: the state, the machine's name and the panel at the end. No other file writes text into these.

import type { Message } from "./messages";
import { t, type TextKey } from "./texts";

export type State = "connecting" | "connected" | "ended";

/** What the page waits for while it connects, in order. */
export const STEPS = ["step-proxy", "step-host", "step-login", "step-picture"] as const satisfies readonly TextKey[];
export type Step = (typeof STEPS)[number];

export function element<T extends Element>(selector: string, kind: abstract new () => T): T {
  const found = document.querySelector(selector);
  if (!(found instanceof kind)) {
    throw new Error(`console.html has no ${selector}`);
  }
  return found;
}

const root = document.documentElement;
const machine = element("#machine", HTMLElement);
const stateWord = element("#state", HTMLElement);
const waiting = element("#waiting-for", HTMLElement);
const steps = element("#steps", HTMLElement);
const panel = element("#panel", HTMLElement);
const panelText = element("#panel-text", HTMLElement);
const panelMore = element("#panel-more", HTMLElement);
const panelAdvice = element("#panel-advice", HTMLElement);
const panelSlug = element("#panel-slug", HTMLElement);
const retry = element("#retry", HTMLButtonElement);
const said = element("#said", HTMLElement);

let machineName = "";
let viewOnly = false;
let looksOn = false;

/** Screen readers hear it; nobody sees it. What is seen says the same where it happens. */
export function announce(words: string): void {
  said.textContent = words;
}

/** Give the keyboard to the machine. */
export function focusScreen(): void {
  document.querySelector<HTMLElement>("#screen canvas")?.focus();
}

/** Likewise, where it would be nobody's otherwise: what had it is not there any more. */
export function catchFocus(): void {
  const { activeElement } = document;
  if (activeElement === null || activeElement === document.body || !activeElement.checkVisibility()) {
    focusScreen();
  }
}

function setState(state: State): void {
  root.dataset.state = state;
  const connected: TextKey = viewOnly ? "view-only-state" : looksOn ? "looks-on-state" : "connected";
  stateWord.textContent = t(state === "connected" ? connected : state);
  const aside = state === "connected" ? "" : t(state);
  document.title = [machineName || t("console"), aside].filter(Boolean).join(" – ");
}

export function state(): State {
  return (root.dataset.state ?? "connecting") as State;
}

export function showName(name: string): void {
  if (name.trim() !== "") {
    machineName = name.trim();
    machine.textContent = machineName;
    machine.title = machineName;
    setState(state());
  }
}

export function nameShown(): string {
  return machineName;
}

/** Whether the user's hands reach the machine. */
export function setViewOnly(on: boolean): void {
  viewOnly = on;
  root.toggleAttribute("data-view-only", on);
  setState(state());
}

/** Whether somebody else has the machine's keyboard and mouse. */
export function setLooksOn(on: boolean): void {
  looksOn = on;
  setState(state());
}

export function showConnecting(step: Step): void {
  delete root.dataset.slug;
  root.dataset.step = step;
  retry.hidden = true;
  if (waiting.textContent !== t(step)) {
    waiting.textContent = t(step); // each writing is read out
  }
  const reached = STEPS.indexOf(step);
  for (const [index, dot] of [...steps.children].entries()) {
    dot.className = index < reached ? "done" : index === reached ? "now" : "";
  }
  setState("connecting");
}

export function showConnected(): void {
  delete root.dataset.step;
  setState("connected");
  announce(stateWord.textContent ?? "");
}

/** Show why it ended; `known`: the user has seen that before, and only the page has tried since. */
export function showEnd(message: Message, known: boolean): void {
  delete root.dataset.step;
  panelText.textContent = message.text;
  panelMore.textContent = message.more ?? "";
  panelMore.hidden = !message.more;
  panelAdvice.textContent = message.advice;
  panelSlug.textContent = message.slug;
  retry.hidden = true;
  root.dataset.slug = message.slug;
  setState("ended");
  announce(""); // the panel has the word now
  if (!known) {
    panel.focus(); // not the button: a person who was typing would press it unread
  }
}

/** Offer to open the same console again; `act` is called once. */
export function offerRetry(act: () => void, words: TextKey = "try-again"): void {
  retry.textContent = t(words);
  retry.hidden = false;
  retry.onclick = () => {
    retry.onclick = null;
    act();
  };
}
