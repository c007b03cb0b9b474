//! The command line: from words to a command, from its result to an exit status.
//! Speaks to the gateway only through `client`; knows none of its inside.

pub mod amount;
pub mod change;
pub mod cmd;
pub mod commands;
mod commands_pack;
pub mod complete;
pub mod fail;
pub mod grid;
pub mod help;
pub mod later;
pub mod man;
pub mod out;
pub mod parse;
pub mod probe;
pub mod rpc;
pub mod spinner;
pub mod suggest;
pub mod table;
pub mod vocabulary;
pub mod world;

use std::ffi::OsString;
use std::process::ExitCode;

use fail::{CliError, Kind};
use out::{Out, Style};
use parse::{Parsed, Refusal, Wish};
use table::{Config, Run};
use world::World;

use crate::config::Env;
use crate::config::resolve::config_invalid;

/// Entry point of the binary.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let env = Env::from_process();
    if let Some(name) = Env::unreadable() {
        let error = CliError::usage(format!("{name} is not valid UTF-8.")).hint("Set it to plain text, or unset it.");
        return finish(&plain(&env), false, "", Err(error));
    }
    let wish = match parse::parse(&words) {
        Ok(wish) => wish,
        Err(refusal) => return refuse(&env, &refusal),
    };
    match wish {
        Wish::Version => finish(&plain(&env), false, "", print(&plain(&env), &help::version_line())),
        Wish::Help(command) => finish(&plain(&env), false, "", print(&plain(&env), help::page(command).trim_end())),
        Wish::Run(parsed) => run(&env, &parsed),
    }
}

fn plain(env: &Env) -> Out {
    Out::new(world::color_wish(env, false), env.get("COLUMNS"))
}

fn print(out: &Out, text: &str) -> Result<ExitCode, CliError> {
    out.line(text).map(|()| ExitCode::SUCCESS)
}

fn refuse(env: &Env, refusal: &Refusal) -> ExitCode {
    let out = Out::new(world::color_wish(env, refusal.no_color), env.get("COLUMNS"));
    finish(&out, refusal.json, "", Err(refusal.error.clone()))
}

fn run(env: &Env, parsed: &Parsed) -> ExitCode {
    let out = Out::new(world::color_wish(env, parsed.globals.no_color || parsed.has("plain")), env.get("COLUMNS"));
    let label = failure_label(parsed.command.run);
    match parsed.command.config {
        Config::Unused => finish(&out, parsed.json(), label, without_world(&out, parsed)),
        need => {
            let world = World::open(&parsed.globals, out.clone(), parsed.json());
            let result = guard_config(&world, need).and_then(|()| dispatch(&world, parsed));
            finish(&out, parsed.json(), label, result)
        }
    }
}

/// The complaint about an invalid config, and whether the command may go on (`spec/cli.md` 1.5).
fn guard_config(world: &World, need: Config) -> Result<(), CliError> {
    if world.snapshot.valid || matches!(need, Config::Own | Config::Unused) {
        return Ok(());
    }
    let lines = config_invalid(&world.snapshot, &world.paths);
    let (first, rest) = lines.split_first().map(|(first, rest)| (first.as_str(), rest)).unwrap_or_default();
    if need == Config::Tolerated {
        world.out.note(Style::Warn, first);
        rest.iter().for_each(|line| world.out.note(Style::Plain, line));
        return Ok(());
    }
    Err(rest.iter().fold(CliError::new(Kind::Config, first), |error, line| error.hint(line)))
}

/// The words before an error's message, as the original has them per command.
fn failure_label(run: Run) -> &'static str {
    match run {
        Run::GatewayCall | Run::GatewayHealth => "Gateway call failed: ",
        Run::GatewayStatus => "Gateway status failed: ",
        Run::NodesStatus => "nodes status failed: ",
        Run::NodesList => "nodes list failed: ",
        Run::NodesDescribe => "nodes describe failed: ",
        Run::NodesPending => "nodes pending failed: ",
        Run::NodesApprove => "nodes approve failed: ",
        Run::NodesReject => "nodes reject failed: ",
        Run::NodesRename => "nodes rename failed: ",
        _ => "",
    }
}

/// Turns a result into output and exit status: the one place where errors are shown.
fn finish(out: &Out, json: bool, label: &str, result: Result<ExitCode, CliError>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    let silent = matches!(error.kind, Kind::BrokenPipe | Kind::Negative);
    if json && !silent && out.json(&error.to_json()).is_err() {
        return ExitCode::from(fail::exit_code(&error));
    }
    if !silent {
        let labelled = !matches!(error.kind, Kind::Transport | Kind::Credentials | Kind::Config);
        let label = if labelled { label } else { "" };
        let mut lines = error.lines();
        lines.insert_str(0, label);
        let (first, rest) = lines.split_once('\n').unwrap_or((&lines, ""));
        out.note(Style::Bad, first);
        if !rest.is_empty() {
            out.note(Style::Plain, rest);
        }
    }
    ExitCode::from(fail::exit_code(&error))
}

