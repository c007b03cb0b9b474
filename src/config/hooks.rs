//! `hooks.*`: other programs wake an agent or give it work over HTTP (http.md 10). Owns the fields, the defaults and
//! what makes the section invalid; evaluates no request.

use serde_json::Value;

use super::secret::Secret;
use super::value::Node;
use crate::limits;

/// `hooks.*`.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// `enabled`, with a token.
    pub enabled: bool,
    /// `token`.
    pub token: Option<Secret>,
    /// `path` with a slash before and none behind.
    pub path: String,
    /// `maxBodyBytes`.
    pub max_body: usize,
    /// `mappings[]`, then those of `presets`.
    pub mappings: Vec<Mapping>,
    /// `allowedAgentIds`; none allows all.
    pub agents: Option<Vec<String>>,
    /// `defaultSessionKey`.
    pub session_key: Option<String>,
    /// `allowRequestSessionKey`.
    pub callers_choose: bool,
    /// `allowedSessionKeyPrefixes`; none allows all.
    pub prefixes: Option<Vec<String>>,
}

/// One entry of `hooks.mappings`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// `match.path` without slashes around it.
    pub path: Option<String>,
    /// `match.source`.
    pub source: Option<String>,
    /// `action` is `wake`.
    pub wakes: bool,
    /// `wakeMode` is `next-heartbeat`.
    pub waits: bool,
    /// `name`.
    pub name: Option<String>,
    /// `agentId`.
    pub agent: Option<String>,
    /// `sessionKey`.
    pub session_key: Option<String>,
    /// `sessionMode` is `persistent`.
    pub persistent: bool,
    /// `messageTemplate`.
    pub message: String,
    /// `textTemplate`.
    pub text: String,
    /// `deliver`.
    pub deliver: Option<bool>,
    /// `allowUnsafeExternalContent`.
    pub trusted: bool,
    /// `channel`.
    pub channel: Option<String>,
    /// `to`.
    pub to: Option<String>,
    /// `model`.
    pub model: Option<String>,
    /// `thinking`.
    pub thinking: Option<String>,
    /// `timeoutSeconds`.
    pub timeout: Option<f64>,
    /// `forEach`: a turn for each item of this list.
    pub for_each: Option<String>,
}

/// The preset `gmail`: one turn for each new message.
fn gmail(hooks: Node<'_>) -> Mapping {
    let text = |text: &str| Some(text.to_string());
    Mapping {
        path: text("gmail"),
        name: text("Gmail"),
        session_key: text("hook:gmail:{{messages[0].id}}"),
        message: "New mail from {{messages[0].from}}\nSubject: {{messages[0].subject}}\n{{messages[0].snippet}}\n\
            {{messages[0].body}}"
            .to_string(),
        trusted: hooks.at("gmail").at("allowUnsafeExternalContent").flag().unwrap_or(false),
        for_each: text("messages"),
        ..Mapping::default()
    }
}

impl Hooks {
    pub(super) fn read(at: Node<'_>) -> Hooks {
        let token = at.at("token").secret();
        let path = at.at("path").text().unwrap_or_else(|| "/hooks".to_string());
        let list = |name: &str| at.at(name).is_present().then(|| at.at(name).texts());
        let own = at.at("mappings").items().map(Mapping::read);
        let presets = at.at("presets").texts();
        Hooks {
            enabled: at.at("enabled").flag().unwrap_or(false) && token.is_some(),
            token: token.map(|token| Secret::new(token.expose().trim())),
            path: format!("/{}", path.trim_matches('/')),
            max_body: at
                .at("maxBodyBytes")
                .integer()
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(BODY)
                .min(LARGEST),
            mappings: own.chain(presets.contains(&"gmail".to_string()).then(|| gmail(at))).collect(),
            agents: list("allowedAgentIds").filter(|ids| !ids.iter().any(|id| id == "*")),
            session_key: at.at("defaultSessionKey").text(),
            callers_choose: at.at("allowRequestSessionKey").flag().unwrap_or(false),
            prefixes: list("allowedSessionKeyPrefixes").filter(|prefixes| !prefixes.is_empty()),
        }
    }

