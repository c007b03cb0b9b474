//! The workspace files an agent starts with and reads in every turn (agent.md 13): templates of our own, never written
//! over an existing file, and reading with caps. The one part of this module that opens files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::store::atomic;

/// A file of the workspace.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// What a new workspace gets.
    template: Option<&'static str>,
    /// Whether sub-agents read it, too.
    subagents: bool,
    /// Whether it is only for the main session.
    private: bool,
    /// Whether it is only put into a brand-new workspace, and not missed later.
    once: bool,
}

const fn file(name: &'static str, template: &'static str) -> Known {
    Known { name, template: Some(template), subagents: false, private: false, once: false }
}

/// The files, in the order of the prompt.
pub const FILES: &[Known] = &[
    Known { subagents: true, ..file("AGENTS.md", include_str!("templates/AGENTS.md")) },
    file("SOUL.md", include_str!("templates/SOUL.md")),
    Known { subagents: true, ..file("TOOLS.md", include_str!("templates/TOOLS.md")) },
    file("IDENTITY.md", include_str!("templates/IDENTITY.md")),
    file("USER.md", include_str!("templates/USER.md")),
    file("HEARTBEAT.md", include_str!("templates/HEARTBEAT.md")),
    Known { once: true, ..file("BOOTSTRAP.md", include_str!("templates/BOOTSTRAP.md")) },
    Known { name: "MEMORY.md", template: None, subagents: false, private: true, once: true },
];

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The main session.
    Main,
    /// Any other session of the agent.
    Session,
    /// A sub-agent.
    Subagent,
}

/// A file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: &'static str,
    /// Where it lies.
    pub path: PathBuf,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its text, cut, and the characters it has.
    Text(String, usize),
    /// There is none.
    Missing,
    /// It cannot be read; why.
    Unreadable(String),
}

/// Makes what is missing of a workspace and names the files it wrote. Existing files are never touched.
pub fn seed(folder: &Path) -> io::Result<Vec<&'static str>> {
    let used = |known: &Known| fs::symlink_metadata(folder.join(known.name)).is_ok();
    let brand_new = !FILES.iter().any(used);
    atomic::create_dir(folder)?;
    let mut written = Vec::new();
    for known in FILES.iter().filter(|known| brand_new || !known.once) {
        let Some(template) = known.template else { continue };
        if put(&folder.join(known.name), template)? {
            written.push(known.name);
        }
    }
    Ok(written)
}

fn put(path: &Path, text: &str) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).mode(atomic::PRIVATE).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true),
        Err(fault) if fault.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Reads the files of a workspace for somebody, each cut to `max_chars`.
pub fn read(folder: &Path, reader: Reader, max_chars: usize) -> Vec<Found> {
    let wanted = |known: &&Known| match reader {
        Reader::Main => true,
        Reader::Session => !known.private,
        Reader::Subagent => known.subagents,
    };
    let found = FILES.iter().filter(wanted).map(|known| {
        let path = folder.join(known.name);
        let content = content(&path, known.name, max_chars);
        (known.once, Found { name: known.name, path, content })
    });
    found.filter(|(once, found)| !(*once && found.content == Content::Missing)).map(|(_, found)| found).collect()
}

fn content(path: &Path, name: &str, max_chars: usize) -> Content {
    match text(path) {
        Ok(Some(text)) => {
            let text = text.trim_end();
            Content::Text(cut(text, name, max_chars), text.chars().count())
        }
        Ok(None) => Content::Missing,
        Err(fault) => Content::Unreadable(fault.kind().to_string()),
    }
}

/// At most [`limits::WORKSPACE_FILE_BYTES`] of a file.
fn text(path: &Path) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
        Err(fault) => return Err(fault),
        // a pipe would make the turn wait for ever
        Ok(facts) if !facts.is_file() => return Err(ErrorKind::InvalidInput.into()),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(limits::WORKSPACE_FILE_BYTES).unwrap_or(u64::MAX);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Head and tail of a long text, and a line that says so: seven tenths head, two tenths tail.
pub fn cut(text: &str, name: &str, max_chars: usize) -> String {
    let count = text.chars().count();
    if count <= max_chars {
        return text.to_string();
    }
    let (head, tail) = (max_chars * 7 / 10, max_chars * 2 / 10);
    let first: String = text.chars().take(head).collect();
    let last: String = text.chars().skip(count - tail).collect();
    let left_out = count - head - tail;
    format!("{first}\n\n[{left_out} characters of {name} left out here; read the file for them]\n\n{last}")
}

