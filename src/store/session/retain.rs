//! Transcripts that may go: those of sessions that were let go, those no session names any more, and put-away ones that
//! have become too old. Decides by names and times only; which sessions go is decided elsewhere.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use crate::limits;
use crate::sys::date;

use super::archive::{self, Reason};

/// What is to go from one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retain {
    /// The folder.
    pub folder: PathBuf,
    /// Transcripts of sessions that were let go.
    pub gone: Vec<PathBuf>,
    /// Names of the transcripts sessions have.
    pub named: HashSet<OsString>,
    /// Age from which others go; none lets them stay.
    pub age: Option<Duration>,
    /// Unix time in milliseconds.
    pub now_ms: u64,
}

/// How many files were put away and how many removed.
pub fn retain(wish: &Retain) -> io::Result<(usize, usize)> {
    let (mut away, mut removed) = (0, 0);
    for path in &wish.gone {
        away += usize::from(archive::put_away(path, Reason::Deleted, wish.now_ms)?.is_some());
    }
    let Some(age) = wish.age else { return Ok((away, removed)) };
    let oldest_ms = wish.now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let oldest = date::iso_utc(oldest_ms).replace(':', "-");
    for entry in fs::read_dir(&wish.folder)?.take(limits::SESSION_FILES) {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let Some(text) = name.to_str() else { continue };
        if archive::is_archive(text) {
            // The moment stands at the end of the name; it is older than the file's own time says.
            if text.len() > oldest.len() && text.get(text.len() - oldest.len()..).is_some_and(|at| at < &*oldest) {
                fs::remove_file(&path)?;
                removed += 1;
            }
        } else if text.ends_with(".jsonl") && !wish.named.contains(&name) && is_older(&path, oldest_ms) {
            away += usize::from(archive::put_away(&path, Reason::Deleted, wish.now_ms)?.is_some());
        }
    }
    Ok((away, removed))
}

fn is_older(path: &Path, oldest_ms: u64) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let since = changed.ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.is_some_and(|since| since.as_millis() < u128::from(oldest_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn only_what_is_old_and_unnamed_goes_and_archives_go_for_good() {
        let folder = std::env::temp_dir().join(format!("openclaw-retain-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let now_ms = clock::wall_ms() + 10 * 86_400_000;
        let file = |name: &str| fs::write(folder.join(name), "x").unwrap();
        let old = "2020-01-01T00-00-00.000Z";
        ["gone.jsonl", "named.jsonl", "orphan.jsonl", "sessions.json", "note.txt"].iter().for_each(|name| file(name));
        file(&format!("a.jsonl.deleted.{old}"));
        let wish = Retain {
            folder: folder.clone(),
            gone: vec![folder.join("gone.jsonl"), folder.join("never.jsonl")],
            named: [OsString::from("named.jsonl")].into(),
            age: Some(Duration::from_secs(86_400)),
            now_ms,
        };
        let names = || {
            let mut names: Vec<String> = fs::read_dir(&folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_string_lossy().split(".deleted").next().unwrap().to_string())
                .collect();
            names.sort();
            names
        };
        assert_eq!(retain(&Retain { age: None, ..wish.clone() }).unwrap(), (1, 0));
        assert_eq!(retain(&wish).unwrap(), (1, 1));
        assert_eq!(names(), ["gone.jsonl", "named.jsonl", "note.txt", "orphan.jsonl", "sessions.json"]);
        assert_eq!(retain(&Retain { now_ms: now_ms + 2 * 86_400_000, ..wish }).unwrap(), (0, 2));
        assert_eq!(names(), ["named.jsonl", "note.txt", "sessions.json"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