    /// Whether a session key begins as one of the prefixes does.
    pub fn allows(&self, key: &str) -> bool {
        let key = key.trim().to_lowercase();
        self.prefixes.as_ref().is_none_or(|all| all.iter().any(|prefix| key.starts_with(&prefix.to_lowercase())))
    }
}

/// Largest body when nothing is said (http.md 10).
const BODY: usize = 256 * 1024;
/// What `maxBodyBytes` may be at most.
const LARGEST: usize = limits::HTTP_BODY_BYTES as usize;

impl Mapping {
    fn read(at: Node<'_>) -> Mapping {
        let is = |name: &str, word: &str| at.at(name).text().as_deref() == Some(word);
        let path = at.at("match").at("path").text().map(|path| path.trim_matches('/').to_string());
        Mapping {
            path: path.filter(|path| !path.is_empty()),
            source: at.at("match").at("source").text(),
            wakes: is("action", "wake"),
            waits: is("wakeMode", "next-heartbeat"),
            name: at.at("name").text(),
            agent: at.at("agentId").text(),
            session_key: at.at("sessionKey").text(),
            persistent: is("sessionMode", "persistent"),
            message: at.at("messageTemplate").text().unwrap_or_default(),
            text: at.at("textTemplate").text().unwrap_or_default(),
            deliver: at.at("deliver").flag(),
            trusted: at.at("allowUnsafeExternalContent").flag().unwrap_or(false),
            channel: at.at("channel").text(),
            to: at.at("to").text(),
            model: at.at("model").text(),
            thinking: at.at("thinking").text(),
            timeout: at.at("timeoutSeconds").number(),
            for_each: at.at("forEach").text(),
        }
    }
}

/// Words that a member of a mapping may have.
const WORDS: &[(&str, &[&str])] = &[
    ("action", &["agent", "wake"]),
    ("wakeMode", &["now", "next-heartbeat"]),
    ("sessionMode", &["isolated", "persistent"]),
];

/// What makes the section invalid: path and text of each issue.
pub(super) fn issues(root: &Value) -> Vec<(String, String)> {
    let at = Node::root(root).at("hooks");
    let mut found = Vec::new();
    let mut issue = |path: &str, text: &str| found.push((format!("hooks.{path}"), text.to_string()));
    for (index, item) in at.at("mappings").items().enumerate().take(limits::CONFIG_ISSUES) {
        if item.at("transform").is_present() {
            let text = "transforms are JavaScript modules, which this gateway does not run; use messageTemplate or \
                textTemplate";
            issue(&format!("mappings.{index}.transform"), text);
        }
        for (name, words) in WORDS {
            if item.at(name).is_present() && !item.at(name).text().is_some_and(|word| words.contains(&word.as_str())) {
                issue(&format!("mappings.{index}.{name}"), &format!("must be {}", words.join(" or ")));
            }
        }
        if item.at("forEach").text().is_some_and(|key| key.contains(['.', '[', ']'])) {
            issue(&format!("mappings.{index}.forEach"), "must be a top-level payload key");
        }
    }
    if at.at("enabled").flag() != Some(true) {
        return found;
    }
    if at.at("token").secret().is_none() {
        issue("token", "hooks.enabled requires hooks.token");
    }
    let hooks = Hooks::read(at);
    if at.at("path").text().is_some_and(|path| path.trim_matches('/').is_empty()) {
        issue("path", "hooks.path may not be '/'");
    }
    match &hooks.session_key {
        Some(key) if !hooks.allows(key) => {
            issue("defaultSessionKey", "hooks.defaultSessionKey must match hooks.allowedSessionKeyPrefixes");
        }
        None if !hooks.allows("hook:example") => issue(
            "allowedSessionKeyPrefixes",
            "hooks.allowedSessionKeyPrefixes must include 'hook:' when hooks.defaultSessionKey is unset",
        ),
        _ => {}
    }
    let templated = |mapping: &Mapping| mapping.session_key.as_ref().is_some_and(|key| key.contains("{{"));
    if hooks.prefixes.is_none() && hooks.mappings.iter().any(templated) {
        issue(
            "allowedSessionKeyPrefixes",
            "hooks.allowedSessionKeyPrefixes is required when a hook mapping sessionKey uses templates (the preset \
             gmail does: [\"hook:\"] and allowRequestSessionKey: true will do)",
        );
    }
    found
}

