//! Names of transcripts, and the names they get when they are put away (agent.md 10). Owns the rule that a transcript
//! always lies in its agent's own folder, whatever an entry says. Knows nothing of their content.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::sys::date;

use super::entry::Entry;

/// Why a transcript is put away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its session was deleted.
    Deleted,
    /// It was shortened; this is what it was.
    Shortened,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Reason::Deleted => "deleted",
            Reason::Shortened => "bak",
        }
    }
}

/// The name a put-away file gets: `<name>.deleted.2026-11-21T05-16-37.252Z`.
pub fn name(path: &Path, reason: Reason, now_ms: u64) -> Option<PathBuf> {
    let file = path.file_name()?.to_str()?;
    let moment = date::iso_utc(now_ms).replace(':', "-");
    Some(path.with_file_name(format!("{file}.{}.{moment}", reason.name())))
}

/// Renames a transcript out of the way; `None` when there was none.
pub fn put_away(path: &Path, reason: Reason, now_ms: u64) -> io::Result<Option<PathBuf>> {
    let Some(target) = name(path, reason, now_ms) else { return Ok(None) };
    match fs::rename(path, &target) {
        Ok(()) => Ok(Some(target)),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Whether a file is one of a session's transcripts that were put away.
pub fn is_archive(file_name: &str) -> bool {
    [Reason::Deleted, Reason::Shortened].iter().any(|reason| file_name.contains(&format!(".jsonl.{}.", reason.name())))
}

/// Where the transcript of an entry lies: the file it names, if that is one in this folder, else `<sessionId>.jsonl`.
/// An index copied from another home names folders that do not exist here.
pub fn transcript(folder: &Path, entry: &Entry) -> Option<PathBuf> {
    let named = entry.text("sessionFile").and_then(|file| {
        let name = file.rsplit(['/', '\\']).next().unwrap_or_default().to_string();
        (name.ends_with(".jsonl") && is_plain(&name)).then_some(name)
    });
    let name = match named {
        Some(name) => name,
        None => format!("{}.jsonl", entry.session_id().filter(|id| is_plain(id))?),
    };
    Some(folder.join(name))
}

/// Where the transcript of a session id lies; forum topics have one each.
pub fn transcript_of(folder: &Path, session_id: &str, topic: Option<&str>) -> Option<PathBuf> {
    let plain = |text: &&str| is_plain(text);
    let id = Some(session_id).filter(plain)?;
    match topic {
        Some(topic) => Some(folder.join(format!("{id}-topic-{}.jsonl", Some(topic).filter(plain)?))),
        None => Some(folder.join(format!("{id}.jsonl"))),
    }
}

/// A name that cannot lead out of a folder.
pub fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '@');
    (1..=200).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::session::object::Object;

    fn entry(json: &str) -> Entry {
        Entry::from(Object::parse(json).unwrap())
    }

    #[test]
    fn names_are_those_of_the_original() {
        let path = Path::new("/s/x.jsonl");
        let at = 1_795_238_197_252;
        assert_eq!(name(path, Reason::Shortened, at).unwrap(), Path::new("/s/x.jsonl.bak.2026-11-21T05-16-37.252Z"));
        assert_eq!(name(path, Reason::Deleted, at).unwrap(), Path::new("/s/x.jsonl.deleted.2026-11-21T05-16-37.252Z"));
        assert!(is_archive("x.jsonl.bak.2026-11-21T05-16-37.252Z") && !is_archive("x.jsonl"));
    }

    #[test]
    fn transcripts_stay_in_their_folder() {
        let at = |json: &str| transcript(Path::new("/s"), &entry(json));
        assert_eq!(at(r#"{"sessionId":"a-1"}"#).unwrap(), Path::new("/s/a-1.jsonl"));
        let moved = r#"{"sessionId":"a","sessionFile":"/old/home/a-topic-7.jsonl"}"#;
        assert_eq!(at(moved).unwrap(), Path::new("/s/a-topic-7.jsonl"));
        assert_eq!(at(r#"{"sessionId":"a","sessionFile":"/etc/passwd"}"#).unwrap(), Path::new("/s/a.jsonl"));
        for bad in [r#"{"sessionId":"../a"}"#, r#"{"sessionId":".."}"#, r#"{"sessionId":"a/b"}"#, "{}"] {
            assert_eq!(at(bad), None, "{bad}");
        }
        let topic = transcript_of(Path::new("/s"), "a", Some("7")).unwrap();
        assert_eq!(topic, Path::new("/s/a-topic-7.jsonl"));
        assert_eq!(transcript_of(Path::new("/s"), "a", Some("../7")), None);
    }
}
