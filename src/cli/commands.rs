//! Every command of the program as data: the one source of parser, help, completions and man page.
//! Pure table; knows nothing of how a command runs.

use std::sync::LazyLock;

use super::commands_pack;
use super::table::{Arg, Command, Config, Flag, Run, Source, Value, choice, switch, text};

/// Flags that stand before the command (`spec/cli.md` 1.1); `--no-color`, `-h` stand anywhere.
pub const GLOBALS: &[Flag] = &[
    switch("dev", "Profile \"dev\": state in ~/.openclaw-dev, gateway port 19001"),
    switch("help", "Show this help").letter('h'),
    choice("log-level", "level", LOG_LEVELS, "Level of the log file and the console"),
    switch("no-color", "Plain text without colours (anywhere on the line)"),
    text("profile", "name", "Named profile: state in ~/.openclaw-<name>"),
    switch("version", "Show the version").letter('V'),
];

/// The flag that every command has.
pub const HELP: Flag = switch("help", "Show this help").letter('h');
/// The colour flag, taken out of the line wherever it stands.
pub const NO_COLOR: Flag = switch("no-color", "Plain text without colours");

/// Levels that `--log-level` takes.
pub const LOG_LEVELS: &[&str] = &["silent", "fatal", "error", "warn", "info", "debug", "trace"];
/// Shells that `completion` knows.
pub const SHELLS: &[&str] = &["zsh", "bash", "fish"];
const BIND: &[&str] = &["loopback", "lan", "tailnet", "auto", "custom"];
const AUTH: &[&str] = &["none", "token", "password", "trusted-proxy"];
const TAILSCALE: &[&str] = &["off", "serve", "funnel"];
const WS_LOG: &[&str] = &["auto", "full", "compact"];
const ROLES: &[&str] = &["operator", "node"];
/// When a session looks at a line.
pub const WAKE: &[&str] = &["now", "next-heartbeat"];

const JSON: &[Flag] = &[switch("json", "Print one JSON document")];
const TARGET: &[Flag] = &[
    text("password", "password", "Gateway password").not_with(&["token"]),
    text("port", "port", "Gateway on this machine, at this port").not_with(&["url"]),
    text("token", "token", "Gateway token"),
    text("url", "url", "Gateway WebSocket URL; needs --token or --password"),
];
const TIMEOUT_10: &[Flag] = &[text("timeout", "ms", "Time for connecting and the answer").or("10000")];
const TIMEOUT_30: &[Flag] = &[text("timeout", "ms", "Time for connecting and the answer").or("30000")];
const FINAL: &[Flag] = &[switch("expect-final", "Wait for the final answer of a two-stage call")];
const VERBOSE: &[Flag] =
    &[switch("debug", "The same as --verbose"), switch("verbose", "Probe the channels and show more")];
const REQUEST_ID: Arg =
    Arg { name: "requestId", required: true, many: false, source: Source::Nothing, about: "Id of the pending request" };
const NODE: Flag = text("node", "idOrNameOrIp", "Node id, a prefix of it (6 or more), name or address").required();
const SEEN: &[Flag] = &[
    switch("connected", "Only connected nodes"),
    text("last-connected", "duration", "Only nodes seen within this time (30m, 24h, 7d)"),
];
const DEVICE: Flag = text("device", "id", "Device id").required();
const ROLE: Flag = choice("role", "role", ROLES, "Role of the token").required();

const CRON_ID: &[Arg] = &[Arg {
    name: "id",
    required: true,
    many: false,
    source: Source::Nothing,
    about: "Its id, the beginning of it, or its name",
}];
const CRON_DETAILS: &str = "A job is a line for the main session (--system-event) or a turn of an agent in a session of \
its own (--message). It runs once (--at), at an interval (--every) or by a cron expression (--cron). A run missed while \
the gateway was down is caught up once, unless --missed skip; both stand in cron runs.";
const CRON_JOB: &[Flag] = &[
    text("agent", "id", "Its agent; without it the default one"),
    switch("announce", "Deliver the turn's answer (the default for turns)"),
    text("at", "when", "Once: ISO time, UTC without --tz, or a span such as 20m"),
    text("channel", "channel", "Where the answer goes: last, or a channel"),
    text("cron", "expr", "Cron expression: minute hour day month weekday"),
    switch("delete-after-run", "Remove a one-time job once it ended well (the default)"),
    text("description", "text", "For people"),
    text("every", "span", "Interval: 10m, 1h, 2d"),
    switch("keep-after-run", "Keep a one-time job, disabled"),
    text("message", "text", "Turn: what the agent is told"),
    choice("missed", "what", MISSED, "What becomes of runs missed while the gateway was down"),
    text("model", "model", "Turn: its model, provider/model or an alias"),
    switch("no-deliver", "Keep the turn's answer in its session"),
    text("session", "target", "Where it runs: main, isolated or session:<key>; follows from the payload"),
    text("system-event", "text", "Line for the main session"),
    text("thinking", "level", "Turn: how much the model thinks"),
    text("timeout-seconds", "n", "Turn: its time limit"),
    text("to", "dest", "Recipient of the answer"),
    text("tz", "zone", "Time zone of --cron and --at, such as Europe/Berlin"),
    choice("wake", "mode", WAKE, "When the main session looks at it"),
    text("webhook", "url", "Post what a turn left there, as JSON").not_with(&[
        "announce",
        "channel",
        "no-deliver",
        "to",
    ]),
];
/// What becomes of missed runs.
pub const MISSED: &[&str] = &["run", "skip"];

