//! The loop of the state thread: take an event, let the pure part decide, do what it wants done.
//! Owns the channel ends and the timers; never waits for anything but its queue and the next timer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::conn::outbox::Out;
use super::conn::{Bytes, Hub, Link};
use super::cron::files::CronJob;
use super::desk::{Behalf, RunDesk};
use super::disk::{Done, Job, Queues, Then};
use super::errand::{Errand, Errands};
use super::event::{Admission, Class, ConnId, Effect, Event, HttpAnswer, Input, Notice, ToolReply};
use super::handle::handle;
use super::programs::feed::{Feed, FeedLine};
use super::runs::RunNo;
use super::state::State;
use super::timers::Timers;
use super::trouble::Trouble;
use crate::agent::control::{AbortReason, Control};
use crate::agent::run::{Hands, RunEvent, RunSpec, begin};
use crate::agent::tool::approval::pending::Decision;
use crate::agent::tool::{self, Jobs};
use crate::limits;
use crate::sys::clock::Clock;
use crate::sys::notify::Notifier;
use crate::sys::table::Table;
use crate::sys::{queue, thread};

/// Handling one event should take microseconds; beyond this it is worth a line in the log.
const SLOW: Duration = Duration::from_millis(20);

/// The state thread's surroundings.
pub struct Core {
    state: State,
    clock: Clock,
    hub: Arc<Hub>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    controls: Table<RunNo, Control>,
    tools: Table<u64, (queue::Sender<ToolReply>, queue::Sender<Option<Decision>>)>,
    jobs: Jobs,
    disk: Queues,
    errands: Errands,
    posts: Errands,
    links: HashMap<ConnId, Link>,
    waiting: Table<u64, queue::Sender<HttpAnswer>>,
    feeds: Table<u64, FeedLine>,
    next_ticket: u64,
    timers: Timers,
    effects: Vec<Effect>,
    notifier: Notifier,
    exit: bool,
}

impl Core {
    /// A core around this state.
    pub fn new(
        state: State,
        clock: Clock,
        hub: Arc<Hub>,
        (sender, events): (Sender<Event>, Receiver<Event>),
        disk: Queues,
        notifier: Notifier,
    ) -> Core {
        Core {
            state,
            clock,
            hub,
            events,
            errands: Errands::new(sender.clone()),
            posts: Errands::new(sender.clone()),
            sender,
            controls: Table::new(),
            tools: Table::new(),
            jobs: tool::jobs(),
            disk,
            links: HashMap::new(),
            waiting: Table::new(),
            feeds: Table::new(),
            next_ticket: 0,
            timers: Timers::default(),
            effects: Vec::new(),
            notifier,
            exit: false,
        }
    }

