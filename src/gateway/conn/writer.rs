//! The writer thread of one WebSocket: the only one that writes to and shuts down its socket.
//! Joins what is queued into few writes; knows nothing of what the frames say.

use std::io::{IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use tungstenite::Bytes;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};

use super::outbox::{Inbox, Out};
use crate::limits;

/// Bodies from this size on are written from where they lie instead of being copied.
const COPY_BELOW: usize = 4096;

/// Writes until a close frame was sent, the socket fails, or all senders are gone; then shuts the
/// socket down both ways, which ends the reader.
pub fn run(socket: &TcpStream, inbox: &Inbox) {
    let mut batch = Batch::default();
    let closed = loop {
        let Ok(first) = inbox.queue.recv() else { break false };
        match batch.write(socket, inbox, first) {
            Ok(Sent::Open) => {}
            Ok(Sent::Close) => break true,
            Err(_) => break false,
        }
    };
    if closed {
        linger(socket, inbox);
    }
    let _ = socket.shutdown(Shutdown::Both);
}

/// After our close frame the peer may still be sending; shutting down at once would let the kernel
/// answer with a reset that destroys what the peer has not read yet. So only our half is closed, and
/// the reader goes on until the peer is done or this wait is over.
fn linger(socket: &TcpStream, inbox: &Inbox) {
    let _ = socket.shutdown(Shutdown::Write);
    let end = Instant::now() + limits::CLOSE_LINGER;
    while inbox.queue.recv_deadline(end).is_ok() {}
}

enum Sent {
    Open,
    Close,
}

/// Frames joined for one write.
#[derive(Default)]
struct Batch {
    buffer: Vec<u8>,
}

impl Batch {
    /// Writes `first` and whatever else waits, up to the batch size.
    fn write(&mut self, socket: &TcpStream, inbox: &Inbox, first: Out) -> std::io::Result<Sent> {
        let mut next = Some(first);
        let mut sent = Sent::Open;
        while let Some(out) = next {
            self.add(socket, &out)?;
            inbox.written(&out);
            if matches!(out, Out::Close(..)) {
                sent = Sent::Close;
                break;
            }
            next = if self.buffer.len() < limits::WRITE_BATCH_BYTES { inbox.queue.try_recv().ok() } else { None };
        }
        self.flush(socket)?;
        Ok(sent)
    }

    fn add(&mut self, socket: &TcpStream, out: &Out) -> std::io::Result<()> {
        match out {
            Out::Text(body) => self.text(socket, body, &[]),
            Out::Event(head, seq) => self.text(socket, head, format!("{seq}}}").as_bytes()),
            Out::Control(frame) => {
                self.buffer.extend_from_slice(frame);
                Ok(())
            }
            Out::Ping => self.control(Frame::ping(Bytes::new())),
            Out::Close(code, reason) => {
                let frame = CloseFrame { code: CloseCode::from(*code), reason: cut(reason).into() };
                self.control(Frame::close(Some(frame)))
            }
        }
    }

    fn control(&mut self, frame: Frame) -> std::io::Result<()> {
        frame.format(&mut self.buffer).map_err(std::io::Error::other)
    }

    /// One text frame of two parts: the part all receivers share and the part that is this one's.
    fn text(&mut self, socket: &TcpStream, body: &[u8], tail: &[u8]) -> std::io::Result<()> {
        let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        let length = (body.len() + tail.len()) as u64;
        header.format(length, &mut self.buffer).map_err(std::io::Error::other)?;
        if body.len() < COPY_BELOW {
            self.buffer.extend_from_slice(body);
        } else {
            write_all(socket, &self.buffer, body)?;
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(tail);
        Ok(())
    }

    fn flush(&mut self, mut socket: &TcpStream) -> std::io::Result<()> {
        socket.write_all(&self.buffer)?;
        self.buffer.clear();
        // A thousand idle clients must not each keep the buffer of their greeting.
        if self.buffer.capacity() > COPY_BELOW {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}

/// Writes both slices with as few system calls as the kernel allows.
fn write_all(mut socket: &TcpStream, mut head: &[u8], mut body: &[u8]) -> std::io::Result<()> {
    while !head.is_empty() {
        let n = socket.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
        if n == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        let of_head = n.min(head.len());
        head = head.get(of_head..).unwrap_or_default();
        body = body.get(n - of_head..).unwrap_or_default();
    }
    socket.write_all(body)
}

/// Cuts a close reason to what RFC 6455 allows, at a character boundary.
fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(limits::CLOSE_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_a_reason_at_a_character() {
        let reason = "é".repeat(100);
        assert_eq!(cut(&reason).len(), limits::CLOSE_REASON_BYTES);
        let odd = format!("x{reason}");
        assert_eq!(cut(&odd).len(), 119);
        assert_eq!(cut("short"), "short");
    }
}
