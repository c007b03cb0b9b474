//! Ids of conversations that nobody can name again. The gateway makes them of a kind of their own, so that a transcript
//! tells by its name alone that it may go one day, even when a kill has left it without an entry. Knows the form of ids
//! and names; which sessions may go is decided elsewhere.

/// What such a conversation was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session of its own, for a call of a program or a hook.
    Call,
    /// One run of a scheduled job, whose session has another conversation from the next run on.
    Run,
}

/// Characters of a UUID.
const LENGTH: usize = 36;
/// Where it says its version, and the digit after it.
const MARK: std::ops::Range<usize> = 14..16;
/// End of a transcript's name.
const TRANSCRIPT: &str = ".jsonl";

impl Kind {
    /// Version 8 is for private use: everybody takes such an id, and the originals, whose ids are of version 4, make none.
    const fn mark(self) -> &'static str {
        match self {
            Kind::Call => "8a",
            Kind::Run => "8c",
        }
    }

    /// An id of this kind, made of a random UUID.
    pub fn id(self, mut uuid: String) -> String {
        if is_uuid(&uuid) {
            uuid.replace_range(MARK, self.mark());
        }
        uuid
    }

    /// The kind of a conversation by its id; none for all that can be named.
    pub fn of(id: &str) -> Option<Kind> {
        let mark = id.get(MARK).filter(|_| is_uuid(id))?;
        [Kind::Call, Kind::Run].into_iter().find(|kind| kind.mark() == mark)
    }

    /// The kind of a file by its name, and the name of the transcript it is, or was before it was shortened.
    pub fn of_file(name: &str) -> Option<(Kind, &str)> {
        let (id, rest) = name.split_at_checked(LENGTH)?;
        let after = rest.strip_prefix(TRANSCRIPT)?;
        let transcript = name.get(..LENGTH + TRANSCRIPT.len())?;
        (after.is_empty() || after.starts_with(".bak.")).then_some(())?;
        Some((Kind::of(id)?, transcript))
    }
}

/// Whether a text is a UUID as programs write it.
pub fn is_uuid(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == LENGTH && text.bytes().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::id::Entropy;

    #[test]
    fn an_id_tells_its_kind_and_is_still_a_uuid() {
        let mut entropy = Entropy::from_seed([3; 32]);
        for kind in [Kind::Call, Kind::Run] {
            let (one, two) = (kind.id(entropy.uuid()), kind.id(entropy.uuid()));
            assert!(is_uuid(&one) && one != two && one.as_bytes()[14] == b'8');
            assert_eq!((Kind::of(&one), Kind::of(&entropy.uuid())), (Some(kind), None));
        }
        for other in ["", "8a", "x", &"é".repeat(18), &Kind::Run.id(entropy.uuid()).to_uppercase()] {
            assert_eq!(Kind::of(other), None, "{other}");
        }
        assert_eq!(Kind::Run.id("odd".into()), "odd");
    }

    #[test]
    fn a_file_tells_whose_it_is() {
        let id = Kind::Run.id(Entropy::from_seed([3; 32]).uuid());
        let transcript = format!("{id}.jsonl");
        assert_eq!(Kind::of_file(&transcript), Some((Kind::Run, transcript.as_str())));
        let shortened = format!("{transcript}.bak.2026-11-21T05-16-37.252Z");
        assert_eq!(Kind::of_file(&shortened), Some((Kind::Run, transcript.as_str())));
        // What a person has deleted is not ours to remove.
        for other in [".jsonl.deleted.2026", ".json", "-topic-7.jsonl", ".jsonl~"] {
            assert_eq!(Kind::of_file(&format!("{id}{other}")), None, "{other}");
        }
        assert_eq!(Kind::of_file("a.jsonl"), None);
    }
}
