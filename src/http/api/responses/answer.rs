//! The response object (http.md 8.3): head, output items, usage, and the forms for failed and cut answers. Texts carry
//! `annotations`, which typed SDK helpers look for.

use serde_json::{Map, Value};

use crate::http::api::chat::SILENCE;

/// What all forms of one response have in common.
#[derive(Clone, Debug)]
pub struct Head {
    /// `resp_…`.
    pub id: String,
    /// `msg_…`, of the message in it.
    pub message_id: String,
    /// Unix time, seconds.
    pub created_at: u64,
    /// The model as the program named it.
    pub model: String,
    /// Only when the program named an earlier response: that one, if the conversation goes on from there.
    pub previous: Option<Option<String>>,
}

/// Tokens of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the prompt, cached ones included.
    pub input: u64,
    /// Of them read from a cache.
    pub cached: u64,
    /// Of them written to a cache.
    pub cache_write: u64,
    /// Of the answer.
    pub output: u64,
}

/// A call of one of the program's tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Names the item: `call_…`.
    pub id: String,
    /// Names the call.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, JSON as text.
    pub arguments: String,
}

/// How a turn ended that did not fail.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// What it said; may be empty with calls.
    pub text: String,
    /// Calls the program is to answer.
    pub calls: Vec<Call>,
    /// Whether the limit of tokens cut it.
    pub cut: bool,
    /// What it took.
    pub tokens: Tokens,
}

/// Why it failed.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// Such as `api_error`.
    pub code: &'a str,
    /// For people.
    pub message: &'a str,
    /// What it took.
    pub tokens: Tokens,
}

impl Done {
    /// The text to show; a turn is never answered with nothing at all.
    pub fn said(&self) -> &str {
        if self.text.is_empty() && self.calls.is_empty() { SILENCE } else { &self.text }
    }

    fn status(&self) -> &'static str {
        if self.cut { "incomplete" } else { "completed" }
    }
}

impl Head {
    fn object(&self, status: &str, output: Vec<Value>, tokens: &Tokens) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("id".into(), self.id.as_str().into());
        object.insert("object".into(), "response".into());
        object.insert("created_at".into(), self.created_at.into());
        object.insert("status".into(), status.into());
        object.insert("model".into(), self.model.as_str().into());
        object.insert("output".into(), output.into());
        object.insert("usage".into(), tokens.object());
        if let Some(previous) = &self.previous {
            object.insert("previous_response_id".into(), json!(previous));
        }
        object
    }

    /// The id of its call at this place: that of the response, but with another beginning.
    pub fn call_id(&self, at: usize) -> String {
        let uuid = self.id.trim_start_matches("resp_");
        if at == 0 { format!("call_{uuid}") } else { format!("call_{uuid}_{at}") }
    }

    /// While it works.
    pub fn begun(&self) -> Value {
        self.object("in_progress", Vec::new(), &Tokens::default()).into()
    }

    /// At its end, with these output items.
    pub fn ended(&self, done: &Done, output: Vec<Value>) -> Value {
        let mut object = self.object(done.status(), output, &done.tokens);
        if done.cut {
            object.insert("incomplete_details".into(), json!({"reason": "max_output_tokens"}));
        }
        object.into()
    }

    /// After a failure.
    pub fn failed(&self, failure: &Failure<'_>) -> Value {
        let mut object = self.object("failed", Vec::new(), &failure.tokens);
        object.insert("error".into(), json!({"code": failure.code, "message": failure.message}));
        object.into()
    }

    /// The message among the output items.
    pub fn message(&self, done: &Done) -> Value {
        json!({
            "type": "message", "id": self.message_id, "role": "assistant", "content": [text_part(done.said())],
            "phase": if done.calls.is_empty() { "final_answer" } else { "commentary" }, "status": done.status(),
        })
    }

    /// The whole answer without events: no message where there are only calls.
    pub fn whole(&self, done: &Done) -> Value {
        let message = (!done.said().is_empty()).then(|| self.message(done));
        self.ended(done, message.into_iter().chain(done.calls.iter().map(Call::item)).collect())
    }
}

