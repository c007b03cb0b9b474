//! The frame codec: requests from text, responses and events to bytes.
//! Owns the envelope (`spec/protocol.md` section 6.1); knows no method, no connection and no counter.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::check;
use super::defs::{FRAME_TAG_CHARS, REQUEST_FRAME};
use super::errors::WireError;
use super::lenient::{self, with_integers};

/// A request frame, its params still unchecked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Chosen by the client; the answer repeats it.
    pub id: String,
    /// The method's name.
    pub method: String,
    /// The parameters; `None` when absent or `null`, which handlers take for `{}`.
    pub params: Option<Value>,
}

/// Why a text is not a request frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameFault {
    /// Not JSON, or nested deeper than [`crate::limits::JSON_DEPTH`].
    NotJson,
    /// JSON, but not a request.
    NotRequest {
        /// The frame's `id` when it is a string, even an empty one.
        id: Option<String>,
        /// The validator's wording, without a prefix.
        text: String,
    },
}

impl std::fmt::Display for FrameFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameFault::NotJson => f.write_str("frame is not json"),
            FrameFault::NotRequest { text, .. } => write!(f, "invalid request frame: {text}"),
        }
    }
}

impl std::error::Error for FrameFault {}

/// The envelope as nearly every frame has it: one pass, strings borrowed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    params: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    traceparent: Option<String>,
    #[serde(default, rename = "expectedProfileId", deserialize_with = "present")]
    expected_profile: Option<String>,
}

/// Unlike a plain `Option`, refuses `null`.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

/// Reads one request frame.
pub fn parse_request(text: &str) -> Result<Request, FrameFault> {
    match serde_json::from_str::<Envelope>(text) {
        Ok(envelope) if envelope.is_plain() => Ok(Request {
            id: envelope.id.into_owned(),
            method: envelope.method.into_owned(),
            params: envelope.params.map(with_integers),
        }),
        _ => parse_unusual(text),
    }
}

impl Envelope<'_> {
    /// Whether the frame certainly fits; a doubtful one takes the second pass.
    fn is_plain(&self) -> bool {
        let short = |text: &Option<String>, least: usize| {
            text.as_ref().is_none_or(|text| (least..=FRAME_TAG_CHARS).contains(&text.len()))
        };
        self.kind == "req"
            && !self.id.is_empty()
            && !self.method.is_empty()
            && short(&self.traceparent, 0)
            && short(&self.expected_profile, 1)
    }
}

/// The second pass: words the faults, or accepts what the envelope is too strict for (a repeated
/// member, of which JavaScript keeps the last).
fn parse_unusual(text: &str) -> Result<Request, FrameFault> {
    let value = lenient::value(text).map_err(|_| FrameFault::NotJson)?;
    let faults = check::check(&REQUEST_FRAME.kind, &value);
    if !faults.is_empty() {
        let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
        return Err(FrameFault::NotRequest { id, text: check::text(&faults) });
    }
    let Value::Object(mut members) = value else { return Err(FrameFault::NotJson) };
    let mut take = |name: &str| match members.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (id, method) = (take("id"), take("method"));
    let params = members.remove("params").filter(|params| !params.is_null());
    Ok(Request { id, method, params })
}

/// The counters that `presence` and `health` events carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateVersion {
    /// Changes of the presence list.
    pub presence: u64,
    /// Refreshes of the health snapshot.
    pub health: u64,
}

