//! A model server that answers by script, in the form of OpenAI's chat completions, on loopback. Tells what it was
//! asked; knows nothing of the gateway.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::PATIENCE;

/// What the server does with one request.
pub enum Act {
    /// Streams these pieces as an answer.
    Say(&'static [&'static str]),
    /// Streams these pieces and then waits until the asker hangs up.
    SayAndHang(&'static [&'static str]),
    /// Streams these pieces and then breaks the connection.
    SayAndCut(&'static [&'static str]),
    /// Streams this answer after the word was given through [`Upstream::go`].
    SayWhenTold(&'static str),
    /// Asks for a tool with these arguments.
    Call(&'static str, Value),
    /// Asks for a tool after the word was given.
    CallWhenTold(&'static str, Value),
    /// Answers with this status, further header lines and body.
    Refuse(u16, &'static str, &'static str),
    /// Sends this text as the body of a stream.
    Raw(&'static [u8]),
    /// The same in chunks of one byte.
    Dribble(Vec<u8>),
    /// Streams so many bytes of text in pieces, as long as somebody takes them.
    Flood(usize),
    /// Accepts the question and says nothing.
    Hang,
}

/// The running server.
pub struct Upstream {
    /// Where it listens.
    pub port: u16,
    asked: Receiver<Value>,
    keys: Receiver<String>,
    gone: Receiver<()>,
    go: Sender<()>,
}

struct Shared {
    script: Mutex<VecDeque<Act>>,
    asked: Sender<Value>,
    keys: Sender<String>,
    gone: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Upstream {
    /// Starts a server that plays the script; afterwards it answers `done`.
    pub fn play(script: Vec<Act>) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (keys, keys_end) = channel();
        let ((asked, asked_end), (gone, gone_end), (go, go_end)) = (channel(), channel(), channel());
        let shared = Arc::new(Shared { script: Mutex::new(script.into()), asked, keys, gone, go: Mutex::new(go_end) });
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    // A peer that hangs up in the middle is part of the scripts.
                    let _ = serve(stream, &shared);
                });
            }
        });
        Upstream { port, asked: asked_end, keys: keys_end, gone: gone_end, go }
    }

    /// The body of the next request.
    pub fn asked(&self) -> Value {
        self.asked.recv_timeout(PATIENCE).expect("the model was not asked")
    }

    /// The key of the next request.
    pub fn key(&self) -> String {
        self.keys.recv_timeout(PATIENCE).expect("the model was not asked")
    }

    /// Whether the model was asked again.
    pub fn asked_more(&self) -> bool {
        self.asked.try_recv().is_ok()
    }

    /// Whether nobody asks for a while.
    pub fn is_left_alone(&self) -> bool {
        self.asked.recv_timeout(std::time::Duration::from_millis(150)).is_err()
    }

    /// Waits until the asker of a hanging answer has hung up.
    pub fn hung_up(&self) {
        self.gone.recv_timeout(PATIENCE).expect("the asker did not hang up");
    }

    /// Lets one answer that waits go on.
    pub fn go(&self) {
        self.go.send(()).unwrap();
    }

    /// A configuration that uses this server, with more members of the root.
    pub fn config(&self, more: &str) -> String {
        let model = r#"{id: "m", name: "m", contextWindow: 100000, maxTokens: 1000, input: ["text"]}"#;
        format!(
            "{{models: {{providers: {{up: {{baseUrl: \"http://127.0.0.1:{}/v1\", apiKey: \"key\", \
             api: \"openai-completions\", models: [{model}]}}}}}}, \
             agents: {{defaults: {{model: \"up/m\", skipBootstrap: true}}}}{more}}}",
            self.port
        )
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(body) = request(&mut reader)? {
        let (body, key) = body;
        let _ = shared.keys.send(key);
        let act = shared.script.lock().unwrap().pop_front().unwrap_or(Act::Say(&["done"]));
        let _ = shared.asked.send(body);
        let whole = act_out(act, &mut stream, &mut reader, shared)?;
        if !whole {
            break;
        }
    }
    Ok(())
}

