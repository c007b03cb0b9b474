//! The events of a streamed response, in order (http.md 8.4). Pure: told what happens, it says which events go out.
//! Every event carries its number and its indices, which typed SDK helpers read.

use serde_json::{Map, Value};

use super::answer::{Call, Done, Failure, Head, text_part};

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type, which also names it on the wire.
    pub name: &'static str,
    /// Its JSON.
    pub data: String,
}

/// A response on its way.
#[derive(Debug)]
pub struct Sequence {
    /// What all of its events have in common.
    pub head: Head,
    number: u64,
    text: String,
}

impl Sequence {
    /// A response that is about to begin.
    pub fn new(head: Head) -> Sequence {
        Sequence { head, number: 0, text: String::new() }
    }

    /// What goes out at once, before the model has said a word.
    pub fn begin(&mut self) -> Vec<Event> {
        let item = json!({
            "type": "message", "id": self.head.message_id, "role": "assistant", "content": [], "status": "in_progress",
        });
        vec![
            self.event("response.created", json!({"response": self.head.begun()})),
            self.event("response.in_progress", json!({"response": self.head.begun()})),
            self.event("response.output_item.added", json!({"output_index": 0, "item": item})),
            self.part("response.content_part.added", json!({"part": text_part("")})),
        ]
    }

    /// More text.
    pub fn text(&mut self, more: &str) -> Event {
        self.text.push_str(more);
        self.part("response.output_text.delta", json!({"delta": more, "logprobs": []}))
    }

    /// The end; what was not told as pieces comes first.
    pub fn end(&mut self, done: &Done) -> Vec<Event> {
        let mut events = Vec::new();
        let rest = done.said().strip_prefix(self.text.as_str()).filter(|rest| !rest.is_empty()).map(str::to_string);
        events.extend(rest.map(|rest| self.text(&rest)));
        let (said, message) = (done.said(), self.head.message(done));
        events.push(self.part("response.output_text.done", json!({"text": said, "logprobs": []})));
        events.push(self.part("response.content_part.done", json!({"part": text_part(said)})));
        events.push(self.event("response.output_item.done", json!({"output_index": 0, "item": message})));
        let mut output = vec![message];
        for (at, call) in done.calls.iter().enumerate() {
            events.extend(self.call(at + 1, call));
            output.push(call.item());
        }
        let name = if done.cut { "response.incomplete" } else { "response.completed" };
        events.push(self.event(name, json!({"response": self.head.ended(done, output)})));
        events
    }

    /// A call comes whole: who adds up pieces finds all of it in the first event, who waits for the end in the others.
    fn call(&mut self, index: usize, call: &Call) -> [Event; 3] {
        let arguments = json!({
            "item_id": call.id, "output_index": index, "name": call.name, "arguments": call.arguments,
        });
        [
            self.event("response.output_item.added", json!({"output_index": index, "item": call.begun()})),
            self.event("response.function_call_arguments.done", arguments),
            self.event("response.output_item.done", json!({"output_index": index, "item": call.item()})),
        ]
    }

    /// A failure ends it, whatever was said before.
    pub fn fail(&mut self, failure: &Failure<'_>) -> Event {
        self.event("response.failed", json!({"response": self.head.failed(failure)}))
    }

    /// An event about the text of the message.
    fn part(&mut self, name: &'static str, members: Value) -> Event {
        let mut members = members;
        if let Some(members) = members.as_object_mut() {
            members.insert("item_id".into(), self.head.message_id.as_str().into());
            members.insert("output_index".into(), 0.into());
            members.insert("content_index".into(), 0.into());
        }
        self.event(name, members)
    }

