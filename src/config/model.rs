//! The typed configuration: what the gateway reads from a validated file, with defaults applied.
//! Owns field names and default values; built from any JSON value without failing. Knows no file.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::hooks::Hooks;
use super::paths::Paths;
use super::secret::Secret;
use super::value::Node;
use crate::limits;

pub use super::sections::{
    ActiveHours, Agent, AgentDefaults, Agents, Heartbeat, Identity, MAIN_AGENT, Model, ModelChoice, ModelCost,
    Provider, ResolvedAgent, ResolvedHeartbeat, raw_agent,
};

/// The gateway port when nobody says otherwise (lifecycle.md 1).
pub const DEFAULT_PORT: u16 = 18789;

/// A name of a fixed list, as it stands in the file.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$item_doc])* $item),+ }

        impl $name {
            /// The values as written in a file, in the order of the documentation.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The value with this name.
            pub fn parse(text: &str) -> Option<$name> {
                match text.trim() {
                    $($text => Some($name::$item),)+
                    _ => None,
                }
            }

            /// The name as written in a file.
            pub const fn name(self) -> &'static str {
                match self { $($name::$item => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

choice! {
    /// `gateway.mode`: whether the gateway runs here or elsewhere.
    Mode {
        /// The gateway runs on this machine.
        Local = "local",
        /// The command line talks to `gateway.remote`.
        Remote = "remote",
    }
}
choice! {
    /// `gateway.bind`: which addresses the gateway listens on (lifecycle.md 6).
    Bind {
        /// 127.0.0.1 and, when possible, ::1.
        Loopback = "loopback",
        /// Every IPv4 interface.
        Lan = "lan",
        /// The tailnet address and 127.0.0.1.
        Tailnet = "tailnet",
        /// 127.0.0.1.
        Auto = "auto",
        /// `gateway.customBindHost` and 127.0.0.1.
        Custom = "custom",
    }
}
choice! {
    /// `gateway.auth.mode`: what a client must show.
    AuthMode {
        /// Nothing; only where nobody else can connect.
        None = "none",
        /// The shared token.
        Token = "token",
        /// The shared password.
        Password = "password",
        /// An identity header of a trusted proxy.
        TrustedProxy = "trusted-proxy",
    }
}
choice! {
    /// `gateway.tailscale.mode`.
    TailscaleMode {
        /// Not used.
        Off = "off",
        /// Published inside the tailnet.
        Serve = "serve",
        /// Published on the internet.
        Funnel = "funnel",
    }
}
choice! {
    /// `gateway.reload.mode` (lifecycle.md 13).
    ReloadMode {
        /// Changes are ignored.
        Off = "off",
        /// Only changes that need no restart are applied.
        Hot = "hot",
        /// Every change restarts.
        Restart = "restart",
        /// Hot where possible, else a restart.
        Hybrid = "hybrid",
    }
}
choice! {
    /// `logging.level` and `logging.consoleLevel`.
    Level {
        /// Nothing at all.
        Silent = "silent",
        /// Only what ends the process.
        Fatal = "fatal",
        /// An operator must act.
        Error = "error",
        /// Degraded but continuing.
        Warn = "warn",
        /// Life cycle.
        Info = "info",
        /// Every frame, without contents.
        Debug = "debug",
        /// Contents, redacted.
        Trace = "trace",
    }
}
choice! {
    /// `logging.consoleStyle`.
    ConsoleStyle {
        /// Short and coloured, for a terminal.
        Pretty = "pretty",
        /// One plain line, for a journal.
        Compact = "compact",
        /// One JSON object per line.
        Json = "json",
    }
}
choice! {
    /// `logging.redactSensitive`.
    RedactMode {
        /// Only what is always redacted.
        Off = "off",
        /// Tool summaries too.
        Tools = "tools",
    }
}
choice! {
    /// `discovery.mdns.mode`.
    MdnsMode {
        /// Not announced.
        Off = "off",
        /// Announced without details.
        Minimal = "minimal",
        /// Announced with everything.
        Full = "full",
    }
}
choice! {
    /// `session.scope`.
    SessionScope {
        /// One session per sender.
        PerSender = "per-sender",
        /// One session for everybody.
        Global = "global",
    }
}

/// The whole configuration as the program reads it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `gateway.*`.
    pub gateway: Gateway,
    /// `canvasHost.*`.
    pub canvas_host: CanvasHost,
    /// `logging.*`.
    pub logging: Logging,
    /// `commands.*`.
    pub commands: Commands,
    /// `hooks.*`.
    pub hooks: Hooks,
    /// `discovery.*`.
    pub discovery: Discovery,
    /// `session.*`.
    pub session: Session,
    /// `agents.*`.
    pub agents: Agents,
    /// `models.providers.*`, sorted by id.
    pub providers: Vec<Provider>,
    /// The resolved value as a whole, for sections read by others.
    pub raw: Value,
}

/// `gateway.*`.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// `port`, when set and possible.
    pub port: Option<u16>,
    /// `mode`; unset is not the same as local (lifecycle.md 8).
    pub mode: Option<Mode>,
    /// `bind`; unset means loopback.
    pub bind: Option<Bind>,
    /// `customBindHost`.
    pub custom_bind_host: Option<String>,
    /// `auth.*`.
    pub auth: Auth,
    /// `controlUi.*`.
    pub control_ui: ControlUi,
    /// `trustedProxies`: addresses whose forwarding headers count.
    pub trusted_proxies: Vec<String>,
    /// `allowRealIpFallback`.
    pub allow_real_ip_fallback: bool,
    /// `tailscale.*`.
    pub tailscale: Tailscale,
    /// `remote.*`.
    pub remote: Remote,
    /// `reload.*`.
    pub reload: Reload,
    /// `tls.enabled`, read only by clients (cli.md 2.1).
    pub tls_enabled: bool,
    /// `maxConnections`, within `1..=CONNECTIONS_MAX`.
    pub max_connections: usize,
    /// `http.*`.
    pub http: Http,
    /// `metrics.enabled`.
    pub metrics: bool,
    /// `nodes.*`.
    pub nodes: Nodes,
    /// Whether the misplaced `gateway.token` is set, for a hint (lifecycle.md 8).
    pub has_legacy_token: bool,
}

/// `gateway.auth.*`.
#[derive(Clone, Debug)]
pub struct Auth {
    /// `mode`.
    pub mode: Option<AuthMode>,
    /// `token`.
    pub token: Option<Secret>,
    /// `password`.
    pub password: Option<Secret>,
    /// `allowTailscale`; unset depends on the tailscale mode.
    pub allow_tailscale: Option<bool>,
    /// `rateLimit.*`.
    pub rate_limit: RateLimit,
}

/// `gateway.auth.rateLimit.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// `maxAttempts`.
    pub max_attempts: u32,
    /// `windowMs`.
    pub window: Duration,
    /// `lockoutMs`.
    pub lockout: Duration,
    /// `exemptLoopback`.
    pub exempt_loopback: bool,
}

