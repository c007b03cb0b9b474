//! Answers to connections that are not let in. Closing a socket with unread bytes sends a reset, which can destroy the
//! answer on its way (RFC 9112, 9.6): the last few are therefore kept until newer ones push them out. Never waits;
//! knows nothing of why a connection is refused.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::limits;

/// The connections refused last, oldest first.
#[derive(Default)]
pub struct Refusals {
    recent: VecDeque<TcpStream>,
}

impl Refusals {
    /// Answers 503 and closes our side. The buffer of a fresh socket takes the answer at once.
    pub fn add(&mut self, mut socket: TcpStream, text: &str) {
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Retry-After: 1\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        let sent = socket.set_nonblocking(true).and_then(|()| socket.write_all(answer.as_bytes()));
        if sent.and_then(|()| socket.shutdown(Shutdown::Write)).is_err() {
            return;
        }
        self.sweep();
        if self.recent.len() >= limits::REFUSED_KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(socket);
    }

    /// Lets go of those whose peer is done, and takes what the others have sent.
    pub fn sweep(&mut self) {
        self.recent.retain_mut(|socket| {
            let mut scrap = [0; 1024];
            match socket.read(&mut scrap) {
                Ok(read) => read > 0,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_request_that_was_sent_already_does_not_cost_the_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut refusals = Refusals::default();
        let (mut client, server) = pair(&listener);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        server.peek(&mut [0]).unwrap();
        refusals.add(server, "full");
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nfull"), "{answer}");
    }

    #[test]
    fn only_the_last_few_are_kept_and_none_whose_peer_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut refusals = Refusals::default();
        let mut clients = Vec::new();
        for _ in 0..limits::REFUSED_KEPT + 3 {
            let (client, server) = pair(&listener);
            refusals.add(server, "full");
            clients.push(client);
        }
        assert_eq!(refusals.recent.len(), limits::REFUSED_KEPT);
        drop(clients);
        for socket in &refusals.recent {
            socket.set_nonblocking(false).unwrap();
        }
        refusals.sweep();
        assert!(refusals.recent.is_empty());
    }
}
