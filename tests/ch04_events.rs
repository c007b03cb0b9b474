//! Chapter 4: events (`spec/protocol.md` 6.2, 9, 10): sequence numbers, presence, health, tick, slow consumers.

use serde_json::{Value, json};

use crate::harness::device::Device;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::peer::{Hello, Peer, now_ms};
use crate::harness::websocket::Arrival;

fn ticking() -> Gateway {
    Setup::new().env("OPENCLAW_GATEWAY_TICK_MS", "1000").start()
}

#[test]
fn each_connection_counts_its_own_events_from_one() {
    let gateway = ticking();
    for hello in [Hello::v3(), Hello::v4()] {
        let mut peer = Peer::connect(&gateway, &hello);
        let mut expected = 1;
        while expected <= 4 {
            let frame = peer.frame();
            assert_eq!(frame["seq"], expected, "{frame}");
            expected += 1;
            // Something to count besides ticks.
            peer.send("system-event", json!({"text": format!("event {expected}")}));
            let id = format!("t{}", expected);
            let _ = peer.response(&id);
        }
    }
}

#[test]
fn tick_comes_at_its_interval_which_hello_announces() {
    let gateway = ticking();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(peer.hello["policy"]["tickIntervalMs"], 1000);
    let one = peer.event("tick")["payload"]["ts"].as_u64().unwrap();
    let two = peer.event("tick")["payload"]["ts"].as_u64().unwrap();
    assert!((700..=2_000).contains(&(two - one)), "{} ms", two - one);
    assert!(two.abs_diff(now_ms()) < 5_000);
    assert!(peer.event("tick").get("stateVersion").is_none(), "only presence and health carry stateVersion");
}

#[test]
fn a_tick_interval_out_of_range_is_not_taken() {
    let gateway = Setup::new().env("OPENCLAW_GATEWAY_TICK_MS", "5").start();
    let announced = Peer::connect(&gateway, &Hello::v4()).hello["policy"]["tickIntervalMs"].as_u64().unwrap();
    assert!((1_000..=30_000).contains(&announced), "{announced}");
}

fn has(presence: &Value, instance: &str, reason: &str) -> bool {
    let list = presence["presence"].as_array().unwrap();
    list.iter().any(|entry| entry["instanceId"] == instance && entry["reason"] == reason)
}

#[test]
fn others_see_a_client_come_and_go() {
    let gateway = Gateway::start();
    let mut watcher = Peer::connect(&gateway, &Hello::v4());
    let before = watcher.hello["snapshot"]["stateVersion"]["presence"].as_u64().unwrap();
    let guest = Peer::connect(&gateway, &Hello::v4().about("instanceId", "guest-1").about("displayName", "Guest"));
    let came = watcher.event_where("presence", |payload| has(payload, "guest-1", "connect"));
    assert!(came["stateVersion"]["presence"].as_u64().unwrap() > before, "{came}");
    assert!(came["stateVersion"]["health"].is_u64());
    assert!(came["seq"].is_u64());
    assert!(came["payload"]["presence"].as_array().unwrap().len() >= 3, "the whole list, not a delta: {came}");
    drop(guest);
    watcher.event_where("presence", |payload| has(payload, "guest-1", "disconnect"));
}

#[test]
fn command_lines_are_not_in_the_presence_list() {
    let gateway = Gateway::start();
    let cli = Peer::connect(&gateway, &Hello::v3().client("cli", "cli").about("instanceId", "cli-1"));
    let list = Peer::connect(&gateway, &Hello::v4()).get("system-presence", json!({}));
    assert!(!list.to_string().contains("cli-1"), "{list}");
    drop(cli);
}

#[test]
fn a_device_is_one_entry_however_often_it_connects() {
    let gateway = Gateway::start();
    let device = Device::number(40);
    let hello = Hello::v4().client("gateway-client", "ui");
    let one = Peer::connect_device(&gateway, &hello, &device, 3);
    let two = Peer::connect_device(&gateway, &hello, &device, 3);
    let list = Peer::connect(&gateway, &Hello::v4()).get("system-presence", json!({}));
    let count = list.as_array().unwrap().iter().filter(|entry| entry["instanceId"] == device.id.as_str()).count();
    assert_eq!(count, 1, "{list}");
    drop((one, two));
}

#[test]
fn a_system_event_becomes_a_beacon_that_everyone_sees() {
    let gateway = Gateway::start();
    let mut watcher = Peer::connect(&gateway, &Hello::v4());
    let mut sender = Peer::connect(&gateway, &Hello::v3());
    let text = "Node: Studio (192.0.2.7) · app 2.1 · last input 5s ago · mode ui · reason launch";
    assert_eq!(sender.get("system-event", json!({"text": text}))["ok"], true);
    let seen = watcher.event_where("presence", |payload| payload.to_string().contains("192.0.2.7"));
    let list = seen["payload"]["presence"].as_array().unwrap();
    let beacon = list.iter().find(|entry| entry["ip"] == "192.0.2.7").unwrap();
    assert_eq!(beacon["host"], "Studio");
    assert_eq!(beacon["version"], "2.1");
    assert_eq!(beacon["lastInputSeconds"], 5);
    assert_eq!(beacon["mode"], "ui");
    assert_eq!(beacon["reason"], "launch");
}

