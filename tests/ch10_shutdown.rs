//! Chapter 10: the end (`spec/lifecycle.md` 10, 12): signals, the shutdown event, close 1012, exit codes, locks.

use std::time::{Duration, Instant};

use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Wire, get};
use crate::harness::peer::{Hello, Peer};
use crate::harness::websocket::Socket;

/// How long an orderly stop may take: decisions.md asks for 250 ms with 100 clients; this is a loaded debug build.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn sigterm_and_sigint_say_goodbye_and_exit_0() {
    for name in ["TERM", "INT", "HUP"] {
        let mut gateway = Gateway::start();
        let mut peers = [Peer::connect(&gateway, &Hello::v3()), Peer::connect(&gateway, &Hello::v4())];
        let began = Instant::now();
        gateway.signal(name);
        for peer in &mut peers {
            let event = peer.event("shutdown");
            assert_eq!(event["payload"]["reason"], "gateway stopping", "{event}");
            assert!(event["seq"].is_u64());
            assert!(event["payload"].get("restartExpectedMs").is_none_or(|ms| ms.is_null()), "{event}");
            assert_eq!(peer.closed(), (1012, "service restart".to_string()));
        }
        let status = gateway.wait();
        assert_eq!(status.code(), Some(0), "{name}: {status}");
        assert!(began.elapsed() < SOON, "{name}: {:?}", began.elapsed());
    }
}

#[test]
fn silent_and_half_open_connections_do_not_hold_the_stop_up() {
    let gateway = Gateway::start();
    let _silent: Vec<Wire> = (0..5).map(|_| Wire::open(gateway.port)).collect();
    let mut half = Wire::open(gateway.port);
    half.send("GET / HTT");
    let mut kept = Wire::open(gateway.port);
    assert_eq!(kept.ask(get("/health")).status, 200);
    let _unconnected = Socket::open(gateway.port);
    let _deaf = Peer::connect(&gateway, &Hello::v4());
    let began = Instant::now();
    let (status, _home) = gateway.stop();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(began.elapsed() < SOON + Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut gateway = Gateway::start();
    let _deaf = Peer::connect(&gateway, &Hello::v4());
    let began = Instant::now();
    gateway.signal("TERM");
    gateway.signal("TERM");
    gateway.wait();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_hundred_clients_are_told_and_gone_quickly() {
    let gateway = Gateway::start();
    let mut peers: Vec<Peer> = (0..100).map(|_| Peer::connect(&gateway, &Hello::v4())).collect();
    let began = Instant::now();
    let (status, _home) = gateway.stop();
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    for peer in &mut peers {
        peer.event("shutdown");
        assert_eq!(peer.closed().0, 1012);
    }
}

#[test]
fn the_port_and_the_state_are_free_again_afterwards() {
    let gateway = Gateway::start();
    let port = gateway.port.to_string();
    let (_, home) = gateway.stop();
    let again = Setup::new().home(home).words(&["--port", &port]).start();
    assert_eq!(again.port.to_string(), port);
    Peer::connect(&again, &Hello::v4()).alive();
}

#[test]
fn a_killed_gateway_leaves_no_stale_lock() {
    let mut gateway = Gateway::start();
    gateway.signal("KILL");
    gateway.wait();
    let home = gateway.into_home();
    Peer::connect(&Setup::new().home(home).start(), &Hello::v4()).alive();
}

#[test]
fn what_a_killed_gateway_was_writing_is_cleared_away() {
    let mut gateway = Gateway::start();
    gateway.signal("KILL");
    gateway.wait();
    let home = gateway.into_home();
    let folders = ["devices", "cron", "agents/main/sessions", "agents/main/agent", "."];
    let leftover = |folder: &str| home.state(folder).join(".x.json.999999999-1.openclaw.tmp");
    let leftovers: Vec<_> = folders.into_iter().map(leftover).collect();
    for leftover in &leftovers {
        std::fs::create_dir_all(leftover.parent().unwrap()).unwrap();
        std::fs::write(leftover, "{").unwrap();
    }
    let _again = Setup::new().home(home).start();
    let left: Vec<_> = leftovers.iter().filter(|leftover| leftover.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_second_gateway_on_the_port_is_refused_by_name() {
    let gateway = Gateway::start();
    let port = gateway.port.to_string();
    let home = crate::harness::gateway::Home::new();
    home.configure("{}");
    let words = ["gateway", "--port", &port, "--allow-unconfigured"];
    let output = home.run(&words, &[("OPENCLAW_GATEWAY_TOKEN", "other")]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let text = format!("another gateway instance is already listening on ws://127.0.0.1:{port}");
    assert!(stderr.contains(&text), "{stderr}");
    assert!(stderr.contains(&gateway.pid().to_string()), "it names the process that holds the port: {stderr}");
}

#[test]
fn a_second_gateway_on_the_state_folder_is_refused_by_name() {
    let gateway = Gateway::start();
    let output =
        gateway.home().run(&["gateway", "--port", "0", "--allow-unconfigured"], &[("OPENCLAW_GATEWAY_TOKEN", "other")]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("gateway already running"), "{stderr}");
    Peer::connect(&gateway, &Hello::v4()).alive();
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let home = crate::harness::gateway::Home::new();
    let path = home.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let gateway = Setup::new().env("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    let next = |wanted: &str| loop {
        let mut datagram = [0; 4096];
        let length = socket.recv(&mut datagram).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
        if String::from_utf8_lossy(&datagram[..length]).lines().any(|line| line == wanted) {
            return;
        }
    };
    next("READY=1");
    gateway.stop();
    next("STOPPING=1");
}
