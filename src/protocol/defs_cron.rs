//! The shapes of scheduled jobs (protocol.md 8.2). Owns shapes only; members of one kind of schedule or payload are
//! optional here, and which of them belong together is checked with the job.

use super::defs::{closed, open};
use super::kinds::{
    BOOL, COUNT, Def, Field, Kind, NULLABLE_COUNT, NULLABLE_TEXT, POSITIVE, STRING, TEXT, list, opt, req,
};
use crate::limits::{CRON_PAGE, CRON_RUNS_MAX};

/// How a run can end.
const STATUS: Kind = Kind::OneOf(&["ok", "error", "skipped"]);
const DIRECTION: Field = opt("sortDir", Kind::OneOf(&["asc", "desc"])).doc("The first or the last first.");
const NULLABLE_STRING: Kind = Kind::Nullable(&STRING);
const ID: Field = opt("id", TEXT).doc("The job.");
const JOB_ID: Field = opt("jobId", TEXT).doc("The same, in older clients.");
const OFFSET: Field = opt("offset", COUNT).doc("How many to leave out.");
// Both are far below 2^63; `try_from` is not const.
const PAGE: Kind = Kind::Int { min: 1, max: CRON_PAGE as i64 };
const RUNS: Kind = Kind::Int { min: 1, max: CRON_RUNS_MAX as i64 };

/// When a job runs.
pub const CRON_SCHEDULE: Def = Def {
    name: "CronSchedule",
    doc: "When a job runs.",
    kind: closed![
        req("kind", Kind::OneOf(&["at", "every", "cron"])).doc("Once, at an interval, or by an expression."),
        opt("at", TEXT).doc("The moment, ISO 8601 (`at`)."),
        opt("everyMs", POSITIVE).doc("The interval (`every`)."),
        opt("anchorMs", COUNT).doc("From when it counts (`every`)."),
        opt("expr", TEXT).doc("Five fields, or six with seconds (`cron`)."),
        opt("tz", STRING).doc("Time zone; absent means the machine's (`cron`)."),
        opt("staggerMs", COUNT).doc("Kept and unused (`cron`)."),
    ],
};

/// What a job does.
pub const CRON_TASK: Def = Def {
    name: "CronTask",
    doc: "What a job does.",
    kind: closed![
        req("kind", Kind::OneOf(&["systemEvent", "agentTurn"])).doc("A line for the main session, or a turn."),
        opt("text", STRING).doc("The line (`systemEvent`)."),
        opt("message", STRING).doc("What the agent is told (`agentTurn`)."),
        opt("model", NULLABLE_STRING).doc("Its model."),
        opt("thinking", NULLABLE_STRING).doc("How much it thinks."),
        opt("timeoutSeconds", COUNT).doc("Time limit of the turn."),
        opt("allowUnsafeExternalContent", BOOL).doc("Kept and unused."),
        opt("deliver", BOOL).doc("Older form of `delivery.mode`."),
        opt("channel", STRING).doc("Older form of `delivery.channel`."),
        opt("to", STRING).doc("Older form of `delivery.to`."),
        opt("bestEffortDeliver", BOOL).doc("Older form of `delivery.bestEffort`."),
    ],
};

/// Where a turn's answer goes.
pub const CRON_DELIVERY: Def = Def {
    name: "CronDelivery",
    doc: "Where a turn's answer goes.",
    kind: closed![
        opt("mode", Kind::OneOf(&["none", "announce", "webhook"])).doc("Whether it is delivered, and how."),
        opt("channel", NULLABLE_STRING).doc("`last` or a channel."),
        opt("to", NULLABLE_STRING).doc("The recipient; of a webhook, its address."),
        opt("bestEffort", BOOL).doc("Whether a failed delivery is no failure."),
        opt("accountId", NULLABLE_TEXT).doc("The channel's account."),
        opt("threadId", Kind::Union(&[STRING, Kind::Num, Kind::Null])).doc("The thread."),
    ],
};

const DESCRIPTION: Field = opt("description", STRING).doc("For people.");
const AGENT: Field = opt("agentId", NULLABLE_TEXT).doc("The agent; absent means the default one.");
const ENABLED: Field = opt("enabled", BOOL).doc("Whether it runs by itself.");
const DELETE: Field = opt("deleteAfterRun", BOOL).doc("Whether a one-time job goes once it ended well.");
const TARGET: Field =
    opt("sessionTarget", TEXT).doc("`main`, `isolated` (one of its own), or `session:` and a session's key.");
const WAKE: Field = opt("wakeMode", Kind::OneOf(&["next-heartbeat", "now"])).doc("When the main session looks at it.");
const DELIVERY: Field = opt("delivery", Kind::Ref(&CRON_DELIVERY)).doc("Where the answer goes.");
const MISSED: Field =
    opt("missed", Kind::OneOf(&["run", "skip"])).doc("Whether a run missed while the gateway was down is caught up.");
const NAME: Field = opt("name", TEXT).doc("What it is called.");

/// A new job.
pub const CRON_ADD: Kind = closed![
    Field { required: true, ..NAME },
    opt("declarationKey", Kind::Str { min: 1, max: 200 }).doc("Names the job for programs that declare it again."),
    DESCRIPTION,
    AGENT,
    ENABLED,
    DELETE,
    req("schedule", Kind::Ref(&CRON_SCHEDULE)).doc("When it runs."),
    TARGET,
    WAKE,
    req("payload", Kind::Ref(&CRON_TASK)).doc("What it does."),
    DELIVERY,
    MISSED,
];

