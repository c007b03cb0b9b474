//! The program's logger: readable lines on the console, JSON lines in a file (lifecycle.md 14). The only place that
//! names env_logger. No record can stop or slow the program: one thread writes, and what it cannot write in time is
//! counted; so are faults of the file, which are retried.

mod file;
mod line;
mod queue;

use std::cell::Cell;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

pub use file::{FileRule, daily_name};
pub use line::short_name;

use crate::limits;
use crate::sys::{clock, host, zone::Zone};
use file::FileSink;
use line::Entry;
use queue::{Line, Queue};

/// How a console line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleStyle {
    /// `HH:MM:SS [name] message`, for terminals.
    Pretty,
    /// `<ISO time> [name] message`, for everything else.
    Compact,
    /// One JSON object a line.
    Json,
}

/// Where console lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// Warnings and errors to stderr, the rest to stdout: the gateway.
    Split,
    /// All to stderr: commands, whose stdout is their result.
    Stderr,
    /// Nowhere.
    Off,
}

/// What the logger should do.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The file.
    pub file: FileRule,
    /// Least important level that the file takes (`logging.level`).
    pub level: LevelFilter,
    /// Least important level that the console takes (`logging.consoleLevel`, `--verbose`).
    pub console_level: LevelFilter,
    /// Where console lines go.
    pub console: Console,
    /// How they look.
    pub style: ConsoleStyle,
    /// Whether pretty lines are coloured; see [`colour_wanted`].
    pub colour: bool,
    /// Size at which the file is rotated.
    pub max_file_bytes: u64,
    /// The zone of the file's dates and times.
    pub zone: Zone,
}

impl LogOptions {
    /// The defaults of lifecycle.md 14 for a console that is no terminal; the environment enters as a function.
    pub fn standard(file: FileRule, get: impl Fn(&str) -> Option<OsString>) -> LogOptions {
        LogOptions {
            file,
            level: LevelFilter::Info,
            console_level: LevelFilter::Info,
            console: Console::Split,
            style: ConsoleStyle::Compact,
            colour: false,
            max_file_bytes: limits::LOG_FILE_BYTES,
            zone: Zone::local(get),
        }
    }
}

/// A logger was there already.
#[derive(Debug)]
pub struct LogError(log::SetLoggerError);

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("logging was set up twice")
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The running logger, to look at and to adjust.
#[derive(Clone)]
pub struct LogHandle {
    logger: Arc<Logger>,
}

/// Waits, but not for long, until everything logged so far is written: before the log is read, and before the process
/// ends.
pub fn flush() {
    log::logger().flush();
}

impl LogHandle {
    /// The file that lines go to now; `None` without one.
    pub fn current_file(&self) -> Option<PathBuf> {
        self.logger.sink().path_at(clock::wall_ms())
    }

    /// Changes both levels at once; a reload of the configuration needs no restart.
    pub fn set_levels(&self, file: LevelFilter, console: LevelFilter) {
        self.logger.set_levels(file, console);
        log::set_max_level(file.max(console));
    }
}

/// Installs the logger; once per process. The file is opened with its first line.
pub fn init(options: LogOptions) -> Result<LogHandle, LogError> {
    let most = options.level.max(options.console_level);
    let logger = Arc::new(Logger::new(options));
    let writer = Arc::clone(&logger);
    // Without a thread the records are written where they are made: better slow than silent.
    let queue = Queue::start(move |line| writer.write(line)).ok();
    log::set_boxed_logger(Box::new(Facade { logger: Arc::clone(&logger), queue })).map_err(LogError)?;
    log::set_max_level(most);
    Ok(LogHandle { logger })
}

/// The level of a configured name; names of the original that `log` lacks take the nearest.
pub fn parse_level(name: &str) -> Option<LevelFilter> {
    match name.trim().to_ascii_lowercase().as_str() {
        "silent" => Some(LevelFilter::Off),
        "fatal" => Some(LevelFilter::Error),
        other => other.parse().ok().filter(|level| *level != LevelFilter::Off),
    }
}

/// Whether to colour: `NO_COLOR` forbids it, `FORCE_COLOR` wants it, else a terminal that is not dumb gets it.
pub fn colour_wanted(get: impl Fn(&str) -> Option<OsString>, is_terminal: bool) -> bool {
    let set = |name| get(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    match set("FORCE_COLOR") {
        Some(value) => value != "0",
        None => is_terminal && set("TERM").is_none_or(|term| term != "dumb"),
    }
}

struct Facade {
    logger: Arc<Logger>,
    queue: Option<Queue>,
}

impl Log for Facade {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.wanted(metadata.level()) != (false, false)
    }

    fn log(&self, record: &Record<'_>) {
        BUSY.with(|busy| {
            // a record made while a record is written (a panic inside the logger) would wait for itself
            if !busy.replace(true) {
                match (self.logger.line(record, clock::wall_ms()), &self.queue) {
                    (Some(line), Some(queue)) => queue.put(line),
                    (Some(line), None) => self.logger.write(&line),
                    (None, _) => {}
                }
                busy.set(false);
            }
        });
    }

    fn flush(&self) {
        if let Some(queue) = &self.queue {
            queue.flush();
        }
    }
}

