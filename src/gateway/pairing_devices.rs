//! The book of paired and pending devices: who may connect as what, and the devices' own tokens
//! (`spec/protocol.md` sections 3.5 to 3.7). Pure: ids and tokens come in, changed files go out as [`Change`].
//! Knows nothing of connections, broadcasts or files.

use serde_json::Value;

use super::auth::same_secret;
use super::field;
use super::pairing::{Change, PairFault, Verdict, Write, covers};
use crate::identity::PublicKey;
use crate::limits;
use crate::protocol::errors::{Code, WireError};
use crate::store::devices::{DeviceToken, Extra, PairedDevice, PendingDevice, Records, print};
use crate::sys::order;
use crate::sys::table::Table;

/// A proven device that wants to connect; authentication has already passed.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Negotiated protocol.
    pub protocol: u8,
    /// Proven device id.
    pub device_id: &'a str,
    /// Its key in wire form.
    pub public_key: &'a str,
    /// Effective role.
    pub role: &'a str,
    /// Effective scopes.
    pub scopes: &'a [String],
    /// Whether a request is approved at once, see [`super::origin::Peer::approves_silently`].
    pub silent: bool,
    /// `client.displayName`.
    pub display_name: Option<&'a str>,
    /// `client.platform`.
    pub platform: Option<&'a str>,
    /// `client.deviceFamily`.
    pub device_family: Option<&'a str>,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// Address of a client that is not local.
    pub remote_ip: Option<&'a str>,
}

/// Why a device needs approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Unknown, or its key changed.
    NotPaired,
    /// Asks for a role it does not have.
    RoleUpgrade,
    /// Asks for scopes it does not have.
    ScopeUpgrade,
    /// Claims another platform or device family than it was approved with (protocol 4).
    MetadataUpgrade,
}

/// The pairing decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Paired: connect.
    Paired,
    /// Approved just now without asking; to be broadcast as resolved.
    Approved {
        /// Id of the request that was thereby approved.
        request_id: String,
    },
    /// Local and right, but the book is full: connect without being recorded and without a device token.
    Unrecorded,
    /// Must be approved first.
    Required(Box<Refusal>),
}

/// A device turned away until it is approved.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Why.
    pub need: Need,
    /// The pending request.
    pub request: PendingDevice,
    /// Whether the request is new and therefore to be broadcast.
    pub created: bool,
}

/// In which form a new token is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenForm {
    /// 32 hex characters: 16 random bytes.
    Hex32,
    /// 43 characters of base64url: 32 random bytes.
    Base64Url43,
}

impl TokenForm {
    /// The form of a protocol version.
    pub fn of(protocol: u8) -> TokenForm {
        if protocol >= 4 { TokenForm::Base64Url43 } else { TokenForm::Hex32 }
    }
}

/// A token as told to its device. `Debug` is left out on purpose: it holds the secret.
#[derive(Clone, PartialEq)]
pub struct IssuedToken {
    /// The secret.
    pub token: String,
    /// Its role.
    pub role: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// When it was made.
    pub issued_at_ms: u64,
}

/// Paired and pending devices.
#[derive(Debug, Clone, Default)]
pub struct DeviceBook {
    paired: Table<String, PairedDevice>,
    pending: Table<String, PendingDevice>,
}

impl Need {
    /// Wire name, what the message says, and what to do.
    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Need::NotPaired => {
                ("not-paired", "device is not approved yet", "Approve this device from the pending pairing requests.")
            }
            Need::RoleUpgrade => (
                "role-upgrade",
                "this device has no approval for the role it asks for",
                "Check the role in the pending request and approve it if you expect it.",
            ),
            Need::ScopeUpgrade => (
                "scope-upgrade",
                "this device has no approval for all scopes it asks for",
                "Check the scopes in the pending request and approve it if you expect them.",
            ),
            Need::MetadataUpgrade => (
                "metadata-upgrade",
                "this device reports another platform than the approved one",
                "Check platform and family in the pending request and approve it if the device is yours.",
            ),
        }
    }

    /// Its wire name.
    pub fn name(self) -> &'static str {
        self.row().0
    }
}

