//! The handlers, one file per family. Each takes the state and a checked request and returns an
//! answer; effects go into the list. No sockets, files, clock or randomness.

pub mod agent;
pub mod agents;
pub mod approvals;
pub mod channels;
pub mod chat;
pub mod commands;
pub mod config;
pub mod cron;
pub mod devices;
pub mod health;
pub mod logs;
pub mod models;
pub mod nodes;
pub mod session_read;
pub mod session_write;
pub mod sessions;
pub mod system;
pub mod tools;
pub mod usage;
