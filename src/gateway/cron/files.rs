//! What the disk thread does for scheduled work: read the book with the zones it names, add to run logs, read them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::Config;
use crate::config::paths::Paths;
use crate::cron::book::Book;
use crate::cron::history::{self, Wanted};
use crate::cron::job::{Ended, Job as CronEntry};
use crate::cron::schedule::{self, Fault, Zones};
use crate::gateway::disk::Done;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::store::{atomic, run_log};
use crate::sys::zone::Zone;

/// The book's file (`cron.store`).
pub fn book_path(config: &Config, paths: &Paths) -> PathBuf {
    let written = config.raw.pointer("/cron/store").and_then(Value::as_str).map(str::trim);
    match written.filter(|path| !path.is_empty()) {
        Some(path) => paths.expand(path, &paths.home),
        None => paths.state_dir.join("cron").join("jobs.json"),
    }
}

/// Something to do with the files of scheduled work.
pub enum CronJob {
    /// Read the book; times without a zone are local ones of this.
    Load(PathBuf, Zone),
    /// Read a time zone.
    Zone(String),
    /// Add lines to run logs, joined for each.
    Log(Vec<(PathBuf, String)>),
    /// Answer with runs of a job, or with this error when it never ran.
    Runs(PathBuf, String, Wanted, Option<Box<WireError>>),
}

/// What a book's file says.
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// The jobs, or why there are none.
    pub book: Result<Book, String>,
    /// The zones they name.
    pub zones: Zones,
    /// Jobs marked as running whose run stands in their log already, with its end.
    pub logged: Vec<(String, Ended)>,
}

/// Does it.
pub fn perform(job: CronJob) -> Done {
    match job {
        CronJob::Load(path, local) => Done::CronLoaded(Box::new(load(path, local))),
        CronJob::Zone(name) => {
            let zone = schedule::read_zone(&name);
            Done::CronZone(name, zone)
        }
        CronJob::Log(logs) => {
            logs.iter().for_each(|(path, lines)| add(path, lines));
            Done::Written(Ok(()))
        }
        CronJob::Runs(path, id, wanted, otherwise) => Done::Answer(match (run_log::read(&path), otherwise) {
            (Ok(log), Some(error)) if log.is_empty() => Err(*error),
            (Ok(log), _) => Ok(history::page(&log, &id, &wanted).to_string()),
            (Err(error), _) => Err(WireError::unavailable(format!("cannot read {}: {error}", path.display()))),
        }),
    }
}

/// One log that cannot be written must not cost the others their lines.
fn add(path: &Path, lines: &str) {
    if let Err(error) = run_log::append(path, lines) {
        log::error!(target: "store", "a run is not in its log file={} error={error}", path.display());
    }
}

/// The copy the original keeps beside the file.
pub fn copy_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bak");
    name.into()
}

fn load(path: PathBuf, local: Zone) -> Loaded {
    let mut zones = Zones::new(local);
    let mut book = read(&path, &zones);
    let mut logged = Vec::new();
    if let Ok(book) = &mut book {
        book.jobs.iter_mut().for_each(|job| plan(job, &mut zones));
        let marked = book.jobs.iter().filter_map(|job| Some((job.id(), job.state("runningAtMs")?)));
        let runs = path.parent().unwrap_or(Path::new(".")).join("runs");
        let done = |(id, began): (&str, u64)| {
            let log = run_log::read(&runs.join(format!("{id}.jsonl"))).ok()?;
            Some((id.to_string(), history::last_run(&log).filter(|ended| ended.began == began)?))
        };
        logged = marked.filter_map(done).collect();
    }
    Loaded { path, book, zones, logged }
}

/// Reads a job's schedule, and its zone if that is a new one. Jobs before it keep theirs in use: no number of zones is
/// too many for what is remembered of them.
fn plan(job: &mut CronEntry, zones: &mut Zones) {
    job.plan(zones);
    if let Err(Fault::Unread(name)) = job.schedule() {
        let name = name.clone();
        let zone = schedule::read_zone(&name);
        zones.add(name, zone);
        job.plan(zones);
    }
}

