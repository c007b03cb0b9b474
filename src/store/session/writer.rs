//! Appending to a transcript (agent.md 10): one writer at a time, whole lines, each hanging on the one before.
//! Owns line forms, ids and what reaches the disk when; knows nothing of what messages say.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::store::atomic;
use crate::store::transcript::Transcript;
use crate::sys::date;
use crate::sys::id::Entropy;

use super::archive::{self, Reason};
use super::object::{Field, Object};

/// Version of the line forms in the header.
const VERSION: u64 = 3;
/// Ids that are tried before the file counts as full of them.
const ID_TRIES: usize = 64;

/// How safe a line has to be before `append` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// Handed to the system: survives the end of this process.
    Process,
    /// On the disk: survives a power cut. For finished answers, which take the messages before them along.
    Power,
}

/// What a new file begins with.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The session.
    pub session_id: &'a str,
    /// Working directory of its runs.
    pub cwd: &'a str,
    /// Now.
    pub now_ms: u64,
}

/// A line to append; JSON parts are texts of valid JSON.
#[derive(Clone, Copy, Debug)]
pub enum NewLine<'a> {
    /// A message, as JSON.
    Message(&'a str),
    /// The model that answers from here on.
    ModelChange {
        /// Provider's id.
        provider: &'a str,
        /// Model's id.
        model: &'a str,
    },
    /// The thinking level from here on.
    ThinkingLevel(&'a str),
    /// Everything before `first_kept` is replaced by a summary.
    Compaction {
        /// The summary.
        summary: &'a str,
        /// Id of the first line that stays in the context.
        first_kept: &'a str,
        /// Tokens of the context before.
        tokens_before: u64,
    },
    /// A line for programs.
    Custom {
        /// What it is.
        kind: &'a str,
        /// What it says, as JSON.
        data: &'a str,
    },
    /// A text for the model that nobody said.
    CustomMessage {
        /// What it is.
        kind: &'a str,
        /// The text.
        content: &'a str,
    },
}

/// The open transcript of a session.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
    leaf: Option<String>,
    seen: HashSet<u32>,
    entropy: Entropy,
    /// The file does not end with a line end: an earlier write was cut.
    ragged: bool,
    /// The folder of a new file, whose entry for it is not on the disk yet.
    unlisted: Option<PathBuf>,
}

impl Writer {
    /// Opens a transcript to go on at its last line, or starts one. A file whose header is lost gets one, because the
    /// original reads nothing of a file without it.
    pub fn open(path: &Path, start: &Start<'_>, entropy: Entropy) -> io::Result<Writer> {
        match Transcript::read_until(path, |transcript| transcript.leaf().is_some())? {
            Some(known) if !known.lines().is_empty() => {
                if !begins_with_header(path)? {
                    restore_header(path, start)?;
                }
                Writer::attach(path, &known, entropy)
            }
            _ => Writer::create(path, start, entropy),
        }
    }

    /// Goes on with a transcript that was read already.
    pub fn attach(path: &Path, known: &Transcript, entropy: Entropy) -> io::Result<Writer> {
        let file = options().open(path)?;
        let leaf = known.leaf().and_then(|at| known.lines().get(at)).map(|line| line.id.to_string());
        let seen = known.lines().iter().filter_map(|line| u32::from_str_radix(&line.id, 16).ok()).collect();
        let leaf = leaf.filter(|id| !id.is_empty());
        Ok(Writer { file, path: path.to_owned(), leaf, seen, entropy, ragged: known.is_torn(), unlisted: None })
    }

    fn create(path: &Path, start: &Start<'_>, entropy: Entropy) -> io::Result<Writer> {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        atomic::create_dir(folder)?;
        if has_lines(path)? {
            archive::put_away(path, Reason::Shortened, start.now_ms)?; // none of them could be read
        }
        let file = options().create(true).open(path)?;
        file.set_len(0)?; // half a header, from a start that was cut
        let (path, unlisted) = (path.to_owned(), Some(folder.to_owned()));
        let mut writer = Writer { file, path, leaf: None, seen: HashSet::new(), entropy, ragged: false, unlisted };
        // It promises nothing to anybody: the first line that does takes it along, and no model waits for the disk.
        writer.put(&header(start), Safety::Process)?;
        Ok(writer)
    }

