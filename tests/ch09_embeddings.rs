//! Chapter 9, embeddings: `POST /v1/embeddings` (`spec/http.md` 7) by raw HTTP, with a provider that answers by script.

use openclaw::limits;
use serde_json::{Value, json};

use crate::harness::TOKEN;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Answer, Wire};
use crate::harness::upstream::{Act, Upstream};

/// A gateway whose embeddings come from this server.
fn start(upstream: &Upstream) -> Gateway {
    start_with(upstream, "")
}

fn start_with(upstream: &Upstream, more: &str) -> Gateway {
    let search = format!(
        "memory: {{search: {{provider: \"openai-compatible\", model: \"m\", \
         remote: {{baseUrl: \"http://127.0.0.1:{}/v1\", apiKey: \"up-key\"}}}}}}{more}",
        upstream.port
    );
    Setup::new().config(&config(&search)).start()
}

fn config(more: &str) -> String {
    format!("{{gateway: {{mode: \"local\", http: {{endpoints: {{responses: {{enabled: true}}}}}}}}, {more}}}")
}

fn request(body: &str, more: &str) -> String {
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn ask(gateway: &Gateway, body: &Value) -> Answer {
    Wire::open(gateway.port).ask(request(&body.to_string(), ""))
}

/// Status, type and message of a refusal.
fn refusal(answer: &Answer) -> (u16, String, String) {
    let error = &answer.json()["error"];
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_string();
    (answer.status, text("type"), text("message"))
}

const TWO: &str =
    r#"{"data":[{"index":0,"embedding":[1,-0.5]},{"index":1,"embedding":[0.25,3]}],"usage":{"prompt_tokens":4}}"#;

#[test]
fn texts_come_back_as_numbers_and_as_base64() {
    let upstream = Upstream::play(vec![Act::Refuse(200, "", TWO), Act::Refuse(200, "", TWO)]);
    let gateway = start(&upstream);
    let mut wire = Wire::open(gateway.port);
    let body = json!({"model": "openclaw/main", "input": ["a", "b"], "user": "u"}).to_string();
    let answer = wire.ask(request(&body, ""));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    let want = json!({
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1, -0.5]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 3]},
        ],
        "model": "openclaw/main",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    });
    assert_eq!(answer.json(), want);
    assert_eq!((upstream.key(), upstream.asked()), ("up-key".to_string(), json!({"model": "m", "input": ["a", "b"]})));
    // the same connection again, in the form OpenAI's own library asks for
    let body = json!({"model": "openclaw", "input": ["a", "b"], "encoding_format": "base64"}).to_string();
    let answer = wire.ask(request(&body, "")).json();
    assert_eq!(answer["data"][0]["embedding"], "AACAPwAAAL8=");
    assert_eq!(answer["model"], "openclaw");
}

