//! Streams cut into lines, lines into events: server-sent events and newline-delimited JSON, from bytes as they come
//! (sans I/O). Bounded, strict about UTF-8, lenient about line ends; knows nothing of what an event means.

use std::fmt;

use crate::limits;

/// One event of a stream; its name is empty for newline-delimited JSON and for unnamed events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// `event:`.
    pub name: String,
    /// `data:`, several lines joined; or the whole line.
    pub data: String,
}

/// Why a stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// A line, or all lines of one event, over `limits::MODEL_LINE_BYTES`.
    TooLong,
    /// Bytes that are no text.
    NotUtf8,
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameFault::TooLong => write!(f, "one event has more than {} bytes", limits::MODEL_LINE_BYTES),
            FrameFault::NotUtf8 => f.write_str("the stream is not UTF-8"),
        }
    }
}

impl std::error::Error for FrameFault {}

/// Cuts bytes into lines ended by LF, CR LF or CR.
#[derive(Debug, Default)]
struct Lines {
    buf: Vec<u8>,
    /// Bytes of `buf` already given out.
    start: usize,
    /// Bytes of `buf` already searched.
    scanned: usize,
    /// The last line ended with CR; an LF right after it belongs to it.
    after_cr: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Result<Option<String>, FrameFault> {
        if self.after_cr && self.buf.len() > self.start {
            self.after_cr = false;
            if self.buf.get(self.start) == Some(&b'\n') {
                self.start += 1;
                self.scanned = self.scanned.max(self.start);
            }
        }
        let rest = self.buf.get(self.scanned..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.scanned = self.buf.len();
            let long = self.buf.len() - self.start > limits::MODEL_LINE_BYTES;
            return if long { Err(FrameFault::TooLong) } else { Ok(None) };
        };
        let end = self.scanned + end;
        self.after_cr = self.buf.get(end) == Some(&b'\r');
        let line = text(self.buf.get(self.start..end).unwrap_or_default());
        (self.start, self.scanned) = (end + 1, end + 1);
        line.map(Some)
    }

    /// What is left without a line end.
    fn rest(&mut self) -> Result<Option<String>, FrameFault> {
        let rest = self.buf.get(self.start..).unwrap_or_default();
        let line = if rest.is_empty() { Ok(None) } else { text(rest).map(Some) };
        self.buf.clear();
        (self.start, self.scanned) = (0, 0);
        line
    }
}

fn text(bytes: &[u8]) -> Result<String, FrameFault> {
    if bytes.len() > limits::MODEL_LINE_BYTES {
        return Err(FrameFault::TooLong);
    }
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| FrameFault::NotUtf8)
}

/// How a stream is cut into events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// One JSON value per line.
    Ndjson,
}

/// Reads the events of a stream.
#[derive(Debug)]
pub struct Frames {
    framing: Framing,
    lines: Lines,
    first: bool,
    pending: Frame,
    has_data: bool,
}

impl Frames {
    /// A reader at the beginning of a stream.
    pub fn new(framing: Framing) -> Frames {
        Frames { framing, lines: Lines::default(), first: true, pending: Frame::default(), has_data: false }
    }

    /// Adds bytes; then [`Frames::next`] until it has no more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// The next whole event.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameFault> {
        while let Some(line) = self.lines.next()? {
            if let Some(frame) = self.line(&line)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// The event that the end of the stream completes: some servers leave the last empty line out.
    pub fn finish(&mut self) -> Result<Option<Frame>, FrameFault> {
        if let Some(line) = self.lines.rest()?
            && let Some(frame) = self.line(&line)?
        {
            return Ok(Some(frame));
        }
        Ok(self.dispatch())
    }

    fn line(&mut self, line: &str) -> Result<Option<Frame>, FrameFault> {
        let line = if std::mem::take(&mut self.first) { line.trim_start_matches('\u{feff}') } else { line };
        if self.framing == Framing::Ndjson {
            let data = line.trim();
            return Ok((!data.is_empty()).then(|| Frame { name: String::new(), data: data.to_string() }));
        }
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.pending.name = value.to_string(),
            "data" => self.data(value)?,
            // comments, ids, retry times and lines that are none of these
            _ => {}
        }
        Ok(None)
    }

    fn data(&mut self, value: &str) -> Result<(), FrameFault> {
        if std::mem::replace(&mut self.has_data, true) {
            self.pending.data.push('\n');
        }
        self.pending.data.push_str(value);
        if self.pending.data.len() > limits::MODEL_LINE_BYTES { Err(FrameFault::TooLong) } else { Ok(()) }
    }

    fn dispatch(&mut self) -> Option<Frame> {
        let frame = std::mem::take(&mut self.pending);
        std::mem::take(&mut self.has_data).then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, pieces: &[&[u8]]) -> Result<Vec<(String, String)>, FrameFault> {
        let mut frames = Frames::new(framing);
        let mut found = Vec::new();
        for piece in pieces {
            frames.push(piece);
            while let Some(frame) = frames.next()? {
                found.push((frame.name, frame.data));
            }
        }
        if let Some(frame) = frames.finish()? {
            found.push((frame.name, frame.data));
        }
        Ok(found)
    }

    fn pair(name: &str, data: &str) -> (String, String) {
        (name.to_string(), data.to_string())
    }

    const STREAM: &str = "\u{feff}: hello\nevent: a\ndata: one\ndata: two\nid: 7\n\nevent: empty\n\r\n\r\ndata:three ü\r\n\r\nnonsense\rdata: {\"x\":1}\r\rdata: last";

    #[test]
    fn events_have_names_and_joined_data_whatever_ends_the_lines() {
        let expected = [pair("a", "one\ntwo"), pair("", "three ü"), pair("", "{\"x\":1}"), pair("", "last")];
        assert_eq!(read(Framing::Sse, &[STREAM.as_bytes()]).unwrap(), expected);
    }

    #[test]
    fn every_cut_and_single_bytes_give_the_same_events() {
        let bytes = STREAM.as_bytes();
        let whole = read(Framing::Sse, &[bytes]).unwrap();
        for cut in 0..=bytes.len() {
            assert_eq!(read(Framing::Sse, &[&bytes[..cut], &bytes[cut..]]).unwrap(), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(Framing::Sse, &single).unwrap(), whole);
    }

    #[test]
    fn lines_of_json_skip_blanks_and_need_no_last_end() {
        let found = read(Framing::Ndjson, &[b"{\"a\":1}\n\n  \r\n{\"b\"", b":2}"]).unwrap();
        assert_eq!(found, [pair("", "{\"a\":1}"), pair("", "{\"b\":2}")]);
    }

    #[test]
    fn bytes_that_are_no_text_and_endless_lines_are_faults() {
        assert_eq!(read(Framing::Sse, &[b"data: a\xff\n\n"]), Err(FrameFault::NotUtf8));
        assert_eq!(read(Framing::Ndjson, &[b"\xc3"]), Err(FrameFault::NotUtf8));
        let long = vec![b'x'; limits::MODEL_LINE_BYTES + 1];
        assert_eq!(read(Framing::Sse, &[&long]), Err(FrameFault::TooLong));
        let many = b"data: 0123456789012345678901234567890123456789\n".repeat(limits::MODEL_LINE_BYTES / 40);
        assert_eq!(read(Framing::Sse, &[&many]), Err(FrameFault::TooLong));
    }

    #[test]
    fn a_character_cut_in_two_pieces_is_whole_again() {
        let bytes = "data: ü€😀\n\n".as_bytes();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(Framing::Sse, &single).unwrap(), [pair("", "ü€😀")]);
    }
}
