//! The row types of the protocol table and look-ups over it.
//! Owns what a row says; the rows stand in `methods` and `events`. Knows no handler, socket or clock.

use serde_json::{Map, Value};

use super::check::{self, Fault};
use super::kinds::Kind;

/// Operator permissions (`spec/protocol.md` section 4). `Admin` implies all, `Write` implies `Read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// No scope needed beyond the role.
    None,
    /// `operator.read`
    Read,
    /// `operator.write`
    Write,
    /// `operator.admin`
    Admin,
    /// `operator.pairing`
    Pairing,
    /// `operator.approvals`
    Approvals,
}

impl Scope {
    /// The scope's name on the wire; empty for [`Scope::None`].
    pub fn name(self) -> &'static str {
        match self {
            Scope::None => "",
            Scope::Read => "operator.read",
            Scope::Write => "operator.write",
            Scope::Admin => "operator.admin",
            Scope::Pairing => "operator.pairing",
            Scope::Approvals => "operator.approvals",
        }
    }

    /// Whether a connection holding `granted` may do what needs this scope.
    pub fn allowed_by<S: AsRef<str>>(self, granted: &[S]) -> bool {
        let has = |name: &str| granted.iter().any(|scope| scope.as_ref() == name);
        has("operator.admin")
            || match self {
                Scope::None => true,
                Scope::Read => has("operator.read") || has("operator.write"),
                other => has(other.name()),
            }
    }
}

/// Which connection roles may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    /// Operators only.
    Operator,
    /// Nodes only.
    Node,
    /// Both.
    Any,
}

impl Roles {
    /// Whether a connection with this role (`operator` or `node`) may call.
    pub fn allow(self, role: &str) -> bool {
        match self {
            Roles::Operator => role == "operator",
            Roles::Node => role == "node",
            Roles::Any => role == "operator" || role == "node",
        }
    }
}

/// How a method answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// One response.
    Once,
    /// `accepted` at once, the result later under the same id.
    AckThenFinal,
}

/// One method: everything the gateway, the generators and the command line know about it.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// Name on the wire.
    pub name: &'static str,
    /// First protocol version that has it.
    pub since: u8,
    /// Last protocol version that advertises it.
    pub until: u8,
    /// Scope needed on protocol 3.
    pub scope_v3: Scope,
    /// Scope needed on protocol 4.
    pub scope_v4: Scope,
    /// Roles that may call it on protocol 3.
    pub roles_v3: Roles,
    /// Roles that may call it on protocol 4 (nodes may also ask for `health`).
    pub roles_v4: Roles,
    /// Whether `hello-ok.features.methods` lists it.
    pub listed: bool,
    /// Shape of `params`.
    pub params: &'static Kind,
    /// A member and the fixed text that refuses params in which it is missing or wrong, where
    /// clients know such a text; everything else gets the validator's wording.
    pub refusal: Option<(&'static str, &'static str)>,
    /// Shape of the result payload.
    pub result: &'static Kind,
    /// How it answers.
    pub answer: Answer,
    /// Whether a repeated call with the same idempotency key is answered from memory.
    pub idempotent: bool,
    /// One line for people.
    pub doc: &'static str,
    /// Which handler serves it; `gateway::dispatch` binds it in an exhaustive match.
    pub handler: Handler,
}

impl Method {
    /// The scope a connection of this protocol version needs.
    pub fn scope(&self, protocol: u8) -> Scope {
        if protocol >= 4 { self.scope_v4 } else { self.scope_v3 }
    }

    /// The roles that may call it on this protocol version.
    pub fn roles(&self, protocol: u8) -> Roles {
        if protocol >= 4 { self.roles_v4 } else { self.roles_v3 }
    }

    /// Whether `hello-ok.features.methods` of this protocol version lists it.
    pub fn listed_in(&self, protocol: u8) -> bool {
        self.listed && (self.since..=self.until).contains(&protocol)
    }

