//! Chapter 8: `/v1/responses` (`spec/http.md` 8) against a model server that answers by script.

use serde_json::{Value, json};

use crate::harness::TOKEN;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Answer, Wire, get, post};
use crate::harness::peer::{Hello, Peer};
use crate::harness::replay::Replay;
use crate::harness::upstream::{Act, Upstream};

const ON: &str = ", gateway: {mode: \"local\", http: {endpoints: {responses: {enabled: true}}}}";

fn start(upstream: &Upstream) -> Gateway {
    Setup::new().config(&upstream.config(ON)).start()
}

fn ask_with(gateway: &Gateway, headers: &str, body: &Value) -> Answer {
    Wire::open(gateway.port).ask(post("/v1/responses", headers, &body.to_string()))
}

/// One request for a whole answer.
fn ask(gateway: &Gateway, body: &Value) -> Answer {
    ask_with(gateway, "", body)
}

/// The shortest request, with further members.
fn body(input: impl Into<Value>, more: Value) -> Value {
    let mut body = json!({"model": "openclaw", "input": input.into()});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// A stream that has begun.
struct Events(Wire);

impl Events {
    fn of(gateway: &Gateway, body: &Value) -> Events {
        let mut wire = Wire::open(gateway.port);
        wire.send(post("/v1/responses", "", &body.to_string()));
        let head = wire.head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream; charset=utf-8")));
        Events(wire)
    }

    /// The next event, which came alone in its chunk; none at the last line.
    fn next(&mut self) -> Option<Value> {
        let chunk = self.0.chunk().expect("the stream ended without [DONE]");
        if chunk == "data: [DONE]\n\n" {
            assert_eq!(self.0.chunk(), None, "something came after the last line");
            return None;
        }
        let (name, data) = chunk.trim_end().split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
        Some(data)
    }

    fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect()
}

fn text(answer: &Answer) -> String {
    answer.json()["output"][0]["content"][0]["text"].as_str().unwrap_or_default().to_string()
}

fn message(answer: &Answer) -> String {
    answer.json()["error"]["message"].as_str().unwrap_or_default().to_string()
}

/// What the model was asked last, without its stamp.
fn asked(upstream: &Upstream) -> (String, String) {
    let question = upstream.asked();
    let messages = question["messages"].as_array().unwrap();
    let flat = |content: &Value| match content {
        Value::String(text) => text.clone(),
        parts => parts[0]["text"].as_str().unwrap().to_string(),
    };
    (flat(&messages[0]["content"]), flat(&messages.last().unwrap()["content"]))
}

const WEATHER: &str = "get_weather";

fn weather() -> Value {
    json!([{"type": "function", "name": WEATHER, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}])
}

#[test]
fn it_is_off_until_it_is_switched_on_and_then_wants_the_secret() {
    let gateway = Gateway::start();
    assert_eq!(ask(&gateway, &body("hi", json!({}))).status, 404);
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let wrong = post("/v1/responses", "", "{}").replace(TOKEN, "wrong");
    let refused = Wire::open(gateway.port).ask(wrong);
    assert_eq!((refused.status, refused.json()["error"]["type"].as_str()), (401, Some("unauthorized")));
    let other = Wire::open(gateway.port).ask(get("/v1/responses"));
    assert_eq!((other.status, other.header("allow")), (405, Some("POST")));
    assert!(!upstream.asked_more());
}

#[test]
fn a_text_is_answered_with_the_response_object() {
    let upstream = Upstream::play(vec![Act::Say(&["Hel", "lo"])]);
    let gateway = start(&upstream);
    let answer = ask(&gateway, &body("hi", json!({"instructions": "Be kind.", "model": "openclaw/main"})));
    let response = answer.json();
    assert_eq!(answer.status, 200, "{response}");
    assert_eq!((&response["object"], &response["status"]), (&json!("response"), &json!("completed")));
    assert_eq!((&response["model"], text(&answer).as_str()), (&json!("openclaw/main"), "Hello"));
    assert_eq!(response["usage"]["input_tokens"], 10);
    assert_eq!(response["usage"]["total_tokens"], 12);
    let (system, said) = asked(&upstream);
    assert!(system.contains("Be kind.") && said.ends_with("hi"), "{said}");
}

#[test]
fn events_come_in_order_and_each_leaves_as_it_comes() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("Hello")]);
    let gateway = start(&upstream);
    let mut events = Events::of(&gateway, &body("hi", json!({"stream": true})));
    // The model has not said a word yet.
    let mut all: Vec<Value> = (0..4).map(|_| events.next().unwrap()).collect();
    assert_eq!(all[0]["response"]["status"], "in_progress");
    upstream.go();
    all.extend(events.rest());
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&all), expected);
    assert!(all.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    assert_eq!(all[4]["delta"], "Hello");
    let last = &all[8]["response"];
    assert_eq!((&last["output"][0], &last["usage"]["total_tokens"]), (&all[7]["item"], &json!(12)));
    assert_eq!(last["id"], all[0]["response"]["id"]);
    // The connection stays.
    let again = events.0.ask(post("/v1/responses", "", &body("hi", json!({})).to_string()));
    assert_eq!(again.status, 200);
}

