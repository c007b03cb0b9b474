// Programs that never heard of this gateway: their own SDKs, in Python and JavaScript, against our HTTP interfaces.
// What they check stands in programs/; here they get a gateway, an address and a key.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { configFor, startModel } from "./fake-model.mjs";
import { REPO, TOKEN, check, childEnv, freshHome, must, onEnd, skip, startOurs, tail, within } from "./ground.mjs";

const HERE = path.join(REPO, "tests/interop/programs");
const SCRIPTS = ["openai_sdk.py", "langchain_openai_chat.py"];

/** The configuration of a person who wants programs to come in. */
function config(model) {
  const written = configFor({ baseUrl: `http://127.0.0.1:${model.port}/v1`, api: "openai-completions" });
  const enabled = { enabled: true };
  written.gateway.http = { endpoints: { chatCompletions: enabled, responses: enabled } };
  written.models.providers.fake.models[0].input = ["text", "image"];
  written.agents.defaults.memorySearch = { provider: "openai", model: "text-embedding-3-small", remote: { baseUrl: `http://127.0.0.1:${model.port}/v1`, apiKey: "fake-key" } };
  return written;
}

/** Runs a script whose lines are checks; each becomes one of ours. */
async function script(argv, env) {
  const child = spawn(argv[0], argv.slice(1), { env, cwd: env.HOME, stdio: ["ignore", "pipe", "pipe"], detached: true });
  onEnd(child);
  let noise = "";
  child.stderr.setEncoding("utf8").on("data", (data) => (noise = (noise + data).slice(-20_000)));
  const ended = new Promise((resolve) => child.on("close", (code, signal) => resolve(code ?? signal)));
  let checks = 0;
  for await (const line of readline.createInterface({ input: child.stdout })) {
    if (!line.startsWith("{")) continue;
    const row = JSON.parse(line);
    checks += 1;
    await check(row.name, async () => {
      must(row.ok, row.note);
      return `took ${row.ms} ms${row.note ? `, ${row.note}` : ""}`;
    });
  }
  const code = await within(ended, 5_000, "the script does not end");
  await check(`${path.basename(argv[1])} ran to its end`, async () => must(code === 0 && checks > 0, `exit ${code} after ${checks} checks\n${tail(noise)}`));
}

export async function run(bin) {
  const { INTEROP_PROGRAMS: packages, INTEROP_PROGRAMS_PY: venv } = process.env;
  const model = await startModel({ gapMs: 5 });
  const gateway = await startOurs(bin, { label: "programs", config: config(model) });
  const env = (more) => ({ ...childEnv(freshHome("program")), BASE: `http://127.0.0.1:${gateway.port}/v1`, KEY: TOKEN, PYTHONDONTWRITEBYTECODE: "1", ...more });
  if (venv && existsSync(path.join(venv, "bin/python"))) {
    for (const name of SCRIPTS) await script([path.join(venv, "bin/python"), path.join(HERE, name)], env());
  } else {
    skip("programs in Python", "they need python3 3.10 or newer with venv and pip");
  }
  await script([process.execPath, path.join(packages, "programs-js.mjs")], env());
  await check("programs: a client that goes away stops the model", async () => {
    const gone = model.hungUp();
    const stop = new AbortController();
    const body = JSON.stringify({ model: "openclaw", stream: true, messages: [{ role: "user", content: "hang" }] });
    const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
    const answer = await fetch(`http://127.0.0.1:${gateway.port}/v1/chat/completions`, { method: "POST", headers, body, signal: stop.signal });
    await answer.body.getReader().read();
    stop.abort();
    await within(gone, 10_000, "the model still writes after 10 s");
  });
  await gateway.stop();
  await model.stop();
}
