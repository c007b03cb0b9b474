//! Replays recorded exchanges of `fixtures/http` against a running gateway and says where its answers differ: status,
//! the headers that matter, the body. Format and placeholders: `fixtures/http/README.md`. Knows no interface.
//!
//! ```ignore
//! Replay::of(&gateway).value("<HOOK_TOKEN>", "t").shape(&["models-list"]).play("models");
//! ```

use serde_json::Value;

use super::TOKEN;
use super::gateway::Gateway;
use super::http::{Answer, Wire};
use crate::tidy::root;

/// Headers that clients act on; the others are the server's own affair.
const HEADERS: &[&str] = &[
    "content-type",
    "allow",
    "retry-after",
    "cache-control",
    "x-content-type-options",
    "referrer-policy",
    "permissions-policy",
    "strict-transport-security",
    "access-control-allow-origin",
    "www-authenticate",
];

/// Stand for something that is new in every exchange.
const PLACEHOLDERS: &[&str] = &[
    "<uuid>",
    "<unix-seconds>",
    "<unix-ms>",
    "<iso-time>",
    "<ms>",
    "<http-date>",
    "<port>",
    "<home>",
    "<path>",
    "<build-id>",
];

/// One recorded exchange.
pub struct Exchange {
    /// Its name, such as `chat-stream`.
    pub name: String,
    request: String,
    status: u16,
    headers: Vec<(String, String)>,
    /// The recorded body.
    pub body: String,
}

impl Exchange {
    /// The exchange of this name, of the newer version.
    pub fn read(name: &str) -> Exchange {
        let path = root().join(format!("fixtures/http/{name}.v2026.9.6.txt"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, rest) = text.split_once(">>> request\n").unwrap();
        let (request, response) = rest.split_once("\n\n<<< response\n").unwrap();
        // An interim answer comes before the real one.
        let response = response.strip_prefix("HTTP/1.1 100 Continue\n\n").unwrap_or(response);
        let (head, body) = response.split_once("\n\n").unwrap_or((response.trim_end(), ""));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(':').map(|(name, value)| (name.into(), value.trim().into()));
        let headers = lines.filter_map(header).collect();
        Exchange { name: name.into(), request: request.into(), status, headers, body: body.trim_end().into() }
    }

    /// All exchanges of a group: the word before the first dash.
    pub fn group(group: &str) -> Vec<Exchange> {
        let files = std::fs::read_dir(root().join("fixtures/http")).unwrap();
        let name = |file: std::fs::DirEntry| {
            let file = file.file_name().into_string().unwrap();
            file.strip_suffix(".v2026.9.6.txt").map(String::from)
        };
        let mut names: Vec<String> = files.filter_map(|file| name(file.unwrap())).collect();
        names.retain(|name| name.split('-').next() == Some(group));
        names.sort();
        assert!(!names.is_empty(), "no exchange of {group}");
        names.iter().map(|name| Exchange::read(name)).collect()
    }

    /// The request as bytes: placeholders filled in, a body that was cut made as long as it was, the length right.
    pub fn bytes(&self, values: &[(String, String)]) -> Vec<u8> {
        let mut text = self.request.clone();
        for (placeholder, value) in values {
            text = text.replace(placeholder, value);
        }
        let (head, body) = text.split_once("\n\n").map_or((text.as_str(), String::new()), |(h, b)| (h, whole(b)));
        let mut out = String::new();
        for line in head.lines() {
            match line.split_once(':') {
                Some((name, _)) if name.eq_ignore_ascii_case("content-length") => {
                    out += &format!("{name}: {}\r\n", body.len());
                }
                _ => out += &format!("{line}\r\n"),
            }
        }
        format!("{out}\r\n{body}").into_bytes()
    }

    /// What the answer has otherwise than the recorded one.
    pub fn differences(&self, answer: &Answer, how: How, ignored: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        if answer.status != self.status {
            found.push(format!("status {} instead of {}", answer.status, self.status));
        }
        for name in HEADERS {
            let recorded = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            let recorded = recorded.map(|(_, value)| value.as_str());
            if answer.header(name) != recorded && !ignored.contains(name) {
                found.push(format!("header {name}: {:?} instead of {recorded:?}", answer.header(name)));
            }
        }
        let before = found.len();
        self.compare_bodies(&answer.body, how, ignored, &mut found);
        if found.len() > before {
            let shown: String = answer.body.chars().take(2000).collect();
            found.push(format!("the body was {shown}"));
        }
        found
    }

    fn compare_bodies(&self, body: &str, how: How, ignored: &[&str], found: &mut Vec<String>) {
        let stream = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("content-type") && value.starts_with("text/event-stream")
        };
        if self.headers.iter().any(stream) {
            let (ours, theirs) = (events(body), events(&self.body));
            let names = |all: &[(String, Value)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            if names(&ours) != names(&theirs) {
                return found.push(format!("events {:?} instead of {:?}", names(&ours), names(&theirs)));
            }
            for (at, ((_, ours), (_, theirs))) in ours.iter().zip(&theirs).enumerate() {
                compare(theirs, ours, &format!("#{at}"), how, ignored, found);
            }
            return;
        }
        match serde_json::from_str::<Value>(&self.body) {
            Ok(theirs) => match serde_json::from_str::<Value>(body) {
                Ok(ours) => compare(&theirs, &ours, "", how, ignored, found),
                Err(error) => found.push(format!("the body is no JSON: {error}")),
            },
            // A long body was cut when it was recorded: its beginning tells its kind.
            Err(_) if self.body.ends_with("bytes in all>") => {
                if body.chars().next() != self.body.chars().next() {
                    found.push("another kind of body".to_string());
                }
            }
            Err(_) if fits(&self.body, body) => {}
            Err(_) => found.push(format!("body instead of {:?}", self.body)),
        }
    }
}

/// How bodies are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Values are equal but for placeholders.
    Same,
    /// Members and types are equal; of a list the first item counts.
    Shape,
}

