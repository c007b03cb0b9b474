//! The shared objects of agent turns: what starts one, its events, messages of a transcript, approvals.
//! Owns shapes only, as `const` data (`spec/agent.md` 2 to 11, `spec/protocol.md` 8.1, 8.4, 9); knows no
//! method and no value. Members that only internal callers of the original send are taken as anything.

use super::defs::{SESSION_ROW, closed, open};
use super::kinds::{BOOL, COUNT, Def, Field, Kind, NULLABLE_TEXT, OPEN, POSITIVE, STRING, TEXT, list, opt, req, short};
use crate::limits::{IDEMPOTENCY_KEY_CHARS, SESSION_KEY_CHARS};

const NULLABLE_STRING: Kind = Kind::Nullable(&STRING);
const UNUSED: &str = "Accepted and unused.";

const fn unused(name: &'static str) -> Field {
    opt(name, Kind::Any).doc(UNUSED)
}

/// A member naming the session.
pub const SESSION_KEY: Field = req("sessionKey", TEXT).doc("The session.");
/// A member naming the session in `sessions.*`.
pub const KEY: Field = req("key", TEXT).doc("The session.");
/// A client's name for a call.
pub const CALL_NAME: Kind = short(IDEMPOTENCY_KEY_CHARS);
/// A member naming the run.
pub const RUN_ID: Field = req("runId", TEXT).doc("The run.");

/// A file of an agent's workspace.
pub const AGENT_FILE: Def = Def {
    name: "AgentsFileEntry",
    doc: "A file of an agent's workspace.",
    kind: closed![
        req("name", TEXT).doc("Its name."),
        req("path", TEXT).doc("Its place."),
        req("missing", BOOL).doc("Whether there is none, or none that can be had."),
        opt("size", COUNT).doc("Its size in bytes."),
        opt("updatedAtMs", COUNT).doc("When it was changed."),
        opt("content", STRING).doc("Its text."),
    ],
};

/// Something of a deleted agent that is out of the way.
pub const AGENT_REMOVED: Def = Def {
    name: "AgentRemovedPath",
    doc: "Something of a deleted agent that is out of the way.",
    kind: closed![
        req("path", TEXT).doc("Where it was."),
        req("method", Kind::OneOf(&["trash", "missing"])).doc("Where it is now."),
    ],
};

/// Something of a deleted agent that stayed.
pub const AGENT_KEPT: Def = Def {
    name: "AgentKeptPath",
    doc: "Something of a deleted agent that stayed.",
    kind: closed![req("path", TEXT).doc("Where it is."), req("reason", TEXT).doc("Why."),],
};

/// Tokens and money.
pub const USAGE_TOTALS: Def = Def {
    name: "UsageTotals",
    doc: "Tokens and money, of a day or of all.",
    kind: open![
        opt("date", STRING).doc("The day."),
        req("input", COUNT).doc("Tokens read."),
        req("output", COUNT).doc("Tokens written."),
        req("cacheRead", COUNT).doc("Tokens read from the provider's cache."),
        req("cacheWrite", COUNT).doc("Tokens written to it."),
        req("totalTokens", COUNT).doc("All tokens."),
        req("totalCost", Kind::Num).doc("Money."),
        req("missingCostEntries", COUNT).doc("Answers without a price."),
    ],
};

/// A provider and its keys.
pub const PROVIDER_AUTH: Def = Def {
    name: "ProviderAuth",
    doc: "A provider and where its keys come from.",
    kind: open![
        req("provider", TEXT).doc("The provider."),
        req("authProvider", TEXT).doc("Whose keys it uses."),
        req("displayName", TEXT).doc("Its name for people."),
        req("status", Kind::OneOf(&["ok", "expiring", "expired", "missing", "static"])).doc("How its keys stand."),
        opt("expiry", OPEN).doc("When the first of them ends."),
        req("profiles", list(&OPEN)).doc("Keys of the profiles file."),
        opt("apiKey", OPEN).doc("Where its plain key comes from."),
    ],
};

