//! `/api/v1/admin/rpc`: the envelope around a call of the protocol's own methods, which methods it takes, and the
//! answer's status (http.md 13). Pure; the call itself is the gateway's.

use serde_json::Value;

use crate::http::reply::Reply;
use crate::limits;
use crate::protocol::errors::{Code, ERRORS, WireError};
use crate::protocol::frame;
use crate::protocol::methods;
use crate::protocol::table::Method;

/// Methods it takes, in the order in which they are listed; those without a row in the method table are not there yet.
const METHODS: &[&str] = &[
    "health",
    "status",
    "logs.tail",
    "usage.status",
    "usage.cost",
    "gateway.restart.request",
    "gateway.suspend.prepare",
    "gateway.suspend.status",
    "gateway.suspend.resume",
    LIST,
    "config.get",
    "config.schema",
    "config.schema.lookup",
    "config.set",
    "config.patch",
    "config.apply",
    "channels.status",
    "channels.start",
    "channels.stop",
    "channels.logout",
    "web.login.start",
    "web.login.wait",
    "models.list",
    "models.authStatus",
    "agents.list",
    "agents.create",
    "agents.update",
    "agents.delete",
    "exec.approvals.get",
    "exec.approvals.set",
    "exec.approvals.node.get",
    "exec.approvals.node.set",
    "cron.status",
    "cron.list",
    "cron.get",
    "cron.runs",
    "cron.add",
    "cron.update",
    "cron.remove",
    "cron.run",
    "device.pair.list",
    "device.pair.approve",
    "device.pair.reject",
    "device.pair.remove",
    "node.list",
    "node.describe",
    "node.pair.list",
    "node.pair.approve",
    "node.pair.reject",
    "node.pair.remove",
    "node.rename",
    "tasks.list",
    "tasks.get",
    "tasks.cancel",
    "doctor.memory.status",
    "update.status",
];

/// Here it lists the methods of this interface, not the commands of a chat.
const LIST: &str = "commands.list";

/// A call, read from a body.
#[derive(Debug)]
pub struct Ask {
    /// Its id; none when the caller gave none.
    pub id: Option<String>,
    /// The method's name.
    pub method: String,
    /// Parameters, as they came.
    pub params: Option<Value>,
}

/// What a call asks for.
#[derive(Debug)]
pub enum Wish {
    /// The list of methods.
    List,
    /// This method, with parameters that fit, or the text that refuses them.
    Call(&'static Method, Result<Value, String>),
    /// Something that is not offered here.
    NotOffered,
}

impl Ask {
    /// Reads a body, or the answer that refuses it.
    pub fn read(body: &[u8]) -> Result<Ask, Reply> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(refused(400, INVALID, "request body must be JSON"));
        }
        let mut members = match super::object(body) {
            Ok(Value::Object(members)) => members,
            Ok(_) => return Err(refused(400, INVALID, "request body must be an object")),
            Err(_) => return Err(refused(400, INVALID, "request body must be valid JSON")),
        };
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Some(text.trim().to_string()).filter(|text| !text.is_empty()),
            _ => None,
        };
        let id = text("id").map(|id| id.chars().take(limits::ADMIN_ID_CHARS).collect());
        let method = text("method").ok_or_else(|| refused(400, INVALID, "method must be a non-empty string"))?;
        Ok(Ask { id, method, params: members.remove("params") })
    }

    /// What it asks for, the parameters checked against the method table.
    pub fn wish(&mut self) -> Wish {
        if self.method == LIST {
            return Wish::List;
        }
        match methods::find(&self.method).filter(|_| METHODS.contains(&self.method.as_str())) {
            Some(row) => Wish::Call(row, row.read(self.params.take())),
            None => Wish::NotOffered,
        }
    }
}

const INVALID: &str = "invalid_request";

/// The answer to a request that is no call.
pub fn refused(status: u16, kind: &str, text: &str) -> Reply {
    Reply::json(status, json!({"ok": false, "error": {"type": kind, "message": text}}).to_string()).no_store()
}

/// The answer to another method than POST.
pub fn other_method() -> Reply {
    refused(405, "method_not_allowed", "Method Not Allowed").header("Allow", "POST")
}

/// The same refusals as everywhere, worded for this interface: too large, too slow.
pub fn body_refused(status: u16, text: &str) -> Reply {
    refused(status, INVALID, text).closing()
}

/// The methods there are.
pub fn list(id: &str) -> Reply {
    let known = |name: &&&str| **name == LIST || methods::find(name).is_some();
    let methods: Vec<&&str> = METHODS.iter().filter(known).collect();
    answer(&frame::response_ok(id, &json!({"methods": methods}).to_string()))
}

/// The answer to a method that is not offered here.
pub fn not_offered(id: &str, method: &str) -> Reply {
    let shown: String = method.chars().take(limits::METHOD_NAME_CHARS).collect();
    failed(id, &WireError::invalid(format!("admin HTTP RPC method is not supported: {shown}")))
}

/// The answer with an error of the protocol.
pub fn failed(id: &str, error: &WireError) -> Reply {
    answer(&frame::response_err(id, error, None))
}

