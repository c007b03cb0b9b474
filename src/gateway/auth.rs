//! The shared secret: comparing it in constant time, the refusals' texts and codes (`spec/protocol.md` section 4),
//! and the limit of failed logins (`spec/http.md` 5.5). Pure; holds digests, never the secrets themselves.

use std::fmt;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::id::constant_time_eq;

pub use super::logins::{LoginLimits, Logins};

/// `gateway.auth.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One shared token.
    Token,
    /// One shared password.
    Password,
    /// No secret: only for private ingress.
    None,
    /// A reverse proxy in front names the user.
    TrustedProxy,
}

impl Mode {
    /// Its name in the configuration and in `hello-ok.snapshot.authMode`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Token => "token",
            Mode::Password => "password",
            Mode::None => "none",
            Mode::TrustedProxy => "trusted-proxy",
        }
    }
}

/// The gateway's configured secrets, as digests.
#[derive(Clone)]
pub struct Secrets {
    mode: Mode,
    token: Option<Digest32>,
    password: Option<Digest32>,
}

type Digest32 = [u8; 32];

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (token, password) = (self.token.is_some(), self.password.is_some());
        write!(f, "Secrets {{ mode: {:?}, token: {token}, password: {password} }}", self.mode)
    }
}

impl Secrets {
    /// Takes the effective mode and secrets; blank ones count as not configured.
    pub fn new(mode: Mode, token: Option<&str>, password: Option<&str>) -> Secrets {
        let keep = |secret: Option<&str>| secret.map(str::trim).filter(|text| !text.is_empty()).map(digest);
        Secrets { mode, token: keep(token), password: keep(password) }
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether two sets accept the same secrets (a reload that changes nothing closes nobody).
    pub fn same_as(&self, other: &Secrets) -> bool {
        self.mode == other.mode && self.token == other.token && self.password == other.password
    }
}

/// What a peer presented. Protocol 4 takes the secret in either field; so do we on both.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// `auth.token`, or the HTTP bearer.
    pub token: Option<&'a str>,
    /// `auth.password`.
    pub password: Option<&'a str>,
    /// `auth.deviceToken`.
    pub device_token: Option<&'a str>,
    /// The user a trusted proxy vouches for.
    pub proxy_user: Option<&'a str>,
}

impl<'a> Presented<'a> {
    /// A bearer credential of an HTTP request.
    pub fn bearer(secret: Option<&'a str>) -> Presented<'a> {
        Presented { token: secret, ..Presented::default() }
    }

    /// The tokens that may be a device token, in the order in which they are tried.
    pub fn device_tokens(&self) -> impl Iterator<Item = &'a str> {
        [self.device_token, self.token].into_iter().flatten().filter(|token| !token.is_empty())
    }
}

/// How a connection authenticated; `hello-ok.auth.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The shared token.
    Token,
    /// The shared password.
    Password,
    /// A paired device's own token.
    DeviceToken,
    /// Mode `none`.
    None,
    /// A reverse proxy vouched for the user.
    TrustedProxy,
}

impl Method {
    /// Its wire name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Token => "token",
            Method::Password => "password",
            Method::DeviceToken => "device-token",
            Method::None => "none",
            Method::TrustedProxy => "trusted-proxy",
        }
    }
}

/// Why authentication failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Token mode, nothing presented.
    TokenMissing,
    /// Token mode, wrong secret.
    TokenMismatch,
    /// Token mode without a token.
    TokenNotConfigured,
    /// Password mode, nothing presented.
    PasswordMissing,
    /// Password mode, wrong secret.
    PasswordMismatch,
    /// Password mode without a password.
    PasswordNotConfigured,
    /// Trusted-proxy mode, and no trusted proxy named a user.
    ProxyUserMissing,
    /// Only a device token was presented, and it is not valid.
    DeviceTokenMismatch,
    /// Too many failures; try again after this many milliseconds.
    RateLimited(u64),
    /// Anything else.
    Other,
}

/// Who failed, as far as the hint needs it.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Negotiated protocol.
    pub protocol: u8,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// Whether the client is local.
    pub local: bool,
    /// Whether it sent a device proof that held.
    pub has_device: bool,
}

