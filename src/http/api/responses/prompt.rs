//! From the items of a request to what the agent is told (http.md 6.3, 8.1): the conversation as one text, pictures of
//! the current message, and what stands in the system prompt: instructions, system messages, files.

use super::Request;
use super::items::{Content, Item, Role};
use super::media::{FileRules, Sent};
use crate::http::api::messages::{self, Entry};
use crate::http::api::strict::Refused;
use crate::limits;

/// What the agent is told.
#[derive(Debug, PartialEq)]
pub struct Prompt {
    /// The message.
    pub text: String,
    /// Addresses of its pictures, as written.
    pub images: Vec<String>,
    /// More for the system prompt.
    pub system: Option<String>,
    /// Results of tools: the call's id and the text.
    pub results: Vec<(String, String)>,
}

/// Stands for an item that a program names and that is no longer kept: the model should know that there was one.
const FORGOTTEN: &str = "[an earlier message that is no longer kept]";

/// The prompt of a message that is only a file.
const ONLY_FILES: &str = "User sent file(s) with no text.";

/// Everything of the items, sorted.
#[derive(Default)]
struct Sorted {
    entries: Vec<Entry>,
    /// Pictures with the entry they belong to.
    images: Vec<(usize, String)>,
    system: Vec<String>,
    files: Vec<Sent>,
    results: Vec<(String, String)>,
}

impl Request {
    /// The items it names by id.
    pub fn references(&self) -> Result<Vec<String>, Refused> {
        let of = |item: &Item| match item {
            Item::Reference(id) => Some(id.clone()),
            _ => None,
        };
        let found: Vec<String> = self.items.iter().filter_map(of).collect();
        match found.len() > limits::PREVIOUS_REFERENCES {
            true => Err(Refused(format!("input: at most {} items may be named by id", limits::PREVIOUS_REFERENCES))),
            false => Ok(found),
        }
    }

    /// What the agent is told; `known` says what an item named by id said.
    pub fn prompt(&mut self, rules: &FileRules, known: impl Fn(&str) -> Option<String>) -> Result<Prompt, Refused> {
        let mut sorted = Sorted::default();
        sorted.system.extend(self.instructions.take());
        for item in std::mem::take(&mut self.items) {
            sorted.take(item, &known);
        }
        sorted.prompt(rules)
    }
}

impl Sorted {
    fn take(&mut self, item: Item, known: &impl Fn(&str) -> Option<String>) {
        match item {
            Item::Message(Role::System, content) => {
                self.files.extend(content.files);
                self.system.push(content.text);
            }
            Item::Message(Role::User, content) => self.say(content, Entry::user),
            Item::Message(Role::Assistant, content) => self.say(content, Entry::assistant),
            Item::Output { call_id, content } => {
                self.results.push((call_id.clone(), content.text.clone()));
                self.attach(content.images, content.files);
                self.entries.push(Entry::tool(&call_id, content.text));
            }
            Item::Call { call_id, name, arguments } => {
                self.entries.push(Entry::assistant(messages::call_line(&call_id, &name, &arguments)));
            }
            Item::Reference(id) => {
                self.entries.push(Entry::assistant(known(&id).unwrap_or_else(|| FORGOTTEN.to_string())));
            }
        }
    }

    fn say(&mut self, content: Content, entry: fn(String) -> Entry) {
        let Content { mut text, images, files } = content;
        if text.trim().is_empty() {
            text = match (images.is_empty(), files.is_empty()) {
                (false, _) => messages::ONLY_PICTURES.to_string(),
                (_, false) => ONLY_FILES.to_string(),
                _ => return,
            };
        }
        self.attach(images, files);
        self.entries.push(entry(text));
    }

    /// Adds what belongs to the entry that is pushed next.
    fn attach(&mut self, images: Vec<String>, files: Vec<Sent>) {
        let at = self.entries.len();
        self.images.extend(images.into_iter().map(|image| (at, image)));
        self.files.extend(files);
    }

    fn prompt(mut self, rules: &FileRules) -> Result<Prompt, Refused> {
        let current = messages::current(&self.entries);
        // The model sees pictures of the current message only; it should know that there were others.
        for (at, _) in self.images.iter().filter(|(at, _)| Some(*at) != current) {
            self.entries.iter_mut().skip(*at).take(1).for_each(|entry| entry.add(messages::PICTURE));
        }
        self.images.retain(|(at, _)| Some(*at) == current);
        let text = messages::prompt(&self.entries).ok_or_else(|| Refused("Missing user message in `input`.".into()))?;
        let images = self.images.into_iter().map(|(_, image)| image).collect();
        Ok(Prompt { text, images, system: system(self.system, &self.files, rules)?, results: self.results })
    }
}

