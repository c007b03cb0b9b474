//! HTTP programs as the state sees them: who may use which interface, the runs they order, what they are told. Pure;
//! requests are read and answers written in `conn::program`.

pub mod admit;
pub mod calls;
pub mod embeddings;
pub mod failure;
pub mod feed;
pub mod previous;
pub mod runs;
pub mod target;
pub mod tools;
