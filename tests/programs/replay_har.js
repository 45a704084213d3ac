// Asks Chromium for URLs, with an archive in the place of the network; what is not in it fails.
//
//   node replay_har.js NODE_MODULES ARCHIVE CALLS
//
// CALLS: a file with [{"url": …, "method": …, "body": BASE64, "headers": {…}}, …].
"use strict";
const [modules, archive, calls] = process.argv.slice(2);
const { chromium } = require(`${modules}/playwright-core`);

const quiet = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

// Runs in the page.
async function ask({ url, method, body, headers }) {
    const bytes = body == null ? undefined : Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
    const response = await fetch(url, { method, body: bytes, headers, redirect: "manual", cache: "no-store" });
    const got = new Uint8Array(await response.arrayBuffer());
    let text = "";
    for (const byte of got) text += String.fromCharCode(byte);
    return { status: response.status, headers: [...response.headers], body: btoa(text) };
}

async function main() {
    const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: quiet });
    try {
        const context = await browser.newContext();
        await context.routeFromHAR(archive, { notFound: "abort" });
        const page = await context.newPage();
        const [first, ...others] = JSON.parse(require("fs").readFileSync(calls, "utf8"));
        const shown = await page.goto(first.url);
        const results = [{
            status: shown.status(),
            headers: Object.entries(shown.headers()),
            body: (await shown.body()).toString("base64"),
        }];
        for (const call of others) results.push(await page.evaluate(ask, call));
        console.log(JSON.stringify(results));
    } finally {
        await browser.close();
    }
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
