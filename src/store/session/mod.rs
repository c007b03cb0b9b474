//! Parts of the session store: JSON objects that keep their order, and the entries of the index.
//! Knows the form of the files, not what a session is used for.

pub mod archive;
pub mod entry;
pub mod layout;
pub mod object;
pub mod retain;
pub mod throwaway;
pub mod writer;