fn system(mut texts: Vec<String>, files: &[Sent], rules: &FileRules) -> Result<Option<String>, Refused> {
    if files.len() > limits::PROGRAM_FILES {
        return Err(Refused(format!("input: at most {} files are taken with one request", limits::PROGRAM_FILES)));
    }
    for file in files {
        texts.push(file.read(rules)?.tagged());
    }
    texts.retain(|text| !text.trim().is_empty());
    Ok((!texts.is_empty()).then(|| texts.join("\n\n")))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn prompt(input: Value) -> Result<Prompt, String> {
        let body = json!({"model": "openclaw", "instructions": "Be kind.", "input": input});
        let mut request = Request::read(body.to_string().as_bytes()).unwrap();
        let known = |id: &str| (id == "msg_1").then(|| "said before".to_string());
        request.prompt(&FileRules::default(), known).map_err(|fault| fault.0)
    }

    #[test]
    fn the_recorded_items_become_a_prompt_and_a_system_prompt() {
        let found = prompt(json!([
            {"type": "message", "role": "developer", "content": "dev note"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "two"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "three"}]},
        ]))
        .unwrap();
        assert_eq!(found.system.as_deref(), Some("Be kind.\n\ndev note"));
        assert!(found.text.ends_with("User: one\nAssistant: two\n\n[Current message - respond to this]\nUser: three"));
    }

    #[test]
    fn results_of_tools_are_answered_with_their_calls_before_them() {
        let found = prompt(json!([
            {"role": "user", "content": "w?"},
            {"type": "function_call", "call_id": "c1", "name": "w", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": ""},
        ]));
        let expected = "User: w?\nAssistant: tool_call id=c1 name=w arguments={}\n\n\
                        [Current message - respond to this]\nTool:c1: ";
        assert!(found.unwrap().text.ends_with(expected));
        let alone = prompt(json!([{"type": "function_call_output", "call_id": "c1", "output": "4 C"}])).unwrap();
        assert_eq!(alone.text, "Tool:c1: 4 C");
        assert_eq!(alone.results, [("c1".to_string(), "4 C".to_string())]);
    }

    #[test]
    fn items_named_by_id_are_filled_in_or_said_to_be_missing() {
        let found = prompt(json!([
            {"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_1"},
            {"type": "item_reference", "id": "msg_2"}, {"role": "user", "content": "y"},
        ]))
        .unwrap();
        assert!(
            found.text.contains("Assistant: said before\nAssistant: [an earlier message that is no longer kept]\n")
        );
    }

    #[test]
    fn only_so_many_are_looked_up() {
        let named = |count: usize| {
            let body = json!({"model": "m", "input": vec![json!({"id": "msg_1"}); count]});
            Request::read(body.to_string().as_bytes()).unwrap().references().map(|ids| ids.len())
        };
        assert_eq!(named(limits::PREVIOUS_REFERENCES), Ok(limits::PREVIOUS_REFERENCES));
        assert!(named(limits::PREVIOUS_REFERENCES + 1).is_err());
    }

    #[test]
    fn pictures_of_the_current_message_go_along_and_others_are_mentioned() {
        let picture = json!({"type": "input_image", "image_url": "data:image/png;base64,AAAA"});
        let text = |text: &str| json!({"type": "input_text", "text": text});
        let found = prompt(json!([
            {"role": "user", "content": [text("first"), picture]}, {"role": "assistant", "content": "ok"},
            {"role": "user", "content": [picture, picture]},
        ]))
        .unwrap();
        assert_eq!(found.images.len(), 2);
        assert!(
            found.text.contains("User: first [image]\n") && found.text.ends_with("User sent image(s) with no text.")
        );
    }

    #[test]
    fn files_stand_in_the_system_prompt() {
        let file = json!({"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,SGVs"});
        let found = prompt(json!([{"role": "user", "content": [file]}])).unwrap();
        assert_eq!(found.system.as_deref(), Some("Be kind.\n\n<file name=\"a.txt\">\nHel\n</file>"));
        assert_eq!(found.text, "User sent file(s) with no text.");
        let many = vec![file; limits::PROGRAM_FILES + 1];
        assert!(prompt(json!([{"role": "user", "content": many}])).unwrap_err().contains("at most 16 files"));
    }

    #[test]
    fn somebody_has_to_have_said_something() {
        for input in [json!([]), json!(""), json!([{"role": "system", "content": "x"}])] {
            assert_eq!(prompt(input).unwrap_err(), "Missing user message in `input`.");
        }
    }
}
