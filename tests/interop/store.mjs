// A session store that 2026.2.9 wrote, live and from its recorded example: continued by ours, and read and continued again by
// the original. Nothing of what it wrote may be lost or changed. Both gateways are asked by our own command line.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { textOf } from "./chat.mjs";
import { answerTo, startModel } from "./fake-model.mjs";
import { check, childEnv, command, freePort, freshHome, must, ORIGINALS, REPO, startGateway, startOurs, tail, TOKEN } from "./ground.mjs";
import { document } from "./original-clis.mjs";

const folder = (home) => path.join(home, ".openclaw/agents/main/sessions");
const indexOf = (home) => JSON.parse(readFileSync(path.join(folder(home), "sessions.json"), "utf8"));
const transcripts = (home) => Object.fromEntries(readdirSync(folder(home)).filter((name) => name.endsWith(".jsonl")).map((name) => [name, readFileSync(path.join(folder(home), name), "utf8")]));
const lines = (text) => text.trimEnd().split("\n").map((line) => JSON.parse(line));

/** The same home under one gateway after the other. */
class House {
  constructor(bin, model, label) {
    Object.assign(this, { bin, model, home: freshHome(label), turns: 0 });
    // Sessions stay fresh whatever the hour, so that a run across the daily reset is no different.
    this.config = model.config({ session: { reset: { mode: "idle", idleMinutes: 525_600 } } });
    mkdirSync(path.join(this.home, ".openclaw/workspace"), { recursive: true });
    writeFileSync(path.join(this.home, ".openclaw/workspace/note.txt"), "forty-two\n");
  }

  /** Runs `fn` while this gateway serves the home. */
  async under(kind, fn) {
    const { main, ready, label } = ORIGINALS.v3;
    const gateway = kind === "ours"
      ? await startOurs(this.bin, { home: this.home, config: this.config })
      : await startGateway({ argv: [process.execPath, main], ready, label, port: await freePort(), home: this.home, config: this.config });
    this.port = gateway.port;
    try {
      return await fn();
    } finally {
      const code = await gateway.stop();
      if (kind === "ours") must(code === 0, `exit ${code}\n${tail(gateway.log())}`);
    }
  }

  async call(method, params, ...flags) {
    const env = childEnv(freshHome("store-cli"), { OPENCLAW_GATEWAY_TOKEN: TOKEN, OPENCLAW_GATEWAY_PORT: String(this.port) });
    const out = await command([this.bin, "gateway", "call", method, "--json", "--params", JSON.stringify(params), ...flags], { env });
    must(out.code === 0, `${method}: exit ${out.code}\n${tail(out.stderr)}`);
    return document(out.stdout);
  }

  /** One turn; the questions the model was shown. */
  async ask(sessionKey, message, wanted) {
    this.turns += 1;
    const done = await this.call("agent", { sessionKey, message, idempotencyKey: `store-${this.turns}` }, "--expect-final");
    const { texts } = this.model.asked.at(-1);
    const said = done.result.payloads.map((each) => each.text.trimEnd()).join("|");
    must(said === (wanted ?? answerTo(texts)), `${sessionKey}, ${message}: said ${JSON.stringify(done)}`);
    return texts;
  }

  async said(sessionKey) {
    const { messages } = await this.call("chat.history", { sessionKey });
    return messages.map((each) => `${each.role}: ${textOf(each).trimEnd()}`);
  }

  /** The command of 2026.2.9 that lists sessions, from the files alone. */
  async originalList() {
    const out = await command([process.execPath, ORIGINALS.v3.main, "sessions", "--json"], { env: childEnv(this.home) });
    must(out.code === 0, `exit ${out.code}\n${tail(out.stderr)}`);
    return document(out.stdout).sessions;
  }
}

/** All earlier files begin the later ones, and lines keep their chain. */
function grewOnly(before, after) {
  for (const [name, text] of Object.entries(before)) must(after[name]?.startsWith(text), `${name} was rewritten`);
  for (const [name, text] of Object.entries(after)) {
    const all = lines(text);
    must(all[0].type === "session" && all[0].version === 3, `${name} has no header`);
    const ids = new Set();
    for (const line of all.slice(1)) {
      must(/^[0-9a-f]{8}$/.test(line.id) && !ids.has(line.id), `${name}: id ${line.id}`);
      must(line.parentId === null || ids.has(line.parentId), `${name}: ${line.id} hangs on ${line.parentId}`);
      ids.add(line.id);
    }
  }
}

/** What an entry of the index said that a turn has no business to change. */
function keptEntries(before, after) {
  const may = new Set(["updatedAt", "systemSent", "abortedLastRun", "inputTokens", "outputTokens", "totalTokens", "contextTokens", "model", "modelProvider"]);
  for (const [key, entry] of Object.entries(before)) {
    must(after[key], `${key} is gone`);
    for (const [name, value] of Object.entries(entry)) {
      const same = JSON.stringify(after[key][name]) === JSON.stringify(value);
      must(same || may.has(name), `${key}.${name} was ${JSON.stringify(value)} and is ${JSON.stringify(after[key][name])}`);
      must(name in after[key], `${key}.${name} is gone`);
    }
  }
}

