//! Chapter 11: every bound a stranger can reach (`src/limits.rs`), from outside: sizes, counts, depths, times.

use std::time::{Duration, Instant};

use openclaw::limits;
use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Home, Setup};
use crate::harness::http::{Wire, fetch, get, post};
use crate::harness::peer::{Hello, Peer, now_ms};
use crate::harness::upstream::{Act, Upstream};
use crate::harness::websocket::{Arrival, BINARY, CLOSE, PING, Socket, TEXT, frame};

#[test]
fn a_message_over_64_kib_before_connect_is_closed_with_1009() {
    let gateway = Gateway::start();
    let mut peer = Peer::open(&gateway);
    peer.socket.text(&"x".repeat(limits::PREAUTH_MESSAGE_BYTES + 1));
    assert_eq!(peer.closed().0, 1009);
    // One byte less is a message like any other: not JSON, hence 1000.
    let mut peer = Peer::open(&gateway);
    peer.socket.text(&"x".repeat(limits::PREAUTH_MESSAGE_BYTES));
    assert_eq!(peer.closed().0, 1000);
}

#[test]
fn the_size_is_judged_by_the_frame_head_not_after_the_payload() {
    let gateway = Gateway::start();
    let mut peer = Peer::open(&gateway);
    let head = &frame(true, TEXT, true, &vec![b'x'; 100_000])[..14];
    peer.socket.raw(head);
    assert_eq!(peer.closed().0, 1009);
}

#[test]
fn fragments_count_together() {
    let gateway = Gateway::start();
    let mut peer = Peer::open(&gateway);
    peer.socket.frame(false, TEXT, &vec![b'x'; 40_000]);
    peer.socket.frame(true, 0, &vec![b'x'; 40_000]);
    assert_eq!(peer.closed().0, 1009);
}

#[test]
fn after_connect_the_limit_is_that_of_the_version() {
    let gateway = Gateway::start();
    let padding = |bytes: usize| json!({"text": "x", "tags": ["p".repeat(bytes)]});
    let mut old = Peer::connect(&gateway, &Hello::v3());
    old.send("system-event", padding(limits::MESSAGE_BYTES_V3 - 4096));
    old.alive();
    old.send("system-event", padding(limits::MESSAGE_BYTES_V3));
    assert_eq!(old.closed().0, 1009);
    let mut new = Peer::connect(&gateway, &Hello::v4());
    new.send("system-event", padding(4 * limits::MESSAGE_BYTES_V3));
    new.alive();
}

#[test]
fn the_largest_message_of_version_4_is_taken_and_not_one_byte_more() {
    let gateway = Setup::new().slow().start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let (head, tail) =
        (r#"{"type":"req","id":"large","method":"system-event","params":{"text":"x","tags":[""#, r#""]}}"#);
    let padding = limits::MESSAGE_BYTES_V4 - head.len() - tail.len();
    peer.socket.text(&format!("{head}{}{tail}", "p".repeat(padding)));
    assert_eq!(peer.response("large")["ok"], true);
    // A frame's head says how long it is.
    let length = u64::try_from(limits::MESSAGE_BYTES_V4 + 1).unwrap();
    peer.socket.raw(&[&[0x80 | TEXT, 0x80 | 127][..], &length.to_be_bytes(), &[0; 4]].concat());
    assert_eq!(peer.closed().0, 1009);
}

/// Requests that were taken up so far, this one included.
fn requests(peer: &mut Peer) -> u64 {
    peer.get("diagnostics.stability", json!({}))["summary"]["requests"]["answered"].as_u64().unwrap()
}

/// Orders so many answers that nobody reads, and waits until they are all given.
fn order(slow: &mut Peer, other: &mut Peer, count: usize) -> Vec<String> {
    let before = requests(other);
    let ids: Vec<String> = (0..count).map(|_| slow.send("system-presence", json!({}))).collect();
    let all = before + u64::try_from(count).unwrap();
    assert!((1..20_000).any(|asked| requests(other) >= all + asked), "they are not taken up");
    ids
}

#[test]
fn answers_nobody_reads_pile_up_to_the_bound_of_the_version_and_no_further() {
    for (hello, most, beacons) in
        [(Hello::v3(), limits::BUFFERED_BYTES_V3, 2), (Hello::v4(), limits::BUFFERED_BYTES_V4, 50)]
    {
        let mut gateway = Setup::new().slow().start();
        let mut other = Peer::connect(&gateway, &Hello::v4());
        other.forgets_events = true;
        for n in 0..beacons {
            let tags: Vec<String> = (0..limits::PRESENCE_LIST_ITEMS).map(|tag| format!("{tag:0>512}")).collect();
            other.get("system-event", json!({"text": "x", "instanceId": format!("b{n}"), "tags": tags}));
        }
        let mut slow = Peer::connect(&gateway, &hello);
        assert_eq!(slow.hello["policy"]["maxBufferedBytes"], json!(most));
        let size = 200 + other.get("system-presence", json!({})).to_string().len();
        let ids = order(&mut slow, &mut other, most / size);
        ids.iter().for_each(|id| assert_eq!(slow.response(id)["ok"], true));
        // What the kernel takes does not count, and nobody knows how much that is.
        let more = (most + (64 << 20)) / size;
        (0..more).for_each(|_| drop(slow.send("system-presence", json!({}))));
        let line = gateway.line("closing slow consumer");
        let queued: usize = line.rsplit("queued=").next().unwrap().trim().parse().unwrap();
        assert!((most + 1..=most + size).contains(&queued), "{queued} of {most}");
        other.alive();
    }
}

#[test]
fn a_system_event_as_large_as_a_message_does_not_swell_presence() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.call(
        "system-event",
        json!({"text": "t".repeat(400_000), "host": "h".repeat(400_000), "tags": vec!["g".repeat(9_000); 40]}),
    );
    let list = peer.get("system-presence", json!({})).to_string();
    assert!(list.len() < 256 * 1024, "{} bytes", list.len());
}

