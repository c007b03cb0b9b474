//! Files below a directory and nowhere else, whatever `..`, symbolic links and other processes do: every step of a path
//! is opened relative to the handle of the step before, without following links; links are followed by hand and only as
//! far as they stay inside. Knows nothing of what is in the files.
//!
//! What is left: a directory that another process moves out of the tree while it is in use is still written through its
//! handle; a hard link inside to a file outside cannot be told from a file; a mount inside belongs to the tree.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{error, fmt, process};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::limits;

static COUNTER: AtomicU64 = AtomicU64::new(0);
/// Names that are tried for a new file: more leftovers than that in one directory are somebody's intent.
const TRIES: u32 = 64;

/// How directories on the way are opened: where the system can, without asking for the right to list them.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SEARCH: OFlag = OFlag::O_PATH;
/// See above.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SEARCH: OFlag = OFlag::O_RDONLY;

/// Why a path leads nowhere.
#[derive(Debug)]
pub enum BeneathFault {
    /// It leads out of the directory.
    Outside(PathBuf),
    /// It is no regular file.
    NotAFile(PathBuf),
    /// It goes through too many links or too many steps.
    TooLong(PathBuf),
    /// Anything else.
    Io(PathBuf, io::Error),
}

impl fmt::Display for BeneathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BeneathFault::Outside(path) => write!(f, "{} is outside the workspace", path.display()),
            BeneathFault::NotAFile(path) => write!(f, "{} is not a regular file", path.display()),
            BeneathFault::TooLong(path) => write!(f, "{} goes through too many links", path.display()),
            BeneathFault::Io(path, fault) if fault.kind() == ErrorKind::NotFound => {
                write!(f, "no such file: {}", path.display())
            }
            BeneathFault::Io(path, fault) => write!(f, "{}: {fault}", path.display()),
        }
    }
}

impl error::Error for BeneathFault {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            BeneathFault::Io(_, fault) => Some(fault),
            _ => None,
        }
    }
}

impl BeneathFault {
    /// Whether there is simply nothing there.
    pub fn is_missing(&self) -> bool {
        matches!(self, BeneathFault::Io(_, fault) if fault.kind() == ErrorKind::NotFound)
    }
}

/// A directory that paths stay in.
#[derive(Debug)]
pub struct Beneath {
    dir: File,
    /// Its real place.
    real: PathBuf,
    /// Its name as it was given; both count as prefixes of absolute paths.
    given: PathBuf,
}

/// Where the last step of a path stands: an open directory and a name in it.
struct Spot {
    dir: File,
    name: OsString,
    /// The path from the top, for people.
    below: PathBuf,
}

/// What to do with directories that do not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Fail,
    Create,
}

impl Beneath {
    /// A directory that exists.
    pub fn open(path: &Path) -> io::Result<Beneath> {
        let real = path.canonicalize()?;
        let dir = File::open(&real)?;
        if !dir.metadata()?.is_dir() {
            return Err(io::Error::new(ErrorKind::NotADirectory, format!("no directory: {}", path.display())));
        }
        Ok(Beneath { dir, real, given: path.to_owned() })
    }

    /// Its real place.
    pub fn path(&self) -> &Path {
        &self.real
    }

    /// Opens a regular file for reading; a pipe or device is refused without waiting for it.
    pub fn read(&self, path: &Path) -> Result<File, BeneathFault> {
        let spot = self.spot(path, Missing::Fail)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
        let file = open_in(&spot.dir, &spot.name, flags, Mode::empty()).map_err(|fault| io_fault(path, fault))?;
        match file.metadata() {
            Ok(facts) if facts.is_file() => Ok(file),
            Ok(_) => Err(BeneathFault::NotAFile(path.to_owned())),
            Err(fault) => Err(BeneathFault::Io(path.to_owned(), fault)),
        }
    }

