//! Reads the parameters of `system-event` and the one-line grammar in their text
//! (`spec/protocol.md` sections 8.1 and 10). Pure; knows nothing of who is present.

use serde_json::Value;

use super::field;
use crate::limits;
use crate::protocol::errors::WireError;

/// The separator of the grammar's parts.
const DOT: char = '\u{b7}';
/// Characters of a text that serve as a key when nothing better is known.
const KEY_CHARS: usize = 64;

/// What a `system-event` says; every field bounded and cleaned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beacon {
    /// The text as kept in the presence entry.
    pub text: String,
    /// The text as queued for the main session: longer, line ends kept.
    pub said: String,
    /// The presence key, lower-cased.
    pub key: String,
    /// The facts, explicit parameters before parsed ones.
    pub facts: Facts,
    /// `deviceId`.
    pub device_id: Option<String>,
    /// `instanceId`.
    pub instance_id: Option<String>,
    /// `platform`.
    pub platform: Option<String>,
    /// `deviceFamily`.
    pub device_family: Option<String>,
    /// `modelIdentifier`.
    pub model_identifier: Option<String>,
    /// `roles`.
    pub roles: Vec<String>,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// `tags`.
    pub tags: Option<Vec<String>>,
}

/// The fields that the grammar can carry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Host name.
    pub host: Option<String>,
    /// Address.
    pub ip: Option<String>,
    /// Program version.
    pub version: Option<String>,
    /// Seconds since the last input.
    pub last_input_seconds: Option<u64>,
    /// Mode.
    pub mode: Option<String>,
    /// Reason.
    pub reason: Option<String>,
}

impl Beacon {
    /// Reads the parameters; unknown members and members of another type are ignored, as the original does.
    pub fn from_params(params: &Value) -> Result<Beacon, WireError> {
        let raw = params.get("text").and_then(Value::as_str).unwrap_or("").trim();
        let text = field::text(raw).ok_or_else(|| WireError::invalid("text required"))?;
        let get = |name: &str| field::optional(params.get(name).and_then(Value::as_str));
        let parsed = parse(&text);
        let (device_id, instance_id) = (get("deviceId"), get("instanceId"));
        let named = device_id.as_deref().or(instance_id.as_deref());
        let named = named.or(parsed.host.as_deref()).or(parsed.ip.as_deref());
        let key = named.map_or_else(|| text.chars().take(KEY_CHARS).collect(), str::to_lowercase);
        let facts = Facts {
            host: get("host").or(parsed.host),
            ip: get("ip").or(parsed.ip),
            version: get("version").or(parsed.version),
            last_input_seconds: seconds(params.get("lastInputSeconds")).or(parsed.last_input_seconds),
            mode: get("mode").or(parsed.mode),
            reason: get("reason").or(parsed.reason),
        };
        Ok(Beacon {
            said: said(raw),
            key: key.to_lowercase(),
            facts,
            device_id,
            instance_id,
            platform: get("platform"),
            device_family: get("deviceFamily"),
            model_identifier: get("modelIdentifier"),
            roles: texts(params.get("roles")).unwrap_or_default(),
            scopes: texts(params.get("scopes")).unwrap_or_default(),
            tags: texts(params.get("tags")),
            text,
        })
    }

    /// Whether the text is a presence line; only changes in it are told to the main session.
    pub fn is_node_line(&self) -> bool {
        strip_prefix(&self.text, "node:").is_some()
    }
}

/// Parses `Node: <host> (<ip>) · app <ver> · last input <n>s ago · mode <mode> · reason <reason>`; parts may be
/// missing, in any case and order. A text of another kind yields nothing.
pub fn parse(text: &str) -> Facts {
    let mut facts = Facts::default();
    let mut parts = text.split(DOT).map(str::trim);
    let Some(head) = parts.next().and_then(|head| strip_prefix(head, "node:")) else { return facts };
    (facts.host, facts.ip) = host_and_ip(head.trim());
    for part in parts {
        if let Some(value) = strip_prefix(part, "app ") {
            facts.version = field::text(value);
        } else if let Some(value) = strip_prefix(part, "last input ") {
            facts.last_input_seconds = ago(value);
        } else if let Some(value) = strip_prefix(part, "mode ") {
            facts.mode = field::text(value);
        } else if let Some(value) = strip_prefix(part, "reason ") {
            facts.reason = field::text(value);
        }
    }
    facts
}

