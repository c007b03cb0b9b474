//! The sessions of all agents as the state thread owns them: one index per agent, read once, changed here, written by
//! the disk thread. Lists and finds; what a session's transcript says is not its business.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Job;
use crate::protocol::errors::WireError;
use crate::session::key;
use crate::session::list::{self, Found};
use crate::store::index_file::IndexFiles;
use crate::store::session::archive;
use crate::store::session::entry::Entry;
use crate::store::sessions::{Arrival, Index};
use crate::sys::table::Table;

/// One agent's index, as it was read or why it could not be.
pub struct Shelf {
    /// Its file.
    pub path: PathBuf,
    /// Its sessions; shared with a write that is under way.
    pub index: Arc<Index>,
    /// Why it must not be written: what stands in the file would be lost.
    pub fault: Option<String>,
    /// Whether the file is older than the index.
    pub unsaved: bool,
}

/// Reads the indexes of these agents.
pub fn read_all(stores: Vec<(String, PathBuf)>, files: &mut IndexFiles) -> Vec<(String, Shelf)> {
    stores.into_iter().map(|(agent, path)| (agent, read(path, files))).collect()
}

fn read(path: PathBuf, files: &mut IndexFiles) -> Shelf {
    let (index, fault) = match files.read(&path) {
        Ok(index) => (index, None),
        Err(error) => {
            log::error!(target: "store", "sessions are not available file={} error={error}", path.display());
            (Index::default(), Some(error.to_string()))
        }
    };
    Shelf { path, index: Arc::new(index), fault, unsaved: false }
}

/// All sessions.
#[derive(Default)]
pub struct SessionBook {
    shelves: Table<String, Shelf>,
    /// Whether the indexes have been read.
    pub ready: bool,
}

impl SessionBook {
    /// Takes over what was read; what is known already counts more, unless it could not be read before.
    pub fn fill(&mut self, shelves: Vec<(String, Shelf)>) {
        for (agent, mut shelf) in shelves {
            if self.shelves.get(&agent).is_none_or(|known| known.fault.is_some()) {
                self.check_shared(&agent, &mut shelf);
                self.shelves.insert(agent, shelf);
            }
        }
    }

    /// One index has one owner: two would write over each other what they do not know.
    fn check_shared(&self, agent: &str, shelf: &mut Shelf) {
        let owns = |(id, other): &(&String, &Shelf)| *id != agent && other.fault.is_none() && other.path == shelf.path;
        if let Some((owner, _)) = self.shelves.iter().find(owns) {
            let text = format!("agent \"{owner}\" has the same index; put {{agentId}} into session.store");
            log::error!(target: "store", "sessions are not available agent={agent} error={text}");
            shelf.fault = Some(text);
            shelf.index = Arc::default();
        }
    }

    /// Forgets the agents that are no more, without touching their files.
    pub fn keep(&mut self, exists: impl Fn(&str) -> bool) {
        self.shelves.retain(|agent, _| exists(agent));
    }

    /// The index of an agent, to change; refused when its file could not be read.
    pub fn open(&mut self, agent: &str, path: impl FnOnce() -> PathBuf) -> Result<&mut Index, WireError> {
        if self.shelves.get(agent).is_none() {
            let mut shelf = Shelf { path: path(), index: Arc::default(), fault: None, unsaved: false };
            self.check_shared(agent, &mut shelf);
            self.shelves.insert(agent.to_string(), shelf);
        }
        let gone = || WireError::unavailable("sessions are not available");
        let shelf = self.shelves.get_mut(agent).ok_or_else(gone)?;
        if let Some(fault) = &shelf.fault {
            return Err(WireError::unavailable(format!("sessions of agent \"{agent}\" are not available: {fault}")));
        }
        shelf.unsaved = true;
        Ok(Arc::make_mut(&mut shelf.index))
    }

    /// The entry of a session.
    pub fn get(&self, agent: &str, key: &str) -> Option<&Entry> {
        self.shelves.get(agent)?.index.get(key)
    }

