//! Reads a command line far enough to know every program it starts; everything that could start others, or whose
//! meaning depends on the shell's state, is refused rather than guessed. Pure.
//!
//! Understood: words, quotes, backslashes, and `|`, `||`, `&&`, `;` between commands. Refused: redirections, command
//! and process substitution, parameter expansion, `&`, parentheses, braces and globs in a program's name, assignments
//! before a program, line ends. What is refused needs an approval; it is not an error of the command.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::limits;

/// One program call of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The program's word and its arguments, quotes removed.
    pub words: Vec<String>,
    /// Whether a word has an unquoted glob character, so that arguments may become file names.
    pub globs: bool,
}

/// Why a command line cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// `<` or `>`.
    Redirection,
    /// Backquotes, `$(`, `<(`.
    Substitution,
    /// `$NAME`, `${…}`.
    Expansion,
    /// `&`.
    Background,
    /// Parentheses.
    Subshell,
    /// A line end.
    Lines,
    /// A quote that does not end, or a backslash at the end.
    Unfinished,
    /// A command without a program.
    Empty,
    /// `NAME=value` before a program, or a program's name with a glob, brace or tilde.
    Name,
    /// A byte that no command line has.
    Control,
    /// Longer or in more parts than is looked at.
    TooLong,
}

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Opaque::Redirection => "redirections",
            Opaque::Substitution => "command substitution",
            Opaque::Expansion => "variables",
            Opaque::Background => "background commands (&)",
            Opaque::Subshell => "parentheses",
            Opaque::Lines => "several lines",
            Opaque::Unfinished => "an unfinished quote",
            Opaque::Empty => "an empty command",
            Opaque::Name => "assignments or patterns in a program's name",
            Opaque::Control => "control characters",
            Opaque::TooLong => "a command this long",
        })
    }
}

/// The programs a command line starts, in order.
pub fn segments(command: &str) -> Result<Vec<Segment>, Opaque> {
    if command.len() > limits::COMMAND_BYTES {
        return Err(Opaque::TooLong);
    }
    let mut reader = Reader::default();
    let mut chars = command.trim_matches([' ', '\t']).chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        if reader.step(c, next)? {
            chars.next();
        }
    }
    reader.finish()
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Quote {
    #[default]
    None,
    Single,
    Double,
    /// After a backslash outside quotes.
    Escape,
    /// After a backslash inside double quotes.
    DoubleEscape,
}

#[derive(Default)]
struct Reader {
    quote: Quote,
    /// The word being read; `None` between words.
    word: Option<String>,
    /// Whether the word being read has unquoted characters of a pattern.
    pattern: bool,
    current: Vec<String>,
    globs: bool,
    done: Vec<Segment>,
    /// Whether a command must follow.
    open: bool,
}

impl Reader {
    /// Takes one character; true when it took the next one as well.
    fn step(&mut self, c: char, next: Option<char>) -> Result<bool, Opaque> {
        if matches!(c, '\n' | '\r') {
            return Err(Opaque::Lines);
        }
        if c.is_control() && c != '\t' {
            return Err(Opaque::Control);
        }
        match self.quote {
            Quote::Single => self.single(c),
            Quote::Double => self.double(c)?,
            Quote::Escape => self.literal(c, Quote::None),
            Quote::DoubleEscape => {
                // only these lose their backslash inside double quotes
                if !matches!(c, '$' | '`' | '"' | '\\') {
                    self.push('\\');
                }
                self.literal(c, Quote::Double);
            }
            Quote::None => return self.plain(c, next),
        }
        Ok(false)
    }

