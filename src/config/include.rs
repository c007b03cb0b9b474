//! `$include`: other files standing in for an object (lifecycle.md 3).
//! Owns merging, confinement to the configuration directory, and the bounds on depth and number of files.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::json5::{self, ParseError};
use super::paths::normalize;
use crate::limits;

const KEY: &str = "$include";

/// A configuration with its includes merged, and the files they came from.
#[derive(Debug)]
pub struct Included {
    /// The merged value.
    pub value: Value,
    /// Included files in the order they were read, each once.
    pub files: Vec<PathBuf>,
}

/// An included file: as written, and what that means.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// The path as written.
    pub written: String,
    /// The absolute path.
    pub resolved: PathBuf,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (resolved: {})", self.written, self.resolved.display())
    }
}

/// Why includes could not be resolved.
#[derive(Debug)]
pub enum IncludeError {
    /// A file includes itself, directly or not.
    Circular(Vec<PathBuf>),
    /// Includes are nested too deeply.
    Depth(PathBuf),
    /// One configuration includes too many files.
    Files(PathBuf),
    /// The path leaves the directory of the configuration.
    Outside(Place),
    /// The file cannot be read.
    Read(Place, io::Error),
    /// The file is not configuration.
    Parse(Place, ParseError),
    /// There are other keys beside an include that is no object.
    Siblings,
    /// The value of `$include` is neither text nor a list of texts.
    Invalid(&'static str),
    /// Includes built a value deeper than one file may be.
    Nesting,
}

impl fmt::Display for IncludeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use IncludeError as E;
        match self {
            E::Circular(chain) => {
                let chain: Vec<String> = chain.iter().map(|path| path.display().to_string()).collect();
                write!(f, "Circular include detected: {}", chain.join(" -> "))
            }
            E::Depth(path) => {
                write!(f, "Maximum include depth ({}) exceeded at: {}", limits::INCLUDE_DEPTH, path.display())
            }
            E::Files(path) => {
                write!(
                    f,
                    "Maximum number of included files ({}) exceeded at: {}",
                    limits::INCLUDE_FILES,
                    path.display()
                )
            }
            E::Outside(place) => write!(f, "Include path leaves the config directory: {place}"),
            E::Read(place, source) => write!(f, "Failed to read include file: {place}: {source}"),
            E::Parse(place, source) => write!(f, "Failed to parse include file: {place}: {source}"),
            E::Siblings => f.write_str("Sibling keys require included content to be an object"),
            E::Invalid(found) => {
                write!(f, "Invalid $include value: expected string or array of strings, got {found}")
            }
            E::Nesting => write!(f, "nesting is deeper than {} levels after includes", limits::CONFIG_DEPTH),
        }
    }
}

impl std::error::Error for IncludeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IncludeError::Read(_, source) => Some(source),
            IncludeError::Parse(_, source) => Some(source),
            _ => None,
        }
    }
}

/// Resolves every `$include` of `value`, which was read from `file`; nothing outside its directory is read.
pub fn resolve(value: Value, file: &Path) -> Result<Included, IncludeError> {
    let root = file.parent().unwrap_or(Path::new("/")).to_path_buf();
    let real_root = fs::canonicalize(&root).unwrap_or_else(|_| root.clone());
    let mut work = Work { root, real_root, stack: vec![normalize(file)], files: Vec::new(), reads: 0 };
    let value = work.value(value, 0)?;
    Ok(Included { value, files: work.files })
}

struct Work {
    root: PathBuf,
    real_root: PathBuf,
    stack: Vec<PathBuf>,
    files: Vec<PathBuf>,
    reads: usize,
}

impl Work {
    fn value(&mut self, value: Value, depth: usize) -> Result<Value, IncludeError> {
        if depth > limits::CONFIG_DEPTH {
            return Err(IncludeError::Nesting);
        }
        match value {
            Value::Array(items) => {
                let items: Result<Vec<Value>, _> = items.into_iter().map(|item| self.value(item, depth + 1)).collect();
                Ok(Value::Array(items?))
            }
            Value::Object(members) => self.object(members, depth),
            other => Ok(other),
        }
    }

