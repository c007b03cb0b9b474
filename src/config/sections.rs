//! Agents, heartbeats and model providers: the sections with lists inside.
//! Owns their fields, defaults and how an agent's own values override the shared ones.

use std::time::Duration;

use serde_json::Value;

use super::secret::Secret;
use super::value::{Node, duration};

/// The id of the agent that exists when none is listed.
pub const MAIN_AGENT: &str = "main";
/// Heartbeat interval when nothing is said (agent.md 25).
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30 * 60);
/// The same where turns come out of a subscription's allowance.
const HEARTBEAT_EVERY_SUBSCRIBED: Duration = Duration::from_secs(60 * 60);
/// A reply that is only an acknowledgement may be this long (agent.md 25).
pub const ACK_MAX_CHARS: usize = 300;
/// What a heartbeat turn asks; the token is fixed by the clients, the wording is ours.
const HEARTBEAT_PROMPT: &str = "Heartbeat: open HEARTBEAT.md in the workspace if there is one and do what it says \
    now. Leave finished tasks from earlier talks alone. If nothing needs attention, answer exactly HEARTBEAT_OK.";
/// Time limit of an agent turn (lifecycle.md 5.2).
const TIMEOUT_SECONDS: u64 = 600;
/// Agent turns at once (lifecycle.md 5.2).
const MAX_CONCURRENT: usize = 4;

/// `agents.*`.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    /// `defaults.*`.
    pub defaults: AgentDefaults,
    /// `list[]` in file order, or the members of `entries` as protocol 4 spells it, by name.
    pub list: Vec<Agent>,
    /// The default agent where none is marked: who `defaults.systemAgent` names, or `main`, of agents that have names
    /// for places.
    unmarked: Option<String>,
    /// Whether Anthropic's models are paid by a subscription.
    subscribed: bool,
}

/// `agents.defaults.*`.
#[derive(Clone, Debug)]
pub struct AgentDefaults {
    /// `workspace`.
    pub workspace: Option<String>,
    /// `model`.
    pub model: Option<ModelChoice>,
    /// `heartbeat`; none when the block is absent.
    pub heartbeat: Option<Heartbeat>,
    /// `timeoutSeconds`.
    pub timeout: Duration,
    /// `maxConcurrent`.
    pub max_concurrent: usize,
    /// `skipBootstrap`.
    pub skip_bootstrap: bool,
}

/// One entry of `agents.list`.
#[derive(Clone, Debug)]
pub struct Agent {
    /// `id`.
    pub id: String,
    /// `default`.
    pub is_default: bool,
    /// `name`.
    pub name: Option<String>,
    /// `workspace`.
    pub workspace: Option<String>,
    /// `model`.
    pub model: Option<ModelChoice>,
    /// `identity`.
    pub identity: Option<Identity>,
    /// `heartbeat`.
    pub heartbeat: Option<Heartbeat>,
}

/// An agent with the shared defaults filled in.
#[derive(Clone, Debug)]
pub struct ResolvedAgent {
    /// Its id.
    pub id: String,
    /// Whether it answers when no agent is named; true for exactly one.
    pub is_default: bool,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its workspace as written, if one is configured for it or for all.
    pub workspace: Option<String>,
    /// Its model, own or shared.
    pub model: Option<ModelChoice>,
    /// How it presents itself.
    pub identity: Option<Identity>,
    /// Its heartbeat; none when it has none.
    pub heartbeat: Option<ResolvedHeartbeat>,
}

/// `identity`: how an agent presents itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `name`.
    pub name: Option<String>,
    /// `theme`.
    pub theme: Option<String>,
    /// `emoji`.
    pub emoji: Option<String>,
    /// `avatar`.
    pub avatar: Option<String>,
}

/// A model reference: a string, or `{primary, fallbacks}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelChoice {
    /// `provider/model`.
    pub primary: String,
    /// What is tried after it, in order.
    pub fallbacks: Vec<String>,
}

