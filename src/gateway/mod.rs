//! (being written)

pub mod auth;
pub mod device;
pub mod logins;
pub mod origin;
