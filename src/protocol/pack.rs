//! The shapes of the table in the form in which the program carries them: a string of bytes made by the compiler and
//! unfolded at the first use. As data with pointers they would be 150 KiB more of addresses, which the loader has
//! to correct at every start. Owns that form and nothing else; `methods` and `events` are read here as `const` only.

use std::sync::LazyLock;

use super::events;
use super::kinds::{Def, EMPTY, Field, Kind, OPEN, Object};
use super::methods;
use super::table::{Event, Method};

/// The whole table, unfolded; lives as long as the process.
pub(super) static TABLE: LazyLock<(Vec<Method>, Vec<Event>)> = LazyLock::new(|| {
    let mut from = Reader { left: &BYTES, defs: Vec::new() };
    from.table().expect("the compiler has written what is read here")
});

/// Rows without their shapes, which follow in [`BYTES`] in the same order.
#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error of the build")]
static METHODS: [Method; methods::TABLE.len()] = {
    let mut rows = [methods::TABLE[0]; methods::TABLE.len()];
    let mut at = 0;
    while at < rows.len() {
        rows[at] = Method { params: &EMPTY, result: &OPEN, ..methods::TABLE[at] };
        at += 1;
    }
    rows
};

#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error of the build")]
static EVENTS: [Event; events::TABLE.len()] = {
    let mut rows = [events::TABLE[0]; events::TABLE.len()];
    let mut at = 0;
    while at < rows.len() {
        rows[at] = Event { payload: &EMPTY, ..events::TABLE[at] };
        at += 1;
    }
    rows
};

#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error of the build")]
static BYTES: [u8; PACKED.len] = {
    let packed = PACKED;
    let mut bytes = [0; PACKED.len];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = packed.bytes[at];
        at += 1;
    }
    bytes
};

const PACKED: Packed = Packed::table();

/// Room while the compiler writes; too little of it does not compile.
const ROOM: usize = 256 * 1024;

/// Most shared definitions.
const DEFS: usize = 512;

/// What the compiler has written so far. Runs at compile time only.
struct Packed {
    bytes: [u8; ROOM],
    len: usize,
    /// Names of the definitions written so far.
    defs: [&'static str; DEFS],
    known: usize,
}

#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error of the build")]
impl Packed {
    const fn table() -> Packed {
        let mut to = Packed { bytes: [0; ROOM], len: 0, defs: [""; DEFS], known: 0 };
        let mut rows = methods::TABLE;
        while let Some((row, rest)) = rows.split_first() {
            to.kind(row.params);
            to.kind(row.result);
            rows = rest;
        }
        let mut rows = events::TABLE;
        while let Some((row, rest)) = rows.split_first() {
            to.kind(row.payload);
            rows = rest;
        }
        to
    }

    const fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// Seven bits a byte, the lowest first.
    const fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    const fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        let mut left = text.as_bytes();
        while let Some((byte, rest)) = left.split_first() {
            self.byte(*byte);
            left = rest;
        }
    }

    const fn texts(&mut self, mut texts: &[&str]) {
        self.number(texts.len() as u64);
        while let Some((text, rest)) = texts.split_first() {
            self.text(text);
            texts = rest;
        }
    }

    /// The largest number, "unbounded", is the shortest to write.
    const fn bounds(&mut self, min: usize, max: usize) {
        self.number(min as u64);
        self.number((max as u64).wrapping_add(1));
    }

    const fn kind(&mut self, kind: &Kind) {
        match kind {
            Kind::Any => self.byte(tag::ANY),
            Kind::Bool => self.byte(tag::BOOL),
            Kind::Num => self.byte(tag::NUM),
            Kind::True => self.byte(tag::TRUE),
            Kind::Null => self.byte(tag::NULL),
            Kind::Str { min, max } => {
                self.byte(tag::STR);
                self.bounds(*min, *max);
            }
            Kind::Int { min, max } => {
                self.byte(tag::INT);
                self.number((*min as u64).wrapping_sub(i64::MIN as u64));
                self.number((i64::MAX as u64).wrapping_sub(*max as u64));
            }
            Kind::Lit(text) => {
                self.byte(tag::LIT);
                self.text(text);
            }
            Kind::OneOf(names) => {
                self.byte(tag::ONE_OF);
                self.texts(names);
            }
            Kind::Arr { item, min, max } => {
                self.byte(tag::ARR);
                self.bounds(*min, *max);
                self.kind(item);
            }
            Kind::Map(item) => {
                self.byte(tag::MAP);
                self.kind(item);
            }
            Kind::Nullable(kind) => {
                self.byte(tag::NULLABLE);
                self.kind(kind);
            }
            Kind::Obj(object) => self.object(object),
            Kind::Ref(def) => self.def(def),
            Kind::Union(kinds) => {
                self.byte(tag::UNION);
                self.number(kinds.len() as u64);
                let mut kinds = *kinds;
                while let Some((kind, rest)) = kinds.split_first() {
                    self.kind(kind);
                    kinds = rest;
                }
            }
        }
    }

    const fn object(&mut self, object: &Object) {
        self.byte(if object.open { tag::OPEN } else { tag::CLOSED });
        self.number(object.fields.len() as u64);
        let mut fields = object.fields;
        while let Some((field, rest)) = fields.split_first() {
            self.byte(field.required as u8);
            self.text(field.name);
            self.text(field.doc);
            self.kind(&field.kind);
            fields = rest;
        }
    }

