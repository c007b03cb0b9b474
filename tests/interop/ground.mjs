// The ground under every part: named checks with deadlines, children with a HOME of their own, gateways on free ports.
// Knows nothing of what is checked.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";

export const REPO = process.env.INTEROP_REPO;
export const CACHE = process.env.INTEROP_CACHE;
const WORK = process.env.INTEROP_WORK;
export const TOKEN = "interop-token-0123456789";

const tally = { passed: 0, failed: 0, skipped: 0 };
const children = new Set();

/** Runs one check: a line for it, and never longer than its deadline. */
export async function check(name, fn, { timeoutMs = 120_000 } = {}) {
  const began = Date.now();
  try {
    const note = await within(fn(), timeoutMs, `no result within ${timeoutMs} ms`);
    tally.passed += 1;
    console.log(`ok    ${name} (${Date.now() - began} ms)${note ? ` ${note}` : ""}`);
    return true;
  } catch (error) {
    tally.failed += 1;
    const text = String(error?.message ?? error).split("\n").slice(0, 12).join("\n        ");
    console.log(`FAIL  ${name} (${Date.now() - began} ms)\n        ${text}`);
    return false;
  }
}

/** A check that cannot be made here: said aloud and counted. */
export function skip(name, why) {
  tally.skipped += 1;
  console.log(`SKIPPED: ${name}: ${why}`);
}