/// `gateway.controlUi.*`.
#[derive(Clone, Debug)]
pub struct ControlUi {
    /// `enabled`.
    pub enabled: bool,
    /// `basePath` with a leading and without a trailing slash; empty for the root.
    pub base_path: String,
    /// `root`: a folder of other assets.
    pub root: Option<String>,
    /// `allowedOrigins`; absent is not the same as empty.
    pub allowed_origins: Option<Vec<String>>,
    /// `allowInsecureAuth`.
    pub allow_insecure_auth: bool,
    /// `dangerouslyDisableDeviceAuth`.
    pub dangerously_disable_device_auth: bool,
}

/// `gateway.tailscale.*`.
#[derive(Clone, Debug)]
pub struct Tailscale {
    /// `mode`.
    pub mode: TailscaleMode,
    /// `resetOnExit`.
    pub reset_on_exit: bool,
}

/// `gateway.remote.*`, for clients only.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// `url`.
    pub url: Option<String>,
    /// `token`.
    pub token: Option<Secret>,
    /// `password`.
    pub password: Option<Secret>,
    /// `tlsFingerprint`.
    pub tls_fingerprint: Option<String>,
    /// `sshTarget`.
    pub ssh_target: Option<String>,
    /// `sshIdentity`.
    pub ssh_identity: Option<String>,
}

