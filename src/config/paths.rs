//! Profiles and the places of files (lifecycle.md 1, cli.md 1.1).
//! Owns how names and variables become paths; creates nothing on disk.

use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::env::Env;
use crate::sys::host;

/// Characters a profile name may have.
const PROFILE_NAME_CHARS: usize = 64;
/// Port of the `dev` profile (cli.md 1.1).
const DEV_PORT: &str = "19001";
/// Where both originals keep their log files on Unix.
const LOG_DIR: &str = "/tmp/openclaw";

/// The profile chosen on the command line, if any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    name: Option<String>,
}

/// Why a profile choice is refused; the process exits 2 (cli.md 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileError {
    /// The name has other characters than letters, digits, `_` and `-`.
    InvalidName,
    /// `--profile` came without a name.
    MissingValue,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProfileError::InvalidName => "Invalid --profile (use letters, numbers, \"_\", \"-\" only)",
            ProfileError::MissingValue => "--profile requires a value",
        })
    }
}

impl std::error::Error for ProfileError {}

impl Profile {
    /// No profile: the ordinary state directory.
    pub fn none() -> Profile {
        Profile::default()
    }

    /// Checks a name as given to `--profile`.
    pub fn named(name: &str) -> Result<Profile, ProfileError> {
        let name = name.trim();
        if name.is_empty() {
            return Err(ProfileError::MissingValue);
        }
        let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !first || !rest || name.len() > PROFILE_NAME_CHARS {
            return Err(ProfileError::InvalidName);
        }
        Ok(Profile { name: Some(name.to_string()) })
    }

    /// The name as given, `default` included.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether this is the `dev` profile.
    pub fn is_dev(&self) -> bool {
        self.name.as_deref() == Some("dev")
    }

    /// Puts the profile's variables into the environment, before anything else is read (lifecycle.md 1).
    pub fn apply(&self, env: &mut Env) {
        let Some(name) = self.name.clone() else { return };
        env.set("OPENCLAW_PROFILE", name.clone());
        let dir = if is_default(&name) { ".openclaw".to_string() } else { format!(".openclaw-{name}") };
        let state = home_dir(env).join(dir);
        env.set_if_unset("OPENCLAW_STATE_DIR", state.to_string_lossy());
        let state = state_dir(env, &home_dir(env));
        env.set_if_unset("OPENCLAW_CONFIG_PATH", state.join("openclaw.json").to_string_lossy());
        if self.is_dev() {
            env.set_if_unset("OPENCLAW_GATEWAY_PORT", DEV_PORT);
        }
    }
}

/// Every place this program reads or writes.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The home directory that `~` means.
    pub home: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The configuration file.
    pub config_file: PathBuf,
    /// The directory of the JSON-lines log.
    pub log_dir: PathBuf,
    /// The default agent workspace.
    pub workspace: PathBuf,
    /// Channel credentials.
    pub credentials_dir: PathBuf,
    /// The gateway's and the command line's own device keys.
    pub identity_dir: PathBuf,
    /// Device pairing stores.
    pub devices_dir: PathBuf,
    /// Node pairing stores.
    pub nodes_dir: PathBuf,
    /// Data of each agent, sessions included.
    pub agents_dir: PathBuf,
    /// The generated token (decisions.md 17).
    pub token_file: PathBuf,
    /// The file whose kernel lock says that a gateway uses this state directory.
    pub lock_file: PathBuf,
    /// The active profile; none for `default`.
    pub profile: Option<String>,
}

impl Paths {
    /// Works out all paths from an environment to which [`Profile::apply`] was already done, or does it on a copy.
    pub fn resolve(env: &Env, profile: &Profile) -> Paths {
        let mut env = env.clone();
        profile.apply(&mut env);
        let home = home_dir(&env);
        let state_dir = state_dir(&env, &home);
        let profile = env.get("OPENCLAW_PROFILE").map(str::trim).filter(|name| !is_default(name)).map(String::from);
        let place = |name: &str| env.get(name).map(|path| expand(path, &home, env.cwd()));
        Paths {
            config_file: place("OPENCLAW_CONFIG_PATH").unwrap_or_else(|| state_dir.join("openclaw.json")),
            log_dir: log_dir(&env, &home, &state_dir),
            workspace: match &profile {
                Some(name) => home.join(".openclaw").join(format!("workspace-{name}")),
                None => state_dir.join("workspace"),
            },
            credentials_dir: place("OPENCLAW_OAUTH_DIR").unwrap_or_else(|| state_dir.join("credentials")),
            identity_dir: state_dir.join("identity"),
            devices_dir: state_dir.join("devices"),
            nodes_dir: state_dir.join("nodes"),
            agents_dir: state_dir.join("agents"),
            token_file: state_dir.join("gateway-token"),
            lock_file: state_dir.join("gateway.lock"),
            home,
            state_dir,
            profile,
        }
    }

