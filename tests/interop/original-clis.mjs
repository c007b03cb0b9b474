// The original command lines: each command must exit 0 with the right content, not merely exit 0.
import { check, childEnv, command, freshHome, must, ORIGINALS, startOriginal, startOurs, tail, TOKEN, writeConfig } from "./ground.mjs";

const isList = (value, text) => must(Array.isArray(value), `${text} is not a list: ${JSON.stringify(value)?.slice(0, 200)}`);
const isText = (value, text) => must(typeof value === "string" && value.length > 0, `${text} is not a text: ${JSON.stringify(value)}`);
const isCount = (value, text) => must(Number.isInteger(value) && value >= 0, `${text} is not a count: ${JSON.stringify(value)}`);

export function health(value) {
  must(value.ok === true, `ok is ${value.ok}`);
  isCount(value.ts, "ts");
  isCount(value.durationMs, "durationMs");
  isText(value.defaultAgentId, "defaultAgentId");
  isList(value.channelOrder, "channelOrder");
  must(Math.abs(Date.now() - value.ts) < 10 * 60_000, `ts is not of today: ${value.ts}`);
  isList(value.agents, "agents");
  must(value.agents.some((agent) => agent.agentId === value.defaultAgentId), "the default agent is not in agents");
  isText(value.sessions?.path, "sessions.path");
  isCount(value.sessions.count, "sessions.count");
}

export function status(value) {
  isText(value.heartbeat?.defaultAgentId, "heartbeat.defaultAgentId");
  isList(value.heartbeat.agents, "heartbeat.agents");
  isList(value.channelSummary, "channelSummary");
  isList(value.queuedSystemEvents, "queuedSystemEvents");
  isCount(value.sessions?.count, "sessions.count");
  isList(value.sessions.recent, "sessions.recent");
  isList(value.sessions.byAgent, "sessions.byAgent");
}

export function presence(value) {
  isList(value, "presence");
  const self = value.find((entry) => entry.mode === "gateway" && entry.reason === "self");
  must(self, `no entry of the gateway itself: ${JSON.stringify(value).slice(0, 300)}`);
  for (const name of ["host", "ip", "version", "platform"]) isText(self[name], `self.${name}`);
  isCount(self.ts, "self.ts");
}

export function probe(value, gateway) {
  must(value.ok === true, `ok is ${value.ok}: ${JSON.stringify(value.warnings)}`);
  const target = value.targets?.find((each) => each.id === value.primaryTargetId);
  must(target, "no primary target");
  must(target.url === gateway.url, `the primary target is ${target.url}`);
  must(target.connect?.ok === true, `connect failed: ${target.connect?.error}`);
  isCount(target.connect.latencyMs, "connect.latencyMs");
  // The 2026.9.6 gateway takes every scope from a probe without a device; ours leaves what the token gives (decisions.md 8).
  if (gateway.label === ORIGINALS.v4.label && target.connect.scopeLimited === true && target.auth?.scopes?.length === 0) return;
  isText(target.self?.host, "self.host");
  isText(target.self?.version, "self.version");
  health(target.health);
  status(target.summary);
  presence(target.presence);
  isText(target.config?.path, "config.path");
  must(target.config.valid === true, "config.valid is not true");
}

