//! The wire forms against a scripted server on loopback: what is sent, what is understood, what is refused.

use super::endpoint::{Compat, Endpoint, Facts};
use super::*;
use crate::agent::control::AbortReason;
use crate::agent::http::upstream::{Step, Upstream, WATCHDOG};
use crate::agent::http::{self, Client, Reach, Request, Settings};
use crate::agent::message::{AssistantMessage, ToolResultMessage, UserMessage, text_of};
use crate::config::Secret;
use crate::config::model::ModelCost;
use crate::limits;

/// The four forms by their names in transcripts.
const FORMS: [&str; 4] = ["openai-completions", "openai-responses", "anthropic-messages", "ollama"];

#[test]
fn the_names_of_the_forms_are_those_of_transcripts_and_configurations() {
    assert!(FORMS.iter().all(|name| served::form(name).is_some_and(|form| form.api == *name)));
    assert!(served::FORMS.len() == FORMS.len() && served::form("google-generative-ai").is_none());
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        reference: ModelRef::new("p", "m"),
        base_url: url.to_string(),
        key: Some(Secret::new("key-canary")),
        headers: Vec::new(),
        facts: Facts { images: true, ..Facts::default() },
        compat: Compat::CAUTIOUS,
        client: Client::new(url, &Settings::default(), Reach::Anywhere).unwrap(),
    }
}

fn opened(form: &str, endpoint: Endpoint) -> Box<dyn Model> {
    Box::new(served::Served { form: served::form(form).unwrap(), endpoint })
}

fn hello() -> ModelRequest {
    ModelRequest { messages: vec![Message::user("hi", 1)], ..ModelRequest::default() }
}

type Asked = (Result<ModelReply, ModelError>, Vec<ModelEvent>);

fn ask(form: &str, upstream: &Upstream, request: &ModelRequest) -> Asked {
    let mut events = Vec::new();
    let model = opened(form, endpoint(&upstream.url));
    let reply = model.call(request, &Control::within(WATCHDOG), &mut |event| events.push(event));
    (reply, events)
}

fn played(form: &str, script: Vec<Step>) -> Asked {
    ask(form, &Upstream::play(vec![script]), &hello())
}

fn body_of(form: &str, request: &ModelRequest, change: impl Fn(&mut Endpoint)) -> (Value, String) {
    let upstream = Upstream::play(vec![Upstream::answer("500 No", "", "")]);
    let mut endpoint = endpoint(&upstream.url);
    change(&mut endpoint);
    let _ = opened(form, endpoint).call(request, &Control::within(WATCHDOG), &mut |_| ());
    let asked = upstream.asked();
    (serde_json::from_str(&asked.body).unwrap(), asked.head)
}

/// A stream that says "Hello" in two pieces and calls `exec` with `{"command":"ls -la"}`, in pieces.
fn whole_stream(form: &str) -> String {
    let sse = |items: &[Value]| items.iter().map(|item| format!("data: {item}\n\n")).collect::<String>();
    let named = |items: &[Value]| {
        let line = |item: &Value| format!("event: {}\r\ndata: {item}\r\n\r\n", item["type"].as_str().unwrap());
        items.iter().map(line).collect::<String>()
    };
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    match form {
        "openai-completions" => {
            let call = |call: Value| delta(json!({"tool_calls": [call]}));
            let text = sse(&[
                delta(json!({"role": "assistant", "content": ""})),
                delta(json!({"reasoning_content": "hm"})),
                delta(json!({"content": "Hel"})),
                delta(json!({"content": "lo"})),
                call(json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "exec", "arguments": ""}})),
                call(json!({"index": 0, "function": {"arguments": "{\"comm"}})),
                call(json!({"index": 0, "function": {"arguments": "and\":\"ls -la\"}"}})),
                json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
                json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
                    "prompt_tokens_details": {"cached_tokens": 40}}}),
            ]);
            format!(": a comment\n\n{text}data: [DONE]\n\n")
        }
        "openai-responses" => sse(&[
            json!({"type": "response.created", "response": {}}),
            json!({"type": "response.reasoning_summary_text.delta", "delta": "hm"}),
            json!({"type": "response.output_item.done", "item": {"type": "reasoning", "id": "r1", "encrypted_content": "e"}}),
            json!({"type": "response.output_text.delta", "item_id": "m1", "delta": "Hel"}),
            json!({"type": "response.output_text.delta", "item_id": "m1", "delta": "lo"}),
            json!({"type": "response.output_item.done", "item": {"type": "message", "id": "m1", "content": [{"type": "output_text", "text": "Hello"}]}}),
            json!({"type": "response.output_item.added", "item": {"type": "function_call", "id": "f1", "call_id": "call_1", "name": "exec", "arguments": ""}}),
            json!({"type": "response.function_call_arguments.delta", "item_id": "f1", "delta": "{\"command\":"}),
            json!({"type": "response.function_call_arguments.delta", "item_id": "f1", "delta": "\"ls -la\"}"}),
            json!({"type": "response.output_item.done", "item": {"type": "function_call", "id": "f1", "call_id": "call_1", "name": "exec", "arguments": "{\"command\":\"ls -la\"}"}}),
            json!({"type": "response.completed", "response": {"status": "completed", "output": [{"type": "function_call", "id": "f9", "call_id": "call_1", "name": "exec", "arguments": "{}"}], "usage": {"input_tokens": 100, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 40}}}}),
        ]),
        "anthropic-messages" => named(&[
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 60, "cache_read_input_tokens": 40, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "ping"}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}}),
            json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "call_1", "name": "exec", "input": {}}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"command\":"}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "\"ls -la\"}"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}}),
            json!({"type": "message_stop"}),
        ]),
        _ => [
            json!({"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": false}),
            json!({"message": {"content": "Hel"}, "done": false}),
            json!({"message": {"content": "lo"}, "done": false}),
            json!({"message": {"content": "", "tool_calls": [{"function": {"name": "exec", "arguments": {"command": "ls -la"}}}]}, "done": false}),
            json!({"message": {"content": ""}, "done": true, "done_reason": "stop", "prompt_eval_count": 60, "eval_count": 20}),
        ]
        .iter()
        .map(|item| format!("{item}\n"))
        .collect(),
    }
}

