//! Sessions that nobody can name again: the gateway makes them for calls of programs and hooks that name none, and for
//! the runs of jobs. Which ones those are is decided here and nowhere else, by key and entry: on any doubt a session is
//! one that somebody may come back to. How many are kept is `retention`'s.

use crate::store::session::entry::Entry;
use crate::store::session::throwaway::{Kind, is_uuid};

use super::key;
use super::lifecycle::OF_CONVERSATION;

/// The member that says that somebody has spoken into such a session after all, or changed it: it stays.
pub const KEPT: &str = "kept";

/// Other members that a run leaves; one more, a label for instance, shows somebody's hand.
const LEFT_BY_RUNS: &[&str] = &["model", "contextTokens"];

/// What kind of session that nobody can name again this is; none for all others. A program may choose a key that looks
/// like ours: what the gateway began for itself tells the conversation's id. Rows of single runs are the originals'.
pub fn kind_of(stored: &str, entry: &Entry) -> Option<Kind> {
    key::agent_of(stored)?;
    let kind = match key::rest_of(stored).split_once(':')? {
        ("openai" | "openresponses" | "hook", id) => is_made(id, entry).then_some(Kind::Call),
        ("cron", rest) => is_run(rest, entry).then_some(Kind::Run),
        _ => None,
    }?;
    let left = |name: &str| {
        OF_CONVERSATION.contains(&name) || LEFT_BY_RUNS.contains(&name) || (kind == Kind::Run && name == "label")
    };
    (!is_kept(entry) && entry.fields().names().all(left)).then_some(kind)
}

/// The last run of a job, which may be gone itself, or the row of a single one.
fn is_run(rest: &str, entry: &Entry) -> bool {
    match rest.rsplit_once(":run:") {
        Some((_, id)) => is_uuid(id),
        None => !rest.contains(':') && conversation(entry) == Some(Kind::Run),
    }
}

fn is_made(id: &str, entry: &Entry) -> bool {
    is_uuid(id) && conversation(entry) == Some(Kind::Call)
}

/// The kind of an entry's conversation.
fn conversation(entry: &Entry) -> Option<Kind> {
    Kind::of(&entry.session_id()?)
}

fn is_kept(entry: &Entry) -> bool {
    entry.flag(KEPT) == Some(true)
}

/// Whether an entry has to be marked when somebody speaks into its session or changes it.
pub fn wants_mark(entry: &Entry) -> bool {
    conversation(entry).is_some() && !is_kept(entry)
}

/// Marks a session that somebody has spoken into, or changed.
pub fn keep(entry: &mut Entry) {
    if wants_mark(entry) {
        entry.set(KEPT, true);
    }
}

/// Key and entry under which the conversation of a job's run stays, when the next run begins and somebody has spoken
/// into this one. The originals have such keys for every run.
pub fn kept_run(key: &str, entry: &Entry) -> Option<(String, Entry)> {
    (conversation(entry) == Some(Kind::Run) && is_kept(entry)).then_some(())?;
    let mut kept = entry.clone();
    // A label names one session.
    kept.clear("label");
    Some((format!("{key}:run:{}", entry.session_id()?), kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::session::object::Object;

    const CALL: &str = "6f07d653-4d76-8a84-a1f6-95030c4977f9";
    const RUN: &str = "6f07d653-4d76-8c84-a1f6-95030c4977f9";
    const OTHER: &str = "6f07d653-4d76-4184-a1f6-95030c4977f9";

    fn entry(id: &str, more: &str) -> Entry {
        Entry::from(Object::parse(&format!(r#"{{"sessionId":"{id}","updatedAt":1,"model":"m"{more}}}"#)).unwrap())
    }

    #[test]
    fn only_what_the_gateway_made_for_itself_is_a_throwaway() {
        let kind = |key: &str, id: &str| kind_of(&key.replace('#', OTHER), &entry(id, ""));
        for key in ["agent:main:openai:#", "agent:ops:openresponses:#", "agent:main:hook:#"] {
            assert_eq!((kind(key, CALL), kind(key, RUN)), (Some(Kind::Call), None), "{key}");
            assert_eq!(kind(key, OTHER), None, "a program named it, or an original made it: {key}");
        }
        assert_eq!(kind("agent:main:cron:#:run:#", OTHER), Some(Kind::Run));
        assert_eq!((kind("agent:main:cron:#", RUN), kind("agent:main:cron:#", OTHER)), (Some(Kind::Run), None));
        for key in [
            "agent:main:main",
            "agent:main:openai-user:#",
            "agent:main:openresponses-user:#",
            "agent:main:openai:my-app",
            "agent:main:openai:#:thread:1",
            "agent:main:hook:gmail:#",
            "agent:main:cron:#",
            "agent:main:cron:#:run:1",
            "agent:main:dashboard:#",
            "agent:main:subagent:#",
            "agent:main:telegram:group:openai:#",
            "openai:#",
            "hook:#",
            "global",
            "",
        ] {
            assert_eq!(kind(key, CALL), None, "{key}");
        }
    }

    #[test]
    fn what_somebody_has_touched_stays() {
        let key = format!("agent:main:openai:{OTHER}");
        let kind = |more: &str| kind_of(&key, &entry(CALL, more));
        let left = r#","systemSent":true,"abortedLastRun":false,"inputTokens":1,"outputTokens":2,"totalTokens":3,
            "modelProvider":"p","contextTokens":9,"cliSessionIds":{"a":"b"},"compactionCount":1"#;
        assert_eq!(kind(left), Some(Kind::Call));
        for member in ["label", "pinnedAt", "thinkingLevel", "lastTo", "origin", "modelOverride", "spawnedBy", "novel"]
        {
            assert_eq!(kind(&format!(r#","{member}":"x""#)), None, "{member}");
        }
        let mut touched = entry(CALL, "");
        keep(&mut touched);
        assert_eq!((kind_of(&key, &touched), wants_mark(&touched)), (None, false));
        let mut named = entry(OTHER, "");
        keep(&mut named);
        assert_eq!(named, entry(OTHER, ""), "others need no mark");
        let run = format!("agent:main:cron:j:run:{OTHER}");
        assert_eq!(kind_of(&run, &entry(OTHER, r#","label":"Cron: x""#)), Some(Kind::Run));
        assert_eq!(kind_of(&run, &entry(OTHER, r#","pinnedAt":1"#)), None);
    }

    #[test]
    fn a_run_somebody_has_spoken_into_stays_under_a_key_of_its_own() {
        let mut run = entry(RUN, r#","label":"Cron: news""#);
        assert_eq!(kept_run("agent:main:cron:j", &run), None);
        keep(&mut run);
        let (key, kept) = kept_run("agent:main:cron:j", &run).unwrap();
        assert_eq!((key.as_str(), kind_of(&key, &kept)), (&*format!("agent:main:cron:j:run:{RUN}"), None));
        assert_eq!((kept.session_id(), kept.text("label")), (run.session_id(), None));
    }
}
