// Scheduled jobs: the original command lines against our gateway, ours against the original gateways, and one store that
// our gateway and 2026.2.9 continue in turn.
import http from "node:http";
import { answerTo, startModel } from "./fake-model.mjs";
import { check, childEnv, command, freshHome, must, ORIGINALS, startGateway, startOriginal, startOurs, freePort, tail, TOKEN, writeConfig } from "./ground.mjs";
import { document } from "./original-clis.mjs";

/** A command line with a home of its own; answers its JSON document. */
function cli(argv, label, gateway) {
  const home = freshHome(`cron-${label}`);
  writeConfig(home, { gateway: { mode: "local", bind: "loopback" } });
  const env = childEnv(home, { OPENCLAW_GATEWAY_TOKEN: TOKEN, OPENCLAW_GATEWAY_PORT: String(gateway.port) });
  const call = async (...words) => command([...argv, "cron", ...words], { env, timeoutMs: 90_000 });
  const json = async (...words) => {
    const out = await call(...words);
    must(out.code === 0, `${words.join(" ")}: exit ${out.code}\n${tail(out.stdout, 4)}\n${tail(out.stderr, 6)}`);
    return document(out.stdout);
  };
  return { call, json };
}

const original = (kind) => [process.execPath, ORIGINALS[kind].main];

/** What every command line can do with every gateway. `extra` is for commands that print JSON only when asked. */
async function life({ json, call }, extra, name) {
  let id;
  await check(name("cron add"), async () => {
    const job = await json("add", "--name", "interop", "--every", "10m", "--session", "main", "--wake", "next-heartbeat",
      "--system-event", "interop says hello", ...extra);
    id = job.id;
    must(job.enabled === true && job.schedule.everyMs === 600_000, JSON.stringify(job));
    must(Math.abs(job.state.nextRunAtMs - Date.now() - 600_000) < 60_000, `next ${job.state.nextRunAtMs}`);
  });
  await check(name("cron list --json"), async () => {
    const { jobs } = await json("list", "--json");
    must(jobs.some((job) => job.id === id && job.name === "interop"), JSON.stringify(jobs).slice(0, 300));
  });
  await check(name("cron list"), async () => {
    const out = await call("list");
    must(out.code === 0 && out.stdout.includes("interop") && /every 10m/.test(out.stdout), tail(out.stdout + out.stderr));
  });
  await check(name("cron edit"), async () => {
    const job = await json("edit", id, "--cron", "0 7 * * *", "--tz", "Europe/Berlin", ...extra);
    must(job.schedule.expr === "0 7 * * *" && job.schedule.tz === "Europe/Berlin", JSON.stringify(job.schedule));
    const berlin = new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Berlin", hour: "2-digit", minute: "2-digit" });
    must(berlin.format(new Date(job.state.nextRunAtMs)) === "07:00", `next ${new Date(job.state.nextRunAtMs).toISOString()}`);
  });
  await check(name("cron disable and enable"), async () => {
    const off = await json("disable", id, ...extra);
    must(off.enabled === false && off.state.nextRunAtMs === undefined, JSON.stringify(off));
    must((await json("enable", id, ...extra)).enabled === true, "not enabled");
  });
  await check(name("cron run and runs"), async () => {
    const ran = await json("run", id, ...extra);
    must(ran.ok === true && (ran.ran || ran.enqueued), JSON.stringify(ran));
    for (let tries = 0; ; tries++) {
      const { entries } = await json("runs", "--id", id, ...extra);
      const entry = entries.at(-1);
      if (entry) {
        must(entry.jobId === id && entry.action === "finished" && entry.summary === "interop says hello", JSON.stringify(entry));
        break;
      }
      must(tries < 10, "no run was recorded");
    }
  });
  await check(name("an expression that never fires"), async () => {
    const out = await call("add", "--name", "never", "--cron", "0 0 30 2 *", "--system-event", "x", ...extra);
    // 2026.2.9 takes it and never runs it.
    must(out.code === 0 ? !/nextRunAtMs/.test(out.stdout) : /would never fire/.test(out.stderr + out.stdout), tail(out.stdout + out.stderr));
  });
  await check(name("cron rm"), async () => {
    must((await json("rm", id, ...extra)).removed === true, "not removed");
    const { jobs } = await json("list", "--all", "--json");
    must(!jobs.some((job) => job.id === id), "it is still there");
  });
  await check(name("cron status"), async () => {
    const status = await json("status", ...extra);
    must(status.enabled === true && Number.isInteger(status.jobs) && typeof status.storePath === "string", JSON.stringify(status));
  });
}

