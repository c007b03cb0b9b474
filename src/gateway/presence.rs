//! Who is there: the gateway itself, live clients and recent beacons (`spec/protocol.md` section 10,
//! decisions.md 10). Pure: the clock comes in; knows nothing of sockets or of who is told.
//!
//! Nobody can pose as someone else here. The gateway's own entry stands outside the keyed ones. What a live entry
//! says about identity (host, address, version, platform, device, roles, scopes) comes from its own connection
//! only: a beacon of another connection for the same key may change no more than its text, reason, tags and last
//! input. A client without a proven device never shares the entry of a live one that has one.

use serde::Serialize;

use super::beacon::{Beacon, Facts};
use super::field;
use crate::limits;
use crate::sys::table::Table;

/// What the gateway says about itself.
#[derive(Debug, Clone, Default)]
pub struct OwnFacts {
    /// Host name.
    pub host: String,
    /// First address that is not internal, or the host name.
    pub ip: String,
    /// Version of the gateway.
    pub version: String,
    /// E.g. `linux 6.8.0`.
    pub platform: String,
    /// `Linux`, `Mac` or `Windows`.
    pub device_family: String,
    /// Processor architecture or hardware model.
    pub model_identifier: String,
}

/// A client that has just connected.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer<'a> {
    /// Negotiated protocol.
    pub protocol: u8,
    /// Connection id.
    pub conn_id: &'a str,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub mode: &'a str,
    /// `client.displayName`.
    pub display_name: Option<&'a str>,
    /// `client.version`.
    pub version: &'a str,
    /// `client.platform`.
    pub platform: &'a str,
    /// `client.deviceFamily`.
    pub device_family: Option<&'a str>,
    /// `client.modelIdentifier`.
    pub model_identifier: Option<&'a str>,
    /// `client.instanceId`.
    pub instance_id: Option<&'a str>,
    /// Proven device id.
    pub device_id: Option<&'a str>,
    /// Effective role.
    pub role: &'a str,
    /// Effective scopes.
    pub scopes: &'a [String],
    /// Address of a client that is not local.
    pub ip: Option<&'a str>,
}

/// The entry of a connection; given back at disconnect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PresenceKey(String);

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_input_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    ts: u64,
}

#[derive(Debug, Default)]
struct Slot {
    entry: Entry,
    /// Breaks ties of `entry.ts`: the later change sorts first.
    seq: u64,
    /// Connections that stand behind the entry; 0 = a beacon or a client that left.
    live: u32,
    /// A protocol 4 probe: leaves no trace.
    fleeting: bool,
    /// The printed entry, made when first listed.
    json: Option<String>,
}

type Order = Table<(u64, u64), String>;

/// The registry.
#[derive(Debug)]
pub struct Presence {
    /// The own entry up to its time.
    own_head: String,
    slots: Table<String, Slot>,
    /// Keys of live entries, oldest first.
    live: Order,
    /// Keys of the others, oldest first; at most `PRESENCE_ENTRIES`.
    gone: Order,
    seq: u64,
    version: u64,
    /// The printed list without the own entry, until something changes.
    tail: Option<String>,
}

impl Presence {
    /// A registry with nobody but the gateway.
    pub fn new(own: &OwnFacts) -> Presence {
        Presence {
            own_head: own_head(own),
            slots: Table::new(),
            live: Order::new(),
            gone: Order::new(),
            seq: 0,
            version: 1,
            tail: None,
        }
    }

    /// `stateVersion.presence`: starts at 1, grows with every tracked connect, disconnect and beacon.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Records a connection. Command lines (`client.mode` `cli`) come and go too often to be listed: `None`.
    pub fn connect(&mut self, newcomer: &Newcomer<'_>, now_ms: u64) -> Option<PresenceKey> {
        if newcomer.mode == "cli" {
            return None;
        }
        let key = self.key_of(newcomer);
        let mut slot = self.take(&key);
        slot.live = slot.live.saturating_add(1);
        slot.fleeting = newcomer.protocol >= 4 && newcomer.mode == "probe";
        introduce(&mut slot.entry, newcomer);
        self.put(key.clone(), slot, now_ms);
        self.version += 1;
        Some(PresenceKey(key))
    }

    /// Records that a connection ended. The entry stays until it is too old; while other connections of the same
    /// client stand behind it, it stays live.
    pub fn disconnect(&mut self, key: &PresenceKey, now_ms: u64) {
        if !self.slots.contains_key(&key.0) {
            return;
        }
        let mut slot = self.take(&key.0);
        slot.live = slot.live.saturating_sub(1);
        self.version += 1;
        if slot.live == 0 {
            if slot.fleeting {
                return;
            }
            slot.entry.reason = Some("disconnect".into());
        }
        self.put(key.0.clone(), slot, now_ms);
    }

