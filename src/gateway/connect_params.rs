//! The checked parameters of `connect` as a typed value, and which protocol they lead to.
//! The schema has been checked by the reader; here is only what the handshake reads.

use serde_json::Value;

use super::device::{self, Signed};
use super::state::Role;
use crate::json::Members;
use crate::protocol::errors::WireError;
use crate::sys::table::Table;

/// What a client says of itself.
#[derive(Debug, Clone)]
pub struct ConnectParams {
    /// Lowest protocol it speaks.
    pub min_protocol: i64,
    /// Highest protocol it speaks.
    pub max_protocol: i64,
    /// The program.
    pub client: Client,
    /// Abilities of the client.
    pub caps: Vec<String>,
    /// Commands a node can run.
    pub commands: Vec<String>,
    /// Permissions a node has from its system.
    pub permissions: Option<Table<String, bool>>,
    /// A node's search path.
    pub path_env: Option<String>,
    /// `operator` unless said otherwise.
    pub role: Option<String>,
    /// Scopes it asks for.
    pub scopes: Vec<String>,
    /// Credentials.
    pub auth: Credentials,
    /// Proof of a device.
    pub device: Option<DeviceClaim>,
}

/// The program that connects.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// One of the known client ids.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its platform.
    pub platform: String,
    /// One of the known modes.
    pub mode: String,
    /// A name for people.
    pub display_name: Option<String>,
    /// `Linux`, `Mac`, `iPhone` …
    pub device_family: Option<String>,
    /// Hardware model.
    pub model_identifier: Option<String>,
    /// Stays the same over reconnects.
    pub instance_id: Option<String>,
    /// IANA name.
    pub time_zone: Option<String>,
}

/// What may prove who it is. Never printed: no `Debug` of the values.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Shared or device token.
    pub token: Option<String>,
    /// Shared password.
    pub password: Option<String>,
    /// Device token, protocol 4's own field for it.
    pub device_token: Option<String>,
    /// Token of a bootstrap flow; part of the signed payload.
    pub bootstrap_token: Option<String>,
}

impl Client {
    fn read(from: &mut Members) -> Client {
        let client = from.value("client").unwrap_or_default();
        from.inside(client, |from| Client {
            id: from.need("id"),
            version: from.need("version"),
            platform: from.need("platform"),
            mode: from.need("mode"),
            display_name: from.take("displayName"),
            device_family: from.take("deviceFamily"),
            model_identifier: from.take("modelIdentifier"),
            instance_id: from.take("instanceId"),
            time_zone: from.take("timeZone"),
        })
    }
}

impl Credentials {
    fn read(from: &mut Members) -> Credentials {
        let Some(auth) = from.maybe("auth") else { return Credentials::default() };
        from.inside(auth, |from| Credentials {
            token: from.take("token"),
            password: from.take("password"),
            device_token: from.take("deviceToken"),
            bootstrap_token: from.take("bootstrapToken"),
        })
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// A device's proof.
#[derive(Debug, Clone)]
pub struct DeviceClaim {
    /// SHA-256 of the public key, hex.
    pub id: String,
    /// Base64url or PEM.
    pub public_key: String,
    /// Base64url.
    pub signature: String,
    /// Milliseconds since the epoch.
    pub signed_at: i64,
    /// The challenge's nonce.
    pub nonce: Option<String>,
}

impl DeviceClaim {
    fn read(from: &mut Members) -> Option<DeviceClaim> {
        let device = from.maybe("device").filter(|device| !device.is_null())?;
        Some(from.inside(device, |from| DeviceClaim {
            id: from.need("id"),
            public_key: from.need("publicKey"),
            signature: from.need("signature"),
            signed_at: from.need("signedAt"),
            nonce: from.take("nonce"),
        }))
    }

    /// The nonce, unless it is empty.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref().filter(|nonce| !nonce.is_empty())
    }

    /// When it was signed; times before the epoch count as the epoch.
    pub fn signed_at_ms(&self) -> u64 {
        u64::try_from(self.signed_at).unwrap_or(0)
    }
}

/// A `connect` as the reader hands it to the state thread: typed, and its signature examined.
pub struct ConnectRequest {
    /// The parameters.
    pub params: ConnectParams,
    /// What the signature of its device says.
    pub signed: Option<Signed>,
}

impl ConnectRequest {
    /// Reads parameters that fit the table's shape; takes the time of a signature check.
    pub fn read(params: Value) -> Result<ConnectRequest, WireError> {
        let params = ConnectParams::read(params)?;
        let signed = device::examine(&params);
        Ok(ConnectRequest { params, signed })
    }
}

impl ConnectParams {
    /// The typed form. The table's shape and this struct are kept together by a test.
    pub fn read(params: Value) -> Result<ConnectParams, WireError> {
        let mut from = Members::of(params);
        let read = ConnectParams {
            min_protocol: from.need("minProtocol"),
            max_protocol: from.need("maxProtocol"),
            client: Client::read(&mut from),
            caps: from.take("caps"),
            commands: from.take("commands"),
            permissions: from.take("permissions"),
            path_env: from.take("pathEnv"),
            role: from.take("role"),
            scopes: from.take("scopes"),
            auth: Credentials::read(&mut from),
            device: DeviceClaim::read(&mut from),
        };
        from.done(read).map_err(|error| WireError::invalid(format!("invalid connect params: {error}")))
    }

