//! Which commands a node may offer and be asked for (`spec/protocol.md` appendix B, sections 12.1 and 12.3).
//! Pure tables; knows neither connections nor pairing.

use std::collections::BTreeSet;

use crate::sys::order;

/// What a node runs on, as far as its default commands depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// iOS, iPadOS.
    Ios,
    /// Android.
    Android,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
    /// Linux.
    Linux,
    /// Anything else.
    Unknown,
}

const CANVAS: &[&str] = &[
    "canvas.present",
    "canvas.hide",
    "canvas.navigate",
    "canvas.eval",
    "canvas.snapshot",
    "canvas.a2ui.push",
    "canvas.a2ui.pushJSONL",
    "canvas.a2ui.reset",
];
const SYSTEM: &[&str] = &[
    "system.run",
    "system.which",
    "system.notify",
    "system.execApprovals.get",
    "system.execApprovals.set",
    "browser.proxy",
];
const MOBILE: &[&str] = &[
    "camera.list",
    "location.get",
    "device.info",
    "device.status",
    "contacts.search",
    "calendar.events",
    "reminders.list",
    "photos.latest",
    "motion.activity",
    "motion.pedometer",
];
const NOTIFY: &[&str] = &["system.notify"];
const UNKNOWN: &[&str] = &["camera.list", "location.get"];

/// The default allowlist of each platform. Commands that take pictures, record, send or write people's data stand
/// in none: they need `gateway.nodes.allowCommands`.
const DEFAULTS: &[(Platform, &[&[&str]])] = &[
    (Platform::Ios, &[CANVAS, MOBILE, NOTIFY]),
    (Platform::Android, &[CANVAS, MOBILE]),
    (Platform::MacOs, &[CANVAS, MOBILE, SYSTEM]),
    (Platform::Windows, &[SYSTEM]),
    (Platform::Linux, &[SYSTEM]),
    (Platform::Unknown, &[CANVAS, UNKNOWN, SYSTEM]),
];

/// Prefixes of `client.platform` and `client.deviceFamily`, tried in this order.
const PREFIXES: &[(&str, Platform)] = &[
    ("ios", Platform::Ios),
    ("ipad", Platform::Ios),
    ("iphone", Platform::Ios),
    ("android", Platform::Android),
    ("mac", Platform::MacOs),
    ("darwin", Platform::MacOs),
    ("win", Platform::Windows),
    ("linux", Platform::Linux),
];

impl Platform {
    /// From `client.platform`, else from `client.deviceFamily`.
    pub fn of(platform: Option<&str>, device_family: Option<&str>) -> Platform {
        let find = |text: &str| {
            let text = text.trim().to_ascii_lowercase();
            PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix)).map(|(_, platform)| *platform)
        };
        platform.and_then(find).or_else(|| device_family.and_then(find)).unwrap_or(Platform::Unknown)
    }

    fn defaults(self) -> impl Iterator<Item = &'static str> {
        let row = DEFAULTS.iter().find(|(platform, _)| *platform == self);
        row.map_or(&[][..], |(_, groups)| groups).iter().flat_map(|group| group.iter().copied())
    }
}

/// The commands a platform may use: its defaults and the allowed ones, without the denied ones.
pub fn allowlist(platform: Platform, allow: &[String], deny: &[String]) -> BTreeSet<String> {
    let defaults = platform.defaults().map(str::to_string);
    let mut commands = order::set(defaults.chain(allow.iter().map(|entry| entry.trim().to_string())));
    commands.remove("");
    for entry in deny {
        commands.remove(entry.trim());
    }
    commands
}

/// The declared commands that are kept at connect: trimmed, allowed, sorted, each once.
pub fn kept(declared: &[String], allowlist: &BTreeSet<String>) -> Vec<String> {
    let declared = order::set(declared.iter().map(|command| command.trim()));
    declared.into_iter().filter(|command| allowlist.contains(*command)).map(str::to_string).collect()
}

/// Why a command may not be invoked; `details.reason` of "node command not allowed".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandFault {
    /// Blank.
    Required,
    /// Not in the platform's allowlist.
    NotAllowlisted,
    /// The node offers nothing.
    NothingDeclared,
    /// The node does not offer it.
    NotDeclared,
}

