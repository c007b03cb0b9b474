//! How a command is started: shell, environment, name. Owns what a command may not get: our own secrets and sockets,
//! and variables that change which programs run.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Child, Input, Keep, Spec, Stderr};
use crate::agent::tool::approval::command::absolute_path;
use crate::config::Env;
use crate::config::env::{OURS, is_private};
use crate::limits;
use crate::sys::id::Entropy;

/// A command ready to start, once or later.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) shell: PathBuf,
    pub(super) command: String,
    pub(super) cwd: PathBuf,
    pub(super) env: Vec<(String, String)>,
    pub(super) timeout: Duration,
}

impl Launch {
    /// Starts it; only a command in the background has an input, because nobody could write to another.
    pub(super) fn start(&self, background: bool) -> io::Result<Child> {
        let text = |text: &String| OsString::from(text);
        Child::spawn(Spec {
            program: self.shell.clone().into_os_string(),
            args: vec!["-c".into(), text(&self.command)],
            dir: self.cwd.clone(),
            env: self.env.iter().map(|(name, value)| (text(name), text(value))).collect(),
            input: if background { Input::Open } else { Input::Closed },
            stderr: Stderr::Joined,
            keep: Keep { head: limits::EXEC_HEAD_BYTES, tail: limits::EXEC_TAIL_BYTES },
            timeout: Some(self.timeout),
            grace: limits::EXEC_GRACE,
        })
    }

    /// The search path it gets.
    pub(super) fn path(&self) -> &str {
        self.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value.as_str())
    }
}

/// Whether a path is a program.
pub(super) fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

/// Shells whose quoting is the one that allowlists are read with.
const SHELLS: &[&str] = &["sh", "bash", "zsh", "dash", "ash", "ksh", "mksh"];

/// The person's own shell if it is one of the family, else bash or sh.
pub(super) fn shell(env: &Env) -> PathBuf {
    let own = env.get("SHELL").map(Path::new).filter(|path| path.is_absolute());
    let family =
        |path: &&Path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| SHELLS.contains(&name));
    let found = own.filter(family).filter(|path| is_program(path)).map(Path::to_owned);
    found.unwrap_or_else(|| {
        let bash = PathBuf::from("/bin/bash");
        if is_program(&bash) { bash } else { PathBuf::from("/bin/sh") }
    })
}

/// Variables that no command gets beside the private ones: files a shell would run first, and what changes its reading.
const REMOVED: &[&str] = &["BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", "IFS", "CDPATH"];

/// Variables that a model may not set, and beginnings of such.
const REFUSED: &[&str] = &["PATH", "BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", "IFS", "CDPATH", "ZDOTDIR"];
const REFUSED_STARTS: &[&str] = &["LD_", "DYLD_", "BASH_FUNC_"];

/// Refuses variables that would change which programs run.
pub(super) fn check_variable(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let upper = name.to_ascii_uppercase();
    if name.is_empty() || name.len() > limits::VARIABLE_CHARS || !name.chars().all(plain) {
        return Err("env: names have letters, digits and _".to_string());
    }
    if REFUSED.contains(&upper.as_str()) || REFUSED_STARTS.iter().any(|start| upper.starts_with(start)) {
        return Err(format!("env: {name} may not be set for a command"));
    }
    Ok(())
}

/// Shortest configured key that is looked for among the values of variables: placeholders like `local` are shorter.
const KEY_CHARS: usize = 16;

/// Which secrets of the gateway's environment a command may see.
pub(super) struct Allowed<'a> {
    /// Variables it gets although they look like secrets.
    pub(super) pass: &'a [String],
    /// Configured keys of models, or the names of variables that hold them: no command gets these under another name.
    pub(super) keys: Vec<&'a str>,
}

impl Allowed<'_> {
    fn gets(&self, name: &str, value: &str) -> bool {
        let is_key = self.keys.iter().any(|key| *key == name || (key.len() >= KEY_CHARS && *key == value.trim()));
        self.pass.iter().any(|pass| pass == name) || !(is_private(name) || is_key)
    }
}

