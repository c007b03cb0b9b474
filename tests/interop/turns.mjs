// Agent turns asked for by the original command lines of both generations, through our gateway; the official client watches
// how they stream. The original ones would answer from a gateway of their own if ours failed: their homes have no model.
import { answerTo, startModel } from "./fake-model.mjs";
import { check, childEnv, command, freshHome, must, ORIGINALS, startOurs, tail, TOKEN, writeConfig } from "./ground.mjs";
import { textOf } from "./chat.mjs";
import { checkTap, open } from "./official-peer.mjs";
import { document } from "./original-clis.mjs";

const ID = { v3: "33333333-3333-4333-8333-333333333333", v4: "44444444-4444-4444-8444-444444444444" };

/** A command line with a home of its own and how it is called. */
function cli(kind, gateway) {
  const home = freshHome(`turns-${kind}`);
  writeConfig(home, { gateway: { mode: "local", bind: "loopback" } });
  const env = childEnv(home, { OPENCLAW_GATEWAY_TOKEN: TOKEN, OPENCLAW_GATEWAY_PORT: String(gateway.port) });
  return async (...words) => {
    const out = await command([process.execPath, ORIGINALS[kind].main, ...words], { env });
    must(!/falling back to embedded/.test(out.stderr) || out.code !== 0, `answered without our gateway:\n${tail(out.stderr)}`);
    return out;
  };
}

const succeeds = (out) => must(out.code === 0, `exit ${out.code}\n${tail(out.stdout, 4)}\n${tail(out.stderr, 6)}`);

/** A turn as JSON, while a bystander sees it stream. */
async function asJson(ask, watcher, model) {
  const before = watcher.seen.length;
  const out = await ask("agent", "--agent", "main", "--message", "hi", "--json");
  succeeds(out);
  const value = document(out.stdout);
  const wanted = answerTo(model.asked.at(-1).texts);
  must(model.asked.at(-1).texts.at(-1) === "hi", `the model was asked ${JSON.stringify(model.asked.at(-1).texts)}`);
  must(value.status === "ok" && value.summary === "completed", `status ${value.status}, summary ${value.summary}`);
  must(value.result.payloads.length === 1 && value.result.payloads[0].text === wanted, `payloads ${JSON.stringify(value.result.payloads)}`);
  const { meta } = value.result;
  must(meta.aborted === false && meta.agentMeta.provider === "fake" && meta.agentMeta.model === "m", `meta ${JSON.stringify(meta)}`);
  must(meta.agentMeta.usage.input === 100 && meta.agentMeta.usage.output === 20, `usage ${JSON.stringify(meta.agentMeta.usage)}`);
  const events = watcher.seen.slice(before).filter((each) => each.value?.payload?.runId === value.runId).map((each) => each.value);
  const said = events.filter((each) => each.event === "agent" && each.payload.stream === "assistant").map((each) => each.payload.data);
  const deltas = events.filter((each) => each.event === "chat" && each.payload.state === "delta");
  const final = events.findLast((each) => each.event === "chat");
  must(said.length >= 3 && said.map((each) => each.delta).join("").trimEnd() === wanted, `the assistant events add up to ${JSON.stringify(said.map((each) => each.delta))}`);
  must(deltas.length >= 2 && final.payload.state === "final" && textOf(final.payload.message) === wanted, `chat ended with ${JSON.stringify(final?.payload)}`);
  return `${said.length} pieces, ${deltas.length} chat deltas`;
}

async function asText(ask, model, ...words) {
  const out = await ask("agent", ...words, "--message", "say it plainly");
  succeeds(out);
  const wanted = answerTo(model.asked.at(-1).texts);
  must(out.stdout.trim() === wanted, `said ${JSON.stringify(out.stdout)} where the model said ${wanted}`);
}

async function byId(ask, kind, gateway, model) {
  for (const question of [1, 2]) {
    const out = await ask("agent", "--session-id", ID[kind], "--message", "by its id", "--json");
    succeeds(out);
    const { result } = document(out.stdout);
    must(result.meta.agentMeta.sessionId === ID[kind], `session ${result.meta.agentMeta.sessionId}`);
    must(model.asked.at(-1).texts.length === question, `the model was shown ${model.asked.at(-1).texts.length} questions`);
  }
}

async function refused(ask) {
  const out = await ask("agent", "--agent", "main", "--message", "refuse", "--json");
  must(out.code === 1, `exit ${out.code}`);
  must(/401: the fake model refuses this key/.test(out.stderr), tail(out.stderr));
}

async function drive(kind, gateway, watcher, model) {
  const { label } = ORIGINALS[kind];
  const ask = cli(kind, gateway);
  const name = (what) => `cli ${label} → ours: ${what}`;
  await check(name("agent --message hi --json, and others see it stream"), () => asJson(ask, watcher, model));
  await check(name("agent --message prints the answer alone"), () => asText(ask, model, "--agent", "main"));
  await check(name("agent --to"), () => asText(ask, model, "--to", "+15550100"));
  await check(name("agent --session-id begins a session of that id and finds it again"), () => byId(ask, kind, gateway, model));
  await check(name("agent against a model that refuses ends with exit 1 and the model's words"), () => refused(ask));
  await check(name("sessions are listed by the gateway"), async () => {
    const out = await ask("gateway", "call", "sessions.list", "--json");
    succeeds(out);
    const keys = document(out.stdout).sessions.map((each) => each.key);
    for (const key of ["agent:main:main", `agent:main:explicit:${ID[kind]}`]) must(keys.includes(key), `${key} is not in ${keys}`);
  });
}

export async function run(bin) {
  const model = await startModel({ gapMs: 80 });
  const gateway = await startOurs(bin, { config: model.config() });
  const watcher = open(gateway.url, { clientDisplayName: "interop watcher" });
  await watcher.greeted;
  for (const kind of ["v3", "v4"]) await drive(kind, gateway, watcher, model);
  await checkTap("official and own schema: every frame of those turns is valid");
  await watcher.stop();
  await check("our gateway stops with exit 0 after the turns", async () => {
    const code = await gateway.stop();
    must(code === 0, `exit ${code}\n${tail(gateway.log())}`);
  });
  await model.stop();
}
