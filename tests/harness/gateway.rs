//! The program under test: started in a fresh home on port 0, watched, stopped. Knows nothing of the protocol.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, TOKEN, WATCHDOG};

/// A folder that goes away with the test.
pub struct Home {
    /// The directory.
    pub path: PathBuf,
}

impl Home {
    /// A fresh, private home.
    pub fn new() -> Home {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("openclaw-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("tmp")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Home { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below the state folder.
    pub fn state(&self, name: &str) -> PathBuf {
        self.path.join(".openclaw").join(name)
    }

    /// Puts the configuration where the program looks for it; the log goes into the home as well.
    pub fn configure(&self, config: &str) {
        let log = format!("{{logging: {{file: {:?}}},", self.path.join("openclaw.log"));
        fs::create_dir_all(self.state("")).unwrap();
        fs::set_permissions(self.state(""), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(self.state("openclaw.json"), config.replacen('{', &log, 1)).unwrap();
    }

    /// The program with this home, nothing else of the caller's environment, and no standard input.
    pub fn command<I: AsRef<OsStr>>(&self, words: &[I]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw"));
        command.args(words).env_clear().current_dir(&self.path).stdin(Stdio::null());
        command.env("HOME", &self.path).env("TMPDIR", self.path.join("tmp")).env("PATH", "/usr/bin:/bin");
        command.env("NO_COLOR", "1").env("OPENCLAW_LOG_DIR", self.path.join("log"));
        command
    }

    /// Runs a command to its end; a hanging one is killed and fails the test.
    pub fn run<I: AsRef<OsStr>>(&self, words: &[I], env: &[(&str, &str)]) -> Output {
        let mut command = self.command(words);
        command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let dog = Dog::watch(child.id(), PATIENCE);
        let output = child.wait_with_output().unwrap();
        assert!(!dog.bit(), "the command was still running after {PATIENCE:?}");
        output
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Kills a process that outlives its time.
struct Dog {
    off: Option<Sender<()>>,
    bite: Receiver<()>,
}

impl Dog {
    fn watch(pid: u32, patience: Duration) -> Dog {
        let (off, wait) = channel();
        let (bitten, bite) = channel();
        thread::spawn(move || {
            if wait.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let _ = bitten.send(());
                signal(pid, "KILL");
            }
        });
        Dog { off: Some(off), bite }
    }

    fn bit(&self) -> bool {
        self.bite.try_recv().is_ok()
    }
}

impl Drop for Dog {
    fn drop(&mut self) {
        drop(self.off.take());
    }
}

fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// How a gateway is to be started.
pub struct Setup {
    home: Home,
    words: Vec<String>,
    env: Vec<(String, String)>,
    watchdog: Duration,
    deaf: bool,
}

impl Setup {
    /// Token mode, loopback, port 0, a fresh home.
    pub fn new() -> Setup {
        let words = ["gateway", "--port", "0", "--allow-unconfigured"];
        let home = Home::new();
        home.configure("{}");
        Setup { home, words: words.map(String::from).to_vec(), env: Vec::new(), watchdog: WATCHDOG, deaf: false }
            .env("OPENCLAW_GATEWAY_TOKEN", TOKEN)
            .env("OPENCLAW_SKIP_CHANNELS", "1")
            .env("OPENCLAW_SKIP_CANVAS_HOST", "1")
    }

    /// The same with one more variable; an empty value takes the variable away.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.env.push((name.to_string(), value.to_string()));
        }
        self
    }

    /// The same with more words on the command line.
    pub fn words(mut self, words: &[&str]) -> Setup {
        self.words.extend(words.iter().map(|word| (*word).to_string()));
        self
    }

    /// The same with this configuration file.
    pub fn config(self, config: &str) -> Setup {
        self.home.configure(config);
        self
    }

    /// The same in an existing home.
    pub fn home(mut self, home: Home) -> Setup {
        self.home = home;
        self
    }

    /// The same with more time: for tests that must wait for a deadline of the gateway.
    pub fn slow(mut self) -> Setup {
        self.watchdog = WATCHDOG * 3;
        self
    }

    /// The same with a console that nobody reads once it listens, like a stopped pager.
    pub fn deaf(mut self) -> Setup {
        self.deaf = true;
        self
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Gateway {
        let mut command = self.home.command(&self.words);
        command.envs(self.env).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let dog = Dog::watch(child.id(), self.watchdog);
        let (sender, lines) = channel();
        follow(child.stdout.take().unwrap(), sender.clone(), self.deaf);
        follow(child.stderr.take().unwrap(), sender, false);
        let mut gateway = Gateway { child, dog, lines, seen: Vec::new(), port: 0, home: Some(self.home) };
        let line = gateway.line("listening on ws://127.0.0.1:");
        gateway.port = line
            .split("ws://127.0.0.1:")
            .nth(1)
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("no port in {line:?}"));
        gateway
    }
}

fn follow(pipe: impl Read + Send + 'static, sender: Sender<String>, deaf: bool) {
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            let last = deaf && line.contains("listening on ws://");
            if sender.send(line).is_err() {
                return;
            }
            if last {
                break;
            }
        }
        // The pipe stays open as long as the test runs, but nothing takes from it.
        if deaf {
            loop {
                thread::park();
            }
        }
    });
}

/// A running gateway.
pub struct Gateway {
    child: Child,
    dog: Dog,
    lines: Receiver<String>,
    seen: Vec<String>,
    home: Option<Home>,
    /// Where it listens.
    pub port: u16,
}

impl Gateway {
    /// A gateway with the usual settings.
    pub fn start() -> Gateway {
        Setup::new().start()
    }

    /// Its home.
    pub fn home(&self) -> &Home {
        self.home.as_ref().unwrap()
    }

    /// Waits for a console line with this text, looking at those already seen first.
    pub fn line(&mut self, text: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("no line with {text:?}; the console says:\n{}", self.seen.join("\n"));
    }

    /// Everything on the console so far.
    pub fn console(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name (`TERM`, `INT`, …).
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        if self.dog.bit() {
            panic!("the watchdog ended the gateway; the console says:\n{}", self.console());
        }
        status
    }

    /// SIGTERM, the end, and the home for another start.
    pub fn stop(mut self) -> (ExitStatus, Home) {
        self.signal("TERM");
        let status = self.wait();
        (status, self.home.take().unwrap())
    }

    /// The home of a gateway that has ended, for another start.
    pub fn into_home(mut self) -> Home {
        self.home.take().unwrap()
    }

    /// Number of entries in one of its `/proc` folders: `fd` or `task`.
    pub fn count(&self, what: &str) -> usize {
        fs::read_dir(format!("/proc/{}/{what}", self.child.id())).map_or(0, Iterator::count)
    }

    /// Runs the program's command line in this gateway's home, told its port and token.
    pub fn cli(&self, words: &[&str]) -> Output {
        let port = self.port.to_string();
        self.home().run(words, &[("OPENCLAW_GATEWAY_PORT", &port), ("OPENCLAW_GATEWAY_TOKEN", TOKEN)])
    }

    /// The JSON document a command prints; the command must succeed.
    pub fn cli_json(&self, words: &[&str]) -> Value {
        let output = self.cli(words);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {:?}\n{stdout}\n{stderr}", output.status);
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{words:?}: {error}\n{stdout}\n{stderr}"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let console = self.console();
            eprintln!("the gateway's console:\n{console}");
        }
    }
}
