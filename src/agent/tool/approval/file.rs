//! The policy file `exec-approvals.json`: reading it, `exec.approvals.get` and `.set`, and the changes that runs make
//! (agent.md 17, protocol.md 8.1). Pure: text in, text out. Members it does not know survive.

use std::path::Path;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::judge::{AskMode, Rules, Security};
use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::id::hex;

/// The agent whose entries hold for all.
const EVERY_AGENT: &str = "*";
/// What a very old file calls the main agent.
const OLD_MAIN: (&str, &str) = ("default", "main");

/// The file as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalsFile {
    /// Whether there is one.
    pub exists: bool,
    /// SHA-256 of its text.
    pub hash: String,
    root: Map<String, Value>,
    /// Whether the text could not be read as what it should be.
    pub broken: bool,
}

impl ApprovalsFile {
    /// Reads the text; `None` is no file. A text that is no such file holds the strictest rules: a slip of the pen
    /// must not open what it closed.
    pub fn read(text: Option<&str>) -> ApprovalsFile {
        let hash = hash(text.unwrap_or_default());
        let parsed = text.map(serde_json::from_str::<Value>);
        let (root, broken) = match parsed {
            None => (Map::new(), false),
            Some(Ok(Value::Object(root))) if root.get("version").is_none_or(|version| version == 1) => (root, false),
            Some(_) => (Map::new(), true),
        };
        ApprovalsFile { exists: text.is_some(), hash, root, broken }
    }

    /// What it says about an agent: its own words, else the defaults'.
    pub fn rules(&self, agent_id: &str) -> Rules {
        if self.broken {
            return Rules { security: Some(Security::Deny), ask: None, ask_fallback: Some(Security::Deny) };
        }
        let places = [self.agent(agent_id), self.agent(EVERY_AGENT), self.root.get("defaults")];
        let word = |name: &str| {
            let found = places.iter().flatten().filter_map(|place| place.get(name)?.as_str());
            found.map(str::trim).find(|word| !word.is_empty())
        };
        Rules {
            // an unknown word is the strictest one, not none
            security: word("security").map(|word| Security::parse(word).unwrap_or(Security::Deny)),
            ask: word("ask").map(|word| AskMode::parse(word).unwrap_or(AskMode::Always)),
            ask_fallback: word("askFallback").map(|word| Security::parse(word).unwrap_or(Security::Deny)),
        }
    }

    /// Patterns that hold for an agent.
    pub fn allowlist(&self, agent_id: &str) -> Vec<String> {
        let places = [self.agent(agent_id), self.agent(EVERY_AGENT)];
        let entries = places.into_iter().flatten().filter_map(|place| place.get("allowlist")?.as_array()).flatten();
        let patterns = entries.filter_map(|entry| pattern(entry)).map(String::from);
        patterns.take(limits::ALLOWLIST_ENTRIES).collect()
    }

    /// The answer of `exec.approvals.get`, and of a successful `set`: without the socket's token.
    pub fn view(&self, path: &Path) -> Value {
        let mut file = self.root.clone();
        file.insert("version".into(), json!(1));
        let socket =
            file.remove("socket").and_then(|socket| socket.get("path").filter(|path| path.is_string()).cloned());
        if let Some(path) = socket {
            file.insert("socket".into(), json!({ "path": path }));
        }
        file.entry("agents").or_insert_with(|| json!({}));
        json!({"path": path.display().to_string(), "exists": self.exists, "hash": self.hash, "file": file})
    }

    /// `exec.approvals.set`: the text to write in place of this one.
    pub fn replaced(&self, params: &Value, ids: &mut dyn FnMut() -> String) -> Result<String, WireError> {
        let invalid = |text: &str| WireError::invalid(format!("invalid exec.approvals.set params: {text}"));
        self.check_hash(params.get("baseHash").and_then(Value::as_str))?;
        let file = params.get("file").and_then(Value::as_object).ok_or_else(|| invalid("file is required"))?;
        let mut root = file.clone();
        if root.get("version").is_some_and(|version| version != 1) {
            return Err(invalid("file.version must be 1"));
        }
        check_words(&root).map_err(|text| invalid(&text))?;
        self.keep_socket(&mut root);
        give_ids(&mut root, ids);
        let text = print(root);
        if text.len() > limits::APPROVALS_FILE_BYTES {
            return Err(invalid(&format!("file is over {} bytes", limits::APPROVALS_FILE_BYTES)));
        }
        Ok(text)
    }