    /// Records a `system-event`. `caller` is the entry of the connection that sent it. Answers the line to queue
    /// for the main session, if there is one.
    pub fn beacon(&mut self, beacon: &Beacon, caller: Option<&PresenceKey>, now_ms: u64) -> Option<String> {
        self.expire(now_ms);
        let mut slot = self.take(&beacon.key);
        let before = facts_of(&slot.entry);
        let own = caller.is_some_and(|caller| caller.0 == beacon.key);
        merge_mood(&mut slot.entry, beacon);
        if own || slot.live == 0 {
            merge_facts(&mut slot.entry, beacon);
        }
        if slot.live == 0 {
            merge_identity(&mut slot.entry, beacon);
        }
        let after = facts_of(&slot.entry);
        self.put(beacon.key.clone(), slot, now_ms);
        self.version += 1;
        if beacon.is_node_line() { changed_line(&before, &after) } else { Some(beacon.said.clone()) }
    }

    /// Renews all live entries; called with every tick so that a quiet client does not drop off the list.
    pub fn renew(&mut self, now_ms: u64) {
        for ((_, seq), key) in std::mem::take(&mut self.live) {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.entry.ts = now_ms;
                slot.json = None;
                self.live.insert((now_ms, seq), key);
            }
        }
        self.tail = None;
    }

    /// The list as JSON text: the gateway first, then newest first, without what is too old, at most
    /// `PRESENCE_ENTRIES`. Only what changed since the last call is printed anew.
    pub fn list(&mut self, now_ms: u64) -> String {
        self.expire(now_ms);
        let tail = match self.tail.take() {
            Some(tail) => tail,
            None => self.print_tail(),
        };
        let list = format!("[{}{now_ms}}}{tail}]", self.own_head);
        self.tail = Some(tail);
        list
    }

    /// Forgets entries without a connection that are too old.
    pub fn expire(&mut self, now_ms: u64) {
        let age_ms = u64::try_from(limits::PRESENCE_AGE.as_millis()).unwrap_or(u64::MAX);
        let is_old = |(key, _): (&(u64, u64), &String)| key.0.saturating_add(age_ms) < now_ms;
        // Entries of a time that a corrected clock has taken back would outlive and push out all newer ones.
        if self.gone.keys().next_back().is_some_and(|key| key.0 > now_ms.saturating_add(age_ms)) {
            let slots = &mut self.slots;
            self.gone.retain(|key, name| {
                let stays = key.0 <= now_ms.saturating_add(age_ms);
                if !stays {
                    slots.remove(name);
                }
                stays
            });
            self.tail = None;
        }
        while self.gone.first_key_value().is_some_and(is_old) {
            if let Some((_, oldest)) = self.gone.pop_first() {
                self.slots.remove(&oldest);
                self.tail = None;
            }
        }
    }

    /// Entries besides the gateway's own.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nobody but the gateway is there.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Device id, else instance id, else connection id.
    fn key_of(&self, newcomer: &Newcomer<'_>) -> String {
        let own = newcomer.conn_id.to_lowercase();
        let claimed = field::optional(newcomer.device_id.or(newcomer.instance_id)).map(|key| key.to_lowercase());
        let Some(key) = claimed else { return own };
        let taken = self.slots.get(&key).is_some_and(|slot| slot.live > 0 && slot.entry.device_id.is_some());
        if newcomer.device_id.is_none() && taken { own } else { key }
    }

    /// Takes a slot out of the registry, or a blank one.
    fn take(&mut self, key: &str) -> Slot {
        self.tail = None;
        let Some(slot) = self.slots.remove(key) else { return Slot::default() };
        let order = if slot.live > 0 { &mut self.live } else { &mut self.gone };
        order.remove(&(slot.entry.ts, slot.seq));
        slot
    }

    /// Puts a changed slot back as the newest.
    fn put(&mut self, key: String, mut slot: Slot, now_ms: u64) {
        self.seq += 1;
        slot.seq = self.seq;
        slot.entry.ts = now_ms;
        slot.json = None;
        let order = if slot.live > 0 { &mut self.live } else { &mut self.gone };
        order.insert((now_ms, slot.seq), key.clone());
        self.slots.insert(key, slot);
        while self.gone.len() > limits::PRESENCE_ENTRIES {
            if let Some((_, oldest)) = self.gone.pop_first() {
                self.slots.remove(&oldest);
            }
        }
    }

    /// The newest entries of both orders, each with a comma before it.
    fn print_tail(&mut self) -> String {
        let mut tail = String::new();
        let (mut live, mut gone) = (self.live.iter().rev().peekable(), self.gone.iter().rev().peekable());
        for _ in 1..limits::PRESENCE_ENTRIES {
            let newer_is_live = match (live.peek(), gone.peek()) {
                (Some((live, _)), Some((gone, _))) => live > gone,
                (live, _) => live.is_some(),
            };
            let next = if newer_is_live { live.next() } else { gone.next() };
            let Some(slot) = next.and_then(|(_, key)| self.slots.get_mut(key)) else { break };
            tail.push(',');
            let entry = &slot.entry;
            tail.push_str(slot.json.get_or_insert_with(|| serde_json::to_string(entry).unwrap_or_default()));
        }
        tail
    }
}

