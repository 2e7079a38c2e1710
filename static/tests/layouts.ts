// Writes what is known of the layouts to a file, for comparison with others' knowledge: `node layouts.mjs FILE`.

import { writeFileSync } from "node:fs";
import { argv } from "node:process";

import { keysymOf } from "../src/typing/keysyms";
import { LAYOUTS, tableOf } from "../src/typing/layouts";
import { DEAD_KEYS, type GuestSystem, deadKey, readTable } from "../src/typing/table";

function presses(id: string, system: GuestSystem): unknown {
  return readTable(tableOf(id), system).map((press) => {
    const level = (press.shift ? 1 : 0) + (press.altGr ? 2 : 0);
    return [press.code, level, deadKey(press)?.keysym ?? keysymOf(press.gives), press.gives];
  });
}

const layouts = LAYOUTS.map(({ id }) => [id, { windows: presses(id, "windows"), other: presses(id, "other") }]);
writeFileSync(argv[2]!, JSON.stringify({ layouts: Object.fromEntries(layouts), dead: Object.values(DEAD_KEYS) }));
