//! Session keys: the names of conversations (agent.md 8). Owns their one spelling, what they say about agent, kind and
//! thread, and which key a chat gets. Knows no entries.

use std::borrow::Borrow;
use std::fmt;

use crate::config::model::{Config, SessionScope};
use crate::store::sessions::spelling;

use super::settings::DmScope;
use crate::sys::table::Table;

/// The key of the one session when `session.scope` is `global`.
pub const GLOBAL: &str = "global";
/// The key of messages whose conversation is not known.
pub const UNKNOWN: &str = "unknown";

/// A canonical key: lower case, with its agent, aliases resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(String);

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for SessionKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What kind of conversation a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// One person, or no chat at all.
    Direct,
    /// A group or a room.
    Group,
    /// The one session for everybody.
    Global,
    /// Unknown.
    Unknown,
}

impl KeyKind {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            KeyKind::Direct => "direct",
            KeyKind::Group => "group",
            KeyKind::Global => GLOBAL,
            KeyKind::Unknown => UNKNOWN,
        }
    }
}

impl SessionKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The agent it belongs to; none for `global` and `unknown`.
    pub fn agent(&self) -> Option<&str> {
        agent_of(&self.0)
    }

    /// What follows the agent.
    pub fn rest(&self) -> &str {
        rest_of(&self.0)
    }

    /// What kind of conversation it names.
    pub fn kind(&self) -> KeyKind {
        kind_of(&self.0)
    }

    /// Whether it names a sub-agent's session.
    pub fn is_subagent(&self) -> bool {
        self.rest().starts_with("subagent:")
    }

    /// Whether it names a thread or topic of a chat.
    pub fn is_thread(&self) -> bool {
        let rest = self.rest();
        rest.contains(":thread:") || rest.contains(":topic:")
    }

    /// The forum topic, if it names one; its transcript has it in its name.
    pub fn topic(&self) -> Option<&str> {
        self.rest().rsplit_once(":topic:").map(|(_, topic)| topic)
    }

    /// The channel, when the key carries one.
    pub fn channel(&self) -> Option<&str> {
        let mut parts = self.rest().split(':');
        let (first, second, third) = (parts.next()?, parts.next()?, parts.next());
        let chat = |part: &str| matches!(part, "direct" | "group" | "channel");
        (chat(second) || third.is_some_and(chat)).then_some(first)
    }
}

/// The agent in a key as stored.
pub fn agent_of(key: &str) -> Option<&str> {
    key.strip_prefix("agent:")?.split_once(':').map(|(agent, _)| agent).filter(|agent| !agent.is_empty())
}

/// What follows the agent in a key as stored.
pub fn rest_of(key: &str) -> &str {
    key.strip_prefix("agent:").and_then(|rest| rest.split_once(':')).map_or(key, |(_, rest)| rest)
}

/// Whether a key as written names a session that the gateway makes for itself, which nobody outside may speak into.
pub fn is_reserved(written: &str) -> bool {
    let spelt = spelling(written);
    let rest = rest_of(&spelt);
    ["subagent:", "cron:", "acp:"].iter().any(|space| rest.starts_with(space))
}

/// The kind of conversation a key as stored names.
pub fn kind_of(key: &str) -> KeyKind {
    match key {
        GLOBAL => KeyKind::Global,
        UNKNOWN => KeyKind::Unknown,
        key if key.contains(":group:") || key.contains(":channel:") => KeyKind::Group,
        _ => KeyKind::Direct,
    }
}

/// What decides about keys in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRules {
    /// The agent of bare keys.
    pub default_agent: String,
    /// Name of the main session.
    pub main_key: String,
    /// Whether one session serves everybody.
    pub global: bool,
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chat<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The account of the channel.
    pub account: Option<&'a str>,
    /// What kind of chat.
    pub kind: ChatKind,
    /// The person, group or room.
    pub id: &'a str,
    /// The thread in it.
    pub thread: Option<&'a str>,
}

/// What kind of chat a message comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChatKind {
    /// One person.
    #[default]
    Direct,
    /// A group.
    Group,
    /// A room.
    Channel,
}