    /// The role, if it is one of ours.
    pub fn role(&self) -> Option<Role> {
        match self.role.as_deref() {
            None | Some("operator") => Some(Role::Operator),
            Some("node") => Some(Role::Node),
            Some(_) => None,
        }
    }

    /// The protocol of this connection: the newer one both speak. A client that speaks both gets 4;
    /// `3..3` gets 3, which also serves a 9.6 node that falls back (protocol.md 2.3).
    pub fn negotiate(&self) -> Result<u8, WireError> {
        let speaks = |version: i64| self.min_protocol <= version && version <= self.max_protocol;
        if speaks(4) {
            return Ok(4);
        }
        if speaks(3) {
            return Ok(3);
        }
        Err(WireError::invalid("protocol mismatch").with_details(json!({
            "code": "PROTOCOL_MISMATCH",
            "clientMinProtocol": self.min_protocol,
            "clientMaxProtocol": self.max_protocol,
            "expectedProtocol": if self.max_protocol < 3 { 3 } else { 4 },
            "minimumProbeProtocol": 3,
        })))
    }

    /// Whether this is one of the browser clients whose `Origin` counts on every protocol.
    pub fn is_browser_ui(&self) -> bool {
        matches!(self.client.id.as_str(), "openclaw-control-ui" | "webchat-ui") || self.client.mode == "webchat"
    }

    /// The Control UI proper, which must identify its device.
    pub fn is_control_ui(&self) -> bool {
        self.client.id == "openclaw-control-ui"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(min: i64, max: i64) -> ConnectParams {
        let client = json!({"id": "cli", "version": "1", "platform": "linux", "mode": "cli"});
        ConnectParams::read(json!({"minProtocol": min, "maxProtocol": max, "client": client})).unwrap()
    }

    #[test]
    fn picks_the_newest_protocol_both_speak() {
        let table = [
            ((3, 3), Some(3)),
            ((4, 4), Some(4)),
            ((3, 4), Some(4)),
            ((1, 9), Some(4)),
            ((1, 3), Some(3)),
            ((5, 9), None),
            ((1, 2), None),
        ];
        for ((min, max), expected) in table {
            assert_eq!(params(min, max).negotiate().ok(), expected, "{min}..{max}");
        }
    }

    #[test]
    fn knows_no_role_but_operator_and_node() {
        let mut client = params(3, 4);
        assert_eq!(client.role(), Some(Role::Operator));
        client.role = Some("node".to_string());
        assert_eq!(client.role(), Some(Role::Node));
        client.role = Some("admin".to_string());
        assert_eq!(client.role(), None);
    }

    #[test]
    fn never_prints_credentials() {
        let credentials = Credentials { token: Some("canary".to_string()), ..Credentials::default() };
        assert!(!format!("{credentials:?}").contains("canary"));
    }
}
