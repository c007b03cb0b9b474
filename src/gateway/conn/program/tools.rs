//! `/tools/invoke` on its connection's side: the tool runs in a thread of its own, so that the connection can see its
//! client go away and stop it. The tools are those of a turn: same table, policy, confinement and bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::{Answered, Exchange};
use crate::agent::control::{AbortReason, Control};
use crate::agent::http::Settings;
use crate::agent::tool::approval::judge::Origin;
use crate::agent::tool::outcome::ToolOutcome;
use crate::agent::tool::web::HttpWeb;
use crate::agent::tool::{self, Call, Setup, Toolbox, table};
use crate::gateway::desk::{Behalf, RunDesk};
use crate::gateway::event::{HttpAnswer, HttpAsk};
use crate::gateway::programs::tools::{Ground, denied};
use crate::http::api::tools::{self, Ask};
use crate::http::reply::Reply;
use crate::http::route;
use crate::limits;
use crate::protocol::errors::Code;
use crate::protocol::kinds::Kind;
use crate::sys::id::Entropy;
use crate::sys::thread;

/// Serves one call.
pub fn serve(exchange: &Exchange<'_>) -> Answered {
    match work(exchange) {
        Ok(answered) => answered,
        Err(reply) => Answered::Reply(*reply),
    }
}

fn work(exchange: &Exchange<'_>) -> Result<Answered, Box<Reply>> {
    let ask = Ask::read(&exchange.body.take())?;
    let ground = ground(exchange, &ask)?;
    let place = Place::take(&exchange.hub.tools).ok_or_else(tools::crowded)?;
    let control = Control::within(ground.config.agents.defaults.timeout);
    let (name, own, events) = (ask.tool.clone(), control.clone(), exchange.hub.events.clone());
    let owner = exchange.grant.owner;
    let running = thread::ask("tool:http", limits::STACK_RUN, move || {
        let _place = place;
        let desk = RunDesk::new(Behalf::Place(ground.place.clone()), events);
        call(ask, *ground, desk, owner, &own)
    });
    let running = running.map_err(|_| tools::crowded())?;
    while !running.is_over(limits::CLIENT_CHECK) {
        if exchange.is_gone() {
            control.cancel(AbortReason::Gone);
            return Ok(Answered::Gone);
        }
        if exchange.hub.is_stopping() {
            control.cancel(AbortReason::Shutdown);
        }
    }
    let failed = || tools::failed(500, "tool_error", "tool execution failed");
    let outcome = running.join().ok_or_else(failed)?;
    Ok(Answered::Reply(answer(&name, outcome)))
}

/// What the state says of the session the call is for.
fn ground(exchange: &Exchange<'_>, ask: &Ask) -> Result<Box<Ground>, Box<Reply>> {
    let question = HttpAsk::Tools { session_key: ask.session_key.clone(), agent: ask.agent.clone() };
    match exchange.hub.ask(question) {
        Some(HttpAnswer::Tools(Ok(ground))) => Ok(ground),
        Some(HttpAnswer::Tools(Err(error))) if error.code == Code::InvalidRequest => {
            Err(Box::new(tools::failed(400, "invalid_request", &error.message)))
        }
        _ => Err(Box::new(route::unavailable())),
    }
}

/// Runs the tool; none when it is not offered.
fn call(mut ask: Ask, ground: Ground, desk: Arc<RunDesk>, owner: bool, control: &Control) -> Option<ToolOutcome> {
    let mut toolbox = match toolbox(ground, desk, owner) {
        Ok(toolbox) => toolbox,
        Err(error) => return Some(ToolOutcome::error(format!("cannot use the workspace: {error}"))),
    };
    let found = table::find(&ask.tool)?;
    let tool = toolbox.offered().iter().find(|tool| tool.id == found.id)?;
    if let (Some(action), Kind::Obj(object)) = (ask.action.take(), tool.parameters)
        && object.fields.iter().any(|field| field.name == "action")
    {
        ask.args.entry("action").or_insert(Value::String(action));
    }
    let arguments = Value::Object(ask.args);
    let id = ask.key.unwrap_or_default();
    let call = Call { id: &id, name: tool.name, arguments: &arguments };
    Some(toolbox.call(call, control, &mut |_| {}))
}

fn toolbox(ground: Ground, desk: Arc<RunDesk>, owner: bool) -> std::io::Result<Toolbox> {
    let (provider, model) = ground.model.map(|model| (model.provider, model.model)).unwrap_or_default();
    let entropy = Entropy::from_os()?;
    Toolbox::new(Setup {
        agent_id: ground.place.agent,
        session_key: ground.place.key,
        run_id: String::new(),
        workspace: ground.workspace,
        approvals_file: ground.paths.state_dir.join("exec-approvals.json"),
        home: ground.paths.home.clone(),
        origin: Origin::Operator,
        provider,
        model,
        // No model reads the result: it is bounded by the most that any model gets.
        context_tokens: u64::MAX,
        session_exec: ground.exec,
        env: (*ground.env).clone(),
        jobs: tool::jobs(),
        web: Some(Arc::new(HttpWeb::new(Settings::new(&ground.env, None)))),
        entropy,
        deny: denied(&ground.config.raw, owner),
        config: ground.config,
        desk,
    })
}

fn answer(name: &str, outcome: Option<ToolOutcome>) -> Reply {
    match outcome {
        None => tools::not_available(name),
        Some(outcome) if outcome.is_error => {
            let texts: Vec<&str> = outcome.content.iter().filter_map(|block| block.as_text()).collect();
            tools::failed(400, "tool_error", &texts.join("\n"))
        }
        Some(outcome) => tools::done(&outcome.to_value()),
    }
}

/// A place among the tools that run at one time.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(running: &Arc<AtomicUsize>) -> Option<Place> {
        let room = |count: usize| (count < limits::PROGRAM_TOOLS).then_some(count + 1);
        running.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok()?;
        Some(Place(running.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
