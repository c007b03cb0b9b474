//! The tools `memory_search` and `memory_get`: words in MEMORY.md and memory/**.md, ranked by BM25 over short passages.
//! No index: the files are read at each search, bounded in number and bytes.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::args::Args;
use super::outcome::ToolOutcome;
use super::text;
use super::workspace::Workspace;
use crate::agent::control::Control;
use crate::limits;
use crate::sys::order;

/// Files of the memory beside the folder.
const FILES: &[&str] = &["MEMORY.md", "memory.md"];
/// The folder.
const FOLDER: &str = "memory";
/// Lines of a passage, and how far the next one starts.
const PASSAGE_LINES: usize = 12;
const PASSAGE_STEP: usize = 8;
/// The usual constants of BM25.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// Weight of a word that only begins like the one asked for ("deploy" in "deployment").
const BEGINNING: f64 = 0.6;
/// Letters that a beginning must have to count.
const BEGINNING_CHARS: usize = 4;

/// `memory_search`.
pub(super) fn search(workspace: &Workspace, args: &Args, control: &Control) -> ToolOutcome {
    let query = args.text("query");
    let terms = terms(query);
    if terms.is_empty() {
        return ToolOutcome::error("the query has no words");
    }
    let most = args.count("maxResults").unwrap_or(limits::MEMORY_DEFAULT).clamp(1, limits::MEMORY_RESULTS);
    let least = args.number("minScore").unwrap_or(0.0);
    let goes_on = || control.stopped().is_none();
    let (files, cut) = load(workspace, goes_on);
    let looked = files.iter().take_while(|_| goes_on());
    let passages: Vec<Passage> = looked.flat_map(|(path, text)| passages(path, text, &terms)).collect();
    if let Some(reason) = control.stopped() {
        return ToolOutcome::error(format!("not finished: the turn was stopped ({})", reason.name()));
    }
    let mut ranked = rank(&passages, &terms);
    ranked.retain(|(score, _)| *score >= least);
    let results: Vec<Value> = pick(&ranked, most).into_iter().map(|(score, passage)| passage.row(score)).collect();
    let mut answer = json!({"results": results, "provider": "text"});
    if let (true, Some(answer)) = (cut, answer.as_object_mut()) {
        answer.insert("note".into(), json!("the memory is larger than what is searched; older files were left out"));
    }
    ToolOutcome::json(answer).with_meta(text::label(query, limits::META_CHARS))
}

/// `memory_get`.
pub(super) fn get(workspace: &Workspace, args: &Args) -> ToolOutcome {
    let path = args.text("path").trim();
    let Some(place) = memory_path(workspace.base(), path) else {
        return ToolOutcome::error("only MEMORY.md and .md files in memory/ can be read with memory_get")
            .with_meta(path);
    };
    let text = match read(workspace, &place) {
        Ok(text) => text,
        Err(fault) => return ToolOutcome::error(fault).with_meta(path),
    };
    let from = args.count("from").unwrap_or(1).max(1);
    let count = args.count("lines").unwrap_or(limits::READ_LINES).min(limits::READ_LINES);
    let lines: Vec<&str> = text.lines().skip(from - 1).take(count).collect();
    let shown = lines.join("\n");
    ToolOutcome::text(shown.clone()).with_details(json!({"path": place, "text": shown})).with_meta(path)
}

