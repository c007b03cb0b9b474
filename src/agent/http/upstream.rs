//! A scripted server for tests: plays one script per connection on loopback and hands over what it was asked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// No test waits longer than this for anything.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(20);

/// One step of a script.
#[derive(Clone)]
pub(crate) enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes one at a time, each in a write of its own.
    Trickle(Vec<u8>),
    /// Keeps the connection open until the client closes it.
    Hang,
    /// Sends the same bytes until the client is gone.
    Flood(Vec<u8>),
}

/// A running scripted server.
pub(crate) struct Upstream {
    /// `http://127.0.0.1:port`.
    pub(crate) url: String,
    asked: Receiver<Asked>,
    /// A message for each connection the client closed while the script hung.
    pub(crate) left: Receiver<()>,
}

/// A request as it arrived.
pub(crate) struct Asked {
    /// Request line and headers.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Upstream {
    /// Plays the scripts, one per connection, in order; afterwards nobody answers.
    pub(crate) fn play(scripts: Vec<Vec<Step>>) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ((asked, receive), (gone, left)) = (channel(), channel());
        crate::sys::thread::spawn("upstream", 256 * 1024, move || {
            for script in scripts {
                let Ok((stream, _)) = listener.accept() else { return };
                let _ = serve(stream, &script, &asked, &gone);
            }
        })
        .unwrap();
        Upstream { url, asked: receive, left }
    }

    /// One answer with a body of known length.
    pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        vec![Step::Send(text.into_bytes())]
    }

    /// The head of an event stream that ends with the connection.
    pub(crate) fn stream_head() -> Step {
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n".to_vec())
    }

    /// An event stream of these data lines.
    pub(crate) fn stream(data: &[&str]) -> Vec<Step> {
        let body: String = data.iter().map(|data| format!("data: {data}\n\n")).collect();
        vec![Upstream::stream_head(), Step::Send(body.into_bytes())]
    }

    /// The next request.
    pub(crate) fn asked(&self) -> Asked {
        self.asked.recv_timeout(WATCHDOG).expect("a request in time")
    }
}

fn serve(mut stream: TcpStream, script: &[Step], asked: &Sender<Asked>, gone: &Sender<()>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(WATCHDOG))?;
    stream.set_write_timeout(Some(WATCHDOG))?;
    stream.set_nodelay(true)?;
    let _ = asked.send(request(&mut stream)?);
    for step in script {
        match step {
            Step::Send(bytes) => stream.write_all(bytes)?,
            Step::Trickle(bytes) => bytes.iter().try_for_each(|byte| stream.write_all(&[*byte]))?,
            Step::Flood(bytes) => while stream.write_all(bytes).is_ok() {},
            Step::Hang => {
                let mut rest = [0; 64];
                while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
                let _ = gone.send(());
            }
        }
    }
    stream.shutdown(Shutdown::Write)?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
    Ok(())
}

fn request(stream: &mut TcpStream) -> std::io::Result<Asked> {
    let mut bytes = Vec::new();
    let mut buf = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.trim().parse().ok();
            let length: usize = head.lines().find_map(length).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Ok(Asked { head, body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned() });
            }
        }
        match stream.read(&mut buf)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buf[..count]),
        }
    }
}