/// Whether a workspace's heartbeat file is there and asks for nothing.
pub fn heartbeat_asks_nothing(folder: &Path) -> bool {
    matches!(text(&folder.join("HEARTBEAT.md")), Ok(Some(text)) if asks_nothing(&text))
}

/// Whether a heartbeat file asks for nothing: headings, blank lines and empty list items only (agent.md 25).
pub fn asks_nothing(heartbeat: &str) -> bool {
    let empty = |line: &str| {
        let line = line.trim();
        let item = line.trim_start_matches(['-', '*', '+', ' ']).trim();
        let heading = line.trim_start_matches('#');
        let heading = heading.len() < line.len() && (heading.is_empty() || heading.starts_with(char::is_whitespace));
        line.is_empty() || heading || matches!(item, "" | "[ ]" | "[x]" | "[X]" | "[]")
    };
    heartbeat.lines().all(empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("openclaw-workspace-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Dir(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn names(found: &[Found]) -> Vec<&str> {
        found.iter().map(|found| found.name).collect()
    }

    #[test]
    fn a_new_workspace_gets_all_files_and_an_old_one_only_what_it_lacks() {
        let dir = Dir::new("seed");
        assert_eq!(seed(&dir.0).unwrap().len(), 7);
        assert_eq!(seed(&dir.0).unwrap(), [""; 0]);
        fs::remove_file(dir.0.join("BOOTSTRAP.md")).unwrap();
        fs::remove_file(dir.0.join("USER.md")).unwrap();
        fs::write(dir.0.join("SOUL.md"), "mine").unwrap();
        assert_eq!(seed(&dir.0).unwrap(), ["USER.md"]);
        assert_eq!(fs::read_to_string(dir.0.join("SOUL.md")).unwrap(), "mine");
    }

    #[test]
    fn each_reader_gets_its_files() {
        let dir = Dir::new("read");
        seed(&dir.0).unwrap();
        fs::remove_file(dir.0.join("BOOTSTRAP.md")).unwrap();
        fs::remove_file(dir.0.join("USER.md")).unwrap();
        fs::write(dir.0.join("MEMORY.md"), "facts\n").unwrap();
        let main = read(&dir.0, Reader::Main, 1000);
        assert_eq!(
            names(&main),
            ["AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md", "MEMORY.md"]
        );
        assert_eq!(main[4].content, Content::Missing);
        assert_eq!(main[6].content, Content::Text("facts".into(), 5));
        assert!(!names(&read(&dir.0, Reader::Session, 1000)).contains(&"MEMORY.md"));
        assert_eq!(names(&read(&dir.0, Reader::Subagent, 1000)), ["AGENTS.md", "TOOLS.md"]);
    }

    #[test]
    fn long_files_keep_head_and_tail() {
        let text = format!("{}{}", "a".repeat(900), "z".repeat(100));
        let short = cut(&text, "AGENTS.md", 100);
        assert!(short.starts_with(&"a".repeat(70)) && short.ends_with(&"z".repeat(20)));
        assert!(short.contains("[910 characters of AGENTS.md left out here;"));
        assert_eq!(cut("short", "x", 5), "short");
    }

    #[test]
    fn odd_files_do_not_hang_or_fail_the_turn() {
        let dir = Dir::new("odd");
        fs::create_dir_all(dir.0.join("AGENTS.md")).unwrap();
        fs::write(dir.0.join("SOUL.md"), b"a\xffb").unwrap();
        let found = read(&dir.0, Reader::Main, 1000);
        assert!(matches!(found[0].content, Content::Unreadable(_)));
        assert_eq!(found[1].content, Content::Text("a\u{fffd}b".into(), 3));
        fs::write(dir.0.join("SOUL.md"), "x".repeat(limits::WORKSPACE_FILE_BYTES + 10)).unwrap();
        let Content::Text(text, count) = &read(&dir.0, Reader::Main, 1000)[1].content else { panic!() };
        assert!(text.chars().count() < 1100 && *count == limits::WORKSPACE_FILE_BYTES);
    }

    #[test]
    fn a_heartbeat_file_of_headings_asks_nothing() {
        assert!(asks_nothing(include_str!("templates/HEARTBEAT.md")));
        assert!(asks_nothing("# H\n\n- [ ]\n* \n"));
        assert!(!asks_nothing("# H\n- [ ] look at the mail\n") && !asks_nothing("#todo buy milk"));
    }

    #[test]
    fn templates_are_short() {
        let all: usize = FILES.iter().filter_map(|known| known.template).map(str::len).sum();
        assert!(all < 5000, "{all}");
    }
}
