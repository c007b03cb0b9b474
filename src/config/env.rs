//! A snapshot of the process environment and the `.env` files beside it.
//! Owns how variables are read (blank counts as unset); never changes the real environment.

use std::fs;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::sys::redact;
use crate::sys::table::Table;

/// Variables meant for this process alone: its own secrets, its supervisor's sockets, its allocator's settings. No
/// program started here gets them.
pub const OURS: [&str; 10] = [
    "OPENCLAW_GATEWAY_TOKEN",
    "OPENCLAW_GATEWAY_PASSWORD",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
];

/// Whether a variable stays in this process: its own, or one with the name of a secret, as those of API keys are. Only
/// command-line backends, which call models themselves, get the latter.
pub fn is_private(name: &str) -> bool {
    OURS.contains(&name) || redact::is_secret_name(name) || name.ends_with("_KEY")
}

/// Environment variables, current directory and account home, captured once so that every decision can be tested.
#[derive(Clone, Debug, Default)]
pub struct Env {
    vars: Table<String, String>,
    cwd: PathBuf,
    account_home: Option<PathBuf>,
}

impl Env {
    /// Captures the environment of this process; names or values that are not UTF-8 are left out.
    pub fn from_process() -> Env {
        let vars =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Env {
            vars: vars.collect(),
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            account_home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
        }
    }

    /// A setting of this program that is not UTF-8. It must be refused: going on without it would mean another state
    /// directory or another secret than was asked for.
    pub fn unreadable() -> Option<String> {
        std::env::vars_os().find_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("OPENCLAW_"))?;
            value.to_str().is_none().then_some(name)
        })
    }

    /// An environment of exactly these variables, with `/` as the current directory.
    pub fn of<'a>(vars: impl IntoIterator<Item = (&'a str, &'a str)>) -> Env {
        let vars = vars.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Env { vars, cwd: PathBuf::from("/"), account_home: None }
    }

    /// The same environment seen from another current directory.
    pub fn with_cwd(mut self, cwd: impl Into<PathBuf>) -> Env {
        self.cwd = cwd.into();
        self
    }

    /// The value of a variable; a blank one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// Whether a variable says yes: `1`, `true`, `yes` or `on` in any case (lifecycle.md 2).
    pub fn truthy(&self, name: &str) -> bool {
        let value = self.get(name).map(|value| value.trim().to_ascii_lowercase());
        matches!(value.as_deref(), Some("1" | "true" | "yes" | "on"))
    }

    /// Sets a variable in this snapshot.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.vars.insert(name.to_string(), value.into());
    }

    /// Sets a variable unless it already has a value that is not blank; says whether it did.
    pub fn set_if_unset(&mut self, name: &str, value: impl Into<String>) -> bool {
        let free = self.get(name).is_none();
        if free {
            self.set(name, value);
        }
        free
    }

    /// The directory relative paths start from.
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// The home directory of the operating system's account, when known.
    pub fn account_home(&self) -> Option<&Path> {
        self.account_home.as_deref()
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Variables that `./.env` and then `<state_dir>/.env` add; neither overrides what is already set (lifecycle.md 2).
pub fn dotenv_additions(env: &Env, state_dir: &Path) -> Vec<(String, String)> {
    let mut seen = env.clone();
    let mut added = Vec::new();
    for dir in [env.cwd(), state_dir] {
        for (name, value) in read_dotenv(&dir.join(".env")) {
            if seen.set_if_unset(&name, value.clone()) {
                added.push((name, value));
            }
        }
    }
    added
}

/// The assignments of one `.env` text, in order.
pub fn parse_dotenv(text: &str) -> Vec<(String, String)> {
    text.trim_start_matches('\u{feff}').lines().filter_map(assignment).collect()
}

fn read_dotenv(path: &Path) -> Vec<(String, String)> {
    let small = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= limits::DOTENV_BYTES);
    if !small {
        return Vec::new();
    }
    fs::read_to_string(path).map(|text| parse_dotenv(&text)).unwrap_or_default()
}

fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    named.then(|| (name.to_string(), unquote(value.trim())))
}

fn unquote(value: &str) -> String {
    if let Some(inner) = quoted(value, '"') {
        return inner.replace("\\n", "\n").replace("\\\"", "\"");
    }
    if let Some(inner) = quoted(value, '\'') {
        return inner.to_string();
    }
    let end = value.find(" #").unwrap_or(value.len());
    value.get(..end).unwrap_or(value).trim_end().to_string()
}

/// The text between two equal quotes; what follows the closing one is a comment.
fn quoted(value: &str, quote: char) -> Option<&str> {
    let inner = value.strip_prefix(quote)?;
    inner.rfind(quote).and_then(|end| inner.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_counts_as_unset() {
        let env = Env::of([("A", "  "), ("B", "x")]);
        assert_eq!(env.get("A"), None);
        assert_eq!(env.get("B"), Some("x"));
        assert_eq!(env.get("C"), None);
    }

    #[test]
    fn truthy_is_one_true_yes_on_in_any_case() {
        let env = Env::of([("A", "1"), ("B", "TRUE"), ("C", "Yes"), ("D", " on "), ("E", "0"), ("F", "2")]);
        let yes: Vec<bool> = ["A", "B", "C", "D", "E", "F", "G"].iter().map(|name| env.truthy(name)).collect();
        assert_eq!(yes, [true, true, true, true, false, false, false]);
    }

    #[test]
    fn dotenv_reads_quotes_comments_and_export() {
        let text = "\u{feff}# c\nA=1\nexport B = two # tail\nC=\"x # y\\nz\"\nD='$q'\n=bad\n1X=2\nE=\n";
        let read = parse_dotenv(text);
        let expected =
            [("A", "1"), ("B", "two"), ("C", "x # y\nz"), ("D", "$q"), ("E", "")].map(|(a, b)| (a.into(), b.into()));
        assert_eq!(read, expected);
    }

    #[test]
    fn cwd_dotenv_wins_over_state_dotenv_and_neither_overrides() {
        let dir = crate::config::load::testing::TempDir::new("dotenv");
        fs::create_dir_all(dir.path().join("state")).unwrap();
        fs::write(dir.path().join(".env"), "A=cwd\nB=cwd\n").unwrap();
        fs::write(dir.path().join("state/.env"), "B=state\nC=state\n").unwrap();
        let env = Env::of([("A", "set")]).with_cwd(dir.path());
        let added = dotenv_additions(&env, &dir.path().join("state"));
        assert_eq!(added, [("B".to_string(), "cwd".to_string()), ("C".to_string(), "state".to_string())]);
    }
}
