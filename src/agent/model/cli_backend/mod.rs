//! Command-line backends (agent.md 24): a program that is given a prompt and prints an answer stands for a model. Owns
//! its arguments and what its output means; the process itself is run by `process`.

mod config;
mod output;
mod process;

use std::path::PathBuf;

use data_encoding::BASE64;

pub use self::config::{Backend, configured};
use self::config::{Input, Output, SessionMode, SystemPrompt};
use self::output::Reading;
use self::process::Job;
use super::{CallSession, ErrorKind, Model, ModelError, ModelEvent, ModelRef, ModelReply, ModelRequest, fault};
use crate::agent::control::Control;
use crate::agent::message::{Block, Message, StopReason, text_of};
use crate::config::Env;
use crate::limits;

/// As transcripts name it.
pub const API: &str = "cli";
/// Added to the system prompt: the gateway's tools cannot be called from there.
const NO_TOOLS: &str = "The gateway's tools are disabled in this session; do not call them.";

/// A program that answers.
#[derive(Clone, Debug)]
pub struct CliBackend {
    reference: ModelRef,
    backend: Backend,
    env: Env,
}

impl CliBackend {
    /// A backend for a model reference, run in that environment.
    pub fn new(reference: ModelRef, backend: Backend, env: Env) -> CliBackend {
        CliBackend { reference, backend, env }
    }

    fn arguments(&self, request: &ModelRequest, prompt: &Prompt) -> Vec<String> {
        let (backend, session) = (&self.backend, &request.session);
        let mut args = match self.resumed(session) {
            Some((args, id)) => args.iter().map(|arg| arg.replace("{sessionId}", id)).collect(),
            None => self.first_arguments(request),
        };
        if let Some(flag) = &backend.image_arg {
            for path in &prompt.pictures {
                args.extend([flag.clone(), path.display().to_string()]);
            }
        }
        if prompt.as_argument {
            args.push(prompt.text.clone());
        }
        args
    }

    fn first_arguments(&self, request: &ModelRequest) -> Vec<String> {
        let (backend, session) = (&self.backend, &request.session);
        let mut args = backend.args.clone();
        if let Some(flag) = backend.model_arg.as_ref().filter(|_| self.reference.model != "default") {
            let alias = backend.model_aliases.get(&self.reference.model);
            args.extend([flag.clone(), alias.unwrap_or(&self.reference.model).clone()]);
        }
        let first = self.known(session).is_none();
        let wanted = match backend.system_prompt_when {
            SystemPrompt::First => first,
            SystemPrompt::Always => true,
            SystemPrompt::Never => false,
        };
        if let Some(flag) = backend.system_prompt_arg.as_ref().filter(|_| wanted) {
            args.extend([flag.clone(), format!("{}\n\n{NO_TOOLS}", request.system).trim().to_string()]);
        }
        if let Some(id) = self.session_id(session) {
            args.extend(backend.session_args.iter().map(|arg| arg.replace("{sessionId}", &id)));
        }
        args
    }

    /// The id the program is told to use.
    fn session_id(&self, session: &CallSession) -> Option<String> {
        let known = self.known(session).map(str::to_string);
        match self.backend.session_mode {
            SessionMode::Always => known.or_else(|| Some(session.new_cli_session.clone()).filter(|id| !id.is_empty())),
            SessionMode::Existing => known,
            SessionMode::None => None,
        }
    }

    fn known<'a>(&self, session: &'a CallSession) -> Option<&'a str> {
        session.known_to(&self.reference.provider)
    }

    fn resumed<'a>(&'a self, session: &'a CallSession) -> Option<(&'a [String], &'a str)> {
        let args = self.backend.resume_args.as_deref().filter(|_| self.backend.session_mode != SessionMode::None)?;
        Some((args, self.known(session)?))
    }
}

impl Model for CliBackend {
    fn reference(&self) -> &ModelRef {
        &self.reference
    }

    fn context_window(&self) -> u64 {
        limits::MODEL_CONTEXT
    }

    fn takes_tools(&self) -> bool {
        false
    }

    fn takes_images(&self) -> bool {
        true
    }

