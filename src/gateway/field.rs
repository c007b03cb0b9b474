//! Free text that peers say about themselves, made fit to keep and to show: cut, trimmed, without control characters.
//! Knows nothing of which field it is.

use crate::limits;

/// A kept text, or nothing when nothing is left of it.
pub fn text(raw: &str) -> Option<String> {
    let visible = raw.chars().filter(|c| !is_unwanted(*c)).take(limits::PRESENCE_TEXT_CHARS);
    let kept: String = visible.collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_string())
}

/// The same for an optional field.
pub fn optional(raw: Option<&str>) -> Option<String> {
    raw.and_then(text)
}

/// A list of kept texts without duplicates, in order, cut to the usual number of items.
pub fn list<'a>(raw: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    merge(&mut kept, raw);
    kept
}

/// Adds texts that are not there yet, up to the usual number of items.
pub fn merge<'a>(kept: &mut Vec<String>, raw: impl IntoIterator<Item = &'a str>) {
    for item in raw {
        if kept.len() >= limits::PRESENCE_LIST_ITEMS {
            return;
        }
        if let Some(item) = text(item).filter(|item| !kept.contains(item)) {
            kept.push(item);
        }
    }
}

/// Control characters and the marks that turn text around: both can fake what a person reads in a list.
fn is_unwanted(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_trimmed_and_cleaned() {
        assert_eq!(text("  Pi\u{1b}[31m\n ").as_deref(), Some("Pi[31m"));
        assert_eq!(text("\u{202e}txt").as_deref(), Some("txt"));
        assert_eq!(text(" \n\t"), None);
        assert_eq!(text(&"ü".repeat(600)).unwrap().chars().count(), limits::PRESENCE_TEXT_CHARS);
    }

    #[test]
    fn lists_have_no_duplicates_and_an_end() {
        assert_eq!(list(["a", " a ", "", "b"]), ["a", "b"]);
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(list(many.iter().map(String::as_str)).len(), limits::PRESENCE_LIST_ITEMS);
    }
}
