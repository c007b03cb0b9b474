//! Reading the configuration file into one snapshot: parse, include, environment, substitute, check.
//! Owns the order of these steps and what is hidden from readers; never writes the file.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::env::{Env, dotenv_additions};
use super::include::{self, read_text};
use super::json5;
use super::keys;
use super::model::Config;
use super::paths::{Paths, Profile};
use super::substitute::{env_block, substitute};
use super::validate::validate;
use super::value::Node;
use crate::sys::id::hex;
use crate::sys::order;

/// What stands in place of a secret in answers (protocol.md 8.1).
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// One problem or oddity of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The dotted path; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "<root>" } else { &self.path };
        write!(f, "{path}: {}", self.message)
    }
}

/// A configuration file as it was at one moment.
#[derive(Clone)]
pub struct Snapshot {
    /// The file.
    pub path: PathBuf,
    /// Whether it exists.
    pub exists: bool,
    /// Its text, when it could be read.
    pub raw: Option<String>,
    /// SHA-256 of the text in hex; of nothing when the file is missing.
    pub hash: String,
    /// The value as written.
    pub parsed: Value,
    /// The value with includes and variables filled in.
    pub resolved: Value,
    /// What makes it invalid.
    pub issues: Vec<Issue>,
    /// What is odd.
    pub warnings: Vec<Issue>,
    /// Whether there are no issues.
    pub valid: bool,
    /// What the program reads; defaults where the file is wrong.
    pub config: Arc<Config>,
    /// The included files, for a watcher.
    pub files: Vec<PathBuf>,
    /// The environment with the file's `env` block added.
    pub env: Env,
}

