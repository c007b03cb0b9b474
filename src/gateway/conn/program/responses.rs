//! `/v1/responses` on its connection: the request's way to a run, and its answer, whole or as events that leave as they
//! come (http.md 8). What the events say is `http::api::responses`'.

use std::io;

use serde_json::Value;

use super::telling::{self, Stream, Voice, Wish};
use super::{Answered, Exchange};
use crate::agent::message::Block;
use crate::config::Config;
use crate::gateway::event::{HttpAnswer, HttpAsk, Input};
use crate::gateway::programs::previous::{Earlier, Given, Holder, Known};
use crate::gateway::programs::runs::{Ended, RunOrder};
use crate::gateway::programs::target::Target;
use crate::http::api::chat::Choice;
use crate::http::api::fault::Fault;
use crate::http::api::responses::Request;
use crate::http::api::responses::answer::{Call, Done, Failure, Head, Tokens};
use crate::http::api::responses::events::{Event, Sequence};
use crate::http::api::responses::media::FileRules;
use crate::http::api::responses::prompt::Prompt;
use crate::http::api::strict::Refused;
use crate::http::api::{invalid, messages};
use crate::http::reply::Reply;
use crate::http::route;
use crate::sys::clock;

/// What refuses pictures.
const BAD_PICTURE: &str = "input: a picture is not taken. Send png, jpeg, gif, webp, heic or heif as \
                           `data:<type>;base64,…`, at most 8 of 10 MiB; addresses are fetched only with \
                           gateway.http.endpoints.responses.images.allowUrl";

/// Serves one request.
pub fn serve(exchange: &Exchange<'_>) -> Answered {
    run(exchange).unwrap_or_else(|refused| refused)
}

fn run(exchange: &Exchange<'_>) -> Result<Answered, Answered> {
    let (mut request, size) = read(exchange.body.take())?;
    let mut target = exchange.aim("openresponses", &request.model, request.user.as_deref().unwrap_or_default())?;
    check_size(size, &target.config)?;
    let holder = exchange.holder(&target.agent);
    let known = exchange.earlier(&request, holder)?;
    let goes_on = known.session_key.is_some();
    target.session_key = known.session_key.unwrap_or(target.session_key);
    if request.previous.is_some() && !goes_on {
        log::info!(target: "http", "previous_response_id is not known, a new conversation begins");
    }
    let prompt = request.prompt(&file_rules(&target.config), |id| known.items.get(id).cloned()).map_err(refuse)?;
    let head = Head {
        id: format!("resp_{}", target.id),
        message_id: format!("msg_{}", target.id),
        created_at: clock::wall_ms() / 1000,
        model: request.model.clone(),
        previous: request.previous.take().map(|id| Some(id).filter(|_| goes_on)),
    };
    let mut work = Work {
        exchange,
        sequence: Sequence::new(head),
        holder,
        session_key: target.session_key.clone(),
        choice: request.choice.clone(),
    };
    let wish = Wish { stream: request.stream, shows: request.choice == Choice::Auto };
    let pictures = exchange.pictures(&prompt.images, "responses", &target, BAD_PICTURE)?;
    let order = order(request, prompt, pictures, &target, &work.sequence.head.id);
    Ok(telling::tell(exchange, order, wish, &mut work))
}

/// The request, and how large it was; its bytes are not kept while it is worked on.
fn read(body: Vec<u8>) -> Result<(Request, usize), Reply> {
    Ok((Request::read(&body).map_err(refuse)?, body.len()))
}

/// A request whose run is ordered.
struct Work<'a> {
    exchange: &'a Exchange<'a>,
    sequence: Sequence,
    holder: Holder,
    session_key: String,
    choice: Choice,
}

fn refuse(refused: Refused) -> Reply {
    invalid(&refused.0)
}

fn order(request: Request, prompt: Prompt, pictures: Vec<Block>, target: &Target, run_id: &str) -> RunOrder {
    let content = std::iter::once(Block::text(prompt.text)).chain(pictures).collect();
    let mut order = target.order(run_id.to_string(), content);
    order.extra_system = prompt.system;
    order.tools = telling::client_tools(request.tools, request.choice, request.knobs, prompt.results);
    order
}

/// The operator may want smaller bodies than the interface takes.
fn check_size(size: usize, config: &Config) -> Result<(), Reply> {
    let most = config.gateway.http.responses_max_body_bytes.and_then(|bytes| usize::try_from(bytes).ok());
    match most.is_some_and(|most| size > most) {
        true => Err(Reply::too_large()),
        false => Ok(()),
    }
}

