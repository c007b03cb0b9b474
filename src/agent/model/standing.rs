//! How the models and their providers stand: which there are, whether each can be used now, where its key comes from.
//! The answers of `models.list` and `models.authStatus` (protocol.md 8.1, 8.4). Pure; no key leaves it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::discover::Found;
use super::keys::{Grant, KeyRing, KeySource};
use super::open;
use super::resolve::{self, Selection};
use crate::config::Config;
use crate::sys::order;

/// A token that ends within this time is about to.
const SOON_MS: u64 = 24 * 3_600_000;

/// The rows of `models.list`: the configured models, and what was found on this machine. Without keys nothing is said
/// about who can be used.
pub fn models(config: &Config, agent: &str, found: &[Found], ring: Option<&KeyRing<'_>>) -> Vec<Value> {
    let selection = resolve::select(config, agent, None).ok().flatten();
    let aliases = resolve::aliases(config);
    let mut rows: Vec<Value> = Vec::new();
    for listed in resolve::listed(config) {
        let facts = &listed.facts;
        let mut row = base(&listed.reference, &listed.name, facts.context_window, facts.reasoning, facts.images);
        let alias = aliases.iter().find(|(_, reference)| *reference == listed.reference);
        row.extend(alias.map(|(alias, _)| ("alias".to_string(), alias.as_str().into())));
        tag(&mut row, &listed.reference, selection.as_ref());
        row.extend(ring.into_iter().flat_map(|ring| availability(ring, &listed.reference.provider)));
        rows.push(row.into());
    }
    for (at, found) in found.iter().enumerate() {
        let known = rows.iter().any(|row| {
            row["provider"] == found.reference.provider.as_str() && row["id"] == found.reference.model.as_str()
        });
        if known {
            continue;
        }
        let name = &found.reference.model;
        let mut row = base(&found.reference, name, found.context_window, found.reasoning, found.images);
        row.extend(found.tools.map(|tools| ("supportsTools".to_string(), tools.into())));
        row.insert("available".to_string(), true.into());
        // Nobody chose a model: the first one found answers.
        let chosen = (at == 0).then(|| found.selection());
        tag(&mut row, &found.reference, selection.as_ref().or(chosen.as_ref()));
        rows.push(row.into());
    }
    rows
}

fn base(
    reference: &super::ModelRef,
    name: &str,
    window: Option<u64>,
    reasoning: bool,
    images: bool,
) -> Map<String, Value> {
    let input = if images { json!(["text", "image"]) } else { json!(["text"]) };
    let mut row = order::object([
        ("id".to_string(), reference.model.as_str().into()),
        ("name".to_string(), name.into()),
        ("provider".to_string(), reference.provider.as_str().into()),
        ("reasoning".to_string(), reasoning.into()),
        ("input".to_string(), input),
    ]);
    row.extend(window.filter(|tokens| *tokens > 0).map(|tokens| ("contextWindow".to_string(), tokens.into())));
    row
}

fn tag(row: &mut Map<String, Value>, reference: &super::ModelRef, selection: Option<&Selection>) {
    let Some(selection) = selection else { return };
    let mut tags = Vec::new();
    if selection.primary == *reference {
        tags.push("default".to_string());
    }
    let place = selection.fallbacks.iter().position(|fallback| fallback == reference);
    tags.extend(place.map(|at| format!("fallback#{}", at + 1)));
    if !tags.is_empty() {
        row.insert("tags".to_string(), tags.into());
    }
}

/// Whether a provider's models can be used now, and if not, why and until when.
fn availability(ring: &KeyRing<'_>, provider: &str) -> Map<String, Value> {
    let keys = ring.keys(provider, None);
    let usable = keys.iter().any(|key| key.secret.is_some()) || open::needs_no_key(ring.config, provider);
    let mut row = order::object([("available".to_string(), usable.into())]);
    if !usable {
        row.insert("unavailableReason".to_string(), "missing-auth".into());
        return row;
    }
    let until = |source: &KeySource| match source {
        KeySource::Profile(id) => ring.profiles.blocked_until(id),
        _ => 0,
    };
    let until = keys.iter().map(|key| until(&key.source)).min().unwrap_or(0);
    if until > ring.now_ms {
        row.insert("available".to_string(), false.into());
        row.insert("unavailableReason".to_string(), "cooldown".into());
        row.insert("unavailableUntil".to_string(), until.into());
    }
    row
}

