//! The files a turn may touch: those of the workspace, or all the process may. Owns how a path that a model wrote is
//! understood; every access goes through handles (see `sys::beneath`), so that what was checked is what is used.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::settings::Confinement;
use crate::config::paths::normalize;
use crate::store::atomic;
use crate::sys::beneath::{Beneath, BeneathFault};

/// Where file tools work.
pub(super) struct Workspace {
    beneath: Beneath,
    base: PathBuf,
    home: PathBuf,
    confinement: Confinement,
}

impl Workspace {
    /// Opens a workspace; a missing one is created.
    pub(super) fn open(path: &Path, home: &Path, confinement: Confinement) -> io::Result<Workspace> {
        atomic::create_dir(path)?;
        let beneath = Beneath::open(match confinement {
            Confinement::Workspace => path,
            Confinement::None => Path::new("/"),
        })?;
        let base = path.canonicalize()?;
        Ok(Workspace { beneath, base, home: home.to_owned(), confinement })
    }

    /// The workspace's real place.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Opens a regular file.
    pub(super) fn read(&self, path: &str) -> Result<File, BeneathFault> {
        self.beneath.read(&self.understood(path))
    }

    /// Replaces or creates a file.
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), BeneathFault> {
        self.beneath.write(&self.understood(path), bytes)
    }

    /// Removes a file.
    pub(super) fn remove(&self, path: &str) -> Result<(), BeneathFault> {
        self.beneath.remove(&self.understood(path))
    }

    /// Whether there is something.
    pub(super) fn exists(&self, path: &str) -> Result<bool, BeneathFault> {
        self.beneath.exists(&self.understood(path))
    }

    /// The directory a command runs in. A command itself is not confined by this: the exec policy is.
    pub(super) fn directory(&self, path: Option<&str>) -> Result<PathBuf, BeneathFault> {
        let Some(path) = path.map(str::trim).filter(|path| !path.is_empty()) else { return Ok(self.base.clone()) };
        let wanted = normalize(&self.base.join(self.understood(path)));
        if wanted == self.base || self.confinement == Confinement::None {
            return Ok(wanted);
        }
        Ok(self.base.join(self.beneath.below(&wanted)?))
    }

    fn understood(&self, path: &str) -> PathBuf {
        let path = path.trim();
        let path = path.strip_prefix("file://").unwrap_or(path);
        let path = match path.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => PathBuf::from(path),
        };
        match self.confinement {
            Confinement::Workspace => path,
            Confinement::None => self.base.join(path),
        }
    }
}
