//! The patch format of `apply_patch`: reading it and fitting its hunks into texts. Pure; files are the caller's.

use crate::limits;

/// One file's part of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A new file.
    Add { path: String, content: String },
    /// A file that goes.
    Delete { path: String },
    /// A file that changes, and perhaps moves.
    Update { path: String, to: Option<String>, hunks: Vec<Hunk> },
}

/// One place of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hunk {
    /// A line that stands somewhere before it (`@@ <line>`).
    anchor: Option<String>,
    old: Vec<String>,
    new: Vec<String>,
    /// For each new line the old one whose line end it takes.
    beside: Vec<usize>,
    /// Whether it belongs to the end of the file.
    at_end: bool,
}

/// Reads a patch.
pub(super) fn parse(input: &str) -> Result<Vec<Part>, String> {
    if input.len() > limits::PATCH_BYTES {
        return Err(format!("the patch is over {} bytes", limits::PATCH_BYTES));
    }
    let lines: Vec<&str> = input.trim().lines().collect();
    let inner = match lines.as_slice() {
        [first, inner @ .., last] if first.trim() == "*** Begin Patch" && last.trim() == "*** End Patch" => inner,
        _ => return Err("a patch begins with `*** Begin Patch` and ends with `*** End Patch`".to_string()),
    };
    let mut reader = Reader { lines: inner, at: 0 };
    let mut parts = Vec::new();
    while let Some(line) = reader.next() {
        if line.trim().is_empty() {
            continue;
        }
        parts.push(reader.part(line)?);
        if parts.len() > limits::PATCH_FILES {
            return Err(format!("the patch has over {} files", limits::PATCH_FILES));
        }
    }
    if parts.is_empty() { Err("the patch changes nothing".to_string()) } else { Ok(parts) }
}

struct Reader<'a> {
    lines: &'a [&'a str],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        let line = self.peek();
        self.at += 1;
        line
    }

    /// The next line, unless it begins the next file.
    fn body(&mut self) -> Option<&'a str> {
        let line = self.peek()?;
        let ends = line.starts_with("*** ") && line.trim_end() != "*** End of File";
        if ends { None } else { self.next() }
    }

    fn part(&mut self, head: &str) -> Result<Part, String> {
        // the head is the first line of the inner part
        let number = self.at + 1;
        let named = |prefix: &str| head.trim_end().strip_prefix(prefix).map(|path| path.trim().to_string());
        if let Some(path) = named("*** Add File: ") {
            return self.add(path);
        }
        if let Some(path) = named("*** Delete File: ") {
            return Ok(Part::Delete { path });
        }
        match named("*** Update File: ") {
            Some(path) => self.update(path),
            None => {
                Err(format!("line {number}: expected `*** Add File: `, `*** Delete File: ` or `*** Update File: `"))
            }
        }
    }

    fn add(&mut self, path: String) -> Result<Part, String> {
        let mut content = String::new();
        while let Some(line) = self.body() {
            let text = line.strip_prefix('+').ok_or_else(|| format!("{path}: lines of a new file begin with +"))?;
            content.push_str(text);
            content.push('\n');
        }
        Ok(Part::Add { path, content })
    }

    fn update(&mut self, path: String) -> Result<Part, String> {
        let to = self.peek().and_then(|line| line.trim_end().strip_prefix("*** Move to: "));
        let to = to.map(|to| to.trim().to_string());
        if to.is_some() {
            self.at += 1;
        }
        let mut hunks: Vec<Hunk> = Vec::new();
        while let Some(line) = self.body() {
            if let Some(anchor) = line.strip_prefix("@@") {
                let anchor = Some(anchor.trim().to_string()).filter(|anchor| !anchor.is_empty());
                hunks.push(Hunk { anchor, ..Hunk::default() });
                continue;
            }
            if hunks.is_empty() {
                hunks.push(Hunk::default());
            }
            let hunk = hunks.last_mut().ok_or("no hunk")?;
            hunk.line(line).map_err(|text| format!("{path}: {text}"))?;
        }
        hunks.retain(|hunk| !(hunk.old.is_empty() && hunk.new.is_empty()));
        if hunks.is_empty() && to.is_none() {
            return Err(format!("{path}: the update changes nothing"));
        }
        Ok(Part::Update { path, to, hunks })
    }
}

impl Hunk {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.trim_end() == "*** End of File" {
            self.at_end = true;
            return Ok(());
        }
        let mut chars = line.chars();
        let (mark, text) = (chars.next(), chars.as_str().to_string());
        match mark {
            // editors strip the blank of an empty context line
            Some(' ') | None => {
                self.old.push(text.clone());
                self.add(text);
            }
            Some('-') => self.old.push(text),
            Some('+') => self.add(text),
            Some(_) => return Err(format!("lines of a hunk begin with a blank, - or +, not {line:?}")),
        }
        Ok(())
    }

    fn add(&mut self, text: String) {
        self.beside.push(self.old.len().saturating_sub(1));
        self.new.push(text);
    }
}