fn host_and_ip(head: &str) -> (Option<String>, Option<String>) {
    let inside = head.strip_suffix(')').and_then(|head| head.rsplit_once('('));
    match inside {
        Some((host, ip)) => (field::text(host), field::text(ip)),
        None => (field::text(head), None),
    }
}

fn ago(value: &str) -> Option<u64> {
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|_| value.get(digits.len()..).is_some_and(|rest| rest.starts_with('s')))
}

/// `prefix` is ASCII and lower-case; letters are compared without case.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn seconds(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(|n| (0.0..4e9).contains(n)).and_then(|n| format!("{n:.0}").parse().ok()))
}

fn texts(value: Option<&Value>) -> Option<Vec<String>> {
    let items = value?.as_array()?;
    Some(field::list(items.iter().filter_map(Value::as_str)))
}

/// The queued form: line ends and tabs stay, other control characters go, and it is cut.
fn said(raw: &str) -> String {
    let kept = raw.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    kept.take(limits::SYSTEM_EVENT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(parts: [&str; 5], input: Option<u64>) -> Facts {
        let [host, ip, version, mode, reason] = parts.map(field::text);
        Facts { host, ip, version, last_input_seconds: input, mode, reason }
    }

    #[test]
    fn the_grammar_is_read_in_any_case_with_missing_parts() {
        for (text, expected) in [
            (
                "Node: hostA (10.0.0.9) · app 1.2 · last input 5s ago · mode ui · reason launch",
                facts(["hostA", "10.0.0.9", "1.2", "ui", "launch"], Some(5)),
            ),
            ("NODE: hostA · MODE ui · Reason x y", facts(["hostA", "", "", "ui", "x y"], None)),
            ("node:hostA·app 1·mode m", facts(["hostA", "", "1", "m", ""], None)),
            ("Node: Peter's Mac (work) (fd00::1) · app 2", facts(["Peter's Mac (work)", "fd00::1", "2", "", ""], None)),
            ("Node: (10.0.0.9)", facts(["", "10.0.0.9", "", "", ""], None)),
            ("Node: h · last input soon · surprise", facts(["h", "", "", "", ""], None)),
            ("Node: h · last input 99999999999999999999s ago", facts(["h", "", "", "", ""], None)),
            ("hello · mode ui", Facts::default()),
            ("Nöde: h", Facts::default()),
            ("", Facts::default()),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn explicit_parameters_win_over_parsed_ones() {
        let beacon = Beacon::from_params(&json!({"text": "Node: a (1.1.1.1) · mode ui", "host": "b", "mode": 5,
            "lastInputSeconds": 7.4, "tags": ["x", "x", 3], "roles": "no"}))
        .unwrap();
        assert_eq!(beacon.facts, facts(["b", "1.1.1.1", "", "ui", ""], Some(7)));
        assert_eq!((beacon.tags, beacon.roles), (Some(vec!["x".to_string()]), vec![]));
    }

    #[test]
    fn the_key_goes_from_device_to_text() {
        let key = |params: Value| Beacon::from_params(&params).unwrap().key;
        let line = "Node: HostA (10.0.0.9)";
        assert_eq!(key(json!({"text": line, "deviceId": "DEV", "instanceId": "I"})), "dev");
        assert_eq!(key(json!({"text": line, "instanceId": "Inst"})), "inst");
        assert_eq!(key(json!({"text": line})), "hosta");
        assert_eq!(key(json!({"text": "Node: (10.0.0.9)"})), "10.0.0.9");
        assert_eq!(key(json!({"text": "X".repeat(100)})), "x".repeat(64));
    }

    #[test]
    fn a_blank_text_is_refused_and_a_long_one_cut() {
        for params in [json!({}), json!({"text": " \n"}), json!({"text": 5}), json!(null)] {
            assert_eq!(Beacon::from_params(&params).unwrap_err().message, "text required");
        }
        let beacon = Beacon::from_params(&json!({"text": format!("a\nb\u{1b}{}", "x".repeat(9000))})).unwrap();
        assert_eq!(beacon.text.chars().count(), limits::PRESENCE_TEXT_CHARS);
        assert!(beacon.text.starts_with("abx") && beacon.said.starts_with("a\nbx"));
        assert_eq!(beacon.said.chars().count(), limits::SYSTEM_EVENT_CHARS);
    }
}
