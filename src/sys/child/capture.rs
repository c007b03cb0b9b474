//! Bytes of an endless stream in bounded memory: the beginning and the end are kept, what lies between is counted.
//! Pure; knows no process.

use std::collections::VecDeque;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of the beginning.
    pub head: usize,
    /// Bytes of the end.
    pub tail: usize,
}

/// What was kept of a stream.
#[derive(Clone, Debug)]
pub struct Capture {
    keep: Keep,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

/// A part of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Bytes before the gap.
    pub head: Vec<u8>,
    /// Bytes of the gap.
    pub left_out: u64,
    /// Bytes after the gap, or all that follow the head when there is none.
    pub tail: Vec<u8>,
    /// Where the stream stood.
    pub end: u64,
}

impl Piece {
    /// The bytes that are there; `note` makes the text for a gap.
    pub fn bytes(&self, note: impl Fn(u64) -> String) -> Vec<u8> {
        let mut all = self.head.clone();
        if self.left_out > 0 {
            all.extend_from_slice(note(self.left_out).as_bytes());
        }
        all.extend_from_slice(&self.tail);
        all
    }
}

impl Capture {
    /// Nothing yet.
    pub fn new(keep: Keep) -> Capture {
        Capture { keep, head: Vec::new(), tail: VecDeque::new(), total: 0 }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let room = self.keep.head.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        let rest = rest.get(rest.len().saturating_sub(self.keep.tail)..).unwrap_or_default();
        let over = (self.tail.len() + rest.len()).saturating_sub(self.keep.tail);
        self.tail.drain(..over.min(self.tail.len()));
        self.tail.extend(rest);
    }

    /// Bytes that went by, kept or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Everything that is kept from this position of the stream on.
    pub fn since(&self, position: u64) -> Piece {
        let length = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let tail_start = self.total.saturating_sub(length(self.tail.len()));
        let skip = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let head = self.head.get(skip(position)..).unwrap_or_default().to_vec();
        let tail = self.tail.iter().skip(skip(position.saturating_sub(tail_start))).copied().collect();
        let left_out = tail_start.saturating_sub(position.max(length(self.head.len())));
        Piece { head, left_out, tail, end: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(capture: &Capture, position: u64) -> String {
        String::from_utf8(capture.since(position).bytes(|gap| format!("[{gap}]"))).unwrap()
    }

    #[test]
    fn keeps_both_ends_however_the_bytes_come() {
        let text = b"0123456789abcdefghij";
        for size in 1..=text.len() {
            let mut capture = Capture::new(Keep { head: 4, tail: 5 });
            text.chunks(size).for_each(|piece| capture.push(piece));
            assert_eq!(all(&capture, 0), "0123[11]fghij", "{size}");
            assert_eq!(capture.total(), 20);
            assert!(capture.tail.len() <= 5 && capture.head.len() <= 4);
        }
    }

    #[test]
    fn goes_on_from_any_position() {
        let mut capture = Capture::new(Keep { head: 4, tail: 5 });
        capture.push(b"0123456789abcdefghij");
        for (position, expected) in
            [(2, "23[11]fghij"), (4, "[11]fghij"), (9, "[6]fghij"), (15, "fghij"), (18, "ij"), (20, ""), (99, "")]
        {
            assert_eq!(all(&capture, position), expected, "{position}");
        }
    }

    #[test]
    fn a_short_stream_has_no_gap() {
        let mut capture = Capture::new(Keep { head: 4, tail: 5 });
        capture.push(b"0123456");
        assert_eq!((all(&capture, 0).as_str(), all(&capture, 5).as_str()), ("0123456", "56"));
        capture.push(b"78");
        assert_eq!(all(&capture, 0), "012345678");
        capture.push(b"9");
        assert_eq!(all(&capture, 0), "0123[1]56789");
    }
}