/// The text with all hunks fitted in, each after the one before. Every line keeps its own end; a new one takes that of
/// the line beside it.
pub(super) fn apply(text: &str, hunks: &[Hunk]) -> Result<String, String> {
    let (lines, ends): (Vec<&str>, Vec<&str>) = text.split_inclusive('\n').map(without_end).unzip();
    let mut out: Vec<(&str, &str)> = Vec::with_capacity(lines.len());
    let old = |from: usize, to: usize| {
        let lines = lines.get(from..to).unwrap_or_default().iter().copied();
        lines.zip(ends.get(from..to).unwrap_or_default().iter().copied())
    };
    let mut at = 0;
    // bounds the work: hunks times lines times their lengths
    let mut budget = limits::PATCH_STEPS;
    for (number, hunk) in hunks.iter().enumerate() {
        let place = hunk.place(&lines, at, &mut budget).map_err(|text| format!("hunk {}: {text}", number + 1))?;
        out.extend(old(at, place));
        let before = if hunk.old.is_empty() { place.saturating_sub(1) } else { place };
        let end = |beside: &usize| ends.get(before + beside).copied().unwrap_or_default();
        out.extend(hunk.new.iter().map(String::as_str).zip(hunk.beside.iter().map(end)));
        at = place + hunk.old.len();
    }
    out.extend(old(at, lines.len()));
    let ended = text.is_empty() || text.ends_with('\n');
    let usual = ends.first().copied().filter(|end| !end.is_empty()).unwrap_or("\n");
    Ok(joined(&out, usual, ended))
}

/// A line and its end.
fn without_end(line: &str) -> (&str, &str) {
    let bare = line.strip_suffix('\n').map_or(line, |bare| bare.strip_suffix('\r').unwrap_or(bare));
    (bare, line.get(bare.len()..).unwrap_or_default())
}

/// The lines with their ends, the last one only when the text is `ended`.
fn joined(lines: &[(&str, &str)], usual: &str, ended: bool) -> String {
    let mut text = String::new();
    for (number, (line, end)) in lines.iter().enumerate() {
        text.push_str(line);
        if number + 1 < lines.len() || ended {
            text.push_str(if end.is_empty() { usual } else { end });
        }
    }
    text
}

impl Hunk {
    /// Where its old lines stand, at or after a line.
    fn place(&self, lines: &[&str], from: usize, budget: &mut usize) -> Result<usize, String> {
        let from = match &self.anchor {
            None => from,
            Some(anchor) => {
                let found = lines.iter().skip(from).position(|line| line.trim() == anchor.trim());
                spend(budget, found.unwrap_or(lines.len()))?;
                from + found.ok_or_else(|| format!("no line {anchor:?}"))? + 1
            }
        };
        if self.old.is_empty() {
            return Ok(if self.anchor.is_some() { from } else { lines.len() });
        }
        // exactly, then without blanks at the ends of lines, then without blanks around them
        let fits: [fn(&str, &str) -> bool; 3] =
            [|a, b| a == b, |a, b| a.trim_end() == b.trim_end(), |a, b| a.trim() == b.trim()];
        for same in fits {
            if let Some(found) = self.search(lines, from, same, budget)? {
                return Ok(found);
            }
        }
        let first = self.old.iter().find(|line| !line.trim().is_empty()).map_or("", String::as_str);
        Err(format!("its lines were not found, beginning with {first:?}"))
    }