fn check_whole(form: &str, asked: Asked) {
    let (reply, events) = asked;
    let reply = reply.unwrap_or_else(|error| panic!("{form}: {error}"));
    assert_eq!((text_of(&reply.content).as_str(), reply.stop, reply.api), ("Hello", StopReason::ToolUse, form));
    let call = reply.content.iter().find_map(|block| match block {
        Block::ToolCall { id, name, arguments, .. } => Some((id.clone(), name.clone(), arguments.clone())),
        _ => None,
    });
    let id = if form == "ollama" { "call_1_0" } else { "call_1" };
    assert_eq!(call.unwrap(), (id.to_string(), "exec".to_string(), json!({"command": "ls -la"})), "{form}");
    let cached = if form == "ollama" { 0 } else { 40 };
    assert_eq!((reply.usage.input, reply.usage.output, reply.usage.cache_read), (60, 20, cached), "{form}");
    assert_eq!(reply.usage.total_tokens, 80 + cached);
    assert!(matches!(reply.content.first(), Some(Block::Thinking { thinking, .. }) if thinking == "hm"), "{form}");
    let expected = [
        ModelEvent::Thinking("hm".into()),
        ModelEvent::Text("Hel".into()),
        ModelEvent::Text("lo".into()),
        ModelEvent::ToolCall { id: id.into(), name: "exec".into() },
    ];
    assert_eq!(events, expected, "{form}");
}

#[test]
fn every_form_understands_a_whole_stream_and_one_byte_at_a_time() {
    for form in FORMS {
        let body = whole_stream(form).into_bytes();
        check_whole(form, played(form, vec![Upstream::stream_head(), Step::Send(body.clone())]));
        check_whole(form, played(form, vec![Upstream::stream_head(), Step::Trickle(body)]));
    }
}

#[test]
fn every_form_understands_its_stream_cut_into_two_packets_at_many_places() {
    // every single cut is tested on `Frames`; a socket for each of the thousands would be too much here
    for form in FORMS {
        let body = whole_stream(form).into_bytes();
        for cut in (0..body.len()).step_by(97) {
            let (head, tail) = body.split_at(cut);
            let script = vec![Upstream::stream_head(), Step::Send(head.to_vec()), Step::Send(tail.to_vec())];
            check_whole(form, played(form, script));
        }
    }
}

#[test]
fn a_tool_call_split_at_every_byte_is_the_same_call() {
    let arguments = "{\"command\":\"echo \\\"ü€\\\" > x\"}";
    let mut stream = String::new();
    for (at, piece) in arguments.char_indices().map(|(at, c)| (at, c.to_string())) {
        let id = if at == 0 { "call_9" } else { "" };
        let name = if at == 0 { "exec" } else { "" };
        let call = json!({"index": 0, "id": id, "function": {"name": name, "arguments": piece}});
        stream += &format!("data: {}\n\n", json!({"choices": [{"delta": {"tool_calls": [call]}}]}));
    }
    stream += "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let (reply, _) = played("openai-completions", vec![Upstream::stream_head(), Step::Trickle(stream.into_bytes())]);
    let reply = reply.unwrap();
    let expected = Block::tool_call("call_9", "exec", json!({"command": "echo \"ü€\" > x"}));
    assert_eq!((reply.content, reply.stop), (vec![expected], StopReason::ToolUse));
}

#[test]
fn a_stream_that_breaks_off_is_an_error_and_never_an_answer() {
    for form in FORMS {
        let body = whole_stream(form);
        let cut = body.rfind("exec").unwrap();
        let (reply, events) = played(form, vec![Upstream::stream_head(), Step::Send(body.as_bytes()[..cut].to_vec())]);
        let error = reply.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Network, "{form}: {error:?}");
        assert!(error.streamed && !events.is_empty(), "{form}");
        let (reply, _) = played(form, vec![Upstream::stream_head()]);
        let error = reply.unwrap_err();
        assert_eq!((error.kind, error.streamed), (ErrorKind::Network, false), "{form}: nothing at all");
    }
}