/// Compares the shared secret. Every presented field is compared whole, also after a match.
pub fn check_shared(secrets: &Secrets, presented: &Presented<'_>) -> Result<Method, Reason> {
    let (expected, method, missing, mismatch, unset) = match secrets.mode {
        Mode::None => return Ok(Method::None),
        Mode::TrustedProxy if presented.proxy_user.is_some() => return Ok(Method::TrustedProxy),
        // A direct caller on this machine may use the password, where one is set (http.md 5.1).
        Mode::TrustedProxy => {
            let (missing, unset) = (Reason::ProxyUserMissing, Reason::ProxyUserMissing);
            (secrets.password, Method::Password, missing, Reason::PasswordMismatch, unset)
        }
        Mode::Token => {
            (secrets.token, Method::Token, Reason::TokenMissing, Reason::TokenMismatch, Reason::TokenNotConfigured)
        }
        Mode::Password => (
            secrets.password,
            Method::Password,
            Reason::PasswordMissing,
            Reason::PasswordMismatch,
            Reason::PasswordNotConfigured,
        ),
    };
    let Some(expected) = expected else { return Err(unset) };
    let given = [presented.token, presented.password].into_iter().flatten().filter(|text| !text.trim().is_empty());
    let (mut any, mut right) = (false, false);
    for secret in given {
        any = true;
        right |= matches_digest(&expected, secret.trim());
    }
    match (any, right, presented.device_token) {
        (_, true, _) => Ok(method),
        (true, false, _) => Err(mismatch),
        (false, false, Some(_)) => Err(Reason::DeviceTokenMismatch),
        (false, false, None) => Err(missing),
    }
}

/// Compares two secrets of any kind without an early exit.
pub fn same_secret(expected: &str, presented: &str) -> bool {
    let short = presented.len() <= limits::SECRET_BYTES;
    !expected.is_empty() && short && constant_time_eq(expected.as_bytes(), presented.as_bytes())
}

fn digest(text: &str) -> Digest32 {
    Sha256::digest(text).into()
}

