// A page that types: opens the console whose WebSocket is its fragment, and types what the test asks it to.
//
// It says how it is doing in <html data-state>, as the console page does.

import RFB from "@novnc/novnc";

import { type Way, planTyping } from "../src/typing/strokes";
import { Typist } from "../src/typing/typist";

declare global {
  /** Type a text; what could not be typed. */
  var typeText: (text: string, way: Way, eventMs?: number) => Promise<readonly string[]>;
}

const said = document.documentElement.dataset;
const rfb = new RFB(document.getElementById("screen")!, decodeURIComponent(location.hash.slice(1)));
rfb.addEventListener("connect", () => (said["state"] = "connected"));
rfb.addEventListener("disconnect", () => (said["state"] = "ended"));

globalThis.typeText = async (text, way, eventMs) => {
  const plan = planTyping(text, way);
  const options = eventMs === undefined ? {} : { eventMs };
  await new Typist(plan, (keysym, code, down) => rfb.sendKey(keysym, code!, down), options).run();
  return plan.untypable;
};