impl Snapshot {
    /// An issue or warning as a person reads it, with its place where the file itself holds the value.
    pub fn told(&self, issue: &Issue) -> String {
        match self.raw.as_deref().and_then(|text| json5::locate(text, &issue.path)) {
            Some((line, column)) => format!("{issue} (line {line}, column {column})"),
            None => issue.to_string(),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Snapshot");
        out.field("path", &self.path).field("exists", &self.exists).field("hash", &self.hash);
        out.field("issues", &self.issues).field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

/// Applies the profile, adds the `.env` files and finds the places of files: a `.env` file beside the command may name
/// other places, but not those that a profile or the environment has chosen.
pub fn prepare(env: Env, profile: &Profile) -> (Env, Paths) {
    let mut env = env;
    profile.apply(&mut env);
    let paths = Paths::resolve(&env, profile);
    for (name, value) in dotenv_additions(&env, &paths.state_dir) {
        env.set(&name, value);
    }
    let paths = Paths::resolve(&env, profile);
    (env, paths)
}

/// Reads the configuration; a missing file is an empty one (lifecycle.md 3).
pub fn load(paths: &Paths, env: &Env) -> Snapshot {
    let path = paths.config_file.clone();
    match read_text(&path) {
        Ok(text) => interpret(&path, text, env),
        Err(error) if error.kind() == io::ErrorKind::NotFound => missing(path, env),
        Err(error) => {
            let mut snapshot = missing(path, env);
            snapshot.exists = fs::symlink_metadata(&snapshot.path).is_ok();
            snapshot.issues.push(Issue { path: String::new(), message: format!("read failed: {error}") });
            snapshot.valid = false;
            snapshot
        }
    }
}

/// Interprets a text as if it stood in `path`: for checking a change before it is written.
pub fn interpret(path: &Path, text: String, env: &Env) -> Snapshot {
    let mut snapshot = missing(path.to_path_buf(), env);
    snapshot.exists = true;
    snapshot.hash = hash(&text);
    match json5::parse(&text) {
        Ok(parsed) => {
            let odd = parsed.duplicates.iter().map(duplicate);
            snapshot.warnings.extend(odd);
            snapshot.parsed = parsed.value;
            resolve(&mut snapshot);
        }
        Err(error) => {
            let message = format!("JSON5 parse failed: {}", error.in_file(path));
            snapshot.issues.push(Issue { path: String::new(), message });
        }
    }
    snapshot.raw = Some(text);
    snapshot.valid = snapshot.issues.is_empty();
    snapshot
}

/// SHA-256 of a text in hex.
pub fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// The value with every secret replaced; empty texts and nulls stay, they hide nothing.
pub fn redacted(value: &Value) -> Value {
    redact(value, "")
}

fn redact(value: &Value, path: &str) -> Value {
    let below = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => {
            let hidden = members.iter().map(|(name, value)| (name.clone(), redact(value, &below(name))));
            Value::Object(order::object(hidden))
        }
        Value::Array(items) => {
            Value::Array(items.iter().enumerate().map(|(n, item)| redact(item, &below(&n.to_string()))).collect())
        }
        Value::String(text) if !text.is_empty() && hides(path, text) => Value::String(REDACTED.to_string()),
        Value::Number(_) if keys::is_sensitive(path) => Value::String(REDACTED.to_string()),
        other => other.clone(),
    }
}

/// Whether a text is a secret; a bare `${NAME}` names one without showing it.
fn hides(path: &str, text: &str) -> bool {
    let reference = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let names_only =
        reference.is_some_and(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
    (keys::is_sensitive_text(path) && !names_only) || has_url_secret(text)
}

/// Whether an address carries a password or a token of its own.
fn has_url_secret(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':')) || rest.contains("token=") || rest.contains("password=")
}

fn missing(path: PathBuf, env: &Env) -> Snapshot {
    let empty = Value::Object(Map::new());
    Snapshot {
        path,
        exists: false,
        raw: None,
        hash: hash(""),
        parsed: empty.clone(),
        resolved: empty.clone(),
        issues: Vec::new(),
        warnings: Vec::new(),
        valid: true,
        config: Arc::new(Config::from_value(empty)),
        files: Vec::new(),
        env: env.clone(),
    }
}

fn duplicate(found: &json5::Duplicate) -> Issue {
    let message = format!("duplicate key at {}:{}; the last one counts", found.line, found.column);
    Issue { path: found.path.clone(), message }
}

fn resolve(snapshot: &mut Snapshot) {
    let mut value = match include::resolve(snapshot.parsed.clone(), &snapshot.path) {
        Ok(included) => {
            snapshot.files = included.files;
            included.value
        }
        Err(error) => {
            return snapshot.issues.push(Issue { path: String::new(), message: error.to_string() });
        }
    };
    for (name, value) in env_block(&value, &snapshot.env) {
        snapshot.env.set(&name, value);
    }
    let missing = substitute(&mut value, &snapshot.env);
    let found = validate(&value);
    for missing in missing {
        // What is wrong only because its variable is not set says that, too.
        let fatal = missing.is_fatal() || found.issues.iter().any(|issue| issue.path == missing.path);
        let issue = Issue { path: missing.path.clone(), message: missing.message() };
        let list = if fatal { &mut snapshot.issues } else { &mut snapshot.warnings };
        list.push(issue);
    }
    snapshot.issues.extend(found.issues);
    snapshot.warnings.extend(found.warnings);
    snapshot.warnings.extend(newer(&value, env!("CARGO_PKG_VERSION")));
    let mut config = Config::from_value(value.clone());
    let token = snapshot.env.get("ANTHROPIC_OAUTH_TOKEN").is_some_and(|token| !token.trim().is_empty());
    config.agents.note_payment(Node::root(&value).at("auth"), token);
    snapshot.config = Arc::new(config);
    snapshot.resolved = value;
}

/// A warning when a newer program wrote the file (lifecycle.md 3).
fn newer(value: &Value, own: &str) -> Option<Issue> {
    let path = "meta.lastTouchedVersion";
    let theirs = value.get("meta")?.get("lastTouchedVersion")?.as_str()?;
    let shown: String = theirs.chars().take(40).collect();
    let message = format!("Config was last written by a newer OpenClaw ({shown}); current version is {own}.");
    (version(theirs)? > version(own)?).then(|| Issue { path: path.to_string(), message })
}

/// Year, month and patch of a version such as `2026.2.9`.
fn version(text: &str) -> Option<[u64; 3]> {
    let mut parts = text.trim_start_matches('v').split(['.', '-', '+']);
    let mut next = || parts.next()?.parse().ok();
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing {
    //! Temporary directories for tests of this folder.

    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    static COUNT: AtomicU32 = AtomicU32::new(0);

    /// A directory that is removed at the end of the test.
    pub(crate) struct TempDir(PathBuf);

    impl TempDir {
        pub(crate) fn new(name: &str) -> TempDir {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let dir = std::env::temp_dir().join(format!("openclaw-config-{name}-{}-{count}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            TempDir(fs::canonicalize(dir).unwrap())
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }

        pub(crate) fn write(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
