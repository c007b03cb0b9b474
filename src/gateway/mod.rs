//! (being written)

pub mod auth;
pub mod device;
pub mod field;
pub mod logins;
pub mod origin;
pub mod pairing;
pub mod pairing_devices;
