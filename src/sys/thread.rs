//! The one way to start a thread: named, with a chosen stack, and never silent when it panics.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::thread::{Builder, JoinHandle};
use std::{io, thread};

/// Starts a named thread; a panic inside is logged with its message and ends only this thread.
pub fn spawn(name: &str, stack: usize, f: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let name = name.replace('\0', "");
    let label = name.clone();
    Builder::new().name(name).stack_size(stack).spawn(move || {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
            log::error!(target: "gateway", "thread ended by a panic thread={label} message={}", message(payload.as_ref()));
        }
    })
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
    fn a_name_with_a_zero_byte_does_not_panic() {
        spawn("a\0b", 64 * 1024, || ()).unwrap().join().unwrap();
    }

    #[test]
    fn finds_the_text_of_both_kinds_of_panic() {
        assert_eq!(message(&"static"), "static");
        assert_eq!(message(&String::from("made")), "made");
        assert_eq!(message(&7_u8), "not a text");
    }
}
