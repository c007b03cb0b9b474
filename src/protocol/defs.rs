//! The shared objects of the wire: frames, handshake, presence, health, records and rows.
//! Owns shapes only, as `const` data (`spec/protocol.md` sections 2, 5, 8.5, 10, 11, 12); knows no
//! method and no value. Shapes are the union of protocols 3 and 4. An object is closed where the
//! published schema of protocol 4 closes it, so that what fits here also fits there; it is open
//! where no schema was ever published.

use super::kinds::{
    BOOL, COUNT, Def, Field, Kind, NULLABLE_COUNT, NULLABLE_TEXT, POSITIVE, STRING, STRINGS, TEXT, TEXTS, list, opt,
    req, short,
};

macro_rules! closed {
    ($($field:expr),* $(,)?) => {
        $crate::protocol::kinds::Kind::Obj(&$crate::protocol::kinds::Object { fields: &[$($field),*], open: false })
    };
}
macro_rules! open {
    ($($field:expr),* $(,)?) => {
        $crate::protocol::kinds::Kind::Obj(&$crate::protocol::kinds::Object { fields: &[$($field),*], open: true })
    };
}
pub(super) use {closed, open};

/// Longest `traceparent` and `expectedProfileId` of a request frame.
pub const FRAME_TAG_CHARS: usize = 128;

/// Names a client program may give itself.
pub const CLIENT_IDS: &[&str] = &[
    "webchat-ui",
    "openclaw-control-ui",
    "openclaw-browser-copilot",
    "openclaw-tui",
    "webchat",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-linux",
    "openclaw-ios",
    "openclaw-watchos",
    "openclaw-android",
    "node-host",
    "openclaw-worker",
    "test",
    "fingerprint",
    "openclaw-probe",
];

/// What a client may be.
pub const CLIENT_MODES: &[&str] = &["webchat", "cli", "ui", "backend", "node", "worker", "probe", "test"];

/// The capability that asks for tool events of own runs.
pub const CAP_TOOL_EVENTS: &str = "tool-events";

const TS: Kind = COUNT;
const EXACT_MAX: i64 = 9_007_199_254_740_991;

// Frames --------------------------------------------------------------------------------------------

/// A call.
pub const REQUEST_FRAME: Def = Def {
    name: "RequestFrame",
    doc: "A call from a client.",
    kind: closed![
        req("type", Kind::Lit("req")).doc("Always `req`."),
        req("id", TEXT).doc("Chosen by the client; the answer repeats it."),
        req("method", TEXT).doc("Name of the method."),
        opt("params", Kind::Any).doc("Parameters of the method; absent means `{}`."),
        opt("traceparent", Kind::Str { min: 0, max: FRAME_TAG_CHARS }).doc("W3C trace context; accepted and unused."),
        opt("expectedProfileId", short(FRAME_TAG_CHARS)).doc("Profile the client expects; accepted and unused."),
    ],
};

/// An answer.
pub const RESPONSE_FRAME: Def = Def {
    name: "ResponseFrame",
    doc: "The answer to a call; two-stage methods send a second one under the same id.",
    kind: closed![
        req("type", Kind::Lit("res")).doc("Always `res`."),
        req("id", TEXT).doc("The id of the call."),
        req("ok", BOOL).doc("Whether the call succeeded."),
        opt("payload", Kind::Any).doc("The result."),
        opt("error", Kind::Ref(&ERROR_SHAPE)).doc("Why the call failed."),
    ],
};

/// An event.
pub const EVENT_FRAME: Def = Def {
    name: "EventFrame",
    doc: "Something that happened.",
    kind: closed![
        req("type", Kind::Lit("event")).doc("Always `event`."),
        req("event", TEXT).doc("Name of the event."),
        opt("payload", Kind::Any).doc("What happened."),
        opt("seq", COUNT).doc("Counts the events of this connection from 1; a gap means a lost event."),
        opt("stateVersion", Kind::Ref(&STATE_VERSION)).doc("On `presence` and `health` only."),
    ],
};

/// Any frame.
pub const GATEWAY_FRAME: Def = Def {
    name: "GatewayFrame",
    doc: "Any frame.",
    kind: Kind::Union(&[Kind::Ref(&REQUEST_FRAME), Kind::Ref(&RESPONSE_FRAME), Kind::Ref(&EVENT_FRAME)]),
};

/// An error.
pub const ERROR_SHAPE: Def = Def {
    name: "ErrorShape",
    doc: "Why a call failed.",
    kind: closed![
        req("code", TEXT).doc("What a program branches on; one of `ErrorCode` or a later one."),
        req("message", TEXT).doc("What a person reads."),
        opt("details", Kind::Any).doc("Machine-readable details; `details.code` where recovery depends on it."),
        opt("retryable", BOOL).doc("Whether trying again unchanged can help."),
        opt("retryAfterMs", COUNT).doc("Milliseconds to wait before trying again."),
    ],
};

/// The two counters of the state that clients mirror.
pub const STATE_VERSION: Def = Def {
    name: "StateVersion",
    doc: "Counters of the state that clients mirror.",
    kind: closed![
        req("presence", COUNT).doc("Changes of the presence list."),
        req("health", COUNT).doc("Refreshes of the health snapshot."),
    ],
};

// Handshake -----------------------------------------------------------------------------------------

const CLIENT_INFO: Def = Def {
    name: "ClientInfo",
    doc: "The program at the other end.",
    kind: closed![
        req("id", Kind::OneOf(CLIENT_IDS)).doc("Which program it is."),
        opt("displayName", TEXT).doc("Name for people."),
        req("version", TEXT).doc("Version of the program."),
        opt("buildId", short(96)).doc("Build of the program."),
        req("platform", TEXT).doc("Operating system, such as `linux` or `macos 15.0`."),
        opt("deviceFamily", TEXT).doc("Kind of device, such as `Mac` or `iPhone`."),
        opt("modelIdentifier", TEXT).doc("Model of the device."),
        opt("timeZone", short(64)).doc("Time zone of the person."),
        req("mode", Kind::OneOf(CLIENT_MODES)).doc("What the program does here."),
        opt("instanceId", TEXT).doc("Distinguishes installations of one program."),
    ],
};

