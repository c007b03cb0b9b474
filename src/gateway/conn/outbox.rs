//! The queue between the state thread and one connection's writer, bounded by bytes.
//! Knows neither what the bytes mean nor who reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tungstenite::Bytes;

use crate::limits;

/// One thing for the writer.
pub enum Out {
    /// A complete text payload.
    Text(Bytes),
    /// An event up to `"seq":`, to be ended with this number and a brace.
    Event(Bytes, u64),
    /// A whole control frame, made by the WebSocket reader.
    Control(Bytes),
    /// A ping.
    Ping,
    /// The last frame.
    Close(u16, String),
}

impl Out {
    /// Bytes that count against the budget.
    fn weight(&self) -> usize {
        match self {
            Out::Text(bytes) | Out::Event(bytes, _) => bytes.len(),
            Out::Control(_) | Out::Ping | Out::Close(..) => 0,
        }
    }
}

/// The sending end.
#[derive(Clone)]
pub struct Outbox {
    queue: Sender<Out>,
    queued: Arc<AtomicUsize>,
    controls: Arc<AtomicUsize>,
}

/// The writer's end.
pub struct Inbox {
    /// What is to be written.
    pub queue: Receiver<Out>,
    queued: Arc<AtomicUsize>,
    controls: Arc<AtomicUsize>,
}

/// A connected pair. Unbounded in items because a bounded channel allocates all its slots at once
/// (10 KiB a client, exemplars 2b); bounded in bytes by the sender asking [`Outbox::queued`] first.
pub fn outbox() -> (Outbox, Inbox) {
    let (tx, rx) = unbounded();
    let queued = Arc::new(AtomicUsize::new(0));
    let controls = Arc::new(AtomicUsize::new(0));
    let inbox = Inbox { queue: rx, queued: queued.clone(), controls: controls.clone() };
    (Outbox { queue: tx, queued, controls }, inbox)
}

impl Outbox {
    /// Queues without waiting; a writer that has gone swallows it.
    pub fn push(&self, out: Out) {
        self.queued.fetch_add(out.weight(), Ordering::Relaxed);
        let _ = self.queue.send(out);
    }

    /// Queues a control reply unless too many wait already (a peer that floods pings gets fewer pongs).
    pub fn push_control(&self, frame: Bytes) {
        if self.controls.fetch_add(1, Ordering::Relaxed) < limits::QUEUED_CONTROLS {
            self.push(Out::Control(frame));
        } else {
            self.controls.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Bytes queued and not yet written.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }
}

impl Inbox {
    /// Tells the senders that this was written.
    pub fn written(&self, out: &Out) {
        self.queued.fetch_sub(out.weight(), Ordering::Relaxed);
        if matches!(out, Out::Control(_)) {
            self.controls.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_bytes_until_they_are_written() {
        let (out, inbox) = outbox();
        out.push(Out::Text(Bytes::from_static(b"12345")));
        out.push(Out::Event(Bytes::from_static(b"123"), 7));
        out.push(Out::Ping);
        assert_eq!(out.queued(), 8);
        for _ in 0..3 {
            inbox.written(&inbox.queue.recv().unwrap());
        }
        assert_eq!(out.queued(), 0);
    }

    #[test]
    fn drops_control_replies_beyond_the_limit() {
        let (out, inbox) = outbox();
        for _ in 0..100 {
            out.push_control(Bytes::from_static(b"pong"));
        }
        assert_eq!(inbox.queue.len(), limits::QUEUED_CONTROLS);
        inbox.written(&inbox.queue.recv().unwrap());
        out.push_control(Bytes::from_static(b"pong"));
        assert_eq!(inbox.queue.len(), limits::QUEUED_CONTROLS);
    }
}