/// `heartbeat.*` as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// `every`.
    pub every: Option<Duration>,
    /// `prompt`.
    pub prompt: Option<String>,
    /// `model`.
    pub model: Option<String>,
    /// `target`.
    pub target: Option<String>,
    /// `to`.
    pub to: Option<String>,
    /// `accountId`.
    pub account_id: Option<String>,
    /// `session`.
    pub session: Option<String>,
    /// `ackMaxChars`.
    pub ack_max_chars: Option<usize>,
    /// `activeHours`: start, end and time zone as written.
    pub active_hours: Option<ActiveHours>,
    /// `includeReasoning`.
    pub include_reasoning: Option<bool>,
}

/// `heartbeat.activeHours.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveHours {
    /// `start`, `HH:MM`.
    pub start: Option<String>,
    /// `end`, `HH:MM`.
    pub end: Option<String>,
    /// `timezone`.
    pub timezone: Option<String>,
}

/// A heartbeat with defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedHeartbeat {
    /// Interval; zero means never.
    pub every: Duration,
    /// What the turn asks.
    pub prompt: String,
    /// Model for these turns, if another.
    pub model: Option<String>,
    /// `last`, `none` or a channel.
    pub target: String,
    /// Recipient, if fixed.
    pub to: Option<String>,
    /// Account of the channel, if fixed.
    pub account_id: Option<String>,
    /// Session, if not the main one.
    pub session: Option<String>,
    /// Characters beside the acknowledgement token that still count as silence.
    pub ack_max_chars: usize,
    /// When it may run.
    pub active_hours: Option<ActiveHours>,
    /// Whether reasoning is delivered too.
    pub include_reasoning: bool,
}

/// One entry of `models.providers`.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its key.
    pub id: String,
    /// `baseUrl`.
    pub base_url: Option<String>,
    /// `api`.
    pub api: Option<String>,
    /// `apiKey`.
    pub api_key: Option<Secret>,
    /// `models[]`.
    pub models: Vec<Model>,
}

/// One entry of a provider's `models`.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// `id`.
    pub id: String,
    /// `name`, else the id.
    pub name: String,
    /// `api`, when another than the provider's.
    pub api: Option<String>,
    /// `contextWindow`.
    pub context_window: Option<u64>,
    /// `maxTokens`.
    pub max_tokens: Option<u64>,
    /// `reasoning`.
    pub reasoning: bool,
    /// `input`: `text`, `image`.
    pub input: Vec<String>,
    /// `cost`.
    pub cost: Option<ModelCost>,
}

/// `cost.*`: money per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModelCost {
    /// `input`.
    pub input: f64,
    /// `output`.
    pub output: f64,
    /// `cacheRead`.
    pub cache_read: f64,
    /// `cacheWrite`.
    pub cache_write: f64,
}

impl Default for AgentDefaults {
    fn default() -> AgentDefaults {
        AgentDefaults::read(Node::root(&serde_json::Value::Null))
    }
}

impl AgentDefaults {
    fn read(at: Node<'_>) -> AgentDefaults {
        let concurrent = at.at("maxConcurrent").integer().and_then(|count| usize::try_from(count).ok());
        let seconds = at.at("timeoutSeconds").integer().filter(|seconds| *seconds > 0).unwrap_or(TIMEOUT_SECONDS);
        AgentDefaults {
            workspace: at.at("workspace").text(),
            model: ModelChoice::read(at.at("model")),
            heartbeat: Heartbeat::read(at.at("heartbeat")),
            timeout: Duration::from_secs(seconds),
            max_concurrent: concurrent.filter(|count| *count > 0).unwrap_or(MAX_CONCURRENT),
            skip_bootstrap: at.at("skipBootstrap").flag().unwrap_or(false),
        }
    }
}

