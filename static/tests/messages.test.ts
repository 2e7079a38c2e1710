// What is made of the proxy's words: who has replaced a viewer is told in the reader's language.

import { equal } from "node:assert/strict";
import test from "node:test";

const OPENED = "The console was opened somewhere else.";

// the page's language is there before the page's own program runs
globalThis.consoleLanguage = {
  texts: { "by-user": "Von: {name}" },
  reasons: { replaced: { text: "Woanders geöffnet.", advice: "Erneut öffnen." } },
};
const { parseReason } = await import("../src/messages");

test("a replaced viewer is told by whom", () => {
  const message = parseReason(`replaced: ${OPENED} By: alice {name} <b>`);
  equal(message?.slug, "replaced");
  equal(message?.text, "Woanders geöffnet.");
  equal(message?.more, "Von: alice {name} <b>");
});

test("without a name there is nothing more to tell", () => {
  equal(parseReason(`replaced: ${OPENED}`)?.more, "");
});

test("a host's own words stay what they are", () => {
  const refused = "The machine's host refused the console password. It said: By: alice";
  const message = parseReason(`upstream-auth-failed: ${refused}`);
  equal(message?.slug, "upstream-auth-failed");
  equal([message?.more, message?.text].join(" ").includes("Von"), false);
});
