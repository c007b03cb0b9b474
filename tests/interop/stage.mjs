// The interop stage's table of parts: which run, in which order, and the one closing line.
import { summary, stopEverything, watchdog } from "./ground.mjs";

const [bin, ...wanted] = process.argv.slice(2);
const PARTS = {
  schema: () => import("./schema.mjs").then((m) => m.run()),
  client: () => import("./gateway-client.mjs").then((m) => m.run(bin)),
  chat: () => import("./chat.mjs").then((m) => m.run(bin)),
  clis: () => import("./original-clis.mjs").then((m) => m.againstOurs(bin)),
  turns: () => import("./turns.mjs").then((m) => m.run(bin)),
  cron: () => import("./cron.mjs").then((m) => m.run(bin)),
  ui: () => import("./control-ui.mjs").then((m) => m.run(bin)),
  litellm: () => import("./litellm.mjs").then((m) => m.run(bin)),
  programs: () => import("./programs.mjs").then((m) => m.run(bin)),
  store: () => import("./store.mjs").then((m) => m.run(bin)),
  reverse: () => import("./our-cli.mjs").then((m) => m.run(bin)),
};

/** Parts that run when they are named only. */
const ASKED = { figures: () => import("./figures.mjs").then((m) => m.run(bin)) };

watchdog(24 * 60_000);
try {
  if (bin === "--originals") {
    await (await import("./original-clis.mjs")).againstThemselves();
  } else {
    const unknown = wanted.filter((name) => !(name in PARTS) && !(name in ASKED));
    if (unknown.length > 0) throw new Error(`unknown part: ${unknown.join(", ")} (there are ${Object.keys({ ...PARTS, ...ASKED }).join(", ")})`);
    for (const [name, part] of Object.entries({ ...PARTS, ...ASKED })) {
      if (wanted.length > 0 ? !wanted.includes(name) : name in ASKED) continue;
      console.log(`-- ${name}`);
      await part();
    }
  }
} finally {
  await stopEverything();
}
process.exit(summary());
