// Opens the live page in Chromium, and says what it shows.
//
//   node live_page.js NODE_MODULES ADDRESS FILTER PICTURES GO TAG
//
// Writes `ready` once the page listens; when the file GO is there, all traffic of the test has been. Then looks at rows,
// details, trace, filter, keys, the agent's page, and takes pictures in light and dark. The last line is JSON.
"use strict";
const fs = require("fs");
const path = require("path");
const [modules, address, filter, pictures, go, tag] = process.argv.slice(2);
const { chromium } = require(`${modules}/playwright-core`);

const quiet = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

const token = new URL(address).hash.slice("#token=".length);

async function until(what, look) {
    for (let end = Date.now() + 15000; Date.now() < end;) {
        if (await look()) return;
        await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`no ${what}`);
}

async function apply(page, text) {
    await page.keyboard.press("/");
    await page.fill("#filter", text);
    await page.keyboard.press("Enter");
}

async function main() {
    const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: quiet });
    try {
        const said = { errors: [], violations: [], requests: [] };
        const context = await browser.newContext({ viewport: { width: 1280, height: 600 }, colorScheme: "light" });
        const page = await context.newPage();
        page.on("pageerror", (error) => said.errors.push(String(error)));
        page.on("console", (message) => {
            const text = message.text();
            if (/content security policy|trusted type/i.test(text)) said.violations.push(text);
            // A filter that is refused is an answer 422, which Chromium reports.
            else if (message.type() === "error" && !text.includes("422")) said.errors.push(text);
        });
        page.on("request", (request) => said.requests.push(request.url()));
        await page.addInitScript(() => {
            window.violated = [];
            document.addEventListener("securitypolicyviolation", (event) => window.violated.push(event.violatedDirective));
        });
        await page.goto(address);
        const state = () => page.textContent("#state");
        await until("page that listens", async () => !(await state()).includes("connecting") || (await page.isVisible("#nothing")));
        await apply(page, filter);
        const status = () => page.evaluate(() => document.getElementById("state").textContent);
        // The stream says hello before anything else comes.
        await page.waitForTimeout(500);
        said.first = await status();
        console.log("ready");
        await until("traffic", () => fs.existsSync(go));

        const rows = page.locator("#rows tr");
        await until("rows", async () => (await rows.count()) >= 12);
        await page.waitForTimeout(300);
        said.rows = await rows.count();

        // By keys alone: from the newest up to the answer with markup in it, and its details.
        const chosen = page.locator('#rows tr[aria-selected="true"]');
        for (let step = 0; step < 12; step += 1) {
            await page.keyboard.press("k");
            if ((await chosen.textContent()).includes("/markup")) break;
        }
        await page.keyboard.press("Enter");
        await page.waitForSelector("#detail h2");
        said.detail = await page.textContent("#detail");
        said.fall = await page.locator("#fall tbody tr").count();
        await page.evaluate((tag) => {
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) walker.currentNode.data = walker.currentNode.data.replaceAll(tag, "/");
            document.getElementById("filter").value = "";
        }, tag);
        await page.screenshot({ path: path.join(pictures, "live-light.png") });
        await page.emulateMedia({ colorScheme: "dark" });
        await page.screenshot({ path: path.join(pictures, "live-dark.png") });
        said.scripts = await page.evaluate(() => document.querySelectorAll("script, noscript").length);
        said.images = await page.evaluate(() => document.querySelectorAll("img, iframe, object, embed").length);
        said.title = await page.title();
        await page.keyboard.press("Escape");
        await until("details that are closed", async () => !(await page.isVisible("#detail")));

        await page.keyboard.press("a");
        await page.waitForSelector("#agent h2");
        said.agent = await page.textContent("#agent");
        await page.keyboard.press("a");

        await apply(page, `${filter} and http.res.status >= 500`);
        await until("rows of the filter", async () => (await rows.count()) === 2);
        said.failed_rows = await rows.count();
        await apply(page, "http.res.stats > 1");
        await page.waitForSelector("#filter-fault:visible");
        said.fault = await page.textContent("#filter-fault");

        // Each thing that can be used has a name.
        said.unlabelled = await page.evaluate(() => [...document.querySelectorAll("button, input, a")]
            .filter((one) => !(one.textContent.trim() || one.labels?.length || one.getAttribute("aria-label")))
            .map((one) => one.outerHTML));
        said.address = page.url();
        said.leaks = said.requests.some((url) => url.includes(token));
        said.violations.push(...(await page.evaluate(() => window.violated)));
        console.log(JSON.stringify(said));
    } finally {
        await browser.close();
    }
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
