//! The journal of turns that have not ended, `open-runs.jsonl` in the state folder: a message is in it before its
//! sender hears that it was accepted, so that a killed gateway loses no message and knows afterwards what it broke off.
//! Owns the file's form; who runs is `runs`, transcripts are written by `transcripts`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::disk::{Job, Then};
use super::event::Effect;
use super::runs::Ended;
use super::state::State;
use super::transcripts::{self, Addition};
use crate::agent::message::{Block, Message, StopReason, text_of};
use crate::limits;
use crate::store::atomic;
use crate::store::transcript::Transcript;
use crate::sys::clock::Now;
use crate::sys::id::Entropy;
use crate::sys::table::Table;

/// What stands for a picture, whose bytes are not kept here.
const PICTURE: &str = "[a picture came with this message; it was lost when the gateway ended]";

/// A message that was accepted and is not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRun {
    /// The client's name for it.
    #[serde(rename = "open")]
    pub run_id: String,
    /// The agent.
    pub agent: String,
    /// The session.
    pub key: String,
    /// Its conversation.
    pub session: String,
    /// The conversation's file.
    pub transcript: PathBuf,
    /// Working directory of its runs.
    pub workspace: PathBuf,
    /// When it came, Unix milliseconds.
    pub ms: u64,
    /// What it says.
    pub text: String,
    /// After a start: it could not be put into its transcript, and is nowhere else.
    #[serde(skip)]
    pub is_lost: bool,
}

impl OpenRun {
    /// The text of a message, pictures named.
    pub fn text_of(content: &[Block]) -> String {
        let pictures = content.iter().filter(|block| matches!(block, Block::Image { .. })).map(|_| PICTURE);
        std::iter::once(text_of(content).as_str()).chain(pictures).collect::<Vec<_>>().join("\n")
    }
}

/// A change of the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds this at the end.
    Append(String),
    /// Makes this all there is.
    Replace(String),
}

/// The turns that have not ended, as the file has them.
#[derive(Debug, Default)]
pub struct Journal {
    open: Table<String, String>,
    bytes: usize,
}

impl Journal {
    /// A message was accepted.
    pub fn open(&mut self, run: &OpenRun) -> Change {
        let line = serde_json::to_string(run).unwrap_or_default() + "\n";
        self.open.insert(run.run_id.clone(), line.clone());
        self.add(line)
    }

    /// It is answered, or somebody was told that it will not be; none for one that is not in the file.
    pub fn close(&mut self, run_id: &str) -> Option<Change> {
        self.open.remove(run_id)?;
        if self.open.is_empty() {
            return Some(self.anew());
        }
        Some(self.add(format!("{}\n", json!({"done": run_id}))))
    }

    /// Whether so much waits that no other message may.
    pub fn is_full(&self) -> bool {
        self.open_bytes() >= limits::JOURNAL_OPEN_BYTES
    }

    fn open_bytes(&self) -> usize {
        self.open.values().map(String::len).sum()
    }

    fn add(&mut self, line: String) -> Change {
        self.bytes += line.len();
        // Half of it at least is not needed any more: else it would be written anew with each message.
        if self.bytes <= limits::JOURNAL_BYTES.max(2 * self.open_bytes()) {
            return Change::Append(line);
        }
        self.anew()
    }

    /// Nothing but what is open.
    fn anew(&mut self) -> Change {
        let all: String = self.open.values().map(String::as_str).collect();
        self.bytes = all.len();
        Change::Replace(all)
    }
}

/// Changes the file. An appended line survives the end of the process without a flush; a cut one is left out later.
pub fn write(path: &Path, change: &Change) -> io::Result<()> {
    match change {
        Change::Append(line) => {
            let mut file = OpenOptions::new().append(true).create(true).mode(atomic::PRIVATE).open(path)?;
            file.write_all(line.as_bytes())
        }
        // Nothing is lost when an emptied file comes back after a power failure: what is in it is looked up.
        Change::Replace(text) if text.is_empty() => match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        Change::Replace(text) => atomic::write(path, text.as_bytes(), atomic::PRIVATE),
    }
}

