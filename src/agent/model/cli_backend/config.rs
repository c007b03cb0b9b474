//! `agents.defaults.cliBackends.<id>` and the two backends that exist without it. Owns names and defaults of agent.md 24.

use serde_json::Value;

use super::super::keys::pointer;
use super::super::{ErrorKind, ModelError};
use crate::config::env::OURS;
use crate::config::{Config, Env};
use crate::limits;
use crate::sys::table::Table;

/// How a program prints its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// One JSON object at the end.
    Json,
    /// One JSON object per event, the answer in the ones that are messages.
    JsonLines,
    /// One JSON object per event with Anthropic's stream events inside: `claude --output-format stream-json`.
    StreamJson,
    /// The answer itself.
    Text,
}

/// The words of settings that are one of a few.
const OUTPUTS: [(&str, Output); 4] =
    [("json", Output::Json), ("jsonl", Output::JsonLines), ("stream-json", Output::StreamJson), ("text", Output::Text)];
const INPUTS: [(&str, Input); 2] = [("arg", Input::Argument), ("stdin", Input::Stdin)];
const SESSION_MODES: [(&str, SessionMode); 3] =
    [("always", SessionMode::Always), ("existing", SessionMode::Existing), ("none", SessionMode::None)];
const SYSTEM_PROMPTS: [(&str, SystemPrompt); 3] =
    [("first", SystemPrompt::First), ("always", SystemPrompt::Always), ("never", SystemPrompt::Never)];
/// Whether the program's own system prompt stays, and whether pictures share one flag.
const PROMPT_MODES: [(&str, bool); 2] = [("append", false), ("replace", true)];
const IMAGE_MODES: [(&str, bool); 2] = [("repeat", false), ("list", true)];

/// How the prompt gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// As the last argument.
    Argument,
    /// Through standard input.
    Stdin,
}

/// When the program is told which session it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionMode {
    /// From the first turn on.
    Always,
    /// Once it has given an id itself.
    Existing,
    /// Never.
    None,
}

/// When the system prompt is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SystemPrompt {
    /// In the first turn of a session.
    First,
    /// In every turn.
    Always,
    /// Never.
    Never,
}

/// A program that stands for a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub(super) command: String,
    pub(super) args: Vec<String>,
    pub(super) resume_args: Option<Vec<String>>,
    pub(super) output: Output,
    pub(super) resume_output: Output,
    pub(super) input: Input,
    pub(super) max_prompt_arg: usize,
    env: Table<String, String>,
    clear_env: Vec<String>,
    pub(super) model_arg: Option<String>,
    pub(super) model_aliases: Table<String, String>,
    pub(super) session_args: Vec<String>,
    pub(super) session_mode: SessionMode,
    pub(super) session_id_fields: Vec<String>,
    pub(super) system_prompt_arg: Option<String>,
    pub(super) system_prompt_file_arg: Option<String>,
    pub(super) system_prompt_when: SystemPrompt,
    pub(super) image_arg: Option<String>,
    /// All pictures behind one flag, with commas between.
    pub(super) image_list: bool,
    /// One process of this backend at a time.
    pub(super) serialize: bool,
}

impl Backend {
    /// The process's environment without what is the gateway's own, with the backend's changes.
    pub(super) fn environment(&self, env: &Env) -> Vec<(String, String)> {
        let kept = env.iter().filter(|(name, _)| !self.clear_env.iter().any(|cleared| cleared == name));
        let kept = kept.filter(|(name, _)| !OURS.contains(name));
        let kept = kept.filter(|(name, _)| !self.env.contains_key(*name));
        let kept = kept.map(|(name, value)| (name.to_string(), value.to_string()));
        kept.chain(self.env.iter().map(|(name, value)| (name.clone(), value.clone()))).collect()
    }
}

/// The backend of that id, if there is one: configured, built in, or built in with configured changes.
pub fn configured(config: &Config, id: &str) -> Option<Result<Backend, ModelError>> {
    let written = config.raw.pointer(&format!("/agents/defaults/cliBackends/{}", pointer(id)));
    let mut merged = built_in(id);
    if let Some(Value::Object(written)) = written {
        let base = merged.get_or_insert_with(|| json!({}));
        for (name, value) in written {
            if let Some(base) = base.as_object_mut() {
                base.insert(name.clone(), value.clone());
            }
        }
    }
    merged.map(|mut value| {
        settle_prompt_flags(id, &mut value, written);
        read(id, &value)
    })
}

/// A flag that is written is the one that counts, not a built-in one for files beside it; else
/// `systemPromptMode: "replace"` changes the built-in flags of the program whose flags are known.
fn settle_prompt_flags(id: &str, merged: &mut Value, written: Option<&Value>) {
    let own = |name: &str| written.is_some_and(|written| written.get(name).is_some());
    let replaces = id == "claude-cli" && merged.get("systemPromptMode").and_then(Value::as_str) == Some("replace");
    let Some(merged) = merged.as_object_mut() else { return };
    if own("systemPromptArg") && !own("systemPromptFileArg") {
        merged.remove("systemPromptFileArg");
    } else if replaces && !own("systemPromptFileArg") {
        merged.insert("systemPromptFileArg".to_string(), json!("--system-prompt-file"));
    }
}

