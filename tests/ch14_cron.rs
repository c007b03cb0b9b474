//! Chapter 14: scheduled jobs on the wire (`spec/protocol.md` 8.2, 9; `spec/agent.md` 26), with files, processes and a
//! model server. What takes days is tested on a fake clock beside the code.

use serde_json::{Value, json};
use std::fs;

use crate::harness::gateway::{Gateway, Home, Setup};
use crate::harness::peer::{Hello, Peer, now_ms};
use crate::harness::upstream::{Act, Upstream};

fn event_job(name: &str) -> Value {
    json!({"name": name, "schedule": {"kind": "every", "everyMs": 86_400_000}, "sessionTarget": "main",
        "wakeMode": "next-heartbeat", "payload": {"kind": "systemEvent", "text": format!("{name} is due")}})
}

fn turn_job(name: &str, message: &str) -> Value {
    json!({"name": name, "schedule": {"kind": "cron", "expr": "0 0 1 1 *"}, "sessionTarget": "isolated",
        "wakeMode": "next-heartbeat", "payload": {"kind": "agentTurn", "message": message}})
}

fn store(home: &Home) -> Value {
    let text = fs::read_to_string(home.state("cron/jobs.json")).unwrap();
    assert_eq!(text, fs::read_to_string(home.state("cron/jobs.json.bak")).unwrap());
    serde_json::from_str(&text).unwrap()
}

fn finished(peer: &mut Peer, id: &str) -> Value {
    peer.event_where("cron", |told| told["jobId"] == id && told["action"] == "finished")["payload"].clone()
}

#[test]
fn what_is_answered_is_in_the_file_and_everybody_is_told() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let mut other = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(peer.get("cron.list", json!({}))["jobs"], json!([]));
    let job = peer.get("cron.add", event_job("tea"));
    let id = job["id"].as_str().unwrap().to_string();
    assert_eq!(store(gateway.home())["jobs"], json!([job]));
    let told = other.event("cron")["payload"].clone();
    assert_eq!(told, json!({"jobId": id, "action": "added", "job": job, "nextRunAtMs": job["state"]["nextRunAtMs"]}));
    assert_eq!(other.get("cron.get", json!({"id": id})), job);
    let changed = other.get("cron.update", json!({"jobId": id, "patch": {"name": "coffee", "enabled": false}}));
    assert_eq!((&changed["name"], &changed["state"]["nextRunAtMs"]), (&json!("coffee"), &Value::Null));
    assert_eq!(store(gateway.home())["jobs"], json!([changed]));
    assert_eq!(peer.get("cron.list", json!({}))["jobs"], json!([]));
    assert_eq!(peer.get("cron.list", json!({"includeDisabled": true}))["total"], 1);
    let status = peer.get("cron.status", json!({}));
    assert_eq!((&status["jobs"], &status["enabled"], &status["nextWakeAtMs"]), (&json!(1), &json!(true), &Value::Null));
    assert!(status["storePath"].as_str().unwrap().ends_with("cron/jobs.json"));
    assert_eq!(peer.get("cron.remove", json!({"id": id})), json!({"ok": true, "removed": true}));
    assert_eq!(store(gateway.home()), json!({"version": 1, "jobs": []}));
    assert_eq!(peer.get("cron.remove", json!({"id": id})), json!({"ok": true, "removed": false}));
}

#[test]
fn an_interval_without_a_fraction_is_one_however_it_is_written() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let mut wanted = event_job("tea");
    wanted["schedule"]["everyMs"] = json!(60_000.0);
    let job = peer.get("cron.add", wanted.clone());
    assert_eq!(job["schedule"]["everyMs"].as_u64(), Some(60_000), "{job}");
    assert!(job["state"]["nextRunAtMs"].is_u64(), "{job}");
    wanted["schedule"]["everyMs"] = json!(60_000.5);
    let refused = peer.call("cron.add", wanted);
    assert!(refused["error"]["message"].as_str().unwrap().contains("must be integer"), "{refused}");
}

