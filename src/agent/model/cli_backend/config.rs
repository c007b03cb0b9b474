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

impl Output {
    fn parse(text: &str) -> Option<Output> {
        match text {
            "json" => Some(Output::Json),
            "jsonl" => Some(Output::JsonLines),
            "stream-json" => Some(Output::StreamJson),
            "text" => Some(Output::Text),
            _ => None,
        }
    }
}

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
    pub(super) system_prompt_when: SystemPrompt,
    pub(super) image_arg: Option<String>,
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
    merged.map(|value| read(id, &value))
}

/// Permissions are never skipped by default: who wants `--dangerously-skip-permissions` writes it (agent.md 24).
fn built_in(id: &str) -> Option<Value> {
    let claude = ["-p", "--output-format", "stream-json", "--verbose", "--include-partial-messages"];
    let codex = ["--color", "never", "--sandbox", "read-only", "--skip-git-repo-check"];
    let joined = |first: &[&str], rest: &[&str]| -> Value { first.iter().chain(rest).copied().collect() };
    match id {
        "claude-cli" => Some(json!({
            "command": "claude", "args": claude, "output": "stream-json", "resumeOutput": "stream-json",
            "resumeArgs": joined(&claude, &["--resume", "{sessionId}"]),
            "modelArg": "--model", "systemPromptArg": "--append-system-prompt", "sessionArg": "--session-id",
            "clearEnv": ["ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY_OLD"],
            "modelAliases": {"claude-opus": "opus", "claude-sonnet": "sonnet", "claude-haiku": "haiku"},
        })),
        "codex-cli" => Some(json!({
            "command": "codex", "args": joined(&["exec", "--json"], &codex),
            "resumeArgs": joined(&["exec", "resume", "{sessionId}"], &codex),
            "output": "jsonl", "resumeOutput": "text", "modelArg": "--model", "imageArg": "--image",
            "sessionMode": "existing", "sessionIdFields": ["thread_id"],
        })),
        _ => None,
    }
}

fn read(id: &str, value: &Value) -> Result<Backend, ModelError> {
    let wrong =
        |what: &str| ModelError::new(ErrorKind::NotConfigured, format!("agents.defaults.cliBackends.{id}.{what}"));
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(String::from).filter(|text| !text.is_empty());
    let output = |name: &str, default| match text(name) {
        Some(text) => {
            Output::parse(&text).ok_or_else(|| wrong(&format!("{name} is not json, jsonl, stream-json or text")))
        }
        None => Ok(default),
    };
    let first_output = output("output", Output::Json)?;
    let session_arg = text("sessionArg").map(|flag| vec![flag, "{sessionId}".to_string()]);
    let fields = texts(value, "sessionIdFields");
    let usual = ["session_id", "sessionId", "conversation_id", "conversationId"].map(String::from).to_vec();
    Ok(Backend {
        command: text("command").ok_or_else(|| wrong("command is missing"))?,
        args: texts(value, "args").unwrap_or_default(),
        resume_args: texts(value, "resumeArgs"),
        output: first_output,
        resume_output: output("resumeOutput", first_output)?,
        input: if text("input").as_deref() == Some("stdin") { Input::Stdin } else { Input::Argument },
        max_prompt_arg: value
            .get("maxPromptArgChars")
            .and_then(Value::as_u64)
            .map_or(limits::BACKEND_ARGUMENT_BYTES, |chars| usize::try_from(chars).unwrap_or(usize::MAX)),
        env: map(value, "env"),
        clear_env: texts(value, "clearEnv").unwrap_or_default(),
        model_arg: text("modelArg"),
        model_aliases: map(value, "modelAliases"),
        session_args: texts(value, "sessionArgs").or(session_arg).unwrap_or_default(),
        session_mode: match text("sessionMode").as_deref() {
            Some("none") => SessionMode::None,
            Some("existing") => SessionMode::Existing,
            _ => SessionMode::Always,
        },
        session_id_fields: fields.unwrap_or(usual),
        system_prompt_arg: text("systemPromptArg"),
        system_prompt_when: match text("systemPromptWhen").as_deref() {
            Some("always") => SystemPrompt::Always,
            Some("never") => SystemPrompt::Never,
            _ => SystemPrompt::First,
        },
        image_arg: text("imageArg"),
    })
}

fn texts(value: &Value, name: &str) -> Option<Vec<String>> {
    let list = value.get(name)?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(String::from).collect())
}

fn map(value: &Value, name: &str) -> Table<String, String> {
    let members = value.get(name).and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_string()))).collect()
}
