//! House rules as tests: imports, sizes, file heads, locks, unfinished marks, documented limits, dependencies.
//! Reads the source as text; knows nothing of what the code does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One source file.
struct Source {
    /// Path below the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The module it belongs to, as in `gateway::conn::reader`; empty for `lib.rs` and `main.rs`.
    fn module(&self) -> String {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        if ["lib", "main"].contains(&inner) { String::new() } else { inner.replace('/', "::") }
    }

    /// Lines of code with numbers: no comments, nothing of the unit tests at the end of the file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| *line != "mod tests {" && !line.starts_with("mod tests;"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(at, line)| (at + 1, line))
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("node_modules") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: below_root(&path), text });
            }
        }
    }
    found.sort_by(|one, two| one.path.cmp(&two.path));
    assert!(!found.is_empty());
    found
}

fn below_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")
}

/// Fails with all complaints at once.
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Which modules of the crate each top module may name (exemplars 3.5). A longer path is an exception for that module.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("protocol", &["limits", "pack"]),
    ("limits", &[]),
    ("json", &[]),
    ("pack", &[]),
    ("sys", &["limits"]),
    ("http", &["json", "limits", "sys", "protocol"]),
    ("cron", &["json", "limits", "sys"]),
    // Of `cron` the lines of a run log.
    ("store", &["json", "limits", "sys", "protocol", "cron"]),
    ("config", &["json", "limits", "pack", "sys"]),
    ("identity", &["json", "limits", "sys", "protocol", "store"]),
    ("client", &["json", "limits", "sys", "protocol", "identity", "store"]),
    ("service", &["json", "limits", "sys", "config", "store"]),
    ("agent", &["json", "limits", "sys", "protocol", "config", "store", "session"]),
    // Of `agent` the messages only: what a transcript holds.
    ("session", &["json", "limits", "sys", "config", "store", "agent"]),
    (
        "gateway",
        &["json", "limits", "sys", "protocol", "config", "store", "http", "identity", "agent", "session", "cron"],
    ),
    ("cli", &["json", "limits", "pack", "sys", "protocol", "config", "store", "client", "identity", "service", "cron"]),
    // The one place where the command line meets the daemon.
    ("cli::cmd::gateway_start", &["gateway"]),
];

/// Crates that only these modules may name.
const CRATES: &[(&str, &[&str])] = &[
    ("tungstenite", &["gateway::conn", "client"]),
    ("tiny_http", &["http"]),
    ("httparse", &["http"]),
    ("chunked_transfer", &["http"]),
    ("lexopt", &["cli::parse"]),
    ("nix", &["sys::signals", "sys::group", "sys::beneath", "sys::host"]),
    ("ctrlc", &["sys::signals"]),
    ("env_logger", &["sys::log"]),
    ("jsonc_parser", &["config"]),
    ("getrandom", &["sys::id"]),
    ("ureq", &["agent::http"]),
    ("rustls", &["agent::http"]),
];

fn inside(module: &str, parent: &str) -> bool {
    module == parent || module.strip_prefix(parent).is_some_and(|rest| rest.starts_with("::"))
}

/// Whether `word` stands in `line` as a whole path segment followed by `::` (or ends a `use`).
fn names(line: &str, word: &str) -> bool {
    let boundary = |c: char| !(c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_none_or(boundary) && !line[..at].ends_with("::");
        let after = &line[at + word.len()..];
        before && (after.starts_with("::") || (line.trim_start().starts_with("use ") && after.starts_with([';', ' '])))
    })
}