    /// Lines that wait for sessions' next turns.
    pub fn system_events(&self) -> PathBuf {
        self.state_dir.join("system-events.json")
    }

    /// The journal of turns that have not ended.
    pub fn open_runs(&self) -> PathBuf {
        self.state_dir.join("open-runs.jsonl")
    }

    /// The keys of an agent's model accounts.
    pub fn auth_profiles(&self, agent: &str) -> PathBuf {
        self.agents_dir.join(agent).join("agent").join("auth-profiles.json")
    }

    /// A path as shown to people: the home directory becomes `~` (cli.md 1.4).
    pub fn shorten_home(&self, path: &Path) -> String {
        shorten_home(&self.home, path)
    }

    /// A command to suggest to a person, carrying the active profile (cli.md 1.4).
    pub fn command(&self, words: &str) -> String {
        match &self.profile {
            Some(name) => format!("openclaw --profile {name} {words}"),
            None => format!("openclaw {words}"),
        }
    }

    /// Makes a configured path absolute: `~` is the home directory, relative paths start at `base`.
    pub fn expand(&self, path: &str, base: &Path) -> PathBuf {
        expand(path, &self.home, base)
    }
}

/// A path as shown to people, with `home` written `~`.
pub fn shorten_home(home: &Path, path: &Path) -> String {
    match path.strip_prefix(home) {
        Ok(rest) if rest.as_os_str().is_empty() => "~".to_string(),
        Ok(rest) if home.components().count() > 1 => format!("~/{}", rest.display()),
        _ => path.display().to_string(),
    }
}

