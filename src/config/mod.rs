//! Configuration: where files are, how they are read, what they mean, and what a start may do with them.
//! Owns paths, profiles, the JSON5 dialect, the key table and start-up decisions; writes nothing but the generated
//! token file and knows neither sockets nor the gateway's state.

pub mod edit;
pub mod env;
pub mod hooks;
pub mod include;
pub mod json5;
pub mod load;
pub mod model;
pub mod paths;
pub mod resolve;
pub mod roster;
pub mod schema;
pub mod secret;
pub mod substitute;
pub mod target;
pub mod token;

mod authplan;
mod keys;
mod keys_pack;
pub mod sections;
mod validate;
mod value;

pub use env::Env;
pub use load::{Issue, Snapshot, load, prepare, redacted};
pub use model::Config;
pub use paths::{Paths, Profile};
pub use resolve::{AuthPlan, Flags, Plan, Refusal, plan};
pub use secret::Secret;
pub use target::{Target, TargetError, TargetFlags, client_target};
pub use value::duration;