#[test]
fn a_stream_that_breaks_off_while_the_model_thinks_may_be_asked_for_again() {
    for form in FORMS {
        let body = whole_stream(form);
        let thoughts = body[..body.find("Hel").unwrap()].rfind("\n").unwrap() + 1;
        let sent = body.as_bytes()[..thoughts].to_vec();
        let (reply, events) = played(form, vec![Upstream::stream_head(), Step::Send(sent)]);
        let error = reply.unwrap_err();
        assert_eq!(events, [ModelEvent::Thinking("hm".into())], "{form}");
        assert_eq!((error.kind, error.streamed), (ErrorKind::Network, false), "{form}");
    }
}

#[test]
fn malformed_streams_are_errors() {
    for form in FORMS {
        let head = if form == "ollama" { "" } else { "data: " };
        for bytes in
            [format!("{head}{{\"choices\": [\n\n").into_bytes(), [head.as_bytes(), b"{\"x\":\"\xff\"}\n\n"].concat()]
        {
            let (reply, _) = played(form, vec![Upstream::stream_head(), Step::Send(bytes)]);
            assert_eq!(reply.unwrap_err().kind, ErrorKind::Protocol, "{form}");
        }
        let (reply, _) =
            played(form, Upstream::answer("200 OK", "Content-Type: application/json\r\n", "{\"neither\":1}"));
        assert!(reply.is_err(), "{form}: an answer with nothing in it");
    }
}

#[test]
fn a_web_page_is_no_model_server_and_is_not_asked_again() {
    for form in FORMS {
        let page = Upstream::answer("200 OK", "Content-Type: text/html; charset=utf-8\r\n", "<!doctype html><p>Hello");
        let error = played(form, page).0.unwrap_err();
        assert!(!error.kind.is_transient() && error.message.contains("not a model server"), "{form}: {error:?}");
    }
}

#[test]
fn an_error_inside_a_success_is_an_error() {
    for (form, data) in [
        ("openai-completions", "data: {\"error\":{\"message\":\"boom\",\"code\":503}}\n\n"),
        (
            "openai-responses",
            "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_is_overloaded\",\"message\":\"boom\"}}}\n\n",
        ),
        (
            "anthropic-messages",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"boom\"}}\n\n",
        ),
        ("ollama", "{\"error\":\"boom: overloaded\"}\n"),
    ] {
        let (reply, _) = played(form, vec![Upstream::stream_head(), Step::Send(data.as_bytes().to_vec())]);
        let error = reply.unwrap_err();
        assert!(error.kind == ErrorKind::Overloaded && error.message.contains("boom"), "{form}: {error:?}");
    }
}

#[test]
fn answers_are_bounded_however_they_come() {
    let head = |status: &str, media: &str| {
        Step::Send(format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\nConnection: close\r\n\r\n").into_bytes())
    };
    let flood = |piece: &str| Step::Flood(piece.repeat(65_536 / piece.len()).into_bytes());
    for (media, piece, most) in [
        ("text/event-stream", ": still thinking about it\n\n", limits::MODEL_STREAM_BYTES),
        ("application/json", "        ", limits::MODEL_WHOLE_BYTES),
    ] {
        let (reply, _) = played("openai-completions", vec![head("200 OK", media), flood(piece)]);
        let error = reply.unwrap_err();
        assert!(error.kind == ErrorKind::Protocol && error.message.contains(&most.to_string()), "{media}: {error}");
    }
    let (reply, _) = played("openai-completions", vec![head("500 No", "text/plain"), flood("sorry ")]);
    let error = reply.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Server);
    assert!(error.message.contains("sorry sorry") && error.message.len() < 2 * limits::MODEL_ERROR_CHARS, "{error}");
    let upstream = Upstream::play(vec![vec![head("500 No", "text/plain"), flood("sorry ")]]);
    let client = Client::new(&upstream.url, &Settings::default(), Reach::Anywhere).unwrap();
    let request = Request { url: &upstream.url, headers: &[], body: None, deadlines: http::MODEL };
    let mut answer = client.send(&request, &Control::within(WATCHDOG)).unwrap();
    let some = answer.read_some(limits::MODEL_ERROR_BYTES, WATCHDOG);
    assert!(u64::try_from(some.len()).unwrap() <= limits::MODEL_ERROR_BYTES && !some.is_empty());
}

