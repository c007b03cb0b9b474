//! Request bodies, delimited by length or chunked, taken from bytes as they come (sans I/O) and bounded in every
//! direction. Knows nothing of what a body means.

use std::fmt;

use crate::http::head::BodyLength;
use crate::limits;

/// Hexadecimal digits of a chunk size.
const SIZE_DIGITS: usize = 15;

/// Why a body was refused; the connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// More bytes than the route takes: 413.
    TooLarge,
    /// Chunked coding against the grammar: 400.
    Malformed(&'static str),
}

impl BodyFault {
    /// The status to answer with.
    pub fn status(self) -> u16 {
        match self {
            BodyFault::TooLarge => 413,
            BodyFault::Malformed(_) => 400,
        }
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyFault::TooLarge => f.write_str("request body too large"),
            BodyFault::Malformed(what) => write!(f, "malformed request body: {what}"),
        }
    }
}

impl std::error::Error for BodyFault {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes to the end of the body.
    Plain(u64),
    /// In a size line.
    Size { value: u64, digits: usize, length: usize, extension: bool },
    /// Carriage return of a size line seen.
    SizeEnd(u64),
    /// So many bytes of a chunk left.
    Data(u64),
    /// A chunk's own line end.
    DataEnd { carriage: bool },
    /// In a trailer line of that length so far; 0 means the empty line may come.
    Trailer { length: usize, carriage: bool },
    /// Whole.
    Done,
}

/// Takes one request's body out of the bytes of a connection.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    room: u64,
    extensions: usize,
    trailers: usize,
}

impl BodyReader {
    /// A reader for a body of that length; refuses at once what is declared larger than `max_bytes`.
    pub fn new(length: BodyLength, max_bytes: usize) -> Result<BodyReader, BodyFault> {
        let room = u64::try_from(max_bytes).unwrap_or(u64::MAX);
        let state = match length {
            BodyLength::None => State::Done,
            BodyLength::Exact(length) if length > room => return Err(BodyFault::TooLarge),
            BodyLength::Exact(length) => State::Plain(length),
            BodyLength::Chunked => size_line(),
        };
        Ok(BodyReader { state, room, extensions: 0, trailers: 0 })
    }

    /// Whether the body is whole.
    pub fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes, gives the body's own to `sink`, and says how many were used: all, unless the body ended before.
    pub fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, BodyFault> {
        let mut rest = bytes;
        while let Some(first) = rest.first().filter(|_| !self.done()) {
            let used = match self.state {
                State::Plain(left) | State::Data(left) => self.data(rest, left, &mut sink)?,
                _ => self.framing(*first).map(|()| 1)?,
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(bytes.len() - rest.len())
    }

    fn data(&mut self, bytes: &[u8], left: u64, sink: &mut impl FnMut(&[u8])) -> Result<usize, BodyFault> {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let piece = bytes.get(..used).unwrap_or_default();
        let size = u64::try_from(used).unwrap_or(u64::MAX);
        sink(piece);
        self.state = match (self.state, left - size) {
            (State::Plain(_), 0) => State::Done,
            (State::Plain(_), left) => State::Plain(left),
            (_, 0) => State::DataEnd { carriage: false },
            (_, left) => State::Data(left),
        };
        Ok(used)
    }

    /// One byte between the data of a chunked body.
    fn framing(&mut self, byte: u8) -> Result<(), BodyFault> {
        self.state = match self.state {
            State::Size { value, digits, length, extension } => self.size(byte, value, digits, length, extension)?,
            State::SizeEnd(size) => self.size_end(byte, size)?,
            State::DataEnd { carriage: false } if byte == b'\r' => State::DataEnd { carriage: true },
            State::DataEnd { carriage: true } if byte == b'\n' => size_line(),
            State::DataEnd { .. } => return Err(BodyFault::Malformed("chunk longer than its size")),
            State::Trailer { length, carriage } => self.trailer(byte, length, carriage)?,
            same @ (State::Plain(_) | State::Data(_) | State::Done) => same,
        };
        Ok(())
    }

    fn size(
        &mut self,
        byte: u8,
        value: u64,
        digits: usize,
        length: usize,
        extension: bool,
    ) -> Result<State, BodyFault> {
        self.extensions += usize::from(extension);
        if length >= limits::CHUNK_LINE_BYTES || self.extensions > limits::CHUNK_EXTENSION_BYTES {
            return Err(BodyFault::Malformed("chunk extension too long"));
        }
        let length = length + 1;
        match (byte, char::from(byte).to_digit(16)) {
            (b'\r', _) if digits > 0 => Ok(State::SizeEnd(value)),
            (b'\r' | b'\n', _) => Err(BodyFault::Malformed("chunk without size")),
            (_, _) if extension => Ok(State::Size { value, digits, length, extension }),
            (_, Some(digit)) if digits < SIZE_DIGITS => {
                Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1, length, extension })
            }
            (b';' | b' ' | b'\t', _) if digits > 0 => Ok(State::Size { value, digits, length, extension: true }),
            _ => Err(BodyFault::Malformed("chunk size is no number")),
        }
    }

