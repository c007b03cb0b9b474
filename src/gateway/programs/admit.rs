//! Whether a program may use an interface: switched on, secret, scope, origin (http.md 5).

use std::net::IpAddr;

use crate::gateway::auth::{Method, Mode, Presented, Reason, check_shared};
use crate::gateway::event::Caller;
use crate::gateway::origin::{self, OriginCheck};
use crate::gateway::state::State;
use crate::http::api::{self, Row, Surface};
use crate::http::reply::Reply;
use crate::protocol::table::Scope;
use crate::sys::clock::Now;

/// A request to use an interface.
#[derive(Debug, Clone)]
pub struct Admit {
    /// Who asks.
    pub caller: Caller,
    /// Which interface.
    pub row: &'static Row,
    /// Whether it comes by the method the interface takes.
    pub method_fits: bool,
    /// `x-openclaw-scopes`.
    pub scopes: Option<String>,
    /// `Origin`.
    pub origin: Option<String>,
    /// `Host`.
    pub host: Option<String>,
    /// The user a trusted proxy vouches for.
    pub proxy_user: Option<String>,
}

/// What an admitted caller may do.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// Scopes.
    pub scopes: Vec<String>,
    /// Whether it showed the shared secret itself.
    pub owner: bool,
}

impl Grant {
    /// Whether it holds the scope.
    pub fn has(&self, scope: Scope) -> bool {
        scope.allowed_by(&self.scopes)
    }
}

/// All operator scopes, which the shared secret gives (http.md 5.4).
const ALL: [&str; 7] = [
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.questions",
    "operator.pairing",
    "operator.talk.secrets",
];

impl State {
    /// Lets a program in, or the answer that refuses it. The method is judged before the secret.
    pub fn admit_program(&mut self, ask: &Admit, now: Now) -> Result<Grant, Box<Reply>> {
        let row = ask.row;
        if !self.serves(row.surface) {
            self.hint_at_switch(row);
            return Err(Box::new(Reply::not_found()));
        }
        if !ask.method_fits {
            return Err(Box::new(row.other_method()));
        }
        let method = self.log_in(ask, now)?;
        let grant = grant(method, ask.scopes.as_deref());
        if !grant.has(row.scope) {
            return Err(Box::new(api::missing_scope(row.scope)));
        }
        Ok(grant)
    }

    /// Whether the interface is switched on.
    fn serves(&self, surface: Surface) -> bool {
        let http = &self.config.gateway.http;
        match surface {
            Surface::Chat => http.chat_completions,
            Surface::Responses => http.responses,
            Surface::Models | Surface::Embeddings => http.chat_completions || http.responses,
            Surface::AdminRpc => http.admin_rpc,
            Surface::Tools => true,
            Surface::Metrics => self.config.gateway.metrics,
        }
    }

    /// The answer says nothing of what could be here; the log says it to the operator, once.
    fn hint_at_switch(&mut self, row: &Row) {
        let key = match row.surface {
            Surface::Chat | Surface::Models | Surface::Embeddings => "gateway.http.endpoints.chatCompletions.enabled",
            Surface::Responses => "gateway.http.endpoints.responses.enabled",
            Surface::AdminRpc => "plugins.entries[\"admin-http-rpc\"].enabled",
            Surface::Metrics => "gateway.metrics.enabled",
            Surface::Tools => return,
        };
        if !self.asked_off.contains(&row.surface) {
            self.asked_off.push(row.surface);
            log::info!(target: "http", "{} is off; set {key}: true and start the gateway again", row.path);
        }
    }

    /// The secret, with the limit of failed logins; without one, what takes its place.
    fn log_in(&mut self, ask: &Admit, now: Now) -> Result<Method, Box<Reply>> {
        let ip: IpAddr = ask.caller.ip;
        if let Some(wait) = self.logins.locked(ip, now.mono_ms()) {
            return Err(Box::new(api::locked_out(wait)));
        }
        let bearer = ask.caller.bearer.as_deref();
        let direct = bearer.filter(|_| self.secrets.mode() != Mode::TrustedProxy || ask.caller.local);
        let presented = Presented { proxy_user: ask.proxy_user.as_deref(), ..Presented::bearer(direct) };
        match check_shared(&self.secrets, &presented) {
            Ok(Method::None | Method::TrustedProxy) if !self.page_may_ask(ask) => Err(Box::new(api::unauthorized())),
            Ok(method) => {
                self.logins.succeeded(ip);
                Ok(method)
            }
            Err(reason) => {
                if bearer.is_some() && !matches!(reason, Reason::TokenNotConfigured | Reason::PasswordNotConfigured) {
                    let _ = self.logins.failed(ip, now.mono_ms());
                }
                self.counters.refused += 1;
                Err(Box::new(api::unauthorized()))
            }
        }
    }

    /// Where no secret is asked for, any page a person visits could ask in its place (http.md 5.6).
    fn page_may_ask(&self, ask: &Admit) -> bool {
        let Some(origin) = ask.origin.as_deref() else { return true };
        let check = OriginCheck {
            protocol: 4,
            client_id: "",
            client_mode: "",
            origin: Some(origin),
            host: ask.host.as_deref(),
            allowed: &self.allowed_origins,
            guarded: false,
        };
        origin::check(&check).is_ok()
    }
}

/// What a way of logging in gives: the shared secret everything, the others what the header asks for, if it does.
fn grant(method: Method, header: Option<&str>) -> Grant {
    let owner = matches!(method, Method::Token | Method::Password);
    let scopes = match header.filter(|_| !owner) {
        None => ALL.map(String::from).to_vec(),
        Some(list) => list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect(),
    };
    Grant { scopes, owner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_gives_everything_and_the_header_takes_away_elsewhere() {
        assert!(grant(Method::Token, Some("")).has(Scope::Admin));
        assert!(grant(Method::None, None).has(Scope::Admin));
        assert!(!grant(Method::TrustedProxy, Some("")).has(Scope::Read));
        let reader = grant(Method::None, Some(" operator.read , x"));
        assert!(reader.has(Scope::Read) && !reader.has(Scope::Write) && !reader.owner);
    }
}