/// Removes `.` and resolves `..` by text, without looking at the disk.
pub fn normalize(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

fn is_default(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("default")
}

fn home_dir(env: &Env) -> PathBuf {
    let real = env.get("HOME").or_else(|| env.get("USERPROFILE")).map(PathBuf::from);
    let real = real.or_else(|| env.account_home().map(PathBuf::from)).unwrap_or_else(|| env.cwd().to_path_buf());
    let real = normalize(&env.cwd().join(real));
    env.get("OPENCLAW_HOME").map_or(real.clone(), |home| expand(home, &real, env.cwd()))
}

fn state_dir(env: &Env, home: &Path) -> PathBuf {
    env.get("OPENCLAW_STATE_DIR").map_or_else(|| home.join(".openclaw"), |dir| expand(dir, home, env.cwd()))
}

fn expand(path: &str, home: &Path, base: &Path) -> PathBuf {
    let path = path.trim();
    if path == "~" {
        return home.to_path_buf();
    }
    match path.strip_prefix("~/") {
        Some(rest) => normalize(&home.join(rest)),
        None => normalize(&base.join(path)),
    }
}

/// `OPENCLAW_LOG_DIR`, else `/tmp/openclaw`, or a directory of our own when somebody else could write there
/// (lifecycle.md 1), and one below the state where even that was taken.
fn log_dir(env: &Env, home: &Path, state_dir: &Path) -> PathBuf {
    if let Some(dir) = env.get("OPENCLAW_LOG_DIR") {
        return expand(dir, home, env.cwd());
    }
    let temp = Path::new(env.get("TMPDIR").unwrap_or("/tmp"));
    own_log_dir(Path::new(LOG_DIR), temp, host::user_id()).unwrap_or_else(|| state_dir.join("logs"))
}

/// The first directory that is ours alone, or can become it; `None` where others got there first.
fn own_log_dir(shared: &Path, temp: &Path, owner: Option<u32>) -> Option<PathBuf> {
    let own = temp.join(owner.map_or_else(|| "openclaw".to_owned(), |uid| format!("openclaw-{uid}")));
    [shared.to_path_buf(), own].into_iter().find(|dir| is_safe_log_dir(dir, owner))
}

#[cfg(unix)]
fn is_safe_log_dir(dir: &Path, owner: Option<u32>) -> bool {
    use std::os::unix::fs::MetadataExt;
    match fs::symlink_metadata(dir) {
        Ok(meta) => meta.is_dir() && Some(meta.uid()) == owner && meta.mode() & 0o022 == 0,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(not(unix))]
fn is_safe_log_dir(_dir: &Path, _owner: Option<u32>) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::of([("HOME", "/home/ada")]).with_cwd("/somewhere")
    }
    use crate::config::load::testing::TempDir;

    #[test]
    fn without_anything_everything_is_below_the_home() {
        let paths = Paths::resolve(&env(), &Profile::none());
        assert_eq!(paths.state_dir, Path::new("/home/ada/.openclaw"));
        assert_eq!(paths.config_file, Path::new("/home/ada/.openclaw/openclaw.json"));
        assert_eq!(paths.workspace, Path::new("/home/ada/.openclaw/workspace"));
        assert_eq!(paths.token_file, Path::new("/home/ada/.openclaw/gateway-token"));
        assert_eq!(paths.profile, None);
    }

    #[cfg(unix)]
    #[test]
    fn a_log_directory_that_others_could_write_to_is_avoided() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = TempDir::new("logs");
        let shared = dir.path().join("openclaw");
        let chosen = || own_log_dir(&shared, dir.path(), host::user_id());
        let own = dir.path().join(format!("openclaw-{}", host::user_id().unwrap()));
        assert_eq!(chosen(), Some(shared.clone()));
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(chosen(), Some(shared.clone()));
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(chosen(), Some(own.clone()));
        fs::remove_dir(&shared).unwrap();
        symlink("elsewhere", &shared).unwrap();
        assert_eq!(chosen(), Some(own.clone()));
        symlink("elsewhere", &own).unwrap();
        assert_eq!(chosen(), None);
    }

    #[test]
    fn a_profile_moves_state_config_workspace_and_log() {
        let paths = Paths::resolve(&env(), &Profile::named("Rescue").unwrap());
        assert_eq!(paths.state_dir, Path::new("/home/ada/.openclaw-Rescue"));
        assert_eq!(paths.config_file, Path::new("/home/ada/.openclaw-Rescue/openclaw.json"));
        assert_eq!(paths.workspace, Path::new("/home/ada/.openclaw/workspace-Rescue"));
    }

    #[test]
    fn suggested_commands_carry_the_profile() {
        let command = |profile| Paths::resolve(&env(), &profile).command("setup");
        assert_eq!(command(Profile::none()), "openclaw setup");
        assert_eq!(command(Profile::named("rescue").unwrap()), "openclaw --profile rescue setup");
    }

    #[test]
    fn dev_sets_the_port_unless_it_is_set() {
        let mut env = env();
        Profile::named("dev").unwrap().apply(&mut env);
        assert_eq!(env.get("OPENCLAW_GATEWAY_PORT"), Some("19001"));
        assert_eq!(env.get("OPENCLAW_PROFILE"), Some("dev"));
        let mut set = Env::of([("HOME", "/h"), ("OPENCLAW_GATEWAY_PORT", "7")]);
        Profile::named("dev").unwrap().apply(&mut set);
        assert_eq!(set.get("OPENCLAW_GATEWAY_PORT"), Some("7"));
    }

    #[test]
    fn the_default_profile_is_the_ordinary_place() {
        let paths = Paths::resolve(&env(), &Profile::named("Default").unwrap());
        assert_eq!(paths.state_dir, Path::new("/home/ada/.openclaw"));
        assert_eq!(paths.profile, None);
    }

    #[test]
    fn set_variables_win_over_the_profile() {
        let env = Env::of([("HOME", "/h"), ("OPENCLAW_STATE_DIR", "state"), ("OPENCLAW_CONFIG_PATH", "~/c.json5")])
            .with_cwd("/somewhere");
        let paths = Paths::resolve(&env, &Profile::named("x").unwrap());
        assert_eq!(paths.state_dir, Path::new("/somewhere/state"));
        assert_eq!(paths.config_file, Path::new("/h/c.json5"));
    }

    #[test]
    fn the_variable_alone_does_not_move_the_state() {
        let env = Env::of([("HOME", "/h"), ("OPENCLAW_PROFILE", "x")]);
        let paths = Paths::resolve(&env, &Profile::none());
        assert_eq!(paths.state_dir, Path::new("/h/.openclaw"));
        assert_eq!(paths.profile.as_deref(), Some("x"));
    }

    #[test]
    fn openclaw_home_expands_with_the_real_home() {
        let env = Env::of([("HOME", "/h"), ("OPENCLAW_HOME", "~/claw/../c")]);
        assert_eq!(Paths::resolve(&env, &Profile::none()).state_dir, Path::new("/h/c/.openclaw"));
    }

    #[test]
    fn without_any_home_the_current_directory_serves() {
        let paths = Paths::resolve(&Env::of([]).with_cwd("/somewhere"), &Profile::none());
        assert_eq!(paths.state_dir, Path::new("/somewhere/.openclaw"));
    }

    #[test]
    fn refuses_with_the_texts_of_the_original() {
        let text = |name: &str| Profile::named(name).unwrap_err().to_string();
        assert_eq!(text("a b"), "Invalid --profile (use letters, numbers, \"_\", \"-\" only)");
        assert_eq!(text(" "), "--profile requires a value");
        assert!(Profile::named("dev").unwrap().is_dev());
        assert!(Profile::named(&"a".repeat(65)).is_err());
        assert!(Profile::named("-x").is_err());
    }

    #[test]
    fn shows_the_home_as_a_tilde() {
        let home = Path::new("/home/ada");
        assert_eq!(shorten_home(home, Path::new("/home/ada/.openclaw/openclaw.json")), "~/.openclaw/openclaw.json");
        assert_eq!(shorten_home(home, Path::new("/home/adam/x")), "/home/adam/x");
        assert_eq!(shorten_home(home, home), "~");
    }
}
