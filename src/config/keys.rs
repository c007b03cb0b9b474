//! The table of configuration keys: type, default, meaning, secrecy and effect of a change.
//! The single source for validation, the published schema and the user interface's hints. Pure data and lookups.

use std::sync::LazyLock;

use super::keys_pack;
use super::model::{
    AuthMode, Bind, ConsoleStyle, Level, MdnsMode, Mode, RedactMode, ReloadMode, SessionScope, TailscaleMode,
};
use crate::sys::redact::is_secret_name;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// `true` or `false`.
    Flag,
    /// Text.
    Text,
    /// A whole number in a range.
    Integer(i64, i64),
    /// Any number.
    Number,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A list of values of another row, whose path ends in `*`.
    List,
    /// An object with free names and values of another row, whose path ends in `*`.
    Map,
    /// An object whose members all have rows; others are reported.
    Closed,
    /// An object of which only some members have rows; others belong to parts that read them themselves.
    Open,
    /// Text, or an object with the members below.
    TextOr,
    /// A duration such as `30m`, or a number of minutes.
    Every,
    /// Anything; read by another part, or by none yet.
    Any,
}

/// One row: a key, by its dotted path with `*` for list items and free names.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The dotted path.
    pub path: &'static str,
    /// The type of its value.
    pub kind: Type,
    /// The default as JSON text; empty when there is none.
    pub default: &'static str,
    /// Whether its value must not be shown.
    pub sensitive: bool,
    /// One sentence for people.
    pub doc: &'static str,
}

/// What a change of a key asks of a running gateway (lifecycle.md 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadKind {
    /// Read on use.
    None,
    /// A part restarts inside the process.
    Hot,
    /// The gateway restarts.
    Restart,
}

impl ReloadKind {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            ReloadKind::None => "none",
            ReloadKind::Hot => "hot",
            ReloadKind::Restart => "restart",
        }
    }
}

const fn key(path: &'static str, kind: Type, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, sensitive: false, doc }
}

const fn secret(path: &'static str, doc: &'static str) -> Key {
    Key { path, kind: Type::Text, default: "", sensitive: true, doc }
}

/// A section or value that other parts read, or that is accepted unread (lifecycle.md 5).
const fn unread(path: &'static str, doc: &'static str) -> Key {
    key(path, Type::Any, "", doc)
}

const MS: Type = Type::Integer(0, 86_400_000);
const PORT: Type = Type::Integer(1, 65_535);
const COUNT: Type = Type::Integer(1, i64::MAX);
const SIZE: Type = Type::Integer(0, i64::MAX);

/// Every known key. Order is the order of the published schema.
pub static KEYS: LazyLock<&'static [Key]> = LazyLock::new(keys_pack::unfold);