    /// The text with these programs added to an agent's allowlist; none when all are there already or it is broken.
    pub fn with_allowed(&self, agent_id: &str, patterns: &[String], ids: &mut dyn FnMut() -> String) -> Option<String> {
        if self.broken {
            return None;
        }
        let known = self.allowlist(agent_id);
        let room = limits::ALLOWLIST_ENTRIES.saturating_sub(known.len());
        let added: Vec<&String> = patterns.iter().filter(|pattern| !known.contains(pattern)).take(room).collect();
        if added.is_empty() {
            return None;
        }
        let mut root = self.root.clone();
        let list = own_list(&mut root, agent_id)?;
        list.extend(added.iter().map(|pattern| json!({"id": ids(), "pattern": pattern})));
        Some(print(root))
    }

    /// The text with the last use of an agent's entry noted; none when it has no such entry.
    pub fn with_use(&self, agent_id: &str, used: &str, command: &str, resolved: &str, now_ms: u64) -> Option<String> {
        let mut root = self.root.clone();
        let mut found = false;
        for agent in [agent_id, EVERY_AGENT] {
            let agents = root.get_mut("agents").and_then(|agents| agents.get_mut(agent));
            let list = agents.and_then(|agent| agent.get_mut("allowlist")).and_then(Value::as_array_mut);
            for entry in list.into_iter().flatten().filter(|entry| pattern(entry) == Some(used)) {
                if entry.is_string() {
                    *entry = json!({ "pattern": used });
                }
                let Some(entry) = entry.as_object_mut() else { continue };
                let command: String = command.chars().take(limits::APPROVAL_TEXT_CHARS).collect();
                entry.insert("lastUsedAt".into(), json!(now_ms));
                entry.insert("lastUsedCommand".into(), json!(command));
                entry.insert("lastResolvedPath".into(), json!(resolved));
                found = true;
            }
        }
        found.then(|| print(root))
    }

    fn agent(&self, agent_id: &str) -> Option<&Value> {
        let agents = self.root.get("agents")?;
        agents.get(agent_id).or_else(|| agents.get(OLD_MAIN.0).filter(|_| agent_id == OLD_MAIN.1))
    }

    fn check_hash(&self, base: Option<&str>) -> Result<(), WireError> {
        let retry = "re-run exec.approvals.get and retry";
        match base.map(str::trim).filter(|base| !base.is_empty()) {
            _ if !self.exists => Ok(()),
            None => Err(WireError::invalid(format!("exec approvals base hash required; {retry}"))),
            Some(base) if base == self.hash => Ok(()),
            Some(_) => Err(WireError::invalid(format!("exec approvals changed since last load; {retry}"))),
        }
    }

    /// Clients never see the token, so what they send back has none.
    fn keep_socket(&self, root: &mut Map<String, Value>) {
        let old = self.root.get("socket").and_then(Value::as_object);
        let sent = root.get("socket").and_then(|socket| socket.get("path")).filter(|path| path.is_string()).cloned();
        let mut socket = old.cloned().unwrap_or_default();
        if let Some(path) = sent {
            socket.insert("path".into(), path);
        }
        root.remove("socket");
        if !socket.is_empty() {
            root.insert("socket".into(), Value::Object(socket));
        }
    }
}

fn pattern(entry: &Value) -> Option<&str> {
    let text = entry.as_str().or_else(|| entry.get("pattern")?.as_str())?;
    Some(text.trim()).filter(|text| !text.is_empty())
}

fn own_list<'a>(root: &'a mut Map<String, Value>, agent_id: &str) -> Option<&'a mut Vec<Value>> {
    let agents = root.entry("agents").or_insert_with(|| json!({})).as_object_mut()?;
    let agent = agents.entry(agent_id).or_insert_with(|| json!({})).as_object_mut()?;
    agent.entry("allowlist").or_insert_with(|| json!([])).as_array_mut()
}