impl Refusal {
    /// The refusal as the peer sees it: protocol 4's details on both, its longer message on 4 only.
    pub fn wire(&self, protocol: u8) -> WireError {
        let (reason, requirement, hint) = self.need.row();
        let message =
            if protocol >= 4 { format!("pairing required: {requirement}") } else { "pairing required".into() };
        WireError::new(Code::NotPaired, message).with_details(json!({
            "code": "PAIRING_REQUIRED",
            "reason": reason,
            "requestId": self.request.request_id,
            "remediationHint": hint,
            "deviceId": self.request.device_id,
            "requestedRole": self.request.role,
            "requestedScopes": self.request.scopes,
        }))
    }

    /// The reason text of the close frame (1008).
    pub fn close_reason(&self, protocol: u8) -> String {
        let message = self.wire(protocol).message;
        if protocol < 4 {
            return message;
        }
        format!("{message} (requestId: {})", self.request.request_id)
    }
}

impl DeviceBook {
    /// A book from its files; pending requests that are too old are dropped.
    pub fn load(paired: Records<PairedDevice>, pending: Records<PendingDevice>, now_ms: u64) -> DeviceBook {
        let mut book = DeviceBook { paired: paired.entries, pending: pending.entries };
        for (key, device) in book.paired.iter_mut() {
            device.device_id.clone_from(key);
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

    /// A paired device.
    pub fn device(&self, device_id: &str) -> Option<&PairedDevice> {
        self.paired.get(device_id)
    }

    /// All paired devices.
    pub fn devices(&self) -> impl Iterator<Item = &PairedDevice> {
        self.paired.values()
    }

    /// A pending request.
    pub fn pending(&self, request_id: &str) -> Option<&PendingDevice> {
        self.pending.get(request_id)
    }

    /// Decides on a device that wants to connect and records what follows from it.
    /// `request_id` is used if a new request is made.
    pub fn arrive(&mut self, arrival: &Arrival<'_>, request_id: String, now_ms: u64) -> (Decision, Change) {
        let expired = self.expire(now_ms);
        let (decision, change) = match self.need(arrival) {
            None => (Decision::Paired, self.refresh(arrival)),
            Some(_) if arrival.silent => self.approve_silently(arrival, request_id, now_ms),
            Some(need) => self.request(need, arrival, request_id, now_ms),
        };
        (decision, change.and(expired))
    }

    /// What keeps a device from connecting, judged in the reference's order.
    pub fn need(&self, arrival: &Arrival<'_>) -> Option<Need> {
        let Some(device) = self.paired.get(arrival.device_id) else { return Some(Need::NotPaired) };
        if !same_key(&device.public_key, arrival.public_key) {
            return Some(Need::NotPaired);
        }
        if !roles_of(device).iter().any(|role| role == arrival.role) {
            return Some(Need::RoleUpgrade);
        }
        let scopes = device.scopes.as_deref().unwrap_or_default();
        if !covers(arrival.protocol, scopes, arrival.scopes) {
            return Some(Need::ScopeUpgrade);
        }
        let changed = differs(device.platform.as_deref(), arrival.platform)
            || differs(device.device_family.as_deref(), arrival.device_family);
        (arrival.protocol >= 4 && changed).then_some(Need::MetadataUpgrade)
    }

    /// Updates what a paired device says about itself.
    fn refresh(&mut self, arrival: &Arrival<'_>) -> Change {
        let Some(device) = self.paired.get_mut(arrival.device_id) else { return Change::NONE };
        let before = device.clone();
        take_facts(device, arrival);
        if *device == before { Change::NONE } else { Change { paired: Write::Later, ..Change::NONE } }
    }

    /// Approves exactly what this local connection asks for; a request the same device left pending is settled by
    /// it (else a remote attempt would lock its own machine out for five minutes, protocol.md 3.5).
    fn approve_silently(&mut self, arrival: &Arrival<'_>, request_id: String, now_ms: u64) -> (Decision, Change) {
        let old = self.pending_of(arrival.device_id).map(|request| request.request_id.clone());
        let pending = if old.is_some() { Write::Now } else { Write::None };
        self.settle(arrival.device_id);
        let request = new_request(arrival, old.unwrap_or(request_id), now_ms, self.is_known(arrival.device_id));
        let request_id = request.request_id.clone();
        match self.admit(request, now_ms) {
            Ok(_) => (Decision::Approved { request_id }, Change { pending, ..Change::PAIRED }),
            Err(_) => (Decision::Unrecorded, Change { pending, ..Change::NONE }),
        }
    }

    /// Files a request, or finds the one the device already has. A request that asks for more than the pending one
    /// replaces it under a new id: an operator never approves more than what was shown.
    fn request(&mut self, need: Need, arrival: &Arrival<'_>, request_id: String, now_ms: u64) -> (Decision, Change) {
        let fresh = new_request(arrival, request_id, now_ms, self.is_known(arrival.device_id));
        if let Some(old) = self.pending_of(arrival.device_id) {
            if asks_no_more(&fresh, old) {
                let refusal = Refusal { need, request: old.clone(), created: false };
                return (Decision::Required(Box::new(refusal)), Change::NONE);
            }
            self.settle(arrival.device_id);
        }
        self.make_room();
        self.pending.insert(fresh.request_id.clone(), fresh.clone());
        (Decision::Required(Box::new(Refusal { need, request: fresh, created: true })), Change::PENDING)
    }

    /// The oldest requests give way: a flood of strangers must not keep the newest out.
    fn make_room(&mut self) {
        while self.pending.len() >= limits::PAIRING_PENDING {
            let oldest = self.pending.values().min_by_key(|request| request.ts).map(|r| r.request_id.clone());
            let Some(oldest) = oldest else { return };
            self.pending.remove(&oldest);
        }
    }

    /// Moves a request into the paired book, keeping what the device already had.
    fn admit(&mut self, request: PendingDevice, now_ms: u64) -> Result<&PairedDevice, PairFault> {
        let known = self.paired.remove(&request.device_id);
        if known.is_none() && self.paired.len() >= limits::PAIRED {
            return Err(PairFault::Full(limits::PAIRED));
        }
        // Another key is another device under the same id: nothing of the old one is inherited.
        let known = known.filter(|device| same_key(&device.public_key, &request.public_key));
        let device_id = request.device_id.clone();
        let device = approved(request, known, now_ms);
        Ok(self.paired.get_or_insert_with(device_id, || device))
    }

    /// Approves a pending request.
    pub fn approve(&mut self, request_id: &str, now_ms: u64) -> Result<(PairedDevice, Change), PairFault> {
        self.expire(now_ms);
        let request = self.pending.get(request_id).cloned().ok_or(PairFault::UnknownRequest)?;
        let device = self.admit(request, now_ms)?.clone();
        self.settle(&device.device_id);
        Ok((device, Change::BOTH))
    }

    /// The first scope that an approver would grant without holding it himself (protocol 4's rule).
    pub fn approval_gap(&self, request_id: &str, approver: &[String]) -> Option<String> {
        let wanted = self.pending.get(request_id)?.scopes.as_deref().unwrap_or_default();
        wanted.iter().find(|scope| !covers(4, approver, std::slice::from_ref(*scope))).cloned()
    }

    /// Rejects a pending request; answers it.
    pub fn reject(&mut self, request_id: &str, now_ms: u64) -> Result<(PendingDevice, Change), PairFault> {
        self.expire(now_ms);
        let request = self.pending.remove(request_id).ok_or(PairFault::UnknownRequest)?;
        Ok((request, Change::PENDING))
    }

    /// Forgets a device, its tokens and its pending request.
    pub fn remove(&mut self, device_id: &str) -> Result<(PairedDevice, Change), PairFault> {
        let device = self.paired.remove(device_id).ok_or(PairFault::UnknownDevice)?;
        let change = if self.settle(device_id) { Change::BOTH } else { Change::PAIRED };
        Ok((device, change))
    }

    /// Gives a device the operator's own name for it.
    pub fn rename(&mut self, device_id: &str, label: &str) -> Result<(&PairedDevice, Change), PairFault> {
        let label = field::text(label).ok_or(PairFault::NameRequired)?;
        let device = self.paired.get_mut(device_id).ok_or(PairFault::UnknownDevice)?;
        device.label = Some(label);
        Ok((device, Change::PAIRED))
    }

    /// Drops requests that are too old.
    pub fn expire(&mut self, now_ms: u64) -> Change {
        let before = self.pending.len();
        let age_ms = u64::try_from(limits::PAIRING_AGE.as_millis()).unwrap_or(u64::MAX);
        // Also drops requests from a future that a clock correction has taken back.
        self.pending.retain(|_, request| now_ms.abs_diff(request.ts) <= age_ms);
        if self.pending.len() == before { Change::NONE } else { Change { pending: Write::Later, ..Change::NONE } }
    }

    /// The token a connecting device is told: the one it has if that is valid and covers the scopes, else a new one.
    /// `None` if the device is not in the book.
    pub fn ensure_token(
        &mut self,
        arrival: &Arrival<'_>,
        now_ms: u64,
        fresh: impl FnOnce(TokenForm) -> String,
    ) -> Option<(IssuedToken, Change)> {
        let tokens = &mut self.paired.get_mut(arrival.device_id)?.tokens;
        let known = tokens.as_ref().and_then(|tokens| tokens.get(arrival.role));
        if let Some(entry) = known.filter(|entry| is_usable(entry, arrival.protocol, arrival.scopes)) {
            return Some((issued(entry), Change::NONE));
        }
        let entry = replacement(known, arrival.role, arrival.scopes, fresh(TokenForm::of(arrival.protocol)), now_ms);
        let told = issued(&entry);
        tokens.get_or_insert_default().insert(arrival.role.to_string(), entry);
        Some((told, Change::PAIRED))
    }

    /// Whether `token` is the valid token of this device for this role and covers the scopes. Constant time in the
    /// token; both token forms are accepted alike.
    pub fn verify_token(&self, protocol: u8, device_id: &str, role: &str, scopes: &[String], token: &str) -> bool {
        let entry = self.paired.get(device_id).and_then(|device| device.tokens.as_ref()?.get(role));
        entry.is_some_and(|entry| is_usable(entry, protocol, scopes) && same_secret(&entry.token, token))
    }

    /// Notes that a device used its token.
    pub fn touch(&mut self, device_id: &str, role: &str, now_ms: u64) -> Change {
        let tokens = self.paired.get_mut(device_id).and_then(|device| device.tokens.as_mut());
        let Some(entry) = tokens.and_then(|tokens| tokens.get_mut(role)) else { return Change::NONE };
        entry.last_used_at_ms = Some(now_ms);
        Change { paired: Write::Later, ..Change::NONE }
    }

    /// Replaces a device's token for a role. Only approved roles and scopes can be given: this must not become a
    /// way round approval.
    pub fn rotate(
        &mut self,
        device_id: &str,
        role: &str,
        scopes: Option<&[String]>,
        token: String,
        now_ms: u64,
    ) -> Result<(IssuedToken, Change), PairFault> {
        let device = self.paired.get_mut(device_id).ok_or(PairFault::UnknownRole)?;
        if !roles_of(device).iter().any(|held| held == role) {
            return Err(PairFault::UnknownRole);
        }
        let approved = device.scopes.clone().unwrap_or_default();
        let known = device.tokens.as_ref().and_then(|tokens| tokens.get(role));
        let scopes = match (scopes, known) {
            (Some(asked), _) => field::list(asked.iter().map(String::as_str)),
            (None, Some(entry)) => entry.scopes.clone(),
            (None, None) => approved.clone(),
        };
        if !covers(4, &approved, &scopes) {
            return Err(PairFault::RotationDenied);
        }
        let mut entry = replacement(known, role, &scopes, token, now_ms);
        entry.rotated_at_ms = Some(now_ms);
        let told = issued(&entry);
        device.tokens.get_or_insert_default().insert(role.to_string(), entry);
        Ok((told, Change::PAIRED))
    }

    /// Revokes a device's token for a role.
    pub fn revoke(&mut self, device_id: &str, role: &str, now_ms: u64) -> Result<Change, PairFault> {
        let tokens = self.paired.get_mut(device_id).and_then(|device| device.tokens.as_mut());
        let entry = tokens.and_then(|tokens| tokens.get_mut(role)).ok_or(PairFault::UnknownRole)?;
        entry.revoked_at_ms = Some(now_ms);
        Ok(Change::PAIRED)
    }

    /// The answer of `device.pair.list`: newest first, secrets removed.
    pub fn list(&self, now_ms: u64) -> Value {
        let age_ms = u64::try_from(limits::PAIRING_AGE.as_millis()).unwrap_or(u64::MAX);
        let mut pending: Vec<_> = self.pending.values().filter(|r| now_ms.abs_diff(r.ts) <= age_ms).collect();
        order::by_key(&mut pending, |request| std::cmp::Reverse(request.ts));
        let mut paired: Vec<_> = self.paired.values().collect();
        order::by_key(&mut paired, |device| std::cmp::Reverse(device.approved_at_ms));
        json!({
            "pending": pending.into_iter().map(request_view).collect::<Vec<_>>(),
            "paired": paired.into_iter().map(device_view).collect::<Vec<_>>(),
        })
    }

    fn is_known(&self, device_id: &str) -> bool {
        self.paired.contains_key(device_id)
    }

    /// Drops a device's requests; an original's file may hold several.
    fn settle(&mut self, device_id: &str) -> bool {
        let before = self.pending.len();
        self.pending.retain(|_, request| request.device_id != device_id);
        self.pending.len() != before
    }

    fn pending_of(&self, device_id: &str) -> Option<&PendingDevice> {
        self.pending.values().find(|request| request.device_id == device_id)
    }
}

/// A paired device as others may see it: tokens as a list without their secrets, unknown members left out.
pub fn device_view(device: &PairedDevice) -> Value {
    let tokens: Vec<Value> = device.tokens.iter().flat_map(Table::values).map(token_view).collect();
    let shown = PairedDevice {
        tokens: None,
        extra: Extra::default(),
        display_name: device.label.clone().or(device.display_name.clone()),
        ..device.clone()
    };
    let mut view = serde_json::to_value(shown).unwrap_or_default();
    if let Value::Object(map) = &mut view {
        map.insert("tokens".into(), tokens.into());
    }
    view
}

fn token_view(token: &DeviceToken) -> Value {
    let mut view = serde_json::to_value(DeviceToken { extra: Extra::default(), ..token.clone() }).unwrap_or_default();
    if let Value::Object(map) = &mut view {
        map.remove("token");
    }
    view
}

/// A pending request as others may see it; also the payload of `device.pair.requested`.
pub fn request_view(request: &PendingDevice) -> Value {
    serde_json::to_value(PendingDevice { extra: Extra::default(), ..request.clone() }).unwrap_or_default()
}

/// The payload of `device.pair.resolved`.
pub fn resolved_payload(request_id: &str, device_id: &str, verdict: Verdict, now_ms: u64) -> Value {
    json!({"requestId": request_id, "deviceId": device_id, "decision": verdict.name(), "ts": now_ms})
}

/// Keys are compared decoded: older files may hold another spelling of the same key.
fn same_key(stored: &str, presented: &str) -> bool {
    stored == presented || matches!((PublicKey::decode(stored), PublicKey::decode(presented)), (Ok(a), Ok(b)) if a == b)
}

/// The approved roles; very old records have only `role`.
fn roles_of(device: &PairedDevice) -> Vec<String> {
    match &device.roles {
        Some(roles) if !roles.is_empty() => roles.clone(),
        _ => device.role.clone().into_iter().collect(),
    }
}

/// Whether a claimed platform or family is another than the approved one. Only the first word counts, so that an
/// update of the operating system (`macos 15.1`) does not lock a device out; absent ones say nothing.
fn differs(approved: Option<&str>, claimed: Option<&str>) -> bool {
    let family = |text: &str| text.split_whitespace().next().map(str::to_ascii_lowercase);
    match (approved.and_then(family), claimed.and_then(family)) {
        (Some(approved), Some(claimed)) => approved != claimed,
        _ => false,
    }
}

fn new_request(arrival: &Arrival<'_>, request_id: String, now_ms: u64, is_repair: bool) -> PendingDevice {
    PendingDevice {
        request_id,
        device_id: arrival.device_id.to_string(),
        public_key: arrival.public_key.to_string(),
        display_name: field::optional(arrival.display_name),
        platform: field::optional(arrival.platform),
        device_family: field::optional(arrival.device_family),
        client_id: field::text(arrival.client_id),
        client_mode: field::text(arrival.client_mode),
        role: Some(arrival.role.to_string()),
        roles: Some(vec![arrival.role.to_string()]),
        scopes: Some(field::list(arrival.scopes.iter().map(String::as_str))),
        remote_ip: field::optional(arrival.remote_ip),
        silent: Some(arrival.silent),
        is_repair,
        ts: now_ms,
        extra: Extra::default(),
    }
}

/// Whether a repeated request asks for nothing that the pending one does not show.
fn asks_no_more(fresh: &PendingDevice, old: &PendingDevice) -> bool {
    let within = |fresh: &Option<Vec<String>>, old: &Option<Vec<String>>| {
        fresh.iter().flatten().all(|item| old.iter().flatten().any(|other| other == item))
    };
    fresh.role == old.role
        && same_key(&fresh.public_key, &old.public_key)
        && within(&fresh.roles, &old.roles)
        && within(&fresh.scopes, &old.scopes)
}

/// The record that an approval makes of a request and of what was known before.
fn approved(request: PendingDevice, known: Option<PairedDevice>, now_ms: u64) -> PairedDevice {
    let mut roles = known.as_ref().map(roles_of).unwrap_or_default();
    field::merge(&mut roles, request.role.iter().chain(request.roles.iter().flatten()).map(String::as_str));
    let mut scopes = known.as_ref().and_then(|device| device.scopes.clone()).unwrap_or_default();
    field::merge(&mut scopes, request.scopes.iter().flatten().map(String::as_str));
    PairedDevice {
        device_id: request.device_id,
        public_key: request.public_key,
        display_name: request.display_name,
        label: known.as_ref().and_then(|device| device.label.clone()),
        platform: request.platform,
        device_family: request.device_family,
        client_id: request.client_id,
        client_mode: request.client_mode,
        role: request.role,
        roles: Some(roles),
        scopes: Some(scopes),
        remote_ip: request.remote_ip,
        created_at_ms: known.as_ref().map_or(now_ms, |device| device.created_at_ms),
        approved_at_ms: now_ms,
        extra: known.as_ref().map(|device| device.extra.clone()).unwrap_or_default(),
        tokens: known.and_then(|device| device.tokens),
    }
}

fn take_facts(device: &mut PairedDevice, arrival: &Arrival<'_>) {
    let take = |kept: &mut Option<String>, new: Option<String>| {
        if new.is_some() {
            *kept = new;
        }
    };
    take(&mut device.display_name, field::optional(arrival.display_name));
    take(&mut device.platform, field::optional(arrival.platform));
    take(&mut device.device_family, field::optional(arrival.device_family));
    take(&mut device.client_id, field::text(arrival.client_id));
    take(&mut device.client_mode, field::text(arrival.client_mode));
    take(&mut device.remote_ip, field::optional(arrival.remote_ip));
    let roles = roles_of(device);
    device.roles = Some(roles);
    device.role = Some(arrival.role.to_string());
    let scopes = device.scopes.get_or_insert_default();
    field::merge(scopes, arrival.scopes.iter().map(String::as_str));
}

fn is_usable(entry: &DeviceToken, protocol: u8, scopes: &[String]) -> bool {
    entry.revoked_at_ms.is_none() && covers(protocol, &entry.scopes, scopes)
}

fn issued(entry: &DeviceToken) -> IssuedToken {
    IssuedToken {
        token: entry.token.clone(),
        role: entry.role.clone(),
        scopes: entry.scopes.clone(),
        issued_at_ms: entry.rotated_at_ms.unwrap_or(entry.created_at_ms),
    }
}

fn replacement(known: Option<&DeviceToken>, role: &str, scopes: &[String], token: String, now_ms: u64) -> DeviceToken {
    DeviceToken {
        token,
        role: role.to_string(),
        scopes: field::list(scopes.iter().map(String::as_str)),
        created_at_ms: known.map_or(now_ms, |entry| entry.created_at_ms),
        rotated_at_ms: known.map(|_| now_ms),
        revoked_at_ms: None,
        last_used_at_ms: known.and_then(|entry| entry.last_used_at_ms),
        extra: known.map(|entry| entry.extra.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "pairing_devices_tests.rs"]
mod tests;
