//! Scheduled jobs without clock, files or threads: what an expression means, when a job is due, what a run leaves
//! behind. Knows nothing of the gateway that runs them nor of the wire they are asked for on.

pub mod book;
pub mod expression;
pub mod history;
pub mod input;
pub mod job;
pub mod moment;
pub mod next;
pub mod schedule;
pub mod wish;