#[test]
fn scopes_hold_and_wrong_jobs_are_refused_with_the_reason() {
    let gateway = Gateway::start();
    let mut reader = Peer::connect(&gateway, &Hello::v4().scopes(&["operator.read"]));
    reader.get("cron.list", json!({}));
    let refused = reader.call("cron.add", event_job("tea"));
    assert_eq!(refused["error"]["code"], "FORBIDDEN");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let mut wrong = |params: Value| {
        let answer = peer.call("cron.add", params);
        assert_eq!((&answer["ok"], &answer["error"]["code"]), (&json!(false), &json!("INVALID_REQUEST")), "{answer}");
        answer["error"]["message"].as_str().unwrap().to_string()
    };
    assert!(wrong(json!({})).starts_with("invalid cron.add params: must have required property 'name'"));
    let with = |schedule: Value| {
        let mut job = event_job("x");
        job["schedule"] = schedule;
        job
    };
    let never = wrong(with(json!({"kind": "cron", "expr": "0 0 30 2 *"})));
    assert!(never.ends_with("cron expression \"0 0 30 2 *\" has no upcoming run time and would never fire"), "{never}");
    assert!(
        wrong(with(json!({"kind": "cron", "expr": "* * * * *", "tz": "Mars/X"})))
            .contains("unknown time zone \"Mars/X\"")
    );
    assert!(wrong(with(json!({"kind": "cron", "expr": "61 * * * *"}))).contains("minute: 61 is not in 0-59"));
    assert!(wrong(with(json!({"kind": "at", "at": "2020-01-01T00:00:00Z"}))).starts_with("schedule.at is in the past"));
    assert!(wrong(with(json!({"kind": "on-exit", "command": "x"}))).contains("/schedule"));
    let mut tools = turn_job("x", "go");
    tools["payload"]["toolsAllow"] = json!(["read"]);
    assert!(wrong(tools).contains("toolsAllow"), "a restriction that would not hold is refused");
    let mut agent = event_job("x");
    agent["agentId"] = json!("ghost");
    assert!(wrong(agent).contains("unknown agent id \"ghost\""));
    let gone = peer.call("cron.run", json!({"id": "nope"}));
    assert_eq!(gone["error"]["details"], json!({"code": "CRON_JOB_NOT_FOUND", "jobId": "nope"}));
    assert_eq!(peer.call("cron.runs", json!({"id": "../x"}))["error"]["code"], "INVALID_REQUEST");
    assert!(!gateway.home().state("cron").exists(), "nothing was written");
}

#[test]
fn a_line_for_the_main_session_is_heard_at_its_next_turn() {
    let upstream = Upstream::play(vec![Act::Say(&["hello"])]);
    let gateway = Setup::new().config(&upstream.config("")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let job = peer.get("cron.add", event_job("tea"));
    assert_eq!(peer.get("cron.run", json!({"id": job["id"]})), json!({"ok": true, "ran": true}));
    let runs = peer.get("cron.runs", json!({"id": job["id"]}));
    assert_eq!(runs["entries"][0]["status"], "ok");
    assert_eq!(runs["entries"][0]["summary"], "tea is due");
    peer.get("chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"}));
    let asked = upstream.asked()["messages"].to_string();
    assert!(asked.contains("System: ") && asked.contains("tea is due"), "{asked}");
}

