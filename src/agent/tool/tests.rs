//! Whole calls through a toolbox: real files, real processes, a scripted gateway.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::approval::pending::{Decision, Request};
use super::desk::{Ask, DeskFault, Note, Target, Waiting};
use super::*;
use crate::agent::control::AbortReason;
use crate::sys::queue;

/// No test waits longer for anything.
const WATCHDOG: Duration = Duration::from_secs(20);

/// A gateway that answers sessions with the question, and hands approvals and notes to the test.
struct Script {
    notes: Sender<Note>,
    /// Where requests for approval go; none means that nobody could approve.
    approvals: Option<Sender<(Request, queue::Sender<Option<Decision>>)>>,
}

impl Desk for Script {
    fn ask(&self, question: Ask, _: &Control) -> Result<Value, DeskFault> {
        match question {
            Ask::Status { session_key } => Ok(json!({"statusText": format!("card of {session_key:?}"), "n": 1})),
            Ask::Send { target: Target::Label(label), .. } if label == "ghost" => {
                Err(DeskFault::Refused("No session found: ghost".into()))
            }
            other => Ok(json!({"asked": format!("{other:?}")})),
        }
    }

    fn approve(&self, request: Request, _: &Control) -> Result<Waiting, DeskFault> {
        let approvals = self.approvals.as_ref().ok_or(DeskFault::NoApprover)?;
        let (decide, decision) = queue::bounded(1);
        approvals.send((request, decide)).unwrap();
        Ok(Waiting { id: "0123456789ab".into(), expires_at_ms: u64::MAX, decision })
    }

    fn tell(&self, note: Note) {
        let _ = self.notes.send(note);
    }
}

struct Ground {
    dir: PathBuf,
    jobs: Jobs,
    notes: Receiver<Note>,
    approvals: Receiver<(Request, queue::Sender<Option<Decision>>)>,
    tools: Toolbox,
}

