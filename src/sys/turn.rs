//! One at a time, by name: whoever comes while another has the turn waits for it beside whatever else it waits for.
//! Owns the lock; knows nothing of what the names stand for.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

/// The turns of all names; a name that came once stays.
#[derive(Default)]
pub struct Turns(Mutex<Vec<(String, Turn)>>);

/// The turn of one name; clones are the same one.
#[derive(Clone)]
pub struct Turn {
    back: Sender<()>,
    free: Receiver<()>,
}

/// Whoever holds this has the turn; dropping it gives the turn back.
#[must_use = "the turn is given back when this is dropped"]
pub struct Taken(Sender<()>);

impl Turns {
    /// No names yet.
    pub const fn new() -> Turns {
        Turns(Mutex::new(Vec::new()))
    }

    /// The turn of that name.
    pub fn of(&self, name: &str) -> Turn {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, turn)) = all.iter().find(|(known, _)| known == name) {
            return turn.clone();
        }
        let (back, free) = bounded(1);
        let turn = Turn { back, free };
        drop(turn.clone().taken());
        all.push((name.to_string(), turn.clone()));
        turn
    }
}

impl Turn {
    /// Brings one message when the turn is free; who gets it calls [`Turn::taken`].
    pub fn free(&self) -> &Receiver<()> {
        &self.free
    }

    /// Holds the turn that was received.
    pub fn taken(self) -> Taken {
        Taken(self.back)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // the turn is out, so there is room for it
        let _ = self.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_had_once_and_comes_back() {
        let turns = Turns::new();
        assert!(turns.of("a").free().try_recv().is_ok());
        let taken = turns.of("a").taken();
        assert!(turns.of("a").free().try_recv().is_err() && turns.of("b").free().try_recv().is_ok());
        drop(taken);
        assert!(turns.of("a").free().try_recv().is_ok());
    }
}
