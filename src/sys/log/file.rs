//! The log file: daily names, rotation, deletion of old days, and patience with a full disk. The time enters with
//! each line; knows nothing of what the lines say.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::limits;
use crate::sys::date;
use crate::sys::zone::Zone;

/// Which file lines go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileRule {
    /// None.
    Off,
    /// Always this one (`logging.file`).
    Fixed(PathBuf),
    /// One a day in this directory.
    Daily {
        /// The directory.
        dir: PathBuf,
        /// The profile, which becomes part of the name unless it is `default`.
        profile: Option<String>,
    },
}

/// The name of a day's file: `openclaw-2026-11-21.log`, with a profile `openclaw-work-2026-11-21.log`.
pub fn daily_name(profile: Option<&str>, day: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    match profile.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("default")) {
        Some(name) => format!("openclaw-{}-{day}.log", name.chars().map(plain).collect::<String>()),
        None => format!("openclaw-{day}.log"),
    }
}

/// The open file, and what to do when there is none.
pub(super) struct FileSink {
    rule: FileRule,
    max_bytes: u64,
    zone: Zone,
    open: Option<Open>,
    retry_ms: u64,
    lost: u64,
}

struct Open {
    file: File,
    path: PathBuf,
    identity: (u64, u64),
    size: u64,
    checked_ms: u64,
    /// The last write failed in the middle of a line.
    torn: bool,
}

impl FileSink {
    pub fn new(rule: FileRule, max_bytes: u64, zone: Zone) -> FileSink {
        FileSink { rule, max_bytes, zone, open: None, retry_ms: 0, lost: 0 }
    }

    /// Lines lost since the last success.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Ends the pause after a fault.
    #[cfg(test)]
    pub fn forget_pause(&mut self) {
        self.retry_ms = 0;
    }

    /// The file for a moment.
    pub fn path_at(&self, wall_ms: u64) -> Option<PathBuf> {
        match &self.rule {
            FileRule::Off => None,
            FileRule::Fixed(path) => Some(path.clone()),
            FileRule::Daily { dir, profile } => {
                let day = date::day_name(wall_ms, self.zone.offset(date::seconds(wall_ms)));
                Some(dir.join(daily_name(profile.as_deref(), &day)))
            }
        }
    }

    /// Appends a line. A fault is handed back once; then lines are only counted until writing works again.
    pub fn write(&mut self, wall_ms: u64, line: &str) -> Option<io::Error> {
        let path = self.path_at(wall_ms)?;
        let waiting = self.retry_ms > 0 && wall_ms.abs_diff(self.retry_ms) < millis(limits::LOG_RETRY);
        if waiting {
            self.lost += 1;
            return None;
        }
        match self.try_write(wall_ms, &path, line) {
            Ok(()) => {
                (self.retry_ms, self.lost) = (0, 0);
                None
            }
            Err(fault) => {
                let first = self.lost == 0;
                self.lost += 1;
                self.retry_ms = wall_ms;
                first.then_some(fault)
            }
        }
    }

    fn try_write(&mut self, wall_ms: u64, path: &Path, line: &str) -> io::Result<()> {
        let mut open = self.current(wall_ms, path)?;
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if open.size > 0 && open.size.saturating_add(bytes) > self.max_bytes && open.file.metadata()?.is_file() {
            rotate(path)?;
            open = Open::new(path, wall_ms)?;
        }
        let whole = if open.torn { open.file.write_all(b"\n") } else { Ok(()) };
        let written = whole.and_then(|()| open.file.write_all(line.as_bytes()));
        open.torn = written.is_err();
        open.size = open.size.saturating_add(bytes);
        self.open = Some(open);
        written
    }

    /// The file to write to now: opened anew when the day changed or when somebody moved it away.
    fn current(&mut self, wall_ms: u64, path: &Path) -> io::Result<Open> {
        if let Some(mut open) = self.open.take().filter(|open| open.path == path) {
            let due = wall_ms.abs_diff(open.checked_ms) >= millis(limits::LOG_RECHECK);
            let full = open.size >= self.max_bytes;
            if !(due || full) || open.still_there(wall_ms) {
                return Ok(open);
            }
        }
        let open = Open::new(path, wall_ms)?;
        if let FileRule::Daily { dir, .. } = &self.rule {
            delete_old(dir, wall_ms);
        }
        Ok(open)
    }
}

