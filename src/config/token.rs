//! The generated gateway token in `<stateDir>/gateway-token` (decisions.md 17).
//! Owns that one file: made once, mode 0600, never followed through a link; it decides nothing about who uses it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::secret::Secret;
use crate::limits;
use crate::sys::host;
use crate::sys::id::{Entropy, hex};

/// Random bytes of a token: 48 hex characters, as the originals' wizard makes (lifecycle.md 22).
pub const TOKEN_BYTES: usize = 24;

/// Why the token file cannot be used.
#[derive(Debug)]
pub enum TokenError {
    /// Reading or writing failed.
    Io(PathBuf, io::Error),
    /// It is a link or not a regular file.
    NotAFile(PathBuf),
    /// It belongs to another account.
    Owner(PathBuf),
    /// Its content is no token.
    Content(PathBuf),
    /// The operating system gave no random bytes.
    Random(io::Error),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Io(path, error) => write!(f, "cannot use token file {}: {error}", path.display()),
            TokenError::NotAFile(path) => write!(f, "token file {} is not a regular file", path.display()),
            TokenError::Owner(path) => write!(f, "token file {} belongs to another account", path.display()),
            TokenError::Content(path) => write!(f, "token file {} does not hold a token", path.display()),
            TokenError::Random(error) => write!(f, "no random bytes from the system: {error}"),
        }
    }
}

impl std::error::Error for TokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TokenError::Io(_, error) | TokenError::Random(error) => Some(error),
            _ => None,
        }
    }
}

/// The token in the file, if there is one; too open permissions are narrowed to 0600.
pub fn read(path: &Path) -> Result<Option<Secret>, TokenError> {
    let failed = |error| TokenError::Io(path.to_path_buf(), error);
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !found.is_file() {
        return Err(TokenError::NotAFile(path.to_path_buf()));
    }
    let mut file = File::open(path).map_err(failed)?;
    let opened = file.metadata().map_err(failed)?;
    check_same(path, &found, &opened)?;
    narrow(&file, &opened).map_err(failed)?;
    let mut text = String::new();
    let read = Read::by_ref(&mut file).take(limits::SECRET_FILE_BYTES).read_to_string(&mut text);
    read.map_err(|_| TokenError::Content(path.to_path_buf()))?;
    let text = text.trim();
    if text.len() > limits::SECRET_BYTES || text.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(TokenError::Content(path.to_path_buf()));
    }
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}

/// The token in the file, made from `random` when there is none; says whether it was made now.
pub fn ensure(path: &Path, random: &[u8; TOKEN_BYTES]) -> Result<(Secret, bool), TokenError> {
    if let Some(token) = read(path)? {
        return Ok((token, false));
    }
    let token = hex(random);
    let created = create(path, &token).map_err(|error| TokenError::Io(path.to_path_buf(), error))?;
    if created {
        return Ok((Secret::new(token), true));
    }
    // Another process was faster; its token counts.
    let theirs = read(path)?.ok_or_else(|| TokenError::Content(path.to_path_buf()))?;
    Ok((theirs, false))
}

/// Random bytes for [`ensure`] from the operating system.
pub fn random() -> Result<[u8; TOKEN_BYTES], TokenError> {
    let mut bytes = [0; TOKEN_BYTES];
    Entropy::from_os().map_err(TokenError::Random)?.fill(&mut bytes);
    Ok(bytes)
}

/// Reads a secret that a flag such as `--password-file` names; the first line counts.
pub fn read_secret_file(path: &Path) -> io::Result<Secret> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(limits::SECRET_FILE_BYTES).read_to_string(&mut text)?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "file is empty")),
    }
}

/// Writes the token beside its place and links it there, so that nobody sees half of it and nobody's is replaced.
fn create(path: &Path, token: &str) -> io::Result<bool> {
    let dir = path.parent().unwrap_or(Path::new("."));
    private_dirs().create(dir)?;
    let temp = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = write_new(&temp, token).and_then(|()| put(&temp, path));
    let _ = fs::remove_file(&temp);
    let created = written?;
    File::open(dir)?.sync_all()?;
    Ok(created)
}

