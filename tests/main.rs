//! All integration tests form one binary: one link. Chapters follow `spec/protocol.md` and drive the real program;
//! `tidy` reads the source. Knows nothing of what the chapters check.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod ch01_handshake;
mod ch02_auth;
mod ch03_requests;
mod ch04_events;
mod ch05_agent;
mod ch05_commands;
mod ch05_heartbeat;
mod ch05_models;
mod ch05_queue;
mod ch05_roster;
mod ch05_sessions;
mod ch08_chat;
mod ch08_http;
mod ch08_replay;
mod ch08_responses;
mod ch09_admin_rpc;
mod ch09_embeddings;
mod ch09_hooks;
mod ch09_metrics;
mod ch09_tools;
mod ch10_shutdown;
mod ch11_limits;
mod ch12_cli;
mod ch13_mutation;
mod ch14_cron;
mod cli;
mod harness;
mod readme;
mod tidy;

/// A test file that no `mod` line names would never run.
#[test]
fn no_test_file_is_forgotten() {
    for (folder, list) in [("tests", include_str!("main.rs")), ("tests/harness", include_str!("harness/mod.rs"))] {
        for entry in std::fs::read_dir(tidy::root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let rust = path.extension().is_some_and(|ext| ext == "rs");
            if rust && !["main", "mod"].contains(&stem.as_str()) {
                assert!(list.contains(&format!("mod {stem};")), "{folder}/{stem}.rs is named by no mod line");
            }
        }
    }
}
