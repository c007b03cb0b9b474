//! Slash commands in a message (agent.md 12): which command, with what words. Pure parsing; effects on entries are in
//! [`super::reply`], runs are stopped and started elsewhere.

use serde_json::Value;

use crate::limits;

use super::patch;
use super::queue::{Mode, Overflow};

/// Words that stop a run when they are the whole message (agent.md 5).
const STOP_WORDS: [&str; 6] = ["stop", "esc", "abort", "wait", "exit", "interrupt"];

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `/help`.
    Help,
    /// `/commands`.
    Commands,
    /// `/status`.
    Status,
    /// `/whoami`, `/id`.
    Whoami,
    /// `/new`, `/reset` and configured words; what follows is the first message of the new conversation.
    New(String),
    /// `/stop` and the stop words.
    Stop,
    /// `/model`: show, or choose.
    Model(ModelWish),
    /// `/models`, perhaps of one provider.
    Models(Option<String>),
    /// `/think`.
    Think(Wish),
    /// `/verbose`.
    Verbose(Wish),
    /// `/reasoning`.
    Reasoning(Wish),
    /// `/usage`.
    Usage(Wish),
    /// `/queue`.
    Queue(QueueWish),
    /// `/send on|off|inherit`.
    Send(Wish),
    /// `/activation mention|always`.
    Activation(Wish),
    /// `/compact`, perhaps with instructions.
    Compact(Option<String>),
    /// `/approve <id> <decision>`.
    Approve {
        /// The request.
        id: String,
        /// The decision, if it is one.
        decision: Option<&'static str>,
    },
}

/// A switch: look at it, set it, or a word that is no value of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// No word.
    Show,
    /// A value.
    Set(&'static str),
    /// Another word.
    Unknown(String),
}

/// What `/model` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelWish {
    /// No word, `status`, `list`.
    Show,
    /// A name, an alias or a number of the list.
    Set(String),
    /// Back to the default.
    Default,
}

/// What `/queue` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueWish {
    /// The mode.
    pub mode: Option<&'static str>,
    /// Milliseconds to wait for more.
    pub debounce_ms: Option<u64>,
    /// Messages held.
    pub cap: Option<u64>,
    /// What is dropped beyond.
    pub drop: Option<&'static str>,
    /// Whether the session's own settings go.
    pub clear: bool,
    /// Words that are none of these.
    pub unknown: Vec<String>,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Nothing but a command.
    Command(Command),
    /// A message; switches that stood in it hold for this turn and are taken out.
    Message {
        /// The text for the model.
        text: String,
        /// Switches for this turn.
        hints: Vec<Command>,
    },
}

/// One line of `/commands` and of `commands.list`.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name without the slash.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Its words, for people.
    pub args: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// `session`, `options`, `status` or `tools`.
    pub category: &'static str,
    read: fn(&str) -> Command,
}

/// The commands, in the order they are shown.
pub const TABLE: &[Row] = &[
    row("help", &[], "", "Short help.", "status", |_| Command::Help),
    row("commands", &[], "", "All commands.", "status", |_| Command::Commands),
    row("status", &[], "", "Model, context, session and queue.", "status", |_| Command::Status),
    row("whoami", &["id"], "", "Who you are here.", "status", |_| Command::Whoami),
    row("new", &["reset"], "[message]", "Start a new conversation.", "session", |rest| Command::New(rest.to_string())),
    row("stop", &[], "", "Stop what is running.", "session", |_| Command::Stop),
    row("compact", &[], "[what to mind]", "Summarise the conversation so far.", "session", |rest| {
        Command::Compact(some(rest))
    }),
    row("model", &[], "[name|number|default]", "Show or choose the model.", "options", model),
    row("models", &[], "[provider]", "List models.", "options", |rest| Command::Models(some(rest))),
    row("think", &["thinking", "t"], "off|minimal|low|medium|high|xhigh", "How long to think.", "options", |rest| {
        Command::Think(wish(rest, |word| patch::thinking(word, true)))
    }),
    row("verbose", &["v"], "on|full|off", "Show tools at work.", "options", |rest| {
        Command::Verbose(wish(rest, patch::verbose))
    }),
    row("reasoning", &["reason"], "on|off|stream", "Show the model's reasoning.", "options", |rest| {
        Command::Reasoning(wish(rest, patch::reasoning))
    }),
    row("usage", &[], "off|tokens|full", "Token footer under answers.", "options", |rest| {
        Command::Usage(wish(rest, patch::usage))
    }),
    row(
        "queue",
        &[],
        "[mode] [debounce:2s] [cap:20] [drop:old]",
        "What happens to messages during a run.",
        "options",
        queue,
    ),
    row("send", &[], "on|off|inherit", "Whether answers are sent.", "options", |rest| {
        Command::Send(wish(rest, |word| match word {
            "on" | "allow" => Some("allow"),
            "off" | "deny" => Some("deny"),
            "inherit" | "default" => Some("inherit"),
            _ => None,
        }))
    }),
    row("activation", &[], "mention|always", "When to answer in a group.", "options", |rest| {
        Command::Activation(wish(rest, |word| match word {
            "mention" => Some("mention"),
            "always" => Some("always"),
            _ => None,
        }))
    }),
    row("approve", &[], "<id> allow-once|allow-always|deny", "Answer a request to run a command.", "tools", approve),
];

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    args: &'static str,
    doc: &'static str,
    category: &'static str,
    read: fn(&str) -> Command,
) -> Row {
    Row { name, aliases, args, doc, category, read }
}

