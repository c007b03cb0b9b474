//! All integration tests form one binary: one link.

mod cli;