/// The same as the compiler reads it; it stands in the program as `keys_pack` writes it.
pub(super) const TABLE: &[Key] = &[
    key("$schema", Type::Text, "", "Address of a schema for editors."),
    key("meta", Type::Open, "", "Stamp of the program that last wrote the file."),
    key("meta.lastTouchedVersion", Type::Text, "", "Version of that program."),
    key("meta.lastTouchedAt", Type::Text, "", "Time of that write."),
    key("env", Type::Open, "", "Variables put into the environment when they are unset."),
    unread("env.vars", "Variables by name."),
    unread("env.shellEnv", "Import from the login shell."),
    key("wizard", Type::Open, "", "What the setup wizard did last."),
    unread("diagnostics", "Diagnostics."),
    // gateway
    key("gateway", Type::Closed, "", "The gateway: port, addresses, authentication, HTTP."),
    key("gateway.port", PORT, "18789", "Port for WebSocket and HTTP."),
    key("gateway.mode", Type::Choice(Mode::NAMES), "", "Whether the gateway runs here (local) or elsewhere (remote)."),
    key("gateway.bind", Type::Choice(Bind::NAMES), "\"loopback\"", "Which addresses the gateway listens on."),
    key("gateway.customBindHost", Type::Text, "", "IPv4 address for bind=custom."),
    key("gateway.maxConnections", Type::Integer(1, 8192), "256", "Connections of every kind at once."),
    key("gateway.auth", Type::Closed, "", "What clients must show."),
    key("gateway.auth.mode", Type::Choice(AuthMode::NAMES), "", "How clients prove themselves; derived when unset."),
    secret("gateway.auth.token", "The shared token."),
    secret("gateway.auth.password", "The shared password."),
    key("gateway.auth.allowTailscale", Type::Flag, "", "Whether a Tailscale Serve identity replaces the secret."),
    key("gateway.auth.rateLimit", Type::Closed, "", "Limiter of failed logins per address."),
    key("gateway.auth.rateLimit.maxAttempts", COUNT, "10", "Failures before a lockout."),
    key("gateway.auth.rateLimit.windowMs", MS, "60000", "Window in which failures count."),
    key("gateway.auth.rateLimit.lockoutMs", MS, "300000", "Length of a lockout."),
    key("gateway.auth.rateLimit.exemptLoopback", Type::Flag, "true", "Whether this machine is never locked out."),
    unread("gateway.auth.trustedProxy", "Identity headers of a trusted proxy."),
    unread("gateway.auth.identityScopes", "Scopes by identity."),
    key("gateway.controlUi", Type::Closed, "", "The browser control page."),
    key("gateway.controlUi.enabled", Type::Flag, "true", "Whether it is served."),
    key("gateway.controlUi.basePath", Type::Text, "\"\"", "Path it is served under."),
    key("gateway.controlUi.root", Type::Text, "", "Folder of other assets."),
    key("gateway.controlUi.allowedOrigins", Type::Texts, "", "Browser origins that may connect."),
    key("gateway.controlUi.allowInsecureAuth", Type::Flag, "false", "Allow it without device identity on plain HTTP."),
    key("gateway.controlUi.dangerouslyDisableDeviceAuth", Type::Flag, "false", "Never ask it for a device identity."),
    key(
        "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback",
        Type::Flag,
        "false",
        "Accept an origin equal to the Host header.",
    ),
    key("gateway.trustedProxies", Type::Texts, "[]", "Proxies whose forwarding headers count."),
    key(
        "gateway.allowRealIpFallback",
        Type::Flag,
        "false",
        "Whether X-Real-IP counts when X-Forwarded-For is missing.",
    ),
    key("gateway.tailscale", Type::Closed, "", "Publication over Tailscale."),
    key("gateway.tailscale.mode", Type::Choice(TailscaleMode::NAMES), "\"off\"", "How it is published."),
    key("gateway.tailscale.resetOnExit", Type::Flag, "false", "Whether publication ends with the gateway."),
    key("gateway.remote", Type::Closed, "", "A gateway elsewhere, for the command line."),
    key("gateway.remote.url", Type::Text, "", "Its WebSocket address."),
    key("gateway.remote.transport", Type::Choice(&["ssh", "direct"]), "", "How it is reached."),
    secret("gateway.remote.token", "Its token."),
    secret("gateway.remote.password", "Its password."),
    key("gateway.remote.tlsFingerprint", Type::Text, "", "SHA-256 of its certificate."),
    key("gateway.remote.sshTarget", Type::Text, "", "user@host for a tunnel."),
    key("gateway.remote.sshIdentity", Type::Text, "", "Key file for a tunnel."),
    key("gateway.reload", Type::Closed, "", "What happens when this file changes."),
    key("gateway.reload.mode", Type::Choice(ReloadMode::NAMES), "\"hybrid\"", "Which changes are applied, and how."),
    key("gateway.reload.debounceMs", MS, "300", "Quiet time before a change is read."),
    key("gateway.tls", Type::Open, "", "TLS on the gateway's own port."),
    key("gateway.tls.enabled", Type::Flag, "false", "Whether it is on."),
    key("gateway.http", Type::Closed, "", "HTTP interfaces."),
    key("gateway.http.endpoints", Type::Closed, "", "Interfaces for programs."),
    key("gateway.http.endpoints.chatCompletions", Type::Open, "", "/v1/chat/completions."),
    key("gateway.http.endpoints.chatCompletions.enabled", Type::Flag, "false", "Whether it is served."),
    key("gateway.http.endpoints.chatCompletions.images", Type::Open, "", "Pictures in messages."),
    key(
        "gateway.http.endpoints.chatCompletions.images.allowUrl",
        Type::Flag,
        "false",
        "Whether addresses are fetched.",
    ),
    key(
        "gateway.http.endpoints.chatCompletions.images.urlAllowlist",
        Type::Texts,
        "",
        "Hosts they may be fetched from.",
    ),
    key("gateway.http.endpoints.chatCompletions.images.allowedMimes", Type::Texts, "", "Types that are taken."),
    key("gateway.http.endpoints.chatCompletions.images.maxBytes", COUNT, "10485760", "Bytes of one."),
    key("gateway.http.endpoints.chatCompletions.images.maxRedirects", COUNT, "3", "Redirects followed."),
    key("gateway.http.endpoints.chatCompletions.images.timeoutMs", MS, "10000", "Time for one address."),
    key(
        "gateway.http.endpoints.acceptForeignModels",
        Type::Flag,
        "false",
        "Whether a model id that is none of ours means the default agent.",
    ),
    key("gateway.http.endpoints.responses", Type::Open, "", "/v1/responses."),
    key("gateway.http.endpoints.responses.enabled", Type::Flag, "false", "Whether it is served."),
    key(
        "gateway.http.endpoints.responses.maxBodyBytes",
        COUNT,
        "20971520",
        "Largest request body; not more than the default.",
    ),
    key("gateway.http.endpoints.responses.files", Type::Open, "", "Files in messages."),
    key("gateway.http.endpoints.responses.files.allowedMimes", Type::Texts, "", "Types that are taken."),
    key("gateway.http.endpoints.responses.files.maxBytes", COUNT, "5242880", "Bytes of one."),
    key("gateway.http.endpoints.responses.files.maxChars", COUNT, "60000", "Characters of one that the model sees."),
    key("gateway.http.endpoints.responses.images", Type::Open, "", "Pictures in messages."),
    key("gateway.http.endpoints.responses.images.allowUrl", Type::Flag, "false", "Whether addresses are fetched."),
    key("gateway.http.endpoints.responses.images.urlAllowlist", Type::Texts, "", "Hosts they may be fetched from."),
    key("gateway.http.endpoints.responses.images.allowedMimes", Type::Texts, "", "Types that are taken."),
    key("gateway.http.endpoints.responses.images.maxBytes", COUNT, "10485760", "Bytes of one."),
    key("gateway.http.endpoints.responses.images.maxRedirects", COUNT, "3", "Redirects followed."),
    key("gateway.http.endpoints.responses.images.timeoutMs", MS, "10000", "Time for one address."),
    key("gateway.http.securityHeaders", Type::Closed, "", "Extra response headers."),
    unread("gateway.http.securityHeaders.strictTransportSecurity", "Value of Strict-Transport-Security, or false."),
    key("gateway.metrics", Type::Closed, "", "Numbers for Prometheus."),
    key("gateway.metrics.enabled", Type::Flag, "false", "Whether /metrics is served."),
    key("gateway.nodes", Type::Closed, "", "Devices that lend camera, canvas or shell."),
    key("gateway.nodes.allowCommands", Type::Texts, "", "Commands allowed beyond the defaults."),
    key("gateway.nodes.denyCommands", Type::Texts, "", "Commands refused in any case."),
    key("gateway.nodes.commands", Type::Closed, "", "The same two lists, newer spelling."),
    key("gateway.nodes.commands.allow", Type::Texts, "", "Commands allowed beyond the defaults."),
    key("gateway.nodes.commands.deny", Type::Texts, "", "Commands refused in any case."),
    unread("gateway.nodes.browser", "Browser proxying through a node."),
    unread("gateway.nodes.pairing", "Node pairing."),
    unread("gateway.tools", "Tools callable over HTTP."),
    unread("gateway.terminal", "Terminal access."),
    unread("gateway.push", "Push relays."),
    unread("gateway.publicOrigin", "Public address of the gateway."),
    unread("gateway.cliAgents", "Command-line agents."),
    unread("gateway.roles", "Roles."),
    // canvasHost
    key("canvasHost", Type::Closed, "", "The canvas file server."),
    key("canvasHost.enabled", Type::Flag, "true", "Whether it is served."),
    key("canvasHost.root", Type::Text, "", "Its folder."),
    key("canvasHost.port", PORT, "", "Its own port; gateway port + 4 when unset."),
    key("canvasHost.liveReload", Type::Flag, "true", "Whether pages reload when files change."),
    // hooks
    key("hooks", Type::Closed, "", "HTTP hooks that wake agents."),
    key("hooks.enabled", Type::Flag, "false", "Whether they are served."),
    key("hooks.path", Type::Text, "\"/hooks\"", "Path they are served under."),
    secret("hooks.token", "The token callers must send."),
    key("hooks.maxBodyBytes", COUNT, "262144", "Largest request body."),
    key("hooks.presets", Type::Texts, "", "Mappings by name."),
    key("hooks.transformsDir", Type::Text, "", "Folder of transforms."),
    unread("hooks.mappings", "Mappings from requests to agents."),
    unread("hooks.gmail", "Mail notifications."),
    unread("hooks.internal", "Internal hooks."),
    key("hooks.defaultSessionKey", Type::Text, "", "Session of hook runs."),
    key("hooks.allowRequestSessionKey", Type::Flag, "false", "Whether callers choose the session."),
    key("hooks.allowedSessionKeyPrefixes", Type::Texts, "", "How sessions that callers choose begin."),
    key("hooks.allowedAgentIds", Type::Texts, "", "Agents callers may choose."),
    // logging
    key("logging", Type::Closed, "", "Log file and console."),
    key("logging.level", Type::Choice(Level::NAMES), "\"info\"", "Level of the file."),
    key("logging.file", Type::Text, "", "The file; a daily one when unset."),
    key("logging.consoleLevel", Type::Choice(Level::NAMES), "\"info\"", "Level of the console."),
    key("logging.consoleStyle", Type::Choice(ConsoleStyle::NAMES), "", "Style of the console."),
    key(
        "logging.redactSensitive",
        Type::Choice(RedactMode::NAMES),
        "\"tools\"",
        "Whether tool summaries are redacted too.",
    ),
    key("logging.redactPatterns", Type::Texts, "", "Patterns redacted as well."),
    key("logging.maxFileBytes", COUNT, "104857600", "Size at which the file is rotated."),
    // commands
    key("commands", Type::Closed, "", "Commands in chats."),
    key("commands.restart", Type::Flag, "false", "Whether a manual restart signal is obeyed."),
    unread("commands.native", "Native commands of channels."),
    unread("commands.nativeSkills", "Native skill commands."),
    key("commands.text", Type::Flag, "", "Text commands."),
    key("commands.bash", Type::Flag, "", "Shell command."),
    unread("commands.bashForegroundMs", "Time before a shell command goes to the background."),
    key("commands.config", Type::Flag, "", "Config command."),
    key("commands.debug", Type::Flag, "", "Debug command."),
    unread("commands.mcp", "MCP command."),
    unread("commands.plugins", "Plugins command."),
    unread("commands.ownerAllowFrom", "Who is the owner."),
    unread("commands.ownerDisplay", "How owners are shown."),
    unread("commands.allowFrom", "Who may use commands."),
    key("commands.useAccessGroups", Type::Flag, "", "Whether access groups apply."),
    // discovery
    key("discovery", Type::Closed, "", "Announcement on the network."),
    key("discovery.mdns", Type::Closed, "", "Multicast DNS."),
    key("discovery.mdns.mode", Type::Choice(MdnsMode::NAMES), "\"minimal\"", "What is announced."),
    key("discovery.wideArea", Type::Open, "", "Unicast DNS-SD."),
    key("discovery.wideArea.enabled", Type::Flag, "false", "Whether it is used."),
    // session
    key("session", Type::Open, "", "Sessions."),
    key(
        "session.scope",
        Type::Choice(SessionScope::NAMES),
        "\"per-sender\"",
        "One session per sender, or one for all.",
    ),
    key("session.mainKey", Type::Text, "\"main\"", "Name of the main session."),
    key("session.store", Type::Text, "", "The session index."),
    key("session.maintenance", Type::Open, "", "How long sessions are kept; without it all that can be named again."),
    key(
        "session.maintenance.mode",
        Type::Choice(&["enforce", "warn"]),
        "\"enforce\"",
        "Whether they go, or the log tells.",
    ),
    unread("session.maintenance.pruneAfter", "Age from which they go, such as 30d."),
    key("session.maintenance.maxEntries", COUNT, "", "So many of the newest stay."),
    // agents
    key("agents", Type::Open, "", "Agents."),
    key("agents.defaults", Type::Open, "", "What holds for every agent."),
    key("agents.defaults.workspace", Type::Text, "", "The workspace."),
    key("agents.defaults.skipBootstrap", Type::Flag, "false", "Do not create workspace files."),
    key("agents.defaults.model", Type::TextOr, "", "The model, as provider/model."),
    key("agents.defaults.model.primary", Type::Text, "", "The first choice."),
    key("agents.defaults.model.fallbacks", Type::Texts, "", "What is tried after it."),
    key("agents.defaults.timeoutSeconds", COUNT, "600", "Time limit of a turn."),
    key("agents.defaults.maxConcurrent", COUNT, "4", "Turns at once."),
    key("agents.defaults.heartbeat", Type::Open, "", "Periodic turns."),
    key("agents.defaults.heartbeat.every", Type::Every, "\"30m\"", "Interval; 0m is off."),
    key("agents.defaults.heartbeat.prompt", Type::Text, "", "What is asked."),
    key("agents.defaults.heartbeat.model", Type::Text, "", "Model of these turns."),
    key("agents.defaults.heartbeat.target", Type::Text, "\"last\"", "Where the answer goes: last, none or a channel."),
    key("agents.defaults.heartbeat.to", Type::Text, "", "Recipient."),
    key("agents.defaults.heartbeat.accountId", Type::Text, "", "Account of the channel."),
    key("agents.defaults.heartbeat.session", Type::Text, "\"main\"", "Session they run in."),
    key("agents.defaults.heartbeat.activeHours", Type::Open, "", "When they may run."),
    key("agents.defaults.heartbeat.activeHours.start", Type::Text, "", "From this time of day, HH:MM."),
    key(
        "agents.defaults.heartbeat.activeHours.end",
        Type::Text,
        "",
        "Until this time of day, HH:MM; 24:00 is allowed.",
    ),
    key("agents.defaults.heartbeat.activeHours.timezone", Type::Text, "\"user\"", "Time zone by name, user or local."),
    key("agents.defaults.heartbeat.includeReasoning", Type::Flag, "false", "Whether thoughts go along."),
    key("agents.defaults.heartbeat.ackMaxChars", SIZE, "300", "Longest text that counts as nothing to say."),
    key("agents.list", Type::List, "", "The agents."),
    key("agents.list.*", Type::Open, "", "An agent."),
    key("agents.list.*.id", Type::Text, "", "Its id."),
    key("agents.list.*.default", Type::Flag, "", "Whether it is the default agent."),
    key("agents.list.*.name", Type::Text, "", "Its name."),
    key("agents.list.*.workspace", Type::Text, "", "Its workspace."),
    key("agents.list.*.model", Type::TextOr, "", "Its model."),
    key("agents.list.*.model.primary", Type::Text, "", "The first choice."),
    key("agents.list.*.model.fallbacks", Type::Texts, "", "What is tried after it."),
    key("agents.list.*.identity", Type::Open, "", "How it presents itself."),
    key("agents.list.*.identity.name", Type::Text, "", "Name."),
    key("agents.list.*.identity.theme", Type::Text, "", "Theme."),
    key("agents.list.*.identity.emoji", Type::Text, "", "Emoji."),
    key("agents.list.*.identity.avatar", Type::Text, "", "Avatar: a path or an address."),
    key("agents.list.*.heartbeat", Type::Open, "", "Its own heartbeat."),
    key("agents.list.*.heartbeat.every", Type::Every, "", "Interval."),
    key("agents.entries", Type::Map, "", "The agents by id, newer spelling."),
    key("agents.entries.*", Type::Open, "", "An agent."),
    // models
    key("models", Type::Open, "", "Model providers."),
    key("models.mode", Type::Choice(&["merge", "replace"]), "", "Whether these join or replace the built-in ones."),
    key("models.providers", Type::Map, "", "Providers by id."),
    key("models.providers.*", Type::Open, "", "A provider."),
    key("models.providers.*.baseUrl", Type::Text, "", "Address of its interface."),
    key("models.providers.*.api", Type::Text, "", "Its kind of interface."),
    secret("models.providers.*.apiKey", "Its key."),
    key("models.providers.*.models", Type::List, "", "Its models."),
    key("models.providers.*.models.*", Type::Open, "", "A model."),
    key("models.providers.*.models.*.id", Type::Text, "", "Its id."),
    key("models.providers.*.models.*.name", Type::Text, "", "Its name."),
    key("models.providers.*.models.*.api", Type::Text, "", "Its kind of interface, when another."),
    key("models.providers.*.models.*.reasoning", Type::Flag, "", "Whether it reasons."),
    key("models.providers.*.models.*.input", Type::Texts, "", "What it reads: text, image."),
    key("models.providers.*.models.*.contextWindow", COUNT, "", "Tokens of context."),
    key("models.providers.*.models.*.maxTokens", COUNT, "", "Tokens of an answer."),
    key("models.providers.*.models.*.cost", Type::Open, "", "Prices per million tokens."),
    key("models.providers.*.models.*.cost.input", Type::Number, "", "Input."),
    key("models.providers.*.models.*.cost.output", Type::Number, "", "Output."),
    key("models.providers.*.models.*.cost.cacheRead", Type::Number, "", "Cached input."),
    key("models.providers.*.models.*.cost.cacheWrite", Type::Number, "", "Writing the cache."),
    // sections of other parts
    key("cron", Type::Open, "", "Scheduled turns."),
    key("cron.enabled", Type::Flag, "true", "Whether schedules run."),
    key("cron.store", Type::Text, "", "The schedule file."),
    key("cron.maxConcurrentRuns", COUNT, "1", "Scheduled turns at once."),
    unread("cron.sessionRetention", "How long transcripts of past runs stay, such as 24h; false for ever; else 30d."),
    secret("cron.webhookToken", "The token webhooks of jobs are called with."),
    key("cron.webhookSsrfPolicy", Type::Open, "", "Which private machines they may be on."),
    key("cron.webhookSsrfPolicy.allowedHostnames", Type::Texts, "", "By name or address."),
    key("cron.webhookSsrfPolicy.dangerouslyAllowPrivateNetwork", Type::Flag, "false", "All of them."),
    key("cron.skipMissedJobs", Type::Flag, "false", "Whether missed runs of repeated jobs are left out."),
    key("update", Type::Open, "", "Updates; this program never asks a registry."),
    key("update.channel", Type::Text, "\"stable\"", "Release channel."),
    unread("acp", "Agent client protocol."),
    unread("approvals", "Approvals."),
    unread("audio", "Audio."),
    unread("auth", "Model credentials."),
    unread("bindings", "Which agent answers where."),
    unread("broadcast", "Broadcasts."),
    unread("browser", "Browser control."),
    unread("channels", "Messaging channels."),
    unread("cli", "Command line."),
    unread("mcp", "MCP servers."),
    unread("media", "Media."),
    key("memory", Type::Open, "", "Memory."),
    key("memory.search", Type::Open, "", "Embeddings, for /v1/embeddings; an agent's own memory.search wins."),
    key("memory.search.provider", Type::Text, "", "Who makes vectors: a provider, openai-compatible or none."),
    key("memory.search.model", Type::Text, "", "The embedding model."),
    key("memory.search.fallback", Type::Text, "", "The provider when the first one is not set up."),
    key("memory.search.outputDimensionality", COUNT, "", "Length of the vectors."),
    key("memory.search.inputType", Type::Text, "", "input_type of servers that know one."),
    key(
        "memory.search.documentInputType",
        Type::Text,
        "",
        "The same for documents, as /v1/embeddings takes all texts.",
    ),
    key("memory.search.remote", Type::Open, "", "A server of its own."),
    key("memory.search.remote.baseUrl", Type::Text, "", "Its address, with /v1."),
    Key { sensitive: true, ..unread("memory.search.remote.apiKey", "Its key.") },
    key("memory.search.remote.headers", Type::Open, "", "Headers it gets."),
    unread("messages", "Messages."),
    unread("nodeHost", "This machine as a node."),
    unread("plugins", "Plugins."),
    unread("secrets", "Secret sources."),
    unread("skills", "Skills."),
    unread("talk", "Speech."),
    unread("tools", "Tools."),
    unread("ui", "Appearance."),
    unread("web", "WhatsApp connection."),
];

