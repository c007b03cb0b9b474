//! The validator: compares a JSON value with a kind and words what is wrong the way protocol 3 does.
//! Owns order, wording and bounds of faults (`spec/protocol.md` section 7). Pure; knows no method,
//! no connection and no handler.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use super::kinds::{Field, Kind, Object};
use crate::limits::{FAULT_NAME_CHARS, FAULTS, JSON_VALUES};

/// One thing that is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer to the value; empty at the root.
    pub path: String,
    /// The JSON Schema keyword that failed.
    pub keyword: &'static str,
    /// What is wrong.
    pub text: String,
}

impl Fault {
    /// Whether this is about a member of the root object: missing, wrong, or wrong inside.
    pub fn concerns(&self, member: &str) -> bool {
        if self.path.is_empty() {
            return self.keyword == "required" && self.text == missing(member);
        }
        self.path
            .strip_prefix('/')
            .and_then(|rest| rest.strip_prefix(member))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Everything that is wrong with `value`, at most [`FAULTS`] things; empty when it fits.
pub fn check(kind: &Kind, value: &Value) -> Vec<Fault> {
    let mut faults = Faults { list: Vec::new() };
    faults.visit(kind, value, &Path::Root);
    faults.list
}

/// Whether `value` fits.
pub fn fits(kind: &Kind, value: &Value) -> bool {
    check(kind, value).is_empty()
}

/// The faults as one line: parts joined with `"; "`, duplicates removed.
pub fn text(faults: &[Fault]) -> String {
    let mut parts: Vec<String> = Vec::with_capacity(faults.len());
    for fault in faults {
        let part = worded(fault);
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join("; ")
}

fn worded(fault: &Fault) -> String {
    match (fault.path.as_str(), fault.keyword) {
        ("", "additionalProperties") => format!("at root: {}", fault.text),
        ("", _) => fault.text.clone(),
        (path, _) => format!("at {path}: {}", fault.text),
    }
}

fn missing(member: &str) -> String {
    format!("must have required property '{member}'")
}

/// Where the visitor stands: segments on the stack, rendered only when a fault is recorded.
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn render(&self) -> String {
        let mut pointer = String::new();
        self.write(&mut pointer);
        pointer
    }

    fn write(&self, out: &mut String) {
        match self {
            Path::Root => {}
            Path::Member(parent, name) => {
                parent.write(out);
                out.push('/');
                for c in bounded(name).chars() {
                    match c {
                        '~' => out.push_str("~0"),
                        '/' => out.push_str("~1"),
                        c => out.push(c),
                    }
                }
            }
            Path::Item(parent, index) => {
                parent.write(out);
                let _ = write!(out, "/{index}");
            }
        }
    }
}

/// A name from outside, cut so that a fault cannot grow with its input.
pub fn bounded(name: &str) -> &str {
    match name.char_indices().nth(FAULT_NAME_CHARS) {
        Some((end, _)) => name.get(..end).unwrap_or(name),
        None => name,
    }
}

struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    fn full(&self) -> bool {
        self.list.len() >= FAULTS
    }

    fn add(&mut self, path: &Path, keyword: &'static str, text: impl Into<String>) {
        if !self.full() {
            self.list.push(Fault { path: path.render(), keyword, text: text.into() });
        }
    }

    fn wants(&mut self, path: &Path, name: &str) {
        self.add(path, "type", format!("must be {name}"));
    }

    fn visit(&mut self, kind: &Kind, value: &Value, path: &Path) {
        match kind {
            Kind::Any => {}
            Kind::Bool if value.is_boolean() => {}
            Kind::Bool => self.wants(path, "boolean"),
            Kind::Str { min, max } => self.string(*min, *max, value, path),
            Kind::Int { min, max } => self.integer(*min, *max, value, path),
            Kind::Num if value.is_number() => {}
            Kind::Num => self.wants(path, "number"),
            Kind::Lit(text) => self.constant(value.as_str() == Some(text), value.is_string(), "string", path),
            Kind::True => self.constant(*value == Value::Bool(true), value.is_boolean(), "boolean", path),
            Kind::Null if value.is_null() => {}
            Kind::Null => self.wants(path, "null"),
            Kind::OneOf(names) => self.one_of(names, value, path),
            Kind::Arr { item, min, max } => self.array(item, (*min, *max), value, path),
            Kind::Map(item) => self.map(item, value, path),
            Kind::Obj(object) => self.object(object, value, path),
            Kind::Ref(def) => self.visit(&def.kind, value, path),
            Kind::Union(kinds) => self.union(kinds, value, path),
            Kind::Nullable(_) if value.is_null() => {}
            Kind::Nullable(kind) => self.nullable(kind, value, path),
        }
    }

    fn string(&mut self, min: usize, max: usize, value: &Value, path: &Path) {
        let Some(text) = value.as_str() else { return self.wants(path, "string") };
        // Bytes bound characters from above; only doubtful lengths are counted.
        if min > 0 && text.chars().nth(min - 1).is_none() {
            self.add(path, "minLength", format!("must NOT have fewer than {min} characters"));
        } else if text.len() > max && text.chars().nth(max).is_some() {
            self.add(path, "maxLength", format!("must NOT have more than {max} characters"));
        }
    }

    fn integer(&mut self, min: i64, max: i64, value: &Value, path: &Path) {
        let Some(number) = value.as_number().and_then(whole) else { return self.wants(path, "integer") };
        if number < min {
            self.add(path, "minimum", format!("must be >= {min}"));
        } else if number > max {
            self.add(path, "maximum", format!("must be <= {max}"));
        }
    }

    fn constant(&mut self, equal: bool, typed: bool, name: &str, path: &Path) {
        if !typed {
            self.wants(path, name);
        }
        if !equal {
            self.add(path, "const", "must be equal to constant");
        }
    }

    fn one_of(&mut self, names: &[&str], value: &Value, path: &Path) {
        if value.as_str().is_some_and(|text| names.contains(&text)) {
            return;
        }
        self.constant(false, value.is_string(), "string", path);
        self.any_of(path);
    }

    fn any_of(&mut self, path: &Path) {
        self.add(path, "anyOf", "must match a schema in anyOf");
    }

    fn array(&mut self, item: &Kind, (min, max): (usize, usize), value: &Value, path: &Path) {
        let Some(items) = value.as_array() else { return self.wants(path, "array") };
        if items.len() < min {
            self.add(path, "minItems", format!("must NOT have fewer than {min} items"));
        } else if items.len() > max {
            self.add(path, "maxItems", format!("must NOT have more than {max} items"));
        }
        for (index, each) in items.iter().enumerate() {
            if self.full() {
                return;
            }
            self.visit(item, each, &Path::Item(path, index));
        }
    }

    fn map(&mut self, item: &Kind, value: &Value, path: &Path) {
        let Some(members) = value.as_object() else { return self.wants(path, "object") };
        for (name, each) in members {
            if self.full() {
                return;
            }
            self.visit(item, each, &Path::Member(path, name));
        }
    }

    /// Missing members in schema order, unknown ones, then the members themselves.
    fn object(&mut self, object: &Object, value: &Value, path: &Path) {
        let Some(members) = value.as_object() else { return self.wants(path, "object") };
        for field in object.fields.iter().filter(|field| field.required) {
            if !members.contains_key(field.name) {
                self.add(path, "required", missing(field.name));
            }
        }
        if !object.open {
            self.unknown(object.fields, members, path);
        }
        for field in object.fields {
            if let Some(member) = members.get(field.name) {
                self.visit(&field.kind, member, &Path::Member(path, field.name));
            }
        }
    }

    fn unknown(&mut self, fields: &[Field], members: &Map<String, Value>, path: &Path) {
        for name in members.keys() {
            if self.full() {
                return;
            }
            if !fields.iter().any(|field| field.name == name) {
                self.add(path, "additionalProperties", format!("unexpected property '{}'", bounded(name)));
            }
        }
    }

    /// The faults of every branch, then the union's own: what peers of protocol 3 print.
    fn union(&mut self, kinds: &[Kind], value: &Value, path: &Path) {
        let mut tried = Faults { list: Vec::new() };
        for kind in kinds {
            let before = tried.list.len();
            if tried.full() {
                if fits(kind, value) {
                    return;
                }
                continue;
            }
            tried.visit(kind, value, path);
            if tried.list.len() == before {
                return;
            }
        }
        self.merge(tried, path);
    }

    fn nullable(&mut self, kind: &Kind, value: &Value, path: &Path) {
        let mut tried = Faults { list: Vec::new() };
        tried.visit(kind, value, path);
        if tried.list.is_empty() {
            return;
        }
        tried.wants(path, "null");
        self.merge(tried, path);
    }

    fn merge(&mut self, tried: Faults, path: &Path) {
        for fault in tried.list {
            if !self.full() {
                self.list.push(fault);
            }
        }
        self.any_of(path);
    }
}

/// A number without a fraction, as JavaScript peers count them; `None` for fractions and for values
/// that no handler could hold.
fn whole(number: &Number) -> Option<i64> {
    if let Some(integer) = number.as_i64() {
        return Some(integer);
    }
    number.as_f64().and_then(whole_float)
}

/// The integer that a float stands for, within the range that a float counts exactly.
pub(super) fn whole_float(float: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if float.fract() != 0.0 || float.abs() > EXACT {
        return None;
    }
    // Exact: an integral value below 2^53 prints without exponent or fraction.
    format!("{float:.0}").parse().ok()
}

/// A parsed value takes twenty times the two bytes of its text, so a text is bounded by values too.
/// Counts what begins or separates values outside of strings; short ones cannot have too many.
pub fn has_too_many_values(text: &str) -> bool {
    if text.len() <= JSON_VALUES {
        return false;
    }
    let (mut values, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values > JSON_VALUES
}

#[cfg(test)]
mod tests {
    use super::super::defs::{CONNECT_PARAMS, REQUEST_FRAME, closed};
    use super::super::kinds::{BOOL, COUNT, Kind, NULLABLE_TEXT, STRING, TEXT, TEXTS, list, opt, req, short};
    use super::*;

    fn says(kind: &Kind, value: Value) -> String {
        text(&check(kind, &value))
    }

    fn connect() -> Value {
        json!({"minProtocol": 3, "maxProtocol": 4,
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}})
    }

    #[test]
    fn good_params_have_no_faults() {
        assert_eq!(check(&CONNECT_PARAMS.kind, &connect()), vec![]);
    }

    #[test]
    fn an_unknown_client_id_is_worded_as_clients_know_it() {
        let mut params = connect();
        params["client"]["id"] = json!("weird");
        assert_eq!(
            says(&CONNECT_PARAMS.kind, params),
            "at /client/id: must be equal to constant; at /client/id: must match a schema in anyOf"
        );
    }

    #[test]
    fn faults_come_as_missing_then_unknown_then_members() {
        const KIND: Kind = closed![req("a", TEXT), req("b", COUNT), req("c", BOOL), opt("d", TEXTS)];
        assert_eq!(
            says(&KIND, json!({"b": -1, "d": ["x", "", 3], "z": 1, "y": 2})),
            "must have required property 'a'; must have required property 'c'; \
             at root: unexpected property 'y'; at root: unexpected property 'z'; \
             at /b: must be >= 0; at /d/1: must NOT have fewer than 1 characters; at /d/2: must be string"
        );
    }

    #[test]
    fn types_are_named() {
        assert_eq!(says(&closed![], json!([])), "must be object");
        assert_eq!(says(&STRING, json!(1)), "must be string");
        assert_eq!(says(&COUNT, json!("1")), "must be integer");
        assert_eq!(says(&COUNT, json!(1.5)), "must be integer");
        assert_eq!(says(&Kind::Num, json!(null)), "must be number");
        assert_eq!(says(&BOOL, json!(0)), "must be boolean");
        assert_eq!(says(&TEXTS, json!({})), "must be array");
        assert_eq!(says(&Kind::Map(&BOOL), json!(1)), "must be object");
        assert_eq!(says(&Kind::Null, json!(1)), "must be null");
    }

    #[test]
    fn constants_and_unions_report_every_branch_once() {
        assert_eq!(says(&Kind::Lit("x"), json!("y")), "must be equal to constant");
        assert_eq!(says(&Kind::Lit("x"), json!(1)), "must be string; must be equal to constant");
        assert_eq!(says(&Kind::True, json!(false)), "must be equal to constant");
        assert_eq!(
            says(&Kind::OneOf(&["a", "b"]), json!(5)),
            "must be string; must be equal to constant; must match a schema in anyOf"
        );
        assert_eq!(says(&NULLABLE_TEXT, json!(5)), "must be string; must be null; must match a schema in anyOf");
        assert_eq!(says(&NULLABLE_TEXT, json!(null)), "");
        let either = Kind::Union(&[BOOL, Kind::Lit("all")]);
        assert_eq!(says(&either, json!("all")), "");
        assert_eq!(
            says(&either, json!("some")),
            "must be boolean; must be equal to constant; must match a schema in anyOf"
        );
    }

    #[test]
    fn whole_numbers_count_as_integers() {
        for whole in ["3", "3.0", "1e3", "-0.0", "9007199254740992.0"] {
            let kind = Kind::Int { min: i64::MIN, max: i64::MAX };
            assert_eq!(says(&kind, serde_json::from_str(whole).unwrap()), "", "{whole}");
        }
        for other in ["0.5", "1e300", "18446744073709551615"] {
            assert_eq!(says(&COUNT, serde_json::from_str(other).unwrap()), "must be integer", "{other}");
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        let kind = Kind::Int { min: 1, max: 3 };
        assert_eq!(says(&kind, json!(0)), "must be >= 1");
        assert_eq!(says(&kind, json!(4)), "must be <= 3");
        assert_eq!(says(&kind, json!(1)) + &says(&kind, json!(3)), "");
        let pair = Kind::Arr { item: &BOOL, min: 1, max: 2 };
        assert_eq!(says(&pair, json!([])), "must NOT have fewer than 1 items");
        assert_eq!(says(&pair, json!([true, true, true])), "must NOT have more than 2 items");
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert_eq!(says(&short(2), json!("äö")), "");
        assert_eq!(says(&short(2), json!("äöü")), "must NOT have more than 2 characters");
        assert_eq!(says(&Kind::Str { min: 3, max: 9 }, json!("äö")), "must NOT have fewer than 3 characters");
    }

    #[test]
    fn pointers_escape_slashes_and_tildes() {
        assert_eq!(says(&Kind::Map(&BOOL), json!({"a/b~c": 1})), "at /a~1b~0c: must be boolean");
    }

    #[test]
    fn repeated_parts_are_said_once() {
        let fault = Fault { path: "/a".into(), keyword: "type", text: "must be string".into() };
        assert_eq!(text(&[fault.clone(), fault]), "at /a: must be string");
    }

    #[test]
    fn faults_are_bounded_in_number_and_length() {
        let many: Map<String, Value> = (0..10_000).map(|n| (format!("k{n}"), json!(n))).collect();
        assert_eq!(check(&closed![], &Value::Object(many.clone())).len(), FAULTS);
        assert_eq!(check(&Kind::Map(&TEXT), &Value::Object(many)).len(), FAULTS);
        assert_eq!(check(&list(&TEXT), &json!(vec![0; 10_000])).len(), FAULTS);
        assert!(says(&closed![], json!({("ä".repeat(1 << 20)): 1})).len() < 3 * FAULT_NAME_CHARS);
        assert!(says(&Kind::Map(&TEXT), json!({("/".repeat(1 << 20)): 1})).len() < 3 * FAULT_NAME_CHARS);
    }

    #[test]
    fn a_union_with_many_faults_still_finds_the_branch_that_fits() {
        const KIND: Kind = Kind::Union(&[list(&TEXT), list(&COUNT)]);
        assert_eq!(check(&KIND, &json!(vec![0; 100])), vec![]);
        assert_eq!(check(&KIND, &json!(vec![true; 100])).len(), FAULTS);
    }

    #[test]
    fn a_request_frame_is_checked_like_any_object() {
        assert_eq!(
            says(&REQUEST_FRAME.kind, json!({"type": "req", "id": "m1"})),
            "must have required property 'method'"
        );
        assert_eq!(
            says(&REQUEST_FRAME.kind, json!({"type": "req", "id": "m2", "method": "health", "extra": 1})),
            "at root: unexpected property 'extra'"
        );
    }

    #[test]
    fn a_fault_knows_which_member_it_concerns() {
        const KIND: Kind = closed![req("text", TEXT), opt("textual", TEXTS)];
        let faults = check(&KIND, &json!({"textual": [1]}));
        assert_eq!(faults.len(), 2);
        assert!(faults[0].concerns("text") && !faults[0].concerns("textual"));
        assert!(faults[1].concerns("textual") && !faults[1].concerns("text"));
    }
}
