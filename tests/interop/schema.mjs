// What our table generates: TypeScript that compiles strictly, a JSON Schema that ajv accepts and that recorded frames meet.
import Ajv from "ajv";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { check, childEnv, command, freshHome, must, REPO, tail } from "./ground.mjs";

const GENERATED = path.join(REPO, "fixtures/generated");
const FRAMES = path.join(REPO, "fixtures/frames");

/** A placeholder of the recordings becomes a value of the right type before it is judged. */
const PLACES = {
  "<ts>": 1_795_000_000_000, "<ms>": 5, "<signature>": "c2ln", "<publicKey>": "a2V5", "<health>": {}, "<features>": { methods: [], events: [] },
};
const filled = (value) => {
  if (typeof value === "string") return value in PLACES ? PLACES[value] : value;
  if (Array.isArray(value)) return value.map(filled);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, filled(each)]));
  return value;
};

export async function run() {
  await check("generated TypeScript compiles with --strict", async () => {
    const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
    const file = path.join(GENERATED, "protocol.ts");
    const flags = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022", "--moduleDetection", "force"];
    const out = await command([process.execPath, tsc, ...flags, file], { env: childEnv(freshHome("tsc")), timeoutMs: 90_000 });
    must(out.code === 0, tail(out.stdout + out.stderr, 12));
  }, { timeoutMs: 100_000 });

  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  let schema;
  await check("generated JSON Schema is accepted by ajv, each definition of it", async () => {
    schema = JSON.parse(readFileSync(path.join(GENERATED, "protocol.schema.json"), "utf8"));
    ajv.addSchema(schema, "ours");
    const names = Object.keys(schema.definitions ?? {});
    must(names.length > 20, `only ${names.length} definitions`);
    for (const name of names) must(ajv.getSchema(`ours#/definitions/${name}`), `no validator for ${name}`);
    return `${names.length} definitions`;
  });
  if (!schema) return;
  await check("recorded frames of the original gateways meet the generated schema", async () => {
    must(existsSync(FRAMES), "fixtures/frames is missing");
    const bad = [];
    let count = 0;
    for (const file of readdirSync(FRAMES).filter((name) => name.endsWith(".jsonl"))) {
      readFileSync(path.join(FRAMES, file), "utf8").trim().split("\n").forEach((line, at) => {
        const { dir, frame: recorded } = JSON.parse(line);
        const frame = filled(recorded);
        // Clients were made to send wrong frames on purpose; what servers sent is what ours sends too.
        if (dir !== "s2c") return;
        const name = { res: "ResponseFrame", event: "EventFrame" }[frame?.type];
        if (!name) return;
        count += 1;
        const validate = ajv.getSchema(`ours#/definitions/${name}`);
        if (!validate(frame)) bad.push(`${file}:${at + 1} ${name}${validate.errors[0].instancePath} ${validate.errors[0].message}`);
      });
    }
    must(count > 0, "no frame was found");
    must(bad.length === 0, bad.slice(0, 10).join("\n"));
    return `${count} frames`;
  });
}