/// `gateway.reload.*`.
#[derive(Clone, Debug)]
pub struct Reload {
    /// `mode`.
    pub mode: ReloadMode,
    /// `debounceMs`.
    pub debounce: Duration,
}

/// `gateway.http.*`.
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// `endpoints.chatCompletions.enabled`.
    pub chat_completions: bool,
    /// `endpoints.responses.enabled`.
    pub responses: bool,
    /// `endpoints.acceptForeignModels`: whether a provider's model id means the default agent.
    pub accept_foreign_models: bool,
    /// `endpoints.responses.maxBodyBytes`.
    pub responses_max_body_bytes: Option<u64>,
    /// `plugins.entries["admin-http-rpc"].enabled`.
    pub admin_rpc: bool,
    /// `securityHeaders.strictTransportSecurity`.
    pub strict_transport_security: Option<String>,
}

/// `gateway.nodes.*`.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    /// `allowCommands`, or `commands.allow` as protocol 4 spells it.
    pub allow_commands: Vec<String>,
    /// `denyCommands`, or `commands.deny`.
    pub deny_commands: Vec<String>,
}

/// `canvasHost.*`.
#[derive(Clone, Debug)]
pub struct CanvasHost {
    /// `enabled`.
    pub enabled: bool,
    /// `root`.
    pub root: Option<String>,
    /// `port`; unset means gateway port + 4.
    pub port: Option<u16>,
    /// `liveReload`.
    pub live_reload: bool,
}

/// `logging.*`.
#[derive(Clone, Debug)]
pub struct Logging {
    /// `level` of the file.
    pub level: Level,
    /// `file`.
    pub file: Option<String>,
    /// `consoleLevel`.
    pub console_level: Level,
    /// `consoleStyle`; unset depends on the terminal.
    pub console_style: Option<ConsoleStyle>,
    /// `redactSensitive`.
    pub redact_sensitive: RedactMode,
    /// `maxFileBytes`.
    pub max_file_bytes: u64,
}

/// `commands.*`.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    /// `restart`: whether a manual SIGUSR1 restarts (decisions.md 12).
    pub restart: bool,
}

/// `discovery.*`.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// `mdns.mode`.
    pub mdns_mode: MdnsMode,
}

/// `session.*`.
#[derive(Clone, Debug)]
pub struct Session {
    /// `scope`.
    pub scope: SessionScope,
    /// `mainKey`.
    pub main_key: String,
    /// `store`.
    pub store: Option<String>,
}

impl Config {
    /// Reads what is known out of a value; anything absent or wrong gets its default.
    pub fn from_value(raw: Value) -> Config {
        let root = Node::root(&raw);
        Config {
            gateway: Gateway::read(root),
            canvas_host: CanvasHost::read(root.at("canvasHost")),
            logging: Logging::read(root.at("logging")),
            hooks: Hooks::read(root.at("hooks")),
            commands: Commands { restart: root.at("commands").at("restart").flag().unwrap_or(false) },
            discovery: Discovery::read(root.at("discovery")),
            session: Session::read(root.at("session")),
            agents: Agents::read(root.at("agents")),
            providers: Provider::read_all(root.at("models").at("providers")),
            raw,
        }
    }

