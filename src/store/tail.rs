//! The end of a growing text file, line by line, by byte cursor (lifecycle.md 15). Reads at most the bytes asked for;
//! knows nothing of what the lines say.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::limits;

/// Shape of the date in a daily file's name; `d` stands for a digit.
const DAY: &[u8] = b"dddd-dd-dd";

/// What to read. The caller clamps `limit` and `max_bytes` to `limits::TAIL_*`.
#[derive(Clone, Debug)]
pub struct TailRequest<'a> {
    /// The file.
    pub file: &'a Path,
    /// Where the last answer ended; `None` for the end of the file.
    pub cursor: Option<u64>,
    /// Most lines returned; of more, the last ones.
    pub limit: usize,
    /// Most bytes read.
    pub max_bytes: usize,
}

/// Lines, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The file that was read: the asked one, or the newest of its daily siblings.
    pub file: PathBuf,
    /// Where the next request should start: after the last whole line.
    pub cursor: u64,
    /// The file's size.
    pub size: u64,
    /// Whole lines without their ends.
    pub lines: Vec<String>,
    /// Earlier bytes of the file were left out.
    pub truncated: bool,
    /// The cursor did not fit the file; the lines do not continue the last answer.
    pub reset: bool,
}

/// Reads the end of a file; a missing file is replaced by the newest daily one beside it, else the answer is empty.
pub fn tail(request: TailRequest<'_>) -> io::Result<Tail> {
    match read(request.file, &request) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => {}
        other => return other,
    }
    match newest_sibling(request.file) {
        Some(sibling) => read(&sibling, &request),
        None => {
            let file = request.file.to_owned();
            Ok(Tail { file, cursor: 0, size: 0, lines: Vec::new(), truncated: false, reset: false })
        }
    }
}

/// Where reading starts.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    start: u64,
    truncated: bool,
    reset: bool,
}

fn read(path: &Path, request: &TailRequest<'_>) -> io::Result<Tail> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("not a regular file: {}", path.display())));
    }
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let max_bytes = u64::try_from(request.max_bytes).unwrap_or(u64::MAX);
    let window = window(request.cursor, size, max_bytes);
    let inside = window.start > 0 && byte_at(&mut file, window.start - 1)? != b'\n';
    file.seek(SeekFrom::Start(window.start))?;
    let mut bytes = Vec::new();
    file.take(size - window.start).read_to_end(&mut bytes)?;
    let (lines, used) = whole_lines(&bytes, inside, request.limit);
    // a window inside one endless line has to be left, else it is read again and again
    let used = if inside && used == 0 { bytes.len() } else { used };
    let cursor = window.start + u64::try_from(used).unwrap_or(0);
    Ok(Tail { file: path.to_owned(), cursor, size, lines, truncated: window.truncated, reset: window.reset })
}

fn window(cursor: Option<u64>, size: u64, max_bytes: u64) -> Window {
    let tail = size.saturating_sub(max_bytes);
    match cursor {
        None => Window { start: tail, truncated: tail > 0, reset: false },
        Some(cursor) if cursor > size => Window { start: tail, truncated: tail > 0, reset: true },
        Some(cursor) if size - cursor > max_bytes => Window { start: tail, truncated: true, reset: true },
        Some(cursor) => Window { start: cursor, truncated: false, reset: false },
    }
}

fn byte_at(file: &mut File, position: u64) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::Start(position))?;
    file.read_exact(&mut byte)?;
    let [byte] = byte;
    Ok(byte)
}

/// The last `limit` whole lines, and the bytes up to the end of the last one. `inside`: the first line began earlier.
fn whole_lines(bytes: &[u8], inside: bool, limit: usize) -> (Vec<String>, usize) {
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return (Vec::new(), 0) };
    let whole = bytes.get(..end).unwrap_or_default();
    let pieces: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').skip(usize::from(inside)).collect();
    let kept = pieces.get(pieces.len().saturating_sub(limit)..).unwrap_or_default();
    (kept.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect(), end + 1)
}

/// The newest file with the same prefix when the asked name ends in `YYYY-MM-DD.log`.
fn newest_sibling(path: &Path) -> Option<PathBuf> {
    let prefix = daily_prefix(path.file_name()?.to_str()?)?;
    let entries = fs::read_dir(path.parent()?).ok()?.take(limits::DIR_ENTRIES).filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let newest = names.filter(|name| daily_prefix(name) == Some(prefix)).max()?;
    Some(path.with_file_name(newest))
}

