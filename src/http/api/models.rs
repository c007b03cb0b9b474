//! `/v1/models` and `/v1/models/{id}` (http.md 7), and how a model's name says which agent is meant (http.md 6.1). Knows
//! no agents: whoever asks brings their ids.

use serde_json::Value;

use super::invalid;
use crate::http::reply::Reply;
use crate::limits;

/// What a model's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The default agent.
    Default,
    /// The agent with this id, in lower case.
    Agent(String),
    /// No agent: a provider's model, or nonsense.
    Foreign,
}

/// Reads a model's name; a blank one means the default agent.
pub fn named(model: &str) -> Named {
    let model = model.trim().to_ascii_lowercase();
    if model.is_empty() || model == "openclaw" {
        return Named::Default;
    }
    match ["openclaw/", "openclaw:", "agent:"].into_iter().find_map(|prefix| model.strip_prefix(prefix)) {
        Some("default") => Named::Default,
        Some(id) if is_agent_id(id) => Named::Agent(id.to_string()),
        _ => Named::Foreign,
    }
}

/// Whether it is how agents are named: `[a-z0-9][a-z0-9_-]*`.
pub fn is_agent_id(id: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    id.starts_with(word) && id.len() <= limits::AGENT_ID_CHARS && id.chars().all(|c| word(c) || matches!(c, '_' | '-'))
}

/// The answer to a request for this path, which is the interface's own or below it.
pub fn answer(path: &str, agents: &[String]) -> Reply {
    let rest = path.strip_prefix("/v1/models").unwrap_or_default();
    match rest.strip_prefix('/') {
        None => list(agents),
        Some("") => invalid("Missing model id."),
        Some(id) => match decode(id) {
            Some(id) => one(&id, agents),
            None => invalid("Invalid model id encoding."),
        },
    }
}

fn list(agents: &[String]) -> Reply {
    let own = agents.iter().map(|id| format!("openclaw/{id}"));
    let ids = ["openclaw", "openclaw/default"].into_iter().map(String::from).chain(own);
    let data: Vec<Value> = ids.map(|id| model(&id)).collect();
    Reply::json(200, json!({"object": "list", "data": data}).to_string())
}

/// The short spellings of other interfaces are none here.
fn one(id: &str, agents: &[String]) -> Reply {
    let known = match named(id) {
        Named::Foreign => return invalid("Invalid model id."),
        Named::Default => id == "openclaw" || id == "openclaw/default",
        Named::Agent(agent) => id.starts_with("openclaw/") && agents.contains(&agent),
    };
    match known {
        true => Reply::json(200, model(id).to_string()),
        false => {
            let shown: String = id.chars().take(limits::AGENT_ID_CHARS * 2).collect();
            Reply::error(404, &format!("Model '{shown}' not found."), "invalid_request_error")
        }
    }
}

fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 0, "owned_by": "openclaw", "permission": []})
}

/// The text without its percent codes; none when one is broken, or they make no text.
pub fn decode(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let code = piece.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str) -> (u16, Value) {
        let reply = answer(path, &["main".to_string(), "ops".to_string()]);
        (reply.status(), serde_json::from_slice(reply.body_bytes()).unwrap())
    }

    #[test]
    fn the_list_names_the_default_and_every_agent() {
        let (status, list) = ask("/v1/models");
        let ids: Vec<&str> =
            list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert_eq!((status, ids), (200, vec!["openclaw", "openclaw/default", "openclaw/main", "openclaw/ops"]));
        let first =
            json!({"id": "openclaw", "object": "model", "created": 0, "owned_by": "openclaw", "permission": []});
        assert_eq!(list["data"][0], first);
    }

    #[test]
    fn one_model_is_found_in_both_spellings_of_its_slash() {
        for path in ["openclaw", "openclaw%2Fdefault", "openclaw/main", "openclaw%2fops"] {
            let (status, model) = ask(&format!("/v1/models/{path}"));
            assert_eq!(status, 200, "{path}");
            assert!(model["id"].as_str().unwrap().starts_with("openclaw"));
        }
    }

    #[test]
    fn what_is_wrong_with_an_id_is_said() {
        for (path, status, text) in [
            ("/v1/models/", 400, "Missing model id."),
            ("/v1/models/gpt-4o", 400, "Invalid model id."),
            ("/v1/models/openclaw%2Fghost", 404, "Model 'openclaw/ghost' not found."),
            ("/v1/models/openclaw:main", 404, "Model 'openclaw:main' not found."),
            ("/v1/models/agent:main", 404, "Model 'agent:main' not found."),
            ("/v1/models/openclaw%2", 400, "Invalid model id encoding."),
            ("/v1/models/openclaw%zz", 400, "Invalid model id encoding."),
            ("/v1/models/%ff", 400, "Invalid model id encoding."),
            ("/v1/models/openclaw/", 400, "Invalid model id."),
        ] {
            let (found, body) = ask(path);
            assert_eq!((found, body["error"]["message"].as_str()), (status, Some(text)), "{path}");
            assert_eq!(body["error"]["type"], "invalid_request_error");
        }
    }

    #[test]
    fn names_of_models_say_which_agent_is_meant() {
        for name in ["", " ", "openclaw", "OpenClaw", "openclaw/default", "openclaw:default"] {
            assert_eq!(named(name), Named::Default, "{name}");
        }
        for name in ["openclaw/Ops", "openclaw:ops", "agent:ops"] {
            assert_eq!(named(name), Named::Agent("ops".into()), "{name}");
        }
        let long = format!("openclaw/{}", "a".repeat(limits::AGENT_ID_CHARS + 1));
        for name in ["gpt-4o", "openclaw/", "openclaw/-x", "openclaw/a b", "openclawx", "ops", long.as_str()] {
            assert_eq!(named(name), Named::Foreign, "{name}");
        }
        assert_eq!(named(&long[..long.len() - 1]), Named::Agent("a".repeat(limits::AGENT_ID_CHARS)));
    }
}