#[test]
fn an_error_whose_text_never_ends_is_told_soon() {
    for rest in [Step::Hang, Step::Trickle(vec![b'.'; 100_000])] {
        let head = Step::Send(b"HTTP/1.1 429 No\r\nContent-Length: 200000\r\n\r\nslow down".to_vec());
        let begun = std::time::Instant::now();
        let upstream = Upstream::play(vec![vec![head, rest]]);
        let client = Client::new(&upstream.url, &Settings::default(), Reach::Anywhere).unwrap();
        let request = Request { url: &upstream.url, headers: &[], body: None, deadlines: http::MODEL };
        let mut answer = client.send(&request, &Control::within(WATCHDOG)).unwrap();
        let some = answer.read_some(limits::MODEL_ERROR_BYTES, Duration::from_millis(50));
        assert!(some.starts_with(b"slow down") && begun.elapsed() < WATCHDOG / 2, "{:?}", begun.elapsed());
    }
}

#[test]
fn statuses_become_typed_errors_without_the_key() {
    for form in FORMS {
        for (status, headers, kind) in [
            ("401 No", "", ErrorKind::Auth),
            ("404 No", "", ErrorKind::NotFound),
            ("429 No", "Retry-After: 3\r\n", ErrorKind::RateLimit),
            ("500 No", "", ErrorKind::Server),
        ] {
            let body = r#"{"error":{"message":"no, key-canary"}}"#;
            let (reply, _) = played(form, Upstream::answer(status, headers, body));
            let error = reply.unwrap_err();
            assert_eq!((error.kind, error.streamed), (kind, false), "{form}");
            assert!(error.message.contains("no, ***") && !format!("{error:?}").contains("canary"), "{error:?}");
            let asks = (kind == ErrorKind::RateLimit).then(|| Duration::from_secs(3));
            assert_eq!(error.retry_after, asks);
        }
    }
}

#[test]
fn endless_text_is_cut_with_an_error() {
    let piece = json!({"choices": [{"delta": {"content": "x".repeat(64 * 1024)}}]});
    let script = vec![Upstream::stream_head(), Step::Flood(format!("data: {piece}\n\n").into_bytes())];
    let (reply, _) = played("openai-completions", script);
    let error = reply.unwrap_err();
    assert!(error.kind == ErrorKind::Protocol && error.message.contains("bytes of text"), "{error}");
    let (reply, _) = played("ollama", vec![Upstream::stream_head(), Step::Flood(vec![b'x'; 64 * 1024])]);
    assert_eq!(reply.unwrap_err().kind, ErrorKind::Protocol, "a line without end");
}

