//! The index of one agent's sessions, `sessions.json` (agent.md 9): entries by session key, in the file's order, with
//! everything in them that this program does not know. Knows the file, not what keys mean beyond their two spellings.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use crate::limits;

use super::atomic;
use super::session::entry::Entry;
use super::session::layout;
use super::session::object::{Field, Object, quote};
use crate::sys::order;

/// Why an index cannot be used.
#[derive(Debug)]
pub enum IndexFault {
    /// The file cannot be read, or is larger than any real one.
    Io(io::Error),
    /// It is not a JSON object.
    Form(serde_json::Error),
}

impl fmt::Display for IndexFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexFault::Io(fault) => write!(f, "cannot read the session index: {fault}"),
            IndexFault::Form(_) => f.write_str("the session index is not a JSON object"),
        }
    }
}

impl std::error::Error for IndexFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IndexFault::Io(fault) => Some(fault),
            IndexFault::Form(fault) => Some(fault),
        }
    }
}

/// A place in the file: its rank, and an entry or something else that is kept for whoever wrote it. Indexes share what
/// has not changed: the thread that writes one needs its own copy while the sessions go on.
#[derive(Clone, Debug)]
struct Slot {
    rank: u64,
    held: Held,
}

#[derive(Clone, Debug)]
enum Held {
    Entry(Entry),
    Foreign(Field),
}

/// Something another program has put into the file, or taken out.
#[derive(Clone, Debug)]
pub struct Arrival {
    key: String,
    news: News,
}

#[derive(Clone, Debug)]
enum News {
    /// A key that was not known.
    New(Held),
    /// A newer state of an entry.
    Newer(Entry),
    /// The entry was deleted; this is when it had changed last.
    Gone(u64),
}

impl Arrival {
    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether it was taken out.
    pub fn is_deletion(&self) -> bool {
        matches!(self.news, News::Gone(_))
    }
}

/// The sessions of one agent.
#[derive(Clone, Debug, Default)]
pub struct Index {
    slots: BTreeMap<Arc<str>, Arc<Slot>>,
    /// Keys stored in another spelling than ours, by our spelling.
    spellings: BTreeMap<String, Arc<str>>,
    next: u64,
}

impl Index {
    /// Reads a file; a missing or blank one is an empty index.
    pub fn read(path: &Path) -> Result<Index, IndexFault> {
        match atomic::read_bounded(path, limits::STATE_FILE_BYTES).map_err(IndexFault::Io)? {
            Some(bytes) => Index::parse(&bytes),
            None => Ok(Index::default()),
        }
    }

