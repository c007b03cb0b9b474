//! `usage.cost`, `sessions.usage` and its details on the errand thread: which transcripts count, and a memory of what
//! unchanged ones came to. Nothing is read before somebody asks. The counting and the forms are `session::usage`'s.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::usage::wire::{self, Row};
use crate::session::usage::{Counter, Span, Tally};
use crate::store::session::archive;
use crate::store::session::entry::Entry;
use crate::store::sessions::Index;
use crate::store::transcript::Transcript;
use crate::sys::order;
use crate::sys::table::Table;
use crate::sys::zone::Zone;

/// What is wanted.
pub enum Wanted {
    /// Sums by day over everything.
    Cost,
    /// Sums by session.
    Sessions {
        /// Only the one with one of these keys.
        keys: Option<Vec<String>>,
        /// How many.
        limit: usize,
    },
    /// The curve of one session.
    Series {
        /// Its key, for an error.
        key: String,
        /// Its id.
        session_id: String,
        /// Its transcript.
        path: PathBuf,
    },
    /// The last messages of one session.
    Logs {
        /// Its transcript.
        path: PathBuf,
        /// How many.
        limit: usize,
    },
}

/// Whose days are meant.
#[derive(Clone)]
pub enum Days {
    /// Days of this zone.
    Of(Zone),
    /// Days of a zone with this name.
    Named(String),
}

/// A question.
pub struct Ask {
    /// What is wanted.
    pub wanted: Wanted,
    /// First and last day as asked.
    pub dates: (Option<String>, Option<String>),
    /// So many days up to today, where no first day is asked.
    pub length: Option<i64>,
    /// Whose days.
    pub days: Days,
    /// Session folders and indexes by agent.
    pub stores: Vec<Store>,
    /// When.
    pub now_ms: u64,
}

/// The sessions of one agent.
pub struct Store {
    /// The agent.
    pub agent: String,
    /// Where its transcripts lie.
    pub folder: PathBuf,
    /// Its index; none when it is not needed.
    pub index: Option<Arc<Index>>,
}

/// What unchanged transcripts came to.
#[derive(Default)]
pub struct Counted {
    files: Table<PathBuf, Kept>,
}

struct Kept {
    length: u64,
    modified: Option<SystemTime>,
    zone: Option<String>,
    tally: Arc<Tally>,
}

/// The serialised answer.
pub fn answer(ask: &Ask, counted: &mut Counted) -> Result<String, WireError> {
    match &ask.wanted {
        Wanted::Series { key, session_id, path } => {
            let none = || WireError::invalid(format!("No transcript found for session: {key}"));
            let detail = detail(path)?.ok_or_else(none)?;
            return Ok(wire::series(session_id, &detail).to_string());
        }
        Wanted::Logs { path, limit } => {
            let detail = detail(path)?.unwrap_or_else(|| Transcript::parse(Vec::new(), true));
            return Ok(wire::logs(&detail, *limit).to_string());
        }
        Wanted::Cost | Wanted::Sessions { .. } => {}
    }
    let (zone, name) = match &ask.days {
        Days::Of(zone) => (zone.clone(), None),
        Days::Named(name) => {
            let zone = Zone::named(name).ok_or_else(|| WireError::invalid(format!("unknown time zone: {name}")))?;
            (zone, Some(name.clone()))
        }
    };
    let span = span(ask, &zone);
    let mut count = Count { counted, zone: &zone, name, until: Instant::now() + limits::USAGE_PATIENCE };
    match &ask.wanted {
        Wanted::Sessions { keys, limit } => sessions(ask, keys.as_deref(), *limit, &span, &mut count),
        _ => cost(ask, &span, &mut count),
    }
}

fn span(ask: &Ask, zone: &Zone) -> Span {
    match (&ask.dates, ask.length) {
        ((None, None), Some(length)) => Span::days(length, ask.now_ms, zone),
        ((start, end), _) => Span::of(start.as_deref(), end.as_deref(), ask.now_ms, zone),
    }
}

