//! `sessions.list` and `sessions.resolve`: which sessions are meant (agent.md 11). Pure: indexes in, keys out; the
//! transcripts for titles and last words are read elsewhere.

use std::cmp::Reverse;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::limits;
use crate::store::session::entry::Entry;
use crate::store::sessions::Index;

use super::fault::Refusal;
use super::key::{self, KeyRules, SessionKey};
use super::row::{self, Defaults};
use crate::sys::order;

/// The parameters of `sessions.list`; unknown ones are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    /// Most rows.
    pub limit: Option<usize>,
    /// Rows to pass over.
    pub offset: Option<usize>,
    /// Only those changed in the last minutes.
    pub active_minutes: Option<u64>,
    /// Whether the global session is listed.
    pub include_global: bool,
    /// Whether sessions of unknown conversations are listed.
    pub include_unknown: bool,
    /// Whether rows get titles.
    pub include_derived_titles: bool,
    /// Whether rows get last words.
    pub include_last_message: bool,
    /// Only this label.
    pub label: Option<String>,
    /// Only those started by this session.
    pub spawned_by: Option<String>,
    /// Only this agent.
    pub agent_id: Option<String>,
    /// Only those with these words.
    pub search: Option<String>,
}

/// A session that was found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The agent whose index holds it.
    pub agent: &'a str,
    /// The key as stored.
    pub key: &'a str,
    /// Its entry.
    pub entry: &'a Entry,
}

/// A page of found sessions, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page<'a> {
    /// The sessions of this page.
    pub rows: Vec<Found<'a>>,
    /// Number of sessions that fit.
    pub total: usize,
    /// Most rows.
    pub limit: usize,
    /// Rows passed over.
    pub offset: usize,
}

/// Every session of these indexes, by agent and key.
pub fn found_in<'a>(indexes: impl Iterator<Item = (&'a str, &'a Index)>) -> impl Iterator<Item = Found<'a>> {
    indexes.flat_map(|(agent, index)| index.iter().map(move |(key, entry)| Found { agent, key, entry }))
}

/// How many sessions there are, and so many of the newest, newest first. Of ten thousand nothing is sorted but what is
/// shown.
pub fn newest<'a>(all: impl Iterator<Item = Found<'a>>, most: usize) -> (usize, Vec<Found<'a>>) {
    let rows: Vec<Row<'a>> = all.map(|found| (Reverse(found.entry.updated_ms()), found)).collect();
    (rows.len(), newest_of(rows, most))
}

/// A session and when it changed.
type Row<'a> = (Reverse<u64>, Found<'a>);

/// Apart from [`newest`], so that it is compiled once and not for every iterator.
fn newest_of(mut rows: Vec<Row<'_>>, most: usize) -> Vec<Found<'_>> {
    let newer = |a: &Row<'_>, b: &Row<'_>| (a.0, a.1.key).cmp(&(b.0, b.1.key));
    if rows.len() > most {
        rows.select_nth_unstable_by(most, newer);
        rows.truncate(most);
    }
    order::by(&mut rows, newer);
    rows.into_iter().map(|(_, found)| found).collect()
}

impl Filter {
    /// Reads parameters that passed the schema.
    pub fn of(params: &Value) -> Filter {
        Filter::deserialize(params).unwrap_or_default()
    }

    /// Finds the page among the agents' indexes.
    pub fn page<'a>(&self, indexes: impl Iterator<Item = (&'a str, &'a Index)>, now_ms: u64) -> Page<'a> {
        let search = self.search.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_lowercase);
        let all = found_in(indexes).filter(|found| self.wants(found, search.as_deref(), now_ms));
        let limit = self.limit.unwrap_or(limits::SESSION_ROWS).clamp(1, limits::SESSION_ROWS_MAX);
        let offset = self.offset.unwrap_or(0);
        let (total, rows) = newest(all, offset.saturating_add(limit));
        Page { rows: rows.into_iter().skip(offset).collect(), total, limit, offset }
    }

    fn wants(&self, found: &Found<'_>, search: Option<&str>, now_ms: u64) -> bool {
        let Found { agent, key, entry } = *found;
        let named = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|text| entry.text(name).is_some_and(|own| own == text.trim()))
        };
        // every session comes by here: no more is asked of its key than is needed
        let shown = match key {
            key::GLOBAL => self.include_global && self.agent_id.is_none() && self.spawned_by.is_none(),
            key::UNKNOWN => self.include_unknown && self.agent_id.is_none() && self.spawned_by.is_none(),
            _ => true,
        };
        let age = now_ms.saturating_sub(entry.updated_ms());
        shown
            && self.active_minutes.is_none_or(|minutes| age <= minutes.saturating_mul(60_000))
            && self
                .agent_id
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(key::agent_of(key).unwrap_or(agent)))
            && named(&self.label, "label")
            && named(&self.spawned_by, "spawnedBy")
            && search.is_none_or(|words| matches(key, entry, words))
    }
}

