// What people do with the page, end to end and without JavaScript. The pages that they came to are looked at, too.

const shown = async (page, text) => {
  // A process of its own does it; its page follows it.
  for (let tries = 0; tries < 300; tries += 1) {
    const content = await page.locator("main").innerText();
    if (content.includes(text)) return content;
    await page.waitForTimeout(500);
    await page.reload();
  }
  throw new Error(`${page.url()} never says ${text}`);
};

const pathOf = (page, address) => page.url().replace(address, "");

export const ways = async ({ browser, page: first, address, logIn, known, once }) => {
  const found = {};
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await logIn(page);
  await first.close();
  try {
    // After an alert: what is wrong, and all checks now.
    await page.goto(`${address}/checks`);
    await page.click("text=Check now");
    await page.waitForURL(/checks/);
    // Drill a backup, verify it and compare it with the database.
    for (const [name, action] of [["operation-verify", "Verify"], ["operation-compare", "Compare with the living database"], ["operation-drill", "Drill"]]) {
      await page.goto(address + known.backup);
      await page.locator("main button", { hasText: action }).first().click();
      await page.waitForURL(/operations/);
      await shown(page, "took");
      found[name] = pathOf(page, address);
    }
    // A user is deleted; yesterday's backup has the row, which is put back.
    if (process.env.DELETED_USER) {
      const email = process.env.DELETED_USER;
      await page.goto(address + known.rows);
      await page.selectOption("#column", "email");
      await page.fill("#value", email);
      await page.click("main .filters >> text=Show");
      await shown(page, "1 row found");
      await page.click("text=Beside the living rows");
      await shown(page, "not there any more");
      found["rows-deleted"] = pathOf(page, address);
      await page.click("text=Plan to put missing rows back");
      await shown(page, "In this order");
      await page.goto(`${address}${known.backup}/restore`);
      await page.check("#missing-rows");
      await page.fill("#tables", "users");
      await page.click("text=Show what it would do");
      await page.waitForURL(/operations/);
      const preview = await shown(page, "Restore now?");
      if (!preview.includes("insert 1 row and overwrite 0")) once(`the preview of one row says: ${preview}`);
      found["operation-preview"] = pathOf(page, address);
      await page.fill("#database", "wrong");
      await page.click("main form button.primary");
      await shown(page, "nothing was done");
      await page.goBack();
      const name = await page.locator(".notice.bad code").innerText();
      await page.fill("#database", name);
      await page.click("main form button.primary");
      await page.waitForURL(/operations/);
      await shown(page, "Restore: done");
      found["operation-restore"] = pathOf(page, address);
      await page.goto(`${address}${found["rows-deleted"]}`);
      await shown(page, "the same");
    }
    // A link to the archive.
    await page.goto(address + known.backup);
    await page.click("text=Make a link to download");
    await shown(page, "It downloads the archive");
  } finally {
    await context.close();
  }
  if (process.env.READ_TOKEN) {
    const reading = await browser.newContext({ javaScriptEnabled: false });
    const reader = await reading.newPage();
    await logIn(reader, process.env.READ_TOKEN);
    await reader.goto(address + known.backup);
    for (const word of ["Restore …", "Drill", "Make a link"]) {
      if (await reader.locator("main button, main a.button", { hasText: word }).count()) once(`a reader is offered ${word}`);
    }
    for (const path of [known.rows, known.restore, "/tokens", "/audit"]) {
      const answer = await reader.goto(address + path);
      if (answer.status() !== 403) once(`a reader gets ${answer.status()} for ${path}`);
    }
    await reading.close();
  }
  return found;
};