const CONNECT_AUTH: Def = Def {
    name: "ConnectAuth",
    doc: "Secrets that prove the right to connect.",
    kind: closed![
        opt("token", STRING).doc("The shared token, or the device's own token."),
        opt("bootstrapToken", STRING).doc("One-time token of a set-up code."),
        opt("deviceToken", STRING).doc("The device's own token (protocol 4)."),
        opt("password", STRING).doc("The shared password."),
        opt("approvalRuntimeToken", STRING).doc("Accepted and unused."),
        opt("agentRuntimeIdentityToken", STRING).doc("Accepted and unused."),
    ],
};

const CONNECT_DEVICE: Def = Def {
    name: "ConnectDevice",
    doc: "Proof that the client holds its device key.",
    kind: closed![
        req("id", TEXT).doc("Lower-case hex SHA-256 of the raw public key."),
        req("publicKey", TEXT).doc("Ed25519 public key, base64url without padding."),
        req("signature", TEXT).doc("Signature over the connect payload, base64url."),
        req("signedAt", COUNT).doc("Epoch milliseconds; the `ts` of the challenge is best."),
        opt("nonce", TEXT).doc("The nonce of the challenge; required on protocol 4."),
    ],
};

/// Params of `connect`: the protocol 4 shape, which contains protocol 3's.
pub const CONNECT_PARAMS: Def = Def {
    name: "ConnectParams",
    doc: "What a client says about itself when it connects.",
    kind: closed![
        req("minProtocol", POSITIVE).doc("Lowest protocol version the client speaks."),
        req("maxProtocol", POSITIVE).doc("Highest protocol version the client speaks."),
        req("client", Kind::Ref(&CLIENT_INFO)).doc("The program."),
        opt("caps", TEXTS).doc("Optional features the client understands, such as `tool-events`."),
        opt("commands", TEXTS).doc("Commands a node can run."),
        opt("computerUse", Kind::Any).doc("Accepted and unused."),
        opt("workerRuns", Kind::Any).doc("Accepted and unused."),
        opt("permissions", Kind::Map(&BOOL)).doc("Permissions a node has on its machine."),
        opt("pathEnv", STRING).doc("The node's `PATH`."),
        opt("role", TEXT).doc("`operator` (default) or `node`."),
        opt("scopes", TEXTS).doc("Scopes an operator asks for."),
        opt("device", Kind::Ref(&CONNECT_DEVICE)).doc("Device identity."),
        opt("auth", Kind::Ref(&CONNECT_AUTH)).doc("Secrets."),
        opt("locale", STRING).doc("Language of the person."),
        opt("userAgent", STRING).doc("Browser, for the log."),
    ],
};

const SERVER_INFO: Def = Def {
    name: "ServerInfo",
    doc: "The gateway.",
    kind: closed![
        req("version", TEXT).doc("Version of the gateway."),
        opt("commit", TEXT).doc("Protocol 3 only."),
        opt("host", TEXT).doc("Host name; protocol 3 only."),
        opt("buildId", short(96)).doc("Build of the gateway; protocol 4 only."),
        opt("bootId", short(96)).doc("Changes with every start; protocol 4 only."),
        opt("controlUiBuildSource", Kind::OneOf(&["bundled", "configured"])).doc("Where the Control UI comes from."),
        req("connId", TEXT).doc("Id of this connection."),
    ],
};

const FEATURES: Def = Def {
    name: "Features",
    doc: "What the gateway can do.",
    kind: closed![
        req("methods", TEXTS).doc("Methods it answers."),
        req("events", TEXTS).doc("Events it sends."),
        opt("capabilities", TEXTS).doc("Optional features (protocol 4)."),
    ],
};

const HELLO_AUTH: Def = Def {
    name: "HelloAuth",
    doc: "What this connection may do.",
    kind: closed![
        opt("deviceToken", TEXT).doc("Token of this device for its next connects."),
        req("role", TEXT).doc("Role of the connection."),
        req("scopes", TEXTS).doc("Scopes of the connection."),
        opt("issuedAtMs", TS).doc("When the device token was made."),
    ],
};

const ATTACHMENT_POLICY: Def = Def {
    name: "AttachmentPolicy",
    doc: "Limits of attachments.",
    kind: closed![
        req("maxBytes", POSITIVE).doc("Largest attachment."),
        req("maxImageBytes", POSITIVE).doc("Largest image."),
    ],
};

const POLICY: Def = Def {
    name: "Policy",
    doc: "Limits a client must keep to.",
    kind: closed![
        req("maxPayload", POSITIVE).doc("Largest message in bytes."),
        req("maxBufferedBytes", POSITIVE).doc("Bytes that may wait for a slow client."),
        req("tickIntervalMs", POSITIVE).doc("Interval of `tick`; twice as long without one means a dead connection."),
        opt("attachments", Kind::Ref(&ATTACHMENT_POLICY)).doc("Protocol 4 only."),
        opt("allowedSessionVisibilities", list(&Kind::OneOf(&["shared", "read-only", "suggest", "draft"])))
            .doc("Protocol 4 only."),
        opt("hasMultipleSessionSharingIdentities", BOOL).doc("Protocol 4 only."),
    ],
};

/// Payload of the answer to `connect`.
pub const HELLO_OK: Def = Def {
    name: "HelloOk",
    doc: "The greeting after a successful `connect`.",
    kind: closed![
        req("type", Kind::Lit("hello-ok")).doc("Always `hello-ok`."),
        req("protocol", POSITIVE).doc("The negotiated protocol version."),
        req("server", Kind::Ref(&SERVER_INFO)).doc("The gateway."),
        req("features", Kind::Ref(&FEATURES)).doc("What it can do."),
        req("snapshot", Kind::Ref(&SNAPSHOT)).doc("The state at this moment."),
        opt("canvasHostUrl", TEXT).doc("Where the canvas is served; protocol 3 only."),
        opt("pluginSurfaceUrls", Kind::Map(&TEXT)).doc("Where surfaces are served; protocol 4 only."),
        req("auth", Kind::Ref(&HELLO_AUTH)).doc("What this connection may do."),
        req("policy", Kind::Ref(&POLICY)).doc("Limits to keep to."),
    ],
};

const SUSPENSION: Def = Def {
    name: "Suspension",
    doc: "Whether the gateway takes new work.",
    kind: closed![req("phase", Kind::OneOf(&["accepting", "preparing", "draining", "prepared"])).doc("The phase.")],
};

