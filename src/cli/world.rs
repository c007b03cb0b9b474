//! What a command finds when it starts: environment, paths, profile, config, output.
//! Reads the world once; commands do not look at the process environment themselves.

use std::path::Path;

use super::out::{ColorWish, Out};
use super::parse::Globals;
use crate::config::{Config, Env, Paths, Profile, Snapshot, load, prepare};

/// The surroundings of one command.
pub struct World {
    /// Environment with profile and `.env` files applied.
    pub env: Env,
    /// Files and directories.
    pub paths: Paths,
    /// The config file as it is now.
    pub snapshot: Snapshot,
    /// Where output goes.
    pub out: Out,
    /// Whether the answer is one JSON document.
    pub json: bool,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

impl World {
    /// Looks around. The profile's name was checked by the parser.
    pub fn open(globals: &Globals, out: Out, json: bool) -> World {
        let profile = globals.profile.as_deref().and_then(|name| Profile::named(name).ok()).unwrap_or_default();
        let (env, paths) = prepare(Env::from_process(), &profile);
        let snapshot = load(&paths, &env);
        let env = snapshot.env.clone();
        World { env, paths, snapshot, out, json, now_ms: crate::sys::clock::wall_ms() }
    }

    /// The typed config.
    pub fn config(&self) -> &Config {
        &self.snapshot.config
    }

    /// A command for the person to type, with the active profile.
    pub fn command(&self, words: &str) -> String {
        self.paths.command(words)
    }

    /// A path with the home directory written `~`.
    pub fn short(&self, path: &Path) -> String {
        self.paths.shorten_home(path)
    }
}

/// What the environment says about colours (`spec/cli.md` 1.4).
pub fn color_wish(env: &Env, flag: bool) -> ColorWish {
    ColorWish {
        never: env.get("NO_COLOR").is_some(),
        always: env.get("FORCE_COLOR").is_some_and(|value| value != "0"),
        flag,
    }
}
