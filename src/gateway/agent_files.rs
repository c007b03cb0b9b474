//! `agents.files.*` on the disk thread: the files of an agent's workspace that people edit, by name and by no other
//! path. No link leads out of the workspace.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::Value;

use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::workspace::FILES;
use crate::store::atomic;
use crate::sys::beneath::{Beneath, BeneathFault};
use crate::sys::order;

/// What is wanted of the files.
pub enum Wanted {
    /// All of them, without content.
    List,
    /// One with its content.
    Get(String),
    /// One gets this content.
    Set(String, String),
}

/// The job.
pub struct FileAsk {
    /// The agent.
    pub agent: String,
    /// Its workspace.
    pub folder: PathBuf,
    /// What is wanted.
    pub wanted: Wanted,
}

/// Whether a name is one of the files.
pub fn is_known(name: &str) -> bool {
    FILES.iter().any(|known| known.name == name)
}

/// Does it; the whole answer.
pub fn answer(ask: &FileAsk) -> Result<Value, WireError> {
    let mut out = json!({"agentId": ask.agent, "workspace": ask.folder.display().to_string()});
    let (name, value) = match &ask.wanted {
        Wanted::List => {
            let files = FILES.iter().map(|known| entry(&ask.folder, known.name, false)).collect::<Result<_, _>>()?;
            ("files", Value::Array(files))
        }
        Wanted::Get(name) => ("file", entry(&ask.folder, name, true)?),
        Wanted::Set(name, text) => {
            set(&ask.folder, name, text)?;
            ("file", entry(&ask.folder, name, true)?)
        }
    };
    if let Some(members) = out.as_object_mut() {
        members.insert(name.to_string(), value);
        if matches!(ask.wanted, Wanted::Set(..)) {
            members.insert("ok".to_string(), true.into());
        }
    }
    Ok(out)
}

fn set(folder: &Path, name: &str, text: &str) -> Result<(), WireError> {
    if text.len() > limits::WORKSPACE_FILE_BYTES {
        let most = limits::WORKSPACE_FILE_BYTES;
        return Err(WireError::invalid(format!("{name} may have {most} bytes, not {}", text.len())));
    }
    let fail = |error: std::io::Error| unavailable(&error);
    atomic::create_dir(folder).map_err(fail)?;
    let beneath = Beneath::open(folder).map_err(fail)?;
    beneath.write(Path::new(name), text.as_bytes()).map_err(|fault| refused(&fault))
}

fn entry(folder: &Path, name: &str, content: bool) -> Result<Value, WireError> {
    let mut row = order::object([
        ("name".to_string(), name.into()),
        ("path".to_string(), folder.join(name).display().to_string().into()),
        ("missing".to_string(), true.into()),
    ]);
    let open = || Beneath::open(folder).map_err(|fault| BeneathFault::Io(folder.to_path_buf(), fault));
    let mut file = match open().and_then(|beneath| beneath.read(Path::new(name))) {
        Ok(file) => file,
        Err(fault) if fault.is_missing() => return Ok(row.into()),
        // A list shows what can be had; whoever asks for this one is told why it cannot.
        Err(_) if !content => return Ok(row.into()),
        Err(fault) => return Err(refused(&fault)),
    };
    let facts = file.metadata().map_err(|error| unavailable(&error))?;
    let since = facts.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    row.insert("missing".to_string(), false.into());
    row.insert("size".to_string(), facts.len().into());
    row.extend(since.map(|since| ("updatedAtMs".to_string(), super::health::millis(since).into())));
    if content {
        row.insert("content".to_string(), text(name, &mut file)?.into());
    }
    Ok(row.into())
}

fn text(name: &str, file: &mut impl Read) -> Result<String, WireError> {
    let most = limits::WORKSPACE_FILE_BYTES;
    let mut bytes = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(|error| unavailable(&error))?;
    if bytes.len() > most {
        return Err(WireError::unavailable(format!("{name} has more than {most} bytes; edit it in the workspace")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unavailable(error: &std::io::Error) -> WireError {
    WireError::unavailable(format!("the workspace is not available: {error}"))
}

fn refused(fault: &BeneathFault) -> WireError {
    match fault {
        BeneathFault::Io(..) => WireError::unavailable(fault.to_string()),
        _ => WireError::invalid(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("openclaw-agent-files-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    fn ask(folder: &Path, wanted: Wanted) -> Result<Value, WireError> {
        answer(&FileAsk { agent: "main".into(), folder: folder.to_path_buf(), wanted })
    }

    #[test]
    fn a_file_is_written_read_and_listed() {
        let folder = folder("life");
        let none = ask(&folder, Wanted::List).unwrap();
        assert!(none["files"].as_array().unwrap().iter().all(|row| row["missing"] == true), "{none}");
        let set = ask(&folder, Wanted::Set("MEMORY.md".into(), "facts\n".into())).unwrap();
        assert_eq!(
            (&set["ok"], &set["file"]["content"], &set["file"]["size"]),
            (&json!(true), &json!("facts\n"), &json!(6))
        );
        let got = ask(&folder, Wanted::Get("MEMORY.md".into())).unwrap();
        assert_eq!((&got["file"], got.get("ok")), (&set["file"], None));
        let list = ask(&folder, Wanted::List).unwrap();
        assert_eq!(list["files"].as_array().unwrap().len(), FILES.len());
        assert_eq!((&list["files"][7]["missing"], list["files"][7].get("content")), (&json!(false), None));
        assert!(is_known("SOUL.md") && !is_known("../SOUL.md") && !is_known("soul.md"));
    }

    #[test]
    fn links_lead_nowhere_outside() {
        let folder = folder("links");
        let outside = folder.with_extension("outside");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&outside, "secret").unwrap();
        symlink(&outside, folder.join("SOUL.md")).unwrap();
        let read = ask(&folder, Wanted::Get("SOUL.md".into())).unwrap_err();
        assert!(read.message.contains("outside"), "{}", read.message);
        assert!(ask(&folder, Wanted::Set("SOUL.md".into(), "mine".into())).is_err());
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "secret");
        assert_eq!(ask(&folder, Wanted::List).unwrap()["files"][1]["missing"], true);
        std::fs::remove_file(outside).unwrap();
    }

    #[test]
    fn size_is_bounded_both_ways() {
        let folder = folder("bounds");
        let long = "x".repeat(limits::WORKSPACE_FILE_BYTES + 1);
        let refused = ask(&folder, Wanted::Set("SOUL.md".into(), long.clone())).unwrap_err();
        assert!(refused.message.contains("bytes"), "{}", refused.message);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("SOUL.md"), long).unwrap();
        assert!(ask(&folder, Wanted::Get("SOUL.md".into())).unwrap_err().message.contains("more than"));
    }
}
