//! The OpenClaw gateway and its command line.
//!
//! (code map with invariants: written with the first complete core)

#![forbid(unsafe_code)]

pub mod agent;
pub mod cli;
pub mod client;
pub mod config;
pub mod gateway;
pub mod http;
pub mod identity;
pub mod limits;
pub mod protocol;
pub mod service;
pub mod session;
pub mod store;
pub mod sys;
