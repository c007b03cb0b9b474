//! Tests of `pairing_devices`, apart from it because of their length.

use super::*;
use crate::store::devices::parse;

const NOW: u64 = 1_795_233_714_506;
const MINUTES_5: u64 = 300_000;

fn scopes(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("operator.{name}")).collect()
}

fn arrival(scopes: &[String]) -> Arrival<'_> {
    Arrival {
        protocol: 3,
        device_id: "d1",
        public_key: "k1",
        role: "operator",
        scopes,
        silent: false,
        display_name: Some("Op One"),
        platform: Some("linux"),
        device_family: None,
        client_id: "gateway-client",
        client_mode: "ui",
        remote_ip: Some("10.0.0.9"),
    }
}

/// A book in which d1 is paired as operator with these scopes.
fn book_with(names: &[&str]) -> DeviceBook {
    let mut book = DeviceBook::default();
    let scopes = scopes(names);
    let (decision, _) = book.arrive(&Arrival { silent: true, ..arrival(&scopes) }, "r0".into(), NOW);
    assert!(matches!(decision, Decision::Approved { .. }));
    book
}

fn refusal(decision: Decision) -> Refusal {
    match decision {
        Decision::Required(refusal) => *refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_need_follows_role_scopes_and_metadata_per_protocol() {
    let book = book_with(&["admin"]);
    let (admin, read) = (scopes(&["admin"]), scopes(&["read"]));
    let base = arrival(&admin);
    for (name, arrival, expected) in [
        ("same", base, None),
        ("unknown", Arrival { device_id: "d2", ..base }, Some(Need::NotPaired)),
        ("other key", Arrival { public_key: "k2", ..base }, Some(Need::NotPaired)),
        ("role", Arrival { role: "node", ..base }, Some(Need::RoleUpgrade)),
        ("v3 admin implies nothing", Arrival { scopes: &read, ..base }, Some(Need::ScopeUpgrade)),
        ("v4 admin implies read", Arrival { scopes: &read, protocol: 4, ..base }, None),
        ("no scopes", Arrival { scopes: &[], ..base }, None),
        ("v3 platform", Arrival { platform: Some("ios"), ..base }, None),
        ("v4 platform", Arrival { platform: Some("ios"), protocol: 4, ..base }, Some(Need::MetadataUpgrade)),
        ("v4 platform version", Arrival { platform: Some("Linux 6.1"), protocol: 4, ..base }, None),
        ("v4 family unknown before", Arrival { device_family: Some("Linux"), protocol: 4, ..base }, None),
        ("v4 no platform", Arrival { platform: None, protocol: 4, ..base }, None),
    ] {
        assert_eq!(book.need(&arrival), expected, "{name}");
    }
}

#[test]
fn a_silent_arrival_is_approved_and_recorded_at_once() {
    let mut book = DeviceBook::default();
    let admin = scopes(&["admin"]);
    let (decision, change) = book.arrive(&Arrival { silent: true, ..arrival(&admin) }, "r1".into(), NOW);
    assert_eq!(decision, Decision::Approved { request_id: "r1".into() });
    assert_eq!(change, Change::PAIRED);
    let (again, change) = book.arrive(&arrival(&admin), "r2".into(), NOW + 1);
    assert_eq!((again, change), (Decision::Paired, Change::NONE));
    assert_eq!(book.pending_text(), "{}");
}

#[test]
fn a_refusal_has_the_texts_of_both_protocols() {
    let mut book = DeviceBook::default();
    let admin = scopes(&["admin"]);
    let (decision, change) = book.arrive(&arrival(&admin), "r1".into(), NOW);
    assert_eq!(change, Change::PENDING);
    let refusal = refusal(decision);
    assert!(refusal.created);
    assert_eq!(refusal.wire(3).message, "pairing required");
    assert_eq!(refusal.close_reason(3), "pairing required");
    assert_eq!(refusal.close_reason(4), "pairing required: device is not approved yet (requestId: r1)");
    let expected = json!({"code": "NOT_PAIRED", "message": "pairing required: device is not approved yet", "details": {
        "code": "PAIRING_REQUIRED", "reason": "not-paired", "requestId": "r1",
        "remediationHint": "Approve this device from the pending pairing requests.",
        "deviceId": "d1", "requestedRole": "operator", "requestedScopes": ["operator.admin"]}});
    assert_eq!(refusal.wire(4).to_value(), expected);
    assert_eq!(refusal.wire(3).details, refusal.wire(4).details);
}

#[test]
fn a_device_has_one_pending_request_and_a_wider_one_gets_a_new_id() {
    let mut book = DeviceBook::default();
    let (read, both) = (scopes(&["read"]), scopes(&["read", "write"]));
    book.arrive(&arrival(&read), "r1".into(), NOW);
    let (again, change) = book.arrive(&arrival(&read), "r2".into(), NOW + 1);
    let again = refusal(again);
    assert_eq!((again.request.request_id.as_str(), again.created, change), ("r1", false, Change::NONE));
    let wider = refusal(book.arrive(&arrival(&both), "r3".into(), NOW + 2).0);
    assert_eq!((wider.request.request_id.as_str(), wider.created), ("r3", true));
    assert_eq!(book.approve("r1", NOW + 3).unwrap_err(), PairFault::UnknownRequest);
    let narrower = refusal(book.arrive(&arrival(&read), "r4".into(), NOW + 4).0);
    assert_eq!(narrower.request.request_id, "r3");
    let role = refusal(book.arrive(&Arrival { role: "node", ..arrival(&[]) }, "r5".into(), NOW + 5).0);
    assert_eq!(role.request.request_id, "r5");
}

#[test]
fn a_local_arrival_settles_its_own_remote_request_with_its_own_scopes() {
    let mut book = DeviceBook::default();
    let (read, admin) = (scopes(&["read"]), scopes(&["admin"]));
    book.arrive(&arrival(&admin), "r1".into(), NOW);
    let (decision, change) = book.arrive(&Arrival { silent: true, ..arrival(&read) }, "r2".into(), NOW + 1);
    assert_eq!(decision, Decision::Approved { request_id: "r1".into() });
    assert_eq!(change, Change::BOTH);
    assert_eq!(book.device("d1").unwrap().scopes, Some(read));
    assert!(book.pending("r1").is_none());
}

#[test]
fn approval_merges_roles_and_scopes_and_keeps_the_first_date() {
    let mut book = book_with(&["read"]);
    book.rename("d1", "Kitchen").unwrap();
    let asked = Arrival { role: "node", display_name: Some("Pi"), ..arrival(&[]) };
    let request = refusal(book.arrive(&asked, "r1".into(), NOW + 10).0);
    assert!(request.request.is_repair);
    assert_eq!(request.need, Need::RoleUpgrade);
    let (device, change) = book.approve("r1", NOW + 20).unwrap();
    assert_eq!(change, Change::BOTH);
    assert_eq!(device.roles.as_deref().unwrap(), ["operator", "node"]);
    assert_eq!(device.scopes, Some(scopes(&["read"])));
    assert_eq!((device.created_at_ms, device.approved_at_ms), (NOW, NOW + 20));
    assert_eq!(device_view(&device)["displayName"], "Kitchen");
    assert_eq!(book.approve("r1", NOW + 21).unwrap_err().to_string(), "unknown requestId");
}

#[test]
fn another_key_under_the_same_id_inherits_nothing() {
    let mut book = book_with(&["admin"]);
    let admin = scopes(&["admin"]);
    book.ensure_token(&arrival(&admin), NOW, |_| "old".into()).unwrap();
    let read = scopes(&["read"]);
    book.arrive(&Arrival { public_key: "k2", silent: true, ..arrival(&read) }, "r1".into(), NOW);
    let device = book.device("d1").unwrap();
    assert_eq!((device.scopes.as_ref().unwrap(), &device.tokens), (&read, &None));
}

#[test]
fn requests_expire_after_five_minutes_and_with_a_clock_set_back() {
    for later in [NOW + MINUTES_5 + 1, NOW - MINUTES_5 - 1] {
        let mut book = DeviceBook::default();
        book.arrive(&arrival(&[]), "r1".into(), NOW);
        assert_eq!(book.expire(NOW + MINUTES_5), Change::NONE);
        assert_eq!(book.list(later)["pending"], json!([]));
        assert_eq!(book.approve("r1", later).unwrap_err(), PairFault::UnknownRequest);
    }
    let mut book = DeviceBook::default();
    book.arrive(&arrival(&[]), "r1".into(), NOW);
    assert_eq!(book.reject("r1", NOW + 1).unwrap().0.device_id, "d1");
    assert_eq!(book.reject("r1", NOW + 1).unwrap_err(), PairFault::UnknownRequest);
}

#[test]
fn both_books_are_bounded() {
    let mut book = DeviceBook::default();
    let count = limits::PAIRING_PENDING + 3;
    for n in 0..count {
        let id = format!("d{n}");
        book.arrive(&Arrival { device_id: &id, ..arrival(&[]) }, format!("r{n}"), NOW + n as u64);
    }
    assert_eq!(book.pending.len(), limits::PAIRING_PENDING);
    assert!(book.pending("r0").is_none() && book.pending(&format!("r{}", count - 1)).is_some());

    let mut book = DeviceBook::default();
    for n in 0..limits::PAIRED {
        let id = format!("d{n}");
        book.arrive(&Arrival { device_id: &id, silent: true, ..arrival(&[]) }, "r".into(), NOW);
    }
    let extra = Arrival { device_id: "extra", silent: true, ..arrival(&[]) };
    assert_eq!(book.arrive(&extra, "r".into(), NOW), (Decision::Unrecorded, Change::NONE));
    assert!(book.ensure_token(&extra, NOW, |_| unreachable!()).is_none());
    book.arrive(&Arrival { silent: false, ..extra }, "rx".into(), NOW);
    assert_eq!(book.approve("rx", NOW).unwrap_err(), PairFault::Full(limits::PAIRED));
    assert!(book.pending("rx").is_some(), "a refused approval keeps the request");
}

#[test]
fn tokens_are_reused_while_they_cover_and_replaced_otherwise() {
    let mut book = book_with(&["read", "admin"]);
    let (read, both) = (scopes(&["read"]), scopes(&["read", "admin"]));
    let (first, change) = book.ensure_token(&arrival(&read), NOW, |form| format!("{form:?}-1")).unwrap();
    assert_eq!((first.token.as_str(), first.issued_at_ms, change), ("Hex32-1", NOW, Change::PAIRED));
    let (same, change) = book.ensure_token(&arrival(&read), NOW + 1, |_| unreachable!()).unwrap();
    assert!(same == first && change == Change::NONE);
    let v4 = Arrival { protocol: 4, ..arrival(&both) };
    let (wider, _) = book.ensure_token(&v4, NOW + 2, |form| format!("{form:?}-2")).unwrap();
    assert_eq!((wider.token.as_str(), wider.issued_at_ms), ("Base64Url43-2", NOW + 2));
    let entry = &book.device("d1").unwrap().tokens.as_ref().unwrap()["operator"];
    assert_eq!((entry.created_at_ms, entry.rotated_at_ms), (NOW, Some(NOW + 2)));
    book.revoke("d1", "operator", NOW + 3).unwrap();
    let (renewed, _) = book.ensure_token(&arrival(&read), NOW + 4, |_| "third".into()).unwrap();
    assert_eq!(renewed.token, "third");
}

#[test]
fn a_token_is_valid_for_its_device_role_and_scopes_only() {
    let mut book = book_with(&["admin"]);
    let admin = scopes(&["admin"]);
    book.ensure_token(&arrival(&admin), NOW, |_| "secret".into()).unwrap();
    let read = scopes(&["read"]);
    for (protocol, device, role, scopes, token, expected) in [
        (3, "d1", "operator", &admin, "secret", true),
        (3, "d1", "operator", &admin, "secreT", false),
        (3, "d1", "operator", &admin, "", false),
        (3, "d2", "operator", &admin, "secret", false),
        (3, "d1", "node", &admin, "secret", false),
        (3, "d1", "operator", &read, "secret", false),
        (4, "d1", "operator", &read, "secret", true),
    ] {
        assert_eq!(
            book.verify_token(protocol, device, role, scopes, token),
            expected,
            "{protocol} {device} {role} {token}"
        );
    }
    assert_eq!(book.touch("d1", "operator", NOW + 9), Change { paired: Write::Later, ..Change::NONE });
    assert_eq!(book.touch("d1", "node", NOW + 9), Change::NONE);
    book.revoke("d1", "operator", NOW).unwrap();
    assert!(!book.verify_token(3, "d1", "operator", &admin, "secret"));
}

#[test]
fn rotation_gives_no_more_than_was_approved() {
    let mut book = book_with(&["write", "pairing"]);
    let asked = scopes(&["read"]);
    let (token, change) = book.rotate("d1", "operator", Some(&asked), "new".into(), NOW + 5).unwrap();
    assert_eq!((token.token.as_str(), token.issued_at_ms, change), ("new", NOW + 5, Change::PAIRED));
    let (kept, _) = book.rotate("d1", "operator", None, "newer".into(), NOW + 6).unwrap();
    assert_eq!(kept.scopes, asked, "without scopes the token keeps its own");
    let admin = scopes(&["admin"]);
    let fault = |result: Result<_, PairFault>| result.map(|_: (IssuedToken, Change)| ()).unwrap_err().to_string();
    assert_eq!(fault(book.rotate("d1", "operator", Some(&admin), "x".into(), NOW)), "device token rotation denied");
    assert_eq!(fault(book.rotate("d1", "node", None, "x".into(), NOW)), "unknown deviceId/role");
    assert_eq!(fault(book.rotate("d9", "operator", None, "x".into(), NOW)), "unknown deviceId/role");
    assert_eq!(book.revoke("d1", "node", NOW).unwrap_err().to_string(), "unknown deviceId/role");
}

#[test]
fn an_approver_cannot_grant_what_he_does_not_hold() {
    let mut book = DeviceBook::default();
    let asked = scopes(&["read", "admin"]);
    book.arrive(&arrival(&asked), "r1".into(), NOW);
    assert_eq!(book.approval_gap("r1", &scopes(&["pairing", "write"])), Some("operator.admin".into()));
    assert_eq!(book.approval_gap("r1", &scopes(&["admin"])), None);
}

#[test]
fn lists_are_newest_first_and_without_secrets() {
    let mut book = book_with(&["admin"]);
    let admin = scopes(&["admin"]);
    book.ensure_token(&arrival(&admin), NOW, |_| "canary".into()).unwrap();
    book.touch("d1", "operator", NOW + 1);
    book.arrive(&Arrival { device_id: "d2", silent: true, ..arrival(&admin) }, "r".into(), NOW + 2);
    book.arrive(&Arrival { device_id: "d3", ..arrival(&admin) }, "r3".into(), NOW + 3);
    book.arrive(&Arrival { device_id: "d4", ..arrival(&admin) }, "r4".into(), NOW + 4);
    let list = book.list(NOW + 5);
    assert!(!list.to_string().contains("canary"));
    assert_eq!(list["pending"][0]["requestId"], "r4");
    assert_eq!(list["paired"][0]["deviceId"], "d2");
    assert_eq!(list["paired"][0]["tokens"], json!([]));
    let token =
        json!([{"role": "operator", "scopes": ["operator.admin"], "createdAtMs": NOW, "lastUsedAtMs": NOW + 1}]);
    assert_eq!(list["paired"][1]["tokens"], token);
    assert!(!format!("{book:?}").contains("canary"));
}

#[test]
fn a_paired_device_updates_its_facts_lazily_and_cleaned() {
    let mut book = book_with(&["admin"]);
    let admin = scopes(&["admin"]);
    let renamed = Arrival { display_name: Some("Op\u{1b}[0m\nTwo"), remote_ip: None, ..arrival(&admin) };
    let (decision, change) = book.arrive(&renamed, "r".into(), NOW + 1);
    assert_eq!((decision, change.paired), (Decision::Paired, Write::Later));
    let device = book.device("d1").unwrap();
    assert_eq!(device.display_name.as_deref(), Some("Op[0mTwo"));
    assert_eq!(device.remote_ip.as_deref(), Some("10.0.0.9"), "an absent fact does not erase the old one");
}

#[test]
fn removal_takes_tokens_and_requests_along() {
    let mut book = book_with(&["read"]);
    let admin = scopes(&["admin"]);
    book.arrive(&arrival(&admin), "r1".into(), NOW);
    assert_eq!(book.remove("d1").unwrap().1, Change::BOTH);
    assert!(book.pending("r1").is_none());
    assert_eq!(book.remove("d1").unwrap_err().to_string(), "unknown deviceId");
    assert_eq!(book.rename("d1", "x").unwrap_err(), PairFault::UnknownDevice);
}

#[test]
fn a_book_survives_its_files() {
    let mut book = book_with(&["admin"]);
    let admin = scopes(&["admin"]);
    book.ensure_token(&arrival(&admin), NOW, |_| "t".into()).unwrap();
    book.arrive(&Arrival { device_id: "d2", ..arrival(&admin) }, "r2".into(), NOW);
    let read = |book: &DeviceBook, now| {
        DeviceBook::load(parse(&book.paired_text()).unwrap(), parse(&book.pending_text()).unwrap(), now)
    };
    let same = read(&book, NOW + 1);
    assert_eq!((same.paired_text(), same.pending_text()), (book.paired_text(), book.pending_text()));
    let later = read(&book, NOW + MINUTES_5 + 1);
    assert_eq!(later.pending_text(), "{}");
    assert!(later.verify_token(3, "d1", "operator", &admin, "t"));
}

#[test]
fn a_key_in_another_spelling_is_the_same_key() {
    let key = crate::identity::SecretKey::from_seed([3; 32]).unwrap().public();
    assert!(same_key(&key.to_pem(), &key.encode()));
    assert!(!same_key("x", "y"));
}