    /// This configuration with what turns read from another: agents, models, tools. What a process is started with stays.
    pub fn with_turns_of(&self, other: &Config) -> Config {
        let mut raw = other.raw.clone();
        if let Some(members) = raw.as_object_mut() {
            for name in ["gateway", "session", "logging", "canvasHost", "discovery", "commands"] {
                members.remove(name);
                members.extend(self.raw.get(name).map(|value| (name.to_string(), value.clone())));
            }
        }
        Config {
            agents: other.agents.clone(),
            providers: other.providers.clone(),
            hooks: other.hooks.clone(),
            raw,
            ..self.clone()
        }
    }

    /// An agent's session index (agent.md 9); `session.store` names another place.
    pub fn session_store(&self, paths: &Paths, agent: &str) -> PathBuf {
        match &self.session.store {
            Some(path) => paths.expand(&path.replace("{agentId}", agent), &paths.home),
            None => paths.agents_dir.join(agent).join("sessions").join("sessions.json"),
        }
    }

    /// The folder an agent's tools work in (agent.md 13): its own, the shared one for the default agent, else one beside
    /// that with the agent's name.
    pub fn workspace(&self, paths: &Paths, agent: &str) -> PathBuf {
        let own = self.agents.list.iter().find(|known| known.id == agent).and_then(|known| known.workspace.clone());
        let shared = || self.agents.defaults.workspace.clone();
        let is_default = agent == self.default_agent_id();
        match own.or_else(|| shared().filter(|_| is_default)) {
            Some(path) => paths.expand(&path, &paths.home),
            None if is_default => paths.workspace.clone(),
            None => paths.state_dir.join(format!("workspace-{agent}")),
        }
    }

    /// The id of the default agent.
    pub fn default_agent_id(&self) -> &str {
        self.agents.default_id()
    }
}

impl Default for Gateway {
    fn default() -> Gateway {
        Gateway::read(Node::root(&Value::Null))
    }
}

impl Gateway {
    fn read(root: Node<'_>) -> Gateway {
        let at = root.at("gateway");
        let connections = at.at("maxConnections").integer().and_then(|count| usize::try_from(count).ok());
        Gateway {
            port: port(at.at("port")),
            mode: at.at("mode").text().and_then(|text| Mode::parse(&text)),
            bind: at.at("bind").text().and_then(|text| Bind::parse(&text)),
            custom_bind_host: at.at("customBindHost").text(),
            auth: Auth::read(at.at("auth")),
            control_ui: ControlUi::read(at.at("controlUi")),
            trusted_proxies: at.at("trustedProxies").texts(),
            allow_real_ip_fallback: at.at("allowRealIpFallback").flag().unwrap_or(false),
            tailscale: Tailscale::read(at.at("tailscale")),
            remote: Remote::read(at.at("remote")),
            reload: Reload::read(at.at("reload")),
            tls_enabled: at.at("tls").at("enabled").flag().unwrap_or(false),
            max_connections: connections.unwrap_or(limits::CONNECTIONS).clamp(1, limits::CONNECTIONS_MAX),
            http: Http::read(root),
            metrics: at.at("metrics").at("enabled").flag().unwrap_or(false),
            nodes: Nodes {
                allow_commands: at.at("nodes").either(&["allowCommands", "commands.allow"]).texts(),
                deny_commands: at.at("nodes").either(&["denyCommands", "commands.deny"]).texts(),
            },
            has_legacy_token: at.at("token").secret().is_some(),
        }
    }
}

impl Auth {
    fn read(at: Node<'_>) -> Auth {
        Auth {
            mode: at.at("mode").text().and_then(|text| AuthMode::parse(&text)),
            token: at.at("token").secret(),
            password: at.at("password").secret(),
            allow_tailscale: at.at("allowTailscale").flag(),
            rate_limit: RateLimit::read(at.at("rateLimit")),
        }
    }
}