/// Permissions are never skipped by default: who wants `--dangerously-skip-permissions` writes it (agent.md 24). Both
/// read what they are asked from standard input: other users of the machine see arguments.
fn built_in(id: &str) -> Option<Value> {
    let claude = ["-p", "--output-format", "stream-json", "--verbose", "--include-partial-messages"];
    let codex = ["--color", "never", "--sandbox", "read-only", "--skip-git-repo-check"];
    let joined = |first: &[&str], rest: &[&str]| -> Value { first.iter().chain(rest).copied().collect() };
    match id {
        "claude-cli" => Some(json!({
            "command": "claude", "args": claude, "input": "stdin", "output": "stream-json", "resumeOutput": "stream-json",
            "resumeArgs": joined(&claude, &["--resume", "{sessionId}"]),
            "modelArg": "--model", "sessionArg": "--session-id",
            "systemPromptArg": "--append-system-prompt", "systemPromptFileArg": "--append-system-prompt-file",
            "clearEnv": ["ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY_OLD"],
            "modelAliases": {"claude-opus": "opus", "claude-sonnet": "sonnet", "claude-haiku": "haiku"},
        })),
        "codex-cli" => Some(json!({
            "command": "codex", "input": "stdin", "args": joined(&["exec", "--json"], &codex),
            "resumeArgs": joined(&["exec", "resume", "{sessionId}"], &codex),
            "output": "jsonl", "resumeOutput": "text", "modelArg": "--model", "imageArg": "--image",
            "sessionMode": "existing", "sessionIdFields": ["thread_id"],
        })),
        _ => None,
    }
}

fn read(id: &str, value: &Value) -> Result<Backend, ModelError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(String::from).filter(|text| !text.is_empty());
    let written = Written { id, value };
    let output = written.choice("output", &OUTPUTS, Output::Json)?;
    let session_arg = text("sessionArg").map(|flag| vec![flag, "{sessionId}".to_string()]);
    let fields = texts(value, "sessionIdFields");
    let usual = ["session_id", "sessionId", "conversation_id", "conversationId"].map(String::from).to_vec();
    if written.choice("systemPromptMode", &PROMPT_MODES, false)? && id != "claude-cli" {
        let flag = text("systemPromptArg").or_else(|| text("systemPromptFileArg"));
        flag.ok_or_else(|| written.wrong("systemPromptMode is replace, but no systemPromptArg says how"))?;
    }
    Ok(Backend {
        command: text("command").ok_or_else(|| written.wrong("command is missing"))?,
        args: texts(value, "args").unwrap_or_default(),
        resume_args: texts(value, "resumeArgs"),
        output,
        resume_output: written.choice("resumeOutput", &OUTPUTS, output)?,
        input: written.choice("input", &INPUTS, Input::Argument)?,
        max_prompt_arg: value
            .get("maxPromptArgChars")
            .and_then(Value::as_u64)
            .map_or(limits::BACKEND_ARGUMENT_BYTES, |chars| usize::try_from(chars).unwrap_or(usize::MAX)),
        env: map(value, "env"),
        clear_env: texts(value, "clearEnv").unwrap_or_default(),
        model_arg: text("modelArg"),
        model_aliases: map(value, "modelAliases"),
        session_args: texts(value, "sessionArgs").or(session_arg).unwrap_or_default(),
        session_mode: written.choice("sessionMode", &SESSION_MODES, SessionMode::Always)?,
        session_id_fields: fields.unwrap_or(usual),
        system_prompt_arg: text("systemPromptArg"),
        system_prompt_file_arg: text("systemPromptFileArg"),
        system_prompt_when: written.choice("systemPromptWhen", &SYSTEM_PROMPTS, SystemPrompt::First)?,
        image_arg: text("imageArg"),
        image_list: written.choice("imageMode", &IMAGE_MODES, false)?,
        serialize: match value.get("serialize") {
            None => true,
            Some(word) => word.as_bool().ok_or_else(|| written.wrong("serialize is not true or false"))?,
        },
    })
}

/// A backend as it is written.
struct Written<'a> {
    id: &'a str,
    value: &'a Value,
}

impl Written<'_> {
    /// A setting that is one of a few words; another word is a mistake, not the default.
    fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)], default: T) -> Result<T, ModelError> {
        let Some(written) = self.value.get(name) else { return Ok(default) };
        let found = words.iter().find(|(word, _)| written.as_str() == Some(word));
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(&format!("{name} is none of {}", known.join(", ")))
        })
    }

    fn wrong(&self, what: &str) -> ModelError {
        ModelError::new(ErrorKind::NotConfigured, format!("agents.defaults.cliBackends.{}.{what}", self.id))
    }
}

fn texts(value: &Value, name: &str) -> Option<Vec<String>> {
    let list = value.get(name)?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(String::from).collect())
}

fn map(value: &Value, name: &str) -> Table<String, String> {
    let members = value.get(name).and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_string()))).collect()
}
