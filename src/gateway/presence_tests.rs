//! Tests of `presence`, apart from it because of their length.

use super::*;
use serde_json::Value;

const NOW: u64 = 1_795_233_714_506;

fn presence() -> Presence {
    Presence::new(&OwnFacts {
        host: "gw".into(),
        ip: "192.168.1.5".into(),
        version: "2026.11.0".into(),
        platform: "linux 6.8.0".into(),
        device_family: "Linux".into(),
        model_identifier: "x64".into(),
    })
}

fn newcomer<'a>(conn_id: &'a str, device_id: Option<&'a str>) -> Newcomer<'a> {
    Newcomer {
        protocol: 3,
        conn_id,
        client_id: "gateway-client",
        mode: "ui",
        display_name: Some("Mac"),
        version: "2.0.0",
        platform: "macos 15.0",
        device_family: Some("Mac"),
        model_identifier: Some("Mac14,2"),
        instance_id: Some("inst-2"),
        device_id,
        role: "operator",
        scopes: &[],
        ip: None,
    }
}

fn listed(presence: &mut Presence, now_ms: u64) -> Vec<Value> {
    serde_json::from_str(&presence.list(now_ms)).unwrap()
}

fn say(presence: &mut Presence, params: Value, caller: Option<&PresenceKey>, now_ms: u64) -> Option<String> {
    presence.beacon(&Beacon::from_params(&params).unwrap(), caller, now_ms)
}

#[test]
fn the_gateway_lists_itself_first_with_the_time_of_the_listing() {
    let mut presence = presence();
    let expected = json!([{"host": "gw", "ip": "192.168.1.5", "version": "2026.11.0", "platform": "linux 6.8.0",
        "deviceFamily": "Linux", "modelIdentifier": "x64", "mode": "gateway", "reason": "self",
        "text": "Gateway: gw (192.168.1.5) · app 2026.11.0 · mode gateway · reason self", "ts": NOW}]);
    assert_eq!(json!(listed(&mut presence, NOW)), expected);
    assert_eq!(listed(&mut presence, NOW + 5)[0]["ts"], NOW + 5);
    presence.connect(&newcomer("c1", Some("D1")), NOW + 9);
    assert_eq!(listed(&mut presence, NOW + 9)[0]["mode"], "gateway");
    assert_eq!(presence.version(), 2);
}

#[test]
fn entries_match_the_transcript() {
    let mut presence = presence();
    let admin = ["operator.admin".to_string()];
    let key = presence.connect(&Newcomer { scopes: &admin, ..newcomer("c1", Some("D1")) }, NOW).unwrap();
    let expected = json!({"host": "Mac", "version": "2.0.0", "platform": "macos 15.0", "deviceFamily": "Mac",
        "modelIdentifier": "Mac14,2", "mode": "ui", "deviceId": "D1", "roles": ["operator"],
        "scopes": ["operator.admin"], "instanceId": "D1", "reason": "connect", "ts": NOW, "text": "Node: Mac · mode ui"});
    assert_eq!(listed(&mut presence, NOW)[1], expected);
    presence.disconnect(&key, NOW + 7);
    let gone = &listed(&mut presence, NOW + 8)[1];
    assert_eq!((&gone["reason"], &gone["ts"]), (&json!("disconnect"), &json!(NOW + 7)));
    assert_eq!(presence.version(), 3);
    assert_eq!(say(&mut presence, json!({"text": "hello note"}), None, NOW + 9).as_deref(), Some("hello note"));
    assert_eq!(listed(&mut presence, NOW + 9)[1], json!({"text": "hello note", "ts": NOW + 9}));
    assert_eq!(presence.version(), 4);
}

#[test]
fn instance_ids_follow_protocol_and_role() {
    for (protocol, role, device, expected) in [
        (3, "operator", Some("d"), "d"),
        (3, "operator", None, "inst-2"),
        (4, "operator", Some("d"), "inst-2"),
        (4, "node", Some("d"), "d"),
    ] {
        let mut presence = presence();
        presence.connect(&Newcomer { protocol, role, ..newcomer("c1", device) }, NOW);
        assert_eq!(listed(&mut presence, NOW)[1]["instanceId"], expected, "{protocol} {role} {device:?}");
    }
}

#[test]
fn command_lines_are_not_tracked_and_new_probes_leave_no_trace() {
    let mut presence = presence();
    assert_eq!(presence.connect(&Newcomer { mode: "cli", ..newcomer("c1", Some("d")) }, NOW), None);
    assert_eq!((presence.version(), presence.len()), (1, 0));
    for (protocol, left) in [(4, 0), (3, 1)] {
        let key = presence.connect(&Newcomer { mode: "probe", protocol, ..newcomer("c1", Some("d")) }, NOW).unwrap();
        assert_eq!(presence.len(), 1);
        presence.disconnect(&key, NOW);
        assert_eq!(presence.len(), left, "protocol {protocol}");
    }
    assert_eq!(presence.version(), 5);
}