#[test]
fn the_presence_list_is_capped_and_newest_first() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let ids: Vec<String> = (0..260)
        .map(|n| peer.send("system-event", json!({"text": "beacon", "instanceId": format!("beacon-{n}"), "host": "h"})))
        .collect();
    for id in &ids {
        assert_eq!(peer.response(id)["ok"], true);
    }
    let list = peer.get("system-presence", json!({}));
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), openclaw::limits::PRESENCE_ENTRIES);
    let times: Vec<u64> = list.iter().map(|entry| entry["ts"].as_u64().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b));
    assert_eq!(list.iter().filter(|entry| entry["mode"] == "gateway").count(), 1);
    assert!(list.iter().any(|entry| entry["instanceId"] == "beacon-259"));
}

#[test]
fn a_beacon_cannot_take_the_gateways_own_place() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let list = peer.get("system-presence", json!({}));
    let own = list.as_array().unwrap().iter().find(|entry| entry["mode"] == "gateway").unwrap().clone();
    peer.get("system-event", json!({"text": "x", "host": own["host"], "mode": "evil", "version": "0.0"}));
    let list = peer.get("system-presence", json!({}));
    let still = list.as_array().unwrap().iter().find(|entry| entry["mode"] == "gateway").unwrap();
    assert_eq!(still["version"], own["version"]);
    assert_eq!(still["reason"], "self");
}

#[test]
fn a_refreshed_health_is_broadcast_with_a_higher_version() {
    let gateway = Gateway::start();
    let mut watcher = Peer::connect(&gateway, &Hello::v4());
    let before = watcher.hello["snapshot"]["stateVersion"]["health"].as_u64().unwrap();
    let mut other = Peer::connect(&gateway, &Hello::v4());
    other.get("health", json!({"probe": true}));
    let event = watcher.event("health");
    assert!(event["stateVersion"]["health"].as_u64().unwrap() > before, "{event}");
    assert_eq!(event["payload"]["ok"], true);
}

#[test]
fn events_go_only_to_those_who_may_see_them() {
    let gateway = ticking();
    let mut blind = Peer::connect(&gateway, &Hello::v4().scopes(&[]));
    let mut modest = Peer::connect(&gateway, &Hello::v4().scopes(&["operator.read"]));
    let mut admin = Peer::connect(&gateway, &Hello::v4());
    admin.get("system-event", json!({"text": "Node: Quiet (192.0.2.8) · app 1 · mode ui · reason launch"}));
    admin.get("node.pair.request", json!({"nodeId": "n-1"}));
    admin.event("node.pair.requested");
    modest.event_where("presence", |payload| payload.to_string().contains("192.0.2.8"));
    // A second tick is behind everything above: what is not there by then will not come.
    for peer in [&mut blind, &mut modest] {
        let mut ticks = 0;
        while ticks < 2 {
            let frame = peer.frame();
            ticks += i32::from(frame["event"] == "tick");
            assert_ne!(frame["event"], "node.pair.requested", "{frame}");
        }
    }
    let mut blind = Peer::connect(&gateway, &Hello::v4().scopes(&[]));
    admin.get("system-event", json!({"text": "Node: Quiet (192.0.2.9) · app 1 · mode ui · reason launch"}));
    let mut ticks = 0;
    while ticks < 2 {
        let frame = blind.frame();
        ticks += i32::from(frame["event"] == "tick");
        assert_ne!(frame["event"], "presence", "presence needs the read scope on protocol 4: {frame}");
    }
}

#[test]
fn a_client_that_stops_reading_is_closed_and_does_not_slow_the_others() {
    let gateway = Setup::new().slow().start();
    let mut other = Peer::connect(&gateway, &Hello::v4());
    for n in 0..150 {
        let beacon =
            json!({"text": "x", "instanceId": format!("b{n}"), "host": "h".repeat(400), "version": "v".repeat(400)});
        other.get("system-event", beacon);
    }
    let mut slow = Peer::connect(&gateway, &Hello::v3());
    // Some 120 KiB per answer: far more than the kernel's buffers and the budget of 1.5 MiB hold.
    for _ in 0..200 {
        slow.send("system-presence", json!({}));
    }
    let longest = (0..20)
        .map(|n| {
            let began = std::time::Instant::now();
            other.get("health", json!({"probe": true}));
            other.get("system-event", json!({"text": format!("event {n}")}));
            began.elapsed()
        })
        .max()
        .unwrap();
    assert!(longest.as_millis() < 1_500, "others waited {longest:?}");
    let mut received = 0;
    let end = loop {
        match slow.socket.next() {
            Arrival::Text(text) => received += text.len(),
            end => break end,
        }
    };
    assert!(received > 0);
    if let Arrival::Close(code, reason) = end {
        assert_eq!((code, reason.as_str()), (1008, "slow consumer"));
    }
    other.alive();
}
