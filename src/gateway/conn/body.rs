//! Reads the body of an admitted request off its connection: bounded in bytes, in time, and together with the bodies of
//! all other requests. The grammar is `crate::http::body`'s.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::http::Server;
use crate::http::body::{BodyFault, BodyReader};
use crate::http::head::Head;
use crate::http::reply::{CONTINUE, Reply};
use crate::limits;

/// A whole body; what it takes of the common budget goes back when it is dropped: what was made of it is as large.
pub struct Body {
    bytes: Cell<Vec<u8>>,
    budget: Arc<AtomicUsize>,
    held: Cell<usize>,
}

impl Body {
    /// An empty one.
    pub(super) fn new(budget: &Arc<AtomicUsize>) -> Body {
        Body { bytes: Cell::default(), budget: budget.clone(), held: Cell::new(0) }
    }

    /// The bytes, once: a run takes minutes, and nobody needs them any more when they are read.
    pub fn take(&self) -> Vec<u8> {
        self.bytes.take()
    }

    /// Whether there is room for more: for what comes with the request in other ways, too.
    pub fn hold(&self, more: usize) -> bool {
        let room = |sum: usize| sum.checked_add(more).filter(|sum| *sum <= limits::HTTP_BODIES_BYTES);
        let fits = self.budget.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok();
        self.held.set(self.held.get() + if fits { more } else { 0 });
        fits
    }

    /// Gives back what was not needed.
    pub fn let_go(&self, less: usize) {
        let less = less.min(self.held.get());
        self.held.set(self.held.get() - less);
        self.budget.fetch_sub(less, Ordering::AcqRel);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.held.get(), Ordering::AcqRel);
    }
}

/// Why there is no body.
enum Fault {
    /// Against the grammar, or too large.
    Body(BodyFault),
    /// All requests together hold too much.
    Crowded,
    /// It did not arrive in time.
    TooSlow,
    /// The client has gone.
    Gone,
}

impl Fault {
    /// The answer, after which the connection ends: what follows cannot be told from the body. None when nobody is left.
    fn reply(self) -> Option<Reply> {
        match self {
            Fault::Body(BodyFault::TooLarge) => Some(Reply::too_large()),
            Fault::Body(fault) => {
                Some(Reply::error(fault.status(), &fault.to_string(), "invalid_request_error").closing())
            }
            Fault::Crowded => Some(crowded().closing()),
            Fault::TooSlow => Some(Reply::body_timeout()),
            Fault::Gone => None,
        }
    }
}

/// There is no room for what a request holds.
pub fn crowded() -> Reply {
    let text = "too many large requests at once; try again in a moment";
    Reply::error(503, text, "service_unavailable").header("Retry-After", "1")
}

impl Server<'_> {
    /// The request's body, or the answer that ends the connection; `Err(None)` when the client has gone.
    pub(super) fn body(&mut self, head: &Head, max: usize) -> Result<Body, Option<Reply>> {
        self.read_body(head, max).map_err(Fault::reply)
    }

    fn read_body(&mut self, head: &Head, max: usize) -> Result<Body, Fault> {
        let mut reader = BodyReader::new(head.body(), max).map_err(Fault::Body)?;
        let mut body = Body::new(&self.hub.bodies);
        if !reader.done() && head.expects_continue() && self.heads.rest().is_empty() {
            self.socket.write_all(CONTINUE).map_err(|_| Fault::Gone)?;
        }
        let rest = self.heads.rest().to_vec();
        let used = take(&mut reader, &mut body, &rest)?;
        self.heads.consume(used);
        let deadline = Instant::now() + limits::HTTP_BODY;
        // Not on the stack, whose pages would stay with the connection.
        let mut chunk = vec![0_u8; if reader.done() { 0 } else { limits::HTTP_READ_BYTES }];
        while !reader.done() {
            let fresh = self.more(&mut chunk, deadline)?;
            let used = take(&mut reader, &mut body, fresh)?;
            let over = fresh.get(used..).unwrap_or_default();
            self.heads.give_back(over);
        }
        Ok(body)
    }

    /// Some bytes off the socket before the deadline; none after an interruption.
    fn more<'a>(&mut self, chunk: &'a mut [u8], deadline: Instant) -> Result<&'a [u8], Fault> {
        let wait = deadline.saturating_duration_since(Instant::now());
        if wait.is_zero() || !self.wait_at_most(wait) {
            return Err(Fault::TooSlow);
        }
        let mut socket = self.socket;
        match socket.read(chunk) {
            Ok(0) => Err(Fault::Gone),
            Ok(n) => Ok(chunk.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(&[]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(Fault::TooSlow),
            Err(_) => Err(Fault::Gone),
        }
    }
}

/// Takes the body's bytes out of these; how many were its own.
fn take(reader: &mut BodyReader, body: &mut Body, bytes: &[u8]) -> Result<usize, Fault> {
    if !bytes.is_empty() && !body.hold(bytes.len()) {
        return Err(Fault::Crowded);
    }
    let into = body.bytes.get_mut();
    reader.push(bytes, |piece| into.extend_from_slice(piece)).map_err(Fault::Body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bodies_together_are_bounded_and_give_their_room_back() {
        let budget = Arc::new(AtomicUsize::new(0));
        let (one, other) = (Body::new(&budget), Body::new(&budget));
        assert!(one.hold(limits::HTTP_BODIES_BYTES - 1) && other.hold(1));
        drop(one.take());
        assert!(!other.hold(1), "there is no room for another byte");
        assert_eq!(Fault::Crowded.reply().map(|reply| reply.status()), Some(503));
        drop(one);
        assert!(other.hold(limits::HTTP_BODIES_BYTES - 1));
        other.let_go(5);
        assert!(other.hold(5) && !other.hold(1));
        drop(other);
        assert_eq!(budget.load(Ordering::Acquire), 0);
    }
}