impl Open {
    fn new(path: &Path, wall_ms: u64) -> io::Result<Open> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()) {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        // opening a pipe nobody reads would block for ever
        if fs::metadata(path).is_ok_and(|facts| facts.file_type().is_fifo() || facts.file_type().is_socket()) {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("not a file: {}", path.display())));
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let facts = file.metadata()?;
        if facts.is_file() && facts.mode() & 0o077 != 0 {
            // the original leaves its files readable to all; not ours to insist when the file belongs to another user
            let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
        }
        let identity = (facts.dev(), facts.ino());
        Ok(Open { file, path: path.to_owned(), identity, size: facts.len(), checked_ms: wall_ms, torn: false })
    }

    /// Whether the name still means the open file; takes its size too, as other processes may write to it.
    fn still_there(&mut self, wall_ms: u64) -> bool {
        self.checked_ms = wall_ms;
        let facts = fs::metadata(&self.path).ok();
        let same = facts.filter(|facts| (facts.dev(), facts.ino()) == self.identity);
        self.size = same.as_ref().map_or(self.size, fs::Metadata::len);
        same.is_some()
    }
}

/// `x.log` becomes `x.1.log`, that becomes `x.2.log`, and the last generation is replaced.
fn rotate(path: &Path) -> io::Result<()> {
    for generation in (1..limits::LOG_GENERATIONS).rev() {
        match fs::rename(numbered(path, generation), numbered(path, generation + 1)) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => {}
            other => other?,
        }
    }
    fs::rename(path, numbered(path, 1))
}

fn numbered(path: &Path, generation: u32) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".log").unwrap_or(&name);
    path.with_file_name(format!("{stem}.{generation}.log"))
}

