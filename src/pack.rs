//! Tables in the form in which the program carries them: a string of bytes made by the compiler and unfolded at the
//! first use. As data with pointers they would be a third of a MiB of texts' addresses that the loader has to correct at
//! every start. Owns that form; what a row holds is written and read by the owner of the table.

/// Room while the compiler writes; too little of it does not compile.
const ROOM: usize = 256 * 1024;

/// Room for different texts; a power of two, and more than there are.
const TEXTS: usize = 8192;

/// What the compiler has written so far. Runs at compile time only.
#[derive(Debug)]
pub struct Writer {
    bytes: [u8; ROOM],
    len: usize,
    /// Where each text stands and how long it is, by its hash; a free place is empty.
    texts: [(u32, u32); TEXTS],
}

#[allow(clippy::indexing_slicing, reason = "runs in the compiler, where a wrong index is an error of the build")]
#[allow(clippy::unwrap_used, reason = "the same")]
#[allow(clippy::len_without_is_empty, reason = "nobody asks")]
#[allow(clippy::new_without_default, reason = "a default cannot be made at compile time")]
impl Writer {
    /// Nothing written yet.
    pub const fn new() -> Writer {
        Writer { bytes: [0; ROOM], len: 0, texts: [(0, 0); TEXTS] }
    }

    /// How long what is written is.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// What is written, of the length asked for before.
    pub const fn bytes<const LEN: usize>(&self) -> [u8; LEN] {
        assert!(self.len == LEN);
        *self.bytes.first_chunk().unwrap()
    }

    /// One byte.
    pub const fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// A number, seven bits a byte, the lowest first.
    pub const fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// A text, or where it stands already.
    pub const fn text(&mut self, text: &str) {
        let slot = self.slot(text.as_bytes());
        let (at, length) = self.texts[slot];
        if length > 0 {
            self.number(at as u64 * 2 + 1);
            return self.number(length as u64);
        }
        self.number(text.len() as u64 * 2);
        self.texts[slot] = (self.len as u32, text.len() as u32);
        self.bytes.split_at_mut(self.len).1.split_at_mut(text.len()).0.copy_from_slice(text.as_bytes());
        self.len += text.len();
    }

    /// Several texts.
    pub const fn texts(&mut self, mut texts: &[&str]) {
        self.number(texts.len() as u64);
        while let Some((text, rest)) = texts.split_first() {
            self.text(text);
            texts = rest;
        }
    }

    /// The place of a text, free or not.
    const fn slot(&self, text: &[u8]) -> usize {
        let mut hash = text.len() as u32;
        let mut left = text;
        while let Some((byte, rest)) = left.split_first() {
            hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
            left = rest;
        }
        let mut slot = hash as usize % TEXTS;
        while self.texts[slot].1 > 0 && !self.stands(self.texts[slot], text) {
            slot = (slot + 1) % TEXTS;
        }
        slot
    }

    const fn stands(&self, (at, length): (u32, u32), text: &[u8]) -> bool {
        let mut same = length as usize == text.len();
        let mut next = 0;
        while same && next < text.len() {
            same = self.bytes[at as usize + next] == text[next];
            next += 1;
        }
        same
    }
}

/// Unfolds what a [`Writer`] has written. `None` means that it has not.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    all: &'static [u8],
    left: &'static [u8],
}

impl Reader {
    /// A reader of all this.
    pub fn new(all: &'static [u8]) -> Reader {
        Reader { all, left: all }
    }

    /// Whether everything is read.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, left) = self.left.split_first()?;
        self.left = left;
        Some(*byte)
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }

    /// A number of things.
    pub fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// A text.
    pub fn text(&mut self) -> Option<&'static str> {
        let first = self.count()?;
        let text = if first & 1 == 1 {
            self.all.get(first / 2..)?.get(..self.count()?)?
        } else {
            let (text, left) = self.left.split_at_checked(first / 2)?;
            self.left = left;
            text
        };
        std::str::from_utf8(text).ok()
    }

    /// Several texts.
    pub fn texts(&mut self) -> Option<&'static [&'static str]> {
        let count = self.count()?;
        list(count, || self.text())
    }
}

/// So many things, for as long as the process lives.
pub fn list<T>(count: usize, mut next: impl FnMut() -> Option<T>) -> Option<&'static [T]> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(next()?);
    }
    Some(Vec::leak(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: Writer = {
        let mut to = Writer::new();
        to.byte(7);
        to.number(300);
        to.texts(&["one", "", "Zwölf", "one", ""]);
        to
    };
    static BYTES: [u8; WRITTEN.len()] = WRITTEN.bytes();

    #[test]
    fn what_is_written_is_read_and_a_repeated_text_is_the_same() {
        let mut from = Reader::new(&BYTES);
        assert_eq!((from.byte(), from.number()), (Some(7), Some(300)));
        let texts = from.texts().unwrap();
        assert_eq!(texts, ["one", "", "Zwölf", "one", ""]);
        assert_eq!(texts[0].as_ptr(), texts[3].as_ptr());
        assert!(from.is_empty());
    }

    #[test]
    fn a_cut_end_is_noticed() {
        for end in 0..BYTES.len() {
            let mut from = Reader::new(&BYTES[..end]);
            assert!(from.byte().and_then(|_| from.number()).and_then(|_| from.texts()).is_none(), "{end}");
        }
    }
}