fn request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<(Value, String)>> {
    let (mut length, mut key) = (0, String::new());
    let mut first = true;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        if let Some(("authorization", bearer)) = line.to_lowercase().split_once(':').map(|(n, v)| (n.trim(), v.trim()))
        {
            key = bearer.trim_start_matches("bearer ").to_string();
        }
        if !first && line.trim().is_empty() {
            break;
        }
        first = false;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body).unwrap_or(Value::Null), key)))
}

/// Plays one act; false when the connection is over.
fn act_out(
    act: Act,
    stream: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
    shared: &Shared,
) -> std::io::Result<bool> {
    match act {
        Act::Say(pieces) => {
            begin(stream)?;
            pieces.iter().try_for_each(|piece| chunk(stream, &delta(json!({"content": piece}))))?;
            end(stream, "stop")?;
        }
        Act::SayWhenTold(text) => {
            shared.go.lock().unwrap().recv_timeout(PATIENCE).ok();
            begin(stream)?;
            chunk(stream, &delta(json!({"content": text})))?;
            end(stream, "stop")?;
        }
        Act::SayAndHang(pieces) => {
            // Who was quick to hang up has hung up, too.
            let mut said = begin(stream).is_ok();
            for piece in pieces {
                said = said && chunk(stream, &delta(json!({"content": piece}))).is_ok();
            }
            let _ = reader.read(&mut [0; 1]);
            let _ = shared.gone.send(());
            return Ok(false);
        }
        Act::SayAndCut(pieces) => {
            begin(stream)?;
            pieces.iter().try_for_each(|piece| chunk(stream, &delta(json!({"content": piece}))))?;
            return Ok(false);
        }
        Act::CallWhenTold(name, arguments) => {
            shared.go.lock().unwrap().recv_timeout(PATIENCE).ok();
            return act_out(Act::Call(name, arguments), stream, reader, shared);
        }
        Act::Call(name, arguments) => {
            begin(stream)?;
            let call = json!({"index": 0, "id": "call_1", "type": "function",
                "function": {"name": name, "arguments": arguments.to_string()}});
            chunk(stream, &delta(json!({"tool_calls": [call]})))?;
            end(stream, "tool_calls")?;
        }
        Act::Refuse(status, headers, body) => {
            write!(
                stream,
                "HTTP/1.1 {status} No\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?;
        }
        Act::Hang => {
            let _ = reader.read(&mut [0; 1]);
            let _ = shared.gone.send(());
            return Ok(false);
        }
        Act::Dribble(bytes) => {
            begin(stream)?;
            for byte in bytes {
                stream.write_all(&[b'1', b'\r', b'\n', byte, b'\r', b'\n'])?;
                stream.flush()?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
        Act::Flood(bytes) => {
            begin(stream)?;
            let piece = delta(json!({"content": "x".repeat(32 * 1024)}));
            (0..bytes / (32 * 1024)).try_for_each(|_| chunk(stream, &piece))?;
            end(stream, "stop")?;
        }
        Act::Raw(bytes) => {
            begin(stream)?;
            write!(stream, "{:x}\r\n", bytes.len())?;
            stream.write_all(bytes)?;
            stream.write_all(b"\r\n0\r\n\r\n")?;
        }
    }
    stream.flush()?;
    Ok(true)
}

fn delta(delta: Value) -> String {
    json!({"id": "c", "choices": [{"index": 0, "delta": delta}]}).to_string()
}

fn begin(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
}

fn chunk(stream: &mut TcpStream, data: &str) -> std::io::Result<()> {
    let text = format!("data: {data}\n\n");
    write!(stream, "{:x}\r\n{text}\r\n", text.len())?;
    stream.flush()
}

fn end(stream: &mut TcpStream, reason: &str) -> std::io::Result<()> {
    let last = json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}});
    chunk(stream, &last.to_string())?;
    chunk(stream, "[DONE]")?;
    stream.write_all(b"0\r\n\r\n")
}