    /// The entry of a session, to change; the change is saved at the next occasion.
    pub fn get_mut(&mut self, agent: &str, key: &str) -> Option<&mut Entry> {
        let shelf = self.shelves.get_mut(agent).filter(|shelf| shelf.fault.is_none())?;
        shelf.index.get(key)?;
        shelf.unsaved = true;
        Arc::make_mut(&mut shelf.index).get_mut(key)
    }

    /// The file of an agent's index.
    pub fn path(&self, agent: &str) -> Option<&Path> {
        self.shelves.get(agent).map(|shelf| shelf.path.as_path())
    }

    /// Everything that is not on disk, as one job; none when everything is.
    pub fn unsaved(&mut self) -> Option<Job> {
        let unsaved = self.shelves.values_mut().filter(|shelf| shelf.unsaved);
        let files: Vec<(PathBuf, Arc<Index>)> = unsaved
            .map(|shelf| {
                shelf.unsaved = false;
                (shelf.path.clone(), Arc::clone(&shelf.index))
            })
            .collect();
        (!files.is_empty()).then_some(Job::Indexes(files))
    }

    /// A write failed: everything counts as unsaved again.
    pub fn not_saved(&mut self) {
        self.shelves.values_mut().filter(|shelf| shelf.fault.is_none()).for_each(|shelf| shelf.unsaved = true);
    }

    /// Takes in what another program wrote into an index; the agent and the keys. It is written once more: an index
    /// without it may have been on its way already.
    pub fn arrived(&mut self, path: &Path, arrivals: Vec<Arrival>) -> Option<(String, Vec<String>)> {
        let (agent, shelf) = self.shelves.iter_mut().find(|(_, shelf)| shelf.path == path)?;
        let keys = arrivals.iter().map(|arrival| arrival.key().to_string()).collect();
        let index = Arc::make_mut(&mut shelf.index);
        arrivals.into_iter().for_each(|arrival| index.take(arrival));
        shelf.unsaved = true;
        Some((agent.clone(), keys))
    }

    /// An agent's index, shared.
    pub fn index(&self, agent: &str) -> Option<Arc<Index>> {
        self.shelves.get(agent).map(|shelf| Arc::clone(&shelf.index))
    }

    /// The folder of an agent's transcripts; none when one of the indexes whose transcripts lie there could not be read,
    /// because then nobody knows which of them are in use.
    pub fn folder(&self, agent: &str) -> Option<PathBuf> {
        let folder = self.path(agent)?.parent()?;
        let sound = self.shelves.values().all(|shelf| shelf.fault.is_none() || shelf.path.parent() != Some(folder));
        sound.then(|| folder.to_path_buf())
    }

    /// Names of all transcripts that sessions have in a folder, which several agents may share.
    pub fn transcripts_in(&self, folder: &Path) -> HashSet<OsString> {
        let shelves = self.shelves.values().filter(|shelf| shelf.path.parent() == Some(folder));
        let entries = shelves.flat_map(|shelf| shelf.index.iter());
        let files = entries.filter_map(|(_, entry)| archive::transcript(folder, entry));
        files.filter_map(|path| path.file_name().map(OsString::from)).collect()
    }

    /// Whether a session that a key names is there; of one key for all agents nobody can tell whose is meant.
    pub fn holds(&self, key: &str) -> bool {
        key::agent_of(key).is_none_or(|agent| self.get(agent, key).is_some())
    }

    /// Every agent's index.
    pub fn indexes(&self) -> impl Iterator<Item = (&str, &Index)> {
        self.shelves.iter().map(|(agent, shelf)| (agent.as_str(), shelf.index.as_ref()))
    }