impl RateLimit {
    fn read(at: Node<'_>) -> RateLimit {
        let attempts = at.at("maxAttempts").integer().and_then(|count| u32::try_from(count).ok());
        RateLimit {
            max_attempts: attempts.filter(|count| *count > 0).unwrap_or(limits::LOGIN_ATTEMPTS),
            window: at.at("windowMs").millis().unwrap_or(limits::LOGIN_WINDOW),
            lockout: at.at("lockoutMs").millis().unwrap_or(limits::LOGIN_LOCKOUT),
            exempt_loopback: at.at("exemptLoopback").flag().unwrap_or(true),
        }
    }
}

impl ControlUi {
    fn read(at: Node<'_>) -> ControlUi {
        let origins = at.at("allowedOrigins");
        ControlUi {
            enabled: at.at("enabled").flag().unwrap_or(true),
            base_path: base_path(&at.at("basePath").text().unwrap_or_default()),
            root: at.at("root").text(),
            allowed_origins: origins.is_present().then(|| origins.texts()),
            allow_insecure_auth: at.at("allowInsecureAuth").flag().unwrap_or(false),
            dangerously_disable_device_auth: at.at("dangerouslyDisableDeviceAuth").flag().unwrap_or(false),
        }
    }
}

impl Tailscale {
    fn read(at: Node<'_>) -> Tailscale {
        Tailscale {
            mode: at.at("mode").text().and_then(|text| TailscaleMode::parse(&text)).unwrap_or(TailscaleMode::Off),
            reset_on_exit: at.at("resetOnExit").flag().unwrap_or(false),
        }
    }
}

impl Remote {
    fn read(at: Node<'_>) -> Remote {
        Remote {
            url: at.at("url").text(),
            token: at.at("token").secret(),
            password: at.at("password").secret(),
            tls_fingerprint: at.at("tlsFingerprint").text(),
            ssh_target: at.at("sshTarget").text(),
            ssh_identity: at.at("sshIdentity").text(),
        }
    }
}

impl Reload {
    fn read(at: Node<'_>) -> Reload {
        Reload {
            mode: at.at("mode").text().and_then(|text| ReloadMode::parse(&text)).unwrap_or(ReloadMode::Hybrid),
            debounce: at.at("debounceMs").millis().unwrap_or(limits::RELOAD_DEBOUNCE),
        }
    }
}

impl Http {
    fn read(root: Node<'_>) -> Http {
        let at = root.at("gateway").at("http");
        let endpoints = at.at("endpoints");
        let enabled = |name| endpoints.at(name).at("enabled").flag().unwrap_or(false);
        Http {
            chat_completions: enabled("chatCompletions"),
            responses: enabled("responses"),
            accept_foreign_models: endpoints.at("acceptForeignModels").flag().unwrap_or(false),
            responses_max_body_bytes: endpoints.at("responses").at("maxBodyBytes").integer(),
            admin_rpc: root.either(&["plugins.entries.admin-http-rpc.enabled"]).flag().unwrap_or(false),
            strict_transport_security: at.at("securityHeaders").at("strictTransportSecurity").text(),
        }
    }
}

impl Default for CanvasHost {
    fn default() -> CanvasHost {
        CanvasHost::read(Node::root(&Value::Null))
    }
}

impl CanvasHost {
    fn read(at: Node<'_>) -> CanvasHost {
        CanvasHost {
            enabled: at.at("enabled").flag().unwrap_or(true),
            root: at.at("root").text(),
            port: port(at.at("port")),
            live_reload: at.at("liveReload").flag().unwrap_or(true),
        }
    }
}

impl Default for Logging {
    fn default() -> Logging {
        Logging::read(Node::root(&Value::Null))
    }
}

impl Logging {
    fn read(at: Node<'_>) -> Logging {
        let level = |name| at.at(name).text().and_then(|text| Level::parse(&text)).unwrap_or(Level::Info);
        let redact = at.at("redactSensitive").text().and_then(|text| RedactMode::parse(&text));
        Logging {
            level: level("level"),
            file: at.at("file").text(),
            console_level: level("consoleLevel"),
            console_style: at.at("consoleStyle").text().and_then(|text| ConsoleStyle::parse(&text)),
            redact_sensitive: redact.unwrap_or(RedactMode::Tools),
            max_file_bytes: at
                .at("maxFileBytes")
                .integer()
                .filter(|bytes| *bytes > 0)
                .unwrap_or(limits::LOG_FILE_BYTES),
        }
    }
}

