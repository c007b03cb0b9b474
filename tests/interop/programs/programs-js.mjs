// JavaScript programs as strangers use them: the OpenAI SDK (which LobeChat's server side calls with), Vercel's AI SDK, and
// the engine that LibreChat runs its agents on. One line of JSON for each check.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { HumanMessage } from "@langchain/core/messages";
import { GraphEvents, Providers, Run } from "@librechat/agents";
import { embedMany, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";

const { BASE, KEY } = process.env;
const SAID = 'You said "hi", which was question 1 of this conversation.';
const client = new OpenAI({ baseURL: BASE, apiKey: KEY, maxRetries: 0, timeout: 20_000 });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const hi = [{ role: "user", content: "hi" }];

async function check(name, run) {
  const began = Date.now();
  const row = await run().then(
    (note) => ({ name, ok: true, note: note ?? "" }),
    (error) => ({ name, ok: false, note: String(error?.stack ?? error).slice(0, 600) }),
  );
  console.log(JSON.stringify({ ...row, ms: Date.now() - began }));
}

function must(condition, seen) {
  if (!condition) throw new Error(typeof seen === "string" ? seen : JSON.stringify(seen));
}

const sdk = (name) => `OpenAI SDK for JavaScript: ${name}`;
await check(sdk("models"), async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  must(ids[0] === "openclaw" && ids.includes("openclaw/main"), ids);
});
await check(sdk("chat, streamed by the helper"), async () => {
  const stream = client.chat.completions.stream({ model: "openclaw", messages: hi, stream_options: { include_usage: true } });
  let pieces = 0;
  stream.on("content.delta", () => (pieces += 1));
  const final = await stream.finalChatCompletion();
  must(final.choices[0].message.content === SAID && final.choices[0].finish_reason === "stop" && pieces >= 3, final);
  must(final.usage.total_tokens === 120, final.usage);
});
await check(sdk("chat, runTools calls a function and goes on"), async () => {
  const fn = { name: "get_weather", parameters, description: "The weather", function: ({ city }) => `sunny in ${city}`, parse: JSON.parse };
  const runner = client.chat.completions.runTools({ model: "openclaw", messages: [{ role: "user", content: "call get_weather" }], tools: [{ type: "function", function: fn }] });
  must((await runner.finalContent()).includes("sunny in Paris"), runner.messages);
});
await check(sdk("responses, streamed by the helper"), async () => {
  const stream = client.responses.stream({ model: "openclaw", input: "hi" });
  const kinds = [];
  for await (const event of stream) kinds.push(event.type);
  const final = await stream.finalResponse();
  must(final.output_text === SAID && kinds[0] === "response.created" && kinds.at(-1) === "response.completed", kinds);
});
await check(sdk("responses, a call of a function"), async () => {
  const answer = await client.responses.create({ model: "openclaw", input: "call get_weather", tools: [{ type: "function", name: "get_weather", parameters, strict: true }] });
  const call = answer.output.find((item) => item.type === "function_call");
  must(JSON.parse(call.arguments).city === "Paris", answer);
});
await check(sdk("embeddings"), async () => {
  const answer = await client.embeddings.create({ model: "openclaw", input: ["abc", "z"] });
  must(JSON.stringify(answer.data.map((row) => row.embedding)) === "[[3,97,0.5],[1,122,0.5]]", answer);
});
await check(sdk("a wrong key is an AuthenticationError"), async () => {
  const stranger = new OpenAI({ baseURL: BASE, apiKey: "wrong", maxRetries: 0 });
  const error = await stranger.chat.completions.create({ model: "openclaw", messages: hi }).then(() => null, (each) => each);
  must(error instanceof OpenAI.AuthenticationError, String(error));
});

const provider = createOpenAICompatible({ name: "openclaw", baseURL: BASE, apiKey: KEY, includeUsage: true });
const ai = (name) => `Vercel AI SDK: ${name}`;
await check(ai("streamText with its usage"), async () => {
  const result = streamText({ model: provider("openclaw"), prompt: "hi" });
  let pieces = 0;
  let text = "";
  for await (const piece of result.textStream) {
    pieces += 1;
    text += piece;
  }
  const usage = await result.usage;
  must(text === SAID && pieces >= 3 && usage.totalTokens === 120 && (await result.finishReason) === "stop", { text, usage });
});
await check(ai("generateText calls a tool and goes on"), async () => {
  const weather = tool({ description: "The weather", inputSchema: jsonSchema(parameters), execute: async ({ city }) => `sunny in ${city}` });
  const result = await generateText({ model: provider("openclaw"), prompt: "call get_weather", tools: { get_weather: weather }, stopWhen: stepCountIs(3) });
  must(result.text.includes("sunny in Paris"), result.steps.map((step) => step.content));
});
await check(ai("embedMany"), async () => {
  const { embeddings } = await embedMany({ model: provider.embeddingModel("openclaw"), values: ["abc", "z"] });
  must(JSON.stringify(embeddings) === "[[3,97,0.5],[1,122,0.5]]", embeddings);
});

/** One turn of LibreChat's engine, with what a custom endpoint of its configuration file gives it. */
async function libreChat(text, more = {}) {
  let pieces = 0;
  const run = await Run.create({
    runId: crypto.randomUUID(),
    graphConfig: {
      type: "standard",
      instructions: "You are a helpful assistant.",
      llmConfig: { provider: Providers.OPENAI, model: "openclaw/default", apiKey: KEY, configuration: { baseURL: BASE }, streaming: true, streamUsage: true, maxRetries: 0, ...more },
    },
    customHandlers: { [GraphEvents.ON_MESSAGE_DELTA]: { handle: () => (pieces += 1) } },
    returnContent: true,
  });
  const config = { runId: crypto.randomUUID(), configurable: { thread_id: "interop" }, streamMode: "values", version: "v2" };
  const content = await run.processStream({ messages: [new HumanMessage(text)] }, config);
  return { text: (content ?? []).map((part) => part.text ?? "").join(""), pieces };
}
await check("LibreChat's engine: a streamed turn", async () => {
  const { text, pieces } = await libreChat("hi");
  must(text.includes('You said "hi"') && pieces >= 3, { text, pieces });
  return `${pieces} pieces`;
});
await check("LibreChat's engine: a wrong key is an error", async () => {
  const error = await libreChat("hi", { apiKey: "wrong" }).then((each) => must(false, each), (each) => each);
  must(/401|Unauthorized/.test(String(error)), String(error));
});
process.exit(0);
