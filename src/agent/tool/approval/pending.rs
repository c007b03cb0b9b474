//! Approvals that wait for an operator: `exec.approval.request`, `.resolve`, `.list`, `.get`, `.waitDecision`
//! (protocol.md 8.1, 8.4). Pure: ids and clock come in, payloads and waiters go out. `W` is whatever the owner needs to
//! answer somebody who waits; each waiter is handed back exactly once.

use std::time::Duration;

use serde_json::Value;

use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::clock::Now;
use crate::sys::order;
use crate::sys::table::Table;

/// An operator's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This once.
    AllowOnce,
    /// Now and from now on.
    AllowAlways,
    /// Not at all.
    Deny,
}

impl Decision {
    /// The wire's word.
    pub fn name(self) -> &'static str {
        match self {
            Decision::AllowOnce => "allow-once",
            Decision::AllowAlways => "allow-always",
            Decision::Deny => "deny",
        }
    }

    /// Reads the wire's word.
    pub fn parse(text: &str) -> Result<Decision, WireError> {
        let all = [Decision::AllowOnce, Decision::AllowAlways, Decision::Deny];
        all.into_iter().find(|decision| decision.name() == text).ok_or_else(|| WireError::invalid("invalid decision"))
    }
}

/// What is to be approved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The command line.
    pub command: String,
    /// Where it would run.
    pub cwd: Option<String>,
    /// On which host.
    pub host: Option<String>,
    /// The policy's security.
    pub security: Option<String>,
    /// The policy's ask mode.
    pub ask: Option<String>,
    /// The agent.
    pub agent_id: Option<String>,
    /// The program it resolves to.
    pub resolved_path: Option<String>,
    /// The session.
    pub session_key: Option<String>,
}

impl Request {
    /// Reads checked parameters of `exec.approval.request`; texts are bounded.
    pub fn from_params(params: &Value) -> Request {
        let text = |name: &str| {
            let found = params.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
            found.map(|text| text.chars().take(limits::APPROVAL_TEXT_CHARS).collect::<String>())
        };
        Request {
            command: text("command").unwrap_or_default(),
            cwd: text("cwd"),
            host: text("host"),
            security: text("security"),
            ask: text("ask"),
            agent_id: text("agentId"),
            resolved_path: text("resolvedPath"),
            session_key: text("sessionKey"),
        }
    }

    /// As events show it; absent members are `null`, as the original sends them.
    pub fn to_value(&self) -> Value {
        json!({
            "command": self.command, "cwd": self.cwd, "host": self.host, "security": self.security, "ask": self.ask,
            "agentId": self.agent_id, "resolvedPath": self.resolved_path, "sessionKey": self.session_key,
        })
    }
}

/// A decision or its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    decision: Option<Decision>,
    at: Duration,
}

#[derive(Debug)]
struct Entry<W> {
    request: Request,
    created_at_ms: u64,
    expires_at_ms: u64,
    /// The same on the monotonic clock, which decides.
    expires: Duration,
    waiters: Vec<W>,
    verdict: Option<Verdict>,
}

/// An approval that ended: who waited for it and what all are told.
#[derive(Debug, PartialEq)]
pub struct Settled<W> {
    /// Its id.
    pub id: String,
    /// What was asked.
    pub request: Request,
    /// The decision; `None` when it expired.
    pub decision: Option<Decision>,
    /// The answer for everybody who waits.
    pub answer: Value,
    /// Who waits.
    pub waiters: Vec<W>,
    /// Payload of `exec.approval.resolved`; none when it expired.
    pub event: Option<Value>,
}

/// What a wait came to.
#[derive(Debug, PartialEq)]
pub enum Wait<W> {
    /// Decided or expired before; answer this at once to the waiter handed back.
    Ended(W, Value),
    /// It will come with [`Settled`].
    Pending,
}

/// All approvals that wait, and for a short time those that were decided.
#[derive(Debug)]
pub struct Approvals<W> {
    entries: Table<String, Entry<W>>,
}