/// What `agent` takes.
pub const AGENT_PARAMS: Def = Def {
    name: "AgentRequest",
    doc: "A turn to run.",
    kind: closed![
        req("message", TEXT).doc("What the person says."),
        req("idempotencyKey", CALL_NAME).doc("Name of this call; becomes the name of the run."),
        opt("agentId", TEXT).doc("The agent."),
        opt("sessionKey", STRING).doc("The session."),
        opt("sessionId", STRING).doc("The session by its transcript."),
        opt("to", STRING).doc("The person or group, by address."),
        opt("replyTo", STRING).doc("Where the answer goes, if elsewhere."),
        opt("channel", STRING).doc("The channel."),
        opt("replyChannel", STRING).doc("The channel of the answer."),
        opt("accountId", STRING).doc("The account of the channel."),
        opt("replyAccountId", STRING).doc("The account of the answer."),
        opt("threadId", STRING).doc("The thread."),
        opt("groupId", STRING).doc("The group."),
        opt("groupChannel", STRING).doc("The group's channel."),
        opt("groupSpace", STRING).doc("The group's space."),
        opt("deliver", BOOL).doc("Whether the answer is sent to the channel too."),
        opt("thinking", STRING).doc("How much the model thinks."),
        opt("timeout", COUNT).doc("Time limit in seconds; 0 is none."),
        opt("attachments", list(&Kind::Any)).doc("Pictures, in base64."),
        opt("provider", STRING).doc("Another provider for this turn (protocol 4)."),
        opt("model", STRING).doc("Another model for this turn (protocol 4)."),
        opt("lane", STRING).doc(UNUSED),
        opt("extraSystemPrompt", STRING).doc("More for the system prompt."),
        opt("label", short(512)).doc("A name for the session."),
        opt("spawnedBy", Kind::Str { min: 0, max: SESSION_KEY_CHARS }).doc("The session that asked for this."),
        opt("cwd", TEXT).doc(UNUSED),
        opt("bestEffortDeliver", BOOL).doc("Whether the turn runs although its answer cannot be delivered."),
        unused("expectedExistingSessionId"),
        unused("cleanupBundleMcpOnRunEnd"),
        unused("modelRun"),
        unused("promptMode"),
        unused("bootstrapContextMode"),
        unused("bootstrapContextRunKind"),
        unused("acpTurnSource"),
        unused("internalRuntimeHandoffId"),
        unused("internalExecutionIdentityRetry"),
        unused("internalExecutionIdentityRecoveryAttempt"),
        unused("execApprovalFollowupExpectedSessionId"),
        unused("internalEvents"),
        unused("inputProvenance"),
        unused("suppressPromptPersistence"),
        unused("sessionEffects"),
        unused("sourceReplyDeliveryMode"),
        unused("disableMessageTool"),
        unused("swarmCollector"),
        unused("swarmOutputSchema"),
        unused("forceRestartSafeTools"),
        unused("forceCodeModeTools"),
        unused("voiceWakeTrigger"),
    ],
};