/// The answer of `models.authStatus`.
pub fn auth(ring: &KeyRing<'_>, agent: &str) -> Value {
    let rows: Vec<Value> = providers(ring, agent).iter().map(|provider| provider_row(ring, provider)).collect();
    json!({"ts": ring.now_ms, "providers": rows})
}

/// Providers that are configured, chosen, or have a key.
fn providers(ring: &KeyRing<'_>, agent: &str) -> BTreeSet<String> {
    let config = ring.config;
    let configured = config.providers.iter().map(|provider| provider.id.clone());
    let mut all = order::set(configured.chain(ring.with_variables()));
    all.extend(ring.profiles.ids().filter_map(|id| ring.profiles.grant(id)).map(|grant| grant.provider.to_string()));
    let chosen = resolve::select(config, agent, None).ok().flatten();
    all.extend(chosen.iter().flat_map(Selection::all).map(|reference| reference.provider.clone()));
    all
}

fn provider_row(ring: &KeyRing<'_>, provider: &str) -> Value {
    let profiles = ring.profiles;
    let own: Vec<(&str, Grant<'_>)> = profiles.ids().filter_map(|id| Some((id, profiles.grant(id)?))).collect();
    let own: Vec<(&str, Grant<'_>)> = own.into_iter().filter(|(_, grant)| grant.provider == provider).collect();
    let statuses: Vec<&str> = own.iter().map(|(_, grant)| status(grant, ring.now_ms)).collect();
    let worst = ["expired", "expiring", "ok", "static"].into_iter().find(|word| statuses.contains(word));
    let keys = ring.keys(provider, None);
    let plain = keys.iter().find_map(|key| match &key.source {
        KeySource::Env(name) => Some(json!({"source": "env", "envVar": name})),
        KeySource::Config => Some(json!({"source": "config"})),
        KeySource::Profile(_) | KeySource::None => None,
    });
    let unlocked = plain.is_some() || open::needs_no_key(ring.config, provider);
    let mut row = order::object([
        ("provider".to_string(), provider.into()),
        ("authProvider".to_string(), provider.into()),
        ("displayName".to_string(), provider.into()),
        ("status".to_string(), worst.unwrap_or(if unlocked { "static" } else { "missing" }).into()),
        ("profiles".to_string(), own.iter().map(|(id, grant)| profile_row(ring, id, grant)).collect()),
    ]);
    let first = own.iter().filter_map(|(_, grant)| grant.expires_ms).min();
    row.extend(first.map(|at| ("expiry".to_string(), expiry(at, ring.now_ms))));
    row.extend(plain.map(|plain| ("apiKey".to_string(), plain)));
    row.into()
}

fn profile_row(ring: &KeyRing<'_>, id: &str, grant: &Grant<'_>) -> Value {
    let mut row = json!({
        "profileId": id, "type": grant.kind, "status": status(grant, ring.now_ms), "source": "saved",
    });
    if let (Some(members), Some(at)) = (row.as_object_mut(), grant.expires_ms) {
        members.insert("expiry".to_string(), expiry(at, ring.now_ms));
    }
    row
}

fn status(grant: &Grant<'_>, now_ms: u64) -> &'static str {
    match grant.expires_ms {
        None => "static",
        Some(at) if at <= now_ms => "expired",
        Some(at) if at - now_ms < SOON_MS => "expiring",
        Some(_) => "ok",
    }
}

fn expiry(at: u64, now_ms: u64) -> Value {
    let left = i64::try_from(at).unwrap_or(i64::MAX).saturating_sub(i64::try_from(now_ms).unwrap_or(i64::MAX));
    let label = match left {
        ..=0 => "expired".to_string(),
        ms if ms < 3_600_000 => format!("{}m", ms / 60_000),
        ms if ms < 48 * 3_600_000 => format!("{}h", ms / 3_600_000),
        ms => format!("{}d", ms / 86_400_000),
    };
    json!({"at": at, "remainingMs": left, "label": label})
}

#[cfg(test)]
mod tests {
    use super::super::ModelRef;
    use super::super::keys::{AuthProfiles, Noted};
    use super::*;
    use crate::config::Env;

    const NOW: u64 = 1_000_000_000;

    fn config() -> Config {
        Config::from_value(json!({
            "agents": {"defaults": {
                "model": {"primary": "up/a", "fallbacks": ["openai/gpt"]},
                "models": {"up/b": {"alias": "fast"}},
            }},
            "models": {"providers": {
                "up": {"baseUrl": "http://h", "apiKey": "literal", "models": [{"id": "a"}, {"id": "b", "contextWindow": 9}]},
                "openai": {"models": [{"id": "gpt", "input": ["text", "image"]}]},
                "anthropic": {"apiKey": "NOT_SET_ANYWHERE", "models": [{"id": "c"}]},
            }},
        }))
    }

    fn profiles() -> AuthProfiles {
        let file = json!({"profiles": {
            "openai:a": {"type": "api_key", "provider": "openai", "key": "k"},
            "groq:t": {"type": "token", "provider": "groq", "token": "t", "expires": NOW + 3_600_000},
            "zai:o": {"type": "oauth", "provider": "zai", "access": "a", "expires": NOW - 1},
        }});
        AuthProfiles::parse(file.to_string().as_bytes()).unwrap()
    }

    fn with_ring<T>(profiles: &AuthProfiles, use_it: impl FnOnce(&KeyRing<'_>) -> T) -> T {
        let (config, env) = (config(), Env::of([("MISTRAL_API_KEY", "m")]));
        use_it(&KeyRing { config: &config, env: &env, profiles, now_ms: NOW })
    }

    #[test]
    fn models_say_whether_they_can_be_used() {
        let mut profiles = profiles();
        profiles.note("openai:a", Noted::CoolsUntil(NOW + 5), NOW);
        let rows = with_ring(&profiles, |ring| models(ring.config, "main", &[], Some(ring)));
        let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap().clone();
        assert_eq!((&row("a")["tags"], &row("a")["available"]), (&json!(["default"]), &json!(true)));
        assert_eq!(
            (&row("b")["alias"], &row("b")["contextWindow"], row("b").get("tags")),
            (&json!("fast"), &json!(9), None)
        );
        let cooling = row("gpt");
        assert_eq!((&cooling["available"], &cooling["unavailableReason"]), (&json!(false), &json!("cooldown")));
        assert_eq!((&cooling["unavailableUntil"], &cooling["input"]), (&json!(NOW + 5), &json!(["text", "image"])));
        assert_eq!(cooling["tags"], json!(["fallback#1"]));
        assert_eq!((&row("c")["available"], &row("c")["unavailableReason"]), (&json!(false), &json!("missing-auth")));
    }

    #[test]
    fn what_was_found_is_listed_and_the_first_of_it_chosen_where_nobody_chose() {
        let found = |model: &str| Found {
            reference: ModelRef::new("ollama", model),
            base_url: String::new(),
            api: "ollama",
            context_window: Some(7),
            tools: Some(true),
            images: false,
            reasoning: true,
            why: String::new(),
        };
        let (config, env, profiles) = (Config::default(), Env::of([]), AuthProfiles::default());
        let ring = KeyRing { config: &config, env: &env, profiles: &profiles, now_ms: NOW };
        let rows = models(&config, "main", &[found("x"), found("y")], Some(&ring));
        assert_eq!((&rows[0]["tags"], rows[1].get("tags")), (&json!(["default"]), None));
        assert_eq!((&rows[0]["supportsTools"], &rows[0]["available"]), (&json!(true), &json!(true)));
        let chosen = with_ring(&profiles, |ring| models(ring.config, "main", &[found("x")], None));
        assert_eq!(chosen.last().unwrap().get("tags"), None, "somebody chose another one");
    }

    #[test]
    fn providers_tell_where_their_keys_come_from_and_no_key() {
        let answer = with_ring(&profiles(), |ring| auth(ring, "main"));
        let row = |id: &str| {
            let rows = answer["providers"].as_array().unwrap();
            rows.iter().find(|row| row["provider"] == id).unwrap_or_else(|| panic!("{id} in {answer}")).clone()
        };
        assert_eq!((&row("up")["status"], &row("up")["apiKey"]), (&json!("static"), &json!({"source": "config"})));
        assert_eq!(row("mistral")["apiKey"], json!({"source": "env", "envVar": "MISTRAL_API_KEY"}));
        assert_eq!((&row("groq")["status"], &row("groq")["expiry"]["label"]), (&json!("expiring"), &json!("1h")));
        assert_eq!((&row("zai")["status"], &row("zai")["profiles"][0]["type"]), (&json!("expired"), &json!("oauth")));
        assert_eq!(row("anthropic")["status"], "missing");
        assert_eq!(row("openai")["profiles"][0]["profileId"], "openai:a");
        assert!(!answer.to_string().contains("literal") && !answer.to_string().contains("\"k\""), "{answer}");
    }
}
