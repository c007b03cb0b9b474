//! Who is there, as seen from the connections: arrivals, departures, signs of life, and how often the
//! others are told. The registry itself is `presence`'s.

use std::sync::Arc;

use super::auth::{Mode, Presented, check_shared};
use super::conn::Peer;
use super::disk::{Job, Then};
use super::event::{Caller, Effect, Timer};
use super::presence::Newcomer;
use super::state::{Session, State};
use crate::limits;
use crate::sys::clock::Now;

impl State {
    /// Lists a client that has finished its handshake.
    pub fn arrived(&mut self, session: &mut Session, peer: &Peer, public_id: &str, now: Now) {
        let address = peer.addr.ip();
        let ip = (!address.is_loopback()).then(|| address.to_string());
        let client = &session.client;
        let newcomer = Newcomer {
            protocol: session.protocol,
            conn_id: public_id,
            client_id: &client.id,
            mode: &client.mode,
            display_name: client.display_name.as_deref(),
            version: &client.version,
            platform: &client.platform,
            device_family: client.device_family.as_deref(),
            model_identifier: client.model_identifier.as_deref(),
            instance_id: client.instance_id.as_deref(),
            device_id: session.device_id.as_deref(),
            role: session.role.name(),
            scopes: &session.scopes,
            ip: ip.as_deref(),
        };
        session.presence_key = self.presence.connect(&newcomer, now.wall_ms);
    }

    /// Notes that a client has left and tells the others.
    pub fn left(&mut self, session: &Session, now: Now, fx: &mut Vec<Effect>) {
        let Some(key) = &session.presence_key else { return };
        self.presence.disconnect(key, now.wall_ms);
        self.presence_changed(now, fx);
    }

    /// Tells everyone who is there: at once if the last time is long enough ago, else with the next
    /// slot, so that a thousand leaving clients cause five broadcasts a second (decisions.md 10).
    pub fn presence_changed(&mut self, now: Now, fx: &mut Vec<Effect>) {
        if self.stopping || self.presence_gate.held {
            return;
        }
        let next = self.presence_gate.last.map_or(now.mono, |last| last + limits::PRESENCE_INTERVAL);
        if now.mono < next {
            self.presence_gate.held = true;
            fx.push(Effect::Timer(next - now.mono, Timer::Presence));
            return;
        }
        self.presence_gate.last = Some(now.mono);
        let payload = format!("{{\"presence\":{}}}", self.presence.list(now.wall_ms));
        self.broadcast_raw("presence", &payload, fx);
    }

    /// The list, serialised.
    pub fn presence_json(&mut self, now: Now) -> Arc<str> {
        self.presence.list(now.wall_ms).into()
    }

    /// Keeps connected clients on the list, however quiet they are.
    pub fn renew_presence(&mut self, now: Now) {
        self.presence.renew(now.wall_ms);
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Now) {
        self.presence.expire(now.wall_ms);
        self.logins.sweep(now.mono_ms());
        self.hooks.sweep(now);
        for (_, run) in self.runs.all() {
            let joined = run.joined.iter().filter_map(|joined| joined.remembered.as_ref());
            for name in run.remembered.iter().chain(joined) {
                self.memory.renew(name, now.mono);
            }
        }
        self.memory.sweep(now.mono);
        let devices = self.devices.expire(now.wall_ms);
        self.devices_unsaved = self.devices_unsaved.and(devices);
        let nodes = self.nodes.expire(now.wall_ms);
        self.nodes_unsaved = self.nodes_unsaved.and(nodes);
    }

    /// Has the session indexes of all agents read.
    pub fn load_sessions(&mut self, fx: &mut Vec<Effect>) {
        let agents = self.config.agents.resolved();
        let stores = agents.iter().map(|agent| (agent.id.clone(), self.sessions_file(&agent.id).into())).collect();
        // First, so that nobody writes into a transcript that gets a message of the last process back.
        let mut seed = [0_u8; 32];
        self.entropy.fill(&mut seed);
        fx.push(Effect::Disk(Job::Recover(self.facts.paths.open_runs(), seed), Then::Sessions));
        fx.push(Effect::Disk(Job::Sessions(stores), Then::Sessions));
    }

    /// Whether an HTTP caller shows the shared secret. A wrong one counts like any failed login, and a
    /// gateway without a secret tells strangers nothing (http.md 4).
    pub fn bearer_is_valid(&mut self, caller: &Caller, now: Now) -> bool {
        let Some(bearer) = caller.bearer.as_deref().filter(|_| self.secrets.mode() != Mode::None) else { return false };
        if self.logins.locked(caller.ip, now.mono_ms()).is_some() {
            return false;
        }
        let right = check_shared(&self.secrets, &Presented::bearer(Some(bearer))).is_ok();
        if right {
            self.logins.succeeded(caller.ip);
        } else {
            let _ = self.logins.failed(caller.ip, now.mono_ms());
        }
        right
    }
}
