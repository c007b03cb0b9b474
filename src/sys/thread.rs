//! The one way to start a thread: named, with a chosen stack, and never silent when it panics.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use std::{io, thread};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::queue::{self, Sender};

/// Starts a named thread; a panic inside is logged with its message and ends only this thread.
pub fn spawn(name: &str, stack: usize, f: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    start(name, stack, Box::new(f))
}

/// Boxed, because the library's part of starting a thread would be compiled anew for every closure.
fn start(name: &str, stack: usize, f: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    let name = name.replace('\0', "");
    let label = name.clone();
    Builder::new().name(name).stack_size(stack).spawn(move || {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
            log::error!(target: "gateway", "thread ended by a panic thread={label} message={}", message(payload.as_ref()));
        }
    })
}

/// What work in a thread of its own gives.
pub struct Pending<T> {
    result: Arc<Mutex<Option<T>>>,
    // Nothing is ever sent: that the sender is gone says that the work is over.
    over: Receiver<()>,
}

/// Starts work whose result somebody waits for, or not any more. In place of a channel for each type of result.
pub fn ask<T, F>(name: &str, stack: usize, work: F) -> io::Result<Pending<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (pending, job) = pending(work);
    spawn(name, stack, job)?;
    Ok(pending)
}

/// Work that leaves its result where the other half finds it.
fn pending<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> (Pending<T>, impl FnOnce() + Send) {
    let (busy, over) = crossbeam_channel::bounded(0);
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    let job = move || {
        let _busy = busy;
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(work());
    };
    (Pending { result, over }, job)
}

/// A thread that does one piece of work after the other, for callers whose own stacks are to stay small: what a deep
/// call has touched stays resident as long as its thread lives.
#[derive(Clone)]
pub struct Worker {
    jobs: Sender<Box<dyn FnOnce() + Send>>,
}

impl Worker {
    /// Starts it; it ends with its last handle.
    pub fn start(name: &str, stack: usize) -> io::Result<Worker> {
        let (jobs, queue) = queue::unbounded::<Box<dyn FnOnce() + Send>>();
        let work = move || {
            for job in queue.iter() {
                // The panic hook has logged it; whoever waits learns that there is no result.
                let _ = panic::catch_unwind(AssertUnwindSafe(job));
            }
        };
        spawn(name, stack, work)?;
        Ok(Worker { jobs })
    }

    /// Queues work whose result somebody waits for.
    pub fn ask<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
        let (pending, job) = pending(work);
        // A worker that has gone drops the job, and with it the sender that keeps the caller waiting.
        let _ = self.jobs.send(Box::new(job));
        pending
    }
}

impl<T> Pending<T> {
    /// The result, unless it takes longer than this or the work panicked.
    pub fn wait(self, most: Duration) -> Option<T> {
        match self.over.recv_timeout(most) {
            Err(RecvTimeoutError::Disconnected) => self.result.lock().unwrap_or_else(PoisonError::into_inner).take(),
            _ => None,
        }
    }

    /// Whether the work is over, waiting for it this long at most.
    pub fn is_over(&self, most: Duration) -> bool {
        self.over.recv_timeout(most) == Err(RecvTimeoutError::Disconnected)
    }

    /// The result, unless the work panicked.
    pub fn join(self) -> Option<T> {
        // Nothing is sent, so this returns when the work is over.
        let _ = self.over.recv();
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Replaces the default panic report by a log line with thread, place and message; call once at start.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        log::error!(target: "gateway", "panic thread={name} place={place} message={}", message(info.payload()));
        // A panic of the main thread is the end of the process.
        log::logger().flush();
    }));
}

/// The text of a panic's payload.
pub fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        return text;
    }
    payload.downcast_ref::<String>().map_or("not a text", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn runs_under_its_name() {
        let (send, receive) = mpsc::channel();
        let thread = spawn("read:7", 64 * 1024, move || {
            send.send(thread::current().name().map(str::to_owned)).unwrap();
        });
        thread.unwrap().join().unwrap();
        assert_eq!(receive.recv().unwrap().as_deref(), Some("read:7"));
    }

    #[test]
    fn a_panic_ends_the_thread_and_not_the_joiner() {
        let thread = spawn("will-panic", 64 * 1024, || panic!("on purpose, in a test"));
        assert!(thread.unwrap().join().is_ok());
    }

    #[test]
    fn a_worker_outlives_work_that_panics() {
        let worker = Worker::start("worker", 64 * 1024).unwrap();
        let (bad, good) = (worker.ask(|| -> u8 { panic!("on purpose, in a test") }), worker.ask(|| 7));
        assert_eq!((bad.join(), good.join()), (None, Some(7)));
    }

    #[test]
    fn a_name_with_a_zero_byte_does_not_panic() {
        spawn("a\0b", 64 * 1024, || ()).unwrap().join().unwrap();
    }

    #[test]
    fn finds_the_text_of_both_kinds_of_panic() {
        assert_eq!(message(&"static"), "static");
        assert_eq!(message(&String::from("made")), "made");
        assert_eq!(message(&7_u8), "not a text");
    }

    #[test]
    fn work_is_waited_for_as_long_as_one_likes() {
        assert_eq!(ask("t", 64 * 1024, || "done").unwrap().join(), Some("done"));
        assert_eq!(ask("t", 64 * 1024, || 7).unwrap().wait(Duration::from_secs(10)), Some(7));
        assert_eq!(ask("t", 64 * 1024, || -> u8 { panic!("no") }).unwrap().join(), None);
        let quick = ask("t", 64 * 1024, || 7).unwrap();
        assert!(quick.is_over(Duration::from_secs(10)) && quick.join() == Some(7));
        let (go, gate) = mpsc::channel::<()>();
        let slow = ask("t", 64 * 1024, move || gate.recv().is_ok()).unwrap();
        assert_eq!(slow.wait(Duration::from_millis(1)), None);
        drop(go);
    }
}