    fn event(&mut self, name: &'static str, members: Value) -> Event {
        let mut object = match members {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        object.insert("type".into(), name.into());
        object.insert("sequence_number".into(), self.number.into());
        self.number += 1;
        Event { name, data: Value::Object(object).to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Tokens;
    use super::super::answer::tests::{call, head, said};
    use super::*;
    use crate::http::api::chat::SILENCE;

    fn data(event: &Event) -> Value {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data["type"], event.name);
        data
    }

    fn names(events: &[Event]) -> Vec<&'static str> {
        events.iter().map(|event| event.name.trim_start_matches("response.")).collect()
    }

    const START: [&str; 4] = ["created", "in_progress", "output_item.added", "content_part.added"];
    const CLOSE: [&str; 3] = ["output_text.done", "content_part.done", "output_item.done"];

    #[test]
    fn the_events_of_an_answer_come_in_the_recorded_order() {
        let mut sequence = Sequence::new(head());
        let mut events = sequence.begin();
        events.extend(["Hello", " from"].map(|piece| sequence.text(piece)));
        events.extend(sequence.end(&said("Hello from")));
        let expected: Vec<&str> =
            START.into_iter().chain(["output_text.delta"; 2]).chain(CLOSE).chain(["completed"]).collect();
        assert_eq!(names(&events), expected);
        for (at, event) in events.iter().enumerate() {
            assert_eq!(data(event)["sequence_number"], at);
        }
        let delta = data(&events[5]);
        assert_eq!(
            delta,
            json!({"type": "response.output_text.delta", "sequence_number": 5, "item_id": "msg_1",
            "output_index": 0, "content_index": 0, "delta": " from", "logprobs": []})
        );
        assert_eq!(data(&events[0])["response"]["usage"]["total_tokens"], 0);
        assert_eq!(data(&events[6])["text"], "Hello from");
        assert_eq!(data(&events[9])["response"], head().whole(&said("Hello from")));
    }

    #[test]
    fn calls_follow_the_message_even_when_it_is_empty() {
        let done = Done { calls: vec![call()], ..said("") };
        let mut sequence = Sequence::new(head());
        sequence.begin();
        let events = sequence.end(&done);
        let calls = ["output_item.added", "function_call_arguments.done", "output_item.done"];
        let expected: Vec<&str> = CLOSE.into_iter().chain(calls).chain(["completed"]).collect();
        assert_eq!(names(&events), expected);
        let (added, done) = (data(&events[3]), data(&events[5]));
        assert_eq!((&added["output_index"], &added["item"]["arguments"]), (&json!(1), &json!("{\"city\":\"Oslo\"}")));
        assert!(added["item"].get("status").is_none());
        assert_eq!(done["item"]["status"], "completed");
        let whole = &data(&events[6])["response"];
        assert_eq!((&whole["output"][0]["phase"], &whole["output"][1]), (&json!("commentary"), &done["item"]));
    }

    #[test]
    fn what_no_piece_carried_is_told_before_the_end() {
        let mut sequence = Sequence::new(head());
        sequence.begin();
        sequence.text("Hel");
        let events = sequence.end(&said("Hello"));
        assert_eq!((names(&events)[0], &data(&events[0])["delta"]), ("output_text.delta", &json!("lo")));
        let mut sequence = Sequence::new(head());
        sequence.begin();
        assert_eq!(data(&sequence.end(&said(""))[0])["delta"], SILENCE);
        let mut sequence = Sequence::new(head());
        sequence.text("other");
        let events = sequence.end(&said("Hello"));
        assert_eq!((names(&events)[0], &data(&events[0])["text"]), ("output_text.done", &json!("Hello")));
    }

    #[test]
    fn a_cut_answer_and_a_failure_end_under_their_own_names() {
        let mut sequence = Sequence::new(head());
        let events = sequence.end(&Done { cut: true, ..said("Hel") });
        let last = data(events.last().unwrap());
        assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.incomplete"), &json!("incomplete")));
        let failure = Failure { code: "api_error", message: "no", tokens: Tokens::default() };
        let failed = data(&sequence.fail(&failure));
        assert_eq!(failed["response"]["error"], json!({"code": "api_error", "message": "no"}));
        assert_eq!((&failed["type"], &failed["response"]["output"]), (&json!("response.failed"), &json!([])));
    }
}
