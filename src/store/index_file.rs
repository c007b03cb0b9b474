//! The session indexes as the thread that writes them knows them: an original's program may run beside the gateway on
//! the same files (`agent --local`), so each write looks first whether somebody else has written, and takes in what
//! came. Follows the original's lock file; knows files, not what sessions are.

use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::atomic;
use super::session::entry::Entry;
use super::sessions::{Arrival, Index, IndexFault};
use crate::limits;
use crate::sys::clock::wall_ms;
use crate::sys::order;
use crate::sys::table::Table;

/// What tells one state of a file from another: every writer renames a new file into place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

/// A file as it was read or written last.
#[derive(Default)]
struct Known {
    stamp: Option<Stamp>,
    /// Hashes of its keys with the last change of each, sorted: what is missing from a new index was deleted here, what
    /// is missing from a changed file was deleted outside, anything else came from there.
    keys: Vec<(u64, u64)>,
}

/// All index files.
#[derive(Default)]
pub struct IndexFiles {
    known: Table<PathBuf, Known>,
}

impl IndexFiles {
    /// Reads an index and remembers what was in it, unless it is known: who asks again may keep what he has.
    pub fn read(&mut self, path: &Path) -> Result<Index, IndexFault> {
        let stamp = stamp(path);
        let index = Index::read(path)?;
        self.known.get_or_insert_with(path.to_owned(), || Known { stamp, keys: hashes(&index) });
        Ok(index)
    }

    /// Replaces an index. What others wrote since the last time goes into the file, too, and is handed back.
    pub fn write(&mut self, path: &Path, index: Arc<Index>) -> io::Result<Vec<Arrival>> {
        self.write_within(path, index, limits::STATE_FILE_BYTES)
    }

    fn write_within(&mut self, path: &Path, mut index: Arc<Index>, most: usize) -> io::Result<Vec<Arrival>> {
        let _lock = Lock::take(path, limits::INDEX_LOCK_WAIT)?;
        let known = self.known.or_default(path.to_owned());
        let mut arrived = Vec::new();
        if stamp(path) != known.stamp {
            let theirs = Index::read(path).map_err(|fault| {
                io::Error::new(ErrorKind::InvalidData, format!("{fault}; another program has changed it: repair it"))
            })?;
            let last_change = |key: &str| {
                let at = known.keys.binary_search_by_key(&hash(key), |(hash, _)| *hash).ok()?;
                known.keys.get(at).map(|(_, changed)| *changed)
            };
            // a file that is gone as a whole says nothing about its entries
            let exists = path.exists();
            arrived = index.arrivals(&theirs, &last_change);
            arrived.retain(|arrival| exists || !arrival.is_deletion());
            let merged = Arc::make_mut(&mut index);
            arrived.iter().for_each(|arrival| merged.take(arrival.clone()));
        }
        let text = index.print();
        check_size(text.len(), most)?;
        atomic::write(path, text.as_bytes(), atomic::PRIVATE)?;
        *known = Known { stamp: stamp(path), keys: hashes(&index) };
        Ok(arrived)
    }
}

/// What is written must be readable at the next start; else the file stays as it was.
fn check_size(size: usize, most: usize) -> io::Result<()> {
    if size <= most {
        return Ok(());
    }
    let text = format!(
        "the session index would have {size} bytes, more than the {most} that can be read again; delete old sessions, \
         or let session.maintenance (maxEntries, pruneAfter) do it"
    );
    Err(io::Error::new(ErrorKind::FileTooLarge, text))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let facts = fs::metadata(path).ok()?;
    Some(Stamp { inode: facts.ino(), length: facts.len(), changed: (facts.mtime(), facts.mtime_nsec()) })
}

