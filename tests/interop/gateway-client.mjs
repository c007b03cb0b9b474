// The official client library against our gateway: connect, list, call, watch, survive a restart.
import { readFileSync } from "node:fs";
import path from "node:path";
import { startModel } from "./fake-model.mjs";
import { check, must, startOurs, tail } from "./ground.mjs";
import { resultName, schema } from "./official.mjs";
import { checkTap, hostDeps, identity, open, tap } from "./official-peer.mjs";

// ---- what is called

/** Parameters of read-only methods that do not take `{}`; `refused` texts are right answers after one turn. */
const PARAMS = {
  "config.schema.lookup": { path: "gateway.port" },
  "agents.files.list": { agentId: "main" },
  "agents.files.get": { agentId: "main", name: "AGENTS.md" },
  "chat.history": { sessionKey: "main" },
  "chat.startup": { sessionKey: "main" },
  "sessions.resolve": { key: "main" },
  "sessions.preview": { keys: ["agent:main:main"] },
  "sessions.describe": { key: "agent:main:main" },
  "sessions.get": { key: "agent:main:main" },
  "sessions.messages.subscribe": { key: "agent:main:main" },
  "sessions.messages.unsubscribe": { key: "agent:main:main" },
  "sessions.usage.logs": { key: "agent:main:main" },
  "sessions.usage.timeseries": { key: "agent:main:main" },
  "tools.effective": { sessionKey: "agent:main:main" },
};
const REFUSED = {
  "node.describe": /unknown nodeId|params/,
  "sessions.usage.timeseries": /No transcript found/,
  "exec.approval.get": /params|unknown|not found/i,
  "cron.get": /params|unknown|not found/i,
  "cron.runs": /params/,
};
/** Besides what the official table gives the read scope: lists under other scopes, and methods only protocol 3 names. */
const ALSO_READ_ONLY = ["device.pair.list", "node.pair.list", "exec.approvals.get", "exec.approval.list", "update.status"];

const readOnly = (method) => schema.methods[method]?.scope === "operator.read" || ALSO_READ_ONLY.includes(method);

/** One turn, so that what is listed is there; the id of its question is what `chat.message.get` asks for. */
async function firstTurn(peer) {
  await peer.client.request("agent", { message: "hi", idempotencyKey: "first" }, { expectFinal: true });
  const { messages } = await peer.client.request("chat.history", { sessionKey: "main" });
  must(messages.length === 2, `the history has ${messages.length} messages`);
  PARAMS["chat.message.get"] = { sessionKey: "main", messageId: messages[0].__openclaw.id };
}

async function callEach(peer, methods) {
  for (const method of methods.filter(readOnly)) {
    await check(`official client: ${method}`, async () => {
      const before = tap.faults.length;
      try {
        await peer.client.request(method, PARAMS[method] ?? {});
      } catch (error) {
        must(REFUSED[method]?.test(error.message), `refused: ${error.message}`);
      }
      must(tap.faults.length === before, tap.faults.slice(before).join("\n"));
      return resultName(method) || method === "system-presence" ? "" : "(by our own schema only: the official one has no result for it)";
    });
  }
}

// ---- the part

