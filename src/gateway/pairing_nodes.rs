//! The book of `node.pair.*`: the older, separate store of paired nodes with a token each
//! (`spec/protocol.md` section 12.4). Pure: ids and tokens come in, changed files go out as [`Change`].

use serde_json::Value;

use super::auth::same_secret;
use super::field;
use super::pairing::{Change, PairFault, Verdict, Write};
use crate::limits;
use crate::store::nodes::{Extra, NodeFacts, PairedNode, PendingNode, Records, print, record};
use crate::sys::order;
use crate::sys::table::Table;

/// Commands that an approver needs admin rights for: they run programs or drive a browser.
const ADMIN_COMMANDS: &[&str] =
    &["system.run", "system.which", "system.execApprovals.get", "system.execApprovals.set", "browser.proxy"];

/// The parameters of `node.pair.request`.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRequest {
    /// Node id.
    pub node_id: String,
    /// What the node says about itself.
    pub facts: NodeFacts,
    /// Asked not to disturb the operator.
    pub silent: Option<bool>,
}

/// Paired and pending nodes.
#[derive(Debug, Clone, Default)]
pub struct NodeBook {
    paired: Table<String, PairedNode>,
    pending: Table<String, PendingNode>,
}

impl NodeRequest {
    /// Reads checked parameters; a blank `nodeId` or a field of another type is `None`.
    pub fn from_params(params: &Value) -> Option<NodeRequest> {
        let node_id = field::text(params.get("nodeId")?.as_str()?)?;
        let facts: NodeFacts = record(params.clone()).ok()?;
        let silent = params.get("silent").and_then(Value::as_bool);
        Some(NodeRequest { node_id, facts: bounded(facts), silent })
    }
}

impl NodeBook {
    /// A book from its files; pending requests that are too old are dropped.
    pub fn load(paired: Records<PairedNode>, pending: Records<PendingNode>, now_ms: u64) -> NodeBook {
        let mut book = NodeBook { paired: paired.entries, pending: pending.entries };
        for (key, node) in book.paired.iter_mut() {
            node.node_id.clone_from(key);
        }
        for (key, request) in book.pending.iter_mut() {
            request.request_id.clone_from(key);
        }
        book.expire(now_ms);
        book
    }

    /// The text of `paired.json`.
    pub fn paired_text(&self) -> String {
        print(&self.paired)
    }

    /// The text of `pending.json`.
    pub fn pending_text(&self) -> String {
        print(&self.pending)
    }

    /// A paired node.
    pub fn node(&self, node_id: &str) -> Option<&PairedNode> {
        self.paired.get(node_id)
    }

    /// A pending request.
    pub fn pending(&self, request_id: &str) -> Option<&PendingNode> {
        self.pending.get(request_id)
    }

    /// Files a request, or finds the one this node already has; answers it and whether it is new. A request that
    /// offers other commands replaces the pending one under a new id: nobody approves more than was shown.
    pub fn request(&mut self, asked: NodeRequest, request_id: String, now_ms: u64) -> (PendingNode, bool, Change) {
        let expired = self.expire(now_ms);
        if let Some(old) = self.pending.values().find(|pending| pending.node_id == asked.node_id) {
            if offers_no_more(&asked.facts, &old.facts) {
                return (old.clone(), false, expired);
            }
            let old = old.request_id.clone();
            self.pending.remove(&old);
        }
        self.make_room();
        let is_repair = self.paired.contains_key(&asked.node_id);
        let NodeRequest { node_id, facts, silent } = asked;
        let request =
            PendingNode { request_id, node_id, facts, silent, is_repair, ts: now_ms, extra: Extra::default() };
        self.pending.insert(request.request_id.clone(), request.clone());
        (request, true, Change::PENDING)
    }

    fn make_room(&mut self) {
        while self.pending.len() >= limits::PAIRING_PENDING {
            let oldest = self.pending.values().min_by_key(|request| request.ts).map(|r| r.request_id.clone());
            let Some(oldest) = oldest else { return };
            self.pending.remove(&oldest);
        }
    }