/// A cut body with its last characters repeated up to its recorded length.
fn whole(body: &str) -> String {
    let Some((kept, note)) = body.split_once('…') else { return body.to_string() };
    let length: usize = note.trim_start_matches('<').split(' ').next().unwrap().parse().unwrap();
    let last = kept.chars().next_back().unwrap().to_string();
    // Enough closing marks for the bodies there are; a server that judges by size never parses them.
    format!("{kept}{}\"}}", last.repeat(length.saturating_sub(kept.len() + 2)))
}

/// Events of a stream with their names; data that is no JSON is a text.
fn events(body: &str) -> Vec<(String, Value)> {
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_string()))
    };
    let blocks = body.split("\n\n").filter(|block| !block.trim().is_empty());
    let event = |block: &str| {
        let data = field(block, "data").unwrap_or_default();
        (field(block, "event").unwrap_or_default(), serde_json::from_str(&data).unwrap_or(Value::String(data)))
    };
    blocks.map(event).collect()
}

fn compare(theirs: &Value, ours: &Value, at: &str, how: How, ignored: &[&str], found: &mut Vec<String>) {
    if ignored.contains(&at) {
        return;
    }
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, value) in theirs {
                let below = format!("{at}/{name}");
                match ours.get(name) {
                    Some(own) => compare(value, own, &below, how, ignored, found),
                    None if ignored.contains(&below.as_str()) => {}
                    None => found.push(format!("{below} is missing")),
                }
            }
            let more = ours.keys().filter(|name| !theirs.contains_key(*name)).map(|name| format!("{at}/{name}"));
            found.extend(more.filter(|name| !ignored.contains(&name.as_str())).map(|name| format!("{name} is new")));
        }
        (Value::Array(theirs), Value::Array(ours)) if how == How::Shape => {
            if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                compare(theirs, ours, &format!("{at}/0"), how, ignored, found);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if theirs.len() != ours.len() {
                found.push(format!("{at} has {} items instead of {}", ours.len(), theirs.len()));
            }
            for (index, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                compare(theirs, ours, &format!("{at}/{index}"), how, ignored, found);
            }
        }
        (Value::String(theirs), ours) if PLACEHOLDERS.contains(&theirs.as_str()) => {
            if !ours.is_string() && !ours.is_number() {
                found.push(format!("{at}: {ours} instead of {theirs}"));
            }
        }
        (Value::String(theirs), Value::String(ours)) if how == How::Shape || fits(theirs, ours) => {}
        (theirs, ours) if how == How::Shape && kind(theirs) == kind(ours) => {}
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => found.push(format!("{at}: {ours} instead of {theirs}")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "switch",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Whether a text is the recorded one, with anything in the places of its placeholders.
fn fits(pattern: &str, text: &str) -> bool {
    let first = PLACEHOLDERS.iter().filter_map(|mark| pattern.find(mark).map(|at| (at, mark.len()))).min();
    let Some((at, length)) = first else { return pattern == text };
    let Some(rest) = text.strip_prefix(&pattern[..at]) else { return false };
    let pattern = &pattern[at + length..];
    rest.char_indices().skip(1).map(|(at, _)| at).chain([rest.len()]).any(|at| fits(pattern, &rest[at..]))
}

/// Plays exchanges against one gateway.
pub struct Replay {
    port: u16,
    values: Vec<(String, String)>,
    shape: Vec<String>,
    ignored: Vec<(String, &'static [&'static str])>,
    left_out: Vec<String>,
}

