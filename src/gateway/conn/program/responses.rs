//! `/v1/responses` on its connection: the request's way to a run, and its answer, whole or as events that leave as they
//! come (http.md 8). What the events say is `http::api::responses`'.

use std::io;

use super::{Answered, Exchange, Ordered, chat, pictures};
use crate::agent::message::Block;
use crate::gateway::event::{HttpAnswer, HttpAsk, Input, Order};
use crate::gateway::programs::failure::fault;
use crate::gateway::programs::feed::Feed;
use crate::gateway::programs::previous::{Earlier, Given, Holder, Known};
use crate::gateway::programs::runs::{Ended, RunOrder};
use crate::gateway::programs::target::Target;
use crate::http::api::chat::{Choice, DONE, unmet};
use crate::http::api::fault::Fault;
use crate::http::api::responses::Request;
use crate::http::api::responses::answer::{Call, Done, Failure, Head, Tokens};
use crate::http::api::responses::events::{Event, Sequence};
use crate::http::api::responses::prompt::Prompt;
use crate::http::api::strict::Refused;
use crate::http::api::{invalid, messages};
use crate::http::reply::Reply;
use crate::http::route;
use crate::http::sse::EventStream;
use crate::sys::clock;

/// What refuses pictures.
const BAD_PICTURE: &str = "input: a picture is not taken. Send png, jpeg, gif, webp, heic or heif as \
                           `data:<type>;base64,…`, at most 8 of 10 MiB; addresses are fetched only with \
                           gateway.http.endpoints.responses.images.allowUrl";

/// Serves one request.
pub fn serve(exchange: &Exchange<'_>) -> Answered {
    match begin(exchange) {
        Ok(work) => work.run(),
        Err(reply) => Answered::Reply(reply),
    }
}

/// A request whose run is ordered.
struct Work<'a> {
    exchange: &'a Exchange<'a>,
    ordered: Ordered<'a>,
    head: Head,
    holder: Holder,
    session_key: String,
    stream: bool,
    choice: Choice,
}

/// How a run ended, and what it took.
type End = Result<Done, (Fault, Tokens)>;

fn begin<'a>(exchange: &'a Exchange<'a>) -> Result<Work<'a>, Reply> {
    let mut request = Request::read(exchange.body.bytes()).map_err(refuse)?;
    let user = request.user.clone().unwrap_or_default();
    let mut target = exchange.aim("openresponses", &request.model, &user)?;
    let holder = exchange.holder(&target.agent);
    let known = exchange.earlier(&request, holder)?;
    let goes_on = known.session_key.is_some();
    target.session_key = known.session_key.clone().unwrap_or(target.session_key);
    if request.previous.is_some() && !goes_on {
        log::info!(target: "http", "previous_response_id is not known, the conversation starts anew");
    }
    let prompt = request.prompt(|id| known.items.get(id).cloned()).map_err(refuse)?;
    let head = Head {
        id: format!("resp_{}", target.id),
        message_id: format!("msg_{}", target.id),
        created_at: clock::wall_ms() / 1000,
        model: request.model.clone(),
        previous: request.previous.clone().map(|id| Some(id).filter(|_| goes_on)),
    };
    let (stream, choice) = (request.stream, request.choice.clone());
    let order = Order::Run(Box::new(order(request, prompt, &target, &head.id)?));
    let ordered = exchange.order(order).ok_or_else(route::unavailable)?;
    Ok(Work { exchange, ordered, head, holder, session_key: target.session_key, stream, choice })
}

fn refuse(refused: Refused) -> Reply {
    invalid(&refused.0)
}