async function live(bin, model) {
  const house = new House(bin, model, "store-live");
  const file = "The file says: forty-two";
  let before;
  let index;
  await check("store: 2026.2.9 writes it live", () => house.under("original", async () => {
    await house.ask("agent:main:main", "one");
    await house.ask("agent:main:main", "look at note.txt", file);
    await house.ask("agent:main:trip", "where to?");
    await house.call("sessions.patch", { key: "agent:main:trip", label: "Trip", thinkingLevel: "low" });
  }), { timeoutMs: 120_000 });
  before = transcripts(house.home);
  index = indexOf(house.home);
  await check("store: ours shows it and goes on in it", () => house.under("ours", async () => {
    const rows = (await house.call("sessions.list", {})).sessions;
    const ids = rows.map((row) => `${row.key} ${row.sessionId} ${row.label ?? ""}`).sort().join("|");
    must(ids === Object.entries(index).map(([key, entry]) => `${key} ${entry.sessionId} ${entry.label ?? ""}`).sort().join("|"), `listed ${ids}`);
    must((await house.said("main")).filter((text) => text.startsWith("user")).join("|") === "user: one|user: look at note.txt", `history ${await house.said("main")}`);
    must((await house.ask("agent:main:main", "three")).join("|") === "one|look at note.txt|three", "the model was not shown the conversation");
    await house.ask("agent:main:main", "look at note.txt", file);
    must((await house.ask("trip", "and then?")).join("|") === "where to?|and then?", "the other session was not continued");
    await house.ask("agent:main:ours", "begun by ours");
  }), { timeoutMs: 60_000 });
  await check("store: what was there is kept to the byte, lines and entries are the original's", async () => {
    grewOnly(before, transcripts(house.home));
    keptEntries(index, indexOf(house.home));
    sameShape(house.home, index["agent:main:main"].sessionId, before);
  });
  before = transcripts(house.home);
  index = indexOf(house.home);
  await check("store: sessions of 2026.2.9 lists what ours wrote", async () => {
    const rows = await house.originalList();
    const keys = rows.map((row) => row.key).sort().join();
    must(keys === "agent:main:main,agent:main:ours,agent:main:trip", `listed ${keys}`);
    for (const row of rows) must(row.sessionId === index[row.key].sessionId && row.model === "m" && row.totalTokens === 100, JSON.stringify(row));
  });
  await check("store: 2026.2.9 goes on in what ours wrote", () => house.under("original", async () => {
    const texts = ["one", "look at note.txt", "three", "look at note.txt", "five"];
    must((await house.ask("agent:main:main", "five")).join("|") === texts.join("|"), `the model was shown ${model.asked.at(-1).texts}`);
    const results = model.asked.at(-1).body.messages.filter((each) => each.role === "tool");
    must(results.length === 2 && results.every((each) => JSON.stringify(each.content).includes("forty-two")), `results of tools: ${JSON.stringify(results)}`);
    must((await house.ask("agent:main:ours", "again")).join("|") === "begun by ours|again", "the session ours began was not continued");
    must((await house.said("agent:main:trip")).length === 4, `history ${await house.said("agent:main:trip")}`);
  }), { timeoutMs: 120_000 });
  await check("store: and ours again after that", () => house.under("ours", async () => {
    grewOnly(before, transcripts(house.home));
    must((await house.ask("agent:main:main", "six")).length === 6, `the model was shown ${model.asked.at(-1).texts}`);
  }));
}

/** Lines of ours have the members of the original's, kind by kind. */
function sameShape(home, id, before) {
  const name = `${id}.jsonl`;
  const shape = (line) => {
    const role = line.message?.role;
    const members = Object.keys(line.message ?? line).filter((each) => each !== "details").sort();
    return [`${line.type} ${role ?? ""} ${line.message?.stopReason ?? ""}`, members.join()];
  };
  const theirs = new Map(lines(before[name]).map(shape));
  const ours = lines(transcripts(home)[name].slice(before[name].length));
  must(ours.some((line) => line.message?.role === "toolResult"), "no result of a tool among the new lines");
  for (const line of ours) {
    const [kind, members] = shape(line);
    if (theirs.has(kind)) must(members === theirs.get(kind), `${kind}: ${members} where the original has ${theirs.get(kind)}`);
  }
}

async function recorded(bin, model) {
  const house = new House(bin, model, "store-example");
  const read = (name) => readFileSync(path.join(REPO, "fixtures/sessions", name), "utf8")
    .replaceAll("/home/USER", house.home).replaceAll("PROVIDER_ID", "fake").replaceAll("MODEL_ID", "m");
  const id = "22222222-2222-4222-8222-222222222222";
  mkdirSync(folder(house.home), { recursive: true });
  writeFileSync(path.join(folder(house.home), "sessions.json"), read("sessions-v2026.2.9.json"));
  writeFileSync(path.join(folder(house.home), `${id}.jsonl`), read("transcript-v2026.2.9.jsonl").replaceAll("11111111-1111-4111-8111-111111111111", id));
  const before = transcripts(house.home);
  const index = indexOf(house.home);
  await check("store: the recorded example is continued by ours", () => house.under("ours", async () => {
    const texts = await house.ask("agent:main:main", "what did they echo?");
    must(texts.join("|") === "run the two echo commands|what did they echo?", `the model was shown ${texts}`);
    must(model.asked.at(-1).body.messages.some((each) => each.role === "tool"), "the result of the tool was not shown");
    grewOnly(before, transcripts(house.home));
  }));
  await check("store: its entries are kept", async () => keptEntries(index, indexOf(house.home)));
  await check("store: 2026.2.9 lists it and goes on in it", async () => {
    const keys = (await house.originalList()).map((row) => row.key).sort().join();
    must(keys === Object.keys(index).sort().join(), `listed ${keys}`);
    await house.under("original", async () => {
      const texts = await house.ask("agent:main:main", "and the last?");
      must(texts.join("|") === "run the two echo commands|what did they echo?|and the last?", `the model was shown ${texts}`);
    });
  }, { timeoutMs: 120_000 });
}

export async function run(bin) {
  const model = await startModel({ gapMs: 1 });
  await live(bin, model);
  await recorded(bin, model);
  await model.stop();
}