/// Digests are compared, so neither length nor place of a difference shows in the time taken.
fn matches_digest(expected: &Digest32, presented: &str) -> bool {
    if presented.len() > limits::SECRET_BYTES {
        return false;
    }
    let difference = expected.iter().zip(digest(presented)).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

impl Reason {
    /// The reason's wire name and `details.code`.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Reason::TokenMissing => ("token_missing", "AUTH_TOKEN_MISSING"),
            Reason::TokenMismatch => ("token_mismatch", "AUTH_TOKEN_MISMATCH"),
            Reason::TokenNotConfigured => ("token_missing_config", "AUTH_TOKEN_NOT_CONFIGURED"),
            Reason::PasswordMissing => ("password_missing", "AUTH_PASSWORD_MISSING"),
            Reason::PasswordMismatch => ("password_mismatch", "AUTH_PASSWORD_MISMATCH"),
            Reason::PasswordNotConfigured => ("password_missing_config", "AUTH_PASSWORD_NOT_CONFIGURED"),
            Reason::DeviceTokenMismatch => ("device_token_mismatch", "AUTH_DEVICE_TOKEN_MISMATCH"),
            Reason::ProxyUserMissing => ("trusted_proxy_user_missing", "AUTH_UNAUTHORIZED"),
            Reason::RateLimited(_) => ("rate_limited", "AUTH_RATE_LIMITED"),
            Reason::Other => ("unauthorized", "AUTH_UNAUTHORIZED"),
        }
    }

    /// The message; it is also the close reason.
    pub fn message(self, caller: &Caller<'_>) -> String {
        let token = token_hint(caller);
        let password = password_hint(caller);
        match self {
            Reason::TokenMissing => format!("unauthorized: gateway token missing ({token})"),
            Reason::TokenMismatch => format!("unauthorized: gateway token mismatch ({token})"),
            Reason::TokenNotConfigured => {
                "unauthorized: gateway token not configured on gateway (set gateway.auth.token)".into()
            }
            Reason::PasswordMissing => format!("unauthorized: gateway password missing ({password})"),
            Reason::PasswordMismatch => format!("unauthorized: gateway password mismatch ({password})"),
            Reason::PasswordNotConfigured => {
                "unauthorized: gateway password not configured on gateway (set gateway.auth.password)".into()
            }
            Reason::ProxyUserMissing => {
                "unauthorized: no trusted proxy identified a user (connect through the proxy; see gateway.trustedProxies and gateway.auth.trustedProxy.userHeader)".into()
            }
            Reason::DeviceTokenMismatch => {
                "unauthorized: device token not valid (pair the device again or present the gateway secret)".into()
            }
            Reason::RateLimited(_) => "unauthorized: this address failed too often (wait and try again)".into(),
            Reason::Other => "unauthorized".into(),
        }
    }

    /// The refusal as the peer sees it; protocol 4's details go to everyone (decisions.md 9).
    pub fn wire(self, caller: &Caller<'_>) -> WireError {
        let (reason, code) = self.names();
        let with_device_token = self == Reason::TokenMismatch && caller.has_device;
        let mut error = WireError::invalid(self.message(caller)).with_details(json!({
            "code": code,
            "authReason": reason,
            "canRetryWithDeviceToken": with_device_token,
            "recommendedNextStep": if with_device_token { "retry_with_device_token" } else { self.next_step() },
        }));
        if let Reason::RateLimited(after_ms) = self {
            error.retry_after_ms = Some(after_ms);
        }
        error
    }

    fn next_step(self) -> &'static str {
        match self {
            Reason::TokenMismatch | Reason::PasswordMismatch | Reason::DeviceTokenMismatch => "update_auth_credentials",
            Reason::RateLimited(_) => "wait_then_retry",
            Reason::Other => "review_auth_configuration",
            _ => "update_auth_configuration",
        }
    }

    /// Whether the failure counts against the address: only a wrong secret is a guess.
    pub fn is_guess(self) -> bool {
        matches!(self, Reason::TokenMismatch | Reason::PasswordMismatch | Reason::DeviceTokenMismatch)
    }
}

fn is_page(caller: &Caller<'_>) -> bool {
    super::origin::is_browser_client(caller.client_id, caller.client_mode)
}

