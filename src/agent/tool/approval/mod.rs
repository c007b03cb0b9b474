//! Whether a command may run: the policy file, the reading of command lines, the judgement, and approvals that wait for
//! an operator (agent.md 17). Pure throughout: files, clocks and connections are the caller's.

pub mod command;
pub mod file;
pub mod judge;
pub mod pending;
pub mod safe;