#[test]
fn a_turn_runs_in_a_session_of_its_own_and_its_answer_is_kept_and_told() {
    let upstream = Upstream::play(vec![Act::Say(&["It will ", "rain."]), Act::Say(&["again"]), Act::Say(&["ok"])]);
    let gateway = Setup::new().config(&upstream.config("")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = peer.get("cron.add", turn_job("weather", "What will it be?"))["id"].as_str().unwrap().to_string();
    let ran = peer.get("cron.run", json!({"id": id}));
    assert_eq!((&ran["ran"], &ran["enqueued"]), (&json!(true), &json!(true)));
    let asked = upstream.asked()["messages"].to_string();
    assert!(asked.contains(&format!("[cron:{id} weather] What will it be?")) && asked.contains("Current time: "));
    let first = finished(&mut peer, &id);
    assert_eq!(
        (&first["status"], &first["summary"], &first["runId"]),
        (&json!("ok"), &json!("It will rain."), &ran["runId"])
    );
    assert_eq!(first["sessionKey"], format!("agent:main:cron:{id}"));
    assert_eq!((&first["delivered"], &first["deliveryStatus"]), (&json!(false), &json!("not-delivered")));
    peer.get("cron.run", json!({"id": id}));
    let second = finished(&mut peer, &id);
    assert_ne!(first["sessionId"], second["sessionId"], "a conversation of its own each time");
    // That nobody can name it again when the next one has begun, its id tells.
    assert!(first["sessionId"].as_str().is_some_and(|id| id.get(14..16) == Some("8c")), "{first}");
    let one = peer.get("cron.runs", json!({"id": id, "runId": ran["runId"]}));
    assert_eq!((&one["total"], &one["entries"][0]["summary"]), (&json!(1), &json!("It will rain.")));
    let state = &store(gateway.home())["jobs"][0]["state"];
    assert_eq!(
        (&state["lastStatus"], &state["lastRunStatus"], &state["runningAtMs"]),
        (&json!("ok"), &json!("ok"), &Value::Null)
    );
    upstream.asked();
    // The main session hears of it.
    peer.get("chat.send", json!({"sessionKey": "main", "message": "news?", "idempotencyKey": "k"}));
    let asked = upstream.asked()["messages"].to_string();
    assert!(asked.contains("weather") && asked.contains("It will rain."), "{asked}");
}

#[test]
fn an_agent_plans_a_reminder_and_says_it_in_the_same_conversation() {
    let wish = json!({"action": "add", "job": {"at": "900ms", "message": "Tell them that tea is ready."}});
    let script = vec![
        Act::Call("cron", wish),
        Act::Call("cron", json!({"action": "list"})),
        Act::Say(&["I will remind you."]),
        Act::Say(&["Tea is ready!"]),
    ];
    let upstream = Upstream::play(script);
    let gateway = Setup::new().config(&upstream.config("")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("chat.send", json!({"sessionKey": "desk", "message": "remind me", "idempotencyKey": "k"}));
    let asked = upstream.asked();
    assert!(asked["messages"][0]["content"].to_string().contains("- cron: Reminders"), "{asked}");
    assert!(asked["tools"].as_array().unwrap().iter().any(|tool| tool["function"]["name"] == "cron"));
    let added = peer.event_where("cron", |told| told["action"] == "added")["payload"]["job"].clone();
    assert_eq!(
        (&added["agentId"], &added["sessionTarget"], &added["name"]),
        (&json!("main"), &json!("session:agent:main:desk"), &json!("Tell them that tea is ready."))
    );
    assert!(upstream.asked()["messages"].to_string().contains("nextRunAtMs"), "the model sees the job");
    let listed = upstream.asked()["messages"].to_string();
    assert!(listed.contains("total") && listed.contains(added["id"].as_str().unwrap()), "{listed}");
    // The turn comes in the same conversation, with what was said before it.
    let reminded = upstream.asked()["messages"].to_string();
    assert!(reminded.contains("remind me") && reminded.contains("I will remind you."), "{reminded}");
    assert!(reminded.contains("Tell them that tea is ready.\\nCurrent time: "), "{reminded}");
    let said = peer.event_where("chat", |told| told["state"] == "final" && told.to_string().contains("Tea is ready!"));
    assert_eq!(said["payload"]["sessionKey"], "agent:main:desk");
    let ended = finished(&mut peer, added["id"].as_str().unwrap());
    assert_eq!((&ended["status"], &ended["sessionKey"]), (&json!("ok"), &json!("agent:main:desk")));
    assert_eq!(peer.get("cron.status", json!({}))["jobs"], 0, "a reminder that was given goes");
    let rows = peer.get("sessions.list", json!({}));
    assert_eq!(rows["sessions"].as_array().unwrap().len(), 1, "no session of its own: {rows}");
}

#[test]
fn what_a_turn_left_is_posted_to_a_webhook() {
    let upstream = Upstream::play(vec![Act::Say(&["It rains."]), Act::Say(&["Again."]), Act::Say(&["Alone."])]);
    // Any server will do as one that is posted to.
    let hook = Upstream::play(vec![Act::Refuse(503, "", "{}"), Act::Say(&["taken"]), Act::Refuse(404, "", "{}")]);
    let more = r#", cron: {webhookToken: "hook-token", webhookSsrfPolicy: {allowedHostnames: ["127.0.0.1"]}}"#;
    let gateway = Setup::new().config(&upstream.config(more)).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let to = format!("http://127.0.0.1:{}/news?key=1", hook.port);
    let job = gateway.cli_json(&[
        "cron",
        "add",
        "--name",
        "news",
        "--every",
        "1d",
        "--message",
        "go",
        "--webhook",
        &to,
        "--json",
    ]);
    assert_eq!(job["delivery"], json!({"mode": "webhook", "to": to}));
    let id = job["id"].as_str().unwrap();
    let ran = gateway.cli_json(&["cron", "run", id, "--wait", "--poll-interval", "50ms", "--json"]);
    assert_eq!((&ran["status"], &ran["run"]["delivered"]), (&json!("ok"), &json!(true)), "{ran}");
    for _ in 0..2 {
        let posted = hook.asked();
        assert_eq!(
            (&posted["jobId"], &posted["action"], &posted["status"], &posted["summary"], &posted["job"]["name"]),
            (&json!(id), &json!("finished"), &json!("ok"), &json!("It rains."), &json!("news"))
        );
        assert_eq!((&posted["runId"], hook.key().as_str()), (&ran["runId"], "hook-token"));
    }
    // The receiver's own answer decides.
    let answer = peer.get("cron.run", json!({"id": id}));
    let ended = finished(&mut peer, id);
    assert_eq!(ended["runId"], ran["runId"], "the first one");
    let ended = finished(&mut peer, id);
    assert_eq!((&ended["runId"], &ended["deliveryStatus"]), (&answer["runId"], &json!("not-delivered")));
    assert_eq!(ended["deliveryError"], "the webhook did not take it: status 404");
    let private = gateway.cli(&["cron", "edit", id, "--webhook", "http://localhost:1/x"]);
    assert!(private.status.success());
    let told = gateway.cli(&["cron", "run", id, "--wait", "--poll-interval", "50ms"]);
    assert_eq!((told.status.code(), told.stdout.as_slice()), (Some(0), &b"Alone.\n"[..]));
    let runs = peer.get("cron.runs", json!({"id": id, "limit": 1}));
    assert!(runs["entries"][0]["deliveryError"].as_str().unwrap().contains("allowedHostnames"), "{runs}");
}

#[test]
fn waiting_for_a_turn_tells_how_it_ended() {
    let upstream =
        Upstream::play(vec![Act::Refuse(400, "", "{\"error\": {\"message\": \"no such thing\"}}"), Act::Hang]);
    let gateway = Setup::new().config(&upstream.config("")).start();
    let job = gateway.cli_json(&["cron", "add", "--name", "bad", "--every", "1d", "--message", "go", "--json"]);
    let id = job["id"].as_str().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let failed = gateway.cli(&["cron", "run", "bad", "--wait", "--poll-interval", "50ms"]);
    assert_eq!(failed.status.code(), Some(1));
    let told = text(failed.stderr);
    assert!(told.contains(&format!("Job {id} ended with error: ")) && told.contains("no such thing"), "{told}");
    let long = gateway.cli(&["cron", "run", "bad", "--wait", "--wait-timeout", "200ms", "--poll-interval", "50ms"]);
    assert_eq!(long.status.code(), Some(1));
    let told = text(long.stderr);
    assert!(told.contains("still runs after 200ms") && told.contains("openclaw cron runs"), "{told}");
    let wrong = gateway.cli(&["cron", "run", "bad", "--wait", "--wait-timeout", "soon"]);
    assert!(text(wrong.stderr).contains("Invalid --wait-timeout"));
}

#[test]
fn a_job_that_is_due_runs_by_itself_and_goes() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let mut job = event_job("soon");
    job["schedule"] = json!({"kind": "at", "at": (now_ms() + 300).to_string()});
    let id = peer.get("cron.add", job)["id"].as_str().unwrap().to_string();
    assert_eq!(finished(&mut peer, &id)["status"], "ok");
    let removed = peer.event_where("cron", |told| told["action"] == "removed");
    assert_eq!(removed["payload"]["jobId"], id);
    assert_eq!(peer.get("cron.status", json!({}))["jobs"], 0);
    assert_eq!(peer.get("cron.runs", json!({"id": id}))["total"], 1, "its log stays");
}

#[test]
fn a_turn_that_is_killed_is_marked_at_the_next_start() {
    let upstream = Upstream::play(vec![Act::Hang]);
    let mut gateway = Setup::new().config(&upstream.config("")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = peer.get("cron.add", turn_job("long", "go"))["id"].as_str().unwrap().to_string();
    peer.get("cron.run", json!({"id": id}));
    upstream.asked();
    assert!(store(gateway.home())["jobs"][0]["state"]["runningAtMs"].is_number());
    gateway.signal("KILL");
    gateway.wait();
    let home = gateway.into_home();
    let gateway = Setup::new().config(&upstream.config("")).home(home).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let runs = peer.get("cron.runs", json!({"id": id}));
    assert_eq!(runs["entries"][0]["status"], "error");
    assert!(runs["entries"][0]["error"].as_str().unwrap().starts_with("interrupted"), "{runs}");
    let job = peer.get("cron.get", json!({"id": id}));
    assert_eq!((&job["state"]["runningAtMs"], &job["state"]["lastStatus"]), (&Value::Null, &json!("error")));
}

#[test]
fn a_reminder_on_record_as_given_survives_a_kill() {
    let upstream = Upstream::play(vec![Act::Say(&["Noted."])]);
    let mut gateway = Setup::new().config(&upstream.config("")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let job = json!({"name": "milk", "schedule": {"kind": "every", "everyMs": 3_600_000}, "sessionTarget": "main",
        "wakeMode": "next-heartbeat", "payload": {"kind": "systemEvent", "text": "remember the milk"}});
    let id = peer.get("cron.add", job)["id"].as_str().unwrap().to_string();
    peer.get("cron.run", json!({"id": id}));
    assert_eq!(peer.get("cron.runs", json!({"id": id}))["entries"][0]["status"], "ok");
    gateway.signal("KILL");
    gateway.wait();
    let home = gateway.into_home();
    let gateway = Setup::new().config(&upstream.config("")).home(home).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(peer.get("status", json!({}))["queuedSystemEvents"], json!(["remember the milk"]));
    peer.get("chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"}));
    let asked = upstream.asked().to_string();
    assert!(asked.contains("remember the milk"), "{asked}");
    assert_eq!(peer.get("status", json!({}))["queuedSystemEvents"], json!([]));
}

#[test]
fn a_stop_ends_a_turn_and_its_job_says_so() {
    let upstream = Upstream::play(vec![Act::Hang]);
    let gateway = Setup::new().config(&upstream.config("")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = peer.get("cron.add", turn_job("long", "go"))["id"].as_str().unwrap().to_string();
    peer.get("cron.run", json!({"id": id}));
    upstream.asked();
    let (status, home) = gateway.stop();
    assert!(status.success());
    let state = &store(&home)["jobs"][0]["state"];
    assert_eq!(state["runningAtMs"], Value::Null);
    assert_eq!(state["lastError"], "interrupted: the gateway was stopped while the job ran");
    let log = fs::read_to_string(home.state(&format!("cron/runs/{id}.jsonl"))).unwrap();
    assert!(log.ends_with("\n") && log.contains("interrupted"), "{log}");
}

/// As 2026.2.9 wrote it, with members of its future and a time that passed while nothing ran.
const OLD_STORE: &str = r#"{
  "version": 1,
  "jobs": [
    {
      "id": "8fdab11a-d10e-41a3-9aca-8a20b528821e", "name": "two", "enabled": true,
      "createdAtMs": 1795255901292, "updatedAtMs": 1795255901292,
      "schedule": {"kind": "cron", "expr": "0 7 * * *", "tz": "UTC"},
      "sessionTarget": "main", "wakeMode": "next-heartbeat", "payload": {"kind": "systemEvent", "text": "x", "new": [1]},
      "state": {"nextRunAtMs": 1700000000000}, "other": {"kept": null}
    },
    {"id": "later", "name": "of the future", "enabled": true, "schedule": {"kind": "stream", "command": ["x"]}, "state": {}}
  ]
}"#;

#[test]
fn a_store_of_the_original_goes_on_and_what_it_missed_is_caught_up_once() {
    let home = Home::new();
    fs::create_dir_all(home.state("cron/runs")).unwrap();
    fs::write(home.state("cron/jobs.json"), OLD_STORE).unwrap();
    let id = "8fdab11a-d10e-41a3-9aca-8a20b528821e";
    let log = home.state(&format!("cron/runs/{id}.jsonl"));
    fs::write(
        &log,
        format!(
            "{{\"ts\":1,\"jobId\":\"{id}\",\"action\":\"finished\",\"status\":\"ok\",\"runAtMs\":1}}\n{{\"ts\":2,\"jo"
        ),
    )
    .unwrap();
    let gateway = Setup::new().config("{gateway: {mode: \"local\"}}").home(home).start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    // Answered behind everything that was written before.
    peer.get("cron.update", json!({"id": id, "patch": {"description": "seen"}}));
    let runs = peer.get("cron.runs", json!({"id": id}))["entries"].as_array().unwrap().clone();
    assert_eq!(runs.len(), 3, "{runs:?}");
    assert_eq!((&runs[1]["status"], &runs[2]["status"]), (&json!("skipped"), &json!("ok")));
    assert!(runs[1]["error"].as_str().unwrap().contains("since 2023-11-14T22:13:20.000Z; one is run now"), "{runs:?}");
    let jobs = store(gateway.home())["jobs"].clone();
    assert_eq!((&jobs[0]["other"], &jobs[0]["payload"]["new"]), (&json!({"kept": null}), &json!([1])));
    assert_eq!(jobs[0]["schedule"]["expr"], "0 7 * * *");
    assert!(jobs[0]["state"]["nextRunAtMs"].as_u64().unwrap() > now_ms());
    assert_eq!(
        jobs[1],
        json!({"id": "later", "name": "of the future", "enabled": true,
        "schedule": {"kind": "stream", "command": ["x"]}, "state": {}})
    );
    assert_eq!(peer.get("cron.list", json!({}))["total"], 2);
}

#[test]
fn a_damaged_store_stops_cron_and_nothing_else_and_is_not_written_over() {
    let home = Home::new();
    fs::create_dir_all(home.state("cron")).unwrap();
    fs::write(home.state("cron/jobs.json"), "{\"jobs\": [").unwrap();
    let gateway = Setup::new().config("{gateway: {mode: \"local\"}}").home(home).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for (method, params) in [("cron.list", json!({})), ("cron.add", event_job("tea"))] {
        let error = peer.call(method, params)["error"].clone();
        assert_eq!(error["code"], "UNAVAILABLE");
        assert!(error["message"].as_str().unwrap().contains("put it right or move it away"), "{error}");
    }
    peer.get("health", json!({}));
    assert_eq!(fs::read_to_string(gateway.home().state("cron/jobs.json")).unwrap(), "{\"jobs\": [");
}

#[test]
fn the_store_may_stand_elsewhere_and_the_scheduler_may_be_off() {
    let config = "{gateway: {mode: \"local\"}, cron: {enabled: false, store: \"~/plans/jobs.json\"}}";
    let gateway = Setup::new().config(config).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = peer.get("cron.add", event_job("tea"))["id"].clone();
    let status = peer.get("cron.status", json!({}));
    assert_eq!((&status["enabled"], &status["nextWakeAtMs"]), (&json!(false), &Value::Null));
    assert!(std::path::Path::new(status["storePath"].as_str().unwrap()).exists());
    assert!(status["storePath"].as_str().unwrap().ends_with("plans/jobs.json"));
    assert_eq!(peer.get("cron.run", json!({"id": id}))["ran"], true);
}

#[test]
fn the_command_line_does_it_all() {
    let gateway = Gateway::start();
    assert_eq!(String::from_utf8(gateway.cli(&["cron", "list"]).stdout).unwrap(), "No cron jobs.\n");
    let add = ["cron", "add", "--name", "tea", "--at", "20m", "--system-event", "Tea is ready", "--json"];
    let job = gateway.cli_json(&add);
    let id = job["id"].as_str().unwrap();
    let due = job["state"]["nextRunAtMs"].as_u64().unwrap();
    assert!((now_ms() + 1_100_000..now_ms() + 1_300_000).contains(&due));
    let table = String::from_utf8(gateway.cli(&["cron", "list"]).stdout).unwrap();
    assert!(table.contains("tea") && table.contains("in 19m") | table.contains("in 20m"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let edited = gateway.cli_json(&["cron", "edit", id, "--every", "1h", "--missed", "skip", "--json"]);
    assert_eq!((&edited["schedule"]["everyMs"], &edited["missed"]), (&json!(3_600_000), &json!("skip")));
    assert_eq!(gateway.cli_json(&["cron", "disable", id, "--json"])["enabled"], false);
    assert_eq!(gateway.cli_json(&["cron", "enable", id, "--json"])["enabled"], true);
    assert_eq!(gateway.cli_json(&["cron", "run", id, "--json"])["ran"], true);
    assert_eq!(gateway.cli(&["cron", "run", id, "--due", "--json"]).status.code(), Some(1));
    assert_eq!(gateway.cli_json(&["cron", "run", "tea", "--json"])["ran"], true);
    let runs = String::from_utf8(gateway.cli(&["cron", "runs", &id[..8]]).stdout).unwrap();
    assert!(runs.contains("Tea is ready") && runs.contains("ok"), "{runs}");
    assert_eq!(gateway.cli_json(&["cron", "rm", id, "--json"])["removed"], true);
    let gone = gateway.cli(&["cron", "runs", "nobody"]);
    let told = String::from_utf8(gone.stderr).unwrap();
    assert_eq!(gone.status.code(), Some(1), "{told}");
    assert!(told.contains("cron job not found: nobody") && told.contains("openclaw cron list"), "{told}");
    let gone = gateway.cli(&["cron", "rm", id]);
    assert!(String::from_utf8(gone.stderr).unwrap().contains("cron job not found"));
    assert_eq!(gateway.cli_json(&["cron", "status", "--json"])["jobs"], 0);
    let both = gateway.cli(&["cron", "add", "--name", "x", "--at", "1m", "--every", "1h", "--system-event", "x"]);
    assert!(String::from_utf8(both.stderr).unwrap().contains("Choose exactly one schedule"));
}
