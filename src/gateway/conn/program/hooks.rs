//! Hooks on their connection's thread: the door, the body, the wish, the answer. What a request asks for and what comes
//! of it is `gateway::hooks`'.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::super::http::{Server, Turn};
use super::super::tally::Place;
use super::{Answered, Exchange};
use crate::config::Config;
use crate::gateway::event::{HttpAnswer, HttpAsk, Order};
use crate::gateway::hooks::template::Source;
use crate::gateway::hooks::wish::{self, Wish};
use crate::gateway::hooks::{HookOrder, Knock, refused};
use crate::gateway::programs::admit::Grant;
use crate::gateway::programs::feed::Feed;
use crate::http::api::{self, models::decode};
use crate::http::head::{BodyLength, Head};
use crate::http::reply::{After, Reply};
use crate::http::route;
use crate::limits;
use crate::sys::clock;

impl Server<'_> {
    /// Serves a request of a hook; none when the path is none of theirs.
    #[inline(never)]
    pub(in crate::gateway::conn) fn hook(&mut self, head: &Head, client: IpAddr, stays: bool) -> Option<Turn> {
        let query = pairs(head.query().unwrap_or_default());
        let bearer = head.bearer().map(str::trim).filter(|token| !token.is_empty());
        let knock = Knock {
            path: head.path().to_string(),
            posts: head.method() == "POST",
            shows_token: query.iter().any(|(name, _)| name == "token"),
            token: bearer.map(str::to_string).or_else(|| head.joined("x-openclaw-token")),
            client,
        };
        let answer = match self.hub.is_stopping() {
            true => HttpAnswer::Hook(Some(Err(Box::new(route::unavailable())))),
            false => self.hub.ask(HttpAsk::Hook(Box::new(knock))).unwrap_or(HttpAnswer::Hook(None)),
        };
        let HttpAnswer::Hook(Some(answer)) = answer else { return None };
        self.place = Place::HOOKS;
        let config = match answer {
            Ok(config) => config,
            Err(reply) => {
                let stays = stays && head.body() == BodyLength::None;
                return Some(self.answer(head, &if stays { *reply } else { reply.closing() }));
            }
        };
        Some(self.admitted(head, &config, &query, stays))
    }

    fn admitted(&mut self, head: &Head, config: &Arc<Config>, query: &[(String, String)], stays: bool) -> Turn {
        let body = match self.body(head, config.hooks.max_body) {
            Ok(body) => body,
            Err(Some(reply)) => return self.refuse(&body_refused(reply)),
            Err(None) => return Turn::Done,
        };
        let date = self.date.at(clock::wall_ms()).to_string();
        let (socket, hub) = (self.socket, self.hub);
        // Hooks have a token of their own and no scopes.
        let grant = Grant { scopes: Vec::new(), owner: false };
        let exchange = Exchange { head, grant: &grant, body: &body, hub, socket, date: &date, ahead: Cell::default() };
        let answered = serve(&exchange, config, query);
        self.heads.give_back(&exchange.ahead.take());
        drop(body);
        match answered {
            Answered::Reply(reply) => self.answer(head, &if stays { reply } else { reply.closing() }),
            Answered::Streamed(After::Keep) if stays => Turn::Again,
            Answered::Streamed(_) => self.end(),
            Answered::Gone => Turn::Done,
        }
    }
}

fn serve(exchange: &Exchange<'_>, config: &Arc<Config>, query: &[(String, String)]) -> Answered {
    match order(exchange, config, query) {
        Err(reply) => Answered::Reply(*reply),
        Ok(order) => {
            let Some(mut ordered) = exchange.order(Order::Hook(Box::new(order))) else {
                return Answered::Reply(route::unavailable());
            };
            match ordered.next(exchange) {
                Some(Feed::Reply(reply)) => Answered::Reply(*reply),
                _ if exchange.hub.is_stopping() => Answered::Reply(route::unavailable()),
                _ => Answered::Gone,
            }
        }
    }
}

/// What the request asks for, or the answer that refuses it.
fn order(exchange: &Exchange<'_>, config: &Arc<Config>, query: &[(String, String)]) -> Result<HookOrder, Box<Reply>> {
    let head = exchange.head;
    let payload = api::object(&exchange.body.take()).map_err(|text| refused(400, &text))?;
    let payload = if payload.is_object() { payload } else { json!({}) };
    let path = head.path().strip_prefix(config.hooks.path.as_str()).unwrap_or_default().trim_matches('/').to_string();
    let secret = |name: &str| matches!(name, "authorization" | "x-openclaw-token");
    let headers: Vec<(String, String)> = head
        .headers()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
        .filter(|(name, _)| !secret(name))
        .collect();
    let source = Source { path: &path, headers: &headers, query, payload: &payload, now_ms: clock::wall_ms() };
    let wishes = wish::read(config, &source)?;
    let key = key(head, &payload).map_err(|text| refused(400, text))?;
    let key = key.filter(|_| wishes.all.iter().any(|wish| matches!(wish, Wish::Turn(_))));
    Ok(HookOrder { wishes, config: config.clone(), path, key })
}

/// The caller's name for the request, by which a repeated one is known.
fn key(head: &Head, payload: &Value) -> Result<Option<String>, &'static str> {
    let header = |name: &str| head.header(name).map(str::trim).filter(|key| !key.is_empty());
    let own = || payload.get("idempotencyKey").and_then(Value::as_str).map(str::trim).filter(|key| !key.is_empty());
    match header("idempotency-key").or_else(|| header("x-openclaw-idempotency-key")).or_else(own) {
        Some(key) if key.chars().count() > limits::HOOK_KEY_CHARS => Err("idempotency key is too long"),
        key => Ok(key.map(str::to_string)),
    }
}

/// The refusals of bodies in the hooks' words.
fn body_refused(reply: Reply) -> Reply {
    match reply.status() {
        413 => refused(413, "payload too large").closing(),
        408 => refused(408, "request body timeout").closing(),
        _ => reply,
    }
}

/// Names and values of a query.
fn pairs(query: &str) -> Vec<(String, String)> {
    let plain = |text: &str| {
        let spaced = text.replace('+', " ");
        decode(&spaced).unwrap_or(spaced)
    };
    let pair = |pair: &str| pair.split_once('=').map_or((plain(pair), String::new()), |(n, v)| (plain(n), plain(v)));
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}