impl ChatKind {
    /// The name in keys and entries.
    pub fn name(self) -> &'static str {
        match self {
            ChatKind::Direct => "direct",
            ChatKind::Group => "group",
            ChatKind::Channel => "channel",
        }
    }
}

impl KeyRules {
    /// The rules of a configuration.
    pub fn of(config: &Config) -> KeyRules {
        KeyRules {
            default_agent: config.default_agent_id().to_string(),
            main_key: config.session.main_key.clone(),
            global: config.session.scope == SessionScope::Global,
        }
    }

    /// The canonical key of what a client wrote; `None` when it is blank.
    pub fn canonical(&self, written: &str) -> Option<SessionKey> {
        self.canonical_for(written, &self.default_agent)
    }

    /// The same for a request that names an agent.
    pub fn canonical_for(&self, written: &str, agent: &str) -> Option<SessionKey> {
        let key = spelling(written.trim());
        if key.is_empty() {
            return None;
        }
        if key == GLOBAL || key == UNKNOWN {
            return Some(SessionKey(key.into_owned()));
        }
        let (agent, rest) = match key.strip_prefix("agent:").and_then(|rest| rest.split_once(':')) {
            Some((agent, rest)) if !agent.is_empty() && !rest.is_empty() => (agent.to_string(), rest),
            _ => (agent.to_lowercase(), key.as_ref()),
        };
        if rest == "main" || rest == self.main_key {
            return Some(self.main(&agent));
        }
        Some(SessionKey(format!("agent:{agent}:{rest}")))
    }

    /// The main session of an agent.
    pub fn main(&self, agent: &str) -> SessionKey {
        match self.global {
            true => SessionKey(GLOBAL.to_string()),
            false => SessionKey(format!("agent:{}:{}", agent.to_lowercase(), self.main_key)),
        }
    }

    /// Whether a key names a main session, which cannot be deleted.
    pub fn is_main(&self, key: &SessionKey) -> bool {
        *key == self.main(key.agent().unwrap_or(&self.default_agent))
    }

    /// The agent whose index holds a key.
    pub fn owner<'a>(&'a self, key: &'a SessionKey) -> &'a str {
        key.agent().unwrap_or(&self.default_agent)
    }

    /// The key of the conversation a message belongs to.
    pub fn of_chat(&self, agent: &str, chat: &Chat<'_>, scope: DmScope, links: &IdentityLinks) -> SessionKey {
        if self.global {
            return SessionKey(GLOBAL.to_string());
        }
        let Chat { channel, account, kind, id, thread } = *chat;
        let rest = match kind {
            ChatKind::Direct => {
                let person = links.name_of(channel, id).unwrap_or(id);
                match scope {
                    DmScope::Main => return self.main(agent),
                    _ if id.is_empty() => return self.main(agent),
                    DmScope::PerPeer => format!("direct:{person}"),
                    DmScope::PerChannelPeer => format!("{channel}:direct:{person}"),
                    DmScope::PerAccountChannelPeer => {
                        format!("{channel}:{}:direct:{person}", account.unwrap_or("default"))
                    }
                }
            }
            ChatKind::Group | ChatKind::Channel => format!("{channel}:{}:{id}", kind.name()),
        };
        let thread = thread.map_or(String::new(), |thread| match (channel, kind) {
            ("telegram", ChatKind::Group) => format!(":topic:{thread}"),
            _ => format!(":thread:{thread}"),
        });
        SessionKey(format!("agent:{agent}:{rest}{thread}").to_lowercase())
    }
}

/// `session.identityLinks`: names of people who write through several channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityLinks(pub Table<String, Vec<String>>);

