//! `/api/v1/admin/rpc` on its connection's thread: a body becomes a call, the call's answer the reply.

use super::{Answered, Exchange};
use crate::gateway::event::{Call, Order};
use crate::gateway::programs::calls::CallOrder;
use crate::gateway::programs::feed::Feed;
use crate::http::api::admin::{self, Ask, Wish};
use crate::http::route;
use crate::sys::id::Entropy;

/// Serves one call.
pub fn serve(exchange: &Exchange<'_>) -> Answered {
    let mut ask = match Ask::read(&exchange.body.take()) {
        Ok(ask) => ask,
        Err(reply) => return Answered::Reply(reply),
    };
    let fresh = || Entropy::from_os().map(|mut entropy| entropy.uuid()).unwrap_or_default();
    let id = ask.id.take().unwrap_or_else(fresh);
    let call = match ask.wish() {
        Wish::List => return Answered::Reply(admin::list(&id)),
        Wish::NotOffered => return Answered::Reply(admin::not_offered(&id, &ask.method)),
        Wish::Call(row, params) => Call::Known(row, params),
    };
    let order = CallOrder { id, call, scopes: exchange.grant.scopes.clone() };
    let Some(mut ordered) = exchange.order(Order::Call(Box::new(order))) else {
        return Answered::Reply(route::unavailable());
    };
    match ordered.next(exchange) {
        Some(Feed::Answer(frame)) => Answered::Reply(admin::answer(&frame)),
        _ if exchange.hub.is_stopping() => Answered::Reply(route::unavailable()),
        _ => Answered::Gone,
    }
}
