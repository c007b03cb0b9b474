//! One model of one server: where it is, what it can, what it costs, and the exchange every wire form shares: send a
//! request, feed the pieces of the answer to a decoder, never take a cut answer for a whole one.

use std::time::Duration;

use serde_json::Value;

use super::collect::Collector;
use super::frames::{Frame, FrameFault, Frames, Framing};
use super::{ErrorKind, ModelError, ModelRef, ModelReply};
use crate::agent::control::Control;
use crate::agent::http::{self, Answer, Client, HttpError, Request};
use crate::agent::message::{Cost, StopReason, Usage};
use crate::config::Secret;
use crate::config::model::ModelCost;
use crate::config::target::is_loopback_url;
use crate::limits;
use crate::protocol::check;

/// How long the end of a finished stream is waited for, so that its connection can be used again.
const TAIL: Duration = Duration::from_millis(10);

/// What is known about a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Tokens of its context, when known.
    pub context_window: Option<u64>,
    /// Tokens of its answers, when limited.
    pub max_tokens: Option<u64>,
    /// Whether it can think.
    pub reasoning: bool,
    /// Whether it can see.
    pub images: bool,
    /// Whether its server says that it takes no tools: offering it some would be an error.
    pub no_tools: bool,
    /// Money per million tokens.
    pub cost: ModelCost,
}

/// What servers of the OpenAI kind understand and others do not (agent.md 19); `compat` in the configuration changes
/// each one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compat {
    /// `store: false` is sent.
    pub store: bool,
    /// The system prompt has the role `developer` for models that think.
    pub developer_role: bool,
    /// `reasoning_effort` is sent.
    pub reasoning_effort: bool,
    /// `stream_options.include_usage` is sent.
    pub stream_usage: bool,
    /// Tools carry `strict: false`.
    pub strict: bool,
    /// Name of the member that limits the answer.
    pub max_tokens_field: MaxTokensField,
}

/// Name of the member that limits an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxTokensField {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

impl Compat {
    /// What every server understands.
    pub const CAUTIOUS: Compat = Compat {
        store: false,
        developer_role: false,
        reasoning_effort: false,
        stream_usage: true,
        strict: false,
        max_tokens_field: MaxTokensField::MaxTokens,
    };
    /// What OpenAI itself understands.
    pub const OPENAI: Compat = Compat {
        store: true,
        developer_role: true,
        reasoning_effort: true,
        stream_usage: true,
        strict: true,
        max_tokens_field: MaxTokensField::MaxCompletionTokens,
    };
}

/// One model of one server, ready to be called.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Which model.
    pub reference: ModelRef,
    /// Address without a slash at its end.
    pub base_url: String,
    /// Its key; none for a local server.
    pub key: Option<Secret>,
    /// Headers of the configuration; they win over ours.
    pub headers: Vec<(String, Secret)>,
    /// What is known about it.
    pub facts: Facts,
    /// What its server understands.
    pub compat: Compat,
    /// Connections to it.
    pub client: Client,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ending {
    pub(super) stop: StopReason,
    pub(super) usage: Usage,
}

/// Whether a decoder wants more of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    More,
    Done,
}