impl Agents {
    pub(super) fn read(at: Node<'_>) -> Agents {
        let listed = at.at("list").items().filter_map(|item| Agent::read(item, item.at("id").text()?));
        let entries = at.at("entries").members().filter_map(|(id, item)| Agent::read(item, id.to_string()));
        let (keyed, mut list): (Vec<Agent>, Vec<Agent>) = (entries.collect(), listed.collect());
        let named = at.at("defaults").at("systemAgent").at("agentId").text().map(|id| id.trim().to_lowercase());
        let wanted = named.into_iter().chain([MAIN_AGENT.to_string()]);
        let unmarked = wanted.into_iter().find(|id| list.is_empty() && keyed.iter().any(|agent| agent.id == *id));
        list.extend(keyed);
        Agents { defaults: AgentDefaults::read(at.at("defaults")), list, unmarked, subscribed: false }
    }

    /// Takes note of how Anthropic's models are paid: by the first profile of the order, else by what all profiles say,
    /// else by whether there is a token of a subscription in the environment.
    pub(super) fn note_payment(&mut self, auth: Node<'_>, token: bool) {
        let profiles = auth.at("profiles");
        let way = |profile: Node<'_>| match profile.at("mode").text()?.as_str() {
            "api_key" => Some(false),
            "oauth" | "token" => Some(true),
            _ => None,
        };
        let own = |profile: &Node<'_>| profile.at("provider").text().as_deref() == Some("anthropic");
        let order = auth.at("order").at("anthropic").texts();
        let first = order.iter().map(|id| profiles.at(id)).filter(own).find_map(way);
        let all: Vec<bool> = profiles.members().map(|(_, profile)| profile).filter(own).filter_map(way).collect();
        let agreed = all.first().copied().filter(|one| all.iter().all(|other| other == one));
        self.subscribed = first.or(agreed).unwrap_or(token);
    }

    /// The agent marked default, else the first of a list, else `main`.
    pub fn default_id(&self) -> &str {
        if let Some(id) = self.unmarked.as_deref().filter(|_| !self.list.iter().any(|agent| agent.is_default)) {
            return id;
        }
        let marked = self.list.iter().find(|agent| agent.is_default).or_else(|| self.list.first());
        marked.map_or(MAIN_AGENT, |agent| agent.id.as_str())
    }

    /// Every agent with the defaults filled in; `main` alone when none is listed. A repeated id counts once.
    pub fn resolved(&self) -> Vec<ResolvedAgent> {
        let mut agents: Vec<ResolvedAgent> = Vec::with_capacity(self.list.len().max(1));
        for agent in &self.list {
            if !agents.iter().any(|seen| seen.id == agent.id) {
                agents.push(self.resolve(agent));
            }
        }
        if agents.is_empty() {
            agents.push(self.resolve(&Agent::bare(MAIN_AGENT)));
        }
        agents
    }

    /// One agent by id.
    pub fn find(&self, id: &str) -> Option<ResolvedAgent> {
        self.resolved().into_iter().find(|agent| agent.id == id)
    }

    fn resolve(&self, agent: &Agent) -> ResolvedAgent {
        ResolvedAgent {
            is_default: agent.id == self.default_id(),
            workspace: agent.workspace.clone().or_else(|| self.defaults.workspace.clone()),
            model: agent.model.clone().or_else(|| self.defaults.model.clone()),
            heartbeat: self.heartbeat_of(agent),
            id: agent.id.clone(),
            name: agent.name.clone(),
            identity: agent.identity.clone(),
        }
    }

    /// If any agent has a block of its own, only those have a heartbeat; else the default agent has one (agent.md 25).
    fn heartbeat_of(&self, agent: &Agent) -> Option<ResolvedHeartbeat> {
        let own_blocks = self.list.iter().any(|agent| agent.heartbeat.is_some());
        let own = match &agent.heartbeat {
            Some(own) => own.clone(),
            None if own_blocks || agent.id != self.default_id() => return None,
            None => Heartbeat::default(),
        };
        Some(self.filled(own)).filter(|beat| !beat.every.is_zero())
    }

    /// How an agent's heartbeats are set, whether it has any or not.
    pub fn heartbeat_settings(&self, id: &str) -> ResolvedHeartbeat {
        let own = self.list.iter().find(|agent| agent.id == id).and_then(|agent| agent.heartbeat.clone());
        self.filled(own.unwrap_or_default())
    }

    fn filled(&self, own: Heartbeat) -> ResolvedHeartbeat {
        let every = if self.subscribed { HEARTBEAT_EVERY_SUBSCRIBED } else { HEARTBEAT_EVERY };
        own.over(self.defaults.heartbeat.as_ref()).resolved(every)
    }
}

