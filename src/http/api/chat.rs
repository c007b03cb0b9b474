//! `/v1/chat/completions`: what a request says (http.md 6.2) and what it is answered (6.4, 6.5). Pure; the order in which
//! the pieces of an answer go out is `gateway::conn::program::chat`'s.

use serde_json::{Map, Number, Value};

use super::fields::{body, count, flag, number, text, typed};
use super::messages::{self, Conversation};
use crate::limits;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `model` as written, or what stands for it.
    pub model: String,
    /// `user`.
    pub user: String,
    /// Whether the answer comes piece by piece.
    pub stream: bool,
    /// Whether its end tells the tokens.
    pub include_usage: bool,
    /// The program's tools.
    pub tools: Vec<Function>,
    /// Whether one must be called.
    pub choice: Choice,
    /// How the model is to answer.
    pub knobs: Knobs,
    /// What is said.
    pub said: Conversation,
}

/// A tool of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Schema of its arguments.
    pub parameters: Value,
}

/// Whether a tool must be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The model decides.
    #[default]
    Auto,
    /// One of them.
    Required,
    /// This one.
    Named(String),
}

/// How the model is to answer; what is not said is left to its server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Knobs {
    /// `max_completion_tokens`, else `max_tokens`.
    pub max_tokens: Option<u64>,
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `top_p`.
    pub top_p: Option<f64>,
    /// `frequency_penalty`.
    pub frequency_penalty: Option<f64>,
    /// `presence_penalty`.
    pub presence_penalty: Option<f64>,
    /// `seed`.
    pub seed: Option<i64>,
    /// `stop`.
    pub stop: Vec<String>,
    /// `response_format`.
    pub response_format: Option<Value>,
}

/// Reads a request, or says what is wrong with it; the first thing counts.
pub fn read(bytes: &[u8]) -> Result<Request, String> {
    let from = body(bytes)?;
    let model = text(&from, "model")?.unwrap_or("openclaw").to_string();
    let user = text(&from, "user")?.unwrap_or_default().to_string();
    let stream = flag(&from, "stream")?;
    let include_usage = match typed(&from, "stream_options", "object", Value::as_object)? {
        None => false,
        Some(options) => flag(options, "include_usage").map_err(|text| format!("stream_options.{text}"))?,
    };
    let list = typed(&from, "messages", "array", Value::as_array)?;
    let knobs = knobs(&from)?;
    let (tools, choice) = tools(&from).map_err(|text| format!("Invalid tools/tool_choice: {text}"))?;
    let said =
        messages::read(list.map(Vec::as_slice).unwrap_or_default()).ok_or("Missing user message in `messages`.")?;
    Ok(Request { model, user, stream, include_usage, tools, choice, knobs, said })
}

fn knobs(from: &Map<String, Value>) -> Result<Knobs, String> {
    let newer = count(from, "max_completion_tokens")?;
    let older = count(from, "max_tokens")?;
    let seed = typed(from, "seed", "number", Value::as_number)?.map(Number::as_i64);
    Ok(Knobs {
        max_tokens: newer.or(older),
        temperature: number(from, "temperature", 0, 2)?,
        top_p: number(from, "top_p", 0, 1)?,
        frequency_penalty: number(from, "frequency_penalty", -2, 2)?,
        presence_penalty: number(from, "presence_penalty", -2, 2)?,
        seed: seed.map(|seed| seed.ok_or("`seed` must be an integer.")).transpose()?,
        stop: stop(from.get("stop")).ok_or_else(|| {
            format!("Invalid stop: must be a text or up to {} texts, none of them empty.", limits::STOP_TEXTS)
        })?,
        response_format: response_format(from.get("response_format"))?,
    })
}

fn stop(value: Option<&Value>) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(String::from);
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(list)) if list.len() <= limits::STOP_TEXTS => list.iter().map(text).collect(),
        Some(value) => Some(vec![text(value)?]),
    }
}

