//! The judgement whether a command runs, waits for an operator or is refused. Pure: policy and facts in, verdict out.
//!
//! Defaults (agent.md 17, advice): a turn that a channel started runs what the allowlist names and asks for the rest
//! (`allowlist`, `on-miss`, without an approver `deny`). A turn that an operator's own client started runs everything,
//! as the original does: the operator could type the command as well. Configuration, the approvals file and the session
//! each can only make this stricter than their own word allows; `full` for channels holds only where the operator
//! wrote it.

use std::path::{Path, PathBuf};

use super::command::{self, Opaque};
use super::safe;

/// What may run at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Security {
    /// Nothing.
    Deny,
    /// What the allowlist names.
    Allowlist,
    /// Everything.
    Full,
}

/// When an operator is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AskMode {
    /// Never.
    Off,
    /// When the allowlist does not name it.
    OnMiss,
    /// Always.
    Always,
}

impl Security {
    /// The wire's word.
    pub fn name(self) -> &'static str {
        match self {
            Security::Deny => "deny",
            Security::Allowlist => "allowlist",
            Security::Full => "full",
        }
    }

    /// Reads the wire's word.
    pub fn parse(text: &str) -> Option<Security> {
        let all = [Security::Deny, Security::Allowlist, Security::Full];
        all.into_iter().find(|one| one.name() == text.trim().to_ascii_lowercase())
    }
}

impl AskMode {
    /// The wire's word.
    pub fn name(self) -> &'static str {
        match self {
            AskMode::Off => "off",
            AskMode::OnMiss => "on-miss",
            AskMode::Always => "always",
        }
    }

    /// Reads the wire's word.
    pub fn parse(text: &str) -> Option<AskMode> {
        let all = [AskMode::Off, AskMode::OnMiss, AskMode::Always];
        all.into_iter().find(|one| one.name() == text.trim().to_ascii_lowercase())
    }
}

/// Who started the turn, directly or through another session's turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A client of the operator: command line, control UI, a program with the token.
    #[default]
    Operator,
    /// A message of a channel, a hook, or anything else a stranger may write.
    Channel,
}

/// What one place says; nothing said is no opinion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `security`.
    pub security: Option<Security>,
    /// `ask`.
    pub ask: Option<AskMode>,
    /// `askFallback`.
    pub ask_fallback: Option<Security>,
}

impl Rules {
    /// What a session says (`execSecurity`, `execAsk`); a word nobody knows is the strictest one, not none.
    pub fn of_session(security: Option<&str>, ask: Option<&str>) -> Rules {
        Rules {
            security: security.map(|word| Security::parse(word).unwrap_or(Security::Deny)),
            ask: ask.map(|word| AskMode::parse(word).unwrap_or(AskMode::Always)),
            ask_fallback: None,
        }
    }
}

/// The rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecPolicy {
    /// What may run.
    pub security: Security,
    /// When to ask.
    pub ask: AskMode,
    /// What holds when nobody can be asked.
    pub ask_fallback: Security,
}

impl ExecPolicy {
    /// The strictest of what all places say; what no place says comes from the origin.
    pub fn effective(origin: Origin, places: &[Rules]) -> ExecPolicy {
        let (security, ask) = match origin {
            Origin::Operator => (Security::Full, AskMode::Off),
            Origin::Channel => (Security::Allowlist, AskMode::OnMiss),
        };
        let security = places.iter().filter_map(|rules| rules.security).min().unwrap_or(security);
        let ask = places.iter().filter_map(|rules| rules.ask).max().unwrap_or(match security {
            // a list without asking would refuse in silence
            Security::Allowlist => AskMode::OnMiss,
            _ => ask,
        });
        let ask_fallback = places.iter().filter_map(|rules| rules.ask_fallback).min().unwrap_or(Security::Deny);
        ExecPolicy { security, ask, ask_fallback }
    }
}

/// What is known about a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Whether the allowlist and the safe filters cover every program.
    pub covered: bool,
    /// The program of the first segment.
    pub resolved_path: Option<PathBuf>,
    /// Programs that no entry covers: what `allow-always` would add.
    pub missing: Vec<PathBuf>,
    /// Entries that were used, each with its program.
    pub used: Vec<(String, PathBuf)>,
    /// Why it could not be read.
    pub opaque: Option<Opaque>,
    /// Whether it brings variables of its own.
    pub own_variables: bool,
}