    /// Runs until the state wants to exit.
    pub fn run(&mut self) {
        let now = self.clock.now();
        self.state.start(now, &mut self.effects);
        self.perform();
        while !self.exit {
            self.fire_timers();
            match self.next_event() {
                Ok(Some(event)) => self.take(event),
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }

    /// After the loop: lets go of everything, so that the disk thread ends when its queue is done.
    pub fn finish(self) {
        // Commands in the background do not outlive the gateway, one that ignores being asked included: the threads
        // that make it end are ours.
        let commands = self.jobs.stop(|_| true);
        drop(self.disk);
        for command in commands {
            command.wait(limits::EXEC_GRACE + limits::CHILD_DRAIN);
        }
    }

    /// The next event, or `None` when a timer is due first.
    fn next_event(&mut self) -> Result<Option<Event>, RecvTimeoutError> {
        match self.events.try_recv() {
            Ok(event) => return Ok(Some(event)),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => {}
        }
        let Some(at) = self.timers.next() else {
            return self.events.recv().map(Some).map_err(|_| RecvTimeoutError::Disconnected);
        };
        let wait = at.saturating_sub(self.clock.now().mono);
        match self.events.recv_timeout(wait) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fire_timers(&mut self) {
        let now = self.clock.now().mono;
        while let Some(timer) = self.timers.due(now) {
            self.step(Input::Timer(timer));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened { conn, peer, link } => {
                self.links.insert(conn, link);
                self.step(Input::Opened { conn, peer });
            }
            Event::Http { ask, reply } => {
                self.next_ticket += 1;
                self.waiting.insert(self.next_ticket, reply);
                self.state.metrics.queued = self.events.len();
                self.step(Input::Http { ticket: self.next_ticket, ask });
            }
            Event::Program { ticket, order, feed } => {
                self.feeds.insert(ticket, feed);
                self.step(Input::Program { ticket, order });
            }
            Event::Tool { by, ask, reply, decide } => {
                // What a tool calls is answered as a connection is, so none may have its number.
                let ticket = self.hub.next_ticket();
                self.tools.insert(ticket, (reply, decide));
                self.step(Input::Tool { by, ticket, ask });
            }
            Event::Note(note) => self.step(Input::Note(note)),
            Event::Input(input) => {
                if let Input::Frame { conn, .. } = &input {
                    let _ = self.links.get(conn).map(|link| link.turns.try_recv());
                }
                self.step(input);
            }
        }
    }

    fn step(&mut self, input: Input) {
        if let Input::ProgramGone(ticket) = &input {
            self.feeds.remove(ticket);
        }
        if let Input::Run(no, RunEvent::Finished(_) | RunEvent::Failed(_)) = &input {
            self.controls.remove(no);
        }
        let began = Instant::now();
        handle(&mut self.state, input, self.clock.now(), &mut self.effects);
        self.perform();
        let took = began.elapsed();
        self.state.metrics.handling.add(took);
        if took > SLOW {
            log::warn!(target: "gateway", "slow event took_ms={} clients={}", took.as_millis(), self.links.len());
        }
    }

    fn perform(&mut self) {
        // An effect may cause further ones (a refused job); they are done in the next round.
        while !self.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.effect(effect);
            }
            if self.effects.is_empty() {
                self.effects = effects;
                break;
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Send(conn, bytes) => self.send(conn, bytes),
            Effect::Broadcast { to, head, class } => self.broadcast(&to, &head, class),
            Effect::Ping(conn) => self.ping(conn),
            Effect::Admit(conn, admission) => self.admit(conn, admission),
            Effect::Close(conn, code, reason) => self.close(conn, code, reason),
            Effect::Forget(conn) => drop(self.links.remove(&conn)),
            Effect::Answer(ticket, answer) => {
                if let Some(reply) = self.waiting.remove(&ticket) {
                    let _ = reply.try_send(answer);
                }
            }
            Effect::Feed(ticket, feed) => self.feed(ticket, feed),
            Effect::Disk(job, then) => self.disk(job, then),
            Effect::Errand(errand, then) => {
                // What the world takes its time for keeps no client waiting.
                let errands = if matches!(errand, Errand::Post(_)) { &mut self.posts } else { &mut self.errands };
                if let Err(then) = errands.run(errand, then) {
                    self.refused(then, Done::Refused);
                }
            }
            Effect::StartRun(no, spec) => self.start_run(no, *spec),
            Effect::StopRun(no, reason) => self.stop_run(no, reason),
            Effect::AnswerTool(ticket, reply) => self.answer_tool(ticket, reply),
            Effect::Decide(ticket, decision) => {
                if let Some((_, decide)) = self.tools.remove(&ticket) {
                    let _ = decide.try_send(decision);
                }
            }
            Effect::Timer(after, timer) => self.timers.set(self.clock.now().mono + after, timer),
            Effect::Notify(Notice::Stopping) => self.notifier.stopping(),
            Effect::Notify(Notice::Alive) => self.notifier.alive(),
            Effect::Hooks(on) => self.hub.hooks.store(on, Ordering::Relaxed),
            Effect::StopAccepting => self.hub.stopping.store(true, Ordering::Relaxed),
            Effect::Exit => self.exit = true,
        }
    }

    /// While something is still being written a ping would wait behind it, and a client on a thin line
    /// would be taken for dead; one that takes nothing is ended by the writer's own deadline.
    fn ping(&mut self, conn: ConnId) {
        let Some(link) = self.links.get(&conn) else { return };
        if link.outbox.queued() == 0 {
            return link.outbox.push(Out::Ping);
        }
        handle(&mut self.state, Input::Alive(conn), self.clock.now(), &mut self.effects);
    }

    /// A handler that went away, or lets too much pile up, is told nothing more; what it ordered stops.
    fn feed(&mut self, ticket: u64, feed: Feed) {
        let last = feed.is_last();
        let Some(line) = self.feeds.get(&ticket) else { return };
        let gone = !line.push(feed);
        if last || gone {
            self.feeds.remove(&ticket);
        }
        if gone && !last {
            handle(&mut self.state, Input::ProgramGone(ticket), self.clock.now(), &mut self.effects);
        }
    }

    /// A response to a call of a program or a tool, which has no connection of its own and is over with it.
    fn answer_call(&mut self, conn: ConnId, bytes: Bytes) {
        if !self.state.call_is_over(conn.0) {
            return;
        }
        if self.tools.contains_key(&conn.0) {
            return self.answer_tool(conn.0, ToolReply::Frame(bytes));
        }
        self.feed(conn.0, Feed::Answer(bytes));
    }

    /// A response: a client that does not read its answers is slow too.
    fn send(&mut self, conn: ConnId, bytes: Bytes) {
        let Some(link) = self.links.get(&conn) else { return self.answer_call(conn, bytes) };
        if link.outbox.queued() > link.max_buffered {
            return self.slow(conn);
        }
        link.outbox.push(Out::Text(bytes));
    }

    fn broadcast(&mut self, to: &[(ConnId, u64)], head: &Bytes, class: Class) {
        for (conn, seq) in to {
            let Some(link) = self.links.get(conn) else { continue };
            if link.outbox.queued() <= link.max_buffered {
                link.outbox.push(Out::Event(head.clone(), *seq));
            } else if class == Class::Required {
                self.slow(*conn);
            }
        }
    }

    fn slow(&mut self, conn: ConnId) {
        let queued = self.links.get(&conn).map_or(0, |link| link.outbox.queued());
        log::warn!(target: "gateway/ws", "closing slow consumer conn={conn} queued={queued}");
        self.state.trouble.add(Trouble::SlowConsumer, Some(conn), self.clock.now().wall_ms);
        // The state is told too: what the client still sends must not take effect without an answer.
        self.state.close(conn, 1008, "slow consumer", &mut self.effects);
        self.close(conn, 1008, "slow consumer".to_string());
    }

    fn admit(&mut self, conn: ConnId, admission: Admission) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.permit = None;
        link.max_buffered = admission.max_buffered;
        if let Some(verdict) = link.admission.take() {
            let _ = verdict.try_send(admission);
        }
    }

    /// The link is forgotten at once: nothing is queued behind a close frame, and a reader that
    /// still waits for a verdict learns from the dropped sender that there is none.
    fn close(&mut self, conn: ConnId, code: u16, reason: String) {
        if let Some(link) = self.links.remove(&conn) {
            link.outbox.push(Out::Close(code, reason));
        }
    }

    /// The thread sends what it does into the same queue as everyone else; a full queue slows it down.
    fn start_run(&mut self, no: RunNo, spec: RunSpec) {
        let control = spec.limit.map_or_else(Control::new, Control::within);
        self.controls.insert(no, control.clone());
        let sender = self.sender.clone();
        let name = format!("run:{}", spec.run_id);
        let hands = Hands { desk: RunDesk::new(Behalf::Run(no), sender.clone()), jobs: self.jobs.clone() };
        let tell = move |event| {
            // Without a receiver the process is on its way out.
            let _ = sender.send(Event::Input(Input::Run(no, event)));
        };
        let started = thread::spawn(&name, limits::STACK_RUN, move || begin::run(spec, hands, &control, tell));
        if let Err(error) = started {
            let failed = RunEvent::Failed(Box::new(begin::not_started(&error)));
            self.controls.remove(&no);
            handle(&mut self.state, Input::Run(no, failed), self.clock.now(), &mut self.effects);
        }
    }

    /// Who filed a request for approval is kept until the decision.
    fn answer_tool(&mut self, ticket: u64, reply: ToolReply) {
        let filed = matches!(reply, ToolReply::Filed { .. });
        if let Some((waiting, _)) = self.tools.get(&ticket) {
            let _ = waiting.try_send(reply);
        }
        if !filed {
            self.tools.remove(&ticket);
        }
    }

    fn stop_run(&mut self, no: RunNo, reason: AbortReason) {
        if let Some(control) = self.controls.get(&no) {
            control.cancel(reason);
        }
    }

    /// The disk thread may be busy, but its queue never blocks the state thread: what does not fit
    /// fails, and the caller is told.
    fn disk(&mut self, job: Job, then: Then) {
        if let Err(error) = self.disk.try_send(job, then) {
            let (job, then) = error.into_inner();
            // A refused read is the caller's affair alone, and a flood of them must not flood the log.
            if matches!(job, Job::Write(_) | Job::Cron(CronJob::Log(..))) {
                log::error!(target: "store", "write refused, the disk queue is full");
            }
            self.refused(then, Done::refused(&job));
        }
    }

    fn refused(&mut self, then: Then, done: Done) {
        handle(&mut self.state, Input::Stored { then, done }, self.clock.now(), &mut self.effects);
    }
}
