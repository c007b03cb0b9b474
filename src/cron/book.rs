//! All jobs and the file they stand in, which the original reads and writes too. Members it does not know are kept. Pure.

use serde::Serializer;
use serde::ser::{Serialize, SerializeMap, SerializeSeq};
use serde_json::{Map, Value};

use super::job::Job;
use super::schedule::Zones;
use crate::sys::order;

/// The jobs, in the order of the file.
#[derive(Debug, Default)]
pub struct Book {
    /// All that can be worked with.
    pub jobs: Vec<Job>,
    /// Members of the file beside them.
    rest: Map<String, Value>,
    /// Entries that are no jobs; they stay in the file.
    strange: Vec<Value>,
}

impl Book {
    /// Reads the file's text; a missing file has no jobs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: Option<&[u8]>, zones: &Zones) -> Result<Book, String> {
        let Some(bytes) = bytes else { return Ok(Book::default()) };
        let read: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let Value::Object(mut rest) = read else { return Err("it holds no object".to_string()) };
        let jobs = match rest.remove("jobs") {
            Some(Value::Array(jobs)) => jobs,
            None => Vec::new(),
            Some(_) => return Err("its \"jobs\" is no list".to_string()),
        };
        let mut book = Book { rest, ..Book::default() };
        for entry in jobs {
            let job = entry.as_object().and_then(|members| Job::of(members.clone(), zones));
            match job.filter(|job| book.find(job.id()).is_none()) {
                Some(job) => book.jobs.push(job),
                None => book.strange.push(entry),
            }
        }
        Ok(book)
    }

    /// How many entries of the file are no jobs.
    pub fn strange(&self) -> usize {
        self.strange.len()
    }

    /// The file's new text.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// A job by its id.
    pub fn find(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id() == id)
    }

    /// The same, to change.
    pub fn find_mut(&mut self, id: &str) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.id() == id)
    }

    /// Takes a job out.
    pub fn remove(&mut self, id: &str) -> Option<Job> {
        let at = self.jobs.iter().position(|job| job.id() == id)?;
        Some(self.jobs.remove(at))
    }

    /// When the next job is due.
    pub fn next_wake(&self) -> Option<u64> {
        self.jobs.iter().filter_map(Job::next_run).min()
    }

    /// The jobs that are due, the earliest first.
    pub fn due(&self, now: u64) -> Vec<String> {
        let mut due: Vec<&Job> =
            self.jobs.iter().filter(|job| job.next_run().is_some_and(|next| next <= now)).collect();
        order::by_key(&mut due, |job| job.next_run());
        due.into_iter().map(|job| job.id().to_string()).collect()
    }
}

/// The whole file; nothing is copied, because it is written at each change.
impl Serialize for Book {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut file = serializer.serialize_map(None)?;
        if !self.rest.contains_key("version") {
            file.serialize_entry("version", &1)?;
        }
        self.rest.iter().try_for_each(|(name, value)| file.serialize_entry(name, value))?;
        file.serialize_entry("jobs", &Entries(self))?;
        file.end()
    }
}

struct Entries<'a>(&'a Book);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        self.0.jobs.iter().try_for_each(|job| list.serialize_element(job.members()))?;
        self.0.strange.iter().try_for_each(|entry| list.serialize_element(entry))?;
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 2026.2.9 wrote it, with members of its future.
    const FILE: &str = r#"{"version": 1, "more": true, "jobs": [
        {"id": "b", "name": "two", "enabled": true, "createdAtMs": 5, "updatedAtMs": 5, "sessionTarget": "isolated",
         "schedule": {"kind": "cron", "expr": "0 7 * * *", "tz": "Europe/Berlin", "staggerMs": 9}, "wakeMode": "now",
         "payload": {"kind": "agentTurn", "message": "say hi", "new": [1]}, "state": {"nextRunAtMs": 20}, "other": null},
        {"id": "a", "enabled": false, "schedule": {"kind": "every", "everyMs": 60000}, "state": {"nextRunAtMs": 10}},
        {"id": "c", "schedule": {"kind": "stream"}, "state": {"nextRunAtMs": 5}},
        {"id": "d", "schedule": {"kind": "every", "everyMs": 60000}, "state": {"nextRunAtMs": 15}},
        {"id": "c", "schedule": {"kind": "stream"}}, null, {"name": "no id"}]}"#;

    #[test]
    fn everything_in_the_file_comes_back() {
        let book = Book::parse(Some(FILE.as_bytes()), &Zones::default()).unwrap();
        assert_eq!((book.jobs.len(), book.strange()), (4, 3));
        let (read, written): (Value, Value) =
            (serde_json::from_str(FILE).unwrap(), serde_json::from_str(&book.to_text()).unwrap());
        assert_eq!(read, written);
        assert!(book.to_text().contains("\n  \"jobs\": [\n    {\n"));
        let empty = Book::parse(None, &Zones::default()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&empty.to_text()).unwrap(), json!({"version": 1, "jobs": []}));
    }

    #[test]
    fn due_jobs_come_in_their_order_and_disabled_or_unreadable_ones_never() {
        let mut book = Book::parse(Some(FILE.as_bytes()), &Zones::default()).unwrap();
        assert_eq!(book.next_wake(), Some(15));
        assert_eq!(book.due(14), Vec::<String>::new());
        assert_eq!(book.due(20), ["d", "b"]);
        assert!(book.remove("d").is_some() && book.remove("d").is_none());
        assert_eq!(book.next_wake(), Some(20));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        let refused = |text: &str| Book::parse(Some(text.as_bytes()), &Zones::default()).unwrap_err();
        assert!(refused("{\"jobs\": [").contains("EOF"));
        assert_eq!(refused("[]"), "it holds no object");
        assert_eq!(refused("{\"jobs\": {}}"), "its \"jobs\" is no list");
    }
}