/// Whether lower-case words stand in what a person would look for.
fn matches(key: &str, entry: &Entry, words: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(words);
    has(key)
        || row::display_name(entry).is_some_and(|name| has(&name))
        || ["label", "subject", "sessionId"].iter().any(|name| entry.text(name).is_some_and(|text| has(&text)))
}

/// The answer of `sessions.list`; `rows` are those of the page with whatever was added to them.
pub fn answer(page: &Page<'_>, rows: Vec<Map<String, Value>>, path: &str, defaults: &Defaults, now_ms: u64) -> Value {
    let shown = page.offset.saturating_add(rows.len());
    let more = shown < page.total;
    json!({
        "ts": now_ms,
        "path": path,
        "count": rows.len(),
        "totalCount": page.total,
        "limitApplied": page.limit,
        "hasMore": more,
        "nextOffset": more.then_some(shown),
        "defaults": defaults.to_wire(),
        "sessions": rows,
    })
}

/// The parameters of `sessions.resolve`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Named {
    /// By key.
    pub key: Option<String>,
    /// By session id.
    pub session_id: Option<String>,
    /// By label.
    pub label: Option<String>,
    /// Only this agent.
    pub agent_id: Option<String>,
    /// Only those started by this session.
    pub spawned_by: Option<String>,
    /// Whether the global session counts.
    pub include_global: bool,
    /// Whether sessions of unknown conversations count.
    pub include_unknown: bool,
}

impl Named {
    /// Reads parameters that passed the schema.
    pub fn of(params: &Value) -> Named {
        Named::deserialize(params).unwrap_or_default()
    }

