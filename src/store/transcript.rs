//! Reading a transcript: one JSON object a line, append-only, a tree through `id` and `parentId` (agent.md 10).
//! Tolerates a cut tail, lines of unknown type and dead branches. Knows lines, not what messages say.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `session`: the first line.
    Header,
    /// `message`.
    Message,
    /// `model_change`.
    ModelChange,
    /// `thinking_level_change`.
    ThinkingLevel,
    /// `compaction`.
    Compaction,
    /// `custom_message`.
    CustomMessage,
    /// Any other: part of the tree, not of the conversation.
    Other,
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name {
            "session" => Kind::Header,
            "message" => Kind::Message,
            "model_change" => Kind::ModelChange,
            "thinking_level_change" => Kind::ThinkingLevel,
            "compaction" => Kind::Compaction,
            "custom_message" => Kind::CustomMessage,
            _ => Kind::Other,
        }
    }
}

/// Where a line hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parent {
    Root,
    At(usize),
    /// Named, but not among the lines read.
    Missing,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub kind: Kind,
    /// Its id; empty in files older than the tree.
    pub id: Box<str>,
    parent: Parent,
    range: Range<usize>,
}

/// A path through the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Positions of its lines, oldest first.
    pub lines: Vec<usize>,
    /// Whether it reaches the root. If not, the file was read from its middle, or its beginning is lost.
    pub complete: bool,
}

/// What the first line says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Header {
    /// The session.
    pub id: String,
    /// Working directory of its runs.
    #[serde(default)]
    pub cwd: String,
}

/// The lines of a file, or of its end.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    whole: bool,
    torn: bool,
    skipped: usize,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default, rename = "parentId")]
    parent: Option<String>,
}

