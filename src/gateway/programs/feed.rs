//! The line from the state thread to an HTTP handler that waits for a run: bounded by bytes, so that a client that does
//! not read costs no more than that. Knows nothing of HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::runs::{Ended, Failed};
use crate::agent::message::Usage;
use crate::gateway::conn::Bytes;
use crate::http::reply::Reply;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::queue::{Receiver, Sender, unbounded};

/// What a handler is told.
#[derive(Debug)]
pub enum Feed {
    /// The order was taken; the run waits for its turn or works.
    Taken {
        /// Its session.
        session_key: String,
    },
    /// More of the assistant's text.
    Text(String),
    /// It is over; nothing comes after it.
    Ended(Box<Ended>),
    /// The response frame of a call; nothing comes after it.
    Answer(Bytes),
    /// The whole answer; nothing comes after it.
    Reply(Box<Reply>),
}

impl Feed {
    /// An end without a word.
    pub fn failed(error: WireError) -> Feed {
        let result = Err(Failed { cause: None, status: None, error });
        Feed::Ended(Box::new(Ended { result, usage: Usage::default() }))
    }

    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Feed::Ended(_) | Feed::Answer(_) | Feed::Reply(_))
    }

    fn weight(&self) -> usize {
        match self {
            Feed::Text(text) => text.len() + 64,
            Feed::Taken { .. } | Feed::Ended(_) | Feed::Answer(_) | Feed::Reply(_) => 0,
        }
    }
}

/// The state thread's end.
pub struct FeedLine {
    queue: Sender<Feed>,
    queued: Arc<AtomicUsize>,
}

/// The handler's end.
pub struct FeedEnd {
    queue: Receiver<Feed>,
    queued: Arc<AtomicUsize>,
}

/// How waiting for the next piece ended.
#[derive(Debug)]
pub enum Next {
    /// With this.
    Feed(Feed),
    /// With nothing in that time.
    Nothing,
    /// The line was cut: the handler is too slow, or the gateway has ended.
    Cut,
}

/// A connected pair.
pub fn line() -> (FeedLine, FeedEnd) {
    let (tx, rx) = unbounded();
    let queued = Arc::new(AtomicUsize::new(0));
    (FeedLine { queue: tx, queued: queued.clone() }, FeedEnd { queue: rx, queued })
}

impl FeedLine {
    /// Hands something on; false when the handler has gone or lets too much pile up.
    pub fn push(&self, feed: Feed) -> bool {
        let weight = feed.weight();
        if weight > 0 && self.queued.load(Ordering::Acquire) > limits::PROGRAM_FEED_BYTES {
            return false;
        }
        self.queued.fetch_add(weight, Ordering::AcqRel);
        self.queue.send(feed).is_ok()
    }
}

impl FeedEnd {
    /// The next piece, waited for at most this long.
    pub fn next(&self, wait: Duration) -> Next {
        match self.queue.recv_timeout(wait) {
            Ok(feed) => {
                self.queued.fetch_sub(feed.weight(), Ordering::AcqRel);
                Next::Feed(feed)
            }
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_that_does_not_read_is_cut_off_at_the_bound() {
        let (line, end) = line();
        let piece = "x".repeat(64 * 1024);
        let taken = (0..1000).take_while(|_| line.push(Feed::Text(piece.clone()))).count();
        assert!(taken * piece.len() <= limits::PROGRAM_FEED_BYTES + piece.len() + 64 * taken, "{taken}");
        assert!(matches!(end.next(Duration::ZERO), Next::Feed(Feed::Text(_))));
        assert!(line.push(Feed::Text(String::new())), "there is room again");
        drop(line);
        while matches!(end.next(Duration::ZERO), Next::Feed(_)) {}
        assert!(matches!(end.next(Duration::ZERO), Next::Cut));
    }

    #[test]
    fn the_end_always_fits() {
        let (line, end) = line();
        while line.push(Feed::Text("x".repeat(1 << 20))) {}
        assert!(line.push(Feed::Taken { session_key: String::new() }));
        drop(end);
        assert!(!line.push(Feed::Taken { session_key: String::new() }), "nobody is there");
    }
}
