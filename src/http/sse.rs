//! Server-sent events over any writer: one event, one write, flushed at once. Chunked for HTTP/1.1, ended by closing
//! for HTTP/1.0. Knows nothing of what the events say.

use std::io::{self, Write};

use chunked_transfer::Encoder;

use crate::http::reply::{self, After, Context};
use crate::limits;

/// An open event stream. Dropping it without [`EventStream::finish`] leaves the stream visibly cut off.
#[derive(Debug)]
pub struct EventStream<W: Write> {
    out: Output<W>,
    line: Vec<u8>,
}

enum Output<W: Write> {
    Chunked(Encoder<Gate<W>>),
    Plain(W),
    Finished,
}

impl<W: Write> std::fmt::Debug for Output<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Output::Chunked(_) => "Chunked",
            Output::Plain(_) => "Plain",
            Output::Finished => "Finished",
        })
    }
}

/// Swallows what the encoder writes when it is dropped early: a last chunk would tell the client that all came.
struct Gate<W> {
    inner: W,
    open: bool,
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open { self.inner.write(bytes) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.open { self.inner.flush() } else { Ok(()) }
    }
}

impl<W: Write> EventStream<W> {
    /// Writes the head of the answer and opens the stream.
    pub fn start(mut writer: W, context: &Context<'_>) -> io::Result<EventStream<W>> {
        let chunked = context.version_minor == 1;
        let after = if chunked && context.keep_alive { After::Keep } else { After::Close };
        let mut head = Vec::with_capacity(512);
        reply::write_start(&mut head, 200, context);
        reply::write_header(&mut head, "Content-Type", "text/event-stream; charset=utf-8");
        reply::write_header(&mut head, "Cache-Control", "no-cache");
        if chunked {
            reply::write_header(&mut head, "Transfer-Encoding", "chunked");
        }
        reply::write_tail(&mut head, context, after);
        writer.write_all(&head)?;
        writer.flush()?;
        let out = match chunked {
            true => {
                Output::Chunked(Encoder::with_chunks_size(Gate { inner: writer, open: true }, limits::SSE_CHUNK_BYTES))
            }
            false => Output::Plain(writer),
        };
        Ok(EventStream { out, line: Vec::new() })
    }

    /// Sends an event without name.
    pub fn data(&mut self, data: &str) -> io::Result<()> {
        self.line.clear();
        push_data(&mut self.line, data);
        self.send()
    }

    /// Sends a named event; the name is one of ours and has no line end.
    pub fn event(&mut self, name: &str, data: &str) -> io::Result<()> {
        self.line.clear();
        push_line(&mut self.line, b"event: ", name);
        push_data(&mut self.line, data);
        self.send()
    }

    /// Sends a comment, which clients ignore: it finds out whether the client is still there.
    pub fn comment(&mut self, text: &str) -> io::Result<()> {
        self.line.clear();
        push_line(&mut self.line, b": ", text);
        self.line.push(b'\n');
        self.send()
    }

    /// Ends the stream properly.
    pub fn finish(mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.out, Output::Finished) {
            Output::Chunked(mut encoder) => {
                encoder.flush()?;
                encoder.get_mut().inner.write_all(b"0\r\n\r\n")?;
                encoder.get_mut().inner.flush()?;
                encoder.get_mut().open = false;
                Ok(())
            }
            Output::Plain(mut writer) => writer.flush(),
            Output::Finished => Ok(()),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        match &mut self.out {
            Output::Chunked(encoder) => {
                for piece in self.line.chunks(limits::SSE_CHUNK_BYTES) {
                    encoder.write_all(piece)?;
                    encoder.flush()?;
                }
                encoder.get_mut().inner.flush()
            }
            Output::Plain(writer) => writer.write_all(&self.line).and_then(|()| writer.flush()),
            Output::Finished => Ok(()),
        }
    }
}

impl<W: Write> Drop for EventStream<W> {
    fn drop(&mut self) {
        if let Output::Chunked(encoder) = &mut self.out {
            encoder.get_mut().open = false;
        }
    }
}

/// Every line of the data gets its own field, else a line end in it would end the event.
fn push_data(out: &mut Vec<u8>, data: &str) {
    for line in data.split('\n') {
        push_line(out, b"data: ", line.trim_end_matches('\r'));
    }
    out.push(b'\n');
}

fn push_line(out: &mut Vec<u8>, field: &[u8], text: &str) {
    out.extend_from_slice(field);
    out.extend(text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(version_minor: u8) -> Context<'static> {
        Context { head_only: false, keep_alive: true, version_minor, date: "", hsts: None }
    }

    /// A writer that counts flushes and remembers how many bytes each saw.
    #[derive(Default)]
    struct Wire {
        bytes: Vec<u8>,
        flushed: Vec<usize>,
    }

    impl Write for &mut Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.flushed.push(self.bytes.len());
            Ok(())
        }
    }

    fn body(wire: &Wire) -> String {
        let text = String::from_utf8(wire.bytes.clone()).unwrap();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    #[test]
    fn every_event_is_one_flushed_chunk() {
        let mut wire = Wire::default();
        let mut stream = EventStream::start(&mut wire, &context(1)).unwrap();
        stream.data("{}").unwrap();
        stream.event("done", "a\nb").unwrap();
        stream.comment("still here").unwrap();
        stream.finish().unwrap();
        assert_eq!(
            body(&wire),
            "a\r\ndata: {}\n\n\r\n1d\r\nevent: done\ndata: a\ndata: b\n\n\r\ne\r\n: still here\n\n\r\n0\r\n\r\n"
        );
        assert!(wire.flushed.windows(2).all(|pair| pair[0] < pair[1]), "flushes without bytes: {:?}", wire.flushed);
        assert_eq!(wire.flushed.len(), 5);
    }

    #[test]
    fn the_head_is_the_recorded_one() {
        let mut wire = Wire::default();
        EventStream::start(&mut wire, &context(1)).unwrap().finish().unwrap();
        let text = String::from_utf8(wire.bytes).unwrap();
        assert!(text.contains("\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"));
        assert!(text.contains("\r\nTransfer-Encoding: chunked\r\n") && text.contains("nosniff"));
    }

    #[test]
    fn an_old_client_gets_no_chunks_and_a_closed_connection() {
        let mut wire = Wire::default();
        let mut stream = EventStream::start(&mut wire, &context(0)).unwrap();
        stream.data("x").unwrap();
        stream.finish().unwrap();
        assert_eq!(body(&wire), "data: x\n\n");
        assert!(String::from_utf8(wire.bytes).unwrap().contains("\r\nConnection: close\r\n"));
    }

    #[test]
    fn a_dropped_stream_has_no_last_chunk() {
        let mut wire = Wire::default();
        let mut stream = EventStream::start(&mut wire, &context(1)).unwrap();
        stream.data("x").unwrap();
        drop(stream);
        assert_eq!(body(&wire), "9\r\ndata: x\n\n\r\n");
    }

    #[test]
    fn a_large_event_arrives_whole() {
        let mut wire = Wire::default();
        let data = "y".repeat(3 * limits::SSE_CHUNK_BYTES + 17);
        let mut stream = EventStream::start(&mut wire, &context(1)).unwrap();
        stream.data(&data).unwrap();
        stream.finish().unwrap();
        let body = body(&wire);
        let mut decoded = String::new();
        io::Read::read_to_string(&mut chunked_transfer::Decoder::new(body.as_bytes()), &mut decoded).unwrap();
        assert_eq!(decoded, format!("data: {data}\n\n"));
    }
}