/// What a change asks for, by the first prefix that matches (lifecycle.md 13, with its recommendations).
const RELOAD: &[(&str, ReloadKind)] = &[
    ("gateway.remote", ReloadKind::None),
    ("gateway.reload", ReloadKind::None),
    ("hooks", ReloadKind::Hot),
    ("agents.defaults.heartbeat", ReloadKind::Hot),
    ("agent.heartbeat", ReloadKind::Hot),
    ("cron", ReloadKind::Hot),
    ("browser", ReloadKind::Hot),
    ("channels", ReloadKind::Hot),
    ("meta", ReloadKind::None),
    ("commands", ReloadKind::None),
    ("$schema", ReloadKind::None),
    ("identity", ReloadKind::None),
    ("wizard", ReloadKind::None),
    ("logging", ReloadKind::None),
    ("models", ReloadKind::None),
    ("agents", ReloadKind::None),
    ("tools", ReloadKind::None),
    ("bindings", ReloadKind::None),
    ("audio", ReloadKind::None),
    ("agent", ReloadKind::None),
    ("routing", ReloadKind::None),
    ("messages", ReloadKind::None),
    ("session", ReloadKind::None),
    ("talk", ReloadKind::None),
    ("skills", ReloadKind::None),
    ("ui", ReloadKind::None),
];