/// A change of a job.
pub const CRON_UPDATE: Kind = closed![
    ID,
    JOB_ID,
    opt("expectedConfigRevision", TEXT).doc("Accepted and unused."),
    req(
        "patch",
        closed![
            NAME,
            DESCRIPTION,
            AGENT,
            ENABLED,
            DELETE,
            opt("schedule", Kind::Ref(&CRON_SCHEDULE)).doc("When it runs."),
            TARGET,
            WAKE,
            opt("payload", Kind::Ref(&CRON_TASK)).doc("What it does."),
            DELIVERY,
            MISSED,
        ]
    )
    .doc("What is to change."),
];

/// A job by its id.
pub const CRON_ID: Kind = closed![ID, JOB_ID];

/// A run by hand.
pub const CRON_RUN: Kind = closed![
    ID,
    JOB_ID,
    opt("mode", Kind::OneOf(&["due", "force", "if-enabled"])).doc("Only if due, in any case, or unless disabled."),
    opt("expectedProcessInstanceId", TEXT).doc("Accepted and unused."),
];

/// What to list.
pub const CRON_LIST: Kind = closed![
    opt("includeDisabled", BOOL).doc("Whether disabled jobs are listed."),
    opt("enabled", Kind::OneOf(&["all", "enabled", "disabled"])).doc("Which ones, instead."),
    opt("limit", PAGE).doc("Most jobs; absent means all."),
    OFFSET,
    opt("query", STRING).doc("A part of name, description, text or id."),
    opt("scheduleKind", TEXT).doc("Only of this kind, or `all`."),
    opt("lastRunStatus", TEXT).doc("Only with this outcome, `unknown`, or `all`."),
    opt("trigger", TEXT).doc("Accepted and unused."),
    opt("sortBy", Kind::OneOf(&["nextRunAtMs", "updatedAtMs", "name"])).doc("Their order."),
    DIRECTION,
    opt("agentId", TEXT).doc("Only of this agent."),
    opt("compact", BOOL).doc("Accepted and unused."),
    opt("includeDeliveryPreviews", BOOL).doc("Accepted and unused."),
];

/// Which runs to show.
pub const CRON_RUNS_PARAMS: Kind = closed![
    ID,
    JOB_ID,
    opt("scope", TEXT).doc("`job`; all jobs at once are not answered."),
    opt("agentId", TEXT).doc("Accepted and unused."),
    opt("runId", TEXT).doc("Only this one."),
    opt("limit", RUNS).doc("Most entries."),
    OFFSET,
    opt("status", Kind::OneOf(&["all", "ok", "error", "skipped"])).doc("Only with this outcome."),
    opt("statuses", list(&STATUS)).doc("Only with one of these."),
    opt("query", STRING).doc("A part of answer or error."),
    DIRECTION,
];

/// A job as it is answered.
pub const CRON_JOB: Def = Def {
    name: "CronJob",
    doc: "A scheduled job.",
    kind: open![
        req("id", TEXT).doc("Its id."),
        req("name", TEXT).doc("What it is called."),
        ENABLED,
        req("schedule", OPEN_SCHEDULE).doc("When it runs."),
        opt("payload", Kind::Any).doc("What it does."),
        opt("state", open![opt("nextRunAtMs", COUNT).doc("When it runs next.")]).doc("What its runs left behind."),
    ],
};
/// Jobs of other versions may have schedules this one does not know.
const OPEN_SCHEDULE: Kind = open![opt("kind", STRING).doc("What it is.")];

/// The new job; for a program that declares it, with what became of the declaration.
pub const CRON_ADDED: Kind = open![
    opt("id", TEXT).doc("The job's id, unless it was declared."),
    opt("created", BOOL).doc("Whether the declared job is new."),
    opt("updated", BOOL).doc("Whether it was changed."),
    opt("job", Kind::Ref(&CRON_JOB)).doc("The declared job."),
];

/// The jobs.
pub const CRON_JOBS: Kind = open![
    req("jobs", list(&Kind::Ref(&CRON_JOB))).doc("The jobs."),
    opt("total", COUNT).doc("How many there are."),
    opt("offset", COUNT).doc("How many were left out."),
    opt("limit", COUNT).doc("Most of a page."),
    opt("hasMore", BOOL).doc("Whether there are more."),
    opt("nextOffset", NULLABLE_COUNT).doc("Where they begin."),
    opt("snapshotRevision", TEXT).doc("Changes with any job."),
];

/// What the event says.
pub const CRON_EVENT: Kind = open![
    req("jobId", TEXT).doc("The job."),
    req("action", Kind::OneOf(&["added", "updated", "removed", "started", "finished"])).doc("What has happened."),
    opt("job", Kind::Ref(&CRON_JOB)).doc("The job as it is now, unless removed."),
    opt("runAtMs", COUNT).doc("When the run began."),
    opt("durationMs", COUNT).doc("How long it took."),
    opt("status", STATUS).doc("How it ended."),
    opt("error", STRING).doc("What went wrong."),
    opt("summary", STRING).doc("What it said."),
    opt("runId", TEXT).doc("The turn."),
    opt("sessionId", TEXT).doc("Its transcript."),
    opt("sessionKey", TEXT).doc("Its session."),
    opt("nextRunAtMs", COUNT).doc("When the job runs next."),
    opt("delivered", BOOL).doc("Whether the answer reached anybody."),
    opt("deliveryStatus", STRING).doc("The same in a word."),
    opt("deliveryError", STRING).doc("Why not."),
];

/// Runs of a job.
pub const CRON_RUN_PAGE: Kind = open![
    req("entries", list(&open![req("jobId", TEXT).doc("The job."), req("ts", COUNT).doc("When it was written.")]))
        .doc("One for each run."),
    opt("total", COUNT).doc("How many there are."),
    opt("hasMore", BOOL).doc("Whether there are more."),
];