    /// Approves a request; the node always gets a fresh token.
    pub fn approve(&mut self, request_id: &str, token: String, now_ms: u64) -> Result<(PairedNode, Change), PairFault> {
        self.expire(now_ms);
        let request = self.pending.get(request_id).ok_or(PairFault::UnknownRequest)?;
        let known = self.paired.get(&request.node_id);
        if known.is_none() && self.paired.len() >= limits::PAIRED {
            return Err(PairFault::Full(limits::PAIRED));
        }
        let node = PairedNode {
            node_id: request.node_id.clone(),
            token,
            facts: request.facts.clone(),
            created_at_ms: known.map_or(now_ms, |node| node.created_at_ms),
            approved_at_ms: now_ms,
            extra: known.map(|node| node.extra.clone()).unwrap_or_default(),
        };
        self.paired.insert(node.node_id.clone(), node.clone());
        self.pending.remove(request_id);
        Ok((node, Change::BOTH))
    }

    /// Rejects a request; answers it.
    pub fn reject(&mut self, request_id: &str, now_ms: u64) -> Result<(PendingNode, Change), PairFault> {
        self.expire(now_ms);
        let request = self.pending.remove(request_id).ok_or(PairFault::UnknownRequest)?;
        Ok((request, Change::PENDING))
    }

    /// Forgets a node.
    pub fn remove(&mut self, node_id: &str) -> Result<(PairedNode, Change), PairFault> {
        let node = self.paired.remove(node_id).ok_or(PairFault::UnknownNode)?;
        Ok((node, Change::PAIRED))
    }

    /// Names a node; answers the name kept.
    pub fn rename(&mut self, node_id: &str, name: &str) -> Result<(String, Change), PairFault> {
        let name = field::text(name).ok_or(PairFault::NameRequired)?;
        let node = self.paired.get_mut(node_id).ok_or(PairFault::UnknownNode)?;
        node.facts.display_name = Some(name.clone());
        Ok((name, Change::PAIRED))
    }

    /// The node whose token this is; constant time in the token.
    pub fn verify(&self, node_id: &str, token: &str) -> Option<&PairedNode> {
        self.paired.get(node_id).filter(|node| same_secret(&node.token, token))
    }

    /// Drops requests that are too old.
    pub fn expire(&mut self, now_ms: u64) -> Change {
        let before = self.pending.len();
        self.pending.retain(|_, request| is_current(request, now_ms));
        if self.pending.len() == before { Change::NONE } else { Change { pending: Write::Later, ..Change::NONE } }
    }

    /// The answer of `node.pair.list`: newest first, without tokens.
    pub fn list(&self, now_ms: u64) -> Value {
        let mut pending: Vec<_> = self.pending.values().filter(|request| is_current(request, now_ms)).collect();
        order::by_key(&mut pending, |request| std::cmp::Reverse(request.ts));
        let mut paired: Vec<_> = self.paired.values().collect();
        order::by_key(&mut paired, |node| std::cmp::Reverse(node.approved_at_ms));
        json!({
            "pending": pending.into_iter().map(request_view).collect::<Vec<_>>(),
            "paired": paired.into_iter().map(node_view).collect::<Vec<_>>(),
        })
    }
}

/// A pending request as others may see it; also the payload of `node.pair.requested`.
pub fn request_view(request: &PendingNode) -> Value {
    let mut view = serde_json::to_value(PendingNode { extra: Extra::default(), ..request.clone() }).unwrap_or_default();
    if let Value::Object(map) = &mut view {
        let commands = request.facts.commands.as_deref().unwrap_or_default();
        map.insert("requiredApproveScopes".into(), required_scopes(commands).into());
    }
    view
}

/// A paired node without its token: what lists and `node.pair.verify` show.
pub fn node_view(node: &PairedNode) -> Value {
    let mut view = approved_view(node);
    if let Value::Object(map) = &mut view {
        map.remove("token");
    }
    view
}

/// A paired node with its token: only for the answer to its approval, where the operator is told it once.
pub fn approved_view(node: &PairedNode) -> Value {
    serde_json::to_value(PairedNode { extra: Extra::default(), ..node.clone() }).unwrap_or_default()
}