impl Replay {
    /// With the gateway's port and token.
    pub fn of(gateway: &Gateway) -> Replay {
        let values =
            vec![("<port>".to_string(), gateway.port.to_string()), ("<GATEWAY_TOKEN>".to_string(), TOKEN.to_string())];
        Replay { port: gateway.port, values, shape: Vec::new(), ignored: Vec::new(), left_out: Vec::new() }
    }

    /// What stands for a placeholder in requests.
    pub fn value(mut self, placeholder: &str, value: &str) -> Replay {
        self.values.push((placeholder.into(), value.into()));
        self
    }

    /// Of these, members and types of the body are compared only.
    pub fn shape(mut self, names: &[&str]) -> Replay {
        self.shape.extend(names.iter().map(|name| (*name).to_string()));
        self
    }

    /// Of this one, these members (`/error/message`; `#2/x` in the third event of a stream) and headers do not count.
    pub fn ignore(mut self, name: &str, what: &'static [&'static str]) -> Replay {
        self.ignored.push((name.into(), what));
        self
    }

    /// This one is not played; the reason is for the reader.
    pub fn leave_out(mut self, name: &str, reason: &str) -> Replay {
        assert!(!reason.is_empty());
        self.left_out.push(name.into());
        self
    }

    /// Plays one, on a connection of its own, and gives the answer.
    pub fn ask(&self, exchange: &Exchange) -> Answer {
        let mut wire = Wire::open(self.port);
        if exchange.request.starts_with("HEAD ") {
            wire.send(exchange.bytes(&self.values));
            return wire.head();
        }
        let answer = wire.ask(exchange.bytes(&self.values));
        if answer.status == 100 { wire.answer().expect("nothing came after 100") } else { answer }
    }

    /// Plays one, and says what is different.
    pub fn check(&self, exchange: &Exchange) -> Vec<String> {
        let how = if self.shape.contains(&exchange.name) { How::Shape } else { How::Same };
        let ignored: Vec<&str> =
            self.ignored.iter().filter(|(of, _)| *of == exchange.name).flat_map(|(_, what)| what.to_vec()).collect();
        let found = exchange.differences(&self.ask(exchange), how, &ignored);
        found.into_iter().map(|difference| format!("{}: {difference}", exchange.name)).collect()
    }

    /// Plays a whole group in the order of the names, and fails with all differences at once.
    pub fn play(&self, group: &str) {
        let exchanges = Exchange::group(group);
        let known = |name: &String| exchanges.iter().any(|exchange| exchange.name == *name);
        let named = self.shape.iter().chain(&self.left_out).chain(self.ignored.iter().map(|(name, _)| name));
        let unknown: Vec<&String> = named.filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "no such exchange: {unknown:?}");
        let played = exchanges.iter().filter(|exchange| !self.left_out.contains(&exchange.name));
        let found: Vec<String> = played.flat_map(|exchange| self.check(exchange)).collect();
        assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    }
}

#[test]
fn recorded_texts_fit_what_stands_in_the_places_of_their_placeholders() {
    assert!(fits("a <uuid> b", "a 1-2 b") && !fits("a <uuid> b", "a  c") && fits("<ms>", "5"));
    assert!(!fits("x", "y") && fits("", "") && fits("<ms>/<ms>", "1/2") && !fits("<ms>/<ms>", "12"));
}

#[test]
fn differences_are_found() {
    let theirs = serde_json::json!({"id": "<uuid>", "at": "<unix-ms>", "n": 1, "list": [{"a": 1}], "gone": true});
    let ours = serde_json::json!({"id": "x", "at": 5, "n": 2, "list": [{"a": "1"}, {}], "more": null});
    let count = |how, ignored: &[&str]| {
        let mut found = Vec::new();
        compare(&theirs, &ours, "", how, ignored, &mut found);
        found
    };
    assert_eq!(count(How::Same, &[]).len(), 5, "{:?}", count(How::Same, &[]));
    let shape = count(How::Shape, &["/more"]);
    assert_eq!(shape, ["/gone is missing", "/list/0/a: \"1\" instead of 1"]);
}