thread_local! {
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

struct Logger {
    sink: Mutex<FileSink>,
    file_level: AtomicUsize,
    console_level: AtomicUsize,
    console: Console,
    style: ConsoleStyle,
    colour: bool,
    hostname: String,
    zone: Zone,
    stdout: env_logger::Logger,
    stderr: env_logger::Logger,
}

impl Logger {
    fn new(options: LogOptions) -> Logger {
        let logger = Logger {
            sink: Mutex::new(FileSink::new(options.file, options.max_file_bytes, options.zone.clone())),
            file_level: AtomicUsize::new(0),
            console_level: AtomicUsize::new(0),
            console: options.console,
            style: options.style,
            colour: options.colour,
            hostname: host::hostname(),
            zone: options.zone,
            stdout: console(env_logger::Target::Stdout),
            stderr: console(env_logger::Target::Stderr),
        };
        logger.set_levels(options.level, options.console_level);
        logger
    }

    fn set_levels(&self, file: LevelFilter, console: LevelFilter) {
        self.file_level.store(rank(file), Ordering::Relaxed);
        self.console_level.store(rank(console), Ordering::Relaxed);
    }

    /// Whether file and console want a level.
    fn wanted(&self, level: Level) -> (bool, bool) {
        let rank = rank(level.to_level_filter());
        let file = rank <= self.file_level.load(Ordering::Relaxed);
        let console = rank <= self.console_level.load(Ordering::Relaxed) && self.console != Console::Off;
        (file, console)
    }

    /// The finished text of a record, if anybody wants it. Made where the record is: it may name borrowed things.
    fn line(&self, record: &Record<'_>, wall_ms: u64) -> Option<Line> {
        let (file, console) = self.wanted(record.level());
        if !file && !console {
            return None;
        }
        let subsystem = line::subsystem(record)?.into_owned();
        let message = line::message(record.args());
        Some(Line { wall_ms, level: record.level(), subsystem, message, file, console, left_out: 0 })
    }

    fn write(&self, line: &Line) {
        if line.left_out > 0 {
            let message = format!("log lines left out because nobody took them in time count={}", line.left_out);
            let notice = Entry { wall_ms: line.wall_ms, level: Level::Warn, subsystem: "gateway", message: &message };
            self.put(&notice, line.file, line.console);
        }
        let Line { wall_ms, level, subsystem, message, .. } = line;
        self.put(&Entry { wall_ms: *wall_ms, level: *level, subsystem, message }, line.file, line.console);
    }

    fn put(&self, entry: &Entry<'_>, file: bool, console: bool) {
        if file {
            self.to_file(entry);
        }
        if console {
            self.to_console(entry);
        }
    }

    fn to_file(&self, entry: &Entry<'_>) {
        let offset = self.zone.offset(crate::sys::date::seconds(entry.wall_ms));
        let text = line::file(entry, &self.hostname, offset);
        let mut sink = self.sink();
        let lost = sink.lost();
        let fault = sink.write(entry.wall_ms, &text);
        if lost > 0 && sink.lost() == 0 {
            let message = format!("log lines lost count={lost}");
            let notice = Entry { level: Level::Warn, subsystem: "gateway", message: &message, ..*entry };
            sink.write(entry.wall_ms, &line::file(&notice, &self.hostname, offset));
        }
        let fault = fault.map(|fault| (fault, sink.path_at(entry.wall_ms).unwrap_or_default()));
        drop(sink);
        if let Some((fault, path)) = fault {
            // stderr may be closed as well: nothing is left to tell then
            let _ = writeln!(std::io::stderr(), "cannot write the log file {}: {fault}", path.display());
        }
    }

    fn to_console(&self, entry: &Entry<'_>) {
        let text = line::console(entry, self.style, self.colour);
        let to_stderr = self.console == Console::Stderr || entry.level <= Level::Warn;
        let out = if to_stderr { &self.stderr } else { &self.stdout };
        out.log(&Record::builder().args(format_args!("{text}")).level(entry.level).build());
    }

    fn sink(&self) -> std::sync::MutexGuard<'_, FileSink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A console writer for whole lines; write errors (a closed pipe) are ignored by env_logger.
fn console(target: env_logger::Target) -> env_logger::Logger {
    env_logger::Builder::new()
        .filter_level(LevelFilter::Trace)
        .write_style(env_logger::WriteStyle::Never)
        .target(target)
        .format(|out, record| writeln!(out, "{}", record.args()))
        .build()
}

/// Off 0 … Trace 5.
fn rank(level: LevelFilter) -> usize {
    LevelFilter::iter().position(|one| one == level).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger(path: PathBuf, level: LevelFilter) -> Logger {
        let mut options = LogOptions::standard(FileRule::Fixed(path), |_| Some("UTC0".into()));
        options.level = level;
        options.console = Console::Off;
        Logger::new(options)
    }

    fn say(logger: &Logger, level: Level, target: &str, text: &str) {
        let args = format_args!("{text}");
        let record = Record::builder().args(args).level(level).target(target).module_path(Some("openclaw::x")).build();
        if let Some(line) = logger.line(&record, 1_795_226_400_234) {
            logger.write(&line);
        }
    }

    #[test]
    fn writes_the_recorded_shape_without_secrets_and_forged_lines() {
        let path = std::env::temp_dir().join(format!("openclaw-log-{}.log", std::process::id()));
        let logger = logger(path.clone(), LevelFilter::Info);
        say(&logger, Level::Info, "gateway/ws", "a token=canary\nb \u{1b}[31m");
        say(&logger, Level::Debug, "gateway/ws", "not wanted");
        logger.set_levels(LevelFilter::Debug, LevelFilter::Off);
        say(&logger, Level::Debug, "gateway", "wanted");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["1"], "a token=***\\nb \\u{1b}[31m");
        assert_eq!(lines[0]["message"], lines[0]["1"]);
        assert_eq!(lines[1]["_meta"]["logLevelName"], "DEBUG");
        assert!(!text.contains("canary") && !text.contains('\u{1b}'));
    }

    #[test]
    fn a_full_disk_is_told_once_and_loses_only_lines() {
        let logger = logger(PathBuf::from("/dev/full"), LevelFilter::Info);
        (0..100).for_each(|_| say(&logger, Level::Info, "gateway", "lost"));
        assert_eq!(logger.sink().lost(), 100);
    }

    #[test]
    fn lost_lines_are_reported_when_writing_works_again() {
        let path = std::env::temp_dir().join(format!("openclaw-log-lost-{}.log", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let logger = logger(path.clone(), LevelFilter::Info);
        say(&logger, Level::Info, "gateway", "lost");
        std::fs::remove_dir(&path).unwrap();
        logger.sink().forget_pause();
        say(&logger, Level::Info, "gateway", "kept");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines[0]["1"].as_str(), lines[1]["1"].as_str()), (Some("kept"), Some("log lines lost count=1")));
    }

    /// Runs only inside the process that the next test starts: a process has one logger.
    #[test]
    #[ignore = "started by warnings_go_to_stderr_and_the_rest_to_stdout"]
    fn child_that_logs() {
        let options = LogOptions::standard(FileRule::Off, |_| None);
        let handle = init(options.clone()).unwrap();
        assert!(init(options).is_err());
        crate::sys::thread::log_panics();
        log::info!(target: "gateway/ws", "ws: to stdout");
        log::warn!(target: "gateway/health", "to stderr");
        log::debug!(target: "gateway", "to nobody");
        handle.set_levels(LevelFilter::Off, LevelFilter::Debug);
        log::debug!(target: "gateway", "to stdout too");
        crate::sys::thread::spawn("dies", 64 * 1024, || panic!("on purpose password=canary")).unwrap().join().unwrap();
        flush();
    }

    #[test]
    fn warnings_go_to_stderr_and_the_rest_to_stdout() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sys::log::tests::child_that_logs", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{out}{err}");
        assert!(out.contains("Z [ws] to stdout\n") && out.contains("Z [gateway] to stdout too\n"), "{out}");
        assert!(err.contains("Z [health] to stderr\n"), "{err}");
        assert!(err.contains("panic thread=dies place=src/sys/log/mod.rs:"), "{err}");
        assert!(err.contains("thread ended by a panic thread=dies message=on purpose password=***"), "{err}");
        assert!(!out.contains("nobody") && !err.contains("canary"), "{out}{err}");
    }

    #[test]
    fn levels_have_the_names_of_the_original() {
        assert_eq!(parse_level("silent"), Some(LevelFilter::Off));
        assert_eq!(parse_level("fatal"), Some(LevelFilter::Error));
        assert_eq!(parse_level(" INFO "), Some(LevelFilter::Info));
        assert_eq!(parse_level("off"), None);
        assert_eq!(parse_level("loud"), None);
        assert!(
            rank(LevelFilter::Off) < rank(LevelFilter::Error) && rank(LevelFilter::Debug) < rank(LevelFilter::Trace)
        );
    }

    #[test]
    fn colour_follows_the_environment() {
        let wanted = |pairs: &[(&str, &str)], terminal| {
            let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            colour_wanted(find, terminal)
        };
        assert!(wanted(&[], true));
        assert!(!wanted(&[], false));
        assert!(!wanted(&[("NO_COLOR", "1"), ("FORCE_COLOR", "1")], true));
        assert!(wanted(&[("NO_COLOR", "")], true));
        assert!(wanted(&[("FORCE_COLOR", "1")], false));
        assert!(!wanted(&[("FORCE_COLOR", "0")], true));
        assert!(!wanted(&[("TERM", "dumb")], true));
    }
}