    /// Where it writes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the line on which the next one will hang.
    pub fn leaf(&self) -> Option<&str> {
        self.leaf.as_deref()
    }

    /// Goes on from another line; what came after it becomes a dead branch.
    pub fn branch(&mut self, leaf: Option<&str>) {
        self.leaf = leaf.map(str::to_string);
    }

    /// Appends a line and returns its id.
    pub fn append(&mut self, line: &NewLine<'_>, now_ms: u64, safety: Safety) -> io::Result<String> {
        let id = self.fresh_id()?;
        let text = print(line, &id, self.leaf.as_deref(), now_ms);
        if text.len() > limits::TRANSCRIPT_LINE_BYTES {
            let fault = format!("a transcript line of {} bytes is over {}", text.len(), limits::TRANSCRIPT_LINE_BYTES);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, fault));
        }
        self.put(&text, safety)?;
        self.leaf = Some(id.clone());
        Ok(id)
    }

    /// One write a line, so that a stop of the process leaves it whole or, with a full disk, ragged.
    fn put(&mut self, text: &str, safety: Safety) -> io::Result<()> {
        let mut line = String::with_capacity(text.len() + 2);
        if self.ragged {
            line.push('\n');
        }
        line.push_str(text);
        line.push('\n');
        self.ragged = true;
        self.file.write_all(line.as_bytes())?;
        self.ragged = false;
        match safety {
            Safety::Process => Ok(()),
            Safety::Power => self.settle(),
        }
    }

    /// Puts everything so far on the disk, the file's own name included.
    fn settle(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if let Some(folder) = &self.unlisted {
            File::open(folder)?.sync_all()?;
            self.unlisted = None;
        }
        Ok(())
    }

    fn fresh_id(&mut self) -> io::Result<String> {
        for _ in 0..ID_TRIES {
            let id = self.entropy.hex(4);
            if u32::from_str_radix(&id, 16).is_ok_and(|number| self.seen.insert(number)) {
                return Ok(id);
            }
        }
        Err(io::Error::other("no free line id"))
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).mode(atomic::PRIVATE);
    options
}

/// The header's JSON.
pub fn header(start: &Start<'_>) -> String {
    let mut line = Object::new();
    line.set("type", "session");
    line.set("version", VERSION);
    line.set("id", start.session_id);
    line.set("timestamp", date::iso_utc(start.now_ms));
    line.set("cwd", start.cwd);
    line.print()
}

/// Whether a file holds more than one unfinished line.
fn has_lines(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(fault) => Err(fault),
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(limits::TRANSCRIPT_HEADER_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes.contains(&b'\n') || u64::try_from(bytes.len()).is_ok_and(|n| n >= limits::TRANSCRIPT_HEADER_BYTES))
        }
    }
}

fn begins_with_header(path: &Path) -> io::Result<bool> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::TRANSCRIPT_HEADER_BYTES).read_to_end(&mut bytes)?;
    let first = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Transcript::parse(first.to_vec(), true).header().is_some())
}

/// Puts a header before the lines; the copy is streamed, since the file may be large.
fn restore_header(path: &Path, start: &Start<'_>) -> io::Result<()> {
    let temp = path.with_extension("jsonl.header");
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(atomic::PRIVATE).open(&temp)?;
    target.write_all(header(start).as_bytes())?;
    target.write_all(b"\n")?;
    let mut source = File::open(path)?;
    source.seek(SeekFrom::Start(0))?;
    let copied = io::copy(&mut source, &mut target).and_then(|_| target.sync_all());
    if let Err(fault) = copied.and_then(|()| fs::rename(&temp, path)) {
        let _ = fs::remove_file(&temp); // the first fault is the one to report
        return Err(fault);
    }
    Ok(())
}

