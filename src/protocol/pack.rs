//! The table in the form of [`crate::pack`]: shapes, texts and definitions as bytes. `methods` and `events` are read here
//! as `const` only. Owns the order in which a row, a shape and a member are written, and nothing else.

use std::sync::LazyLock;

use super::events;
use super::kinds::{Def, Field, Kind, Object};
use super::methods;
use super::table::{Answer, Event, Handler, Method, Roles, Scope};
use crate::pack::{self, Reader, Writer};

/// The whole table, unfolded; lives as long as the process.
pub(super) static TABLE: LazyLock<(&[Method], &[Event])> =
    LazyLock::new(|| Unfolded::new(&BYTES).table().expect("the compiler has written what is read here"));

static BYTES: [u8; PACKED.to.len()] = PACKED.to.bytes();

#[allow(long_running_const_eval, reason = "some seconds for a hundred KiB of text")]
const PACKED: Packed = Packed::table();

/// What a method's row says without a text or a shape.
#[derive(Clone, Copy)]
struct MethodRules {
    versions: (u8, u8),
    scopes: (Scope, Scope),
    roles: (Roles, Roles),
    listed: bool,
    answer: Answer,
    idempotent: bool,
    handler: Handler,
}

/// The same of an event's row.
#[derive(Clone, Copy)]
struct EventRules {
    since: u8,
    guards: (Scope, Scope),
    drop_if_slow: bool,
    versioned: bool,
}

#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error of the build")]
static METHODS: [MethodRules; methods::TABLE.len()] = {
    let mut all = [method_rules(&methods::TABLE[0]); methods::TABLE.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = method_rules(&methods::TABLE[at]);
        at += 1;
    }
    all
};

#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error of the build")]
static EVENTS: [EventRules; events::TABLE.len()] = {
    let mut all = [event_rules(&events::TABLE[0]); events::TABLE.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = event_rules(&events::TABLE[at]);
        at += 1;
    }
    all
};

const fn method_rules(row: &Method) -> MethodRules {
    MethodRules {
        versions: (row.since, row.until),
        scopes: (row.scope_v3, row.scope_v4),
        roles: (row.roles_v3, row.roles_v4),
        listed: row.listed,
        answer: row.answer,
        idempotent: row.idempotent,
        handler: row.handler,
    }
}

const fn event_rules(row: &Event) -> EventRules {
    EventRules {
        since: row.since,
        guards: (row.guard_v3, row.guard_v4),
        drop_if_slow: row.drop_if_slow,
        versioned: row.versioned,
    }
}

/// Most shared definitions.
const DEFS: usize = 512;

/// What the compiler has written so far. Runs at compile time only.
struct Packed {
    to: Writer,
    /// Names of the definitions written so far.
    defs: [&'static str; DEFS],
    known: usize,
}

#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error of the build")]
impl Packed {
    const fn table() -> Packed {
        let mut packed = Packed { to: Writer::new(), defs: [""; DEFS], known: 0 };
        let mut rows = methods::TABLE;
        while let Some((row, rest)) = rows.split_first() {
            packed.method(row);
            rows = rest;
        }
        let mut rows = events::TABLE;
        while let Some((row, rest)) = rows.split_first() {
            packed.to.text(row.name);
            packed.to.text(row.doc);
            packed.kind(row.payload);
            rows = rest;
        }
        packed
    }

    const fn method(&mut self, row: &Method) {
        self.to.text(row.name);
        self.to.text(row.doc);
        self.kind(row.params);
        self.kind(row.result);
        self.to.byte(row.refusal.is_some() as u8);
        if let Some((member, text)) = row.refusal {
            self.to.text(member);
            self.to.text(text);
        }
    }

    /// The largest number, "unbounded", is the shortest to write.
    const fn bounds(&mut self, min: usize, max: usize) {
        self.to.number(min as u64);
        self.to.number((max as u64).wrapping_add(1));
    }

    const fn kind(&mut self, kind: &Kind) {
        match kind {
            Kind::Any => self.to.byte(tag::ANY),
            Kind::Bool => self.to.byte(tag::BOOL),
            Kind::Num => self.to.byte(tag::NUM),
            Kind::True => self.to.byte(tag::TRUE),
            Kind::Null => self.to.byte(tag::NULL),
            Kind::Str { min, max } => {
                self.to.byte(tag::STR);
                self.bounds(*min, *max);
            }
            Kind::Int { min, max } => {
                self.to.byte(tag::INT);
                self.to.number((*min as u64).wrapping_sub(i64::MIN as u64));
                self.to.number((i64::MAX as u64).wrapping_sub(*max as u64));
            }
            Kind::Lit(text) => {
                self.to.byte(tag::LIT);
                self.to.text(text);
            }
            Kind::OneOf(names) => {
                self.to.byte(tag::ONE_OF);
                self.to.texts(names);
            }
            Kind::Arr { item, min, max } => {
                self.to.byte(tag::ARR);
                self.bounds(*min, *max);
                self.kind(item);
            }
            Kind::Map(item) => {
                self.to.byte(tag::MAP);
                self.kind(item);
            }
            Kind::Nullable(kind) => {
                self.to.byte(tag::NULLABLE);
                self.kind(kind);
            }
            Kind::Obj(object) => self.object(object),
            Kind::Ref(def) => self.def(def),
            Kind::Union(kinds) => {
                self.to.byte(tag::UNION);
                self.to.number(kinds.len() as u64);
                let mut kinds = *kinds;
                while let Some((kind, rest)) = kinds.split_first() {
                    self.kind(kind);
                    kinds = rest;
                }
            }
        }
    }