    /// Parameters that fit the row, or the text that refuses them.
    pub fn read(&self, params: Option<Value>) -> Result<Value, String> {
        let params = params.filter(|params| !params.is_null()).unwrap_or_else(|| Value::Object(Map::new()));
        let faults = check::check(self.params, &params);
        if faults.is_empty() { Ok(params) } else { Err(self.refuse(&faults)) }
    }

    /// The message of the error that refuses params with these faults.
    pub fn refuse(&self, faults: &[Fault]) -> String {
        match self.refusal {
            Some((member, text)) if faults.iter().any(|fault| fault.concerns(member)) => text.into(),
            _ => format!("invalid {} params: {}", self.name, check::text(faults)),
        }
    }
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Name on the wire.
    pub name: &'static str,
    /// First protocol version that has it.
    pub since: u8,
    /// Scope an operator needs to receive it on protocol 3.
    pub guard_v3: Scope,
    /// Scope an operator needs to receive it on protocol 4.
    pub guard_v4: Scope,
    /// Skipped for a slow client instead of closing it.
    pub drop_if_slow: bool,
    /// Carries `stateVersion`.
    pub versioned: bool,
    /// Shape of the payload.
    pub payload: &'static Kind,
    /// One line for people.
    pub doc: &'static str,
}

impl Event {
    /// The scope an operator of this protocol version needs; nodes never get guarded events.
    pub fn guard(&self, protocol: u8) -> Scope {
        if protocol >= 4 { self.guard_v4 } else { self.guard_v3 }
    }
}

/// Every handler there is. A row without a handler, or a handler without an arm in
/// `gateway::dispatch`, does not compile.
#[allow(missing_docs, reason = "each variant is the row of the same name, which has the sentence")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    CronAdd,
    CronGet,
    CronList,
    CronRemove,
    CronRun,
    CronRuns,
    CronStatus,
    CronUpdate,
    Connect,
    Health,
    Status,
    SystemPresence,
    SystemEvent,
    LastHeartbeat,
    SetHeartbeats,
    Wake,
    LogsTail,
    DevicePairList,
    DevicePairApprove,
    DevicePairReject,
    DevicePairRemove,
    DevicePairRename,
    DeviceTokenRotate,
    DeviceTokenRevoke,
    ConfigGet,
    ConfigSchema,
    ConfigSchemaLookup,
    ModelsList,
    AgentsList,
    AgentIdentityGet,
    AgentsCreate,
    ExecApprovalsNodeGet,
    ExecApprovalsNodeSet,
    SessionsSteer,
    ToolsEffective,
    ModelsAuthStatus,
    SessionsUsage,
    SessionsUsageLogs,
    SessionsUsageTimeseries,
    UsageCost,
    UsageStatus,
    AgentsDelete,
    AgentsFilesGet,
    AgentsFilesList,
    AgentsFilesSet,
    AgentsUpdate,
    ChannelsStatus,
    NodeList,
    NodeDescribe,
    NodePairRequest,
    NodePairList,
    NodePairApprove,
    NodePairReject,
    NodePairRemove,
    NodePairVerify,
    NodeRename,
    Agent,
    AgentWait,
    ChatAbort,
    ChatHistory,
    ChatInject,
    ChatMessageGet,
    ChatMetadata,
    ChatSend,
    ChatStartup,
    SessionsAbort,
    SessionsCompact,
    SessionsCreate,
    SessionsDelete,
    SessionsDescribe,
    SessionsGet,
    SessionsMessagesSubscribe,
    SessionsMessagesUnsubscribe,
    SessionsPatch,
    SessionsPreview,
    SessionsReset,
    SessionsResolve,
    SessionsSend,
    SessionsSubscribe,
    SessionsUnsubscribe,
    CommandsList,
    ExecApprovalGet,
    ExecApprovalList,
    ExecApprovalRequest,
    ExecApprovalResolve,
    ExecApprovalWaitDecision,
    ExecApprovalsGet,
    ExecApprovalsSet,
    ToolsCatalog,
    SessionsList,
    GatewayIdentityGet,
    UpdateStatus,
    SecretsReload,
    DiagnosticsStability,
}
