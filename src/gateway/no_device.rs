//! Who may connect without a device identity, and with which scopes (`spec/protocol.md` section 3.3,
//! decisions.md 8). Pure; the shared secret has been judged before.

use super::auth::{Caller, Method, Reason};
use crate::protocol::errors::{Code, WireError};

/// A connection that sent no `device`.
#[derive(Debug, Clone, Copy)]
pub struct Bare<'a> {
    /// Who it is.
    pub caller: Caller<'a>,
    /// Effective role.
    pub role: &'a str,
    /// Whether configuration lets the Control UI in without a device
    /// (`gateway.controlUi.allowInsecureAuth` or `dangerouslyDisableDeviceAuth`).
    pub ui_exempt: bool,
}

/// Why it may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDevice {
    /// The Control UI always needs one.
    ControlUi,
    /// Nothing at all was presented.
    Required,
    /// A secret was presented, and it was wrong.
    Unauthorized(Reason),
}

/// Judges the connection after the shared secret.
pub fn check(bare: &Bare<'_>, shared: Result<Method, Reason>) -> Result<Method, NoDevice> {
    if is_control_ui(bare) && !bare.ui_exempt {
        return Err(NoDevice::ControlUi);
    }
    shared.map_err(|reason| match reason {
        Reason::TokenMissing | Reason::PasswordMissing => NoDevice::Required,
        reason => NoDevice::Unauthorized(reason),
    })
}

/// The scopes it keeps of those it asked for. Protocol 3 trusts the secret alone. Protocol 4 trusts it on this machine
/// only (decisions.md 8: there a right token is always enough, also for programs the original would not know), or when
/// a trusted proxy vouches for the user, or for a Control UI that configuration exempts.
pub fn scopes(bare: &Bare<'_>, asked: Vec<String>, method: Method) -> Vec<String> {
    let caller = &bare.caller;
    let trusted = method == Method::TrustedProxy || (caller.local && method != Method::DeviceToken);
    let keeps = caller.protocol < 4 || bare.role != "operator" || trusted || (is_control_ui(bare) && bare.ui_exempt);
    if keeps { asked } else { Vec::new() }
}

fn is_control_ui(bare: &Bare<'_>) -> bool {
    bare.caller.client_id == "openclaw-control-ui"
}

impl NoDevice {
    /// The refusal as the peer sees it.
    pub fn wire(self, caller: &Caller<'_>) -> WireError {
        match self {
            NoDevice::ControlUi if caller.protocol >= 4 => {
                WireError::invalid("control ui requires device identity (use HTTPS or localhost secure context)")
                    .with_details(json!({"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"}))
            }
            NoDevice::ControlUi => WireError::invalid("control ui requires HTTPS or localhost (secure context)")
                .with_details(json!({"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"})),
            NoDevice::Required => WireError::new(Code::NotPaired, "device identity required")
                .with_details(json!({"code": "DEVICE_IDENTITY_REQUIRED"})),
            NoDevice::Unauthorized(reason) => reason.wire(caller),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(protocol: u8, client_id: &'static str, client_mode: &'static str, local: bool) -> Bare<'static> {
        let caller = Caller { protocol, client_id, client_mode, local, has_device: false };
        Bare { caller, role: "operator", ui_exempt: false }
    }

    #[test]
    fn the_right_secret_is_enough_but_for_the_control_ui() {
        let test = bare(3, "test", "test", false);
        let ui = bare(3, "openclaw-control-ui", "ui", true);
        let exempt = Bare { ui_exempt: true, ..ui };
        for (bare, shared, expected) in [
            (test, Ok(Method::Token), Ok(Method::Token)),
            (test, Ok(Method::None), Ok(Method::None)),
            (test, Err(Reason::TokenMissing), Err(NoDevice::Required)),
            (test, Err(Reason::PasswordMissing), Err(NoDevice::Required)),
            (test, Err(Reason::TokenMismatch), Err(NoDevice::Unauthorized(Reason::TokenMismatch))),
            (test, Err(Reason::RateLimited(5)), Err(NoDevice::Unauthorized(Reason::RateLimited(5)))),
            (ui, Ok(Method::Token), Err(NoDevice::ControlUi)),
            (exempt, Ok(Method::Token), Ok(Method::Token)),
        ] {
            assert_eq!(check(&bare, shared), expected, "{bare:?}");
        }
    }

    #[test]
    fn refusals_have_the_texts_of_the_protocols() {
        let texts = |protocol, fault: NoDevice| {
            let wire = fault.wire(&bare(protocol, "x", "ui", true).caller);
            (wire.code.row().name, wire.message)
        };
        assert_eq!(texts(3, NoDevice::Required), ("NOT_PAIRED", "device identity required".into()));
        let (code, old) = texts(3, NoDevice::ControlUi);
        assert_eq!(
            (code, old.as_str()),
            ("INVALID_REQUEST", "control ui requires HTTPS or localhost (secure context)")
        );
        let (_, new) = texts(4, NoDevice::ControlUi);
        assert_eq!(new, "control ui requires device identity (use HTTPS or localhost secure context)");
        let wire = NoDevice::Required.wire(&bare(4, "x", "ui", true).caller);
        assert_eq!(wire.details.unwrap()["code"], "DEVICE_IDENTITY_REQUIRED");
    }

    #[test]
    fn protocol_4_keeps_the_scopes_of_programs_on_this_machine_only() {
        for (bare, kept) in [
            (bare(3, "test", "test", false), true),
            (bare(4, "cli", "cli", true), true),
            (bare(4, "gateway-client", "backend", true), true),
            (bare(4, "cli", "probe", true), true),
            (bare(4, "cli", "cli", false), false),
            (bare(4, "gateway-client", "ui", true), true),
            (Bare { ui_exempt: true, ..bare(4, "openclaw-control-ui", "webchat", false) }, true),
            (Bare { ui_exempt: true, ..bare(4, "test", "test", false) }, false),
        ] {
            let asked = vec!["operator.read".to_string()];
            assert_eq!(!scopes(&bare, asked, Method::Token).is_empty(), kept, "{bare:?}");
        }
    }
}
