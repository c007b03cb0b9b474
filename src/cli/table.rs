//! The row types of the command table and the look-ups over it.
//! Owns what a row says; the rows stand in `commands`. Knows no parser, printer, socket or file.

pub use super::commands::COMMANDS;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Nothing: present or absent.
    Switch,
    /// One value; the text names it in the help (`ms`, `url`).
    Text(&'static str),
    /// One value, any number of times.
    Many(&'static str),
    /// One value out of a list, which completion offers; the command itself refuses others.
    Choice(&'static str, &'static [&'static str]),
}

impl Value {
    /// The placeholder of the value, if the flag takes one.
    pub fn placeholder(self) -> Option<&'static str> {
        match self {
            Value::Switch => None,
            Value::Text(name) | Value::Many(name) | Value::Choice(name, _) => Some(name),
        }
    }

    /// The values that completion offers.
    pub fn choices(self) -> &'static [&'static str] {
        match self {
            Value::Choice(_, choices) => choices,
            _ => &[],
        }
    }
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Name without the two dashes.
    pub long: &'static str,
    /// One-letter name.
    pub short: Option<char>,
    /// What it takes.
    pub value: Value,
    /// One line for the help.
    pub about: &'static str,
    /// The default as the help prints it; empty for none.
    pub default: &'static str,
    /// Whether the command refuses to run without it.
    pub required: bool,
    /// Flags it cannot stand beside.
    pub not_with: &'static [&'static str],
}

impl Flag {
    /// `--name <value>` as messages print it.
    pub fn usage(&self) -> String {
        match self.value.placeholder() {
            Some(name) => format!("--{} <{name}>", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// A switch.
pub const fn switch(long: &'static str, about: &'static str) -> Flag {
    Flag { long, short: None, value: Value::Switch, about, default: "", required: false, not_with: &[] }
}

/// A flag with one value.
pub const fn text(long: &'static str, name: &'static str, about: &'static str) -> Flag {
    Flag { value: Value::Text(name), ..switch(long, about) }
}

/// A flag with one value out of a list.
pub const fn choice(
    long: &'static str,
    name: &'static str,
    choices: &'static [&'static str],
    about: &'static str,
) -> Flag {
    Flag { value: Value::Choice(name, choices), ..switch(long, about) }
}

impl Flag {
    /// The same flag with a default.
    pub const fn or(self, default: &'static str) -> Flag {
        Flag { default, ..self }
    }

    /// The same flag, required.
    pub const fn required(self) -> Flag {
        Flag { required: true, ..self }
    }

    /// The same flag with a letter.
    pub const fn letter(self, short: char) -> Flag {
        Flag { short: Some(short), ..self }
    }

    /// The same flag, refused beside these.
    pub const fn not_with(self, not_with: &'static [&'static str]) -> Flag {
        Flag { not_with, ..self }
    }
}

/// One positional argument.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// Name in the usage line.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it takes all that follow.
    pub many: bool,
    /// Where completion finds its values.
    pub source: Source,
    /// One line for the help.
    pub about: &'static str,
}

/// Where completion finds the values of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nowhere.
    Nothing,
    /// The methods of the protocol table.
    Methods,
    /// The commands themselves.
    Commands,
}

/// What a command needs of the config file (`spec/cli.md` 1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Config {
    /// It never reads it.
    Unused,
    /// It runs with an invalid one, after the complaint.
    Tolerated,
    /// It refuses to run with an invalid one.
    Valid,
    /// It complains about the config itself, in its own words.
    Own,
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// The words that name it, without the program's.
    pub path: &'static [&'static str],
    /// Other paths that mean the same.
    pub aliases: &'static [&'static [&'static str]],
    /// One line.
    pub about: &'static str,
    /// More lines for its own help page; may be empty.
    pub details: &'static str,
    /// Its flags, in groups that commands share.
    pub flags: &'static [&'static [Flag]],
    /// Its positional arguments.
    pub args: &'static [Arg],
    /// Command lines (without the program's name) and what they do.
    pub examples: &'static [(&'static str, &'static str)],
    /// What it needs of the config file.
    pub config: Config,
    /// What runs.
    pub run: Run,
}

