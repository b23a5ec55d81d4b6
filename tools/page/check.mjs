// What a person's browser says about each page. Usage: node check.mjs DIRECTORY CHROMIUM, in the environment of page_hub.py
import { readFileSync } from "node:fs";
import { HtmlValidate } from "html-validate";
import { chromium } from "playwright-core";
import { ways } from "./ways.mjs";

const [, , directory, executablePath] = process.argv;
const address = process.env.ADDRESS;
const axe = readFileSync("node_modules/axe-core/axe.min.js", "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const SIZES = { phone: [360, 740], tablet: [820, 1100], desktop: [1440, 900] };
const LARGEST = 150_000;
// How HTML is written is ours; what it means is not.
const html = new HtmlValidate({
  extends: ["html-validate:standard"],
  rules: {
    "attribute-boolean-style": "off", "doctype-style": "off", "no-trailing-whitespace": "off", "void-style": "off",
    "long-title": "off", "no-implicit-button-type": "off", "attribute-empty-style": "off", "no-inline-style": "error",
    "attr-quotes": "error", "no-raw-characters": "error", "prefer-native-element": "off", "tel-non-breaking": "off",
  },
});
const wrong = [];
const once = (what) => wrong.includes(what) || wrong.push(what);

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

const look = async (page, label) => {
  await page.screenshot({ path: `${directory}/${label}.png`, fullPage: true });
  // The picture of the README: what is seen without scrolling.
  if (label === "overview-desktop-light") {
    await page.screenshot({ path: `${directory}/page.png`, fullPage: true, clip: { x: 0, y: 0, width: 1440, height: 1150 } });
  }
  await page.evaluate(axe);
  const found = await page.evaluate((values) => globalThis.axe.run(document, { runOnly: values }), RULES);
  for (const { id, help, nodes } of found.violations) wrong.push(`${label}: ${id}: ${help}: ${nodes[0].target}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) wrong.push(`${label}: scrolls sideways by ${over} pixels`);
};

const validate = async (context, name, path, at = address) => {
  const answer = await context.request.get(`${at}${path}`, { headers: { accept: "text/html" } });
  const report = await html.validateString(await answer.text());
  for (const { messages } of report.results) {
    for (const { ruleId, message, line } of messages) once(`${name}: not valid: ${ruleId}: ${message} (line ${line})`);
  }
};

const logIn = async (page, token = process.env.TOKEN, at = address) => {
  await page.goto(`${at}/login`);
  await page.fill("input[name=token]", token);
  await page.click("main button");
  await page.waitForURL(`${at}/`);
};

const listen = (page, size) => {
  page.on("console", (line) => ["error", "warning"].includes(line.type()) && once(`${size}: console: ${line.text()}`));
  page.on("pageerror", (error) => once(`${size}: ${error}`));
};

// The addresses of everything that can be looked at: found by following the links that a person follows.
const pagesOf = async (page) => {
  const first = async (selector) => {
    const href = await page.locator(selector).first().getAttribute("href");
    return new URL(href, page.url()).href.replace(address, "");
  };
  const pages = { overview: "/", backups: "/backups", "backups-none": "/backups?state=failed&from=2001-01-01&until=2001-01-02" };
  for (const room of ["coverage", "checks", "recipients", "settings", "tokens", "audit"]) pages[room] = `/${room}`;
  await page.goto(`${address}/backups`);
  pages.backup = await first("main table a[href*='backups/']");
  await page.goto(address + pages.backup);
  pages.rows = await first("main a[href*='/tables/users']");
  pages["rows-beside"] = `${pages.rows}?row=1&live=1`;
  pages["rows-none"] = `${pages.rows}?column=email&value=nobody%40nowhere`;
  pages.value = `${pages.rows}/value?row=1&column=email`;
  pages["backup-tables"] = `${pages.backup}?sort=rows&find=user`;
  if (await page.locator("main a[href*='/file?name=']").count()) pages.file = await first("main a[href*='/file?name=']");
  pages.manifest = `${pages.backup}/manifest`;
  pages["recipients-found"] = "/recipients?find=example&sort=key";
  pages["checks-found"] = "/checks?find=disk&sort=since";
  pages.restore = `${pages.backup}/restore`;
  pages["coverage-taking"] = "/coverage?take=*";
  pages["error-id"] = "/backups/no-id";
  pages["error-gone"] = "/backups/00000000-0000-4000-8000-000000000000";
  return pages;
};

const operations = await (async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await logIn(page);
  const known = await pagesOf(page);
  Object.assign(known, await ways({ browser, page, address, logIn, known, once }));
  known["operation-compare-found"] = `${known["operation-compare"]}?find=user&sort=extra`;
  await context.close();
  return known;
})();

const everywhere = async (visit) => {
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, [width, height]] of Object.entries(SIZES)) {
      // The policy of the page forbids axe, as it forbids every foreign script.
      const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: true });
      const page = await context.newPage();
      listen(page, size);
      await visit(context, page, size, colorScheme);
      await context.close();
    }
  }
};

// The first visit to a service without configuration: the empty form, one with a mistake, one that saw the database.
const setUp = async () => {
  const { SET_UP_ADDRESS: at, SET_UP_TOKEN: token, DATABASE_PORT: port } = process.env;
  const states = {
    "set-up": async () => {},
    "set-up-wrong": async (page) => {
      await page.fill("#POSTGRES_HOST", "127.0.0.1");
      await page.fill("#POSTGRES_PORT", "1");
      await page.click("text=Look at the database");
      await page.waitForSelector("text=Wrong");
    },
    "set-up-database": async (page) => {
      await page.fill("#POSTGRES_PORT", port);
      await page.fill("#POSTGRES_DB", "hub");
      await page.fill("#POSTGRES_USER", "postgres");
      await page.click("text=Look at the database");
      await page.waitForSelector("text=5. The configuration");
    },
  };
  for (const [name, step] of Object.entries(states)) {
    const plain = await browser.newContext({ javaScriptEnabled: false });
    const form = await plain.newPage();
    await logIn(form, token, at);
    await step(form);
    await plain.close();
    await everywhere(async (context, page, size, colorScheme) => {
      await logIn(page, token, at);
      await look(page, `${name}-${size}-${colorScheme}`);
      if (size === "phone" && colorScheme === "light") await validate(context, name, "/", at);
    });
  }
};
await setUp();

await everywhere(async (context, page, size, colorScheme) => {
  await page.goto(`${address}/login`);
  await look(page, `login-${size}-${colorScheme}`);
  await logIn(page);
  for (const [name, path] of Object.entries(operations)) {
    await page.goto(address + path);
    await look(page, `${name}-${size}-${colorScheme}`);
    if (size === "phone" && colorScheme === "light") await validate(context, name, path);
  }
});

// As it is for everybody: the policy holds, and nothing needs JavaScript.
const plain = await browser.newContext({ javaScriptEnabled: false });
const page = await plain.newPage();
page.on("console", (line) => line.type() === "error" && wrong.push(`without JavaScript: ${line.text()}`));
const answers = [];
page.on("response", (answer) => answers.push(answer.body().catch(() => "")));
await logIn(page);
await page.waitForLoadState("networkidle");
// The login's page and its own parts are among them.
const bytes = (await Promise.all(answers)).reduce((sum, body) => sum + body.length, 0);
if (bytes > LARGEST) wrong.push(`login and overview take ${bytes} bytes`);
await page.click("nav a[href$=backups]");
await page.click("main table a[href*='backups/']");
await page.click("text=Pin");
await page.waitForSelector("text=pinned");
await page.click("text=Log out");
await page.waitForURL(/login/);
// How long until the overview is seen: of five visits with nothing kept from before. Said, and no condition.
const paints = [];
for (let visit = 0; visit < 5; visit++) {
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  await logIn(page);
  await page.reload();
  const painted = await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  paints.push(await painted.jsonValue());
  await context.close();
}
await browser.close();

// An address that is wrong on purpose is an error in the console, too.
const meant = (what) => /console: Failed to load resource.*\b40[04]\b/.test(what);
const real = wrong.filter((what) => !meant(what));
for (const what of real) console.error(what);
const painted = Math.round(paints.sort((one, other) => one - other)[2]);
console.log(`${bytes} bytes for login and overview, its first paint after ${painted} ms, ${real.length} things wrong`);
process.exitCode = real.length > 0 ? 1 : 0;
