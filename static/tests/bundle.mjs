// Bundles programs of the tests: `node tests/bundle.mjs OUTDIR ENTRY...` writes OUTDIR/<name of ENTRY>.mjs for each.

import path from "node:path";

import { build } from "esbuild";

const [out, ...entries] = process.argv.slice(2);
if (out === undefined || entries.length === 0) {
  console.error("usage: node tests/bundle.mjs OUTDIR ENTRY...");
  process.exit(2);
}
await build({
  entryPoints: entries.map((entry) => path.resolve(entry)),
  outdir: path.resolve(out),
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  external: ["node:*"],
  logLevel: "warning",
});
