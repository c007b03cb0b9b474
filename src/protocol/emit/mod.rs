//! Printers of the protocol table: JSON Schema, TypeScript, Swift and the README's reference.
//! Owns which shapes are printed and their names; the printers below own their language. Pure text.

pub mod json_schema;
pub mod markdown;
pub mod swift;
pub mod typescript;

use std::collections::BTreeMap;

use super::defs::GATEWAY_FRAME;
use super::events::EVENTS;
use super::kinds::{Def, Kind};
use super::methods::METHODS;
use super::table::{Event, Method};

/// A named shape of the generated files.
struct Shape {
    name: String,
    doc: String,
    kind: Kind,
}

/// Everything that gets a name: definitions first, then params and results, then payloads.
fn shapes() -> Vec<Shape> {
    let mut all: Vec<Shape> = definitions()
        .into_values()
        .map(|def| Shape { name: def.name.into(), doc: def.doc.into(), kind: def.kind })
        .collect();
    for row in *METHODS {
        let doc = |what: &str| format!("{what} of `{}`.", row.name);
        add(&mut all, params_name(row), doc("Params"), row.params);
        add(&mut all, result_name(row), doc("Result"), row.result);
    }
    for row in *EVENTS {
        add(&mut all, payload_name(row), format!("Payload of `{}`. {}", row.name, row.doc), row.payload);
    }
    all
}

/// Skips what is already printed as a definition of that very name.
fn add(all: &mut Vec<Shape>, name: String, doc: String, kind: &Kind) {
    match kind {
        Kind::Ref(def) if def.name == name => {}
        _ => all.push(Shape { name, doc, kind: *kind }),
    }
}

/// Every definition that a frame, method or event reaches, by name.
fn definitions() -> BTreeMap<&'static str, &'static Def> {
    let mut found = BTreeMap::from([(GATEWAY_FRAME.name, &GATEWAY_FRAME)]);
    collect(&GATEWAY_FRAME.kind, &mut found);
    METHODS.iter().for_each(|row| collect(row.params, &mut found));
    METHODS.iter().for_each(|row| collect(row.result, &mut found));
    EVENTS.iter().for_each(|row| collect(row.payload, &mut found));
    found
}

fn collect(kind: &Kind, found: &mut BTreeMap<&'static str, &'static Def>) {
    match kind {
        Kind::Ref(def) => {
            let known = found.insert(def.name, def).is_some();
            if !known {
                collect(&def.kind, found);
            }
        }
        Kind::Arr { item, .. } | Kind::Map(item) | Kind::Nullable(item) => collect(item, found),
        Kind::Obj(object) => object.fields.iter().for_each(|field| collect(&field.kind, found)),
        Kind::Union(kinds) => kinds.iter().for_each(|kind| collect(kind, found)),
        _ => {}
    }
}

fn params_name(row: &Method) -> String {
    format!("{}Params", pascal(row.name))
}

fn result_name(row: &Method) -> String {
    format!("{}Result", pascal(row.name))
}

fn payload_name(row: &Event) -> String {
    format!("{}Payload", pascal(row.name))
}

/// `node.pair.list` → `NodePairList`, `next-heartbeat` → `NextHeartbeat`, `roleName` → `RoleName`.
fn pascal(name: &str) -> String {
    name.split(|c: char| !c.is_ascii_alphanumeric()).map(capitalised).collect()
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn generated(file: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/generated").join(file)
    }

    /// Compares with the committed file, or rewrites it when `UPDATE` is set.
    fn compare(file: &str, text: &str) {
        let path = generated(file);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{file} differs from the table; run the test with UPDATE=1");
    }

    #[test]
    fn generated_files_match_the_table() {
        compare("protocol.schema.json", &json_schema::json_schema());
        compare("protocol.ts", &typescript::typescript());
        compare("Protocol.swift", &swift::swift());
    }

    #[test]
    fn every_shape_has_its_own_name() {
        let mut seen = BTreeSet::new();
        for shape in shapes() {
            assert!(seen.insert(shape.name.clone()), "{} is printed twice", shape.name);
            assert!(!shape.doc.is_empty(), "{} has no doc line", shape.name);
        }
    }

    #[test]
    fn definitions_of_one_name_are_one_shape() {
        fn visit(kind: &Kind, known: &BTreeMap<&str, &Def>) {
            match kind {
                Kind::Ref(def) => {
                    assert_eq!(format!("{def:?}"), format!("{:?}", known[def.name]), "{}", def.name);
                    visit(&def.kind, known);
                }
                Kind::Arr { item, .. } | Kind::Map(item) | Kind::Nullable(item) => visit(item, known),
                Kind::Obj(object) => object.fields.iter().for_each(|field| visit(&field.kind, known)),
                Kind::Union(kinds) => kinds.iter().for_each(|kind| visit(kind, known)),
                _ => {}
            }
        }
        let known = definitions();
        METHODS.iter().for_each(|row| visit(row.params, &known));
        METHODS.iter().for_each(|row| visit(row.result, &known));
        EVENTS.iter().for_each(|row| visit(row.payload, &known));
    }

    #[test]
    fn members_have_doc_lines_and_unique_names() {
        fn visit(owner: &str, kind: &Kind) {
            match kind {
                Kind::Obj(object) => {
                    let mut seen = BTreeSet::new();
                    for field in object.fields {
                        assert!(seen.insert(field.name), "{owner}.{} stands twice", field.name);
                        assert!(field.doc.ends_with('.'), "{owner}.{} has no doc line", field.name);
                        assert!(!field.doc.contains('\n'), "{owner}.{}", field.name);
                        visit(&format!("{owner}.{}", field.name), &field.kind);
                    }
                }
                Kind::Arr { item, .. } | Kind::Map(item) | Kind::Nullable(item) => visit(owner, item),
                Kind::Union(kinds) => kinds.iter().for_each(|kind| visit(owner, kind)),
                _ => {}
            }
        }
        shapes().iter().for_each(|shape| visit(&shape.name, &shape.kind));
    }

    #[test]
    fn rows_are_described_and_params_are_objects() {
        fn is_object(kind: &Kind) -> bool {
            match kind {
                Kind::Obj(_) => true,
                Kind::Ref(def) => is_object(&def.kind),
                _ => false,
            }
        }
        fn says_something(kind: &Kind) -> bool {
            match kind {
                Kind::Obj(object) => !object.fields.is_empty(),
                Kind::Any => false,
                _ => true,
            }
        }
        for row in *METHODS {
            assert!(row.doc.ends_with('.'), "{}", row.name);
            assert!(is_object(row.params), "{} takes something that is no object", row.name);
            assert!(says_something(row.result), "{} has no described result", row.name);
            assert!(row.since <= row.until, "{}", row.name);
        }
        for row in *EVENTS {
            assert!(row.doc.ends_with('.') && is_object(row.payload), "{}", row.name);
        }
    }

    #[test]
    fn names_are_made_from_wire_names() {
        assert_eq!(pascal("node.pair.list"), "NodePairList");
        assert_eq!(pascal("next-heartbeat"), "NextHeartbeat");
        assert_eq!(pascal(""), "");
    }
}