impl Command {
    /// All its flags.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.flags.iter().flat_map(|group| group.iter())
    }

    /// The flag of this name.
    pub fn flag(&self, long: &str) -> Option<&'static Flag> {
        self.all_flags().find(|flag| flag.long == long)
    }

    /// The flag of this letter.
    pub fn letter(&self, short: char) -> Option<&'static Flag> {
        self.all_flags().find(|flag| flag.short == Some(short))
    }

    /// Its words, joined.
    pub fn name(&self) -> String {
        self.path.join(" ")
    }

    /// The commands one level below, in table order.
    pub fn children(&self) -> impl Iterator<Item = &'static Command> + use<> {
        let path = self.path;
        COMMANDS.iter().filter(move |other| other.path.len() == path.len() + 1 && other.path.starts_with(path))
    }

    /// The commands below, at any depth.
    pub fn descendants(&self) -> impl Iterator<Item = &'static Command> + use<> {
        let path = self.path;
        COMMANDS.iter().filter(move |other| other.path.len() > path.len() && other.path.starts_with(path))
    }
}

/// The command with this path or alias.
pub fn find<S: AsRef<str>>(path: &[S]) -> Option<&'static Command> {
    let same = |words: &[&str]| words.len() == path.len() && words.iter().zip(path).all(|(a, b)| *a == b.as_ref());
    COMMANDS.iter().find(|command| same(command.path) || command.aliases.iter().any(|alias| same(alias)))
}

/// What each command runs; `cli::dispatch` binds it in an exhaustive match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Nothing of its own: prints its help.
    Group,
    /// The gateway in the foreground.
    GatewayRun,
    /// `gateway call`
    GatewayCall,
    /// `gateway health`
    GatewayHealth,
    /// `gateway status`
    GatewayStatus,
    /// `gateway probe`
    GatewayProbe,
    /// `gateway usage-cost`
    GatewayUsageCost,
    /// `gateway discover`
    GatewayDiscover,
    /// `health`
    Health,
    /// `status`
    Status,
    /// `logs`
    Logs,
    /// `agent`
    Agent,
    /// `agents add`
    AgentsAdd,
    /// `agents delete`
    AgentsDelete,
    /// `agents set-identity`
    AgentsSetIdentity,
    /// `cron status`
    CronStatus,
    /// `cron list`
    CronList,
    /// `cron add`
    CronAdd,
    /// `cron edit`
    CronEdit,
    /// `cron enable`
    CronEnable,
    /// `cron disable`
    CronDisable,
    /// `cron rm`
    CronRemove,
    /// `cron run`
    CronRun,
    /// `cron runs`
    CronRuns,
    /// `agents list`
    AgentsList,
    /// `sessions`
    Sessions,
    /// `models list`
    ModelsList,
    /// `models scan`
    ModelsScan,
    /// `models status`
    ModelsStatus,
    /// `models set`
    ModelsSet,
    /// `approvals get`
    ApprovalsGet,
    /// `approvals allowlist add`
    AllowlistAdd,
    /// `approvals allowlist remove`
    AllowlistRemove,

    /// `devices list`
    DevicesList,
    /// `devices approve`
    DevicesApprove,
    /// `devices reject`
    DevicesReject,
    /// `devices rotate`
    DevicesRotate,
    /// `devices revoke`
    DevicesRevoke,
    /// `devices remove`
    DevicesRemove,
    /// `devices rename`
    DevicesRename,
    /// `nodes status`
    NodesStatus,
    /// `nodes list`
    NodesList,
    /// `nodes describe`
    NodesDescribe,
    /// `nodes pending`
    NodesPending,
    /// `nodes approve`
    NodesApprove,
    /// `nodes reject`
    NodesReject,
    /// `nodes rename`
    NodesRename,
    /// `channels status`
    ChannelsStatus,
    /// `system presence`
    SystemPresence,
    /// `system event`
    SystemEvent,
    /// `system heartbeat last`
    HeartbeatLast,
    /// `system heartbeat enable`
    HeartbeatEnable,
    /// `system heartbeat disable`
    HeartbeatDisable,
    /// `secrets reload`
    SecretsReload,
    /// `config file`
    ConfigFile,
    /// `config validate`
    ConfigValidate,
    /// `config get`
    ConfigGet,
    /// `protocol gen`
    ProtocolGen,
    /// `completion`
    Completion,
    /// `man`
    Man,
    /// `help`
    Help,
}