#[test]
fn a_programs_tool_is_called_and_answered() {
    let script = vec![Act::Call(WEATHER, json!({"city": "Oslo"})), Act::Say(&["Cold."]), Act::Say(&["Mild."])];
    let upstream = Upstream::play(script);
    let gateway = start(&upstream);
    let first = ask(&gateway, &body("w?", json!({"tools": weather(), "user": "me"}))).json();
    let call = &first["output"][0];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!(WEATHER)));
    assert_eq!((&call["arguments"], &first["status"]), (&json!("{\"city\":\"Oslo\"}"), &json!("completed")));
    let offered = upstream.asked()["tools"].to_string();
    assert!(offered.contains(WEATHER), "{offered}");
    let output = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "4 C"});
    let second = ask(&gateway, &body(json!([output]), json!({"previous_response_id": first["id"]})));
    assert_eq!((second.status, text(&second).as_str()), (200, "Cold."));
    assert!(upstream.asked()["messages"].to_string().contains("4 C"));
    let items = json!([{"role": "user", "content": "w?"}, call, output]);
    assert_eq!(text(&ask(&gateway, &body(items, json!({"tools": weather()})))), "Mild.");
    let (_, said) = asked(&upstream);
    assert!(said.contains("Assistant: tool_call id=") && said.ends_with(": 4 C"), "{said}");
}

#[test]
fn calls_are_streamed_behind_the_message() {
    let upstream = Upstream::play(vec![Act::Call(WEATHER, json!({"city": "Oslo"}))]);
    let gateway = start(&upstream);
    let all = Events::of(&gateway, &body("w?", json!({"tools": weather(), "stream": true}))).rest();
    let expected = [
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&all)[4..], expected);
    assert_eq!((&all[7]["output_index"], &all[7]["item"]["name"]), (&json!(1), &json!(WEATHER)));
    assert_eq!(all[10]["response"]["output"][1], all[9]["item"]);
}

#[test]
fn a_tool_that_had_to_be_called_and_was_not_is_a_failure() {
    let upstream = Upstream::play(vec![Act::Say(&["no"]), Act::Say(&["no"])]);
    let gateway = start(&upstream);
    let wish = |stream| body("w?", json!({"tools": weather(), "tool_choice": "required", "stream": stream}));
    let answer = ask(&gateway, &wish(false));
    assert_eq!((answer.status, answer.json()["status"].as_str()), (502, Some("failed")));
    assert_eq!(message(&answer), "tool_choice=required was not satisfied by the agent response");
    let all = Events::of(&gateway, &wish(true)).rest();
    assert_eq!(kinds(&all)[4..], ["failed"], "text is not shown before the call");
    assert_eq!(upstream.asked()["tool_choice"], "required");
}