fn write_new(temp: &Path, token: &str) -> io::Result<()> {
    let _ = fs::remove_file(temp);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(temp)?;
    file.write_all(token.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Links the finished file to its place; file systems without hard links get a rename.
fn put(temp: &Path, path: &Path) -> io::Result<bool> {
    let blank = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= 2);
    if blank {
        return fs::rename(temp, path).map(|()| true);
    }
    match fs::hard_link(temp, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(_) => fs::rename(temp, path).map(|()| true),
    }
}

#[cfg(unix)]
fn private_dirs() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

#[cfg(not(unix))]
fn private_dirs() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    builder
}

/// The opened file must be the one that was looked at, and ours.
#[cfg(unix)]
fn check_same(path: &Path, found: &fs::Metadata, opened: &fs::Metadata) -> Result<(), TokenError> {
    use std::os::unix::fs::MetadataExt;
    if (found.dev(), found.ino()) != (opened.dev(), opened.ino()) {
        return Err(TokenError::NotAFile(path.to_path_buf()));
    }
    match host::user_id() {
        Some(uid) if uid != opened.uid() => Err(TokenError::Owner(path.to_path_buf())),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_same(_path: &Path, _found: &fs::Metadata, _opened: &fs::Metadata) -> Result<(), TokenError> {
    Ok(())
}

#[cfg(unix)]
fn narrow(file: &File, opened: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if opened.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn narrow(_file: &File, _opened: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::config::load::testing::TempDir;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn is_made_once_with_private_modes_and_kept() {
        let dir = TempDir::new("token");
        let path = dir.path().join("state/gateway-token");
        assert_eq!(read(&path).unwrap(), None);
        let (token, made) = ensure(&path, &[7; TOKEN_BYTES]).unwrap();
        assert_eq!((token.expose(), made), ("07".repeat(24).as_str(), true));
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let (again, made) = ensure(&path, &[8; TOKEN_BYTES]).unwrap();
        assert_eq!((again, made), (token, false));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn narrows_permissions_of_a_file_that_is_too_open() {
        let dir = TempDir::new("token");
        let path = dir.path().join("gateway-token");
        dir.write("gateway-token", "abc\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().expose(), "abc");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn refuses_links_directories_and_rubbish() {
        let dir = TempDir::new("token");
        dir.write("other", "secret");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("other"), &link).unwrap();
        assert!(matches!(ensure(&link, &[1; TOKEN_BYTES]), Err(TokenError::NotAFile(_))));
        assert!(matches!(read(dir.path()), Err(TokenError::NotAFile(_))));
        dir.write("rubbish", "two words\n");
        assert!(matches!(read(&dir.path().join("rubbish")), Err(TokenError::Content(_))));
    }

    #[test]
    fn a_blank_file_is_replaced() {
        let dir = TempDir::new("token");
        dir.write("gateway-token", "\n");
        let (token, made) = ensure(&dir.path().join("gateway-token"), &[1; TOKEN_BYTES]).unwrap();
        assert!(made && token.expose().len() == 48);
    }

    #[test]
    fn errors_do_not_show_the_token() {
        let dir = TempDir::new("token");
        dir.write("t", "canary token");
        assert!(!format!("{0} {0:?}", read(&dir.path().join("t")).unwrap_err()).contains("canary"));
    }

    #[test]
    fn secret_files_give_their_first_line() {
        let dir = TempDir::new("token");
        dir.write("pw", " secret \nnote\n");
        dir.write("empty", "");
        assert_eq!(read_secret_file(&dir.path().join("pw")).unwrap().expose(), "secret");
        assert!(read_secret_file(&dir.path().join("empty")).is_err());
    }
}
