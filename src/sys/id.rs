//! Randomness and comparison of secrets. [`Entropy`] is a deterministic generator over a 32-byte seed, so that
//! tests fix it; it knows nothing of what its bytes are used for.

use std::{fmt, hint, io};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL_NOPAD, Engine as _};
use sha2::{Digest, Sha256};

/// Deterministic random generator: SHA-256 in counter mode; the key is replaced after every request, so that
/// a memory image taken later does not give away earlier output.
pub struct Entropy {
    key: [u8; 32],
}

impl Entropy {
    /// A generator seeded from the operating system.
    pub fn from_os() -> io::Result<Entropy> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|fault| io::Error::other(format!("no randomness: {fault}")))?;
        Ok(Entropy::from_seed(seed))
    }

    /// A generator that always gives the same sequence for the same seed.
    pub fn from_seed(seed: [u8; 32]) -> Entropy {
        Entropy { key: seed }
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        let mut counter: u64 = 0;
        for piece in out.chunks_mut(32) {
            counter += 1;
            for (to, from) in piece.iter_mut().zip(self.block(counter)) {
                *to = from;
            }
        }
        self.key = self.block(0);
    }

    /// A new generator for another thread, independent of this one's further output.
    pub fn split(&mut self) -> Entropy {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Entropy::from_seed(seed)
    }

    /// A random number.
    pub fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A version 4 UUID in its usual text form.
    pub fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let mut value = u128::from_be_bytes(bytes);
        value = value & !(0xf << 76) | (0x4 << 76); // version
        value = value & !(0x3 << 62) | (0x2 << 62); // variant
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            value >> 96,
            value >> 80 & 0xffff,
            value >> 64 & 0xffff,
            value >> 48 & 0xffff,
            value & 0xffff_ffff_ffff
        )
    }

    /// `nbytes` random bytes as lower-case hexadecimal text.
    pub fn hex(&mut self, nbytes: usize) -> String {
        hex(&self.bytes(nbytes))
    }

    /// `nbytes` random bytes as base64url without padding.
    pub fn base64url(&mut self, nbytes: usize) -> String {
        BASE64URL_NOPAD.encode(self.bytes(nbytes))
    }

    fn bytes(&mut self, nbytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; nbytes];
        self.fill(&mut bytes);
        bytes
    }

    fn block(&self, counter: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(counter.to_le_bytes());
        hash.finalize().into()
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

/// Bytes as lower-case hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}

/// Whether two secrets are equal, in a time that tells nothing about where they differ: their digests are compared
/// whole. Only the length of the *presented* value shows in the time, and the caller bounds it.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    let mut difference = 0;
    for (left, right) in a.iter().zip(b.iter()) {
        difference = hint::black_box(difference | (left ^ right));
    }
    hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_sequence_and_another_seed_another() {
        let text = |seed| Entropy::from_seed([seed; 32]).hex(40);
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
        assert_eq!(text(1).len(), 80);
    }

    #[test]
    fn never_repeats_itself() {
        let mut entropy = Entropy::from_seed([7; 32]);
        let seen: std::collections::HashSet<_> = (0..1000).map(|_| entropy.uuid()).collect();
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn uuids_carry_version_and_variant() {
        let mut entropy = Entropy::from_seed([9; 32]);
        for _ in 0..200 {
            let id = entropy.uuid();
            assert_eq!(id.len(), 36);
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            assert_eq!(id.as_bytes()[14], b'4', "{id}");
            assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        }
    }

    #[test]
    fn key_changes_after_use() {
        let mut entropy = Entropy::from_seed([3; 32]);
        let before = entropy.key;
        entropy.fill(&mut [0; 5]);
        assert_ne!(entropy.key, before);
        assert_eq!(format!("{entropy:?}"), "Entropy");
    }

    #[test]
    fn split_generators_differ() {
        let mut first = Entropy::from_seed([3; 32]);
        let mut second = first.split();
        assert_ne!(first.uuid(), second.uuid());
    }

    #[test]
    fn base64url_has_no_padding() {
        let text = Entropy::from_seed([5; 32]).base64url(32);
        assert_eq!(text.len(), 43);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn system_randomness_differs_between_two_generators() {
        assert_ne!(Entropy::from_os().unwrap().hex(16), Entropy::from_os().unwrap().hex(16));
    }

    #[test]
    fn compares_secrets() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"secret", b"secret"));
        assert!(!constant_time_eq(b"secret", b"secreT"));
        assert!(!constant_time_eq(b"secret", b"secret "));
        assert!(!constant_time_eq(b"secret", b""));
    }
}