/// Words that the rules know, and lists that are lists; everything else is the writer's.
fn check_words(root: &Map<String, Value>) -> Result<(), String> {
    let empty = Map::new();
    let agents = match root.get("agents") {
        None => &empty,
        Some(agents) => agents.as_object().ok_or("file.agents must be object")?,
    };
    let defaults = root.get("defaults").map(|defaults| ("defaults".to_string(), defaults));
    let places = agents.iter().map(|(id, agent)| (format!("agents.{}", clip(id)), agent)).chain(defaults);
    for (place, value) in places {
        let members = value.as_object().ok_or_else(|| format!("file.{place} must be object"))?;
        for (name, value) in members {
            let good = match name.as_str() {
                "security" | "askFallback" => value.as_str().is_some_and(|word| Security::parse(word).is_some()),
                "ask" => value.as_str().is_some_and(|word| AskMode::parse(word).is_some()),
                "allowlist" => value.as_array().is_some_and(|list| list.iter().all(|entry| pattern(entry).is_some())),
                _ => true,
            };
            if !good {
                return Err(format!("file.{place}.{} is not valid", clip(name)));
            }
        }
    }
    Ok(())
}

fn clip(name: &str) -> String {
    name.chars().take(limits::FAULT_NAME_CHARS).collect()
}

/// Entries written as bare texts become objects, and each gets an id.
fn give_ids(root: &mut Map<String, Value>, ids: &mut dyn FnMut() -> String) {
    let agents = root.get_mut("agents").and_then(Value::as_object_mut).into_iter().flatten();
    for (_, agent) in agents {
        let list = agent.get_mut("allowlist").and_then(Value::as_array_mut).into_iter().flatten();
        for entry in list {
            if let Some(text) = entry.as_str() {
                *entry = json!({ "pattern": text });
            }
            if let Some(entry) = entry.as_object_mut().filter(|entry| !entry.contains_key("id")) {
                entry.insert("id".into(), json!(ids()));
            }
        }
    }
}

