//! Whole files, replaced so that a crash or a power cut leaves either the old or the new content, and read with a bound.
//! Knows nothing of what is in them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits;

/// Mode of state files: they hold secrets.
pub const PRIVATE: u32 = 0o600;
/// Mode of state directories.
const PRIVATE_DIR: u32 = 0o700;
/// End of the names of unfinished writes.
const SUFFIX: &str = ".openclaw.tmp";

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Replaces the file's content and makes it durable. Missing directories are created for the owner alone; a symbolic
/// link is written through, because people link state files into other places.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let target = resolve(path)?;
    let dir = parent(&target);
    create_dir(dir)?;
    let temp = temp_name(&target)?;
    let written = write_temp(&temp, bytes, mode).and_then(|()| fs::rename(&temp, &target));
    if let Err(fault) = written {
        let _ = fs::remove_file(&temp); // the first fault is the one to report
        return Err(fault);
    }
    sync_dir(dir)
}

/// The file's content; `None` when there is no such file, an error when it has more than `max` bytes or is no file.
pub fn read_bounded(path: &Path, max: usize) -> io::Result<Option<Vec<u8>>> {
    let facts = match fs::metadata(path) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !facts.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("not a regular file: {}", path.display())));
    }
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(facts.len().min(limit)).unwrap_or(0));
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("over {max} bytes: {}", path.display())));
    }
    Ok(Some(bytes))
}

/// Removes what crashed writes left in a directory and says how many files that were; never those of a live process.
pub fn clean(dir: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(dir) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let leftovers = entries.take(limits::DIR_ENTRIES).filter_map(Result::ok).map(|entry| entry.path());
    Ok(leftovers.filter(|path| is_leftover(path) && fs::remove_file(path).is_ok()).count())
}

/// Creates a directory and its missing parents, each for the owner alone.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(dir)
}

fn write_temp(temp: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temp)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name nobody else uses, beside the target so that the rename stays within one file system.
fn temp_name(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "path without file name"))?;
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut temp = std::ffi::OsString::from(".");
    temp.push(name);
    temp.push(format!(".{}-{number}{SUFFIX}", process::id()));
    Ok(parent(target).join(temp))
}

/// The process number in the name of an unfinished write.
fn writer(name: &str) -> Option<u32> {
    let rest = name.strip_prefix('.')?.strip_suffix(SUFFIX)?;
    let (pid, number) = rest.rsplit_once('.')?.1.split_once('-')?;
    number.parse::<u64>().ok()?;
    pid.parse().ok()
}

fn is_leftover(path: &Path) -> bool {
    let Some(pid) = path.file_name().and_then(|name| name.to_str()).and_then(writer) else { return false };
    let Ok(facts) = fs::symlink_metadata(path) else { return false };
    let old = facts.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age > limits::LEFTOVER_AGE);
    facts.is_file() && pid != process::id() && (old || is_gone(pid))
}

/// Whether a process has ended. Where there is no `/proc`, only age tells.
pub(super) fn is_gone(pid: u32) -> bool {
    Path::new("/proc/self").exists() && !Path::new("/proc").join(pid.to_string()).exists()
}

/// The real place behind symbolic links, also when the last of them points to nothing yet.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut current = path.to_owned();
    for _ in 0..limits::SYMLINKS {
        match fs::read_link(&current) {
            Ok(target) => current = parent(&current).join(target),
            Err(_) => return Ok(current),
        }
    }
    Err(io::Error::new(ErrorKind::InvalidInput, format!("too many symbolic links: {}", path.display())))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Some file systems cannot flush a directory; they order renames themselves.
fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        Err(fault) if matches!(fault.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("openclaw-atomic-{}-{name}", process::id()));
            let _ = fs::remove_dir_all(&path);
            Dir(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn writes_private_files_in_private_directories_and_replaces_them() {
        let dir = Dir::new("replace");
        let path = dir.0.join("a/b/state.json");
        write(&path, b"one", PRIVATE).unwrap();
        write(&path, b"two", PRIVATE).unwrap();
        assert_eq!(read_bounded(&path, 100).unwrap().unwrap(), b"two");
        assert_eq!((mode(&path), mode(&dir.0), mode(&dir.0.join("a/b"))), (0o600, 0o700, 0o700));
        assert_eq!(names(&dir.0.join("a/b")), ["state.json"]);
    }

    #[test]
    fn writes_through_links_even_dangling_ones() {
        let dir = Dir::new("link");
        create_dir(&dir.0.join("real")).unwrap();
        symlink("real/target", dir.0.join("link")).unwrap();
        for content in [b"one", b"two"] {
            write(&dir.0.join("link"), content, PRIVATE).unwrap();
            assert_eq!(fs::read(dir.0.join("real/target")).unwrap(), content);
        }
        assert!(fs::symlink_metadata(dir.0.join("link")).unwrap().is_symlink());
        symlink("loop", dir.0.join("loop")).unwrap();
        assert!(write(&dir.0.join("loop"), b"", PRIVATE).is_err());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = Dir::new("fail");
        create_dir(&dir.0.join("target/inside")).unwrap();
        assert!(write(&dir.0.join("target"), b"x", PRIVATE).is_err(), "a directory cannot be replaced by a file");
        assert_eq!(names(&dir.0), ["target"]);
    }

    #[test]
    fn reading_is_bounded() {
        let dir = Dir::new("read");
        let path = dir.0.join("file");
        assert!(read_bounded(&path, 3).unwrap().is_none());
        write(&path, b"abc", PRIVATE).unwrap();
        assert_eq!(read_bounded(&path, 3).unwrap().unwrap(), b"abc");
        assert_eq!(read_bounded(&path, 2).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert!(read_bounded(&dir.0, 2).is_err());
    }

    #[test]
    fn cleans_only_what_dead_writers_left() {
        let dir = Dir::new("clean");
        create_dir(&dir.0).unwrap();
        let dead = format!(".state.json.{}-3{SUFFIX}", u32::MAX);
        let ours = format!(".state.json.{}-3{SUFFIX}", process::id());
        let kept = ["state.json", ".other.tmp", &format!("x.1-1{SUFFIX}"), &format!(".x.1-y{SUFFIX}"), &ours];
        for name in kept.iter().copied().chain([dead.as_str()]) {
            fs::write(dir.0.join(name), b"").unwrap();
        }
        assert_eq!(clean(&dir.0).unwrap(), 1);
        assert_eq!(names(&dir.0).len(), kept.len());
        assert!(!dir.0.join(dead).exists());
        assert_eq!(clean(&dir.0.join("none")).unwrap(), 0);
    }

    #[test]
    fn concurrent_writers_leave_one_whole_content() {
        let dir = Dir::new("race");
        let path = dir.0.join("file");
        std::thread::scope(|scope| {
            for byte in b'a'..b'e' {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write(path, &[byte; 5000], PRIVATE).unwrap()));
            }
        });
        let content = fs::read(&path).unwrap();
        assert_eq!(content.len(), 5000);
        assert!(content.iter().all(|byte| *byte == content[0]));
        assert_eq!(names(&dir.0).len(), 1);
    }
}