    /// All sessions, by agent and key.
    pub fn all(&self) -> impl Iterator<Item = Found<'_>> {
        list::found_in(self.indexes())
    }

    /// The newest of the sessions that fit.
    pub fn newest_of(&self, fits: impl Fn(&Found<'_>) -> bool) -> Option<Found<'_>> {
        list::newest(self.all().filter(fits), 1).1.pop()
    }

    /// How many sessions there are, of one agent or of all, and the newest of them. Health asks for this all the time.
    pub fn newest(&self, agent: Option<&str>, most: usize) -> (usize, Vec<Found<'_>>) {
        let indexes = self.indexes().filter(|(id, _)| agent.is_none_or(|wanted| wanted == *id));
        list::newest(list::found_in(indexes), most)
    }

    /// The row of a session.
    pub fn row(&self, agent: &str, key: &str) -> Option<Found<'_>> {
        let (agent, shelf) = self.shelves.get_key_value(agent)?;
        let (key, entry) = shelf.index.find(key)?;
        Some(Found { agent, key, entry })
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.shelves.values().map(|shelf| shelf.index.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(json: &str) -> SessionBook {
        let mut book = SessionBook::default();
        let index = Arc::new(Index::parse(json.as_bytes()).unwrap());
        book.fill(vec![("main".into(), Shelf { path: "x".into(), index, fault: None, unsaved: false })]);
        book
    }

    #[test]
    fn changes_are_saved_once_and_again_after_a_failure() {
        let mut book = book(r#"{"k": {"updatedAt": 1}}"#);
        assert!(book.unsaved().is_none());
        book.get_mut("main", "k").unwrap().touch(9);
        assert!(book.unsaved().is_some() && book.unsaved().is_none());
        book.not_saved();
        assert!(book.unsaved().is_some());
    }

    #[test]
    fn an_unreadable_index_is_never_written() {
        let mut book = SessionBook::default();
        let fault = Some("torn".to_string());
        book.fill(vec![("main".into(), Shelf { path: "x".into(), index: Arc::default(), fault, unsaved: false })]);
        assert!(book.open("main", || "x".into()).unwrap_err().message.contains("torn"));
        book.not_saved();
        assert!(book.unsaved().is_none());
    }

    #[test]
    fn an_index_that_two_agents_would_share_belongs_to_the_first() {
        let mut book = book(r#"{"k": {"updatedAt": 1}}"#);
        let index = Arc::new(Index::parse(br#"{"k": {"updatedAt": 1}}"#).unwrap());
        book.fill(vec![("ops".into(), Shelf { path: "x".into(), index, fault: None, unsaved: false })]);
        for agent in ["ops", "new"] {
            let refused = book.open(agent, || "x".into()).unwrap_err().message;
            assert!(refused.contains("agent \"main\" has the same index; put {agentId} into"), "{refused}");
        }
        assert!(book.open("main", || "x".into()).is_ok() && book.open("other", || "y".into()).is_ok());
        assert_eq!(book.len(), 1, "no session is listed twice");
    }

    #[test]
    fn the_newest_are_found_among_many() {
        let entries: Vec<String> =
            (0..100).map(|n| format!("\"k{n:02}\": {{\"updatedAt\": {}}}", n * 37 % 50)).collect();
        let book = book(&format!("{{{}}}", entries.join(",")));
        let all: Vec<&str> = book.newest(None, 200).1.iter().map(|row| row.key).collect();
        for most in [0, 1, 7, 99, 100, 500] {
            let (count, rows) = book.newest(Some("main"), most);
            let found: Vec<&str> = rows.iter().map(|row| row.key).collect();
            assert_eq!((count, found), (100, all.iter().copied().take(most).collect()), "{most}");
        }
        assert_eq!(book.newest(Some("ghost"), 5).0, 0);
        assert_eq!(book.newest(None, 5).1.len(), 5);
    }

    #[test]
    fn newest_first() {
        let book = book(r#"{"a": {"updatedAt": 1}, "b": {"updatedAt": 3}, "c": {"updatedAt": 2}}"#);
        assert_eq!(book.newest(None, 9).1.iter().map(|row| row.key).collect::<Vec<_>>(), ["b", "c", "a"]);
        assert_eq!(book.newest_of(|row| row.key != "b").map(|row| row.key), Some("c"));
    }
}
