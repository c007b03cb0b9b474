//! Command-line backends (agent.md 24): a program that is given a prompt and prints an answer stands for a model. Owns
//! its arguments and what its output means; the process itself is run by `process`.

mod config;
mod output;
mod process;

use std::path::PathBuf;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};

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
            None => self.first_arguments(request, prompt),
        };
        let mut pictures: Vec<String> = prompt.pictures.iter().map(|path| path.display().to_string()).collect();
        if backend.image_list && !pictures.is_empty() {
            pictures = vec![pictures.join(",")];
        }
        if let Some(flag) = &backend.image_arg {
            args.extend(pictures.into_iter().flat_map(|picture| [flag.clone(), picture]));
        }
        if prompt.as_argument {
            args.push(prompt.text.clone());
        }
        args
    }

    fn first_arguments(&self, request: &ModelRequest, prompt: &Prompt) -> Vec<String> {
        let (backend, session) = (&self.backend, &request.session);
        let mut args = backend.args.clone();
        if let Some(flag) = backend.model_arg.as_ref().filter(|_| self.reference.model != "default") {
            let alias = backend.model_aliases.get(&self.reference.model);
            args.extend([flag.clone(), alias.unwrap_or(&self.reference.model).clone()]);
        }
        args.extend(prompt.system.iter().cloned());
        if let Some(id) = self.session_id(session) {
            args.extend(backend.session_args.iter().map(|arg| arg.replace("{sessionId}", &id)));
        }
        args
    }

    /// The system prompt for the program, if it is to get one now.
    fn system(&self, request: &ModelRequest) -> Option<String> {
        let wanted = match self.backend.system_prompt_when {
            SystemPrompt::First => self.known(&request.session).is_none(),
            SystemPrompt::Always => true,
            SystemPrompt::Never => false,
        };
        let wanted = wanted && self.resumed(&request.session).is_none();
        wanted.then(|| format!("{}\n\n{NO_TOOLS}", request.system).trim().to_string())
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
        let mut prompt = Prompt::new(&self.backend, request)?;
        if let Some(system) = self.system(request) {
            prompt.instruct(&self.backend, &self.reference.provider, system)?;
        }
        let resuming = self.resumed(&request.session).is_some();
        let output = if resuming { self.backend.resume_output } else { self.backend.output };
        let job = Job {
            command: &self.backend.command,
            args: self.arguments(request, &prompt),
            env: self.backend.environment(&self.env),
            directory: request.session.workspace.as_deref(),
            input: (!prompt.as_argument).then(|| prompt.text.clone()),
        };
        let stopped = |fault: process::Failure| ModelError::new(fault.kind, fault.text);
        let turn = self.backend.serialize.then(|| process::turn(&self.reference.provider, control).map_err(stopped));
        let _turn = turn.transpose()?;
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

/// What is asked, and the files it talks about, which go away with it.
struct Prompt {
    text: String,
    as_argument: bool,
    /// Arguments that give the system prompt.
    system: Vec<String>,
    pictures: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Prompt {
    /// The last message of the person; the program remembers the earlier ones itself.
    fn new(backend: &Backend, request: &ModelRequest) -> Result<Prompt, ModelError> {
        let last = request.messages.iter().rev().find(|message| matches!(message, Message::User(_)));
        let content = last.map(Message::content).unwrap_or_default();
        let (pictures, files) = (Vec::new(), Vec::new());
        let mut prompt = Prompt { text: text_of(content), as_argument: false, system: Vec::new(), pictures, files };
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

    /// Gives the system prompt in a file, where the program takes one: other users of the machine see arguments.
    fn instruct(&mut self, backend: &Backend, id: &str, system: String) -> Result<(), ModelError> {
        let (size, most) = (system.len(), limits::BACKEND_ARGUMENT_BYTES);
        if let Some(flag) = &backend.system_prompt_file_arg {
            let path = keep(system.as_bytes(), "txt")?;
            self.system = vec![flag.clone(), path.display().to_string()];
            self.files.push(path);
        } else if let Some(flag) = &backend.system_prompt_arg {
            if size > most {
                let text = format!(
                    "{id}: the system prompt has {size} bytes, and an argument of a command holds {most}: shorten the \
                     workspace files, or set agents.defaults.cliBackends.{id}.systemPromptFileArg"
                );
                return Err(ModelError::new(ErrorKind::Format, text));
            }
            self.system = vec![flag.clone(), system];
        }
        Ok(())
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        for path in self.pictures.iter().chain(&self.files) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A picture in a file.
fn picture(data: &str, mime_type: &str) -> Result<PathBuf, ModelError> {
    let refused = |fault| ModelError::new(ErrorKind::Format, format!("a picture is no base64: {fault}"));
    let bytes = BASE64.decode(data.as_bytes()).map_err(refused)?;
    let extension: String =
        mime_type.rsplit('/').next().unwrap_or("bin").chars().filter(char::is_ascii_alphanumeric).collect();
    keep(&bytes, &extension)
}

/// Something for the command in a file only this user can read.
fn keep(bytes: &[u8], extension: &str) -> Result<PathBuf, ModelError> {
    let refused = |text: String| ModelError::new(ErrorKind::Format, text);
    let mut entropy = crate::sys::id::Entropy::from_os().map_err(|fault| refused(fault.to_string()))?;
    let path = std::env::temp_dir().join(format!("openclaw-{}.{extension}", entropy.hex(16)));
    crate::store::atomic::write(&path, bytes, 0o600)
        .map_err(|fault| refused(format!("cannot keep a file for the command: {fault}")))?;
    Ok(path)
}

#[cfg(all(test, unix))]
mod tests;