/// What the file says of an agent, for the parts that read their own sections: `agents.list[]`, or
/// `agents.entries.<id>`.
pub fn raw_agent<'a>(config: &'a Value, id: &str) -> Option<&'a Value> {
    let agents = config.get("agents")?;
    let same = |found: Option<&str>| found.is_some_and(|found| found.trim().eq_ignore_ascii_case(id));
    let mut listed = agents.get("list").and_then(Value::as_array).into_iter().flatten();
    let found = listed.find(|agent| same(agent.get("id").and_then(Value::as_str)));
    let mut entries = agents.get("entries").and_then(Value::as_object).into_iter().flatten();
    found.or_else(|| entries.find(|(found, _)| same(Some(found))).map(|(_, agent)| agent))
}

impl Agent {
    fn bare(id: &str) -> Agent {
        Agent {
            id: id.to_string(),
            is_default: true,
            name: None,
            workspace: None,
            model: None,
            identity: None,
            heartbeat: None,
        }
    }

    fn read(at: Node<'_>, id: String) -> Option<Agent> {
        let id = id.trim().to_lowercase();
        (!id.is_empty()).then(|| Agent {
            id,
            is_default: at.at("default").flag().unwrap_or(false),
            name: at.at("name").text(),
            workspace: at.at("workspace").text(),
            model: ModelChoice::read(at.at("model")),
            identity: Identity::read(at.at("identity")),
            heartbeat: Heartbeat::read(at.at("heartbeat")),
        })
    }
}

impl Identity {
    fn read(at: Node<'_>) -> Option<Identity> {
        at.is_present().then(|| Identity {
            name: at.at("name").text(),
            theme: at.at("theme").text(),
            emoji: at.at("emoji").text(),
            avatar: at.at("avatar").text(),
        })
    }
}

impl ModelChoice {
    fn read(at: Node<'_>) -> Option<ModelChoice> {
        let primary = at.text().or_else(|| at.at("primary").text())?;
        Some(ModelChoice { primary, fallbacks: at.at("fallbacks").texts() })
    }

    /// Provider and model of the primary reference: split at the first slash (agent.md 18).
    pub fn split(&self) -> (Option<&str>, &str) {
        match self.primary.split_once('/') {
            Some((provider, model)) => (Some(provider), model),
            None => (None, self.primary.as_str()),
        }
    }
}

impl Heartbeat {
    fn read(at: Node<'_>) -> Option<Heartbeat> {
        if !at.is_present() {
            return None;
        }
        let minutes = at.at("every").integer().and_then(|minutes| minutes.checked_mul(60)).map(Duration::from_secs);
        let hours = at.at("activeHours");
        Some(Heartbeat {
            every: minutes.or_else(|| at.at("every").text().and_then(|text| duration(&text))),
            prompt: at.at("prompt").text(),
            model: at.at("model").text(),
            target: at.at("target").text(),
            to: at.at("to").text(),
            account_id: at.at("accountId").text(),
            session: at.at("session").text(),
            ack_max_chars: at.at("ackMaxChars").integer().and_then(|chars| usize::try_from(chars).ok()),
            active_hours: hours.is_present().then(|| ActiveHours {
                start: hours.at("start").text(),
                end: hours.at("end").text(),
                timezone: hours.at("timezone").text(),
            }),
            include_reasoning: at.at("includeReasoning").flag(),
        })
    }

