// Debian's Firefox on a site, driven through WebDriver BiDi: node firefox.mjs ADDRESS SAMPLE THRESHOLD → JSON of what the page shows and said.
import puppeteer from "puppeteer-core";

const [address, sample, threshold] = process.argv.slice(2);
const browser = await puppeteer.launch({ browser: "firefox", executablePath: "/usr/bin/firefox-esr", headless: true });
try {
  const page = await browser.newPage();
  const messages = [];
  page.on("console", (message) => messages.push(message.text()));
  page.on("pageerror", (error) => messages.push(String(error)));
  await page.goto(address);
  await page.waitForSelector("body[data-ready]");
  await page.click(`#samples button:nth-child(${Number(sample) + 1})`);
  await page.waitForSelector("article li");
  await page.$eval("#threshold", (slider, value) => Object.assign(slider, { value }).dispatchEvent(new Event("input")), threshold);
  const rows = await page.$$eval("article li[data-index]", (items) =>
    items.map(({ dataset }) => [Number(dataset.index), Number(dataset.probability), dataset.box?.split(",").map(Number)]));
  const errors = await page.$eval("#errors", (element) => element.textContent);
  console.log(JSON.stringify({ rows, messages, errors }));
} finally {
  await browser.close();
}
