//! A run of an agent: prompt, model, tools, events. Owns what happens between a message and its answer; knows nothing
//! of the gateway's state, of connections and of protocol versions.

pub mod control;
pub mod http;
pub mod message;
pub mod model;
pub mod run;
pub mod tool;