    fn plain(&mut self, c: char, next: Option<char>) -> Result<bool, Opaque> {
        match c {
            ' ' | '\t' => self.end_word()?,
            '\'' => self.begin(Quote::Single),
            '"' => self.begin(Quote::Double),
            '\\' => self.begin(Quote::Escape),
            '`' => return Err(Opaque::Substitution),
            '$' => return Err(if next == Some('(') { Opaque::Substitution } else { Opaque::Expansion }),
            '<' | '>' if next == Some('(') => return Err(Opaque::Substitution),
            '<' | '>' => return Err(Opaque::Redirection),
            '(' | ')' => return Err(Opaque::Subshell),
            '&' if next != Some('&') => return Err(Opaque::Background),
            '|' if next == Some('&') => return Err(Opaque::Redirection),
            ';' if next == Some(';') => return Err(Opaque::Empty),
            '&' | '|' | ';' => {
                let double = c != ';' && next == Some(c);
                self.end_segment(c != ';')?;
                return Ok(double);
            }
            // patterns, braces and tildes turn into other words; `=word` does in zsh, `!` in csh, `^` in old shells
            '*' | '?' | '[' | '{' | '~' | '=' | '!' | '^' | '#' => {
                self.pattern = true;
                self.push(c);
            }
            c => self.push(c),
        }
        Ok(false)
    }

    fn single(&mut self, c: char) {
        match c {
            '\'' => self.quote = Quote::None,
            c => self.push(c),
        }
    }

    fn double(&mut self, c: char) -> Result<(), Opaque> {
        match c {
            '"' => self.quote = Quote::None,
            '\\' => self.quote = Quote::DoubleEscape,
            '`' => return Err(Opaque::Substitution),
            '$' => return Err(Opaque::Expansion),
            c => self.push(c),
        }
        Ok(())
    }

    fn literal(&mut self, c: char, quote: Quote) {
        self.push(c);
        self.quote = quote;
    }

    fn begin(&mut self, quote: Quote) {
        self.word.get_or_insert_default();
        self.quote = quote;
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) -> Result<(), Opaque> {
        let Some(word) = self.word.take() else { return Ok(()) };
        let pattern = std::mem::take(&mut self.pattern);
        if self.current.is_empty() && (pattern || word.is_empty()) {
            return Err(Opaque::Name);
        }
        self.globs |= pattern;
        self.current.push(word);
        if self.current.len() > limits::COMMAND_WORDS { Err(Opaque::TooLong) } else { Ok(()) }
    }

