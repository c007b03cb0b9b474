//! Reading and printing of the JSON objects in which pairing records are kept, one record per key.
//! Knows the form of such a file, not what its records mean nor where it lies.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::json::Members;
use crate::sys::table::Table;

/// Members of a record that this program does not know; kept so that another version finds them again.
/// `Debug` shows their number only: they may hold secrets.
#[derive(Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Extra(Map<String, Value>);

impl Extra {
    /// What was left of a record.
    pub fn of(members: Map<String, Value>) -> Extra {
        Extra(members)
    }
}

/// What is kept in such a file.
pub trait Record {
    /// Takes the members it knows; the faults stay with `from`.
    fn read(from: &mut Members) -> Self;
}

/// Reads one record.
///
/// # Errors
/// A member that is missing or of another type.
pub fn record<T: Record>(value: Value) -> Result<T, serde_json::Error> {
    let mut from = Members::of(value);
    let record = T::read(&mut from);
    from.done(record)
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extra({} members)", self.0.len())
    }
}

/// Why a file as a whole cannot be used.
#[derive(Debug)]
pub struct RecordsFault(serde_json::Error);

impl fmt::Display for RecordsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pairing store is not a JSON object")
    }
}

impl std::error::Error for RecordsFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// A file's records; those that could not be read are named, not fatal.
#[derive(Debug)]
pub struct Records<T> {
    /// Readable records by key.
    pub entries: Table<String, T>,
    /// Keys of records that were left out; worth a warning and a copy of the file.
    pub skipped: Vec<String>,
}

impl<T> Default for Records<T> {
    fn default() -> Records<T> {
        Records { entries: Table::new(), skipped: Vec::new() }
    }
}

/// Reads a file's text; a blank file counts as empty.
pub fn parse<T: Record>(text: &str) -> Result<Records<T>, RecordsFault> {
    let mut records = Records::default();
    if text.trim().is_empty() {
        return Ok(records);
    }
    let map: Map<String, Value> = serde_json::from_str(text).map_err(RecordsFault)?;
    for (key, value) in map {
        match record(value) {
            Ok(record) => {
                records.entries.insert(key, record);
            }
            Err(_) => records.skipped.push(key),
        }
    }
    Ok(records)
}

/// The file's text: two-space JSON without a final line end, as the original writes it.
pub fn print<T: Serialize>(entries: &Table<String, T>) -> String {
    serde_json::to_string_pretty(entries).expect("records hold only strings, numbers, lists and string-keyed maps")
}