fn response_format(value: Option<&Value>) -> Result<Option<Value>, String> {
    let refuse = |what: &str| Err(format!("Invalid response_format: {what}"));
    let format = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(format) => format,
    };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(format.clone())),
        Some("json_schema") if !format.get("json_schema").is_some_and(Value::is_object) => {
            refuse("json_schema must be an object")
        }
        Some("json_schema") => Ok(Some(format.clone())),
        _ => refuse("type must be text, json_object or json_schema"),
    }
}

fn tools(from: &Map<String, Value>) -> Result<(Vec<Function>, Choice), String> {
    let list = match from.get("tools") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(list)) => list.as_slice(),
        Some(_) => return Err("tools must be an array".to_string()),
    };
    if list.len() > limits::CLIENT_TOOLS {
        return Err(format!("at most {} tools are taken", limits::CLIENT_TOOLS));
    }
    let tools = list.iter().map(function).collect::<Result<Vec<Function>, &str>>()?;
    choice(from.get("tool_choice"), tools)
}

fn function(tool: &Value) -> Result<Function, &'static str> {
    let tool = tool.as_object().ok_or("each tool must be an object")?;
    if tool.get("type").and_then(Value::as_str) != Some("function") {
        return Err("only function tools are supported");
    }
    let function = tool.get("function").and_then(Value::as_object).ok_or("tool.function is required")?;
    let text = |name: &str| function.get(name).and_then(Value::as_str).map(str::trim).unwrap_or_default();
    if text("name").is_empty() {
        return Err("tool.function.name is required");
    }
    if text("name").chars().count() > limits::CLIENT_TOOL_NAME_CHARS {
        return Err("tool.function.name is too long");
    }
    let parameters = function.get("parameters").filter(|schema| schema.is_object()).cloned();
    Ok(Function {
        name: text("name").to_string(),
        description: text("description").to_string(),
        // Servers refuse a tool without a schema.
        parameters: parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}})),
    })
}

/// What the choice leaves of the tools.
pub fn choice(wanted: Option<&Value>, tools: Vec<Function>) -> Result<(Vec<Function>, Choice), String> {
    let named = |value: &Value| value.pointer("/function/name").or(value.get("name"))?.as_str().map(String::from);
    let none = || Err("tool_choice=required but no tools were provided".to_string());
    match wanted {
        None | Some(Value::Null) => Ok((tools, Choice::Auto)),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Ok((tools, Choice::Auto)),
            "none" => Ok((Vec::new(), Choice::Auto)),
            "required" if tools.is_empty() => none(),
            "required" => Ok((tools, Choice::Required)),
            _ => Err("tool_choice must be auto, none, required or name a function".to_string()),
        },
        Some(value) => match named(value).filter(|_| value.get("type").and_then(Value::as_str) == Some("function")) {
            Some(name) if tools.iter().any(|tool| tool.name == name) => Ok((tools, Choice::Named(name))),
            Some(name) => Err(format!("tool_choice requested unknown tool: {name}")),
            None => Err("tool_choice must be auto, none, required or name a function".to_string()),
        },
    }
}

/// A call of a program's tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Names the call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, as JSON text.
    pub arguments: String,
}

/// Tokens of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the prompt, cached ones included.
    pub prompt: u64,
    /// Of those, from a cache.
    pub cached: u64,
    /// Of the answer.
    pub completion: u64,
}

impl Tokens {
    fn value(self) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt, "completion_tokens": self.completion,
            "total_tokens": self.prompt.saturating_add(self.completion),
        });
        if let Some(members) = usage.as_object_mut().filter(|_| self.cached > 0) {
            members.insert("prompt_tokens_details".into(), json!({"cached_tokens": self.cached}));
        }
        usage
    }
}

/// What all pieces of one answer have in common.
#[derive(Clone, Debug)]
pub struct Answer {
    id: String,
    created: u64,
    model: String,
    /// The beginning of every chunk: a stream repeats it for every few letters.
    start: String,
}

