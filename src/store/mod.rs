//! Files below the state directory: written atomically, read with bounds. Knows nothing of what they mean.

pub mod atomic;
pub mod tail;