/// The payload of `node.pair.resolved`.
pub fn resolved_payload(request_id: &str, node_id: &str, verdict: Verdict, now_ms: u64) -> Value {
    json!({"requestId": request_id, "nodeId": node_id, "decision": verdict.name(), "ts": now_ms})
}

/// The scopes that approving a node with these commands takes on protocol 4 (protocol.md 12.4).
pub fn required_scopes(commands: &[String]) -> Vec<&'static str> {
    let mut scopes = vec!["operator.pairing"];
    if commands.iter().any(|command| ADMIN_COMMANDS.contains(&command.as_str())) {
        scopes.push("operator.admin");
    } else if !commands.is_empty() {
        scopes.push("operator.write");
    }
    scopes
}

fn is_current(request: &PendingNode, now_ms: u64) -> bool {
    let age_ms = u64::try_from(limits::PAIRING_AGE.as_millis()).unwrap_or(u64::MAX);
    now_ms.abs_diff(request.ts) <= age_ms
}

fn offers_no_more(asked: &NodeFacts, old: &NodeFacts) -> bool {
    let within = |new: &Option<Vec<String>>, old: &Option<Vec<String>>| {
        new.iter().flatten().all(|item| old.iter().flatten().any(|other| other == item))
    };
    within(&asked.commands, &old.commands) && within(&asked.caps, &old.caps)
}