    fn size_end(&mut self, byte: u8, size: u64) -> Result<State, BodyFault> {
        if byte != b'\n' {
            return Err(BodyFault::Malformed("carriage return without line feed"));
        }
        self.room = self.room.checked_sub(size).ok_or(BodyFault::TooLarge)?;
        Ok(if size == 0 { State::Trailer { length: 0, carriage: false } } else { State::Data(size) })
    }

    fn trailer(&mut self, byte: u8, length: usize, carriage: bool) -> Result<State, BodyFault> {
        match (byte, carriage) {
            (b'\n', true) if length == 0 => Ok(State::Done),
            (b'\n', true) => {
                self.trailers += 1;
                let room = self.trailers < limits::HTTP_TRAILERS;
                if room { Ok(State::Trailer { length: 0, carriage: false }) } else { Err(TRAILER_FAULT) }
            }
            (_, true) | (b'\n', false) => Err(TRAILER_FAULT),
            (b'\r', false) => Ok(State::Trailer { length, carriage: true }),
            (_, false) if length < limits::HTTP_TRAILER_BYTES => Ok(State::Trailer { length: length + 1, carriage }),
            (_, false) => Err(TRAILER_FAULT),
        }
    }
}

const TRAILER_FAULT: BodyFault = BodyFault::Malformed("trailers too long or without line ends");

