//! The wire truth: every shape, method, event and error of protocols 3 and 4 as `const` data, the
//! validator, the frame codec and the generators that all read the same table.
//! Pure: no I/O, no clock, no logging; imports nobody but serde.

pub mod check;
#[cfg(test)]
mod conformance;
pub mod defs;
pub mod defs_agent;
pub mod defs_cron;
pub mod emit;
pub mod errors;
pub mod events;
pub mod frame;
pub mod kinds;
pub mod lenient;
pub mod methods;
mod pack;
pub mod table;