/// The top modules a line names through `crate::`, groups included.
fn crate_paths(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split('}').next().unwrap_or(group);
            found.extend(group.split(',').map(|path| path.trim().split("::").next().unwrap_or("")));
        } else {
            found.push(rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or(""));
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn modules_name_only_what_the_import_table_allows() {
    let mut complaints = Vec::new();
    for source in sources("src") {
        let module = source.module();
        if module.is_empty() {
            continue;
        }
        let top = module.split("::").next().unwrap();
        let allowed: Vec<&str> =
            MAY_NAME.iter().filter(|(from, _)| inside(&module, from)).flat_map(|(_, to)| to.iter().copied()).collect();
        if !MAY_NAME.iter().any(|(from, _)| *from == top) {
            complaints.push(format!("{}: module {top} has no row in the import table", source.path));
        }
        for (at, line) in source.code() {
            for target in crate_paths(line).into_iter().filter(|target| *target != top && !allowed.contains(target)) {
                complaints.push(format!("{}:{at}: {module} may not name {target}", source.path));
            }
            for (krate, homes) in CRATES {
                if names(line, krate) && !homes.iter().any(|home| inside(&module, home)) {
                    complaints.push(format!("{}:{at}: only {} may name {krate}", source.path, homes.join(", ")));
                }
            }
        }
    }
    none(complaints);
}

#[test]
fn the_import_reader_sees_groups_and_whole_names_only() {
    assert_eq!(crate_paths("use crate::{limits, sys::clock};"), ["limits", "sys"]);
    assert_eq!(crate_paths("let x = crate::http::head::Head::new(crate::limits::X);"), ["http", "limits"]);
    assert!(names("use nix::sys;", "nix") && names("nix::x()", "nix") && names("use lexopt;", "lexopt"));
    assert!(!names("use unix::x;", "nix") && !names("phoenix", "nix") && !names("std::nix::x", "nix"));
}

/// Files that are one table: long because there is much to list, not because much happens.
const TABLES: &[&str] = &[
    "src/protocol/defs.rs",
    "src/protocol/methods.rs",
    "src/cli/commands.rs",
    "src/config/keys.rs",
    // The one place of all limits.
    "src/limits.rs",
];

#[test]
fn files_stay_short_unless_they_are_one_table() {
    let long = |source: &Source| source.text.lines().count() > 800 && !TABLES.contains(&source.path.as_str());
    let found = sources("src").into_iter().chain(sources("tests")).filter(long);
    none(found.map(|source| format!("{}: {} lines", source.path, source.text.lines().count())).collect());
}

/// Longer functions that are a `match` router or a table, each with its reason.
const ROUTERS: &[(&str, &str, &str)] =
    &[("src/gateway/dispatch.rs", "handler", "one line for each row of the method table, checked to be complete")];

/// Functions with their first line and length, found by counting braces from each `fn`.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some(rest) = code.split("fn ").nth(1).filter(|_| starts_function(code)) else { continue };
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let indent = line.len() - code.len();
        let close = format!("{}}}", " ".repeat(indent));
        let body = lines[at..].iter().position(|line| line.starts_with(&close) && line.trim_end().len() == close.len());
        let one_line = line.trim_end().ends_with([';', '}']) && line.contains('{') == line.trim_end().ends_with('}');
        if !one_line {
            found.push((name, at + 1, body.map_or(0, |end| end + 1)));
        }
    }
    found
}

fn starts_function(code: &str) -> bool {
    let head = code.split("fn ").next().unwrap_or("");
    let words = ["pub", "const", "async", "extern", "pub(crate)", "pub(super)"];
    !code.starts_with("//") && head.split_whitespace().all(|word| words.contains(&word) || word.starts_with("pub(in"))
}

#[test]
fn functions_stay_short() {
    let mut complaints = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (name, at, length) in functions(&source) {
            let allowed = ROUTERS.iter().any(|(path, function, _)| *path == source.path && *function == name);
            if length > 80 && !allowed {
                complaints.push(format!("{}:{at}: fn {name} has {length} lines", source.path));
            }
        }
    }
    none(complaints);
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let closed = |source: &Source| !source.text.starts_with("//! ");
    let found = sources("src").into_iter().chain(sources("tests")).filter(closed);
    none(found.map(|source| format!("{}: does not open with //!", source.path)).collect());
}

#[test]
fn nothing_is_left_unfinished() {
    // Written in two parts so that this file does not find itself.
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("(being ", "written)"),
    ];
    let mut complaints = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (at, line) in source.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                complaints.push(format!("{}:{}: {mark}", source.path, at + 1));
            }
        }
    }
    none(complaints);
}

#[test]
fn locks_live_in_sys_only_and_nothing_is_asynchronous_or_unsafe() {
    let mut complaints = Vec::new();
    for source in sources("src") {
        let in_sys = source.path.starts_with("src/sys/");
        for (at, line) in source.code() {
            let lock = !in_sys && ["Mutex", "RwLock", "Condvar"].iter().any(|word| line.contains(word));
            let asynchronous = line.contains("async fn") || line.contains("tokio");
            let unsafe_code = line.contains("unsafe ") && !line.contains("unsafe_code");
            if lock || asynchronous || unsafe_code {
                complaints.push(format!("{}:{at}: {}", source.path, line.trim()));
            }
        }
    }
    none(complaints);
}

