//! Ed25519 identities: keys, device ids, the signed `connect` proof and the file `identity/device.json`
//! (`spec/protocol.md` sections 3.1, 3.2, 3.7). Used by the gateway and by the client alike.
//! Pure: knows no clock, no randomness, no file system and no connection.

mod file;
mod key;
mod proof;

pub use file::{DeviceFile, FileFault};
pub use key::{KeyFault, PublicKey, SecretKey};
pub use proof::{Claim, Form, payload, sign_payload, signing_token};