    /// Reads a file's content.
    pub fn parse(bytes: &[u8]) -> Result<Index, IndexFault> {
        let mut index = Index::default();
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(index);
        }
        let file: Object = serde_json::from_slice(bytes).map_err(IndexFault::Form)?;
        let mut pool: BTreeSet<Arc<str>> = BTreeSet::new();
        for (key, field) in file.members() {
            let held = match field {
                Field::Raw(json) => Object::parse(json).map_or(Held::Foreign(field.clone()), |mut object| {
                    object.share(&mut pool);
                    Held::Entry(Entry::from(object))
                }),
                other => Held::Foreign(other.clone()),
            };
            index.add(key.to_string(), held);
        }
        Ok(index)
    }

    /// The file's text: two-space JSON without a final line end, as the original writes it.
    pub fn print(&self) -> String {
        let mut slots: Vec<(&Arc<str>, &Arc<Slot>)> = self.slots.iter().collect();
        order::by_key(&mut slots, |(_, slot)| slot.rank);
        if slots.is_empty() {
            return "{}".to_string();
        }
        let mut out = String::from("{");
        for (at, (key, slot)) in slots.into_iter().enumerate() {
            out.push_str(if at > 0 { ",\n  " } else { "\n  " });
            out.push_str(&quote(key));
            out.push_str(": ");
            let json = match &slot.held {
                Held::Entry(entry) => Cow::Owned(entry.print()),
                Held::Foreign(field) => field.print(),
            };
            layout::pretty(&json, 1, &mut out);
        }
        out.push_str("\n}");
        out
    }

    /// The entry of a key, whatever its spelling.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.find(key).map(|(_, entry)| entry)
    }

    /// The entry of a key and the key as it is stored.
    pub fn find(&self, key: &str) -> Option<(&str, &Entry)> {
        let stored = self.stored(key)?;
        let (stored, slot) = self.slots.get_key_value(stored)?;
        match &slot.held {
            Held::Entry(entry) => Some((stored, entry)),
            Held::Foreign(_) => None,
        }
    }

    /// The entry of a key, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        let stored = self.stored(key)?.to_string();
        match &mut Arc::make_mut(self.slots.get_mut(stored.as_str())?).held {
            Held::Entry(entry) => Some(entry),
            Held::Foreign(_) => None,
        }
    }

    /// Puts an entry in place: under the stored spelling of its key if there is one, else at the end.
    pub fn insert(&mut self, key: &str, entry: Entry) {
        let stored = self.stored(key).unwrap_or(key).to_string();
        match self.slots.get_mut(stored.as_str()) {
            Some(slot) => *slot = Arc::new(Slot { rank: slot.rank, held: Held::Entry(entry) }),
            None => self.add(stored, Held::Entry(entry)),
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let stored = self.stored(key)?.to_string();
        let Held::Entry(entry) = self.slots.get(stored.as_str())?.held.clone() else { return None };
        self.spellings.retain(|_, known| known.as_ref() != stored);
        self.slots.remove(stored.as_str());
        Some(entry)
    }

    /// What `theirs` has that counts more than what is here: keys neither here nor known before, newer entries, and
    /// deletions of entries that are here as they were known. A key that was known and is not here any more was deleted
    /// here. `known` says when an entry of the file had changed last.
    pub fn arrivals(&self, theirs: &Index, known: &dyn Fn(&str) -> Option<u64>) -> Vec<Arrival> {
        let mut slots: Vec<(&Arc<str>, &Arc<Slot>)> = theirs.slots.iter().collect();
        order::by_key(&mut slots, |(_, slot)| slot.rank);
        let came = slots.into_iter().filter_map(|(key, slot)| {
            let news = match (self.find(key), &slot.held) {
                (Some((_, ours)), Held::Entry(entry)) if ours.updated_ms() < entry.updated_ms() => {
                    News::Newer(entry.clone())
                }
                (None, held) if self.stored(key).is_none() && known(key).is_none() => News::New(held.clone()),
                _ => return None,
            };
            Some(Arrival { key: key.to_string(), news })
        });
        let gone = self.iter().filter_map(|(key, entry)| {
            let unchanged = known(key).filter(|at| *at == entry.updated_ms() && theirs.stored(key).is_none());
            unchanged.map(|at| Arrival { key: key.to_string(), news: News::Gone(at) })
        });
        came.chain(gone).collect()
    }

    /// Takes in what another program wrote, unless it was deleted or changed here since.
    pub fn take(&mut self, arrival: Arrival) {
        let Arrival { key, news } = arrival;
        let ours = self.get(&key).map(Entry::updated_ms);
        match news {
            News::New(held) if self.stored(&key).is_none() => self.add(key, held),
            News::New(Held::Entry(entry)) | News::Newer(entry) if ours.is_some_and(|at| at < entry.updated_ms()) => {
                self.insert(&key, entry);
            }
            News::Gone(at) if ours == Some(at) => drop(self.remove(&key)),
            _ => {}
        }
    }

    /// Every key as it is stored, those of no entry included.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.slots.keys().map(Arc::as_ref)
    }

    /// All entries by key, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.slots.iter().filter_map(|(key, slot)| match &slot.held {
            Held::Entry(entry) => Some((key.as_ref(), entry)),
            Held::Foreign(_) => None,
        })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The key as it is stored, if it is.
    fn stored<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        if self.slots.contains_key(key) {
            return Some(key);
        }
        let ours = spelling(key);
        if self.slots.contains_key(ours.as_ref()) {
            return self.slots.get_key_value(ours.as_ref()).map(|(stored, _)| stored.as_ref());
        }
        self.spellings.get(ours.as_ref()).map(Arc::as_ref)
    }

    fn add(&mut self, key: String, held: Held) {
        let key: Arc<str> = key.into();
        if let Cow::Owned(ours) = spelling(&key) {
            self.spellings.insert(ours, Arc::clone(&key));
        }
        self.slots.insert(key, Arc::new(Slot { rank: self.next, held }));
        self.next += 1;
    }
}

