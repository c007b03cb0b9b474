//! Chapter 13: seeded mutation. Frames and HTTP requests of `fixtures/corpus` are broken at random and sent to a living
//! gateway, which must go on answering and give its threads and descriptors back. A crash becomes a corpus file.
//!
//! `OPENCLAW_MUTATION_SEED` repeats a run, `OPENCLAW_MUTATION_ROUNDS` makes it longer.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Wire, fetch};
use crate::harness::peer::{Hello, Peer, now_ms};
use crate::harness::websocket::{Arrival, Socket, frame};
use crate::tidy;

/// xorshift64*: enough for choosing bytes, and a seed repeats everything.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn corpus(kind: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(tidy::root().join("fixtures/corpus").join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

const TOKENS: &[&[u8]] = &[
    b"null",
    b"-1",
    b"1e999",
    b"\"\"",
    b"[]",
    b"{}",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"9007199254740993",
    b"true",
    b"\r\n",
    b"\0",
    b": ",
    b"chunked",
    b"connect",
    b"params",
    b"\"id\":",
    b"{\"",
    b"18446744073709551616",
];

fn mutate(dice: &mut Dice, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(20)).min(bytes.len());
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 => drop(bytes.splice(at..at, TOKENS[dice.below(TOKENS.len())].iter().copied())),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => bytes.truncate(at),
            _ => {
                let times = dice.below(200);
                bytes.splice(at..at, b"[{"[dice.below(2)..].iter().copied().cycle().take(times));
            }
        }
    }
    bytes
}

fn mutate_one(dice: &mut Dice, list: &[Vec<u8>]) -> Vec<u8> {
    let at = dice.below(list.len());
    mutate(dice, &list[at])
}

/// Sends one mutated thing in one of the ways a stranger could and waits for whatever end it brings.
fn provoke(gateway: &Gateway, dice: &mut Dice, frames: &[Vec<u8>], requests: &[Vec<u8>]) {
    match dice.below(4) {
        0 => {
            let bytes = mutate_one(dice, requests);
            let mut wire = Wire::open(gateway.port);
            wire.send(bytes);
            wire.finish();
            wire.socket.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
            drain(&mut wire);
        }
        1 => {
            let bytes = mutate_one(dice, frames);
            let mut socket = Socket::open(gateway.port);
            socket.raw(&frame(true, 1, true, &bytes));
            socket.frame(true, 8, &[3, 232]);
            until_the_end(&mut socket);
        }
        2 => {
            let mut peer = Peer::connect(gateway, if dice.below(2) == 0 { &V3 } else { &V4 }.get());
            for _ in 0..=dice.below(4) {
                let bytes = mutate_one(dice, frames);
                peer.socket.raw(&frame(true, 1, true, &bytes));
            }
            peer.socket.frame(true, 8, &[3, 232]);
            until_the_end(&mut peer.socket);
        }
        _ => {
            let payload = &frames[dice.below(frames.len())];
            let bytes = mutate(dice, &frame(true, 1, true, payload));
            let mut socket = Socket::open(gateway.port);
            socket.raw(&bytes);
            socket.wire().finish();
            until_the_end(&mut socket);
        }
    }
}

struct Lazy(std::sync::OnceLock<Hello>, fn() -> Hello);

impl Lazy {
    fn get(&self) -> &Hello {
        self.0.get_or_init(self.1)
    }
}

static V3: Lazy = Lazy(std::sync::OnceLock::new(), Hello::v3);
static V4: Lazy = Lazy(std::sync::OnceLock::new(), Hello::v4);

fn until_the_end(socket: &mut Socket) {
    while !matches!(socket.next(), Arrival::End | Arrival::Close(..)) {}
}

fn drain(wire: &mut Wire) {
    let mut sink = [0; 8192];
    while std::io::Read::read(&mut wire.socket, &mut sink).is_ok_and(|length| length > 0) {}
}

#[test]
fn broken_input_leaves_the_gateway_as_it_was() {
    let seed = number("OPENCLAW_MUTATION_SEED").unwrap_or_else(now_ms) | 1;
    let rounds = number("OPENCLAW_MUTATION_ROUNDS").unwrap_or(400);
    println!("OPENCLAW_MUTATION_SEED={seed} OPENCLAW_MUTATION_ROUNDS={rounds}");
    let (frames, requests) = (corpus("frames"), corpus("http"));
    let gateway = Setup::new().slow().start();
    let mut watcher = Peer::connect(&gateway, &Hello::v4());
    let quiet = (gateway.count("fd"), gateway.count("task"));
    let mut dice = Dice(seed);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut done = 0;
    while done < rounds && Instant::now() < deadline {
        provoke(&gateway, &mut dice, &frames, &requests);
        done += 1;
        if done % 20 == 0 {
            watcher.alive();
        }
    }
    assert!(done > 20, "only {done} rounds in 30 s, seed {seed}");
    assert_eq!(fetch(gateway.port, "/health").status, 200, "seed {seed}");
    let settled = (0..20_000).any(|_| {
        watcher.alive();
        gateway.count("fd") <= quiet.0 && gateway.count("task") <= quiet.1
    });
    assert!(settled, "before {quiet:?}, now {:?}, seed {seed}", (gateway.count("fd"), gateway.count("task")));
    let (status, _home) = gateway.stop();
    assert!(status.success(), "{status}, seed {seed}");
}
