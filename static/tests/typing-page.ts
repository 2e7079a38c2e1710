// A page that types: opens the console whose WebSocket is its fragment, and types what the test asks it to.
//
// It says how it is doing in <html data-state>, as the console page does.

import RFB from "@novnc/novnc";

import type { GuestSystem } from "../src/typing/layouts";
import { type Way, planTyping } from "../src/typing/strokes";
import { Typist } from "../src/typing/typist";

declare global {
  /** Type a text; what could not be typed. */
  var typeText: (text: string, way: Way, eventMs: number | null) => Promise<readonly string[]>;
  /** Every character that can be typed on a layout. */
  var typable: (id: string, system: GuestSystem) => readonly string[];
}

const said = document.documentElement.dataset;
const rfb = new RFB(document.getElementById("screen")!, decodeURIComponent(location.hash.slice(1)));
rfb.addEventListener("connect", () => (said["state"] = "connected"));
rfb.addEventListener("disconnect", () => (said["state"] = "ended"));

globalThis.typeText = async (text, way, eventMs) => {
  const plan = planTyping(text, way);
  const options = eventMs === null ? {} : { eventMs };
  await new Typist(plan, (keysym, code, down) => rfb.sendKey(keysym, code, down), options).run();
  return plan.untypable;
};

globalThis.typable = (id, system) => {
  const plane = Array.from({ length: 0xd800 - 0x21 }, (_, at) => String.fromCharCode(0x21 + at));
  // what stands for another character (NFC, spaces) is typed as that
  const itself = plane.filter((character) => character.normalize("NFC") === character && !/\s/.test(character));
  const untypable = new Set(planTyping(itself.join("\n"), { kind: "layout", id, system }).untypable);
  return itself.filter((character) => !untypable.has(character));
};