/// The book; from the copy when the file is damaged, which is then kept under another name.
fn read(path: &Path, zones: &Zones) -> Result<Book, String> {
    let of = |path: &Path| {
        let bytes = atomic::read_bounded(path, limits::CRON_STORE_BYTES).map_err(|error| error.to_string())?;
        Book::parse(bytes.as_deref(), zones).map(|book| (book, bytes.is_some()))
    };
    let why = match of(path) {
        Ok((book, _)) => return Ok(book),
        Err(why) => why,
    };
    let (file, copy) = (path.display(), copy_of(path));
    let aside = PathBuf::from(format!("{file}.broken"));
    match of(&copy) {
        Ok((book, true)) if std::fs::copy(path, &aside).is_ok() => {
            log::error!(
                target: "store", "{file} is damaged ({why}); its copy {} is used, the damaged file is kept as {}",
                copy.display(), aside.display()
            );
            Ok(book)
        }
        _ => Err(format!("{file} cannot be read ({why}); put it right or move it away, then restart the gateway")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("openclaw-cron-files-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("runs")).unwrap();
        folder
    }

    const JOBS: &str = r#"{"version": 1, "jobs": [
        {"id": "a", "schedule": {"kind": "cron", "expr": "0 7 * * *", "tz": "EST5EDT,M3.2.0,M11.1.0"}},
        {"id": "b", "schedule": {"kind": "every", "everyMs": 60000}, "state": {"runningAtMs": 7}},
        {"id": "c", "schedule": {"kind": "every", "everyMs": 60000}, "state": {"runningAtMs": 7}}]}"#;

    #[test]
    fn a_book_comes_with_its_zones_and_what_its_logs_know() {
        let folder = folder("load");
        let path = folder.join("jobs.json");
        assert!(load(path.clone(), Zone::utc()).book.unwrap().jobs.is_empty(), "no file, no jobs");
        fs::write(&path, JOBS).unwrap();
        let line = |status: &str, began: u64| format!("{{\"status\": \"{status}\", \"runAtMs\": {began}, \"ts\": 9}}");
        run_log::append(&folder.join("runs/b.jsonl"), &line("ok", 7)).unwrap();
        run_log::append(&folder.join("runs/c.jsonl"), &line("ok", 6)).unwrap();
        run_log::append(&folder.join("runs/c.jsonl"), &line("skipped", 7)).unwrap();
        let loaded = load(path, Zone::utc());
        assert!(loaded.book.unwrap().jobs.iter().all(|job| job.schedule().is_ok()));
        let logged: Vec<(&str, u64)> = loaded.logged.iter().map(|(id, ended)| (id.as_str(), ended.ended)).collect();
        assert_eq!(logged, [("b", 9)]);
    }

    #[test]
    fn a_job_in_each_zone_of_the_world_runs_in_its_own() {
        let folder = folder("zones");
        let path = folder.join("jobs.json");
        let job = |n: usize| {
            let tz = format!("ABC{}:{:02}DEF,M3.2.0,M11.1.0", n / 60, n % 60);
            json!({"id": format!("j{n}"), "schedule": {"kind": "cron", "expr": "0 7 * * *", "tz": tz}})
        };
        let jobs: Vec<serde_json::Value> = (0..2 * limits::CRON_ZONES).map(job).collect();
        fs::write(&path, json!({ "jobs": jobs }).to_string()).unwrap();
        let book = load(path, Zone::utc()).book.unwrap();
        assert_eq!(book.jobs.iter().filter(|job| job.schedule().is_ok()).count(), 2 * limits::CRON_ZONES);
    }

    #[test]
    fn a_damaged_book_is_never_written_over() {
        let folder = folder("damaged");
        let path = folder.join("jobs.json");
        fs::write(&path, "{\"jobs\": [{\"id\"").unwrap();
        let why = load(path.clone(), Zone::utc()).book.unwrap_err();
        assert!(why.contains("jobs.json cannot be read") && why.contains("move it away"), "{why}");
        fs::write(copy_of(&path), JOBS).unwrap();
        assert_eq!(load(path.clone(), Zone::utc()).book.unwrap().jobs.len(), 3);
        assert_eq!(fs::read_to_string(folder.join("jobs.json.broken")).unwrap(), "{\"jobs\": [{\"id\"");
        fs::write(&path, " ".repeat(limits::CRON_STORE_BYTES + 1)).unwrap();
        fs::remove_file(copy_of(&path)).unwrap();
        assert!(load(path, Zone::utc()).book.unwrap_err().contains("over"));
    }
}
