//! What a hook asks for: the payload of `wake` and `agent` and the mappings, turned into wishes that the state can grant
//! (http.md 10.2 to 10.4). Texts of refusals are those that callers of the original know.

use serde_json::Value;

use super::template::{Source, render};
use crate::config::Config;
use crate::config::hooks::{Hooks, Mapping};
use crate::http::reply::Reply;
use crate::limits;
use crate::session::key;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// A line for a session.
    Wake(WakeWish),
    /// A turn.
    Turn(Box<TurnWish>),
}

impl Wish {
    /// Of its text, which may be the same long one for each item of a list.
    fn bytes(&self) -> usize {
        match self {
            Wish::Wake(wake) => wake.text.len(),
            Wish::Turn(turn) => turn.message.len(),
        }
    }
}

/// A line for a session.
#[derive(Debug, Clone, PartialEq)]
pub struct WakeWish {
    /// The line.
    pub text: String,
    /// Whether it waits for the next heartbeat.
    pub waits: bool,
    /// The agent.
    pub agent: String,
    /// Its session; the main one when none.
    pub session_key: Option<String>,
}

/// A turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TurnWish {
    /// What is said.
    pub message: String,
    /// Whether it is said as it is; else as material from outside.
    pub trusted: bool,
    /// Who says it, for people.
    pub name: String,
    /// The agent.
    pub agent: String,
    /// Its session; one of its own when none.
    pub session_key: Option<String>,
    /// Whether the session goes on; else each turn begins anew.
    pub persistent: bool,
    /// Whether what comes of it waits for the next heartbeat.
    pub waits: bool,
    /// Whether the answer is to be told.
    pub deliver: bool,
    /// The channel and the recipient, when it is to be delivered there.
    pub to: Option<(String, String)>,
    /// The model.
    pub model: Option<String>,
    /// How much it thinks.
    pub thinking: Option<String>,
    /// Seconds it may take.
    pub seconds: Option<u64>,
}

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub struct Wishes {
    /// In this order; one, unless a mapping fans out.
    pub all: Vec<Wish>,
    /// Whether a mapping fans out.
    pub fans_out: bool,
    /// Whether the caller waits for the end.
    pub waits: bool,
}

/// Why there is nothing to do, as text.
type Refused<T> = Result<T, String>;

/// Reads a request; the answer that refuses it.
pub fn read(config: &Config, source: &Source<'_>) -> Result<Wishes, Reply> {
    let hooks = &config.hooks;
    let one = |wish: Wish| Wishes { all: vec![wish], fans_out: false, waits: false };
    let wishes = match source.path {
        "wake" => wake(config, source.payload).map(|wish| one(Wish::Wake(wish))),
        "agent" => turn(config, source.payload).and_then(|wish| {
            let waits = flag(source.payload, "waitForCompletion")?;
            Ok(Wishes { waits, ..one(Wish::Turn(Box::new(wish))) })
        }),
        _ => match hooks.mappings.iter().find(|mapping| matches(mapping, source)) {
            Some(mapping) => mapped(config, mapping, source),
            None => return Err(Reply::not_found()),
        },
    };
    wishes.map_err(|text| super::refused(400, &text))
}

/// `POST /hooks/wake`.
fn wake(config: &Config, payload: &Value) -> Refused<WakeWish> {
    let text = text(payload, "text").ok_or("text required")?;
    let waits = payload.get("mode").and_then(Value::as_str) == Some("next-heartbeat");
    let agent = agent(config, payload)?;
    let key = given(payload, "sessionKey", "sessionKey must be a non-empty string")?;
    if waits && key.is_some() {
        return Err("sessionKey requires mode=now".to_string());
    }
    let session_key = key.map(|key| caller_key(&config.hooks, key)).transpose()?;
    Ok(WakeWish { text: bounded(text), waits, agent, session_key })
}

