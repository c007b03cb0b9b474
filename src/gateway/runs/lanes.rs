//! Whose turn it is: one lane per session, first come first served, and a cap over all lanes.
//! Knows numbers and keys only.

use std::collections::VecDeque;

use super::RunNo;
use crate::sys::table::Table;

/// The lanes. A run stands in its lane from its arrival to its end.
pub(super) struct Lanes {
    cap: usize,
    lanes: Table<String, VecDeque<RunNo>>,
    /// Runs at the head of their lane that wait for a place under the cap, in order of arrival there.
    heads: VecDeque<RunNo>,
    working: Table<RunNo, ()>,
    lane_of: Table<RunNo, String>,
    /// Lanes in which nothing may start now, and how often that was said.
    held: Table<String, usize>,
}

impl Lanes {
    pub(super) fn new(cap: usize) -> Lanes {
        Lanes {
            cap,
            lanes: Table::new(),
            heads: VecDeque::new(),
            working: Table::new(),
            lane_of: Table::new(),
            held: Table::new(),
        }
    }

    pub(super) fn set_cap(&mut self, cap: usize) {
        self.cap = cap;
    }

    pub(super) fn push(&mut self, key: &str, no: RunNo) {
        let lane = self.lanes.or_default(key.to_string());
        lane.push_back(no);
        if lane.len() == 1 {
            self.heads.push_back(no);
        }
        self.lane_of.insert(no, key.to_string());
    }

    /// The next run that is ready and may work; it counts as working from now on.
    pub(super) fn next(&mut self, mut is_ready: impl FnMut(RunNo) -> bool) -> Option<RunNo> {
        if self.working.len() >= self.cap {
            return None;
        }
        let is_free = |no: &RunNo| self.lane_of.get(no).is_none_or(|key| !self.held.contains_key(key));
        let at = self.heads.iter().position(|no| is_free(no) && is_ready(*no))?;
        let no = self.heads.remove(at)?;
        self.working.insert(no, ());
        Some(no)
    }

    /// Nothing starts in this lane until it is let go as often as it was held.
    pub(super) fn hold(&mut self, key: &str) {
        *self.held.or_default(key.to_string()) += 1;
    }

    /// Whether the lane goes on now.
    pub(super) fn let_go(&mut self, key: &str) -> bool {
        let Some(times) = self.held.get_mut(key) else { return true };
        *times = times.saturating_sub(1);
        if *times > 0 {
            return false;
        }
        self.held.remove(key);
        true
    }

    pub(super) fn is_held(&self, key: &str) -> bool {
        self.held.contains_key(key)
    }

    /// Takes a run out, wherever it stands, and lets the next of its lane come to the head.
    pub(super) fn remove(&mut self, no: RunNo) {
        self.working.remove(&no);
        self.heads.retain(|head| *head != no);
        let Some(key) = self.lane_of.remove(&no) else { return };
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let led = lane.front() == Some(&no);
        lane.retain(|other| *other != no);
        match lane.front() {
            Some(head) if led => self.heads.push_back(*head),
            Some(_) => {}
            None => drop(self.lanes.remove(&key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lanes: &mut Lanes) -> Vec<u64> {
        std::iter::from_fn(|| lanes.next(|_| true)).map(|no| no.0).collect()
    }

    #[test]
    fn one_run_per_session_in_the_order_of_arrival() {
        let mut lanes = Lanes::new(8);
        for (key, no) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
            lanes.push(key, RunNo(no));
        }
        assert_eq!(all(&mut lanes), [1, 3]);
        lanes.remove(RunNo(1));
        assert_eq!(all(&mut lanes), [2]);
        lanes.remove(RunNo(2));
        assert_eq!(all(&mut lanes), [4]);
    }

    #[test]
    fn the_cap_holds_over_all_sessions_and_is_fair() {
        let mut lanes = Lanes::new(2);
        for no in 1..=4 {
            lanes.push(&format!("s{no}"), RunNo(no));
        }
        assert_eq!(all(&mut lanes), [1, 2]);
        lanes.push("s1", RunNo(5));
        lanes.remove(RunNo(1));
        assert_eq!(all(&mut lanes), [3], "who waited longest goes first");
        lanes.remove(RunNo(2));
        assert_eq!(all(&mut lanes), [4]);
        lanes.remove(RunNo(3));
        assert_eq!(all(&mut lanes), [5]);
    }

    #[test]
    fn a_held_lane_waits_and_the_others_go_on() {
        let mut lanes = Lanes::new(8);
        lanes.hold("a");
        lanes.hold("a");
        for (key, no) in [("a", 1), ("b", 2), ("a", 3)] {
            lanes.push(key, RunNo(no));
        }
        assert_eq!(all(&mut lanes), [2]);
        assert!(!lanes.let_go("a") && lanes.is_held("a"));
        assert!(all(&mut lanes).is_empty());
        assert!(lanes.let_go("a") && lanes.held.is_empty());
        assert_eq!(all(&mut lanes), [1]);
    }

    #[test]
    fn a_waiting_run_can_be_taken_out() {
        let mut lanes = Lanes::new(1);
        for (key, no) in [("a", 1), ("a", 2), ("b", 3), ("b", 4)] {
            lanes.push(key, RunNo(no));
        }
        assert_eq!(all(&mut lanes), [1]);
        lanes.remove(RunNo(3));
        lanes.remove(RunNo(2));
        lanes.remove(RunNo(1));
        assert_eq!(all(&mut lanes), [4]);
        lanes.remove(RunNo(4));
        assert!(lanes.lanes.is_empty() && lanes.lane_of.is_empty() && lanes.heads.is_empty());
    }
}
