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
    /// Whether the program can name it again.
    pub named: bool,
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
            named: order.named,
            throwaway: (!order.named).then_some(Kind::Call),
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
        self.hooks.gone(ticket);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::disk::{Done as Stored, Job, Then};
    use crate::gateway::event::Order;
    use crate::gateway::script::Script;

    fn order(script: &mut Script, named: bool) -> Vec<Effect> {
        let order = RunOrder {
            run_id: "r".into(),
            agent: "main".into(),
            session_key: "agent:main:openai-user:ann".into(),
            named,
            prompt: vec![Block::text("hi")],
            extra_system: None,
            model: None,
            channel: None,
            tools: ClientTools::default(),
            limit: None,
        };
        script.state.sessions.ready = true;
        script.raw(Input::Program { ticket: 7, order: Order::Run(Box::new(order)) })
    }

    fn starts(effects: &[Effect]) -> bool {
        effects.iter().any(|effect| matches!(effect, Effect::StartRun(..)))
    }

    fn index_write(effects: Vec<Effect>) -> Option<Then> {
        let write = |effect| if let Effect::Disk(Job::Indexes(_), then) = effect { Some(then) } else { None };
        effects.into_iter().find_map(write)
    }

    /// What follows the line of the message in the journal.
    fn journal_write(effects: Vec<Effect>) -> Option<Then> {
        let write = |effect| match effect {
            Effect::Disk(Job::Journal(..), then @ Then::Commit(_)) => Some(then),
            _ => None,
        };
        effects.into_iter().find_map(write)
    }

    #[test]
    fn a_session_that_a_program_can_name_is_on_disk_before_its_run_starts() {
        let mut script = Script::new(json!({}));
        let effects = order(&mut script, true);
        assert!(!starts(&effects));
        let then = index_write(effects).unwrap();
        let effects = script.raw(Input::Stored { then, done: Stored::Written(Ok(())) });
        assert!(!starts(&effects));
        let then = journal_write(effects).unwrap();
        assert!(starts(&script.raw(Input::Stored { then, done: Stored::Written(Ok(())) })));
    }

    #[test]
    fn a_session_that_nobody_can_name_is_saved_with_the_next_ones() {
        let effects = order(&mut Script::new(json!({})), false);
        assert!(starts(&effects) && index_write(effects).is_none());
    }

    #[test]
    fn a_program_is_told_that_its_session_cannot_be_saved() {
        let mut script = Script::new(json!({}));
        let then = index_write(order(&mut script, true)).unwrap();
        let effects = script.raw(Input::Stored { then, done: Stored::Written(Err("disk full".into())) });
        let told = effects.iter().find_map(|effect| match effect {
            Effect::Feed(7, Feed::Ended(ended)) => ended.result.as_ref().err(),
            _ => None,
        });
        let text = &told.unwrap().error.message;
        assert!(text.contains("not accepted") && text.contains("disk full"), "{text}");
        assert!(!starts(&effects) && script.state.runs.is_empty());
    }

    #[test]
    fn a_program_that_leaves_before_its_session_is_on_disk_starts_nothing() {
        let mut script = Script::new(json!({}));
        let then = index_write(order(&mut script, true)).unwrap();
        script.raw(Input::ProgramGone(7));
        let then = journal_write(script.raw(Input::Stored { then, done: Stored::Written(Ok(())) })).unwrap();
        let effects = script.raw(Input::Stored { then, done: Stored::Written(Ok(())) });
        assert!(!starts(&effects) && script.state.runs.is_empty());
    }
}
