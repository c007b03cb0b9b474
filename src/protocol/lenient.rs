//! JSON as programs in JavaScript and Python write it, read into what handlers expect: numbers without a fraction become
//! integers, and half a surrogate pair (a text that was cut in the midst of a character) becomes U+FFFD, which is what
//! the original's runtime makes of it. Pure; knows no shape.

use serde_json::{Number, Value};

use super::check;

/// Reads a text.
///
/// # Errors
/// What is no JSON for JavaScript either, or nested too deeply.
pub fn value(text: &str) -> Result<Value, serde_json::Error> {
    let read = serde_json::from_str(text);
    // Only a text that cannot be read is looked through.
    let mended = if read.is_err() { with_whole_pairs(text) } else { None };
    mended.map_or(read, |text| serde_json::from_str(&text)).map(with_integers)
}

/// Turns `3.0` and `1e3` into integers, as JavaScript has them, so that handlers need not care.
pub fn with_integers(mut value: Value) -> Value {
    make_integers(&mut value);
    value
}

fn make_integers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(integer) = number.as_f64().and_then(check::whole_float) {
                *number = Number::from(integer);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_integers),
        Value::Object(members) => members.values_mut().for_each(make_integers),
        _ => {}
    }
}

/// The text with another character for each half of a pair; none when there is no half, or no JSON.
fn with_whole_pairs(text: &str) -> Option<String> {
    let unit = |at: usize| u16::from_str_radix(text.get(at..at + 6)?.strip_prefix("\\u")?, 16).ok();
    let (mut out, mut kept, mut at) = (String::new(), 0, 0);
    while let Some(found) = text.get(at..)?.find('\\') {
        at += found;
        at += match unit(at) {
            None => 2,
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                out.push_str(text.get(kept..at)?);
                out.push_str("\\ufffd");
                kept = at + 6;
                6
            }
            Some(_) => 6,
        };
    }
    out.push_str(text.get(kept..)?);
    (kept > 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cut_within_a_character_is_read_and_a_whole_one_stays() {
        let read = |text: &str| value(&format!("\"{text}\"")).map(|read| read.as_str().unwrap().to_string());
        for (text, expected) in [
            (r"a\ud83d", "a\u{fffd}"),
            (r"\ude00b", "\u{fffd}b"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\ud83d\n\uD83Dé", "\u{fffd}\n\u{fffd}é"),
            (r"\\ud83d", r"\ud83d"),
            (r"\\\ud83d", "\\\u{fffd}"),
            (r"\ud83d\ude00", "\u{1f600}"),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for text in [r"\ud83", r"\ud83d\x", r"\ud83d\", r"\é", r"\ud83d\u12é"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_without_a_fraction_are_integers_as_far_as_floats_count() {
        let read = value("[5.0, -5e0, 1e3, 5.5, 9007199254740994.0, 9007199254740993]").unwrap();
        assert_eq!(read.to_string(), "[5,-5,1000,5.5,9007199254740994.0,9007199254740993]");
    }
}
