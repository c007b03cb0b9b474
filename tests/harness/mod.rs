//! What the chapters share: the real program in a home of its own, raw sockets, a raw WebSocket for bad input and a
//! peer that speaks the protocol. Every wait has a deadline; nothing sleeps to wait.

pub mod device;
pub mod gateway;
pub mod http;
pub mod peer;
pub mod replay;
pub mod upstream;
pub mod websocket;

use std::time::Duration;

/// How long any single wait may take: far above what a loaded machine needs, below the watchdog.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a gateway of a test may live: past it the watchdog kills it and every wait of the test fails.
pub const WATCHDOG: Duration = Duration::from_secs(20);
/// The shared token of every gateway the harness starts.
pub const TOKEN: &str = "harness-token-7f3a91";