/// The row with exactly this pattern.
pub fn row(pattern: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == pattern)
}

/// The row that describes a concrete path: list indexes and free names match `*`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| matches(key.path, path))
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut names = path.split('.');
    let same = pattern.split('.').all(|part| names.next().is_some_and(|name| part == "*" || part == name));
    same && names.next().is_none()
}

/// The rows directly below a pattern; an empty one means the top.
pub fn children(pattern: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| parent(key.path) == pattern)
}

/// The path without its last name.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// The last name of a path.
pub fn last(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, name)| name)
}

/// Whether the value at a path must not be shown: its row says so, or its name does, or it is a variable.
pub fn is_sensitive(path: &str) -> bool {
    let by_row = find(path).is_some_and(|key| key.sensitive);
    by_row || is_secret_name(name_of(path)) || is_variable(path)
}

/// The same for a text: there `tokens` are secrets, while a number of `maxTokens` is none.
pub fn is_sensitive_text(path: &str) -> bool {
    is_sensitive(path) || name_of(path).strip_suffix('s').is_some_and(is_secret_name)
}

/// The name that says what a value is; items of a list count by the name of the list.
fn name_of(path: &str) -> &str {
    let name = last(path);
    let index = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    if index { last(parent(path)) } else { name }
}

/// The `env` block is where people keep keys, whatever they call them.
fn is_variable(path: &str) -> bool {
    path.strip_prefix("env.").is_some_and(|rest| !rest.starts_with("shellEnv"))
}

