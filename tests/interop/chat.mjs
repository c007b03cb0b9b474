// Chat through the official client library: sending, streaming, history, one message, abort, failure. Every frame that
// arrives meets the official schema and ours.
import { answerTo, startModel } from "./fake-model.mjs";
import { check, must, startOurs, tail, within } from "./ground.mjs";
import { checkTap, open } from "./official-peer.mjs";

/** The chat events of one run as they come, and its end. */
export function follow(peer, runId) {
  const chat = peer.seen.length;
  const all = () => peer.seen.slice(chat).filter((each) => each.what === "event:chat" && each.value.payload.runId === runId).map((each) => each.value.payload);
  const ended = async () => {
    for (;;) {
      const last = all().at(-1);
      if (last && !["delta", "status"].includes(last.state)) return last;
      await peer.next("event:chat");
    }
  };
  return { all, deltas: () => all().filter((each) => each.state === "delta"), ended: () => within(ended(), 15_000, `no end of ${runId}: ${JSON.stringify(all().at(-1))}`) };
}

/** The text of a message, whichever form its content has. */
export const textOf = (message) =>
  typeof message?.content === "string" ? message.content : (message?.content ?? []).map((part) => part.text ?? "").join("");

const historyOf = async (peer) => (await peer.client.request("chat.history", { sessionKey: "main" })).messages;

async function streams(peer, model) {
  const run = follow(peer, "chat-1");
  await peer.client.request("sessions.messages.subscribe", { key: "main" });
  const ack = await peer.client.request("chat.send", { sessionKey: "main", message: "hello there", idempotencyKey: "chat-1" });
  must(ack.runId === "chat-1" && ack.status === "started", `answered ${JSON.stringify(ack)}`);
  const final = await run.ended();
  const wanted = answerTo(["hello there"]);
  must(final.state === "final" && textOf(final.message) === wanted, `ended ${JSON.stringify(final)}`);
  must(final.sessionKey === "agent:main:main", `sessionKey ${final.sessionKey}`);
  const grown = run.deltas().reduce((text, each) => (each.replace ? "" : text) + each.deltaText, "");
  must(run.deltas().length >= 2, `${run.deltas().length} deltas: it did not stream`);
  must(wanted.startsWith(grown.trimEnd()), `the additions make ${JSON.stringify(grown)}`);
  must(run.deltas().every((each) => wanted.startsWith(textOf(each.message))), "a delta's message is not a beginning of the answer");
  must(model.asked.length === 1 && model.asked[0].body.stream === true, "the model was not asked once, streaming");
  const followed = peer.seen.filter((each) => each.what === "event:session.message").map((each) => each.value.payload.message.role);
  must(followed.join() === "user,assistant", `session.message events: ${followed}`);
  return `${run.deltas().length} deltas`;
}

async function readBack(peer) {
  const messages = await historyOf(peer);
  must(messages.map((each) => `${each.role}: ${textOf(each)}`).join("|") === `user: hello there|assistant: ${answerTo(["hello there"])}`, JSON.stringify(messages));
  for (const message of messages) {
    const id = message.__openclaw?.id;
    must(typeof id === "string" && id, `a message without id: ${JSON.stringify(message)}`);
    const one = await peer.client.request("chat.message.get", { sessionKey: "main", messageId: id });
    must(one.ok === true && JSON.stringify(one.message) === JSON.stringify(message), `chat.message.get says ${JSON.stringify(one)}`);
  }
  const ghost = await peer.client.request("chat.message.get", { sessionKey: "main", messageId: "ghost" });
  must(ghost.ok === false && ghost.unavailableReason === "not_found", `a message that is not there: ${JSON.stringify(ghost)}`);
}

async function repeats(peer, model) {
  const asked = model.asked.length;
  const again = await peer.client.request("chat.send", { sessionKey: "main", message: "hello there", idempotencyKey: "chat-1" });
  must(again.runId === "chat-1" && again.status === "ok", `answered ${JSON.stringify(again)}`);
  must(model.asked.length === asked, "the model was asked again");
}

async function aborts(peer, model) {
  const run = follow(peer, "chat-2");
  const left = within(model.hungUp(), 10_000, "the request to the model was not broken off");
  await peer.client.request("chat.send", { sessionKey: "main", message: "hang", idempotencyKey: "chat-2" });
  while (run.deltas().length === 0) await peer.next("event:chat");
  const answer = await peer.client.request("chat.abort", { sessionKey: "main", runId: "chat-2" });
  must(answer.ok === true && answer.aborted === true && answer.runIds.join() === "chat-2", `answered ${JSON.stringify(answer)}`);
  const end = await run.ended();
  must(end.state === "aborted" && end.stopReason === "rpc", `ended ${JSON.stringify(end)}`);
  await left;
  const messages = await historyOf(peer);
  must(textOf(messages.at(-1)) === "One piece and" && messages.at(-1).stopReason === "aborted", `the partial answer: ${JSON.stringify(messages.at(-1))}`);
  const idle = await peer.client.request("chat.abort", { sessionKey: "main" });
  must(idle.ok === true && idle.aborted === false && idle.runIds.length === 0, `nothing to abort: ${JSON.stringify(idle)}`);
}

async function fails(peer) {
  const run = follow(peer, "chat-3");
  await peer.client.request("chat.send", { sessionKey: "main", message: "refuse", idempotencyKey: "chat-3" });
  const end = await run.ended();
  must(end.state === "error" && /401: the fake model refuses this key/.test(end.errorMessage), `ended ${JSON.stringify(end)}`);
}

async function goesOn(peer, model) {
  const final = await peer.client.request("agent", { message: "and now?", agentId: "main", idempotencyKey: "agent-1" }, { expectFinal: true });
  must(final.status === "ok" && final.runId === "agent-1", `answered ${JSON.stringify(final)}`);
  must(final.result.payloads[0].text === answerTo(model.asked.at(-1).texts), `payloads ${JSON.stringify(final.result.payloads)}`);
  must(model.asked.at(-1).texts.at(0) === "hello there", `the model was shown ${JSON.stringify(model.asked.at(-1).texts)}`);
  const end = await peer.client.request("agent.wait", { runId: "agent-1", timeoutMs: 5_000 });
  must(end.status === "ok" && end.endedAt >= end.startedAt, `agent.wait says ${JSON.stringify(end)}`);
}

export async function run(bin) {
  const model = await startModel({ gapMs: 60 });
  const gateway = await startOurs(bin, { config: model.config() });
  const peer = open(gateway.url, { clientDisplayName: "interop chat" });
  await peer.greeted;
  await check("official client: chat.send streams and ends with the whole answer", () => streams(peer, model));
  await check("official client: chat.history has ids with which chat.message.get finds each message", () => readBack(peer));
  await check("official client: chat.send again with the same idempotencyKey asks nothing", () => repeats(peer, model));
  await check("official client: chat.abort ends a hanging answer and keeps what was said", () => aborts(peer, model));
  await check("official client: a model's refusal is an error event with its words", () => fails(peer));
  await check("official client: agent answers twice, and the session goes on", () => goesOn(peer, model));
  await checkTap("official and own schema: every frame of the chat is valid");
  await peer.stop();
  await check("our gateway stops with exit 0 after the chat", async () => {
    const code = await gateway.stop();
    must(code === 0, `exit ${code}\n${tail(gateway.log())}`);
  });
  await model.stop();
}