#[test]
fn a_conversation_goes_on_by_the_id_of_its_last_response() {
    let script = vec![Act::Say(&["one"]), Act::Say(&["two"]), Act::Say(&["three"]), Act::Say(&["four"])];
    let upstream = Upstream::play(script);
    let gateway = start(&upstream);
    let first = ask(&gateway, &body("remember 7", json!({}))).json();
    let last_asked = |upstream: &Upstream| upstream.asked()["messages"].to_string();
    last_asked(&upstream);
    let named = json!({"previous_response_id": first["id"]});
    let second = ask(&gateway, &body("which?", named.clone())).json();
    assert_eq!(second["previous_response_id"], first["id"]);
    assert!(last_asked(&upstream).contains("remember 7"));
    // Another session key is another conversation, and an unknown id begins one.
    let other = ask_with(&gateway, "x-openclaw-session-key: mine\r\n", &body("which?", named)).json();
    assert_eq!((&other["status"], &other["previous_response_id"]), (&json!("completed"), &Value::Null));
    assert!(!last_asked(&upstream).contains("remember 7"));
    let unknown = ask(&gateway, &body("which?", json!({"previous_response_id": "resp_x"}))).json();
    assert_eq!((&unknown["status"], &unknown["previous_response_id"]), (&json!("completed"), &Value::Null));
}

#[test]
fn a_conversation_that_was_deleted_is_not_said_to_go_on() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let first = ask(&gateway, &body("remember 7", json!({}))).json();
    upstream.asked();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let rows = peer.get("sessions.list", json!({}));
    let key = rows["sessions"][0]["key"].as_str().unwrap().to_string();
    assert!(key.starts_with("agent:main:openresponses:"), "{rows}");
    peer.get("sessions.delete", json!({"key": key}));
    let second = ask(&gateway, &body("which?", json!({"previous_response_id": first["id"]}))).json();
    assert_eq!((&second["status"], &second["previous_response_id"]), (&json!("completed"), &Value::Null));
    assert!(!upstream.asked()["messages"].to_string().contains("remember 7"));
}

#[test]
fn items_of_earlier_answers_are_found_by_their_ids() {
    let upstream = Upstream::play(vec![Act::Say(&["I said this"]), Act::Say(&["ok"])]);
    let gateway = start(&upstream);
    let first = ask(&gateway, &body("x", json!({}))).json();
    upstream.asked();
    let items = json!([{"role": "user", "content": "x"}, {"type": "item_reference", "id": first["output"][0]["id"]},
        {"role": "user", "content": "y"}]);
    assert_eq!(ask(&gateway, &body(items, json!({}))).status, 200);
    let (_, said) = asked(&upstream);
    assert!(said.contains("Assistant: I said this\n"), "{said}");
}