/// `POST /hooks/agent`.
fn turn(config: &Config, payload: &Value) -> Refused<TurnWish> {
    let hooks = &config.hooks;
    let message = text(payload, "message").ok_or("message required")?;
    let persistent = match payload.get("sessionMode").map(Value::as_str) {
        None | Some(Some("isolated")) => false,
        Some(Some("persistent")) => true,
        Some(_) => return Err("sessionMode must be isolated or persistent".to_string()),
    };
    let agent = agent(config, payload)?;
    let (deliver, to) = delivery(payload)?;
    let key = text(payload, "sessionKey");
    if persistent && key.is_none() {
        return Err("sessionKey is required when sessionMode is persistent".to_string());
    }
    let session_key = match key {
        Some(key) => Some(caller_key(hooks, key)?),
        None => hooks.session_key.clone(),
    };
    if persistent && hooks.prefixes.is_none() {
        let text = "hooks.allowedSessionKeyPrefixes is required when direct hook sessionMode is persistent";
        return Err(text.to_string());
    }
    Ok(TurnWish {
        message: bounded(message),
        trusted: false,
        name: text(payload, "name").map_or_else(|| "Hook".to_string(), plain),
        agent,
        session_key,
        persistent,
        waits: payload.get("wakeMode").and_then(Value::as_str) == Some("next-heartbeat"),
        deliver,
        to,
        model: given(payload, "model", "model required")?,
        thinking: text(payload, "thinking"),
        seconds: payload.get("timeoutSeconds").and_then(Value::as_f64).and_then(seconds),
    })
}

fn matches(mapping: &Mapping, source: &Source<'_>) -> bool {
    let path = mapping.path.as_ref().is_none_or(|path| path == source.path);
    path && mapping
        .source
        .as_ref()
        .is_none_or(|name| source.payload.get("source").and_then(Value::as_str) == Some(name))
}

/// What a mapping makes of a request; each item of its list for itself, if it fans out.
fn mapped(config: &Config, mapping: &Mapping, source: &Source<'_>) -> Refused<Wishes> {
    let Some(key) = mapping.for_each.as_deref() else {
        return Ok(Wishes { all: vec![applied(config, mapping, source)?], fans_out: false, waits: false });
    };
    let items = source.payload.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (mut all, mut payload, mut bytes) = (Vec::new(), source.payload.clone(), 0);
    for item in items.iter().take(limits::HOOK_ITEMS) {
        if let Some(members) = payload.as_object_mut() {
            members.insert(key.to_string(), Value::Array(vec![item.clone()]));
        }
        let wish = applied(config, mapping, &Source { payload: &payload, ..source.clone() })?;
        bytes += wish.bytes();
        if bytes > limits::HOOK_ITEMS_BYTES {
            break;
        }
        all.push(wish);
    }
    if items.len() > all.len() {
        log::warn!(target: "gateway/hooks", "a hook has too many items, the rest is left out items={} most={}", items.len(), all.len());
    }
    Ok(Wishes { all, fans_out: true, waits: false })
}

fn applied(config: &Config, mapping: &Mapping, source: &Source<'_>) -> Refused<Wish> {
    let hooks = &config.hooks;
    let full = |template: &Option<String>| {
        template.as_ref().map(|text| render(text, source).trim().to_string()).filter(|text| !text.is_empty())
    };
    let agent = named(config, mapping.agent.as_deref())?;
    let key = full(&mapping.session_key);
    let templated = mapping.session_key.as_ref().is_some_and(|key| key.contains("{{"));
    if templated && key.is_none() {
        return Err("hook mapping sessionKey template rendered empty".to_string());
    }
    let key = match key {
        Some(key) if templated => Some(caller_key(hooks, key)?),
        Some(key) => Some(allowed_key(hooks, key)?),
        None => None,
    };
    if mapping.wakes {
        let text = render(&mapping.text, source).trim().to_string();
        if text.is_empty() {
            return Err("hook mapping requires text".to_string());
        }
        if mapping.waits && key.is_some() {
            return Err("hook mapping sessionKey requires wakeMode=now".to_string());
        }
        return Ok(Wish::Wake(WakeWish { text, waits: mapping.waits, agent, session_key: key }));
    }
    let message = render(&mapping.message, source).trim().to_string();
    if message.is_empty() {
        return Err("hook mapping requires message".to_string());
    }
    let wanted =
        json!({"deliver": mapping.deliver.unwrap_or(true), "channel": mapping.channel, "to": full(&mapping.to)});
    let (deliver, to) = delivery(&wanted)?;
    Ok(Wish::Turn(Box::new(TurnWish {
        message,
        trusted: mapping.trusted,
        name: full(&mapping.name).map_or_else(|| "Hook".to_string(), plain),
        agent,
        session_key: key.or_else(|| hooks.session_key.clone()),
        persistent: mapping.persistent,
        waits: mapping.waits,
        deliver,
        to,
        model: full(&mapping.model),
        thinking: full(&mapping.thinking),
        seconds: mapping.timeout.and_then(seconds),
    })))
}