const SESSION_DEFAULTS: Def = Def {
    name: "SessionDefaults",
    doc: "Which agent and session a client starts with.",
    kind: closed![
        req("defaultAgentId", TEXT).doc("The default agent."),
        opt("modelConfigured", BOOL).doc("Whether that agent has a model."),
        opt("ownership", Kind::OneOf(OWNERSHIP)).doc("How agents are owned."),
        opt("selectionRequired", BOOL).doc("Whether the person must choose an agent."),
        req("mainKey", TEXT).doc("Short key of the main session."),
        req("mainSessionKey", TEXT).doc("Full key of the main session."),
        opt("scope", TEXT).doc("`per-sender` or `global`."),
    ],
};

const OWNERSHIP: &[&str] = &["sole", "legacy", "explicit"];

/// The state a client mirrors from its greeting on.
pub const SNAPSHOT: Def = Def {
    name: "Snapshot",
    doc: "The state at the moment of connecting.",
    kind: closed![
        opt("suspension", Kind::Ref(&SUSPENSION)).doc("Protocol 4 only."),
        req("presence", list(&Kind::Ref(&PRESENCE_ENTRY))).doc("Who is here."),
        req("health", Kind::Ref(&HEALTH)).doc("How the gateway is."),
        req("stateVersion", Kind::Ref(&STATE_VERSION)).doc("Counters of both."),
        req("uptimeMs", COUNT).doc("Time since the start."),
        opt("appliedConfigHash", NULLABLE_TEXT).doc("Hash of the running configuration."),
        opt("configPath", TEXT).doc("Configuration file; admins only."),
        opt("stateDir", TEXT).doc("State directory; admins only."),
        opt("sessionDefaults", Kind::Ref(&SESSION_DEFAULTS)).doc("Where to start."),
        opt("authMode", Kind::OneOf(&["none", "token", "password", "trusted-proxy"]))
            .doc("How clients prove themselves."),
        opt("updateAvailable", Kind::Ref(&UPDATE_AVAILABLE)).doc("A newer version."),
    ],
};

// Presence ------------------------------------------------------------------------------------------

/// One line of the presence list.
pub const PRESENCE_ENTRY: Def = Def {
    name: "PresenceEntry",
    doc: "A client, the gateway itself, or a machine that reported in.",
    kind: closed![
        opt("host", TEXT).doc("Name of the machine or program."),
        opt("ip", TEXT).doc("Address; absent for local clients."),
        opt("version", TEXT).doc("Version of the program."),
        opt("platform", TEXT).doc("Operating system."),
        opt("deviceFamily", TEXT).doc("Kind of device."),
        opt("modelIdentifier", TEXT).doc("Model of the device."),
        opt("timeZone", TEXT).doc("Time zone."),
        opt("mode", TEXT).doc("What it does here; the gateway's own entry says `gateway`."),
        opt("lastInputSeconds", COUNT).doc("Seconds since a person touched the machine."),
        opt("reason", TEXT).doc("Why the entry was written last, such as `connect`."),
        opt("tags", TEXTS).doc("Free labels."),
        opt("text", STRING).doc("The entry as one line."),
        req("ts", TS).doc("When it was refreshed last."),
        opt("onlineSince", TS).doc("When the client connected."),
        opt("lastActivityAt", TS).doc("When the person did something last."),
        opt("deviceId", TEXT).doc("Device identity."),
        opt("roles", TEXTS).doc("Roles of its connections."),
        opt("scopes", TEXTS).doc("Scopes of its connections."),
        opt("instanceId", TEXT).doc("Installation."),
    ],
};

// Health and status ---------------------------------------------------------------------------------

const EVENT_LOOP: Def = Def {
    name: "EventLoop",
    doc: "How busy the gateway's main loop is.",
    kind: closed![
        req("degraded", BOOL).doc("Whether it lags."),
        opt("degradedSinceMs", NULLABLE_COUNT).doc("Since when."),
        req("reasons", list(&Kind::OneOf(&["event_loop_delay", "event_loop_utilization", "cpu"]))).doc("Why."),
        req("intervalMs", COUNT).doc("Measured over this time."),
        req("delayP99Ms", Kind::Num).doc("99th percentile of the delay."),
        req("delayMaxMs", Kind::Num).doc("Longest delay."),
        req("utilization", Kind::Num).doc("Busy share, 0 to 1."),
        req("cpuCoreRatio", Kind::Num).doc("Processor time per wall time."),
    ],
};

const PLUGIN_ERROR: Def = Def {
    name: "PluginError",
    doc: "A part that did not load.",
    kind: closed![
        req("id", STRING).doc("Which."),
        req("origin", STRING).doc("Where it comes from."),
        req("activated", BOOL).doc("Whether it was wanted."),
        opt("activationSource", STRING).doc("Who wanted it."),
        opt("activationReason", STRING).doc("Why it was wanted."),
        opt("failurePhase", STRING).doc("When it failed."),
        req("error", STRING).doc("What happened."),
    ],
};

const PLUGIN_DIAGNOSTIC: Def = Def {
    name: "PluginDiagnostic",
    doc: "Why a part is missing.",
    kind: closed![
        req("kind", Kind::Lit("plugin-verification")).doc("Always `plugin-verification`."),
        req("reason", STRING).doc("In a word."),
        req("detail", STRING).doc("In a sentence."),
    ],
};

const PLUGIN_UNAVAILABLE: Def = Def {
    name: "PluginUnavailable",
    doc: "A configured part that is missing.",
    kind: closed![
        req("id", STRING).doc("Which."),
        req("state", Kind::Lit("configured-unavailable")).doc("Always `configured-unavailable`."),
        req("diagnostic", Kind::Ref(&PLUGIN_DIAGNOSTIC)).doc("Why."),
    ],
};

const PLUGINS_HEALTH: Def = Def {
    name: "PluginsHealth",
    doc: "Which parts are loaded.",
    kind: closed![
        req("loaded", STRINGS).doc("Loaded parts."),
        req("errors", list(&Kind::Ref(&PLUGIN_ERROR))).doc("Failed parts."),
        opt("unavailable", list(&Kind::Ref(&PLUGIN_UNAVAILABLE))).doc("Configured but missing parts."),
    ],
};

const CONFIG_RELOAD: Def = Def {
    name: "ConfigReload",
    doc: "Whether changes of the configuration apply at once.",
    kind: closed![req("hotReloadStatus", Kind::OneOf(&["active", "disabled"])).doc("Whether they do.")],
};

const RECENT_SESSION: Def = Def {
    name: "RecentSession",
    doc: "A session in short.",
    kind: closed![
        req("key", STRING).doc("Session key."),
        req("updatedAt", NULLABLE_COUNT).doc("Last change."),
        req("age", NULLABLE_COUNT).doc("Milliseconds since then."),
    ],
};