/// The library's sort is compiled anew for every use, 4 to 5 KiB each time; `collect` into a sorted map holds one too.
#[test]
fn sorting_is_left_to_one_function() {
    let mut complaints = Vec::new();
    let exempt =
        |path: &str| path.ends_with("tests.rs") || ["src/sys/order.rs", "src/protocol/conformance.rs"].contains(&path);
    for source in sources("src").into_iter().filter(|source| !exempt(&source.path)) {
        for (at, line) in source.code() {
            let sorted = [".sort(", ".sort_", "Map::from_iter("].iter().any(|call| line.contains(call));
            if sorted || (line.contains(": BTree") && line.contains("collect()")) {
                complaints.push(format!("{}:{at}: sys::order does this in less code", source.path));
            }
        }
    }
    none(complaints);
}

#[test]
fn tests_wait_for_events_and_never_sleep() {
    let sleep = concat!("thread::", "sleep");
    let sleeps = |source: &Source| source.text.contains(sleep);
    none(sources("tests").into_iter().filter(sleeps).map(|source| format!("{}: sleeps", source.path)).collect());
}

#[test]
fn every_limit_says_why() {
    let text = fs::read_to_string(root().join("src/limits.rs")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut complaints = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("pub const ")) {
        if !lines[at - 1].starts_with("/// ") {
            complaints.push(format!("src/limits.rs:{}: {line}", at + 1));
        }
    }
    none(complaints);
}

#[test]
fn every_limit_is_used() {
    let all: String =
        sources("src").iter().filter(|source| source.path != "src/limits.rs").map(|s| s.text.as_str()).collect();
    let limits = fs::read_to_string(root().join("src/limits.rs")).unwrap();
    let unused = limits
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .filter(|name| !all.contains(*name) && limits.matches(*name).count() < 2)
        .map(|name| format!("src/limits.rs: {name} is used nowhere"));
    none(unused.collect());
}

/// Sizes and numbers that no test names, each group with its reason. Times are not looked at: a test that waited for
/// them would take minutes, so the code that has them takes them as an argument where it matters.
const UNTESTED: &[(&str, &[&str])] = &[
    (
        "what is given without a wish, not a bound on one",
        &[
            "COMPACTION_KEEP_TOKENS",
            "COMPACTION_RESERVE_TOKENS",
            "LAST_MESSAGE_CHARS",
            "LOGIN_ATTEMPTS",
            "LOG_GENERATIONS",
            "LOG_LINES",
            "MEMORY_DEFAULT",
            "MODEL_ATTEMPTS",
            "PREVIEW_CHARS",
            "PREVIEW_ITEMS",
            "SESSION_ROWS",
            "TAIL_BYTES",
            "TAIL_LINES",
            "TOOL_SESSION_ROWS",
            "USAGE_LOG_LINES",
            "USAGE_SESSIONS",
            "WEB_CHARS",
        ],
    ),
    (
        "sizes of our own buffers and queues; nobody outside sees them",
        &["AGENT_TEXT_RATE", "CLIENT_EVENTS", "ERRANDS", "WRITE_BATCH_BYTES", "WS_READ_BUFFER"],
    ),
    (
        "how much is read of the machine's and the owner's own files and folders",
        &[
            "DIR_ENTRIES",
            "DOTENV_BYTES",
            "IDENTITY_BYTES",
            "LOOKUP_ADDRESSES",
            "PATH_ENTRIES",
            "PROC_ENTRIES",
            "READ_SCAN_BYTES",
            "SECRET_FILE_BYTES",
            "SESSION_FILES",
            "SESSION_PEEKS",
            "STATE_FILE_BYTES",
            "SYMLINKS",
            "SYSTEM_FILE_BYTES",
            "TRANSCRIPT_BYTES",
            "TRANSCRIPT_HEADER_BYTES",
            "TRANSCRIPT_HEAD_BYTES",
            "UNIT_FILES",
            "UNIT_FILE_BYTES",
            "USAGE_DETAIL_BYTES",
            "USAGE_FILES",
            "ZONE_FILE_BYTES",
            "ZONE_RULE_BYTES",
        ],
    ),
    (
        "where a text for people is cut",
        &[
            "AMBIGUOUS_KEYS",
            "BROKEN_OFF_BYTES",
            "EXEC_HEAD_BYTES",
            "EXEC_PARTIAL_BYTES",
            "EXEC_TAIL_BYTES",
            "MEMORY_SNIPPET",
            "METHOD_NAME_CHARS",
            "SUMMARY_BLOCK_CHARS",
            "USAGE_LOG_CHARS",
            "USAGE_POINTS",
        ],
    ),
    ("how much is read at once, not how much in all", &["HTTP_HEAD_READ_BYTES", "HTTP_READ_BYTES"]),
    (
        "the largest wish, which the same code path clamps as its tested neighbours",
        &[
            "MEMORY_RESULTS",
            "PREVIEW_ITEMS_MAX",
            "SESSION_ROWS_MAX",
            "TAIL_BYTES_MAX",
            "TAIL_LINES_MAX",
            "USAGE_SESSIONS_MAX",
            "WEB_CHARS_MAX",
        ],
    ),
];

