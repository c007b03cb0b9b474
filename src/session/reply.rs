//! What commands do to an entry and what they answer, in our own words (agent.md 12). Pure; lines with other parts'
//! numbers (queue, runs, models) get those as values.

use std::fmt::Write;

use serde_json::Value;

use crate::store::session::entry::Entry;

use super::command::{Command, QueueWish, TABLE, Wish};
use super::key::SessionKey;
use super::{patch, queue};

/// A switch that was used: the entry to store, and the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The entry, changed or not.
    pub entry: Entry,
    /// The answer.
    pub text: String,
}

/// Carries out a command that only changes switches; `None` for all others.
pub fn switch(command: &Command, entry: &Entry, config: &Value, now_ms: u64) -> Option<Switched> {
    let mut changed = entry.clone();
    let text = match command {
        Command::Think(wish) => {
            let options = format!("{}, xhigh", patch::THINKING.replace('|', ", "));
            set(&mut changed, wish, "thinkingLevel", "Thinking", "off", &options)
        }
        Command::Verbose(wish) => set(&mut changed, wish, "verboseLevel", "Verbose", "off", "on, full, off"),
        Command::Reasoning(wish) => set(&mut changed, wish, "reasoningLevel", "Reasoning", "off", "on, off, stream"),
        Command::Usage(wish) => set(&mut changed, wish, "responseUsage", "Usage footer", "off", "off, tokens, full"),
        Command::Send(Wish::Set("inherit")) => {
            changed.clear("sendPolicy");
            "Sending follows the configuration.".to_string()
        }
        Command::Send(wish) => set(&mut changed, wish, "sendPolicy", "Sending", "as configured", "on, off, inherit"),
        Command::Activation(wish) => {
            set(&mut changed, wish, "groupActivation", "Group activation", "mention", "mention, always")
        }
        Command::Queue(wish) => queue(&mut changed, wish, config),
        _ => return None,
    };
    if changed != *entry {
        changed.touch(now_ms);
    }
    Some(Switched { entry: changed, text })
}

fn set(entry: &mut Entry, wish: &Wish, field: &str, name: &str, usual: &str, options: &str) -> String {
    match wish {
        Wish::Show => {
            let now = entry.text(field).map_or(usual.to_string(), |value| value.into_owned());
            format!("{name}: {now}. Options: {options}.")
        }
        Wish::Unknown(word) => format!("{name} knows no \"{}\". Options: {options}.", short(word)),
        Wish::Set(value) => {
            // `off` is no choice for these two: the entry of the original has nothing then
            let plain = *value == "off" && matches!(field, "reasoningLevel" | "responseUsage" | "thinkingLevel");
            entry.put(field, (!plain).then_some(*value));
            format!("{name}: {value}.")
        }
    }
}

fn queue(entry: &mut Entry, wish: &QueueWish, config: &Value) -> String {
    if wish.clear {
        for name in ["queueMode", "queueDebounceMs", "queueCap", "queueDrop"] {
            entry.clear(name);
        }
    }
    if let Some(mode) = wish.mode {
        entry.set("queueMode", mode);
    }
    if let Some(millis) = wish.debounce_ms {
        entry.set("queueDebounceMs", millis);
    }
    if let Some(cap) = wish.cap {
        entry.set("queueCap", cap);
    }
    if let Some(drop) = wish.drop {
        entry.set("queueDrop", drop);
    }
    let mut text = format!("Queue: {}.", queue::Rules::of(config, Some(entry), "webchat", None).describe());
    if let Some(word) = wish.unknown.first() {
        put(&mut text, format_args!(" Not understood: \"{}\".", short(word)));
    }
    text.push_str(
        " Modes: collect, followup, steer, steer-backlog, interrupt; debounce:2s, cap:20, drop:old|new|summarize.",
    );
    text
}

/// The answer of `/help`.
pub fn help() -> String {
    let line = |category: &str| {
        let names: Vec<String> = TABLE
            .iter()
            .filter(|row| row.category == category && row.name != "help")
            .map(|row| format!("/{}", row.name))
            .collect();
        names.join("  ")
    };
    format!(
        "Conversation: {}\nOptions: {}\nAbout: {}\n\nSend \"stop\" to stop a run; /commands explains each command.",
        line("session"),
        line("options"),
        line("status")
    )
}

