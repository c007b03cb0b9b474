//! HTTP/1.1 as pure code: heads, bodies, replies, event streams, routing. Owns no socket, no clock and no thread;
//! knows nothing of the gateway's state. The connection loop feeds it bytes and writes what it answers.

pub mod api;
pub mod body;
pub mod head;
pub mod locality;
pub mod pages;
pub mod proxy_login;
pub mod reply;
pub mod route;
pub mod sse;
