//! (being written)

pub mod devices;
pub mod nodes;
pub mod records;
