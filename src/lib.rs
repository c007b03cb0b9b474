//! The OpenClaw gateway and its command line: one binary that is server, client and tool.
//!
//! # Map
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`protocol`] | the wire truth as `const` data: shapes, methods, events, errors; validator, frame codec, generators | anything else: beside serde it imports `limits` and `pack` only |
//! | [`gateway`] | the daemon: connections, the state thread, handshake, pairing, presence, handlers | the command line |
//! | [`agent`] | a turn: the loop, models and their wire forms, tools, approvals, HTTP to servers | connections, clients, gateway state |
//! | [`session`] | what a session is: keys, settings, history, prompts, compaction, usage, heartbeats' rules | models, connections, the gateway |
//! | [`http`] | HTTP/1.1 without sockets: heads, bodies, replies, routes; what programs ask and are answered | connections, gateway state |
//! | [`config`] | where files are, how the configuration is read, what a start may do | sockets, gateway state |
//! | [`store`] | files below the state directory: atomic writes, bounded reads, shapes of the pairing stores | connections, policy |
//! | [`identity`] | Ed25519 keys, device ids, the signed payload forms | who is trusted |
//! | [`client`] | a blocking WebSocket client that speaks both protocols | the gateway's inside |
//! | [`cli`] | flag table, parser, help, completions, one file per command | the gateway, except in `cmd::gateway_start` |
//! | [`cron`] | scheduled jobs: expressions, next moments, what a run leaves behind | clock, files, the gateway |
//! | [`service`] | read-only look at service managers, ports and other gateways | the protocol |
//! | [`sys`] | the house's own standard library: clock, ids, threads, signals, log, redaction | everything above it |
//! | `json` | the `json!` of all files | everything else |
//! | [`pack`] | tables as bytes that the compiler writes and the first use unfolds | what a row holds |
//! | [`limits`] | every default, cap and deadline, each with its reason | who uses them |
//!
//! # Threads
//!
//! `state` (the main thread) owns everything the gateway knows. `accept:<port>` counts and hands over.
//! `read:<conn>` starts as an HTTP connection, where it serves programs too, and may become a WebSocket, beside which
//! `write:<conn>` alone writes. `clerk` reads the first message of each, so that the deep stack it takes stays with one
//! thread. `run:<id>` works on one turn and tells the state thread how it goes. `store` alone writes files below the state
//! directory, and `reader` reads them for clients. `errand` answers what takes longer than a file's reading, and another of
//! that name calls the webhooks of jobs; both start with their first question. `log` writes the log; `ctrl-c` and `usr1`
//! wait for signals. Nothing else lives for long.
//!
//! # Invariants
//!
//! - State is changed by one thread, through [`gateway::handle::handle`]: an input and the state become a
//!   changed state and a list of effects. It opens no socket, reads no clock and draws no randomness of
//!   its own; the core performs what it asks for.
//! - The state thread never waits for a socket, a file or another thread. Readers wait for it: its queue
//!   is bounded, and a full queue is TCP backpressure.
//! - There is no lock around domain state. Locks exist in [`sys`] only (log, signals, children, cancelling, results of threads), which a test checks.
//! - Every request is answered exactly once, also when a handler panics, a file cannot be written, or the
//!   gateway is stopping. What is acknowledged is on disk.
//! - An event is encoded once for all receivers; its number per connection is added by the writers.
//! - A wire shape stands in the protocol table and nowhere else. A method without a handler, and a handler
//!   without a method, do not compile.
//! - Nothing from outside is unbounded: bytes, items, depth, time, count. The bounds stand in [`limits`].
//! - Secrets live in types that do not print. Log texts pass through [`sys::redact`] and hold nothing that
//!   a peer wrote.

#![forbid(unsafe_code)]

#[macro_use]
mod json;

pub mod agent;
pub mod cli;
pub mod client;
pub mod config;
pub mod cron;
pub mod gateway;
pub mod http;
pub mod identity;
pub mod limits;
pub mod pack;
pub mod protocol;
pub mod service;
pub mod session;
pub mod store;
pub mod sys;
