//! Templates of hook mappings: `{{path}}` of a request put into a text (http.md 10.4). Looks things up and nothing else:
//! no code, no functions, no members that JavaScript would have. What comes out is bounded.

use serde_json::Value;

use crate::limits;
use crate::sys::date;

/// What templates may name.
#[derive(Clone)]
pub struct Source<'a> {
    /// The path below the hooks' own.
    pub path: &'a str,
    /// Headers by lower-case name.
    pub headers: &'a [(String, String)],
    /// The query.
    pub query: &'a [(String, String)],
    /// The body.
    pub payload: &'a Value,
    /// The moment, in milliseconds.
    pub now_ms: u64,
}

/// Names that mean something in JavaScript objects; a mapping that asks for one is a mistake or a trick.
const BLOCKED: &[&str] = &["__proto__", "prototype", "constructor"];

/// A template with its expressions replaced, at most `HOOK_TEXT_BYTES` long.
pub fn render(template: &str, source: &Source<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        push(&mut out, before);
        let Some((expression, behind)) = after.split_once("}}").filter(|(inside, _)| !inside.contains('}')) else {
            push(&mut out, "{{");
            rest = after;
            continue;
        };
        push(&mut out, &source.look_up(expression.trim()));
        rest = behind;
    }
    push(&mut out, rest);
    out
}

fn push(out: &mut String, text: &str) {
    let room = limits::HOOK_TEXT_BYTES.saturating_sub(out.len());
    out.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or_default());
}

impl Source<'_> {
    fn look_up(&self, expression: &str) -> String {
        let pair = |list: &[(String, String)], name: &str| {
            list.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        match expression.split_once('.') {
            None if expression == "path" => self.path.to_string(),
            None if expression == "now" => date::iso_utc(self.now_ms),
            Some(("headers", name)) => pair(self.headers, name),
            Some(("query", name)) => pair(self.query, name),
            Some(("payload", path)) => text(member(self.payload, path)),
            _ => text(member(self.payload, expression)),
        }
    }
}

/// Strings as they are, nothing as nothing, the rest as JSON.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The member at a path such as `messages[0].from`.
fn member<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return None;
    }
    let mut at = root;
    for step in path.split('.') {
        let (name, indices) = step.split_once('[').map_or((step, None), |(name, rest)| (name, Some(rest)));
        if !name.is_empty() {
            at = at.get(name).filter(|_| !BLOCKED.contains(&name))?;
        }
        for index in indices.into_iter().flat_map(|indices| indices.split('[')) {
            let index: usize = index.strip_suffix(']')?.parse().ok()?;
            at = at.as_array()?.get(index)?;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> String {
        let payload = json!({"name": "web", "n": 7, "ok": true, "none": null, "list": [{"a": "x"}, [1, 2]],
            "object": {"k": [1]}, "__proto__": {"x": 1}, "constructor": "c"});
        let headers = [("x-ci".to_string(), "jenkins".to_string())];
        let query = [("who".to_string(), "me".to_string())];
        let now_ms = 1_760_000_000_000;
        render(template, &Source { path: "ci/x", headers: &headers, query: &query, payload: &payload, now_ms })
    }

    #[test]
    fn expressions_name_the_request() {
        for (template, text) in [
            ("{{name}} {{ payload.name }}", "web web"),
            ("{{n}} {{ok}} [{{none}}{{gone}}{{gone.deep}}{{n.deep}}]", "7 true []"),
            ("{{list[0].a}}{{list[1][1]}}{{payload.list[1]}}", "x2[1,2]"),
            ("{{object}}", r#"{"k":[1]}"#),
            ("{{path}} {{headers.x-ci}} {{query.who}}{{query.gone}}", "ci/x jenkins me"),
            ("{{now}}", "2025-10-09T08:53:20.000Z"),
            ("{{list[9].a}}{{list[x]}}{{list[0}}{{list[-1]}}{{name[0]}}", ""),
            ("{{__proto__.x}}{{constructor}}{{object.prototype}}", ""),
            ("{{ {name} }} {{name", "{{ {name} }} {{name"),
            ("{{}}{{ }}a}}b", "a}}b"),
            ("{{1+1}}{{name.toString()}}{{list.length}}", ""),
        ] {
            assert_eq!(rendered(template), text, "{template}");
        }
    }

    #[test]
    fn a_template_cannot_swell_without_end() {
        let payload = json!({"big": "ä".repeat(limits::HOOK_TEXT_BYTES / 4)});
        let source = Source { path: "", headers: &[], query: &[], payload: &payload, now_ms: 0 };
        let text = render(&"{{big}}".repeat(10_000), &source);
        assert!(text.len() <= limits::HOOK_TEXT_BYTES && text.len() > limits::HOOK_TEXT_BYTES - 4);
    }
}