const SESSIONS_BRIEF: Def = Def {
    name: "SessionsBrief",
    doc: "A session store in short.",
    kind: closed![
        req("path", STRING).doc("The store's file."),
        req("count", COUNT).doc("Sessions in it."),
        req("recent", list(&Kind::Ref(&RECENT_SESSION))).doc("At most five, newest first."),
    ],
};

const AGENT_HEARTBEAT: Def = Def {
    name: "AgentHeartbeat",
    doc: "How an agent's heartbeat is set.",
    kind: closed![
        req("enabled", BOOL).doc("Whether it beats."),
        req("every", STRING).doc("Interval as written, such as `30m`."),
        req("everyMs", NULLABLE_COUNT).doc("Interval."),
        req("prompt", STRING).doc("What the agent is asked."),
        req("target", STRING).doc("Where its words go."),
        opt("model", STRING).doc("Model for it."),
        opt("session", STRING).doc("Session for it."),
        req("ackMaxChars", COUNT).doc("Longest answer that still counts as nothing to say."),
    ],
};

const AGENT_HEALTH: Def = Def {
    name: "AgentHealth",
    doc: "One agent.",
    kind: closed![
        req("agentId", STRING).doc("The agent."),
        opt("name", STRING).doc("Its name."),
        req("isDefault", BOOL).doc("Whether it is the default one."),
        req("heartbeat", Kind::Ref(&AGENT_HEARTBEAT)).doc("Its heartbeat."),
        req("sessions", Kind::Ref(&SESSIONS_BRIEF)).doc("Its sessions."),
    ],
};

/// A channel in the health object; channels add members of their own.
const CHANNEL_HEALTH: Def = Def {
    name: "ChannelHealth",
    doc: "One channel; channels add members of their own.",
    kind: open![
        opt("accountId", STRING).doc("The default account."),
        opt("configured", BOOL).doc("Whether it is set up."),
        opt("linked", BOOL).doc("Whether it is logged in."),
        opt("authAgeMs", Kind::Nullable(&Kind::Num)).doc("Age of the login."),
        opt("probe", Kind::Any).doc("Result of the last probe."),
        opt("lastProbeAt", NULLABLE_COUNT).doc("When it was probed."),
        opt("accounts", Kind::Map(&Kind::Any)).doc("Its accounts."),
    ],
};

/// The health object: result of `health`, payload of the event, part of the snapshot.
pub const HEALTH: Def = Def {
    name: "Health",
    doc: "How the gateway, its agents and its channels are.",
    kind: closed![
        req("ok", Kind::True).doc("Always true: a gateway that answers is up."),
        req("ts", TS).doc("When this was gathered."),
        req("durationMs", COUNT).doc("How long that took."),
        opt("eventLoop", Kind::Ref(&EVENT_LOOP)).doc("How busy the gateway is."),
        opt("plugins", Kind::Ref(&PLUGINS_HEALTH)).doc("Loaded parts."),
        opt("configReload", Kind::Ref(&CONFIG_RELOAD)).doc("Reload state."),
        req("channels", Kind::Map(&Kind::Ref(&CHANNEL_HEALTH))).doc("Channels by id."),
        req("channelOrder", STRINGS).doc("Channel ids in the order to show."),
        req("channelLabels", Kind::Map(&STRING)).doc("Channel names."),
        req("heartbeatSeconds", COUNT).doc("Interval of the default agent's heartbeat."),
        req("defaultAgentId", STRING).doc("The default agent."),
        req("agents", list(&Kind::Ref(&AGENT_HEALTH))).doc("All agents."),
        req("sessions", Kind::Ref(&SESSIONS_BRIEF)).doc("Sessions of the default agent."),
    ],
};

const STATUS_HEARTBEAT_AGENT: Def = Def {
    name: "StatusHeartbeatAgent",
    doc: "One agent's heartbeat in short.",
    kind: open![
        req("agentId", TEXT).doc("The agent."),
        req("enabled", BOOL).doc("Whether it beats."),
        req("every", STRING).doc("Interval as written."),
        req("everyMs", NULLABLE_COUNT).doc("Interval."),
    ],
};

const STATUS_HEARTBEAT: Def = Def {
    name: "StatusHeartbeat",
    doc: "The heartbeats.",
    kind: open![
        req("defaultAgentId", TEXT).doc("The default agent."),
        req("agents", list(&Kind::Ref(&STATUS_HEARTBEAT_AGENT))).doc("All agents."),
    ],
};

const STATUS_SESSION: Def = Def {
    name: "StatusSession",
    doc: "A session with its token use.",
    kind: open![
        opt("agentId", STRING).doc("Its agent."),
        req("key", STRING).doc("Session key."),
        req("kind", Kind::OneOf(SESSION_KINDS)).doc("What kind of session."),
        opt("sessionId", STRING).doc("Current transcript."),
        req("updatedAt", NULLABLE_COUNT).doc("Last change."),
        req("age", NULLABLE_COUNT).doc("Milliseconds since then."),
        opt("thinkingLevel", STRING).doc("Chosen thinking level."),
        opt("verboseLevel", STRING).doc("Chosen verbosity."),
        opt("reasoningLevel", STRING).doc("Chosen reasoning display."),
        opt("elevatedLevel", STRING).doc("Chosen elevation."),
        opt("systemSent", BOOL).doc("Whether the system prompt was sent."),
        opt("abortedLastRun", BOOL).doc("Whether the last run was aborted."),
        opt("inputTokens", COUNT).doc("Tokens read."),
        opt("outputTokens", COUNT).doc("Tokens written."),
        req("totalTokens", NULLABLE_COUNT).doc("Tokens in the context."),
        req("remainingTokens", NULLABLE_COUNT).doc("Tokens left."),
        req("percentUsed", NULLABLE_COUNT).doc("Share of the context used."),
        req("model", NULLABLE_TEXT).doc("Its model."),
        req("contextTokens", NULLABLE_COUNT).doc("Size of the context."),
        req("flags", STRINGS).doc("Short notes such as `think:low`."),
    ],
};

const STATUS_AGENT_SESSIONS: Def = Def {
    name: "StatusAgentSessions",
    doc: "One agent's sessions.",
    kind: open![
        req("agentId", TEXT).doc("The agent."),
        req("path", STRING).doc("Its store."),
        req("count", COUNT).doc("Sessions in it."),
        req("recent", list(&Kind::Ref(&STATUS_SESSION))).doc("At most ten, newest first."),
    ],
};