impl<W> Default for Approvals<W> {
    fn default() -> Approvals<W> {
        Approvals { entries: Table::new() }
    }
}

impl<W> Approvals<W> {
    /// Files a request; answers the payload of `exec.approval.requested`. The waiter is told when it ends.
    pub fn request(
        &mut self,
        request: Request,
        id: String,
        timeout_ms: Option<u64>,
        waiter: Option<W>,
        now: Now,
    ) -> Result<Value, WireError> {
        if request.command.trim().is_empty() {
            return Err(WireError::invalid("invalid exec.approval.request params: command required"));
        }
        if !is_id(&id) {
            return Err(WireError::invalid("invalid exec.approval.request params: invalid id"));
        }
        if self.entries.get(&id).is_some_and(|entry| entry.verdict.is_none()) {
            return Err(WireError::invalid("approval id already pending"));
        }
        if self.pending().count() >= limits::APPROVALS_PENDING {
            return Err(WireError::unavailable(format!("too many pending approvals ({})", limits::APPROVALS_PENDING)));
        }
        let timeout = timeout_ms.map_or(limits::APPROVAL_WAIT, Duration::from_millis);
        let timeout = timeout.clamp(Duration::from_millis(1), limits::APPROVAL_WAIT_MAX);
        let (expires, expires_at_ms) = (now.mono + timeout, now.wall_ms.saturating_add(millis(timeout)));
        let waiters = waiter.into_iter().collect();
        let entry = Entry { request, created_at_ms: now.wall_ms, expires_at_ms, expires, waiters, verdict: None };
        let payload = view(&id, &entry);
        self.entries.insert(id, entry);
        Ok(payload)
    }

    /// Decides; unknown, expired and decided ones are refused alike.
    pub fn resolve(
        &mut self,
        id: &str,
        decision: Decision,
        by: Option<&str>,
        now: Now,
    ) -> Result<Settled<W>, WireError> {
        let current = |entry: &&mut Entry<W>| entry.verdict.is_none() && now.mono < entry.expires;
        let entry = self.entries.get_mut(id).filter(current).ok_or_else(|| unknown("unknown approval id"))?;
        let event = json!({"id": id, "decision": decision.name(), "resolvedBy": by, "ts": now.wall_ms});
        Ok(settle(id, entry, Some(decision), Some(event), now))
    }

    /// Ends what has expired and forgets what was decided long ago.
    pub fn expire(&mut self, now: Now) -> Vec<Settled<W>> {
        let keep = limits::APPROVAL_MEMORY;
        self.entries
            .retain(|_, entry| entry.verdict.as_ref().is_none_or(|verdict| now.mono.saturating_sub(verdict.at) < keep));
        let due = |entry: &Entry<W>| entry.verdict.is_none() && now.mono >= entry.expires;
        let entries = self.entries.iter_mut().filter(|(_, entry)| due(entry));
        entries.map(|(id, entry)| settle(id, entry, None, None, now)).collect()
    }