/// The rows of `commands.list` a caller wants: none of ours has a native form, and words are told when they are asked
/// for (protocol.md 8.5).
pub fn list(scope: Option<&str>, with_args: bool) -> Vec<Value> {
    // Nothing reads when to answer in a group as long as there are no groups.
    let rows = TABLE.iter().filter(|row| scope != Some("native") && row.name != "activation");
    rows.map(|row| entry(row, with_args)).collect()
}

fn entry(row: &Row, with_args: bool) -> Value {
    let aliases: Vec<String> = [row.name].iter().chain(row.aliases).map(|name| format!("/{name}")).collect();
    let mut entry = json!({
        "name": row.name, "textAliases": aliases, "description": row.doc, "category": row.category,
        "source": "native", "scope": "text", "acceptsArgs": !row.args.is_empty(),
    });
    if with_args && !row.args.is_empty() {
        let fixed = !row.args.contains([' ', '[', '<']);
        let names = row.args.split('|').filter(|_| fixed);
        let choices: Vec<Value> = names.map(|name| json!({"value": name, "label": name})).collect();
        let mut word = json!({"name": "value", "description": row.args, "type": "string"});
        if let Some(members) = word.as_object_mut().filter(|_| fixed) {
            members.insert("choices".into(), choices.into());
        }
        if let Some(members) = entry.as_object_mut() {
            members.insert("args".into(), json!([word]));
        }
    }
    entry
}

/// Reads a message of an authorised sender. `reset_words` are further words that start a new conversation.
pub fn parse(text: &str, reset_words: &[String]) -> Parsed {
    let trimmed = text.trim();
    if trimmed.len() > limits::COMMAND_CHARS {
        return Parsed::Message { text: text.to_string(), hints: Vec::new() };
    }
    match whole(trimmed, reset_words) {
        Some(command) => Parsed::Command(command),
        None => inline(text),
    }
}

fn whole(text: &str, reset_words: &[String]) -> Option<Command> {
    let lower = text.to_lowercase();
    if STOP_WORDS.contains(&lower.as_str()) {
        return Some(Command::Stop);
    }
    for word in reset_words.iter().filter(|word| !word.is_empty()) {
        let fits = lower == *word
            || lower.strip_prefix(word.as_str()).is_some_and(|rest| rest.starts_with(char::is_whitespace));
        if fits {
            let rest = text.get(word.len()..).unwrap_or_default();
            return Some(Command::New(rest.trim().to_string()));
        }
    }
    let (row, rest) = split(text)?;
    let takes_words = !row.args.is_empty();
    if !takes_words && !rest.is_empty() {
        return None; // "/status of the project?" is a question
    }
    let command = (row.read)(rest);
    let is_hint = hint(row.name);
    let one_word = rest.split_whitespace().count() <= 1;
    (!is_hint || one_word).then_some(command)
}

/// The row a text begins with, and the words after its name.
fn split(text: &str) -> Option<(&'static Row, &str)> {
    let rest = text.strip_prefix('/')?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
    let (name, rest) = rest.split_at_checked(end)?;
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    if !(rest.is_empty() || rest.starts_with(char::is_whitespace) || text.contains(&format!("{name}:"))) {
        return None;
    }
    let name = name.to_lowercase();
    let row = TABLE.iter().find(|row| row.name == name || row.aliases.contains(&name.as_str()))?;
    Some((row, rest.trim()))
}

