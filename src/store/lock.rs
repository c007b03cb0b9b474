//! Whether a gateway runs on a state directory, as the kernel's lock tells; the gateway itself holds it from start to end.

use std::fs::{File, TryLockError};
use std::path::Path;

/// Who may change files below the state directory.
pub enum Turn {
    /// A gateway has them.
    Gateway,
    /// Nobody else, for as long as this is kept; a gateway that starts meanwhile waits a moment.
    Ours(Option<File>),
}

/// Looks, and takes the turn where it is free. Where there is no lock file yet, there is no gateway.
pub fn turn(lock_file: &Path) -> Turn {
    let Ok(file) = File::open(lock_file) else { return Turn::Ours(None) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Turn::Gateway,
        _ => Turn::Ours(Some(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_is_taken_once() {
        let path = std::env::temp_dir().join(format!("openclaw-turn-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        assert!(matches!(turn(&path), Turn::Ours(None)));
        std::fs::write(&path, "").unwrap();
        let mine = turn(&path);
        assert!(matches!(mine, Turn::Ours(Some(_))) && matches!(turn(&path), Turn::Gateway));
        drop(mine);
        assert!(matches!(turn(&path), Turn::Ours(Some(_))));
        std::fs::remove_file(&path).unwrap();
    }
}