fn hashes(index: &Index) -> Vec<(u64, u64)> {
    let changed = |key| index.get(key).map_or(0, Entry::updated_ms);
    let mut hashes: Vec<(u64, u64)> = index.keys().map(|key| (hash(key), changed(key))).collect();
    order::by(&mut hashes, |one, two| one.cmp(two));
    hashes
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The original's lock: a file beside the index that only one can create.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path, patience: Duration) -> io::Result<Lock> {
        atomic::create_dir(path.parent().unwrap_or(path))?;
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let file = PathBuf::from(name);
        let since = Instant::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).mode(atomic::PRIVATE).open(&file) {
                Ok(mut opened) => {
                    // Who holds it is said for people, and for whoever finds it later; the lock is the file itself.
                    let _ = write!(opened, "{{\"pid\":{},\"startedAt\":{}}}", process::id(), wall_ms());
                    return Ok(Lock(file));
                }
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                Err(_) if is_stale(&file) => drop(fs::remove_file(&file)),
                Err(_) if since.elapsed() >= patience => {
                    let text = format!("another program holds {}; remove that file if none runs", file.display());
                    return Err(io::Error::new(ErrorKind::TimedOut, text));
                }
                Err(_) => std::thread::sleep(limits::INDEX_LOCK_STEP),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether nobody holds it any more. A kill in the midst of a write leaves it behind, with our own number where numbers
/// are given anew (in a container); we hold one at a time, and not now.
fn is_stale(file: &Path) -> bool {
    let Ok(age) = fs::metadata(file).and_then(|facts| facts.modified()).map(|at| at.elapsed().unwrap_or_default())
    else {
        return false;
    };
    let ended = |pid| pid == process::id() || (age > limits::INDEX_LOCK_GONE && atomic::is_gone(pid));
    age > limits::INDEX_LOCK_AGE || holder(file).is_some_and(ended)
}

/// The process that says it holds it.
fn holder(file: &Path) -> Option<u32> {
    let text = atomic::read_bounded(file, limits::INDEX_LOCK_BYTES).ok()??;
    let pid = serde_json::from_slice::<Value>(&text).ok()?.get("pid")?.as_u64()?;
    u32::try_from(pid).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("openclaw-index-{}-{name}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir.join("sessions.json")
    }

    fn index(text: &str) -> Index {
        Index::parse(text.as_bytes()).unwrap()
    }

    /// Every key and its `updatedAt`.
    fn in_file(path: &Path) -> Vec<(String, u64)> {
        let index = Index::read(path).unwrap();
        index.iter().map(|(key, entry)| (key.to_string(), entry.updated_ms())).collect()
    }

    fn all(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
        rows.iter().map(|(key, at)| ((*key).to_string(), *at)).collect()
    }

    #[test]
    fn what_others_wrote_meanwhile_stays_and_what_was_deleted_here_does_not_come_back() {
        let path = folder("merge");
        fs::write(&path, r#"{"a": {"updatedAt": 1}, "b": {"updatedAt": 1}, "gone": {"updatedAt": 1}}"#).unwrap();
        let mut files = IndexFiles::default();
        let mut ours = files.read(&path).unwrap();
        ours.remove("gone");
        ours.get_mut("a").unwrap().touch(5);
        let theirs = r#"{"a": {"updatedAt": 3}, "b": {"updatedAt": 7}, "gone": {"updatedAt": 9}, "new": {"updatedAt": 2}, "odd": 4}"#;
        fs::write(&path, theirs).unwrap();
        let arrived = files.write(&path, Arc::new(ours.clone())).unwrap();
        assert_eq!(in_file(&path), all(&[("a", 5), ("b", 7), ("new", 2)]));
        assert!(fs::read_to_string(&path).unwrap().contains("\"odd\": 4"));
        arrived.into_iter().for_each(|arrival| ours.take(arrival));
        assert_eq!(files.write(&path, Arc::new(ours.clone())).unwrap().len(), 0, "nobody else wrote");
        assert_eq!(ours.print(), fs::read_to_string(&path).unwrap());
        ours.remove("new");
        fs::write(&path, ours.print().replace("\"updatedAt\": 7", "\"updatedAt\": 8")).unwrap();
        assert_eq!(files.write(&path, Arc::new(ours)).unwrap().len(), 1);
        assert_eq!(in_file(&path), all(&[("a", 5), ("b", 8)]));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_others_deleted_goes_unless_it_changed_here_or_the_whole_file_is_gone() {
        let path = folder("deleted");
        let mut files = IndexFiles::default();
        let mut ours = index(r#"{"idle": {"updatedAt": 1}, "busy": {"updatedAt": 1}, "stays": {"updatedAt": 1}}"#);
        files.write(&path, Arc::new(ours.clone())).unwrap();
        fs::write(&path, r#"{"stays": {"updatedAt": 1}}"#).unwrap();
        ours.get_mut("busy").unwrap().touch(2);
        let arrived = files.write(&path, Arc::new(ours.clone())).unwrap();
        assert_eq!(arrived.iter().map(Arrival::key).collect::<Vec<_>>(), ["idle"]);
        assert_eq!(in_file(&path), all(&[("busy", 2), ("stays", 1)]));
        arrived.clone().into_iter().for_each(|arrival| ours.take(arrival));
        assert_eq!(ours.print(), fs::read_to_string(&path).unwrap());
        ours.insert("idle", Entry::new("s", 9));
        arrived.into_iter().for_each(|arrival| ours.take(arrival));
        assert!(ours.get("idle").is_some(), "a new one of that name stays");
        fs::remove_file(&path).unwrap();
        assert!(files.write(&path, Arc::new(ours)).unwrap().is_empty());
        assert_eq!(in_file(&path).len(), 3);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_file_that_others_broke_is_not_written_over() {
        let path = folder("broken");
        let mut files = IndexFiles::default();
        files.write(&path, Arc::new(index(r#"{"a": {}}"#))).unwrap();
        fs::write(&path, "{\"a\":").unwrap();
        assert!(files.write(&path, Arc::default()).unwrap_err().to_string().contains("repair it"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":");
        fs::remove_file(&path).unwrap();
        assert!(files.write(&path, Arc::new(index(r#"{"a": {}}"#))).unwrap().is_empty());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn an_index_that_could_not_be_read_again_is_not_written() {
        let path = folder("large");
        let mut files = IndexFiles::default();
        let mut ours = index(r#"{"a": {"updatedAt": 1}}"#);
        files.write(&path, Arc::new(ours.clone())).unwrap();
        let before = fs::read_to_string(&path).unwrap();
        let most = before.len() + ",\n    \"more\": 1".len();
        ours.get_mut("a").unwrap().set("more", 10);
        let fault = files.write_within(&path, Arc::new(ours.clone()), most).unwrap_err().to_string();
        assert!(fault.contains("session.maintenance"), "{fault}");
        assert_eq!(fs::read_to_string(&path).unwrap(), before, "the old one stays");
        ours.get_mut("a").unwrap().set("more", 1);
        files.write_within(&path, Arc::new(ours), most).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), most);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn the_originals_lock_is_waited_for_but_not_for_ever() {
        let path = folder("lock");
        let lock = PathBuf::from(format!("{}.lock", path.display()));
        let held = fs::File::create(&lock).unwrap();
        let refused = Lock::take(&path, Duration::from_millis(1)).err().unwrap();
        assert!(refused.to_string().contains("sessions.json.lock"), "{refused}");
        held.set_modified(SystemTime::now() - limits::INDEX_LOCK_AGE * 2).unwrap();
        let taken = Lock::take(&path, Duration::from_millis(1)).unwrap();
        assert!(fs::read_to_string(&lock).unwrap().contains("\"pid\":"));
        drop(taken);
        assert!(!lock.exists());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn the_lock_of_a_process_that_was_killed_holds_nobody_up() {
        let path = folder("killed");
        let lock = PathBuf::from(format!("{}.lock", path.display()));
        let mut child = process::Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        let take = |pid: u32, age: Duration| {
            fs::write(&lock, format!("{{\"pid\":{pid},\"startedAt\":1}}")).unwrap();
            fs::File::options().write(true).open(&lock).unwrap().set_modified(SystemTime::now() - age).unwrap();
            Lock::take(&path, Duration::from_millis(1)).is_ok()
        };
        assert!(take(gone, limits::INDEX_LOCK_GONE * 2), "its process has ended");
        assert!(!take(gone, Duration::ZERO), "that it is not seen may have other reasons");
        assert!(take(process::id(), Duration::ZERO), "of an earlier process with our number");
        assert!(!take(1, limits::INDEX_LOCK_GONE * 2), "somebody works");
        fs::write(&lock, format!("{}{{\"pid\":{}}}", " ".repeat(limits::INDEX_LOCK_BYTES), process::id())).unwrap();
        assert!(Lock::take(&path, Duration::from_millis(1)).is_err(), "that is none of ours");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