impl Drop for Ground {
    fn drop(&mut self) {
        for child in self.jobs.stop(|_| true) {
            child.wait(WATCHDOG);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// How a toolbox is made for a test.
struct Make {
    origin: Origin,
    config: Value,
    approver: bool,
    session_exec: Rules,
    /// What `exec-approvals.json` holds from the beginning.
    file: Option<String>,
}

impl Make {
    fn operator() -> Make {
        Make {
            origin: Origin::Operator,
            config: json!({}),
            approver: false,
            session_exec: Rules::default(),
            file: None,
        }
    }

    fn channel() -> Make {
        Make { origin: Origin::Channel, ..Make::operator() }
    }

    fn at(self, name: &str) -> Ground {
        let dir = std::env::temp_dir().join(format!("openclaw-tools-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("workspace")).unwrap();
        fs::write(dir.join("secret"), "secret").unwrap();
        let dir = dir.canonicalize().unwrap();
        if let Some(file) = self.file {
            fs::write(dir.join("exec-approvals.json"), file).unwrap();
        }
        let ((notes, told), (approvals, asked)) = (unbounded(), unbounded());
        let jobs = jobs();
        let path = std::env::var("PATH").unwrap();
        let vars =
            [("PATH", path.as_str()), ("SHELL", "/bin/sh"), ("OPENCLAW_GATEWAY_TOKEN", "t0ken"), ("KEPT", "yes")];
        let tools = Toolbox::new(Setup {
            config: Arc::new(Config::from_value(self.config)),
            agent_id: "main".into(),
            session_key: "agent:main:main".into(),
            run_id: "run-1".into(),
            workspace: dir.join("workspace"),
            approvals_file: dir.join("exec-approvals.json"),
            home: dir.clone(),
            origin: self.origin,
            provider: "test".into(),
            model: "model".into(),
            context_tokens: 100_000,
            session_exec: self.session_exec,
            env: Env::of(vars),
            jobs: jobs.clone(),
            desk: Arc::new(Script { notes, approvals: self.approver.then_some(approvals) }),
            web: None,
            entropy: Entropy::from_seed([1; 32]),
            deny: vec![],
        })
        .unwrap();
        Ground { dir, jobs, notes: told, approvals: asked, tools }
    }
}

impl Ground {
    fn call(&mut self, name: &str, arguments: Value) -> ToolOutcome {
        self.tools.call(Call { id: "1", name, arguments: &arguments }, &Control::new(), &mut |_| {})
    }

    fn ok(&mut self, name: &str, arguments: Value) -> String {
        let outcome = self.call(name, arguments);
        assert!(!outcome.is_error, "{name}: {}", shown(&outcome));
        shown(&outcome)
    }

    fn refused(&mut self, name: &str, arguments: Value) -> String {
        let outcome = self.call(name, arguments);
        assert!(outcome.is_error, "{name}: {}", shown(&outcome));
        shown(&outcome)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join("workspace").join(name)).unwrap()
    }

    fn event(&self) -> String {
        loop {
            if let Note::SystemEvent { text, session_key, wake, .. } = self.notes.recv_timeout(WATCHDOG).unwrap() {
                assert_eq!((session_key.as_str(), wake), ("agent:main:main", true));
                return text;
            }
        }
    }
}

fn shown(outcome: &ToolOutcome) -> String {
    crate::agent::message::text_of(&outcome.content)
}

fn details(outcome: &ToolOutcome) -> &Value {
    outcome.details.as_ref().unwrap()
}

#[test]
fn unknown_tools_and_wrong_arguments_are_results() {
    let mut ground = Make { config: json!({"tools": {"deny": ["write"]}}), ..Make::operator() }.at("unknown");
    assert!(
        ground.refused("browser\u{1b}", json!({})).starts_with("no tool named \"browser\\u{1b}\"; there are: read")
    );
    assert!(ground.refused("write", json!({"path": "x", "content": ""})).starts_with("no tool named \"write\""));
    assert!(
        ground.refused("web_fetch", json!({"url": "http://a.org"})).starts_with("no tool named"),
        "no client, no tool"
    );
    assert_eq!(ground.refused("read", json!({})), "invalid arguments for read: must have required property 'path'");
    assert_eq!(ground.refused("read", json!("{")).split(':').next(), Some("invalid arguments for read"));
    assert!(ground.refused(&"x".repeat(100_000), json!({})).len() < 1000);
    assert!(ground.tools.specs().iter().all(|spec| spec.name != "write"));
    let stopped = Control::new();
    stopped.cancel(AbortReason::Rpc);
    let call = Call { id: "1", name: "read", arguments: &json!({"path": "x"}) };
    assert!(ground.tools.call(call, &stopped, &mut |_| {}).is_error);
}

#[test]
fn files_are_written_read_edited_and_patched() {
    let mut ground = Make::channel().at("files");
    ground.ok("write", json!({"path": "notes/a.txt", "content": "one\ntwo\nthree\n"}));
    assert_eq!(
        ground.ok("read", json!({"path": "notes/a.txt", "offset": 2, "limit": 1})),
        "two\n\n[lines 2 to 2; there is more, go on with offset=3]"
    );
    let edited = ground.call("edit", json!({"path": "notes/a.txt", "oldText": "two", "newText": "2"}));
    assert_eq!((edited.meta.as_str(), &details(&edited)["firstChangedLine"]), ("notes/a.txt", &json!(2)));
    let patch = "*** Begin Patch\n*** Update File: notes/a.txt\n*** Move to: b.txt\n@@\n 2\n-three\n+3\n*** Add File: c.txt\n+new\n*** End Patch";
    assert_eq!(ground.ok("apply_patch", json!({"input": patch})), "Changed:\nR notes/a.txt -> b.txt\nA c.txt");
    assert_eq!((ground.file("b.txt").as_str(), ground.file("c.txt").as_str()), ("one\n2\n3\n", "new\n"));
    assert!(!ground.dir.join("workspace/notes/a.txt").exists());
    assert!(ground.refused("edit", json!({"path": "b.txt", "oldText": "9", "newText": "8"})).contains("not found"));
    assert!(ground.refused("read", json!({"path": "none"})).contains("no such file"));
    assert!(ground.refused("read", json!({"path": "b.txt", "offset": 9})).contains("beyond the end: 3 lines"));
}

#[test]
fn a_patch_that_does_not_fit_changes_nothing() {
    let mut ground = Make::channel().at("patch");
    ground.ok("write", json!({"path": "a", "content": "1\n"}));
    let patch = |part: &str| json!({"input": format!("*** Begin Patch\n*** Add File: new\n+x\n{part}\n*** End Patch")});
    for part in [
        "*** Update File: a\n@@\n-2\n+3",
        "*** Delete File: none",
        "*** Add File: a\n+x",
        "*** Delete File: ../secret",
        "*** Update File: a\n*** Move to: new\n@@\n-1\n+2",
        "*** Delete File: a\n*** Update File: a\n@@\n-1\n+2",
    ] {
        assert!(ground.refused("apply_patch", patch(part)).starts_with("nothing was changed"), "{part}");
        assert!(!ground.dir.join("workspace/new").exists(), "{part}");
    }
    assert_eq!(ground.file("a"), "1\n");
}

#[test]
fn a_patch_removes_files_of_any_kind_and_nothing_else() {
    let mut ground = Make::channel().at("removal");
    fs::write(ground.dir.join("workspace/a.bin"), b"\0\xff").unwrap();
    fs::create_dir(ground.dir.join("workspace/folder")).unwrap();
    let delete = |path: &str| json!({"input": format!("*** Begin Patch\n*** Delete File: {path}\n*** End Patch")});
    ground.ok("apply_patch", delete("a.bin"));
    assert!(!ground.dir.join("workspace/a.bin").exists());
    assert!(ground.refused("apply_patch", delete("folder")).contains("nothing was changed: folder"));
}

#[test]
fn a_turn_of_a_channel_stays_in_the_workspace_and_one_of_the_operator_may_leave_it() {
    let mut ground = Make::channel().at("confined");
    let secret = ground.dir.join("secret").display().to_string();
    symlink(&secret, ground.dir.join("workspace/link")).unwrap();
    symlink(&ground.dir, ground.dir.join("workspace/up")).unwrap();
    for path in ["../secret", "link", "up/secret", "~/secret", secret.as_str(), "file:///etc/passwd"] {
        assert!(ground.refused("read", json!({ "path": path })).contains("outside the workspace"), "{path}");
        ground.refused("write", json!({"path": path, "content": "x"}));
        ground.refused("edit", json!({"path": path, "oldText": "secret", "newText": "x"}));
        ground.refused("exec", json!({"command": "pwd", "workdir": path}));
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    let mut free = Make::operator().at("free");
    for path in ["../secret", "~/secret"] {
        assert_eq!(free.ok("read", json!({ "path": path })), "secret", "{path}");
    }
    let config = json!({"tools": {"fs": {"workspaceOnly": true}}});
    let mut told = Make { config, ..Make::operator() }.at("told");
    told.refused("read", json!({"path": "../secret"}));
}

#[test]
fn pictures_are_handed_over_and_binaries_are_not() {
    let mut ground = Make::channel().at("picture");
    fs::write(ground.dir.join("workspace/a.png"), b"\x89PNG\r\n\x1a\nxyz").unwrap();
    fs::write(ground.dir.join("workspace/b"), b"\x7fELF\0\0").unwrap();
    let outcome = ground.call("read", json!({"path": "a.png"}));
    assert!(
        matches!(&outcome.content[1], crate::agent::message::Block::Image { mime_type, .. } if mime_type == "image/png")
    );
    assert!(ground.refused("read", json!({"path": "b"})).contains("binary file"));
    let mut huge = b"\xff\xd8\xff".to_vec();
    huge.resize(limits::TOOL_IMAGE_BYTES + 1, 0);
    fs::write(ground.dir.join("workspace/c.jpg"), huge).unwrap();
    assert!(ground.refused("read", json!({"path": "c.jpg"})).contains("over"));
}

#[test]
fn a_command_gives_its_output_and_how_it_ended() {
    let mut ground = Make::operator().at("exec");
    let outcome = ground.call("bash", json!({"command": "echo hi; echo there >&2"}));
    assert_eq!((shown(&outcome).as_str(), outcome.is_error), ("hi\nthere", false));
    let seen = details(&outcome);
    assert_eq!(
        (&seen["status"], &seen["exitCode"], &seen["aggregated"]),
        (&json!("completed"), &json!(0), &json!("hi\nthere"))
    );
    assert!(seen["durationMs"].is_u64() && seen["cwd"].as_str().unwrap().ends_with("/workspace"));
    let outcome = ground.call("exec", json!({"command": "echo no; exit 3"}));
    assert_eq!(shown(&outcome), "no\n\n(the command ended with code 3)");
    assert_eq!((outcome.is_error, &details(&outcome)["status"]), (true, &json!("failed")));
    assert!(ground.refused("exec", json!({"command": "sleep 60", "timeout": 1})).contains("its time was over"));
    assert_eq!(ground.ok("exec", json!({"command": "true"})), "(no output)");
    assert!(ground.refused("exec", json!({"command": " "})).contains("command must be"));
    assert!(ground.refused("exec", json!({"command": "pwd", "workdir": "none"})).contains("no such"));
    assert_eq!(ground.ok("exec", json!({"command": "cat", "yieldMs": 20_000})), "(no output)", "no input");
}

#[test]
fn a_command_gets_no_secrets_and_sets_no_search_path() {
    let mut ground = Make::operator().at("env");
    let seen = ground.ok("exec", json!({"command": "env", "env": {"MINE": "1"}}));
    assert!(seen.contains("KEPT=yes") && seen.contains("MINE=1") && !seen.contains("t0ken"), "{seen}");
    for name in ["PATH", "LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "BASH_ENV"] {
        assert!(
            ground.refused("exec", json!({"command": "ls", "env": {name: "x"}})).contains("may not be set"),
            "{name}"
        );
    }
    ground.refused("exec", json!({"command": "ls", "env": {"A": 1}}));
}

#[test]
fn binary_and_endless_output_is_bounded_text() {
    let mut ground = Make::operator().at("output");
    let seen = ground.ok("exec", json!({"command": "head -c 3000000 /dev/urandom; printf '\\033[31mend'"}));
    assert!(seen.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
    assert!(seen.contains("bytes left out") && seen.ends_with("end"));
    let whole = ground.call("exec", json!({"command": "yes", "timeout": 1}));
    assert!(shown(&whole).len() <= outcome::result_chars(100_000) + 200);
    assert!(details(&whole)["aggregated"].as_str().unwrap().len() < limits::EXEC_DETAILS_BYTES + 64);
}

#[test]
fn a_long_command_goes_on_in_the_background() {
    let mut ground = Make::operator().at("background");
    let command = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let outcome = ground.call("exec", json!({"command": command, "yieldMs": 1}));
    let name = details(&outcome)["sessionId"].as_str().unwrap().to_string();
    assert_eq!((details(&outcome)["status"].as_str(), name.split('-').count()), (Some("running"), 2));
    assert!(shown(&outcome).contains(&name));
    assert!(ground.ok("process", json!({"action": "list"})).contains(&name));
    // what was written before it went to the background was shown then
    if !shown(&outcome).starts_with("ready") {
        let poll = json!({"action": "poll", "sessionId": name, "timeoutMs": 20_000});
        assert_eq!(ground.ok("process", poll), "ready\n\nIt still runs.");
    }
    let poll = json!({"action": "poll", "sessionId": name});
    assert_eq!(ground.ok("process", poll), "(no new output)\n\nIt still runs.");
    assert!(ground.refused("process", json!({"action": "write", "sessionId": name, "data": "x"})).contains("closed"));
    let killed = ground.call("process", json!({"action": "kill", "sessionId": name}));
    assert_eq!((killed.is_error, &details(&killed)["exitCode"]), (false, &json!(0)));
    assert!(ground.notes.is_empty(), "whoever killed it knows");
}

#[test]
fn a_strangers_turn_neither_sees_nor_types_into_the_operators_commands() {
    let mut ground = Make::operator().at("strangers-shell");
    let outcome = ground.call("exec", json!({"command": "cat", "background": true}));
    let name = details(&outcome)["sessionId"].clone();
    ground.tools.setup.origin = Origin::Channel;
    assert_eq!(ground.ok("process", json!({"action": "list"})), "No commands in the background.");
    for action in ["write", "poll", "log", "eof", "kill"] {
        let wish = json!({"action": action, "sessionId": name, "data": "rm"});
        assert!(ground.refused("process", wish).contains("no command"), "{action}");
    }
    ground.tools.setup.origin = Origin::Operator;
    ground.ok("process", json!({"action": "kill", "sessionId": name}));
}

#[test]
fn a_running_command_tells_its_news() {
    let mut ground = Make::operator().at("news");
    let go = ground.dir.join("go");
    let mut partials = Vec::new();
    // ends only after its first news was seen
    let arguments = json!({"command": "echo ready; while ! [ -e ../go ]; do sleep 0.02; done", "yieldMs": 60_000});
    let call = Call { id: "1", name: "exec", arguments: &arguments };
    let outcome = ground.tools.call(call, &Control::new(), &mut |partial| {
        fs::write(&go, "").unwrap();
        partials.push(partial);
    });
    assert_eq!((shown(&outcome).as_str(), &details(&outcome)["status"]), ("ready", &json!("completed")));
    let first = partials[0].to_value();
    assert_eq!((&first["content"][0]["text"], &first["details"]["tail"]), (&json!("ready"), &json!("ready")));
    assert_eq!((&first["details"]["status"], first["details"]["pid"].is_u64()), (&json!("running"), true));
}

#[test]
fn a_background_command_takes_input_and_reports_its_end() {
    let mut ground = Make::operator().at("input");
    let outcome =
        ground.call("exec", json!({"command": "while read x; do echo got $x; done; exit 4", "background": true}));
    let name = details(&outcome)["sessionId"].as_str().unwrap().to_string();
    ground.ok("process", json!({"action": "write", "sessionId": name, "data": "one\n"}));
    let poll = json!({"action": "poll", "sessionId": name, "timeoutMs": 20_000});
    assert!(ground.ok("process", poll.clone()).starts_with("got one\n\nIt still runs."));
    ground.ok("process", json!({"action": "write", "sessionId": name, "data": "two\n", "eof": true}));
    let event = ground.event();
    assert!(event.contains(&name) && event.contains("ended with code 4") && event.ends_with("got two"), "{event}");
    let last = ground.call("process", poll);
    assert!(shown(&last).starts_with("got two\n\nThe command ended with code 4."), "{}", shown(&last));
    assert_eq!(details(&last)["status"], "failed");
    let log = json!({"action": "log", "sessionId": name, "offset": 2, "limit": 1});
    assert_eq!(ground.ok("process", log), "got two");
    assert!(
        ground.refused("process", json!({"action": "poll", "sessionId": "no-such"})).contains("no command no-such")
    );
    assert!(ground.refused("process", json!({"action": "poll"})).contains("sessionId is needed"));
}

#[test]
fn other_sessions_do_not_see_a_command() {
    let mut ground = Make::operator().at("own");
    let outcome = ground.call("exec", json!({"command": "sleep 60", "background": true}));
    let name = details(&outcome)["sessionId"].clone();
    ground.tools.setup.session_key = "agent:main:other".into();
    ground.refused("process", json!({"action": "kill", "sessionId": name}));
    assert_eq!(ground.ok("process", json!({"action": "list"})), "No commands in the background.");
}

#[test]
fn a_stopped_run_ends_its_commands_with_their_children() {
    let mut ground = Make::operator().at("stop");
    let control = Control::new();
    let stopper = control.clone();
    // the first output says that the trap is set
    let mut on = move |_: Partial| {
        stopper.cancel(AbortReason::Rpc);
    };
    let command = "trap '' TERM; (trap '' TERM; while :; do sleep 0.05; done) & echo up; while :; do sleep 0.05; done";
    let call = Call { id: "1", name: "exec", arguments: &json!({"command": command, "yieldMs": 60_000}) };
    let outcome = ground.tools.call(call, &control, &mut on);
    assert!(outcome.is_error && shown(&outcome).contains("was ended"), "{}", shown(&outcome));
    let background = ground.call("exec", json!({"command": "sleep 60", "background": true}));
    assert_eq!(details(&background)["status"], "running");
    run_ended(&ground.jobs, "another run");
    assert!(ground.jobs.all(|_| true)[0].child.exit().is_none());
    run_ended(&ground.jobs, "run-1");
    assert!(ground.jobs.all(|_| true)[0].child.wait(WATCHDOG).is_some());
}

#[test]
fn the_runs_own_deadline_ends_a_command() {
    let mut ground = Make::operator().at("deadline");
    let call = Call { id: "1", name: "exec", arguments: &json!({"command": "sleep 60"}) };
    let outcome = ground.tools.call(call, &Control::within(Duration::from_millis(100)), &mut |_| {});
    assert!(outcome.is_error);
}

#[test]
fn commands_in_the_background_are_bounded() {
    let mut ground = Make::operator().at("many");
    for _ in 0..limits::BACKGROUND_JOBS {
        ground.ok("exec", json!({"command": "exec sleep 60", "background": true}));
    }
    assert!(ground.refused("exec", json!({"command": "true"})).contains("end one first"));
}

#[test]
fn a_channel_runs_what_the_allowlist_names_and_nothing_else_without_an_approver() {
    let mut ground = Make::channel().at("allowlist");
    let refused = ground.refused("exec", json!({"command": "ls"}));
    assert!(
        refused.starts_with("exec denied: approval needed (not in the allowlist: ") && refused.contains("no client"),
        "{refused}"
    );
    let allow = r#"{"version":1,"agents":{"main":{"allowlist":[{"pattern":"/**/echo"}]}}}"#;
    fs::write(ground.dir.join("exec-approvals.json"), allow).unwrap();
    assert_eq!(ground.ok("exec", json!({"command": "echo hi | wc -l"})).trim(), "1");
    let note = ground.notes.try_recv().unwrap();
    assert!(matches!(note, Note::AllowlistUsed { pattern, .. } if pattern == "/**/echo"));
    for command in ["echo hi > x", "echo $(id)", "echo hi; id", "echo hi & id", "PATH=. echo hi"] {
        ground.refused("exec", json!({ "command": command }));
    }
    assert!(
        ground.refused("exec", json!({"command": "echo hi", "env": {"A": "b"}})).contains("variables given with env")
    );
    assert!(!ground.dir.join("workspace/x").exists());
    fs::write(ground.dir.join("exec-approvals.json"), "{").unwrap();
    assert!(
        ground.refused("exec", json!({"command": "echo hi"})).contains("security=deny"),
        "a broken file opens nothing"
    );
}

#[test]
fn an_operator_can_open_a_channel_and_close_himself() {
    let config = json!({"tools": {"exec": {"security": "full", "ask": "off"}}});
    assert_eq!(Make { config, ..Make::channel() }.at("open").ok("exec", json!({"command": "echo hi"})), "hi");
    let config = json!({"tools": {"exec": {"security": "deny"}}});
    let mut closed = Make { config, ..Make::operator() }.at("closed");
    assert!(closed.refused("exec", json!({"command": "echo hi"})).starts_with("no tool named"), "not even offered");
    let file = closed.dir.join("exec-approvals.json");
    let mut by_file = Make::operator().at("closed-by-file");
    fs::write(by_file.dir.join("exec-approvals.json"), r#"{"defaults":{"security":"deny"}}"#).unwrap();
    assert!(!file.exists() && by_file.refused("exec", json!({"command": "echo hi"})).contains("security=deny"));
}

#[test]
fn commands_that_the_file_or_the_session_forbid_are_not_offered() {
    let offers = |file: &str, session_exec: Rules| {
        let ground = Make { file: Some(file.into()), session_exec, ..Make::operator() }.at("not-offered");
        let names: Vec<&str> = ground.tools.offered().iter().map(|tool| tool.name).collect();
        assert!(names.contains(&"read") && names.contains(&"exec") == names.contains(&"process"));
        names.contains(&"exec")
    };
    let said = |security| Rules { security: Some(security), ..Rules::default() };
    assert!(offers("{}", Rules::default()) && offers("{}", said(Security::Allowlist)));
    assert!(!offers("{}", said(Security::Deny)));
    assert!(!offers(r#"{"defaults":{"security":"deny"}}"#, Rules::default()));
    assert!(!offers(r#"{"agents":{"main":{"security":"deny"}}}"#, said(Security::Full)));
    assert!(!offers("{", Rules::default()), "a broken file opens nothing");
    assert!(!offers(&" ".repeat(limits::APPROVALS_FILE_BYTES + 1), Rules::default()), "nor one that is too long");
}

#[test]
fn an_approved_command_runs_later_and_reports() {
    for (decision, part) in [
        (Some(Decision::AllowOnce), "Exec ended with code 0"),
        (Some(Decision::AllowAlways), "Exec ended with code 0"),
        (Some(Decision::Deny), "Exec denied by the operator"),
        (None, "exec denied: approval needed (not in the allowlist: "),
    ] {
        let mut ground = Make { approver: true, ..Make::channel() }.at(&format!("approve-{decision:?}"));
        let outcome = ground.call("exec", json!({"command": "touch made"}));
        let seen = details(&outcome);
        assert_eq!(
            (outcome.is_error, &seen["status"], &seen["approvalSlug"]),
            (false, &json!("approval-pending"), &json!("01234567"))
        );
        let (request, decide) = ground.approvals.recv_timeout(WATCHDOG).unwrap();
        assert_eq!((request.command.as_str(), request.ask.as_deref()), ("touch made", Some("on-miss")));
        assert!(request.resolved_path.unwrap().ends_with("/touch"));
        decide.send(decision).unwrap();
        if decision == Some(Decision::AllowAlways) {
            let note = ground.notes.recv_timeout(WATCHDOG).unwrap();
            assert!(matches!(note, Note::AllowAlways { patterns, .. } if patterns[0].ends_with("/touch")));
        }
        let event = ground.event();
        assert!(event.contains(part) && event.contains("touch made") && event.contains("0123456789ab"), "{event}");
        assert_eq!(ground.dir.join("workspace/made").exists(), part.contains("code 0"));
    }
}

#[test]
fn an_approval_that_comes_after_the_stop_runs_nothing() {
    let mut ground = Make { approver: true, ..Make::channel() }.at("late");
    let control = Control::new();
    let call = Call { id: "1", name: "exec", arguments: &json!({"command": "touch made"}) };
    ground.tools.call(call, &control, &mut |_| {});
    let (_, decide) = ground.approvals.recv_timeout(WATCHDOG).unwrap();
    control.cancel(AbortReason::Rpc);
    decide.send(Some(Decision::AllowOnce)).unwrap();
    assert!(ground.event().contains("its turn was stopped"));
    assert!(!ground.dir.join("workspace/made").exists());
}

#[test]
fn a_gateway_that_leaves_has_not_approved_anything() {
    let config = json!({"tools": {"exec": {"security": "full", "ask": "always", "askFallback": "full"}}});
    let mut ground = Make { approver: true, config, ..Make::channel() }.at("leaves");
    ground.ok("exec", json!({"command": "touch made"}));
    drop(ground.approvals.recv_timeout(WATCHDOG).unwrap());
    assert!(ground.event().starts_with("exec denied: the gateway stopped"));
    assert!(!ground.dir.join("workspace/made").exists());
}

#[test]
fn sessions_are_asked_of_the_gateway() {
    let mut ground = Make::operator().at("sessions");
    assert_eq!(ground.ok("session_status", json!({})), "card of None");
    assert!(
        ground
            .ok("sessions_list", json!({"limit": 1_000_000}))
            .contains(&format!("limit: {}", limits::TOOL_SESSION_ROWS_MAX))
    );
    assert!(ground.ok("sessions_history", json!({"label": "x"})).contains("Label("));
    assert!(
        ground.ok("sessions_send", json!({"key": "main", "message": "hi", "timeoutSeconds": 0})).contains("wait: 0ns")
    );
    assert_eq!(ground.refused("sessions_send", json!({"label": "ghost", "message": "hi"})), "No session found: ghost");
    assert_eq!(ground.refused("sessions_history", json!({})), "sessionKey required");
    assert!(ground.refused("sessions_history", json!({"sessionKey": "a", "label": "b"})).contains("either"));
}

#[test]
fn the_memory_is_searched_and_nothing_beside_it() {
    let mut ground = Make::channel().at("memory");
    let workspace = ground.dir.join("workspace");
    fs::create_dir_all(workspace.join("memory/deep")).unwrap();
    fs::write(workspace.join("MEMORY.md"), "# Facts\nAnn likes tea.\n").unwrap();
    fs::write(workspace.join("memory/deep/2026-11-20.md"), "Talked with Ann about the harbour project.\n").unwrap();
    fs::write(workspace.join("AGENTS.md"), "Ann harbour").unwrap();
    fs::write(ground.dir.join("outside.md"), "Ann harbour tea secret").unwrap();
    symlink(ground.dir.join("outside.md"), workspace.join("memory/link.md")).unwrap();
    let outcome = ground.call("memory_search", json!({"query": "Ann harbour"}));
    let results = details(&outcome)["results"].as_array().unwrap().clone();
    let paths: Vec<&str> = results.iter().map(|result| result["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["memory/deep/2026-11-20.md", "MEMORY.md"]);
    assert_eq!((&results[0]["startLine"], &results[0]["source"]), (&json!(1), &json!("memory")));
    assert_eq!(ground.ok("memory_get", json!({"path": "MEMORY.md", "from": 2, "lines": 1})), "Ann likes tea.");
    assert!(ground.refused("memory_get", json!({"path": "memory/link.md"})).contains("outside"));
    assert!(ground.refused("memory_get", json!({"path": "AGENTS.md"})).contains("only MEMORY.md"));
    assert!(ground.refused("memory_search", json!({"query": "?!"})).contains("no words"));
    let few = ground.call("memory_search", json!({"query": "ann", "maxResults": 1}));
    assert_eq!(details(&few)["results"].as_array().unwrap().len(), 1);
}

#[test]
fn results_fit_the_models_context() {
    let mut ground = Make::operator().at("share");
    ground.tools.setup.context_tokens = 4000;
    fs::write(ground.dir.join("workspace/big"), "0123456789\n".repeat(4000)).unwrap();
    let seen = ground.ok("read", json!({"path": "big"}));
    assert!(seen.len() <= outcome::result_chars(4000) + 64 && seen.contains("left out"), "{}", seen.len());
    assert!(seen.ends_with("offset=2001]"), "the note at the end survives");
}

#[test]
fn what_is_written_and_changed_is_bounded() {
    let mut ground = Make::channel().at("bounds");
    let long = "x".repeat(limits::WRITE_BYTES + 1);
    assert!(ground.refused("write", json!({"path": "a", "content": long})).contains("over"));
    fs::write(ground.dir.join("workspace/big"), "y".repeat(limits::EDIT_BYTES + 1)).unwrap();
    assert!(ground.refused("edit", json!({"path": "big", "oldText": "a", "newText": "b"})).contains("over"));
    let mut parts = String::new();
    for name in 0..=limits::PATCH_TOTAL_BYTES / limits::EDIT_BYTES + 1 {
        fs::write(ground.dir.join(format!("workspace/f{name}")), "z\n".repeat(limits::EDIT_BYTES / 2)).unwrap();
        parts.push_str(&format!("*** Update File: f{name}\n@@\n-z\n+a\n"));
    }
    let patch = format!("*** Begin Patch\n{parts}*** End Patch");
    assert!(ground.refused("apply_patch", json!({"input": patch})).contains("in all"));
    assert!(ground.file("f0").starts_with('z'));
}

#[test]
fn one_write_to_a_command_is_bounded() {
    let mut ground = Make::operator().at("write-bound");
    let outcome = ground.call("exec", json!({"command": "cat > /dev/null", "background": true}));
    let name = details(&outcome)["sessionId"].clone();
    let data = "x".repeat(limits::PROCESS_WRITE_BYTES + 1);
    assert!(ground.refused("process", json!({"action": "write", "sessionId": name, "data": data})).contains("over"));
    ground.ok("process", json!({"action": "eof", "sessionId": name}));
    let child = ground.jobs.all(|_| true)[0].child.clone();
    assert_eq!(child.wait(WATCHDOG).unwrap().code, Some(0));
}

#[test]
fn a_memory_too_large_or_too_deep_is_searched_in_part() {
    let mut ground = Make::channel().at("memory-bound");
    let memory = ground.dir.join("workspace/memory");
    let deep = memory.join("d/".repeat(limits::MEMORY_DEPTH + 1));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("x.md"), "needle").unwrap();
    let search = json!({"query": "needle"});
    assert_eq!(details(&ground.call("memory_search", search.clone()))["results"], json!([]));
    let filler = format!("{}needle", "hay ".repeat(limits::MEMORY_FILE_BYTES / 4));
    for file in 0..=limits::MEMORY_BYTES / limits::MEMORY_FILE_BYTES {
        fs::write(memory.join(format!("{file:04}.md")), &filler).unwrap();
    }
    let outcome = ground.call("memory_search", search);
    assert_eq!(details(&outcome)["results"], json!([]), "beyond the bytes of one file");
    assert!(details(&outcome)["note"].as_str().unwrap().contains("larger"));
}