/// The answer of `/commands`.
pub fn commands() -> String {
    let mut text = String::new();
    for row in TABLE {
        let gap = if row.args.is_empty() { "" } else { " " };
        put(&mut text, format_args!("/{}{gap}{} - {}\n", row.name, row.args, row.doc));
    }
    text.trim_end().to_string()
}

/// The answer of `/whoami`.
pub fn whoami(channel: &str, sender: &str, owner: bool) -> String {
    let rights = if owner { "may use commands" } else { "may not use commands" };
    format!("Channel: {channel}\nSender: {sender}\nThis sender {rights}.")
}

/// What `/status` knows beyond the entry.
#[derive(Clone, Debug, Default)]
pub struct Status<'a> {
    /// This program's version.
    pub version: &'a str,
    /// The model, `provider/model`.
    pub model: &'a str,
    /// Where its key comes from, masked.
    pub key_source: Option<&'a str>,
    /// Size of its context.
    pub window: Option<u64>,
    /// What runs the turns, such as `direct` or the name of a command-line backend.
    pub runtime: &'a str,
    /// What happens to messages during a turn.
    pub queue: &'a str,
    /// Messages waiting.
    pub queued: usize,
    /// Whether a run is going on.
    pub running: bool,
}

/// The answer of `/status`.
pub fn status(key: &SessionKey, entry: &Entry, status: &Status<'_>, now_ms: u64) -> String {
    let source = status.key_source.map_or(String::new(), |source| format!(" (key: {source})"));
    let used = entry.number("totalTokens").unwrap_or(0);
    let window = status.window.or_else(|| entry.number("contextTokens"));
    let switch = |name: &str| entry.text(name).map_or("off".to_string(), |level| level.into_owned());
    let mut text = format!("OpenClaw {}\nModel: {}{source}\n", status.version, status.model);
    put(&mut text, format_args!("Context: {}\n", context_words(used, window)));
    let (input, output) = (entry.number("inputTokens").unwrap_or(0), entry.number("outputTokens").unwrap_or(0));
    put(&mut text, format_args!("Last turn: {} in, {} out\n", count(input), count(output)));
    put(&mut text, format_args!("Compactions: {}\n", entry.number("compactionCount").unwrap_or(0)));
    let age = now_ms.saturating_sub(entry.updated_ms());
    put(&mut text, format_args!("Session: {key}, used {}\n", ago(age)));
    put(
        &mut text,
        format_args!(
            "Runtime: {}, thinking {}, verbose {}\n",
            status.runtime,
            switch("thinkingLevel"),
            switch("verboseLevel")
        ),
    );
    let state = if status.running { "running" } else { "idle" };
    put(&mut text, format_args!("Queue: {}; {} waiting, {state}", status.queue, status.queued));
    text
}

/// `10/200k (0%)`.
pub fn context_words(used: u64, window: Option<u64>) -> String {
    match window.filter(|window| *window > 0) {
        Some(window) => {
            let percent = used.saturating_mul(100) / window;
            format!("{} of {} ({percent}%)", count(used), count(window))
        }
        None => count(used),
    }
}

/// The answer of `/model name`.
pub fn model_set(provider: &str, model: &str) -> String {
    format!("Model set to {provider}/{model}.")
}

/// The answer of `/model` without a name: the numbers work with `/model`, too.
pub fn models(current: &str, list: impl Iterator<Item = (usize, String)>) -> String {
    let mut text = format!("Model: {current}\n");
    for (at, name) in list {
        put(&mut text, format_args!("{}. {name}\n", at + 1));
    }
    text.push_str("Choose with /model <name|number>; /model default goes back.");
    text
}

/// The footer under an answer, when the session wants one.
pub fn footer(mode: &str, input: u64, output: u64, cost: f64) -> Option<String> {
    let tokens = format!("{} in, {} out", count(input), count(output));
    match mode {
        "tokens" | "on" => Some(format!("Usage: {tokens}")),
        "full" if cost > 0.0 => Some(format!("Usage: {tokens}, cost {cost:.4}")),
        "full" => Some(format!("Usage: {tokens}")),
        _ => None,
    }
}

/// `950`, `12k`, `1.5m`.
pub fn count(tokens: u64) -> String {
    match tokens {
        0..1_000 => tokens.to_string(),
        1_000..10_000 if !tokens.is_multiple_of(1000) => format!("{}.{}k", tokens / 1000, tokens % 1000 / 100),
        1_000..1_000_000 => format!("{}k", tokens / 1000),
        _ => format!("{}.{}m", tokens / 1_000_000, tokens % 1_000_000 / 100_000),
    }
}

