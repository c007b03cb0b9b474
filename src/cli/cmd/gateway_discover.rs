//! `gateway discover`: this build has no mDNS, so the answer is an honest empty list (`spec/cli.md` 7).

use crate::cli::amount;
use crate::cli::fail::CliError;
use crate::cli::out::Style;
use crate::cli::parse::Parsed;
use crate::cli::world::World;

/// Prints the empty result.
///
/// # Errors
/// A bad `--timeout`.
pub fn run(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let timeout = amount::millis(parsed, "timeout", 2000)
        .map_err(|_| CliError::usage(format!("invalid --timeout: {}", parsed.text("timeout").unwrap_or_default())))?;
    if world.json {
        return world.out.json(&json!({
            "timeoutMs": u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            "domains": ["local."], "count": 0, "beacons": [],
        }));
    }
    world.out.styled(&[(Style::Strong, "Gateway Discovery")])?;
    world.out.line("Found 0 gateway(s) · domains: local.")?;
    world.out.note(Style::Dim, "This build has no mDNS. Name a gateway with --url, or set gateway.remote.url.");
    Ok(())
}