/// What the last process left unanswered. Messages that did not get into their transcripts are put there now.
pub fn recover(path: &Path, seed: [u8; 32]) -> Vec<OpenRun> {
    let bytes = match atomic::read_bounded(path, limits::JOURNAL_READ_BYTES) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(error) => {
            log::error!(target: "agent", "the journal of turns is not readable file={} error={error}", path.display());
            return Vec::new();
        }
    };
    let mut open = parse(&bytes);
    let mut entropy = Entropy::from_seed(seed);
    open.retain_mut(|run| {
        let mut seed = [0_u8; 32];
        entropy.fill(&mut seed);
        let answered = restore(run, seed).unwrap_or_else(|error| {
            log::error!(target: "agent", "message not restored, the next start tries again run={} error={error}", run.run_id);
            run.is_lost = true;
            false
        });
        !answered
    });
    if open.is_empty() && !bytes.is_empty() {
        // A cut line must not swallow the next one.
        let _ = write(path, &Change::Replace(String::new()));
    }
    open
}

fn parse(bytes: &[u8]) -> Vec<OpenRun> {
    let mut open: Vec<OpenRun> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = serde_json::from_slice::<Value>(line) else { continue };
        if let Some(done) = value.get("done").and_then(Value::as_str) {
            open.retain(|run| run.run_id != done);
        } else if let Ok(run) = serde_json::from_value::<OpenRun>(value) {
            open.push(run);
        }
    }
    open
}

/// Puts a message that is missing into its transcript. Whether it has its answer there already: the end of a turn is
/// told before its line in the journal is written.
fn restore(run: &OpenRun, seed: [u8; 32]) -> Result<bool, String> {
    let place = |known: &Transcript| (0..known.lines().len()).find(|at| says(known, *at, run));
    let known = Transcript::read_until(&run.transcript, |known| place(known).is_some());
    let known = known.map_err(|error| error.to_string())?;
    if let Some((known, at)) = known.and_then(|known| place(&known).map(|at| (known, at))) {
        return Ok((at..known.lines().len()).any(|at| answers(&known, at)));
    }
    let message = json!({"role": "user", "content": [{"type": "text", "text": run.text}], "timestamp": run.ms});
    let addition = Addition {
        path: run.transcript.clone(),
        session_id: run.session.clone(),
        workspace: run.workspace.clone(),
        messages: vec![message],
        now_ms: run.ms,
        seed,
    };
    transcripts::add(&addition).map(|_| false)
}

fn message(known: &Transcript, at: usize) -> Option<Message> {
    known.message(at).and_then(|text| serde_json::from_str(text.get()).ok())
}

/// Whether a turn ended well with this line.
fn answers(known: &Transcript, at: usize) -> bool {
    let Some(Message::Assistant(answer)) = message(known, at) else { return false };
    matches!(answer.stop_reason, StopReason::Stop | StopReason::Length)
}

fn says(known: &Transcript, at: usize, run: &OpenRun) -> bool {
    let Some(Message::User(user)) = message(known, at) else { return false };
    user.timestamp >= run.ms && OpenRun::text_of(&user.content).contains(&run.text)
}

impl State {
    /// A message is in the journal before its sender is answered.
    pub fn journal_open(&mut self, run: &OpenRun) -> Job {
        Job::Journal(self.facts.paths.open_runs(), self.journal.open(run))
    }

    /// Its sender has been told how it ended.
    pub fn journal_close(&mut self, run_id: &str, fx: &mut Vec<Effect>) {
        if let Some(change) = self.journal.close(run_id) {
            fx.push(Effect::Disk(Job::Journal(self.facts.paths.open_runs(), change), Then::Nothing));
        }
    }