/// Switches that may stand inside a longer message.
fn hint(name: &str) -> bool {
    matches!(name, "think" | "verbose" | "reasoning")
}

/// Takes switches out of a message; only those with a value they know, so that paths stay words.
fn inline(text: &str) -> Parsed {
    let mut hints = Vec::new();
    let mut kept: Vec<&str> = Vec::new();
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        let found = split(word).filter(|(row, _)| hint(row.name)).and_then(|(row, rest)| {
            let value = if rest.is_empty() { words.peek().copied().unwrap_or_default() } else { rest };
            let command = (row.read)(value.trim());
            is_set(&command).then_some((command, rest.is_empty()))
        });
        match found {
            Some((command, took_next)) => {
                hints.push(command);
                if took_next {
                    words.next();
                }
            }
            None => kept.push(word),
        }
    }
    match hints.is_empty() {
        true => Parsed::Message { text: text.to_string(), hints },
        false => Parsed::Message { text: kept.join(" ").trim().to_string(), hints },
    }
}

fn is_set(command: &Command) -> bool {
    matches!(command, Command::Think(Wish::Set(_)) | Command::Verbose(Wish::Set(_)) | Command::Reasoning(Wish::Set(_)))
}

fn some(rest: &str) -> Option<String> {
    (!rest.is_empty()).then(|| rest.to_string())
}

fn wish(rest: &str, read: impl Fn(&str) -> Option<&'static str>) -> Wish {
    let word = rest.to_lowercase();
    match word.as_str() {
        "" | "status" => Wish::Show,
        word => read(word).map_or_else(|| Wish::Unknown(rest.to_string()), Wish::Set),
    }
}

fn model(rest: &str) -> Command {
    Command::Model(match rest.to_lowercase().as_str() {
        "" | "status" | "list" => ModelWish::Show,
        "default" | "reset" => ModelWish::Default,
        _ => ModelWish::Set(rest.to_string()),
    })
}

fn approve(rest: &str) -> Command {
    let mut words = rest.split_whitespace();
    let id = words.next().unwrap_or_default().to_string();
    let decision = match words.next().map(str::to_lowercase).as_deref() {
        Some("allow-once" | "allow" | "once" | "yes") => Some("allow-once"),
        Some("allow-always" | "always") => Some("allow-always"),
        Some("deny" | "no" | "reject") => Some("deny"),
        _ => None,
    };
    Command::Approve { id, decision }
}

fn queue(rest: &str) -> Command {
    let mut wish = QueueWish::default();
    for word in rest.split_whitespace() {
        if !queue_word(&mut wish, &word.to_lowercase()) {
            wish.unknown.push(word.to_string());
        }
    }
    Command::Queue(wish)
}

/// Takes one word of `/queue` and says whether it is one.
fn queue_word(wish: &mut QueueWish, word: &str) -> bool {
    let (name, value) = word.split_once(':').unwrap_or((word, ""));
    match (name, value) {
        ("status", "") => {}
        ("default" | "reset" | "clear" | "inherit", "") => wish.clear = true,
        ("debounce", value) => return keep(&mut wish.debounce_ms, millis(value)),
        ("cap", value) => return keep(&mut wish.cap, value.parse().ok().filter(|cap| *cap > 0)),
        ("drop", value) => return keep(&mut wish.drop, Overflow::parse(value).map(Overflow::name)),
        (mode, "") => return keep(&mut wish.mode, Mode::parse(mode).map(Mode::name)),
        _ => return false,
    }
    true
}

fn keep<T>(place: &mut Option<T>, found: Option<T>) -> bool {
    let any = found.is_some();
    *place = found.or(place.take());
    any
}