/// Deletes the files of other days; faults are nobody's concern.
fn delete_old(dir: &Path, wall_ms: u64) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let now = UNIX_EPOCH + Duration::from_millis(wall_ms);
    for entry in entries.take(limits::DIR_ENTRIES).filter_map(Result::ok) {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with("openclaw-") && name.ends_with(".log"));
        let Some(facts) = entry.metadata().ok().filter(|facts| ours && facts.is_file()) else { continue };
        let age = facts.modified().ok().and_then(|at| now.duration_since(at).ok());
        if age.is_some_and(|age| age > limits::LOG_AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3_600_000;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("openclaw-logfile-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Dir(path)
        }

        fn sink(&self, max_bytes: u64, zone: &str) -> FileSink {
            let rule = FileRule::Daily { dir: self.0.join("logs"), profile: None };
            FileSink::new(rule, max_bytes, Zone::named(zone).unwrap())
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.join("logs")).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join("logs").join(name)).unwrap()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn now() -> u64 {
        crate::sys::clock::wall_ms()
    }

    #[test]
    fn the_name_carries_local_date_and_profile() {
        let late = 1_795_302_000_000; // 2026-11-21T23:00:00Z
        let dir = Dir::new("name");
        let path = |zone| dir.sink(1, zone).path_at(late).unwrap().file_name().unwrap().to_owned();
        assert_eq!(path("<+02>-2"), "openclaw-2026-11-22.log");
        assert_eq!(path("UTC0"), "openclaw-2026-11-21.log");
        assert_eq!(daily_name(Some("a/b c"), "D"), "openclaw-a-b-c-D.log");
        assert_eq!(daily_name(Some("Default"), "D"), "openclaw-D.log");
    }

    #[test]
    fn files_are_private_and_roll_with_the_date() {
        let dir = Dir::new("roll");
        let mut sink = dir.sink(1000, "UTC0");
        // One moment for all three: a file is deleted when it is older than a day by the clock that writes.
        let now = now();
        assert!(sink.write(now, "one\n").is_none());
        assert!(sink.write(now + DAY_MS / 2, "two\n").is_none());
        assert!(sink.write(now + DAY_MS, "three\n").is_none());
        assert_eq!(fs::metadata(dir.0.join("logs")).unwrap().mode() & 0o777, 0o700);
        let names = dir.files();
        assert!(names.len() == 2 && names[0] < names[1], "{names:?}");
        for name in &names {
            assert_eq!(fs::metadata(dir.0.join("logs").join(name)).unwrap().mode() & 0o777, 0o600);
        }
        assert!(dir.read(&names[1]).ends_with("three\n"));
    }

    #[test]
    fn old_days_are_deleted_and_nothing_else() {
        let dir = Dir::new("old");
        fs::create_dir_all(dir.0.join("logs")).unwrap();
        for name in ["openclaw-2020-01-01.log", "openclaw-2020-01-01.1.log", "other.log", "openclaw-x.txt"] {
            fs::write(dir.0.join("logs").join(name), "").unwrap();
        }
        let mut sink = dir.sink(1000, "UTC0");
        sink.write(now() + DAY_MS - 3_600_000, "x\n");
        assert_eq!(dir.files().len(), 5, "not yet a day old");
        let mut sink = dir.sink(1000, "UTC0");
        sink.write(now() + 2 * DAY_MS, "x\n");
        let names = dir.files();
        assert!(names.iter().all(|name| !name.contains("2020")), "{names:?}");
        assert!(names.contains(&"other.log".to_owned()) && names.contains(&"openclaw-x.txt".to_owned()));
    }

    #[test]
    fn a_full_file_is_rotated_through_five_generations() {
        let dir = Dir::new("rotate");
        let path = dir.0.join("logs/custom.log");
        let mut sink = FileSink::new(FileRule::Fixed(path), 10, Zone::utc());
        for number in 0..9 {
            assert!(sink.write(now(), &format!("line {number}\n")).is_none());
        }
        assert_eq!(
            dir.files(),
            ["custom.1.log", "custom.2.log", "custom.3.log", "custom.4.log", "custom.5.log", "custom.log"]
        );
        assert_eq!((dir.read("custom.log"), dir.read("custom.1.log")), ("line 8\n".into(), "line 7\n".into()));
        assert_eq!(dir.read("custom.5.log"), "line 3\n");
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_made_anew() {
        let dir = Dir::new("moved");
        let path = dir.0.join("logs/custom.log");
        let mut sink = FileSink::new(FileRule::Fixed(path.clone()), 1000, Zone::utc());
        let begin = now();
        sink.write(begin, "one\n");
        fs::rename(&path, dir.0.join("logs/taken.log")).unwrap();
        sink.write(begin + 1, "two\n");
        sink.write(begin + millis(limits::LOG_RECHECK), "three\n");
        assert_eq!((dir.read("taken.log"), dir.read("custom.log")), ("one\ntwo\n".into(), "three\n".into()));
    }

    #[test]
    fn a_fault_is_told_once_and_retried_later() {
        let dir = Dir::new("retry");
        fs::create_dir_all(dir.0.join("logs/custom.log")).unwrap();
        let path = dir.0.join("logs/custom.log");
        let mut sink = FileSink::new(FileRule::Fixed(path.clone()), 1000, Zone::utc());
        let begin = now();
        assert!(sink.write(begin, "one\n").is_some());
        assert!(sink.write(begin + 1, "two\n").is_none());
        fs::remove_dir(&path).unwrap();
        assert!(sink.write(begin + 2, "three\n").is_none());
        assert_eq!(sink.lost(), 3);
        assert!(sink.write(begin + millis(limits::LOG_RETRY), "four\n").is_none());
        assert_eq!((sink.lost(), dir.read("custom.log")), (0, "four\n".into()));
    }

    #[test]
    fn no_file_is_no_fault() {
        let mut sink = FileSink::new(FileRule::Off, 10, Zone::utc());
        assert!(sink.write(now(), "x\n").is_none());
        assert_eq!((sink.lost(), sink.path_at(0)), (0, None));
    }
}
