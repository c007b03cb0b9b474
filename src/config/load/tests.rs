//! The whole way from a file to a snapshot: fixtures with their expected reports, redaction, and mutated input.

use super::testing::TempDir;
use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/config");

fn env() -> Env {
    Env::of([("HOME", "/h"), ("GATEWAY_TOKEN", "from-env"), ("PORT_WORD", "x")])
}

fn snapshot(text: &str) -> Snapshot {
    interpret(Path::new("/h/.openclaw/openclaw.json"), text.to_string(), &env())
}

/// The files of the fixture folder that are configurations of their own.
fn fixtures() -> Vec<PathBuf> {
    let entries = fs::read_dir(FIXTURES).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "json5")).collect();
    crate::sys::order::by(&mut files, Ord::cmp);
    files
}

fn report(snapshot: &Snapshot) -> String {
    let mut out = format!("valid: {}\n", snapshot.valid);
    out.extend(snapshot.issues.iter().map(|issue| format!("issue: {issue}\n")));
    out.extend(snapshot.warnings.iter().map(|issue| format!("warning: {issue}\n")));
    out.extend(snapshot.files.iter().map(|file| format!("file: {}\n", file.display())));
    let shown = serde_json::to_string_pretty(&redacted(&snapshot.resolved)).unwrap();
    out.push_str(&format!("resolved: {shown}\n"));
    out.replace(FIXTURES, "DIR").replace(env!("CARGO_MANIFEST_DIR"), "ROOT")
}

#[test]
fn fixtures_give_their_expected_reports() {
    let files = fixtures();
    assert!(files.len() >= 6, "the corpus is gone");
    for file in files {
        let found = report(&interpret(&file, fs::read_to_string(&file).unwrap(), &env()));
        let expected = file.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(found, expected, "{}: UPDATE=1 rewrites the reports", file.display());
    }
}