fn detail(path: &Path) -> Result<Option<Transcript>, WireError> {
    Transcript::read(path, limits::USAGE_DETAIL_BYTES).map_err(unreadable)
}

fn unreadable(error: io::Error) -> WireError {
    WireError::unavailable(format!("cannot read the transcript: {error}"))
}

struct Count<'a> {
    counted: &'a mut Counted,
    zone: &'a Zone,
    name: Option<String>,
    until: Instant,
}

impl Count<'_> {
    /// What a transcript comes to; nothing for one that has gone.
    fn file(&mut self, path: &Path, facts: &Metadata) -> Result<Arc<Tally>, WireError> {
        let modified = facts.modified().ok();
        let kept = self.counted.files.get(path);
        let same = |kept: &&Kept| kept.length == facts.len() && kept.modified == modified && kept.zone == self.name;
        if let Some(kept) = kept.filter(same) {
            return Ok(Arc::clone(&kept.tally));
        }
        if Instant::now() > self.until {
            let error = WireError::unavailable("still counting; what is counted is kept, ask again");
            return Err(WireError { retry_after_ms: Some(500), ..error });
        }
        let tally = Arc::new(read(path, self.zone).map_err(unreadable)?);
        if self.counted.files.len() >= 2 * limits::USAGE_FILES {
            self.counted.files = Table::new();
        }
        let kept = Kept { length: facts.len(), modified, zone: self.name.clone(), tally: Arc::clone(&tally) };
        self.counted.files.insert(path.to_path_buf(), kept);
        Ok(tally)
    }
}

/// Line by line, so that a long transcript needs no more memory than its longest line; longer lines than any real one
/// are passed over.
fn read(path: &Path, zone: &Zone) -> io::Result<Tally> {
    let most = u64::try_from(limits::TRANSCRIPT_LINE_BYTES).unwrap_or(u64::MAX);
    let total = u64::try_from(limits::TRANSCRIPT_BYTES).unwrap_or(u64::MAX);
    let mut reader = BufReader::new(File::open(path)?.take(total));
    let (mut counter, mut line) = (Counter::default(), Vec::new());
    let mut whole = true;
    loop {
        line.clear();
        if (&mut reader).take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(counter.tally());
        }
        let ended = line.ends_with(b"\n");
        // A cut tail is read like a line: it is none, and counts nothing.
        if whole && let Ok(text) = std::str::from_utf8(&line) {
            counter.line(text, zone);
        }
        whole = ended;
    }
}

/// Transcripts of a folder that were written since the first day, newest first.
fn files(folder: &Path, span: &Span) -> Vec<(PathBuf, Metadata)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.take(limits::DIR_ENTRIES).filter_map(Result::ok).map(|entry| entry.path());
    let transcripts = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let mut found: Vec<(PathBuf, Metadata)> = transcripts.filter_map(|path| recent(path, span)).collect();
    order::by_key(&mut found, |(_, facts)| std::cmp::Reverse(facts.modified().ok()));
    found.truncate(limits::USAGE_FILES);
    found
}

/// A file that may hold something of these days.
fn recent(path: PathBuf, span: &Span) -> Option<(PathBuf, Metadata)> {
    let facts = std::fs::symlink_metadata(&path).ok().filter(Metadata::is_file)?;
    let day = crate::sys::date::day_name(millis(&facts), 24 * 3600);
    (day.as_str() >= span.start.as_str()).then_some((path, facts))
}

fn millis(facts: &Metadata) -> u64 {
    let since = facts.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, super::health::millis)
}

fn cost(ask: &Ask, span: &Span, count: &mut Count<'_>) -> Result<String, WireError> {
    let mut all = Tally::default();
    for store in &ask.stores {
        for (path, facts) in files(&store.folder, span) {
            all.add(&count.file(&path, &facts)?.within(span));
        }
    }
    Ok(wire::cost(&all, span.length(), ask.now_ms).to_string())
}

