// A model server on loopback in the form of OpenAI's chat completions: answers by what the last user message says, and
// keeps what it was asked. Knows nothing of gateways but the configuration that points one here.
import http from "node:http";

/** The texts of all user messages of a request, without the gateways' time stamps and message ids. */
export function userTexts(body) {
  return body.messages.filter((each) => each.role === "user").map((each) => {
    return contentText(each.content).replace(/^\[[A-Z][a-z]{2} \d{4}-[^\]]*\] /, "").replace(/\n\[message_id: [^\]]*\]\s*$/, "");
  });
}

/** What the server says to a conversation: the last question, and how many there were. */
export function answerTo(texts) {
  return `You said "${texts.at(-1)}", which was question ${texts.length} of this conversation.`;
}

/** The first piece of a call to `read`, and the rest of its arguments cut in two. */
function callPieces(file) {
  const text = JSON.stringify({ path: file });
  const call = (more, fn) => ({ tool_calls: [{ index: 0, ...more, function: fn }] });
  return [
    call({ id: "call_1", type: "function" }, { name: "read", arguments: "" }),
    call({}, { arguments: text.slice(0, 5) }),
    call({}, { arguments: text.slice(5) }),
  ];
}

const contentText = (content) => (typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join(""));

/** A call of one of the asker's tools, which asks for a city. */
function cityCall(name) {
  const call = (more, fn) => ({ tool_calls: [{ index: 0, ...more, function: fn }] });
  return [call({ id: "call_2", type: "function" }, { name, arguments: "" }), call({}, { arguments: '{"city":' }), call({}, { arguments: '"Paris"}' })];
}

/** The tool the asker wants called: by the last question, or because it must be. */
function wanted(body, text) {
  const names = (body.tools ?? []).map((tool) => tool.function.name);
  const name = /^call (\S+)$/.exec(text)?.[1] ?? body.tool_choice?.function?.name;
  return names.find((each) => each === name);
}

/** What is streamed after the role, and how it ends. */
function script(body, texts) {
  const last = body.messages.at(-1);
  const parts = Array.isArray(last.content) ? last.content : [];
  const pictures = parts.filter((part) => part.type === "image_url").length;
  if (pictures > 0) return { deltas: pieces(`I see ${pictures} picture.`).map((content) => ({ content })), finish: "stop" };
  const own = last.role === "user" && wanted(body, texts.at(-1));
  if (own) return { deltas: cityCall(own), finish: "tool_calls" };
  if (last.role === "tool") return { deltas: pieces(`The file says: ${contentText(last.content)}`).map((content) => ({ content })), finish: "stop" };
  const file = /^look at (\S+)$/.exec(texts.at(-1));
  if (file) return { deltas: callPieces(file[1]), finish: "tool_calls" };
  return { deltas: pieces(answerTo(texts)).map((content) => ({ content })), finish: "stop" };
}

const chunk = (delta, finish = null, more = {}) =>
  `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`;

/** Two or three words a piece. */
const pieces = (text) => text.match(/\S+\s*(?:\S+\s*)?(?:\S+\s*)?/g);

/**
 * Starts the server. Orders in the last user message: `hang` says one piece and no more, `refuse` is answered by 401,
 * `look at FILE` calls the tool `read` and then repeats what it gave, `call NAME` calls a tool of the asker.
 * `gapMs` lies between two pieces, so that a reader of the stream can see it grow.
 */
export function startModel({ gapMs = 40 } = {}) {
  const asked = [];
  const waiters = [];
  const tell = (what) => waiters.splice(0).forEach((each) => each(what) || waiters.push(each));
  const server = http.createServer((request, response) => {
    let text = "";
    request.on("data", (data) => (text += data));
    request.on("end", () => (request.url.endsWith("/embeddings") ? embed : answer)(JSON.parse(text), response));
  });

  /** Each text's vector: its length and its first letter. */
  function embed(body, response) {
    const data = [body.input].flat().map((text, index) => ({ object: "embedding", index, embedding: [text.length, text.charCodeAt(0), 0.5] }));
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ object: "list", data, model: body.model, usage: { prompt_tokens: 3, total_tokens: 3 } }));
  }

  function answer(body, response) {
    const texts = userTexts(body);
    asked.push({ body, texts });
    response.on("close", () => response.writableFinished || tell("hung up"));
    if (texts.at(-1) === "refuse") {
      response.writeHead(401, { "content-type": "application/json" });
      return response.end('{"error":{"message":"the fake model refuses this key","type":"invalid_request_error"}}');
    }
    const usage = { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 };
    if (!body.stream) {
      const message = { role: "assistant", content: answerTo(texts) };
      response.writeHead(200, { "content-type": "application/json" });
      return response.end(JSON.stringify({ id: "chatcmpl-1", object: "chat.completion", created: 1, model: "m", usage, choices: [{ index: 0, message, finish_reason: "stop" }] }));
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(chunk({ role: "assistant", content: "" }));
    if (texts.at(-1) === "hang") return response.write(chunk({ content: "One piece and" }));
    const { deltas: rest, finish } = script(body, texts);
    const next = () => {
      if (response.destroyed) return;
      if (rest.length > 0) {
        response.write(chunk(rest.shift()));
        return void setTimeout(next, gapMs);
      }
      response.write(chunk({}, finish));
      response.write(`data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage })}\n\n`);
      response.end("data: [DONE]\n\n");
    };
    next();
  }

  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    resolve({
      port, asked,
      /** The configuration of a gateway, either kind, whose only model this is. */
      config: (more = {}) => configFor({ baseUrl: `http://127.0.0.1:${port}/v1`, api: "openai-completions" }, more),
      /** Resolves when an asker breaks off. */
      hungUp: () => new Promise((done) => waiters.push((what) => what === "hung up" && (done(), true))),
      stop: () => new Promise((done) => { server.closeAllConnections(); server.close(done); }),
    });
  }));
}

/** A configuration with one provider `fake` and its model `m`. */
export function configFor(provider, more = {}) {
  const model = { id: "m", name: "Fake model", reasoning: false, input: ["text"], contextWindow: 128_000, maxTokens: 4_096, cost: { input: 1, output: 2, cacheRead: 0, cacheWrite: 0 } };
  return {
    gateway: { mode: "local", bind: "loopback" },
    models: { providers: { fake: { apiKey: "fake-key", models: [model], ...provider } } },
    agents: { defaults: { model: { primary: "fake/m" }, skipBootstrap: true } },
    ...more,
  };
}