    /// A definition is written where it is met first; later ones name its number.
    const fn def(&mut self, def: &Def) {
        let mut at = 0;
        while at < self.known {
            if same(self.defs[at], def.name) {
                self.byte(tag::KNOWN);
                return self.number(at as u64);
            }
            at += 1;
        }
        self.byte(tag::DEF);
        self.text(def.name);
        self.text(def.doc);
        self.kind(&def.kind);
        // after what it is made of: that is read first, too
        self.defs[self.known] = def.name;
        self.known += 1;
    }
}

const fn same(one: &str, two: &str) -> bool {
    let (mut one, mut two) = (one.as_bytes(), two.as_bytes());
    while let (Some((a, rest_of_one)), Some((b, rest_of_two))) = (one.split_first(), two.split_first()) {
        if *a != *b {
            return false;
        }
        (one, two) = (rest_of_one, rest_of_two);
    }
    one.is_empty() && two.is_empty()
}

mod tag {
    pub const ANY: u8 = 0;
    pub const BOOL: u8 = 1;
    pub const NUM: u8 = 2;
    pub const TRUE: u8 = 3;
    pub const NULL: u8 = 4;
    pub const STR: u8 = 5;
    pub const INT: u8 = 6;
    pub const LIT: u8 = 7;
    pub const ONE_OF: u8 = 8;
    pub const ARR: u8 = 9;
    pub const MAP: u8 = 10;
    pub const NULLABLE: u8 = 11;
    pub const OPEN: u8 = 12;
    pub const CLOSED: u8 = 13;
    pub const DEF: u8 = 14;
    pub const KNOWN: u8 = 15;
    pub const UNION: u8 = 16;
}

/// Unfolds what [`Packed`] has written.
struct Reader {
    left: &'static [u8],
    defs: Vec<&'static Def>,
}

impl Reader {
    fn table(&mut self) -> Option<(Vec<Method>, Vec<Event>)> {
        let mut methods = METHODS.to_vec();
        for row in &mut methods {
            row.params = leak(self.kind()?);
            row.result = leak(self.kind()?);
        }
        let mut events = EVENTS.to_vec();
        for row in &mut events {
            row.payload = leak(self.kind()?);
        }
        Some((methods, events))
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, left) = self.left.split_first()?;
        self.left = left;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn text(&mut self) -> Option<&'static str> {
        let length = self.count()?;
        let (text, left) = self.left.split_at_checked(length)?;
        self.left = left;
        std::str::from_utf8(text).ok()
    }

    fn bounds(&mut self) -> Option<(usize, usize)> {
        Some((self.count()?, usize::try_from(self.number()?.wrapping_sub(1)).unwrap_or(usize::MAX)))
    }

    fn kind(&mut self) -> Option<Kind> {
        Some(match self.byte()? {
            tag::ANY => Kind::Any,
            tag::BOOL => Kind::Bool,
            tag::NUM => Kind::Num,
            tag::TRUE => Kind::True,
            tag::NULL => Kind::Null,
            tag::STR => {
                let (min, max) = self.bounds()?;
                Kind::Str { min, max }
            }
            tag::INT => {
                let min = i64::MIN.wrapping_add_unsigned(self.number()?);
                Kind::Int { min, max: i64::MAX.wrapping_sub_unsigned(self.number()?) }
            }
            tag::LIT => Kind::Lit(self.text()?),
            tag::ONE_OF => Kind::OneOf(self.list(Reader::text)?),
            tag::ARR => {
                let (min, max) = self.bounds()?;
                Kind::Arr { item: leak(self.kind()?), min, max }
            }
            tag::MAP => Kind::Map(leak(self.kind()?)),
            tag::NULLABLE => Kind::Nullable(leak(self.kind()?)),
            tag::UNION => Kind::Union(self.list(Reader::kind)?),
            tag::DEF => {
                let def: &'static Def = leak(Def { name: self.text()?, doc: self.text()?, kind: self.kind()? });
                self.defs.push(def);
                Kind::Ref(def)
            }
            tag::KNOWN => {
                let at = self.count()?;
                Kind::Ref(self.defs.get(at)?)
            }
            open => Kind::Obj(leak(Object { fields: self.list(Reader::field)?, open: open == tag::OPEN })),
        })
    }

    fn field(&mut self) -> Option<Field> {
        let required = self.byte()? == 1;
        Some(Field { required, name: self.text()?, doc: self.text()?, kind: self.kind()? })
    }

    fn list<T>(&mut self, item: fn(&mut Reader) -> Option<T>) -> Option<&'static [T]> {
        let all: Option<Vec<T>> = (0..self.count()?).map(|_| item(self)).collect();
        Some(Vec::leak(all?))
    }
}

/// Once for each shape of the table.
fn leak<T>(thing: T) -> &'static T {
    Box::leak(Box::new(thing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfolded_is_what_the_table_says() {
        assert_eq!(format!("{:?}", TABLE.0), format!("{:?}", methods::TABLE));
        assert_eq!(format!("{:?}", TABLE.1), format!("{:?}", events::TABLE));
    }

    #[test]
    fn nothing_is_left_over_and_a_cut_end_is_noticed() {
        let mut from = Reader { left: &BYTES, defs: Vec::new() };
        assert!(from.table().is_some() && from.left.is_empty());
        let mut from = Reader { left: &BYTES[..BYTES.len() - 1], defs: Vec::new() };
        assert!(from.table().is_none());
    }
}