impl Answer {
    /// The answer of this run, begun at this second.
    pub fn new(id: &str, created: u64, model: &str) -> Answer {
        let (id_text, model_text) = (Value::from(id), Value::from(model));
        let start = format!(
            "{{\"id\":{id_text},\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":{model_text},\"choices\":["
        );
        Answer { id: id.to_string(), created, model: model.to_string(), start }
    }

    /// The whole answer.
    pub fn whole(&self, content: &str, calls: &[Call], finish: &str, tokens: Tokens) -> String {
        let mut message = json!({"role": "assistant", "content": content});
        if let Some(members) = message.as_object_mut().filter(|_| !calls.is_empty()) {
            let calls = calls.iter().map(|call| {
                let function = json!({"name": call.name, "arguments": call.arguments});
                json!({"id": call.id, "type": "function", "function": function})
            });
            members.insert("tool_calls".into(), calls.collect());
        }
        let choice = json!({"index": 0, "message": message, "finish_reason": finish});
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [choice], "usage": tokens.value(),
        })
        .to_string()
    }

    fn chunk(&self, delta: &str, finish: &str) -> String {
        format!("{}{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}", self.start)
    }

    /// The first chunk.
    pub fn role(&self) -> String {
        self.chunk("{\"role\":\"assistant\"}", "null")
    }

    /// More text.
    pub fn text(&self, text: &str) -> String {
        self.chunk(&format!("{{\"content\":{}}}", Value::from(text)), "null")
    }

    /// A call: its beginning, then its arguments in pieces.
    pub fn call(&self, index: usize, call: &Call) -> Vec<String> {
        let chunk = |call: Value| self.chunk(&json!({"tool_calls": [call]}).to_string(), "null");
        let function = json!({"name": call.name, "arguments": ""});
        let begin = chunk(json!({"index": index, "id": call.id, "type": "function", "function": function}));
        let letters: Vec<char> = call.arguments.chars().collect();
        let pieces = letters.chunks(limits::ARGUMENT_CHUNK_CHARS).map(|piece| {
            let piece: String = piece.iter().collect();
            chunk(json!({"index": index, "function": {"arguments": piece}}))
        });
        std::iter::once(begin).chain(pieces).collect()
    }

    /// The end.
    pub fn finish(&self, reason: &str) -> String {
        self.chunk("{}", &Value::from(reason).to_string())
    }

    /// The tokens, after the end.
    pub fn usage(&self, tokens: Tokens) -> String {
        format!("{}],\"usage\":{}}}", self.start, tokens.value())
    }
}

/// The last line of every stream.
pub const DONE: &str = "[DONE]";
/// What stands for an answer without a word.
pub const SILENCE: &str = "No response from OpenClaw.";
/// What refuses pictures.
pub const BAD_PICTURE: &str = "Invalid image_url content in `messages`.";

