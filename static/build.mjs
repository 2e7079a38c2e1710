// Builds the console page: `node build.mjs OUTDIR`.
//
// Out come console.js (one ES module: our code, noVNC's RFB class and pako), console.css, index.html, index.css, icon.svg,
// licences.txt, and for each language console.LANG.html and error.LANG.html; for those other than English, texts-LANG.js as
// well. What is in OUTDIR under these names is overwritten, nothing is removed.

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const source = path.join(here, "src");
const novnc = path.join(here, "node_modules", "@novnc", "novnc");

const messages = path.join(here, "..", "trio_cpvm", "messages");

const VERBATIM = ["icon.svg", "index.html"];
const TEMPLATES = ["console", "error"];

/** The bundle. noVNC awaits at the top level, so es2022 is the oldest language it can be written in. */
async function bundle(out, banner) {
  const result = await build({
    absWorkingDir: here,
    entryPoints: ["console.ts", "console.css", "index.css"].map((name) => path.join(source, name)),
    outdir: out,
    bundle: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    minify: true,
    legalComments: "inline",
    banner: { js: banner },
    metafile: true,
    logLevel: "warning",
  });
  return Object.keys(result.metafile.inputs).sort();
}

/** The copyright comments at the top of bundled files that say more than noVNC's usual four lines. */
async function notices(inputs) {
  const found = new Map();
  for (const input of inputs.filter((name) => name.startsWith("node_modules/"))) {
    const text = await readFile(path.join(here, input), "utf8");
    for (const [comment] of text.matchAll(/\/\*[\s\S]*?\*\/|(?:^[ \t]*\/\/.*\n)+/gm)) {
      const ordinary = /\bLicensed under MPL 2\.0\b/i.test(comment) && /\bThe noVNC authors\b/i.test(comment);
      if (/copyright|\(c\)|permission is hereby/i.test(comment) && !ordinary) {
        const files = found.get(comment) ?? [];
        found.set(comment, [...files, input.replace(/^node_modules\//, "")]);
      }
    }
  }
  return [...found].map(([comment, files]) => [files.join(", "), comment]);
}

/** Everything the licences of the bundled code ask to be handed on with it. */
async function licences(version, inputs) {
  const read = (name) => readFile(path.join(novnc, name), "utf8");
  const parts = [
    [
      "Licences of the console page",
      `console.js holds, next to trio-cpvm's own code (Apache-2.0), parts of two projects in minified form:\n\n` +
        `* noVNC ${version}, unmodified, Mozilla Public License 2.0.\n` +
        `  Its source: https://github.com/novnc/noVNC (tag v${version}), or the npm package @novnc/novnc ${version}.\n` +
        `* pako, as it comes with noVNC, MIT License.\n\n` +
        `Their own words follow.`,
    ],
    ["noVNC: LICENSE.txt", await read("LICENSE.txt")],
    ["noVNC: AUTHORS", await read("AUTHORS")],
    ["noVNC: docs/LICENSE.MPL-2.0", await read("docs/LICENSE.MPL-2.0")],
    ["pako: LICENSE", await read("vendor/pako/LICENSE")],
    ...(await notices(inputs)),
  ];
  return parts.map(([title, text]) => `${title}\n${"=".repeat(78)}\n\n${text.trim()}\n`).join("\n\n");
}

const readJson = async (...names) => JSON.parse(await readFile(path.join(...names), "utf8"));

/** The languages that there are texts in: a file each in src/texts/. */
async function languages() {
  const names = await readdir(path.join(source, "texts"));
  return names.filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -".json".length));
}

const escapeHtml = (text) =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`).replaceAll("$", "$$$$");

/** The pages in one language. Their "$" names are the proxy's to fill in, so any other dollar is doubled. */
async function pages(out, language) {
  const english = await readJson(source, "texts", "en.json");
  const texts = await readJson(source, "texts", `${language}.json`);
  const script =
    language === "en" ? "" : `<script type="module" src="/novnc/assets/texts-${language}.js"></script>`;
  for (const name of TEMPLATES) {
    const template = await readFile(path.join(source, `${name}.html`), "utf8");
    const page = template
      .replace(/<!--[\s\S]*?-->\n?/g, "")
      .replace(/^ +/gm, "")
      .replace(/\{\{([a-z-]+)\}\}\n?/g, (whole, key) => {
        if (key === "texts-script") {
          return script && `${script}\n`;
        }
        if (!Object.hasOwn(english, key)) {
          throw new Error(`${name}.html: there is no text ${whole}`);
        }
        return escapeHtml(texts[key] ?? english[key]) + (whole.endsWith("\n") ? "\n" : "");
      });
    await writeFile(path.join(out, `${name}.${language}.html`), page);
  }
}

/** What a page in another language than English says while it runs. */
async function languageFile(out, language) {
  const parts = {
    texts: await readJson(source, "texts", `${language}.json`),
    reasons: {
      ...(await readJson(source, "page-messages", `${language}.json`)),
      ...(await readJson(messages, `${language}.json`)),
    },
  };
  await writeFile(path.join(out, `texts-${language}.js`), `globalThis.consoleLanguage=${JSON.stringify(parts)};\n`);
}

const [outdir, ...rest] = process.argv.slice(2);
if (outdir === undefined || rest.length > 0) {
  console.error("usage: node build.mjs OUTDIR");
  process.exit(2);
}

const out = path.resolve(outdir);
const { version } = JSON.parse(await readFile(path.join(novnc, "package.json"), "utf8"));
const banner = `/*! trio-cpvm's console page, with noVNC ${version} (MPL-2.0) and pako (MIT): see licences.txt */`;

await mkdir(out, { recursive: true });
const inputs = await bundle(out, banner).catch((error) => {
  if (error.errors === undefined) {
    throw error;
  }
  process.exit(1); // esbuild has shown where the sources are wrong
});
await writeFile(path.join(out, "licences.txt"), await licences(version, inputs));
await Promise.all(VERBATIM.map((name) => copyFile(path.join(source, name), path.join(out, name))));
for (const language of await languages()) {
  await pages(out, language);
  if (language !== "en") {
    await languageFile(out, language);
  }
}
