//! `POST /v1/embeddings` as text: the request's form and limits, the answer's form (http.md 7). Pure; who turns the
//! texts into vectors is not known here.

use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde_json::{Map, Value};

use super::{fields, invalid};
use crate::http::reply::Reply;
use crate::limits;

/// What a program asks for.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// `model`, as written; the answer repeats it.
    pub model: String,
    /// The texts; at least one, none empty.
    pub texts: Vec<String>,
    /// How the vectors are written.
    pub form: Form,
    /// Length of the vectors.
    pub dimensions: Option<usize>,
}

/// `encoding_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Numbers.
    Float,
    /// Bytes of 32-bit floats, little end first, in base64.
    Base64,
}

/// Reads a body; an empty one counts as an object. The types are judged first, then what is missing, then the limits.
pub fn parse(body: &[u8]) -> Result<Request, Reply> {
    read(body).map_err(|text| invalid(&text))
}

fn read(body: &[u8]) -> Result<Request, String> {
    let body = fields::body(body)?;
    let model = fields::text(&body, "model")?;
    let texts = fields::typed(&body, "input", "", Some)?.map(|input| texts(input).ok_or("input: Invalid input"));
    let texts = texts.transpose()?;
    let form = form(&body)?;
    let dimensions = fields::count(&body, "dimensions")?.map(length_of).transpose()?;
    fields::text(&body, "user")?;
    let model = model.filter(|model| !model.trim().is_empty()).ok_or("Missing `model`.")?;
    let texts = texts.ok_or("`input` must be a string or an array of strings.")?;
    check_texts(&texts)?;
    Ok(Request { model: model.to_string(), texts, form, dimensions })
}

/// Judges the texts' number and length.
fn check_texts(texts: &[String]) -> Result<(), String> {
    let fault = if texts.is_empty() || texts.iter().any(String::is_empty) {
        "`input` must contain at least one non-empty string.".to_string()
    } else if texts.len() > limits::EMBED_TEXTS {
        format!("Too many inputs (max {}).", limits::EMBED_TEXTS)
    } else if texts.iter().any(|text| length(text) > limits::EMBED_TEXT_CHARS) {
        format!("Input too long (max {} chars).", limits::EMBED_TEXT_CHARS)
    } else if texts.iter().map(|text| length(text)).sum::<usize>() > limits::EMBED_CHARS {
        format!("Total input too large (max {} chars).", limits::EMBED_CHARS)
    } else {
        return Ok(());
    };
    Err(fault)
}

/// Characters as JavaScript counts them.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

fn texts(input: &Value) -> Option<Vec<String>> {
    match input {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_string)).collect(),
        _ => None,
    }
}

