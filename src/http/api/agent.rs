//! Which agent a program means: the `model` member and the headers that win over it (http.md 6.1). Pure; whether there
//! is such an agent is decided elsewhere.

use crate::http::head::Head;
use crate::http::reply::Reply;

/// Longest agent id, bytes (http.md 6.1).
const ID: usize = 64;

/// The agent a request names; none is the default one.
pub type Named = Option<String>;

/// Reads `model` and headers, or the answer that refuses them.
pub fn named(model: &str, head: &Head) -> Result<Named, Reply> {
    let by_model = of_model(model).ok_or_else(|| {
        Reply::error(400, "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.", "invalid_request_error")
    })?;
    let header = head.header("x-openclaw-agent-id").or_else(|| head.header("x-openclaw-agent"));
    let header = header.map(str::trim).filter(|id| !id.is_empty());
    Ok(header.map(str::to_ascii_lowercase).or(by_model))
}

/// The answer to a name no agent has.
pub fn unknown(id: &str) -> Reply {
    let shown: String = id.chars().take(ID).collect();
    Reply::error(400, &format!("Unknown agent '{shown}'."), "invalid_request_error")
}

fn of_model(model: &str) -> Option<Named> {
    let model = model.trim();
    if model.eq_ignore_ascii_case("openclaw") || model.eq_ignore_ascii_case("openclaw/default") {
        return Some(None);
    }
    let (prefix, id) = model.split_at_checked(model.find(['/', ':'])? + 1)?;
    let known = ["openclaw/", "openclaw:", "agent:"].iter().any(|known| prefix.eq_ignore_ascii_case(known));
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let shaped = id.len() <= ID
        && id.bytes().next().is_some_and(plain)
        && id.bytes().all(|byte| plain(byte) || byte == b'_' || byte == b'-');
    (known && shaped).then(|| Some(id.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_named_in_four_forms() {
        let of = of_model;
        assert_eq!((of("openclaw"), of("openclaw/default")), (Some(None), Some(None)));
        for model in ["openclaw/Ops", "openclaw:ops", "agent:ops", " OpenClaw/ops "] {
            assert_eq!(of(model), Some(Some("ops".to_string())), "{model}");
        }
        for model in ["", "gpt-4o", "openclaw/", "openclaw/-x", "agent/ops", "openclaw/a b", "openclaw/a/b"] {
            assert_eq!(of(model), None, "{model}");
        }
        assert_eq!(of(&format!("openclaw/{}", "a".repeat(65))), None);
        assert!(of(&format!("openclaw/{}", "a".repeat(64))).is_some());
    }
}