    /// The indexes are there: sessions whose turns the last process broke off are marked, and whoever asks about such
    /// a turn is told.
    pub fn show_broken_off(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let broken = std::mem::take(&mut self.broken_off);
        if broken.is_empty() {
            return;
        }
        log::warn!(target: "agent", "{} turns were broken off by the end of the last process", broken.len());
        for run in broken {
            if let Some(entry) = self.sessions.get_mut(&run.agent, &run.key)
                && entry.session_id().as_deref() == Some(run.session.as_str())
            {
                entry.set("abortedLastRun", true);
            }
            let error = Some("the gateway ended during this turn".to_string());
            self.note_end(&run.run_id, &Ended { started_ms: None, ended_ms: now.wall_ms, error }, now, fx);
            if run.is_lost {
                self.journal.open(&run);
            }
        }
        self.save_sessions(fx);
        let change = self.journal.anew();
        fx.push(Effect::Disk(Job::Journal(self.facts.paths.open_runs(), change), Then::Nothing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str) -> OpenRun {
        let folder = std::env::temp_dir().join(format!("openclaw-journal-{}", std::process::id()));
        OpenRun {
            run_id: id.into(),
            agent: "main".into(),
            key: "agent:main:main".into(),
            session: "s".into(),
            transcript: folder.join(format!("{id}.jsonl")),
            workspace: "/w".into(),
            ms: 5,
            text: format!("say {id}"),
            is_lost: false,
        }
    }

    fn line(change: Change) -> String {
        match change {
            Change::Append(line) => line,
            Change::Replace(text) => panic!("{text}"),
        }
    }

    #[test]
    fn what_is_open_is_read_back_and_a_cut_line_is_left_out() {
        let mut journal = Journal::default();
        let mut text = line(journal.open(&run("a"))) + &line(journal.open(&run("b")));
        text += &line(journal.close("a").unwrap());
        assert_eq!(journal.close("a"), None);
        assert_eq!(parse(text.as_bytes()), [run("b")]);
        assert_eq!(parse(&text.as_bytes()[..text.len() - 5]), [run("a"), run("b")], "a cut end closes nothing");
        assert_eq!(journal.close("b"), Some(Change::Replace(String::new())));
    }

    #[test]
    fn a_long_journal_is_written_anew() {
        let mut journal = Journal::default();
        journal.open(&run("stays"));
        let long = OpenRun { text: "x".repeat(limits::JOURNAL_BYTES / 4), ..run("long") };
        let changes: Vec<Change> =
            (0..8).flat_map(|_| [Some(journal.open(&long)), journal.close("long")]).flatten().collect();
        let last = changes.iter().rev().find_map(|change| match change {
            Change::Replace(text) => Some(text.clone()),
            Change::Append(_) => None,
        });
        assert!(last.unwrap().len() < limits::JOURNAL_BYTES && journal.bytes <= limits::JOURNAL_BYTES);
    }

    #[test]
    fn a_journal_is_not_written_anew_with_each_message_and_can_always_be_read_again() {
        let mut journal = Journal::default();
        let long = |n: usize| OpenRun { text: "x".repeat(limits::JOURNAL_BYTES / 8), ..run(&n.to_string()) };
        let rewritten = (0..12).filter(|n| matches!(journal.open(&long(*n)), Change::Replace(_))).count();
        assert!(rewritten == 0 && journal.bytes > limits::JOURNAL_BYTES && !journal.is_full());
        journal.open(&OpenRun { text: "x".repeat(limits::JOURNAL_OPEN_BYTES), ..run("full") });
        assert!(journal.is_full());
        // One more that was let in, in which every character takes six.
        let most = limits::JOURNAL_OPEN_BYTES + 6 * limits::PROMPT_BYTES;
        assert!(2 * most <= limits::JOURNAL_READ_BYTES);
    }

    #[test]
    fn a_message_that_is_not_in_its_transcript_is_put_there_once() {
        let (open, again) = (run("r"), run("r"));
        std::fs::create_dir_all(open.transcript.parent().unwrap()).unwrap();
        let file = open.transcript.with_file_name("open-runs.jsonl");
        write(&file, &Change::Append(serde_json::to_string(&open).unwrap() + "\n")).unwrap();
        for _ in 0..2 {
            assert_eq!(recover(&file, [1; 32]), std::slice::from_ref(&again));
            let known = Transcript::read(&open.transcript, usize::MAX).unwrap().unwrap();
            assert_eq!(known.messages(), 1);
        }
        let answer = json!({"role": "assistant", "content": [{"type": "text", "text": "yes"}], "stopReason": "stop"});
        let addition = Addition {
            path: open.transcript.clone(),
            session_id: open.session.clone(),
            workspace: open.workspace.clone(),
            messages: vec![answer],
            now_ms: 6,
            seed: [2; 32],
        };
        transcripts::add(&addition).unwrap();
        assert_eq!((recover(&file, [1; 32]), file.exists()), (Vec::new(), false), "it was answered");
        let lost = OpenRun { transcript: file.join("no/folder.jsonl"), ..run("lost") };
        write(&file, &Change::Append(serde_json::to_string(&lost).unwrap() + "\n")).unwrap();
        assert_eq!(recover(&file, [1; 32]), [OpenRun { is_lost: true, ..lost }], "its transcript cannot be written");
        write(&file, &Change::Replace(String::new())).unwrap();
        write(&file, &Change::Replace(String::new())).unwrap();
        assert_eq!(recover(&file, [1; 32]), []);
        std::fs::remove_dir_all(open.transcript.parent().unwrap()).unwrap();
    }
}
