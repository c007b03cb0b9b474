//! The tool `apply_patch`: works out every file of a patch first, so that a part that does not fit changes nothing, and
//! writes then. The writes themselves are one after the other: a disk that fails in between leaves the first ones.

use super::args::Args;
use super::files;
use super::outcome::ToolOutcome;
use super::patch::{self, Part};
use super::text;
use super::workspace::Workspace;
use crate::limits;
use crate::sys::table::Table;

/// What becomes of a file; `None` is its removal.
type Plan = Table<String, Option<String>>;

/// Runs `apply_patch`.
pub(super) fn run(workspace: &Workspace, args: &Args) -> ToolOutcome {
    let planned = patch::parse(args.text("input")).and_then(|parts| Ok((plan(workspace, &parts)?, parts)));
    let (plan, parts) = match planned {
        Ok(planned) => planned,
        Err(text) => return ToolOutcome::error(format!("nothing was changed: {text}")),
    };
    let meta = text::counted(plan.len(), "file");
    // new contents first: a move never removes the old file before the new one is there
    let (writes, removals): (Vec<_>, Vec<_>) = plan.iter().partition(|(_, content)| content.is_some());
    let mut done: Vec<&str> = Vec::new();
    for (path, content) in writes.into_iter().chain(removals) {
        let changed = match content {
            Some(content) => workspace.write(path, content.as_bytes()),
            None => workspace.remove(path),
        };
        if let Err(fault) = changed {
            let done = if done.is_empty() { "nothing".to_string() } else { done.join(", ") };
            return ToolOutcome::error(format!("{fault}; changed before that: {done}")).with_meta(meta);
        }
        done.push(path);
    }
    let lines: Vec<String> = parts.iter().map(summary).collect();
    ToolOutcome::text(format!("Changed:\n{}", lines.join("\n"))).with_meta(meta)
}

fn summary(part: &Part) -> String {
    match part {
        Part::Add { path, .. } => format!("A {path}"),
        Part::Delete { path } => format!("D {path}"),
        Part::Update { path, to: None, .. } => format!("M {path}"),
        Part::Update { path, to: Some(to), .. } => format!("R {path} -> {to}"),
    }
}

fn plan(workspace: &Workspace, parts: &[Part]) -> Result<Plan, String> {
    let mut plan = Plan::new();
    for part in parts {
        if plan.values().flatten().map(String::len).sum::<usize>() > limits::PATCH_TOTAL_BYTES {
            return Err(format!("the changed files have over {} bytes in all", limits::PATCH_TOTAL_BYTES));
        }
        match part {
            Part::Add { path, content } => {
                vacant(workspace, &plan, path)?;
                plan.insert(path.clone(), Some(content.clone()));
            }
            Part::Delete { path } => {
                present(workspace, &plan, path)?;
                plan.insert(path.clone(), None);
            }
            Part::Update { path, to, hunks } => {
                let old = current(workspace, &plan, path)?;
                let new = patch::apply(&old, hunks).map_err(|text| format!("{path}: {text}"))?;
                if let Some(to) = to.as_ref().filter(|to| *to != path) {
                    vacant(workspace, &plan, to)?;
                    plan.insert(path.clone(), None);
                }
                plan.insert(to.as_ref().unwrap_or(path).clone(), Some(new));
            }
        }
    }
    Ok(plan)
}

/// What a file holds once the parts before were done.
fn current(workspace: &Workspace, plan: &Plan, path: &str) -> Result<String, String> {
    match plan.get(path) {
        Some(Some(content)) => Ok(content.clone()),
        Some(None) => Err(format!("{path}: removed by an earlier part")),
        None => files::load(workspace, path).map_err(|text| format!("{path}: {text}")),
    }
}

/// A file that goes away need not be a text, but it must be one.
fn present(workspace: &Workspace, plan: &Plan, path: &str) -> Result<(), String> {
    match plan.get(path) {
        Some(_) => current(workspace, plan, path).map(drop),
        None => workspace.read(path).map(drop).map_err(|fault| format!("{path}: {fault}")),
    }
}

fn vacant(workspace: &Workspace, plan: &Plan, path: &str) -> Result<(), String> {
    let taken = match plan.get(path) {
        Some(content) => content.is_some(),
        None => workspace.exists(path).map_err(|fault| fault.to_string())?,
    };
    if taken { Err(format!("{path}: exists already; use `*** Update File: `")) } else { Ok(()) }
}
