//! A WebSocket client at the level of bytes (RFC 6455), for input that no library would send.

use std::io::Write;

use super::http::Wire;

/// Frame types of RFC 6455.
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// One upgraded connection.
pub struct Socket {
    wire: Wire,
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A whole text message.
    Text(String),
    /// A close frame: code and reason. 1005 stands for a close frame without a code.
    Close(u16, String),
    /// A pong's payload.
    Pong(Vec<u8>),
    /// A ping's payload.
    Ping(Vec<u8>),
    /// The connection ended without (another) close frame.
    End,
}

/// A request to upgrade, with more header lines (each with its line end).
pub fn upgrade_request(path: &str, more: &str) -> String {
    let host = if more.lines().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
        ""
    } else {
        "Host: 127.0.0.1\r\n"
    };
    format!(
        "GET {path} HTTP/1.1\r\n{host}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

impl Socket {
    /// Upgrades at `/`.
    pub fn open(port: u16) -> Socket {
        Socket::open_with(port, "/", "")
    }

    /// Upgrades at this path with more header lines.
    pub fn open_with(port: u16, path: &str, more: &str) -> Socket {
        let mut wire = Wire::open(port);
        let answer = wire.ask(upgrade_request(path, more));
        assert_eq!(answer.status, 101, "{answer:?}");
        // The accept value of RFC 6455's own example key.
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Socket { wire }
    }

    /// Takes over a connection whose 101 was read already.
    pub fn over(wire: Wire) -> Socket {
        Socket { wire }
    }

    /// Sends a text message.
    pub fn text(&mut self, text: &str) {
        self.frame(true, TEXT, text.as_bytes());
    }

    /// Sends one masked frame.
    pub fn frame(&mut self, last: bool, opcode: u8, payload: &[u8]) {
        self.wire.send(frame(last, opcode, true, payload));
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.wire.send(bytes);
    }

    /// The socket below.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// The next thing that arrives, pings and pongs included.
    pub fn arrival(&mut self) -> Arrival {
        let mut message = Vec::new();
        loop {
            let head = self.wire.take(2);
            if head.len() < 2 {
                return Arrival::End;
            }
            assert_eq!(head[1] & 0x80, 0, "a server never masks");
            let length = match head[1] & 0x7f {
                126 => self.wire.take(2).iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)),
                127 => self.wire.take(8).iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)),
                short => usize::from(short),
            };
            let payload = self.wire.take(length);
            if payload.len() < length {
                return Arrival::End;
            }
            match head[0] & 0x0f {
                0 | TEXT => message.extend(payload),
                CLOSE => return close(&payload),
                PING => return Arrival::Ping(payload),
                PONG => return Arrival::Pong(payload),
                other => panic!("the gateway sent opcode {other}"),
            }
            if head[0] & 0x80 != 0 {
                return Arrival::Text(String::from_utf8(message).unwrap());
            }
        }
    }

    /// The next text message as JSON; control frames are passed over.
    pub fn json(&mut self) -> serde_json::Value {
        match self.next() {
            Arrival::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("a message was due, {other:?} came"),
        }
    }

    /// The next message or end, control frames passed over.
    pub fn next(&mut self) -> Arrival {
        loop {
            match self.arrival() {
                Arrival::Ping(payload) => self.frame(true, PONG, &payload),
                Arrival::Pong(_) => {}
                other => return other,
            }
        }
    }

    /// Waits for the close frame, passing over messages: code and reason.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Arrival::Close(code, reason) => return (code, reason),
                Arrival::End => panic!("the connection ended without a close frame"),
                _ => {}
            }
        }
    }

    /// Ends the TCP connection without a close frame.
    pub fn drop_hard(mut self) {
        let _ = self.wire.socket.flush();
    }
}

fn close(payload: &[u8]) -> Arrival {
    match payload {
        [high, low, reason @ ..] => {
            Arrival::Close(u16::from_be_bytes([*high, *low]), String::from_utf8(reason.to_vec()).unwrap())
        }
        _ => Arrival::Close(1005, String::new()),
    }
}

/// The bytes of one frame. The mask is fixed: servers do not care and failures repeat.
pub fn frame(last: bool, opcode: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![if last { 0x80 | opcode } else { opcode }];
    let bit = if masked { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => bytes.push(bit | u8::try_from(length).unwrap()),
        length @ 126..=65535 => {
            bytes.push(bit | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(bit | 127);
            bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    if !masked {
        bytes.extend(payload);
        return bytes;
    }
    let mask = [0x11, 0x22, 0x33, 0x44];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}
