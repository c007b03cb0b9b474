//! Transcripts that may go: those of sessions that were let go, those no session names any more, those that nobody can
//! name again, and put-away ones that have become too old. Decides by names and times only; which sessions go is decided
//! elsewhere.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use crate::limits;
use crate::sys::{date, order};

use super::archive::{self, Reason};
use super::throwaway::Kind;

/// What is to go from one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retain {
    /// The folder.
    pub folder: PathBuf,
    /// Transcripts of sessions that were let go.
    pub gone: Vec<PathBuf>,
    /// Those that nobody could have named: they are not put away but removed.
    pub unnamed: Vec<PathBuf>,
    /// Names of the transcripts sessions have.
    pub named: HashSet<OsString>,
    /// Age from which others go; none lets them stay.
    pub age: Option<Duration>,
    /// What is kept of those without a session that nobody can name again; nothing is removed of a kind that is not here.
    pub leftovers: Vec<Leftovers>,
    /// Unix time in milliseconds.
    pub now_ms: u64,
}

/// How many transcripts of a kind are kept, and for how long, after their sessions have gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    /// The kind.
    pub kind: Kind,
    /// For so long; for ever when none.
    pub age: Option<Duration>,
    /// So many of the newest; all when none.
    pub count: Option<usize>,
}

/// A transcript without a session: its kind, its last change, its place.
type Leftover = (Kind, SystemTime, PathBuf);

/// How many files were put away and how many removed.
pub fn retain(wish: &Retain) -> io::Result<(usize, usize)> {
    let (mut away, mut removed) = (0, 0);
    for path in &wish.gone {
        away += usize::from(archive::put_away(path, Reason::Deleted, wish.now_ms)?.is_some());
    }
    for path in &wish.unnamed {
        removed += usize::from(remove(path)?);
    }
    if wish.age.is_none() && wish.leftovers.is_empty() {
        return Ok((away, removed));
    }
    let oldest_ms = wish.age.map(|age| before(wish.now_ms, age));
    let oldest = oldest_ms.map(|at| date::iso_utc(at).replace(':', "-"));
    let mut left: Vec<Leftover> = Vec::new();
    for entry in fs::read_dir(&wish.folder)?.take(limits::SESSION_FILES) {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let Some(text) = name.to_str() else { continue };
        if let Some(kind) = leftover(text, wish) {
            left.extend(changed(&path).map(|at| (kind, at, path)));
        } else if archive::is_archive(text) {
            // The moment stands at the end of the name; it is older than the file's own time says.
            let ends_before = |oldest: &String| {
                let end = text.len().checked_sub(oldest.len()).and_then(|at| text.get(at..));
                end.is_some_and(|end| end < oldest.as_str())
            };
            if oldest.as_ref().is_some_and(ends_before) {
                removed += usize::from(remove(&path)?);
            }
        } else if text.ends_with(".jsonl") && !wish.named.contains(&name) && is_older(&path, oldest_ms) {
            away += usize::from(archive::put_away(&path, Reason::Deleted, wish.now_ms)?.is_some());
        }
    }
    for kept in &wish.leftovers {
        removed += shed(kept, &left, wish.now_ms)?;
    }
    Ok((away, removed))
}

fn before(now_ms: u64, age: Duration) -> u64 {
    now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

/// The kind of a file that nobody can name again and no session has.
fn leftover(name: &str, wish: &Retain) -> Option<Kind> {
    let (kind, transcript) = Kind::of_file(name)?;
    let wanted = wish.leftovers.iter().any(|kept| kept.kind == kind);
    (wanted && !wish.named.contains(OsStr::new(transcript))).then_some(kind)
}

/// Removes what is too old or too much of a kind.
fn shed(kept: &Leftovers, left: &[Leftover], now_ms: u64) -> io::Result<usize> {
    let mut of_kind: Vec<&Leftover> = left.iter().filter(|(kind, ..)| *kind == kept.kind).collect();
    order::by(&mut of_kind, |a, b| b.1.cmp(&a.1));
    let oldest_ms = kept.age.map(|age| before(now_ms, age));
    let mut removed = 0;
    for (place, (_, at, path)) in of_kind.into_iter().enumerate() {
        if kept.count.is_some_and(|count| place >= count) || is_before(*at, oldest_ms) {
            removed += usize::from(remove(path)?);
        }
    }
    Ok(removed)
}

/// Removes a file; whether there was one.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok()
}

fn is_older(path: &Path, oldest_ms: Option<u64>) -> bool {
    changed(path).is_some_and(|at| is_before(at, oldest_ms))
}

fn is_before(at: SystemTime, oldest_ms: Option<u64>) -> bool {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok();
    since.zip(oldest_ms).is_some_and(|(since, oldest)| since.as_millis() < u128::from(oldest))
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
            unnamed: Vec::new(),
            leftovers: Vec::new(),
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

    #[test]
    fn what_nobody_can_name_goes_by_age_and_number_and_nothing_else_does() {
        let folder = std::env::temp_dir().join(format!("openclaw-leftovers-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (now_ms, day) = (clock::wall_ms(), 86_400_000);
        let id = |kind: Kind, number: u8| kind.id(format!("6f07d653-4d76-4184-a1f6-9503000000{number:02}"));
        // Named by its age in days.
        let file = |name: &str, days: u64| {
            let file = fs::File::create(folder.join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms - days * day)).unwrap();
        };
        let transcript = |kind: Kind, number: u8| format!("{}.jsonl", id(kind, number));
        (1..=4).for_each(|days| file(&transcript(Kind::Run, days), days.into()));
        (1..=2).for_each(|days| file(&transcript(Kind::Call, days), days.into()));
        let others = [
            format!("{}.jsonl.deleted.2020-01-01T00-00-00.000Z", id(Kind::Run, 50)),
            "6f07d653-4d76-4184-a1f6-950300000000.jsonl".to_string(),
            transcript(Kind::Run, 60),
            format!("{}.bak.2020-01-01T00-00-00.000Z", transcript(Kind::Run, 60)),
        ];
        others.iter().for_each(|name| file(name, 400));
        file(&format!("{}.bak.2020-01-01T00-00-00.000Z", transcript(Kind::Run, 9)), 9);
        let keep = |kind: Kind, days: u64, count: usize| Leftovers {
            kind,
            age: Some(Duration::from_millis(days * day + day / 2)),
            count: Some(count),
        };
        let wish = Retain {
            folder: folder.clone(),
            gone: Vec::new(),
            unnamed: vec![folder.join(transcript(Kind::Call, 1)), folder.join(transcript(Kind::Call, 99))],
            named: [OsString::from(transcript(Kind::Run, 60))].into(),
            age: None,
            leftovers: Vec::new(),
            now_ms,
        };
        let runs = || (1..=9).filter(|days| folder.join(transcript(Kind::Run, *days)).exists()).collect::<Vec<u8>>();
        let with = |leftovers: Vec<Leftovers>| retain(&Retain { leftovers, ..wish.clone() }).unwrap();
        assert_eq!((with(Vec::new()), runs()), ((0, 1), vec![1, 2, 3, 4]));
        assert_eq!((with(vec![keep(Kind::Run, 3, 9)]), runs()), ((0, 2), vec![1, 2, 3]), "the old one, and a copy");
        assert_eq!((with(vec![keep(Kind::Run, 9, 2)]), runs()), ((0, 1), vec![1, 2]), "the third");
        assert!(folder.join(transcript(Kind::Call, 2)).exists());
        assert_eq!(with(vec![keep(Kind::Call, 9, 0)]), (0, 1));
        others.iter().for_each(|name| assert!(folder.join(name).exists(), "{name}"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