fn size_line() -> State {
    State::Size { value: 0, digits: 0, length: 0, extension: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"5\r\nhello\r\n1;a=b\r\n \r\n0A \r\n0123456789\r\n0\r\nX: y\r\n\r\nGET";
    const BODY: &[u8] = b"hello 0123456789";

    /// The body and the number of bytes left over, with the input cut into the given pieces.
    fn read<'a>(
        length: BodyLength,
        max: usize,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, usize, bool), BodyFault> {
        let mut reader = BodyReader::new(length, max)?;
        let (mut out, mut left) = (Vec::new(), 0);
        for piece in pieces {
            left += piece.len() - reader.push(piece, |bytes| out.extend_from_slice(bytes))?;
        }
        Ok((out, left, reader.done()))
    }

    fn chunked(bytes: &[u8]) -> Result<(Vec<u8>, usize, bool), BodyFault> {
        read(BodyLength::Chunked, 100, bytes.chunks(1))
    }

    #[test]
    fn reads_a_chunked_body_in_pieces_of_every_size() {
        for size in 1..=CHUNKED.len() {
            let outcome = read(BodyLength::Chunked, 100, CHUNKED.chunks(size)).unwrap();
            assert_eq!(outcome, (BODY.to_vec(), 3, true), "pieces of {size}");
        }
    }

    #[test]
    fn reads_a_chunked_body_cut_at_every_index() {
        for cut in 0..CHUNKED.len() {
            let (first, second) = CHUNKED.split_at(cut);
            assert_eq!(read(BodyLength::Chunked, 100, [first, second].into_iter()).unwrap(), (BODY.to_vec(), 3, true));
        }
    }

    #[test]
    fn reads_a_body_of_known_length_and_leaves_the_rest() {
        for size in 1..=6 {
            let outcome = read(BodyLength::Exact(4), 4, b"bodyGET".chunks(size)).unwrap();
            assert_eq!(outcome, (b"body".to_vec(), 3, true));
        }
        assert_eq!(read(BodyLength::Exact(4), 4, b"bo".chunks(1)).unwrap(), (b"bo".to_vec(), 0, false));
        assert_eq!(read(BodyLength::None, 4, b"GET".chunks(3)).unwrap(), (vec![], 3, true));
    }

    #[test]
    fn refuses_more_than_the_route_takes() {
        assert_eq!(BodyReader::new(BodyLength::Exact(5), 4).unwrap_err(), BodyFault::TooLarge);
        assert_eq!(read(BodyLength::Chunked, 15, CHUNKED.chunks(1)), Err(BodyFault::TooLarge));
        assert_eq!(chunked(b"fffffffffffffff\r\n"), Err(BodyFault::TooLarge));
        assert_eq!(BodyFault::TooLarge.status(), 413);
    }

    #[test]
    fn refuses_what_is_against_the_grammar() {
        for bytes in [
            &b"\r\n"[..],
            b"\n",
            b"x\r\n",
            b"-1\r\n",
            b";a\r\n",
            b" 5\r\n",
            b"5\n",
            b"5\rx",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"1111111111111111\r\n",
            b"0\r\nX: y\n",
            b"0\r\n\rx",
        ] {
            assert!(matches!(chunked(bytes), Err(BodyFault::Malformed(_))), "{bytes:?}");
        }
        assert_eq!(chunked(b"5\r\nhel").unwrap(), (b"hel".to_vec(), 0, false));
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = format!("1;{}\r\na\r\n", "x".repeat(limits::CHUNK_LINE_BYTES));
        assert!(matches!(chunked(long.as_bytes()), Err(BodyFault::Malformed(_))));
        let many = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(30);
        assert!(matches!(chunked(many.as_bytes()), Err(BodyFault::Malformed(_))));
        // An extension counts from behind its semicolon to the end of its line.
        let all = format!("1;{}\r\na\r\n", "x".repeat(127)).repeat(limits::CHUNK_EXTENSION_BYTES / 128);
        assert!(chunked(format!("{all}0\r\n\r\n").as_bytes()).unwrap().2);
        assert!(matches!(chunked(format!("{all}0;\r\n\r\n").as_bytes()), Err(BodyFault::Malformed(_))));
        let trailers = |count, size| format!("0\r\n{}\r\n", format!("A: {}\r\n", "b".repeat(size)).repeat(count));
        assert!(chunked(trailers(limits::HTTP_TRAILERS - 1, 9).as_bytes()).unwrap().2);
        assert!(chunked(trailers(limits::HTTP_TRAILERS, 9).as_bytes()).is_err());
        assert!(chunked(trailers(1, limits::HTTP_TRAILER_BYTES).as_bytes()).is_err());
    }

    #[test]
    fn mutated_bodies_never_panic_and_never_exceed_the_bound() {
        let mut random = crate::sys::id::Entropy::from_seed([7; 32]);
        for _ in 0..20_000 {
            let mut bytes = CHUNKED.to_vec();
            for _ in 0..3 {
                let at = usize::try_from(random.number()).unwrap() % bytes.len();
                bytes[at] = b"\r\n0f;"[usize::try_from(random.number() % 5).unwrap()];
            }
            if let Ok((out, left, _)) = read(BodyLength::Chunked, 12, bytes.chunks(3)) {
                assert!(out.len() <= 12 && left <= bytes.len());
            }
        }
    }
}