/// Understands the answers of one wire form.
pub(super) trait Decoder {
    /// One event of a stream.
    fn frame(&mut self, frame: &Frame, out: &mut Collector<'_>) -> Result<Flow, ModelError>;

    /// An answer in one piece.
    fn whole(&mut self, answer: &Value, out: &mut Collector<'_>) -> Result<(), ModelError>;

    /// How it ended; an error when the stream stopped before its end.
    fn ending(&mut self, out: &Collector<'_>) -> Result<Ending, ModelError>;
}

impl Endpoint {
    pub(super) fn provider(&self) -> &str {
        &self.reference.provider
    }

    /// Tokens of the context, with a cautious guess for models nobody described.
    pub(super) fn context_window(&self) -> u64 {
        let local = is_loopback_url(&self.base_url);
        let guess = if local { limits::MODEL_CONTEXT_LOCAL } else { limits::MODEL_CONTEXT };
        self.facts.context_window.filter(|tokens| *tokens > 0).unwrap_or(guess)
    }

    /// Fills in price and sum; the order of operations is the original's, so that the same call costs the same digits.
    pub(super) fn priced(&self, mut usage: Usage) -> Usage {
        let price = &self.facts.cost;
        let cost = |per_million: f64, tokens: u64| per_million / 1e6 * tokens as f64;
        usage.cost = Cost {
            input: cost(price.input, usage.input),
            output: cost(price.output, usage.output),
            cache_read: cost(price.cache_read, usage.cache_read),
            cache_write: cost(price.cache_write, usage.cache_write),
            total: 0.0,
        };
        usage.cost.total = usage.cost.input + usage.cost.output + usage.cost.cache_read + usage.cost.cache_write;
        if usage.total_tokens == 0 {
            usage.total_tokens = usage.prompt_tokens().saturating_add(usage.output);
        }
        usage
    }

    /// Sends a request and collects its answer.
    pub(super) fn exchange(
        &self,
        wire: &Wire<'_>,
        decoder: &mut dyn Decoder,
        mut out: Collector<'_>,
        control: &Control,
    ) -> Result<ModelReply, ModelError> {
        let ending = match self.converse(wire, decoder, &mut out, control) {
            Ok(ending) => ending,
            Err(error) => return Err(ModelError { streamed: out.said(), ..error }),
        };
        let stop = match ending.stop {
            // some servers say "stop" although calls came: their presence decides
            StopReason::Stop if out.has_calls() => StopReason::ToolUse,
            StopReason::ToolUse if !out.has_calls() => StopReason::Stop,
            stop => stop,
        };
        Ok(ModelReply {
            content: out.blocks(),
            usage: self.priced(ending.usage),
            stop,
            model: self.reference.model.clone(),
            provider: self.reference.provider.clone(),
            api: wire.api,
            cli_session: None,
        })
    }

    fn converse(
        &self,
        wire: &Wire<'_>,
        decoder: &mut dyn Decoder,
        out: &mut Collector<'_>,
        control: &Control,
    ) -> Result<Ending, ModelError> {
        let mut answer = self.begin(wire.path, &wire.headers, &wire.body, control)?;
        let media = answer.media_type();
        let in_one_piece = wire.framing == Framing::Sse && (media == "application/json" || media.ends_with("+json"));
        if in_one_piece {
            decoder.whole(&self.rest(&mut answer)?, out)?;
        } else {
            self.stream(&mut answer, wire.framing, decoder, out)?;
        }
        decoder.ending(out)
    }

    /// Sends a request; an answer that says it failed is the error it tells of.
    fn begin(
        &self,
        path: &str,
        headers: &[(String, Secret)],
        body: &Value,
        control: &Control,
    ) -> Result<Answer, ModelError> {
        let url = format!("{}{path}", self.base_url);
        let body = body.to_string();
        let headers = self.with_headers(headers);
        let request = Request { url: &url, headers: &headers, body: Some(body.as_bytes()), deadlines: http::MODEL };
        let mut answer = self.client.send(&request, control).map_err(|fault| self.transport(&fault))?;
        if !(200..300).contains(&answer.status) {
            return Err(self.refusal(&mut answer));
        }
        // a login page, a proxy, the server's own web interface: they say 200 as well
        if answer.media_type() == "text/html" {
            return Err(self.unusable("it is a web page, so this is not a model server; look at baseUrl"));
        }
        Ok(answer)
    }

    /// Asks with the key for an answer that is one JSON value.
    pub(super) fn ask(&self, path: &str, body: &Value, control: &Control) -> Result<Value, ModelError> {
        let mut answer = self.begin(path, &self.bearer(), body, control)?;
        self.rest(&mut answer)
    }

    fn rest(&self, answer: &mut Answer) -> Result<Value, ModelError> {
        let text = answer.read_all(limits::MODEL_WHOLE_BYTES).map_err(|fault| self.transport(&fault))?;
        self.json(std::str::from_utf8(&text).map_err(|fault| self.unusable(fault))?)
    }

    fn stream(
        &self,
        answer: &mut Answer,
        framing: Framing,
        decoder: &mut dyn Decoder,
        out: &mut Collector<'_>,
    ) -> Result<(), ModelError> {
        let mut frames = Frames::new(framing);
        let mut buf = [0; 16 * 1024];
        loop {
            let count = answer.read(&mut buf, limits::MODEL_STREAM_BYTES).map_err(|fault| self.transport(&fault))?;
            frames.push(buf.get(..count).unwrap_or_default());
            while let Some(frame) = frames.next().map_err(|fault| self.unusable(fault))? {
                if decoder.frame(&frame, out)? == Flow::Done {
                    answer.drain(TAIL);
                    return Ok(());
                }
            }
            if count == 0 {
                break;
            }
            if out.told() {
                answer.steady();
            }
        }
        self.last_frame(frames.finish(), decoder, out)
    }

    /// What the end of a stream completes: its last event, or half of one when the connection broke.
    fn last_frame(
        &self,
        frame: Result<Option<Frame>, FrameFault>,
        decoder: &mut dyn Decoder,
        out: &mut Collector<'_>,
    ) -> Result<(), ModelError> {
        let Some(frame) = frame.map_err(|_| self.cut())? else { return Ok(()) };
        match decoder.frame(&frame, out) {
            Err(error) if error.kind == ErrorKind::Protocol => Err(self.cut()),
            read => read.map(|_| ()),
        }
    }

    /// Ours, with those of the configuration in their place.
    fn with_headers(&self, ours: &[(String, Secret)]) -> Vec<(String, Secret)> {
        let replaced = |name: &str| self.headers.iter().any(|(theirs, _)| theirs.eq_ignore_ascii_case(name));
        let kept = ours.iter().filter(|(name, _)| !replaced(name)).cloned();
        kept.chain(self.headers.iter().cloned()).collect()
    }

    /// `Authorization: Bearer` with the key, if there is one.
    pub(super) fn bearer(&self) -> Vec<(String, Secret)> {
        let value = self.key.iter().map(|key| Secret::new(format!("Bearer {}", key.expose())));
        value.map(|value| ("authorization".to_string(), value)).collect()
    }

    fn refusal(&self, answer: &mut Answer) -> ModelError {
        let retry_after = answer.retry_after();
        let body = answer.read_some(limits::MODEL_ERROR_BYTES, limits::MODEL_ERROR_TIME);
        ModelError::status(self.provider(), answer.status, retry_after, &body, self.key.as_ref())
    }

    fn transport(&self, fault: &HttpError) -> ModelError {
        ModelError::transport(self.provider(), fault)
    }

    /// An answer that cannot be read; the text of a JSON fault names a place, never a content.
    pub(super) fn unusable(&self, fault: impl std::fmt::Display) -> ModelError {
        ModelError::protocol(self.provider(), fault)
    }

    /// A stream that stopped before its end.
    pub(super) fn cut(&self) -> ModelError {
        let mut error = ModelError::protocol(self.provider(), "it broke off before its end");
        error.kind = ErrorKind::Network;
        error
    }

    /// One JSON value of a stream, or the whole answer.
    pub(super) fn json(&self, data: &str) -> Result<Value, ModelError> {
        if check::has_too_many_values(data) {
            return Err(self.unusable(format!("it has more than {} JSON values", limits::JSON_VALUES)));
        }
        serde_json::from_str(data).map_err(|fault| self.unusable(format!("malformed JSON: {fault}")))
    }
}

/// What one wire form sends.
pub(super) struct Wire<'a> {
    /// As transcripts name it.
    pub(super) api: &'static str,
    /// Follows the base address.
    pub(super) path: &'a str,
    /// Its own headers.
    pub(super) headers: Vec<(String, Secret)>,
    /// The request.
    pub(super) body: Value,
    /// How a streamed answer is cut.
    pub(super) framing: Framing,
}

/// A count at a path such as `usage.input_tokens`, 0 when absent.
pub(super) fn tokens(value: &Value, path: &str) -> u64 {
    let found = path.split('.').try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_u64).unwrap_or(0)
}

/// A text member, empty when absent.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