    /// The one session that is meant.
    pub fn resolve<'a>(
        &self,
        rules: &KeyRules,
        indexes: impl Iterator<Item = (&'a str, &'a Index)>,
    ) -> Result<SessionKey, Refusal> {
        let text =
            |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(String::from);
        match (text(&self.key), text(&self.session_id), text(&self.label)) {
            (None, None, None) => Err(Refusal::NothingNamed),
            (Some(written), None, None) => self.by_key(&written, rules, indexes),
            (None, Some(id), None) => {
                let fits = |found: &Found<'_>| found.entry.session_id().is_some_and(|own| own == id) || found.key == id;
                self.only(fits, rules, indexes, &id, Refusal::NotFound(id.clone()))
            }
            (None, None, Some(label)) => {
                let fits = |found: &Found<'_>| found.entry.text("label").is_some_and(|own| own == label);
                self.only(fits, rules, indexes, &label, Refusal::LabelNotFound(label.clone()))
            }
            _ => Err(Refusal::SeveralNamed),
        }
    }

    fn by_key<'a>(
        &self,
        written: &str,
        rules: &KeyRules,
        mut indexes: impl Iterator<Item = (&'a str, &'a Index)>,
    ) -> Result<SessionKey, Refusal> {
        let key = rules.canonical(written).ok_or(Refusal::NothingNamed)?;
        let owner = rules.owner(&key);
        let known = indexes.any(|(agent, index)| agent == owner && index.get(key.as_str()).is_some());
        known.then_some(key).ok_or_else(|| Refusal::NotFound(written.to_string()))
    }

    /// The one that fits; of several, none.
    fn only<'a>(
        &self,
        fits: impl Fn(&Found<'_>) -> bool,
        rules: &KeyRules,
        indexes: impl Iterator<Item = (&'a str, &'a Index)>,
        name: &str,
        none: Refusal,
    ) -> Result<SessionKey, Refusal> {
        let filter = Filter {
            limit: Some(usize::MAX),
            include_global: self.include_global,
            include_unknown: self.include_unknown,
            spawned_by: self.spawned_by.clone(),
            agent_id: self.agent_id.clone(),
            ..Filter::default()
        };
        let found: Vec<Found<'a>> =
            found_in(indexes).filter(|found| fits(found) && filter.wants(found, None, 0)).collect();
        let key = |found: &Found<'_>| rules.canonical_for(found.key, found.agent).ok_or(Refusal::KeyRequired);
        match found.as_slice() {
            [] => Err(none),
            [one] => key(one),
            several => {
                let keys = several.iter().take(limits::AMBIGUOUS_KEYS).map(|found| found.key.to_string()).collect();
                Err(Refusal::Ambiguous(name.to_string(), keys))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100_000_000;

    fn index() -> Index {
        let text = json!({
            "agent:main:main": {"sessionId": "s-1", "updatedAt": NOW - 1000, "label": "Up"},
            "agent:main:telegram:dm:5": {"sessionId": "s-2", "updatedAt": NOW - 90_000, "origin": {"label": "Olga"}},
            "agent:main:subagent:a": {"sessionId": "s-3", "updatedAt": NOW - 2000, "spawnedBy": "agent:main:main"},
            "global": {"sessionId": "s-4", "updatedAt": NOW},
            "unknown": {"sessionId": "s-5", "updatedAt": NOW},
        });
        Index::parse(text.to_string().as_bytes()).unwrap()
    }

    fn keys(params: Value) -> Vec<String> {
        let index = index();
        let page = Filter::of(&params).page([("main", &index)].into_iter(), NOW);
        page.rows.iter().map(|found| found.key.to_string()).collect()
    }

    #[test]
    fn newest_first_and_the_special_ones_only_when_asked() {
        assert_eq!(keys(json!({})), ["agent:main:main", "agent:main:subagent:a", "agent:main:telegram:dm:5"]);
        assert_eq!(keys(json!({"includeGlobal": true, "limit": 2})), ["global", "agent:main:main"]);
        assert_eq!(keys(json!({"includeUnknown": true, "limit": 1})), ["unknown"]);
        assert_eq!(keys(json!({"offset": 2})), ["agent:main:telegram:dm:5"]);
    }

    #[test]
    fn every_filter_narrows() {
        assert_eq!(keys(json!({"activeMinutes": 1})).len(), 2);
        assert_eq!(keys(json!({"label": "Up"})), ["agent:main:main"]);
        assert_eq!(keys(json!({"spawnedBy": "agent:main:main"})), ["agent:main:subagent:a"]);
        assert_eq!(keys(json!({"search": " OLGA "})), ["agent:main:telegram:dm:5"]);
        assert_eq!(keys(json!({"search": "s-3"})), ["agent:main:subagent:a"]);
        assert!(keys(json!({"agentId": "ghost"})).is_empty());
        assert_eq!(keys(json!({"agentId": "MAIN", "includeGlobal": true})).len(), 3);
    }

    #[test]
    fn the_answer_tells_where_to_go_on() {
        let index = index();
        let page = Filter::of(&json!({"limit": 2})).page([("main", &index)].into_iter(), NOW);
        let rows = page.rows.iter().map(|found| row::row(found.key, found.entry, &Defaults::default())).collect();
        let answer = answer(&page, rows, "(multiple)", &Defaults::default(), NOW);
        assert_eq!((&answer["count"], &answer["totalCount"], &answer["nextOffset"]), (&2.into(), &3.into(), &2.into()));
        assert_eq!((&answer["hasMore"], &answer["path"]), (&true.into(), &"(multiple)".into()));
    }

    #[test]
    fn resolving_gives_one_canonical_key_or_the_reason() {
        let rules = KeyRules { default_agent: "main".into(), main_key: "main".into(), global: false };
        let index = index();
        let resolve = |params: Value| {
            let found = Named::of(&params).resolve(&rules, [("main", &index)].into_iter());
            found.map(|key| key.to_string()).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(resolve(json!({"key": "MAIN"})).unwrap(), "agent:main:main");
        assert_eq!(resolve(json!({"key": "agent:main:telegram:direct:5"})).unwrap(), "agent:main:telegram:direct:5");
        assert_eq!(resolve(json!({"sessionId": "s-2"})).unwrap(), "agent:main:telegram:direct:5");
        assert_eq!(resolve(json!({"label": "Up"})).unwrap(), "agent:main:main");
        assert_eq!(resolve(json!({"sessionId": "s-4"})).unwrap_err(), "No session found: s-4");
        assert_eq!(resolve(json!({"key": "ghost"})).unwrap_err(), "No session found: ghost");
        assert_eq!(resolve(json!({"label": "x"})).unwrap_err(), "No session found with label: x");
        assert_eq!(resolve(json!({})).unwrap_err(), "Either key, sessionId, or label is required");
        let both = resolve(json!({"key": "main", "label": "x"})).unwrap_err();
        assert_eq!(both, "Provide either key, sessionId, or label (not multiple)");
    }
}
