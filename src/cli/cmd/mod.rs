//! One file per command or family: arguments in, lines or one JSON document out.
//! Each knows its own texts; none opens a socket or reads the environment itself.

pub mod agent;
pub mod agents;
pub mod approvals;
pub mod channels;
pub mod config;
pub mod cron;
pub mod devices;
pub mod gateway_call;
pub mod gateway_discover;
pub mod gateway_probe;
pub mod gateway_run;
pub mod gateway_start;
pub mod gateway_status;
pub mod gateway_status_text;
pub mod health;
pub mod logs;
pub mod models;
pub mod models_status;
pub mod nodes;
pub mod protocol;
pub mod sessions;
pub mod status;
pub mod system;
pub mod text;
