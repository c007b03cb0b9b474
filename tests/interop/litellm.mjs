// An independent model server: the LiteLLM proxy, which puts the fake model's answers into the three wire forms itself, and
// its own mock answers. Turns through our gateway, each form on a gateway of its own.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { answerTo, configFor, startModel } from "./fake-model.mjs";
import { check, childEnv, freePort, freshHome, must, onEnd, skip, startOurs, tail } from "./ground.mjs";
import { open } from "./official-peer.mjs";

const FORMS = { "openai-completions": "/v1", "openai-responses": "/v1", "anthropic-messages": "" };
const KEY = "sk-interop";
const MOCK = "The LiteLLM proxy answers this with a mock, word for word.";

/** Starts the proxy and waits until it lives. */
async function startProxy(venv, model) {
  const home = freshHome("litellm");
  const port = await freePort();
  const config = path.join(home, "config.json"); // YAML takes JSON.
  writeFileSync(config, JSON.stringify({
    model_list: [
      { model_name: "m", litellm_params: { model: "hosted_vllm/m", api_base: `http://127.0.0.1:${model.port}/v1`, api_key: "fake-key" } },
      { model_name: "mock", litellm_params: { model: "openai/mock", api_key: "none", mock_response: MOCK } },
    ],
    router_settings: { disable_cooldowns: true, num_retries: 0 },
    general_settings: { master_key: KEY },
  }));
  const env = childEnv(home, { LITELLM_LOCAL_MODEL_COST_MAP: "True", PYTHONDONTWRITEBYTECODE: "1" });
  const words = ["--config", config, "--host", "127.0.0.1", "--port", String(port), "--telemetry", "False"];
  const child = spawn(path.join(venv, "bin/litellm"), words, { env, cwd: home, stdio: ["ignore", "pipe", "pipe"], detached: true });
  onEnd(child);
  const proxy = { port, text: "", ended: false, stop: () => process.kill(-child.pid, "SIGKILL") };
  for (const pipe of [child.stdout, child.stderr]) pipe.setEncoding("utf8").on("data", (data) => (proxy.text = (proxy.text + data).slice(-50_000)));
  child.on("close", () => (proxy.ended = true));
  while (!(await fetch(`http://127.0.0.1:${port}/health/liveliness`).then((answer) => answer.ok, () => false))) {
    must(!proxy.ended, `the proxy ended:\n${tail(proxy.text)}`);
    await new Promise((done) => setTimeout(done, 200));
  }
  return proxy;
}

/** One turn: what it answered and how many pieces were streamed. */
async function turn(peer, message) {
  const before = peer.seen.length;
  const id = `turn-${before}`;
  const final = await peer.client.request("agent", { message, idempotencyKey: id }, { expectFinal: true, timeoutMs: 30_000 });
  const said = peer.seen.slice(before).filter((each) => each.what === "event:agent" && each.value.payload.runId === id && each.value.payload.stream === "assistant");
  return { text: final.result.payloads.map((each) => each.text).join("|"), usage: final.result.meta.agentMeta.usage, pieces: said.length };
}

/** A gateway with one model behind the proxy, and a client of it. */
async function gatewayFor(bin, proxy, api, model) {
  const home = freshHome(`litellm-${api}`);
  const config = configFor({ baseUrl: `http://127.0.0.1:${proxy.port}${FORMS[api]}`, api, apiKey: KEY });
  config.models.providers.fake.models[0].id = model;
  config.agents.defaults.model.primary = `fake/${model}`;
  mkdirSync(path.join(home, ".openclaw/workspace"), { recursive: true });
  writeFileSync(path.join(home, ".openclaw/workspace/note.txt"), "forty-two\n");
  const gateway = await startOurs(bin, { home, config });
  const peer = open(gateway.url, { clientDisplayName: "interop litellm" });
  await peer.greeted;
  return { peer, stop: async () => { await peer.stop(); await gateway.stop(); } };
}

async function drive(bin, proxy, api, model) {
  const { peer, stop } = await gatewayFor(bin, proxy, api, "m");
  const name = (what) => `LiteLLM, ${api}: ${what}`;
  await check(name("a streamed answer with its usage"), async () => {
    const { text, usage, pieces } = await turn(peer, "hi");
    must(text === answerTo(["hi"]), `said ${JSON.stringify(text)}`);
    must(pieces >= 3, `${pieces} pieces: it was not streamed`);
    must(usage.input === 100 && usage.output === 20, `usage ${JSON.stringify(usage)}`);
  });
  await check(name("a refusal is an error, and the session goes on"), async () => {
    const error = await turn(peer, "refuse").then((done) => must(false, `answered ${JSON.stringify(done)}`), (each) => each);
    must(/401.*the fake model refuses this key/.test(error.message), error.message);
    const { text } = await turn(peer, "and now?");
    must(text === answerTo(model.asked.at(-1).texts) && model.asked.at(-1).texts.includes("hi"), `said ${JSON.stringify(text)}`);
  });
  // Last: this version moves results of tools to the end of every later conversation in the form openai-responses.
  await check(name("a tool is called and its result goes back"), async () => {
    const { text } = await turn(peer, "look at note.txt");
    must(text.trimEnd() === "The file says: forty-two", `said ${JSON.stringify(text)}`);
  });
  await stop();
}

export async function run(bin) {
  const venv = process.env.INTEROP_LITELLM;
  if (!venv || !existsSync(path.join(venv, "bin/litellm"))) return skip("the LiteLLM proxy", "it needs python3 3.10 to 3.13 with venv and pip");
  const model = await startModel();
  let proxy;
  const up = await check("the LiteLLM proxy starts", async () => {
    proxy = await startProxy(venv, model);
  });
  if (!up) return model.stop();
  for (const api of Object.keys(FORMS)) await drive(bin, proxy, api, model);
  await check("LiteLLM, openai-completions: its own mock answer, word for word", async () => {
    const { peer, stop } = await gatewayFor(bin, proxy, "openai-completions", "mock");
    const { text, pieces } = await turn(peer, "hi");
    await stop();
    must(text === MOCK && pieces >= 3, `said ${JSON.stringify(text)} in ${pieces} pieces`);
  });
  // This version streams no mock on its Anthropic route: it sends its own stack trace inside a success.
  await check("LiteLLM, anthropic-messages: an error inside a success is an error", async () => {
    const { peer, stop } = await gatewayFor(bin, proxy, "anthropic-messages", "mock");
    const error = await turn(peer, "hi").then((done) => must(false, `answered ${JSON.stringify(done)}`), (each) => each);
    await stop();
    must(/'async for' requires an object with __aiter__/.test(error.message), error.message);
  });
  proxy.stop();
  return model.stop();
}
