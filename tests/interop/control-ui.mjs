// The original Control UI of 2026.2.9, its asset folder on a server of its own, in a headless Chromium: it is pointed at our
// gateway by `?gatewayUrl=`, sends a chat message and shows the answer as it streams. Pictures go to INTEROP_OUT.
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { startBrowser } from "./browser.mjs";
import { answerTo, startModel } from "./fake-model.mjs";
import { CACHE, check, must, skip, startOurs, tail, TOKEN } from "./ground.mjs";

const ASSETS = path.join(CACHE, "v3/node_modules/openclaw/dist/control-ui");
const TYPES = { ".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon" };
const OUT = process.env.INTEROP_OUT;

/** Serves the folder; addresses without a file are the page itself, which routes by its address. */
function serveAssets() {
  const server = http.createServer((request, response) => {
    const wanted = path.join(ASSETS, path.normalize(new URL(request.url, "http://x").pathname));
    const file = path.extname(wanted) ? wanted : path.join(ASSETS, "index.html");
    if (!existsSync(file)) return response.writeHead(404).end();
    return response.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream" }).end(readFileSync(file));
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve({ port: server.address().port, stop: () => server.closeAllConnections() ?? server.close() })));
}

const button = (label) => `[...document.querySelectorAll("button")].find((each) => each.textContent.trim().startsWith(${JSON.stringify(label)}))`;
const bubbles = (more = "") => `[...document.querySelectorAll(".chat-bubble${more}")].map((each) => each.innerText.trim())`;
const connected = `[...document.querySelectorAll(".pill")].some((each) => /Health\\s*OK/.test(each.innerText))`;

/** Requests of the page that were refused, from the frames on its socket. */
function watchRefusals(page) {
  const asked = new Map();
  const refused = [];
  page.socket.on("message", (data) => {
    const { method, params } = JSON.parse(String(data));
    if (!/webSocketFrame(Sent|Received)$/.test(method ?? "")) return;
    const frame = JSON.parse(params.response.payloadData);
    if (frame.type === "req") asked.set(frame.id, frame.method);
    if (frame.type === "res" && !frame.ok) refused.push(`${asked.get(frame.id)}: ${frame.error?.message}`);
  });
  return refused;
}

async function say(page, text) {
  await page.evaluate(`document.querySelector(".chat-compose textarea").focus()`);
  await page.type(text);
  // The page takes the text over when it has drawn it.
  await page.until(`document.querySelector(".chat-compose textarea").value === ${JSON.stringify(text)}`, "the text typed");
  await page.press("Enter", 13);
  await page.until(`${bubbles()}.includes(${JSON.stringify(text)})`, "the message sent");
}

async function connects(page, web, gateway) {
  await page.open(`http://127.0.0.1:${web.port}/chat?gatewayUrl=${encodeURIComponent(gateway.url)}&token=${TOKEN}`);
  await page.until(`!!${button("Confirm")}`, "the question about the gateway's address");
  await page.evaluate(`${button("Confirm")}.click()`);
  await page.until(connected, "a connection in good health");
}

async function streams(page) {
  const wanted = answerTo(["hello from the browser"]);
  await say(page, "hello from the browser");
  const first = await page.until(`${bubbles(".streaming")}.find((text) => text.length > 0)`, "the beginning of the answer");
  const later = await page.until(`${bubbles(".streaming")}.find((text) => text.length > ${first.length})`, "more of the answer");
  await page.picture(path.join(OUT, "control-ui-2026.2.9-streaming.png"));
  must(first.length < wanted.length && wanted.startsWith(first) && wanted.startsWith(later), `shown: ${JSON.stringify([first, later])}`);
  await page.until(`${bubbles(":not(.streaming)")}.includes(${JSON.stringify(wanted)})`, "the whole answer");
  await page.until(`!!${button("New session")}`, "that it is done");
  await page.picture(path.join(OUT, "control-ui-2026.2.9-final.png"));
}

async function reloads(page) {
  await page.call("Page.reload");
  const wanted = JSON.stringify(["hello from the browser", answerTo(["hello from the browser"])]);
  await page.until(`JSON.stringify(${bubbles()}) === ${JSON.stringify(wanted)}`, "the conversation from the history");
}

async function stops(page, model) {
  const left = model.hungUp();
  await say(page, "hang");
  await page.until(`${bubbles(".streaming")}.includes("One piece and")`, "the piece before it hangs");
  await page.evaluate(`${button("Stop")}.click()`);
  await left;
  await page.until(`!!${button("New session")} && !document.querySelector(".streaming")`, "that it stopped");
}

async function refuses(page) {
  await say(page, "refuse");
  await page.until(`document.body.innerText.includes("401: the fake model refuses this key")`, "the model's refusal");
}

export async function run(bin) {
  const program = process.env.INTEROP_CHROMIUM;
  if (!program) return skip("the original Control UI", "no chromium was found (Debian: apt-get install chromium)");
  mkdirSync(OUT, { recursive: true });
  const model = await startModel({ gapMs: 300 });
  const gateway = await startOurs(bin, { config: model.config() });
  const web = await serveAssets();
  const page = await startBrowser(program);
  const refused = watchRefusals(page);
  const name = (what) => `Control UI 2026.2.9 → ours: ${what}`;
  const up = await check(name("connects by ?gatewayUrl= and a token"), () => connects(page, web, gateway));
  if (up) {
    await check(name("sends a message and shows the answer as it streams"), async () => {
      await streams(page);
      return `pictures in ${OUT}`;
    });
    await check(name("no request refused, nothing on the console"), async () => {
      // Fonts it would load from the network, and the server of its assets, which it tries before it is pointed elsewhere.
      const ours = page.complaints.filter((each) => !each.includes("fonts.googleapis.com") && !each.includes(`ws://127.0.0.1:${web.port}/`));
      must(refused.length === 0 && ours.length === 0, [...refused, ...ours].join("\n"));
    });
    await check(name("shows the conversation again after a reload"), () => reloads(page));
    await check(name("Stop ends a hanging answer"), () => stops(page, model));
    await check(name("shows a model's refusal"), () => refuses(page));
  }
  await page.stop();
  web.stop();
  await check("our gateway stops with exit 0 after the Control UI", async () => {
    const code = await gateway.stop();
    must(code === 0, `exit ${code}\n${tail(gateway.log())}`);
  });
  return model.stop();
}
