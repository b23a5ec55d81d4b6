// What a person's browser says about each page. Usage: TOKEN=... node check.mjs ADDRESS DIRECTORY CHROMIUM
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [, , address, directory, executablePath] = process.argv;
const axe = readFileSync("node_modules/axe-core/axe.min.js", "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const SIZES = { phone: [360, 740], tablet: [820, 1100], desktop: [1440, 900] };
const LARGEST = 150_000;
const wrong = [];

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

const look = async (page, label) => {
  await page.screenshot({ path: `${directory}/${label}.png`, fullPage: true });
  await page.evaluate(axe);
  const found = await page.evaluate((values) => globalThis.axe.run(document, { runOnly: values }), RULES);
  for (const { id, help, nodes } of found.violations) wrong.push(`${label}: ${id}: ${help}: ${nodes[0].target}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) wrong.push(`${label}: scrolls sideways by ${over} pixels`);
};

const logIn = async (page) => {
  await page.goto(`${address}/login`);
  await page.fill("input[name=token]", process.env.TOKEN);
  await page.click("main button");
  await page.waitForURL(`${address}/`);
};

for (const colorScheme of ["light", "dark"]) {
  for (const [size, [width, height]] of Object.entries(SIZES)) {
    // The policy of the page forbids axe, as it forbids every foreign script.
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: true });
    const page = await context.newPage();
    page.on("console", (line) => ["error", "warning"].includes(line.type()) && wrong.push(`${size}: console: ${line.text()}`));
    page.on("pageerror", (error) => wrong.push(`${size}: ${error}`));
    await page.goto(`${address}/login`);
    await look(page, `login-${size}-${colorScheme}`);
    await logIn(page);
    await look(page, `overview-${size}-${colorScheme}`);
    await page.click("nav a[href$=backups]");
    await look(page, `backups-${size}-${colorScheme}`);
    await page.click("main table a[href*='backups/']");
    await look(page, `backup-${size}-${colorScheme}`);
    for (const room of ["coverage", "checks", "recipients", "settings", "tokens", "audit"]) {
      await page.goto(`${address}/${room}`);
      await look(page, `${room}-${size}-${colorScheme}`);
    }
    await context.close();
  }
}

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
await browser.close();

for (const what of wrong) console.error(what);
console.log(`${bytes} bytes for login and overview, ${wrong.length} things wrong`);
process.exitCode = wrong.length > 0 ? 1 : 0;
