// One headless Chromium, driven over its debugging protocol: open a page, look, click, type, take a picture. Knows no page.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import WebSocket from "ws";
import { childEnv, freshHome, must, onEnd, within } from "./ground.mjs";

/** Starts the browser and opens one empty page of the given size. */
export async function startBrowser(program, { width = 1280, height = 900 } = {}) {
  const home = freshHome("browser");
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0", `--user-data-dir=${path.join(home, "profile")}`, `--window-size=${width},${height}`];
  const child = spawn(program, [...flags, "about:blank"], { env: childEnv(home), stdio: ["ignore", "ignore", "pipe"], detached: true });
  onEnd(child);
  const socketUrl = await within(new Promise((resolve, reject) => {
    let text = "";
    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (data) => {
      text += data;
      const found = /DevTools listening on (ws:\S+)/.exec(text);
      if (found) resolve(found[1]);
    });
    child.on("close", (code) => reject(new Error(`the browser ended with ${code}:\n${text.slice(-1000)}`)));
  }), 30_000, "the browser does not listen");
  const page = await openPage(socketUrl);
  await page.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
  return {
    ...page,
    async stop() {
      page.socket.close();
      child.kill("SIGKILL");
    },
  };
}

async function openPage(socketUrl) {
  const { host } = new URL(socketUrl);
  const targets = await (await fetch(`http://${host}/json/list`)).json();
  const socket = new WebSocket(targets.find((each) => each.type === "page").webSocketDebuggerUrl);
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  const waiting = new Map();
  /** What the page complained of: console errors and warnings, exceptions, requests that failed. */
  const complaints = [];
  socket.on("message", (data) => {
    const message = JSON.parse(String(data));
    if (message.id) {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      return message.error ? reject(new Error(message.error.message)) : resolve(message.result);
    }
    const complaint = complaintOf(message);
    if (complaint) complaints.push(complaint);
  });
  let last = 0;
  const call = (method, params = {}) => within(new Promise((resolve, reject) => {
    last += 1;
    waiting.set(last, { resolve, reject });
    socket.send(JSON.stringify({ id: last, method, params }));
  }), 20_000, `${method} was not answered`);
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await call(`${domain}.enable`);

  /** The value of an expression in the page. */
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    must(!exceptionDetails, `the page threw at ${expression}: ${exceptionDetails?.exception?.description}`);
    return result.value;
  };
  /** The first value that is not nothing; asks at each frame the page draws. */
  const until = (expression, what, ms = 20_000) => within(evaluate(
    `new Promise((done) => { const look = () => { const value = (${expression}); value ? done(value) : setTimeout(look, 30); }; look(); })`,
  ), ms, `the page does not show ${what}`);
  return {
    socket, call, complaints, evaluate, until,
    open: (url) => call("Page.navigate", { url }),
    type: (text) => call("Input.insertText", { text }),
    async press(key, code) {
      for (const type of ["keyDown", "keyUp"]) await call("Input.dispatchKeyEvent", { type, key, code: key, windowsVirtualKeyCode: code, text: type === "keyDown" && key === "Enter" ? "\r" : undefined });
    },
    async picture(file) {
      const { data } = await call("Page.captureScreenshot", { format: "png" });
      writeFileSync(file, Buffer.from(data, "base64"));
    },
  };
}

function complaintOf({ method, params }) {
  if (method === "Runtime.exceptionThrown") return `exception: ${params.exceptionDetails.exception?.description ?? params.exceptionDetails.text}`;
  if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type)) {
    return `console.${params.type}: ${params.args.map((each) => each.value ?? each.description).join(" ")}`;
  }
  if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) return `${params.entry.source}: ${params.entry.text} ${params.entry.url ?? ""}`;
  return undefined;
}
