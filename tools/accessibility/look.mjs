// Each page in headless Chromium: axe-core's rules, and a picture. Exit 1 where something serious is found.
//
//   node look.mjs http://127.0.0.1:8470 PICTURES [/path ...]
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const [base, folder, ...asked] = process.argv.slice(2);
const PATHS = asked.length ? asked : ["/", "/plates?by=alert", "/plates?by=confluence&plate=plate-02", "/wall", "/alerts", "/plans", "/nowhere"];
const SIZES = { desktop: [1360, 900], tablet: [820, 1180], phone: [390, 844] };
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--hide-scrollbars"],
  protocolTimeout: 600000,
});
let serious = 0;
mkdirSync(folder, { recursive: true });
for (const theme of ["light", "dark"]) {
  for (const [size, [width, height]] of Object.entries(SIZES)) {
    const page = await browser.newPage();
    page.setDefaultTimeout(300000);
    await page.setViewport({ width, height });
    await page.setBypassCSP(true);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    for (const path of PATHS) {
      await page.goto(base + path, { waitUntil: "domcontentloaded" });
      const name = (path.split(/[?/]/)[1] || "dishes") + (path.match(/by=(\w+)/)?.[1] ?? "");
      await page.screenshot({ path: `${folder}/${name}-${size}-${theme}.png` });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth + 1);
      await page.evaluate(axe);
      const found = await page.evaluate(() =>
        axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
      const bad = found.violations.filter((one) => ["serious", "critical"].includes(one.impact));
      serious += bad.length + (wide ? 1 : 0);
      console.log(`${path} ${size} ${theme}: ${bad.length} serious, ${found.violations.length - bad.length} lesser${wide ? ", wider than the screen" : ""}`);
      for (const one of found.violations) console.log(`  ${one.impact} ${one.id}: ${one.nodes.length} x ${one.nodes[0].target.join(" ")} ${one.nodes[0].any[0]?.message ?? ""}`);
    }
    await page.close();
  }
}
await browser.close();
process.exit(serious ? 1 : 0);