const STATUS_DEFAULTS: Def = Def {
    name: "StatusDefaults",
    doc: "What a new session uses.",
    kind: open![
        req("model", NULLABLE_TEXT).doc("Model."),
        req("contextTokens", NULLABLE_COUNT).doc("Size of the context."),
    ],
};

const STATUS_SESSIONS: Def = Def {
    name: "StatusSessions",
    doc: "The sessions of all agents.",
    kind: open![
        req("paths", STRINGS).doc("The stores."),
        req("count", COUNT).doc("Sessions in all of them."),
        req("defaults", Kind::Ref(&STATUS_DEFAULTS)).doc("What a new session uses."),
        req("recent", list(&Kind::Ref(&STATUS_SESSION))).doc("At most ten, newest first."),
        req("byAgent", list(&Kind::Ref(&STATUS_AGENT_SESSIONS))).doc("The same by agent."),
    ],
};

const LINK_CHANNEL: Def = Def {
    name: "LinkChannel",
    doc: "The channel that needs a login by phone.",
    kind: open![
        req("id", TEXT).doc("The channel."),
        req("label", TEXT).doc("Its name."),
        req("linked", BOOL).doc("Whether it is logged in."),
        req("authAgeMs", Kind::Nullable(&Kind::Num)).doc("Age of the login."),
    ],
};

/// Result of `status`.
pub const STATUS: Def = Def {
    name: "Status",
    doc: "What a person wants to see first.",
    kind: open![
        opt("runtimeVersion", TEXT).doc("Version of the gateway."),
        opt("linkChannel", Kind::Ref(&LINK_CHANNEL)).doc("Absent without such a channel."),
        opt("modelFound", TEXT).doc("Which model was found on this machine, where none is configured."),
        req("heartbeat", Kind::Ref(&STATUS_HEARTBEAT)).doc("The heartbeats."),
        req("channelSummary", STRINGS).doc("Lines about channels."),
        req("queuedSystemEvents", STRINGS).doc("Events waiting for the main session's next turn."),
        req("sessions", Kind::Ref(&STATUS_SESSIONS)).doc("The sessions."),
    ],
};

/// A heartbeat's outcome: result of `last-heartbeat`.
pub const HEARTBEAT: Def = Def {
    name: "Heartbeat",
    doc: "How a heartbeat ended.",
    kind: open![
        req("ts", TS).doc("When."),
        req("status", Kind::OneOf(&["sent", "ok-empty", "ok-token", "skipped", "failed"])).doc("How it ended."),
        opt("to", STRING).doc("Who got it."),
        opt("preview", STRING).doc("Its first words."),
        opt("durationMs", COUNT).doc("How long it took."),
        opt("hasMedia", BOOL).doc("Whether media went along."),
        opt("reason", STRING).doc("Why it was skipped or failed."),
        opt("channel", STRING).doc("By which channel."),
        opt("accountId", STRING).doc("By which account."),
        opt("silent", BOOL).doc("Whether it was delivered quietly."),
        opt("indicatorType", STRING).doc("How a client may show it."),
    ],
};

// Devices and nodes ---------------------------------------------------------------------------------

/// A pairing request of a device that waits for an answer.
pub const PENDING_DEVICE: Def = Def {
    name: "PendingDevice",
    doc: "A device that asks to be paired.",
    kind: closed![
        req("requestId", TEXT).doc("The request."),
        req("deviceId", TEXT).doc("The device."),
        req("publicKey", TEXT).doc("Its key."),
        opt("displayName", TEXT).doc("Its name."),
        opt("platform", TEXT).doc("Its operating system."),
        opt("deviceFamily", TEXT).doc("Kind of device."),
        opt("clientId", TEXT).doc("The program."),
        opt("clientMode", TEXT).doc("What the program does."),
        opt("browserOrigin", TEXT).doc("Origin of a browser."),
        opt("role", TEXT).doc("Role it asked for."),
        opt("roles", TEXTS).doc("All roles it asked for."),
        opt("scopes", TEXTS).doc("Scopes it asked for."),
        opt("remoteIp", TEXT).doc("Its address."),
        opt("silent", BOOL).doc("Whether it may be approved without asking."),
        opt("isRepair", BOOL).doc("Whether the device was paired before."),
        req("ts", TS).doc("When it asked."),
    ],
};

const DEVICE_TOKEN: Def = Def {
    name: "DeviceToken",
    doc: "A device's token for one role, without the secret.",
    kind: open![
        req("role", TEXT).doc("The role."),
        req("scopes", TEXTS).doc("Its scopes."),
        req("createdAtMs", TS).doc("When it was made."),
        opt("rotatedAtMs", TS).doc("When it was replaced."),
        opt("revokedAtMs", TS).doc("When it was taken back."),
        opt("lastUsedAtMs", TS).doc("When it was used last."),
    ],
};

/// A paired device as lists show it.
pub const PAIRED_DEVICE: Def = Def {
    name: "PairedDevice",
    doc: "A paired device.",
    kind: open![
        req("deviceId", TEXT).doc("The device."),
        req("publicKey", TEXT).doc("Its key."),
        opt("displayName", TEXT).doc("Its name."),
        opt("operatorLabel", TEXT).doc("The name a person gave it here."),
        opt("platform", TEXT).doc("Its operating system."),
        opt("deviceFamily", TEXT).doc("Kind of device."),
        opt("clientId", TEXT).doc("The program."),
        opt("clientMode", TEXT).doc("What the program does."),
        opt("role", TEXT).doc("Role of its last connect."),
        opt("roles", TEXTS).doc("All its roles."),
        opt("scopes", TEXTS).doc("Its scopes."),
        opt("remoteIp", TEXT).doc("Its last address."),
        opt("tokens", list(&Kind::Ref(&DEVICE_TOKEN))).doc("Its tokens."),
        req("createdAtMs", TS).doc("When it was first paired."),
        req("approvedAtMs", TS).doc("When it was last approved."),
    ],
};

