// Our command line against both original gateways, with the asserts that the original command lines meet.
import { check, childEnv, command, freshHome, must, startOriginal, tail, TOKEN, writeConfig } from "./ground.mjs";
import { COMMANDS, document, presence } from "./original-clis.mjs";

const WANTED = [
  "gateway call health --json", "gateway call status --json", "gateway call system-presence --json", "gateway health",
  "gateway status --json", "gateway probe --json", "health --json", "logs --json", "channels status --json",
  "nodes status --json", "devices list --json",
];

export async function run(bin) {
  const known = await command([bin, "--help"], { env: childEnv(freshHome("help")) });
  for (const kind of ["v3", "v4"]) {
    let gateway;
    const up = await check(`original gateway ${kind} starts`, async () => {
      gateway = await startOriginal(kind);
    }, { timeoutMs: 100_000 });
    if (!up) continue;
    const home = freshHome(`our-cli-${kind}`);
    writeConfig(home, { gateway: { mode: "local", bind: "loopback" } });
    const env = childEnv(home, { OPENCLAW_GATEWAY_TOKEN: TOKEN, OPENCLAW_GATEWAY_PORT: String(gateway.port) });
    const ours = async (words, answer) => {
      if (!known.stdout.includes(words[0])) throw new Error(`--help does not name ${words[0]}`);
      const out = await command([bin, ...words], { env, timeoutMs: 20_000 });
      must(out.code === 0, `exit ${out.code}\n${tail(out.stdout, 4)}\n${tail(out.stderr, 6)}`);
      answer(out, gateway, kind);
    };
    for (const each of COMMANDS.filter((one) => WANTED.includes(one.words.join(" ")))) {
      await check(`our cli → ${gateway.label}: ${each.words.join(" ")}`, () => ours(each.words, each.answer));
    }
    await check(`our cli → ${gateway.label}: system presence --json`, () =>
      ours(["system", "presence", "--json"], (out) => presence(document(out.stdout))));
    await check(`our cli → ${gateway.label}: --url and --token`, () =>
      ours(["gateway", "call", "health", "--json", "--url", gateway.url, "--token", TOKEN], (out) =>
        must(document(out.stdout).ok === true, "health is not ok")));
    await check(`our cli → ${gateway.label}: a wrong token is named and ends with exit 1`, async () => {
      const out = await command([bin, "gateway", "call", "health", "--url", gateway.url, "--token", "wrong-token"], { env });
      must(out.code === 1, `exit ${out.code}`);
      must(/unauthorized/.test(out.stderr), tail(out.stderr));
      must(!out.stderr.includes("wrong-token"), "the token stands in the error");
    });
    await gateway.stop().catch(() => {});
  }
}
