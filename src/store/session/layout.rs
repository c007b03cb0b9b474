//! White space of JSON texts: indented as the original writes its files, or none at all. Works on texts that are
//! known to be valid JSON, without building values; knows nothing of what they say.

use crate::limits;

/// Blanks of one level, as in the original's files.
const INDENT: usize = 2;

/// The text without white space between tokens.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for token in Tokens::new(json) {
        out.push_str(token);
    }
    out
}

/// Appends the text with one member or item a line, as it stands at nesting `level`. Texts nested deeper than any real
/// one stay on one line, because their indentation alone could fill the memory.
pub fn pretty(json: &str, level: usize, out: &mut String) {
    if depth(json) > limits::JSON_DEPTH {
        out.push_str(&compact(json));
        return;
    }
    let mut level = level;
    let mut tokens = Tokens::new(json).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                out.push_str(token);
                if matches!(tokens.peek(), Some(&"}") | Some(&"]")) {
                    out.push_str(tokens.next().unwrap_or_default());
                    continue;
                }
                level += 1;
                line(level, out);
            }
            "}" | "]" => {
                level = level.saturating_sub(1);
                line(level, out);
                out.push_str(token);
            }
            "," => {
                out.push(',');
                line(level, out);
            }
            ":" => out.push_str(": "),
            _ => out.push_str(token),
        }
    }
}

fn line(level: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', level * INDENT));
}

fn depth(json: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for token in Tokens::new(json) {
        match token {
            "{" | "[" => depth += 1,
            "}" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Brackets, commas, colons, texts with their quotes, and everything else up to the next of these.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn new(json: &'a str) -> Tokens<'a> {
        Tokens { rest: json }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start_matches([' ', '\n', '\r', '\t']);
        let first = rest.bytes().next()?;
        let length = match first {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => quoted(rest),
            _ => rest.find([',', ':', '{', '}', '[', ']', '"', ' ', '\n', '\r', '\t']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at_checked(length)?;
        self.rest = after;
        Some(token)
    }
}

/// Bytes of the text that starts here, both quotes included.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn printed(json: &str) -> String {
        let mut out = String::new();
        pretty(json, 0, &mut out);
        out
    }

    #[test]
    fn indents_as_the_original_does() {
        let json = r#"{"a":[],"b":{ },"c":[1,{"d":"x, \"y\" : {"}],"e":-1.5e3}"#;
        let text = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": \"x, \\\"y\\\" : {\"\n    }\n  ],\n  \"e\": -1.5e3\n}";
        assert_eq!(printed(json), text);
        assert_eq!(compact(text), json.replace("{ }", "{}"));
        assert_eq!(printed(text), text);
    }

    #[test]
    fn agrees_with_the_printer_of_serde() {
        let json = r#"{"a":{"b":[[],[1,2,[{}]],null,true],"c":"é\\"},"z":""}"#;
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(printed(json), serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn absurd_nesting_stays_on_one_line() {
        let json = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
        assert_eq!(printed(&json), json);
    }

    #[test]
    fn cut_texts_do_not_panic() {
        let json = r#"{"a":["é\"",{"b":1}]}"#;
        for cut in (0..json.len()).filter(|cut| json.is_char_boundary(*cut)) {
            printed(&json[..cut]);
        }
    }
}
