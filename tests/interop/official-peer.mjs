// A client with promises made of the official client library, and a tap on every socket of this process: each frame that
// arrives is judged by the official schema and by ours, whatever the client makes of it. Knows no methods.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { GatewayClient } from "@openclaw/gateway-client";
import WebSocket from "ws";
import { check, must, TOKEN, within } from "./ground.mjs";
import { eventFaults, responseFaults } from "./official.mjs";

// ---- the tap: one record per frame on any socket of this process

export const tap = { frames: 0, judged: 0, faults: [], seqs: new Map(), last: new Map() };
const asked = new WeakMap();

const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data, ...rest) {
  const frame = JSON.parse(String(data));
  if (frame.type === "req") {
    if (!asked.has(this)) asked.set(this, new Map());
    asked.get(this).set(frame.id, frame.method);
  }
  return send.call(this, data, ...rest);
};

const emit = WebSocket.prototype.emit;
WebSocket.prototype.emit = function (event, ...args) {
  if (event === "message") judge(this, String(args[0]));
  return emit.call(this, event, ...args);
};

function judge(socket, text) {
  tap.frames += 1;
  const frame = JSON.parse(text);
  const method = frame.type === "res" ? asked.get(socket)?.get(frame.id) : undefined;
  const found = frame.type === "event" ? eventFaults(frame) : responseFaults(frame, method);
  if (frame.type !== "event" && !method) found.push(`a ${frame.type} frame with an id that nobody asked: ${frame.id}`);
  if (frame.type === "event" && frame.seq !== undefined) {
    const expected = (tap.seqs.get(socket) ?? 0) + 1;
    if (frame.seq !== expected) found.push(`seq ${frame.seq} where ${expected} was due (event ${frame.event})`);
    tap.seqs.set(socket, frame.seq);
  }
  const label = frame.type === "event" ? `event ${frame.event}` : `res ${method}`;
  tap.last.set(label, frame);
  tap.judged += found.length === 0 ? 1 : 0;
  for (const fault of found) tap.faults.push(`${label}: ${fault}`);
}

// ---- a client with promises

export function identity() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  return {
    deviceId: createHash("sha256").update(raw).digest("hex"),
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }),
    publicKeyPem: publicKey.export({ type: "spki", format: "pem" }),
  };
}

export function hostDeps(tokens) {
  return {
    signDevicePayload: (pem, payload) => sign(null, Buffer.from(payload), createPrivateKey(pem)).toString("base64url"),
    publicKeyRawBase64UrlFromPem: (pem) =>
      createPublicKey(pem).export({ type: "spki", format: "der" }).subarray(-32).toString("base64url"),
    loadDeviceAuthToken: ({ role }) => tokens.get(role) ?? null,
    storeDeviceAuthToken: ({ role, token, scopes }) => void tokens.set(role, { token, scopes }),
    clearDeviceAuthToken: ({ role }) => void tokens.delete(role),
  };
}

export function open(url, options = {}) {
  const waiters = [];
  const seen = [];
  const told = (what, value) => {
    seen.push({ what, value });
    for (const waiter of waiters.splice(0)) if (!waiter(what, value)) waiters.push(waiter);
  };
  const client = new GatewayClient({
    url, token: TOKEN, minProtocol: 4, maxProtocol: 4, scopes: ["operator.admin"], requestTimeoutMs: 10_000,
    onHelloOk: (hello) => told("hello", hello),
    onEvent: (event) => told(`event:${event.event}`, event),
    onConnectError: (error) => told("refused", error),
    onClose: (code, reason) => told("close", { code, reason }),
    onGap: (gap) => told("gap", gap),
    ...options,
  });
  const next = (what, { ms = 10_000, orRefused = false } = {}) => {
    const arrival = within(new Promise((resolve, reject) => waiters.push((kind, value) => {
      if (kind === "refused" && orRefused) reject(value);
      else if (kind === what) resolve(value);
      else return false;
      return true;
    })), ms, `no ${what} within ${ms} ms; seen: ${seen.map((each) => each.what).join(", ")}`);
    arrival.catch(() => {}); // Whoever awaits it still gets the failure.
    return arrival;
  };
  const greeted = next("hello", { orRefused: true });
  client.start();
  return { client, next, greeted, seen, stop: () => client.stopAndWait({ timeoutMs: 5_000 }) };
}

/** The closing check of a part: nothing that arrived so far was wrong. */
export function checkTap(name) {
  return check(name, async () => {
    must(tap.faults.length === 0, [...new Set(tap.faults)].slice(0, 12).join("\n"));
    return `${tap.judged} of ${tap.frames} frames: ${[...tap.last.keys()].filter((k) => k.startsWith("event")).join(", ")}`;
  });
}