/// What `chat.send` takes.
pub const CHAT_SEND_PARAMS: Def = Def {
    name: "ChatSendRequest",
    doc: "A message for a session.",
    kind: closed![
        req("sessionKey", short(512)).doc("The session."),
        req("message", STRING).doc("What the person says; may be empty with attachments."),
        req("idempotencyKey", CALL_NAME).doc("Name of this call; becomes the name of the run."),
        opt("agentId", TEXT).doc("The agent."),
        opt("sessionId", STRING).doc("The transcript the client sees."),
        opt("thinking", STRING).doc("How much the model thinks."),
        opt("deliver", BOOL).doc("Whether the answer is sent to the channel too."),
        opt("attachments", list(&Kind::Any)).doc("Pictures, in base64."),
        opt("timeoutMs", COUNT).doc("Time limit."),
        opt("queueMode", Kind::OneOf(&["steer", "followup", "collect", "interrupt"]))
            .doc("What happens when a turn is running: `interrupt` ends it, everything else waits."),
        unused("mentions"),
        unused("workContext"),
        unused("intent"),
        unused("fastMode"),
        unused("fastAutoOnSeconds"),
        unused("originatingChannel"),
        unused("originatingTo"),
        unused("originatingAccountId"),
        unused("originatingThreadId"),
        unused("replyToId"),
        unused("toolBindings"),
        unused("systemInputProvenance"),
        unused("systemProvenanceReceipt"),
        opt("suppressCommandInterpretation", BOOL).doc("Whether a command is taken as plain text."),
        unused("expectedLeafEntryId"),
        unused("expectedSessionRoutingContract"),
        unused("expectedPermissionMode"),
        unused("expectedToolOverrides"),
    ],
};

/// What `chat.history` and `chat.startup` take.
pub const CHAT_HISTORY_PARAMS: Def = Def {
    name: "ChatHistoryRequest",
    doc: "Which messages are wanted.",
    kind: closed![
        SESSION_KEY,
        opt("agentId", TEXT).doc("The agent."),
        opt("limit", Kind::Int { min: 1, max: 1000 }).doc("Most messages."),
        opt("offset", COUNT).doc("Newest messages to skip."),
        opt("maxChars", Kind::Int { min: 1, max: 500_000 }).doc("Longest text of one message."),
        unused("cursor"),
        unused("maxBytes"),
        unused("pendingBefore"),
        unused("inputRunIds"),
        unused("messageId"),
        unused("sessionId"),
    ],
};

/// What `sessions.patch` takes.
pub const SESSIONS_PATCH_PARAMS: Def = Def {
    name: "SessionsPatchRequest",
    doc: "Changes of a session; null clears.",
    kind: closed![
        KEY,
        opt("agentId", TEXT).doc("The agent."),
        opt("label", Kind::Nullable(&short(512))).doc("Name given by a person."),
        opt("thinkingLevel", NULLABLE_TEXT).doc("Thinking level."),
        opt("verboseLevel", NULLABLE_TEXT).doc("Verbosity."),
        opt("reasoningLevel", NULLABLE_TEXT).doc("Reasoning display."),
        opt("elevatedLevel", NULLABLE_TEXT).doc("Elevation."),
        opt("responseUsage", Kind::Nullable(&Kind::OneOf(&["off", "tokens", "full", "on"]))).doc("Usage footer."),
        opt("execHost", NULLABLE_TEXT).doc("Where commands run."),
        opt("execSecurity", NULLABLE_TEXT).doc("Which commands run."),
        opt("execAsk", NULLABLE_TEXT).doc("When a person is asked."),
        opt("execNode", NULLABLE_TEXT).doc("The node on which commands run."),
        opt("model", NULLABLE_TEXT).doc("Model."),
        opt("spawnedBy", NULLABLE_TEXT).doc("The session that started it."),
        opt("sendPolicy", Kind::Nullable(&Kind::OneOf(&["allow", "deny"]))).doc("Whether answers may be sent."),
        opt("groupActivation", Kind::Nullable(&Kind::OneOf(&["mention", "always"]))).doc("When it answers in groups."),
    ],
};

/// What a run's answer says.
pub const AGENT_ANSWER: Def = Def {
    name: "AgentAnswer",
    doc: "First `accepted`, later the outcome.",
    kind: open![
        RUN_ID,
        req("status", Kind::OneOf(&["accepted", "ok", "error"])).doc("Where the run stands."),
        opt("acceptedAt", COUNT).doc("When it was accepted."),
        opt("sessionKey", STRING).doc("Its session (protocol 4)."),
        opt("agentId", TEXT).doc("Its agent (protocol 4)."),
        opt("summary", STRING).doc("The outcome in a word, or what went wrong."),
        opt("result", OPEN).doc("`payloads` and `meta`."),
    ],
};