/// What is odd about it.
pub(super) fn warnings(root: &Value) -> Vec<(String, String)> {
    let root = Node::root(root);
    let (at, auth) = (root.at("hooks"), root.at("gateway").at("auth"));
    let mut found = Vec::new();
    let token = at.at("token").text();
    for name in ["token", "password"] {
        if token.is_some() && auth.at(name).text() == token {
            let text = format!(
                "is the gateway's {name} too: whoever has it can do everything; give the hooks a token of their own"
            );
            found.push(("hooks.token".to_string(), text));
        }
    }
    let unknown = at.at("presets").texts().into_iter().find(|name| name != "gmail");
    if let Some(name) = unknown {
        found.push(("hooks.presets".to_string(), format!("there is no preset {name:?}; there is \"gmail\"")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(hooks: Value) -> Vec<String> {
        issues(&json!({ "hooks": hooks })).into_iter().map(|(path, text)| format!("{path}: {text}")).collect()
    }

    #[test]
    fn what_cannot_work_is_named_with_its_place() {
        assert_eq!(texts(json!({"enabled": true})), ["hooks.token: hooks.enabled requires hooks.token"]);
        assert_eq!(
            texts(json!({"enabled": true, "token": "t", "path": "//"})),
            ["hooks.path: hooks.path may not be '/'"]
        );
        assert_eq!(texts(json!({"enabled": false, "path": "/"})), [""; 0]);
        let bad = json!({"mappings": [{}, {"transform": {"module": "x.js"}, "action": "dance", "forEach": "a.b"}]});
        let found = texts(bad);
        assert!(found[0].starts_with("hooks.mappings.1.transform: transforms are JavaScript"), "{found:?}");
        assert_eq!(
            found[1..],
            [
                "hooks.mappings.1.action: must be agent or wake",
                "hooks.mappings.1.forEach: must be a top-level payload key"
            ]
        );
        let on = |more: Value| {
            let mut hooks = json!({"enabled": true, "token": "t"});
            hooks.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            texts(hooks)
        };
        assert!(on(json!({"allowedSessionKeyPrefixes": ["x:"]}))[0].contains("must include 'hook:'"));
        assert!(on(json!({"allowedSessionKeyPrefixes": ["x:"], "defaultSessionKey": "y:1"}))[0].contains("must match"));
        assert_eq!(on(json!({"allowedSessionKeyPrefixes": ["x:"], "defaultSessionKey": "X:1"})), [""; 0]);
        assert!(on(json!({"presets": ["gmail"]}))[0].contains("the preset gmail does"));
        assert_eq!(on(json!({"presets": ["gmail"], "allowedSessionKeyPrefixes": ["hook:"]})), [""; 0]);
    }

    #[test]
    fn a_shared_token_and_an_unknown_preset_are_odd() {
        let root = json!({"gateway": {"auth": {"token": "t"}}, "hooks": {"token": "t", "presets": ["gmail", "x"]}});
        assert_eq!(warnings(&root).len(), 2);
        assert!(warnings(&json!({"hooks": {"token": "t"}})).is_empty());
    }

    #[test]
    fn the_section_is_read_with_its_defaults() {
        let hooks = |value: Value| Hooks::read(Node::root(&value));
        let plain = hooks(json!({"enabled": true, "token": " t "}));
        assert_eq!((plain.enabled, plain.path.as_str(), plain.max_body), (true, "/hooks", BODY));
        assert_eq!(plain.token.unwrap().expose(), "t");
        assert!(!hooks(json!({"enabled": true})).enabled);
        assert_eq!(hooks(json!({"path": "a/b/"})).path, "/a/b");
        assert_eq!(hooks(json!({"maxBodyBytes": u64::MAX})).max_body, LARGEST);
        let mapped = hooks(json!({"presets": ["gmail"], "mappings": [{"match": {"path": "/x/"}, "action": "wake"}]}));
        assert_eq!((mapped.mappings[0].path.as_deref(), mapped.mappings[0].wakes), (Some("x"), true));
        assert_eq!(mapped.mappings[1].for_each.as_deref(), Some("messages"));
    }
}