#[test]
fn the_thirty_third_unauthenticated_socket_of_an_address_is_refused() {
    let gateway = Gateway::start();
    let mut held: Vec<Socket> = (0..limits::UNAUTHENTICATED_PER_ADDRESS).map(|_| Socket::open(gateway.port)).collect();
    let answer = Wire::open(gateway.port).answer().expect("a refused socket is told why");
    assert_eq!(answer.status, 503);
    // Authenticating frees a place.
    let mut peer = Peer::over(held.pop().unwrap());
    assert_eq!(peer.greet(Hello::v4().params())["ok"], true);
    let mut last = Peer::connect(&gateway, &Hello::v4());
    last.alive();
    drop(held);
    peer.alive();
}

#[test]
fn more_connections_than_configured_are_refused_and_places_come_back() {
    let gateway = Setup::new().config(r#"{gateway: {mode: "local", maxConnections: 4}}"#).start();
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::connect(&gateway, &Hello::v4())).collect();
    assert_eq!(Wire::open(gateway.port).answer().unwrap().status, 503);
    peers.pop();
    let free = (0..2_000).any(|_| {
        peers[0].alive();
        let mut wire = Wire::open(gateway.port);
        wire.send("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        wire.answer().is_some_and(|answer| answer.status == 200)
    });
    assert!(free, "the place of a client that left did not come back");
}

#[test]
fn kept_http_connections_leave_room_for_clients() {
    let gateway = Setup::new().config(r#"{gateway: {mode: "local", maxConnections: 48}}"#).start();
    let mut kept = Vec::new();
    let closed = (0..48).find_map(|_| {
        let mut wire = Wire::open(gateway.port);
        let answer = wire.ask(get("/health"));
        assert_eq!(answer.status, 200);
        if answer.closes() {
            return Some(wire);
        }
        kept.push(wire);
        None
    });
    assert!(closed.expect("one connection is closed after its answer").ends());
    assert_eq!(kept.len(), 48 * limits::KEPT_SHARE.0 / limits::KEPT_SHARE.1);
    // Those that stayed are told to go with their next answer.
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert!(kept[0].ask(get("/health")).closes());
    peer.alive();
}

#[test]
fn the_default_number_of_connections_is_really_served() {
    let gateway = Setup::new().slow().start();
    let mut peers: Vec<Peer> = (0..limits::CONNECTIONS).map(|_| Peer::connect(&gateway, &Hello::v4())).collect();
    for peer in &mut peers {
        peer.alive();
    }
    assert_eq!(Wire::open(gateway.port).answer().unwrap().status, 503);
}

#[test]
fn a_thousand_programs_keep_their_connections_and_none_is_left_behind() {
    let gateway = Setup::new().slow().config(r#"{gateway: {mode: "local", maxConnections: 4096}}"#).start();
    let request = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    // Five times a thousand are more than there is room for: those that left are forgotten. A gateway that does not
    // forget them is crowded for ever.
    for _ in 0..5 {
        while Wire::open(gateway.port).ask(request).closes() {}
        let mut wires = Vec::new();
        for _ in 0..1000 {
            wires.push(Wire::open(gateway.port));
            assert_eq!(wires.last_mut().unwrap().ask(request).status, 200);
        }
        // What was served before is still there.
        let again = wires.iter_mut().map(|wire| wire.ask(request)).filter(|answer| answer.status == 200).count();
        assert_eq!(again, 1000);
    }
}

/// `depth` arrays inside each other.
fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[test]
fn json_may_be_nested_to_the_limit_and_one_more_is_not_json() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    // Two levels are the frame's own: the frame object and its params.
    let request = |depth| {
        format!(
            r#"{{"type":"req","id":"deep","method":"system-event","params":{{"text":"x","tags":{}}}}}"#,
            nested(depth)
        )
    };
    peer.socket.text(&request(limits::JSON_DEPTH - 2));
    peer.response("deep");
    peer.socket.text(&request(limits::JSON_DEPTH));
    peer.alive();
}

#[test]
fn nested_bombs_of_every_kind_leave_the_process_alone() {
    let gateway = Gateway::start();
    let objects = r#"{"a":"#.repeat(120) + "1" + &"}".repeat(120);
    let bombs = [
        nested(252) + "1",
        "[".repeat(505),
        "[".repeat(60_000),
        r#"{"a":"#.repeat(10_000),
        format!(r#"{{"type":"req","id":"1","method":"connect","params":{objects}}}"#),
        format!(r#"{{"type":"req","id":"1","method":"connect","params":{}}}"#, nested(124)),
    ];
    for bomb in &bombs {
        let mut peer = Peer::open(&gateway);
        peer.socket.text(bomb);
        let (code, _) = peer.closed();
        assert!([1000, 1008].contains(&code), "{code}");
    }
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for bomb in &bombs {
        peer.socket.text(bomb);
    }
    peer.alive();
}

#[test]
fn a_handshake_that_takes_too_long_is_closed_with_1000() {
    let gateway = Setup::new().env("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "300").start();
    let began = Instant::now();
    let mut silent = Peer::open(&gateway);
    assert_eq!(silent.closed(), (1000, String::new()));
    assert!(
        began.elapsed() >= Duration::from_millis(250) && began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // Pings and halves of a message do not extend it.
    let mut chatty = Peer::open(&gateway);
    chatty.socket.frame(true, PING, b"x");
    chatty.socket.frame(false, TEXT, b"{");
    assert_eq!(chatty.closed(), (1000, String::new()));
    Peer::connect(&gateway, &Hello::v4()).alive();
}

#[test]
fn a_head_that_trickles_is_ended_by_its_deadline() {
    let gateway = Setup::new().slow().start();
    let mut wire = Wire::open(gateway.port);
    wire.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n");
    let began = Instant::now();
    // Each read waits half a second for an end; between them comes one more header.
    let mut answer = [0; 512];
    let length = loop {
        match std::io::Read::read(&mut wire.socket, &mut answer) {
            Ok(length) => break length,
            Err(_) => wire.send("X: 1\r\n"),
        }
        assert!(began.elapsed() < limits::HTTP_HEAD + Duration::from_secs(10), "the head may trickle for ever");
    };
    assert!(began.elapsed() >= limits::HTTP_HEAD - Duration::from_secs(1), "{:?}", began.elapsed());
    let text = String::from_utf8_lossy(&answer[..length]);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    assert_eq!(fetch(gateway.port, "/health").status, 200);
}

#[test]
fn frames_against_the_websocket_rules_end_the_connection_and_nothing_else() {
    let gateway = Gateway::start();
    let mut other = Peer::connect(&gateway, &Hello::v4());
    let bad: [(&str, u16, Vec<u8>); 9] = [
        ("unmasked", 1002, frame(true, TEXT, false, b"{}")),
        ("reserved bit", 1002, vec![0xc1, 0x80, 1, 2, 3, 4]),
        ("reserved opcode", 1002, frame(true, 3, true, b"x")),
        ("reserved control opcode", 1002, frame(true, 11, true, b"")),
        ("fragmented ping", 1002, frame(false, PING, true, b"x")),
        ("long ping", 1002, frame(true, PING, true, &[0; 126])),
        ("continuation of nothing", 1002, frame(true, 0, true, b"x")),
        ("a length of eight bytes with the top bit", 1009, vec![0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
        ("text that is not UTF-8", 1007, frame(true, TEXT, true, b"\xff\xfe")),
    ];
    for (name, expected, bytes) in bad {
        let mut peer = Peer::connect(&gateway, &Hello::v4());
        peer.socket.raw(&bytes);
        let code = loop {
            match peer.socket.next() {
                Arrival::Text(_) => {}
                Arrival::Close(code, _) => break code,
                other => panic!("{name}: {other:?}"),
            }
        };
        assert_eq!(code, expected, "{name}");
        other.alive();
    }
}

#[test]
fn close_frames_are_answered_and_odd_ones_survived() {
    let gateway = Gateway::start();
    for payload in [&[][..], &[3, 232], &[3, 232, b'b', b'y', b'e'], &[0, 5], &[3], &[3, 232, 0xff]] {
        let mut peer = Peer::connect(&gateway, &Hello::v4());
        peer.socket.frame(true, CLOSE, payload);
        loop {
            match peer.socket.next() {
                Arrival::Text(_) => {}
                Arrival::Close(..) | Arrival::End => break,
                other => panic!("{other:?}"),
            }
        }
    }
    Peer::connect(&gateway, &Hello::v4()).alive();
}

#[test]
fn a_flood_of_pings_is_survived() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let ping = frame(true, PING, true, &[7; 100]);
    let flood: Vec<u8> = ping.iter().copied().cycle().take(ping.len() * 2_000).collect();
    peer.socket.raw(&flood);
    peer.alive();
}

#[test]
fn an_empty_and_a_binary_message_that_is_no_text_are_survived() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.socket.frame(true, TEXT, b"");
    peer.socket.frame(true, BINARY, b"");
    peer.socket.frame(true, BINARY, b"\xff\xfe\x00");
    peer.alive();
}

#[test]
fn a_request_id_and_a_method_name_of_any_length_come_back_or_are_refused() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = "i".repeat(100_000);
    peer.socket.text(&json!({"type": "req", "id": id, "method": "health"}).to_string());
    let frame = peer.frame();
    assert!(frame["type"] == "res" || frame["type"] == "event", "{frame}");
    let answer = peer.call(&"m".repeat(100_000), json!({}));
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.len() < 1024), "a long name is cut");
    peer.alive();
}

#[test]
fn pending_pairings_are_bounded() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    for n in 0..limits::PAIRING_PENDING + 20 {
        peer.call("node.pair.request", json!({"nodeId": format!("n{n}")}));
    }
    let pending = peer.get("node.pair.list", json!({}))["pending"].as_array().map_or(0, Vec::len);
    assert!(pending <= limits::PAIRING_PENDING, "{pending}");
}

#[test]
fn log_tails_are_bounded_by_bytes_and_lines() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for _ in 0..50 {
        drop(Peer::connect(&gateway, &Hello::v4()));
    }
    let tail = peer.get("logs.tail", json!({"limit": 3, "maxBytes": 100_000}));
    assert!(tail["lines"].as_array().unwrap().len() <= 3, "{tail}");
    let tail = peer.get("logs.tail", json!({"maxBytes": 300}));
    let bytes: usize = tail["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().len() + 1).sum();
    assert!(bytes <= 300, "{bytes}");
    let cursor: Value = tail["cursor"].clone();
    let next = peer.get("logs.tail", json!({"cursor": cursor}));
    assert_eq!(next["reset"], false, "{next}");
    let far = peer.get("logs.tail", json!({"cursor": 999_999_999}));
    assert_eq!(far["reset"], true, "{far}");
}

#[test]
fn a_console_that_nobody_reads_stops_nobody() {
    let mut gateway = Setup::new().deaf().start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    // Each refusal is a line of more than a hundred bytes; a pipe holds 64 KiB.
    for _ in 0..1_500 {
        peer.call("nobody.knows.this.method.which.has.a.long.name.so.that.the.pipe.is.soon.full", json!({}));
    }
    peer.alive();
    Peer::connect(&gateway, &Hello::v3()).alive();
    gateway.signal("TERM");
    assert!(gateway.wait().success());
}

#[test]
fn a_connection_costs_two_threads_and_one_file_and_gives_them_back() {
    let gateway = Gateway::start();
    Peer::connect(&gateway, &Hello::v4()).alive();
    let settled = |files: usize, threads: usize| {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if gateway.count("fd") <= files && gateway.count("task") <= threads {
                return true;
            }
            fetch(gateway.port, "/health");
        }
        false
    };
    let (files, threads) = (gateway.count("fd"), gateway.count("task"));
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::connect(&gateway, &Hello::v4())).collect();
    peers.iter_mut().for_each(Peer::alive);
    // The first probe and one that is just leaving may still be there.
    assert!(settled(files + 22, threads + 44), "{} files, {} threads", gateway.count("fd"), gateway.count("task"));
    drop(peers);
    assert!(settled(files, threads), "{} files, {} threads", gateway.count("fd"), gateway.count("task"));
}