/// The whole environment of a command: the gateway's without what is removed, then the wish. The search path has only
/// absolute directories, so that a file in the current one is never taken for a program.
pub(super) fn environment(
    base: &Env,
    allowed: &Allowed<'_>,
    prepend: &[String],
    wish: &[(String, String)],
) -> Vec<(String, String)> {
    let removed = |name: &str| OURS.contains(&name) || REMOVED.contains(&name) || name.starts_with("BASH_FUNC_");
    let kept = |name: &str, value: &str| !removed(name) && name != "PATH" && allowed.gets(name, value);
    let mut all: Vec<(String, String)> = base
        .iter()
        .filter(|(name, value)| kept(name, value) && !wish.iter().any(|(wished, _)| wished == name))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let base_path = base.get("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
    let path = [prepend.join(":").as_str(), base_path].join(":");
    all.push(("PATH".to_string(), absolute_path(&path)));
    all.extend(wish.iter().cloned());
    all
}

const FIRST: &str = "amber brisk calm clear cool crisp dark deep eager faint fleet fresh gentle glad grand keen kind lively \
    lucky mellow mild neat nimble plain proud quick quiet swift tidal vivid warm wild";
const SECOND: &str = "bay breeze brook canyon cloud comet coral cove creek dune ember falcon fjord forest glade harbor lagoon \
    lake meadow nova orbit otter pine reef ridge river sage shell shore summit tide willow";

/// A name that is easy to type and not taken; with a number when chance gave only taken ones.
pub(super) fn fresh_name(entropy: &mut Entropy, is_taken: impl Fn(&str) -> bool) -> String {
    let mut pick = |from: &'static str| {
        let length = u64::try_from(from.split(' ').count()).unwrap_or(1);
        let at = usize::try_from(entropy.number() % length).unwrap_or(0);
        from.split(' ').nth(at).unwrap_or("plain")
    };
    for _ in 0..8 {
        let name = format!("{}-{}", pick(FIRST), pick(SECOND));
        if !is_taken(&name) {
            return name;
        }
    }
    let name = format!("{}-{}", pick(FIRST), pick(SECOND));
    (2..).map(|number| format!("{name}-{number}")).find(|name| !is_taken(name)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_sockets_and_start_files_stay_here() {
        let base = Env::of([
            ("OPENCLAW_GATEWAY_TOKEN", "t"),
            ("OPENCLAW_GATEWAY_PASSWORD", "p"),
            ("NOTIFY_SOCKET", "s"),
            ("WATCHDOG_USEC", "1"),
            ("MALLOC_TRIM_THRESHOLD_", "131072"),
            ("BASH_ENV", "/x"),
            ("BASH_FUNC_ls%%", "() { id; }"),
            ("HOME", "/h"),
            ("LANG", "C"),
            ("PATH", ".:/bin::bin:/usr/bin"),
        ]);
        let allowed = Allowed { pass: &["OPENCLAW_GATEWAY_TOKEN".into()], keys: Vec::new() };
        let env = environment(&base, &allowed, &["/opt/x".into(), "rel".into()], &[("LANG".into(), "de".into())]);
        let pairs: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs, ["HOME=/h", "PATH=/opt/x:/bin:/usr/bin", "LANG=de"]);
    }

    #[test]
    fn keys_of_models_and_what_looks_like_a_secret_are_passed_only_when_configured() {
        let base = Env::of([
            ("ANTHROPIC_API_KEY", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("GITHUB_TOKEN", "c"),
            ("MINE", "a-key-of-a-model-0123"),
            ("MY_LLM", "d"),
            ("OPENAI_KEY", "e"),
            ("SSH_AUTH_SOCK", "f"),
            ("USER", "local"),
        ]);
        let allowed =
            Allowed { pass: &["GITHUB_TOKEN".into()], keys: vec!["a-key-of-a-model-0123", "MY_LLM", "local"] };
        let env = environment(&base, &allowed, &[], &[]);
        let names: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["GITHUB_TOKEN", "SSH_AUTH_SOCK", "USER", "PATH"]);
    }

    #[test]
    fn variables_that_change_programs_are_refused() {
        for name in [
            "PATH",
            "path",
            "LD_PRELOAD",
            "ld_library_path",
            "DYLD_INSERT_LIBRARIES",
            "BASH_ENV",
            "IFS",
            "",
            "a=b",
            "a b",
        ] {
            assert!(check_variable(name).is_err(), "{name}");
        }
        assert!(check_variable(&"x".repeat(limits::VARIABLE_CHARS + 1)).is_err());
        assert!(check_variable("NODE_ENV").is_ok());
    }

    #[test]
    fn foreign_shells_are_replaced() {
        for other in ["/usr/bin/fish", "/bin/nosuchsh", "bash", "/bin/csh"] {
            let shell = shell(&Env::of([("SHELL", other)]));
            assert!(["/bin/bash", "/bin/sh"].iter().any(|known| shell == Path::new(known)), "{other}: {shell:?}");
        }
        assert_eq!(shell(&Env::of([("SHELL", "/bin/sh")])), Path::new("/bin/sh"));
    }

    #[test]
    fn names_are_words_and_never_taken() {
        let mut entropy = Entropy::from_seed([7; 32]);
        let name = fresh_name(&mut entropy, |_| false);
        assert_eq!(name.split('-').count(), 2, "{name}");
        let numbered = fresh_name(&mut entropy, |name| name.split('-').count() == 2);
        assert!(numbered.ends_with("-2"), "{numbered}");
    }
}