impl Call {
    /// As an output item.
    pub fn item(&self) -> Value {
        let mut item = self.begun();
        if let Some(members) = item.as_object_mut() {
            members.insert("status".into(), "completed".into());
        }
        item
    }

    /// As an output item that is announced.
    pub fn begun(&self) -> Value {
        json!({
            "type": "function_call", "id": self.id, "call_id": self.call_id, "name": self.name,
            "arguments": self.arguments,
        })
    }
}

/// A text as a part of a message.
pub fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

impl Tokens {
    fn object(&self) -> Value {
        json!({
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached, "cache_write_tokens": self.cache_write},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.input.saturating_add(self.output),
        })
    }
}

#[cfg(test)]
/// Samples for the tests beside it, too.
pub mod tests {
    use super::*;

    /// A head whose ids are short.
    pub fn head() -> Head {
        let text = |text: &str| text.to_string();
        Head {
            id: text("resp_1"),
            message_id: text("msg_1"),
            created_at: 1_700_000_000,
            model: text("openclaw"),
            previous: None,
        }
    }

    /// A call.
    pub fn call() -> Call {
        let text = |text: &str| text.to_string();
        Call { id: text("call_1"), call_id: text("c1"), name: text("w"), arguments: text("{\"city\":\"Oslo\"}") }
    }

    /// An end with that text.
    pub fn said(text: &str) -> Done {
        let tokens = Tokens { input: 11, output: 5, ..Tokens::default() };
        Done { text: text.to_string(), tokens, ..Done::default() }
    }

    #[test]
    fn a_whole_answer_has_the_recorded_form() {
        let expected = json!({
            "id": "resp_1", "object": "response", "created_at": 1_700_000_000, "status": "completed",
            "model": "openclaw",
            "output": [{"type": "message", "id": "msg_1", "role": "assistant", "phase": "final_answer",
                "content": [{"type": "output_text", "text": "Hello.", "annotations": []}], "status": "completed"}],
            "usage": {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 16},
        });
        assert_eq!(head().whole(&said("Hello.")), expected);
    }

    #[test]
    fn calls_stand_alone_or_behind_what_was_said() {
        let done = Done { calls: vec![call()], ..said("") };
        let answer = head().whole(&done);
        assert_eq!(
            answer["output"],
            json!([{"type": "function_call", "id": "call_1", "call_id": "c1", "name": "w",
            "arguments": "{\"city\":\"Oslo\"}", "status": "completed"}])
        );
        let answer = head().whole(&Done { calls: vec![call(), call()], ..said("Let me look.") });
        assert_eq!(answer["output"][0]["phase"], "commentary");
        assert_eq!(answer["output"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn an_end_without_a_word_says_so_and_a_cut_one_too() {
        assert_eq!(head().whole(&said(""))["output"][0]["content"][0]["text"], SILENCE);
        let answer = head().whole(&Done { cut: true, ..said("Hel") });
        assert_eq!(
            (&answer["status"], &answer["incomplete_details"]["reason"]),
            (&json!("incomplete"), &json!("max_output_tokens"))
        );
        assert_eq!(answer["output"][0]["status"], "incomplete");
    }

    #[test]
    fn a_failure_has_no_output() {
        let failure = Failure { code: "api_error", message: "no", tokens: Tokens::default() };
        let answer = head().failed(&failure);
        assert_eq!((&answer["status"], &answer["output"]), (&json!("failed"), &json!([])));
        assert_eq!(answer["error"], json!({"code": "api_error", "message": "no"}));
        assert!(head().whole(&said("x")).get("error").is_none());
    }

    #[test]
    fn an_earlier_response_is_named_only_when_the_program_named_one() {
        assert!(head().begun().get("previous_response_id").is_none());
        let lost = Head { previous: Some(None), ..head() };
        assert_eq!(lost.begun()["previous_response_id"], Value::Null);
        let found = Head { previous: Some(Some("resp_0".into())), ..head() };
        assert_eq!(found.begun()["previous_response_id"], "resp_0");
    }
}