impl Transcript {
    /// Reads a file's content; `whole` says whether it begins with the file's first byte.
    pub fn parse(bytes: Vec<u8>, whole: bool) -> Transcript {
        let mut transcript = Transcript { whole, ..Transcript::default() };
        let mut known: HashMap<Box<str>, usize> = HashMap::new();
        let mut start = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let range = start..start + piece.len();
            start = range.end;
            transcript.torn = !piece.ends_with(b"\n");
            transcript.add(piece, range, &mut known);
        }
        transcript.bytes = bytes;
        transcript
    }

    /// Reads at most the last `window` bytes of a file; `None` when there is no such file.
    pub fn read(path: &Path, window: usize) -> io::Result<Option<Transcript>> {
        let Some((mut file, length)) = open(path)? else { return Ok(None) };
        let window = u64::try_from(window).unwrap_or(u64::MAX);
        let start = length.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::with_capacity(usize::try_from(length - start).unwrap_or(0));
        file.take(window).read_to_end(&mut bytes)?;
        if start > 0 {
            let first = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            bytes.drain(..first); // the line the window cuts
        }
        Ok(Some(Transcript::parse(bytes, start == 0)))
    }

    /// Reads at most the first `bytes` bytes of a file, for the first words; `None` when there is no such file.
    pub fn head(path: &Path, bytes: u64) -> io::Result<Option<Transcript>> {
        let Some((file, _)) = open(path)? else { return Ok(None) };
        let mut start = Vec::new();
        file.take(bytes).read_to_end(&mut start)?;
        Ok(Some(Transcript::parse(start, true)))
    }

    /// Reads as much of a file's end as `enough` asks for, at first [`limits::TRANSCRIPT_WINDOW`], at most
    /// [`limits::TRANSCRIPT_BYTES`].
    pub fn read_until(path: &Path, enough: impl Fn(&Transcript) -> bool) -> io::Result<Option<Transcript>> {
        Transcript::read_within(path, limits::TRANSCRIPT_BYTES, &enough)
    }

    /// The same for a client, who gets at most [`limits::TRANSCRIPT_READ_BYTES`], but always the last line.
    pub fn read_for_client(path: &Path, enough: impl Fn(&Transcript) -> bool) -> io::Result<Option<Transcript>> {
        let read = Transcript::read_within(path, limits::TRANSCRIPT_READ_BYTES, &enough)?;
        match read {
            Some(cut) if cut.lines.is_empty() && !cut.whole => {
                Transcript::read(path, limits::TRANSCRIPT_LINE_BYTES + limits::TRANSCRIPT_WINDOW)
            }
            read => Ok(read),
        }
    }

    fn read_within(path: &Path, most: usize, enough: &dyn Fn(&Transcript) -> bool) -> io::Result<Option<Transcript>> {
        let mut window = limits::TRANSCRIPT_WINDOW;
        loop {
            let Some(transcript) = Transcript::read(path, window)? else { return Ok(None) };
            if transcript.whole || window >= most || enough(&transcript) {
                return Ok(Some(transcript));
            }
            window = window.saturating_mul(8).min(most);
        }
    }

    fn add(&mut self, piece: &[u8], range: Range<usize>, known: &mut HashMap<Box<str>, usize>) {
        if piece.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let head = (piece.len() <= limits::TRANSCRIPT_LINE_BYTES).then(|| serde_json::from_slice::<Head>(piece));
        let Some(Ok(head)) = head else {
            self.skipped += 1;
            return;
        };
        let kind = Kind::of(&head.kind);
        let parent = match (head.id.as_ref(), head.parent) {
            (_, Some(id)) => known.get(id.as_str()).map_or(Parent::Missing, |at| Parent::At(*at)),
            (None, None) => self.previous(), // files older than the tree are a plain list
            (Some(_), None) => Parent::Root,
        };
        let id: Box<str> = head.id.unwrap_or_default().into();
        if !id.is_empty() && kind != Kind::Header {
            known.insert(id.clone(), self.lines.len());
        }
        self.lines.push(Line { kind, id, parent, range });
    }

    fn previous(&self) -> Parent {
        match self.lines.last() {
            Some(line) if line.kind != Kind::Header => Parent::At(self.lines.len() - 1),
            Some(_) => Parent::Root,
            None if self.whole => Parent::Root,
            None => Parent::Missing,
        }
    }

    /// The lines that could be read, oldest first.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether it begins with the file's first byte.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether the last line has no end: its writer was stopped.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Lines that could not be read.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The header, if the first line is one.
    pub fn header(&self) -> Option<Header> {
        let line = self.lines.first().filter(|line| self.whole && line.kind == Kind::Header)?;
        serde_json::from_slice(self.bytes.get(line.range.clone())?).ok()
    }

    /// The position of the last line of the tree: where the conversation goes on.
    pub fn leaf(&self) -> Option<usize> {
        self.lines.iter().rposition(|line| line.kind != Kind::Header)
    }

    /// The position of a line by id; of two, the later.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.lines.iter().rposition(|line| line.kind != Kind::Header && line.id.as_ref() == id)
    }

    /// The path from the root to a line. A parent always stands before its child, so it ends.
    pub fn branch(&self, leaf: usize) -> Branch {
        let mut lines = Vec::new();
        let mut at = leaf;
        let complete = loop {
            let Some(line) = self.lines.get(at) else { break false };
            lines.push(at);
            match line.parent {
                Parent::At(parent) if parent < at => at = parent,
                Parent::Root => break true,
                Parent::At(_) | Parent::Missing => break false,
            }
        };
        lines.reverse();
        Branch { lines, complete }
    }

    /// The text of a line.
    pub fn text(&self, at: usize) -> Option<&str> {
        let line = self.lines.get(at)?;
        std::str::from_utf8(self.bytes.get(line.range.clone())?).ok().map(str::trim)
    }

    /// The JSON of a line's `message`.
    pub fn message(&self, at: usize) -> Option<&RawValue> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            message: &'a RawValue,
        }
        let line = self.lines.get(at).filter(|line| line.kind == Kind::Message)?;
        serde_json::from_slice::<Body<'_>>(self.bytes.get(line.range.clone())?).ok().map(|body| body.message)
    }

    /// Number of message lines.
    pub fn messages(&self) -> usize {
        self.lines.iter().filter(|line| line.kind == Kind::Message).count()
    }
}

