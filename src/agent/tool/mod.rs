//! Tools.
pub mod approval;
pub mod args;
pub mod desk;
pub mod outcome;
pub mod policy;
pub mod table;
