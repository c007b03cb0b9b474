//! THE TABLE: one row per method that really exists, sorted by name.
//! Owns names, scopes, roles and shapes (`spec/protocol.md` sections 8 and 12.4); knows no handler's
//! code. Validator, feature lists, scope checks, suggestions, completions and generated files read it.

use std::sync::LazyLock;

use super::defs::{
    AGENT as AGENT_SUMMARY, AGENT_OWNERSHIP, CHANNELS_STATUS, CONFIG_CHILD, CONFIG_ISSUE, CONNECT_PARAMS, HEALTH,
    HEARTBEAT, HELLO_OK, MODEL, NODE, NODE_DETAILS, PAIRED_DEVICE, PAIRED_NODE, PENDING_DEVICE, PENDING_NODE,
    PRESENCE_ENTRY, RELOAD_KINDS, SESSION_LIST_DEFAULTS, SESSION_ROW, STABILITY_EVENT, STATUS, UI_HINT,
    UPDATE_AVAILABLE, closed, open,
};
use super::defs_agent::{
    AGENT_ANSWER, AGENT_FILE, AGENT_KEPT, AGENT_PARAMS, AGENT_REMOVED, CALL_NAME, CHAT_HISTORY_PARAMS, CHAT_MESSAGE,
    CHAT_SEND_PARAMS, EXEC_APPROVAL, EXEC_APPROVAL_PARAMS, EXEC_APPROVALS_FILE, EXEC_DECISION, KEY, PROVIDER_AUTH,
    RUN_ID, SESSION_KEY, SESSION_PREVIEW, SESSIONS_PATCH_PARAMS, USAGE_TOTALS,
};
use super::defs_cron::{
    CRON_ADD, CRON_ADDED, CRON_ID, CRON_JOB, CRON_JOBS, CRON_LIST, CRON_RUN, CRON_RUN_PAGE, CRON_RUNS_PARAMS,
    CRON_UPDATE,
};
use super::kinds::{
    BOOL, COUNT, EMPTY, Field, Kind, NULLABLE_COUNT, NULLABLE_TEXT, OPEN, POSITIVE, STRING, STRINGS, TEXT, TEXTS, list,
    opt, req, short,
};
use super::pack;
use super::table::{Answer, Handler, Method, Roles, Scope};
use crate::limits::{TAIL_BYTES_MAX, TAIL_LINES_MAX};

/// Highest protocol version.
const NEWEST: u8 = 4;

const fn row(name: &'static str, handler: Handler, doc: &'static str) -> Method {
    Method {
        name,
        since: 3,
        until: NEWEST,
        scope_v3: Scope::Admin,
        scope_v4: Scope::Admin,
        roles_v3: Roles::Operator,
        roles_v4: Roles::Operator,
        listed: true,
        params: &EMPTY,
        refusal: None,
        result: &OPEN,
        answer: Answer::Once,
        idempotent: false,
        doc,
        handler,
    }
}

impl Method {
    const fn scope_both(self, scope: Scope) -> Method {
        self.scopes(scope, scope)
    }

    const fn scopes(self, scope_v3: Scope, scope_v4: Scope) -> Method {
        Method { scope_v3, scope_v4, ..self }
    }

    /// For what protocol 3 does not know; there, unknown names need `operator.admin`.
    const fn only_v4(self, scope: Scope) -> Method {
        Method { since: 4, scope_v3: Scope::Admin, scope_v4: scope, ..self }
    }

    const fn takes(self, params: &'static Kind) -> Method {
        Method { params, ..self }
    }

    const fn gives(self, result: &'static Kind) -> Method {
        Method { result, ..self }
    }
}

const DEVICE_ID: Field = req("deviceId", TEXT).doc("The device.");
// Both limits are far below 2^63; `try_from` is not const.
const TAIL_LIMIT: Kind = Kind::Int { min: 1, max: TAIL_LINES_MAX as i64 };
const TAIL_SIZE: Kind = Kind::Int { min: 1, max: TAIL_BYTES_MAX as i64 };

const NODE_ID: Field = req("nodeId", TEXT).doc("The node.");
const REQUEST_ID: Field = req("requestId", TEXT).doc("The pairing request.");
const AGENT_ID: Field = opt("agentId", TEXT).doc("The agent; absent means the default one.");
const AGENT: Field = req("agentId", TEXT).doc("The agent.");
const FOLDER: Field = req("workspace", TEXT).doc("Its folder.");
const FILE_NAME: Field = req("name", TEXT).doc("The file, such as `AGENTS.md`.");
/// `YYYY-MM-DD`.
const DATE: Kind = Kind::Str { min: 10, max: 10 };
const USAGE_DETAIL: Kind =
    open![opt("key", STRING).doc("The session."), AGENT_ID, opt("limit", POSITIVE).doc("Most lines."),];
const SESSION_MESSAGE: Kind = closed![
    KEY,
    req("message", STRING).doc("What the person says."),
    opt("idempotencyKey", CALL_NAME).doc("Name of this call."),
    opt("thinking", STRING).doc("How much the model thinks."),
    opt("attachments", list(&Kind::Any)).doc("Pictures, in base64."),
    opt("timeoutMs", COUNT).doc("Time limit."),
    AGENT_ID,
    opt("mentions", Kind::Any).doc("Accepted and unused."),
];
const SESSION_SENT: Kind = open![
    opt("runId", TEXT).doc("The run."),
    opt("status", Kind::OneOf(&["started", "in_flight", "ok"])).doc("Where it stands."),
];
const OK: Field = req("ok", Kind::True).doc("Always true.");
const TS: Field = req("ts", COUNT).doc("When this was true.");
const ROLE: Field = req("role", TEXT).doc("The token's role.");

/// Every method, sorted by name.
pub static METHODS: LazyLock<&'static [Method]> = LazyLock::new(|| pack::TABLE.0);