/// Whether a word stands in a text as a whole.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !part(text[..at].chars().next_back()) && !part(text[at + word.len()..].chars().next()))
}

#[test]
fn every_limit_is_named_by_a_test_or_says_why_not() {
    let limits = fs::read_to_string(root().join("src/limits.rs")).unwrap();
    let rows = limits.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(": "));
    let sizes = rows.filter(|(name, kind)| !kind.starts_with("Duration") && !name.starts_with("STACK_"));
    let names: Vec<&str> = sizes.map(|(name, _)| name).collect();
    let mut tests = String::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let whole = source.path.ends_with("tests.rs") || source.path.starts_with("tests/ch");
        let from = if whole { Some(0) } else { source.text.find("\nmod tests {") };
        tests += from.map(|from| &source.text[from..]).unwrap_or_default();
    }
    let excused: Vec<&str> = UNTESTED.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut complaints: Vec<String> = Vec::new();
    for name in &names {
        match (has_word(&tests, name), excused.contains(name)) {
            (false, false) => complaints.push(format!("src/limits.rs: no test names {name}")),
            (true, true) => complaints.push(format!("tests/tidy.rs: {name} has a test now, it needs no excuse")),
            _ => {}
        }
    }
    let gone = excused.iter().filter(|name| !names.contains(name));
    complaints.extend(gone.map(|name| format!("tests/tidy.rs: there is no limit {name}")));
    none(complaints);
}

#[test]
fn no_path_of_a_developers_machine_and_no_registry_stands_in_a_committed_file() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Ok(listed) = listed.map(|output| output.stdout).map(String::from_utf8).map(Result::unwrap) else { return };
    let marks = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("registry.", "npmjs")];
    // A lock file of npm names its registry here; on the wire the word has another meaning.
    let in_locks = concat!("\"reso", "lved\":");
    let mut complaints = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let text = fs::read(root().join(path)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let locked = path.ends_with("package-lock.json").then_some(in_locks);
        let found = marks.into_iter().chain(locked).filter(|mark| text.contains(mark));
        complaints.extend(found.map(|mark| format!("{path}: {mark}")));
    }
    none(complaints);
}

/// Third-party crates each build may have (decisions.md 6).
const BUDGETS: &[(&str, &[&str], usize)] =
    &[("--no-default-features", &["--no-default-features"], 60), ("default", &[], 74)];

/// The crates of one build, build-time ones included, our own left out.
fn crates(flags: &[&str]) -> Option<Vec<String>> {
    let base = [
        "tree",
        "--locked",
        "--offline",
        "--prefix",
        "none",
        "-e",
        "normal,build",
        "--target",
        "x86_64-unknown-linux-gnu",
    ];
    let output = Command::new(env!("CARGO")).args(base).args(flags).current_dir(root()).output().ok()?;
    if !output.status.success() {
        println!("SKIPPED: cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let own = concat!("openclaw v", env!("CARGO_PKG_VERSION"));
    let mut list: Vec<String> =
        text.lines().map(|line| line.trim_end_matches(" (*)").trim_end_matches(" (proc-macro)").to_string()).collect();
    list.retain(|line| !line.is_empty() && !line.starts_with(own));
    list.sort();
    list.dedup();
    Some(list)
}

#[test]
fn the_dependencies_are_the_committed_ones_and_within_the_budget() {
    let mut text = String::from(
        "# Third-party crates of both builds, build-time ones included; UPDATE=1 cargo test rewrites this file.\n",
    );
    for (name, flags, budget) in BUDGETS {
        let Some(list) = crates(flags) else { return };
        assert!(list.len() <= *budget, "{name}: {} crates, the budget is {budget}", list.len());
        text += &format!("\n[{name}] {}\n{}\n", list.len(), list.join("\n"));
    }
    let file = root().join("fixtures/deps.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(committed, text, "fixtures/deps.txt is not what cargo tree says (UPDATE=1 rewrites it)");
}
