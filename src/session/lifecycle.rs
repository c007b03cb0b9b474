//! A new conversation under a key, by request or because the old one is over, and the end of a key (agent.md 9, 11).
//! Pure: entries in, entries out; files are renamed elsewhere.

use serde_json::{Map, Value};

use crate::store::session::entry::Entry;

use super::fault::Refusal;
use super::key::{KeyRules, SessionKey};

/// Members that belong to one conversation; everything else belongs to the key and stays.
pub(super) const OF_CONVERSATION: &[&str] = &[
    "sessionId",
    "updatedAt",
    "sessionFile",
    "systemSent",
    "abortedLastRun",
    "inputTokens",
    "outputTokens",
    "totalTokens",
    "totalTokensFresh",
    "compactionCount",
    "memoryFlushAt",
    "memoryFlushCompactionCount",
    "cliSessionIds",
    "claudeCliSessionId",
    "systemPromptReport",
    "skillsSnapshot",
    "modelProvider",
    "fallbackNoticeReason",
    super::throwaway::KEPT,
];

/// The entry of the new conversation: switches, names and routes stay, counters are zero (`sessions.reset`, `/new`).
pub fn reset(old: Option<&Entry>, session_id: &str, now_ms: u64) -> Entry {
    let mut entry = Entry::new(session_id, now_ms);
    entry.set("systemSent", false);
    entry.set("abortedLastRun", false);
    if let Some(old) = old {
        for (name, field) in old.fields().members().filter(|(name, _)| !OF_CONVERSATION.contains(name)) {
            entry.set(name, field.clone());
        }
    }
    for counter in ["inputTokens", "outputTokens", "totalTokens"] {
        entry.set(counter, 0);
    }
    entry
}

/// The answer of `sessions.patch`.
pub fn patch_answer(key: &SessionKey, entry: &Entry, path: &str, resolved: (Option<String>, Option<String>)) -> Value {
    let mut answer = Map::new();
    let members = [
        ("ok", Value::Bool(true)),
        ("path", path.into()),
        ("key", key.as_str().into()),
        ("entry", Value::Object(entry.fields().to_map())),
        ("resolved", json!({"modelProvider": resolved.0, "model": resolved.1})),
    ];
    answer.extend(members.map(|(name, value)| (name.to_string(), value)));
    Value::Object(answer)
}

/// Whether a session may be deleted: the main one may not.
pub fn may_delete(key: &SessionKey, rules: &KeyRules) -> Result<(), Refusal> {
    match rules.is_main(key) {
        true => Err(Refusal::Main(key.clone())),
        false => Ok(()),
    }
}

/// What a finished run leaves in its entry: the last call's tokens, the model, whether it was stopped (agent.md 9, 28).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Provider's id.
    pub provider: String,
    /// Model's id.
    pub model: String,
    /// Size of its context.
    pub context_tokens: Option<u64>,
    /// Tokens of the last call: input, output, and the whole prompt.
    pub tokens: Option<(u64, u64, u64)>,
    /// Whether it was stopped.
    pub aborted: bool,
    /// Id of a command-line backend's own session, by backend.
    pub cli_session: Option<(String, String)>,
    /// Compactions it made.
    pub compactions: u64,
}

