//! All integration tests form one binary: one link.