    fn over(self, shared: Option<&Heartbeat>) -> Heartbeat {
        let Some(shared) = shared.cloned() else { return self };
        Heartbeat {
            every: self.every.or(shared.every),
            prompt: self.prompt.or(shared.prompt),
            model: self.model.or(shared.model),
            target: self.target.or(shared.target),
            to: self.to.or(shared.to),
            account_id: self.account_id.or(shared.account_id),
            session: self.session.or(shared.session),
            ack_max_chars: self.ack_max_chars.or(shared.ack_max_chars),
            active_hours: self.active_hours.or(shared.active_hours),
            include_reasoning: self.include_reasoning.or(shared.include_reasoning),
        }
    }

    fn resolved(self, every: Duration) -> ResolvedHeartbeat {
        ResolvedHeartbeat {
            every: self.every.unwrap_or(every),
            prompt: self.prompt.unwrap_or_else(|| HEARTBEAT_PROMPT.to_string()),
            model: self.model,
            target: self.target.unwrap_or_else(|| "last".to_string()),
            to: self.to,
            account_id: self.account_id,
            session: self.session,
            ack_max_chars: self.ack_max_chars.unwrap_or(ACK_MAX_CHARS),
            active_hours: self.active_hours,
            include_reasoning: self.include_reasoning.unwrap_or(false),
        }
    }
}

impl Provider {
    pub(super) fn read_all(at: Node<'_>) -> Vec<Provider> {
        at.members().map(|(id, node)| Provider::read(id, node)).collect()
    }

    fn read(id: &str, at: Node<'_>) -> Provider {
        Provider {
            id: id.to_string(),
            base_url: at.at("baseUrl").text(),
            api: at.at("api").text(),
            api_key: at.at("apiKey").secret(),
            models: at.at("models").items().filter_map(Model::read).collect(),
        }
    }
}