/// Every text cut and cleaned, every list bounded.
fn bounded(facts: NodeFacts) -> NodeFacts {
    let text = |raw: Option<String>| field::optional(raw.as_deref());
    let list = |raw: Option<Vec<String>>| raw.map(|items| field::list(items.iter().map(String::as_str)));
    let permissions = facts.permissions.map(|map| {
        let kept = map.into_iter().filter_map(|(name, granted)| Some((field::text(&name)?, granted)));
        kept.take(limits::PRESENCE_LIST_ITEMS).collect()
    });
    NodeFacts {
        display_name: text(facts.display_name),
        platform: text(facts.platform),
        version: text(facts.version),
        core_version: text(facts.core_version),
        ui_version: text(facts.ui_version),
        device_family: text(facts.device_family),
        model_identifier: text(facts.model_identifier),
        caps: list(facts.caps),
        commands: list(facts.commands),
        bins: list(facts.bins),
        permissions,
        remote_ip: text(facts.remote_ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::nodes::parse;

    const NOW: u64 = 1_795_233_714_506;

    fn asked(node_id: &str, commands: &[&str]) -> NodeRequest {
        NodeRequest::from_params(&json!({"nodeId": node_id, "displayName": "Node1", "platform": "linux",
            "caps": ["system"], "commands": commands}))
        .unwrap()
    }

    #[test]
    fn a_request_is_filed_once_per_node() {
        let mut book = NodeBook::default();
        let (request, created, change) = book.request(asked("n1", &["system.run"]), "r1".into(), NOW);
        assert!(created && change == Change::PENDING);
        let view = request_view(&request);
        assert_eq!(
            view,
            json!({"requestId": "r1", "nodeId": "n1", "displayName": "Node1", "platform": "linux", "caps": ["system"],
                "commands": ["system.run"], "isRepair": false, "ts": NOW,
                "requiredApproveScopes": ["operator.pairing", "operator.admin"]})
        );
        let (again, created, _) = book.request(asked("n1", &[]), "r2".into(), NOW + 1);
        assert_eq!((again.request_id.as_str(), created), ("r1", false));
        let (wider, created, _) = book.request(asked("n1", &["system.run", "camera.snap"]), "r3".into(), NOW + 2);
        assert_eq!((wider.request_id.as_str(), created), ("r3", true));
        assert!(book.pending("r1").is_none());
    }

    #[test]
    fn approval_gives_a_fresh_token_each_time() {
        let mut book = NodeBook::default();
        book.request(asked("n1", &[]), "r1".into(), NOW);
        let (first, change) = book.approve("r1", "t1".into(), NOW + 1).unwrap();
        assert_eq!((first.token.as_str(), change), ("t1", Change::BOTH));
        let (repair, _, _) = book.request(asked("n1", &[]), "r2".into(), NOW + 2);
        assert!(repair.is_repair);
        let (second, _) = book.approve("r2", "t2".into(), NOW + 3).unwrap();
        assert_eq!((second.token.as_str(), second.created_at_ms, second.approved_at_ms), ("t2", NOW + 1, NOW + 3));
        assert!(book.verify("n1", "t1").is_none());
        assert!(book.verify("n1", "t2").is_some());
        assert!(book.verify("n2", "t2").is_none() && book.verify("n1", "").is_none());
        assert_eq!(approved_view(&second)["token"], "t2");
        assert_eq!(book.approve("r2", "t".into(), NOW).unwrap_err().wire().message, "unknown requestId");
    }

    #[test]
    fn lists_show_no_tokens_and_forget_old_requests() {
        let mut book = NodeBook::default();
        book.request(asked("n1", &[]), "r1".into(), NOW);
        book.approve("r1", "canary".into(), NOW).unwrap();
        book.request(asked("n2", &[]), "r2".into(), NOW);
        assert!(!book.list(NOW).to_string().contains("canary"));
        assert!(!format!("{book:?}").contains("canary"));
        assert_eq!(book.list(NOW)["pending"][0]["requestId"], "r2");
        assert_eq!(book.list(NOW + 300_001)["pending"], json!([]));
        assert_eq!(book.reject("r2", NOW + 300_001).unwrap_err(), PairFault::UnknownRequest);
    }

    #[test]
    fn names_and_removal() {
        let mut book = NodeBook::default();
        book.request(asked("n1", &[]), "r1".into(), NOW);
        book.approve("r1", "t".into(), NOW).unwrap();
        assert_eq!(book.rename("n1", " Attic ").unwrap().0, "Attic");
        assert_eq!(book.rename("n1", "  ").unwrap_err().to_string(), "displayName required");
        assert_eq!(book.rename("n9", "x").unwrap_err().to_string(), "unknown nodeId");
        assert_eq!(book.remove("n1").unwrap().0.node_id, "n1");
        assert_eq!(book.remove("n1").unwrap_err(), PairFault::UnknownNode);
    }

    #[test]
    fn both_books_are_bounded_and_survive_their_files() {
        let mut book = NodeBook::default();
        for n in 0..limits::PAIRING_PENDING + 2 {
            book.request(asked(&format!("n{n}"), &[]), format!("r{n}"), NOW + n as u64);
        }
        assert_eq!(book.pending.len(), limits::PAIRING_PENDING);
        assert!(book.pending("r0").is_none());
        book.approve("r5", "t".into(), NOW).unwrap();
        let same = NodeBook::load(parse(&book.paired_text()).unwrap(), parse(&book.pending_text()).unwrap(), NOW);
        assert_eq!((same.paired_text(), same.pending_text()), (book.paired_text(), book.pending_text()));
    }

    #[test]
    fn approving_takes_the_scopes_of_the_commands() {
        let of = |commands: &[&str]| required_scopes(&commands.iter().map(|c| c.to_string()).collect::<Vec<_>>());
        assert_eq!(of(&[]), ["operator.pairing"]);
        assert_eq!(of(&["canvas.present"]), ["operator.pairing", "operator.write"]);
        assert_eq!(of(&["canvas.present", "system.run"]), ["operator.pairing", "operator.admin"]);
    }

    #[test]
    fn parameters_are_bounded() {
        let long = "x".repeat(9000);
        let request = NodeRequest::from_params(&json!({"nodeId": long, "displayName": long})).unwrap();
        assert_eq!(request.node_id.len(), limits::PRESENCE_TEXT_CHARS);
        assert_eq!(request.facts.display_name.unwrap().len(), limits::PRESENCE_TEXT_CHARS);
        assert!(NodeRequest::from_params(&json!({"nodeId": " "})).is_none());
        assert!(NodeRequest::from_params(&json!({"nodeId": "n", "caps": "x"})).is_none());
    }
}
