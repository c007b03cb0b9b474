//! The vocabulary in which every wire shape is written: a tree of `const` data.
//! Owns the schema kinds; knows nothing of values, validation, printing or transport.

/// One schema kind. The whole protocol is a `const` tree of these.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any JSON value.
    Any,
    /// `true` or `false`.
    Bool,
    /// A string of `min..=max` characters (`usize::MAX`: unbounded).
    Str {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
    },
    /// An integer (a number without a fraction) in `min..=max`.
    Int {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// Any finite number.
    Num,
    /// Exactly this string.
    Lit(&'static str),
    /// Exactly this boolean.
    True,
    /// JSON `null`.
    Null,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// An array of `min..=max` items of one kind.
    Arr {
        /// The kind of every item.
        item: &'static Kind,
        /// Fewest items.
        min: usize,
        /// Most items.
        max: usize,
    },
    /// An object with free keys and values of one kind.
    Map(&'static Kind),
    /// An object with named members.
    Obj(&'static Object),
    /// A shared, named definition.
    Ref(&'static Def),
    /// Any one of these.
    Union(&'static [Kind]),
    /// The kind, or `null`.
    Nullable(&'static Kind),
}

/// An object's members; `open` objects tolerate unknown members.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// Members in the order in which faults are reported and files are printed.
    pub fields: &'static [Field],
    /// Whether unknown members are accepted.
    pub open: bool,
}

/// One member of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Wire name.
    pub name: &'static str,
    /// Shape of the value.
    pub kind: Kind,
    /// Whether it must be present.
    pub required: bool,
    /// One line that becomes the comment in the generated files; may be empty.
    pub doc: &'static str,
}

/// A named shape that several places share.
#[derive(Debug, Clone, Copy)]
pub struct Def {
    /// Type name in the generated files.
    pub name: &'static str,
    /// One line on what it is.
    pub doc: &'static str,
    /// The shape.
    pub kind: Kind,
}

/// A non-empty string.
pub const TEXT: Kind = Kind::Str { min: 1, max: usize::MAX };
/// Any string.
pub const STRING: Kind = Kind::Str { min: 0, max: usize::MAX };
/// `true` or `false`.
pub const BOOL: Kind = Kind::Bool;
/// An integer ≥ 0, or `null`.
pub const NULLABLE_COUNT: Kind = Kind::Nullable(&COUNT);
/// A non-empty string, or `null`.
pub const NULLABLE_TEXT: Kind = Kind::Nullable(&TEXT);
/// An integer ≥ 0.
pub const COUNT: Kind = Kind::Int { min: 0, max: i64::MAX };
/// An integer ≥ 1.
pub const POSITIVE: Kind = Kind::Int { min: 1, max: i64::MAX };
/// A list of non-empty strings.
pub const TEXTS: Kind = Kind::Arr { item: &TEXT, min: 0, max: usize::MAX };
/// A list of any strings.
pub const STRINGS: Kind = Kind::Arr { item: &STRING, min: 0, max: usize::MAX };
/// The object without members that closed methods take.
pub const EMPTY: Kind = Kind::Obj(&Object { fields: &[], open: false });
/// An object whose members are not described.
pub const OPEN: Kind = Kind::Obj(&Object { fields: &[], open: true });

/// A list of any length.
pub const fn list(item: &'static Kind) -> Kind {
    Kind::Arr { item, min: 0, max: usize::MAX }
}

/// A non-empty string of at most `max` characters.
pub const fn short(max: usize) -> Kind {
    Kind::Str { min: 1, max }
}

/// A required member.
pub const fn req(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: true, doc: "" }
}

/// An optional member.
pub const fn opt(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: false, doc: "" }
}

impl Field {
    /// The same member with its one-line description.
    pub const fn doc(self, doc: &'static str) -> Field {
        Field { doc, ..self }
    }
}