impl Default for Discovery {
    fn default() -> Discovery {
        Discovery::read(Node::root(&Value::Null))
    }
}

impl Discovery {
    fn read(at: Node<'_>) -> Discovery {
        let mode = at.at("mdns").at("mode").text().and_then(|text| MdnsMode::parse(&text));
        Discovery { mdns_mode: mode.unwrap_or(MdnsMode::Minimal) }
    }
}

impl Default for Session {
    fn default() -> Session {
        Session::read(Node::root(&Value::Null))
    }
}

impl Session {
    fn read(at: Node<'_>) -> Session {
        let scope = at.at("scope").text().and_then(|text| SessionScope::parse(&text));
        Session {
            scope: scope.unwrap_or(SessionScope::PerSender),
            main_key: at.at("mainKey").text().map_or_else(|| "main".to_string(), |key| key.to_lowercase()),
            store: at.at("store").text(),
        }
    }
}

fn port(at: Node<'_>) -> Option<u16> {
    at.integer().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

/// A base path with a leading and without a trailing slash.
fn base_path(text: &str) -> String {
    match text.trim_matches('/') {
        "" => String::new(),
        inner => format!("/{inner}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = Config::from_value(json!({}));
        assert_eq!((config.gateway.port, config.gateway.mode, config.gateway.bind), (None, None, None));
        assert_eq!(config.gateway.max_connections, limits::CONNECTIONS);
        assert_eq!(config.gateway.reload.mode, ReloadMode::Hybrid);
        assert_eq!(config.gateway.reload.debounce, Duration::from_millis(300));
        assert_eq!(config.gateway.auth.rate_limit.lockout, Duration::from_secs(300));
        assert!(config.gateway.auth.rate_limit.exempt_loopback && config.gateway.control_ui.enabled);
        assert_eq!(config.gateway.control_ui.allowed_origins, None);
        assert!(config.canvas_host.enabled && !config.commands.restart);
        assert_eq!((config.logging.level, config.logging.console_style), (Level::Info, None));
        assert_eq!(config.session.main_key, "main");
        assert_eq!(config.discovery.mdns_mode, MdnsMode::Minimal);
        assert_eq!(config.default_agent_id(), "main");
    }

    #[test]
    fn both_spellings_of_node_commands_are_read() {
        let old = Config::from_value(json!({"gateway": {"nodes": {"allowCommands": ["a"], "denyCommands": ["b"]}}}));
        let new = Config::from_value(json!({"gateway": {"nodes": {"commands": {"allow": ["a"], "deny": ["b"]}}}}));
        for config in [old, new] {
            assert_eq!(config.gateway.nodes.allow_commands, ["a"]);
            assert_eq!(config.gateway.nodes.deny_commands, ["b"]);
        }
    }

    #[test]
    fn connections_stay_within_their_bounds() {
        let count = |n: u64| Config::from_value(json!({"gateway": {"maxConnections": n}})).gateway.max_connections;
        assert_eq!((count(0), count(1000), count(1 << 40)), (1, 1000, limits::CONNECTIONS_MAX));
    }

    #[test]
    fn base_paths_are_normalised() {
        assert_eq!(
            (base_path("ui/"), base_path("/a/b/"), base_path("/")),
            ("/ui".into(), "/a/b".into(), String::new())
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug_output_of_the_typed_part() {
        let config = Config::from_value(json!({"gateway": {"auth": {"token": "canary-1"}}}));
        assert!(!format!("{:?}", config.gateway).contains("canary"));
        assert_eq!(config.gateway.auth.token.map(|token| token.expose().to_string()).as_deref(), Some("canary-1"));
    }
}
