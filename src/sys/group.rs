//! Ending a child process together with everything it started: children are put into a process group of their own, and
//! the group gets the signal. Knows nothing of what the child does.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Makes the child the leader of a new group, so that [`terminate`] and [`kill`] reach all of it and a terminal's
/// Ctrl-C does not.
pub fn lead(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Asks the group of this leader to end.
pub fn terminate(leader: u32) {
    signal(leader, Signal::SIGTERM);
}

/// Ends the group of this leader.
pub fn kill(leader: u32) {
    signal(leader, Signal::SIGKILL);
}

/// Whether the group of this leader has members, ended ones that nobody collected included.
pub fn exists(leader: u32) -> bool {
    id(leader).is_some_and(|id| killpg(id, None) != Err(Errno::ESRCH))
}

/// Waits until a child has ended, without collecting it, so that its number stays taken. False at once where the
/// system cannot do that; the caller then collects it directly.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub fn await_exit(child: u32) -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let Some(id) = id(child) else { return false };
    loop {
        match waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(Errno::EINTR) => continue,
            other => return other.is_ok(),
        }
    }
}

/// See above.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub fn await_exit(_child: u32) -> bool {
    false
}

/// A group that is gone already is fine.
fn signal(leader: u32, signal: Signal) {
    if let Some(id) = id(leader) {
        let _ = killpg(id, signal);
    }
}

/// Ids 0 and 1 would mean ourselves or everybody.
fn id(leader: u32) -> Option<Pid> {
    i32::try_from(leader).ok().filter(|id| *id > 1).map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Stdio;

    #[test]
    fn a_group_ends_with_its_grandchildren() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo up; wait"]).stdout(Stdio::piped());
        let mut child = lead(&mut command).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut up = [0; 3];
        stdout.read_exact(&mut up).unwrap();
        kill(child.id());
        // the pipe closes only when the grandchild is gone too
        assert_eq!(stdout.read(&mut up).unwrap(), 0);
        assert!(!child.wait().unwrap().success());
        terminate(child.id());
        kill(0);
        kill(1);
    }
}