/// One message of a transcript.
pub const CHAT_MESSAGE: Def = Def {
    name: "ChatMessage",
    doc: "One message of a transcript.",
    kind: open![
        req("role", TEXT).doc("`user`, `assistant` or `toolResult`."),
        opt("content", Kind::Any).doc("Blocks: text, thinking, toolCall, image."),
        opt("timestamp", COUNT).doc("When."),
    ],
};

/// Payload of `agent` events.
pub const AGENT_EVENT: Def = Def {
    name: "AgentEvent",
    doc: "What a run does.",
    kind: open![
        RUN_ID,
        req("seq", COUNT).doc("Counts the events of this run."),
        req("stream", TEXT).doc("`lifecycle`, `assistant`, `tool`, `compaction` or `error`."),
        req("ts", COUNT).doc("When."),
        req("data", OPEN).doc("By stream."),
        opt("sessionKey", STRING).doc("Its session."),
        opt("agentId", TEXT).doc("Its agent."),
        opt("sessionId", STRING).doc("Its transcript."),
    ],
};

/// Payload of `chat` events.
pub const CHAT_EVENT: Def = Def {
    name: "ChatEvent",
    doc: "What a chat window shows.",
    kind: open![
        RUN_ID,
        SESSION_KEY,
        req("seq", COUNT).doc("The number of the agent event it belongs to."),
        req("state", Kind::OneOf(&["status", "delta", "final", "aborted", "error"])).doc("What happened."),
        opt("agentId", TEXT).doc("Its agent."),
        opt("message", Kind::Ref(&CHAT_MESSAGE)).doc("The whole message so far."),
        opt("deltaText", STRING).doc("What was added since the last delta."),
        opt("replace", BOOL).doc("Whether `deltaText` begins another message."),
        opt("errorMessage", STRING).doc("What went wrong."),
        opt("errorKind", Kind::OneOf(&["refusal", "timeout", "rate_limit", "context_length", "unknown"]))
            .doc("What kind of trouble."),
        opt("stopReason", STRING).doc("Why it ended."),
    ],
};

/// Payload of `session.message`.
pub const SESSION_MESSAGE_EVENT: Def = Def {
    name: "SessionMessageEvent",
    doc: "A message was added to a transcript.",
    kind: open![
        SESSION_KEY,
        opt("agentId", TEXT).doc("Its agent."),
        req("message", Kind::Ref(&CHAT_MESSAGE)).doc("The message."),
        req("messageId", TEXT).doc("Its entry."),
        opt("messageSeq", COUNT).doc("Its place in the transcript, where known."),
        opt("session", Kind::Ref(&SESSION_ROW)).doc("The session now."),
        req("updatedAt", COUNT).doc("When."),
    ],
};

/// Payload of `sessions.changed`.
pub const SESSIONS_CHANGED_EVENT: Def = Def {
    name: "SessionsChangedEvent",
    doc: "A session changed.",
    kind: open![
        SESSION_KEY,
        opt("agentId", TEXT).doc("Its agent."),
        req("reason", TEXT).doc("`create`, `patch`, `send`, `reset`, `delete`, `compact` or `end`."),
        req("ts", COUNT).doc("When."),
        opt("session", Kind::Ref(&SESSION_ROW)).doc("The session now."),
    ],
};

/// Payload of `session.operation`.
pub const SESSION_OPERATION_EVENT: Def = Def {
    name: "SessionOperationEvent",
    doc: "Something long happens to a session.",
    kind: open![
        SESSION_KEY,
        opt("agentId", TEXT).doc("Its agent."),
        req("operationId", TEXT).doc("Which one."),
        req("operation", TEXT).doc("`compact`."),
        req("phase", Kind::OneOf(&["start", "end"])).doc("Whether it begins or is over."),
        req("ts", COUNT).doc("When."),
        opt("completed", BOOL).doc("Whether it worked."),
        opt("reason", STRING).doc("Why not."),
    ],
};

