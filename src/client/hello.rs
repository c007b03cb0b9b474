//! The handshake as values: what `connect` sends and what `hello-ok` says.
//! Pure: no socket, no clock; signatures come in as text.

use serde_json::{Map, Value};

use super::error::ClientError;

/// Who connects (`spec/cli.md` 2.3).
#[derive(Debug, Clone)]
pub struct ClientInfo {
    /// `client.id`
    pub id: &'static str,
    /// `client.mode`
    pub mode: &'static str,
    /// Version of this program.
    pub version: String,
    /// Name shown to people.
    pub display_name: Option<String>,
}

/// The proof that a device sends with `connect`.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Device id: hex SHA-256 of the public key.
    pub id: String,
    /// Public key, base64url.
    pub public_key: String,
    /// Signature over the payload of protocol.md 3.2.
    pub signature: String,
    /// Time in the signature.
    pub signed_at_ms: u64,
}

/// The challenge that opens every connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Nonce to sign.
    pub nonce: String,
    /// The gateway's clock.
    pub ts_ms: Option<u64>,
}

impl Challenge {
    /// Reads the payload of `connect.challenge`.
    pub fn from_payload(payload: &Value) -> Challenge {
        let nonce = payload.get("nonce").and_then(Value::as_str).unwrap_or_default();
        Challenge { nonce: nonce.to_string(), ts_ms: payload.get("ts").and_then(Value::as_u64) }
    }
}

/// The parts of one `connect`.
#[derive(Clone, Copy)]
pub struct Connect<'a> {
    /// Who connects.
    pub client: &'a ClientInfo,
    /// Lowest and highest protocol.
    pub protocols: (u8, u8),
    /// `operator` or `node`.
    pub role: &'a str,
    /// Wanted scopes.
    pub scopes: &'a [String],
    /// Shared or device token.
    pub token: Option<&'a str>,
    /// Shared password.
    pub password: Option<&'a str>,
    /// Device proof and the nonce it is for.
    pub proof: Option<(&'a Proof, &'a str)>,
}

/// The params of `connect`: only members that protocol 3's closed schema knows (protocol.md 2.1).
pub fn connect_params(connect: &Connect<'_>) -> Value {
    let mut client = Map::new();
    client.insert("id".into(), connect.client.id.into());
    client.insert("version".into(), connect.client.version.as_str().into());
    client.insert("platform".into(), PLATFORM.into());
    client.insert("mode".into(), connect.client.mode.into());
    if let Some(name) = &connect.client.display_name {
        client.insert("displayName".into(), name.as_str().into());
    }
    let mut params = json!({
        "minProtocol": connect.protocols.0, "maxProtocol": connect.protocols.1, "client": client,
        "caps": [], "role": connect.role, "scopes": connect.scopes,
    });
    let mut auth = Map::new();
    for (name, secret) in [("token", connect.token), ("password", connect.password)] {
        if let Some(secret) = secret {
            auth.insert(name.into(), secret.into());
        }
    }
    if let Value::Object(members) = &mut params {
        if !auth.is_empty() {
            members.insert("auth".into(), auth.into());
        }
        if let Some((proof, nonce)) = connect.proof {
            members.insert("device".into(), device(proof, nonce));
        }
    }
    params
}

fn device(proof: &Proof, nonce: &str) -> Value {
    let mut device = json!({
        "id": proof.id, "publicKey": proof.public_key, "signature": proof.signature, "signedAt": proof.signed_at_ms,
    });
    if !nonce.is_empty()
        && let Value::Object(members) = &mut device
    {
        members.insert("nonce".into(), nonce.into());
    }
    device
}

/// `client.platform` in the words of the original.
pub const PLATFORM: &str = if cfg!(target_os = "macos") {
    "darwin"
} else if cfg!(windows) {
    "win32"
} else {
    "linux"
};

/// What `hello-ok` said, as far as this program uses it.
#[derive(Debug, Clone, Default)]
pub struct Hello {
    /// Protocol of this connection.
    pub protocol: u8,
    /// Gateway version.
    pub version: Option<String>,
    /// Build id of newer originals.
    pub build_id: Option<String>,
    /// Id of this connection.
    pub conn_id: Option<String>,
    /// Role that was granted; absent on protocol 3 without a device.
    pub role: Option<String>,
    /// Scopes that were granted; `None` when the gateway does not say.
    pub scopes: Option<Vec<String>>,
    /// Device token to keep.
    pub device_token: Option<String>,
    /// Snapshot of presence and health.
    pub snapshot: Value,
}

impl Hello {
    /// Reads a `hello-ok` payload.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_payload(payload: &Value) -> Result<Hello, ClientError> {
        if payload.get("type").and_then(Value::as_str) != Some("hello-ok") {
            return Err(ClientError::Garbage("connect was not answered with hello-ok"));
        }
        let protocol = payload.get("protocol").and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
        let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).map(str::to_string);
        let scopes = payload
            .pointer("/auth/scopes")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_string).collect());
        Ok(Hello {
            protocol: protocol.ok_or(ClientError::Garbage("hello-ok without protocol"))?,
            version: text("/server/version"),
            build_id: text("/server/buildId"),
            conn_id: text("/server/connId"),
            role: text("/auth/role"),
            scopes,
            device_token: text("/auth/deviceToken"),
            snapshot: payload.get("snapshot").cloned().unwrap_or(Value::Null),
        })
    }

    /// Whether the gateway granted less than one of these. A gateway that does not say granted all.
    pub fn lacks<S: AsRef<str>>(&self, wanted: &[S]) -> bool {
        let Some(granted) = &self.scopes else { return false };
        let has = |scope: &str| granted.iter().any(|have| have == scope);
        let implied = |scope: &str| has("operator.admin") || (scope == "operator.read" && has("operator.write"));
        wanted.iter().map(AsRef::as_ref).any(|scope| !has(scope) && !implied(scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli() -> ClientInfo {
        ClientInfo { id: "cli", mode: "cli", version: "1".into(), display_name: None }
    }

    #[test]
    fn connect_holds_only_members_of_the_closed_schema() {
        let connect = Connect {
            client: &cli(),
            protocols: (3, 4),
            role: "operator",
            scopes: &["operator.read".to_string()],
            token: Some("t"),
            password: None,
            proof: None,
        };
        assert_eq!(
            connect_params(&connect),
            json!({"minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": ["operator.read"], "caps": [],
                   "client": {"id": "cli", "mode": "cli", "version": "1", "platform": PLATFORM}, "auth": {"token": "t"}})
        );
    }

    #[test]
    fn missing_scopes_are_noticed_only_when_the_gateway_names_them() {
        let hello = |scopes: Option<&[&str]>| Hello {
            scopes: scopes.map(|list| list.iter().map(|s| (*s).to_string()).collect()),
            ..Hello::default()
        };
        assert!(!hello(None).lacks(&["operator.read"]));
        assert!(hello(Some(&[])).lacks(&["operator.read"]));
        assert!(!hello(Some(&["operator.write"])).lacks(&["operator.read"]));
        assert!(!hello(Some(&["operator.admin"])).lacks(&["operator.pairing"]));
        assert!(hello(Some(&["operator.read"])).lacks(&["operator.write"]));
    }
}