fn daily_prefix(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".log")?;
    let (prefix, day) = stem.split_at_checked(stem.len().checked_sub(DAY.len())?)?;
    let fits = |(byte, shape): (u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == *shape };
    day.bytes().zip(DAY).all(fits).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    struct Log(PathBuf);

    impl Log {
        fn new(name: &str, content: &[u8]) -> Log {
            let dir = std::env::temp_dir().join(format!("openclaw-tail-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            let path = dir.join("openclaw-2026-11-21.log");
            fs::write(&path, content).unwrap();
            Log(path)
        }

        fn add(&self, content: &[u8]) {
            fs::OpenOptions::new().append(true).open(&self.0).unwrap().write_all(content).unwrap();
        }

        fn tail(&self, cursor: Option<u64>, limit: usize, max_bytes: usize) -> Tail {
            tail(TailRequest { file: &self.0, cursor, limit, max_bytes }).unwrap()
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.parent().unwrap());
        }
    }

    #[test]
    fn reads_the_whole_of_a_small_file() {
        let log = Log::new("small", b"one\n\ntwo\n");
        let found = log.tail(None, 500, 1000);
        assert_eq!(found.lines, ["one", "", "two"]);
        assert_eq!((found.cursor, found.size, found.truncated, found.reset), (9, 9, false, false));
    }

    #[test]
    fn a_half_written_line_comes_whole_next_time() {
        let log = Log::new("half", b"one\ntw");
        let first = log.tail(None, 500, 1000);
        assert_eq!((first.lines.as_slice(), first.cursor, first.size), (&["one".to_owned()][..], 4, 6));
        log.add(b"o\nthree\n");
        let second = log.tail(Some(first.cursor), 500, 1000);
        assert_eq!(second.lines, ["two", "three"]);
        assert!(log.tail(Some(second.cursor), 500, 1000).lines.is_empty());
    }

    #[test]
    fn following_gives_every_line_once_wherever_the_writer_stops() {
        let text = b"alpha\nbeta\n\ngamma\nlast\n";
        for cut in 0..=text.len() {
            let log = Log::new(&format!("cut{cut}"), &text[..cut]);
            let first = log.tail(Some(0), 500, 1000);
            log.add(&text[cut..]);
            let second = log.tail(Some(first.cursor), 500, 1000);
            let all: Vec<_> = first.lines.into_iter().chain(second.lines).collect();
            assert_eq!(all, ["alpha", "beta", "", "gamma", "last"], "cut at {cut}");
        }
    }

    #[test]
    fn a_bound_in_a_line_drops_its_rest() {
        let log = Log::new("bound", b"0123\n5678\n");
        let found = log.tail(None, 500, 7);
        assert_eq!((found.lines.as_slice(), found.truncated), (&["5678".to_owned()][..], true));
        assert_eq!(log.tail(None, 500, 5).lines, ["5678"]);
    }

    #[test]
    fn only_the_last_lines_are_returned() {
        let log = Log::new("limit", b"1\n2\n3\n");
        let found = log.tail(None, 2, 1000);
        assert_eq!((found.lines, found.cursor), (vec!["2".to_owned(), "3".to_owned()], 6));
    }

    #[test]
    fn a_cursor_that_does_not_fit_starts_over() {
        let log = Log::new("reset", b"1\n2\n3\n");
        let shrunk = log.tail(Some(100), 500, 1000);
        assert_eq!((shrunk.lines.len(), shrunk.reset, shrunk.truncated), (3, true, false));
        let behind = log.tail(Some(0), 500, 2);
        assert_eq!((behind.lines, behind.reset, behind.truncated), (vec!["3".to_owned()], true, true));
    }

    #[test]
    fn an_endless_line_does_not_hold_the_cursor() {
        let log = Log::new("endless", &[b'x'; 100]);
        let first = log.tail(None, 500, 10);
        assert_eq!((first.lines.len(), first.cursor), (0, 100));
        log.add(b"xx\nnext\n");
        assert_eq!(log.tail(Some(first.cursor), 500, 10).lines, ["next"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(Log::new("utf8", b"a\xffb\n").tail(None, 5, 100).lines, ["a\u{fffd}b"]);
    }

    #[test]
    fn a_missing_day_is_replaced_by_the_newest_of_the_same_kind() {
        let log = Log::new("day", b"found\n");
        fs::write(log.0.with_file_name("openclaw-2026-11-20.log"), b"older\n").unwrap();
        fs::write(log.0.with_file_name("openclaw-work-2026-11-22.log"), b"other profile\n").unwrap();
        fs::write(log.0.with_file_name("openclaw-2026-11-21.1.log"), b"rotated\n").unwrap();
        let asked = log.0.with_file_name("openclaw-2026-11-23.log");
        let found = tail(TailRequest { file: &asked, cursor: None, limit: 5, max_bytes: 100 }).unwrap();
        assert_eq!((found.file, found.lines), (log.0.clone(), vec!["found".to_owned()]));
    }

    #[test]
    fn nothing_to_read_is_an_empty_answer() {
        let log = Log::new("none", b"x\n");
        let asked = log.0.with_file_name("custom.log");
        let found = tail(TailRequest { file: &asked, cursor: Some(7), limit: 5, max_bytes: 100 }).unwrap();
        assert_eq!((found.cursor, found.size, found.lines.len()), (0, 0, 0));
        let dir = log.0.parent().unwrap();
        assert!(tail(TailRequest { file: dir, cursor: None, limit: 5, max_bytes: 100 }).is_err());
    }
}
