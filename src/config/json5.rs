//! The JSON5 dialect of configuration files, read into plain JSON values.
//! Owns leniencies, bounds and positions; the only place that names `jsonc_parser`. Knows no key.

use std::fmt;
use std::path::{Path, PathBuf};

use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Number, Value};

use crate::limits;

/// A parsed text and what was odd about it.
#[derive(Debug)]
pub struct Parsed {
    /// The value; an empty text is an empty object.
    pub value: Value,
    /// Keys that stood twice in one object, each with its place; the last one counts.
    pub duplicates: Vec<Duplicate>,
}

/// A key that stands a second time in one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The dotted path of the key.
    pub path: String,
    /// Line of the second occurrence, from 1.
    pub line: usize,
    /// Column of the second occurrence, from 1, in characters.
    pub column: usize,
}

/// Why a text is not configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The file, when the text came from one.
    pub file: Option<PathBuf>,
    /// Line, from 1; 0 when the fault has no place.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// What was expected or found.
    pub text: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        match self.line {
            0 => write!(f, "{}{}", if self.file.is_some() { " " } else { "" }, self.text),
            line => write!(f, "{line}:{}: {}", self.column, self.text),
        }
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    /// The same error, naming its file.
    pub fn in_file(mut self, file: &Path) -> ParseError {
        self.file = Some(file.to_path_buf());
        self
    }
}

/// Parses a configuration text: comments, trailing commas, bare keys, single quotes and JSON5 numbers are welcome.
pub fn parse(text: &str) -> Result<Parsed, ParseError> {
    if text.len() > limits::CONFIG_BYTES {
        let text = format!("file is {} bytes, the limit is {}", text.len(), limits::CONFIG_BYTES);
        return Err(ParseError { file: None, line: 0, column: 0, text });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_depth(text)?;
    let tree = parse_to_ast(text, &CollectOptions::default(), &options()).map_err(|error| fault(text, &error))?;
    let mut reader = Reader { text, path: Vec::new(), duplicates: Vec::new() };
    let value = match tree.value {
        Some(value) => reader.value(value)?,
        None => Value::Object(Map::new()),
    };
    Ok(Parsed { value, duplicates: reader.duplicates })
}

/// Line and column of the value at a dotted path, both from 1; none when the text does not hold it.
pub fn locate(text: &str, path: &str) -> Option<(usize, usize)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_depth(text).ok()?;
    let tree = parse_to_ast(text, &CollectOptions::default(), &options()).ok()?;
    let mut value = tree.value.as_ref()?;
    let mut start = value.range().start;
    for step in path.split('.') {
        value = match value {
            ast::Value::Object(object) => {
                let named = object.properties.iter().rev().find(|prop| prop.name.as_str() == step)?;
                start = named.name.range().start;
                &named.value
            }
            ast::Value::Array(array) => {
                let item = array.elements.get(step.parse::<usize>().ok()?)?;
                start = item.range().start;
                item
            }
            _ => return None,
        };
    }
    Some(place(text, start))
}

/// How every configuration text is read.
pub(super) fn options() -> ParseOptions {
    ParseOptions { allow_missing_commas: false, ..ParseOptions::default() }
}

struct Reader<'a> {
    text: &'a str,
    path: Vec<String>,
    duplicates: Vec<Duplicate>,
}

impl Reader<'_> {
    fn value(&mut self, value: ast::Value<'_>) -> Result<Value, ParseError> {
        Ok(match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(lit) => Value::Bool(lit.value),
            ast::Value::StringLit(lit) => Value::String(lit.value.into_owned()),
            ast::Value::NumberLit(lit) => {
                let number = number(lit.value);
                number.ok_or_else(|| at(self.text, lit.range.start, not_a_number(lit.value)))?
            }
            ast::Value::Array(array) => self.array(array)?,
            ast::Value::Object(object) => self.object(object)?,
        })
    }

    fn array(&mut self, array: ast::Array<'_>) -> Result<Value, ParseError> {
        let mut items = Vec::with_capacity(array.elements.len());
        for (index, item) in array.elements.into_iter().enumerate() {
            self.path.push(index.to_string());
            items.push(self.value(item)?);
            self.path.pop();
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self, object: ast::Object<'_>) -> Result<Value, ParseError> {
        let mut members = Map::new();
        for prop in object.properties {
            let start = prop.name.range().start;
            let name = match prop.name {
                ObjectPropName::String(lit) => lit.value.into_owned(),
                ObjectPropName::Word(lit) => lit.value.to_string(),
            };
            self.path.push(name.clone());
            let value = self.value(prop.value)?;
            if members.insert(name, value).is_some() {
                self.duplicate(start);
            }
            self.path.pop();
        }
        Ok(Value::Object(members))
    }

    fn duplicate(&mut self, start: usize) {
        if self.duplicates.len() < limits::FAULTS {
            let (line, column) = place(self.text, start);
            self.duplicates.push(Duplicate { path: self.path.join("."), line, column });
        }
    }
}