/// Where a command would run.
pub struct Place<'a> {
    /// The directory.
    pub cwd: &'a Path,
    /// The search path.
    pub path: &'a str,
    /// The home, for patterns.
    pub home: &'a Path,
    /// Whether a path is a program.
    pub is_program: &'a dyn Fn(&Path) -> bool,
}

/// Reads a command against an allowlist.
pub fn examine(line: &str, allowlist: &[String], safe_bins: &[String], place: &Place<'_>) -> Facts {
    let segments = match command::segments(line) {
        Ok(segments) => segments,
        Err(opaque) => return Facts { opaque: Some(opaque), ..Facts::default() },
    };
    let mut facts = Facts { covered: true, ..Facts::default() };
    for segment in &segments {
        let word = segment.words.first().map_or("", String::as_str);
        let Some(resolved) = command::resolve(word, place.cwd, place.path, place.is_program) else {
            facts.covered = false;
            continue;
        };
        facts.resolved_path.get_or_insert_with(|| resolved.clone());
        let entry = allowlist.iter().find(|pattern| command::fits(pattern, &resolved, place.home));
        if let Some(pattern) = entry {
            facts.used.push((pattern.clone(), resolved));
        } else if !safe::is_safe(segment, &resolved, safe_bins) {
            facts.covered = false;
            facts.missing.push(resolved);
        }
    }
    facts
}

/// What happens to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Run,
    /// An operator decides.
    Ask,
    /// It does not run; the text is for the model.
    Refuse(String),
}

/// The judgement before anybody was asked.
pub fn judge(policy: ExecPolicy, facts: &Facts) -> Verdict {
    match (policy.security, policy.ask) {
        (Security::Deny, _) => Verdict::Refuse("exec denied: commands are switched off (security=deny)".to_string()),
        (_, AskMode::Always) => Verdict::Ask,
        (Security::Full, _) => Verdict::Run,
        (Security::Allowlist, _) if facts.covered => Verdict::Run,
        (Security::Allowlist, AskMode::OnMiss) => Verdict::Ask,
        (Security::Allowlist, AskMode::Off) => Verdict::Refuse(format!("exec denied: {}", miss(facts))),
    }
}

/// The judgement when nobody can be asked, or nobody answered: whether it runs, and if not, why.
pub fn fallback(policy: ExecPolicy, facts: &Facts, reason: &str) -> Verdict {
    match policy.ask_fallback.min(policy.security) {
        Security::Full => Verdict::Run,
        Security::Allowlist if facts.covered => Verdict::Run,
        _ => Verdict::Refuse(format!("exec denied: approval needed ({}), but {reason}", miss(facts))),
    }
}

