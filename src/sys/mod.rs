//! What the program needs from the operating system: time, randomness, threads, signals, logging.
//! Knows nothing of the gateway, its protocol or its files; the only place where locks may live.

pub mod beneath;
pub mod cancel;
pub mod child;
pub mod clock;
pub mod date;
pub mod group;
pub mod host;
pub mod id;
pub mod log;
pub mod memory;
pub mod notify;
pub mod order;
pub mod queue;
pub mod redact;
pub mod signals;
pub mod table;
pub mod thread;
pub mod turn;
pub mod zone;
