//! Commands of the original that this version does not have yet, each with what to do instead.
//! A word leaves this table when its command arrives; a test makes sure of it.

/// Path and advice.
pub const LATER: &[(&str, &str)] = &[
    ("configure", "Edit the config file; check it with: openclaw config validate"),
    ("dashboard", "Open the address that the gateway prints when it starts."),
    ("doctor", "Mend by hand what this names: openclaw config validate; how the rest is: openclaw gateway status"),
    ("gateway install", "Install a unit from the folder packaging by hand (see packaging/INSTALL.md)."),
    ("gateway restart", "Type: systemctl --user restart openclaw-gateway.service"),
    ("gateway start", "Type: systemctl --user start openclaw-gateway.service, or: openclaw gateway"),
    ("gateway stop", "Type: systemctl --user stop openclaw-gateway.service, or press Ctrl-C where it runs."),
    ("gateway uninstall", "Remove the unit by hand (see packaging/INSTALL.md)."),
    (
        "hooks",
        "Hooks of HTTP programs are set up in the config file (hooks); hooks that run code are not in this version.",
    ),
    ("message", "Chat channels are not in this version."),
    ("onboard", "Start with: openclaw gateway --allow-unconfigured, which makes a token."),
    ("pairing", "Chat channels are not in this version; devices are paired with: openclaw devices list"),
    (
        "setup",
        "Start with: openclaw gateway --allow-unconfigured, or write {gateway: {mode: \"local\"}} to the config file.",
    ),
    ("update", "Replace the binary and start the gateway again."),
];

/// The advice for a command that is known but not here.
pub fn advice(path: &str) -> Option<&'static str> {
    LATER.iter().find(|(name, _)| *name == path).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::COMMANDS;

    #[test]
    fn no_command_that_exists_is_called_missing() {
        for (path, _) in LATER {
            assert!(COMMANDS.iter().all(|command| command.path.join(" ") != *path), "{path} exists now");
        }
    }
}