    const fn object(&mut self, object: &Object) {
        self.to.byte(if object.open { tag::OPEN } else { tag::CLOSED });
        self.to.number(object.fields.len() as u64);
        let mut fields = object.fields;
        while let Some((field, rest)) = fields.split_first() {
            self.to.byte(field.required as u8);
            self.to.text(field.name);
            self.to.text(field.doc);
            self.kind(&field.kind);
            fields = rest;
        }
    }

    /// A definition is written where it is met first; later ones name its number.
    const fn def(&mut self, def: &Def) {
        let mut at = 0;
        while at < self.known {
            if same(self.defs[at], def.name) {
                self.to.byte(tag::KNOWN);
                return self.to.number(at as u64);
            }
            at += 1;
        }
        self.to.byte(tag::DEF);
        self.to.text(def.name);
        self.to.text(def.doc);
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
struct Unfolded {
    from: Reader,
    defs: Vec<&'static Def>,
}

impl Unfolded {
    fn new(bytes: &'static [u8]) -> Unfolded {
        Unfolded { from: Reader::new(bytes), defs: Vec::new() }
    }

    fn table(&mut self) -> Option<(&'static [Method], &'static [Event])> {
        let (mut methods, mut events) = (METHODS.iter(), EVENTS.iter());
        let methods = pack::list(METHODS.len(), || self.method(methods.next()?))?;
        Some((methods, pack::list(EVENTS.len(), || self.event(events.next()?))?))
    }

    fn method(&mut self, rules: &MethodRules) -> Option<Method> {
        Some(Method {
            name: self.from.text()?,
            doc: self.from.text()?,
            params: leak(self.kind()?),
            result: leak(self.kind()?),
            refusal: match self.from.byte()? {
                0 => None,
                _ => Some((self.from.text()?, self.from.text()?)),
            },
            since: rules.versions.0,
            until: rules.versions.1,
            scope_v3: rules.scopes.0,
            scope_v4: rules.scopes.1,
            roles_v3: rules.roles.0,
            roles_v4: rules.roles.1,
            listed: rules.listed,
            answer: rules.answer,
            idempotent: rules.idempotent,
            handler: rules.handler,
        })
    }

    fn event(&mut self, rules: &EventRules) -> Option<Event> {
        Some(Event {
            name: self.from.text()?,
            doc: self.from.text()?,
            payload: leak(self.kind()?),
            since: rules.since,
            guard_v3: rules.guards.0,
            guard_v4: rules.guards.1,
            drop_if_slow: rules.drop_if_slow,
            versioned: rules.versioned,
        })
    }

    fn bounds(&mut self) -> Option<(usize, usize)> {
        Some((self.from.count()?, usize::try_from(self.from.number()?.wrapping_sub(1)).unwrap_or(usize::MAX)))
    }

    fn kind(&mut self) -> Option<Kind> {
        Some(match self.from.byte()? {
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
                let min = i64::MIN.wrapping_add_unsigned(self.from.number()?);
                Kind::Int { min, max: i64::MAX.wrapping_sub_unsigned(self.from.number()?) }
            }
            tag::LIT => Kind::Lit(self.from.text()?),
            tag::ONE_OF => Kind::OneOf(self.from.texts()?),
            tag::ARR => {
                let (min, max) = self.bounds()?;
                Kind::Arr { item: leak(self.kind()?), min, max }
            }
            tag::MAP => Kind::Map(leak(self.kind()?)),
            tag::NULLABLE => Kind::Nullable(leak(self.kind()?)),
            tag::UNION => Kind::Union(self.list(Unfolded::kind)?),
            tag::DEF => {
                let def: &'static Def =
                    leak(Def { name: self.from.text()?, doc: self.from.text()?, kind: self.kind()? });
                self.defs.push(def);
                Kind::Ref(def)
            }
            tag::KNOWN => {
                let at = self.from.count()?;
                Kind::Ref(self.defs.get(at)?)
            }
            open => Kind::Obj(leak(Object { fields: self.list(Unfolded::field)?, open: open == tag::OPEN })),
        })
    }

    fn field(&mut self) -> Option<Field> {
        let required = self.from.byte()? == 1;
        Some(Field { required, name: self.from.text()?, doc: self.from.text()?, kind: self.kind()? })
    }

    fn list<T>(&mut self, item: fn(&mut Unfolded) -> Option<T>) -> Option<&'static [T]> {
        let count = self.from.count()?;
        pack::list(count, || item(self))
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
        let mut from = Unfolded::new(&BYTES);
        assert!(from.table().is_some() && from.from.is_empty());
        let mut from = Unfolded::new(&BYTES[..BYTES.len() - 1]);
        assert!(from.table().is_none());
    }
}