    /// Replaces a file's content, durably and at once as a whole; missing directories are created. An existing file
    /// keeps its mode; a new one gets what the process's mask leaves of `rw-rw-rw-`.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), BeneathFault> {
        let spot = self.spot(path, Missing::Create)?;
        let old = match self.facts_at(&spot) {
            Ok(facts) if facts.is_file() => Some(facts),
            Ok(_) => return Err(BeneathFault::NotAFile(path.to_owned())),
            Err(fault) if fault.kind() == ErrorKind::NotFound => None,
            Err(fault) => return Err(BeneathFault::Io(path.to_owned(), fault)),
        };
        replace(&spot, bytes, old.as_ref()).map_err(|fault| BeneathFault::Io(path.to_owned(), fault))
    }

    /// Removes a regular file.
    pub fn remove(&self, path: &Path) -> Result<(), BeneathFault> {
        let spot = self.spot(path, Missing::Fail)?;
        match self.facts_at(&spot) {
            Ok(facts) if facts.is_file() => {}
            Ok(_) => return Err(BeneathFault::NotAFile(path.to_owned())),
            Err(fault) => return Err(BeneathFault::Io(path.to_owned(), fault)),
        }
        unlinkat(&spot.dir, spot.name.as_os_str(), UnlinkatFlags::NoRemoveDir)
            .map_err(|fault| io_fault(path, fault))?;
        sync(&spot.dir).map_err(|fault| BeneathFault::Io(path.to_owned(), fault))
    }

    /// Whether there is something at a path, a link to nowhere not included.
    pub fn exists(&self, path: &Path) -> Result<bool, BeneathFault> {
        let there = self.spot(path, Missing::Fail).and_then(|spot| {
            fstatat(&spot.dir, spot.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(|fault| io_fault(path, fault))
        });
        match there {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_missing() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// The place a path stands for, from the top, links followed; also when the last step does not exist yet.
    pub fn below(&self, path: &Path) -> Result<PathBuf, BeneathFault> {
        self.spot(path, Missing::Fail).map(|spot| spot.below)
    }

    /// Opened without following links, so the facts are of what is there and not of what a link was changed to.
    fn facts_at(&self, spot: &Spot) -> io::Result<Metadata> {
        open_in(&spot.dir, &spot.name, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())?.metadata()
    }

    /// Walks to the last step. Links are read and their steps put in front of what is left of the path.
    fn spot(&self, path: &Path, missing: Missing) -> Result<Spot, BeneathFault> {
        let mut walk = Walk { root: self, asked: path, stack: Vec::new(), rest: self.steps(path, path)?, links: 0 };
        loop {
            match walk.rest.pop() {
                None => return Err(BeneathFault::NotAFile(path.to_owned())),
                Some(step) if step == ".." => {
                    walk.stack.pop().ok_or_else(|| BeneathFault::Outside(path.to_owned()))?;
                }
                Some(step) => {
                    if let Some(spot) = walk.step(step, missing)? {
                        return Ok(spot);
                    }
                }
            }
        }
    }

    /// The steps of a path below this directory, last one first.
    fn steps(&self, path: &Path, asked: &Path) -> Result<Vec<OsString>, BeneathFault> {
        let below = match path.is_absolute() {
            false => path,
            true => path
                .strip_prefix(&self.real)
                .or_else(|_| path.strip_prefix(&self.given))
                .map_err(|_| BeneathFault::Outside(asked.to_owned()))?,
        };
        let mut steps = Vec::new();
        for part in below.components() {
            match part {
                Component::Normal(name) => steps.push(name.to_owned()),
                Component::ParentDir => steps.push(OsString::from("..")),
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => return Err(BeneathFault::Outside(asked.to_owned())),
            }
        }
        if steps.len() > limits::PATH_STEPS {
            return Err(BeneathFault::TooLong(asked.to_owned()));
        }
        steps.reverse();
        Ok(steps)
    }
}

struct Walk<'a> {
    root: &'a Beneath,
    asked: &'a Path,
    /// Open directories from the top down, with their names.
    stack: Vec<(OsString, File)>,
    /// Steps to go, the next one last.
    rest: Vec<OsString>,
    links: usize,
}

impl Walk<'_> {
    fn here(&self) -> &File {
        self.stack.last().map_or(&self.root.dir, |(_, dir)| dir)
    }

    /// Takes one step; a spot when it was the last.
    fn step(&mut self, name: OsString, missing: Missing) -> Result<Option<Spot>, BeneathFault> {
        match readlinkat(self.here(), name.as_os_str()) {
            Ok(target) => {
                self.follow(Path::new(&target))?;
                return Ok(None);
            }
            // no link, or nothing at all: opening it will tell
            Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(fault) => return Err(self.fault(fault)),
        }
        if self.rest.is_empty() {
            return self.arrive(name).map(Some);
        }
        let flags = SEARCH | OFlag::O_DIRECTORY;
        let opened = match open_in(self.here(), &name, flags, Mode::empty()) {
            Err(Errno::ENOENT) if missing == Missing::Create && self.rest.last().is_none_or(|next| next != "..") => {
                match mkdirat(self.here(), name.as_os_str(), Mode::from_bits_truncate(0o777)) {
                    // somebody else was faster
                    Ok(()) | Err(Errno::EEXIST) => open_in(self.here(), &name, flags, Mode::empty()),
                    Err(fault) => Err(fault),
                }
            }
            other => other,
        };
        // a link that appeared since the look above is ELOOP or ENOTDIR here: refused, not followed
        let dir = opened.map_err(|fault| self.fault(fault))?;
        self.stack.push((name, dir));
        Ok(None)
    }

    fn follow(&mut self, target: &Path) -> Result<(), BeneathFault> {
        self.links += 1;
        if self.links > limits::SYMLINKS {
            return Err(BeneathFault::TooLong(self.asked.to_owned()));
        }
        let steps = self.root.steps(target, self.asked)?;
        if target.is_absolute() {
            self.stack.clear();
        }
        self.rest.extend(steps);
        if self.rest.len() > limits::PATH_STEPS {
            return Err(BeneathFault::TooLong(self.asked.to_owned()));
        }
        Ok(())
    }

    fn arrive(&mut self, name: OsString) -> Result<Spot, BeneathFault> {
        let mut below: PathBuf = self.stack.iter().map(|(name, _)| name).collect();
        below.push(&name);
        let dir = match self.stack.pop() {
            Some((_, dir)) => dir,
            None => self.root.dir.try_clone().map_err(|fault| BeneathFault::Io(self.asked.to_owned(), fault))?,
        };
        Ok(Spot { dir, name, below })
    }

    fn fault(&self, fault: Errno) -> BeneathFault {
        io_fault(self.asked, fault)
    }
}

