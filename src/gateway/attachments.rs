//! Attachments of a message: from what clients send to pictures a model takes. Refuses before anything
//! is stored or sent (agent.md 2). Pure.

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde_json::Value;

use crate::agent::message::Block;
use crate::limits;
use crate::protocol::errors::WireError;

/// Pictures every provider takes, with the first bytes by which they are known.
const PICTURES: &[(&str, &[u8])] = &[
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF8"),
    ("image/webp", b"RIFF"),
];

/// The pictures of a message; anything else is refused by name.
pub fn pictures(method: &str, list: Option<&Value>) -> Result<Vec<Block>, WireError> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if items.len() > limits::ATTACHMENTS {
        let text = format!("invalid {method} params: at /attachments: at most {} are allowed", limits::ATTACHMENTS);
        return Err(WireError::invalid(text));
    }
    items.iter().enumerate().map(|(at, item)| picture(method, at, item)).collect()
}

fn picture(method: &str, at: usize, item: &Value) -> Result<Block, WireError> {
    let refuse = |what: &str| WireError::invalid(format!("invalid {method} params: at /attachments/{at}: {what}"));
    let content = item.get("content").and_then(Value::as_str).ok_or_else(|| refuse("content (base64) required"))?;
    // A data URL is taken too; its type counts for nothing, the bytes do.
    let encoded = content.strip_prefix("data:").and_then(|url| url.split_once(',')).map_or(content, |(_, data)| data);
    if encoded.len() / 4 * 3 > limits::ATTACHMENT_BYTES + 3 {
        return Err(refuse(&format!("larger than {} bytes", limits::ATTACHMENT_BYTES)));
    }
    let bytes = BASE64.decode(encoded.trim().as_bytes()).map_err(|_| refuse("content is not base64"))?;
    if bytes.len() > limits::ATTACHMENT_BYTES {
        return Err(refuse(&format!("larger than {} bytes", limits::ATTACHMENT_BYTES)));
    }
    let known = PICTURES.iter().find(|(_, magic)| bytes.starts_with(magic));
    let (mime, _) = known.ok_or_else(|| refuse("only png, jpeg, gif and webp pictures are taken"))?;
    Ok(Block::image(encoded.trim(), *mime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_bytes() {
        let png = BASE64.encode(b"\x89PNG\r\n\x1a\nrest");
        let list =
            json!([{"content": png, "mimeType": "text/plain"}, {"content": format!("data:image/png;base64,{png}")}]);
        let blocks = pictures("agent", Some(&list)).unwrap();
        assert_eq!(blocks, vec![Block::image(png.as_str(), "image/png"), Block::image(png.as_str(), "image/png")]);
        assert_eq!(pictures("agent", None).unwrap(), vec![]);
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let text = |item: Value| pictures("agent", Some(&json!([item]))).unwrap_err().message;
        assert!(text(json!({})).ends_with("at /attachments/0: content (base64) required"));
        assert!(text(json!({"content": "***"})).ends_with("content is not base64"));
        assert!(text(json!({"content": BASE64.encode(b"%PDF-1.7")})).contains("only png"));
        let large = "A".repeat(limits::ATTACHMENT_BYTES / 3 * 4 + 100);
        assert!(text(json!({"content": large})).ends_with("larger than 5000000 bytes"));
        let many: Vec<Value> = vec![json!({"content": ""}); limits::ATTACHMENTS + 1];
        assert!(pictures("agent", Some(&json!(many))).unwrap_err().message.contains("at most"));
    }
}