    fn object(&mut self, mut members: Map<String, Value>, depth: usize) -> Result<Value, IncludeError> {
        let include = members.remove(KEY);
        let mut own = Map::new();
        for (name, value) in members {
            own.insert(name, self.value(value, depth + 1)?);
        }
        let Some(include) = include else { return Ok(Value::Object(own)) };
        let included = self.include(include, depth)?;
        if own.is_empty() {
            return Ok(included);
        }
        if !included.is_object() {
            return Err(IncludeError::Siblings);
        }
        Ok(merge(included, Value::Object(own)))
    }

    fn include(&mut self, include: Value, depth: usize) -> Result<Value, IncludeError> {
        match include {
            Value::String(written) => self.file(&written, depth),
            Value::Array(items) => {
                let mut merged = Value::Object(Map::new());
                for item in items {
                    let Value::String(written) = item else { return Err(IncludeError::Invalid("a list with others")) };
                    merged = merge(merged, self.file(&written, depth)?);
                }
                Ok(merged)
            }
            other => Err(IncludeError::Invalid(type_name(&other))),
        }
    }

    fn file(&mut self, written: &str, depth: usize) -> Result<Value, IncludeError> {
        let path = self.locate(written)?;
        if self.stack.contains(&path) {
            let mut chain = self.stack.clone();
            chain.push(path);
            return Err(IncludeError::Circular(chain));
        }
        if self.stack.len() > limits::INCLUDE_DEPTH {
            return Err(IncludeError::Depth(path));
        }
        self.reads += 1;
        if self.reads > limits::INCLUDE_FILES {
            return Err(IncludeError::Files(path));
        }
        let value = self.read(written, &path)?;
        if !self.files.contains(&path) {
            self.files.push(path.clone());
        }
        self.stack.push(path);
        let value = self.value(value, depth);
        self.stack.pop();
        value
    }

    fn read(&self, written: &str, path: &Path) -> Result<Value, IncludeError> {
        let place = || Place { written: written.to_string(), resolved: path.to_path_buf() };
        let text = read_text(path).map_err(|source| IncludeError::Read(place(), source))?;
        let parsed = json5::parse(&text).map_err(|source| IncludeError::Parse(place(), source))?;
        Ok(parsed.value)
    }

    /// The absolute path of an include; both the written path and what it points to must stay inside.
    fn locate(&self, written: &str) -> Result<PathBuf, IncludeError> {
        let base = self.stack.last().and_then(|file| file.parent()).unwrap_or(&self.root);
        let path = normalize(&base.join(written));
        let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        let root = normalize(&self.root);
        if path.starts_with(&root) && (real.starts_with(&self.real_root) || real == path) {
            return Ok(path);
        }
        Err(IncludeError::Outside(Place { written: written.to_string(), resolved: path }))
    }
}

/// Reads a regular file of at most the allowed size.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let limit = u64::try_from(limits::CONFIG_BYTES).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_string(&mut text)?;
    Ok(text)
}

/// Objects merge member by member, lists are joined, otherwise the later value wins (lifecycle.md 3).
fn merge(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Object(mut first), Value::Object(second)) => {
            for (name, value) in second {
                let merged = match first.remove(&name) {
                    Some(old) => merge(old, value),
                    None => value,
                };
                first.insert(name, merged);
            }
            Value::Object(first)
        }
        (Value::Array(mut first), Value::Array(second)) => {
            first.extend(second);
            Value::Array(first)
        }
        (_, second) => second,
    }
}