#[test]
fn a_client_with_two_connections_stays_live_until_the_last_is_gone() {
    let mut presence = presence();
    let first = presence.connect(&newcomer("c1", Some("d")), NOW).unwrap();
    let second = presence.connect(&newcomer("c2", Some("D")), NOW).unwrap();
    assert_eq!((&first, presence.len()), (&second, 1));
    presence.disconnect(&first, NOW + 1);
    assert_eq!(listed(&mut presence, NOW + 1)[1]["reason"], "connect");
    presence.disconnect(&second, NOW + 2);
    assert_eq!(listed(&mut presence, NOW + 2)[1]["reason"], "disconnect");
    presence.connect(&newcomer("c3", Some("d")), NOW + 3);
    assert_eq!(listed(&mut presence, NOW + 3)[1]["reason"], "connect");
}

#[test]
fn roles_and_scopes_are_unions_within_bounds() {
    let mut presence = presence();
    let read = ["operator.read".to_string()];
    let many: Vec<String> = (0..500).map(|n| format!("s{n}")).collect();
    presence.connect(&Newcomer { scopes: &read, ..newcomer("c1", Some("d")) }, NOW);
    presence.connect(&Newcomer { role: "node", scopes: &many, ..newcomer("c2", Some("d")) }, NOW);
    let entry = &listed(&mut presence, NOW)[1];
    assert_eq!((&entry["roles"], &entry["scopes"][0]), (&json!(["operator", "node"]), &json!("operator.read")));
    assert_eq!(entry["scopes"].as_array().unwrap().len(), limits::PRESENCE_LIST_ITEMS);
}