/// The answer of a method: the response frame without the member that says it is one.
pub fn answer(frame: &[u8]) -> Reply {
    let text = std::str::from_utf8(frame).unwrap_or_default();
    let rest = text.strip_prefix(r#"{"type":"res","#).unwrap_or_default();
    // The id is a JSON string; the first quote that is not escaped ends it.
    let is_ok = rest.strip_prefix(r#""id":"#).map(after_string).is_some_and(|rest| rest.starts_with(r#","ok":true"#));
    let status = if is_ok { 200 } else { code(text).map_or(500, status) };
    Reply::json(status, format!("{{{rest}")).no_store()
}

/// What follows a JSON string.
fn after_string(text: &str) -> &str {
    let mut escaped = true; // the opening quote ends nothing
    let end = text.bytes().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => byte == b'"',
    });
    end.and_then(|end| text.get(end + 1..)).unwrap_or_default()
}

/// The code of an error frame.
fn code(frame: &str) -> Option<Code> {
    let frame: Value = serde_json::from_str(frame).ok()?;
    let name = frame.pointer("/error/code")?.as_str()?;
    ERRORS.iter().find(|row| row.name == name).map(|row| row.code)
}

fn status(code: Code) -> u16 {
    match code {
        Code::InvalidRequest => 400,
        Code::Forbidden => 403,
        Code::ApprovalNotFound => 404,
        Code::NotPaired | Code::NotLinked => 409,
        Code::Unavailable => 503,
        Code::AgentTimeout => 504,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &Reply) -> &str {
        std::str::from_utf8(reply.body_bytes()).unwrap()
    }

    fn refusal(body: &str) -> (u16, Value) {
        let reply = Ask::read(body.as_bytes()).unwrap_err();
        let value: Value = serde_json::from_str(text(&reply)).unwrap();
        (reply.status(), value["error"]["message"].clone())
    }

    #[test]
    fn bodies_that_are_no_call_are_told_why() {
        assert_eq!(refusal(""), (400, "request body must be JSON".into()));
        assert_eq!(refusal(" \n"), (400, "request body must be JSON".into()));
        for body in ["{", "[", "nul", "{} x"] {
            assert_eq!(refusal(body), (400, "request body must be valid JSON".into()), "{body}");
        }
        for body in ["null", "[]", "5", "\"health\""] {
            assert_eq!(refusal(body), (400, "request body must be an object".into()), "{body}");
        }
        for body in ["{}", r#"{"method":""}"#, r#"{"method":" "}"#, r#"{"method":5}"#] {
            assert_eq!(refusal(body), (400, "method must be a non-empty string".into()), "{body}");
        }
        let deep = format!("{{\"method\":\"health\",\"params\":{}", "[".repeat(500));
        assert_eq!(refusal(&deep).0, 400);
        let many = format!("{{\"method\":\"health\",\"params\":[{}0]}}", "0,".repeat(limits::JSON_VALUES));
        assert_eq!(refusal(&many), (400, "request body must be valid JSON".into()));
    }

    #[test]
    fn ids_are_trimmed_and_bounded_and_methods_must_be_on_the_list() {
        let mut ask = Ask::read(br#"{"id":" r1 ","method":" health ","params":{"probe":false}}"#).unwrap();
        assert_eq!(ask.id.as_deref(), Some("r1"));
        assert!(matches!(ask.wish(), Wish::Call(row, Ok(_)) if row.name == "health"));
        let long = format!(r#"{{"id":"{}","method":"chat.send"}}"#, "x".repeat(5000));
        let mut ask = Ask::read(long.as_bytes()).unwrap();
        assert_eq!(ask.id.as_ref().map(String::len), Some(limits::ADMIN_ID_CHARS));
        assert!(matches!(ask.wish(), Wish::NotOffered), "a method of the table, but not of this list");
        assert!(matches!(Ask::read(br#"{"id":5,"method":"x"}"#).unwrap(), Ask { id: None, .. }));
        let mut ask = Ask::read(br#"{"method":"logs.tail","params":{"limit":0}}"#).unwrap();
        assert!(matches!(ask.wish(), Wish::Call(_, Err(text)) if text.starts_with("invalid logs.tail params")));
        assert!(matches!(Ask::read(br#"{"method":"commands.list"}"#).unwrap().wish(), Wish::List));
    }

    #[test]
    fn the_list_has_only_what_can_be_called() {
        let reply = list("a");
        let value: Value = serde_json::from_str(text(&reply)).unwrap();
        let names: Vec<&str> = value["payload"]["methods"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
        assert!(names.contains(&"health") && names.contains(&LIST) && !names.contains(&"chat.send"));
        assert!(names.iter().all(|name| *name == LIST || methods::find(name).is_some()));
    }

    #[test]
    fn frames_become_answers_with_the_status_of_their_code() {
        let id = r#"a"\ü"#;
        let reply = answer(&frame::response_ok(id, r#"{"x":1}"#));
        assert_eq!((reply.status(), text(&reply)), (200, r#"{"id":"a\"\\ü","ok":true,"payload":{"x":1}}"#));
        for (code, status) in [
            (Code::InvalidRequest, 400),
            (Code::Forbidden, 403),
            (Code::ApprovalNotFound, 404),
            (Code::NotLinked, 409),
            (Code::NotPaired, 409),
            (Code::Unavailable, 503),
            (Code::AgentTimeout, 504),
        ] {
            let error = WireError::new(code, r#"no ","ok":true"#);
            let reply = answer(&frame::response_err(id, &error, None));
            assert_eq!(reply.status(), status);
            let body: Value = serde_json::from_str(text(&reply)).unwrap();
            assert_eq!(body, json!({"id": id, "ok": false, "error": error.to_value()}));
        }
        assert_eq!(answer(b"nonsense").status(), 500);
    }
}