fn form(body: &Map<String, Value>) -> Result<Form, String> {
    match fields::typed(body, "encoding_format", "", Some)?.map(Value::as_str) {
        None | Some(Some("float")) => Ok(Form::Float),
        Some(Some("base64")) => Ok(Form::Base64),
        Some(_) => Err(r#"encoding_format: Invalid option: expected one of "float"|"base64""#.to_string()),
    }
}

fn length_of(dimensions: u64) -> Result<usize, String> {
    let length = usize::try_from(dimensions).ok().filter(|length| *length <= limits::EMBED_DIMENSIONS);
    length.ok_or_else(|| format!("dimensions: Too big: expected int to be <={}", limits::EMBED_DIMENSIONS))
}

/// The answer with these vectors.
pub fn answer(model: &str, rows: &mut dyn Iterator<Item = &[f32]>, form: Form, tokens: u64) -> Reply {
    let mut out = String::from(r#"{"object":"list","data":["#);
    for (index, row) in rows.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, r#"{comma}{{"object":"embedding","index":{index},"embedding":"#);
        match form {
            Form::Float => numbers(&mut out, row),
            Form::Base64 => bytes(&mut out, row),
        }
        out.push('}');
    }
    let model = Value::from(model);
    let _ = write!(out, r#"],"model":{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#);
    Reply::json(200, out)
}

fn numbers(out: &mut String, row: &[f32]) {
    out.push('[');
    for (at, number) in row.iter().enumerate() {
        // the shortest digits that give the same float again
        let _ = if at > 0 { write!(out, ",{number}") } else { write!(out, "{number}") };
    }
    out.push(']');
}

fn bytes(out: &mut String, row: &[f32]) {
    let bytes: Vec<u8> = row.iter().flat_map(|number| number.to_le_bytes()).collect();
    out.push('"');
    BASE64.encode_string(&bytes, out);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(body: &Value) -> String {
        read(body.to_string().as_bytes()).unwrap_err()
    }

    fn refused(texts: &[String]) -> Option<String> {
        let reply = parse(json!({"model": "openclaw", "input": texts}).to_string().as_bytes()).err()?;
        let body: Value = serde_json::from_slice(reply.body_bytes()).unwrap();
        assert_eq!((reply.status(), &body["error"]["type"]), (400, &json!("invalid_request_error")));
        Some(body["error"]["message"].as_str().unwrap().to_string())
    }

    #[test]
    fn a_text_or_a_list_of_texts_is_taken() {
        let body = br#"{"model":"openclaw","input":"a","encoding_format":"base64","dimensions":2.0,"user":"u","x":1}"#;
        let want =
            Request { model: "openclaw".into(), texts: vec!["a".into()], form: Form::Base64, dimensions: Some(2) };
        assert_eq!(parse(body).unwrap(), want);
        let many = parse(br#"{"model":"m","input":["a","b"]}"#).unwrap();
        assert_eq!((many.texts.len(), many.form, many.dimensions), (2, Form::Float, None));
    }

    #[test]
    fn wrong_types_are_told_in_the_validators_words() {
        let rows = [
            (json!([]), ": Invalid input: expected object, received array"),
            (json!({"model": 1}), "model: Invalid input: expected string, received number"),
            (json!({"model": null, "input": 3}), "input: Invalid input"),
            (json!({"input": [1, 2]}), "input: Invalid input"),
            (json!({"model": "m", "input": null}), "`input` must be a string or an array of strings."),
            (json!({"encoding_format": "x"}), r#"encoding_format: Invalid option: expected one of "float"|"base64""#),
            (json!({"encoding_format": []}), r#"encoding_format: Invalid option: expected one of "float"|"base64""#),
            (json!({"dimensions": 0}), "dimensions: Too small: expected number to be >0"),
            (json!({"dimensions": 1.5}), "dimensions: Invalid input: expected int, received number"),
            (json!({"dimensions": "5"}), "dimensions: Invalid input: expected number, received string"),
            (json!({"dimensions": 8193}), "dimensions: Too big: expected int to be <=8192"),
            (json!({"user": false}), "user: Invalid input: expected string, received boolean"),
            (json!({"input": "x"}), "Missing `model`."),
            (json!({"input": "x", "model": " "}), "Missing `model`."),
            (json!({"model": "openclaw"}), "`input` must be a string or an array of strings."),
        ];
        for (body, text) in rows {
            assert_eq!(fault(&body), text, "{body}");
        }
        assert_eq!(read(b"").unwrap_err(), "Missing `model`.");
        assert!(read(b"{").unwrap_err().contains("line 1"));
        assert!(read(b"\xff").is_err());
        assert!(read(format!(r#"{{"input":[{}""]}}"#, "\"\",".repeat(limits::JSON_VALUES)).as_bytes()).is_err());
        assert_eq!(fault(&json!({"model": "m", "dimensions": limits::EMBED_DIMENSIONS})).find("dimensions"), None);
    }

    #[test]
    fn every_limit_is_met_exactly() {
        let text = |count: usize| "é".repeat(count);
        let list = |count: usize, chars: usize| vec![text(chars); count];
        assert_eq!(refused(&[]).unwrap(), "`input` must contain at least one non-empty string.");
        assert_eq!(refused(&[text(1), String::new()]).unwrap(), "`input` must contain at least one non-empty string.");
        assert_eq!(refused(&list(limits::EMBED_TEXTS, 1)), None);
        assert_eq!(refused(&list(limits::EMBED_TEXTS + 1, 1)).unwrap(), "Too many inputs (max 128).");
        assert_eq!(refused(&list(8, limits::EMBED_TEXT_CHARS)), None);
        assert_eq!(refused(&list(1, limits::EMBED_TEXT_CHARS + 1)).unwrap(), "Input too long (max 8192 chars).");
        // a character beyond the basic plane counts twice, as in JavaScript
        assert_eq!(refused(&["😀".repeat(4097)]).unwrap(), "Input too long (max 8192 chars).");
        assert_eq!(8 * limits::EMBED_TEXT_CHARS, limits::EMBED_CHARS);
        let over = [list(8, limits::EMBED_TEXT_CHARS), list(1, 1)].concat();
        assert_eq!(refused(&over).unwrap(), "Total input too large (max 65536 chars).");
    }

    #[test]
    fn the_answer_has_both_forms() {
        let rows: [&[f32]; 2] = [&[1.0, -0.5, 1e-10], &[0.1, 3.4e38, 0.0]];
        let reply = answer("openclaw/\"x", &mut rows.into_iter(), Form::Float, 7);
        let body: Value = serde_json::from_slice(reply.body_bytes()).unwrap();
        assert_eq!(body["data"][1], json!({"object": "embedding", "index": 1, "embedding": [0.1, 3.4e38, 0]}));
        assert_eq!((&body["model"], &body["usage"]["total_tokens"]), (&json!("openclaw/\"x"), &json!(7)));
        assert_eq!(body["object"], "list");
        let reply = answer("openclaw", &mut rows.into_iter(), Form::Base64, 0);
        let body: Value = serde_json::from_slice(reply.body_bytes()).unwrap();
        assert_eq!(body["data"][0]["embedding"], "AACAPwAAAL//5tsu");
    }
}