    /// When [`Approvals::expire`] has something to do next, on the monotonic clock.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.pending().map(|(_, entry)| entry.expires).min()
    }

    /// `exec.approval.waitDecision`.
    pub fn wait(&mut self, id: &str, waiter: W) -> Result<Wait<W>, WireError> {
        let entry = self.entries.get_mut(id).ok_or_else(|| unknown("approval expired or not found"))?;
        if let Some(verdict) = &entry.verdict {
            let answer = answer(id, entry, verdict.decision);
            return Ok(Wait::Ended(waiter, answer));
        }
        if entry.waiters.len() >= limits::APPROVAL_WAITERS {
            return Err(WireError::unavailable("too many callers wait for this approval"));
        }
        entry.waiters.push(waiter);
        Ok(Wait::Pending)
    }

    /// Forgets waiters that went away.
    pub fn drop_waiters(&mut self, gone: impl Fn(&W) -> bool) {
        for entry in self.entries.values_mut() {
            entry.waiters.retain(|waiter| !gone(waiter));
        }
    }

    /// `exec.approval.list`: pending ones, oldest first.
    pub fn list(&self) -> Value {
        let mut pending: Vec<_> = self.pending().collect();
        order::by_key(&mut pending, |(_, entry)| entry.created_at_ms);
        Value::Array(pending.into_iter().map(|(id, entry)| view(id, entry)).collect())
    }

    /// `exec.approval.get`: a pending one.
    pub fn get(&self, id: &str) -> Result<Value, WireError> {
        let entry = self.entries.get(id).filter(|entry| entry.verdict.is_none());
        entry.map(|entry| view(id, entry)).ok_or_else(|| unknown("unknown or expired approval id"))
    }

    /// The id of the only pending approval that begins like this: what a person types after `/approve`.
    pub fn find(&self, prefix: &str) -> Option<&str> {
        let mut found = self.pending().filter(|(id, _)| !prefix.is_empty() && id.starts_with(prefix));
        let (first, second) = (found.next(), found.next());
        first.filter(|_| second.is_none()).map(|(id, _)| id)
    }

    fn pending(&self) -> impl Iterator<Item = (&str, &Entry<W>)> {
        let open = self.entries.iter().filter(|(_, entry)| entry.verdict.is_none());
        open.map(|(id, entry)| (id.as_str(), entry))
    }
}

fn settle<W>(id: &str, entry: &mut Entry<W>, decision: Option<Decision>, event: Option<Value>, now: Now) -> Settled<W> {
    entry.verdict = Some(Verdict { decision, at: now.mono });
    let answer = answer(id, entry, decision);
    let waiters = std::mem::take(&mut entry.waiters);
    Settled { id: id.to_string(), request: entry.request.clone(), decision, answer, waiters, event }
}

fn answer<W>(id: &str, entry: &Entry<W>, decision: Option<Decision>) -> Value {
    let decision = decision.map(Decision::name);
    json!({"id": id, "decision": decision, "createdAtMs": entry.created_at_ms, "expiresAtMs": entry.expires_at_ms})
}

fn view<W>(id: &str, entry: &Entry<W>) -> Value {
    json!({
        "id": id, "request": entry.request.to_value(),
        "createdAtMs": entry.created_at_ms, "expiresAtMs": entry.expires_at_ms,
    })
}

fn unknown(text: &str) -> WireError {
    WireError::invalid(text).with_details(json!({"reason": "APPROVAL_NOT_FOUND"}))
}

