//! What both pairing books share: how urgently a change must reach the disk, and why an operation is refused.
//! Knows neither devices nor nodes.

use std::fmt;

use crate::protocol::errors::WireError;

/// How urgently a file must be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    /// Unchanged.
    #[default]
    None,
    /// Changed in a way that may be lost (last use, names): write at the next occasion.
    Later,
    /// Must be on disk before the change is acknowledged.
    Now,
}

/// What an operation changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// `paired.json`.
    pub paired: Write,
    /// `pending.json`.
    pub pending: Write,
}

impl Change {
    /// Nothing changed.
    pub const NONE: Change = Change { paired: Write::None, pending: Write::None };
    /// The paired file must be written.
    pub const PAIRED: Change = Change { paired: Write::Now, pending: Write::None };
    /// The pending file must be written.
    pub const PENDING: Change = Change { paired: Write::None, pending: Write::Now };
    /// Both must be written.
    pub const BOTH: Change = Change { paired: Write::Now, pending: Write::Now };

    /// The change of two operations together.
    pub fn and(self, other: Change) -> Change {
        Change { paired: self.paired.max(other.paired), pending: self.pending.max(other.pending) }
    }

    /// Whether anything must be on disk before the answer goes out.
    pub fn is_urgent(self) -> bool {
        self.paired == Write::Now || self.pending == Write::Now
    }
}

/// Why an operation on a pairing book is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairFault {
    /// No such pending request, or it has expired.
    UnknownRequest,
    /// No such device.
    UnknownDevice,
    /// No such device, or it has no such role.
    UnknownRole,
    /// The scopes asked for were never approved for the device.
    RotationDenied,
    /// No such node.
    UnknownNode,
    /// A blank name.
    NameRequired,
    /// The book is full; its bound.
    Full(usize),
}

impl fmt::Display for PairFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PairFault::UnknownRequest => f.write_str("unknown requestId"),
            PairFault::UnknownDevice => f.write_str("unknown deviceId"),
            PairFault::UnknownRole => f.write_str("unknown deviceId/role"),
            PairFault::RotationDenied => f.write_str("device token rotation denied"),
            PairFault::UnknownNode => f.write_str("unknown nodeId"),
            PairFault::NameRequired => f.write_str("displayName required"),
            PairFault::Full(bound) => write!(f, "pairing store is full ({bound} entries); remove one first"),
        }
    }
}

impl std::error::Error for PairFault {}

impl PairFault {
    /// The refusal as the peer sees it.
    pub fn wire(self) -> WireError {
        WireError::invalid(self.to_string())
    }
}

/// An operator's verdict on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Approved.
    Approved,
    /// Rejected.
    Rejected,
}

impl Verdict {
    /// Its wire name.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Approved => "approved",
            Verdict::Rejected => "rejected",
        }
    }
}

/// Whether `granted` covers `wanted`. Protocol 3 compares names; protocol 4 knows that admin implies every
/// operator scope and write implies read (protocol.md 3.5).
pub fn covers(protocol: u8, granted: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|scope| grants(protocol, granted, scope))
}

fn grants(protocol: u8, granted: &[String], scope: &str) -> bool {
    let has = |name: &str| granted.iter().any(|held| held == name);
    let implied = protocol >= 4
        && ((scope.starts_with("operator.") && has("operator.admin"))
            || (scope == "operator.read" && has("operator.write")));
    has(scope) || implied
}

/// The scopes a connection asks for in effect: on protocol 3 an operator that names none means admin, on protocol 4
/// none (protocol.md 2.1).
pub fn effective_scopes(protocol: u8, role: &str, requested: Option<&[String]>) -> Vec<String> {
    match requested {
        Some(scopes) if !scopes.is_empty() => scopes.to_vec(),
        _ if protocol < 4 && role == "operator" => vec!["operator.admin".to_string()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_without_scopes_is_admin_on_3_and_nothing_on_4() {
        let read = ["operator.read".to_string()];
        for (protocol, role, requested, expected) in [
            (3, "operator", None, &["operator.admin"][..]),
            (3, "operator", Some(&[][..]), &["operator.admin"]),
            (3, "operator", Some(&read[..]), &["operator.read"]),
            (3, "node", None, &[]),
            (4, "operator", None, &[]),
            (4, "operator", Some(&read[..]), &["operator.read"]),
        ] {
            assert_eq!(effective_scopes(protocol, role, requested), expected, "{protocol} {role} {requested:?}");
        }
    }

    #[test]
    fn scopes_are_compared_per_protocol() {
        let list = |names: &[&str]| names.iter().map(|name| format!("operator.{name}")).collect::<Vec<_>>();
        for (protocol, granted, wanted, expected) in [
            (3, &["admin"][..], &["admin"][..], true),
            (3, &["admin"], &["read"], false),
            (3, &["write"], &["read"], false),
            (3, &[], &[], true),
            (4, &["admin"], &["read", "pairing", "talk.secrets"], true),
            (4, &["write"], &["read"], true),
            (4, &["read"], &["write"], false),
            (4, &["read"], &["admin"], false),
            (4, &["pairing"], &["read"], false),
        ] {
            assert_eq!(covers(protocol, &list(granted), &list(wanted)), expected, "{protocol} {granted:?} {wanted:?}");
        }
        assert!(!covers(4, &list(&["admin"]), &["root".to_string()]));
    }

    #[test]
    fn changes_add_up_to_the_more_urgent() {
        let later = Change { paired: Write::Later, pending: Write::None };
        assert!(!later.is_urgent());
        assert_eq!(later.and(Change::PENDING), Change { paired: Write::Later, pending: Write::Now });
        assert_eq!(later.and(Change::PAIRED).and(Change::NONE), Change::PAIRED);
    }
}
