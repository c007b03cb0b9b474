//! One row per event that is really sent, sorted by name.
//! Owns names, guards and payload shapes (`spec/protocol.md` section 9); knows nobody who sends.

use std::sync::LazyLock;

use super::defs::{HEALTH, HEARTBEAT, PENDING_DEVICE, PENDING_NODE, PRESENCE_ENTRY, closed};
use super::defs_agent::{
    AGENT_EVENT, CHAT_EVENT, EXEC_APPROVAL, SESSION_MESSAGE_EVENT, SESSION_OPERATION_EVENT, SESSIONS_CHANGED_EVENT,
};
use super::defs_cron::CRON_EVENT;
use super::kinds::{COUNT, Field, Kind, NULLABLE_TEXT, TEXT, TEXTS, list, opt, req};
use super::pack;
use super::table::{Event, Scope};

const REQUEST_ID: Field = req("requestId", TEXT).doc("The pairing request.");
const DECISION: Field = req("decision", TEXT).doc("`approved` or `rejected`.");
const TS: Field = req("ts", COUNT).doc("When.");

/// A row that everybody receives.
const fn row(name: &'static str, payload: &'static Kind, doc: &'static str) -> Event {
    Event {
        name,
        since: 3,
        guard_v3: Scope::None,
        guard_v4: Scope::None,
        drop_if_slow: false,
        versioned: false,
        payload,
        doc,
    }
}

/// A row for operators who may pair.
const fn pairing(name: &'static str, payload: &'static Kind, doc: &'static str) -> Event {
    Event { guard_v3: Scope::Pairing, guard_v4: Scope::Pairing, drop_if_slow: true, ..row(name, payload, doc) }
}

/// A row for operators who may approve commands.
const fn approving(name: &'static str, payload: &'static Kind, doc: &'static str) -> Event {
    Event { guard_v3: Scope::Approvals, guard_v4: Scope::Approvals, drop_if_slow: true, ..row(name, payload, doc) }
}

/// A row for operators who may read; protocol 3 guards nothing.
const fn reading(name: &'static str, since: u8, payload: &'static Kind, doc: &'static str) -> Event {
    Event { since, guard_v4: Scope::Read, ..row(name, payload, doc) }
}

/// Every event, sorted by name.
pub static EVENTS: LazyLock<&'static [Event]> = LazyLock::new(|| pack::TABLE.1);

/// The same as the compiler reads it; it stands in the program as `pack` writes it.
pub(super) const TABLE: &[Event] = &[
    reading("agent", 3, &Kind::Ref(&AGENT_EVENT), "What a run does; tool calls go to the one who started it."),
    reading("chat", 3, &Kind::Ref(&CHAT_EVENT), "What a chat window shows of a run; slow clients miss deltas only."),
    row(
        "connect.challenge",
        &closed![
            req("nonce", TEXT).doc("To be signed by the device."),
            req("ts", COUNT).doc("The gateway's clock; protocol 4 clients sign it."),
            opt("capabilities", TEXTS).doc("Optional features (protocol 4)."),
        ],
        "The first frame of every connection.",
    ),
    Event {
        drop_if_slow: true,
        ..reading("cron", 3, &CRON_EVENT, "A scheduled job was changed, started or finished.")
    },
    pairing("device.pair.requested", &Kind::Ref(&PENDING_DEVICE), "A device asks to be paired."),
    pairing(
        "device.pair.resolved",
        &closed![REQUEST_ID, req("deviceId", TEXT).doc("The device."), DECISION, TS],
        "A device's request was answered.",
    ),
    approving("exec.approval.requested", &Kind::Ref(&EXEC_APPROVAL), "A command waits for a person."),
    approving(
        "exec.approval.resolved",
        &closed![
            req("id", TEXT).doc("The approval."),
            DECISION.doc("`allow-once`, `allow-always` or `deny`."),
            req("resolvedBy", NULLABLE_TEXT).doc("Which client decided."),
            TS,
        ],
        "A command was decided about.",
    ),
    Event { versioned: true, ..row("health", &Kind::Ref(&HEALTH), "The health snapshot was refreshed.") },
    Event { drop_if_slow: true, ..row("heartbeat", &Kind::Ref(&HEARTBEAT), "A heartbeat has ended, or was skipped.") },
    pairing("node.pair.requested", &Kind::Ref(&PENDING_NODE), "A node asks to be paired."),
    pairing(
        "node.pair.resolved",
        &closed![REQUEST_ID, req("nodeId", TEXT).doc("The node."), DECISION, TS],
        "A node's request was answered.",
    ),
    Event {
        guard_v4: Scope::Read,
        drop_if_slow: true,
        versioned: true,
        ..row(
            "presence",
            &closed![req("presence", list(&Kind::Ref(&PRESENCE_ENTRY))).doc("The whole list, not a difference.")],
            "The presence list changed.",
        )
    },
    reading(
        "session.message",
        4,
        &Kind::Ref(&SESSION_MESSAGE_EVENT),
        "A message was added, for those who follow the session.",
    ),
    reading(
        "session.operation",
        4,
        &Kind::Ref(&SESSION_OPERATION_EVENT),
        "A session is being compacted, for those who follow it.",
    ),
    reading("session.tool", 4, &Kind::Ref(&AGENT_EVENT), "A tool call, for those who follow the session."),
    Event {
        drop_if_slow: true,
        ..reading("sessions.changed", 4, &Kind::Ref(&SESSIONS_CHANGED_EVENT), "A session changed, for subscribers.")
    },
    row(
        "shutdown",
        &closed![
            req("reason", TEXT).doc("Why."),
            opt("restartExpectedMs", COUNT).doc("When it will be back; absent when it will not or nobody knows."),
        ],
        "The gateway is about to close all connections.",
    ),
    Event {
        drop_if_slow: true,
        ..row("tick", &closed![TS], "Sign of life; twice its interval without one means a dead connection.")
    },
];

/// The row of an event.
pub fn find(name: &str) -> Option<&'static Event> {
    EVENTS.binary_search_by(|row| row.name.cmp(name)).ok().and_then(|at| EVENTS.get(at))
}

/// The names that `hello-ok.features.events` lists for a protocol version.
pub fn names(protocol: u8) -> Vec<&'static str> {
    EVENTS.iter().filter(|row| row.since <= protocol).map(|row| row.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(EVENTS.is_sorted_by(|one, next| one.name < next.name));
        for row in *EVENTS {
            assert_eq!(find(row.name).map(|found| found.name), Some(row.name));
            assert!(!row.doc.is_empty());
        }
        assert!(find("nothing").is_none());
        assert!(!names(3).contains(&"session.message") && names(4).contains(&"session.message"));
    }

    #[test]
    fn only_presence_and_health_carry_state_versions() {
        let versioned: Vec<_> = EVENTS.iter().filter(|row| row.versioned).map(|row| row.name).collect();
        assert_eq!(versioned, ["health", "presence"]);
    }

    #[test]
    fn presence_needs_a_scope_on_protocol_4_only() {
        let presence = find("presence").unwrap();
        assert_eq!((presence.guard(3), presence.guard(4)), (Scope::None, Scope::Read));
    }

    #[test]
    fn health_and_shutdown_are_never_dropped() {
        assert!(!find("health").unwrap().drop_if_slow);
        assert!(!find("shutdown").unwrap().drop_if_slow);
        assert!(find("tick").unwrap().drop_if_slow);
    }
}