/// `500ms`, `2s`, `1m`, or milliseconds.
fn millis(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Option<Command> {
        match parse(text, &["neu".to_string()]) {
            Parsed::Command(command) => Some(command),
            Parsed::Message { .. } => None,
        }
    }

    #[test]
    fn a_command_has_a_bound_and_what_is_longer_is_a_message() {
        let long = |size: usize| format!("/compact {}", "x".repeat(size - "/compact ".len()));
        assert!(command(&long(limits::COMMAND_CHARS)).is_some() && command(&long(limits::COMMAND_CHARS + 1)).is_none());
    }

    #[test]
    fn commands_stand_alone_with_their_words() {
        for (text, expected) in [
            ("/help", Command::Help),
            ("  /STATUS ", Command::Status),
            ("/id", Command::Whoami),
            ("/new", Command::New(String::new())),
            ("/reset: hello there", Command::New("hello there".into())),
            ("/stop", Command::Stop),
            ("ESC", Command::Stop),
            ("neu los", Command::New("los".into())),
            ("/model", Command::Model(ModelWish::Show)),
            ("/model openai/gpt 5", Command::Model(ModelWish::Set("openai/gpt 5".into()))),
            ("/model:default", Command::Model(ModelWish::Default)),
            ("/models bench", Command::Models(Some("bench".into()))),
            ("/think high", Command::Think(Wish::Set("high"))),
            ("/t: x-high", Command::Think(Wish::Set("xhigh"))),
            ("/think", Command::Think(Wish::Show)),
            ("/think hugely", Command::Think(Wish::Unknown("hugely".into()))),
            ("/verbose full", Command::Verbose(Wish::Set("full"))),
            ("/reasoning stream", Command::Reasoning(Wish::Set("stream"))),
            ("/usage on", Command::Usage(Wish::Set("tokens"))),
            ("/send off", Command::Send(Wish::Set("deny"))),
            ("/activation always", Command::Activation(Wish::Set("always"))),
            ("/compact keep the names", Command::Compact(Some("keep the names".into()))),
            ("/approve a1 always", Command::Approve { id: "a1".into(), decision: Some("allow-always") }),
            ("/approve", Command::Approve { id: String::new(), decision: None }),
        ] {
            assert_eq!(command(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_messages() {
        for text in [
            "hi",
            "/nothing",
            "/status of the project?",
            "stop it",
            "/usr/bin/env",
            "neulich",
            "/",
            "//help",
            "/helpme",
            "a /new b",
        ] {
            assert_eq!(command(text), None, "{text}");
        }
        let long = format!("/new {}", "x".repeat(5000));
        assert_eq!(command(&long), None);
    }

    #[test]
    fn queue_words_are_read_one_by_one() {
        let Some(Command::Queue(wish)) = command("/queue steer+backlog debounce:2s cap:5 drop:old nonsense cap:0")
        else {
            panic!()
        };
        assert_eq!((wish.mode, wish.debounce_ms, wish.drop), (Some("steer-backlog"), Some(2000), Some("old")));
        assert_eq!(wish.unknown, ["nonsense", "cap:0"]);
        assert_eq!(command("/queue reset"), Some(Command::Queue(QueueWish { clear: true, ..QueueWish::default() })));
    }

    #[test]
    fn switches_inside_a_message_hold_for_the_turn() {
        let message = |text: &str| match parse(text, &[]) {
            Parsed::Message { text, hints } => (text, hints),
            Parsed::Command(command) => panic!("{command:?}"),
        };
        let (text, hints) = message("please /think high and /verbose:on solve it");
        assert_eq!(text, "please and solve it");
        assert_eq!(hints, [Command::Think(Wish::Set("high")), Command::Verbose(Wish::Set("on"))]);
        for kept in ["look at /think about", "cd /verbose/on", "line one\n/think high", "/think high solve it then"] {
            let (text, hints) = message(kept);
            assert_eq!(text == kept, hints.is_empty(), "{kept}");
        }
        assert_eq!(message("/think high solve it").0, "solve it");
    }

    #[test]
    fn stop_words_stop_and_names_are_told_once() {
        let stops = |text: &str| parse(text, &[]) == Parsed::Command(Command::Stop);
        assert!(stops(" Stop ") && stops("/stop") && stops("wait") && !stops("wait a bit") && !stops("/status"));
        let names: Vec<&str> = TABLE.iter().flat_map(|row| row.aliases.iter().copied().chain([row.name])).collect();
        let unique: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(unique.len(), names.len());
    }

    #[test]
    fn the_list_has_the_words_of_the_official_schema() {
        let listed = list(None, true);
        assert_eq!((&listed[3]["textAliases"], &listed[3]["acceptsArgs"]), (&json!(["/whoami", "/id"]), &false.into()));
        assert!(listed.iter().all(|row| row["source"] == "native" && row["scope"] == "text"));
        let think = listed.iter().find(|row| row["name"] == "think").unwrap();
        assert_eq!(think["args"][0]["choices"][1], json!({"value": "minimal", "label": "minimal"}));
        assert!(listed[3]["args"].is_null() && list(None, false).iter().all(|row| row["args"].is_null()));
        assert_eq!((list(Some("native"), true).len(), list(Some("text"), true).len()), (0, TABLE.len() - 1));
    }
}