/// The frame that answers a request; `payload` is serialised JSON and goes out as it is, so `null`
/// is for methods whose result is `null` only.
pub fn response_ok(id: &str, payload: &str) -> Vec<u8> {
    let id = quoted(id);
    join(&[r#"{"type":"res","id":"#, &id, r#","ok":true,"payload":"#, payload, "}"])
}

/// The frame that refuses a request; a payload comes only with the final answer of a failed run.
pub fn response_err(id: &str, error: &WireError, payload: Option<&str>) -> Vec<u8> {
    let id = quoted(id);
    let error = error.to_value().to_string();
    let (member, payload) = payload.map_or(("", ""), |payload| (r#","payload":"#, payload));
    join(&[r#"{"type":"res","id":"#, &id, r#","ok":false,"error":"#, &error, member, payload, "}"])
}

/// An event up to and including `"seq":`, so that it is encoded once and a writer appends `N}`.
pub fn event_head(name: &str, payload: &str, versions: Option<StateVersion>) -> Vec<u8> {
    let versions = versions.map_or(String::new(), |at| {
        format!(r#","stateVersion":{{"presence":{},"health":{}}}"#, at.presence, at.health)
    });
    let name = quoted(name);
    join(&[EVENT, &name, r#","payload":"#, payload, &versions, r#","seq":"#])
}

/// A whole event without `seq`, for one receiver.
pub fn event_plain(name: &str, payload: &str) -> Vec<u8> {
    let name = quoted(name);
    join(&[EVENT, &name, r#","payload":"#, payload, "}"])
}

const EVENT: &str = r#"{"type":"event","event":"#;

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serialises")
}

fn join(parts: &[&str]) -> Vec<u8> {
    parts.concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (Option<String>, String) {
        match parse_request(text) {
            Err(FrameFault::NotRequest { id, text }) => (id, text),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn reads_a_request() {
        let request = parse_request(r#"{"type":"req","id":"1","method":"health","params":{"probe":true}}"#).unwrap();
        assert_eq!(request.id, "1");
        assert_eq!(request.method, "health");
        assert_eq!(request.params, Some(json!({"probe": true})));
    }

    #[test]
    fn absent_and_null_params_are_none() {
        for text in [
            r#"{"type":"req","id":"1","method":"a"}"#,
            r#"{"type":"req","id":"1","method":"a","params":null}"#,
            r#"{"type":"req","id":"1","method":"a","params":{},"params":null}"#,
        ] {
            assert_eq!(parse_request(text).unwrap().params, None, "{text}");
        }
    }

    #[test]
    fn escapes_in_the_envelope_are_decoded() {
        let request = parse_request(r#"{"\u0074ype":"r\u0065q","id":"a\"b","method":"h\u00e9"}"#).unwrap();
        assert_eq!((request.id.as_str(), request.method.as_str()), ("a\"b", "h\u{e9}"));
    }

    #[test]
    fn the_last_of_repeated_members_counts() {
        let request = parse_request(r#"{"type":"res","type":"req","id":"1","id":"2","method":"a"}"#).unwrap();
        assert_eq!(request.id, "2");
    }

    #[test]
    fn whole_numbers_become_integers() {
        let text = r#"{"type":"req","id":"1","method":"a","params":{"a":[3.0,1e3,-0.0,1.5,1e300]}}"#;
        let params = parse_request(text).unwrap().params.unwrap();
        assert_eq!(params, json!({"a": [3, 1000, 0, 1.5, 1e300]}));
        assert!(params["a"][1].is_i64());
    }

    #[test]
    fn what_is_not_json_is_said_so() {
        let deep =
            format!(r#"{{"type":"req","id":"1","method":"a","params":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for text in ["", "{still not json", "{} {}", "\u{feff}{}", deep.as_str()] {
            assert_eq!(parse_request(text), Err(FrameFault::NotJson), "{text}");
        }
    }

    #[test]
    fn nesting_is_accepted_up_to_its_limit() {
        let nested = |levels: usize| {
            let (open, close) = ("[".repeat(levels), "]".repeat(levels));
            parse_request(&format!(r#"{{"type":"req","id":"1","method":"a","params":{open}{close}}}"#))
        };
        assert!(nested(crate::limits::JSON_DEPTH - 1).is_ok());
        assert_eq!(nested(crate::limits::JSON_DEPTH), Err(FrameFault::NotJson));
    }

    #[test]
    fn other_json_is_refused_with_its_id() {
        assert_eq!(fault("[]"), (None, "must be object".into()));
        assert_eq!(fault("3"), (None, "must be object".into()));
        assert_eq!(
            fault(r#"{"type":"req","id":"m1"}"#),
            (Some("m1".into()), "must have required property 'method'".into())
        );
        let empty = fault(r#"{"type":"req","id":"","method":"a"}"#);
        assert_eq!(empty, (Some(String::new()), "at /id: must NOT have fewer than 1 characters".into()));
        assert_eq!(fault(r#"{"type":"req","id":7,"method":"a"}"#), (None, "at /id: must be string".into()));
        let event = fault(r#"{"type":"event","id":"x","method":"a"}"#);
        assert_eq!(event, (Some("x".into()), "at /type: must be equal to constant".into()));
        let extra = fault(r#"{"type":"req","id":"m2","method":"health","extra":1}"#);
        assert_eq!(extra, (Some("m2".into()), "at root: unexpected property 'extra'".into()));
        assert_eq!(
            fault(r#"{"type":"event","event":"x"}"#),
            (
                None,
                "must have required property 'id'; must have required property 'method'; \
                 at root: unexpected property 'event'; at /type: must be equal to constant"
                    .into()
            )
        );
    }

    #[test]
    fn tags_of_protocol_4_are_accepted_within_their_lengths() {
        let with = |member: &str| parse_request(&format!(r#"{{"type":"req","id":"1","method":"a",{member}}}"#));
        assert!(with(r#""traceparent":"""#).is_ok());
        assert!(with(&format!(r#""traceparent":"{}""#, "ä".repeat(128))).is_ok());
        assert!(with(&format!(r#""traceparent":"{}""#, "t".repeat(129))).is_err());
        assert!(with(r#""traceparent":null"#).is_err());
        assert!(with(r#""expectedProfileId":"me""#).is_ok());
        assert!(with(r#""expectedProfileId":"""#).is_err());
    }

    #[test]
    fn both_passes_agree_on_every_mutation() {
        let seed = r#"{"type":"req","id":"1","method":"health","params":{"probe":true,"n":[1,2.0,"x"]}}"#;
        let alphabet = b"{}[]\",:0e.-\\u1tnf \xc3";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut bytes = seed.as_bytes().to_vec();
            for _ in 0..=next(3) {
                let at = next(bytes.len());
                match next(3) {
                    0 => bytes[at] = alphabet[next(alphabet.len())],
                    1 => bytes.insert(at, alphabet[next(alphabet.len())]),
                    _ => drop(bytes.remove(at)),
                }
            }
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let request = parse_request(&text);
            assert_eq!(request, parse_unusual(&text), "{text}");
            accepted += usize::from(request.is_ok());
        }
        assert!(accepted > 100, "{accepted} mutations were requests");
    }

    fn json(bytes: Vec<u8>) -> Value {
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn builds_responses() {
        assert_eq!(
            json(response_ok("a\"\n", r#"{"x":1}"#)),
            json!({"type": "res", "id": "a\"\n", "ok": true, "payload": {"x": 1}})
        );
        let error = WireError::invalid("no");
        assert_eq!(
            json(response_err("1", &error, None)),
            json!({"type": "res", "id": "1", "ok": false, "error": {"code": "INVALID_REQUEST", "message": "no"}})
        );
        assert_eq!(json(response_err("1", &error, Some("{}")))["payload"], json!({}));
    }

    #[test]
    fn builds_events_that_a_counter_completes() {
        let at = StateVersion { presence: 2, health: 3 };
        let mut head = event_head("presence", r#"{"presence":[]}"#, Some(at));
        assert!(head.ends_with(br#""seq":"#));
        head.extend_from_slice(b"7}");
        assert_eq!(
            json(head),
            json!({"type": "event", "event": "presence", "payload": {"presence": []}, "seq": 7,
                "stateVersion": {"presence": 2, "health": 3}})
        );
        assert_eq!(event_head("tick", "{}", None), br#"{"type":"event","event":"tick","payload":{},"seq":"#);
        assert_eq!(event_plain("tick", "{}"), br#"{"type":"event","event":"tick","payload":{}}"#);
    }
}