fn order(request: Request, prompt: Prompt, target: &Target, run_id: &str) -> Result<RunOrder, Reply> {
    let rules = pictures::rules(&target.config, "responses");
    let pictures = pictures::gather(&prompt.images, &rules, target).ok_or_else(|| invalid(BAD_PICTURE))?;
    let content = std::iter::once(Block::text(prompt.text)).chain(pictures).collect();
    Ok(RunOrder {
        extra_system: prompt.system,
        tools: chat::client_tools(request.tools, request.choice, request.knobs, prompt.results),
        ..target.order(run_id.to_string(), content)
    })
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
    fn run(mut self) -> Answered {
        // An order that is refused before it became a run has a status, streaming or not.
        match self.ordered.next(self.exchange) {
            Some(Feed::Taken { .. } | Feed::Text(_)) if self.stream => self.streamed(),
            Some(Feed::Taken { .. } | Feed::Text(_)) => self.whole(),
            Some(Feed::Ended(ended)) => Answered::Reply(self.reply(*ended)),
            None => Answered::Gone,
        }
    }

    fn whole(&mut self) -> Answered {
        loop {
            match self.ordered.next(self.exchange) {
                Some(Feed::Ended(ended)) => return Answered::Reply(self.reply(*ended)),
                Some(_) => {}
                None => return Answered::Gone,
            }
        }
    }

    fn reply(&self, ended: Ended) -> Reply {
        match self.end(ended) {
            Ok(done) => {
                self.remember(&done);
                Reply::json(200, self.head.whole(&done).to_string())
            }
            Err((fault, tokens)) => fault.reply_with(self.head.failed(&failure(&fault, tokens)).to_string()),
        }
    }

    fn end(&self, ended: Ended) -> End {
        let usage = &ended.usage;
        let tokens = Tokens {
            input: usage.prompt_tokens(),
            cached: usage.cache_read,
            cache_write: usage.cache_write,
            output: usage.output,
        };
        let done = ended.result.map_err(|failed| (fault(&failed), tokens))?;
        if self.choice != Choice::Auto && done.calls.is_empty() {
            return Err((Fault::new(502, "api_error", unmet(&self.choice)), tokens));
        }
        let calls = done.calls.into_iter().enumerate().map(|(at, call)| {
            let chat::Call { id, name, arguments } = chat::call(call);
            Call { id: self.head.call_id(at), call_id: id, name, arguments }
        });
        Ok(Done { calls: calls.collect(), text: done.texts.join("\n\n"), cut: done.stop_reason == "length", tokens })
    }

    /// Told before the answer goes out, so that a request that names it finds it.
    fn remember(&self, done: &Done) {
        let message = Some((self.head.message_id.clone(), done.said().to_string())).filter(|(_, text)| !text.is_empty());
        let call = |call: &Call| (call.id.clone(), messages::call_line(&call.call_id, &call.name, &call.arguments));
        let given = Given {
            id: self.head.id.clone(),
            holder: self.holder,
            session_key: self.session_key.clone(),
            items: message.into_iter().chain(done.calls.iter().map(call)).collect(),
        };
        self.exchange.hub.tell(Input::Given(Box::new(given)));
    }

    /// A write that fails means that nobody reads; the order stops the run when it is dropped.
    fn streamed(&mut self) -> Answered {
        match self.events() {
            Ok(true) => Answered::Streamed(self.exchange.after_stream()),
            Ok(false) | Err(_) => Answered::Gone,
        }
    }

    /// False when the client has gone before the end.
    fn events(&mut self) -> io::Result<bool> {
        let mut stream = self.exchange.stream()?;
        let mut sequence = Sequence::new(self.head.clone());
        send(&mut stream, &sequence.begin())?;
        // Where a call must come, text is shown only beside one.
        let shows = self.choice == Choice::Auto;
        loop {
            match self.ordered.next(self.exchange) {
                Some(Feed::Text(text)) if shows => send(&mut stream, &[sequence.text(&text)])?,
                Some(Feed::Text(_) | Feed::Taken { .. }) => {}
                Some(Feed::Ended(ended)) => {
                    send(&mut stream, &self.last(&mut sequence, *ended))?;
                    stream.data(DONE)?;
                    return stream.finish().map(|()| true);
                }
                None => return Ok(false),
            }
        }
    }

    fn last(&self, sequence: &mut Sequence, ended: Ended) -> Vec<Event> {
        match self.end(ended) {
            Ok(done) => {
                self.remember(&done);
                sequence.end(&done)
            }
            Err((fault, tokens)) => vec![sequence.fail(&failure(&fault, tokens))],
        }
    }
}

fn failure(fault: &Fault, tokens: Tokens) -> Failure<'_> {
    Failure { code: fault.kind, message: &fault.message, tokens }
}

fn send(stream: &mut EventStream<impl io::Write>, events: &[Event]) -> io::Result<()> {
    events.iter().try_for_each(|event| stream.event(event.name, &event.data))
}