/// One session on its way into the report.
struct Seen {
    agent: String,
    key: String,
    entry: Entry,
    path: PathBuf,
    facts: Metadata,
}

fn sessions(
    ask: &Ask,
    keys: Option<&[String]>,
    limit: usize,
    span: &Span,
    count: &mut Count<'_>,
) -> Result<String, WireError> {
    let mut seen: Vec<Seen> = ask.stores.iter().flat_map(|store| of_store(store, span)).collect();
    seen.retain(|seen| keys.is_none_or(|keys| keys.contains(&seen.key)));
    order::by_key(&mut seen, |seen| std::cmp::Reverse(seen.entry.updated_ms()));
    seen.truncate(limit);
    let mut rows = Vec::new();
    let paths: Vec<String> = seen.iter().map(|seen| seen.path.display().to_string()).collect();
    for (seen, file) in seen.iter().zip(&paths) {
        let tally = count.file(&seen.path, &seen.facts)?.within(span);
        rows.push(Row { key: &seen.key, agent: &seen.agent, entry: &seen.entry, file, tally });
    }
    Ok(wire::sessions(&rows, span, ask.now_ms).to_string())
}

/// The sessions of an agent with something of these days, and conversations that were left for a new one.
fn of_store(store: &Store, span: &Span) -> Vec<Seen> {
    let mut left = files(&store.folder, span);
    let mut seen = Vec::new();
    let entries = store.index.iter().flat_map(|index| index.iter());
    for (key, entry) in entries {
        let Some(path) = archive::transcript(&store.folder, entry) else { continue };
        let Some(at) = left.iter().position(|(known, _)| *known == path) else { continue };
        let (path, facts) = left.swap_remove(at);
        seen.push(Seen { agent: store.agent.clone(), key: key.to_string(), entry: entry.clone(), path, facts });
    }
    seen.extend(left.into_iter().filter_map(|(path, facts)| {
        let id = path.file_stem()?.to_str()?.to_string();
        let entry = Entry::new(&id, millis(&facts));
        Some(Seen { agent: store.agent.clone(), key: id, entry, path, facts })
    }));
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const EXAMPLE: &str = include_str!("../../fixtures/sessions/transcript-v2026.2.9.jsonl");
    const NOW: u64 = 1_795_238_424_165; // 2026-11-21

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("openclaw-usage-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn ask(folder: &Path, wanted: Wanted) -> Ask {
        let index = Index::parse(br#"{"agent:main:main": {"sessionId": "one", "updatedAt": 5}}"#).unwrap();
        let store = Store { agent: "main".into(), folder: folder.to_path_buf(), index: Some(Arc::new(index)) };
        let dates = (Some("2026-11-01".to_string()), Some("2026-11-30".to_string()));
        Ask { wanted, dates, length: None, days: Days::Of(Zone::utc()), stores: vec![store], now_ms: NOW }
    }

    fn get(ask: &Ask, counted: &mut Counted) -> Value {
        serde_json::from_str(&answer(ask, counted).map_err(|error| error.message).unwrap()).unwrap()
    }

    fn all(key: Option<&str>) -> Wanted {
        Wanted::Sessions { keys: key.map(|key| vec![key.to_string()]), limit: 10 }
    }

    #[test]
    fn what_was_counted_is_kept_until_the_file_changes() {
        let folder = folder("kept");
        let path = folder.join("one.jsonl");
        std::fs::write(&path, EXAMPLE).unwrap();
        let mut counted = Counted::default();
        let total = |counted: &mut Counted| get(&ask(&folder, Wanted::Cost), counted)["totals"]["totalTokens"].clone();
        assert_eq!(total(&mut counted), 240);
        let mut broken = Tally::default();
        broken.days.insert("2026-11-02".into(), Default::default());
        counted.files.get_mut(&path).unwrap().tally = Arc::new(broken);
        assert_eq!(total(&mut counted), 0, "the memory answers");
        std::fs::write(&path, format!("{EXAMPLE}\n")).unwrap();
        assert_eq!(total(&mut counted), 240);
    }

    #[test]
    fn sessions_are_listed_with_those_that_were_left() {
        let folder = folder("sessions");
        for name in ["one.jsonl", "two.jsonl", "two.jsonl.deleted.x", "note.txt"] {
            std::fs::write(folder.join(name), EXAMPLE).unwrap();
        }
        let report = get(&ask(&folder, all(None)), &mut Counted::default());
        let mut keys: Vec<&str> =
            report["sessions"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
        keys.sort_unstable();
        assert_eq!((keys, &report["totals"]["totalTokens"]), (vec!["agent:main:main", "two"], &480.into()));
        let one = get(&ask(&folder, all(Some("agent:main:main"))), &mut Counted::default());
        assert_eq!((one["sessions"].as_array().unwrap().len(), &one["startDate"]), (1, &"2026-11-01".into()));
    }

    #[test]
    fn old_files_are_not_opened_and_missing_folders_are_empty() {
        let folder = folder("old");
        let path = folder.join("one.jsonl");
        std::fs::write(&path, EXAMPLE).unwrap();
        File::options().append(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
        let mut counted = Counted::default();
        assert_eq!(get(&ask(&folder, all(None)), &mut counted)["sessions"], Value::Array(Vec::new()));
        assert!(counted.files.is_empty());
        assert_eq!(get(&ask(&folder.join("none"), Wanted::Cost), &mut counted)["daily"], Value::Array(Vec::new()));
    }

    #[test]
    fn long_and_broken_lines_are_passed_over() {
        let folder = folder("lines");
        let path = folder.join("one.jsonl");
        let long = vec![b'x'; limits::TRANSCRIPT_LINE_BYTES + 10];
        let bytes = [&long[..], b"\n\xff\xfe\n{\"type\":\n", EXAMPLE.as_bytes(), b"{\"type\":\"mess"].concat();
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path, &Zone::utc()).unwrap().sum().usage.total_tokens, 240);
    }

    #[test]
    fn too_much_at_once_is_said_and_continued() {
        let folder = folder("late");
        std::fs::write(folder.join("one.jsonl"), EXAMPLE).unwrap();
        let (mut counted, zone) = (Counted::default(), Zone::utc());
        let late = Instant::now() - std::time::Duration::from_secs(1);
        let ask = ask(&folder, Wanted::Cost);
        let mut count = Count { counted: &mut counted, zone: &zone, name: None, until: late };
        let error = cost(&ask, &Span::always(), &mut count).unwrap_err();
        assert!(error.retry_after_ms.is_some() && error.message.contains("ask again"));
        get(&ask, &mut counted);
        let mut count = Count { counted: &mut counted, zone: &zone, name: None, until: late };
        assert!(cost(&ask, &Span::always(), &mut count).is_ok());
    }

    #[test]
    fn details_are_those_of_one_session() {
        let folder = folder("detail");
        let path = folder.join("one.jsonl");
        std::fs::write(&path, EXAMPLE).unwrap();
        let series = Wanted::Series { key: "k".into(), session_id: "one".into(), path: path.clone() };
        assert_eq!(get(&ask(&folder, series), &mut Counted::default())["points"][1]["cumulativeTokens"], 240);
        let logs = Wanted::Logs { path: path.clone(), limit: 2 };
        assert_eq!(get(&ask(&folder, logs), &mut Counted::default())["logs"].as_array().unwrap().len(), 2);
        let none = Wanted::Series { key: "k".into(), session_id: "x".into(), path: folder.join("x.jsonl") };
        assert!(answer(&ask(&folder, none), &mut Counted::default()).is_err());
        let mut odd = ask(&folder, Wanted::Cost);
        odd.days = Days::Named("Nowhere/Land".into());
        assert!(answer(&odd, &mut Counted::default()).unwrap_err().message.contains("unknown time zone"));
    }
}