/// `just now`, `5 minutes ago`.
pub fn ago(millis: u64) -> String {
    let minutes = millis / 60_000;
    let (number, unit) = match minutes {
        0 => return "just now".to_string(),
        1..60 => (minutes, "minute"),
        60..1440 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

/// A foreign word in an answer.
fn short(word: &str) -> String {
    super::preview::cut(word, 40)
}

fn put(text: &mut String, piece: std::fmt::Arguments<'_>) {
    text.write_fmt(piece).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::command::{Parsed, parse};
    use crate::session::key::KeyRules;
    use crate::store::session::object::Object;

    fn used(entry: &str, text: &str) -> (String, String) {
        let entry = Entry::from(Object::parse(entry).unwrap());
        let Parsed::Command(command) = parse(text, &[]) else { panic!("{text}") };
        let done = switch(&command, &entry, &Value::Null, 9).unwrap();
        (done.entry.print(), done.text)
    }

    #[test]
    fn switches_are_stored_as_the_original_stores_them() {
        let used = |entry: &str, text: &str| used(entry, text).0;
        assert_eq!(used(r#"{"updatedAt":1}"#, "/think high"), r#"{"updatedAt":9,"thinkingLevel":"high"}"#);
        assert_eq!(used(r#"{"updatedAt":1,"thinkingLevel":"high"}"#, "/think off"), r#"{"updatedAt":9}"#);
        assert_eq!(used(r#"{"updatedAt":1}"#, "/verbose: off"), r#"{"updatedAt":9,"verboseLevel":"off"}"#);
        assert_eq!(used(r#"{"updatedAt":1,"sendPolicy":"deny"}"#, "/send inherit"), r#"{"updatedAt":9}"#);
        assert_eq!(used(r#"{"updatedAt":1}"#, "/think hugely"), r#"{"updatedAt":1}"#);
        let queue = used(r#"{"updatedAt":1}"#, "/queue interrupt cap:3");
        assert_eq!(queue, r#"{"updatedAt":9,"queueMode":"interrupt","queueCap":3}"#);
    }

    #[test]
    fn answers_say_what_is_and_what_could_be() {
        let used = |entry: &str, text: &str| used(entry, text).1;
        assert_eq!(used("{}", "/think"), "Thinking: off. Options: off, minimal, low, medium, high, xhigh.");
        assert_eq!(used(r#"{"verboseLevel":"full"}"#, "/verbose"), "Verbose: full. Options: on, full, off.");
        assert_eq!(used("{}", "/usage full"), "Usage footer: full.");
        assert!(used("{}", &format!("/verbose {}", "x".repeat(500))).len() < 120);
        assert!(used("{}", "/queue nonsense").contains("Not understood: \"nonsense\""));
    }

    #[test]
    fn the_status_is_lines_of_numbers() {
        let key = KeyRules { default_agent: "main".into(), main_key: "main".into(), global: false }
            .canonical("main")
            .unwrap();
        let entry = Entry::from(Object::parse(r#"{"updatedAt":0,"totalTokens":12345,"thinkingLevel":"low"}"#).unwrap());
        let about = Status {
            version: "1",
            model: "p/m",
            key_source: Some("env"),
            window: Some(200_000),
            runtime: "direct",
            ..Status::default()
        };
        let text = status(&key, &entry, &about, 7_200_000);
        for line in [
            "Model: p/m (key: env)",
            "Context: 12k of 200k (6%)",
            "Session: agent:main:main, used 2 hours ago",
            "Runtime: direct, thinking low, verbose off",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn help_names_every_command() {
        let told =
            |row: &&crate::session::command::Row| ["help", "approve"].contains(&row.name) || help().contains(row.name);
        assert!(TABLE.iter().all(|row| told(&row)));
        assert_eq!(commands().lines().count(), TABLE.len());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 999, 1000, 1500, 12_345, 1_500_000].map(count), ["0", "999", "1k", "1.5k", "12k", "1.5m"]);
        assert_eq!(
            [0, 60_000, 7_200_000, 200_000_000].map(ago),
            ["just now", "1 minute ago", "2 hours ago", "2 days ago"]
        );
        assert_eq!(footer("full", 10, 20, 0.5).unwrap(), "Usage: 10 in, 20 out, cost 0.5000");
        assert_eq!(footer("off", 1, 1, 1.0), None);
        assert_eq!(model_set("p", "m"), "Model set to p/m.");
    }
}