/** The closing line; the exit code of the stage. */
export function summary() {
  console.log(`${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
  return tally.failed === 0 && tally.passed > 0 ? 0 : 1;
}

/** A promise with a deadline. */
export function within(promise, ms, text) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(text)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Fails with the text unless the condition holds. */
export function must(condition, text) {
  if (!condition) throw new Error(text);
}

/** Ends the whole stage when a part hangs in spite of its deadlines. */
export function watchdog(ms) {
  setTimeout(async () => {
    console.log(`FAIL  the stage did not end within ${ms / 60_000} minutes`);
    tally.failed += 1;
    await stopEverything();
    process.exit(summary());
  }, ms).unref();
}

/** A port nobody listens on now. The pair base+1..+8 is not looked at: helpers of the gateway may fail to bind, loudly. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** A fresh home folder. */
export function freshHome(label) {
  return mkdtempSync(path.join(WORK, `home-${label}-`));
}

/** The environment of a child: nothing of the caller's but PATH. */
export function childEnv(home, extra = {}) {
  const tmp = path.join(home, "tmp");
  mkdirSync(tmp, { recursive: true });
  return {
    PATH: process.env.PATH,
    HOME: home,
    TMPDIR: tmp,
    LANG: "C.UTF-8",
    NO_COLOR: "1",
    CI: "true",
    OPENCLAW_SKIP_CHANNELS: "1",
    OPENCLAW_DISABLE_BONJOUR: "1",
    OPENCLAW_SKIP_BROWSER_CONTROL_SERVER: "1",
    OPENCLAW_SKIP_GMAIL_WATCHER: "1",
    ...extra,
  };
}

/** Puts a configuration where the programs look for it. */
export function writeConfig(home, config) {
  mkdirSync(path.join(home, ".openclaw"), { recursive: true, mode: 0o700 });
  writeFileSync(path.join(home, ".openclaw", "openclaw.json"), JSON.stringify(config), { mode: 0o600 });
}

/** Runs a command to its end: `{code, stdout, stderr}`. An original that starts for the first time after its installation,
    on a busy machine, was seen to need more than 45 s. */
export function command(argv, { env, timeoutMs = 100_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = launch(argv, env);
    const out = { stdout: "", stderr: "" };
    child.stdout.on("data", (data) => (out.stdout += data));
    child.stderr.on("data", (data) => (out.stderr += data));
    const timer = setTimeout(() => {
      kill(child, "SIGKILL");
      reject(new Error(`${argv.slice(-4).join(" ")}: still running after ${timeoutMs} ms\n${tail(out.stdout + out.stderr)}`));
    }, timeoutMs);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? signal, ...out });
    });
  });
}

/** The original programs compile their extensions into the temporary folder, 10 to 50 s of it: they share one that stays. */
const COMPILED = path.join(CACHE, "tmp");

function launch(argv, given) {
  const original = argv[1]?.startsWith(CACHE);
  if (original) mkdirSync(COMPILED, { recursive: true });
  const env = original ? { ...given, TMPDIR: COMPILED } : given;
  // A process group of its own, so that a wrapper's children go with it.
  const child = spawn(argv[0], argv.slice(1), { env, cwd: env.HOME, stdio: ["ignore", "pipe", "pipe"], detached: true });
  child.stdout.setEncoding("utf8");
  child.stderr.setEncoding("utf8");
  onEnd(child);
  return child;
}

/** Puts a child that something else started among those that the end of the stage kills. */
export function onEnd(child) {
  children.add(child);
  child.on("close", () => children.delete(child));
}

function kill(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended already.
  }
}

/** The last lines of an output. */
export function tail(text, lines = 10) {
  return text.trimEnd().split("\n").slice(-lines).join("\n");
}

/** Kills what is left; the homes go with the scratch folder of run.sh. */
export async function stopEverything() {
  for (const child of children) kill(child, "SIGKILL");
  await within(Promise.all([...children].map((child) => new Promise((done) => child.on("close", done)))), 5_000, "").catch(() => {});
}

/** Starts a gateway and waits for the line that says it serves. */
export async function startGateway({ argv, ready, label, port, home = freshHome(label), extra = {}, config, timeoutMs = 90_000 }) {
  if (config) writeConfig(home, config);
  const env = childEnv(home, { OPENCLAW_GATEWAY_TOKEN: TOKEN, ...extra });
  const child = launch([...argv, "gateway", "--port", String(port), "--allow-unconfigured"], env);
  let log = "";
  const ended = new Promise((resolve) => child.on("close", (code, signal) => resolve(code ?? signal)));
  const serving = new Promise((resolve, reject) => {
    const look = (data) => {
      log = (log + data).slice(-200_000);
      if (ready.test(log)) resolve();
    };
    child.stdout.on("data", look);
    child.stderr.on("data", look);
    child.on("error", reject);
    child.on("close", (code) => reject(new Error(`${label} ended with ${code} before it served:\n${tail(log)}`)));
  });
  await within(serving, timeoutMs, `${label} does not serve after ${timeoutMs} ms`).catch((error) => {
    kill(child, "SIGKILL");
    throw new Error(`${error.message}\n${tail(log)}`);
  });
  return {
    label, port, home, child, ended,
    url: `ws://127.0.0.1:${port}`,
    log: () => log,
    signal: (name) => child.kill(name),
    async stop() {
      child.kill("SIGTERM");
      const code = await within(ended, 15_000, `${label} did not end within 15 s of SIGTERM`).finally(() => kill(child, "SIGKILL"));
      return code;
    },
  };
}

/** Our gateway. */
export async function startOurs(bin, options = {}) {
  const port = options.port ?? (await freePort());
  return startGateway({ argv: [bin], ready: /listening on ws:\/\/127\.0\.0\.1:/, label: "ours", timeoutMs: 15_000, ...options, port });
}

/** How each original is started and called. */
export const ORIGINALS = {
  v3: { label: "2026.2.9", main: path.join(CACHE, "v3/node_modules/openclaw/openclaw.mjs"), ready: /listening on ws:\/\// },
  v4: { label: "2026.9.6", main: path.join(CACHE, "v4/node_modules/openclaw/openclaw.mjs"), ready: /\[gateway\] ready/ },
};

/** An original gateway. */
export async function startOriginal(kind) {
  const { label, main, ready } = ORIGINALS[kind];
  return startGateway({
    argv: [process.execPath, main], ready, label, port: await freePort(),
    config: { gateway: { mode: "local", bind: "loopback" } },
  });
}
