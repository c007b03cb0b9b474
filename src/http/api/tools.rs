//! `/tools/invoke`: what a body asks for, and the answers (http.md 9). Pure; knows no tool.

use serde_json::{Map, Value};

use crate::http::reply::Reply;
use crate::protocol::check;

/// A wish, read from a body.
#[derive(Debug, PartialEq)]
pub struct Ask {
    /// The tool's name.
    pub tool: String,
    /// What goes into the argument of that name.
    pub action: Option<String>,
    /// Arguments.
    pub args: Map<String, Value>,
    /// The session it is for; the main one when none.
    pub session_key: Option<String>,
    /// The agent it is for.
    pub agent: Option<String>,
    /// The caller's name for the call.
    pub key: Option<String>,
}

impl Ask {
    /// Reads a body, or the answer that refuses it. An empty one is an object without members.
    pub fn read(body: &[u8]) -> Result<Ask, Reply> {
        let value = super::object(body).map_err(|text| Reply::error(400, &text, "invalid_request_error"))?;
        let mut members = match value {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Some(text.trim().to_string()).filter(|text| !text.is_empty()),
            _ => None,
        };
        let (name, tool) = (text("name"), text("tool"));
        let tool = name.or(tool).ok_or_else(|| failed(400, "invalid_request", "tools.invoke requires name"))?;
        let (action, session_key, agent) = (text("action"), text("sessionKey"), text("agentId"));
        let key = text("idempotencyKey");
        let args = match members.remove("args") {
            Some(Value::Object(args)) => args,
            _ => Map::new(),
        };
        Ok(Ask { tool, action, args, session_key, agent, key })
    }
}

/// The answer to a call that failed, or was not made.
pub fn failed(status: u16, kind: &str, text: &str) -> Reply {
    Reply::json(status, json!({"ok": false, "error": {"type": kind, "message": text}}).to_string())
}

/// The answer to a tool that is not offered; denied ones look like unknown ones.
pub fn not_available(tool: &str) -> Reply {
    failed(404, "not_found", &format!("Tool not available: {}", check::bounded(tool)))
}

/// The answer when too many run already.
pub fn crowded() -> Reply {
    failed(503, "unavailable", "too many tools run at once; try again in a moment").header("Retry-After", "1")
}

/// The answer with a result.
pub fn done(result: &Value) -> Reply {
    Reply::json(200, format!("{{\"ok\":true,\"result\":{result}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_leniently_but_a_name_is_needed() {
        let ask = Ask::read(br#"{"tool":"a","name":" b ","action":"x","args":{"n":1},"sessionKey":"","dryRun":true}"#);
        let ask = ask.unwrap();
        assert_eq!((ask.tool.as_str(), ask.action.as_deref(), ask.session_key.as_deref()), ("b", Some("x"), None));
        assert_eq!(ask.args.len(), 1);
        assert_eq!(Ask::read(br#"{"tool":"a","args":[1]}"#).unwrap().args, Map::new());
        for body in ["", "{}", "[]", "5", r#"{"tool":5}"#, r#"{"name":" "}"#] {
            let reply = Ask::read(body.as_bytes()).unwrap_err();
            let text = std::str::from_utf8(reply.body_bytes()).unwrap();
            assert!(reply.status() == 400 && text.contains("tools.invoke requires name"), "{body}: {text}");
        }
        for body in ["[", "{", "nope", "\u{0}"] {
            let reply = Ask::read(body.as_bytes()).unwrap_err();
            let text = std::str::from_utf8(reply.body_bytes()).unwrap();
            assert!(reply.status() == 400 && text.contains("invalid_request_error"), "{body}: {text}");
        }
        assert!(Ask::read(b"{\"tool\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_long_name_is_not_repeated_whole() {
        assert!(not_available(&"x".repeat(100_000)).body_bytes().len() < 300);
    }
}