fn open_in(dir: &File, name: &OsStr, flags: OFlag, mode: Mode) -> Result<File, Errno> {
    openat(dir, name, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, mode).map(|fd: OwnedFd| File::from(fd))
}

fn io_fault(path: &Path, fault: Errno) -> BeneathFault {
    BeneathFault::Io(path.to_owned(), fault.into())
}

/// A new file beside, and its name. A process that had our number and was killed may have left one of that name: in a
/// container, every start has the same number.
fn beside(spot: &Spot) -> io::Result<(File, OsString)> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let mut tries = 0;
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temp = OsString::from(format!(".{}-{number}.openclaw.tmp", process::id()));
        match open_in(&spot.dir, &temp, flags, Mode::from_bits_truncate(0o666)) {
            Err(Errno::EEXIST) if tries < TRIES => tries += 1,
            opened => return Ok((opened?, temp)),
        }
    }
}

/// Writes beside and renames over, both inside the open directory.
fn replace(spot: &Spot, bytes: &[u8], old: Option<&Metadata>) -> io::Result<()> {
    let (mut file, temp) = beside(spot)?;
    let mut fill = || {
        if let Some(old) = old {
            // whose rights a program runs with is not inherited by what somebody else wrote
            file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        renameat(&spot.dir, temp.as_os_str(), &spot.dir, spot.name.as_os_str())?;
        Ok(())
    };
    let filled: io::Result<()> = fill();
    if filled.is_err() {
        // the first fault is the one to report
        let _ = unlinkat(&spot.dir, temp.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
    filled.and_then(|()| sync(&spot.dir))
}

/// Some file systems cannot flush a directory, and some directories may not be opened for it: then the file system
/// orders the rename itself.
fn sync(dir: &File) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let Ok(dir) = open_in(dir, OsStr::new("."), flags, Mode::empty()) else { return Ok(()) };
    match dir.sync_all() {
        Err(fault) if matches!(fault.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::AtomicBool;

    /// A directory `in` to stay in, beside a file `secret` to stay away from.
    struct Ground(PathBuf);

    impl Ground {
        fn new(name: &str) -> Ground {
            let path = std::env::temp_dir().join(format!("openclaw-beneath-{}-{name}", process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("in/sub")).unwrap();
            fs::create_dir_all(path.join("out")).unwrap();
            fs::write(path.join("out/secret"), "secret").unwrap();
            fs::write(path.join("in/file"), "inside").unwrap();
            Ground(path)
        }

        fn beneath(&self) -> Beneath {
            Beneath::open(&self.0.join("in")).unwrap()
        }

        fn secret(&self) -> String {
            fs::read_to_string(self.0.join("out/secret")).unwrap()
        }
    }

    impl Drop for Ground {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn text(beneath: &Beneath, path: &str) -> Result<String, BeneathFault> {
        let mut text = String::new();
        beneath.read(Path::new(path))?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn paths_inside_are_found_in_every_form() {
        let ground = Ground::new("inside");
        let beneath = ground.beneath();
        symlink("../file", ground.0.join("in/sub/link")).unwrap();
        symlink(ground.0.join("in").canonicalize().unwrap().join("sub"), ground.0.join("in/dir")).unwrap();
        for path in ["file", "./file", "sub/../file", "sub/link", "dir/link", "dir/../file"] {
            assert_eq!(text(&beneath, path).unwrap(), "inside", "{path}");
        }
        let absolute = ground.0.join("in/file");
        assert_eq!(text(&beneath, absolute.to_str().unwrap()).unwrap(), "inside");
        assert_eq!(beneath.below(Path::new("dir/new")).unwrap(), Path::new("sub/new"));
    }

    #[test]
    fn paths_outside_are_refused_in_every_form() {
        let ground = Ground::new("outside");
        let beneath = ground.beneath();
        let within = |name: &str| ground.0.join("in").join(name);
        symlink("../out/secret", within("file-link")).unwrap();
        symlink("../out", within("dir-link")).unwrap();
        symlink(ground.0.join("out"), within("absolute-link")).unwrap();
        symlink("sub/../../out", within("crooked-link")).unwrap();
        symlink("loop", within("loop")).unwrap();
        let absolute = ground.0.join("out/secret");
        let prefix = format!("{}side/x", ground.0.join("in").display());
        for path in [
            "../out/secret",
            "sub/../../out/secret",
            "file-link",
            "dir-link/secret",
            "absolute-link/secret",
            "crooked-link/secret",
            absolute.to_str().unwrap(),
            "/etc/passwd",
            "..",
            "/",
            &prefix,
        ] {
            let fault = beneath.read(Path::new(path)).unwrap_err();
            assert!(matches!(fault, BeneathFault::Outside(_)), "{path}: {fault}");
            assert!(beneath.write(Path::new(path), b"x").is_err(), "{path}");
            assert!(beneath.remove(Path::new(path)).is_err(), "{path}");
        }
        assert!(matches!(beneath.read(Path::new("loop")), Err(BeneathFault::TooLong(_))));
        let deep = "sub/../".repeat(limits::PATH_STEPS) + "file";
        assert!(matches!(beneath.read(Path::new(&deep)), Err(BeneathFault::TooLong(_))));
        assert_eq!(ground.secret(), "secret");
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let ground = Ground::new("special");
        let beneath = ground.beneath();
        let made = process::Command::new("mkfifo").arg(ground.0.join("in/pipe")).status().unwrap();
        assert!(made.success());
        for path in ["pipe", "sub"] {
            assert!(matches!(beneath.read(Path::new(path)), Err(BeneathFault::NotAFile(_))), "{path}");
            assert!(matches!(beneath.write(Path::new(path), b"x"), Err(BeneathFault::NotAFile(_))), "{path}");
            assert!(matches!(beneath.remove(Path::new(path)), Err(BeneathFault::NotAFile(_))), "{path}");
        }
        assert!(beneath.read(Path::new("none")).unwrap_err().is_missing());
        assert!(beneath.read(Path::new("file/x")).is_err());
    }

    #[test]
    fn writes_create_directories_keep_modes_and_leave_nothing_else() {
        let ground = Ground::new("write");
        let beneath = ground.beneath();
        beneath.write(Path::new("new/deep/file"), b"one").unwrap();
        beneath.write(Path::new("new/deep/file"), b"two").unwrap();
        assert_eq!(text(&beneath, "new/deep/file").unwrap(), "two");
        fs::set_permissions(ground.0.join("in/file"), Permissions::from_mode(0o751)).unwrap();
        symlink("file", ground.0.join("in/link")).unwrap();
        beneath.write(Path::new("link"), b"through").unwrap();
        assert_eq!(text(&beneath, "file").unwrap(), "through");
        assert_eq!(fs::metadata(ground.0.join("in/file")).unwrap().mode() & 0o777, 0o751);
        assert!(fs::symlink_metadata(ground.0.join("in/link")).unwrap().is_symlink());
        assert_eq!(fs::read_dir(ground.0.join("in/new/deep")).unwrap().count(), 1);
        assert!(beneath.exists(Path::new("new/deep")).unwrap() && !beneath.exists(Path::new("new/none/x")).unwrap());
        beneath.remove(Path::new("new/deep/file")).unwrap();
        assert!(!beneath.exists(Path::new("new/deep/file")).unwrap());
    }

    #[test]
    fn leftovers_of_a_killed_process_and_special_modes_do_not_matter() {
        let ground = Ground::new("leftovers");
        let next = COUNTER.load(Ordering::Relaxed);
        for number in next..next + 8 {
            fs::write(ground.0.join(format!("in/.{}-{number}.openclaw.tmp", process::id())), "left").unwrap();
        }
        fs::set_permissions(ground.0.join("in/file"), Permissions::from_mode(0o6755)).unwrap();
        ground.beneath().write(Path::new("file"), b"new").unwrap();
        assert_eq!(fs::metadata(ground.0.join("in/file")).unwrap().mode() & 0o7777, 0o755);
    }

    /// What a step meets when a link appeared after the look: the race below seldom hits that moment.
    #[test]
    fn no_open_follows_a_link() {
        let ground = Ground::new("nofollow");
        symlink("../out", ground.0.join("in/dir-link")).unwrap();
        symlink("file", ground.0.join("in/file-link")).unwrap();
        let dir = ground.beneath().dir;
        for (name, flags) in [
            ("dir-link", SEARCH | OFlag::O_DIRECTORY),
            ("dir-link", OFlag::O_RDONLY),
            ("file-link", OFlag::O_RDONLY | OFlag::O_NONBLOCK),
            ("file-link", OFlag::O_WRONLY | OFlag::O_CREAT),
        ] {
            assert!(open_in(&dir, OsStr::new(name), flags, Mode::empty()).is_err(), "{name} {flags:?}");
        }
    }

    #[test]
    fn a_link_swapped_in_between_never_leads_outside() {
        let ground = Ground::new("race");
        let beneath = ground.beneath();
        let (swap, real, link) = (ground.0.join("in/swap"), ground.0.join("real"), ground.0.join("link"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("secret"), "inside").unwrap();
        symlink("../out", &link).unwrap();
        let done = AtomicBool::new(false);
        let (mut inside, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for from in [&real, &link] {
                        // whichever rename fails, the next round tries again
                        let _ = fs::rename(from, &swap).and_then(|()| fs::rename(&swap, from));
                    }
                }
            });
            let until = std::time::Instant::now() + std::time::Duration::from_millis(600);
            while std::time::Instant::now() < until {
                match text(&beneath, "swap/secret") {
                    Ok(text) => {
                        assert_eq!(text, "inside", "read outside");
                        inside += 1;
                    }
                    Err(_) => refused += 1,
                }
                let _ = beneath.write(Path::new("swap/secret"), b"inside");
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(inside + refused > 0);
        assert_eq!(ground.secret(), "secret", "written outside");
    }
}