/// A regular file and its length. A pipe in its place is refused before it is opened: that would block.
fn open(path: &Path) -> io::Result<Option<(File, u64)>> {
    let facts = match fs::metadata(path) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !facts.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("not a regular file: {}", path.display())));
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok(Some((file, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const EXAMPLE: &str = include_str!("../../fixtures/sessions/transcript-v2026.2.9.jsonl");

    fn parse(text: &str) -> Transcript {
        Transcript::parse(text.as_bytes().to_vec(), true)
    }

    fn ids(transcript: &Transcript, branch: &Branch) -> Vec<String> {
        branch.lines.iter().map(|at| transcript.lines()[*at].id.to_string()).collect()
    }

    #[test]
    fn reads_the_example_of_the_specification() {
        let transcript = parse(EXAMPLE);
        assert_eq!((transcript.lines().len(), transcript.skipped(), transcript.messages()), (8, 0, 4));
        assert_eq!(transcript.header().unwrap().id, "11111111-1111-4111-8111-111111111111");
        let branch = transcript.branch(transcript.leaf().unwrap());
        assert!(branch.complete);
        assert_eq!(branch.lines, [1, 2, 3, 4, 5, 6, 7]);
        assert!(transcript.message(5).unwrap().get().contains("toolCall"));
        assert!(transcript.message(1).is_none());
    }

    #[test]
    fn a_file_cut_at_every_byte_loads_with_all_whole_lines() {
        for cut in 0..EXAMPLE.len() {
            let transcript = parse(&EXAMPLE[..cut]);
            let whole = EXAMPLE[..cut].matches('\n').count();
            assert!(transcript.lines().len() >= whole, "{cut}");
            assert_eq!(transcript.is_torn(), cut > 0 && !EXAMPLE[..cut].ends_with('\n'), "{cut}");
            if let Some(leaf) = transcript.leaf() {
                assert!(transcript.branch(leaf).complete, "{cut}");
            }
        }
    }

    #[test]
    fn dead_branches_are_not_on_the_path() {
        let transcript = parse(concat!(
            r#"{"type":"session","version":3,"id":"s"}"#,
            "\n",
            r#"{"type":"message","id":"a","parentId":null,"message":{}}"#,
            "\n",
            r#"{"type":"message","id":"b","parentId":"a","message":{}}"#,
            "\n",
            r#"{"type":"novel","id":"c","parentId":"a"}"#,
            "\n",
            r#"{"type":"message","id":"d","parentId":"c","message":{}}"#,
            "\n",
        ));
        assert_eq!(ids(&transcript, &transcript.branch(4)), ["a", "c", "d"]);
        assert_eq!(transcript.messages(), 3);
    }

    #[test]
    fn repeated_and_future_parents_cannot_make_a_circle() {
        let transcript = parse(concat!(
            r#"{"type":"message","id":"a","parentId":"b"}"#,
            "\n",
            r#"{"type":"message","id":"b","parentId":"a"}"#,
            "\n",
            r#"{"type":"message","id":"a","parentId":"b"}"#,
            "\n",
            r#"{"type":"message","id":"x","parentId":"x"}"#,
            "\n",
        ));
        assert_eq!(ids(&transcript, &transcript.branch(2)), ["a", "b", "a"]);
        assert_eq!(transcript.branch(3), Branch { lines: vec![3], complete: false });
        assert_eq!(transcript.position("a"), Some(2));
    }

    #[test]
    fn files_older_than_the_tree_are_a_list() {
        let transcript = parse("{\"type\":\"session\",\"id\":\"s\"}\n{\"type\":\"message\"}\n{\"type\":\"message\"}\n");
        assert_eq!(transcript.branch(2), Branch { lines: vec![1, 2], complete: true });
    }

    #[test]
    fn broken_lines_are_skipped_and_counted() {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        bytes.extend(b"{\"type\":\"message\",\xff}\n[1]\n\n{\"id\":1}\n");
        let transcript = Transcript::parse(bytes, true);
        assert_eq!((transcript.lines().len(), transcript.skipped()), (8, 3));
    }

    #[test]
    fn a_window_reads_the_end_and_grows_until_enough() {
        let dir = std::env::temp_dir().join(format!("openclaw-transcript-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("t.jsonl");
        std::fs::write(&path, EXAMPLE).unwrap();
        let end = Transcript::read(&path, 700).unwrap().unwrap();
        assert_eq!((end.is_whole(), end.lines().len(), end.header()), (false, 1, None));
        assert!(!end.branch(end.leaf().unwrap()).complete);
        assert!(Transcript::read_until(&path, |_| false).unwrap().unwrap().is_whole());
        let head = Transcript::head(&path, 1000).unwrap().unwrap();
        assert_eq!((head.is_whole(), head.lines().len(), head.is_torn()), (true, 5, true));
        assert!(Transcript::read(&dir.join("none"), 5).unwrap().is_none() && Transcript::read(&dir, 5).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn mutated_files_never_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap()
        };
        for _ in 0..400 {
            let mut bytes = EXAMPLE.as_bytes().to_vec();
            for _ in 0..1 + random() % 8 {
                let at = random() % bytes.len();
                match random() % 4 {
                    0 => bytes[at] = u8::try_from(random() % 256).unwrap(),
                    1 => drop(bytes.drain(at..(at + random() % 40).min(bytes.len()))),
                    2 => bytes.insert(at, b"\n{}[]\",:\\"[random() % 9]),
                    _ => bytes.extend_from_within(at..(at + 50).min(bytes.len())),
                }
            }
            let transcript = Transcript::parse(bytes, true);
            for at in 0..transcript.lines().len() {
                let _ = (transcript.branch(at), transcript.message(at), transcript.text(at));
            }
        }
    }
}
