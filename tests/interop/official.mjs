// The official v4 schema as a judge: each frame and payload that a gateway sends, by the definition's name.
// Knows which definition belongs to which method and event; knows nothing of sockets.
import Ajv from "ajv";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const file = path.join(path.dirname(createRequire(import.meta.url).resolve("ajv/package.json")), "../@openclaw/gateway-protocol/protocol.schema.json");
export const schema = JSON.parse(readFileSync(file, "utf8"));
export const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
ajv.addSchema(schema, "official");

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
  "agent": "AgentEvent",
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
export function faults(name, value) {
  const validate = ajv.getSchema(`official#/definitions/${name}`);
  if (!validate) return [`the official schema has no definition ${name}`];
  if (validate(value)) return [];
  return validate.errors.slice(0, 8).map((e) => `${name}${e.instancePath}: ${e.message} ${JSON.stringify(e.params)}`);
}

function presenceFaults(list) {
  if (!Array.isArray(list)) return ["presence is not a list"];
  return list.flatMap((entry) => faults("PresenceEntry", entry));
}

/** The faults of an event frame and its payload. */
export function eventFaults(frame) {
  const found = faults("EventFrame", frame);
  if (frame.event === "presence") return [...found, ...presenceFaults(frame.payload?.presence)];
  if (frame.event === "connect.challenge") {
    const { nonce, ts } = frame.payload ?? {};
    if (typeof nonce !== "string" || nonce === "" || !Number.isInteger(ts) || ts < 0) found.push("connect.challenge without nonce or ts");
    return found;
  }
  return EVENTS[frame.event] ? [...found, ...faults(EVENTS[frame.event], frame.payload)] : found;
}

/** The faults of a response frame and of the result of the method it answers. */
export function responseFaults(frame, method) {
  const found = faults("ResponseFrame", frame);
  if (!frame.ok) return found;
  if (method === "system-presence") return [...found, ...presenceFaults(frame.payload)];
  const name = resultName(method);
  return name ? [...found, ...faults(name, frame.payload)] : found;
}
