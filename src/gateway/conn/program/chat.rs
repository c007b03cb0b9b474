//! `/v1/chat/completions` on its connection: the order, and the pieces of its answer as they come (http.md 6.4 to 6.7).

use std::io;

use super::telling::{self, Stream, Voice, Wish};
use super::{Answered, Exchange};
use crate::agent::message::{Block, Usage};
use crate::gateway::programs::runs::{Done, Ended};
use crate::http::api::chat::{self, Answer, BAD_PICTURE, Call, Choice, SILENCE, Tokens};
use crate::http::api::fault::Fault;
use crate::http::api::invalid;
use crate::http::reply::Reply;
use crate::sys::clock;

/// Serves one request.
pub fn serve(exchange: &Exchange<'_>) -> Answered {
    run(exchange).unwrap_or_else(|refused| refused)
}

fn run(exchange: &Exchange<'_>) -> Result<Answered, Answered> {
    let request = chat::read(&exchange.body.take()).map_err(|text| invalid(&text))?;
    let target = exchange.aim("openai", &request.model, &request.user)?;
    let pictures = exchange.pictures(&request.said.pictures, "chatCompletions", &target, BAD_PICTURE)?;
    let id = format!("chatcmpl_{}", target.id);
    let mut work = Work {
        answer: Answer::new(&id, clock::wall_ms() / 1000, &request.model),
        include_usage: request.include_usage,
        choice: request.choice.clone(),
        said: false,
    };
    let wish = Wish { stream: request.stream, shows: request.choice == Choice::Auto };
    let prompt = std::iter::once(Block::text(request.said.prompt)).chain(pictures).collect();
    let mut order = target.order(id, prompt);
    order.extra_system = request.said.system;
    order.tools = telling::client_tools(request.tools, request.choice, request.knobs, request.said.results);
    Ok(telling::tell(exchange, order, wish, &mut work))
}

/// A request whose run is ordered.
struct Work {
    answer: Answer,
    include_usage: bool,
    choice: Choice,
    /// Whether text has gone out.
    said: bool,
}

/// What a run's end means for a program.
struct End {
    text: String,
    calls: Vec<Call>,
    finish: &'static str,
    tokens: Tokens,
}

impl Work {
    fn ended(&self, ended: Ended) -> Result<End, Fault> {
        let done = telling::done(ended.result, &self.choice)?;
        let finish = finish(&done);
        let calls: Vec<Call> = done.calls.into_iter().map(telling::call).collect();
        let text = done.texts.join("\n\n");
        let text = if text.is_empty() && calls.is_empty() { SILENCE.to_string() } else { text };
        Ok(End { text, calls, finish, tokens: tokens(&ended.usage) })
    }
}

impl Voice for Work {
    fn whole(&mut self, ended: Ended) -> Reply {
        match self.ended(ended) {
            Ok(end) => Reply::json(200, self.answer.whole(&end.text, &end.calls, end.finish, end.tokens)),
            Err(fault) => fault.reply(),
        }
    }

    fn begin(&mut self, stream: &mut Stream<'_>) -> io::Result<()> {
        stream.data(&self.answer.role())
    }

    fn more(&mut self, text: &str, stream: &mut Stream<'_>) -> io::Result<()> {
        self.said = true;
        stream.data(&self.answer.text(text))
    }

    fn end(&mut self, ended: Ended, stream: &mut Stream<'_>) -> io::Result<()> {
        let end = match self.ended(ended) {
            Ok(end) => end,
            Err(fault) => return stream.data(&fault.object().to_string()),
        };
        if !self.said && !end.text.is_empty() {
            stream.data(&self.answer.text(&end.text))?;
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

fn tokens(usage: &Usage) -> Tokens {
    Tokens { prompt: usage.prompt_tokens(), cached: usage.cache_read, completion: usage.output }
}
