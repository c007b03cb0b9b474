// Two judges of each frame and payload that our gateway sends: the official v4 schema, by the definition's name, and the
// schema our own table generates. Knows which definition belongs to which method and event; knows nothing of sockets.
import Ajv from "ajv";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { REPO } from "./ground.mjs";

const file = path.join(path.dirname(createRequire(import.meta.url).resolve("ajv/package.json")), "../@openclaw/gateway-protocol/protocol.schema.json");
export const schema = JSON.parse(readFileSync(file, "utf8"));
export const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
ajv.addSchema(schema, "official");
const own = JSON.parse(readFileSync(path.join(REPO, "fixtures/generated/protocol.schema.json"), "utf8"));
ajv.addSchema(own, "own");

/** Where a method's result definition is not simply its name in capitals + "Result". */
const RESULTS = {
  "connect": "HelloOk",
  "health": "Snapshot/properties/health",
  "agent.identity.get": "AgentIdentityResult",
  "config.schema": "ConfigSchemaResponse",
  "exec.approvals.get": "ExecApprovalsSnapshot",
  "exec.approvals.node.get": "ExecApprovalsNodeSnapshot",
};
const EVENTS = {
  "tick": "TickEvent",
  "shutdown": "ShutdownEvent",
  "health": "Snapshot/properties/health",
  "chat": "ChatEvent",
  "device.pair.requested": "DevicePairRequestedEvent",
  "device.pair.resolved": "DevicePairResolvedEvent",
  "node.invoke.request": "NodeInvokeRequestEvent",
};

const pascal = (name) => name.split(/[.-]/).map((part) => part[0].toUpperCase() + part.slice(1)).join("");

/** The definition of a method's result, if the official schema has one. */
export function resultName(method) {
  const name = RESULTS[method] ?? `${pascal(method)}Result`;
  return schema.definitions[name.split("/")[0]] ? name : undefined;
}

/** The faults of a value against a definition; an empty list is a pass. */
export function faults(name, value, judge = "official") {
  const validate = ajv.getSchema(`${judge}#/definitions/${name}`);
  if (!validate) return [`the ${judge} schema has no definition ${name}`];
  if (validate(value)) return [];
  return validate.errors.slice(0, 8).map((e) => `${judge} ${name}${e.instancePath}: ${e.message} ${JSON.stringify(e.params)}`);
}

/** The faults of a payload against the definition that our own table gives for it. */
function ownFaults(row, member, payload) {
  const name = row?.[member]?.replace("#/definitions/", "");
  return name ? faults(name, payload, "own") : [`our table has no ${member} for this`];
}

function presenceFaults(list) {
  if (!Array.isArray(list)) return ["presence is not a list"];
  return list.flatMap((entry) => faults("PresenceEntry", entry));
}

/** The faults of an event frame and its payload. */
export function eventFaults(frame) {
  const found = [...faults("EventFrame", frame), ...faults("EventFrame", frame, "own"), ...ownFaults(own.events[frame.event], "payload", frame.payload)];
  if (frame.event === "presence") return [...found, ...presenceFaults(frame.payload?.presence)];
  if (frame.event === "connect.challenge") {
    const { nonce, ts } = frame.payload ?? {};
    if (typeof nonce !== "string" || nonce === "" || !Number.isInteger(ts) || ts < 0) found.push("connect.challenge without nonce or ts");
    return found;
  }
  // The official schema closes `agent` payloads, but 2026.9.6 itself sends these three and its clients read them.
  if (frame.event === "agent") {
    const { sessionKey, sessionId, agentId, ...payload } = frame.payload ?? {};
    for (const each of [sessionKey, sessionId, agentId]) if (each !== undefined && typeof each !== "string") found.push(`agent event with ${each}`);
    return [...found, ...faults("AgentEvent", payload)];
  }
  return EVENTS[frame.event] ? [...found, ...faults(EVENTS[frame.event], frame.payload)] : found;
}

/** The faults of a response frame and of the result of the method it answers. */
export function responseFaults(frame, method) {
  const found = [...faults("ResponseFrame", frame), ...faults("ResponseFrame", frame, "own")];
  if (!frame.ok) return found;
  found.push(...ownFaults(own.methods[method], "result", frame.payload));
  if (method === "system-presence") return [...found, ...presenceFaults(frame.payload)];
  const name = resultName(method);
  return name ? [...found, ...faults(name, frame.payload)] : found;
}