/// The same as the compiler reads it; it stands in the program as `pack` writes it.
pub(super) const TABLE: &[Method] = &[
    Method {
        answer: Answer::AckThenFinal,
        idempotent: true,
        ..row("agent", Handler::Agent, "Runs a turn: answers `accepted`, and again when the turn is over.")
    }
    .scope_both(Scope::Write)
    .takes(&Kind::Ref(&AGENT_PARAMS))
    .gives(&Kind::Ref(&AGENT_ANSWER)),
    row("agent.identity.get", Handler::AgentIdentityGet, "How an agent presents itself.")
        .scope_both(Scope::Read)
        .takes(&closed![AGENT_ID, opt("sessionKey", STRING).doc("The session whose agent is meant.")])
        .gives(&closed![
            req("agentId", TEXT).doc("The agent."),
            opt("name", TEXT).doc("Its name."),
            opt("avatar", TEXT).doc("Picture or letter."),
            opt("emoji", TEXT).doc("Its emoji."),
        ]),
    row("agent.wait", Handler::AgentWait, "Waits for the end of a run.")
        .scope_both(Scope::Write)
        .takes(&closed![
            req("runId", CALL_NAME).doc("The run."),
            opt("timeoutMs", COUNT).doc("How long to wait; 0 only looks.")
        ])
        .gives(&open![
            RUN_ID,
            req("status", Kind::OneOf(&["ok", "error", "timeout"])).doc("How it ended, or that it did not in time."),
            opt("startedAt", COUNT).doc("When it began."),
            opt("endedAt", COUNT).doc("When it ended."),
            opt("error", STRING).doc("What went wrong."),
        ]),
    row("agents.create", Handler::AgentsCreate, "Adds an agent, with a workspace of its own.")
        .takes(&closed![
            req("name", TEXT).doc("Its name; the id is made of it."),
            opt("workspace", TEXT).doc("Its folder; absent gives it one in the state directory."),
            opt("model", TEXT).doc("Its model."),
            opt("emoji", STRING).doc("Its emoji."),
            opt("avatar", STRING).doc("Its picture."),
        ])
        .gives(&closed![
            OK,
            AGENT,
            req("name", TEXT).doc("Its name."),
            req("workspace", TEXT).doc("Its folder."),
            opt("model", TEXT).doc("Its model."),
        ]),
    row("agents.delete", Handler::AgentsDelete, "Takes an agent out; its files go to the trash.")
        .takes(&closed![AGENT, opt("deleteFiles", BOOL).doc("False leaves its files where they are.")])
        .gives(&closed![
            OK,
            AGENT,
            req("removedBindings", COUNT).doc("Routes that went with it."),
            opt("removed", list(&Kind::Ref(&AGENT_REMOVED))).doc("What is out of the way."),
            opt("failed", list(&Kind::Ref(&AGENT_KEPT))).doc("What is not."),
        ]),
    row("agents.files.get", Handler::AgentsFilesGet, "A file of an agent's workspace, with its content.")
        .scopes(Scope::Admin, Scope::Read)
        .takes(&closed![AGENT, FILE_NAME])
        .gives(&closed![AGENT, FOLDER, req("file", Kind::Ref(&AGENT_FILE)).doc("The file.")]),
    row("agents.files.list", Handler::AgentsFilesList, "The files of an agent's workspace that people edit.")
        .scopes(Scope::Admin, Scope::Read)
        .takes(&closed![AGENT])
        .gives(&closed![AGENT, FOLDER, req("files", list(&Kind::Ref(&AGENT_FILE))).doc("The files.")]),
    row("agents.files.set", Handler::AgentsFilesSet, "Replaces a file of an agent's workspace.")
        .takes(&closed![AGENT, FILE_NAME, req("content", STRING).doc("All of it.")])
        .gives(&closed![OK, AGENT, FOLDER, req("file", Kind::Ref(&AGENT_FILE)).doc("The file.")]),
    row("agents.list", Handler::AgentsList, "All agents.").scope_both(Scope::Read).gives(&closed![
        req("defaultId", TEXT).doc("The default agent."),
        opt("ownership", Kind::OneOf(AGENT_OWNERSHIP)).doc("How agents are owned (protocol 4)."),
        opt("selectionRequired", BOOL).doc("Whether the person must choose (protocol 4)."),
        req("mainKey", TEXT).doc("Short key of the main session."),
        req("scope", Kind::OneOf(&["per-sender", "global"])).doc("How sessions are cut."),
        req("agents", list(&Kind::Ref(&AGENT_SUMMARY))).doc("The agents."),
    ]),
    row("agents.update", Handler::AgentsUpdate, "Changes an agent.")
        .takes(&closed![
            AGENT,
            opt("name", TEXT).doc("Its name."),
            opt("workspace", TEXT).doc("Its folder."),
            opt("model", Kind::Nullable(&TEXT)).doc("Its model; null takes its own one away."),
            opt("emoji", STRING).doc("Its emoji; empty takes it away."),
            opt("avatar", STRING).doc("Its picture; empty takes it away."),
        ])
        .gives(&closed![OK, AGENT]),
    row("channels.status", Handler::ChannelsStatus, "All channels and their accounts.")
        .scope_both(Scope::Read)
        .takes(&closed![
            opt("probe", BOOL).doc("Whether to ask the services now."),
            opt("timeoutMs", COUNT).doc("How long to wait for them."),
            opt("channel", TEXT).doc("Only this channel."),
        ])
        .gives(&Kind::Ref(&CHANNELS_STATUS)),
    row("chat.abort", Handler::ChatAbort, "Stops the turns of a session.")
        .scope_both(Scope::Write)
        .takes(&closed![
            SESSION_KEY,
            opt("runId", TEXT).doc("Only this one."),
            AGENT_ID,
            opt("preserveSideRuns", BOOL).doc("Accepted and unused."),
        ])
        .gives(
            &open![OK, req("aborted", BOOL).doc("Whether there was one."), req("runIds", TEXTS).doc("Which ones."),],
        ),
    row("chat.history", Handler::ChatHistory, "Messages of a session, oldest first.")
        .scope_both(Scope::Read)
        .takes(&Kind::Ref(&CHAT_HISTORY_PARAMS))
        .gives(&open![
            SESSION_KEY,
            opt("sessionId", STRING).doc("Its transcript."),
            req("messages", list(&Kind::Ref(&CHAT_MESSAGE))).doc("The messages."),
            opt("thinkingLevel", STRING).doc("Thinking level."),
            opt("verboseLevel", STRING).doc("Verbosity."),
            opt("totalMessages", COUNT).doc("Messages there are."),
            opt("hasMore", BOOL).doc("Whether older ones were left out."),
        ]),
    row("chat.inject", Handler::ChatInject, "Adds a message of the assistant to a session.")
        .takes(&closed![
            SESSION_KEY,
            req("message", TEXT).doc("Its text."),
            opt("label", Kind::Str { min: 0, max: 100 }).doc("Put before it in brackets."),
            AGENT_ID,
        ])
        .gives(&closed![OK, req("messageId", TEXT).doc("Its entry.")]),
    row("chat.message.get", Handler::ChatMessageGet, "One message of a session, whole.")
        .only_v4(Scope::Read)
        .takes(&open![
            SESSION_KEY,
            req("messageId", TEXT).doc("Its entry."),
            AGENT_ID,
            opt("maxChars", Kind::Int { min: 1, max: 500_000 }).doc("Longest text."),
        ])
        .gives(&open![
            req("ok", BOOL).doc("Whether it was found."),
            opt("message", Kind::Ref(&CHAT_MESSAGE)).doc("The message."),
            opt("unavailableReason", TEXT).doc("Why it was not."),
        ]),
    row("chat.metadata", Handler::ChatMetadata, "What a chat window offers: models and commands.")
        .only_v4(Scope::Read)
        .takes(&closed![
            AGENT_ID,
            opt("sessionKey", TEXT).doc("The session."),
            opt("authProfileId", short(256)).doc("Accepted and unused."),
        ])
        .gives(&open![
            req("models", list(&Kind::Ref(&MODEL))).doc("Models to choose from."),
            req("commands", list(&OPEN)).doc("Commands a person can type."),
        ]),
    Method {
        idempotent: true,
        ..row("chat.send", Handler::ChatSend, "Gives a session a message; events tell what becomes of it.")
    }
    .scope_both(Scope::Write)
    .takes(&Kind::Ref(&CHAT_SEND_PARAMS))
    .gives(&open![
        opt("runId", TEXT).doc("The run."),
        opt("status", Kind::OneOf(&["started", "in_flight", "ok"])).doc("Where it stands."),
        opt("ok", BOOL).doc("Set when a stop word was sent."),
        opt("aborted", BOOL).doc("Whether a turn was stopped."),
        opt("runIds", TEXTS).doc("Which ones."),
    ]),
    row("chat.startup", Handler::ChatStartup, "History and metadata in one answer.")
        .only_v4(Scope::Read)
        .takes(&Kind::Ref(&CHAT_HISTORY_PARAMS))
        .gives(&open![
            SESSION_KEY,
            opt("sessionId", STRING).doc("Its transcript."),
            req("messages", list(&Kind::Ref(&CHAT_MESSAGE))).doc("The messages."),
            req("metadata", OPEN).doc("Models and commands."),
        ]),
    row("commands.list", Handler::CommandsList, "Commands a person can type.")
        .only_v4(Scope::Read)
        .takes(&closed![
            AGENT_ID,
            opt("sessionKey", TEXT).doc("The session."),
            opt("provider", TEXT).doc("Accepted and unused."),
            opt("scope", Kind::OneOf(&["text", "native", "both"])).doc("Only commands of this kind."),
            opt("includeArgs", BOOL).doc("Whether their words are told; they are by default."),
        ])
        .gives(&open![req("commands", list(&OPEN)).doc("The commands.")]),
    row("config.get", Handler::ConfigGet, "The configuration, without secrets.")
        .scopes(Scope::Admin, Scope::Read)
        .gives(&open![
            req("path", TEXT).doc("Its file."),
            req("exists", BOOL).doc("Whether the file exists."),
            req("raw", Kind::Nullable(&STRING)).doc("Its text."),
            req("parsed", Kind::Any).doc("What the file says."),
            req("valid", BOOL).doc("Whether it is right."),
            req("config", Kind::Any).doc("What is in force."),
            opt("hash", TEXT).doc("Names this state of the file for writes."),
            req("issues", list(&Kind::Ref(&CONFIG_ISSUE))).doc("What is wrong."),
            req("warnings", list(&Kind::Ref(&CONFIG_ISSUE))).doc("What is doubtful."),
            req("legacyIssues", list(&Kind::Ref(&CONFIG_ISSUE))).doc("What is old."),
        ]),
    row("config.schema", Handler::ConfigSchema, "The shape of the configuration.")
        .scopes(Scope::Admin, Scope::Read)
        .gives(&closed![
            req("schema", Kind::Any).doc("JSON Schema, draft 7."),
            req("uiHints", Kind::Map(&Kind::Ref(&UI_HINT))).doc("How forms show it, by path."),
            req("version", TEXT).doc("Version of the gateway."),
            req("generatedAt", TEXT).doc("When this was made, ISO 8601."),
        ]),
    row("config.schema.lookup", Handler::ConfigSchemaLookup, "The shape of one key of the configuration.")
        .only_v4(Scope::Read)
        .takes(&closed![req("path", short(1024)).doc("The key, such as `gateway.port`.")])
        .gives(&closed![
            req("path", TEXT).doc("The key."),
            req("schema", Kind::Any).doc("Its JSON Schema."),
            opt("reloadKind", Kind::OneOf(RELOAD_KINDS)).doc("What a change takes to apply."),
            opt("hint", Kind::Ref(&UI_HINT)).doc("How to show it."),
            opt("hintPath", STRING).doc("Path of the hint."),
            req("children", list(&Kind::Ref(&CONFIG_CHILD))).doc("Keys below it."),
        ]),
    Method {
        listed: false,
        roles_v3: Roles::Any,
        roles_v4: Roles::Any,
        ..row("connect", Handler::Connect, "Opens the connection; valid as its first call only.")
    }
    .scope_both(Scope::None)
    .takes(&Kind::Ref(&CONNECT_PARAMS))
    .gives(&Kind::Ref(&HELLO_OK)),
    row("cron.add", Handler::CronAdd, "Adds a scheduled job.").takes(&CRON_ADD).gives(&CRON_ADDED),
    row("cron.get", Handler::CronGet, "A scheduled job.")
        .only_v4(Scope::Read)
        .takes(&CRON_ID)
        .gives(&Kind::Ref(&CRON_JOB)),
    row("cron.list", Handler::CronList, "Scheduled jobs.").scope_both(Scope::Read).takes(&CRON_LIST).gives(&CRON_JOBS),
    row("cron.remove", Handler::CronRemove, "Removes a scheduled job; its run log stays.")
        .takes(&CRON_ID)
        .gives(&open![OK, req("removed", BOOL).doc("Whether there was one.")]),
    row("cron.run", Handler::CronRun, "Runs a scheduled job now; a turn is answered when it begins.")
        .takes(&CRON_RUN)
        .gives(&open![
            OK,
            opt("ran", BOOL).doc("Whether it runs."),
            opt("reason", TEXT).doc("Why not."),
            opt("enqueued", BOOL).doc("It is a turn, which goes on."),
            opt("runId", TEXT).doc("The turn."),
        ]),
    row("cron.runs", Handler::CronRuns, "What came of a job's runs.")
        .scope_both(Scope::Read)
        .takes(&CRON_RUNS_PARAMS)
        .gives(&CRON_RUN_PAGE),
    row("cron.status", Handler::CronStatus, "Whether scheduled jobs run.").scope_both(Scope::Read).gives(&open![
        req("enabled", BOOL).doc("Whether they run by themselves."),
        req("storePath", TEXT).doc("Their file."),
        req("jobs", COUNT).doc("How many there are."),
        req("nextWakeAtMs", NULLABLE_COUNT).doc("When the next one runs."),
    ]),
    row("cron.update", Handler::CronUpdate, "Changes a scheduled job.")
        .takes(&CRON_UPDATE)
        .gives(&Kind::Ref(&CRON_JOB)),
    row("device.pair.approve", Handler::DevicePairApprove, "Approves a device.")
        .scope_both(Scope::Pairing)
        .takes(&closed![REQUEST_ID])
        .gives(&closed![REQUEST_ID, req("device", Kind::Ref(&PAIRED_DEVICE)).doc("The device.")]),
    row("device.pair.list", Handler::DevicePairList, "Devices, paired and waiting.").scope_both(Scope::Pairing).gives(
        &closed![
            req("pending", list(&Kind::Ref(&PENDING_DEVICE))).doc("Waiting, newest first."),
            req("paired", list(&Kind::Ref(&PAIRED_DEVICE))).doc("Paired, newest first."),
        ],
    ),
    row("device.pair.reject", Handler::DevicePairReject, "Refuses a device.")
        .scope_both(Scope::Pairing)
        .takes(&closed![REQUEST_ID])
        .gives(&closed![REQUEST_ID, DEVICE_ID]),
    row("device.pair.remove", Handler::DevicePairRemove, "Forgets a device and closes its connections.")
        .only_v4(Scope::Pairing)
        .takes(&closed![DEVICE_ID])
        .gives(&closed![DEVICE_ID]),
    row("device.pair.rename", Handler::DevicePairRename, "Gives a device a name.")
        .only_v4(Scope::Pairing)
        .takes(&closed![DEVICE_ID, req("label", short(64)).doc("The name.")])
        .gives(&closed![DEVICE_ID, req("label", short(64)).doc("The name.")]),
    row("device.token.revoke", Handler::DeviceTokenRevoke, "Takes a device's token back.")
        .scope_both(Scope::Pairing)
        .takes(&closed![DEVICE_ID, ROLE])
        .gives(&closed![DEVICE_ID, ROLE, req("revokedAtMs", COUNT).doc("When.")]),
    row("device.token.rotate", Handler::DeviceTokenRotate, "Replaces a device's token.")
        .scope_both(Scope::Pairing)
        .takes(&closed![DEVICE_ID, ROLE, opt("scopes", TEXTS).doc("New scopes; absent keeps the old ones.")])
        .gives(&closed![
            DEVICE_ID,
            ROLE,
            opt("token", TEXT).doc("The new secret."),
            req("scopes", TEXTS).doc("Its scopes."),
            req("rotatedAtMs", COUNT).doc("When."),
        ]),
    row("diagnostics.stability", Handler::DiagnosticsStability, "The record of what went wrong since the start.")
        .only_v4(Scope::Read)
        .takes(&open![
            opt("limit", Kind::Int { min: 1, max: 1000 }).doc("Most entries."),
            opt("type", STRING).doc("Only this type."),
            opt("sinceSeq", COUNT).doc("Only later ones."),
        ])
        .gives(&open![
            req("generatedAt", TEXT).doc("When this was made, ISO 8601."),
            req("capacity", COUNT).doc("Entries the record holds."),
            req("count", COUNT).doc("Entries that match."),
            req("dropped", COUNT).doc("Entries that were pushed out."),
            opt("firstSeq", COUNT).doc("Number of the first that matches."),
            opt("lastSeq", COUNT).doc("Number of the last that matches."),
            req("events", list(&Kind::Ref(&STABILITY_EVENT))).doc("The entries."),
            req("summary", open![req("byType", Kind::Map(&COUNT)).doc("How many of each type.")]).doc("Sums."),
        ]),
    row("exec.approval.get", Handler::ExecApprovalGet, "A command that waits for a person.")
        .only_v4(Scope::Approvals)
        .takes(&closed![req("id", TEXT).doc("The approval.")])
        .gives(&Kind::Ref(&EXEC_APPROVAL)),
    row("exec.approval.list", Handler::ExecApprovalList, "Commands that wait for a person, oldest first.")
        .only_v4(Scope::Approvals)
        .takes(&OPEN)
        .gives(&list(&Kind::Ref(&EXEC_APPROVAL))),
    Method {
        answer: Answer::AckThenFinal,
        ..row("exec.approval.request", Handler::ExecApprovalRequest, "Asks the operators whether a command may run.")
    }
    .scope_both(Scope::Approvals)
    .takes(&Kind::Ref(&EXEC_APPROVAL_PARAMS))
    .gives(&Kind::Ref(&EXEC_DECISION)),
    row("exec.approval.resolve", Handler::ExecApprovalResolve, "Decides about a command.")
        .scope_both(Scope::Approvals)
        .takes(&open![
            req("id", TEXT).doc("The approval."),
            req("decision", TEXT).doc("`allow-once`, `allow-always` or `deny`."),
        ])
        .gives(&closed![OK]),
    row("exec.approval.waitDecision", Handler::ExecApprovalWaitDecision, "Waits for the decision about a command.")
        .only_v4(Scope::Approvals)
        .takes(&open![req("id", TEXT).doc("The approval.")])
        .gives(&Kind::Ref(&EXEC_DECISION)),
    row("exec.approvals.get", Handler::ExecApprovalsGet, "The file of what may run unasked.")
        .gives(&Kind::Ref(&EXEC_APPROVALS_FILE)),
    row("exec.approvals.node.get", Handler::ExecApprovalsNodeGet, "The same file of a connected node.")
        .takes(&closed![NODE_ID])
        .gives(&Kind::Ref(&EXEC_APPROVALS_FILE)),
    row("exec.approvals.node.set", Handler::ExecApprovalsNodeSet, "Replaces the file of a connected node.")
        .takes(&closed![
            NODE_ID,
            opt("file", OPEN).doc("Its new content."),
            opt("native", OPEN).doc("The same in the node's own form."),
            opt("baseHash", TEXT).doc("The hash of the file it replaces."),
        ])
        .gives(&Kind::Ref(&EXEC_APPROVALS_FILE)),
    row("exec.approvals.set", Handler::ExecApprovalsSet, "Replaces that file.")
        .takes(&closed![
            req("file", OPEN).doc("Its new content."),
            opt("baseHash", TEXT).doc("The hash of the file it replaces."),
        ])
        .gives(&Kind::Ref(&EXEC_APPROVALS_FILE)),
    row("gateway.identity.get", Handler::GatewayIdentityGet, "The gateway's own device identity.")
        .only_v4(Scope::Read)
        .takes(&OPEN)
        .gives(&closed![DEVICE_ID, req("publicKey", TEXT).doc("Ed25519 public key, base64url.")]),
    Method {
        roles_v4: Roles::Any,
        ..row("health", Handler::Health, "How the gateway, its agents and its channels are.")
    }
    .scope_both(Scope::Read)
    .takes(&open![opt("probe", BOOL).doc("Whether to look anew instead of using the last result.")])
    .gives(&Kind::Ref(&HEALTH)),
    row("last-heartbeat", Handler::LastHeartbeat, "How the last heartbeat ended.")
        .scope_both(Scope::Read)
        .takes(&OPEN)
        .gives(&Kind::Nullable(&Kind::Ref(&HEARTBEAT))),
    row("logs.tail", Handler::LogsTail, "The end of the log, or what was added since a cursor.")
        .scope_both(Scope::Read)
        .takes(&closed![
            opt("cursor", COUNT).doc("Where the last answer ended."),
            opt("limit", TAIL_LIMIT).doc("Most lines."),
            opt("maxBytes", TAIL_SIZE).doc("Most bytes."),
        ])
        .gives(&closed![
            req("file", TEXT).doc("The log file."),
            req("cursor", COUNT).doc("Where this answer ends, for the next call."),
            req("size", COUNT).doc("Bytes in the file."),
            req("lines", STRINGS).doc("The lines."),
            req("truncated", BOOL).doc("Whether older lines were left out."),
            req("reset", BOOL).doc("Whether the cursor did not fit the file any more."),
            opt("skippedBytes", COUNT).doc("Bytes left out."),
        ]),
    row("models.authStatus", Handler::ModelsAuthStatus, "Where the keys of the providers come from.")
        .only_v4(Scope::Read)
        .takes(&closed![
            opt("refresh", BOOL).doc("Accepted; it is always fresh."),
            opt("agentId", STRING).doc("The agent; absent means the default one."),
        ])
        .gives(&open![TS, req("providers", list(&Kind::Ref(&PROVIDER_AUTH))).doc("The providers.")]),
    row("models.list", Handler::ModelsList, "Models the gateway can use.")
        .scope_both(Scope::Read)
        .takes(&closed![
            AGENT_ID,
            opt("includeProviderCapabilities", BOOL).doc("Accepted and unused."),
            opt("preparedOnly", BOOL).doc("Accepted and unused."),
            opt("refresh", BOOL).doc("Whether to ask providers anew."),
            opt("view", Kind::OneOf(&["default", "configured", "provider-config", "all"])).doc("Which models."),
        ])
        .gives(&closed![req("models", list(&Kind::Ref(&MODEL))).doc("The models.")]),
    row("node.describe", Handler::NodeDescribe, "One node.")
        .scope_both(Scope::Read)
        .takes(&closed![NODE_ID])
        .gives(&Kind::Ref(&NODE_DETAILS)),
    row("node.list", Handler::NodeList, "All nodes.")
        .scope_both(Scope::Read)
        .gives(&closed![TS, req("nodes", list(&Kind::Ref(&NODE))).doc("Connected ones first.")]),
    row("node.pair.approve", Handler::NodePairApprove, "Approves a node.")
        .scope_both(Scope::Pairing)
        .takes(&closed![REQUEST_ID])
        .gives(&closed![REQUEST_ID, req("node", Kind::Ref(&PAIRED_NODE)).doc("The node, with its new secret.")]),
    row("node.pair.list", Handler::NodePairList, "Nodes, paired and waiting.").scope_both(Scope::Pairing).gives(
        &closed![
            req("pending", list(&Kind::Ref(&PENDING_NODE))).doc("Waiting, newest first."),
            req("paired", list(&Kind::Ref(&PAIRED_NODE))).doc("Paired, newest first."),
        ],
    ),
    row("node.pair.reject", Handler::NodePairReject, "Refuses a node.")
        .scope_both(Scope::Pairing)
        .takes(&closed![REQUEST_ID])
        .gives(&closed![REQUEST_ID, NODE_ID]),
    row("node.pair.remove", Handler::NodePairRemove, "Forgets a node.")
        .only_v4(Scope::Pairing)
        .takes(&closed![NODE_ID])
        .gives(&closed![NODE_ID]),
    Method { until: 3, ..row("node.pair.request", Handler::NodePairRequest, "Asks for a node to be paired.") }
        .scope_both(Scope::Pairing)
        .takes(&closed![
            NODE_ID,
            opt("displayName", TEXT).doc("Its name."),
            opt("platform", TEXT).doc("Its operating system."),
            opt("version", TEXT).doc("Its version."),
            opt("coreVersion", TEXT).doc("Version of its core."),
            opt("uiVersion", TEXT).doc("Version of its user interface."),
            opt("deviceFamily", TEXT).doc("Kind of device."),
            opt("modelIdentifier", TEXT).doc("Model of the device."),
            opt("caps", TEXTS).doc("What it can do."),
            opt("commands", TEXTS).doc("Commands it runs."),
            opt("remoteIp", TEXT).doc("Its address."),
            opt("silent", BOOL).doc("Whether it may be approved without asking."),
        ])
        .gives(&closed![
            req("status", Kind::Lit("pending")).doc("Always `pending`."),
            req("request", Kind::Ref(&PENDING_NODE)).doc("The request."),
            req("created", BOOL).doc("Whether it is new."),
        ]),
    Method { until: 3, ..row("node.pair.verify", Handler::NodePairVerify, "Checks a node's secret.") }
        .scope_both(Scope::Pairing)
        .takes(&closed![NODE_ID, req("token", TEXT).doc("Its secret.")])
        .gives(&closed![
            req("ok", BOOL).doc("Whether it is right."),
            opt("node", Kind::Ref(&PAIRED_NODE)).doc("The node, if it is."),
        ]),
    row("node.rename", Handler::NodeRename, "Gives a node a name.")
        .scope_both(Scope::Pairing)
        .takes(&closed![NODE_ID, req("displayName", TEXT).doc("The name.")])
        .gives(&closed![NODE_ID, req("displayName", TEXT).doc("The name.")]),
    row("secrets.reload", Handler::SecretsReload, "Reads the secrets of the configuration anew.")
        .only_v4(Scope::Admin)
        .gives(&open![OK, req("warningCount", COUNT).doc("Secrets that could not be read.")]),
    row("sessions.abort", Handler::SessionsAbort, "Stops the turns of a session, or one run.")
        .only_v4(Scope::Write)
        .takes(&closed![
            opt("key", TEXT).doc("The session."),
            opt("runId", TEXT).doc("The run."),
            AGENT_ID,
            opt("clearQueued", BOOL).doc("Accepted; waiting turns are always dropped."),
        ])
        .gives(&open![
            OK,
            opt("abortedRunId", NULLABLE_TEXT).doc("The run that was stopped."),
            req("status", Kind::OneOf(&["aborted", "no-active-run"])).doc("Whether there was one."),
        ]),
    row("sessions.compact", Handler::SessionsCompact, "Shortens a transcript to its last lines.")
        .takes(&closed![KEY, opt("maxLines", POSITIVE).doc("Lines to keep."), AGENT_ID])
        .gives(&open![
            OK,
            KEY,
            req("compacted", BOOL).doc("Whether something was cut."),
            opt("kept", COUNT).doc("Lines kept."),
            opt("archived", STRING).doc("Where the old file is."),
            opt("reason", STRING).doc("Why nothing was cut."),
        ]),
    Method { idempotent: true, ..row("sessions.create", Handler::SessionsCreate, "Begins a session.") }
        .only_v4(Scope::Write)
        .takes(&open![
            opt("key", TEXT).doc("Its key; absent makes one up."),
            opt("agentId", TEXT).doc("Its agent."),
            opt("label", short(512)).doc("A name for it."),
            opt("model", TEXT).doc("Its model."),
            opt("thinkingLevel", TEXT).doc("Its thinking level."),
            opt("parentSessionKey", TEXT).doc("The session that started it."),
            opt("message", STRING).doc("The first message."),
            opt("task", STRING).doc("The same."),
            opt("timeoutMs", COUNT).doc("Time limit of the first turn."),
            opt("idempotencyKey", CALL_NAME).doc("Name of this call."),
        ])
        .gives(&open![
            OK,
            KEY,
            req("sessionId", TEXT).doc("Its transcript."),
            req("entry", OPEN).doc("Its entry."),
            req("runStarted", BOOL).doc("Whether a turn runs."),
            opt("runId", TEXT).doc("That turn."),
        ]),
    row("sessions.delete", Handler::SessionsDelete, "Forgets a session.")
        .takes(&closed![
            KEY,
            opt("deleteTranscript", BOOL).doc("Whether to put its transcript away too."),
            AGENT_ID,
            opt("expectedSessionId", TEXT).doc("Only if this is its transcript."),
            opt("expectedLifecycleRevision", TEXT).doc("Accepted and unused."),
            opt("expectedSessionUpdatedAt", Kind::Num).doc("Accepted and unused."),
            opt("emitLifecycleHooks", BOOL).doc("Accepted and unused."),
            opt("archivedOnly", BOOL).doc("Accepted and unused."),
        ])
        .gives(&open![
            OK,
            KEY,
            req("deleted", BOOL).doc("Whether there was one."),
            req("archived", TEXTS).doc("Files that were put away."),
        ]),
    row("sessions.describe", Handler::SessionsDescribe, "One session.")
        .only_v4(Scope::Read)
        .takes(&closed![
            KEY,
            AGENT_ID,
            opt("includeDerivedTitles", BOOL).doc("Accepted and unused."),
            opt("includeLastMessage", BOOL).doc("Accepted and unused."),
        ])
        .gives(&closed![req("session", Kind::Nullable(&Kind::Ref(&SESSION_ROW))).doc("The session, if there is one.")]),
    row("sessions.get", Handler::SessionsGet, "Messages of a session.")
        .only_v4(Scope::Read)
        .takes(&open![KEY, AGENT_ID, opt("limit", Kind::Int { min: 1, max: 1000 }).doc("Most messages.")])
        .gives(&open![req("messages", list(&Kind::Ref(&CHAT_MESSAGE))).doc("The messages.")]),
    row("sessions.list", Handler::SessionsList, "Sessions, newest first.")
        .scope_both(Scope::Read)
        .takes(&closed![
            opt("limit", POSITIVE).doc("Most rows."),
            opt("offset", COUNT).doc("Rows to skip."),
            opt("activeMinutes", POSITIVE).doc("Only those changed since."),
            opt("requireLastInteraction", BOOL).doc("Only those a person used."),
            opt("sortBy", Kind::OneOf(&["updatedAt", "lastInteractionAt"])).doc("Order."),
            opt("includeGlobal", BOOL).doc("Whether to show the global session."),
            opt("includeUnknown", BOOL).doc("Whether to show sessions of unknown kind."),
            opt("configuredAgentsOnly", BOOL).doc("Only agents of the configuration."),
            opt("includeDerivedTitles", BOOL).doc("Whether to add titles."),
            opt("includeLastMessage", BOOL).doc("Whether to add last words."),
            opt("label", short(512)).doc("Only this label."),
            opt("boardFace", Kind::OneOf(&["chat", "dashboard"])).doc("Accepted and unused."),
            opt("creatorId", TEXT).doc("Accepted and unused."),
            opt("ownerId", TEXT).doc("Accepted and unused."),
            opt("ownerFirst", BOOL).doc("Accepted and unused."),
            opt("involvingMe", BOOL).doc("Accepted and unused."),
            opt("involvingProfileId", TEXT).doc("Accepted and unused."),
            opt("includePeople", BOOL).doc("Accepted and unused."),
            opt("spawnedBy", TEXT).doc("Only those started by this session."),
            opt("agentId", TEXT).doc("Only this agent."),
            opt("search", STRING).doc("Only those with these words."),
            opt("archived", Kind::Union(&[BOOL, Kind::Lit("all")])).doc("Whether to show those put away."),
        ])
        .gives(&open![
            TS,
            req("path", STRING).doc("The store."),
            req("count", COUNT).doc("Rows in this answer."),
            opt("totalCount", COUNT).doc("Rows there are (protocol 4)."),
            opt("limitApplied", COUNT).doc("Most rows (protocol 4)."),
            opt("nextOffset", NULLABLE_COUNT).doc("Where to go on (protocol 4)."),
            opt("hasMore", BOOL).doc("Whether there is more (protocol 4)."),
            req("defaults", Kind::Ref(&SESSION_LIST_DEFAULTS)).doc("What a new session uses."),
            req("sessions", list(&Kind::Ref(&SESSION_ROW))).doc("The rows."),
        ]),
    row(
        "sessions.messages.subscribe",
        Handler::SessionsMessagesSubscribe,
        "Sends this connection the session's messages.",
    )
    .only_v4(Scope::Read)
    .takes(&open![KEY, AGENT_ID])
    .gives(&open![req("subscribed", BOOL).doc("Always true."), req("key", TEXT).doc("The session, in full.")]),
    row("sessions.messages.unsubscribe", Handler::SessionsMessagesUnsubscribe, "Ends that.")
        .only_v4(Scope::Read)
        .takes(&open![KEY, AGENT_ID])
        .gives(&open![req("subscribed", BOOL).doc("Always false."), req("key", TEXT).doc("The session, in full.")]),
    row("sessions.patch", Handler::SessionsPatch, "Changes a session's settings.")
        .takes(&Kind::Ref(&SESSIONS_PATCH_PARAMS))
        .gives(&open![
            OK,
            req("path", STRING).doc("The store."),
            KEY,
            req("entry", OPEN).doc("Its entry."),
            opt("resolved", OPEN).doc("The model it uses now."),
        ]),
    row("sessions.preview", Handler::SessionsPreview, "The last words of some sessions.")
        .scope_both(Scope::Read)
        .takes(&closed![
            req("keys", Kind::Arr { item: &TEXT, min: 1, max: usize::MAX }).doc("The sessions; the first 64 count."),
            opt("limit", POSITIVE).doc("Messages of each."),
            opt("maxChars", Kind::Int { min: 20, max: i64::MAX }).doc("Longest text."),
        ])
        .gives(&closed![TS, req("previews", list(&Kind::Ref(&SESSION_PREVIEW))).doc("In the order asked for.")]),
    row("sessions.reset", Handler::SessionsReset, "Begins a session anew under its key.")
        .takes(&closed![
            KEY,
            AGENT_ID,
            opt("reason", Kind::OneOf(&["new", "reset"])).doc("Why."),
            opt("expectedSessionId", TEXT).doc("Only if this is its transcript."),
        ])
        .gives(&open![OK, KEY, req("entry", OPEN).doc("Its entry.")]),
    row("sessions.resolve", Handler::SessionsResolve, "The full key of a session.")
        .scopes(Scope::Admin, Scope::Read)
        .takes(&closed![
            opt("key", TEXT).doc("By key."),
            opt("sessionId", TEXT).doc("By transcript."),
            opt("label", short(512)).doc("By name."),
            AGENT_ID,
            opt("spawnedBy", TEXT).doc("Only those started by this session."),
            opt("includeGlobal", BOOL).doc("Whether the global session counts."),
            opt("includeUnknown", BOOL).doc("Whether sessions of unknown kind count."),
            opt("allowMissing", BOOL).doc("Whether no session is an answer too."),
        ])
        .gives(&open![
            req("ok", BOOL).doc("Whether there is one."),
            opt("key", TEXT).doc("The session, in full."),
            opt("agentId", TEXT).doc("Its agent."),
        ]),
    Method {
        idempotent: true,
        ..row("sessions.send", Handler::SessionsSend, "Gives a session a message; events tell what becomes of it.")
    }
    .only_v4(Scope::Write)
    .takes(&SESSION_MESSAGE)
    .gives(&SESSION_SENT),
    Method {
        idempotent: true,
        ..row("sessions.steer", Handler::SessionsSteer, "Stops what a session is doing and gives it a message instead.")
    }
    .only_v4(Scope::Write)
    .takes(&SESSION_MESSAGE)
    .gives(&SESSION_SENT),
    row("sessions.subscribe", Handler::SessionsSubscribe, "Sends this connection the changes of sessions.")
        .only_v4(Scope::Read)
        .takes(&OPEN)
        .gives(&open![req("subscribed", BOOL).doc("Always true.")]),
    row("sessions.unsubscribe", Handler::SessionsUnsubscribe, "Ends that.")
        .only_v4(Scope::Read)
        .takes(&OPEN)
        .gives(&open![req("subscribed", BOOL).doc("Always false.")]),
    row("sessions.usage", Handler::SessionsUsage, "What sessions cost, counted from their transcripts.")
        .scopes(Scope::Admin, Scope::Read)
        .takes(&closed![
            opt("key", TEXT).doc("Only this session."),
            AGENT_ID,
            opt("agentScope", Kind::OneOf(&["all"])).doc("All agents, which is the rule."),
            opt("startDate", DATE).doc("First day."),
            opt("endDate", DATE).doc("Last day."),
            opt("mode", Kind::OneOf(&["utc", "gateway", "specific"])).doc("Whose days."),
            opt("range", Kind::OneOf(&["7d", "30d", "90d", "1y", "all"])).doc("The last days, without a first one."),
            opt("groupBy", Kind::OneOf(&["instance", "family"])).doc("Accepted and unused."),
            opt("includeHistorical", BOOL).doc("Accepted and unused."),
            opt("utcOffset", STRING).doc("Accepted and unused."),
            opt("timeZone", TEXT).doc("Zone of the days with mode `specific`."),
            opt("limit", POSITIVE).doc("Most sessions; the newest count."),
            opt("includeContextWeight", BOOL).doc("Accepted and unused."),
        ])
        .gives(&open![
            req("updatedAt", COUNT).doc("When this was counted."),
            req("startDate", TEXT).doc("First day."),
            req("endDate", TEXT).doc("Last day."),
            req("sessions", list(&OPEN)).doc("The sessions."),
            req("totals", Kind::Ref(&USAGE_TOTALS)).doc("All of them together."),
            req("aggregates", OPEN).doc("By model, provider, agent, channel, tool and day."),
        ]),
    row("sessions.usage.logs", Handler::SessionsUsageLogs, "The last messages of a session with what they cost.")
        .scopes(Scope::Admin, Scope::Read)
        .takes(&USAGE_DETAIL)
        .gives(&open![req("logs", list(&OPEN)).doc("The messages.")]),
    row("sessions.usage.timeseries", Handler::SessionsUsageTimeseries, "The cost of a session over time.")
        .scopes(Scope::Admin, Scope::Read)
        .takes(&USAGE_DETAIL)
        .gives(&open![
            req("sessionId", TEXT).doc("Its transcript."),
            req("points", list(&OPEN)).doc("One for each answer."),
        ]),
    Method {
        refusal: Some(("enabled", "invalid set-heartbeats params: enabled (boolean) required")),
        ..row("set-heartbeats", Handler::SetHeartbeats, "Switches heartbeats on or off until the next start.")
    }
    .takes(&open![req("enabled", BOOL).doc("On or off.")])
    .gives(&closed![OK, req("enabled", BOOL).doc("On or off.")]),
    row("status", Handler::Status, "What a person wants to see first.")
        .scope_both(Scope::Read)
        .takes(&open![
            opt("includeChannelSummary", BOOL).doc("Whether to add the lines about channels."),
            opt("includeCliProjection", BOOL).doc("Accepted and unused."),
        ])
        .gives(&Kind::Ref(&STATUS)),
    Method {
        refusal: Some(("text", "text required")),
        ..row("system-event", Handler::SystemEvent, "Reports a machine's presence, or a line for the main session.")
    }
    .takes(&open![
        req("text", TEXT).doc("One line; `Node: …` reports a machine."),
        opt("deviceId", STRING).doc("Device identity."),
        opt("instanceId", STRING).doc("Installation."),
        opt("host", STRING).doc("Name of the machine."),
        opt("ip", STRING).doc("Its address."),
        opt("mode", STRING).doc("What it does."),
        opt("version", STRING).doc("Version of the program."),
        opt("platform", STRING).doc("Operating system."),
        opt("deviceFamily", STRING).doc("Kind of device."),
        opt("modelIdentifier", STRING).doc("Model of the device."),
        opt("lastInputSeconds", Kind::Num).doc("Seconds since a person touched the machine."),
        opt("reason", STRING).doc("Why it reports."),
        opt("roles", STRINGS).doc("Roles."),
        opt("scopes", STRINGS).doc("Scopes."),
        opt("tags", STRINGS).doc("Free labels."),
    ])
    .gives(&closed![OK]),
    row("system-presence", Handler::SystemPresence, "Who is here.")
        .scope_both(Scope::Read)
        .takes(&OPEN)
        .gives(&list(&Kind::Ref(&PRESENCE_ENTRY))),
    row("tools.catalog", Handler::ToolsCatalog, "All tools there are, by group.")
        .only_v4(Scope::Read)
        .takes(&open![AGENT_ID])
        .gives(&open![
            req("agentId", TEXT).doc("The agent."),
            req("profiles", list(&OPEN)).doc("Sets of tools."),
            req("groups", list(&OPEN)).doc("The tools."),
        ]),
    row("tools.effective", Handler::ToolsEffective, "The tools that the next turn of a session gets.")
        .only_v4(Scope::Read)
        .takes(&closed![AGENT_ID, SESSION_KEY])
        .gives(&open![
            req("agentId", TEXT).doc("The agent."),
            req("profile", TEXT).doc("The set of tools its settings name."),
            req("groups", list(&OPEN)).doc("The tools."),
            opt("notices", list(&OPEN)).doc("What is wrong with the settings."),
        ]),
    row("update.status", Handler::UpdateStatus, "Whether there is a newer version.")
        .only_v4(Scope::Admin)
        .takes(&closed![opt("refreshCheckout", BOOL).doc("Accepted and unused.")])
        .gives(&closed![
            req("sentinel", Kind::Any).doc("Outcome of the last update, or null."),
            req("updateAvailable", Kind::Nullable(&Kind::Ref(&UPDATE_AVAILABLE))).doc("A newer version."),
            opt("effectiveChannel", Kind::OneOf(&["stable", "extended-stable", "beta", "dev"])).doc("Release channel."),
        ]),
    row("usage.cost", Handler::UsageCost, "What all conversations cost, by day.")
        .scope_both(Scope::Read)
        .takes(&open![
            opt("days", Kind::Any).doc("The last days, today included; 30 when absent."),
            opt("startDate", STRING).doc("First day."),
            opt("endDate", STRING).doc("Last day."),
            AGENT_ID,
            opt("mode", STRING).doc("Whose days: `gateway`, `utc` or `specific`."),
            opt("timeZone", STRING).doc("Zone of the days with mode `specific`."),
        ])
        .gives(&open![
            req("updatedAt", COUNT).doc("When this was counted."),
            req("days", COUNT).doc("Days it covers."),
            req("daily", list(&Kind::Ref(&USAGE_TOTALS))).doc("Days with something in them."),
            req("totals", Kind::Ref(&USAGE_TOTALS)).doc("All of them together."),
        ]),
    row("usage.status", Handler::UsageStatus, "Quotas that providers report.")
        .scope_both(Scope::Read)
        .takes(&OPEN)
        .gives(&open![
            req("updatedAt", COUNT).doc("When this was asked."),
            req("providers", list(&OPEN)).doc("Providers with quotas; those with plain keys report none."),
        ]),
    row("wake", Handler::Wake, "Gives the main session a line, now or at its next heartbeat.")
        .scope_both(Scope::Write)
        .takes(&open![
            req("mode", Kind::OneOf(&["now", "next-heartbeat"])).doc("When."),
            req("text", TEXT).doc("The line."),
            opt("sessionKey", TEXT).doc("Another session."),
            opt("agentId", TEXT).doc("Another agent."),
        ])
        .gives(&closed![req("ok", BOOL).doc("False when the text is blank.")]),
];