#[test]
fn answers_in_one_piece_are_understood() {
    let json = |body: Value| Upstream::answer("200 OK", "Content-Type: application/json\r\n", &body.to_string());
    let call = json!({"id": "c", "type": "function", "function": {"name": "exec", "arguments": "{\"a\":1}"}});
    for (form, body) in [
        (
            "openai-completions",
            json!({"choices": [{"message": {"content": "Hi", "tool_calls": [call]}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        ),
        (
            "openai-responses",
            json!({"status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}, {"type": "function_call", "id": "f", "call_id": "c", "name": "exec", "arguments": "{\"a\":1}"}], "usage": {"input_tokens": 3, "output_tokens": 2}}),
        ),
        (
            "anthropic-messages",
            json!({"content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "c", "name": "exec", "input": {"a": 1}}], "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 2}}),
        ),
        (
            "ollama",
            json!({"message": {"content": "Hi", "tool_calls": [{"function": {"name": "exec", "arguments": {"a": 1}}}]}, "done": true, "prompt_eval_count": 3, "eval_count": 2}),
        ),
    ] {
        let (reply, events) = played(form, json(body));
        let reply = reply.unwrap();
        assert_eq!((text_of(&reply.content).as_str(), reply.stop), ("Hi", StopReason::ToolUse), "{form}");
        assert_eq!((reply.usage.input, reply.usage.output, events.len()), (3, 2, 2), "{form}");
        assert!(
            matches!(&reply.content[1], Block::ToolCall { arguments, .. } if *arguments == json!({"a": 1})),
            "{form}"
        );
    }
}

#[test]
fn a_call_that_stands_in_the_closing_event_alone_is_made() {
    let call = json!({"type": "function_call", "id": "f", "call_id": "c", "name": "exec", "arguments": "{\"a\":1}"});
    let empty = json!({"type": "message", "content": [{"type": "output_text", "annotations": []}]});
    let closing = json!({"type": "response.completed", "response": {"status": "completed", "output": [empty, call]}});
    let (reply, _) = played("openai-responses", Upstream::stream(&[&closing.to_string()]));
    let reply = reply.unwrap();
    assert_eq!((reply.stop, reply.content.len()), (StopReason::ToolUse, 1));
    assert!(matches!(&reply.content[0], Block::ToolCall { arguments, .. } if *arguments == json!({"a": 1})));
}

#[test]
fn the_quirks_of_small_servers_are_understood() {
    let text = |data: &[&str]| {
        let (reply, _) = played("openai-completions", Upstream::stream(data));
        reply.map(|reply| text_of(&reply.content))
    };
    assert_eq!(text(&["{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", "[DONE]"]).unwrap(), "a", "no finish reason");
    assert_eq!(
        text(&["{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}"]).unwrap(),
        "a",
        "no [DONE]"
    );
    assert_eq!(
        text(&["{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}", "[DONE]"]).unwrap(),
        "a"
    );
    assert_eq!(
        text(&[
            "{\"choices\":[{\"delta\":{\"content\":[{\"text\":\"a\"}]},\"finish_reason\":\"stop\"}],\"error\":null}"
        ])
        .unwrap(),
        "a"
    );
    assert!(text(&["{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"content_filter\"}]}"]).is_err());
    let whole_call = "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"\",\"function\":{\"name\":\"x\",\"arguments\":{\"a\":1}}},{\"id\":\"\",\"function\":{\"name\":\"x\",\"arguments\":\"\"}}]},\"finish_reason\":\"stop\"}]}";
    let (reply, _) = played("openai-completions", Upstream::stream(&[whole_call, "[DONE]"]));
    let expected =
        vec![Block::tool_call("call_1_0", "x", json!({"a": 1})), Block::tool_call("call_1_1", "x", json!({}))];
    assert_eq!(reply.unwrap().content, expected, "no index, no id, arguments as an object");
    let (reply, _) = played(
        "openai-completions",
        Upstream::stream(&["{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}", "[DONE]"]),
    );
    let reply = reply.unwrap();
    assert_eq!((reply.stop, reply.usage), (StopReason::Length, Usage::default()), "no usage stays zero");
}

#[test]
fn responses_without_item_ids_keep_their_calls_apart_and_a_failed_one_is_no_answer() {
    let item = |id: &str, n: u8| json!({"type": "function_call", "call_id": id, "name": "x", "arguments": json!({"n": n}).to_string()});
    let expected = vec![Block::tool_call("a", "x", json!({"n": 1})), Block::tool_call("b", "x", json!({"n": 2}))];
    let whole = json!({"status": "completed", "output": [item("a", 1), item("b", 2)]});
    let script = Upstream::answer("200 OK", "Content-Type: application/json\r\n", &whole.to_string());
    assert_eq!(played("openai-responses", script).0.unwrap().content, expected);
    let done = |item: Value| json!({"type": "response.output_item.done", "item": item}).to_string();
    let end = json!({"type": "response.completed", "response": {"status": "completed"}}).to_string();
    let script = Upstream::stream(&[&done(item("a", 1)), &done(item("b", 2)), &end]);
    assert_eq!(played("openai-responses", script).0.unwrap().content, expected);
    let failed = json!({"type": "response.failed", "response": {"error": null}}).to_string();
    let error = played("openai-responses", Upstream::stream(&[&failed])).0.unwrap_err();
    assert!(error.kind == ErrorKind::Server && error.message.ends_with("it failed"), "{error}");
}

#[test]
fn an_answer_of_countless_values_is_refused_before_it_is_read() {
    let many = format!("{{\"choices\":[{}0]}}", "0,".repeat(crate::limits::JSON_VALUES));
    for script in [Upstream::answer("200 OK", "Content-Type: application/json\r\n", &many), Upstream::stream(&[&many])]
    {
        let error = played("openai-completions", script).0.unwrap_err();
        assert!(error.kind == ErrorKind::Protocol && error.message.contains("JSON values"), "{error}");
    }
}

#[test]
fn ids_of_the_other_form_are_cut_to_what_names_the_call() {
    let id = format!("call_1|fc_{}", "0".repeat(50));
    let content = vec![Block::tool_call(&id, "exec", json!({}))];
    let mut request = hello();
    request.messages.push(Message::Assistant(AssistantMessage { content, ..AssistantMessage::default() }));
    let result = ToolResultMessage { tool_call_id: id, tool_name: "exec".into(), ..ToolResultMessage::default() };
    request.messages.push(Message::ToolResult(result));
    let (body, _) = body_of("openai-completions", &request, |_| ());
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages.last().unwrap()["tool_call_id"], "call_1");
    assert_eq!(messages[messages.len() - 2]["tool_calls"][0]["id"], "call_1");
}

#[test]
fn prices_have_the_digits_of_the_original() {
    let upstream = Upstream::play(vec![vec![
        Upstream::stream_head(),
        Step::Send(whole_stream("openai-completions").into_bytes()),
    ]]);
    let mut endpoint = endpoint(&upstream.url);
    endpoint.facts.cost = ModelCost { input: 1.0, output: 2.0, cache_read: 0.0, cache_write: 0.0 };
    let reply =
        opened(openai_completions::API, endpoint).call(&hello(), &Control::within(WATCHDOG), &mut |_| ()).unwrap();
    let cost = reply.usage.cost;
    assert_eq!(
        (cost.input, cost.output, cost.total),
        (5.9999999999999995e-05, 3.9999999999999996e-05, 9.999999999999999e-05)
    );
}

#[test]
fn cancelling_ends_a_call_and_closes_the_connection() {
    for form in FORMS {
        let first = whole_stream(form);
        let first = &first[..first.find("lo\"").unwrap_or(first.len())];
        let end = first.rfind('\n').unwrap() + 1;
        let script = vec![Upstream::stream_head(), Step::Send(first.as_bytes()[..end].to_vec()), Step::Hang];
        let upstream = Upstream::play(vec![script]);
        let control = Control::within(WATCHDOG * 2);
        let stop = control.clone();
        let mut on = |event| {
            if matches!(event, ModelEvent::Text(_)) {
                stop.cancel(AbortReason::Rpc);
            }
        };
        let error = opened(form, endpoint(&upstream.url)).call(&hello(), &control, &mut on).unwrap_err();
        assert_eq!((error.kind, error.streamed), (ErrorKind::Aborted, true), "{form}");
        upstream.left.recv_timeout(WATCHDOG).expect("the connection is closed");
    }
}

/// A conversation with everything in it.
fn conversation() -> ModelRequest {
    let assistant = |content: Vec<Block>, api: &str| {
        let (api, provider) = (api.to_string(), "p".to_string());
        Message::Assistant(AssistantMessage { content, api, provider, ..AssistantMessage::default() })
    };
    let result = |id: &str, content: Vec<Block>| {
        let (tool_call_id, tool_name) = (id.to_string(), "exec".to_string());
        Message::ToolResult(ToolResultMessage { tool_call_id, tool_name, content, ..ToolResultMessage::default() })
    };
    let picture =
        UserMessage { content: vec![Block::text("see"), Block::image("AAAA", "image/png")], ..UserMessage::default() };
    ModelRequest {
        system: "be brief".into(),
        messages: vec![
            Message::user("one", 1),
            assistant(
                vec![
                    Block::thinking("hm", Some("sig".into())),
                    Block::text("ok"),
                    Block::tool_call("id:1", "exec", json!({"a": 1})),
                    Block::tool_call("id2", "exec", json!("{broken")),
                ],
                "anthropic-messages",
            ),
            result("id:1", vec![Block::text("done"), Block::image("BBBB", "image/png")]),
            result("id2", vec![]),
            Message::User(picture),
        ],
        tools: vec![ToolSpec {
            name: "exec".into(),
            description: "runs".into(),
            parameters: json!({"type": "object"}),
        }],
        tool_choice: ToolChoice::Required,
        needs_tools: false,
        sampling: Sampling { max_tokens: Some(77), temperature: Some(0.5), ..Sampling::default() },
        thinking: Thinking::Medium,
        session: CallSession::default(),
    }
}

#[test]
fn completions_requests_are_what_small_servers_take() {
    let (body, head) = body_of("openai-completions", &conversation(), |_| ());
    assert!(head.starts_with("POST /chat/completions HTTP/1.1"), "{head}");
    assert!(head.contains("authorization: Bearer key-canary") && head.contains("content-type: application/json"));
    let messages = &body["messages"];
    assert_eq!(messages[0], json!({"role": "system", "content": "be brief"}));
    assert_eq!(messages[1], json!({"role": "user", "content": "one"}), "a plain string");
    let call = &messages[2]["tool_calls"][0];
    assert_eq!(
        call,
        &json!({"id": "id:1", "type": "function", "function": {"name": "exec", "arguments": "{\"a\":1}"}})
    );
    assert_eq!(messages[2]["tool_calls"][1]["function"]["arguments"], json!("{\"malformed\":\"{broken\"}"));
    assert_eq!(messages[3], json!({"role": "tool", "tool_call_id": "id:1", "content": "done"}));
    assert_eq!(messages[4]["content"], json!("(no text)"));
    assert_eq!(messages[5]["content"][1]["image_url"]["url"], json!("data:image/png;base64,BBBB"), "a tool's picture");
    assert_eq!(messages[6]["content"][1]["image_url"]["url"], json!("data:image/png;base64,AAAA"));
    assert_eq!(
        (&body["max_tokens"], &body["temperature"], &body["tool_choice"]),
        (&json!(77), &json!(0.5), &json!("required"))
    );
    for absent in ["store", "reasoning_effort", "max_completion_tokens"] {
        assert!(body.get(absent).is_none(), "{absent}");
    }
    assert!(body["tools"][0]["function"].get("strict").is_none());
    let openai = |endpoint: &mut Endpoint| (endpoint.compat, endpoint.facts.reasoning) = (Compat::OPENAI, true);
    let (body, _) = body_of("openai-completions", &conversation(), openai);
    assert_eq!(
        (&body["store"], &body["max_completion_tokens"], &body["reasoning_effort"]),
        (&json!(false), &json!(77), &json!("medium"))
    );
    assert_eq!(
        (&body["messages"][0]["role"], &body["tools"][0]["function"]["strict"]),
        (&json!("developer"), &json!(false))
    );
}

#[test]
fn thoughts_never_take_more_than_the_answer_may_have() {
    for (asked, known, budget, answer) in [
        (None, None, Some(32_768), 33_792),
        (None, Some(64_000), Some(32_768), 64_000),
        (None, Some(8192), Some(7168), 8192),
        (Some(4000), Some(64_000), Some(2976), 4000),
        (None, Some(2048), Some(1024), 2048),
        (None, Some(2047), None, 2047),
    ] {
        let request = ModelRequest {
            thinking: Thinking::XHigh,
            sampling: Sampling { max_tokens: asked, ..Sampling::default() },
            ..hello()
        };
        let (body, _) = body_of("anthropic-messages", &request, |endpoint| {
            (endpoint.facts.reasoning, endpoint.facts.max_tokens) = (true, known);
        });
        let found = (body.pointer("/thinking/budget_tokens").and_then(Value::as_u64), body["max_tokens"].as_u64());
        assert_eq!(found, (budget, Some(answer)), "{asked:?} {known:?}");
    }
}

#[test]
fn anthropic_models_do_not_think_before_a_call_they_must_make() {
    for (tool_choice, thinks) in [
        (ToolChoice::Auto, true),
        (ToolChoice::None, true),
        (ToolChoice::Required, false),
        (ToolChoice::Named("exec".into()), false),
    ] {
        let request = ModelRequest { thinking: Thinking::High, tool_choice, ..hello() };
        let (body, _) = body_of("anthropic-messages", &request, |endpoint| endpoint.facts.reasoning = true);
        assert_eq!(body.get("thinking").is_some(), thinks, "{:?}", request.tool_choice);
    }
}

#[test]
fn anthropic_requests_join_results_and_mark_the_cache() {
    let (body, head) = body_of("anthropic-messages", &conversation(), |endpoint| endpoint.facts.reasoning = true);
    assert!(head.starts_with("POST /v1/messages HTTP/1.1") && head.contains("x-api-key: key-canary"), "{head}");
    assert!(head.contains("anthropic-version: 2023-06-01") && !head.contains("authorization"));
    assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral"}));
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3, "user, assistant, one user message with both results and the text");
    assert_eq!(messages[1]["content"][0], json!({"type": "thinking", "thinking": "hm", "signature": "sig"}));
    assert_eq!(messages[1]["content"][2], json!({"type": "tool_use", "id": "id_1", "name": "exec", "input": {"a": 1}}));
    assert_eq!(
        (&messages[2]["content"][0]["tool_use_id"], &messages[2]["content"][1]["type"]),
        (&json!("id_1"), &json!("tool_result"))
    );
    assert_eq!(messages[2]["content"][0]["content"][1]["source"]["data"], json!("BBBB"));
    assert_eq!(messages[2]["content"][3]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(
        (body.get("thinking"), &body["max_tokens"], &body["temperature"]),
        (None, &json!(77), &json!(0.5)),
        "no thoughts fit into so short an answer"
    );
    assert_eq!(
        (&body["tool_choice"], &body["tools"][0]["input_schema"]),
        (&json!({"type": "any"}), &json!({"type": "object"}))
    );
    let oauth = |endpoint: &mut Endpoint| endpoint.key = Some(Secret::new("sk-ant-oat01-x"));
    let (body, head) = body_of("anthropic-messages", &hello(), oauth);
    assert!(head.contains("authorization: Bearer sk-ant-oat01-x") && head.contains("anthropic-beta: oauth-"), "{head}");
    assert_eq!((&body["max_tokens"], body.get("system")), (&json!(limits::MODEL_ANSWER_TOKENS), None));
}

#[test]
fn ollama_requests_set_the_context_and_responses_requests_are_items() {
    let (body, head) = body_of("ollama", &conversation(), |endpoint| endpoint.facts.context_window = Some(4096));
    assert!(head.starts_with("POST /api/chat HTTP/1.1"), "{head}");
    assert_eq!(body["options"], json!({"num_ctx": 4096, "num_predict": 77, "temperature": 0.5}));
    assert_eq!(body["messages"][2]["tool_calls"][0], json!({"function": {"name": "exec", "arguments": {"a": 1}}}));
    assert_eq!(
        body["messages"][3],
        json!({"role": "tool", "tool_name": "exec", "content": "done", "images": ["BBBB"]})
    );
    assert_eq!((&body["messages"][5]["images"], body.get("think")), (&json!(["AAAA"]), None));
    let (body, head) = body_of("openai-responses", &conversation(), |_| ());
    assert!(head.starts_with("POST /responses HTTP/1.1"), "{head}");
    assert_eq!(
        (&body["instructions"], &body["max_output_tokens"], body.get("store")),
        (&json!("be brief"), &json!(77), None)
    );
    let kinds: Vec<&str> =
        body["input"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "message",
            "message",
            "function_call",
            "function_call",
            "function_call_output",
            "function_call_output",
            "message"
        ]
    );
    assert_eq!(body["input"][6]["content"][1]["image_url"], json!("data:image/png;base64,AAAA"));
}