#[test]
fn the_list_is_newest_first_and_drops_what_is_too_old() {
    let mut presence = presence();
    say(&mut presence, json!({"text": "one"}), None, NOW);
    say(&mut presence, json!({"text": "two"}), None, NOW);
    let key = presence.connect(&newcomer("c1", Some("d")), NOW + 1).unwrap();
    let texts =
        |list: Vec<Value>| list[1..].iter().map(|e| e["text"].as_str().unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(texts(listed(&mut presence, NOW + 1)), ["Node: Mac · mode ui", "two", "one"]);
    assert_eq!(listed(&mut presence, NOW + 300_000).len(), 4);
    assert_eq!(texts(listed(&mut presence, NOW + 300_001)), ["Node: Mac · mode ui"], "the live client stays");
    presence.disconnect(&key, NOW + 400_000);
    assert_eq!(listed(&mut presence, NOW + 700_001).len(), 1);
    assert!(presence.is_empty());
}

#[test]
fn what_was_said_before_the_clock_was_set_back_goes_like_everything_else() {
    let mut presence = presence();
    for n in 0..limits::PRESENCE_ENTRIES {
        say(&mut presence, json!({"text": format!("note {n}")}), None, NOW + 86_400_000);
    }
    say(&mut presence, json!({"text": "new"}), None, NOW);
    let list = listed(&mut presence, NOW);
    assert_eq!(list[1]["text"], "new", "{} are listed", list.len());
    assert_eq!(presence.len(), 1);
}

#[test]
fn renewal_moves_live_entries_only_and_keeps_their_order() {
    let mut presence = presence();
    presence.connect(&Newcomer { display_name: Some("A"), ..newcomer("c1", Some("a")) }, NOW);
    presence.connect(&Newcomer { display_name: Some("B"), ..newcomer("c2", Some("b")) }, NOW + 1);
    say(&mut presence, json!({"text": "note"}), None, NOW + 2);
    let version = presence.version();
    presence.renew(NOW + 30_000);
    let list = listed(&mut presence, NOW + 30_000);
    let seen: Vec<_> =
        list[1..].iter().map(|e| (e["host"].as_str().unwrap_or("-"), e["ts"].as_u64().unwrap() - NOW)).collect();
    assert_eq!(seen, [("B", 30_000), ("A", 30_000), ("-", 2)]);
    assert_eq!(presence.version(), version, "renewal is no news");
}

#[test]
fn the_list_and_what_is_remembered_are_bounded() {
    let mut presence = presence();
    for n in 0..limits::PRESENCE_ENTRIES + 50 {
        say(&mut presence, json!({"text": format!("note {n}")}), None, NOW + n as u64);
    }
    assert_eq!(presence.len(), limits::PRESENCE_ENTRIES);
    let list = listed(&mut presence, NOW + 300);
    assert_eq!(list.len(), limits::PRESENCE_ENTRIES);
    assert_eq!(list[1]["text"], format!("note {}", limits::PRESENCE_ENTRIES + 49));
    let keys: Vec<_> =
        (0..1000).map(|n| presence.connect(&newcomer("c", Some(&format!("d{n}"))), NOW + 1000).unwrap()).collect();
    assert_eq!(listed(&mut presence, NOW + 1000).len(), limits::PRESENCE_ENTRIES);
    for key in &keys {
        presence.disconnect(key, NOW + 2000);
    }
    assert_eq!(presence.len(), limits::PRESENCE_ENTRIES);
    assert_eq!((presence.live.len(), presence.gone.len()), (0, limits::PRESENCE_ENTRIES));
}

#[test]
fn nobody_overwrites_the_gateway_or_another_live_client() {
    let mut presence = presence();
    let read = ["operator.read".to_string()];
    let victim = presence.connect(&Newcomer { scopes: &read, ..newcomer("c1", Some("d1")) }, NOW).unwrap();
    let attacker = presence.connect(&newcomer("c2", Some("d2")), NOW).unwrap();
    let forged = json!({"text": "Node: evil (6.6.6.6) · app 9 · mode gateway · reason owned", "deviceId": "d1",
        "platform": "evil", "roles": ["gateway"], "scopes": ["operator.admin"], "instanceId": "x", "lastInputSeconds": 3});
    say(&mut presence, forged.clone(), Some(&attacker), NOW + 1);
    let entry = listed(&mut presence, NOW + 1)[1].clone();
    for (name, value) in
        [("host", "Mac"), ("version", "2.0.0"), ("platform", "macos 15.0"), ("mode", "ui"), ("instanceId", "d1")]
    {
        assert_eq!(entry[name], value, "{name}");
    }
    assert_eq!(
        (&entry["roles"], &entry["scopes"], entry.get("ip")),
        (&json!(["operator"]), &json!(["operator.read"]), None)
    );
    assert_eq!((&entry["reason"], &entry["lastInputSeconds"]), (&json!("owned"), &json!(3)));

    say(&mut presence, forged, Some(&victim), NOW + 2);
    let entry = listed(&mut presence, NOW + 2)[1].clone();
    assert_eq!((&entry["host"], &entry["ip"]), (&json!("evil"), &json!("6.6.6.6")), "a client may describe itself");
    assert_eq!((&entry["roles"], &entry["scopes"]), (&json!(["operator"]), &json!(["operator.read"])));

    say(&mut presence, json!({"text": "Node: gw (6.6.6.6) · mode gateway"}), Some(&attacker), NOW + 3);
    let own = listed(&mut presence, NOW + 3)[0].clone();
    assert_eq!((&own["host"], &own["ip"], &own["reason"]), (&json!("gw"), &json!("192.168.1.5"), &json!("self")));
}

#[test]
fn an_unproven_client_does_not_share_the_entry_of_a_proven_one() {
    let mut presence = presence();
    presence.connect(&newcomer("c1", Some("d1")), NOW);
    let posing = Newcomer { instance_id: Some("D1"), display_name: Some("evil"), ..newcomer("c2", None) };
    let key = presence.connect(&posing, NOW + 1).unwrap();
    assert_eq!((key.0.as_str(), presence.len()), ("c2", 2));
    presence.disconnect(&key, NOW + 2);
    let list = listed(&mut presence, NOW + 2);
    assert!(list.iter().any(|e| e["deviceId"] == "d1" && e["host"] == "Mac" && e["reason"] == "connect"));
}

#[test]
fn node_lines_are_queued_only_when_something_changed() {
    let mut presence = presence();
    let line =
        |tail: &str| json!({"text": format!("Node: hostA (10.0.0.9) · app 1.2 · last input 5s ago · mode ui{tail}")});
    for (tail, expected) in [
        (" · reason launch", Some("Node: hostA (10.0.0.9) · app 1.2 · mode ui · reason launch")),
        (" · reason launch", None),
        (" · reason periodic-30s", None),
        (" · reason Heartbeat", None),
        (" · reason idle", Some("Node: hostA (10.0.0.9) · reason idle")),
        ("", None),
    ] {
        assert_eq!(say(&mut presence, line(tail), None, NOW).as_deref(), expected, "{tail}");
    }
    let moved = json!({"text": "node: hostA (10.0.0.10) · app 1.3 · mode ui"});
    assert_eq!(say(&mut presence, moved, None, NOW).as_deref(), Some("Node: hostA (10.0.0.10) · app 1.3"));
    let entry = &listed(&mut presence, NOW)[1];
    assert_eq!(
        (&entry["lastInputSeconds"], &entry["text"]),
        (&json!(5), &json!("node: hostA (10.0.0.10) · app 1.3 · mode ui"))
    );
}

#[test]
fn the_printed_list_is_kept_until_something_changes() {
    let mut presence = presence();
    let key = presence.connect(&newcomer("c1", Some("d")), NOW).unwrap();
    let first = presence.list(NOW);
    assert!(presence.tail.is_some());
    assert_eq!(presence.list(NOW), first);
    presence.disconnect(&key, NOW);
    assert!(presence.tail.is_none());
    assert_ne!(presence.list(NOW), first);
}

#[test]
fn what_clients_say_is_cleaned() {
    let mut presence = presence();
    let long = "y".repeat(5000);
    presence
        .connect(&Newcomer { display_name: Some("a\u{1b}]0;x\u{7}\nb"), version: &long, ..newcomer("c1", None) }, NOW);
    let entry = &listed(&mut presence, NOW)[1];
    assert_eq!(entry["host"], "a]0;xb");
    assert_eq!(entry["version"].as_str().unwrap().len(), limits::PRESENCE_TEXT_CHARS);
}