/// The own entry's fixed part; its time is always that of the listing, so it sorts first.
fn own_head(own: &OwnFacts) -> String {
    let OwnFacts { host, ip, version, .. } = own;
    let entry = Entry {
        host: field::text(host),
        ip: field::text(ip),
        version: field::text(version),
        platform: field::text(&own.platform),
        device_family: field::text(&own.device_family),
        model_identifier: field::text(&own.model_identifier),
        mode: Some("gateway".into()),
        reason: Some("self".into()),
        text: Some(format!("Gateway: {host} ({ip}) · app {version} · mode gateway · reason self")),
        ..Entry::default()
    };
    let json = serde_json::to_string(&entry).unwrap_or_default();
    // `ts` is the last member, so the text ends with its value and the brace.
    json.strip_suffix("0}").unwrap_or_default().to_string()
}

fn introduce(entry: &mut Entry, newcomer: &Newcomer<'_>) {
    set(&mut entry.host, field::text(newcomer.display_name.unwrap_or(newcomer.client_id)));
    set(&mut entry.ip, field::optional(newcomer.ip));
    set(&mut entry.version, field::text(newcomer.version));
    set(&mut entry.platform, field::text(newcomer.platform));
    set(&mut entry.device_family, field::optional(newcomer.device_family));
    set(&mut entry.model_identifier, field::optional(newcomer.model_identifier));
    set(&mut entry.mode, field::text(newcomer.mode));
    set(&mut entry.device_id, field::optional(newcomer.device_id));
    // Protocol 4 operators are known by their own instance id, everybody else by the device (protocol.md 10).
    let by_instance = newcomer.protocol >= 4 && newcomer.role != "node";
    let (first, second) = if by_instance {
        (newcomer.instance_id, newcomer.device_id)
    } else {
        (newcomer.device_id, newcomer.instance_id)
    };
    set(&mut entry.instance_id, field::optional(first.or(second)));
    field::merge(&mut entry.roles, [newcomer.role]);
    field::merge(&mut entry.scopes, newcomer.scopes.iter().map(String::as_str));
    entry.reason = Some("connect".into());
    if entry.text.is_none() {
        let (host, mode) = (entry.host.as_deref(), entry.mode.as_deref());
        entry.text = Some(format!("Node: {} · mode {}", host.unwrap_or("unknown"), mode.unwrap_or("unknown")));
    }
}

/// What any beacon may change, also in a live entry of somebody else.
fn merge_mood(entry: &mut Entry, beacon: &Beacon) {
    entry.text = Some(beacon.text.clone());
    set(&mut entry.reason, beacon.facts.reason.clone());
    if beacon.facts.last_input_seconds.is_some() {
        entry.last_input_seconds = beacon.facts.last_input_seconds;
    }
    if let Some(tags) = &beacon.tags {
        entry.tags.clone_from(tags);
    }
}

/// What a client may change about itself.
fn merge_facts(entry: &mut Entry, beacon: &Beacon) {
    set(&mut entry.host, beacon.facts.host.clone());
    set(&mut entry.ip, beacon.facts.ip.clone());
    set(&mut entry.version, beacon.facts.version.clone());
    set(&mut entry.mode, beacon.facts.mode.clone());
    set(&mut entry.platform, beacon.platform.clone());
    set(&mut entry.device_family, beacon.device_family.clone());
    set(&mut entry.model_identifier, beacon.model_identifier.clone());
}

/// What only an entry without a connection takes from a beacon.
fn merge_identity(entry: &mut Entry, beacon: &Beacon) {
    set(&mut entry.device_id, beacon.device_id.clone());
    set(&mut entry.instance_id, beacon.instance_id.clone());
    field::merge(&mut entry.roles, beacon.roles.iter().map(String::as_str));
    field::merge(&mut entry.scopes, beacon.scopes.iter().map(String::as_str));
}

fn set(kept: &mut Option<String>, new: Option<String>) {
    if new.is_some() {
        *kept = new;
    }
}

fn facts_of(entry: &Entry) -> Facts {
    Facts {
        host: entry.host.clone(),
        ip: entry.ip.clone(),
        version: entry.version.clone(),
        last_input_seconds: None,
        mode: entry.mode.clone(),
        reason: entry.reason.clone(),
    }
}

/// The line for the main session: who it is and what changed. Periodic signs of life are no change.
fn changed_line(before: &Facts, after: &Facts) -> Option<String> {
    let reason = after.reason.as_deref().unwrap_or("").to_lowercase();
    let routine = reason.starts_with("periodic") || reason == "heartbeat";
    let moved = before.host != after.host || before.ip != after.ip;
    let mut line = format!("Node: {}", after.host.as_deref().unwrap_or("unknown"));
    if let Some(ip) = &after.ip {
        line.push_str(&format!(" ({ip})"));
    }
    let mut changed = moved;
    for (name, old, new, counts) in [
        ("app", &before.version, &after.version, true),
        ("mode", &before.mode, &after.mode, true),
        ("reason", &before.reason, &after.reason, !routine),
    ] {
        if let Some(new) = new.as_ref().filter(|_| counts && old != new) {
            line.push_str(&format!(" · {name} {new}"));
            changed = true;
        }
    }
    changed.then_some(line)
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