fn print(mut root: Map<String, Value>) -> String {
    root.insert("version".into(), json!(1));
    let mut text = serde_json::to_string_pretty(&Value::Object(root)).unwrap_or_default();
    text.push('\n');
    text
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"version":1,"socket":{"path":"/s","token":"secret-token"},"future":7,
        "defaults":{"security":"allowlist","ask":"off"},
        "agents":{"main":{"ask":"always","allowlist":[{"id":"1","pattern":"/usr/bin/git"},"/bin/ls"]},
                  "*":{"allowlist":[{"pattern":"/bin/cat"}]}}}"#;

    fn ids() -> impl FnMut() -> String {
        let mut next = 0;
        move || {
            next += 1;
            format!("new{next}")
        }
    }

    fn set(file: &ApprovalsFile, params: Value) -> Result<String, WireError> {
        file.replaced(&params, &mut ids())
    }

    #[test]
    fn an_agents_own_words_come_before_the_defaults() {
        let file = ApprovalsFile::read(Some(TEXT));
        let rules = Rules { security: Some(Security::Allowlist), ask: Some(AskMode::Always), ask_fallback: None };
        assert_eq!(file.rules("main"), rules);
        assert_eq!(file.rules("other").ask, Some(AskMode::Off));
        assert_eq!(file.allowlist("main"), ["/usr/bin/git", "/bin/ls", "/bin/cat"]);
        assert_eq!(file.allowlist("other"), ["/bin/cat"]);
        let old = ApprovalsFile::read(Some(r#"{"agents":{"default":{"allowlist":["/x"]}}}"#));
        assert_eq!((old.allowlist("main"), old.allowlist("x")), (vec!["/x".to_string()], vec![]));
        assert_eq!(ApprovalsFile::read(None).rules("main"), Rules::default());
    }

    #[test]
    fn what_cannot_be_read_opens_nothing() {
        for text in ["", "{", "[]", r#"{"version":2}"#] {
            let file = ApprovalsFile::read(Some(text));
            assert!(file.broken, "{text}");
            assert_eq!(file.rules("main").security, Some(Security::Deny), "{text}");
            assert_eq!(file.with_allowed("main", &["/x".into()], &mut ids()), None, "{text}");
        }
        let typo = ApprovalsFile::read(Some(r#"{"defaults":{"security":"ful","ask":"sometimes"}}"#));
        assert_eq!((typo.rules("a").security, typo.rules("a").ask), (Some(Security::Deny), Some(AskMode::Always)));
    }

    #[test]
    fn the_token_is_never_shown_and_survives_a_set() {
        let file = ApprovalsFile::read(Some(TEXT));
        let view = file.view(Path::new("/x/exec-approvals.json"));
        assert_eq!((&view["file"]["socket"], &view["file"]["future"]), (&json!({"path": "/s"}), &json!(7)));
        assert!(!view.to_string().contains("secret-token"));
        let text = set(&file, json!({"file": view["file"], "baseHash": view["hash"]})).unwrap();
        assert!(text.contains("secret-token") && text.contains("\"future\": 7"));
        assert_eq!(ApprovalsFile::read(Some(&text)).allowlist("main").len(), 3);
    }

    #[test]
    fn a_set_needs_the_hash_of_what_it_replaces() {
        let file = ApprovalsFile::read(Some(TEXT));
        let message = |base: Value| set(&file, json!({"file": {}, "baseHash": base})).unwrap_err().message;
        let retry = "re-run exec.approvals.get and retry";
        assert_eq!(message(json!("")), format!("exec approvals base hash required; {retry}"));
        assert_eq!(message(json!("x")), format!("exec approvals changed since last load; {retry}"));
        assert!(set(&ApprovalsFile::read(None), json!({"file": {}})).is_ok());
    }

    #[test]
    fn a_set_refuses_words_nobody_knows() {
        let none = ApprovalsFile::read(None);
        for (file, part) in [
            (json!({"defaults": {"security": "ful"}}), "file.defaults.security is not valid"),
            (json!({"agents": {"a": {"ask": 5}}}), "file.agents.a.ask is not valid"),
            (json!({"agents": {"a": {"allowlist": [{}]}}}), "file.agents.a.allowlist is not valid"),
            (json!({"agents": []}), "file.agents must be object"),
            (json!({"agents": {"a": 1}}), "file.agents.a must be object"),
            (json!({"version": 2}), "file.version must be 1"),
            (json!(5), "file is required"),
            (json!({"x": "y".repeat(limits::APPROVALS_FILE_BYTES)}), "file is over"),
        ] {
            let message = set(&none, json!({ "file": file })).unwrap_err().message;
            assert!(message.starts_with("invalid exec.approvals.set params: ") && message.contains(part), "{message}");
        }
        let text = set(&none, json!({"file": {"agents": {"a": {"allowlist": ["/x"]}}}})).unwrap();
        assert!(text.contains(r#""id": "new1""#) && text.contains(r#""pattern": "/x""#), "{text}");
    }

    #[test]
    fn allowed_programs_are_added_once_and_uses_are_noted() {
        let file = ApprovalsFile::read(Some(TEXT));
        let text = file.with_allowed("main", &["/bin/ls".into(), "/bin/new".into()], &mut ids()).unwrap();
        let next = ApprovalsFile::read(Some(&text));
        assert_eq!(next.allowlist("main"), ["/usr/bin/git", "/bin/ls", "/bin/new", "/bin/cat"]);
        assert_eq!(next.with_allowed("main", &["/bin/new".into()], &mut ids()), None);
        let used = next.with_use("main", "/bin/ls", "ls -l", "/bin/ls", 42).unwrap();
        assert!(used.contains("\"lastUsedAt\": 42") && used.contains("\"lastUsedCommand\": \"ls -l\""), "{used}");
        assert_eq!(next.with_use("main", "/none", "x", "/none", 42), None);
        let first = ApprovalsFile::read(None).with_allowed("a", &["/x".into()], &mut ids()).unwrap();
        assert_eq!(ApprovalsFile::read(Some(&first)).allowlist("a"), ["/x"]);
    }

    #[test]
    fn an_allowlist_is_bounded() {
        let many: Vec<String> = (0..limits::ALLOWLIST_ENTRIES + 5).map(|n| format!("/bin/{n}")).collect();
        let text = ApprovalsFile::read(None).with_allowed("a", &many, &mut ids()).unwrap();
        let file = ApprovalsFile::read(Some(&text));
        assert_eq!(file.allowlist("a").len(), limits::ALLOWLIST_ENTRIES);
        assert_eq!(file.with_allowed("a", &["/more".into()], &mut ids()), None);
    }
}
