//! The way from the threads that log to the one that writes. A console that nobody reads (a stopped pager, a full pipe)
//! or a disk that hangs must not stop the threads that log: what does not fit is counted and left out.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::TrySendError;
use log::Level;

use crate::limits;
use crate::sys::queue::{Receiver, Sender, bounded};
use crate::sys::thread;

/// Distance of the tries to get into a full queue at the end.
const POLL: Duration = Duration::from_millis(5);

/// Distance of two notices about lost lines.
const NOTICE_MS: u64 = 1000;

/// One finished record on its way to file and console.
pub(super) struct Line {
    pub wall_ms: u64,
    pub level: Level,
    pub subsystem: String,
    pub message: String,
    pub file: bool,
    pub console: bool,
    /// Lines left out before this one.
    pub left_out: u64,
}

enum Item {
    Line(Line),
    /// Answered when everything before it is written.
    Flush(crossbeam_channel::Sender<()>),
}

/// The logging threads' end.
pub(super) struct Queue {
    items: Sender<Item>,
    left_out: AtomicU64,
}

impl Queue {
    /// Starts the thread that writes.
    pub fn start(write: impl Fn(&Line) + Send + 'static) -> io::Result<Queue> {
        let (items, queue) = bounded(limits::LOG_QUEUE);
        thread::spawn("log", limits::STACK_PARSER, move || run(&queue, write))?;
        Ok(Queue { items, left_out: AtomicU64::new(0) })
    }

    /// Queues a line without waiting.
    pub fn put(&self, mut line: Line) {
        line.left_out = self.left_out.swap(0, Ordering::Relaxed);
        if let Err(TrySendError::Full(Item::Line(line)) | TrySendError::Disconnected(Item::Line(line))) =
            self.items.try_send(Item::Line(line))
        {
            self.left_out.fetch_add(line.left_out + 1, Ordering::Relaxed);
        }
    }

    /// Waits until what was queued is written, but not for long.
    pub fn flush(&self) {
        let end = Instant::now() + limits::LOG_FLUSH;
        let (done, written) = crossbeam_channel::bounded(1);
        let mut item = Item::Flush(done);
        while let Err(TrySendError::Full(back)) = self.items.try_send(item) {
            if Instant::now() >= end {
                return;
            }
            std::thread::sleep(POLL);
            item = back;
        }
        let _ = written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Losses are told once a second: while lines are lost the notices must not take the place of others.
fn run(queue: &Receiver<Item>, write: impl Fn(&Line)) {
    let (mut left_out, mut told_ms) = (0, None);
    for item in queue.iter() {
        match item {
            Item::Line(mut line) => {
                left_out += line.left_out;
                line.left_out = 0;
                if left_out > 0 && told_ms.is_none_or(|ms| line.wall_ms.abs_diff(ms) >= NOTICE_MS) {
                    line.left_out = std::mem::take(&mut left_out);
                    told_ms = Some(line.wall_ms);
                }
                write(&line);
            }
            Item::Flush(done) => drop(done.try_send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn line(message: &str) -> Line {
        let (subsystem, message) = ("gateway".to_string(), message.to_string());
        Line { wall_ms: 0, level: Level::Info, subsystem, message, file: true, console: true, left_out: 0 }
    }

    #[test]
    fn a_writer_that_hangs_stops_nobody_and_what_is_left_out_is_counted() {
        let (go, gate) = channel::<()>();
        let (seen, written) = channel();
        let queue = Queue::start(move |line| {
            let _ = gate.recv();
            let _ = seen.send((line.message.clone(), line.left_out));
        })
        .unwrap();
        let all = limits::LOG_QUEUE + 100;
        (0..all).for_each(|n| queue.put(line(&n.to_string())));
        drop(go);
        queue.flush();
        queue.put(line("last"));
        queue.flush();
        let lines: Vec<(String, u64)> = written.try_iter().collect();
        let (last, kept) = lines.split_last().unwrap();
        assert_eq!(last.0, "last");
        assert!(kept.len() == limits::LOG_QUEUE || kept.len() == limits::LOG_QUEUE + 1, "{}", kept.len());
        assert_eq!(kept.len() + usize::try_from(last.1).unwrap(), all);
    }
}
