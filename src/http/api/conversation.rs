//! A conversation as one text for the agent (http.md 6.3): what was said before as context, then what is to be answered.

/// Who said something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool, for the call of this id.
    Tool(String),
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// By whom.
    pub speaker: Speaker,
    /// What.
    pub text: String,
}

impl Line {
    fn asks(&self) -> bool {
        self.speaker != Speaker::Assistant
    }

    fn labelled(&self) -> String {
        match &self.speaker {
            Speaker::User => format!("User: {}", self.text),
            Speaker::Assistant => format!("Assistant: {}", self.text),
            Speaker::Tool(id) => format!("Tool:{id}: {}", self.text),
        }
    }
}

/// Where the current message stands: the last one that is not the model's own, else the last.
pub fn current(lines: &[Line]) -> Option<usize> {
    lines.iter().rposition(Line::asks).or_else(|| lines.len().checked_sub(1))
}

/// The text for the agent; none when nothing was said.
pub fn prompt(lines: &[Line]) -> Option<String> {
    let (last, before) = lines.get(..=current(lines)?)?.split_last()?;
    if before.is_empty() && !matches!(last.speaker, Speaker::Tool(_)) {
        return Some(last.text.clone());
    }
    if before.is_empty() {
        return Some(last.labelled());
    }
    let before: Vec<String> = before.iter().map(Line::labelled).collect();
    Some(format!(
        "[Chat messages since your last reply - for context]\n{}\n\n[Current message - respond to this]\n{}",
        before.join("\n"),
        last.labelled()
    ))
}

/// A call of a tool, as it stands in a conversation.
pub fn call_text(id: &str, name: &str, arguments: &str) -> String {
    format!("tool_call id={id} name={name} arguments={arguments}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(speaker: Speaker, text: &str) -> Line {
        Line { speaker, text: text.into() }
    }

    #[test]
    fn one_message_stands_as_it_is_and_several_as_context() {
        assert_eq!(prompt(&[line(Speaker::User, "hi")]).as_deref(), Some("hi"));
        assert_eq!(prompt(&[line(Speaker::Tool("c1".into()), "4 C")]).as_deref(), Some("Tool:c1: 4 C"));
        assert_eq!(prompt(&[]), None);
        let lines = [
            line(Speaker::User, "one"),
            line(Speaker::Assistant, "two"),
            line(Speaker::User, "three"),
            line(Speaker::Assistant, "cut off"),
        ];
        let expected = "[Chat messages since your last reply - for context]\nUser: one\nAssistant: two\n\n\
                        [Current message - respond to this]\nUser: three";
        assert_eq!(prompt(&lines).as_deref(), Some(expected));
        assert_eq!(prompt(&lines[1..2]).as_deref(), Some("two"));
    }
}
