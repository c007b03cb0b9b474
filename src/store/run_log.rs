//! The run logs of scheduled jobs: appended line by line, cut when they grow too long, few enough in number. A line that
//! a crash cut off costs nothing but itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::atomic;
use crate::cron::history;
use crate::limits;
use crate::sys::order;

/// Adds a line. It stands at the start of its own line whatever was there before.
pub fn append(path: &Path, line: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if !path.exists() {
        atomic::create_dir(folder)?;
        thin_out(folder)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(atomic::PRIVATE).open(path)?;
    let torn = ends_within_a_line(&mut file)?;
    let text = format!("{}{line}\n", if torn { "\n" } else { "" });
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    let size = file.metadata()?.len();
    if size > u64::try_from(limits::CRON_LOG_BYTES).unwrap_or(u64::MAX) {
        let log = read(path)?;
        atomic::write(path, history::kept(&log), atomic::PRIVATE)?;
    }
    Ok(())
}

fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// A whole log; an empty one when there is none. Of one that is larger than ours get, only the end is read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let most = u64::try_from(2 * limits::CRON_LOG_BYTES).unwrap_or(u64::MAX);
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes room for one more log: those that were written to longest ago go.
fn thin_out(folder: &Path) -> io::Result<()> {
    let mut logs: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)?
        .take(limits::DIR_ENTRIES)
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|ext| ext == "jsonl"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    order::by_key(&mut logs, |(at, _)| *at);
    let surplus = (logs.len() + 1).saturating_sub(limits::CRON_LOGS);
    for (_, path) in logs.into_iter().take(surplus) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("openclaw-run-log-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_cut_line_does_not_spoil_the_next() {
        let path = folder("cut").join("runs/j.jsonl");
        assert!(read(&path).unwrap().is_empty());
        append(&path, "{\"n\":1}").unwrap();
        fs::write(&path, "{\"n\":1}\n{\"n\":2").unwrap();
        append(&path, "{\"n\":3}").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":1}\n{\"n\":2\n{\"n\":3}\n");
    }

    #[test]
    fn logs_are_bounded_in_length_and_number() {
        let folder = folder("many");
        let path = folder.join("j.jsonl");
        append(&path, &"x".repeat(limits::CRON_LOG_BYTES - 10)).unwrap();
        assert!(fs::metadata(&path).unwrap().len() > limits::CRON_LOG_BYTES as u64 / 2);
        append(&path, "{\"the\": \"last line\"}").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"the\": \"last line\"}\n");
        // A file system's clock may be too coarse to tell files of one moment apart.
        File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        for n in 0..limits::CRON_LOGS {
            fs::write(folder.join(format!("{n}.jsonl")), "").unwrap();
        }
        append(&folder.join("new.jsonl"), "{}").unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), limits::CRON_LOGS);
        assert!(folder.join("new.jsonl").exists() && !path.exists());
    }
}
