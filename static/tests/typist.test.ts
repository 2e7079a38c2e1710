// Typing in time: pace, progress, cancelling, and keys that are never left held.

import { deepEqual, equal, rejects } from "node:assert/strict";
import test from "node:test";

import { planTyping } from "../src/typing/strokes";
import { Typist } from "../src/typing/typist";

const plan = planTyping("aB@", { kind: "layout", id: "de", system: "other" });

test("everything is sent in order, and progress is told", async () => {
  const sent: unknown[] = [];
  const progress: string[] = [];
  const typist = new Typist(plan, (...args) => sent.push(args), {
    eventMs: 0,
    progress: (done, total) => progress.push(`${done}/${total}`),
  });
  equal(await typist.run(), true);
  deepEqual(sent, plan.strokes.flat().map(({ keysym, code, down }) => [keysym, code, down]));
  deepEqual(progress, ["0/3", "1/3", "2/3", "3/3"]);
});

test("no more keys a second than asked for", async () => {
  const started = performance.now();
  await new Typist(plan, () => {}, { eventMs: 5 }).run();
  const events = plan.strokes.flat().length;
  const took = performance.now() - started;
  equal(took >= events * 5 - 3, true, `${events} events took ${took} ms`); // a timer may be 1 ms early
});

test("cancelling ends it after the character that is being typed", async () => {
  const sent: boolean[] = [];
  const typist: Typist = new Typist(plan, (_keysym, _code, down) => sent.push(down), {
    eventMs: 1e6, // ends a pause, too
    progress: (done) => {
      if (done === 2) {
        typist.cancel();
      } else if (done === 1) {
        setTimeout(() => typist.cancel(), 1);
      }
    },
  });
  equal(await typist.run(), false);
  deepEqual(sent, [true, false]);
});

test("cancelled before it starts", async () => {
  const typist = new Typist(plan, () => {
    throw new Error("sent");
  });
  typist.cancel();
  equal(await typist.run(), false);
});

test("where sending fails, the keys that are down are released", async () => {
  const sent: string[] = [];
  const typist = new Typist(plan, (_keysym, code, down) => {
    sent.push(`${down ? "+" : "-"}${code}`);
    if (sent.length === 4) {
      throw new Error("gone");
    }
  });
  await rejects(typist.run(), /gone/);
  deepEqual(sent, ["+KeyA", "-KeyA", "+ShiftLeft", "+KeyB", "-KeyB", "-ShiftLeft"]);
});
