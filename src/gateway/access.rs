//! Where the shared secret comes from: what was given at the start, or the configuration.
//! Keeps the precedence in one place for the start and for `secrets.reload`.

use super::auth::{Mode, Secrets};
use crate::config::model::{AuthMode, Config};
use crate::config::resolve::{AuthPlan, Source};
use crate::config::secret::Secret;

/// The start's decision on authentication.
pub struct Access {
    plan: AuthPlan,
}

impl Access {
    /// Keeps what the start decided.
    pub fn of(plan: AuthPlan) -> Access {
        Access { plan }
    }

    /// The secrets of the start.
    pub fn now(&self) -> Secrets {
        secrets(self.plan.mode, self.plan.token.as_ref(), self.plan.password.as_ref())
    }

    /// The secrets after the configuration was read anew. The mode stays; a secret that came from a flag,
    /// the environment or the generated file stays too.
    pub fn reread(&self, config: &Config) -> Secrets {
        if self.plan.source != Source::Config {
            return self.now();
        }
        let auth = &config.gateway.auth;
        let token = auth.token.as_ref().or(self.plan.token.as_ref());
        let password = auth.password.as_ref().or(self.plan.password.as_ref());
        secrets(self.plan.mode, token, password)
    }
}

fn secrets(mode: AuthMode, token: Option<&Secret>, password: Option<&Secret>) -> Secrets {
    let mode = match mode {
        AuthMode::Token => Mode::Token,
        AuthMode::Password => Mode::Password,
        AuthMode::None => Mode::None,
        AuthMode::TrustedProxy => Mode::TrustedProxy,
    };
    Secrets::new(mode, token.map(Secret::expose), password.map(Secret::expose))
}
