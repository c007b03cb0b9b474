//! Programs that go on while nobody waits for them, by name. Owns the lock and the bound; knows nothing of what `T`
//! says about each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Child, StopReason};

/// A shared list; clones are the same one.
pub struct Roster<T> {
    entries: Arc<Mutex<Vec<Listed<T>>>>,
    /// Entries kept; the oldest ended one gives way.
    room: usize,
}

/// One entry.
#[derive(Clone)]
pub struct Listed<T> {
    /// Its name.
    pub name: String,
    /// What its owner knows about it.
    pub about: T,
    /// The program.
    pub child: Child,
    /// How far its output was read.
    pub read_to: u64,
}

impl<T> Clone for Roster<T> {
    fn clone(&self) -> Roster<T> {
        Roster { entries: Arc::clone(&self.entries), room: self.room }
    }
}

impl<T: Clone> Roster<T> {
    /// An empty list with room for that many.
    pub fn new(room: usize) -> Roster<T> {
        Roster { entries: Arc::new(Mutex::new(Vec::new())), room }
    }

    /// Whether one more running program may be added.
    pub fn has_room(&self) -> bool {
        self.entries().iter().filter(|entry| entry.child.exit().is_none()).count() < self.room
    }

    /// Whether a name is taken.
    pub fn is_taken(&self, name: &str) -> bool {
        self.entries().iter().any(|entry| entry.name == name)
    }

    /// Adds a program; the oldest ended one leaves when there is no room. Callers ask [`Roster::has_room`] first.
    pub fn add(&self, name: String, about: T, child: Child, read_to: u64) {
        let mut entries = self.entries();
        let ended = entries.iter().position(|entry| entry.child.exit().is_some());
        if let Some(ended) = ended.filter(|_| entries.len() >= self.room) {
            entries.remove(ended);
        }
        entries.push(Listed { name, about, child, read_to });
    }

    /// All that fit, oldest first.
    pub fn all(&self, fits: impl Fn(&T) -> bool) -> Vec<Listed<T>> {
        self.entries().iter().filter(|entry| fits(&entry.about)).cloned().collect()
    }

    /// The one of this name, if it fits.
    pub fn find(&self, name: &str, fits: impl Fn(&T) -> bool) -> Option<Listed<T>> {
        self.entries().iter().find(|entry| entry.name == name && fits(&entry.about)).cloned()
    }

    /// Notes how far the output of one was read.
    pub fn read_to(&self, name: &str, position: u64) {
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.name == name) {
            entry.read_to = entry.read_to.max(position);
        }
    }

    /// Forgets one; it goes on running.
    pub fn remove(&self, name: &str) {
        self.entries().retain(|entry| entry.name != name);
    }

    /// Ends all that fit; does not wait for them. Answers them, so that the caller may.
    pub fn stop(&self, fits: impl Fn(&T) -> bool) -> Vec<Child> {
        let children: Vec<Child> = self.all(fits).into_iter().map(|entry| entry.child).collect();
        children.iter().for_each(|child| child.stop(StopReason::Asked));
        children
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Listed<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Input, Keep, Spec, Stderr};
    use super::*;
    use std::time::Duration;

    fn child(script: &str) -> Child {
        Child::spawn(Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            dir: "/".into(),
            env: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
            input: Input::Closed,
            stderr: Stderr::Joined,
            keep: Keep { head: 10, tail: 10 },
            timeout: Some(Duration::from_secs(20)),
            grace: Duration::ZERO,
        })
        .unwrap()
    }

    #[test]
    fn ended_programs_give_way_and_running_ones_count() {
        let roster = Roster::new(2);
        let (ended, running) = (child("exit 0"), child("sleep 60"));
        ended.wait(Duration::from_secs(20)).unwrap();
        roster.add("a".into(), 1, ended, 0);
        roster.add("b".into(), 2, running.clone(), 0);
        assert!(roster.has_room() && roster.is_taken("a"));
        roster.add("c".into(), 1, running, 0);
        assert!(!roster.has_room() && !roster.is_taken("a"));
        roster.read_to("c", 7);
        roster.read_to("c", 3);
        assert_eq!(roster.find("c", |owner| *owner == 1).unwrap().read_to, 7);
        assert!(roster.find("c", |owner| *owner == 2).is_none());
        for child in roster.stop(|_| true) {
            child.wait(Duration::from_secs(20)).unwrap();
        }
        roster.remove("b");
        assert_eq!(roster.all(|_| true).len(), 1);
    }
}
