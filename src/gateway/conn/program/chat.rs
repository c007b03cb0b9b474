//! `/v1/chat/completions` on its connection: the order, and the pieces of its answer as they come (http.md 6.4 to 6.7).

use std::io;

use super::{Answered, Exchange, Ordered, pictures};
use crate::agent::message::{Block, Usage};
use crate::agent::model::{Sampling, ToolChoice, ToolSpec};
use crate::agent::run::{ClientCall, ClientResult, ClientTools};
use crate::gateway::event::Order;
use crate::gateway::programs::failure::fault;
use crate::gateway::programs::feed::Feed;
use crate::gateway::programs::runs::{Done, Ended, RunOrder};
use crate::gateway::programs::target::Target;
use crate::http::api::chat::{self, Answer, BAD_PICTURE, Call, Choice, DONE, Knobs, Request, SILENCE, Tokens, unmet};
use crate::http::api::fault::Fault;
use crate::http::api::invalid;
use crate::http::reply::Reply;
use crate::http::route;
use crate::http::sse::EventStream;
use crate::sys::clock;

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
    answer: Answer,
    stream: bool,
    include_usage: bool,
    choice: Choice,
}

fn begin<'a>(exchange: &'a Exchange<'a>) -> Result<Work<'a>, Reply> {
    let request = chat::read(exchange.body.bytes()).map_err(|text| invalid(&text))?;
    let target = exchange.aim("openai", &request.model, &request.user)?;
    let rules = pictures::rules(&target.config, "chatCompletions");
    let pictures = pictures::gather(&request.said.pictures, &rules, &target).ok_or_else(|| invalid(BAD_PICTURE))?;
    let id = format!("chatcmpl_{}", target.id);
    let answer = Answer::new(&id, clock::wall_ms() / 1000, &request.model);
    let (stream, include_usage, choice) = (request.stream, request.include_usage, request.choice.clone());
    let order = Order::Run(Box::new(order(request, &target, id, pictures)));
    let ordered = exchange.order(order).ok_or_else(route::unavailable)?;
    Ok(Work { exchange, ordered, answer, stream, include_usage, choice })
}

fn order(request: Request, target: &Target, id: String, pictures: Vec<Block>) -> RunOrder {
    let prompt = std::iter::once(Block::text(request.said.prompt)).chain(pictures).collect();
    let tool =
        |tool: chat::Function| ToolSpec { name: tool.name, description: tool.description, parameters: tool.parameters };
    RunOrder {
        extra_system: request.said.system,
        tools: ClientTools {
            tools: request.tools.into_iter().map(tool).collect(),
            choice: match request.choice {
                Choice::Auto => ToolChoice::Auto,
                Choice::Required => ToolChoice::Required,
                Choice::Named(name) => ToolChoice::Named(name),
            },
            sampling: sampling(request.knobs),
            results: request.said.results.into_iter().map(|(id, text)| ClientResult { id, text }).collect(),
        },
        ..target.order(id, prompt)
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

/// What a run's end means for a program.
struct End {
    text: String,
    calls: Vec<Call>,
    finish: &'static str,
    tokens: Tokens,
}

impl Work<'_> {
    fn run(mut self) -> Answered {
        // An order that is refused before it became a run has a status, streaming or not.
        match self.ordered.next(self.exchange) {
            Some(Feed::Taken { .. } | Feed::Text(_)) if self.stream => self.streamed(),
            Some(Feed::Taken { .. } | Feed::Text(_)) => self.whole(),
            Some(Feed::Ended(ended)) => Answered::Reply(self.reply(*ended)),
            // An answer to a call is no answer to a run.
            Some(Feed::Answer(_)) | None => Answered::Gone,
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
            Ok(end) => {
                let text = if end.text.is_empty() && end.calls.is_empty() { SILENCE } else { &end.text };
                Reply::json(200, self.answer.whole(text, &end.calls, end.finish, end.tokens))
            }
            Err(fault) => fault.reply(),
        }
    }

    fn end(&self, ended: Ended) -> Result<End, Fault> {
        let done = ended.result.map_err(|failed| fault(&failed))?;
        if self.choice != Choice::Auto && done.calls.is_empty() {
            return Err(Fault::new(502, "api_error", unmet(&self.choice)));
        }
        let finish = finish(&done);
        let calls = done.calls.into_iter().map(call).collect();
        Ok(End { text: done.texts.join("\n\n"), calls, finish, tokens: tokens(&ended.usage) })
    }

    /// A write that fails means that nobody reads; the order stops the run when it is dropped.
    fn streamed(&mut self) -> Answered {
        match self.pieces() {
            Ok(true) => Answered::Streamed(self.exchange.after_stream()),
            Ok(false) | Err(_) => Answered::Gone,
        }
    }

    /// False when the client has gone before the end.
    fn pieces(&mut self) -> io::Result<bool> {
        let mut stream = self.exchange.stream()?;
        stream.data(&self.answer.role())?;
        // Where a call must come, text is shown only beside one.
        let shows = self.choice == Choice::Auto;
        let mut said = false;
        loop {
            match self.ordered.next(self.exchange) {
                Some(Feed::Text(text)) if shows => {
                    stream.data(&self.answer.text(&text))?;
                    said = true;
                }
                Some(Feed::Text(_) | Feed::Taken { .. }) => {}
                Some(Feed::Ended(ended)) => {
                    self.last(&mut stream, *ended, said)?;
                    stream.data(DONE)?;
                    return stream.finish().map(|()| true);
                }
                Some(Feed::Answer(_)) | None => return Ok(false),
            }
        }
    }

    fn last(&self, stream: &mut EventStream<impl io::Write>, ended: Ended, said: bool) -> io::Result<()> {
        let end = match self.end(ended) {
            Ok(end) => end,
            Err(fault) => return stream.data(&fault.object().to_string()),
        };
        let text = if end.text.is_empty() && end.calls.is_empty() { SILENCE } else { &end.text };
        if !said && !text.is_empty() {
            stream.data(&self.answer.text(text))?;
        }
        for (index, call) in end.calls.iter().enumerate() {
            self.answer.call(index, call).iter().try_for_each(|chunk| stream.data(chunk))?;
        }
        stream.data(&self.answer.finish(end.finish))?;
        match self.include_usage {
            true => stream.data(&self.answer.usage(end.tokens)),
            false => Ok(()),
        }
    }
}

fn finish(done: &Done) -> &'static str {
    match done.stop_reason {
        "length" => "length",
        _ if !done.calls.is_empty() => "tool_calls",
        _ => "stop",
    }
}

fn call(call: ClientCall) -> Call {
    let arguments = match call.arguments {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Call { id: call.id, name: call.name, arguments }
}

fn tokens(usage: &Usage) -> Tokens {
    Tokens { prompt: usage.prompt_tokens(), cached: usage.cache_read, completion: usage.output }
}