/// Commands that need nothing of this machine.
fn without_world(out: &Out, parsed: &Parsed) -> Result<ExitCode, CliError> {
    match parsed.command.run {
        Run::Completion => cmd::text::completion(out, parsed),
        Run::Man => cmd::text::man(out),
        Run::Help => cmd::text::help(out, parsed),
        Run::ProtocolGen => cmd::protocol::generate(out, parsed),
        _ => cmd::text::group(out, parsed.command),
    }
}

/// From the row to the function. Exhaustive: a row without a function does not compile.
fn dispatch(world: &World, parsed: &Parsed) -> Result<ExitCode, CliError> {
    let done = match parsed.command.run {
        Run::GatewayRun => return cmd::gateway_run::run(world, parsed),
        Run::GatewayProbe => return cmd::gateway_probe::run(world, parsed),
        Run::GatewayStatus => return cmd::gateway_status::run(world, parsed),
        Run::Group | Run::Completion | Run::Man | Run::Help | Run::ProtocolGen => {
            return without_world(&world.out, parsed);
        }
        Run::GatewayCall => cmd::gateway_call::call(world, parsed),
        Run::GatewayHealth => cmd::gateway_call::health(world, parsed),
        Run::GatewayUsageCost => cmd::gateway_call::usage_cost(world, parsed),
        Run::GatewayDiscover => cmd::gateway_discover::run(world, parsed),
        Run::Health => cmd::health::run(world, parsed),
        Run::Status => cmd::status::run(world, parsed),
        Run::Logs => cmd::logs::run(world, parsed),
        Run::Agent => cmd::agent::run(world, parsed),
        Run::AgentsAdd => cmd::agents::add(world, parsed),
        Run::AgentsDelete => cmd::agents::delete(world, parsed),
        Run::CronStatus => cmd::cron::status(world, parsed),
        Run::CronList => cmd::cron::list(world, parsed),
        Run::CronAdd => cmd::cron::add(world, parsed),
        Run::CronEdit => cmd::cron::edit(world, parsed),
        Run::CronEnable => cmd::cron::enable(world, parsed),
        Run::CronDisable => cmd::cron::disable(world, parsed),
        Run::CronRemove => cmd::cron::remove(world, parsed),
        Run::CronRun => cmd::cron::run(world, parsed),
        Run::CronRuns => cmd::cron::runs(world, parsed),
        Run::AgentsList => cmd::agents::list(world),
        Run::AgentsSetIdentity => cmd::agents::set_identity(world, parsed),
        Run::Sessions => cmd::sessions::list(world, parsed),
        Run::ModelsList => cmd::models::list(world),
        Run::ModelsScan => cmd::models::scan(world, parsed),
        Run::ModelsStatus => return cmd::models_status::run(world, parsed),
        Run::ModelsSet => cmd::models::set(world, parsed),
        Run::ApprovalsGet => cmd::approvals::get(world, parsed),
        Run::AllowlistAdd => cmd::approvals::allow(world, parsed),
        Run::AllowlistRemove => cmd::approvals::forbid(world, parsed),
        Run::DevicesList => cmd::devices::list(world, parsed),
        Run::DevicesApprove => cmd::devices::approve(world, parsed),
        Run::DevicesReject => cmd::devices::reject(world, parsed),
        Run::DevicesRotate => cmd::devices::rotate(world, parsed),
        Run::DevicesRevoke => cmd::devices::revoke(world, parsed),
        Run::DevicesRemove => cmd::devices::remove(world, parsed),
        Run::DevicesRename => cmd::devices::rename(world, parsed),
        Run::NodesStatus => cmd::nodes::status(world, parsed),
        Run::NodesList => cmd::nodes::list(world, parsed),
        Run::NodesDescribe => cmd::nodes::describe(world, parsed),
        Run::NodesPending => cmd::nodes::pending(world, parsed),
        Run::NodesApprove => cmd::nodes::decide(world, parsed, "node.pair.approve"),
        Run::NodesReject => cmd::nodes::decide(world, parsed, "node.pair.reject"),
        Run::NodesRename => cmd::nodes::rename(world, parsed),
        Run::ChannelsStatus => cmd::channels::status(world, parsed),
        Run::SystemPresence => cmd::system::presence(world, parsed),
        Run::SystemEvent => cmd::system::event(world, parsed),
        Run::HeartbeatLast => cmd::system::heartbeat_last(world, parsed),
        Run::HeartbeatEnable => cmd::system::heartbeat_enable(world, parsed),
        Run::HeartbeatDisable => cmd::system::heartbeat_disable(world, parsed),
        Run::SecretsReload => cmd::system::secrets_reload(world, parsed),
        Run::ConfigFile => cmd::config::file(world),
        Run::ConfigValidate => cmd::config::validate(world),
        Run::ConfigGet => cmd::config::get(world, parsed),
    };
    done.map(|()| ExitCode::SUCCESS)
}