/** A turn in a session of its own, with a model behind it. */
async function turn({ json }, model, name) {
  await check(name("a turn runs and its answer is kept"), async () => {
    const job = await json("add", "--name", "turn", "--at", "2h", "--message", "hello from cron", "--no-deliver", "--keep-after-run");
    must(job.sessionTarget === "isolated" && job.delivery.mode === "none", JSON.stringify(job));
    await json("run", job.id);
    for (let tries = 0; ; tries++) {
      const { entries } = await json("runs", "--id", job.id);
      if (entries.length > 0) {
        const wanted = answerTo(model.asked.at(-1).texts);
        must(entries[0].status === "ok" && entries[0].summary === wanted, `${JSON.stringify(entries[0])} where the model said ${wanted}`);
        break;
      }
      must(tries < 20, "no run was recorded");
    }
    must(model.asked.at(-1).texts.at(-1).includes("hello from cron"), JSON.stringify(model.asked.at(-1).texts));
    await json("rm", job.id);
  });
}

/** What only our gateway, or only the newer command line, does. */
async function more({ json, call }, kind, name) {
  await check(name("cron runs of nobody"), async () => {
    const out = await call("runs", "--id", "nobody");
    must(out.code !== 0 && /not found/i.test(out.stdout + out.stderr), `exit ${out.code} ${tail(out.stdout + out.stderr)}`);
  });
  if (kind !== "v4") return;
  await check(name("cron run --wait, in a conversation"), async () => {
    const job = await json("add", "--name", "waited", "--at", "2h", "--message", "hello again", "--session", "session:desk", "--keep-after-run");
    must(job.sessionTarget === "session:agent:main:desk", JSON.stringify(job));
    const ran = await json("run", job.id, "--wait", "--poll-interval", "200ms");
    must(ran.completed && ran.status === "ok" && ran.run.sessionKey === "agent:main:desk", JSON.stringify(ran));
    await json("rm", job.id);
  });
  await check(name("cron add --webhook"), async () => {
    const posted = [];
    const server = http.createServer((request, response) => {
      let body = "";
      request.on("data", (piece) => (body += piece)).on("end", () => (posted.push(JSON.parse(body)), response.end()));
    });
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    const url = `http://127.0.0.1:${server.address().port}/in`;
    const job = await json("add", "--name", "posted", "--at", "2h", "--message", "hello hook", "--webhook", url, "--keep-after-run");
    const ran = await json("run", job.id, "--wait", "--poll-interval", "200ms");
    server.close();
    must(ran.run.delivered === true && posted.length === 1, `${JSON.stringify(ran)} ${JSON.stringify(posted)}`);
    must(posted[0].jobId === job.id && posted[0].summary === ran.run.summary, JSON.stringify(posted));
    await json("rm", job.id);
  });
}

/** Ours writes, 2026.2.9 goes on, ours goes on. */
async function store(bin) {
  const home = freshHome("cron-store");
  const config = { gateway: { mode: "local", bind: "loopback" } };
  const ids = [];
  const visit = async (gateway, name, seen) => {
    const { json } = cli([bin], name, gateway);
    const { jobs } = await json("list", "--all", "--json");
    for (const id of ids) must(jobs.some((job) => job.id === id), `${name} does not know ${id}`);
    const job = await json("add", "--name", name, "--every", "1d", "--system-event", `of ${name}`, "--wake", "next-heartbeat", "--json");
    ids.push(job.id);
    for (const id of seen) {
      const { entries } = await json("runs", id, "--json");
      must(entries.length === 1 && entries[0].status === "ok", `${name} sees ${JSON.stringify(entries)}`);
    }
    await json("run", job.id, "--json");
    await gateway.stop().catch(() => {});
  };
  await check("a store goes from ours to 2026.2.9 and back", async () => {
    await visit(await startOurs(bin, { home, config }), "ours", []);
    const { label, main, ready } = ORIGINALS.v3;
    const again = await startGateway({ argv: [process.execPath, main], ready, label, port: await freePort(), home, config });
    await visit(again, "theirs", [ids[0]]);
    await visit(await startOurs(bin, { home, config }), "ours-again", [ids[0], ids[1]]);
    must(ids.length === 3, JSON.stringify(ids));
  }, { timeoutMs: 150_000 });
}

export async function run(bin) {
  const model = await startModel({ gapMs: 10 });
  const cron = { webhookSsrfPolicy: { allowedHostnames: ["127.0.0.1"] } };
  const gateway = await startOurs(bin, { config: { ...model.config(), cron } });
  for (const kind of ["v3", "v4"]) {
    const line = cli(original(kind), kind, gateway);
    const name = (what) => `cli ${ORIGINALS[kind].label} → ours: ${what}`;
    await life(line, [], name);
    await turn(line, model, name);
    await more(line, kind, name);
  }
  await gateway.stop().catch(() => {});
  await model.stop();
  for (const kind of ["v3", "v4"]) {
    const theirs = await startOriginal(kind);
    await life(cli([bin], `ours-${kind}`, theirs), ["--json"], (what) => `our cli → ${theirs.label}: ${what}`);
    await theirs.stop().catch(() => {});
  }
  await store(bin);
}