/// Writes down what a run left.
pub fn finish(entry: &mut Entry, run: &Finished, now_ms: u64) {
    entry.touch(now_ms);
    entry.set("systemSent", true);
    entry.set("abortedLastRun", run.aborted);
    if let Some((input, output, prompt)) = run.tokens {
        for (name, tokens) in [("inputTokens", input), ("outputTokens", output), ("totalTokens", prompt)] {
            entry.set(name, tokens);
        }
    }
    if !run.model.is_empty() {
        entry.set("modelProvider", run.provider.as_str());
        entry.set("model", run.model.as_str());
    }
    if let Some(tokens) = run.context_tokens {
        entry.set("contextTokens", tokens);
    }
    if let Some((backend, id)) = &run.cli_session {
        let mut ids = entry.object("cliSessionIds").unwrap_or_default();
        ids.set(backend, id.as_str());
        entry.set("cliSessionIds", &ids);
    }
    if run.compactions > 0 {
        let before = entry.number("compactionCount").unwrap_or(0);
        entry.set("compactionCount", before.saturating_add(run.compactions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::session::object::Object;

    fn rules() -> KeyRules {
        KeyRules { default_agent: "main".into(), main_key: "main".into(), global: false }
    }

    #[test]
    fn a_reset_of_nothing_is_the_originals_empty_entry() {
        let expected = r#"{"sessionId":"s","updatedAt":5,"systemSent":false,"abortedLastRun":false,"inputTokens":0,"outputTokens":0,"totalTokens":0}"#;
        assert_eq!(reset(None, "s", 5).print(), expected);
    }

    #[test]
    fn a_reset_keeps_switches_names_and_routes() {
        let old = r#"{"sessionId":"o","updatedAt":1,"sessionFile":"/f","thinkingLevel":"high","label":"L","origin":{"label":"O"},
            "lastTo":"t","chatType":"group","groupId":"g","modelOverride":"m","totalTokens":9,"cliSessionIds":{"a":"b"},
            "systemPromptReport":{"x":1},"compactionCount":3,"novel":true,"contextTokens":7,"sendPolicy":"deny"}"#;
        let entry = reset(Some(&Entry::from(Object::parse(old).unwrap())), "s", 5);
        let names: Vec<&str> = entry.fields().names().collect();
        assert_eq!(
            names,
            [
                "sessionId",
                "updatedAt",
                "systemSent",
                "abortedLastRun",
                "thinkingLevel",
                "label",
                "origin",
                "lastTo",
                "chatType",
                "groupId",
                "modelOverride",
                "novel",
                "contextTokens",
                "sendPolicy",
                "inputTokens",
                "outputTokens",
                "totalTokens"
            ]
        );
        assert_eq!((entry.session_id().unwrap().as_ref(), entry.number("totalTokens")), ("s", Some(0)));
    }

    #[test]
    fn answers_have_the_members_of_the_original() {
        let (key, entry) = (rules().canonical("foo").unwrap(), Entry::new("s", 5));
        let patched = patch_answer(&key, &entry, "/p", (Some("bench".into()), None));
        let expected = json!({"ok": true, "path": "/p", "key": "agent:main:foo",
            "entry": {"sessionId": "s", "updatedAt": 5}, ("resolved"): {"modelProvider": "bench", "model": null}});
        assert_eq!(patched, expected);
    }

    #[test]
    fn the_main_session_cannot_be_deleted() {
        let key = rules().canonical("main").unwrap();
        let refusal = may_delete(&key, &rules()).unwrap_err();
        assert_eq!(refusal.to_string(), "Cannot delete the main session (agent:main:main).");
        assert!(may_delete(&rules().canonical("x").unwrap(), &rules()).is_ok());
    }

    #[test]
    fn a_run_leaves_its_last_numbers() {
        let mut entry = Entry::new("s", 1);
        let run = Finished {
            provider: "p".into(),
            model: "m".into(),
            tokens: Some((60, 20, 100)),
            cli_session: Some(("claude-cli".into(), "c-1".into())),
            compactions: 1,
            ..Finished::default()
        };
        finish(&mut entry, &run, 9);
        finish(&mut entry, &Finished { aborted: true, compactions: 1, ..Finished::default() }, 10);
        let expected = r#"{"sessionId":"s","updatedAt":10,"systemSent":true,"abortedLastRun":true,"inputTokens":60,"outputTokens":20,"totalTokens":100,"modelProvider":"p","model":"m","cliSessionIds":{"claude-cli":"c-1"},"compactionCount":2}"#;
        assert_eq!(entry.print(), expected);
    }
}