const NODE_ID: Field = req("nodeId", TEXT).doc("The node.");
const NODE_NAME: Field = opt("displayName", TEXT).doc("Its name.");
const NODE_PLATFORM: Field = opt("platform", TEXT).doc("Its operating system.");
const NODE_VERSION: Field = opt("version", TEXT).doc("Its version.");
const NODE_CORE: Field = opt("coreVersion", TEXT).doc("Version of its core.");
const NODE_UI: Field = opt("uiVersion", TEXT).doc("Version of its user interface.");
const NODE_FAMILY: Field = opt("deviceFamily", TEXT).doc("Kind of device.");
const NODE_MODEL: Field = opt("modelIdentifier", TEXT).doc("Model of the device.");
const NODE_IP: Field = opt("remoteIp", TEXT).doc("Its address.");
const NODE_CAPS: Field = opt("caps", TEXTS).doc("What it can do.");
const NODE_COMMANDS: Field = opt("commands", TEXTS).doc("Commands it runs.");
const NODE_PERMISSIONS: Field = opt("permissions", Kind::Map(&BOOL)).doc("Permissions it has on its machine.");

/// A pairing request of a node that waits for an answer.
pub const PENDING_NODE: Def = Def {
    name: "PendingNode",
    doc: "A node that asks to be paired.",
    kind: open![
        req("requestId", TEXT).doc("The request."),
        NODE_ID,
        NODE_NAME,
        NODE_PLATFORM,
        NODE_VERSION,
        NODE_CORE,
        NODE_UI,
        NODE_FAMILY,
        NODE_MODEL,
        NODE_CAPS,
        NODE_COMMANDS,
        NODE_PERMISSIONS,
        NODE_IP,
        opt("clientId", TEXT).doc("The program."),
        opt("clientMode", TEXT).doc("What the program does."),
        opt("requiredApproveScopes", TEXTS).doc("Scopes that an approval needs."),
        opt("silent", BOOL).doc("Whether it may be approved without asking."),
        opt("isRepair", BOOL).doc("Whether the node was paired before."),
        req("ts", TS).doc("When it asked."),
    ],
};

/// A paired node.
pub const PAIRED_NODE: Def = Def {
    name: "PairedNode",
    doc: "A paired node.",
    kind: open![
        NODE_ID,
        opt("token", TEXT).doc("Its secret; only in the answer to an approval."),
        NODE_NAME,
        NODE_PLATFORM,
        NODE_VERSION,
        NODE_CORE,
        NODE_UI,
        NODE_FAMILY,
        NODE_MODEL,
        NODE_CAPS,
        NODE_COMMANDS,
        NODE_PERMISSIONS,
        NODE_IP,
        req("createdAtMs", TS).doc("When it was first paired."),
        req("approvedAtMs", TS).doc("When it was last approved."),
        opt("lastConnectedAtMs", TS).doc("When it was here last."),
    ],
};

const NODE_PATH: Field = opt("pathEnv", STRING).doc("Its `PATH`.");
const NODE_CONNECTED_AT: Field = opt("connectedAtMs", TS).doc("Since when it is connected.");
const NODE_PAIRED: Field = req("paired", BOOL).doc("Whether it is paired.");
const NODE_CONNECTED: Field = req("connected", BOOL).doc("Whether it is connected.");
const NODE_CLIENT: Field = opt("clientId", TEXT).doc("The program.");
const NODE_MODE: Field = opt("clientMode", TEXT).doc("What the program does.");
const NODE_APPROVAL: Field = opt("approvalState", TEXT).doc("Whether its commands are approved.");
const NODE_APPROVED_AT: Field = opt("approvedAtMs", TS).doc("When it was approved.");
const NODE_SEEN: Field = opt("lastSeenAtMs", TS).doc("When it was here last.");
const NODE_SEEN_REASON: Field = opt("lastSeenReason", TEXT).doc("How that is known.");

macro_rules! node_members {
    ($($first:expr),*) => {
        open![
            $($first,)*
            NODE_ID, NODE_NAME, NODE_PLATFORM, NODE_VERSION, NODE_CORE, NODE_UI, NODE_FAMILY, NODE_MODEL, NODE_IP,
            req("caps", TEXTS).doc("What it can do, sorted."),
            req("commands", TEXTS).doc("Commands it runs, sorted."),
            NODE_PATH, NODE_PERMISSIONS, NODE_CONNECTED_AT, NODE_PAIRED, NODE_CONNECTED, NODE_CLIENT, NODE_MODE,
            NODE_APPROVAL, NODE_APPROVED_AT, NODE_SEEN, NODE_SEEN_REASON,
        ]
    };
}

/// A node in `node.list`.
pub const NODE: Def = Def { name: "Node", doc: "A node, connected or only paired.", kind: node_members![] };

/// Result of `node.describe`.
pub const NODE_DETAILS: Def = Def {
    name: "NodeDetails",
    doc: "One node and the moment of the answer.",
    kind: node_members![req("ts", TS).doc("When this was true.")],
};

// Rows of lists -------------------------------------------------------------------------------------

/// What kind of session a key stands for.
pub const SESSION_KINDS: &[&str] = &["direct", "group", "global", "unknown"];

const SESSION_ORIGIN: Def = Def {
    name: "SessionOrigin",
    doc: "Where a session came from.",
    kind: open![
        opt("label", STRING).doc("Name of the sender or group."),
        opt("provider", STRING).doc("The channel."),
        opt("surface", STRING).doc("The surface."),
        opt("chatType", STRING).doc("Kind of chat."),
    ],
};

const DELIVERY_CONTEXT: Def = Def {
    name: "DeliveryContext",
    doc: "Where answers of a session go.",
    kind: open![
        opt("channel", STRING).doc("The channel."),
        opt("to", STRING).doc("The receiver."),
        opt("accountId", STRING).doc("The account."),
    ],
};

