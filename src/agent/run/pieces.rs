//! The model's thoughts on their way out: piece by piece as they come, in larger pieces once they are long, because every
//! piece goes to every client together with the whole text so far.

use std::time::{Duration, Instant};

/// Up to this length every piece goes out at once.
const SHORT: usize = 1024;
/// Beyond it, pieces are so far apart that the whole text repeats at no more than this many bytes per second.
const BYTES_PER_SECOND: u64 = 1024 * 1024;

/// The thoughts before one message.
#[derive(Default)]
pub(super) struct Pieces {
    whole: String,
    sent: usize,
    last: Option<Instant>,
}

impl Pieces {
    /// More text; what is to be told now, if anything.
    pub(super) fn add(&mut self, text: &str, now: Instant) -> Option<String> {
        self.whole.push_str(text);
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= distance(self.whole.len()));
        if due { self.take(now) } else { None }
    }

    /// Everything that was not told yet.
    pub(super) fn take(&mut self, now: Instant) -> Option<String> {
        let rest = self.whole.get(self.sent..).filter(|rest| !rest.is_empty())?.to_string();
        self.sent = self.whole.len();
        self.last = Some(now);
        Some(rest)
    }
}

fn distance(length: usize) -> Duration {
    if length <= SHORT {
        return Duration::ZERO;
    }
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    Duration::from_micros(length.saturating_mul(1_000_000) / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_go_out_at_once() {
        let (mut pieces, now) = (Pieces::default(), Instant::now());
        assert_eq!(pieces.add("Hel", now).as_deref(), Some("Hel"));
        assert_eq!(pieces.add("lo", now).as_deref(), Some("lo"));
        assert_eq!(pieces.take(now), None);
    }

    #[test]
    fn long_texts_go_out_in_larger_pieces_and_completely() {
        let (mut pieces, now) = (Pieces::default(), Instant::now());
        let told: usize = (0..10_000).filter_map(|_| pieces.add("0123456789", now)).map(|piece| piece.len()).sum();
        assert!((SHORT - 20..SHORT + 20).contains(&told), "{told}");
        assert_eq!(pieces.add("!", now + Duration::from_millis(100)).map(|piece| piece.len()), Some(100_001 - told));
    }
}