#[test]
fn files_and_pictures_reach_the_model() {
    let upstream = Upstream::play(vec![]);
    let config = upstream.config(ON).replace(r#"input: ["text"]"#, r#"input: ["text", "image"]"#);
    let gateway = Setup::new().config(&config).start();
    let parts = json!([{"role": "user", "content": [
        {"type": "input_text", "text": "read it"},
        {"type": "input_file", "source": {"type": "base64", "media_type": "text/plain", "data": "SGVsbG8gV29ybGQh", "filename": "hello.txt"}},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
    ]}]);
    let answer = ask(&gateway, &body(parts, json!({})));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let question = upstream.asked()["messages"].clone();
    assert!(question[0].to_string().contains("<file name=\\\"hello.txt\\\">\\nHello World!\\n</file>"), "{question}");
    let last = question.as_array().unwrap().last().unwrap().to_string();
    assert!(last.contains("read it") && last.contains("data:image/png;base64,iVBORw0KGgo="), "{last}");
}

#[test]
fn the_operator_bounds_bodies_and_files() {
    let upstream = Upstream::play(vec![]);
    let limits =
        r#"responses: {enabled: true, maxBodyBytes: 400, files: {maxChars: 3, allowedMimes: ["text/x-rust"]}}"#;
    let gateway = Setup::new().config(&upstream.config(&ON.replace("responses: {enabled: true}", limits))).start();
    let file = |mime: &str| {
        let source = json!({"type": "base64", "media_type": mime, "data": "SGVsbG8="});
        let parts = json!([{"type": "input_text", "text": "x"}, {"type": "input_file", "source": source}]);
        ask(&gateway, &body(json!([{"role": "user", "content": parts}]), json!({})))
    };
    assert_eq!((file("text/x-rust").status, file("text/plain").status), (200, 400));
    assert!(upstream.asked()["messages"][0].to_string().contains("Hel\\n[cut here"));
    assert_eq!(ask(&gateway, &body("x".repeat(400), json!({}))).status, 413);
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let part = |part: Value| body(json!([{"role": "user", "content": [part]}]), json!({}));
    let file = |mime: &str| json!({"type": "input_file", "source": {"type": "base64", "media_type": mime, "data": "UEsDBA=="}});
    let image = |url: &str| json!({"type": "input_image", "image_url": url});
    for (request, reason) in [
        (json!({"input": "hi"}), "model: Invalid input: expected string, received undefined"),
        (body("hi", json!({"foo": 1})), ": Unrecognized key: \"foo\""),
        (body(json!([]), json!({})), "Missing user message in `input`."),
        (body("hi", json!({"background": true})), "background: is not supported"),
        (body("hi", json!({"model": "gpt-4o"})), "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`."),
        (body("hi", json!({"tool_choice": "required"})), "tool_choice: required, but no tools were provided"),
        (part(file("application/zip")), "input.0.content.0: Unsupported file MIME type: application/zip"),
        (part(file("application/pdf")), "input.0.content.0: PDF files are not read"),
        (part(image("http://127.0.0.1:1/a.png")), "input: a picture is not taken."),
        (part(image("data:image/svg+xml;base64,AAAA")), "input: a picture is not taken."),
    ] {
        let answer = ask(&gateway, &request);
        assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (400, Some("invalid_request_error")));
        assert!(message(&answer).starts_with(reason), "{}", message(&answer));
    }
    assert_eq!(Wire::open(gateway.port).ask(post("/v1/responses", "", "{nonsense")).status, 400);
    let deep = "[".repeat(200_000);
    assert_eq!(Wire::open(gateway.port).ask(post("/v1/responses", "", &deep)).status, 400);
    assert!(!upstream.asked_more());
    assert_eq!(ask(&gateway, &body("hi", json!({}))).status, 200);
}

#[test]
fn a_provider_that_fails_is_never_an_empty_success() {
    let refusal = r#"{"error":{"message":"fake upstream refused"}}"#;
    let script =
        vec![Act::Refuse(400, "", refusal), Act::Refuse(400, "", refusal), Act::SayAndCut(&["Hel"]), Act::Say(&[""])];
    let upstream = Upstream::play(script);
    let gateway = start(&upstream);
    let answer = ask(&gateway, &body("hi", json!({})));
    let response = answer.json();
    assert_eq!((answer.status, &response["status"], &response["output"]), (400, &json!("failed"), &json!([])));
    assert_eq!(response["error"]["code"], "invalid_request_error");
    assert!(message(&answer).contains("fake upstream refused"));
    let all = Events::of(&gateway, &body("hi", json!({"stream": true}))).rest();
    assert_eq!(kinds(&all)[4..], ["failed"]);
    let mut events = Events::of(&gateway, &body("hi", json!({"stream": true})));
    let all = events.rest();
    assert_eq!((kinds(&all)[4], *kinds(&all).last().unwrap()), ("output_text.delta", "failed"));
    assert_eq!(text(&ask(&gateway, &body("hi", json!({})))), "No response from OpenClaw.");
}

#[test]
fn a_client_that_goes_away_stops_its_run() {
    for stream in [true, false] {
        let upstream = Upstream::play(vec![Act::SayAndHang(&["Hel"])]);
        let gateway = start(&upstream);
        let request = body("hi", json!({"stream": stream, "user": "me"}));
        if stream {
            let mut events = Events::of(&gateway, &request);
            while events.next().unwrap()["type"] != "response.output_text.delta" {}
        } else {
            let mut wire = Wire::open(gateway.port);
            wire.send(post("/v1/responses", "", &request.to_string()));
            upstream.asked();
        }
        upstream.hung_up();
        // Its session is free again.
        let answer = ask(&gateway, &body("again", json!({"user": "me"})));
        assert_eq!((answer.status, text(&answer).as_str()), (200, "done"));
    }
}