/// One session of a list.
pub const SESSION_ROW: Def = Def {
    name: "SessionRow",
    doc: "One session.",
    kind: open![
        req("key", STRING).doc("Session key."),
        req("kind", Kind::OneOf(SESSION_KINDS)).doc("What kind of session."),
        opt("agentId", TEXT).doc("Its agent."),
        opt("sessionId", STRING).doc("Current transcript."),
        opt("updatedAt", NULLABLE_COUNT).doc("Last change."),
        opt("label", STRING).doc("Name given by a person."),
        opt("displayName", STRING).doc("Name to show."),
        opt("derivedTitle", STRING).doc("Title made from the first message."),
        opt("lastMessagePreview", STRING).doc("Last words."),
        opt("channel", STRING).doc("The channel."),
        opt("chatType", Kind::OneOf(&["direct", "group", "channel"])).doc("Kind of chat."),
        opt("origin", Kind::Ref(&SESSION_ORIGIN)).doc("Where it came from."),
        opt("classification", TEXT).doc("Class for lists."),
        opt("archived", BOOL).doc("Whether it is put away."),
        opt("pinned", BOOL).doc("Whether it is kept on top."),
        opt("unread", BOOL).doc("Whether there is something new."),
        opt("spawnedBy", STRING).doc("Session that started it."),
        opt("systemSent", BOOL).doc("Whether the system prompt was sent."),
        opt("abortedLastRun", BOOL).doc("Whether the last run was aborted."),
        opt("thinkingLevel", STRING).doc("Chosen thinking level."),
        opt("verboseLevel", STRING).doc("Chosen verbosity."),
        opt("reasoningLevel", STRING).doc("Chosen reasoning display."),
        opt("elevatedLevel", STRING).doc("Chosen elevation."),
        opt("sendPolicy", Kind::OneOf(&["allow", "deny"])).doc("Whether answers may be sent."),
        opt("inputTokens", COUNT).doc("Tokens read."),
        opt("outputTokens", COUNT).doc("Tokens written."),
        opt("totalTokens", COUNT).doc("Tokens in the context."),
        opt("modelProvider", STRING).doc("Provider of its model."),
        opt("model", STRING).doc("Its model."),
        opt("contextTokens", COUNT).doc("Size of the context."),
        opt("deliveryContext", Kind::Ref(&DELIVERY_CONTEXT)).doc("Where answers go."),
        opt("lastChannel", STRING).doc("Channel of the last message."),
        opt("lastTo", STRING).doc("Receiver of the last answer."),
        opt("lastAccountId", STRING).doc("Account of the last answer."),
    ],
};

/// What a new session uses.
pub const SESSION_LIST_DEFAULTS: Def = Def {
    name: "SessionListDefaults",
    doc: "What a new session uses.",
    kind: open![
        req("modelProvider", NULLABLE_TEXT).doc("Provider."),
        req("model", NULLABLE_TEXT).doc("Model."),
        req("contextTokens", NULLABLE_COUNT).doc("Size of the context."),
    ],
};

/// A model the gateway can use.
pub const MODEL: Def = Def {
    name: "ModelChoice",
    doc: "A model the gateway can use.",
    kind: closed![
        req("id", TEXT).doc("The model, as its provider calls it."),
        req("name", TEXT).doc("Name for people."),
        req("provider", TEXT).doc("Its provider."),
        opt("alias", TEXT).doc("Short name."),
        opt("tags", TEXTS).doc("Free labels."),
        opt("available", BOOL).doc("Whether it can be used now."),
        opt("unavailableReason", Kind::OneOf(&["missing-auth", "auth-failed", "cooldown"])).doc("Why not."),
        opt("unavailableUntil", TS).doc("Until when not."),
        opt("contextWindow", POSITIVE).doc("Size of the context in tokens."),
        opt("reasoning", BOOL).doc("Whether it thinks aloud."),
        opt("supportsTools", BOOL).doc("Whether it calls tools."),
        opt("input", list(&Kind::OneOf(&["text", "image", "audio", "video", "document"]))).doc("What it reads."),
    ],
};

const AGENT_IDENTITY: Def = Def {
    name: "AgentIdentity",
    doc: "How an agent presents itself.",
    kind: closed![
        opt("name", TEXT).doc("Name."),
        opt("theme", TEXT).doc("Character."),
        opt("emoji", TEXT).doc("Emoji."),
        opt("avatar", TEXT).doc("Picture or letter."),
        opt("avatarUrl", TEXT).doc("Address of the picture."),
    ],
};

const AGENT_MODEL: Def = Def {
    name: "AgentModel",
    doc: "Models of an agent.",
    kind: closed![opt("primary", TEXT).doc("Used first."), opt("fallbacks", TEXTS).doc("Used when the first fails."),],
};

/// One agent of a list.
pub const AGENT: Def = Def {
    name: "AgentSummary",
    doc: "One agent.",
    kind: closed![
        req("id", TEXT).doc("The agent."),
        opt("kind", Kind::OneOf(&["agent", "system"])).doc("Whether a person uses it."),
        opt("name", TEXT).doc("Its name."),
        opt("identity", Kind::Ref(&AGENT_IDENTITY)).doc("How it presents itself."),
        opt("workspace", TEXT).doc("Its folder."),
        opt("workspaceGit", BOOL).doc("Whether that folder is a Git repository."),
        opt("model", Kind::Ref(&AGENT_MODEL)).doc("Its models."),
    ],
};

/// How sessions and agents are owned.
pub const AGENT_OWNERSHIP: &[&str] = OWNERSHIP;

const CHANNEL_META: Def = Def {
    name: "ChannelMeta",
    doc: "How to show a channel.",
    kind: closed![
        req("id", TEXT).doc("The channel."),
        req("label", TEXT).doc("Its name."),
        req("detailLabel", TEXT).doc("Its longer name."),
        opt("systemImage", STRING).doc("Its symbol."),
    ],
};

/// One account of a channel; channels add members of their own.
pub const CHANNEL_ACCOUNT: Def = Def {
    name: "ChannelAccount",
    doc: "One account of a channel; channels add members of their own.",
    kind: open![
        req("accountId", TEXT).doc("The account."),
        opt("name", STRING).doc("Its name."),
        opt("enabled", BOOL).doc("Whether it is switched on."),
        opt("configured", BOOL).doc("Whether it is set up."),
        opt("linked", BOOL).doc("Whether it is logged in."),
        opt("running", BOOL).doc("Whether it runs."),
        opt("connected", BOOL).doc("Whether it is connected."),
        opt("reconnectAttempts", COUNT).doc("Failed attempts in a row."),
        opt("lastConnectedAt", NULLABLE_COUNT).doc("Last connection."),
        opt("lastError", Kind::Nullable(&STRING)).doc("Last error."),
        opt("healthState", STRING).doc("State in a word."),
        opt("lastStartAt", NULLABLE_COUNT).doc("Last start."),
        opt("lastStopAt", NULLABLE_COUNT).doc("Last stop."),
        opt("lastInboundAt", NULLABLE_COUNT).doc("Last message in."),
        opt("lastOutboundAt", NULLABLE_COUNT).doc("Last message out."),
        opt("lastProbeAt", NULLABLE_COUNT).doc("Last probe."),
        opt("mode", STRING).doc("How it gets its messages."),
        opt("dmPolicy", STRING).doc("Who may write to it."),
        opt("allowFrom", STRINGS).doc("Senders that may."),
        opt("tokenSource", STRING).doc("Where its secret comes from."),
        opt("baseUrl", STRING).doc("Its service."),
        opt("probe", Kind::Any).doc("Result of the probe."),
    ],
};