export async function run(bin) {
  const model = await startModel();
  const gateway = await startOurs(bin, { config: model.config(), extra: { OPENCLAW_GATEWAY_TICK_MS: "1000" } });
  const tokens = new Map();
  const device = identity();
  let second;
  const peer = open(gateway.url, { clientDisplayName: "interop one" });

  await check("official client: connects with the token and is greeted", async () => {
    const hello = await peer.greeted;
    must(hello.protocol === 4, `protocol ${hello.protocol}`);
    must(hello.auth.scopes.includes("operator.admin"), `scopes ${JSON.stringify(hello.auth)}`);
    must(hello.policy.tickIntervalMs === 1000, `tickIntervalMs ${hello.policy.tickIntervalMs}`);
    must(hello.snapshot.presence.some((entry) => entry.mode === "gateway"), "the gateway is not in the snapshot's presence");
    must(hello.features.methods.includes("health") && hello.features.events.includes("tick"), "features are incomplete");
    const unknown = hello.features.methods.filter((name) => !(name in schema.methods));
    return `${hello.features.methods.length} methods, ${unknown.length} of them protocol 3's own`;
  });
  await check("official client: tick arrives", () => peer.next("event:tick", { ms: 5_000 }).then(() => {}));
  await check("official client: two more ticks keep their distance", async () => {
    const first = await peer.next("event:tick", { ms: 5_000 });
    const later = await peer.next("event:tick", { ms: 5_000 });
    const distance = later.payload.ts - first.payload.ts;
    must(distance > 700 && distance < 1_500, `${distance} ms`);
  });

  await check("official client: a first turn", () => firstTurn(peer));
  const hello = await peer.greeted;
  await callEach(peer, hello.features.methods);

  await check("official client: an agent is made, changed, given a file and deleted", async () => {
    const before = tap.faults.length;
    const call = (method, params) => peer.client.request(method, params);
    const made = await call("agents.create", { name: "Interop Bot", workspace: "~/interop-bot", emoji: "🤖" });
    must(made.agentId === "interop-bot", `agentId ${made.agentId}`);
    await call("agents.update", { agentId: "interop-bot", name: "Renamed" });
    const listed = (await call("agents.list", {})).agents.find((agent) => agent.id === "interop-bot");
    must(listed?.name === "Renamed" && listed.identity?.emoji === "🤖", `listed as ${JSON.stringify(listed)}`);
    await call("agents.files.set", { agentId: "interop-bot", name: "MEMORY.md", content: "fact\n" });
    const got = await call("agents.files.get", { agentId: "interop-bot", name: "MEMORY.md" });
    must(got.file.content === "fact\n", `content ${JSON.stringify(got.file)}`);
    must(readFileSync(path.join(gateway.home, "interop-bot", "MEMORY.md"), "utf8") === "fact\n", "not in the workspace");
    const refused = await call("agents.files.get", { agentId: "interop-bot", name: "../x" }).then(() => null, (e) => e);
    must(/unsupported file/.test(refused?.message), `got ${refused?.message}`);
    const gone = await call("agents.delete", { agentId: "interop-bot" });
    must(gone.ok === true && gone.failed.length === 0, JSON.stringify(gone));
    must(!(await call("agents.list", {})).agents.some((agent) => agent.id === "interop-bot"), "still listed");
    must(tap.faults.length === before, tap.faults.slice(before).join("\n"));
  });
  await check("official client: a node that is not there is told apart from a wrong call", async () => {
    const error = await peer.client.request("exec.approvals.node.get", { nodeId: "nobody" }).then(() => null, (e) => e);
    must(/node not connected/.test(error?.message), `got ${error?.message}`);
    must(error.details?.nodeError?.code === "NOT_CONNECTED", `details ${JSON.stringify(error.details)}`);
  });
  await check("official client: an unknown method is refused by its name", async () => {
    const error = await peer.client.request("no.such.method", {}).then(() => null, (e) => e);
    must(error && /unknown method: no\.such\.method/.test(error.message), `got ${error?.message}`);
  });
  await check("official client: a device identity is paired and gets a device token; the first client sees presence", async () => {
    const arrival = peer.next("event:presence");
    second = open(gateway.url, { clientDisplayName: "interop two", mode: "ui", deviceIdentity: device, hostDeps: hostDeps(tokens) });
    const greeting = await second.greeted;
    must(greeting.auth.deviceToken, `no device token: ${JSON.stringify(Object.keys(greeting.auth))}`);
    must(tokens.get("operator")?.token === greeting.auth.deviceToken, "the client did not store the device token");
    const event = await arrival;
    must(event.stateVersion?.presence > 0, "presence without stateVersion");
    must(event.payload.presence.some((entry) => entry.deviceId === device.deviceId || entry.instanceId === device.deviceId),
      "the new device is not in the presence list");
  });
  await check("official client: the device is listed as paired, without secrets", async () => {
    const list = await peer.client.request("device.pair.list", {});
    must(list.paired.some((entry) => entry.deviceId === device.deviceId), "not paired");
    must(!JSON.stringify(list).includes(tokens.get("operator").token), "the device token is listed");
  });
  await check("official client: the stored device token alone opens the next connection", async () => {
    await second.stop();
    second = open(gateway.url, { token: undefined, mode: "ui", deviceIdentity: device, hostDeps: hostDeps(tokens) });
    const greeting = await second.greeted;
    must(greeting.auth.method === undefined || greeting.auth.method === "device-token", `auth.method ${greeting.auth.method}`);
  });
  await check("official client: a wrong token is refused with a code the client understands", async () => {
    const wrong = open(gateway.url, { token: "wrong-token", scopes: ["operator.read"] });
    const error = await wrong.greeted.then(() => null, (e) => e);
    await wrong.stop();
    must(error && /token mismatch/.test(error.message), `got ${error?.message}`);
    must(error.details?.code === "AUTH_TOKEN_MISMATCH", `details ${JSON.stringify(error.details)}`);
  });
  await check("official client: system-event changes presence for all", async () => {
    const change = second.next("event:presence");
    await peer.client.request("system-event", { text: "Node: interop-beacon (192.0.2.9) · app 1.0 · mode test · reason launch" });
    const event = await change;
    must(JSON.stringify(event.payload).includes("interop-beacon"), "the beacon is not in the list");
  });
  await check("official client: health arrives as an event", async () => {
    const arrival = peer.seen.some((each) => each.what === "event:health") ? Promise.resolve() : peer.next("event:health", { ms: 8_000 });
    await peer.client.request("health", { probe: true });
    await arrival;
  });

  const onePort = gateway.port;
  await check("official client: SIGTERM brings the shutdown event, close 1012 and exit 0", async () => {
    const goodbye = peer.next("event:shutdown", { ms: 5_000 });
    const closed = peer.next("close", { ms: 5_000 });
    const code = gateway.stop();
    const event = await goodbye;
    must(typeof event.payload.reason === "string" && event.payload.reason, "shutdown without reason");
    const close = await closed;
    must(close.code === 1012 && close.reason === "service restart", `close ${close.code} ${close.reason}`);
    const exit = await code;
    must(exit === 0, `exit ${exit}\n${tail(gateway.log())}`);
  });
  await check("official client: it comes back by itself after a restart", async () => {
    const again = peer.next("hello", { ms: 30_000 });
    const restarted = await startOurs(bin, { port: onePort, home: gateway.home });
    const greeting = await again;
    must(greeting.protocol === 4, `protocol ${greeting.protocol}`);
    must((await peer.client.request("health", {})).ok === true, "health is not ok");
    await peer.stop();
    await second.stop();
    must((await restarted.stop()) === 0, "the restarted gateway did not exit 0");
  }, { timeoutMs: 45_000 });

  await check("official client: no gap in any connection's seq", async () => {
    const gaps = [...peer.seen, ...second.seen].filter((each) => each.what === "gap");
    must(gaps.length === 0, JSON.stringify(gaps));
  });
  await checkTap("official and own schema: every frame and payload received is valid");
  await model.stop();
}
