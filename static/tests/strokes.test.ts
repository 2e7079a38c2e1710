// Plans: which keys with which keysyms, and what is said to be untypable.

import { deepEqual, equal, throws } from "node:assert/strict";
import test from "node:test";

import { LAYOUTS, layoutFor } from "../src/typing/layouts";
import { type Plan, type Way, planTyping } from "../src/typing/strokes";

const on = (id: string, system: "windows" | "other" = "other"): Way => ({ kind: "layout", id, system });
const CHARACTERS: Way = { kind: "characters" };

/** The events of a plan, as one reads them: "+ShiftLeft:ffe1". */
function events(plan: Plan): string {
  return plan.strokes
    .flat()
    .map(({ keysym, code, down }) => `${down ? "+" : "-"}${code ?? ""}:${keysym.toString(16)}`)
    .join(" ");
}

test("plain and shifted keys", () => {
  equal(events(planTyping("a", on("us"))), "+KeyA:61 -KeyA:61");
  equal(events(planTyping("Z", on("de"))), "+ShiftLeft:ffe1 +KeyY:5a -KeyY:5a -ShiftLeft:ffe1");
  equal(events(planTyping(" \t\n", on("us"))), "+Space:20 -Space:20 +Tab:ff09 -Tab:ff09 +Enter:ff0d -Enter:ff0d");
});

test("AltGr", () => {
  equal(events(planTyping("@", on("de"))), "+AltRight:fe03 +KeyQ:40 -KeyQ:40 -AltRight:fe03");
  equal(events(planTyping("€", on("de"))), "+AltRight:fe03 +KeyE:20ac -KeyE:20ac -AltRight:fe03");
  equal(
    events(planTyping("{", on("it", "windows"))),
    "+ShiftLeft:ffe1 +AltRight:fe03 +BracketLeft:7b -BracketLeft:7b -AltRight:fe03 -ShiftLeft:ffe1",
  );
});

test("signs that QEMU's keymaps may not have are called by what their key gives without AltGr", () => {
  equal(events(planTyping("„", on("de"))), "+AltRight:fe03 +KeyV:76 -KeyV:76 -AltRight:fe03");
  equal(
    events(planTyping("Ł", on("de"))),
    "+ShiftLeft:ffe1 +AltRight:fe03 +KeyL:4c -KeyL:4c -AltRight:fe03 -ShiftLeft:ffe1",
  );
});

test("Turkish I is not called I, which QEMU would take for a shifted i", () => {
  equal(events(planTyping("I", on("tr"))), "+ShiftLeft:ffe1 +KeyI:2b9 -KeyI:2b9 -ShiftLeft:ffe1");
  equal(events(planTyping("iı", on("tr"))), "+Quote:69 -Quote:69 +KeyI:2b9 -KeyI:2b9");
});

test("dead keys", () => {
  equal(events(planTyping("ê", on("be"))), "+BracketLeft:fe52 -BracketLeft:fe52 +KeyE:65 -KeyE:65");
  // QEMU's keymaps of French and German know them as ordinary keys
  equal(events(planTyping("ê", on("fr"))), "+BracketLeft:5e -BracketLeft:5e +KeyE:65 -KeyE:65");
  equal(
    events(planTyping("Ï", on("fr"))),
    "+ShiftLeft:ffe1 +BracketLeft:a8 -BracketLeft:a8 -ShiftLeft:ffe1 +ShiftLeft:ffe1 +KeyI:49 -KeyI:49 -ShiftLeft:ffe1",
  );
  equal(events(planTyping("^", on("de"))), "+Backquote:5e -Backquote:5e +Space:20 -Space:20");
});

test("Windows and others differ", () => {
  equal(events(planTyping("~", on("fr"))), "+AltRight:fe03 +Digit2:7e -Digit2:7e -AltRight:fe03");
  equal(
    events(planTyping("~", on("fr", "windows"))),
    "+AltRight:fe03 +Digit2:e9 -Digit2:e9 -AltRight:fe03 +Space:20 -Space:20",
  );
  deepEqual(planTyping("æñ", on("fr")).untypable, ["ñ"]);
  deepEqual(planTyping("æñ", on("fr", "windows")).untypable, ["æ"]);
});

test("what cannot be typed is reported once and in order, and the rest is planned", () => {
  const plan = planTyping("ß1é€ß😀é2", on("us"));
  deepEqual(plan.untypable, ["ß", "é", "€", "😀"]);
  equal(events(plan), "+Digit1:31 -Digit1:31 +Digit2:32 -Digit2:32");
  deepEqual(planTyping("´¨", on("de")).untypable, ["´", "¨"]);
  deepEqual(planTyping("\u0000\u001b\ud800", CHARACTERS).untypable, ["\u0000", "\u001b", "\ud800"]);
});

