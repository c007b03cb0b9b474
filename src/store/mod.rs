//! Files below the state directory: written atomically, read with bounds, and the shapes of the pairing stores.
//! Knows nothing of connections or policy.

pub mod atomic;
pub mod devices;
pub mod nodes;
pub mod records;
pub mod tail;
