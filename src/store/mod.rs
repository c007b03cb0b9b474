//! Files below the state directory: written atomically, read with bounds, and the shapes of the pairing stores, the
//! session indexes and the transcripts. Knows nothing of connections or policy.

pub mod atomic;
pub mod devices;
pub mod index_file;
pub mod lock;
pub mod nodes;
pub mod records;
pub mod run_log;
pub mod session;
pub mod sessions;
pub mod tail;
pub mod transcript;
pub mod trash;