    fn search(
        &self,
        lines: &[&str],
        from: usize,
        same: fn(&str, &str) -> bool,
        budget: &mut usize,
    ) -> Result<Option<usize>, String> {
        let Some(last) = lines.len().checked_sub(self.old.len()) else { return Ok(None) };
        let start = if self.at_end { last.max(from) } else { from };
        for at in start..=last {
            let here = lines.iter().skip(at).zip(&self.old);
            let alike = here.take_while(|(line, old)| same(line, old));
            let (count, bytes) = alike.fold((0, 1), |(count, bytes), (line, _)| (count + 1, bytes + line.len() + 1));
            spend(budget, bytes)?;
            if count == self.old.len() {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

fn spend(budget: &mut usize, bytes: usize) -> Result<(), String> {
    *budget = budget.checked_sub(bytes).ok_or("the patch takes too long to fit")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(text: &str, body: &str) -> Result<String, String> {
        let parts = parse(&format!("*** Begin Patch\n*** Update File: f\n{body}\n*** End Patch"))?;
        let [Part::Update { hunks, .. }] = parts.as_slice() else { panic!("one update") };
        apply(text, hunks)
    }

    #[test]
    fn reads_every_kind_of_part() {
        let input = "*** Begin Patch\n*** Add File: a/b\n+one\n+\n*** Delete File: c\n*** Update File: d\n*** Move to: e\n@@ fn x\n a\n-b\n+c\n*** End Patch\n";
        let parts = parse(input).unwrap();
        assert_eq!(parts[0], Part::Add { path: "a/b".into(), content: "one\n\n".into() });
        assert_eq!(parts[1], Part::Delete { path: "c".into() });
        let Part::Update { path, to, hunks } = &parts[2] else { panic!() };
        assert_eq!((path.as_str(), to.as_deref(), hunks.len()), ("d", Some("e"), 1));
        assert_eq!(
            (&hunks[0].anchor, &hunks[0].old, &hunks[0].new),
            (&Some("fn x".into()), &vec!["a".into(), "b".into()], &vec!["a".into(), "c".into()])
        );
    }

    #[test]
    fn what_is_no_patch_is_named() {
        for (input, part) in [
            ("", "begins with"),
            ("*** Begin Patch", "begins with"),
            ("*** Begin Patch\n*** End Patch", "changes nothing"),
            ("*** Begin Patch\nhello\n*** End Patch", "line 2: expected"),
            ("*** Begin Patch\n*** Add File: a\nx\n*** End Patch", "begin with +"),
            ("*** Begin Patch\n*** Update File: a\n*** End Patch", "changes nothing"),
            ("*** Begin Patch\n*** Update File: a\n@@\n=x\n*** End Patch", "begin with a blank"),
        ] {
            assert!(parse(input).unwrap_err().contains(part), "{input:?}: {:?}", parse(input));
        }
    }

    #[test]
    fn hunks_fit_in_order() {
        let text = "a\nb\nc\nd\ne\n";
        assert_eq!(patched(text, "@@\n b\n-c\n+C\n d").unwrap(), "a\nb\nC\nd\ne\n");
        assert_eq!(patched(text, "@@\n-a\n@@\n-e\n+E\n+F").unwrap(), "b\nc\nd\nE\nF\n");
        assert_eq!(patched("x\n1\ny\n1\n", "@@ y\n-1\n+2").unwrap(), "x\n1\ny\n2\n");
        assert_eq!(patched("1\n1\n", "@@\n-1\n+2\n*** End of File").unwrap(), "1\n2\n");
        assert_eq!(patched(text, "@@\n+end").unwrap(), "a\nb\nc\nd\ne\nend\n");
        assert_eq!(patched(text, "@@ b\n+after").unwrap(), "a\nb\nafter\nc\nd\ne\n");
        assert!(patched(text, "@@\n-e\n@@\n-a").unwrap_err().contains("hunk 2"), "order matters");
    }

    #[test]
    fn blanks_are_forgiven_and_line_ends_are_kept() {
        assert_eq!(patched("  a  \nb", "@@\n-a\n+x\n b").unwrap(), "x\nb");
        assert_eq!(patched("a\r\nb\r\n", "@@\n-b\n+c").unwrap(), "a\r\nc\r\n");
        assert_eq!(patched("a\nb\r\nc\nd\n", "@@\n b\n-c\n+C\n+D").unwrap(), "a\nb\r\nC\nD\nd\n", "each its own");
        assert_eq!(patched("a\r\nb\n", "@@\n+x\n a\n b").unwrap(), "x\r\na\r\nb\n");
        assert_eq!(patched("a\r\nb", "@@\n+c").unwrap(), "a\r\nb\r\nc");
        assert_eq!(patched("", "@@\n+a\n+b").unwrap(), "a\nb\n");
        assert_eq!(patched("a", "@@\n-a").unwrap(), "");
        assert!(patched("a\n", "@@\n-x").unwrap_err().contains("\"x\""));
    }

    #[test]
    fn patches_are_bounded() {
        assert!(parse(&"x".repeat(limits::PATCH_BYTES + 1)).unwrap_err().contains("over"));
        let many = "*** Delete File: x\n".repeat(limits::PATCH_FILES + 1);
        assert!(parse(&format!("*** Begin Patch\n{many}*** End Patch")).unwrap_err().contains("over"));
        let line = "x".repeat(999);
        let (text, lines) = (format!("{line}\n").repeat(500), 500);
        // Three ways to compare, at each place one step and the lines that are alike.
        let steps = |alike: usize| 3 * (lines - alike) * (1 + 1000 * alike);
        let most = (1..lines).take_while(|alike| steps(*alike) <= limits::PATCH_STEPS).count();
        let told = |alike: usize| patched(&text, &format!("@@\n{}-b", format!(" {line}\n").repeat(alike))).unwrap_err();
        assert!(told(most).contains("not found") && told(most + 1).contains("too long"), "{most}");
        let text = "a\n".repeat(20_000);
        let body = format!("@@\n{}-b", " a\n".repeat(10_000));
        assert!(patched(&text, &body).unwrap_err().contains("too long"), "quadratic work ends early");
        let anchors = "@@ z\n+x\n".repeat(20_000);
        let far = format!("{text}{}", "z\n".repeat(20_000));
        assert!(patched(&far, anchors.trim_end()).is_ok(), "each anchor is found after the one before");
    }
}