const GATEWAY: &[Flag] = &[
    switch("allow-unconfigured", "Start without gateway.mode=local in the config"),
    switch("ambient-channels", "Accepted for compatibility; has no effect"),
    choice("auth", "mode", AUTH, "How clients authenticate"),
    choice("bind", "mode", BIND, "Addresses to listen on"),
    switch("claude-cli-logs", "Accepted for compatibility; has no effect"),
    switch("cli-backend-logs", "Accepted for compatibility; has no effect"),
    switch("compact", "The same as --ws-log compact"),
    switch("dev", "Development start: no config file is needed"),
    switch("dev-ambient-channels", "Accepted for compatibility; has no effect"),
    switch("force", "Free the port first (not in this version: refused)"),
    text("password", "password", "Password for --auth password; visible in process lists").not_with(&["password-file"]),
    text("password-file", "path", "File with the password"),
    text("port", "port", "Port to listen on").or("18789"),
    switch("raw-stream", "Log the model's raw stream (not in this version: refused)"),
    text("raw-stream-path", "path", "File for the raw stream (not in this version: refused)"),
    switch("reset", "With --dev: wipe the development state first (not in this version: refused)"),
    choice("tailscale", "mode", TAILSCALE, "Publish through Tailscale; only \"off\" in this version"),
    switch("tailscale-reset-on-exit", "Accepted for compatibility; has no effect"),
    text("token", "token", "Token that clients must present"),
    switch("verbose", "Console at level debug, with WebSocket traffic"),
    choice("ws-log", "style", WS_LOG, "Style of the WebSocket log").or("auto"),
];

const GATEWAY_DETAILS: &str = "Runs in the foreground until it gets SIGINT or SIGTERM. \
Without a config file it refuses to start unless --allow-unconfigured is given. \
Exit status 78 means that the configuration must be changed first.";

const GATEWAY_EXAMPLES: &[(&str, &str)] = &[
    ("gateway --allow-unconfigured", "Start on this machine without a config"),
    ("gateway --port 19001 --verbose", "Another port, with traffic on the console"),
    ("gateway status", "See whether it runs and answers"),
];

/// A row without flags, arguments and special needs, from which the others are written.
const BASE: Command = Command {
    path: &[],
    aliases: &[],
    about: "",
    details: "",
    flags: &[],
    args: &[],
    examples: &[],
    config: Config::Valid,
    run: Run::Group,
};

/// Every command, in the order of the help pages.
pub static COMMANDS: LazyLock<&'static [Command]> = LazyLock::new(commands_pack::unfold);

