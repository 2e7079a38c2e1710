// Drives Firefox over WebDriver BiDi for the tests: `node firefox.mjs PUPPETEER FIREFOX`.
//
// One JSON object a line on standard input, {id, tab, ask, ...}; one a line on standard output for each, in order:
// {id, result} or {id, error}. The first line out, with id 0, is the browser's process id. It ends with standard input.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [puppeteerAt, firefoxAt] = process.argv.slice(2);
const { default: puppeteer } = await import(pathToFileURL(puppeteerAt).href);

const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: firefoxAt,
  headless: true,
  acceptInsecureCerts: true,
  defaultViewport: null,
  // The permission a user would give.
  extraPrefsFirefox: { "dom.events.testing.asyncClipboard": true },
});

/** The tabs by number, each with a profile of its own. */
const tabs = new Map();

/** WebDriver has two of these, and Puppeteer takes the number pad's (WebDriver, 17.4.2, "keyboard actions"). */
const KEYS = { Enter: "\uE006" };

/** Give a page its room. Firefox 140 can do that, but not turn the screen, and Puppeteer asks for both. */
async function resize(page, width, height) {
  await page.setViewport({ width, height }).catch((error) => {
    if (!String(error).includes("setScreenOrientationOverride")) {
      throw error;
    }
  });
  await page.waitForFunction(`innerWidth === ${width} && innerHeight === ${height}`);
}

const asked = {
  async start({ tab, width, height }) {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    await resize(page, width, height);
    const faults = [];
    page.on("pageerror", (error) => faults.push(error.message)); // violations of the CSP are among them
    tabs.set(tab, { context, page, faults });
  },
  async close({ tab }) {
    await tabs.get(tab).context.close();
    tabs.delete(tab);
  },
  async open({ tab, url }) {
    await tabs.get(tab).page.goto(url, { waitUntil: "load" });
  },
  url: ({ tab }) => tabs.get(tab).page.url(),
  faults: ({ tab }) => tabs.get(tab).faults,
  evaluate: ({ tab, expression }) => tabs.get(tab).page.evaluate(expression),
  click: ({ tab, x, y }) => tabs.get(tab).page.mouse.click(x, y),
  async press({ tab, keys }) {
    const { keyboard } = tabs.get(tab).page;
    const named = keys.map((key) => KEYS[key] ?? key);
    for (const key of named) {
      await keyboard.down(key);
    }
    for (const key of named.reverse()) {
      await keyboard.up(key);
    }
  },
  async screenshot({ tab, path }) {
    await tabs.get(tab).page.screenshot({ path });
  },
};

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

say({ id: 0, result: browser.process().pid });
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const { id } = request;
    try {
      say({ id, result: (await asked[request.ask](request)) ?? null });
    } catch (error) {
      say({ id, error: String(error) });
    }
  }
} finally {
  await browser.close();
}