/// The name of a value's type as messages use it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::testing::TempDir;

    fn run(dir: &TempDir, files: &[(&str, &str)]) -> Result<Included, IncludeError> {
        for (name, text) in files {
            dir.write(name, text);
        }
        let main = dir.path().join("openclaw.json");
        resolve(json5::parse(&fs::read_to_string(&main).unwrap()).unwrap().value, &main)
    }

    fn error(files: &[(&str, &str)]) -> String {
        let dir = TempDir::new("include");
        let text = run(&dir, files).unwrap_err().to_string();
        text.replace(&dir.path().display().to_string(), "DIR")
    }

    #[test]
    fn merges_objects_joins_lists_and_lets_siblings_win() {
        let dir = TempDir::new("include");
        let included = run(
            &dir,
            &[
                (
                    "openclaw.json",
                    "{ a: { $include: ['one.json', 'sub/two.json'], y: 3, l: [9] }, b: {$include: 'one.json'} }",
                ),
                ("one.json", "{ x: 1, y: 1, o: { p: 1 }, l: [1] }"),
                ("sub/two.json", "{ y: 2, o: { q: 2 }, l: [2], $include: './three.json' }"),
                ("sub/three.json", "{ z: 5 }"),
            ],
        )
        .unwrap();
        let expected = json!({"a": {"x": 1, "y": 3, "z": 5, "o": {"p": 1, "q": 2}, "l": [1, 2, 9]},
            "b": {"x": 1, "y": 1, "o": {"p": 1}, "l": [1]}});
        assert_eq!(included.value, expected);
        let names: Vec<_> = included.files.iter().map(|f| f.strip_prefix(dir.path()).unwrap().to_owned()).collect();
        assert_eq!(names, ["one.json", "sub/two.json", "sub/three.json"].map(PathBuf::from));
    }

    #[test]
    fn says_what_is_wrong_in_the_words_of_the_original() {
        let main = "openclaw.json";
        assert_eq!(
            error(&[(main, "{$include: 'a.json'}"), ("a.json", "{$include: 'openclaw.json'}")]),
            "Circular include detected: DIR/openclaw.json -> DIR/a.json -> DIR/openclaw.json"
        );
        assert!(
            error(&[(main, "{$include: 'no.json'}")])
                .starts_with("Failed to read include file: no.json (resolved: DIR/no.json): ")
        );
        assert_eq!(
            error(&[(main, "{$include: 'a.json'}"), ("a.json", "{")]),
            "Failed to parse include file: a.json (resolved: DIR/a.json): 1:1: expected '}' to close the object that starts here"
        );
        assert_eq!(
            error(&[(main, "{$include: 'a.json', b: 1}"), ("a.json", "[1]")]),
            "Sibling keys require included content to be an object"
        );
        assert_eq!(
            error(&[(main, "{$include: 5}")]),
            "Invalid $include value: expected string or array of strings, got number"
        );
    }

    #[test]
    fn depth_is_ten_files() {
        let chain = |n: usize| {
            let mut files = vec![("openclaw.json".to_string(), "{$include: '0.json'}".to_string())];
            files.extend((0..n).map(|i| (format!("{i}.json"), format!("{{$include: '{}.json'}}", i + 1))));
            files.push((format!("{n}.json"), "{}".to_string()));
            files
        };
        let borrowed = |files: &[(String, String)]| -> Result<Included, IncludeError> {
            let list: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            run(&TempDir::new("depth"), &list)
        };
        assert!(borrowed(&chain(9)).is_ok());
        assert!(
            borrowed(&chain(limits::INCLUDE_DEPTH))
                .unwrap_err()
                .to_string()
                .starts_with("Maximum include depth (10) exceeded at: ")
        );
    }

    #[test]
    fn the_number_of_reads_is_bounded() {
        let text = format!("{{$include: [{}]}}", "'a.json',".repeat(limits::INCLUDE_FILES + 1));
        assert!(
            error(&[("openclaw.json", &text), ("a.json", "{}")]).starts_with("Maximum number of included files (64)")
        );
    }

    #[test]
    fn nesting_counts_across_files() {
        let nest = |inner: &str| format!("{}{inner}{}", "{a:".repeat(40), "}".repeat(40));
        let text = error(&[("openclaw.json", &nest("{$include: 'a.json'}")), ("a.json", &nest("1"))]);
        assert_eq!(text, "nesting is deeper than 64 levels after includes");
    }

    #[test]
    fn nothing_outside_the_directory_is_read() {
        let outside = "Include path leaves the config directory: ";
        assert!(error(&[("openclaw.json", "{$include: '../x.json'}")]).starts_with(outside));
        assert!(error(&[("openclaw.json", "{$include: '/etc/passwd'}")]).starts_with(outside));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_does_not_lead_outside() {
        let dir = TempDir::new("link");
        let other = TempDir::new("target");
        other.write("secret.json", "{}");
        std::os::unix::fs::symlink(other.path().join("secret.json"), dir.path().join("link.json")).unwrap();
        let error = run(&dir, &[("openclaw.json", "{$include: 'link.json'}")]).unwrap_err();
        assert!(error.to_string().starts_with("Include path leaves the config directory: "), "{error}");
    }
}