/// The same as the compiler reads it; it stands in the program as `commands_pack` writes it.
pub(super) const TABLE: &[Command] = &[
    Command {
        path: &["gateway"],
        about: "Run the gateway, or ask about one",
        details: GATEWAY_DETAILS,
        flags: &[GATEWAY],
        examples: GATEWAY_EXAMPLES,
        config: Config::Own,
        run: Run::GatewayRun,
        ..BASE
    },
    Command {
        path: &["gateway", "run"],
        about: "Run the gateway in the foreground",
        details: GATEWAY_DETAILS,
        flags: &[GATEWAY],
        examples: &[
            ("gateway run --bind lan", "Listen on the local network; needs a token"),
            ("gateway run --password-file ~/gateway-password", "Password mode without a secret on the command line"),
        ],
        config: Config::Own,
        run: Run::GatewayRun,
        ..BASE
    },
    Command {
        path: &["gateway", "status"],
        aliases: &[&["daemon", "status"]],
        about: "Show the service and whether the gateway answers",
        details: "Exit status is 0 even when nothing runs; only --require-rpc turns a failed probe into 1.",
        flags: &[
            &[
                switch("deep", "Also scan the system directories for services"),
                switch("no-probe", "Do not connect").not_with(&["require-rpc"]),
                switch("require-rpc", "Ask for a read, and exit 1 when it fails"),
            ],
            JSON,
            TARGET,
            TIMEOUT_10,
        ],
        examples: &[
            ("gateway status", "Service, config, port and probe"),
            ("gateway status --require-rpc --json", "For scripts: exit 1 unless a read works"),
            ("gateway --port 19001 status", "Another port on this machine"),
        ],
        config: Config::Tolerated,
        run: Run::GatewayStatus,
        ..BASE
    },
    Command {
        path: &["gateway", "probe"],
        about: "Try every known gateway and show what each may do",
        details: "Exit status is 0 if at least one gateway is reachable, else 1.",
        flags: &[
            &[
                text("ssh", "user@host", "Probe through an SSH tunnel (not available yet)"),
                switch("ssh-auto", "Find an SSH target (not available yet)"),
                text("ssh-identity", "path", "SSH key (not available yet)"),
            ],
            JSON,
            TARGET,
            &[text("timeout", "ms", "Time for everything together").or("3000")],
        ],
        examples: &[
            ("gateway probe", "This machine and the configured remote gateway"),
            ("gateway probe --url ws://10.0.0.5:18789 --token TOKEN --json", "One more gateway, as JSON"),
        ],
        config: Config::Tolerated,
        run: Run::GatewayProbe,
        ..BASE
    },
    Command {
        path: &["gateway", "call"],
        about: "Call any method of the gateway",
        flags: &[
            &[
                text("expect-url", "url", "Refuse to run when the target is another URL"),
                text("params", "json", "Parameters as a JSON object").or("{}"),
            ],
            JSON,
            TARGET,
            TIMEOUT_10,
            FINAL,
        ],
        args: &[Arg {
            name: "method",
            required: true,
            many: false,
            source: Source::Methods,
            about: "Method name; completion lists them",
        }],
        examples: &[
            ("gateway call health", "The health payload"),
            ("gateway call system-presence --json", "Who is connected, as JSON"),
            ("gateway call logs.tail --params '{\"limit\":20}'", "With parameters"),
        ],
        config: Config::Tolerated,
        run: Run::GatewayCall,
        ..BASE
    },
    Command {
        path: &["gateway", "health"],
        about: "Ask the gateway for its health",
        flags: &[JSON, TARGET, TIMEOUT_10, FINAL],
        examples: &[
            ("gateway health", "One line and the channels"),
            ("gateway health --url ws://10.0.0.5:18789 --token TOKEN", "Another gateway"),
        ],
        config: Config::Tolerated,
        run: Run::GatewayHealth,
        ..BASE
    },
    Command {
        path: &["gateway", "usage-cost"],
        about: "What conversations cost, by day",
        flags: &[&[text("days", "n", "The last days, today included").or("30")], JSON, TARGET, TIMEOUT_10],
        examples: &[("gateway usage-cost --days 7", "The last week")],
        config: Config::Tolerated,
        run: Run::GatewayUsageCost,
        ..BASE
    },
    Command {
        path: &["gateway", "discover"],
        about: "Find gateways on the local network",
        details: "This build has no mDNS: the result is always empty. Name the gateway with --url, or set gateway.remote.url.",
        flags: &[JSON, &[text("timeout", "ms", "Time for the search").or("2000")]],
        examples: &[("gateway discover --json", "The (empty) list as JSON")],
        config: Config::Tolerated,
        run: Run::GatewayDiscover,
        ..BASE
    },
    Command {
        path: &["health"],
        about: "Show the health of the running gateway",
        flags: &[JSON, TARGET, TIMEOUT_10, VERBOSE],
        examples: &[
            ("health", "Channels, agents and sessions"),
            ("health --verbose", "Probe the channels first"),
            ("health --json", "The payload"),
        ],
        config: Config::Tolerated,
        run: Run::Health,
        ..BASE
    },
    Command {
        path: &["status"],
        about: "Show an overview of this installation",
        details: "Works without a gateway; exit status is 0 even when none is reachable.",
        flags: &[
            &[
                switch("all", "Everything; the same as --deep"),
                switch("deep", "Ask for health and the last heartbeat too"),
                switch("usage", "Accepted for compatibility; no usage is recorded yet"),
            ],
            JSON,
            TIMEOUT_10,
            VERBOSE,
        ],
        examples: &[("status", "The overview"), ("status --deep --json", "With health, as JSON")],
        config: Config::Tolerated,
        run: Run::Status,
        ..BASE
    },
    Command {
        path: &["logs"],
        about: "Show the gateway's log",
        flags: &[
            &[
                switch("follow", "Go on as lines arrive; reconnects after a restart"),
                text("interval", "ms", "Time between two requests with --follow").or("1000"),
                text("limit", "n", "Lines at most").or("200"),
                switch("local-time", "Local time (the default)"),
                text("max-bytes", "n", "Bytes at most").or("250000"),
                switch("plain", "No colours"),
                switch("utc", "UTC instead of the zone that the log names").not_with(&["local-time"]),
            ],
            &[switch("json", "Print one compact JSON object per line")],
            TARGET,
            TIMEOUT_30,
            FINAL,
        ],
        examples: &[
            ("logs --follow", "Watch the gateway"),
            ("logs --limit 50 --json", "The last 50 lines for a script"),
        ],
        config: Config::Tolerated,
        run: Run::Logs,
        ..BASE
    },
    Command {
        path: &["devices"],
        about: "Approve and manage paired devices",
        examples: &[
            ("devices list", "Pending and paired devices"),
            ("devices approve --latest", "Approve the newest request"),
        ],
        config: Config::Unused,
        ..BASE
    },
    Command {
        path: &["devices", "list"],
        about: "List pending and paired devices",
        flags: &[JSON, TARGET, TIMEOUT_10],
        examples: &[("devices list", "Two tables"), ("devices list --json", "The payload")],
        run: Run::DevicesList,
        ..BASE
    },
    Command {
        path: &["devices", "approve"],
        about: "Approve a pending device",
        flags: &[&[switch("latest", "Approve the newest pending request")], JSON, TARGET, TIMEOUT_10],
        args: &[Arg { required: false, ..REQUEST_ID }],
        examples: &[
            ("devices approve --latest", "The newest request"),
            ("devices approve 5f0c8a3e-9a52-4d43-a7f7-0b6f8c2f1d11", "One request by its id"),
        ],
        run: Run::DevicesApprove,
        ..BASE
    },
    Command {
        path: &["devices", "reject"],
        about: "Reject a pending device",
        flags: &[JSON, TARGET, TIMEOUT_10],
        args: &[REQUEST_ID],
        examples: &[("devices reject 5f0c8a3e-9a52-4d43-a7f7-0b6f8c2f1d11", "One request by its id")],
        run: Run::DevicesReject,
        ..BASE
    },
    Command {
        path: &["devices", "rotate"],
        about: "Give a device a new token",
        flags: &[
            &[
                DEVICE,
                ROLE,
                Flag { value: Value::Many("scope"), ..text("scope", "scope", "Scope of the new token; repeatable") },
            ],
            JSON,
            TARGET,
            TIMEOUT_10,
        ],
        examples: &[("devices rotate --device ID --role operator --scope operator.read", "A token that may only read")],
        run: Run::DevicesRotate,
        ..BASE
    },
    Command {
        path: &["devices", "revoke"],
        about: "Revoke a device's token",
        flags: &[&[DEVICE, ROLE], JSON, TARGET, TIMEOUT_10],
        examples: &[("devices revoke --device ID --role operator", "The device must pair again")],
        run: Run::DevicesRevoke,
        ..BASE
    },
    Command {
        path: &["devices", "remove"],
        about: "Forget a paired device",
        flags: &[JSON, TARGET, TIMEOUT_10],
        args: &[Arg { name: "deviceId", about: "Device id", ..REQUEST_ID }],
        examples: &[("devices remove ID", "Forget it; its tokens stop working")],
        run: Run::DevicesRemove,
        ..BASE
    },
    Command {
        path: &["devices", "rename"],
        about: "Name a paired device",
        flags: &[&[DEVICE, text("name", "name", "New name").required()], JSON, TARGET, TIMEOUT_10],
        examples: &[("devices rename --device ID --name \"Kitchen tablet\"", "Change the name shown in lists")],
        run: Run::DevicesRename,
        ..BASE
    },
    Command {
        path: &["nodes"],
        about: "Show and pair nodes",
        examples: &[("nodes status", "Known nodes"), ("nodes pending", "Requests to approve")],
        config: Config::Unused,
        ..BASE
    },
    Command {
        path: &["nodes", "status"],
        about: "Show known nodes and whether they are connected",
        flags: &[SEEN, JSON, TARGET, TIMEOUT_10],
        examples: &[("nodes status --connected", "Only those that are connected")],
        run: Run::NodesStatus,
        ..BASE
    },
    Command {
        path: &["nodes", "list"],
        about: "List pending and paired nodes",
        flags: &[SEEN, JSON, TARGET, TIMEOUT_10],
        examples: &[("nodes list", "Two tables"), ("nodes list --json", "The payload")],
        run: Run::NodesList,
        ..BASE
    },
    Command {
        path: &["nodes", "describe"],
        about: "Show one node and its commands",
        flags: &[&[NODE], JSON, TARGET, TIMEOUT_10],
        examples: &[("nodes describe --node kitchen", "By name")],
        run: Run::NodesDescribe,
        ..BASE
    },
    Command {
        path: &["nodes", "pending"],
        about: "List nodes that wait for approval",
        flags: &[JSON, TARGET, TIMEOUT_10],
        examples: &[("nodes pending", "Requests to approve")],
        run: Run::NodesPending,
        ..BASE
    },
    Command {
        path: &["nodes", "approve"],
        about: "Approve a pending node",
        flags: &[JSON, TARGET, TIMEOUT_10],
        args: &[REQUEST_ID],
        examples: &[("nodes approve 5f0c8a3e-9a52-4d43-a7f7-0b6f8c2f1d11", "One request by its id")],
        run: Run::NodesApprove,
        ..BASE
    },
    Command {
        path: &["nodes", "reject"],
        about: "Reject a pending node",
        flags: &[JSON, TARGET, TIMEOUT_10],
        args: &[REQUEST_ID],
        examples: &[("nodes reject 5f0c8a3e-9a52-4d43-a7f7-0b6f8c2f1d11", "One request by its id")],
        run: Run::NodesReject,
        ..BASE
    },
    Command {
        path: &["nodes", "rename"],
        about: "Name a node",
        flags: &[&[NODE, text("name", "name", "New name").required()], JSON, TARGET, TIMEOUT_10],
        examples: &[("nodes rename --node 192.168.1.20 --name Kitchen", "Change the name shown in lists")],
        run: Run::NodesRename,
        ..BASE
    },
    Command {
        path: &["channels"],
        about: "Show chat channels",
        examples: &[("channels status", "Every account and its state")],
        config: Config::Unused,
        ..BASE
    },
    Command {
        path: &["channels", "status"],
        about: "Show every channel account and its state",
        details: "Exit status is 0 even when the gateway is down; then the config is shown instead.",
        flags: &[&[switch("probe", "Let the channels check their credentials")], JSON, TARGET, TIMEOUT_10],
        examples: &[
            ("channels status --probe", "Check the credentials too"),
            ("channels status --json", "The payload"),
        ],
        run: Run::ChannelsStatus,
        ..BASE
    },
    Command {
        path: &["system"],
        about: "Events, heartbeats and presence",
        examples: &[("system presence", "Who is connected")],
        config: Config::Unused,
        ..BASE
    },
    Command {
        path: &["system", "event"],
        about: "Hand the main session a line to think about",
        flags: &[
            &[
                choice("mode", "mode", WAKE, "When the agent looks at it").or("next-heartbeat"),
                text("text", "text", "The line").required(),
            ],
            JSON,
            TARGET,
            TIMEOUT_30,
            FINAL,
        ],
        examples: &[("system event --text \"The build is red\" --mode now", "Wake the agent at once")],
        run: Run::SystemEvent,
        ..BASE
    },
    Command {
        path: &["system", "heartbeat"],
        about: "The agent's heartbeat",
        examples: &[("system heartbeat last", "The last one")],
        config: Config::Unused,
        ..BASE
    },
    Command {
        path: &["system", "heartbeat", "last"],
        about: "Show the last heartbeat",
        flags: &[JSON, TARGET, TIMEOUT_30, FINAL],
        examples: &[("system heartbeat last", "As JSON; null before the first")],
        run: Run::HeartbeatLast,
        ..BASE
    },
    Command {
        path: &["system", "heartbeat", "enable"],
        about: "Switch heartbeats on",
        flags: &[JSON, TARGET, TIMEOUT_30, FINAL],
        examples: &[("system heartbeat enable", "Until the next restart")],
        run: Run::HeartbeatEnable,
        ..BASE
    },
    Command {
        path: &["system", "heartbeat", "disable"],
        about: "Switch heartbeats off",
        flags: &[JSON, TARGET, TIMEOUT_30, FINAL],
        examples: &[("system heartbeat disable", "Until the next restart")],
        run: Run::HeartbeatDisable,
        ..BASE
    },
    Command {
        path: &["system", "presence"],
        about: "List who is connected",
        flags: &[JSON, TARGET, TIMEOUT_30, FINAL],
        examples: &[("system presence", "As JSON")],
        run: Run::SystemPresence,
        ..BASE
    },
    Command {
        path: &["secrets"],
        about: "Secrets of the running gateway",
        examples: &[("secrets reload", "Read them again")],
        config: Config::Unused,
        ..BASE
    },
    Command {
        path: &["secrets", "reload"],
        about: "Let the gateway read its secrets again",
        flags: &[JSON, TARGET, TIMEOUT_30, FINAL],
        examples: &[("secrets reload", "After a secret changed on disk")],
        run: Run::SecretsReload,
        ..BASE
    },
    Command {
        path: &["config"],
        about: "Read the config file",
        examples: &[("config file", "Where it is"), ("config validate", "Whether it is valid")],
        config: Config::Unused,
        ..BASE
    },
    Command {
        path: &["config", "file"],
        about: "Print the path of the config file",
        examples: &[
            ("config file", "Also when it does not exist"),
            ("--profile rescue config file", "Of another profile"),
        ],
        config: Config::Own,
        run: Run::ConfigFile,
        ..BASE
    },
    Command {
        path: &["config", "validate"],
        about: "Check the config file",
        flags: &[JSON],
        examples: &[("config validate --json", "Issues as JSON; exit 1 if there are any")],
        config: Config::Own,
        run: Run::ConfigValidate,
        ..BASE
    },
    Command {
        path: &["config", "get"],
        about: "Print one effective value of the config",
        flags: &[JSON],
        args: &[Arg {
            name: "path",
            required: true,
            many: false,
            source: Source::Nothing,
            about: "Dotted path, with [index] or [key] where needed",
        }],
        examples: &[("config get gateway.port", "One value"), ("config get gateway --json", "A part of the tree")],
        run: Run::ConfigGet,
        ..BASE
    },
    Command {
        path: &["agent"],
        about: "Send a message to an agent and wait for its answer",
        details: "Without --to, --session-id, --session-key or --agent the message goes to the main session of the \
default agent. The answer appears as it comes. Exit status 1 when the turn failed, was stopped or took too long.",
        flags: &[
            &[
                text("agent", "id", "Agent"),
                text("message", "text", "What to say").letter('m').not_with(&["message-file"]),
                text("message-file", "path", "File with the message; - reads standard input"),
                text("session-id", "id", "Session by its transcript"),
                text("session-key", "key", "Session by its key"),
                text("thinking", "level", "off, minimal, low, medium, high or xhigh"),
                text("timeout", "seconds", "Time limit of the turn; the gateway's own is 600"),
                text("to", "number", "Session of this person, by number or address").letter('t'),
            ],
            JSON,
            TARGET,
        ],
        examples: &[
            ("agent --message \"What is new?\"", "Ask the main session"),
            ("agent --agent ops -m \"Check the logs\" --json", "Ask another agent, for a script"),
        ],
        run: Run::Agent,
        ..BASE
    },
    Command {
        path: &["approvals"],
        about: "Commands that agents may run without asking",
        examples: &[("approvals get", "The rules and lists")],
        ..BASE
    },
    Command {
        path: &["approvals", "get"],
        about: "Show the rules and the allowlists",
        flags: &[JSON, TARGET, TIMEOUT_10],
        examples: &[("approvals get --json", "The file, for a script")],
        run: Run::ApprovalsGet,
        ..BASE
    },
    Command {
        path: &["approvals", "allowlist"],
        about: "Programs that run without asking",
        examples: &[("approvals allowlist add /usr/bin/git", "Let every agent use git")],
        ..BASE
    },
    Command {
        path: &["approvals", "allowlist", "add"],
        about: "Let agents run a program without asking",
        flags: &[&[text("agent", "id", "Only this agent").or("*")], JSON, TARGET, TIMEOUT_10],
        args: &[Arg {
            name: "pattern",
            required: true,
            many: false,
            source: Source::Nothing,
            about: "Path of a program; * and ? are wildcards",
        }],
        examples: &[("approvals allowlist add \"/opt/tools/*\" --agent ops", "A folder, for one agent")],
        run: Run::AllowlistAdd,
        ..BASE
    },
    Command {
        path: &["approvals", "allowlist", "remove"],
        about: "Ask again before a program runs",
        flags: &[&[text("agent", "id", "Only this agent").or("*")], JSON, TARGET, TIMEOUT_10],
        args: &[Arg {
            name: "pattern",
            required: true,
            many: false,
            source: Source::Nothing,
            about: "Path of a program; * and ? are wildcards",
        }],
        examples: &[("approvals allowlist remove /usr/bin/git", "No git without asking")],
        run: Run::AllowlistRemove,
        ..BASE
    },
    Command {
        path: &["agents"],
        about: "The agents of the configuration",
        examples: &[("agents list", "Who they are")],
        ..BASE
    },
    Command {
        path: &["agents", "add"],
        about: "Add an agent with a workspace of its own",
        details: "Through the gateway when one runs, which uses the agent at once; else straight into the config file, \
whose comments stay.",
        flags: &[
            &[
                text("model", "provider/model", "Its model; without it the default one"),
                switch("non-interactive", "Accepted for compatibility; it never asks"),
                text("workspace", "dir", "Its folder; without it one in the state directory"),
            ],
            JSON,
            TARGET,
            TIMEOUT_10,
        ],
        args: &[Arg {
            name: "name",
            required: true,
            many: false,
            source: Source::Nothing,
            about: "Its name; the id is made of it",
        }],
        examples: &[("agents add ops --workspace ~/ops --model ollama/qwen3", "An agent for another folder")],
        run: Run::AgentsAdd,
        ..BASE
    },
    Command {
        path: &["agents", "delete"],
        aliases: &[&["agents", "remove"]],
        about: "Take an agent out; its files go to the trash",
        details: "Its entry, its routes, its sessions and its workspace. A workspace that another agent uses stays.",
        flags: &[&[switch("force", "Do it; without this nothing happens")], JSON, TARGET, TIMEOUT_10],
        args: &[Arg { name: "id", required: true, many: false, source: Source::Nothing, about: "The agent" }],
        examples: &[("agents delete ops --force", "No ops any more")],
        run: Run::AgentsDelete,
        ..BASE
    },
    Command {
        path: &["agents", "set-identity"],
        about: "Change how an agent presents itself",
        details: "Writes into the config file and tells a running gateway. An empty value takes the old one away.",
        flags: &[
            &[
                text("agent", "id", "The agent; without it the default one"),
                text("avatar", "value", "Picture: a path in the workspace, an address or a data URI"),
                text("emoji", "emoji", "Emoji"),
                text("name", "name", "Name"),
                text("theme", "theme", "Character"),
            ],
            JSON,
        ],
        examples: &[("agents set-identity --agent ops --name Opsy --emoji 🛠", "A name and a face")],
        run: Run::AgentsSetIdentity,
        ..BASE
    },
    Command {
        path: &["agents", "list"],
        about: "List the agents",
        details: "Reads the configuration; no gateway is needed.",
        flags: &[JSON],
        examples: &[("agents list --json", "For a script")],
        run: Run::AgentsList,
        ..BASE
    },
    Command {
        path: &["cron"],
        about: "Work on a schedule",
        details: CRON_DETAILS,
        examples: &[
            ("cron add --name plants --every 2d --system-event \"Water the plants\"", "A reminder in the main session"),
            ("cron list", "What is planned, and what came of it"),
        ],
        ..BASE
    },
    Command {
        path: &["cron", "status"],
        about: "Whether jobs run, and when the next one does",
        flags: &[JSON, TARGET, TIMEOUT_30],
        examples: &[("cron status --json", "For a script")],
        run: Run::CronStatus,
        ..BASE
    },
    Command {
        path: &["cron", "list"],
        about: "List jobs with their next and last run",
        flags: &[
            &[switch("all", "Disabled jobs too"), text("agent", "id", "Only jobs of this agent")],
            JSON,
            TARGET,
            TIMEOUT_30,
        ],
        examples: &[("cron list --all", "Disabled ones too")],
        run: Run::CronList,
        ..BASE
    },
    Command {
        path: &["cron", "add"],
        aliases: &[&["cron", "create"]],
        about: "Add a job",
        details: CRON_DETAILS,
        flags: &[
            &[switch("disabled", "Do not run it yet"), text("name", "name", "What it is called").required()],
            CRON_JOB,
            JSON,
            TARGET,
            TIMEOUT_30,
        ],
        examples: &[
            ("cron add --name tea --at 20m --system-event \"Tea is ready\"", "Once, in twenty minutes"),
            (
                "cron add --name news --cron \"0 7 * * mon-fri\" --tz Europe/Berlin --message \"Sum up the news\"",
                "A turn on workdays at seven",
            ),
        ],
        run: Run::CronAdd,
        ..BASE
    },
    Command {
        path: &["cron", "edit"],
        about: "Change a job",
        details: "Changes what the flags name and leaves the rest.",
        flags: &[
            &[
                switch("clear-agent", "Back to the default agent"),
                switch("disable", "Let it run by hand only"),
                switch("enable", "Let it run again"),
                text("name", "name", "What it is called"),
            ],
            CRON_JOB,
            JSON,
            TARGET,
            TIMEOUT_30,
        ],
        args: CRON_ID,
        examples: &[("cron edit <id> --every 20m --missed skip", "Another interval, and nothing is caught up")],
        run: Run::CronEdit,
        ..BASE
    },
    Command {
        path: &["cron", "enable"],
        about: "Let a job run again",
        flags: &[JSON, TARGET, TIMEOUT_30],
        args: CRON_ID,
        examples: &[("cron enable <id>", "It runs again at its next time")],
        run: Run::CronEnable,
        ..BASE
    },
    Command {
        path: &["cron", "disable"],
        about: "Let a job run by hand only",
        flags: &[JSON, TARGET, TIMEOUT_30],
        args: CRON_ID,
        examples: &[("cron disable <id>", "It stays in the list, with --all")],
        run: Run::CronDisable,
        ..BASE
    },
    Command {
        path: &["cron", "rm"],
        aliases: &[&["cron", "remove"], &["cron", "delete"]],
        about: "Remove a job",
        details: "What it is running goes on, and the log of its runs stays.",
        flags: &[JSON, TARGET, TIMEOUT_30],
        args: CRON_ID,
        examples: &[("cron rm tea", "No such job any more")],
        run: Run::CronRemove,
        ..BASE
    },
    Command {
        path: &["cron", "run"],
        about: "Run a job now",
        details: "Returns when a line is in the main session or a turn has begun. Exit status 1 when it is not run; with \
--wait also when the turn does not end well.",
        flags: &[
            &[
                switch("due", "Only if it is due"),
                text("poll-interval", "span", "How often --wait looks").or("1s"),
                switch("wait", "Wait for the end of the turn"),
                text("wait-timeout", "span", "How long --wait waits").or("10m"),
            ],
            JSON,
            TARGET,
            TIMEOUT_30,
        ],
        args: CRON_ID,
        examples: &[("cron run news --wait", "Try a job out")],
        run: Run::CronRun,
        ..BASE
    },
    Command {
        path: &["cron", "runs"],
        about: "Show what came of a job's runs",
        details: "Oldest first; also of a job that was removed. Runs missed while the gateway was down stand there too.",
        flags: &[
            &[text("id", "id", "The job, instead of the argument"), text("limit", "n", "Most runs").or("50")],
            JSON,
            TARGET,
            TIMEOUT_30,
        ],
        args: &[Arg {
            name: "id",
            required: false,
            many: false,
            source: Source::Nothing,
            about: "Its id, the beginning of it, or its name; the whole id of a removed one",
        }],
        examples: &[("cron runs <id> --limit 5", "The last five")],
        run: Run::CronRuns,
        ..BASE
    },
    Command {
        path: &["models"],
        about: "The models agents can use",
        examples: &[("models list", "Which ones")],
        ..BASE
    },
    Command {
        path: &["models", "list"],
        about: "List the configured models",
        details: "Reads the configuration; no gateway is needed.",
        flags: &[JSON],
        examples: &[("models list", "Names, context and price")],
        run: Run::ModelsList,
        ..BASE
    },
    Command {
        path: &["models", "scan"],
        about: "Look for model servers on this machine",
        details: "Has the gateway ask Ollama, llama.cpp's server and LM Studio at their usual ports. Nothing leaves this \
machine.",
        flags: &[
            &[
                switch("no-probe", "Accepted for compatibility; models are never tried out"),
                switch("set-default", "Use the first one found for all agents"),
                switch("yes", "Accepted for compatibility; it never asks"),
            ],
            JSON,
            TARGET,
            TIMEOUT_10,
        ],
        examples: &[("models scan --set-default", "Use what runs here")],
        run: Run::ModelsScan,
        ..BASE
    },
    Command {
        path: &["models", "status"],
        about: "Show which model answers and where the keys come from",
        details: "The gateway says what it has; without one the configuration alone is shown. No key is ever printed.",
        flags: &[
            &[
                text("agent", "id", "The agent; without it the default one"),
                switch("check", "Exit 1 when a provider in use lacks a key, 2 when one ends within a day"),
                switch("plain", "Only the model's name"),
            ],
            JSON,
            TARGET,
            TIMEOUT_10,
        ],
        examples: &[("models status", "What answers"), ("models status --check", "For a script")],
        run: Run::ModelsStatus,
        ..BASE
    },
    Command {
        path: &["models", "set"],
        about: "Choose the model that answers",
        details: "Writes agents.defaults.model into the config file and leaves everything else in it as it is. \
A running gateway uses it from the next turn on.",
        flags: &[JSON],
        args: &[Arg {
            name: "model",
            required: true,
            many: false,
            source: Source::Nothing,
            about: "provider/model, such as ollama/qwen3 or anthropic/claude-sonnet-4-5",
        }],
        examples: &[("models set ollama/qwen3", "A local model")],
        run: Run::ModelsSet,
        ..BASE
    },
    Command {
        path: &["sessions"],
        about: "List the sessions in the store",
        details: "Reads the store's file; no gateway is needed.",
        flags: &[
            &[
                text("active", "minutes", "Only sessions changed within this time"),
                text("agent", "id", "Agent whose store is read"),
                text("store", "path", "Another store file"),
            ],
            JSON,
        ],
        examples: &[("sessions --active 60", "Sessions of the last hour")],
        run: Run::Sessions,
        ..BASE
    },
    Command {
        path: &["protocol"],
        about: "The wire protocol as files",
        examples: &[("protocol gen --schema --out .", "JSON Schema into this directory")],
        config: Config::Unused,
        ..BASE
    },
    Command {
        path: &["protocol", "gen"],
        about: "Write the protocol for other programs",
        flags: &[&[
            switch("markdown", "Reference page"),
            text("out", "dir", "Directory to write into instead of standard output"),
            switch("schema", "JSON Schema"),
            switch("swift", "Swift types"),
            switch("ts", "TypeScript types"),
        ]],
        examples: &[
            ("protocol gen --schema", "To standard output"),
            ("protocol gen --ts --swift --out generated", "Two files"),
        ],
        config: Config::Unused,
        run: Run::ProtocolGen,
        ..BASE
    },
    Command {
        path: &["completion"],
        about: "Print a shell completion script",
        flags: &[&[choice("shell", "shell", SHELLS, "Shell to complete in").letter('s').or("zsh")]],
        examples: &[
            ("completion -s bash > ~/.local/share/bash-completion/completions/openclaw", "Install for bash"),
            ("completion -s fish > ~/.config/fish/completions/openclaw.fish", "Install for fish"),
            ("completion > \"${fpath[1]}/_openclaw\"", "Install for zsh"),
        ],
        config: Config::Unused,
        run: Run::Completion,
        ..BASE
    },
    Command {
        path: &["man"],
        about: "Print the manual page",
        examples: &[("man | man -l -", "Read it"), ("man > openclaw.1", "Keep it")],
        config: Config::Unused,
        run: Run::Man,
        ..BASE
    },
    Command {
        path: &["help"],
        about: "Show the help of a command",
        args: &[Arg {
            name: "command",
            required: false,
            many: true,
            source: Source::Commands,
            about: "Words of the command",
        }],
        examples: &[("help gateway status", "The same as: openclaw gateway status --help")],
        config: Config::Unused,
        run: Run::Help,
        ..BASE
    },
];