/// An entry of a preview.
pub const SESSION_PREVIEW: Def = Def {
    name: "SessionPreview",
    doc: "The last words of a session.",
    kind: open![
        KEY,
        req("status", Kind::OneOf(&["ok", "empty", "missing", "error"])).doc("Whether there are any."),
        req("items", list(&closed![req("role", TEXT).doc("Who spoke."), req("text", STRING).doc("The text, cut."),]))
            .doc("Oldest first."),
    ],
};

/// A command that waits for a person.
pub const EXEC_APPROVAL: Def = Def {
    name: "ExecApproval",
    doc: "A command that waits for a person's word.",
    kind: open![
        req("id", TEXT).doc("The approval."),
        req("request", OPEN).doc("Command, folder, agent, session."),
        req("createdAtMs", COUNT).doc("Since when."),
        req("expiresAtMs", COUNT).doc("Until when."),
    ],
};

/// A decision about a command.
pub const EXEC_DECISION: Def = Def {
    name: "ExecDecision",
    doc: "What was decided about a command; first `accepted`, if the caller wanted that.",
    kind: open![
        req("id", TEXT).doc("The approval."),
        opt("status", TEXT).doc("`accepted` in the first of two answers."),
        opt("decision", Kind::Nullable(&Kind::OneOf(&["allow-once", "allow-always", "deny"])))
            .doc("The decision; null when nobody decided in time."),
        req("createdAtMs", COUNT).doc("Since when."),
        req("expiresAtMs", COUNT).doc("Until when."),
    ],
};

/// The file of what may run unasked.
pub const EXEC_APPROVALS_FILE: Def = Def {
    name: "ExecApprovalsFile",
    doc: "The file of what may run unasked.",
    kind: open![
        req("path", TEXT).doc("Where it is."),
        req("exists", BOOL).doc("Whether it is there."),
        req("hash", TEXT).doc("Names this state of it for writes."),
        req("file", OPEN).doc("Its content, without the socket's token."),
    ],
};

/// What `exec.approval.request` takes.
pub const EXEC_APPROVAL_PARAMS: Def = Def {
    name: "ExecApprovalRequest",
    doc: "A command for which a person is to be asked.",
    kind: closed![
        opt("id", TEXT).doc("A name for the approval."),
        req("command", TEXT).doc("The command."),
        opt("cwd", NULLABLE_STRING).doc("Its folder."),
        opt("host", NULLABLE_STRING).doc("Where it would run."),
        opt("security", NULLABLE_STRING).doc("The policy."),
        opt("ask", NULLABLE_STRING).doc("When to ask."),
        opt("agentId", NULLABLE_STRING).doc("The agent."),
        opt("resolvedPath", NULLABLE_STRING).doc("The program's file."),
        opt("sessionKey", NULLABLE_STRING).doc("The session."),
        opt("timeoutMs", POSITIVE).doc("How long to wait."),
        opt("twoPhase", BOOL).doc("Whether to answer at once and again with the decision."),
        unused("commandArgv"),
        unused("systemRunPlan"),
        unused("env"),
        unused("nodeId"),
        unused("warningText"),
        unused("scope"),
        unused("unavailableDecisions"),
        unused("commandSpans"),
        unused("sessionId"),
        unused("runId"),
        unused("toolCallId"),
        unused("turnSourceChannel"),
        unused("turnSourceTo"),
        unused("turnSourceAccountId"),
        unused("turnSourceThreadId"),
        unused("approvalReviewerDeviceIds"),
        unused("requireDeliveryRoute"),
        unused("suppressDelivery"),
        unused("deliverToApprovalClientsOnly"),
    ],
};