#[test]
fn a_model_that_answers_in_a_burst_closes_no_client_as_slow() {
    static PIECES: [&str; 1000] = ["word "; 1000];
    let upstream = Upstream::play((0..4).map(|_| Act::Say(&PIECES)).collect());
    let gateway = Setup::new().config(&upstream.config("")).start();
    let mut reader = Peer::connect(&gateway, &Hello::v4());
    let mut idle = Peer::connect(&gateway, &Hello::v3());
    let runs = ["a", "b", "c", "d"];
    let asked = runs.map(|run| {
        let params = json!({"message": "hi", "idempotencyKey": run, "sessionKey": run});
        idle.send("agent", params)
    });
    // It reads nothing while they run: 12 MB, if every piece went out with the whole text before it.
    for run in runs {
        assert_eq!(reader.get("agent.wait", json!({"runId": run, "timeoutMs": 20_000}))["status"], "ok");
    }
    for id in &asked {
        assert_eq!(idle.response(id)["payload"]["status"], "accepted");
    }
    for id in &asked {
        let text = idle.response(id)["payload"]["result"]["payloads"][0]["text"].to_string();
        assert!(text.len() > 4_990, "{} bytes", text.len());
    }
}

/// A state folder with these many sessions of programs' calls, oldest first, and a named one that is older than all.
fn home_with_calls(count: usize) -> Home {
    let home = Home::new();
    let folder = home.state("agents/main/sessions");
    std::fs::create_dir_all(&folder).unwrap();
    let mut index = json!({"agent:main:openai-user:ann": {"sessionId": "ann", "updatedAt": 1}});
    std::fs::write(folder.join("ann.jsonl"), "{}\n").unwrap();
    for number in 0..count {
        let id = format!("6f07d653-4d76-8a84-a1f6-{number:012}");
        let key = format!("agent:main:openai:6f07d653-4d76-4184-a1f6-{number:012}");
        std::fs::write(folder.join(format!("{id}.jsonl")), "{}\n").unwrap();
        index[key] = json!({"sessionId": id, "updatedAt": now_ms() - 10_000_000 + number as u64});
    }
    std::fs::write(folder.join("sessions.json"), index.to_string()).unwrap();
    home
}