#[test]
fn sessions_are_the_users_or_the_headers_or_new() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let goes_on = |headers: &str, more: Value| {
        ask_with(&gateway, headers, &body("first word", more.clone()));
        upstream.asked();
        ask_with(&gateway, headers, &body("second", more));
        upstream.asked()["messages"].to_string().contains("first word")
    };
    assert!(goes_on("", json!({"user": "alice"})));
    assert!(goes_on("x-openclaw-session-key: app\r\n", json!({})));
    assert!(!goes_on("", json!({})));
    let answer = ask_with(&gateway, "x-openclaw-session-key: cron:x\r\n", &body("hi", json!({})));
    assert_eq!(answer.status, 400);
}

#[test]
fn a_stream_that_reaches_the_token_limit_says_so() {
    let cut = b"data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n\
        data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
    let upstream = Upstream::play(vec![Act::Raw(cut), Act::Raw(cut)]);
    let gateway = start(&upstream);
    let response = ask(&gateway, &body("hi", json!({"max_output_tokens": 3.0, "temperature": 0.5}))).json();
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
    let question = upstream.asked();
    let limit = question["max_completion_tokens"].as_u64().or(question["max_tokens"].as_u64());
    assert_eq!((limit, &question["temperature"]), (Some(3), &json!(0.5)));
    let all = Events::of(&gateway, &body("hi", json!({"stream": true}))).rest();
    assert_eq!(*kinds(&all).last().unwrap(), "incomplete");
}

/// Members that every event or answer of ours has beyond the recorded ones: what typed helpers of SDKs look for.
fn more(events: usize, members: &[&str]) -> &'static [&'static str] {
    let numbers = (0..events).map(|at| format!("#{at}/sequence_number"));
    let all: Vec<&'static str> =
        numbers.chain(members.iter().map(|name| (*name).to_string())).map(|name| &*name.leak()).collect();
    all.leak()
}

const ANNOTATIONS: &str = "/output/0/content/0/annotations";

#[test]
fn recorded_exchanges_are_answered_alike() {
    let hello = &["Hello", " from the", " fake model."];
    let refusal = r#"{"error":{"message":"fake upstream refused"}}"#;
    // In the order of the names of those that reach the model.
    let mut script: Vec<Act> = ["fco", "file", "items", "previous-id", "stream", "string", "unmet-stream", "unmet"]
        .iter()
        .map(|_| Act::Say(hello))
        .collect();
    script.push(Act::Call(WEATHER, json!({"city": "Oslo"})));
    script.extend([Act::Refuse(400, "", refusal), Act::Refuse(400, "", refusal)]);
    let upstream = Upstream::play(script);
    let gateway = start(&upstream);
    let mut replay = Replay::of(&gateway)
        .shape(&["responses-fco", "responses-file", "responses-items", "responses-previous-id", "responses-stream"])
        .shape(&["responses-string", "responses-tools-flatform", "responses-upstream-error"])
        .shape(&["responses-toolchoice-required-unmet", "responses-toolchoice-required-unmet-stream"])
        .shape(&["responses-upstream-error-stream"])
        .leave_out("responses-bare-role", "items without a type are messages (decisions 19)")
        .leave_out("responses-image-openai-form", "the SDK's own form of a picture is taken")
        .leave_out("responses-tools-nestedform", "both forms of tools are taken")
        .leave_out("responses-tools-stream", "one more event; see `calls_are_streamed_behind_the_message`")
        .ignore("responses-file-badmime", &["/error/message"])
        .ignore("responses-image-private-url", &["/error/message"])
        .ignore("responses-tools-flatform", &["/output/0/status"])
        .ignore("responses-previous-id", &["/previous_response_id", ANNOTATIONS])
        .ignore("responses-toolchoice-required-unmet-stream", more(5, &["#3/part/annotations"]))
        .ignore("responses-upstream-error-stream", more(5, &["#3/part/annotations"]));
    for name in ["fco", "file", "items", "string"] {
        replay = replay.ignore(&format!("responses-{name}"), &[ANNOTATIONS]);
    }
    let text = ["#3/part/annotations", "#4/logprobs", "#5/logprobs", "#6/logprobs", "#7/logprobs"];
    let whole = ["#8/part/annotations", "#9/item/content/0/annotations", "#10/response/output/0/content/0/annotations"];
    replay.ignore("responses-stream", more(11, &[text.as_slice(), &whole].concat())).play("responses");
}
