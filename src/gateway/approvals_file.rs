//! `exec-approvals.json` as the disk thread reads and writes it: whole, checked against the hash a client saw, with the
//! uses and programs that turns add. Knows the file's place, not its rules.

use std::path::Path;

use serde_json::Value;

use crate::agent::tool::approval::file::ApprovalsFile;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::store::atomic;
use crate::sys::id::Entropy;

/// A change that a turn causes.
pub enum ApprovalChange {
    /// An allowlist entry let a command through.
    Used {
        /// The agent.
        agent_id: String,
        /// The entry.
        pattern: String,
        /// The command.
        command: String,
        /// The program.
        resolved_path: String,
        /// When.
        now_ms: u64,
    },
    /// An operator allowed these programs for good.
    Allow {
        /// The agent.
        agent_id: String,
        /// The programs.
        patterns: Vec<String>,
        /// Ids of the new entries, one for each.
        ids: Vec<String>,
    },
}

fn read(path: &Path) -> Result<ApprovalsFile, WireError> {
    let bytes = atomic::read_bounded(path, limits::APPROVALS_FILE_BYTES)
        .map_err(|error| WireError::unavailable(format!("cannot read {}: {error}", path.display())))?;
    let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(ApprovalsFile::read(text.as_deref()))
}

fn write(path: &Path, text: &str) -> Result<(), WireError> {
    atomic::write(path, text.as_bytes(), atomic::PRIVATE)
        .map_err(|error| WireError::unavailable(format!("cannot write {}: {error}", path.display())))
}

/// The answer of `exec.approvals.get`.
pub fn get(path: &Path) -> Result<Value, WireError> {
    Ok(read(path)?.view(path))
}

/// Replaces the file; the same answer with the new hash.
pub fn set(path: &Path, params: &Value, seed: [u8; 32]) -> Result<Value, WireError> {
    let mut entropy = Entropy::from_seed(seed);
    let text = read(path)?.replaced(params, &mut || entropy.uuid())?;
    write(path, &text)?;
    get(path)
}

/// Adds what a turn caused; a failure is logged, because nobody waits.
pub fn change(path: &Path, change: &ApprovalChange) {
    let outcome = read(path).and_then(|file| match changed(&file, change) {
        Some(text) => write(path, &text),
        None => Ok(()),
    });
    if let Err(error) = outcome {
        log::warn!(target: "store", "exec approvals not updated error={error}");
    }
}

fn changed(file: &ApprovalsFile, change: &ApprovalChange) -> Option<String> {
    match change {
        ApprovalChange::Used { agent_id, pattern, command, resolved_path, now_ms } => {
            file.with_use(agent_id, pattern, command, resolved_path, *now_ms)
        }
        ApprovalChange::Allow { agent_id, patterns, ids } => {
            let mut ids = ids.iter();
            file.with_allowed(agent_id, patterns, &mut || ids.next().cloned().unwrap_or_default())
        }
    }
}