impl CommandFault {
    /// Its wire text.
    pub fn reason(self) -> &'static str {
        match self {
            CommandFault::Required => "command required",
            CommandFault::NotAllowlisted => "command not allowlisted",
            CommandFault::NothingDeclared => "node did not declare commands",
            CommandFault::NotDeclared => "command not declared by node",
        }
    }
}

/// Checks a command against the allowlist and what the node kept at connect.
pub fn check(command: &str, declared: &[String], allowlist: &BTreeSet<String>) -> Result<(), CommandFault> {
    let command = command.trim();
    if command.is_empty() {
        return Err(CommandFault::Required);
    }
    if !allowlist.contains(command) {
        return Err(CommandFault::NotAllowlisted);
    }
    if declared.is_empty() {
        return Err(CommandFault::NothingDeclared);
    }
    if declared.iter().any(|entry| entry == command) { Ok(()) } else { Err(CommandFault::NotDeclared) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| item.to_string()).collect()
    }

    #[test]
    fn platforms_are_known_by_prefix() {
        for (platform, family, expected) in [
            (Some("iOS 18.4"), None, Platform::Ios),
            (Some("iPadOS 18"), None, Platform::Ios),
            (Some("android 15"), None, Platform::Android),
            (Some("macos 15.0"), None, Platform::MacOs),
            (Some("darwin"), None, Platform::MacOs),
            (Some("win32"), None, Platform::Windows),
            (Some(" Linux"), None, Platform::Linux),
            (Some("plan9"), Some("Mac"), Platform::MacOs),
            (None, Some("Android"), Platform::Android),
            (Some("linux"), Some("Mac"), Platform::Linux),
            (None, None, Platform::Unknown),
        ] {
            assert_eq!(Platform::of(platform, family), expected, "{platform:?} {family:?}");
        }
    }

    #[test]
    fn defaults_follow_the_appendix() {
        let has = |platform, command: &str| allowlist(platform, &[], &[]).contains(command);
        for (platform, canvas, mobile, run, notify) in [
            (Platform::Linux, false, false, true, true),
            (Platform::Windows, false, false, true, true),
            (Platform::MacOs, true, true, true, true),
            (Platform::Ios, true, true, false, true),
            (Platform::Android, true, true, false, false),
            (Platform::Unknown, true, false, true, true),
        ] {
            assert_eq!(has(platform, "canvas.a2ui.pushJSONL"), canvas, "{platform:?}");
            assert_eq!(has(platform, "motion.pedometer"), mobile, "{platform:?}");
            assert_eq!(has(platform, "system.run"), run, "{platform:?}");
            assert_eq!(has(platform, "system.notify"), notify, "{platform:?}");
            for never in ["camera.snap", "camera.clip", "screen.record", "contacts.add", "sms.send", "calendar.add"] {
                assert!(!has(platform, never), "{platform:?} {never}");
            }
        }
        assert!(has(Platform::Unknown, "camera.list") && has(Platform::Unknown, "location.get"));
    }

    #[test]
    fn configuration_adds_and_denial_wins() {
        let list =
            allowlist(Platform::Linux, &owned(&[" camera.snap ", "", "sms.send"]), &owned(&["system.run", "sms.send"]));
        assert!(list.contains("camera.snap") && !list.contains(""));
        assert!(!list.contains("system.run") && !list.contains("sms.send"));
    }

    #[test]
    fn the_transcript_node_keeps_its_three_commands() {
        let declared = owned(&["system.run", " system.which", "system.notify", "camera.snap", "system.run"]);
        let kept = kept(&declared, &allowlist(Platform::Linux, &[], &[]));
        assert_eq!(kept, ["system.notify", "system.run", "system.which"]);
    }

    #[test]
    fn invocation_is_refused_with_the_exact_reason() {
        let list = allowlist(Platform::Linux, &[], &[]);
        let declared = owned(&["system.run"]);
        for (command, declared, expected) in [
            ("system.run", &declared[..], Ok(())),
            ("  ", &declared, Err("command required")),
            ("camera.snap", &declared, Err("command not allowlisted")),
            ("system.run", &[], Err("node did not declare commands")),
            ("system.which", &declared, Err("command not declared by node")),
        ] {
            assert_eq!(check(command, declared, &list).map_err(CommandFault::reason), expected, "{command}");
        }
    }
}
