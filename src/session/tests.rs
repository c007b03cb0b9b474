//! Files written by the original 2026.2.9 and continued by this program, and back again; and files broken at random.

use super::compact::{self, Budget, Force};
use super::context::{self, context};
use super::usage::Counter;
use super::{history, preview};
use crate::agent::message::{Message, text_of};
use crate::store::session::archive;
use crate::store::sessions::Index;
use crate::store::transcript::Transcript;
use crate::sys::zone::Zone;

/// An index the original wrote after this program had continued two of its sessions.
const INDEX: &str = include_str!("../../fixtures/sessions/live-sessions.json");
/// Begun here, continued by the original, compacted here, continued by the original.
const CONTINUED: &str = include_str!("../../fixtures/sessions/live-continued.jsonl");
/// The example of the specification, continued and compacted by the original.
const COMPACTED: &str = include_str!("../../fixtures/sessions/live-compacted.jsonl");

fn read(text: &str) -> Transcript {
    Transcript::parse(text.as_bytes().to_vec(), true)
}

fn texts(transcript: &Transcript) -> Vec<String> {
    let items = context(transcript, None).items;
    items.iter().map(|item| text_of(item.message.content())).collect()
}

#[test]
fn an_index_of_the_original_comes_back_byte_for_byte() {
    let index = Index::parse(INDEX.as_bytes()).unwrap();
    assert_eq!(index.print(), INDEX);
    assert_eq!(index.find("agent:main:telegram:direct:5").unwrap().0, "agent:main:telegram:dm:5");
    let entry = index.get("agent:main:ex").unwrap();
    let path = archive::transcript(std::path::Path::new("/s"), entry).unwrap();
    assert_eq!(path, std::path::Path::new("/s/11111111-1111-4111-8111-111111111111.jsonl"));
}

#[test]
fn a_session_written_by_both_is_one_conversation() {
    let transcript = read(CONTINUED);
    assert_eq!((transcript.skipped(), transcript.is_torn(), transcript.messages()), (0, false, 9));
    let texts = texts(&transcript);
    assert!(texts[0].ends_with("RUST SUMMARY"));
    assert_eq!(texts.len(), 6, "the aborted answer and what the summary covers are left out");
    assert_eq!((texts[1].as_str(), texts[5].as_str()), ("answered by rust", "fine"));
    assert!(context::suffices(&transcript));
}

#[test]
fn a_compaction_of_the_original_is_understood() {
    let transcript = read(COMPACTED);
    assert_eq!(transcript.skipped(), 0);
    let context = context(&transcript, None);
    assert!(context.summary.as_deref().is_some_and(|summary| summary.starts_with("tok0 ")));
    assert_eq!(context.items.len(), 17, "it kept everything beside the summary");
    let page = history::page(&transcript, &history::Ask::default());
    assert_eq!(page.messages.iter().filter(|shown| shown.json.contains("\"kind\":\"compaction\"")).count(), 1);
    assert!(page.messages[4].json.contains("\"text\":\"go on\""), "{}", page.messages[4].json);
}

#[test]
fn stored_messages_read_as_typed_ones() {
    for text in [CONTINUED, COMPACTED] {
        let transcript = read(text);
        for raw in (0..transcript.lines().len()).filter_map(|at| transcript.message(at)) {
            let message: Message = serde_json::from_str(raw.get()).unwrap();
            assert!(message.timestamp() > 1_795_000_000_000);
        }
    }
}

/// Everything that is ever asked of a transcript.
fn use_all(transcript: &Transcript) {
    let context = context(transcript, None);
    let _ = compact::plan(&context, &Budget::of(100, 10, None), Force::Yes);
    let _ = compact::log_text(&context.items, None, 500);
    let _ = compact::shorten(transcript, "{}", 3);
    let page = history::page(transcript, &history::Ask::default());
    assert!(serde_json::from_str::<serde_json::Value>(&page.json()).is_ok(), "{}", page.json());
    let _ = (preview::of("k", true, Some(transcript), 12, 40), preview::first_words(transcript));
    let mut counter = Counter::default();
    (0..transcript.lines().len())
        .filter_map(|at| transcript.text(at))
        .for_each(|line| counter.line(line, &Zone::utc()));
}

#[test]
fn files_cut_in_the_middle_can_be_used() {
    for cut in (0..CONTINUED.len()).step_by(7) {
        use_all(&Transcript::parse(CONTINUED.as_bytes()[..cut].to_vec(), true));
    }
}

#[test]
fn files_broken_at_random_can_be_used() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64; // any seed; a failure is repeated by it
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    for _ in 0..600 {
        let mut bytes = COMPACTED.as_bytes().to_vec();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            match random(5) {
                0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                1 => drop(bytes.drain(at..(at + random(60)).min(bytes.len()))),
                2 => bytes.insert(at, b"\n{}[]\",:\\"[random(9)]),
                3 => bytes.extend_from_within(at..(at + random(400)).min(bytes.len())),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let whole = random(2) == 0;
        use_all(&Transcript::parse(bytes, whole));
    }
}