/// What a change of this path asks of a running gateway.
pub fn reload_kind(path: &str) -> ReloadKind {
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    RELOAD.iter().find(|(prefix, _)| below(prefix)).map_or(ReloadKind::Restart, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn paths_are_unique_and_every_parent_has_a_row() {
        let mut seen = BTreeSet::new();
        for key in *KEYS {
            assert!(seen.insert(key.path), "{} stands twice", key.path);
            let parent = parent(key.path);
            assert!(parent.is_empty() || seen.contains(parent), "{} stands before its parent", key.path);
            assert!(key.doc.ends_with('.'), "{} has no sentence", key.path);
        }
    }

    #[test]
    fn defaults_are_json_of_the_right_type() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            let value: serde_json::Value = serde_json::from_str(key.default).expect(key.path);
            let issues = crate::config::validate::check_value(key, &value);
            assert!(issues.is_empty(), "{}: {issues:?}", key.path);
        }
    }

    #[test]
    fn limits_and_table_agree() {
        let upper = i64::try_from(crate::limits::CONNECTIONS_MAX).unwrap();
        assert_eq!(row("gateway.maxConnections").unwrap().kind, Type::Integer(1, upper));
        assert_eq!(row("gateway.maxConnections").unwrap().default, crate::limits::CONNECTIONS.to_string());
        assert_eq!(row("logging.maxFileBytes").unwrap().default, crate::limits::LOG_FILE_BYTES.to_string());
    }

    #[test]
    fn concrete_paths_find_their_rows() {
        assert_eq!(find("agents.list.0.id").unwrap().path, "agents.list.*.id");
        assert_eq!(find("models.providers.x.apiKey").unwrap().path, "models.providers.*.apiKey");
        assert!(find("gateway.nope").is_none() && find("gateway.port.x").is_none());
    }

    #[test]
    fn secrets_are_known_by_row_and_by_name() {
        for path in
            ["gateway.auth.token", "channels.telegram.botToken", "a.OPENAI_API_KEY", "x.api-key", "x.tokenSecret"]
        {
            assert!(is_sensitive(path), "{path}");
        }
        assert!(is_sensitive_text("a.botTokens.0") && is_sensitive("env.vars.ANY") && is_sensitive("a.private_key"));
        for path in [
            "gateway.port",
            "a.b.maxTokens",
            "env.shellEnv.enabled",
            "session.mainKey",
            "gateway.auth.mode",
            "tokenizer",
        ] {
            assert!(!is_sensitive(path), "{path}");
        }
    }

    #[test]
    fn reload_kinds_follow_the_first_prefix() {
        let kinds = [
            "gateway.remote.url",
            "gateway.port",
            "hooks.gmail.x",
            "agents.defaults.heartbeat.every",
            "agents.list",
            "meta.lastTouchedAt",
            "canvasHost",
            "cronx",
        ]
        .map(reload_kind);
        use ReloadKind::{Hot, None, Restart};
        assert_eq!(kinds, [None, Restart, Hot, Hot, None, None, Restart, Restart]);
    }
}
