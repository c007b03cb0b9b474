//! The record of what went wrong since the start (`diagnostics.stability`): a ring of the newest
//! entries and a count per kind. Holds no texts of peers, so nothing secret can get in.

use std::collections::VecDeque;

use serde_json::Value;

use super::event::ConnId;
use crate::limits;
use crate::sys::order;
use crate::sys::table::Table;

/// Kinds of trouble worth remembering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A client that did not read was closed.
    SlowConsumer,
    /// A handshake was refused.
    ConnectRefused,
    /// A client sent something that is no message.
    BadInput,
    /// A connection did not finish its handshake in time.
    HandshakeTimeout,
    /// A client did not answer a ping.
    PingTimeout,
    /// A handler had a bug.
    Panic,
    /// A file could not be written.
    WriteFailed,
}

impl Trouble {
    /// Every kind.
    pub const ALL: [Trouble; 7] = [
        Trouble::SlowConsumer,
        Trouble::ConnectRefused,
        Trouble::BadInput,
        Trouble::HandshakeTimeout,
        Trouble::PingTimeout,
        Trouble::Panic,
        Trouble::WriteFailed,
    ];

    /// The entry's `type`.
    pub fn name(self) -> &'static str {
        match self {
            Trouble::SlowConsumer => "ws.slow_consumer",
            Trouble::ConnectRefused => "ws.connect_refused",
            Trouble::BadInput => "ws.bad_input",
            Trouble::HandshakeTimeout => "ws.handshake_timeout",
            Trouble::PingTimeout => "ws.ping_timeout",
            Trouble::Panic => "gateway.handler_panic",
            Trouble::WriteFailed => "store.write_failed",
        }
    }
}

struct Entry {
    seq: u64,
    ts: u64,
    what: Trouble,
    conn: Option<ConnId>,
}

/// The record.
#[derive(Default)]
pub struct Record {
    entries: VecDeque<Entry>,
    counts: Table<Trouble, u64>,
    seq: u64,
}

/// Which entries are asked for.
#[derive(Debug, Default)]
pub struct Query<'a> {
    /// At most so many, the newest.
    pub limit: usize,
    /// Only of this type.
    pub kind: Option<&'a str>,
    /// Only with a higher number.
    pub since: u64,
}

impl Record {
    /// Adds an entry; the oldest gives way.
    pub fn add(&mut self, what: Trouble, conn: Option<ConnId>, now_ms: u64) {
        self.seq += 1;
        *self.counts.or_default(what) += 1;
        if self.entries.len() >= limits::TROUBLE_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { seq: self.seq, ts: now_ms, what, conn });
    }

    /// How often something has happened.
    pub fn count(&self, what: Trouble) -> u64 {
        self.counts.get(&what).copied().unwrap_or(0)
    }

    /// The answer of `diagnostics.stability`.
    pub fn answer(&self, query: &Query<'_>, generated_at: String) -> Value {
        let fits = |entry: &&Entry| entry.seq > query.since && query.kind.is_none_or(|kind| kind == entry.what.name());
        let all: Vec<&Entry> = self.entries.iter().filter(fits).collect();
        let shown = all.get(all.len().saturating_sub(query.limit)..).unwrap_or_default();
        let by_type = order::object(self.counts.iter().map(|(what, count)| (what.name().to_string(), (*count).into())));
        let mut answer = json!({
            "generatedAt": generated_at,
            "capacity": limits::TROUBLE_ENTRIES,
            "count": all.len(),
            "dropped": self.seq - self.entries.len() as u64,
            "events": shown.iter().map(|entry| entry.to_wire()).collect::<Vec<_>>(),
            "summary": {"byType": by_type},
        });
        if let (Some(first), Some(last), Some(map)) = (shown.first(), shown.last(), answer.as_object_mut()) {
            map.insert("firstSeq".into(), first.seq.into());
            map.insert("lastSeq".into(), last.seq.into());
        }
        answer
    }
}

impl Entry {
    fn to_wire(&self) -> Value {
        let mut row = json!({"seq": self.seq, "ts": self.ts, "type": self.what.name()});
        if let (Some(conn), Some(map)) = (self.conn, row.as_object_mut()) {
            map.insert("conn".into(), conn.0.into());
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Query<'static> {
        Query { limit: 1000, ..Query::default() }
    }

    #[test]
    fn forgets_the_oldest_and_says_so() {
        let mut record = Record::default();
        for n in 0..limits::TROUBLE_ENTRIES as u64 + 5 {
            record.add(Trouble::BadInput, Some(ConnId(n)), n);
        }
        let answer = record.answer(&all(), String::new());
        assert_eq!(answer["dropped"], 5);
        assert_eq!(answer["firstSeq"], 6);
        assert_eq!(answer["summary"]["byType"]["ws.bad_input"], limits::TROUBLE_ENTRIES + 5);
    }

    #[test]
    fn filters_by_type_and_number() {
        let mut record = Record::default();
        record.add(Trouble::BadInput, None, 1);
        record.add(Trouble::Panic, None, 2);
        record.add(Trouble::BadInput, None, 3);
        let query = Query { kind: Some("ws.bad_input"), since: 1, ..all() };
        let answer = record.answer(&query, String::new());
        assert_eq!((answer["count"].clone(), answer["events"][0]["seq"].clone()), (json!(1), json!(3)));
    }
}