    fn end_segment(&mut self, open: bool) -> Result<(), Opaque> {
        self.end_word()?;
        if self.current.is_empty() {
            return Err(Opaque::Empty);
        }
        if self.done.len() >= limits::COMMAND_SEGMENTS {
            return Err(Opaque::TooLong);
        }
        let words = std::mem::take(&mut self.current);
        self.done.push(Segment { words, globs: std::mem::take(&mut self.globs) });
        self.open = open;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Segment>, Opaque> {
        if self.quote != Quote::None {
            return Err(Opaque::Unfinished);
        }
        self.end_word()?;
        if !self.current.is_empty() {
            self.end_segment(false)?;
        }
        if self.open || self.done.is_empty() { Err(Opaque::Empty) } else { Ok(self.done) }
    }
}

/// The search path without entries that depend on the directory: those would find a program that a model wrote.
pub fn absolute_path(path: &str) -> String {
    let dirs: Vec<&str> = path.split(':').filter(|dir| dir.starts_with('/')).collect();
    dirs.join(":")
}

/// The file a program's word stands for: as the shell finds it, links not followed. `is_program` looks at the disk.
pub fn resolve(word: &str, cwd: &Path, path: &str, is_program: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if word.contains('/') {
        let full = plain_path(&cwd.join(word))?;
        return is_program(&full).then_some(full);
    }
    let dirs = path.split(':').filter(|dir| dir.starts_with('/')).take(limits::PATH_ENTRIES);
    dirs.map(|dir| Path::new(dir).join(word)).find(|path| is_program(path))
}

/// The path without `.`; none with `..`, which would make a pattern on the text of the path meaningless.
fn plain_path(path: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => return None,
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// Whether a path fits an allowlist pattern: case does not matter, `*` and `?` stay within one name, `**` does not,
/// `~` is the home. Patterns without `/` name nothing. Linear in time but for the stars, which are bounded.
pub fn fits(pattern: &str, path: &Path, home: &Path) -> bool {
    let pattern = pattern.trim();
    let pattern = match pattern.strip_prefix('~') {
        Some(rest) if rest.starts_with('/') => format!("{}{rest}", home.display()),
        _ => pattern.to_string(),
    };
    if !pattern.contains('/') || pattern.len() > limits::PATTERN_CHARS {
        return false;
    }
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let path: Vec<char> = path.to_string_lossy().to_lowercase().chars().collect();
    glob(&pattern, &path)
}

/// Row by row over the pattern: which prefixes of the path fit so far. Never exponential.
fn glob(pattern: &[char], path: &[char]) -> bool {
    let mut reach = vec![false; path.len() + 1];
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    let mut rest = pattern;
    while let Some((first, tail)) = rest.split_first() {
        let deep = *first == '*' && tail.first() == Some(&'*');
        rest = if deep { tail.get(1..).unwrap_or_default() } else { tail };
        reach = match first {
            '*' => spread(&reach, path, deep),
            '?' => advance(&reach, path, |c| c != '/'),
            wanted => advance(&reach, path, |c| c == *wanted),
        };
    }
    reach.last() == Some(&true)
}

fn spread(reach: &[bool], path: &[char], deep: bool) -> Vec<bool> {
    let mut on = false;
    let mut next = Vec::with_capacity(reach.len());
    for (at, hit) in reach.iter().enumerate() {
        let previous = at.checked_sub(1).and_then(|before| path.get(before));
        on = *hit || (on && (deep || previous != Some(&'/')));
        next.push(on);
    }
    next
}

fn advance(reach: &[bool], path: &[char], fits: impl Fn(char) -> bool) -> Vec<bool> {
    let moved = reach.iter().zip(path).map(|(hit, c)| *hit && fits(*c));
    std::iter::once(false).chain(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Result<Vec<Vec<String>>, Opaque> {
        segments(command).map(|found| found.into_iter().map(|segment| segment.words).collect())
    }

    #[test]
    fn finds_every_program_of_a_command_line() {
        let table: &[(&str, &[&[&str]])] = &[
            ("ls", &[&["ls"]]),
            ("  git  status -s ", &[&["git", "status", "-s"]]),
            ("a|b", &[&["a"], &["b"]]),
            ("a && b || c; d", &[&["a"], &["b"], &["c"], &["d"]]),
            ("a;", &[&["a"]]),
            ("echo 'a|b;c' \"d && e\"", &[&["echo", "a|b;c", "d && e"]]),
            (r#"echo a\|b "x\"y" '' "\n""#, &[&["echo", "a|b", "x\"y", "", "\\n"]]),
            ("'/usr/bin/my tool' x", &[&["/usr/bin/my tool", "x"]]),
            ("echo *.rs ~/x a=b", &[&["echo", "*.rs", "~/x", "a=b"]]),
        ];
        for (command, expected) in table {
            assert_eq!(words(command).unwrap(), *expected, "{command}");
        }
        assert!(segments("ls *").unwrap()[0].globs && !segments("ls '*'").unwrap()[0].globs);
    }

    #[test]
    fn refuses_what_could_start_something_else() {
        use Opaque::*;
        let table = [
            ("ls > x", Redirection),
            ("ls >x", Redirection),
            ("cat < /etc/passwd", Redirection),
            ("ls 2>&1", Redirection),
            ("ls |& cat", Redirection),
            ("cat <<EOF", Redirection),
            ("diff <(ls) x", Substitution),
            ("echo `id`", Substitution),
            ("echo $(id)", Substitution),
            ("echo \"$(id)\"", Expansion),
            ("echo \"`id`\"", Substitution),
            ("echo $HOME", Expansion),
            ("echo \"$HOME\"", Expansion),
            ("$X", Expansion),
            ("ls &", Background),
            ("ls & rm x", Background),
            ("(ls)", Subshell),
            ("f() ls", Subshell),
            ("ls\nrm x", Lines),
            ("ls \\\n rm", Lines),
            ("echo 'a\nb'", Lines),
            ("ls 'x", Unfinished),
            ("ls \\", Unfinished),
            ("ls \"x\\", Unfinished),
            ("", Empty),
            ("|", Empty),
            ("a ||", Empty),
            ("a &&", Empty),
            ("a || | b", Empty),
            (";", Empty),
            ("a;;b", Empty),
            ("PATH=/tmp ls", Name),
            ("A=1", Name),
            ("l? x", Name),
            ("/bin/{ls,rm}", Name),
            ("~/x", Name),
            ("'' x", Name),
            ("=ls", Name),
            ("! ls", Name),
            ("{ ls; }", Name),
            ("# x", Name),
            ("ls \u{1b}[0m", Control),
            ("ls \0", Control),
            ("ls\rrm", Lines),
        ];
        for (command, expected) in table {
            assert_eq!(words(command).unwrap_err(), expected, "{command:?}");
        }
    }

    #[test]
    fn long_lines_are_not_looked_at() {
        assert_eq!(words(&"x".repeat(limits::COMMAND_BYTES + 1)).unwrap_err(), Opaque::TooLong);
        assert_eq!(words(&"x|".repeat(limits::COMMAND_SEGMENTS + 1)).unwrap_err(), Opaque::TooLong);
        assert_eq!(words(&"x ".repeat(limits::COMMAND_WORDS + 2)).unwrap_err(), Opaque::TooLong);
    }

    #[test]
    fn any_input_is_an_answer() {
        for cut in 0..40 {
            let text: String = r#"a 'b' "c\"" \d | e && f; g$(h)`i`>j<k&l"#.chars().skip(cut).collect();
            let _ = segments(&text);
        }
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let exists = |path: &Path| ["/usr/bin/ls", "/w/tool", "/bin/ls", "/w/ls"].iter().any(|p| path == Path::new(p));
        let found = |word: &str, path: &str| resolve(word, Path::new("/w"), path, exists);
        assert_eq!(found("ls", "/usr/bin:/bin"), Some("/usr/bin/ls".into()));
        assert_eq!(found("ls", ".:w::/bin"), Some("/bin/ls".into()), "relative entries are not searched");
        assert_eq!(found("./tool", ""), Some("/w/tool".into()));
        assert_eq!(found("x/../tool", ""), None);
        assert_eq!(found("if", "/bin"), None);
        assert_eq!(absolute_path(".:/bin::x:/usr/bin"), "/bin:/usr/bin");
    }

    #[test]
    fn patterns_fit_whole_paths() {
        let fit = |pattern: &str, path: &str| fits(pattern, Path::new(path), Path::new("/home/me"));
        assert!(fit("/usr/bin/git", "/usr/bin/git") && fit("/USR/bin/GIT", "/usr/bin/git"));
        assert!(fit("/usr/bin/*", "/usr/bin/git") && !fit("/usr/*", "/usr/bin/git") && fit("/usr/**", "/usr/bin/git"));
        assert!(fit("**/git", "/usr/bin/git") && !fit("git", "/usr/bin/git") && !fit("/usr/bin/git", "/usr/bin/git2"));
        assert!(fit("~/bin/?x", "/home/me/bin/ax") && !fit("~/bin/?x", "/home/me/bin/x"));
        assert!(!fit("", "/x") && !fit("*", "/x") && !fit(&"/*".repeat(limits::PATTERN_CHARS), "/x"));
        assert!(!fit(&"**a/".repeat(100), &"/a".repeat(2000)), "bounded in time");
    }
}