/// A JSON5 number as JSON: hexadecimal, a leading plus and bare decimal points are rewritten; no infinities.
fn number(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let magnitude = i64::try_from(u64::from_str_radix(hex, 16).ok()?).ok()?;
        return Some(Value::from(if negative { -magnitude } else { magnitude }));
    }
    if let Ok(whole) = digits.parse::<u64>() {
        return match (negative, i64::try_from(whole)) {
            (false, _) => Some(Value::from(whole)),
            (true, Ok(whole)) => Some(Value::from(-whole)),
            (true, Err(_)) => None,
        };
    }
    let value: f64 = digits.parse().ok().filter(|_| !digits.starts_with(['I', 'N', 'i', 'n']))?;
    let value = if negative { -value } else { value };
    whole(value).map(Value::from).or_else(|| Number::from_f64(value).map(Value::Number))
}

/// `6e4` and `5.` are whole numbers to the programs that wrote these files; exact up to 2^53.
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT).then(|| format!("{value:.0}").parse().ok()).flatten()
}

/// The number itself is not repeated: it may be an unquoted secret.
fn not_a_number(text: &str) -> String {
    let found = if text.ends_with(['y', 'N']) { text } else { "one that is out of range" };
    format!("expected a finite number, found {found}")
}

fn fault(text: &str, error: &jsonc_parser::errors::ParseError) -> ParseError {
    let start = error.range().start;
    let (line, column) = place(text, start);
    ParseError { file: None, line, column, text: expectation(text, start, error.kind()) }
}

/// Said of unquoted text where a value belongs; the word itself may be a secret.
const BARE_WORD: &str = "expected a value, found a bare word (text needs quotes)";

fn starts_word(text: &str, start: usize) -> bool {
    text.get(start..).and_then(|rest| rest.chars().next()).is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// What a person needs to read at that place.
fn expectation(text: &str, start: usize, kind: &ParseErrorKind) -> String {
    use ParseErrorKind as K;
    let found = || match text.get(start..).and_then(|rest| rest.chars().next()) {
        Some(c) => format!("found {c:?}"),
        None => "found the end of the file".to_string(),
    };
    match kind {
        K::ExpectedColonAfterObjectKey => format!("expected ':' after a key, {}", found()),
        K::ExpectedObjectValue => format!("expected a value after ':', {}", found()),
        K::ExpectedComma => "expected ',' or a closing bracket".to_string(),
        K::MultipleRootJsonValues => "expected the end of the file after the first value".to_string(),
        K::UnterminatedObject => "expected '}' to close the object that starts here".to_string(),
        K::UnterminatedArray => "expected ']' to close the list that starts here".to_string(),
        K::UnterminatedCommentBlock => "expected '*/' to close the comment that starts here".to_string(),
        K::UnexpectedWord => BARE_WORD.to_string(),
        K::UnexpectedToken if starts_word(text, start) => BARE_WORD.to_string(),
        K::UnexpectedTokenInObject => format!("expected a key or '}}', {}", found()),
        K::UnexpectedCloseBrace | K::UnexpectedCloseBracket | K::UnexpectedColon | K::UnexpectedComma => {
            format!("expected a value, {}", found())
        }
        K::UnexpectedToken => format!("expected a value or a key, {}", found()),
        K::ExpectedDigit | K::ExpectedDigitFollowingNegativeSign | K::ExpectedPlusMinusOrDigitInNumberLiteral => {
            format!("expected a digit in the number, {}", found())
        }
        K::NestingDepthExceeded => too_deep(),
        other => other.to_string().to_lowercase(),
    }
}

fn too_deep() -> String {
    format!("nesting is deeper than {} levels", limits::CONFIG_DEPTH)
}

fn at(text: &str, start: usize, message: String) -> ParseError {
    let (line, column) = place(text, start);
    ParseError { file: None, line, column, text: message }
}

/// Line and column of a byte offset, both from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

/// Refuses deep nesting before the recursive parser sees it: the parser's own limit is 512 levels.
fn check_depth(text: &str) -> Result<(), ParseError> {
    let mut depth = 0usize;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'"' | b'\'' => skip_string(&mut bytes, byte),
            b'/' => skip_comment(&mut bytes),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limits::CONFIG_DEPTH {
            return Err(at(text, index, too_deep()));
        }
    }
    Ok(())
}

type Bytes<'a> = std::iter::Peekable<std::iter::Enumerate<std::str::Bytes<'a>>>;

fn skip_string(bytes: &mut Bytes<'_>, quote: u8) {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            byte if byte == quote => return,
            _ => {}
        }
    }
}