#[test]
fn headers_of_the_configuration_win_and_local_servers_get_no_key() {
    let (_, head) = body_of("openai-completions", &hello(), |endpoint| {
        endpoint.headers =
            vec![("Authorization".into(), Secret::new("Custom x")), ("x-title".into(), Secret::new("t"))];
    });
    assert!(
        head.contains("authorization: Custom x") && head.contains("x-title: t") && !head.contains("canary"),
        "{head}"
    );
    let (_, head) = body_of("openai-completions", &hello(), |endpoint| endpoint.key = None);
    assert!(!head.contains("authorization"), "{head}");
}

#[test]
fn a_kept_connection_is_used_again() {
    let chunked = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer =
        chunked("data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    let server = crate::sys::thread::spawn("kept", 256 * 1024, move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        for _ in 0..2 {
            let mut seen = Vec::new();
            let mut buf = [0; 4096];
            while !seen.ends_with(b"}") {
                let count = stream.read(&mut buf).unwrap();
                assert!(count > 0);
                seen.extend_from_slice(&buf[..count]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let model = opened(openai_completions::API, endpoint(&url));
    for _ in 0..2 {
        model.call(&hello(), &Control::within(WATCHDOG), &mut |_| ()).unwrap();
    }
    server.unwrap().join().unwrap();
}

#[test]
fn every_form_says_as_much_about_sampling_as_it_can() {
    let schema = json!({"name": "n", "schema": {"type": "object"}, "strict": true});
    let sampling = Sampling {
        max_tokens: Some(7),
        temperature: Some(1.5),
        top_p: Some(0.9),
        frequency_penalty: Some(-1.0),
        presence_penalty: Some(1.0),
        seed: Some(42),
        stop: vec!["END".into()],
        response_format: Some(json!({"type": "json_schema", "json_schema": schema})),
    };
    let body = |form: &str| body_of(form, &ModelRequest { sampling: sampling.clone(), ..hello() }, |_| ()).0;
    let completions = body("openai-completions");
    let numbers = json!({"temperature": 1.5, "top_p": 0.9, "frequency_penalty": -1.0, "presence_penalty": 1.0,
        "seed": 42, "stop": ["END"], "max_tokens": 7});
    for (name, value) in numbers.as_object().unwrap() {
        assert_eq!(&completions[name], value, "{name}");
    }
    assert_eq!(completions["response_format"]["json_schema"], schema);
    let responses = body("openai-responses");
    assert_eq!((&responses["temperature"], &responses["top_p"]), (&json!(1.5), &json!(0.9)));
    let format = json!({"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true});
    assert_eq!(responses["text"]["format"], format);
    assert!(responses.get("seed").is_none() && responses.get("stop").is_none());
    let anthropic = body("anthropic-messages");
    assert_eq!((&anthropic["temperature"], &anthropic["stop_sequences"]), (&json!(1.0), &json!(["END"])));
    assert!(["top_p", "seed", "response_format"].iter().all(|name| anthropic.get(name).is_none()));
    let ollama = body("ollama");
    assert_eq!((&ollama["options"]["seed"], &ollama["options"]["num_predict"]), (&json!(42), &json!(7)));
    assert_eq!((&ollama["options"]["stop"], &ollama["format"]), (&json!(["END"]), &json!({"type": "object"})));
}

/// Asks a real server: `OPENCLAW_TEST_MODEL="form url model key"`, several separated by `;`.
#[test]
#[ignore = "needs a model server; see the comment"]
fn a_real_server_answers() {
    for spec in std::env::var("OPENCLAW_TEST_MODEL").unwrap().split(';') {
        let parts: Vec<&str> = spec.split_whitespace().collect();
        let mut endpoint = endpoint(parts[1]);
        endpoint.reference.model = parts[2].to_string();
        endpoint.key = parts.get(3).map(|key| Secret::new(*key));
        let mut request = hello();
        request.sampling.max_tokens = Some(64);
        let mut pieces = 0;
        let reply = opened(parts[0], endpoint).call(&request, &Control::within(WATCHDOG * 6), &mut |_| pieces += 1);
        println!("{spec}: {pieces} pieces, {reply:?}");
        assert!(!text_of(&reply.unwrap().content).is_empty() && pieces > 0);
    }
}

/// Looks for a local server at the usual places and asks what it finds.
#[test]
#[ignore = "needs a local model server"]
fn a_local_server_is_found_and_answers() {
    let control = Control::within(WATCHDOG * 6);
    let found = discover::look(&discover::Places::default(), &control).unwrap();
    println!("{}", found.why);
    let config = crate::config::Config::default();
    let (env, http) = (crate::config::Env::default(), Settings::default());
    let opener = open::Opener { config: &config, env: &env, http: &http, found: Some(&found) };
    let model = opener.open(&found.reference, &keys::Key { secret: None, source: keys::KeySource::None }).unwrap();
    let mut pieces = 0;
    let reply = model.call(&hello(), &control, &mut |_| pieces += 1).unwrap();
    println!("{pieces} pieces, window {}, {reply:?}", model.context_window());
    assert!(pieces > 0);
}
