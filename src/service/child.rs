//! Other programs, run with a deadline and bounded output.
//! Knows nothing of what they print.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::config::Env;
use crate::config::env::is_private;
use crate::limits;
use crate::sys::thread::{self, Pending};

/// How long the rest of a program's output may take once it has ended: a grandchild may hold the pipe open.
const REST: Duration = Duration::from_millis(200);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit status; `None` after a signal or the deadline.
    pub status: Option<i32>,
    /// Standard output, cut at the limit.
    pub stdout: String,
    /// Standard error, cut at the limit.
    pub stderr: String,
    /// Whether the deadline passed.
    pub timed_out: bool,
}

impl Ended {
    /// Whether it succeeded.
    pub fn ok(&self) -> bool {
        self.status == Some(0)
    }

    /// The first line that says why not.
    pub fn reason(&self) -> String {
        if self.timed_out {
            return "timed out".to_string();
        }
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        text.trim().lines().next().unwrap_or("no output").chars().take(200).collect()
    }
}

/// The program of this name in `PATH`.
pub fn find(env: &Env, name: &str) -> Option<PathBuf> {
    let dirs = env.get("PATH").map(std::env::split_paths)?;
    dirs.map(|dir| dir.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

/// Runs a program without input and waits, at most `limits::SUBPROCESS`.
pub fn run<S: AsRef<OsStr>>(program: &Path, args: &[S]) -> Ended {
    let failed = |why: String| Ended { status: None, stdout: String::new(), stderr: why, timed_out: false };
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_private)) {
        command.env_remove(name);
    }
    let child = command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A person's pager must not wait for a key.
        .env("SYSTEMD_PAGER", "")
        .env("SYSTEMD_COLORS", "0")
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return failed(error.to_string()),
    };
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let deadline = Instant::now() + limits::SUBPROCESS;
    let (status, timed_out) = wait(&mut child, deadline);
    let text = |from: Option<Pending<String>>| from.and_then(|from| from.wait(REST)).unwrap_or_default();
    Ended { status, stdout: text(stdout), stderr: text(stderr), timed_out }
}

fn wait(child: &mut std::process::Child, deadline: Instant) -> (Option<i32>, bool) {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return (status.code(), false),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                // Whatever kill and wait say: nothing more can be done about this process.
                let _ = child.kill().and_then(|()| child.wait());
                return (None, true);
            }
        }
    }
}

/// Reads a pipe to its end in a thread, so that a full pipe never blocks the program.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<Pending<String>> {
    let read = move || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(limits::SUBPROCESS_BYTES).unwrap_or(u64::MAX);
        if let Some(mut pipe) = pipe {
            // A pipe that breaks has delivered what there was.
            let _ = (&mut pipe).take(limit).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    // Without a thread the output stays empty; the exit status still counts.
    thread::ask("pipe", limits::STACK_ACCEPT, read).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_status_and_both_streams() {
        let ended = run(Path::new("/bin/sh"), &["-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!((ended.status, ended.stdout.as_str(), ended.stderr.as_str()), (Some(3), "out\n", "err\n"));
        assert_eq!(ended.reason(), "err");
    }

    #[test]
    fn bounds_the_output_and_lets_the_program_end() {
        let ended = run(Path::new("/bin/sh"), &["-c", "head -c 1000000 /dev/zero"]);
        assert_eq!(ended.status, Some(0));
        assert_eq!(ended.stdout.len(), limits::SUBPROCESS_BYTES);
    }

    #[test]
    fn a_missing_program_is_an_answer() {
        assert!(!run(Path::new("/no/such/program"), &[""; 0]).ok());
        assert_eq!(find(&Env::of([("PATH", "/nowhere")]), "sh"), None);
    }
}