test("the text is normalised first", () => {
  deepEqual(planTyping("e\u0301", on("fr")), planTyping("é", on("fr")));
  deepEqual(planTyping("a\r\nb\rc\nd", on("us")), planTyping("a\nb\nc\nd", on("us")));
  deepEqual(planTyping("1\u00a0\u202f2", on("fr")), planTyping("1  2", on("fr")));
});

test("characters", () => {
  equal(events(planTyping("aÀ€", CHARACTERS)), "+:61 -:61 +:c0 -:c0 +:20ac -:20ac");
  equal(events(planTyping("😀", CHARACTERS)), "+:101f600 -:101f600");
  equal(events(planTyping("\r\n\t", CHARACTERS)), "+Enter:ff0d -Enter:ff0d +Tab:ff09 -Tab:ff09");
});

test("the places of a US keyboard", () => {
  const way: Way = { kind: "us-positions", id: "de", system: "windows" };
  equal(events(planTyping("zä", way)), "+KeyY:79 -KeyY:79 +Quote:27 -Quote:27");
  equal(events(planTyping("@", way)), "+AltRight:ffea +KeyQ:71 -KeyQ:71 -AltRight:ffea");
  equal(events(planTyping("?", way)), "+ShiftLeft:ffe1 +Minus:5f -Minus:5f -ShiftLeft:ffe1");
  deepEqual(planTyping("<>|", way).untypable, ["<", ">", "|"]);
});

test("every layout types ASCII, on Windows and elsewhere", () => {
  const ascii = Array.from({ length: 95 }, (_, at) => String.fromCharCode(0x20 + at)).join("");
  // Italian has no such keys on Windows; whether Czech's AltGr and 7 is a dead key there, sources disagree
  const lacking: Record<string, string[]> = { "it windows": ["`", "~"], "cz windows": ["`"] };
  for (const { id } of LAYOUTS) {
    for (const system of ["windows", "other"] as const) {
      deepEqual(planTyping(ascii, on(id, system)).untypable, lacking[`${id} ${system}`] ?? [], `${id} ${system}`);
    }
  }
});

test("each stroke releases what it presses, the last key first", () => {
  for (const { id } of LAYOUTS) {
    for (const system of ["windows", "other"] as const) {
      for (const stroke of planTyping(bmp(), on(id, system)).strokes) {
        const down: string[] = [];
        for (const event of stroke) {
          if (event.down) {
            down.push(event.code!);
          } else {
            equal(down.pop(), event.code, id);
          }
        }
        equal(down.length, 0);
      }
    }
  }
});

test("letters' keysyms agree with Shift, as QEMU derives Caps Lock from them", () => {
  for (const { id } of LAYOUTS) {
    for (const stroke of planTyping(bmp(), on(id)).strokes) {
      let shift = false;
      for (const { keysym, down } of stroke) {
        if (keysym === 0xffe1) {
          shift = down;
        }
        const letter = /^[A-Za-z]$/.test(String.fromCharCode(keysym)) ? String.fromCharCode(keysym) : "";
        equal(letter !== "" && letter === letter.toUpperCase(), letter !== "" && shift, id);
      }
    }
  }
});

function bmp(): string {
  return Array.from({ length: 0x3000 }, (_, at) => String.fromCharCode(at)).join("");
}

test("an unknown layout is an error", () => {
  throws(() => planTyping("a", on("xx")), /no such keyboard layout: xx/);
});

test("long texts", () => {
  const plan = planTyping("aÄß\n".repeat(16_384), on("de"));
  equal(plan.strokes.length, 65_536);
  equal(new Set(plan.strokes).size, 4);
});

test("locales and keymaps of QEMU and CloudStack", () => {
  const expected: Record<string, string | null> = {
    "us": "us", "en-us": "us", "en_US.UTF-8": "us", "uk": "gb", "en-gb": "gb", "de": "de", "DE-AT": "de",
    "de-ch": "ch-de", "de_CH": "ch-de", "fr": "fr", "fr-be": "be", "nl-be": "be", "fr-ch": "ch-fr", "fr-ca": "ca-fr",
    "it": "it", "es": "es", "es-latam": "latam", "es-MX": "latam", "es-ES": "es", "pt": "pt", "pt-br": "br", "da": "dk",
    "no": "no", "nb": "no", "nb-NO": "no", "sv": "se-fi", "fi": "se-fi", "pl": "pl", "cz": "cz", "cs-CZ": "cz", "hu": "hu",
    "tr": "tr", "jp": "jp", "ja": "jp", "ja-JP": "jp", "is": "is", "nl": "nl", "": null, "sc": null, "ru": null,
    "constructor": null,
  };
  for (const [locale, id] of Object.entries(expected)) {
    equal(layoutFor(locale), id, locale);
  }
});