#[test]
fn another_model_needs_admin_and_the_agents_own_provider() {
    let upstream = Upstream::play(vec![Act::Refuse(200, "", r#"{"data":[{"embedding":[1]}]}"#)]);
    let gateway = start(&upstream);
    let body = r#"{"model":"openclaw","input":"a","dimensions":1}"#;
    let with = |more: &str| Wire::open(gateway.port).ask(request(body, more));
    assert_eq!(with("x-openclaw-model: openai-compatible/big\r\n").status, 200);
    assert_eq!(upstream.asked(), json!({"model": "big", "input": ["a"], "dimensions": 1}));
    let (status, kind, text) = refusal(&with("x-openclaw-model: openai/big\r\n"));
    assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
    assert_eq!(text, "This agent does not allow that embedding provider on `/v1/embeddings`.");
    assert!(!upstream.asked_more());
}

#[test]
fn an_agent_has_its_own_settings_and_a_ghost_none() {
    let upstream = Upstream::play(vec![Act::Refuse(200, "", r#"{"data":[{"embedding":[1]}]}"#)]);
    let agents = ", agents: {list: [{id: \"main\"}, {id: \"ops\", memorySearch: {model: \"own\"}}]}";
    let gateway = start_with(&upstream, agents);
    let body = r#"{"model":"openclaw/main","input":"a"}"#;
    assert_eq!(Wire::open(gateway.port).ask(request(body, "x-openclaw-agent-id: ops\r\n")).status, 200);
    assert_eq!(upstream.asked()["model"], "own");
    let ghost = ask(&gateway, &json!({"model": "openclaw/ghost", "input": "a"}));
    assert_eq!(refusal(&ghost).2, "Unknown agent 'ghost'.");
    let foreign = ask(&gateway, &json!({"model": "gpt-4o", "input": "a"}));
    assert_eq!(refusal(&foreign).2, "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.");
}

/// The recorded exchanges of the newer original (`http-fixtures/embeddings*`).
#[test]
fn bad_requests_are_told_in_the_originals_words() {
    let gateway = Setup::new().config(&config("agents: {}")).start();
    let rows = [
        (r#"{"input": "x"}"#, "Missing `model`."),
        (r#"{"model": "openclaw", "input": [1, 2]}"#, "input: Invalid input"),
        (r#"{"model": "openclaw", "input": []}"#, "`input` must contain at least one non-empty string."),
        (r#"{"model": "openclaw", "input": ["a", ""]}"#, "`input` must contain at least one non-empty string."),
    ];
    for (body, text) in rows {
        let answer = Wire::open(gateway.port).ask(request(body, ""));
        assert_eq!(refusal(&answer), (400, "invalid_request_error".to_string(), text.to_string()), "{body}");
    }
    let long = |count: usize, chars: usize| {
        ask(&gateway, &json!({"model": "openclaw", "input": vec!["x".repeat(chars); count]}))
    };
    assert_eq!(refusal(&long(129, 1)).2, "Too many inputs (max 128).");
    assert_eq!(refusal(&long(1, 8193)).2, "Input too long (max 8192 chars).");
    assert_eq!(refusal(&long(9, 8192)).2, "Total input too large (max 65536 chars).");
    assert_eq!(Wire::open(gateway.port).ask(request("{", "")).status, 400);
    let answer = Wire::open(gateway.port).ask(request(&"x".repeat(limits::EMBEDDINGS_BODY_BYTES + 1), ""));
    assert_eq!(refusal(&answer).2, "Payload too large");
    let wrong = format!("POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}x\r\n\r\n");
    assert_eq!(Wire::open(gateway.port).ask(wrong).status, 401);
    let other = format!("GET /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    let answer = Wire::open(gateway.port).ask(other);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

#[test]
fn without_a_provider_the_answer_is_500_and_says_what_to_set() {
    // Nothing listens where Ollama would be.
    let gateway = Setup::new().config(&config("agents: {}")).env("OLLAMA_HOST", "127.0.0.1:1").start();
    let (status, kind, text) = refusal(&ask(&gateway, &json!({"model": "openclaw/default", "input": ["a", "b"]})));
    assert_eq!((status, kind.as_str()), (500, "api_error"));
    assert!(text.contains("memory.search.provider") && text.contains("OPENAI_API_KEY"), "{text}");
}

#[test]
fn without_an_interface_for_programs_there_is_none_for_embeddings() {
    let gateway = Gateway::start();
    let answer = ask(&gateway, &json!({"model": "openclaw", "input": "a"}));
    assert_eq!((answer.status, answer.body.as_str()), (404, "Not Found"));
}

#[test]
fn what_the_provider_refuses_is_told_with_its_class() {
    let soon = "retry-after-ms: 1\r\n";
    let slow = r#"{"error":{"message":"slow down"}}"#;
    let upstream = Upstream::play(vec![
        Act::Refuse(401, "", r#"{"error":{"message":"bad key up-key"}}"#),
        Act::Refuse(429, soon, slow),
        Act::Refuse(429, soon, slow),
        Act::Refuse(429, soon, slow),
        Act::Refuse(500, soon, "oops"),
        Act::Refuse(200, "", r#"{"data":[{"embedding":[1]}]}"#),
        Act::Refuse(400, "", r#"{"error":{"message":"too long for the context window"}}"#),
        Act::Refuse(200, "", r#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#),
        Act::Refuse(200, "", r#"{"data":"#),
    ]);
    let gateway = start(&upstream);
    let one = json!({"model": "openclaw", "input": "a"});
    let (status, kind, text) = refusal(&ask(&gateway, &one));
    assert_eq!((status, kind.as_str()), (401, "authentication_error"));
    assert!(text.contains("bad key") && !text.contains("up-key"), "{text}");
    let answer = ask(&gateway, &one);
    assert_eq!((refusal(&answer).0, refusal(&answer).1.as_str()), (429, "rate_limit_error"));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(ask(&gateway, &one).status, 200, "a passing failure is tried again");
    assert_eq!(refusal(&ask(&gateway, &one)).0, 400);
    let (status, kind, text) = refusal(&ask(&gateway, &one));
    assert_eq!((status, kind.as_str()), (502, "api_error"));
    assert!(text.contains("2 vectors for 1 texts"), "{text}");
    assert_eq!(refusal(&ask(&gateway, &one)).0, 502);
}

#[test]
fn a_client_that_leaves_ends_the_call_of_its_provider() {
    let upstream = Upstream::play(vec![Act::Hang, Act::Refuse(200, "", r#"{"data":[{"embedding":[1]}]}"#)]);
    let gateway = start(&upstream);
    let mut wire = Wire::open(gateway.port);
    wire.send(request(r#"{"model":"openclaw","input":"a"}"#, ""));
    upstream.asked();
    drop(wire);
    upstream.hung_up();
    assert_eq!(ask(&gateway, &json!({"model": "openclaw", "input": "a"})).status, 200);
}

#[test]
fn a_gateway_that_stops_does_not_wait_for_a_provider() {
    let upstream = Upstream::play(vec![Act::Hang]);
    let gateway = start(&upstream);
    let mut wire = Wire::open(gateway.port);
    wire.send(request(r#"{"model":"openclaw","input":"a"}"#, ""));
    upstream.asked();
    assert!(gateway.stop().0.success());
    upstream.hung_up();
}

#[test]
fn more_requests_than_places_wait_for_their_turn() {
    let data = r#"{"data":[{"embedding":[1]}]}"#;
    let hanging = (0..limits::EMBED_AT_ONCE).map(|_| Act::Hang);
    let upstream = Upstream::play(hanging.chain([Act::Refuse(200, "", data)]).collect());
    let gateway = start(&upstream);
    let body = r#"{"model":"openclaw","input":"a"}"#;
    let mut held: Vec<Wire> = (0..limits::EMBED_AT_ONCE).map(|_| Wire::open(gateway.port)).collect();
    for wire in &mut held {
        wire.send(request(body, ""));
        upstream.asked();
    }
    let mut last = Wire::open(gateway.port);
    last.send(request(body, ""));
    assert!(upstream.is_left_alone());
    held.pop();
    upstream.hung_up();
    assert_eq!(last.answer().unwrap().status, 200);
}
