//! The table of configuration keys in the form of [`crate::pack`]. `keys` is read here as `const` only. Owns the order in
//! which a row is written, and nothing else.

use super::keys::{self, Key, Type};
use crate::pack::{self, Reader, Writer};

/// Every row.
pub(super) fn unfold() -> &'static [Key] {
    let mut from = Reader::new(&BYTES);
    pack::list(keys::TABLE.len(), || key(&mut from)).expect("the compiler has written what is read here")
}

static BYTES: [u8; PACKED.len()] = PACKED.bytes();

#[allow(long_running_const_eval, reason = "a second for some KiB of text")]
const PACKED: Writer = {
    let mut to = Writer::new();
    let mut rows = keys::TABLE;
    while let Some((row, rest)) = rows.split_first() {
        write_key(&mut to, row);
        rows = rest;
    }
    to
};

const fn write_key(to: &mut Writer, key: &Key) {
    to.text(key.path);
    to.text(key.default);
    to.text(key.doc);
    to.byte(key.sensitive as u8);
    match key.kind {
        Type::Flag => to.byte(0),
        Type::Text => to.byte(1),
        Type::Number => to.byte(2),
        Type::Texts => to.byte(3),
        Type::List => to.byte(4),
        Type::Map => to.byte(5),
        Type::Closed => to.byte(6),
        Type::Open => to.byte(7),
        Type::TextOr => to.byte(8),
        Type::Every => to.byte(9),
        Type::Any => to.byte(10),
        Type::Integer(min, max) => {
            to.byte(INTEGER);
            to.number(min as u64);
            to.number(max as u64);
        }
        Type::Choice(names) => {
            to.byte(CHOICE);
            to.texts(names);
        }
    }
}

/// Types without more, by their number.
const PLAIN: [Type; 11] = [
    Type::Flag,
    Type::Text,
    Type::Number,
    Type::Texts,
    Type::List,
    Type::Map,
    Type::Closed,
    Type::Open,
    Type::TextOr,
    Type::Every,
    Type::Any,
];
const INTEGER: u8 = 11;
const CHOICE: u8 = 12;

fn key(from: &mut Reader) -> Option<Key> {
    Some(Key {
        path: from.text()?,
        default: from.text()?,
        doc: from.text()?,
        sensitive: from.byte()? == 1,
        kind: match from.byte()? {
            INTEGER => Type::Integer(from.number()?.cast_signed(), from.number()?.cast_signed()),
            CHOICE => Type::Choice(from.texts()?),
            plain => *PLAIN.get(usize::from(plain))?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfolded_is_what_the_table_says() {
        assert_eq!(format!("{:?}", unfold()), format!("{:?}", keys::TABLE));
    }
}
