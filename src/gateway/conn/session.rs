//! What a message means by the order of messages: the sans-I/O half of a WebSocket session.
//! Parses and checks against the protocol table; decides nothing about who may do what.

use crate::gateway::connect_params::ConnectRequest;
use crate::gateway::event::{Call, Inbound, Violation};
use crate::protocol::errors::WireError;
use crate::protocol::frame::{FrameFault, Request, parse_request};
use crate::protocol::{check, methods};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing but `connect` is valid.
    AwaitConnect,
    /// Requests are valid.
    Ready,
}

/// What the reader does with a message.
pub enum Step {
    /// Hand it to the state thread.
    Forward(Inbound),
    /// Hand it over and wait for the verdict.
    ForwardConnect(Inbound),
    /// Nothing: a later message that is not JSON is ignored (protocol.md 7).
    Ignore,
}

/// Reads one message in this phase.
pub fn read(phase: Phase, text: &str) -> Step {
    if check::has_too_many_values(text) {
        return Step::Forward(Inbound::Fatal(Violation::TooLarge));
    }
    match (phase, parse_request(text)) {
        (Phase::AwaitConnect, Err(FrameFault::NotJson)) => Step::Forward(Inbound::Fatal(Violation::FirstNotJson)),
        (Phase::AwaitConnect, Err(FrameFault::NotRequest { .. })) => {
            Step::Forward(Inbound::Fatal(Violation::FirstNotRequest))
        }
        (Phase::AwaitConnect, Ok(request)) => Step::ForwardConnect(first(request)),
        (Phase::Ready, Err(FrameFault::NotJson)) => Step::Ignore,
        (Phase::Ready, Err(FrameFault::NotRequest { id, text })) => Step::Forward(Inbound::NotRequest { id, text }),
        (Phase::Ready, Ok(request)) => Step::Forward(call(request)),
    }
}

fn first(request: Request) -> Inbound {
    if request.method != "connect" {
        return call(request);
    }
    match call(request) {
        Inbound::Call { id, call: Call::Known(_, params) } => {
            let request = params.map_err(WireError::invalid).and_then(ConnectRequest::read).map(Box::new);
            Inbound::Connect { id, request }
        }
        other => other,
    }
}

fn call(request: Request) -> Inbound {
    let Request { id, method, params } = request;
    let Some(row) = methods::find(&method) else {
        return Inbound::Call { id, call: Call::Unknown(method) };
    };
    Inbound::Call { id, call: Call::Known(row, row.read(params)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: &str = r#"{"type":"req","id":"1","method":"connect","params":{"minProtocol":3,"maxProtocol":4,
        "client":{"id":"cli","version":"1","platform":"linux","mode":"cli"}}}"#;

    #[test]
    fn waits_for_the_verdict_on_a_connect() {
        let Step::ForwardConnect(Inbound::Connect { id, request }) = read(Phase::AwaitConnect, CONNECT) else {
            panic!("not recognised as connect")
        };
        assert_eq!((id.as_str(), request.is_ok()), ("1", true));
    }

    #[test]
    fn reports_what_is_wrong_with_a_connect() {
        let bad = CONNECT.replace("\"cli\",\"version\"", "\"weird\",\"version\"");
        let Step::ForwardConnect(Inbound::Connect { request, .. }) = read(Phase::AwaitConnect, &bad) else {
            panic!("not recognised as connect")
        };
        assert!(
            request
                .err()
                .unwrap()
                .message
                .starts_with("invalid connect params: at /client/id: must be equal to constant")
        );
    }

    #[test]
    fn refuses_anything_else_as_first_message() {
        let fatal = |text| match read(Phase::AwaitConnect, text) {
            Step::Forward(Inbound::Fatal(violation)) => Some(violation),
            _ => None,
        };
        assert_eq!(fatal("{nonsense"), Some(Violation::FirstNotJson));
        assert_eq!(fatal(r#"{"type":"event","event":"x"}"#), Some(Violation::FirstNotRequest));
        assert_eq!(fatal("[]"), Some(Violation::FirstNotRequest));
        let other = read(Phase::AwaitConnect, r#"{"type":"req","id":"1","method":"health"}"#);
        assert!(matches!(other, Step::ForwardConnect(Inbound::Call { .. })));
    }

    #[test]
    fn ignores_later_messages_that_are_not_json() {
        assert!(matches!(read(Phase::Ready, "{still not json"), Step::Ignore));
    }

    #[test]
    fn a_message_of_countless_values_is_too_large_and_a_long_text_is_not() {
        let frame = |params: &str| {
            let head = r#"{"type":"req","id":"1","method":"system-event","params":"#;
            format!("{head}{params}}}")
        };
        let list = |item: &str, count: usize| format!(r#"{{"text":[{}0]}}"#, item.repeat(count));
        for bomb in [list("0,", 1 << 20), list("[[[]]],", 1 << 17), list(r#""\\",[],"#, 1 << 17)] {
            let step = read(Phase::Ready, &frame(&bomb));
            assert!(matches!(step, Step::Forward(Inbound::Fatal(Violation::TooLarge))));
        }
        let text = format!(r#"{{"text":"{}"}}"#, r#"\",[{,"#.repeat(1 << 18));
        assert!(matches!(read(Phase::Ready, &frame(&text)), Step::Forward(Inbound::Call { .. })));
    }

    #[test]
    fn keeps_the_id_of_a_later_frame_that_is_no_request() {
        let step = read(Phase::Ready, r#"{"type":"req","id":"m1"}"#);
        let Step::Forward(Inbound::NotRequest { id, text }) = step else { panic!("not reported") };
        assert_eq!((id.as_deref(), text.as_str()), (Some("m1"), "must have required property 'method'"));
    }
}