/// Ids are typed by people and stand in events: plain characters only.
fn is_id(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    (1..=limits::APPROVAL_ID_CHARS).contains(&id.len()) && id.chars().all(plain) && id != "." && id != ".."
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(command: &str) -> Request {
        Request::from_params(&json!({"command": command, "cwd": " ", "agentId": "main"}))
    }

    fn at(ms: u64) -> Now {
        Now { mono: Duration::from_millis(ms), wall_ms: ms }
    }

    fn open(approvals: &mut Approvals<u8>, id: &str, ms: u64) -> Result<Value, WireError> {
        approvals.request(ask("ls"), id.into(), None, Some(1), at(ms))
    }

    #[test]
    fn ids_are_plain_and_short() {
        let longest = "a".repeat(limits::APPROVAL_ID_CHARS);
        assert!(is_id(&longest) && is_id("a.b_c:d-1"));
        assert!([longest + "a", String::new(), "a/b".into(), "..".into()].iter().all(|id| !is_id(id)));
    }

    #[test]
    fn a_decision_reaches_everybody_who_waits_once() {
        let mut approvals = Approvals::default();
        let event = open(&mut approvals, "a", 1000).unwrap();
        assert_eq!(event["request"]["command"], "ls");
        assert_eq!(event["request"]["cwd"], Value::Null);
        assert_eq!((&event["createdAtMs"], &event["expiresAtMs"]), (&json!(1000), &json!(121_000)));
        assert_eq!(approvals.wait("a", 2).unwrap(), Wait::Pending);
        let settled = approvals.resolve("a", Decision::AllowOnce, Some("cli"), at(2000)).unwrap();
        assert_eq!(settled.waiters, [1, 2]);
        assert_eq!(settled.answer["decision"], "allow-once");
        let expected = json!({"id": "a", "decision": "allow-once", "resolvedBy": "cli", "ts": 2000});
        assert_eq!(settled.event, Some(expected));
        assert_eq!(approvals.resolve("a", Decision::Deny, None, at(2001)).unwrap_err().message, "unknown approval id");
        let Wait::Ended(3, late) = approvals.wait("a", 3).unwrap() else { panic!("decided") };
        assert_eq!(late, settled.answer);
    }

    #[test]
    fn what_nobody_decides_expires_without_a_decision() {
        let mut approvals = Approvals::default();
        approvals.request(ask("ls"), "a".into(), Some(50), Some(1), at(0)).unwrap();
        assert_eq!((approvals.next_expiry(), approvals.expire(at(49)).len()), (Some(at(50).mono), 0));
        assert!(approvals.resolve("a", Decision::AllowOnce, None, at(50)).is_err(), "too late by nothing at all");
        let clock_set = Now { wall_ms: u64::MAX, ..at(49) };
        assert!(approvals.expire(clock_set).is_empty(), "somebody set the clock");
        let expired = approvals.expire(at(50));
        assert_eq!((expired[0].decision, &expired[0].answer["decision"]), (None, &Value::Null));
        assert_eq!((&expired[0].waiters, &expired[0].event), (&vec![1], &None));
        assert_eq!(approvals.next_expiry(), None);
        approvals.expire(at(50 + millis(limits::APPROVAL_MEMORY)));
        assert!(approvals.entries.is_empty());
    }

    #[test]
    fn refusals_have_the_texts_clients_know() {
        let mut approvals = Approvals::default();
        open(&mut approvals, "a", 0).unwrap();
        assert_eq!(open(&mut approvals, "a", 1).unwrap_err().message, "approval id already pending");
        let unknown = approvals.resolve("b", Decision::Deny, None, at(1)).unwrap_err();
        assert_eq!(unknown.details, Some(json!({"reason": "APPROVAL_NOT_FOUND"})));
        assert_eq!(approvals.get("b").unwrap_err().message, "unknown or expired approval id");
        assert_eq!(Decision::parse("maybe").unwrap_err().message, "invalid decision");
        assert!(open(&mut approvals, "../x y", 0).is_err() && open(&mut approvals, "", 0).is_err());
        assert!(approvals.request(ask(" "), "c".into(), None, None, at(0)).is_err());
    }

    #[test]
    fn approvals_and_waiters_are_bounded() {
        let mut approvals = Approvals::default();
        for n in 0..limits::APPROVALS_PENDING {
            open(&mut approvals, &format!("id{n}"), 0).unwrap();
        }
        assert!(open(&mut approvals, "more", 0).is_err());
        for _ in 1..limits::APPROVAL_WAITERS {
            approvals.wait("id0", 0).unwrap();
        }
        assert!(approvals.wait("id0", 0).is_err());
        approvals.drop_waiters(|_| true);
        assert!(approvals.wait("id0", 0).is_ok());
        let long = Request::from_params(&json!({"command": "x".repeat(1 << 20)}));
        assert_eq!(long.command.len(), limits::APPROVAL_TEXT_CHARS);
        let event = Approvals::<u8>::default().request(ask("ls"), "a".into(), Some(u64::MAX), None, at(0)).unwrap();
        assert_eq!(event["expiresAtMs"], millis(limits::APPROVAL_WAIT_MAX));
    }

    #[test]
    fn lists_are_oldest_first_and_prefixes_must_be_unique() {
        let mut approvals = Approvals::default();
        for (id, at) in [("b1", 5), ("a1", 9), ("a2", 1)] {
            open(&mut approvals, id, at).unwrap();
        }
        let ids: Vec<Value> = approvals.list().as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert_eq!(ids, ["a2", "b1", "a1"]);
        assert_eq!((approvals.find("b"), approvals.find("a"), approvals.find("")), (Some("b1"), None, None));
        assert_eq!(approvals.get("b1").unwrap()["id"], "b1");
    }
}