impl IdentityLinks {
    /// The name for a peer of a channel.
    pub fn name_of(&self, channel: &str, id: &str) -> Option<&str> {
        let full = format!("{channel}:{id}").to_lowercase();
        let fits = |peer: &String| peer.to_lowercase() == full || peer.eq_ignore_ascii_case(id);
        self.0.iter().find(|(_, peers)| peers.iter().any(fits)).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(main_key: &str) -> KeyRules {
        KeyRules { default_agent: "main".into(), main_key: main_key.into(), global: false }
    }

    fn canonical(written: &str) -> String {
        rules("main").canonical(written).unwrap().to_string()
    }

    #[test]
    fn every_spelling_of_a_key_becomes_one() {
        for (written, key) in [
            ("main", "agent:main:main"),
            (" MAIN ", "agent:main:main"),
            ("agent:main:main", "agent:main:main"),
            ("foo", "agent:main:foo"),
            ("FOO:Bar", "agent:main:foo:bar"),
            ("Agent:Work:Main", "agent:work:main"),
            ("cron:job-1", "agent:main:cron:job-1"),
            ("agent:main:telegram:dm:5", "agent:main:telegram:direct:5"),
            ("agent:", "agent:main:agent:"),
            ("global", "global"),
            ("Unknown", "unknown"),
        ] {
            assert_eq!(canonical(written), key, "{written}");
            assert_eq!(canonical(key), key, "again {written}");
        }
        assert_eq!(rules("main").canonical("  "), None);
    }

    #[test]
    fn the_configured_main_key_is_an_alias_as_main_is() {
        let rules = rules("home");
        for written in ["main", "home", "agent:main:main", "agent:main:home"] {
            let key = rules.canonical(written).unwrap();
            assert_eq!(key.as_str(), "agent:main:home");
            assert!(rules.is_main(&key));
        }
        assert_eq!(rules.canonical_for("x", "Work").unwrap().as_str(), "agent:work:x");
        assert!(!rules.is_main(&rules.canonical("x").unwrap()));
    }

    #[test]
    fn a_global_scope_has_one_main_session() {
        let rules = KeyRules { global: true, ..rules("main") };
        assert_eq!(rules.canonical("main").unwrap().as_str(), "global");
        assert_eq!(rules.owner(&rules.canonical("main").unwrap()), "main");
        assert!(rules.is_main(&rules.canonical("global").unwrap()));
    }

    #[test]
    fn keys_tell_what_they_name() {
        let key = |text: &str| rules("main").canonical(text).unwrap();
        let topic = key("agent:work:telegram:group:-100:topic:7");
        assert_eq!((topic.agent(), topic.rest()), (Some("work"), "telegram:group:-100:topic:7"));
        assert_eq!((topic.kind(), topic.is_thread(), topic.topic()), (KeyKind::Group, true, Some("7")));
        assert_eq!(topic.channel(), Some("telegram"));
        assert_eq!(key("agent:main:whatsapp:acc:direct:+1").channel(), Some("whatsapp"));
        assert_eq!((key("main").channel(), key("direct:x:y").channel()), (None, None));
        assert!(key("subagent:u").is_subagent() && !key("cron:j").is_subagent());
        assert_eq!((key("global").kind(), key("unknown").kind()), (KeyKind::Global, KeyKind::Unknown));
    }

    #[test]
    fn chats_get_the_keys_of_the_table() {
        let rules = rules("main");
        let links = IdentityLinks([("ann".to_string(), vec!["telegram:1".to_string()])].into());
        let direct = Chat { channel: "telegram", account: Some("bot"), id: "1", ..Chat::default() };
        let key = |chat: &Chat<'_>, scope| rules.of_chat("main", chat, scope, &links).to_string();
        assert_eq!(key(&direct, DmScope::Main), "agent:main:main");
        assert_eq!(key(&direct, DmScope::PerPeer), "agent:main:direct:ann");
        assert_eq!(key(&direct, DmScope::PerChannelPeer), "agent:main:telegram:direct:ann");
        assert_eq!(key(&direct, DmScope::PerAccountChannelPeer), "agent:main:telegram:bot:direct:ann");
        let group = Chat { channel: "telegram", kind: ChatKind::Group, id: "-100123", ..Chat::default() };
        assert_eq!(key(&group, DmScope::Main), "agent:main:telegram:group:-100123");
        assert_eq!(
            key(&Chat { thread: Some("7"), ..group }, DmScope::Main),
            "agent:main:telegram:group:-100123:topic:7"
        );
        let room = Chat { channel: "slack", kind: ChatKind::Channel, id: "C1", thread: Some("9.1"), ..Chat::default() };
        assert_eq!(key(&room, DmScope::Main), "agent:main:slack:channel:c1:thread:9.1");
    }
}
