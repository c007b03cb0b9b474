//! Programs that only filter their input: allowed without an entry as long as they name no file and no other program
//! (`tools.exec.safeBins`). Pure table and its reading; unknown options are refused.

use std::path::Path;

use super::command::Segment;

/// What one filter may be given.
struct Filter {
    name: &'static str,
    /// Letters of options without a value.
    flags: &'static str,
    /// Letters of options with a value.
    values: &'static str,
    /// Arguments that are no options (patterns, sets of characters).
    plain: usize,
}

/// The filters we know. Left out on purpose: `sort -o` writes, `sort -T` and `--compress-program` start or place
/// things, `grep -f`/`-r` and `jq -f`/`-L` read files, `tail -f` never ends.
const FILTERS: &[Filter] = &[
    Filter { name: "jq", flags: "nrceasSCMj", values: "", plain: 1 },
    Filter { name: "grep", flags: "EFGPbcHhiLlnoqsvwxyaz", values: "ABCme", plain: 1 },
    Filter { name: "cut", flags: "sz", values: "bcdf", plain: 0 },
    Filter { name: "sort", flags: "bdfgiMhnrRVsuzc", values: "kt", plain: 0 },
    Filter { name: "uniq", flags: "cdDiuz", values: "fsw", plain: 0 },
    Filter { name: "head", flags: "qvz", values: "nc", plain: 0 },
    Filter { name: "tail", flags: "qvz", values: "nc", plain: 0 },
    Filter { name: "tr", flags: "cCdst", values: "", plain: 2 },
    Filter { name: "wc", flags: "clmwL", values: "", plain: 0 },
];

/// Names of all filters: the default of `tools.exec.safeBins`.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILTERS.iter().map(|filter| filter.name)
}

/// Directories in which a filter must lie: a file of the same name elsewhere is not that filter.
const SYSTEM_DIRS: &[&str] = &["/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/run/current-system/sw/bin"];

/// Words of jq that read files or the environment.
const JQ_READS: &[&str] = &["env", "ENV", "import", "include", "input", "$__loc__", "debug", "stderr", "modulemeta"];

/// Whether a segment is a call of one of the listed filters without files.
pub fn is_safe(segment: &Segment, resolved: &Path, listed: &[String]) -> bool {
    let Some((_, args)) = segment.words.split_first() else { return false };
    let Some(name) = resolved.file_name().and_then(|name| name.to_str()) else { return false };
    let dir = resolved.parent().and_then(Path::to_str).unwrap_or_default();
    if segment.globs || !SYSTEM_DIRS.contains(&dir) || !listed.iter().any(|listed| listed == name) {
        return false;
    }
    match FILTERS.iter().find(|filter| filter.name == name) {
        Some(filter) => fits(filter, args) && (name != "jq" || args.iter().all(|arg| !reads(arg))),
        // a filter of the operator's own choice: bare letters only
        None => args.iter().all(|arg| is_cluster(arg)),
    }
}

fn reads(filter: &str) -> bool {
    JQ_READS.iter().any(|word| filter.contains(word))
}

fn is_cluster(arg: &str) -> bool {
    arg.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn fits(filter: &Filter, args: &[String]) -> bool {
    let (mut args, mut plain) = (args.iter(), 0);
    while let Some(arg) = args.next() {
        match arg.strip_prefix('-') {
            Some("") | None => plain += 1,
            Some(rest) if rest.starts_with('-') => return false,
            Some(rest) => match option(filter, rest) {
                Given::No => return false,
                Given::Whole => {}
                Given::NeedsValue => match args.next() {
                    // `grep -e PATTERN` takes the place of the plain one
                    Some(_) if filter.name == "grep" && rest.ends_with('e') => plain += 1,
                    Some(_) => {}
                    None => return false,
                },
            },
        }
    }
    plain <= filter.plain
}

enum Given {
    No,
    Whole,
    NeedsValue,
}

/// One cluster of letters, such as `rn`, `n10`, `k2,2`, or a bare count as in `head -5`.
fn option(filter: &Filter, letters: &str) -> Given {
    if ["head", "tail"].contains(&filter.name) && letters.chars().all(|c| c.is_ascii_digit()) {
        return Given::Whole;
    }
    for (at, letter) in letters.char_indices() {
        if filter.values.contains(letter) {
            let last = at + letter.len_utf8() == letters.len();
            // a pattern joined to its option would not be counted
            if !last && filter.name == "grep" && letter == 'e' {
                return Given::No;
            }
            return if last { Given::NeedsValue } else { Given::Whole };
        }
        if !filter.flags.contains(letter) {
            return Given::No;
        }
    }
    Given::Whole
}

#[cfg(test)]
mod tests {
    use super::super::command::segments;
    use super::*;

    fn safe(command: &str) -> bool {
        let listed: Vec<String> = names().map(String::from).chain(["rev".to_string()]).collect();
        let segment = &segments(command).unwrap()[0];
        is_safe(segment, &Path::new("/usr/bin").join(&segment.words[0]), &listed)
    }

    #[test]
    fn filters_of_the_input_pass() {
        for command in [
            "jq .",
            "jq -r '.a[] | .b'",
            "grep -i x",
            "grep -c -e x",
            "grep -A 3 x",
            "grep -m1 x",
            "cut -d, -f1",
            "cut -d ' ' -f 2",
            "sort -rn",
            "sort -k2,2 -t ,",
            "uniq -c",
            "head -5",
            "head -n 5",
            "tail -n5",
            "tr a-z A-Z",
            "tr -d '\\r'",
            "wc -l",
            "rev",
            "rev -v",
        ] {
            assert!(safe(command), "{command}");
        }
    }

    #[test]
    fn files_programs_and_unknown_options_do_not() {
        for command in [
            "jq . /etc/passwd",
            "jq -f x",
            "jq -n env",
            "jq -n '$ENV.SECRET'",
            "jq -n 'import \"x\" as x; .'",
            "jq --rawfile a /etc/passwd .",
            "grep x /etc/passwd",
            "grep -r x",
            "grep -rf x",
            "grep -f /etc/shadow",
            "grep -e x /etc/passwd",
            "grep -ex /etc/passwd",
            "grep --file=x",
            "sort /etc/passwd",
            "sort -o x",
            "sort -ox",
            "sort --compress-program=sh",
            "sort -T /tmp",
            "uniq a b",
            "head /etc/passwd",
            "head -n 5 /etc/passwd",
            "tail -f x",
            "tail -F",
            "wc --files0-from=x",
            "tr a b c",
            "cut -f1 x",
            "wc -",
            "head *",
            "sort -t",
            "sh -c",
            "rev /etc/passwd",
            "rev --x",
            "cut -f1 -- x",
        ] {
            assert!(!safe(command), "{command}");
        }
    }

    #[test]
    fn a_file_of_the_same_name_elsewhere_is_not_the_filter() {
        let listed = vec!["wc".to_string()];
        let segment = &segments("wc -l").unwrap()[0];
        assert!(is_safe(segment, Path::new("/usr/bin/wc"), &listed));
        assert!(!is_safe(segment, Path::new("/home/me/wc"), &listed) && !is_safe(segment, Path::new("/bin/wc"), &[]));
    }
}
