//! Why a run gave no answer, as the OpenAI-style interfaces tell it (http.md 6.6): a status of its own, or an object in
//! a stream that has begun.

use serde_json::Value;

use crate::http::reply::Reply;

/// A failure as a program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The status, where none has gone out yet.
    pub status: u16,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.message`.
    pub message: String,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
}

impl Fault {
    /// A failure that says nothing about when to try again.
    pub fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Fault {
        Fault { status, kind, message: message.into(), retry_after: None }
    }

    /// The gateway is on its way out, or has too much to do (http.md 3).
    pub fn unavailable(message: impl Into<String>, seconds: u64) -> Fault {
        Fault { retry_after: Some(seconds), ..Fault::new(503, "service_unavailable", message) }
    }

    /// `{"error": …}`.
    pub fn object(&self) -> Value {
        let mut error = json!({"message": self.message, "type": self.kind});
        if let Some(error) = error.as_object_mut().filter(|_| self.kind == "service_unavailable") {
            error.insert("code".into(), "gateway_unavailable".into());
        }
        json!({"error": error})
    }

    /// The answer.
    pub fn reply(&self) -> Reply {
        self.reply_with(self.object().to_string())
    }

    /// The answer in another shape.
    pub fn reply_with(&self, body: String) -> Reply {
        let reply = Reply::json(self.status, body);
        match self.retry_after {
            Some(seconds) => reply.header("Retry-After", seconds.max(1).to_string()).no_store(),
            None => reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_common_shape_and_says_when_to_come_back() {
        let fault = Fault::new(502, "api_error", "no \"answer\"");
        assert_eq!(fault.object().to_string(), r#"{"error":{"message":"no \"answer\"","type":"api_error"}}"#);
        assert_eq!((fault.reply().status(), fault.reply().header_value("retry-after")), (502, None));
        let busy = Fault::unavailable("busy", 0).reply();
        assert_eq!((busy.status(), busy.header_value("retry-after")), (503, Some("1")));
        assert!(std::str::from_utf8(busy.body_bytes()).unwrap().contains(r#""code":"gateway_unavailable""#));
    }
}