#[test]
fn a_missing_file_is_an_empty_valid_config() {
    let dir = TempDir::new("load");
    let home = dir.path().to_string_lossy().into_owned();
    let env = Env::of([("HOME", home.as_str())]);
    let found = load(&Paths::resolve(&env, &Profile::none()), &env);
    assert!(found.valid && !found.exists && found.raw.is_none());
    assert_eq!(found.hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(found.resolved, json!({}));
}

#[test]
fn a_file_that_cannot_be_read_is_invalid_not_missing() {
    let dir = TempDir::new("load");
    fs::create_dir_all(dir.path().join(".openclaw/openclaw.json")).unwrap();
    let home = dir.path().to_string_lossy().into_owned();
    let env = Env::of([("HOME", home.as_str())]);
    let found = load(&Paths::resolve(&env, &Profile::none()), &env);
    assert!(!found.valid && found.exists);
    assert_eq!(found.issues[0].to_string(), "<root>: read failed: not a regular file");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let text = format!("{{}}{}", " ".repeat(crate::limits::CONFIG_BYTES));
    assert!(snapshot(&text).issues[0].message.contains("the limit is 4194304"));
}

#[test]
fn loading_leaves_the_directory_as_it_was() {
    let dir = TempDir::new("load");
    dir.write(".openclaw/openclaw.json", "{gateway: {mode: 'local'}}");
    let home = dir.path().to_string_lossy().into_owned();
    let env = Env::of([("HOME", home.as_str())]);
    let found = load(&Paths::resolve(&env, &Profile::none()), &env);
    assert!(found.valid && found.exists);
    assert_eq!(fs::read_dir(dir.path().join(".openclaw")).unwrap().count(), 1);
}

#[test]
fn the_env_block_feeds_substitution_and_the_snapshot_environment() {
    let found = snapshot("{env: {vars: {NEW: 'n', HOME: '/other'}}, session: {store: '${NEW}/s'}}");
    assert_eq!(found.config.session.store.as_deref(), Some("n/s"));
    assert_eq!((found.env.get("NEW"), found.env.get("HOME")), (Some("n"), Some("/h")));
}

#[test]
fn the_parsed_value_keeps_what_was_written() {
    let found = snapshot("{gateway: {auth: {token: '${GATEWAY_TOKEN}'}}}");
    assert_eq!(found.parsed["gateway"]["auth"]["token"], "${GATEWAY_TOKEN}");
    assert_eq!(found.resolved["gateway"]["auth"]["token"], "from-env");
}

#[test]
fn redaction_hides_secrets_and_keeps_the_rest() {
    let value = json!({
        "gateway": {"auth": {"token": "canary1", "mode": "token"}, "port": 5, "remote": {"url": "wss://u:canary2@h"}},
        "channels": {"telegram": {"botToken": "canary3", "pin": {"password": 1234}}, "x": {"tokens": ["canary4"]}},
        "models": {"providers": {"p": {"apiKey": "${KEY}", "headers": {"X-Api-Key": "canary5"},
            "models": [{"maxTokens": 8}]}}},
        "env": {"vars": {"ANY": "canary6"}}, "hooks": {"token": ""}, "list": ["ws://h/?token=canary7"],
    });
    let shown = redacted(&value);
    assert!(!shown.to_string().contains("canary") && !shown.to_string().contains("1234"), "{shown}");
    assert_eq!(shown["gateway"]["auth"], json!({"token": REDACTED, "mode": "token"}));
    assert_eq!(shown["gateway"]["port"], 5);
    assert_eq!(shown["models"]["providers"]["p"]["apiKey"], "${KEY}");
    assert_eq!(shown["models"]["providers"]["p"]["models"][0]["maxTokens"], 8);
    assert_eq!(shown["hooks"]["token"], "");
}

#[test]
fn a_printed_snapshot_shows_no_secret() {
    let found = snapshot("{gateway: {auth: {token: 'canary'}}}");
    assert!(!format!("{found:?}").contains("canary"));
}

#[test]
fn a_file_of_a_newer_program_is_loaded_with_a_warning() {
    let found = snapshot("{meta: {lastTouchedVersion: '2999.1.2'}}");
    let own = env!("CARGO_PKG_VERSION");
    let expected = format!("Config was last written by a newer OpenClaw (2999.1.2); current version is {own}.");
    assert_eq!(found.warnings[0].message, expected);
    assert!(snapshot("{meta: {lastTouchedVersion: '2026.2.9'}}").warnings.is_empty());
}

#[test]
fn preparing_applies_profile_and_env_files_without_moving_the_state() {
    let dir = TempDir::new("prepare");
    dir.write("cwd/.env", "OPENCLAW_STATE_DIR=/elsewhere\nOPENCLAW_GATEWAY_TOKEN=cwd\n");
    dir.write(".openclaw-p/.env", "OPENCLAW_GATEWAY_TOKEN=state\nMORE=1\n");
    let home = dir.path().to_string_lossy().into_owned();
    let env = Env::of([("HOME", home.as_str())]).with_cwd(dir.path().join("cwd"));
    let (env, paths) = prepare(env, &Profile::named("p").unwrap());
    assert_eq!(paths.state_dir, dir.path().join(".openclaw-p"));
    assert_eq!(Paths::resolve(&env, &Profile::none()).state_dir, paths.state_dir);
    assert_eq!((env.get("OPENCLAW_GATEWAY_TOKEN"), env.get("MORE")), (Some("cwd"), Some("1")));
}

#[test]
fn the_deepest_file_fits_the_parser_stack() {
    let depth = crate::limits::CONFIG_DEPTH;
    let text = format!("{}1{}", "{a:".repeat(depth), "}".repeat(depth));
    let thread = std::thread::Builder::new().stack_size(crate::limits::STACK_PARSER);
    let valid = thread.spawn(move || redacted(&snapshot(&text).resolved).is_object()).unwrap().join().unwrap();
    assert!(valid);
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }

    fn mutate(&mut self, text: &mut Vec<u8>) {
        const PIECES: &[&[u8]] = &[
            b"{",
            b"}",
            b"[",
            b"]",
            b"'",
            b"\"",
            b",",
            b":",
            b"/*",
            b"//",
            b"$include",
            b"${",
            b"$${A}",
            b"0x",
            b"1e9",
            b"-",
            b"\\u",
            b"\n",
            b"\xff",
            b"null",
            b"[[[[[[[[",
            b"Infinity",
            b"\xf0\x9f\xa6\x9e",
        ];
        let at = self.next(text.len());
        match self.next(4) {
            0 => drop(text.splice(at..at, PIECES[self.next(PIECES.len())].iter().copied())),
            1 => text.truncate(at.max(1)),
            2 => text[at] = u8::try_from(self.next(256)).unwrap(),
            _ => {
                let end = (at + self.next(40)).min(text.len());
                let piece = text[at..end].to_vec();
                let to = self.next(text.len());
                drop(text.splice(to..to, piece));
            }
        }
    }
}

#[test]
fn mutated_files_never_panic_and_never_show_secrets() {
    let rounds: usize = std::env::var("OPENCLAW_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let seed = 0x9E37_79B9_7F4A_7C15;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    for file in fixtures() {
        let original = fs::read(&file).unwrap();
        for _ in 0..rounds {
            let mut text = original.clone();
            for _ in 0..=random.next(4) {
                random.mutate(&mut text);
            }
            let found = interpret(&file, String::from_utf8_lossy(&text).into_owned(), &env());
            assert_eq!(found.valid, found.issues.is_empty());
            let messages = format!("{:?}{:?}", found.issues, found.warnings);
            assert!(!messages.contains("from-env"), "{messages}");
            let _ = redacted(&found.resolved);
        }
    }
}
