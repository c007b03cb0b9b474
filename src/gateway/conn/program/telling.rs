//! A turn that a program orders, told as it goes: whole at its end, or piece by piece. What is common to the OpenAI-style
//! interfaces; each has a [`Voice`] of its own.

use std::io;
use std::net::TcpStream;

use super::{Answered, Exchange, Ordered};
use crate::agent::model::{Sampling, ToolChoice, ToolSpec};
use crate::agent::run::{ClientCall, ClientResult, ClientTools};
use crate::gateway::event::Order;
use crate::gateway::programs::failure::fault;
use crate::gateway::programs::feed::Feed;
use crate::gateway::programs::runs::{Done, Ended, Failed, RunOrder};
use crate::http::api::chat::{Call, Choice, DONE, Function, Knobs, unmet};
use crate::http::api::fault::Fault;
use crate::http::reply::Reply;
use crate::http::route;
use crate::http::sse::EventStream;

/// A stream to a program.
pub type Stream<'a> = EventStream<&'a TcpStream>;

/// How an interface says what happens.
pub trait Voice {
    /// The whole answer.
    fn whole(&mut self, ended: Ended) -> Reply;
    /// What goes out at once.
    fn begin(&mut self, stream: &mut Stream<'_>) -> io::Result<()>;
    /// More text.
    fn more(&mut self, text: &str, stream: &mut Stream<'_>) -> io::Result<()>;
    /// The end, but for the last line.
    fn end(&mut self, ended: Ended, stream: &mut Stream<'_>) -> io::Result<()>;
}

/// How a turn is wanted to be told.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Piece by piece.
    pub stream: bool,
    /// Whether text is shown before it is known how the turn ends: where a call must come, it is only beside one.
    pub shows: bool,
}

/// Orders a turn and tells how it goes.
pub fn tell(exchange: &Exchange<'_>, order: RunOrder, wish: Wish, voice: &mut dyn Voice) -> Answered {
    let Some(mut ordered) = exchange.order(Order::Run(Box::new(order))) else {
        return Answered::Reply(route::unavailable());
    };
    // An order that is refused before it became a run has a status, streaming or not.
    match ordered.next(exchange) {
        Some(Feed::Taken { .. } | Feed::Text(_)) if wish.stream => streamed(exchange, &mut ordered, wish, voice),
        Some(Feed::Taken { .. } | Feed::Text(_)) => whole(exchange, &mut ordered, voice),
        Some(Feed::Ended(ended)) => Answered::Reply(voice.whole(*ended)),
        // An answer to a call is no answer to a run.
        Some(Feed::Answer(_) | Feed::Reply(_)) | None => Answered::Gone,
    }
}

fn whole(exchange: &Exchange<'_>, ordered: &mut Ordered<'_>, voice: &mut dyn Voice) -> Answered {
    loop {
        match ordered.next(exchange) {
            Some(Feed::Ended(ended)) => return Answered::Reply(voice.whole(*ended)),
            Some(Feed::Taken { .. } | Feed::Text(_)) => {}
            Some(Feed::Answer(_) | Feed::Reply(_)) | None => return Answered::Gone,
        }
    }
}

/// A write that fails means that nobody reads; the order stops the run when it is dropped.
fn streamed(exchange: &Exchange<'_>, ordered: &mut Ordered<'_>, wish: Wish, voice: &mut dyn Voice) -> Answered {
    match pieces(exchange, ordered, wish, voice) {
        Ok(true) => Answered::Streamed(exchange.after_stream()),
        Ok(false) | Err(_) => Answered::Gone,
    }
}

/// False when the client has gone before the end.
fn pieces(exchange: &Exchange<'_>, ordered: &mut Ordered<'_>, wish: Wish, voice: &mut dyn Voice) -> io::Result<bool> {
    let mut stream = exchange.stream()?;
    voice.begin(&mut stream)?;
    loop {
        match ordered.next(exchange) {
            Some(Feed::Text(text)) if wish.shows => voice.more(&text, &mut stream)?,
            Some(Feed::Text(_) | Feed::Taken { .. }) => {}
            Some(Feed::Ended(ended)) => {
                voice.end(*ended, &mut stream)?;
                stream.data(DONE)?;
                return stream.finish().map(|()| true);
            }
            Some(Feed::Answer(_) | Feed::Reply(_)) | None => return Ok(false),
        }
    }
}

/// A run that ended well and did what the program insisted on, or why there is no answer.
pub fn done(result: Result<Done, Failed>, choice: &Choice) -> Result<Done, Fault> {
    let done = result.map_err(|failed| fault(&failed))?;
    match *choice != Choice::Auto && done.calls.is_empty() {
        true => Err(Fault::new(502, "api_error", unmet(choice))),
        false => Ok(done),
    }
}

/// What a program brings along, in the agent's words.
pub fn client_tools(tools: Vec<Function>, choice: Choice, knobs: Knobs, results: Vec<(String, String)>) -> ClientTools {
    let tool =
        |tool: Function| ToolSpec { name: tool.name, description: tool.description, parameters: tool.parameters };
    ClientTools {
        tools: tools.into_iter().map(tool).collect(),
        choice: match choice {
            Choice::Auto => ToolChoice::Auto,
            Choice::Required => ToolChoice::Required,
            Choice::Named(name) => ToolChoice::Named(name),
        },
        sampling: sampling(knobs),
        results: results.into_iter().map(|(id, text)| ClientResult { id, text }).collect(),
    }
}

fn sampling(knobs: Knobs) -> Sampling {
    Sampling {
        max_tokens: knobs.max_tokens,
        temperature: knobs.temperature,
        top_p: knobs.top_p,
        frequency_penalty: knobs.frequency_penalty,
        presence_penalty: knobs.presence_penalty,
        seed: knobs.seed,
        stop: knobs.stop,
        response_format: knobs.response_format,
    }
}

/// A call of one of the program's tools, in the program's words.
pub fn call(call: ClientCall) -> Call {
    let arguments = match call.arguments {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Call { id: call.id, name: call.name, arguments }
}