/// What `gateway.http.endpoints.responses.files` allows.
fn file_rules(config: &Config) -> FileRules {
    let at = config.raw.pointer("/gateway/http/endpoints/responses/files").unwrap_or(&Value::Null);
    let size = |name: &str| at.get(name).and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
    let mimes = at.get("allowedMimes").and_then(Value::as_array).into_iter().flatten();
    let unset = FileRules::default();
    FileRules {
        mimes: mimes.filter_map(Value::as_str).map(String::from).collect(),
        max_bytes: size("maxBytes").unwrap_or(unset.max_bytes),
        max_chars: size("maxChars").unwrap_or(unset.max_chars),
    }
}

impl Exchange<'_> {
    /// Who may name the answer later: the same secret or user, for the same agent and session (http.md 8.1).
    fn holder(&self, agent: &str) -> Holder {
        let header = |name: &str| self.head.header(name).unwrap_or_default();
        let login = self.hub.settings.proxy_login.as_ref();
        let user = login.map_or("", |login| header(&login.user_header));
        Holder::of(&[self.head.bearer().unwrap_or_default(), user, agent, header("x-openclaw-session-key")])
    }

    /// What is known of earlier answers that the request names.
    fn earlier(&self, request: &Request, holder: Holder) -> Result<Known, Reply> {
        let items = request.references().map_err(refuse)?;
        if items.is_empty() && request.previous.is_none() {
            return Ok(Known::default());
        }
        let earlier = Earlier { holder, response: request.previous.clone(), items };
        match self.hub.ask(HttpAsk::Earlier(Box::new(earlier))) {
            Some(HttpAnswer::Earlier(known)) => Ok(known),
            _ => Err(route::unavailable()),
        }
    }
}

impl Work<'_> {
    fn ended(&self, ended: Ended) -> Result<Done, (Fault, Tokens)> {
        let usage = &ended.usage;
        let tokens = Tokens {
            input: usage.prompt_tokens(),
            cached: usage.cache_read,
            cache_write: usage.cache_write,
            output: usage.output,
        };
        let done = telling::done(ended.result, &self.choice).map_err(|fault| (fault, tokens))?;
        let calls = done.calls.into_iter().map(telling::call).enumerate();
        let calls = calls.map(|(at, call)| Call {
            id: self.sequence.head.call_id(at),
            call_id: call.id,
            name: call.name,
            arguments: call.arguments,
        });
        let done =
            Done { calls: calls.collect(), text: done.texts.join("\n\n"), cut: done.stop_reason == "length", tokens };
        self.remember(&done);
        Ok(done)
    }

    /// Told before the answer goes out, so that a request that names it finds it.
    fn remember(&self, done: &Done) {
        let message =
            Some((self.sequence.head.message_id.clone(), done.said().to_string())).filter(|(_, text)| !text.is_empty());
        let call = |call: &Call| (call.id.clone(), messages::call_line(&call.call_id, &call.name, &call.arguments));
        let given = Given {
            id: self.sequence.head.id.clone(),
            holder: self.holder,
            session_key: self.session_key.clone(),
            items: message.into_iter().chain(done.calls.iter().map(call)).collect(),
        };
        self.exchange.hub.tell(Input::Given(Box::new(given)));
    }
}

impl Voice for Work<'_> {
    fn whole(&mut self, ended: Ended) -> Reply {
        match self.ended(ended) {
            Ok(done) => Reply::json(200, self.sequence.head.whole(&done).to_string()),
            Err((fault, tokens)) => fault.reply_with(self.sequence.head.failed(&failure(&fault, tokens)).to_string()),
        }
    }

    fn begin(&mut self, stream: &mut Stream<'_>) -> io::Result<()> {
        send(stream, &self.sequence.begin())
    }

    fn more(&mut self, text: &str, stream: &mut Stream<'_>) -> io::Result<()> {
        send(stream, &[self.sequence.text(text)])
    }

    fn end(&mut self, ended: Ended, stream: &mut Stream<'_>) -> io::Result<()> {
        match self.ended(ended) {
            Ok(done) => send(stream, &self.sequence.end(&done)),
            Err((fault, tokens)) => send(stream, &[self.sequence.fail(&failure(&fault, tokens))]),
        }
    }
}

fn failure(fault: &Fault, tokens: Tokens) -> Failure<'_> {
    Failure { code: fault.kind, message: &fault.message, tokens }
}

fn send(stream: &mut Stream<'_>, events: &[Event]) -> io::Result<()> {
    events.iter().try_for_each(|event| stream.event(event.name, &event.data))
}