impl Model {
    fn read(at: Node<'_>) -> Option<Model> {
        let id = at.at("id").text()?;
        let cost = at.at("cost");
        let price = |name| cost.at(name).number().unwrap_or(0.0);
        Some(Model {
            name: at.at("name").text().unwrap_or_else(|| id.clone()),
            id,
            api: at.at("api").text(),
            context_window: at.at("contextWindow").integer(),
            max_tokens: at.at("maxTokens").integer(),
            reasoning: at.at("reasoning").flag().unwrap_or(false),
            input: at.at("input").texts(),
            cost: cost.is_present().then(|| ModelCost {
                input: price("input"),
                output: price("output"),
                cache_read: price("cacheRead"),
                cache_write: price("cacheWrite"),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn agents(value: Value) -> Agents {
        Agents::read(Node::root(&value))
    }

    #[test]
    fn without_a_list_there_is_main_with_a_half_hour_heartbeat() {
        let resolved = agents(json!({})).resolved();
        assert_eq!(resolved.len(), 1);
        let beat = resolved[0].heartbeat.clone().unwrap();
        assert!(resolved[0].is_default && resolved[0].id == "main");
        assert_eq!((beat.every, beat.target.as_str(), beat.ack_max_chars), (HEARTBEAT_EVERY, "last", 300));
        assert!(beat.prompt.contains("HEARTBEAT_OK"));
    }

    #[test]
    fn the_marked_agent_is_default_else_the_first() {
        assert_eq!(agents(json!({"list": [{"id": "A"}, {"id": "b"}]})).default_id(), "a");
        assert_eq!(agents(json!({"list": [{"id": "a"}, {"id": "b", "default": true}]})).default_id(), "b");
        assert_eq!(agents(json!({"entries": {"x": {}}})).default_id(), "x");
        assert_eq!(agents(json!({"entries": {"a": {}, "main": {}}})).default_id(), "main");
        let named = json!({"defaults": {"systemAgent": {"agentId": "B"}}, "entries": {"a": {}, "b": {}, "main": {}}});
        assert_eq!(agents(named).default_id(), "b");
    }

    #[test]
    fn a_repeated_id_counts_once() {
        assert_eq!(agents(json!({"list": [{"id": "a"}, {"id": "A", "name": "twice"}, {}]})).resolved().len(), 1);
    }

    #[test]
    fn own_heartbeat_blocks_leave_the_others_without() {
        let list = json!([{"id": "a"}, {"id": "b", "heartbeat": {"every": "10m"}}]);
        let resolved = agents(json!({"defaults": {"heartbeat": {"target": "none"}}, "list": list})).resolved();
        assert_eq!(resolved[0].heartbeat, None);
        let beat = resolved[1].heartbeat.clone().unwrap();
        assert_eq!((beat.every.as_secs(), beat.target.as_str()), (600, "none"));
    }

    #[test]
    fn a_subscription_has_heartbeats_once_an_hour() {
        let minutes = |auth: Value, token: bool| {
            let mut agents = agents(json!({}));
            agents.note_payment(Node::root(&auth), token);
            agents.heartbeat_settings("main").every.as_secs() / 60
        };
        let profile = |mode: &str| json!({"provider": "anthropic", "mode": mode});
        let (key, oauth) = (profile("api_key"), profile("oauth"));
        assert_eq!(minutes(json!({}), false), 30);
        assert_eq!(minutes(json!({}), true), 60);
        assert_eq!(minutes(json!({"profiles": {"a": oauth}}), false), 60);
        assert_eq!(minutes(json!({"profiles": {"a": {"provider": "openai", "mode": "oauth"}}}), false), 30);
        assert_eq!(minutes(json!({"profiles": {"a": key}}), true), 30);
        let both = json!({"profiles": {"a": key, "b": oauth}});
        assert_eq!((minutes(both.clone(), false), minutes(both.clone(), true)), (30, 60));
        let mut ordered = both;
        ordered["order"] = json!({"anthropic": ["b", "a"]});
        assert_eq!(minutes(ordered, false), 60);
        let mut set = agents(json!({"defaults": {"heartbeat": {"every": "5m"}}}));
        set.note_payment(Node::root(&json!({})), true);
        assert_eq!(set.heartbeat_settings("main").every.as_secs(), 300);
    }

    #[test]
    fn zero_switches_the_heartbeat_off() {
        for every in [json!("0m"), json!(0)] {
            assert_eq!(agents(json!({"defaults": {"heartbeat": {"every": every}}})).resolved()[0].heartbeat, None);
        }
    }

    #[test]
    fn a_model_is_a_string_or_an_object() {
        let text = agents(json!({"defaults": {"model": "p/m/x"}})).defaults.model.unwrap();
        assert_eq!(text.split(), (Some("p"), "m/x"));
        let object = json!({"defaults": {"model": {"primary": "a", "fallbacks": ["b/c"]}}});
        let object = agents(object).defaults.model.unwrap();
        assert_eq!(object.split(), (None, "a"));
        assert_eq!(object.fallbacks, ["b/c"]);
    }

    #[test]
    fn providers_are_read_with_their_models() {
        let value = json!({"local": {"baseUrl": "http://h", "api": "ollama", "apiKey": "k", "models": [
            {"id": "m", "contextWindow": 8192, "cost": {"input": 1}}, {"name": "no id"}]}});
        let providers = Provider::read_all(Node::root(&value));
        let model = &providers[0].models[0];
        assert_eq!((providers[0].models.len(), model.name.as_str()), (1, "m"));
        assert_eq!((model.context_window, model.cost.unwrap().input), (Some(8192), 1.0));
    }
}