/// The agent a caller names, which must exist and be allowed; the default one when none.
fn agent(config: &Config, payload: &Value) -> Refused<String> {
    named(config, given(payload, "agentId", "agentId must be a non-empty string")?.as_deref())
}

fn named(config: &Config, wanted: Option<&str>) -> Refused<String> {
    let id = wanted.map_or_else(|| config.agents.default_id().to_string(), str::to_lowercase);
    if config.agents.find(&id).is_none() {
        return Err(format!("unknown agentId \"{}\"", crate::protocol::check::bounded(&id)));
    }
    let allowed =
        config.hooks.agents.as_ref().is_none_or(|all| all.iter().any(|known| known.eq_ignore_ascii_case(&id)));
    if allowed { Ok(id) } else { Err("agentId is not allowed by hooks.allowedAgentIds".to_string()) }
}

/// A session that the request itself chooses.
fn caller_key(hooks: &Hooks, key: String) -> Refused<String> {
    if !hooks.callers_choose {
        let text = "sessionKey is disabled for externally supplied hook payload values; set \
            hooks.allowRequestSessionKey=true to enable";
        return Err(text.to_string());
    }
    if key::is_reserved(&key) {
        return Err("sessionKey cannot use reserved internal session namespaces".to_string());
    }
    if key.chars().any(char::is_control) {
        return Err("sessionKey must not have control characters".to_string());
    }
    allowed_key(hooks, key)
}

fn allowed_key(hooks: &Hooks, key: String) -> Refused<String> {
    if key.chars().count() > limits::SESSION_KEY_CHARS {
        return Err(format!("sessionKey must not have more than {} characters", limits::SESSION_KEY_CHARS));
    }
    if hooks.allows(&key) {
        return Ok(key);
    }
    let prefixes = hooks.prefixes.as_deref().unwrap_or_default();
    Err(format!("sessionKey must start with one of: {}", prefixes.join(", ")))
}

/// Whether the answer is to be told, and where: `last` or nothing said means the main session.
fn delivery(payload: &Value) -> Refused<(bool, Option<(String, String)>)> {
    let channel = text(payload, "channel");
    // There are no channels yet: only the one spoken on last can be named.
    if payload.get("channel").is_some_and(|value| !value.is_null()) && channel.as_deref() != Some("last") {
        return Err("channel must be last".to_string());
    }
    let present = |name: &str| payload.get(name).is_some_and(|value| !value.is_null());
    if payload.get("deliver") == Some(&Value::Bool(false)) {
        return Ok((false, None));
    }
    if !present("channel") && !present("to") && !present("accountId") {
        return Ok((true, None));
    }
    let to = given(payload, "to", "to must be a non-empty string for hook delivery")?;
    let account = given(payload, "accountId", "accountId must be a non-empty string for hook delivery")?;
    match (channel, to) {
        (Some(channel), Some(to)) if channel != "last" => Ok((true, Some((channel, to)))),
        (Some(_), Some(_)) => Err("channel must name a concrete channel for hook delivery".to_string()),
        _ if account.is_some() => Err("accountId requires channel and to for hook delivery".to_string()),
        _ => Err("channel and to must be set together for hook delivery".to_string()),
    }
}

/// A text without blanks around it; none when it is empty or no text.
fn text(payload: &Value, name: &str) -> Option<String> {
    let text = payload.get(name)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_string())
}

/// The same for a member that must be a text if it is there.
fn given(payload: &Value, name: &str, refusal: &str) -> Refused<Option<String>> {
    let present = payload.get(name).is_some_and(|value| !value.is_null());
    match text(payload, name) {
        None if present => Err(refusal.to_string()),
        text => Ok(text),
    }
}

fn flag(payload: &Value, name: &str) -> Refused<bool> {
    match payload.get(name) {
        None => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(_) => Err(format!("{name} must be boolean")),
    }
}

fn seconds(number: f64) -> Option<u64> {
    // A fraction is cut off; what is too large for a clock is the largest.
    (number > 0.0 && number.is_finite()).then_some(number as u64)
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::HOOK_TEXT_BYTES));
    text
}

/// A name in one line of bounded length.
fn plain(name: String) -> String {
    let words: Vec<&str> =
        name.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    words.join(" ").chars().take(limits::HOOK_NAME_CHARS).collect()
}

#[cfg(test)]
#[path = "wish_tests.rs"]
mod tests;