fn skip_comment(bytes: &mut Bytes<'_>) {
    match bytes.peek() {
        Some((_, b'/')) => while bytes.next_if(|(_, byte)| !matches!(byte, b'\n' | b'\r')).is_some() {},
        Some((_, b'*')) => {
            bytes.next();
            while let Some((_, byte)) = bytes.next() {
                if byte == b'*' && bytes.next_if(|(_, byte)| *byte == b'/').is_some() {
                    return;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        parse(text).unwrap().value
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_leniency_of_json5() {
        let text = "\u{feff}// head\n{ a: 'it\\'s', /* b */ \"c\": [1, 0x1F, +2, .5, 5., -3e2,], $d_1: null, e: true, 7: 1, }\n";
        let expected = json!({"a": "it's", "c": [1, 31, 2, 0.5, 5, -300], "$d_1": null, "e": true, "7": 1});
        assert_eq!(value(text), expected);
    }

    #[test]
    fn a_value_is_found_at_its_path() {
        let text =
            "\u{feff}{ // é\n  gateway: { port: 1, 'port': 'x' },\n  agents: { list: [{ id: 'a' },\n    { id: 5 }] } }";
        assert_eq!(locate(text, "gateway.port"), Some((2, 23)));
        assert_eq!(locate(text, "agents.list.1"), Some((4, 5)));
        assert_eq!(locate(text, "agents.list.1.id"), Some((4, 7)));
        for absent in ["", "gateway.bind", "gateway.port.x", "agents.list.2", "agents.list.x"] {
            assert_eq!(locate(text, absent), None, "{absent}");
        }
        assert_eq!(locate("{ broken", "broken"), None);
    }

    #[test]
    fn an_empty_text_is_an_empty_object() {
        assert_eq!(value("  // nothing\n"), json!({}));
    }

    #[test]
    fn numbers_stay_exact_or_are_refused() {
        assert_eq!(value("[18446744073709551615, -9223372036854775807, -0x10]"), json!([u64::MAX, -i64::MAX, -16]));
        assert_eq!(error("{a:\n Infinity}"), "2:2: expected a finite number, found Infinity");
        assert_eq!(error("[-NaN]"), "1:2: expected a finite number, found -NaN");
        assert_eq!(error("[1e999]"), "1:2: expected a finite number, found one that is out of range");
        assert_eq!(error("[0xFFFFFFFFFFFFFFFFFF]"), error("[1e999]"));
    }

    #[test]
    fn errors_name_the_place_and_what_was_expected() {
        assert_eq!(error("{\n  a 1\n}"), "2:5: expected ':' after a key, found '1'");
        assert_eq!(error("{ a: }"), "1:6: expected a value, found '}'");
        assert_eq!(error("{ a: 1 b: 2 }"), "1:7: expected ',' or a closing bracket");
        assert_eq!(error("{ a: local }"), "1:6: expected a value, found a bare word (text needs quotes)");
        assert_eq!(error("{ a: 1"), "1:1: expected '}' to close the object that starts here");
        assert_eq!(error("{} {}"), "1:4: expected the end of the file after the first value");
        assert_eq!(error("/* x"), "1:1: expected '*/' to close the comment that starts here");
        assert_eq!(error("{ä: 1, ö: :}"), "1:11: expected a value, found ':'");
    }

    #[test]
    fn an_error_can_name_its_file() {
        let error = parse("[").unwrap_err().in_file(Path::new("/c/openclaw.json"));
        assert_eq!(error.to_string(), "/c/openclaw.json:1:1: expected ']' to close the list that starts here");
    }

    #[test]
    fn an_unquoted_secret_is_not_repeated() {
        for text in ["{token: canary1}", "{token: 1canary}", "{token: 99999999999999999999e9999}", "{token 'canary'}"] {
            let error = error(text);
            assert!(!error.contains("canary") && !error.contains("9999"), "{error}");
        }
    }

    #[test]
    fn a_second_key_wins_and_is_reported() {
        let parsed = parse("{ a: { b: 1,\n b: 2 } }").unwrap();
        assert_eq!(parsed.value, json!({"a": {"b": 2}}));
        assert_eq!(parsed.duplicates, [Duplicate { path: "a.b".to_string(), line: 2, column: 2 }]);
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_text_do_not_count() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(limits::CONFIG_DEPTH)).is_ok());
        assert_eq!(error(&deep(limits::CONFIG_DEPTH + 1)), "1:65: nesting is deeper than 64 levels");
        assert!(parse(&format!("['{}', \"\\\"{}\"] // {}", deep(90), "[".repeat(90), "[".repeat(90))).is_ok());
        assert!(parse(&format!("/*{}*/ 1", "{".repeat(90))).is_ok());
    }

    #[test]
    fn size_is_bounded() {
        let text = " ".repeat(limits::CONFIG_BYTES + 1);
        assert_eq!(error(&text), format!("file is {} bytes, the limit is 4194304", text.len()));
    }
}