/// The text that says that no tool was called although one had to be.
pub fn unmet(choice: &Choice) -> String {
    let word = if let Choice::Named(name) = choice { name } else { "required" };
    format!("tool_choice={word} was not satisfied by the agent response")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: Value) -> Result<Request, String> {
        let mut from = json!({"messages": [{"role": "user", "content": "hi"}]});
        from.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(from.to_string().as_bytes())
    }

    fn refusal(more: Value) -> String {
        parse(more).unwrap_err()
    }

    fn tool(name: &str) -> Value {
        json!({"type": "function", "function": {"name": name, "description": "d", "strict": true}})
    }

    #[test]
    fn a_request_says_what_it_wants_and_the_rest_is_ignored() {
        let request = parse(json!({
            "model": "openclaw/ops", "user": "u", "stream": true, "stream_options": {"include_usage": true}, "n": 3,
            "logprobs": true, "temperature": 0.5, "top_p": 1, "seed": -7, "stop": ["a", "b"], "max_tokens": 5,
            "max_completion_tokens": 9, "response_format": {"type": "json_object"}, "tools": [tool("f")],
        }));
        let request = request.unwrap();
        assert_eq!((request.model.as_str(), request.user.as_str()), ("openclaw/ops", "u"));
        assert!(request.stream && request.include_usage);
        let knobs = &request.knobs;
        assert_eq!(
            (knobs.max_tokens, knobs.temperature, knobs.top_p, knobs.seed),
            (Some(9), Some(0.5), Some(1.0), Some(-7))
        );
        assert_eq!((knobs.stop.len(), knobs.response_format.is_some()), (2, true));
        assert_eq!(request.tools[0].parameters, json!({"type": "object", "properties": {}}));
        let bare = parse(json!({"stream": null, "tools": null, "temperature": null, "stop": null})).unwrap();
        assert_eq!((bare.model.as_str(), bare.stream, bare.knobs), ("openclaw", false, Knobs::default()));
    }

    #[test]
    fn what_is_wrong_with_a_field_is_said() {
        for (more, text) in [
            (json!({"model": 1}), "model: Invalid input: expected string, received number"),
            (json!({"user": []}), "user: Invalid input: expected string, received array"),
            (json!({"stream": "yes"}), "stream: Invalid input: expected boolean, received string"),
            (json!({"stream_options": 1}), "stream_options: Invalid input: expected object, received number"),
            (
                json!({"stream_options": {"include_usage": 1}}),
                "stream_options.include_usage: Invalid input: expected boolean, received number",
            ),
            (json!({"messages": "x"}), "messages: Invalid input: expected array, received string"),
            (json!({"messages": []}), "Missing user message in `messages`."),
            (json!({"max_tokens": 0}), "max_tokens: Too small: expected number to be >0"),
            (
                json!({"max_completion_tokens": "1"}),
                "max_completion_tokens: Invalid input: expected number, received string",
            ),
            (json!({"temperature": 9}), "`temperature` must be between 0 and 2."),
            (json!({"top_p": -0.1}), "`top_p` must be between 0 and 1."),
            (json!({"frequency_penalty": 2.1}), "`frequency_penalty` must be between -2 and 2."),
            (json!({"presence_penalty": -3}), "`presence_penalty` must be between -2 and 2."),
            (json!({"seed": 1.5}), "`seed` must be an integer."),
        ] {
            assert_eq!(refusal(more.clone()), text, "{more}");
        }
        let five = vec!["a"; limits::STOP_TEXTS + 1];
        for stop in [json!(5), json!(""), json!(["a", ""]), json!(["a", 1]), json!(five), json!({})] {
            assert!(refusal(json!({"stop": stop})).starts_with("Invalid stop: "), "{stop}");
        }
        for format in [json!("text"), json!({}), json!({"type": "xml"}), json!({"type": "json_schema"})] {
            assert!(refusal(json!({"response_format": format})).starts_with("Invalid response_format: "), "{format}");
        }
    }

    #[test]
    fn tools_and_choices_are_checked() {
        let of = |tools: Value, choice: Value| {
            let text = refusal(json!({"tools": tools, "tool_choice": choice}));
            text.strip_prefix("Invalid tools/tool_choice: ").unwrap_or_else(|| panic!("{text}")).to_string()
        };
        let null = Value::Null;
        assert_eq!(of(json!({}), null.clone()), "tools must be an array");
        assert_eq!(of(json!(["f"]), null.clone()), "each tool must be an object");
        assert_eq!(of(json!([{"type": "web_search"}]), null.clone()), "only function tools are supported");
        assert_eq!(of(json!([{"type": "function"}]), null.clone()), "tool.function is required");
        assert_eq!(
            of(json!([{"type": "function", "function": {"name": " "}}]), null.clone()),
            "tool.function.name is required"
        );
        let long = tool(&"x".repeat(limits::CLIENT_TOOL_NAME_CHARS + 1));
        assert_eq!(of(json!([long]), null.clone()), "tool.function.name is too long");
        let many = vec![tool("f"); limits::CLIENT_TOOLS + 1];
        assert!(of(json!(many), null.clone()).contains("at most"));
        assert_eq!(of(json!([]), json!("required")), "tool_choice=required but no tools were provided");
        let zzz = json!({"type": "function", "function": {"name": "zzz"}});
        assert_eq!(of(json!([tool("f")]), zzz), "tool_choice requested unknown tool: zzz");
        for odd in [json!("any"), json!(1), json!({"type": "function"}), json!({"function": {"name": "f"}})] {
            assert!(of(json!([tool("f")]), odd).starts_with("tool_choice must be"));
        }
        let chosen = |choice: Value| {
            let request = parse(json!({"tools": [tool("f"), tool("g")], "tool_choice": choice})).unwrap();
            (request.tools.len(), request.choice)
        };
        assert_eq!((chosen(json!("auto")), chosen(json!("none"))), ((2, Choice::Auto), (0, Choice::Auto)));
        assert_eq!(chosen(json!("required")), (2, Choice::Required));
        let pinned = json!({"type": "function", "function": {"name": "g"}});
        assert_eq!(chosen(pinned), (2, Choice::Named("g".into())));
    }

    fn answer() -> Answer {
        Answer::new("chatcmpl_1", 7, "open\"claw")
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_whole_answer_is_as_programs_expect_it() {
        let tokens = Tokens { prompt: 11, cached: 4, completion: 5 };
        let plain = value(&answer().whole("hello", &[], "stop", tokens));
        assert_eq!(
            plain,
            json!({"id": "chatcmpl_1", "object": "chat.completion", "created": 7, "model": "open\"claw",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16,
                    "prompt_tokens_details": {"cached_tokens": 4}}})
        );
        let call = Call { id: "c".into(), name: "f".into(), arguments: "{}".into() };
        let called = value(&answer().whole("", &[call], "tool_calls", Tokens::default()));
        assert_eq!(
            called["choices"][0]["message"],
            json!({"role": "assistant", "content": "",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})
        );
        assert!(called["usage"].get("prompt_tokens_details").is_none());
    }

    #[test]
    fn chunks_share_their_beginning_and_are_json() {
        let answer = answer();
        let choice = |text: String| {
            let chunk = value(&text);
            assert_eq!((&chunk["object"], &chunk["created"]), (&json!("chat.completion.chunk"), &json!(7)));
            chunk["choices"][0].clone()
        };
        assert_eq!(choice(answer.role()), json!({"index": 0, "delta": {"role": "assistant"}, "finish_reason": null}));
        let odd = "a\"\n\u{1}é";
        assert_eq!(choice(answer.text(odd))["delta"], json!({"content": odd}));
        assert_eq!(choice(answer.finish("length")), json!({"index": 0, "delta": {}, "finish_reason": "length"}));
        let usage = value(&answer.usage(Tokens { prompt: 1, cached: 0, completion: 2 }));
        assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(3)));
    }

    #[test]
    fn long_arguments_come_in_pieces() {
        let arguments = "é".repeat(limits::ARGUMENT_CHUNK_CHARS + 1);
        let call = Call { id: "c".into(), name: "f".into(), arguments: arguments.clone() };
        let chunks = answer().call(2, &call);
        let calls: Vec<Value> =
            chunks.iter().map(|chunk| value(chunk)["choices"][0]["delta"]["tool_calls"][0].clone()).collect();
        assert_eq!(
            calls[0],
            json!({"index": 2, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}})
        );
        let joined: String = calls[1..].iter().map(|call| call["function"]["arguments"].as_str().unwrap()).collect();
        assert_eq!((calls.len(), joined), (3, arguments));
    }
}