fn miss(facts: &Facts) -> String {
    match (&facts.opaque, facts.missing.first()) {
        (Some(opaque), _) => format!("the allowlist cannot cover {opaque}"),
        (None, Some(path)) => format!("not in the allowlist: {}", path.display()),
        (None, None) if facts.own_variables => "the allowlist cannot cover variables given with env".to_string(),
        (None, None) if facts.covered => "every command is asked for".to_string(),
        (None, None) => "a program was not found".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examine_here(line: &str, allowlist: &[&str]) -> Facts {
        let is_program = |path: &Path| path.starts_with("/usr/bin") || path == Path::new("/w/run.sh");
        let place =
            Place { cwd: Path::new("/w"), path: "/usr/bin", home: Path::new("/home/me"), is_program: &is_program };
        let allowlist: Vec<String> = allowlist.iter().map(|text| text.to_string()).collect();
        let safe: Vec<String> = safe::names().map(String::from).collect();
        examine(line, &allowlist, &safe, &place)
    }

    fn rules(security: Option<Security>, ask: Option<AskMode>) -> Rules {
        Rules { security, ask, ask_fallback: None }
    }

    #[test]
    fn every_program_of_the_line_must_be_covered() {
        let list = ["/usr/bin/git", "/w/*"];
        for (line, covered) in [
            ("git status", true),
            ("git log | head -5 | wc -l", true),
            ("./run.sh && git pull", true),
            ("git log | sh", false),
            ("git log; rm -rf x", false),
            ("git log > x", false),
            ("GIT_SSH=x git pull", false),
            ("nosuch/program", false),
            ("", false),
        ] {
            assert_eq!(examine_here(line, &list).covered, covered, "{line}");
        }
        let facts = examine_here("git log | python x", &list);
        assert_eq!(facts.resolved_path, Some("/usr/bin/git".into()));
        assert_eq!(facts.missing, [PathBuf::from("/usr/bin/python")]);
        assert_eq!(facts.used, [("/usr/bin/git".to_string(), "/usr/bin/git".into())]);
    }

    #[test]
    fn the_strictest_word_holds() {
        use {AskMode::*, Security::*};
        let table = [
            (Origin::Operator, vec![], (Full, Off)),
            (Origin::Channel, vec![], (Allowlist, OnMiss)),
            (Origin::Channel, vec![rules(Some(Full), None)], (Full, OnMiss)),
            (Origin::Channel, vec![rules(Some(Full), Some(Off))], (Full, Off)),
            (Origin::Channel, vec![rules(Some(Full), Some(Off)), rules(Some(Deny), None)], (Deny, Off)),
            (Origin::Operator, vec![rules(Some(Allowlist), None)], (Allowlist, OnMiss)),
            (Origin::Operator, vec![rules(None, Some(Always)), rules(None, Some(Off))], (Full, Always)),
        ];
        for (origin, places, (security, ask)) in table {
            let expected = ExecPolicy { security, ask, ask_fallback: Deny };
            assert_eq!(ExecPolicy::effective(origin, &places), expected, "{origin:?} {places:?}");
        }
        let both = [Full, Allowlist].map(|security| Rules { ask_fallback: Some(security), ..Rules::default() });
        assert_eq!(ExecPolicy::effective(Origin::Channel, &both).ask_fallback, Allowlist);
    }

    #[test]
    fn the_table_of_verdicts() {
        use {AskMode::*, Security::*};
        let (yes, no) = (examine_here("wc -l", &[]), examine_here("rm x", &[]));
        let verdict = |security, ask, facts: &Facts| judge(ExecPolicy { security, ask, ask_fallback: Deny }, facts);
        for ask in [Off, OnMiss, Always] {
            assert!(matches!(verdict(Deny, ask, &yes), Verdict::Refuse(_)), "{ask:?}");
        }
        for (security, ask, facts, expected) in [
            (Full, Off, &no, Verdict::Run),
            (Full, OnMiss, &no, Verdict::Run),
            (Full, Always, &yes, Verdict::Ask),
            (Allowlist, Off, &yes, Verdict::Run),
            (Allowlist, OnMiss, &yes, Verdict::Run),
            (Allowlist, OnMiss, &no, Verdict::Ask),
            (Allowlist, Always, &yes, Verdict::Ask),
            (Allowlist, Off, &no, Verdict::Refuse("exec denied: not in the allowlist: /usr/bin/rm".into())),
        ] {
            assert_eq!(verdict(security, ask, facts), expected, "{security:?} {ask:?}");
        }
    }

    #[test]
    fn without_an_approver_the_fallback_holds_and_never_opens_more_than_security() {
        use {AskMode::OnMiss, Security::*};
        let (yes, no) = (examine_here("wc -l", &[]), examine_here("ls > x", &[]));
        let run = |security, ask_fallback, facts: &Facts| {
            fallback(ExecPolicy { security, ask: OnMiss, ask_fallback }, facts, "nobody is there")
        };
        assert_eq!(run(Full, Full, &no), Verdict::Run);
        assert_eq!(run(Allowlist, Allowlist, &yes), Verdict::Run);
        assert!(matches!(run(Allowlist, Full, &no), Verdict::Refuse(_)), "a fallback is no way around the list");
        let text = "exec denied: approval needed (the allowlist cannot cover redirections), but nobody is there";
        assert_eq!(run(Allowlist, Deny, &no), Verdict::Refuse(text.into()));
    }

    #[test]
    fn words_are_read_back() {
        for security in [Security::Deny, Security::Allowlist, Security::Full] {
            assert_eq!(Security::parse(&security.name().to_uppercase()), Some(security));
        }
        for ask in [AskMode::Off, AskMode::OnMiss, AskMode::Always] {
            assert_eq!(AskMode::parse(ask.name()), Some(ask));
        }
        assert_eq!((Security::parse("all"), AskMode::parse("")), (None, None));
    }
}
