//! A sign of life on standard error while a command waits longer than a second.
//! Shows nothing unless standard error is a terminal; erases itself.

use std::io::{self, IsTerminal, Write};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::limits;

const FRAMES: &[&str] = &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const FRAME: Duration = Duration::from_millis(100);

/// Runs until it is dropped.
pub struct Spinner {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Spinner {
    /// Starts waiting; after [`limits::SPINNER_AFTER`] the label appears.
    pub fn start(label: &str, wanted: bool) -> Spinner {
        if !wanted || !io::stderr().is_terminal() {
            return Spinner { running: None };
        }
        let (stop, stopped) = bounded(0);
        let label = super::out::clean(label);
        let thread = crate::sys::thread::spawn("spinner", limits::STACK_WRITER, move || turn(&label, &stopped));
        // Without a thread there is no spinner; the command itself is not affected.
        Spinner { running: thread.ok().map(|thread| (stop, thread)) }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A panic in the spinner was already logged by the thread itself.
            let _ = thread.join();
        }
    }
}

fn turn(label: &str, stopped: &Receiver<()>) {
    if stopped.recv_timeout(limits::SPINNER_AFTER) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    for frame in FRAMES.iter().cycle() {
        show(&format!("\r{frame} {label}"));
        if stopped.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    show("\r\x1b[2K");
}

fn show(text: &str) {
    let mut stderr = io::stderr().lock();
    // A terminal that went away needs no spinner.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