#[test]
fn a_burst_of_calls_that_name_no_session_leaves_no_more_than_a_thousand_and_keeps_what_is_named() {
    let upstream = Upstream::play(vec![]);
    let config = upstream.config(", gateway: {http: {endpoints: {chatCompletions: {enabled: true}}}}");
    let home = home_with_calls(limits::THROWAWAY_SESSIONS);
    let mut gateway = Setup::new().home(home).config(&config).start();
    let body = |more: &str| {
        format!("{{\"model\": \"openclaw\", \"messages\": [{{\"role\": \"user\", \"content\": \"hi\"}}]{more}}}")
    };
    let mut wire = Wire::open(gateway.port);
    let mut ask = |more: &str| {
        let answer = wire.ask(post("/v1/chat/completions", "", &body(more)));
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let oldest = "agent:main:openai:6f07d653-4d76-4184-a1f6-000000000000";
    peer.get("sessions.patch", json!({"key": oldest, "label": "Mine"}));
    ask(", \"user\": \"bob\"");
    (0..limits::THROWAWAY_SLACK).for_each(|_| ask(""));
    // The files go when an index without them is on disk.
    let line = gateway.line("old transcripts put away=0");
    let list = peer.get("sessions.list", json!({"limit": 2000}));
    let keys: Vec<&str> = list["sessions"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
    // Of a thousand and a hundred one has a label; ann and bob have names.
    assert_eq!(keys.len(), limits::THROWAWAY_SESSIONS + 3, "{line}");
    for named in ["agent:main:openai-user:ann", "agent:main:openai-user:bob", oldest] {
        assert!(keys.contains(&named), "{named}");
    }
    let (status, home) = gateway.stop();
    assert!(status.success());
    let folder = home.state("agents/main/sessions");
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("sessions.json")).unwrap()).unwrap();
    let index = index.as_object().unwrap();
    let transcripts = std::fs::read_dir(&folder).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.ends_with(".jsonl")
    });
    assert_eq!((index.len(), transcripts.count()), (keys.len(), keys.len()));
    assert!(folder.join("ann.jsonl").exists() && folder.join("6f07d653-4d76-8a84-a1f6-000000000000.jsonl").exists());
    assert!(!folder.join("6f07d653-4d76-8a84-a1f6-000000000001.jsonl").exists());
}
