//! Out of the way, not gone: files and folders a person deletes go to `~/.Trash`, as the original does it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::atomic;

/// Moves a file or folder to the trash below `home`; its place there, none when there is nothing. A link goes as a link.
pub fn put(home: &Path, path: &Path, now_ms: u64) -> io::Result<Option<PathBuf>> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
        Err(fault) => return Err(fault),
    }
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "path without a name"))?;
    let trash = home.join(".Trash");
    atomic::create_dir(&trash)?;
    let mut place = name.to_os_string();
    place.push(format!("-{now_ms}"));
    let mut place = trash.join(place);
    if std::fs::symlink_metadata(&place).is_ok() {
        // Two of the same name in one millisecond: `sessions` of one agent and a workspace called so.
        place.set_extension("1");
    }
    std::fs::rename(path, &place)?;
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_away_can_be_found_again() {
        let home = std::env::temp_dir().join(format!("openclaw-trash-{}", std::process::id()));
        let folder = home.join("a/thing");
        for _ in 0..2 {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("x"), "x").unwrap();
            let place = put(&home, &folder, 7).unwrap().unwrap();
            assert!(!folder.exists() && place.join("x").exists(), "{}", place.display());
        }
        assert_eq!(put(&home, &folder, 8).unwrap(), None);
        std::os::unix::fs::symlink("/etc", &folder).unwrap();
        let place = put(&home, &folder, 9).unwrap().unwrap();
        assert!(std::fs::symlink_metadata(place).unwrap().is_symlink() && Path::new("/etc/passwd").exists());
        std::fs::remove_dir_all(&home).unwrap();
    }
}