/// A line's JSON, members in the original's order.
fn print(line: &NewLine<'_>, id: &str, parent: Option<&str>, now_ms: u64) -> String {
    let mut object = Object::new();
    let tree = |object: &mut Object| {
        object.set("id", id);
        object.set("parentId", parent.map_or(Field::Raw("null".into()), Field::from));
        object.set("timestamp", date::iso_utc(now_ms));
    };
    let typed = |object: &mut Object, name: &str| {
        object.set("type", name);
        tree(object);
    };
    match *line {
        NewLine::Message(message) => {
            typed(&mut object, "message");
            object.set("message", Field::Raw(message.into()));
        }
        NewLine::ModelChange { provider, model } => {
            typed(&mut object, "model_change");
            object.set("provider", provider);
            object.set("modelId", model);
        }
        NewLine::ThinkingLevel(level) => {
            typed(&mut object, "thinking_level_change");
            object.set("thinkingLevel", level);
        }
        NewLine::Compaction { summary, first_kept, tokens_before } => {
            typed(&mut object, "compaction");
            object.set("summary", summary);
            object.set("firstKeptEntryId", first_kept);
            object.set("tokensBefore", tokens_before);
        }
        NewLine::Custom { kind, data } => {
            object.set("type", "custom");
            object.set("customType", kind);
            object.set("data", Field::Raw(data.into()));
            tree(&mut object);
        }
        NewLine::CustomMessage { kind, content } => {
            object.set("type", "custom_message");
            object.set("customType", kind);
            object.set("content", content);
            object.set("display", false);
            tree(&mut object);
        }
    }
    object.print()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::transcript::Kind;
    use std::os::unix::fs::PermissionsExt;

    const EXAMPLE: &str = include_str!("../../../fixtures/sessions/transcript-v2026.2.9.jsonl");
    const START: Start<'static> = Start { session_id: "s-1", cwd: "/w", now_ms: 1_795_226_247_823 };

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("openclaw-writer-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Dir(path)
        }

        fn file(&self, content: Option<&[u8]>) -> PathBuf {
            let path = self.0.join("sessions/t.jsonl");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn open(path: &Path) -> Writer {
        Writer::open(path, &START, Entropy::from_seed([1; 32])).unwrap()
    }

    fn say(writer: &mut Writer, text: &str) -> String {
        let message = json!({"role":"user","content":text}).to_string();
        writer.append(&NewLine::Message(&message), 1_795_226_300_000, Safety::Power).unwrap()
    }

    #[test]
    fn lines_have_the_form_of_the_original() {
        let dir = Dir::new("form");
        let path = dir.0.join("sessions/t.jsonl");
        let mut writer = open(&path);
        let at = 1_795_226_247_824;
        let data = json!({"timestamp": at}).to_string();
        let lines = [
            NewLine::ModelChange { provider: "p", model: "m" },
            NewLine::ThinkingLevel("off"),
            NewLine::Custom { kind: "model-snapshot", data: &data },
            NewLine::Message(r#"{"role":"user"}"#),
            NewLine::Compaction { summary: "s", first_kept: "x", tokens_before: 7 },
        ];
        let ids: Vec<String> = lines.iter().map(|line| writer.append(line, at, Safety::Process).unwrap()).collect();
        let text = fs::read_to_string(&path).unwrap();
        let stamp = "\"timestamp\":\"2026-11-21T01:57:27.824Z\"";
        let expected = [
            "{\"type\":\"session\",\"version\":3,\"id\":\"s-1\",\"timestamp\":\"2026-11-21T01:57:27.823Z\",\"cwd\":\"/w\"}".to_string(),
            format!("{{\"type\":\"model_change\",\"id\":\"{}\",\"parentId\":null,{stamp},\"provider\":\"p\",\"modelId\":\"m\"}}", ids[0]),
            format!("{{\"type\":\"thinking_level_change\",\"id\":\"{}\",\"parentId\":\"{}\",{stamp},\"thinkingLevel\":\"off\"}}", ids[1], ids[0]),
            format!("{{\"type\":\"custom\",\"customType\":\"model-snapshot\",\"data\":{{\"timestamp\":{at}}},\"id\":\"{}\",\"parentId\":\"{}\",{stamp}}}", ids[2], ids[1]),
            format!("{{\"type\":\"message\",\"id\":\"{}\",\"parentId\":\"{}\",{stamp},\"message\":{{\"role\":\"user\"}}}}", ids[3], ids[2]),
            format!("{{\"type\":\"compaction\",\"id\":\"{}\",\"parentId\":\"{}\",{stamp},\"summary\":\"s\",\"firstKeptEntryId\":\"x\",\"tokensBefore\":7}}", ids[4], ids[3]),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(ids.iter().all(|id| id.len() == 8));
    }

    #[test]
    fn goes_on_where_the_file_ends() {
        let dir = Dir::new("on");
        let path = dir.file(Some(EXAMPLE.as_bytes()));
        let mut writer = open(&path);
        assert_eq!(writer.leaf(), Some("06f85583"));
        let id = say(&mut writer, "more");
        assert_eq!(writer.leaf(), Some(id.as_str()));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(EXAMPLE) && text.lines().count() == 9);
        writer.branch(Some("77067bf2"));
        say(&mut writer, "again");
        let transcript = Transcript::read(&path, usize::MAX).unwrap().unwrap();
        assert_eq!(transcript.branch(transcript.leaf().unwrap()).lines, [1, 2, 3, 4, 9]);
    }

    #[test]
    fn a_file_cut_anywhere_can_be_continued() {
        let dir = Dir::new("cut");
        // every place in the first and last lines; each try waits for the disk
        let last = EXAMPLE.len() - 40;
        for cut in (0..170).step_by(3).chain((170..last).step_by(97)).chain(last..EXAMPLE.len()) {
            let path = dir.file(Some(&EXAMPLE.as_bytes()[..cut]));
            let before = Transcript::parse(EXAMPLE.as_bytes()[..cut].to_vec(), true);
            let leaf = before.leaf().map(|at| before.lines()[at].id.to_string());
            let mut writer = open(&path);
            assert_eq!(writer.leaf(), leaf.as_deref(), "{cut}");
            say(&mut writer, "more");
            let after = Transcript::read(&path, usize::MAX).unwrap().unwrap();
            assert!(after.header().is_some() && !after.is_torn(), "{cut}");
            let branch = after.branch(after.leaf().unwrap());
            assert!(branch.complete, "{cut}");
            let kept = before.lines().iter().filter(|line| line.kind != Kind::Header).count();
            assert_eq!(branch.lines.len(), kept + 1, "{cut}");
        }
    }

    #[test]
    fn a_new_file_is_listed_on_the_disk_with_its_first_safe_line() {
        let dir = Dir::new("unlisted");
        let mut writer = open(&dir.file(None));
        let level = NewLine::ThinkingLevel("off");
        writer.append(&level, 1, Safety::Process).unwrap();
        assert!(writer.unlisted.is_some());
        writer.append(&level, 1, Safety::Power).unwrap();
        assert!(writer.unlisted.is_none());
    }

    #[test]
    fn a_lost_header_is_restored() {
        let dir = Dir::new("header");
        let tail: String = EXAMPLE.lines().skip(5).map(|line| format!("{line}\n")).collect();
        let path = dir.file(Some(tail.as_bytes()));
        let mut writer = open(&path);
        say(&mut writer, "more");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"type\":\"session\",\"version\":3,\"id\":\"s-1\"") && text.contains(&tail));
        assert_eq!(text.lines().count(), 5);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_of_something_else_is_put_away_not_lost() {
        let dir = Dir::new("other");
        let path = dir.file(Some(b"my notes\nof today\n"));
        say(&mut open(&path), "more");
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        let archive = archive::name(&path, Reason::Shortened, START.now_ms).unwrap();
        assert_eq!(fs::read_to_string(archive).unwrap(), "my notes\nof today\n");
    }

    #[test]
    fn lines_over_the_limit_are_refused_and_leave_the_file_alone() {
        let dir = Dir::new("limit");
        let path = dir.file(None);
        let mut writer = open(&path);
        let long = json!({"role":"user","content":"x".repeat(limits::TRANSCRIPT_LINE_BYTES)}).to_string();
        let fault = writer.append(&NewLine::Message(&long), 0, Safety::Process).unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }
}