    fn call(
        &self,
        request: &ModelRequest,
        control: &Control,
        on: &mut dyn FnMut(ModelEvent),
    ) -> Result<ModelReply, ModelError> {
        let prompt = Prompt::new(&self.backend, request)?;
        let resuming = self.resumed(&request.session).is_some();
        let output = if resuming { self.backend.resume_output } else { self.backend.output };
        let job = Job {
            command: &self.backend.command,
            args: self.arguments(request, &prompt),
            env: self.backend.environment(&self.env),
            directory: request.session.workspace.as_deref(),
            input: (!prompt.as_argument).then(|| prompt.text.clone()),
        };
        let mut reading = Reading::new(output, &self.backend.session_id_fields);
        let mut told = false;
        let mut tell = |event| {
            told |= matches!(event, ModelEvent::Text(_));
            on(event);
        };
        let ended = process::run(&job, control, &mut |bytes| reading.push(bytes, &mut tell));
        let error = |kind, text: &str| {
            let message = format!("{}: {text}", self.reference.provider);
            ModelError { streamed: told, ..ModelError::new(kind, message) }
        };
        let ended = ended.map_err(|fault| error(fault.kind, &fault.text))?;
        let answer = reading.finish(&mut |_| ()).map_err(|text| error(ErrorKind::Protocol, &text))?;
        let failed = if ended.success { answer.error.clone() } else { Some(ended.complaint(&answer.text)) };
        if let Some(text) = failed {
            let kind = fault::by_text(&text).unwrap_or(ErrorKind::Format);
            return Err(error(kind, &text));
        }
        if !told && !answer.text.is_empty() {
            on(ModelEvent::Text(answer.text.clone()));
        }
        Ok(ModelReply {
            content: if answer.text.is_empty() { Vec::new() } else { vec![Block::text(answer.text)] },
            usage: answer.usage,
            stop: StopReason::Stop,
            model: self.reference.model.clone(),
            provider: self.reference.provider.clone(),
            api: API,
            cli_session: answer.session.or_else(|| self.session_id(&request.session)),
        })
    }
}

/// What is asked, and the picture files it talks about, which go away with it.
struct Prompt {
    text: String,
    as_argument: bool,
    pictures: Vec<PathBuf>,
}

impl Prompt {
    /// The last message of the person; the program remembers the earlier ones itself.
    fn new(backend: &Backend, request: &ModelRequest) -> Result<Prompt, ModelError> {
        let last = request.messages.iter().rev().find(|message| matches!(message, Message::User(_)));
        let content = last.map(Message::content).unwrap_or_default();
        let mut prompt = Prompt { text: text_of(content), as_argument: false, pictures: Vec::new() };
        for block in content {
            if let Block::Image { data, mime_type, .. } = block {
                prompt.pictures.push(picture(data, mime_type)?);
            }
        }
        if backend.image_arg.is_none() {
            for path in &prompt.pictures {
                prompt.text.push_str(&format!("\n{}", path.display()));
            }
        }
        // what a stranger writes must not be read as one of the program's options
        prompt.as_argument = backend.input == Input::Argument
            && !prompt.text.starts_with('-')
            && prompt.text.len() <= backend.max_prompt_arg.min(limits::BACKEND_ARGUMENT_BYTES);
        Ok(prompt)
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        for path in &self.pictures {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A picture in a file only this user can read.
fn picture(data: &str, mime_type: &str) -> Result<PathBuf, ModelError> {
    let refused = |text: String| ModelError::new(ErrorKind::Format, text);
    let bytes = BASE64.decode(data.as_bytes()).map_err(|fault| refused(format!("a picture is no base64: {fault}")))?;
    let extension: String =
        mime_type.rsplit('/').next().unwrap_or("bin").chars().filter(char::is_ascii_alphanumeric).collect();
    let mut entropy = crate::sys::id::Entropy::from_os().map_err(|fault| refused(fault.to_string()))?;
    let path = std::env::temp_dir().join(format!("openclaw-{}.{extension}", entropy.hex(16)));
    crate::store::atomic::write(&path, &bytes, 0o600)
        .map_err(|fault| refused(format!("cannot keep a picture for the command: {fault}")))?;
    Ok(path)
}

#[cfg(all(test, unix))]
mod tests;
