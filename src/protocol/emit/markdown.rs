//! Prints the table as the README's reference of methods and events.
//! Owns the columns; knows nothing of the generated code.

use std::fmt::Write as _;

use crate::protocol::events::EVENTS;
use crate::protocol::kinds::{Kind, Object};
use crate::protocol::methods::METHODS;
use crate::protocol::table::{Event, Method, Roles, Scope};

/// Two Markdown tables: methods, then events.
pub fn markdown() -> String {
    let mut out = String::from("| method | protocol | scope | params | what it does |\n|---|---|---|---|---|\n");
    for row in *METHODS {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            row.name,
            versions(row),
            needs(row),
            params(row.params),
            row.doc
        );
    }
    out.push_str("\n| event | scope | slow clients | what it says |\n|---|---|---|---|\n");
    for row in *EVENTS {
        let slow = if row.drop_if_slow { "miss it" } else { "are closed" };
        let _ = writeln!(out, "| `{}` | {} | {slow} | {} |", row.name, guards(row), row.doc);
    }
    out
}

fn versions(row: &Method) -> String {
    match (row.since, row.until) {
        (since, until) if since == until => since.to_string(),
        (since, until) => format!("{since}, {until}"),
    }
}

fn needs(row: &Method) -> String {
    let nodes = match (row.roles_v3, row.roles_v4) {
        (Roles::Operator, Roles::Operator) => "",
        (Roles::Operator, _) => "; nodes on 4",
        _ => "; nodes",
    };
    let scope_v3 = if row.since > 3 { row.scope_v4 } else { row.scope_v3 };
    both(scope_v3, row.scope_v4) + nodes
}

fn guards(row: &Event) -> String {
    both(row.guard_v3, row.guard_v4)
}

fn both(scope_v3: Scope, scope_v4: Scope) -> String {
    if scope_v3 == scope_v4 {
        short(scope_v3).into()
    } else {
        format!("{} on 3, {} on 4", short(scope_v3), short(scope_v4))
    }
}

fn short(scope: Scope) -> &'static str {
    scope.name().strip_prefix("operator.").unwrap_or("none")
}

/// The members in one line; long lists are cut, since the generated files have them all.
fn params(kind: &Kind) -> String {
    const SHOWN: usize = 6;
    let object = match kind {
        Kind::Obj(object) => object,
        Kind::Ref(def) => return format!("`{}`", def.name),
        _ => return String::new(),
    };
    let names: Vec<String> = object.fields.iter().take(SHOWN).map(|field| mark(field.name, field.required)).collect();
    match (names.is_empty(), object.fields.len() > SHOWN) {
        (true, _) => none(object),
        (false, true) => format!("`{}`, …", names.join("`, `")),
        (false, false) => format!("`{}`", names.join("`, `")),
    }
}

fn none(object: &Object) -> String {
    if object.open { "anything".into() } else { "none".into() }
}

fn mark(name: &str, required: bool) -> String {
    if required { name.into() } else { format!("{name}?") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_line_with_all_columns() {
        let text = markdown();
        for row in *METHODS {
            let line = text.lines().find(|line| line.starts_with(&format!("| `{}` |", row.name))).expect(row.name);
            assert_eq!(line.matches(" | ").count(), 4, "{line}");
        }
        for row in *EVENTS {
            assert!(text.lines().any(|line| line.starts_with(&format!("| `{}` | ", row.name))), "{}", row.name);
        }
    }

    #[test]
    fn differences_of_the_protocols_are_said() {
        let text = markdown();
        assert!(text.contains("| `config.get` | 3, 4 | admin on 3, read on 4 | none |"));
        assert!(text.contains("| `health` | 3, 4 | read; nodes on 4 | `probe?` |"));
        assert!(text.contains("| `node.pair.verify` | 3 | pairing | `nodeId`, `token` |"));
        assert!(text.contains("| `secrets.reload` | 4 | admin | none |"));
    }
}