/// Result of `channels.status`.
pub const CHANNELS_STATUS: Def = Def {
    name: "ChannelsStatus",
    doc: "All channels and their accounts.",
    kind: closed![
        req("ts", TS).doc("When this was true."),
        req("channelOrder", TEXTS).doc("Channel ids in the order to show."),
        req("channelLabels", Kind::Map(&TEXT)).doc("Names."),
        req("channelDetailLabels", Kind::Map(&TEXT)).doc("Longer names."),
        req("channelSystemImages", Kind::Map(&TEXT)).doc("Symbols."),
        req("channelMeta", list(&Kind::Ref(&CHANNEL_META))).doc("The three above as a list."),
        req("channels", Kind::Map(&Kind::Any)).doc("Summaries by channel."),
        req("channelAccounts", Kind::Map(&list(&Kind::Ref(&CHANNEL_ACCOUNT)))).doc("Accounts by channel."),
        req("channelDefaultAccountId", Kind::Map(&TEXT)).doc("Default account by channel."),
        opt("eventLoop", Kind::Ref(&EVENT_LOOP)).doc("How busy the gateway is."),
        opt("partial", BOOL).doc("Whether something is missing."),
        opt("warnings", STRINGS).doc("What is missing."),
    ],
};

/// A problem of the configuration.
pub const CONFIG_ISSUE: Def = Def {
    name: "ConfigIssue",
    doc: "A problem of the configuration.",
    kind: open![req("path", STRING).doc("Which key."), req("message", STRING).doc("What is wrong.")],
};

/// How a form shows one key of the configuration.
pub const UI_HINT: Def = Def {
    name: "ConfigUiHint",
    doc: "How a form shows one key of the configuration.",
    kind: closed![
        opt("label", STRING).doc("Name."),
        opt("help", STRING).doc("Explanation."),
        opt("docsUrl", STRING).doc("Longer explanation."),
        opt("tags", STRINGS).doc("Free labels."),
        opt("group", STRING).doc("Group."),
        opt("order", Kind::Int { min: i64::MIN, max: EXACT_MAX }).doc("Place in its group."),
        opt("advanced", BOOL).doc("Whether most people may skip it."),
        opt("sensitive", BOOL).doc("Whether it is a secret."),
        opt("placeholder", STRING).doc("Example."),
        opt("presentation", Kind::Lit("phone-number")).doc("Special field."),
        opt("itemTemplate", Kind::Any).doc("A new item."),
    ],
};

/// What a change of a key takes to apply.
pub const RELOAD_KINDS: &[&str] = &["restart", "hot", "none"];

/// One key below a looked-up key.
pub const CONFIG_CHILD: Def = Def {
    name: "ConfigChild",
    doc: "One key below a looked-up key.",
    kind: closed![
        req("key", TEXT).doc("Last part of the path."),
        req("path", TEXT).doc("Whole path."),
        opt("type", Kind::Union(&[STRING, STRINGS])).doc("JSON types it may have."),
        req("required", BOOL).doc("Whether it must be set."),
        req("hasChildren", BOOL).doc("Whether there are keys below it."),
        opt("reloadKind", Kind::OneOf(RELOAD_KINDS)).doc("What a change takes to apply."),
        opt("hint", Kind::Ref(&UI_HINT)).doc("How to show it."),
        opt("hintPath", STRING).doc("Path of the hint."),
    ],
};

const COMMAND_CHOICE: Def = Def {
    name: "CommandChoice",
    doc: "One value of an argument.",
    kind: closed![
        req("value", Kind::Str { min: 0, max: 200 }).doc("The value."),
        req("label", Kind::Str { min: 0, max: 200 }).doc("Its name."),
    ],
};

const COMMAND_ARG: Def = Def {
    name: "CommandArg",
    doc: "One argument of a chat command.",
    kind: closed![
        req("name", short(200)).doc("Its name."),
        req("description", Kind::Str { min: 0, max: 500 }).doc("What it means."),
        req("type", Kind::OneOf(&["string", "number", "boolean"])).doc("Its type."),
        opt("required", BOOL).doc("Whether it must be given."),
        opt("choices", Kind::Arr { item: &Kind::Ref(&COMMAND_CHOICE), min: 0, max: 50 }).doc("Its values."),
        opt("dynamic", BOOL).doc("Whether the values change."),
    ],
};

/// Where a chat command works.
pub const COMMAND_SCOPES: &[&str] = &["text", "native", "both"];

/// A chat command.
pub const COMMAND: Def = Def {
    name: "CommandEntry",
    doc: "A chat command such as `/status`.",
    kind: closed![
        req("name", short(200)).doc("Its name, without the slash."),
        opt("nativeName", short(200)).doc("Its name where channels have commands of their own."),
        opt("textAliases", Kind::Arr { item: &short(200), min: 0, max: 20 }).doc("What a person may type."),
        req("description", Kind::Str { min: 0, max: 2000 }).doc("What it does."),
        opt("category", Kind::OneOf(&["session", "options", "status", "management", "media", "tools"])).doc("Group."),
        req("source", Kind::OneOf(&["native", "skill", "plugin"])).doc("Where it comes from."),
        req("scope", Kind::OneOf(COMMAND_SCOPES)).doc("Where it works."),
        req("acceptsArgs", BOOL).doc("Whether it takes arguments."),
        opt("args", Kind::Arr { item: &Kind::Ref(&COMMAND_ARG), min: 0, max: 20 }).doc("Its arguments."),
    ],
};

/// A newer version.
pub const UPDATE_AVAILABLE: Def = Def {
    name: "UpdateAvailable",
    doc: "A newer version.",
    kind: closed![
        req("currentVersion", TEXT).doc("What runs."),
        req("latestVersion", TEXT).doc("What there is."),
        req("channel", TEXT).doc("Release channel."),
    ],
};

/// One entry of the stability record.
pub const STABILITY_EVENT: Def = Def {
    name: "StabilityEvent",
    doc: "One entry of the stability record; types add members of their own.",
    kind: open![
        req("seq", COUNT).doc("Its number."),
        req("ts", TS).doc("When."),
        req("type", TEXT).doc("What happened."),
    ],
};
