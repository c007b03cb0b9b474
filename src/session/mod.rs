//! Session logic without I/O.
