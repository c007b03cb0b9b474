// Figures of agent turns, ours beside 2026.2.9, one after the other on the same machine. Not among the parts that run by
// themselves: `run.sh BIN figures`. What it prints is a record, read with the load it names; INTEROP_TURNS sets how many turns
// the memory is measured after.
import { readdirSync, readFileSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import WebSocket from "ws";
import { configFor } from "./fake-model.mjs";
import { check, freePort, must, ORIGINALS, startGateway, startOurs, TOKEN, within } from "./ground.mjs";

const now = () => performance.now();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const at = (list, share) => list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))];
const chunk = (delta, finish = null) => `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
const ENDING = `${chunk({}, "stop")}data: [DONE]\n\n`;

/** A model server that answers at once, with as many pieces as the question says: `N` or `N every MS`. */
function instantModel() {
  const arrivals = [];
  const server = http.createServer((request, response) => {
    arrivals.push(now());
    let text = "";
    request.on("data", (data) => (text += data));
    request.on("end", async () => {
      const said = JSON.stringify(JSON.parse(text).messages.findLast((each) => each.role === "user").content);
      const [, count, gap] = /(\d+)p(?:(\d+)ms)?/.exec(said);
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (!gap) return response.end(Array.from({ length: Number(count) }, (_, n) => chunk({ content: `word${n} ` })).join("") + ENDING);
      for (let n = 0; n < Number(count); n += 1) {
        response.write(chunk({ content: `word${n} ` }));
        await sleep(Number(gap));
      }
      return response.end(ENDING);
    });
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve({ port: server.address().port, arrivals, stop: () => server.closeAllConnections() ?? server.close() })));
}

/** A bare protocol 3 client: nothing is checked, so that what is measured is the gateway. */
async function connect(url) {
  const socket = new WebSocket(url);
  const waiting = new Map();
  const listeners = new Set();
  let last = 0;
  const ask = (method, params, stages = 1) => new Promise((resolve, reject) => {
    const id = String((last += 1));
    waiting.set(id, { resolve, reject, stages });
    socket.send(JSON.stringify({ type: "req", id, method, params }));
  });
  await new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("close", (code, reason) => waiting.forEach((each) => each.reject(new Error(`closed ${code} ${reason}`))));
    socket.on("message", (data) => {
      const frame = JSON.parse(data);
      if (frame.event === "connect.challenge") return resolve();
      if (frame.type === "event") return listeners.forEach((each) => each(frame));
      const wait = waiting.get(frame.id);
      if (!frame.ok) return wait.reject(new Error(JSON.stringify(frame.error)));
      wait.stages -= 1;
      if (wait.stages > 0) return undefined;
      waiting.delete(frame.id);
      return wait.resolve(frame.payload);
    });
  });
  const client = { id: "gateway-client", version: "1", platform: "linux", mode: "backend" };
  await ask("connect", { minProtocol: 3, maxProtocol: 3, client, role: "operator", scopes: ["operator.admin"], auth: { token: TOKEN } });
  let run = 0;
  const agent = (message, session = "main") => ask("agent", { message, sessionKey: `agent:main:${session}`, idempotencyKey: `${process.pid}-${Date.now()}-${(run += 1)}` }, 2);
  return { ask, agent, on: (each) => listeners.add(each), off: (each) => listeners.delete(each), stop: () => socket.close() };
}

async function times(count, fn) {
  const all = [];
  for (let n = 0; n < count; n += 1) all.push(await fn(n));
  return all;
}

/** From the request to the model's being asked, to the first delta and to the final answer, with one piece and with 500. */
async function oneTurn(client, model, session, pieces) {
  const before = model.arrivals.length;
  let first;
  const see = (frame) => {
    if (frame.event === "agent" && frame.payload.stream === "assistant") first ??= now();
  };
  client.on(see);
  const began = now();
  await client.agent(`${pieces}p`, session);
  const ended = now();
  client.off(see);
  return { asked: model.arrivals[before] - began, first: first - began, whole: ended - began };
}

async function sixteen(client) {
  const began = now();
  await Promise.all(Array.from({ length: 16 }, (_, n) => client.agent("500p", `wide-${n}`)));
  return now() - began;
}

/** `health` one after the other for a while: how long each took. */
async function health(client, ms) {
  const all = [];
  for (const end = now() + ms; now() < end; await sleep(2)) {
    const began = now();
    await client.ask("health", {});
    all.push(now() - began);
  }
  return all;
}

/** Resident memory and processor time of a gateway, its whole process group, from /proc. */
function usage(group) {
  const all = { mib: 0, cpuMs: 0 };
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
      if (Number(stat[2]) !== group) continue;
      all.cpuMs += (Number(stat[11]) + Number(stat[12])) * 10;
      all.mib += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;
    } catch {
      // It ended while we looked.
    }
  }
  return all;
}

async function manyTurns(client, count) {
  let left = count;
  const lane = async (name) => {
    for (let n = 0; left > 0; n += 1) {
      left -= 1;
      await client.agent("20p", `many-${name}-${Math.floor(n / 20)}`);
    }
  };
  const began = now();
  await Promise.all([0, 1, 2, 3].map(lane));
  return (now() - began) / count;
}

async function measure(gateway, model, turns) {
  const client = await connect(gateway.url);
  const figures = {};
  const put = (name, value, digits = 1) => (figures[name] = value.toFixed(digits));
  await times(5, (n) => oneTurn(client, model, `warm-${n}`, 5));
  put("resident memory before, MiB", usage(gateway.child.pid).mib);
  const small = await times(30, (n) => oneTurn(client, model, `small-${n}`, 1));
  const known = await times(30, () => oneTurn(client, model, "known", 1));
  put("agent request → model asked, known session, p50 ms", at(known.map((each) => each.asked), 0.5), 2);
  put("… new session, p50 ms", at(small.map((each) => each.asked), 0.5), 2);
  put("… new session, p99 ms", at(small.map((each) => each.asked), 0.99), 2);
  put("model asked → first delta at the client, p50 ms", at(small.map((each) => each.first - each.asked), 0.5), 2);
  const large = await times(10, (n) => oneTurn(client, model, `large-${n}`, 500));
  put("model asked → final answer, 500 deltas, p50 ms", at(large.map((each) => each.whole - each.asked), 0.5));
  put("16 runs of 500 deltas at once, ms", at(await times(3, () => sixteen(client)), 0.5));
  const watcher = await connect(gateway.url);
  const quiet = await health(watcher, 4_000);
  const runs = Promise.all(Array.from({ length: 16 }, (_, n) => client.agent("400p10ms", `busy-${n}`)));
  await sleep(300);
  const busy = await health(watcher, 4_000);
  await runs;
  put("health p50, no run, ms", at(quiet, 0.5), 2);
  put("health p99, no run, ms", at(quiet, 0.99), 2);
  put("health p50, 16 runs streaming, ms", at(busy, 0.5), 2);
  put("health p99, 16 runs streaming, ms", at(busy, 0.99), 2);
  put(`ms a turn, four lanes (${turns} turns)`, await manyTurns(client, turns), 2);
  put(`resident memory after ${turns} turns, MiB`, usage(gateway.child.pid).mib);
  const before = usage(gateway.child.pid).cpuMs;
  await sleep(20_000);
  put("processor time idle, two clients, ms per s", (usage(gateway.child.pid).cpuMs - before) / 20, 2);
  client.stop();
  watcher.stop();
  return figures;
}

/** What the measuring process itself takes to reach its own model server. */
async function floor(model) {
  const all = await times(50, async () => {
    const before = model.arrivals.length;
    const began = now();
    await (await fetch(`http://127.0.0.1:${model.port}/v1/chat/completions`, { method: "POST", body: JSON.stringify({ messages: [{ role: "user", content: "1p" }] }) })).text();
    return model.arrivals[before] - began;
  });
  return at(all, 0.5);
}