/// The spelling of a key in use now: lower case, and `direct` where older versions wrote `dm` (agent.md 8).
pub fn spelling(key: &str) -> Cow<'_, str> {
    let old = key.split(':').any(|part| part.eq_ignore_ascii_case("dm"));
    if !old && !key.chars().any(char::is_uppercase) {
        return Cow::Borrowed(key);
    }
    let lower = key.to_lowercase();
    let parts: Vec<&str> = lower.split(':').map(|part| if part == "dm" { "direct" } else { part }).collect();
    Cow::Owned(parts.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{
  "agent:main:main": {
    "sessionId": "s-1",
    "updatedAt": 5,
    "novel": {
      "z": 1,
      "a": []
    }
  },
  "stray": [
    1
  ],
  "agent:main:telegram:dm:5": {
    "updatedAt": 7.25,
    "sessionId": "s-2"
  },
  "agent:main:FOO": {}
}"#;

    #[test]
    fn same_order_in_same_order_out() {
        assert_eq!(Index::parse(SAMPLE.as_bytes()).unwrap().print(), SAMPLE);
        assert_eq!(Index::parse(b" \n").unwrap().print(), "{}");
    }

    #[test]
    fn changes_touch_nothing_else() {
        let mut index = Index::parse(SAMPLE.as_bytes()).unwrap();
        index.get_mut("agent:main:main").unwrap().set("updatedAt", 6);
        assert_eq!(index.print(), SAMPLE.replace("\"updatedAt\": 5", "\"updatedAt\": 6"));
        index.insert("agent:main:new", Entry::new("s-3", 1));
        assert!(
            index.print().ends_with("\"agent:main:new\": {\n    \"sessionId\": \"s-3\",\n    \"updatedAt\": 1\n  }\n}")
        );
    }

    #[test]
    fn a_copy_shares_what_does_not_change() {
        let mut index = Index::parse(SAMPLE.as_bytes()).unwrap();
        let copy = index.clone();
        index.get_mut("agent:main:main").unwrap().touch(9);
        index.insert("agent:main:foo", Entry::new("s-9", 9));
        let kept = copy.slots.iter().filter(|(key, slot)| Arc::ptr_eq(slot, &index.slots[*key])).count();
        assert_eq!((kept, copy.print().as_str()), (copy.slots.len() - 2, SAMPLE));
    }

    #[test]
    fn old_spellings_are_found_and_kept() {
        let mut index = Index::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(index.find("agent:main:telegram:direct:5").unwrap().0, "agent:main:telegram:dm:5");
        assert_eq!(index.find("agent:main:foo").unwrap().0, "agent:main:FOO");
        index.insert("agent:main:telegram:direct:5", Entry::new("s-9", 9));
        assert_eq!((index.len(), index.get("agent:main:telegram:dm:5").unwrap().updated_ms()), (3, 9));
        assert!(index.remove("agent:main:telegram:direct:5").is_some());
        assert!(index.get("agent:main:telegram:direct:5").is_none());
    }

    #[test]
    fn values_that_are_no_entries_are_kept_but_not_seen() {
        let mut index = Index::parse(SAMPLE.as_bytes()).unwrap();
        assert!(index.get("stray").is_none() && index.remove("stray").is_none());
        assert_eq!(index.len(), 3);
        index.insert("stray", Entry::new("s", 1));
        assert_eq!(index.len(), 4);
    }

    #[test]
    fn refuses_what_is_no_object_and_survives_a_cut_at_every_byte() {
        assert!(matches!(Index::parse(b"[]"), Err(IndexFault::Form(_))));
        for cut in 1..SAMPLE.len() {
            assert!(Index::parse(&SAMPLE.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn reads_and_prints_the_example_of_the_specification() {
        let text = include_str!("../../fixtures/sessions/sessions-v2026.2.9.json");
        let index = Index::parse(text.as_bytes()).unwrap();
        assert_eq!(index.len(), 3);
        assert_eq!(index.print(), text.trim_end());
    }
}
