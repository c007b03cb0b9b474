//! Chapter 8: `/v1/chat/completions` and `/v1/models` over the wire (`spec/http.md` 5 to 7), against a model server that
//! answers by script.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::TOKEN;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Answer, Wire, post};
use crate::harness::peer::{Hello, Peer, now_ms};
use crate::harness::upstream::{Act, Upstream};

const PATH: &str = "/v1/chat/completions";

/// The interface switched on, with more members of the root.
fn config(upstream: &Upstream, more: &str) -> String {
    upstream.config(&format!(", gateway: {{http: {{endpoints: {{chatCompletions: {{enabled: true}}}}}}}}{more}"))
}

fn start(upstream: &Upstream) -> Gateway {
    Setup::new().config(&config(upstream, "")).start()
}

/// A body with one user message and more members.
fn said(text: &str, more: Value) -> Value {
    let mut body = json!({"model": "openclaw", "messages": [{"role": "user", "content": text}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn ask(gateway: &Gateway, headers: &str, body: &Value) -> Answer {
    Wire::open(gateway.port).ask(post(PATH, headers, &body.to_string()))
}

fn hi(gateway: &Gateway) -> Answer {
    ask(gateway, "", &said("hi", json!({})))
}

fn get(gateway: &Gateway, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    Wire::open(gateway.port).ask(head)
}

fn message(answer: &Answer) -> String {
    answer.json()["error"]["message"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_string()
}

/// Begins a stream; the head has been read and is a good one.
fn begin(gateway: &Gateway, body: &Value) -> Wire {
    let mut wire = Wire::open(gateway.port);
    wire.send(post(PATH, "", &body.to_string()));
    let head = wire.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(head.header("cache-control"), Some("no-cache"));
    wire
}

/// The next event's data; none at the end of the stream.
fn next(wire: &mut Wire) -> Option<String> {
    let chunk = wire.chunk()?;
    let data = chunk.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n"));
    Some(data.unwrap_or_else(|| panic!("not one event: {chunk:?}")).to_string())
}

/// All events up to the end of the stream; the last one says so.
fn events(wire: &mut Wire) -> Vec<Value> {
    let mut all: Vec<String> = std::iter::from_fn(|| next(wire)).collect();
    assert_eq!(all.pop().as_deref(), Some("[DONE]"), "{all:?}");
    all.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

fn stream(gateway: &Gateway, body: &Value) -> Vec<Value> {
    events(&mut begin(gateway, body))
}

fn content(event: &Value) -> &str {
    event["choices"][0]["delta"]["content"].as_str().unwrap_or_default()
}

fn weather() -> Value {
    json!([{"type": "function", "function": {"name": "get_weather", "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}])
}

/// What the model was told last.
fn last_word(asked: &Value) -> String {
    asked["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_string()
}

#[test]
fn models_are_listed_and_retrieved_and_refused() {
    let upstream = Upstream::play(vec![]);
    let gateway = Setup::new().config(&config(&upstream, "")).start();
    let list = get(&gateway, "/v1/models").json();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!((list["object"].as_str(), ids), (Some("list"), vec!["openclaw", "openclaw/default", "openclaw/main"]));
    assert_eq!(get(&gateway, "/v1/models/openclaw%2Fdefault").json()["id"], "openclaw/default");
    for (path, status, text) in [
        ("/v1/models/openclaw%2Fghost", 404, "Model 'openclaw/ghost' not found."),
        ("/v1/models/gpt-4o", 400, "Invalid model id."),
        ("/v1/models/", 400, "Missing model id."),
        ("/v1/models/%zz", 400, "Invalid model id encoding."),
    ] {
        let answer = get(&gateway, path);
        assert_eq!((answer.status, message(&answer).as_str()), (status, text));
    }
    let mut wire = Wire::open(gateway.port);
    let answer = wire.ask(post("/v1/models", "", "{}"));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    let answer = Wire::open(gateway.port).ask("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((answer.status, message(&answer).as_str()), (401, "Unauthorized"));
}

#[test]
fn a_whole_answer_has_its_usage_and_the_connection_stays() {
    let upstream = Upstream::play(vec![Act::Say(&["Hel", "lo"])]);
    let gateway = start(&upstream);
    let mut wire = Wire::open(gateway.port);
    let body = json!({"model": "agent:main", "messages": [
        {"role": "system", "content": "Be terse."}, {"role": "user", "content": "hi"}]});
    let answer = wire.ask(post(PATH, "", &body.to_string()));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.json();
    assert!(told["id"].as_str().unwrap().starts_with("chatcmpl_") && told["created"].as_u64() > Some(1_700_000_000));
    assert_eq!((&told["object"], &told["model"]), (&json!("chat.completion"), &json!("agent:main")));
    assert_eq!(
        told["choices"],
        json!([{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}])
    );
    assert_eq!(told["usage"], json!({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}));
    let asked = upstream.asked();
    assert_eq!(last_word(&asked), "hi");
    assert!(asked["messages"][0]["content"].as_str().unwrap().contains("Be terse."));
    let again = wire.ask(post(PATH, "", &said("once more", json!({})).to_string()));
    assert_eq!(again.json()["choices"][0]["message"]["content"], "done");
    assert_eq!(upstream.asked()["messages"].as_array().unwrap().len(), 2, "a conversation of its own each time");
}

#[test]
fn a_stream_begins_at_once_and_ends_with_a_finish_chunk_usage_and_done() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("Hello")]);
    let gateway = start(&upstream);
    let mut wire = begin(&gateway, &said("hi", json!({"stream": true, "stream_options": {"include_usage": true}})));
    let first: Value = serde_json::from_str(&next(&mut wire).unwrap()).unwrap();
    assert_eq!(first["choices"], json!([{"index": 0, "delta": {"role": "assistant"}, "finish_reason": null}]));
    assert_eq!(first["object"], "chat.completion.chunk");
    upstream.go();
    let rest = events(&mut wire);
    let shapes: Vec<(&Value, &Value)> =
        rest.iter().map(|event| (&event["choices"][0]["delta"], &event["choices"][0]["finish_reason"])).collect();
    assert_eq!(shapes[0], (&json!({"content": "Hello"}), &Value::Null));
    assert_eq!(shapes[1], (&json!({}), &json!("stop")));
    assert_eq!((&rest[2]["choices"], &rest[2]["usage"]["total_tokens"]), (&json!([]), &json!(12)));
    assert_eq!(rest.len(), 3);
    assert!(rest.iter().all(|event| event["id"] == first["id"] && event["created"] == first["created"]));
    let again = wire.ask(post(PATH, "", &said("more", json!({})).to_string()));
    assert_eq!(again.status, 200, "the connection stays after a stream");
}

#[test]
fn every_delta_is_an_event_of_its_own() {
    let upstream = Upstream::play(vec![Act::Say(&["a ", "b ", "c ", "d ", "e"])]);
    let gateway = start(&upstream);
    let all = stream(&gateway, &said("hi", json!({"stream": true})));
    let pieces: Vec<&str> = all.iter().map(content).filter(|piece| !piece.is_empty()).collect();
    assert_eq!(pieces, ["a ", "b ", "c ", "d ", "e"]);
    assert!(all.iter().all(|event| event.get("usage").is_none()), "usage only on request");
}

#[test]
fn an_old_client_gets_its_stream_until_the_connection_ends() {
    let upstream = Upstream::play(vec![Act::Say(&["Hello"])]);
    let gateway = start(&upstream);
    let mut wire = Wire::open(gateway.port);
    wire.send(post(PATH, "", &said("hi", json!({"stream": true})).to_string()).replace("HTTP/1.1", "HTTP/1.0"));
    let head = wire.head();
    assert_eq!((head.status, head.header("transfer-encoding"), head.closes()), (200, None, true));
    let body = String::from_utf8(wire.take(usize::MAX)).unwrap();
    assert!(body.contains("\"content\":\"Hello\"") && body.ends_with("data: [DONE]\n\n"), "{body}");
}

#[test]
fn earlier_messages_are_told_as_context() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let body = json!({"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "text", "text": "four"}]}]});
    assert_eq!(ask(&gateway, "", &body).json()["model"], "openclaw");
    assert_eq!(
        last_word(&upstream.asked()),
        "[Chat messages since your last reply - for context]\nUser: one\nAssistant: two\n\n\
         [Current message - respond to this]\nUser: three\nfour"
    );
}

#[test]
fn requests_that_say_something_wrong_are_refused_with_the_reason() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut wire = Wire::open(gateway.port);
    for (more, text) in [
        (json!({"messages": "x"}), "messages: Invalid input: expected array, received string"),
        (json!({"messages": []}), "Missing user message in `messages`."),
        (json!({"model": "gpt-4o"}), "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`."),
        (json!({"model": "openclaw/ghost"}), "Unknown agent 'ghost'."),
        (json!({"temperature": 9}), "`temperature` must be between 0 and 2."),
        (json!({"tools": {}}), "Invalid tools/tool_choice: tools must be an array"),
        (
            json!({"tools": weather(), "tool_choice": {"type": "function", "function": {"name": "zzz"}}}),
            "Invalid tools/tool_choice: tool_choice requested unknown tool: zzz",
        ),
        (
            json!({"tool_choice": "required"}),
            "Invalid tools/tool_choice: tool_choice=required but no tools were provided",
        ),
    ] {
        let answer = wire.ask(post(PATH, "", &said("hi", more.clone()).to_string()));
        assert_eq!((answer.status, message(&answer).as_str()), (400, text), "{more}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    for body in ["{\"a\":", "[]", "\"x\"", "\u{0}"] {
        assert_eq!(wire.ask(post(PATH, "", body)).status, 400, "{body:?}");
    }
    assert_eq!(message(&wire.ask(post(PATH, "", ""))), "Missing user message in `messages`.");
    let picture = |url: &str| json!([{"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]}]);
    for url in ["https://example.com/a.png", "data:text/html;base64,AAAA", "data:image/png;base64,!", ""] {
        let answer = wire.ask(post(PATH, "", &said("x", json!({"messages": picture(url)})).to_string()));
        assert_eq!((answer.status, message(&answer).as_str()), (400, "Invalid image_url content in `messages`."));
    }
    assert!(!upstream.asked_more());
}

#[test]
fn headers_choose_agent_session_and_model() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let with = |headers: &str, more: Value| ask(&gateway, headers, &said("hi", more));
    assert_eq!(message(&with("x-openclaw-agent-id: ghost\r\n", json!({}))), "Unknown agent 'ghost'.");
    assert_eq!(message(&with("x-openclaw-agent: ghost\r\n", json!({}))), "Unknown agent 'ghost'.");
    assert_eq!(
        message(&with("x-openclaw-session-key: cron:x\r\n", json!({}))),
        "`x-openclaw-session-key` cannot use reserved internal session namespaces."
    );
    assert_eq!(with("x-openclaw-session-key: agent:main:my-app\r\n", json!({})).status, 200);
    assert_eq!(with("", json!({"user": "alice"})).status, 200);
    assert_eq!(with("", json!({"user": "alice"})).status, 200);
    let counts: Vec<usize> = (0..3).map(|_| upstream.asked()["messages"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [2, 2, 4], "a user has one conversation");
    let other = with("x-openclaw-model: up/other\r\nx-openclaw-message-channel: telegram\r\n", json!({}));
    assert_eq!(other.status, 200);
    let asked = upstream.asked();
    assert_eq!(asked["model"], "other");
    assert!(asked["messages"][0]["content"].as_str().unwrap().contains("channel=telegram"));
    assert_eq!(message(&with("x-openclaw-model: nonsense\r\n", json!({}))), "Invalid `x-openclaw-model`.");
    let nobodys = with("x-openclaw-model: nope/m\r\n", json!({}));
    assert!(nobodys.status == 400 && message(&nobodys).contains("models.providers.nope.baseUrl"), "{}", nobodys.body);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let rows = peer.get("sessions.list", json!({}));
    let keys: Vec<&str> = rows["sessions"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert!(keys.contains(&"agent:main:my-app") && keys.contains(&"agent:main:openai-user:alice"), "{keys:?}");
    assert!(keys.iter().any(|key| key.starts_with("agent:main:openai:") && key.len() > 50), "{keys:?}");
}

#[test]
fn what_other_languages_write_is_understood() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let body = said("hi", json!({"max_tokens": 5.0, "seed": 7.0}));
    assert!(body.to_string().contains("5.0"), "as Python writes it");
    assert_eq!(ask(&gateway, "", &body).status, 200);
    let asked = upstream.asked();
    assert_eq!((&asked["max_tokens"], &asked["seed"]), (&json!(5), &json!(7)));
    // JavaScript cuts texts within a character.
    let cut = said("hi X", json!({})).to_string().replace('X', r"\ud83d");
    let answer = Wire::open(gateway.port).ask(post(PATH, "", &cut));
    assert_eq!((answer.status, last_word(&upstream.asked()).as_str()), (200, "hi \u{fffd}"));
    for (more, text) in [
        (json!({"max_tokens": 5.5}), "max_tokens: Invalid input: expected int, received number"),
        (json!({"max_tokens": 1e300}), "max_tokens: Invalid input: expected int, received number"),
        (json!({"max_tokens": 0.0}), "max_tokens: Too small: expected number to be >0"),
        (json!({"seed": 0.5}), "`seed` must be an integer."),
        (json!({"seed": 1e16}), "`seed` must be an integer."),
    ] {
        let answer = ask(&gateway, "", &said("hi", more));
        assert_eq!((answer.status, message(&answer).as_str()), (400, text));
    }
}

#[test]
fn a_switch_accepts_the_model_ids_of_others() {
    let upstream = Upstream::play(vec![]);
    let endpoints = "{chatCompletions: {enabled: true}, acceptForeignModels: true}";
    let config = upstream.config(&format!(", gateway: {{http: {{endpoints: {endpoints}}}}}"));
    let gateway = Setup::new().config(&config).start();
    let answer = ask(&gateway, "", &said("hi", json!({"model": "gpt-4o"})));
    assert_eq!((answer.status, &answer.json()["model"]), (200, &json!("gpt-4o")));
}

#[test]
fn the_door_is_shut_to_strangers_and_for_who_may_only_read() {
    let upstream = Upstream::play(vec![]);
    let off = Setup::new().config(&upstream.config("")).start();
    assert_eq!(hi(&off).status, 404, "off unless it is switched on");
    let gateway = start(&upstream);
    let body = said("hi", json!({})).to_string();
    let wrong = post(PATH, "", &body).replace(TOKEN, "wrong");
    let answer = Wire::open(gateway.port).ask(wrong);
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, None));
    assert_eq!(answer.json(), json!({"error": {"message": "Unauthorized", "type": "unauthorized"}}));
    let answer = Wire::open(gateway.port).ask(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(
        (answer.status, answer.header("allow"), answer.body.as_str()),
        (405, Some("POST"), "Method Not Allowed")
    );
    let answer = ask(&gateway, "x-forwarded-for: 203.0.113.7\r\n", &said("hi", json!({})));
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (403, &json!("proxy_attribution_required")));
    let large = "Content-Length: 20971521\r\n";
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n{large}\r\n");
    let answer = Wire::open(gateway.port).ask(head);
    assert_eq!((answer.status, message(&answer).as_str()), (413, "Payload too large"));
    assert!(answer.closes() && !upstream.asked_more());
}

#[test]
fn the_largest_body_is_taken_and_not_one_byte_more() {
    let upstream = Upstream::play(vec![]);
    let gateway = Setup::new().slow().config(&config(&upstream, "")).start();
    let mut body = said("hi", json!({})).to_string();
    body += &" ".repeat(usize::try_from(openclaw::limits::HTTP_BODY_BYTES).unwrap() - body.len());
    let mut wire = Wire::open(gateway.port);
    assert_eq!(wire.ask(post(PATH, "", &body)).status, 200);
    upstream.asked();
    // Its head is enough for a refusal, on paths that are nobody's too.
    for path in [PATH, "/nowhere"] {
        let request = post(path, "", &format!("{body} "));
        let answer = Wire::open(gateway.port).ask(&request[..request.len() - body.len() - 1]);
        assert_eq!((answer.status, message(&answer).as_str()), (413, "Payload too large"));
    }
    assert!(!upstream.asked_more());
}

#[test]
fn without_a_secret_the_scopes_header_counts() {
    let upstream = Upstream::play(vec![]);
    let gateway = "gateway: {auth: {mode: \"none\"}, http: {endpoints: {chatCompletions: {enabled: true}}}}";
    let setup = Setup::new().env("OPENCLAW_GATEWAY_TOKEN", "").config(&upstream.config(&format!(", {gateway}")));
    let gateway = setup.start();
    let refused = ask(&gateway, "x-openclaw-scopes: operator.read\r\n", &said("hi", json!({})));
    assert_eq!((refused.status, &refused.json()["error"]["message"]), (403, &json!("missing scope: operator.write")));
    let other =
        ask(&gateway, "x-openclaw-scopes: operator.write\r\nx-openclaw-model: up/m\r\n", &said("hi", json!({})));
    assert_eq!((other.status, &other.json()["error"]["details"]["missingScope"]), (403, &json!("operator.admin")));
    assert_eq!(ask(&gateway, "x-openclaw-scopes: operator.write\r\n", &said("hi", json!({}))).status, 200);
    let twice = "x-openclaw-scopes: operator.read\r\nX-OpenClaw-Scopes: operator.write\r\n";
    assert_eq!(ask(&gateway, twice, &said("hi", json!({}))).status, 200, "lines of one list");
}

#[test]
fn a_secret_said_twice_has_to_be_the_same() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let body = said("hi", json!({}));
    let same = ask(&gateway, &format!("Authorization: Bearer {TOKEN}\r\n"), &body);
    assert_eq!(same.status, 200, "{}", same.body);
    upstream.asked();
    let answer = ask(&gateway, "authorization: Bearer other\r\n", &body);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("two different authorization headers") && answer.closes(), "{}", answer.body);
    assert!(!upstream.asked_more());
}

#[test]
fn what_a_provider_refuses_reaches_the_program_with_status_and_type() {
    for (status, body, told, kind, text) in [
        (400, r#"{"error":{"message":"no thanks"}}"#, 400, "invalid_request_error", "up answered 400: no thanks"),
        (401, r#"{"error":{"message":"bad key"}}"#, 401, "authentication_error", "up answered 401: bad key"),
        (403, r#"{"error":{"message":"not you"}}"#, 403, "permission_error", "up answered 403: not you"),
        (402, r#"{"error":{"message":"no money"}}"#, 402, "insufficient_quota", "up answered 402: no money"),
        (404, r#"{"error":{"message":"no model"}}"#, 404, "invalid_request_error", "up answered 404: no model"),
    ] {
        let refusals = || vec![Act::Refuse(status, "", body), Act::Refuse(status, "", body)];
        let upstream = Upstream::play(refusals());
        let gateway = start(&upstream);
        let answer = hi(&gateway);
        assert_eq!((answer.status, message(&answer).as_str()), (told, text));
        assert_eq!(answer.json()["error"]["type"], kind);
    }
}

#[test]
fn a_provider_that_stays_in_trouble_is_told_in_fixed_words() {
    for (status, told, text) in [(500, 500, "upstream provider error"), (503, 503, "upstream provider overloaded")] {
        let upstream = Upstream::play((0..20).map(|_| Act::Refuse(status, "retry-after: 0\r\n", "oops")).collect());
        let gateway = Setup::new().slow().config(&config(&upstream, "")).start();
        let all = stream(&gateway, &said("hi", json!({"stream": true})));
        assert_eq!(all.last().unwrap()["error"], json!({"message": text, "type": "api_error"}), "{told}");
        assert_eq!(all.len(), 2, "the role, the error, and no finish chunk: {all:?}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_an_error_and_never_an_empty_success() {
    let cut = || Act::SayAndCut(&["half an "]);
    let upstream = Upstream::play(vec![cut(), cut(), Act::Raw(b"data: {\"error\":{\"message\":\"boom\"}}\n\n")]);
    let gateway = start(&upstream);
    let all = stream(&gateway, &said("hi", json!({"stream": true})));
    assert_eq!(content(&all[1]), "half an ");
    let error = &all.last().unwrap()["error"];
    assert_eq!(error["type"], "api_error", "{all:?}");
    assert!(all.iter().all(|event| event["choices"][0]["finish_reason"].is_null()));
    let answer = hi(&gateway);
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (502, &json!("api_error")));
    let upstream = Upstream::play((0..9).map(|_| Act::Raw(b"data: {\"error\":{\"message\":\"boom\"}}\n\n")).collect());
    let gateway = start(&upstream);
    assert_eq!(message(&hi(&gateway)), "upstream provider error");
}

#[test]
fn an_answer_that_reached_its_limit_says_so() {
    let cut =
        b"data: {\"choices\":[{\"delta\":{\"content\":\"abc\"},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
    let upstream = Upstream::play(vec![Act::Raw(cut), Act::Raw(cut)]);
    let gateway = start(&upstream);
    let body = said("hi", json!({"max_tokens": 3, "seed": 5, "stop": "x"}));
    let answer = ask(&gateway, "", &body).json();
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let asked = upstream.asked();
    assert_eq!((&asked["max_tokens"], &asked["seed"], &asked["stop"]), (&json!(3), &json!(5), &json!(["x"])));
    let all = stream(&gateway, &said("hi", json!({"stream": true})));
    assert_eq!(all.last().unwrap()["choices"][0]["finish_reason"], "length");
}

#[test]
fn a_programs_tool_is_called_and_its_result_continues_the_conversation() {
    let call = || Act::Call("get_weather", json!({"city": "Oslo"}));
    let upstream = Upstream::play(vec![call(), Act::Say(&["4 C"]), call()]);
    let gateway = start(&upstream);
    let tools = json!({"tools": weather()});
    let first = ask(&gateway, "x-openclaw-session-key: app\r\n", &said("weather?", tools.clone())).json();
    let choice = &first["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &json!("")));
    let function = json!({"name": "get_weather", "arguments": "{\"city\":\"Oslo\"}"});
    let calls = json!([{"id": "call_1", "type": "function", "function": function}]);
    assert_eq!(choice["message"]["tool_calls"], calls);
    let asked = upstream.asked();
    let offered: Vec<&str> =
        asked["tools"].as_array().unwrap().iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
    assert!(offered.contains(&"exec") && offered.contains(&"get_weather"), "{offered:?}");
    let mut body = said("weather?", tools);
    let more = [
        json!({"role": "assistant", "content": "", "tool_calls": calls}),
        json!({"role": "tool", "tool_call_id": "call_1", "content": "4 C"}),
    ];
    body["messages"].as_array_mut().unwrap().extend(more);
    let second = ask(&gateway, "x-openclaw-session-key: app\r\n", &body).json();
    assert_eq!(second["choices"][0]["message"]["content"], "4 C");
    let asked = upstream.asked();
    let messages = asked["messages"].as_array().unwrap();
    assert_eq!(
        messages[3],
        json!({"role": "tool", "tool_call_id": "call_1", "content": "4 C"}),
        "the transcript is whole"
    );
    assert!(last_word(&asked).ends_with("[Current message - respond to this]\nTool:call_1: 4 C"));
    let all = stream(&gateway, &said("weather?", json!({"tools": weather(), "stream": true})));
    let pieces: Vec<&Value> = all.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]).collect();
    assert_eq!(
        pieces[1],
        &json!({"index": 0, "id": "call_1", "type": "function",
        "function": {"name": "get_weather", "arguments": ""}})
    );
    assert_eq!(pieces[2]["function"]["arguments"], "{\"city\":\"Oslo\"}");
    assert_eq!(all.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn a_programs_tool_wins_over_the_gateways_own_of_the_same_name() {
    let upstream = Upstream::play(vec![Act::Call("exec", json!({"q": 1}))]);
    let gateway = start(&upstream);
    let tools = json!([{"type": "function", "function": {"name": "exec", "description": "theirs"}}]);
    let answer = ask(&gateway, "", &said("go", json!({"tools": tools}))).json();
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "exec");
    let asked = upstream.asked();
    let of = |tool: &&Value| tool["function"]["name"] == "exec";
    let exec: Vec<&Value> = asked["tools"].as_array().unwrap().iter().filter(of).collect();
    assert_eq!((exec.len(), &exec[0]["function"]["description"]), (1, &json!("theirs")));
}

#[test]
fn a_call_that_has_to_come_is_waited_for_and_its_absence_is_an_error() {
    let text_and_call = b"data: {\"choices\":[{\"delta\":{\"content\":\"let me see\"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"get_weather\",\
        \"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let upstream = Upstream::play(vec![
        Act::Say(&["no call"]),
        Act::Say(&["no call"]),
        Act::Raw(text_and_call),
        Act::Say(&["no call"]),
    ]);
    let gateway = start(&upstream);
    let forced = |more: Value| {
        let mut body = said("hi", json!({"tools": weather(), "tool_choice": "required"}));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let unmet = "tool_choice=required was not satisfied by the agent response";
    let answer = ask(&gateway, "", &forced(json!({})));
    assert_eq!((answer.status, message(&answer).as_str()), (502, unmet));
    let asked = upstream.asked();
    assert_eq!((&asked["tool_choice"], asked["tools"].as_array().unwrap().len()), (&json!("required"), 1));
    let all = stream(&gateway, &forced(json!({"stream": true})));
    assert_eq!(all[1..], [json!({"error": {"message": unmet, "type": "api_error"}})], "no text beside it");
    let all = stream(&gateway, &forced(json!({"stream": true})));
    assert_eq!(content(&all[1]), "let me see");
    assert_eq!(all[2]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"], "get_weather");
    let pinned = json!({"type": "function", "function": {"name": "get_weather"}});
    let answer = ask(&gateway, "", &forced(json!({"tool_choice": pinned})));
    assert_eq!(message(&answer), "tool_choice=get_weather was not satisfied by the agent response");
}

#[test]
fn a_command_line_backend_refuses_a_programs_tools() {
    let backend = "cliBackends: {x: {command: \"true\", output: \"text\"}}";
    let agents = format!("agents: {{defaults: {{model: \"x/m\", skipBootstrap: true, {backend}}}}}");
    let config = format!("{{{agents}, gateway: {{http: {{endpoints: {{chatCompletions: {{enabled: true}}}}}}}}}}");
    let gateway = Setup::new().config(&config).start();
    let answer = ask(&gateway, "", &said("hi", json!({"tools": weather()})));
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (400, &json!("invalid_request_error")));
    assert!(message(&answer).contains("x/m takes no tools of programs"));
}

#[test]
fn pictures_reach_a_model_that_sees() {
    let upstream = Upstream::play(vec![]);
    let config = config(&upstream, "").replace("input: [\"text\"]", "input: [\"text\", \"image\"]");
    let gateway = Setup::new().config(&config).start();
    let url = "data:image/png;base64,iVBORw0KGgo=";
    let body = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]});
    assert_eq!(ask(&gateway, "", &body).status, 200);
    let asked = upstream.asked();
    let parts = &asked["messages"].as_array().unwrap().last().unwrap()["content"];
    assert_eq!(parts[0]["text"], "User sent image(s) with no text.");
    assert_eq!(parts[1]["image_url"]["url"], url);
}

#[test]
fn a_program_that_goes_away_stops_its_run_and_the_providers_work() {
    let upstream = Upstream::play(vec![Act::Hang, Act::SayAndHang(&["Hello"]), Act::Hang]);
    let gateway = start(&upstream);
    let mut wire = Wire::open(gateway.port);
    wire.send(post(PATH, "", &said("hi", json!({})).to_string()));
    upstream.asked();
    drop(wire);
    upstream.hung_up();
    let mut wire = begin(&gateway, &said("hi", json!({"stream": true})));
    assert!(next(&mut wire).is_some() && next(&mut wire).is_some());
    drop(wire);
    upstream.hung_up();
    let wire = begin(&gateway, &said("hi", json!({"stream": true})));
    wire.finish();
    upstream.hung_up();
}

#[test]
fn a_program_that_sends_ahead_and_goes_away_stops_its_run_all_the_same() {
    let scripts = || vec![Act::SayAndHang(&["Hel"]), Act::SayAndHang(&[])];
    let upstream = Upstream::play(scripts());
    let gateway = start(&upstream);
    let request = |stream: bool| post(PATH, "", &said("hi", json!({"stream": stream})).to_string());
    for stream in [true, false] {
        let mut wire = Wire::open(gateway.port);
        wire.send(request(stream) + &request(false));
        upstream.asked();
        wire.send(request(false));
        // Its half is enough: nobody waits for an answer in vain.
        wire.finish();
        upstream.hung_up();
        assert!(!upstream.asked_more(), "what was sent ahead is not begun");
    }
}

#[test]
fn a_program_that_sends_ahead_and_stays_has_all_its_answers_in_order() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("one"), Act::SayWhenTold("two"), Act::Say(&["three"])]);
    let gateway = start(&upstream);
    let request = |text: &str| post(PATH, "", &said(text, json!({})).to_string());
    let mut wire = Wire::open(gateway.port);
    wire.send(request("1"));
    assert_eq!(last_word(&upstream.asked()), "1");
    // Longer than what is taken in ahead, so that the rest comes when it is its turn; cut in the midst of a request.
    let long = "x".repeat(2 * openclaw::limits::HTTP_AHEAD_BYTES);
    let (second, third) = (request("2"), request(&long));
    for piece in [&second[..40], &second[40..], &third] {
        wire.send(piece);
        assert!(upstream.is_left_alone() && upstream.is_left_alone(), "one after the other");
    }
    let content = |answer: Answer| answer.json()["choices"][0]["message"]["content"].clone();
    upstream.go();
    assert_eq!(content(wire.answer().unwrap()), "one");
    assert_eq!(last_word(&upstream.asked()), "2");
    upstream.go();
    assert_eq!(content(wire.answer().unwrap()), "two");
    assert_eq!(last_word(&upstream.asked()), long);
    assert_eq!(content(wire.answer().unwrap()), "three");
}

#[test]
fn sixteen_streams_at_once_are_served_side_by_side() {
    let upstream = Upstream::play((0..16).map(|_| Act::SayAndHang(&["Hello"])).collect());
    let config = config(&upstream, "").replace("skipBootstrap: true", "skipBootstrap: true, maxConcurrent: 16");
    let gateway = Setup::new().config(&config).start();
    let body = said("hi", json!({"stream": true}));
    let mut wires: Vec<Wire> = (0..16).map(|_| begin(&gateway, &body)).collect();
    for wire in &mut wires {
        next(wire);
        assert!(next(wire).unwrap().contains("Hello"));
    }
    drop(wires);
    (0..16).for_each(|_| upstream.hung_up());
}

#[test]
fn streams_beyond_the_turns_at_once_wait_for_their_turn() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let body = said("hi", json!({"stream": true}));
    let mut wires: Vec<Wire> = (0..16).map(|_| begin(&gateway, &body)).collect();
    for wire in &mut wires {
        assert_eq!(events(wire).iter().map(content).collect::<String>(), "done");
    }
}

#[test]
fn a_program_that_does_not_read_costs_no_more_than_its_bound() {
    let upstream = Upstream::play(vec![Act::Flood(1 << 30)]);
    let mut gateway = Setup::new().slow().config(&config(&upstream, "")).start();
    let wire = begin(&gateway, &said("hi", json!({"stream": true})));
    gateway.line("the client has gone, its run is stopped");
    assert_eq!(hi(&gateway).status, 200);
    drop(wire);
}

#[test]
fn idle_programs_keep_their_connections() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let request = format!("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    let mut wires = Vec::new();
    for _ in 0..150 {
        let mut wire = Wire::open(gateway.port);
        assert_eq!(wire.ask(&request).status, 200);
        wires.push(wire);
    }
    for wire in &mut wires {
        assert_eq!(wire.ask(&request).status, 200);
    }
}

#[test]
fn broken_bodies_are_answered_and_leave_the_gateway_as_it_was() {
    let seed = now_ms() | 1;
    let upstream = Upstream::play(vec![]);
    let gateway = Setup::new().slow().config(&config(&upstream, "")).start();
    let whole = json!({"model": "openclaw", "user": "u", "stream": false, "temperature": 1, "stop": ["x"],
        "stream_options": {"include_usage": true}, "tools": weather(), "tool_choice": "auto",
        "response_format": {"type": "json_object"}, "messages": [
            {"role": "system", "content": "s"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
            {"role": "user", "content": [{"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]})
    .to_string();
    let words: [&str; 10] = ["null", "[]", "{}", "-1", "1e999", "\"\"", "true", "\\ud800", "[[[[", "\"role\":"];
    let mut dice = seed;
    let mut roll = |below: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        usize::try_from(dice % u64::try_from(below.max(1)).unwrap()).unwrap()
    };
    let deadline = Instant::now() + Duration::from_secs(8);
    let mut wire = Wire::open(gateway.port);
    let (mut taken, mut refused) = (0, 0);
    while taken + refused < 300 && Instant::now() < deadline {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..=roll(3) {
            let at = roll(bytes.len());
            let end = (at + roll(12)).min(bytes.len());
            bytes.splice(at..end, words[roll(words.len())].bytes());
        }
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let answer = wire.ask(post(PATH, "", &body));
        match answer.status {
            200 => taken += 1,
            400 | 502 => refused += 1,
            other => panic!("{other} for {body} (seed {seed})"),
        }
    }
    assert!(refused > 20, "{taken} {refused} seed {seed}");
    assert_eq!(hi(&gateway).status, 200, "seed {seed}");
}

#[test]
fn a_stopping_gateway_tells_its_programs() {
    let upstream = Upstream::play(vec![Act::SayAndHang(&["Hello"]), Act::Hang]);
    let gateway = start(&upstream);
    let mut streaming = begin(&gateway, &said("hi", json!({"stream": true})));
    assert!(next(&mut streaming).is_some() && next(&mut streaming).is_some());
    let mut waiting = Wire::open(gateway.port);
    waiting.send(post(PATH, "", &said("hi", json!({})).to_string()));
    upstream.asked();
    upstream.asked();
    gateway.signal("TERM");
    let all = events(&mut streaming);
    assert_eq!(all.last().unwrap()["error"]["type"], "service_unavailable", "{all:?}");
    let answer = waiting.answer().expect("an answer");
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("gateway_unavailable")));
    let mut rest = Vec::new();
    let _ = waiting.socket.read_to_end(&mut rest);
}

#[test]
fn a_conversation_that_was_answered_goes_on_after_a_kill() {
    let upstream = Upstream::play(vec![Act::Say(&["Hello Ann."]), Act::Say(&["Ann."])]);
    let mut gateway = start(&upstream);
    assert_eq!(ask(&gateway, "", &said("I am Ann", json!({"user": "ann"}))).status, 200);
    upstream.asked();
    gateway.signal("KILL");
    gateway.wait();
    let home = gateway.into_home();
    let gateway = Setup::new().config(&config(&upstream, "")).home(home).start();
    assert_eq!(ask(&gateway, "", &said("who am I?", json!({"user": "ann"}))).status, 200);
    let asked = upstream.asked().to_string();
    assert!(asked.contains("I am Ann") && asked.contains("Hello Ann."), "{asked}");
}

#[test]
fn the_log_says_once_what_switches_an_interface_on() {
    let mut gateway = Gateway::start();
    for _ in 0..3 {
        assert_eq!(get(&gateway, "/v1/models").status, 404);
    }
    assert_eq!(hi(&gateway).status, 404);
    gateway.line("/v1/chat/completions is off; set gateway.http.endpoints.chatCompletions.enabled: true");
    let console = gateway.console();
    assert_eq!(console.matches("/v1/models is off").count(), 1, "{console}");
}
