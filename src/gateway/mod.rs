//! (being written)

pub mod auth;
pub mod beacon;
pub mod device;
pub mod field;
pub mod logins;
pub mod no_device;
pub mod node_commands;
pub mod node_list;
pub mod origin;
pub mod pairing;
pub mod pairing_devices;
pub mod pairing_nodes;
pub mod presence;