export async function run(bin) {
  const model = await instantModel();
  const config = configFor({ baseUrl: `http://127.0.0.1:${model.port}/v1`, api: "openai-completions" });
  config.agents.defaults.maxConcurrent = 16;
  const { main, ready, label } = ORIGINALS.v3;
  const turns = Number(process.env.INTEROP_TURNS ?? 2_000);
  const starts = {
    ours: () => startOurs(bin, { config }),
    [label]: async () => startGateway({ argv: [process.execPath, main], ready, label, port: await freePort(), config }),
  };
  const tables = {};
  for (const [name, start] of Object.entries(starts)) {
    await check(`figures of ${name}`, async () => {
      const gateway = await start();
      const load = os.loadavg()[0].toFixed(1);
      // The original takes some 50 ms a turn: a part of the turns tells enough.
      tables[name] = await within(measure(gateway, model, name === "ours" ? turns : Math.min(turns, 1_000)), 900_000, "no figures");
      await gateway.stop().catch(() => {});
      return `load ${load} before, ${os.loadavg()[0].toFixed(1)} after`;
    }, { timeoutMs: 1_000_000 });
  }
  console.log(`bare request to the model server: ${(await floor(model)).toFixed(2)} ms`);
  for (const [name, table] of Object.entries(tables)) for (const [what, value] of Object.entries(table)) console.log(`${name.padEnd(10)} ${value.padStart(9)}  ${what}`);
  must(Object.keys(tables).length === 2, "a side is missing");
  model.stop();
}