/** The JSON document in an output that may have a line or a warning before it. */
export function document(text) {
  const at = text.search(/^[[{]/m);
  must(at >= 0, `no JSON in the output:\n${tail(text)}`);
  return JSON.parse(text.slice(at));
}

const json = (assert) => (out, gateway) => assert(document(out.stdout), gateway);

/** Every command: its words, and what its answer must hold. `auth`: whether it takes --url and --token. */
export const COMMANDS = [
  { words: ["gateway", "call", "health", "--json"], auth: true, answer: json(health) },
  { words: ["gateway", "call", "status", "--json"], auth: true, answer: json(status) },
  { words: ["gateway", "call", "system-presence", "--json"], auth: true, answer: json(presence) },
  { words: ["gateway", "health"], auth: false, answer: (out) => must(/OK \(\d+ms\)/.test(out.stdout), `no OK line:\n${tail(out.stdout)}`) },
  { words: ["gateway", "status", "--json"], auth: false, answer: json((value, gateway) => {
    must(value.rpc?.ok === true, `rpc: ${JSON.stringify(value.rpc)}`);
    must(value.gateway?.port === gateway.port, `gateway.port is ${value.gateway?.port}`);
    isText(value.gateway.probeUrl, "gateway.probeUrl");
    must(value.config?.cli?.valid !== false, "config.cli is not valid");
  }) },
  { words: ["gateway", "probe", "--json"], auth: false, answer: json(probe) },
  { words: ["health", "--json"], auth: false, answer: json(health) },
  { words: ["status", "--json"], auth: false, answer: json((value, gateway) => {
    must(value.gateway?.reachable === true, `gateway: ${JSON.stringify(value.gateway)}`);
    must(value.gateway.url === gateway.url, `gateway.url is ${value.gateway.url}`);
    if (gateway.label === ORIGINALS.v4.label) return;
    isText(value.gateway.self?.host, "gateway.self.host");
    isText(value.gateway.self?.version, "gateway.self.version");
  }) },
  { words: ["logs", "--json"], auth: true, answer: (out) => {
    const lines = out.stdout.trim().split("\n").map((line) => JSON.parse(line));
    must(lines[0]?.type === "meta", `the first line is ${JSON.stringify(lines[0])}`);
    isText(lines[0].file, "meta.file");
    isCount(lines[0].cursor, "meta.cursor");
    const logged = lines.filter((line) => line.type === "log");
    must(logged.length > 0, "no line of type log");
    for (const line of logged.slice(-20)) for (const name of ["time", "level", "message"]) isText(line[name], `log.${name}`);
    must(!out.stdout.includes(TOKEN), "the token stands in the log");
  } },
  { words: ["channels", "status", "--json"], auth: false, answer: json((value) => {
    must(value.gatewayReachable !== false, `shown from the configuration only: ${value.error}`);
    isCount(value.ts, "ts");
    isList(value.channelOrder, "channelOrder");
    for (const name of ["channels", "channelAccounts", "channelLabels", "channelDefaultAccountId"]) {
      must(value[name] && typeof value[name] === "object", `${name} is not an object`);
    }
  }) },
  { words: ["gateway", "usage-cost", "--json"], auth: true, answer: json((value) => {
    isCount(value.updatedAt, "updatedAt");
    isList(value.daily, "daily");
    isCount(value.totals?.totalTokens, "totals.totalTokens");
  }) },
  { words: ["approvals", "get", "--gateway", "--json"], auth: true, answer: json((value) => {
    isText(value.path, "path");
    isText(value.hash, "hash");
    must(value.file?.version === 1, `file ${JSON.stringify(value.file)}`);
  }) },
  { words: ["nodes", "list", "--json"], auth: true, answer: json((value) => {
    isList(value.pending, "pending");
    isList(value.paired, "paired");
  }) },
  { words: ["nodes", "status", "--json"], auth: true, answer: json((value) => {
    isCount(value.ts, "ts");
    isList(value.nodes, "nodes");
  }) },
  { words: ["devices", "list", "--json"], auth: true, answer: json((value, gateway, kind) => {
    isList(value.pending, "pending");
    isList(value.paired, "paired");
    for (const device of value.paired) {
      isText(device.deviceId, "deviceId");
      isText(device.publicKey, "publicKey");
      isList(device.tokens ?? [], "tokens");
      must(!JSON.stringify(device.tokens ?? []).includes('"token"'), "a token's value is listed");
    }
  }) },
];

async function drive(kind, gateway) {
  const { label, main } = ORIGINALS[kind];
  const home = freshHome(`cli-${kind}`);
  // `status` of 2026.9.6 asks a local gateway only where a configuration says there is one.
  writeConfig(home, { gateway: { mode: "local", bind: "loopback" } });
  const queue = COMMANDS.map((each) => async () => {
    const env = childEnv(home, { OPENCLAW_GATEWAY_TOKEN: TOKEN, OPENCLAW_GATEWAY_PORT: String(gateway.port) });
    const auth = each.auth ? ["--url", gateway.url, "--token", TOKEN] : [];
    // 2026.2.9 lets `gateway` swallow its subcommands' --url and --token (cli.md 28.1): there the environment says it.
    const swallowed = kind === "v3" && each.words[0] === "gateway";
    const argv = [process.execPath, main, ...each.words, ...(swallowed ? [] : auth)];
    await check(`cli ${label} → ${gateway.label}: ${each.words.join(" ")}`, async () => {
      const out = await command(argv, { env });
      must(out.code === 0, `exit ${out.code}\n${tail(out.stdout, 4)}\n${tail(out.stderr, 6)}`);
      each.answer(out, gateway, kind);
    });
  });
  // The first one alone: it makes the identity that the others share. Then two at a time.
  await queue.shift()();
  const lane = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await next();
  };
  await Promise.all([lane(), lane()]);
}

/** Both original command lines against our gateway. */
export async function againstOurs(bin) {
  const gateway = await startOurs(bin);
  await drive("v3", gateway);
  await drive("v4", gateway);
  await check("our gateway stops with exit 0 after the original command lines", async () => {
    const code = await gateway.stop();
    must(code === 0, `exit ${code}\n${tail(gateway.log())}`);
  });
}

/** Each original command line against its own gateway: shows that the asserts are right. */
export async function againstThemselves() {
  for (const kind of ["v3", "v4"]) {
    const gateway = await startOriginal(kind);
    await drive(kind, gateway);
    await gateway.stop().catch(() => {});
  }
}