/// The row of a method.
pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.binary_search_by(|row| row.name.cmp(name)).ok().and_then(|at| METHODS.get(at))
}

/// The names that `hello-ok.features.methods` lists for a protocol version.
pub fn names(protocol: u8) -> Vec<&'static str> {
    METHODS.iter().filter(|row| row.listed_in(protocol)).map(|row| row.name).collect()
}

/// A method whose name is close to an unknown one.
pub fn suggest(name: &str) -> Option<&'static str> {
    let wanted = plain(name);
    METHODS
        .iter()
        .filter(|row| row.listed)
        .map(|row| (distance(&wanted, &plain(row.name)), row.name))
        .filter(|(far, known)| *far <= known.len() / 4 + 1)
        .min_by_key(|(far, _)| *far)
        .map(|(_, known)| known)
}

/// Names differ only by separators and case surprisingly often (`node_list`, `systemPresence`).
fn plain(name: &str) -> Vec<u8> {
    const LONGEST: usize = 64;
    name.bytes().filter(u8::is_ascii_alphanumeric).take(LONGEST).map(|byte| byte.to_ascii_lowercase()).collect()
}

/// Edit distance, one row at a time.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (line, have) in from.iter().enumerate() {
        let mut corner = line;
        let mut left = line + 1;
        for (cost, want) in costs.iter_mut().skip(1).zip(to) {
            let swap = corner + usize::from(have != want);
            corner = *cost;
            left = swap.min(left + 1).min(*cost + 1);
            *cost = left;
        }
    }
    costs.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(METHODS.is_sorted_by(|one, next| one.name < next.name));
    }

    #[test]
    fn finds_every_row_and_nothing_else() {
        for row in *METHODS {
            assert_eq!(find(row.name).map(|found| found.handler), Some(row.handler), "{}", row.name);
        }
        assert!(find("").is_none());
        assert!(find("health ").is_none());
        assert!(find("chat.sen").is_none());
    }

    #[test]
    fn every_handler_has_one_row() {
        for (at, row) in METHODS.iter().enumerate() {
            assert!(METHODS[at + 1..].iter().all(|other| other.handler != row.handler), "{}", row.name);
        }
        assert_eq!(METHODS.len(), Handler::DiagnosticsStability as usize + 1, "a handler has no row");
    }

    #[test]
    fn lists_by_protocol_version() {
        let (old, new) = (names(3), names(4));
        assert!(!old.contains(&"connect") && !new.contains(&"connect"));
        assert!(old.contains(&"node.pair.request") && !new.contains(&"node.pair.request"));
        assert!(!old.contains(&"secrets.reload") && new.contains(&"secrets.reload"));
        assert!(old.contains(&"health") && new.contains(&"health"));
    }

    #[test]
    fn suggests_names_that_are_near() {
        assert_eq!(suggest("helth"), Some("health"));
        assert_eq!(suggest("node_list"), Some("node.list"));
        assert_eq!(suggest("systemPresence"), Some("system-presence"));
        assert_eq!(suggest("device.pair.approved"), Some("device.pair.approve"));
        assert_eq!(suggest("frobnicate"), None);
        assert_eq!(suggest(""), None);
        assert_eq!(suggest(&"x".repeat(1 << 20)), None);
    }

    #[test]
    fn scopes_follow_the_protocol_version() {
        let get = find("config.get").unwrap();
        assert_eq!((get.scope(3), get.scope(4)), (Scope::Admin, Scope::Read));
        let health = find("health").unwrap();
        assert_eq!((health.roles(3), health.roles(4)), (Roles::Operator, Roles::Any));
        assert!(health.roles(4).allow("node") && !health.roles(3).allow("node") && !health.roles(4).allow("guest"));
    }

    #[test]
    fn texts_of_refusals_are_what_clients_know() {
        let refuse = |name: &str, params: serde_json::Value| {
            let row = find(name).unwrap();
            row.refuse(&super::super::check::check(row.params, &params))
        };
        let heartbeats = "invalid set-heartbeats params: enabled (boolean) required";
        assert_eq!(refuse("set-heartbeats", json!({})), heartbeats);
        assert_eq!(refuse("set-heartbeats", json!({"enabled": "yes"})), heartbeats);
        assert_eq!(refuse("system-event", json!({"text": ""})), "text required");
        assert_eq!(refuse("system-event", json!({"host": 1})), "text required");
        assert_eq!(
            refuse("system-event", json!({"text": "x", "host": 1})),
            "invalid system-event params: at /host: must be string"
        );
        assert_eq!(
            refuse("node.describe", json!({"nodeId": "x", "bogus": 1})),
            "invalid node.describe params: at root: unexpected property 'bogus'"
        );
    }

    #[test]
    fn methods_without_schema_accept_unknown_members() {
        for name in ["health", "status", "system-presence", "system-event", "last-heartbeat", "set-heartbeats"] {
            let params = json!({"text": "x", "enabled": true, "whatever": [1]});
            let row = find(name).unwrap();
            assert_eq!(super::super::check::check(row.params, &params), vec![], "{name}");
        }
    }
}