fn token_hint(caller: &Caller<'_>) -> &'static str {
    match caller.client_mode {
        "cli" if caller.local && caller.protocol >= 4 => "use this gateway's gateway.auth.token or pair the device",
        "cli" => "set gateway.remote.token to match gateway.auth.token",
        _ if is_page(caller) => "open the dashboard URL and paste the token in Control UI settings",
        _ => "provide gateway auth token",
    }
}

fn password_hint(caller: &Caller<'_>) -> &'static str {
    match caller.client_mode {
        "cli" if caller.local && caller.protocol >= 4 => "use this gateway's gateway.auth.password or pair the device",
        "cli" => "set gateway.remote.password to match gateway.auth.password",
        _ if is_page(caller) => "enter the password in Control UI settings",
        _ => "provide gateway auth password",
    }
}

/// One login with the limit applied: a locked address is refused before the secret is looked at, a wrong secret
/// counts, a right one clears the count. `fallback` is asked when the shared secret failed (device tokens).
pub fn login(
    secrets: &Secrets,
    presented: &Presented<'_>,
    logins: &mut Logins,
    from: (IpAddr, u64),
    fallback: impl FnOnce() -> bool,
) -> Result<Method, Reason> {
    let (address, now_ms) = from;
    if let Some(after_ms) = logins.locked(address, now_ms) {
        return Err(Reason::RateLimited(after_ms));
    }
    let reason = match check_shared(secrets, presented) {
        Ok(method) => {
            logins.succeeded(address);
            return Ok(method);
        }
        Err(reason) => reason,
    };
    if presented.device_tokens().next().is_some() && fallback() {
        logins.succeeded(address);
        return Ok(Method::DeviceToken);
    }
    if reason.is_guess() {
        logins.failed(address, now_ms);
    }
    Err(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLI: Caller<'_> =
        Caller { protocol: 3, client_id: "cli", client_mode: "cli", local: true, has_device: false };
    const UI: Caller<'_> = Caller { client_id: "gateway-client", client_mode: "ui", ..CLI };

    fn token(text: &str) -> Presented<'_> {
        Presented { token: Some(text), ..Presented::default() }
    }

    fn password(text: &str) -> Presented<'_> {
        Presented { password: Some(text), ..Presented::default() }
    }

    #[test]
    fn the_secret_counts_in_either_field() {
        let by_token = Secrets::new(Mode::Token, Some("t0p"), Some("pass"));
        let by_password = Secrets::new(Mode::Password, Some("t0p"), Some("pass"));
        let none = Presented::default();
        for (secrets, presented, expected) in [
            (&by_token, token("t0p"), Ok(Method::Token)),
            (&by_token, password("t0p"), Ok(Method::Token)),
            (&by_token, token(" t0p\n"), Ok(Method::Token)),
            (&by_token, token("t0"), Err(Reason::TokenMismatch)),
            (&by_token, token("t0p0"), Err(Reason::TokenMismatch)),
            (&by_token, password("pass"), Err(Reason::TokenMismatch)),
            (&by_token, Presented { token: Some("bad"), ..password("t0p") }, Ok(Method::Token)),
            (&by_token, none, Err(Reason::TokenMissing)),
            (&by_token, token("  "), Err(Reason::TokenMissing)),
            (&by_token, Presented { device_token: Some("d"), ..none }, Err(Reason::DeviceTokenMismatch)),
            (&by_password, password("pass"), Ok(Method::Password)),
            (&by_password, token("pass"), Ok(Method::Password)),
            (&by_password, token("t0p"), Err(Reason::PasswordMismatch)),
            (&by_password, none, Err(Reason::PasswordMissing)),
        ] {
            assert_eq!(check_shared(secrets, &presented), expected);
        }
    }

    #[test]
    fn a_mode_without_its_secret_lets_nobody_in_and_mode_none_everybody() {
        let blank = Secrets::new(Mode::Token, Some("  "), None);
        assert_eq!(check_shared(&blank, &token("")), Err(Reason::TokenNotConfigured));
        assert_eq!(check_shared(&blank, &token("  ")), Err(Reason::TokenNotConfigured));
        let unset = Secrets::new(Mode::Password, Some("t"), None);
        assert_eq!(check_shared(&unset, &token("t")), Err(Reason::PasswordNotConfigured));
        assert_eq!(check_shared(&Secrets::new(Mode::None, None, None), &Presented::default()), Ok(Method::None));
    }

    #[test]
    fn oversized_secrets_are_wrong_not_expensive() {
        let long = "x".repeat(limits::SECRET_BYTES + 1);
        let secrets = Secrets::new(Mode::Token, Some("t"), None);
        assert_eq!(check_shared(&secrets, &token(&long)), Err(Reason::TokenMismatch));
        assert!(!same_secret("", ""));
        assert!(same_secret("a", "a") && !same_secret("a", "b") && !same_secret("a", ""));
    }

    #[test]
    fn messages_carry_the_hint_of_the_client() {
        let page = Caller { client_id: "openclaw-control-ui", client_mode: "ui", ..CLI };
        let chat = Caller { client_id: "x", client_mode: "webchat", ..CLI };
        let v4 = Caller { protocol: 4, ..CLI };
        for (reason, caller, expected) in [
            (
                Reason::TokenMissing,
                CLI,
                "unauthorized: gateway token missing (set gateway.remote.token to match gateway.auth.token)",
            ),
            (Reason::TokenMismatch, UI, "unauthorized: gateway token mismatch (provide gateway auth token)"),
            (
                Reason::TokenMismatch,
                page,
                "unauthorized: gateway token mismatch (open the dashboard URL and paste the token in Control UI settings)",
            ),
            (
                Reason::TokenMismatch,
                chat,
                "unauthorized: gateway token mismatch (open the dashboard URL and paste the token in Control UI settings)",
            ),
            (
                Reason::TokenMismatch,
                v4,
                "unauthorized: gateway token mismatch (use this gateway's gateway.auth.token or pair the device)",
            ),
            (
                Reason::TokenMismatch,
                Caller { local: false, ..v4 },
                "unauthorized: gateway token mismatch (set gateway.remote.token to match gateway.auth.token)",
            ),
            (
                Reason::TokenMismatch,
                Caller { protocol: 4, ..UI },
                "unauthorized: gateway token mismatch (provide gateway auth token)",
            ),
            (
                Reason::PasswordMissing,
                CLI,
                "unauthorized: gateway password missing (set gateway.remote.password to match gateway.auth.password)",
            ),
            (
                Reason::PasswordMismatch,
                page,
                "unauthorized: gateway password mismatch (enter the password in Control UI settings)",
            ),
            (Reason::PasswordMismatch, UI, "unauthorized: gateway password mismatch (provide gateway auth password)"),
            (
                Reason::TokenNotConfigured,
                CLI,
                "unauthorized: gateway token not configured on gateway (set gateway.auth.token)",
            ),
            (
                Reason::PasswordNotConfigured,
                CLI,
                "unauthorized: gateway password not configured on gateway (set gateway.auth.password)",
            ),
            (Reason::Other, CLI, "unauthorized"),
        ] {
            assert_eq!(reason.message(&caller), expected);
        }
    }

    #[test]
    fn details_lead_the_client_on() {
        let device = Caller { has_device: true, ..UI };
        for (reason, caller, code, retry, step) in [
            (Reason::TokenMismatch, UI, "AUTH_TOKEN_MISMATCH", false, "update_auth_credentials"),
            (Reason::TokenMismatch, device, "AUTH_TOKEN_MISMATCH", true, "retry_with_device_token"),
            (Reason::TokenMissing, device, "AUTH_TOKEN_MISSING", false, "update_auth_configuration"),
            (Reason::PasswordMismatch, device, "AUTH_PASSWORD_MISMATCH", false, "update_auth_credentials"),
            (Reason::RateLimited(9), UI, "AUTH_RATE_LIMITED", false, "wait_then_retry"),
            (Reason::Other, UI, "AUTH_UNAUTHORIZED", false, "review_auth_configuration"),
        ] {
            let details = reason.wire(&caller).details.unwrap();
            assert_eq!(details["code"], code);
            assert_eq!(details["canRetryWithDeviceToken"], retry, "{code}");
            assert_eq!(details["recommendedNextStep"], step, "{code}");
        }
        let wire = Reason::RateLimited(1500).wire(&UI).to_value();
        assert_eq!((&wire["retryable"], &wire["retryAfterMs"]), (&json!(true), &json!(1500)));
        assert_eq!(Reason::TokenMismatch.wire(&UI).details.unwrap()["authReason"], "token_mismatch");
    }

    #[test]
    fn a_login_counts_guesses_and_asks_the_device_token_last() {
        let secrets = Secrets::new(Mode::Token, Some("good"), None);
        let mut logins = Logins::new(LoginLimits { attempts: 2, ..LoginLimits::default() });
        let from: (IpAddr, u64) = ("10.0.0.1".parse().unwrap(), 1000);
        assert_eq!(
            login(&secrets, &Presented::default(), &mut logins, from, || unreachable!()),
            Err(Reason::TokenMissing)
        );
        assert_eq!(login(&secrets, &token("dev"), &mut logins, from, || true), Ok(Method::DeviceToken));
        assert_eq!(login(&secrets, &token("bad"), &mut logins, from, || false), Err(Reason::TokenMismatch));
        assert_eq!(login(&secrets, &token("good"), &mut logins, from, || unreachable!()), Ok(Method::Token));
        for _ in 0..2 {
            assert_eq!(login(&secrets, &token("bad"), &mut logins, from, || false), Err(Reason::TokenMismatch));
        }
        let locked = login(&secrets, &token("good"), &mut logins, from, || unreachable!());
        assert_eq!(locked, Err(Reason::RateLimited(300_000)));
    }

    #[test]
    fn debug_shows_no_secret() {
        let secrets = Secrets::new(Mode::Token, Some("canary-secret"), None);
        assert_eq!(format!("{secrets:?}"), "Secrets { mode: Token, token: true, password: false }");
    }
}
