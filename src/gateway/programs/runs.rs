//! Runs that HTTP programs order: from the order to a run in its lane, its text as it comes, its one end, and what
//! happens when the program goes away (http.md 6.7).

use std::time::Duration;

use super::feed::Feed;
use crate::agent::control::AbortReason;
use crate::agent::message::{Block, Usage};
use crate::agent::model::ModelRef;
use crate::agent::run::{Cause, ClientCall, ClientTools};
use crate::gateway::event::{Effect, Input};
use crate::gateway::intake::Intake;
use crate::gateway::runs::outcome::Outcome;
use crate::gateway::runs::{Asker, Origin, Run, RunNo};
use crate::gateway::session_key;
use crate::gateway::state::State;
use crate::protocol::errors::WireError;
use crate::store::session::throwaway::Kind;
use crate::sys::clock::Now;

/// A turn a program wants.
#[derive(Debug)]
pub struct RunOrder {
    /// Names the run.
    pub run_id: String,
    /// Its agent, which exists.
    pub agent: String,
    /// Its session, as written; the state makes it canonical.
    pub session_key: String,
    /// Whether the program names it, and can do so again.
    pub is_named: bool,
    /// What is said.
    pub prompt: Vec<Block>,
    /// More for the system prompt.
    pub extra_system: Option<String>,
    /// The model, for this turn.
    pub model: Option<ModelRef>,
    /// The channel it is said to come from.
    pub channel: Option<String>,
    /// The program's own tools and how the model is to answer.
    pub tools: ClientTools,
    /// Time limit; the agent's own when none.
    pub limit: Option<Duration>,
}

/// How a run ended, for a program.
#[derive(Debug)]
pub struct Ended {
    /// What it said, or why it failed.
    pub result: Result<Done, Failed>,
    /// Tokens of all its model calls.
    pub usage: Usage,
}

/// A run that ended well.
#[derive(Debug)]
pub struct Done {
    /// Texts for people, one each message.
    pub texts: Vec<String>,
    /// Calls of the program's own tools, which it is to answer.
    pub calls: Vec<ClientCall>,
    /// Why the model stopped, as transcripts name it.
    pub stop_reason: &'static str,
}

/// A run that did not.
#[derive(Debug)]
pub struct Failed {
    /// Why; none when the order was refused before it became a run.
    pub cause: Option<Cause>,
    /// The provider's HTTP status, if there was one.
    pub status: Option<u16>,
    /// For people; bounded, no secrets.
    pub error: WireError,
}

impl State {
    /// Takes an order; what becomes of it is told through the ticket's feed.
    pub fn order_run(&mut self, ticket: u64, order: RunOrder, now: Now, fx: &mut Vec<Effect>) {
        let place = session_key::of_key(&self.config, &order.session_key, Some(&order.agent));
        let limit = order.limit.unwrap_or(self.config.agents.defaults.timeout);
        let session_key = place.key.clone();
        let intake = Intake {
            extra_system: order.extra_system,
            model: order.model,
            channel: order.channel,
            client_tools: order.tools,
            throwaway: (!order.is_named).then_some(Kind::Call),
            ..Intake::new(place, order.run_id, Origin::Agent, order.prompt, Some(limit))
        };
        fx.push(Effect::Feed(ticket, Feed::Taken { session_key }));
        if let Err(error) = self.take_in_for(None, Some(Asker::Program(ticket)), intake, now, fx) {
            // Of the two the refusal counts.
            fx.retain(|effect| !matches!(effect, Effect::Feed(of, Feed::Taken { .. }) if *of == ticket));
            fx.push(Effect::Feed(ticket, Feed::failed(error)));
        }
    }

    /// More text of a run that a program reads; silence is not told.
    pub fn feed_text(&mut self, no: RunNo, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no) else { return };
        if let Some(Asker::Program(ticket)) = run.asker {
            let more = run.said.feed();
            fx.extend((!more.is_empty()).then(|| Effect::Feed(ticket, Feed::Text(more))));
        }
    }

    /// The end of a run that a program waits for.
    pub fn program_ended(
        &mut self,
        ticket: u64,
        run: &Run,
        outcome: &Outcome,
        error: Option<WireError>,
        fx: &mut Vec<Effect>,
    ) {
        let result = match error {
            Some(error) => Err(Failed { cause: outcome.cause(), status: outcome.status(), error }),
            None => Ok(Done {
                texts: outcome.texts(run),
                calls: outcome.account.calls.clone(),
                stop_reason: outcome.stop_reason,
            }),
        };
        let ended = Ended { result, usage: outcome.account.usage };
        fx.push(Effect::Feed(ticket, Feed::Ended(Box::new(ended))));
    }

    /// A program has gone: nobody would read the answer.
    pub fn program_gone(&mut self, ticket: u64, now: Now, fx: &mut Vec<Effect>) {
        self.held_inputs.retain(|held| !matches!(held, Input::Program { ticket: of, .. } if *of == ticket));
        if self.call_is_over(ticket) {
            return;
        }
        let of = |run: &Run| matches!(run.asker, Some(Asker::Program(asked)) if asked == ticket);
        let Some(no) = self.runs.all().find(|(_, run)| of(run)).map(|(no, _)| no) else { return };
        log::info!(target: "agent", "the client has gone, its run is stopped ticket={ticket}");
        self.stop_run(no, AbortReason::Gone, now, fx);
        self.start_due_runs(now, fx);
    }
}
