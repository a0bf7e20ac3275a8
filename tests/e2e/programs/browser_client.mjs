// A page from elsewhere in a real browser: it asks the API, for which the browser sends a preflight first.
import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";

const [page_address, picture] = process.argv.slice(2);
const args = chromium.args.filter((a) => a !== "--disable-web-security"); // which would spare it the preflight
let browser;
try {
  browser = await puppeteer.launch({ args, executablePath: await chromium.executablePath(), headless: "shell" });
} catch (error) {
  console.log("NO BROWSER", error.message);
  process.exit(0);
}
const page = await browser.newPage();
const asked = [];
const session = await page.createCDPSession();
await session.send("Network.enable");
session.on("Network.requestWillBeSent", ({ request }) => asked.push(request.method));
page.on("pageerror", (error) => console.log("PAGE ERROR", error.message));
page.on("console", (message) => console.log("CONSOLE", message.text()));
await page.setViewport({ width: 640, height: 640 });
await page.goto(page_address);
await page.click("button");
await page.waitForFunction(() => document.querySelector("output").textContent, { timeout: 20000 });
console.log("SHOWN", await page.$eval("output", (e) => e.textContent));
console.log("ASKED", asked.join(" "));
await page.screenshot({ path: picture });
await browser.close();
