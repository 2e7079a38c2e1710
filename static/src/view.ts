// What is on the page: the state, the machine's name and the panel at the end. No other file writes text into it.

import type { Message } from "./messages";

export type State = "connecting" | "connected" | "ended";

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
const panel = element("#panel", HTMLElement);
const panelText = element("#panel-text", HTMLElement);
const panelMore = element("#panel-more", HTMLElement);
const panelAdvice = element("#panel-advice", HTMLElement);
const panelSlug = element("#panel-slug", HTMLElement);
const retry = element("#retry", HTMLButtonElement);

const WORDS: Readonly<Record<State, string>> = {
  connecting: "Connecting",
  connected: "Connected",
  ended: "Disconnected",
};

const UNNAMED = "Console";
let machineName = "";

function setState(state: State): void {
  root.dataset.state = state;
  stateWord.textContent = WORDS[state];
  document.title = [machineName || UNNAMED, state === "connected" ? "" : WORDS[state].toLowerCase()].filter(Boolean).join(" – ");
}

export function showName(name: string): void {
  machineName = name.trim();
  machine.textContent = machineName || UNNAMED;
  machine.title = machineName;
  setState((root.dataset.state ?? "connecting") as State);
}

export function showConnecting(waitingFor: string): void {
  delete root.dataset.slug;
  retry.hidden = true;
  waiting.textContent = waitingFor;
  setState("connecting");
}

export function showConnected(): void {
  setState("connected");
}

export function showEnd(message: Message): void {
  panelText.textContent = message.text;
  panelMore.textContent = message.more ?? "";
  panelMore.hidden = !message.more;
  panelAdvice.textContent = message.advice;
  panelSlug.textContent = message.slug;
  retry.hidden = true;
  root.dataset.slug = message.slug;
  setState("ended");
  panel.focus(); // not the button: a person who was typing would press it unread
}

/** Offer to open the same console again; `act` is called once. */
export function offerRetry(act: () => void): void {
  retry.hidden = false;
  retry.onclick = () => {
    retry.onclick = null;
    act();
  };
}
