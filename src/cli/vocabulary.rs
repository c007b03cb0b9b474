//! The words of the protocol that help and completion offer: the method names with their one line.
//! Reads the protocol table; knows no command.

use crate::protocol::methods::METHODS;

/// Every listed method with its one line, sorted by name.
pub fn methods() -> impl Iterator<Item = (&'static str, &'static str)> {
    METHODS.iter().filter(|method| method.listed).map(|method| (method.name, method.doc))
}