/// The path if it names a file of the memory: judged by its text; the workspace judges where it leads.
fn memory_path(base: &Path, path: &str) -> Option<String> {
    let path = Path::new(path);
    let below = path.strip_prefix(base).unwrap_or(path);
    let mut names = Vec::new();
    for part in below.components() {
        match part {
            Component::Normal(name) => names.push(name.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    let (first, last) = (*names.first()?, *names.last()?);
    let inside = if names.len() == 1 { FILES.contains(&first) } else { first == FOLDER };
    (inside && last.ends_with(".md")).then(|| names.join("/"))
}

/// All files with their texts; whether some had to stay out. Newest names first, so that the newest days survive.
fn load(workspace: &Workspace, goes_on: impl Fn() -> bool) -> (Vec<(String, String)>, bool) {
    let (mut paths, mut cut) = list(workspace.base());
    order::by(&mut paths, |one, two| two.cmp(one));
    cut |= paths.len() > limits::MEMORY_FILES;
    paths.truncate(limits::MEMORY_FILES);
    let named = FILES.iter().map(|name| name.to_string());
    let mut room = limits::MEMORY_BYTES;
    let mut files: Vec<(String, String)> = Vec::new();
    for path in named.chain(paths).take_while(|_| goes_on()) {
        // a file that is missing or not readable is not searched
        let Ok(text) = read(workspace, &path) else { continue };
        // one file under two names, where names have no case
        if files.iter().any(|(_, known)| FILES.contains(&path.as_str()) && *known == text) {
            continue;
        }
        if text.len() > room {
            cut = true;
            break;
        }
        room -= text.len();
        files.push((path, text));
    }
    (files, cut)
}

fn read(workspace: &Workspace, path: &str) -> Result<String, String> {
    let place = workspace.base().join(path);
    let file = workspace.read(&place.to_string_lossy()).map_err(|fault| fault.to_string())?;
    let limit = u64::try_from(limits::MEMORY_FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|fault| fault.to_string())?;
    Ok(text::safe(&bytes))
}

/// Names of the folder's files, links not followed, bounded in number and depth.
fn list(base: &Path) -> (Vec<String>, bool) {
    let mut found = Vec::new();
    let mut folders = vec![(PathBuf::from(FOLDER), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(base.join(&folder)) else { continue };
        for entry in entries.take(limits::DIR_ENTRIES).flatten() {
            let (Ok(kind), path) = (entry.file_type(), folder.join(entry.file_name())) else { continue };
            if kind.is_dir() && depth < limits::MEMORY_DEPTH {
                folders.push((path, depth + 1));
            } else if kind.is_file() && path.extension().is_some_and(|ext| ext == "md") {
                found.push(path.to_string_lossy().into_owned());
            }
            if found.len() > limits::DIR_ENTRIES || folders.len() > limits::MEMORY_FILES {
                return (found, true);
            }
        }
    }
    (found, false)
}

/// Some lines of a file.
struct Passage<'a> {
    path: &'a str,
    file: &'a str,
    first: usize,
    last: usize,
    /// Words.
    length: usize,
    /// How often each term of the query stands here.
    frequencies: Vec<f64>,
}

impl Passage<'_> {
    fn row(&self, score: f64) -> Value {
        let lines: Vec<&str> = self.file.lines().skip(self.first - 1).take(self.last + 1 - self.first).collect();
        let text = lines.join("\n");
        let snippet = text.get(..text.floor_char_boundary(limits::MEMORY_SNIPPET)).unwrap_or_default().trim();
        let score = (score * 1000.0).round() / 1000.0;
        json!({
            "path": self.path, "startLine": self.first, "endLine": self.last, "score": score, "snippet": snippet,
            "source": "memory",
        })
    }
}

/// How often a term stands among words; when it does not, words that begin with it count less.
fn frequency(term: &str, words: &[String]) -> f64 {
    let exact = words.iter().filter(|word| *word == term).count();
    if exact > 0 || term.chars().count() < BEGINNING_CHARS {
        return number(exact);
    }
    number(words.iter().filter(|word| word.starts_with(term)).count()) * BEGINNING
}

fn passages<'a>(path: &'a str, file: &'a str, terms: &[String]) -> Vec<Passage<'a>> {
    let lines: Vec<&str> = file.lines().collect();
    let mut found = Vec::new();
    let mut start = 0;
    while start < lines.len() {
        let end = (start + PASSAGE_LINES).min(lines.len());
        let words: Vec<String> =
            lines.get(start..end).unwrap_or_default().iter().flat_map(|line| terms_with_repeats(line)).collect();
        if !words.is_empty() {
            let frequencies = terms.iter().map(|term| frequency(term, &words)).collect();
            found.push(Passage { path, file, first: start + 1, last: end, length: words.len(), frequencies });
        }
        if end == lines.len() {
            break;
        }
        start += PASSAGE_STEP;
    }
    found
}

/// Words in lower case. Letters of scripts without blanks between words stand alone.
fn terms_with_repeats(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        let alone = matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
        if (alone || !c.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if alone {
            words.push(c.to_string());
        } else if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn terms(query: &str) -> Vec<String> {
    let mut terms = terms_with_repeats(query);
    order::by(&mut terms, Ord::cmp);
    terms.dedup();
    terms.truncate(limits::MEMORY_TERMS);
    terms
}

/// Passages with a score above zero, best first. A score of 1 would be a passage full of every term.
fn rank<'a, 'b>(passages: &'b [Passage<'a>], terms: &[String]) -> Vec<(f64, &'b Passage<'a>)> {
    let total = number(passages.len());
    let average = number(passages.iter().map(|passage| passage.length).sum::<usize>()) / total.max(1.0);
    let mut scores = vec![0.0; passages.len()];
    let mut best = 0.0;
    for at in 0..terms.len() {
        let of = |passage: &Passage<'_>| passage.frequencies.get(at).copied().unwrap_or(0.0);
        let frequencies: Vec<f64> = passages.iter().map(of).collect();
        let holding = number(frequencies.iter().filter(|frequency| **frequency > 0.0).count());
        let weight = ln(1.0 + (total - holding + 0.5) / (holding + 0.5));
        best += weight * (K1 + 1.0);
        for ((score, passage), frequency) in scores.iter_mut().zip(passages).zip(frequencies) {
            let norm = K1 * (1.0 - B + B * number(passage.length) / average.max(1.0));
            *score += weight * frequency * (K1 + 1.0) / (frequency + norm);
        }
    }
    let mut ranked: Vec<_> = scores.into_iter().map(|score| score / best).zip(passages).collect();
    ranked.retain(|(score, _)| *score > 0.0);
    order::by(&mut ranked, |(one, a), (two, b)| {
        two.total_cmp(one).then_with(|| (a.path, a.first).cmp(&(b.path, b.first)))
    });
    ranked
}

/// The natural logarithm of a number from 1 up, to six places. The library's own would be the one use of libm, which
/// costs every process 330 KiB of memory and the time to link it at the start.
fn ln(x: f64) -> f64 {
    let (mut mantissa, mut twos) = (x, 0.0);
    while mantissa > 1.5 {
        mantissa /= 2.0;
        twos += 1.0;
    }
    // ln m = 2 (t + t³/3 + t⁵/5 + …) with t = (m - 1) / (m + 1), here at most a fifth.
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let series = 2.0 * t * (1.0 + square / 3.0 + square * square / 5.0 + square * square * square / 7.0);
    twos * std::f64::consts::LN_2 + series
}

/// The best ones that do not overlap a better one.
fn pick<'a, 'b>(ranked: &[(f64, &'b Passage<'a>)], most: usize) -> Vec<(f64, &'b Passage<'a>)> {
    let mut picked: Vec<(f64, &Passage<'_>)> = Vec::new();
    for (score, passage) in ranked {
        let overlaps = |other: &Passage<'_>| {
            other.path == passage.path && other.first <= passage.last && passage.first <= other.last
        };
        if picked.len() < most && !picked.iter().any(|(_, other)| overlaps(other)) {
            picked.push((*score, passage));
        }
    }
    picked
}

/// Counts here are far below 2^32.
fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::super::settings::Confinement;
    use super::super::table;
    use super::*;
    use crate::agent::control::AbortReason;

    fn found<'a>(files: &'a [(&'a str, &'a str)], query: &str) -> Vec<&'a str> {
        let passages: Vec<Passage> =
            files.iter().flat_map(|(path, text)| passages(path, text, &terms(query))).collect();
        let ranked = rank(&passages, &terms(query));
        assert!(ranked.iter().all(|(score, _)| (0.0..=1.0).contains(score)));
        pick(&ranked, 10).into_iter().map(|(_, passage)| passage.path).collect()
    }

    #[test]
    fn rare_and_complete_matches_come_first() {
        let files = [
            ("a", "the cat sat on the mat"),
            ("b", "the dog met the cat of the deployment"),
            ("c", "nothing of interest"),
        ];
        assert_eq!(found(&files, "cat dog"), ["b", "a"]);
        assert_eq!(found(&files, "Deploy"), ["b"], "beginnings count");
        assert_eq!(found(&files, "ca"), [""; 0], "short ones do not");
        assert_eq!(found(&files, "zebra"), [""; 0]);
    }

    #[test]
    fn scripts_without_blanks_are_found_by_letter() {
        assert_eq!(found(&[("a", "今日は会議"), ("b", "x")], "会議"), ["a"]);
    }

    #[test]
    fn passages_overlap_and_results_do_not() {
        let text: String = (1..=40).map(|n| format!("line {n} word\n")).collect();
        let all = passages("a", &text, &terms("word"));
        assert_eq!((all[0].first, all[0].last, all[1].first), (1, 12, 9));
        assert_eq!(all.last().unwrap().last, 40);
        let ranked = rank(&all, &terms("word"));
        let picked = pick(&ranked, 10);
        assert!(picked.len() >= 3 && picked.len() < all.len());
        assert_eq!(passages("a", "\n\n  \n", &terms("word")).len(), 0);
    }

    fn workspace(name: &str) -> (Workspace, PathBuf) {
        let dir = std::env::temp_dir().join(format!("openclaw-memory-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join(FOLDER)).unwrap();
        (Workspace::open(&dir, &dir, Confinement::Workspace).unwrap(), dir)
    }

    fn query(text: &str) -> Args {
        Args::read(table::find("memory_search").unwrap(), &json!({"query": text})).unwrap()
    }

    #[test]
    fn of_too_many_files_the_newest_are_searched() {
        let (workspace, dir) = workspace("many");
        for at in 0..=limits::MEMORY_FILES {
            fs::write(dir.join(FOLDER).join(format!("{at:05}.md")), format!("needle n{at}")).unwrap();
        }
        let found = |text: &str| search(&workspace, &query(text), &Control::new()).details.unwrap();
        let (oldest, newest) = (found("n0"), found(&format!("n{}", limits::MEMORY_FILES)));
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!((&oldest["results"], newest["results"].as_array().unwrap().len()), (&json!([]), 1));
        assert!(oldest["note"].as_str().unwrap().contains("older files were left out"));
    }

    #[test]
    fn a_search_ends_with_its_turn() {
        let (workspace, dir) = workspace("stopped");
        fs::write(dir.join(FOLDER).join("a.md"), "needle").unwrap();
        let control = Control::new();
        assert!(!search(&workspace, &query("needle"), &control).is_error);
        control.cancel(AbortReason::Stop);
        assert!(search(&workspace, &query("needle"), &control).is_error);
        assert!(load(&workspace, || false).0.is_empty(), "no file is read any more");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn only_files_of_the_memory_are_named() {
        let base = Path::new("/w");
        let name = |path: &str| memory_path(base, path);
        assert_eq!(name("memory/2026-11-21.md"), Some("memory/2026-11-21.md".into()));
        assert_eq!(name("./memory/a/b.md"), Some("memory/a/b.md".into()));
        assert_eq!(name("/w/MEMORY.md"), Some("MEMORY.md".into()));
        for other in [
            "AGENTS.md",
            "memory/../AGENTS.md",
            "memory",
            "memory/x.txt",
            "/etc/passwd.md",
            "../memory/x.md",
            "",
            "memoryx/a.md",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn the_logarithm_is_the_librarys() {
        for x in [1.0, 1.1, 1.5, 1.51, 2.0, 3.0, 10.0, 1234.5, 1e9] {
            assert!((ln(x) - f64::ln(x)).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn queries_are_bounded() {
        let long: String = (0..10_000).map(|n| format!("w{n} ")).collect();
        assert_eq!(terms(&long).len(), limits::MEMORY_TERMS);
    }
}
