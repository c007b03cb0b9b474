//! Raw HTTP: bytes out, one parsed answer in. Sends nothing by itself, so that a test can send what it likes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::{PATIENCE, TOKEN};

/// One connection.
pub struct Wire {
    /// The socket, for what the methods here do not cover.
    pub socket: TcpStream,
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// Body bytes as text.
    pub body: String,
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Whether the server said that this is the last answer on the connection.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Wire {
    /// Connects over IPv4 loopback.
    pub fn open(port: u16) -> Wire {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Wire { socket, buffer: Vec::new() }
    }

    /// Sends bytes as they are. A peer that has gone is not an error here: its answer may be waiting.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// Ends our half.
    pub fn finish(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Reads one answer; `None` when the connection ended before one.
    pub fn answer(&mut self) -> Option<Answer> {
        self.read_answer(false)
    }

    /// Reads the answer to a HEAD request.
    pub fn head_answer(&mut self) -> Option<Answer> {
        self.read_answer(true)
    }

    fn read_answer(&mut self, bodiless: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.fill() == 0 {
                assert!(self.buffer.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&self.buffer));
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let mut answer = parse_head(&String::from_utf8(head).unwrap());
        let fixed = bodiless || answer.status < 200 || answer.status == 204;
        let length: usize = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        let length = if fixed { 0 } else { length };
        if !fixed && answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            answer.body = self.read_chunks();
            return Some(answer);
        }
        while self.buffer.len() < length {
            assert!(self.fill() > 0, "the body ended early");
        }
        answer.body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        Some(answer)
    }

    /// Reads the head of an answer alone: what follows is a stream.
    pub fn head(&mut self) -> Answer {
        self.read_answer(true).expect("the connection ended without an answer")
    }

    /// One chunk of a chunked body as it came; none at its end, which has to be a proper one.
    pub fn chunk(&mut self) -> Option<String> {
        self.read_chunk().map(|chunk| String::from_utf8(chunk).unwrap())
    }

    fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.read_line(), 16).unwrap();
        while self.buffer.len() < size + 2 {
            assert!(self.fill() > 0, "the body ended early");
        }
        let chunk: Vec<u8> = self.buffer.drain(..size + 2).take(size).collect();
        (size > 0).then_some(chunk)
    }

    /// A chunked body, its pieces joined.
    fn read_chunks(&mut self) -> String {
        String::from_utf8(std::iter::from_fn(|| self.read_chunk()).flatten().collect()).unwrap()
    }

    fn read_line(&mut self) -> String {
        let end = loop {
            match self.buffer.windows(2).position(|two| two == b"\r\n") {
                Some(at) => break at,
                None => assert!(self.fill() > 0, "the body ended early"),
            }
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
        String::from_utf8(line).unwrap()
    }

    /// One request, one answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer().expect("the connection ended without an answer")
    }

    /// Whether the peer ends the connection, having sent nothing more.
    pub fn ends(&mut self) -> bool {
        self.buffer.is_empty() && self.fill() == 0
    }

    /// Bytes read so far beyond the answers, and those that follow, up to `count`.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.fill() > 0 {}
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count).collect()
    }

    fn fill(&mut self) -> usize {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(read) => {
                    self.buffer.extend_from_slice(&chunk[..read]);
                    return read;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return 0,
                Err(error) => panic!("waiting for the gateway: {error}"),
            }
        }
    }
}

fn parse_head(text: &str) -> Answer {
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap();
    assert!(status_line.starts_with("HTTP/1."), "not HTTP: {status_line:?}");
    let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once(':').unwrap_or_else(|| panic!("not a header: {line:?}")))
        .map(|(name, value)| (name.to_string(), value.trim().to_string()))
        .collect();
    Answer { status, headers, body: String::new() }
}

/// A POST request of a program that knows the token, with further header lines.
pub fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n{headers}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A GET request with the usual head.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
}

/// One GET on a fresh connection.
pub fn fetch(port: u16, path: &str) -> Answer {
    Wire::open(port).ask(get(path))
}
