//! The tool `cron`: an agent plans work of its own, in its own name. It sees and changes its agent's jobs only, and only
//! in a turn that speaks for the operator: a job runs with the operator's rights, so no stranger may plan one.

use serde_json::{Map, Value};

use super::Standing;
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::agent::tool::desk::DeskFault;
use crate::cron::job::{IN_SESSION, Job as CronEntry};
use crate::cron::wish;
use crate::gateway::desk::Behalf;
use crate::gateway::event::{Effect, ToolReply};
use crate::gateway::heartbeats::Wake;
use crate::gateway::session_key::Place;
use crate::gateway::state::State;
use crate::limits;
use crate::session::key::is_reserved;
use crate::sys::clock::Now;
use crate::sys::date;

impl State {
    /// Answers it; none when the answer comes later.
    pub fn tool_cron(
        &mut self,
        by: &Behalf,
        ticket: u64,
        args: &Map<String, Value>,
        now: Now,
        fx: &mut Vec<Effect>,
    ) -> Result<Option<ToolReply>, DeskFault> {
        let refused = |text: String| Err(DeskFault::Refused(text));
        if self.speaker(by)? != Speaker::Operator {
            return refused("this conversation may not plan work: only the operator's own turns may".to_string());
        }
        match &self.cron.standing {
            Standing::Ready => {}
            Standing::Loading => return refused("the schedule is being read; try again in a moment".to_string()),
            Standing::Broken(why) => return refused(why.clone()),
        }
        let own = self.own_place(by)?;
        let text = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default().trim();
        match text("action") {
            "status" => return Ok(Some(ToolReply::Value(self.own_status(&own)))),
            "list" => return Ok(Some(ToolReply::Value(self.own_jobs(&own)))),
            "wake" => return self.tool_wake(&own, text("text"), text("mode"), now, fx).map(Some),
            "add" => {
                let params = self.own_wish(&own, args, None, now);
                no_webhook(&params, None)?;
                return self.call_for_tool(ticket, "cron.add", params, now, fx);
            }
            _ => {}
        }
        let id = text("id");
        let Some(job) = self.cron.book.find(id).filter(|job| self.cron_agent(job) == own.agent) else {
            let shown: String = id.chars().take(limits::FAULT_NAME_CHARS).collect();
            return refused(format!("no job \"{shown}\"; action list shows the ids"));
        };
        let (method, params) = match text("action") {
            "get" => ("cron.get", json!({"id": id})),
            "update" => {
                let wish = self.own_wish(&own, args, Some(job.text("sessionTarget")), now);
                no_webhook(&wish, Some(job))?;
                ("cron.update", json!({"id": id, "patch": wish}))
            }
            "remove" => ("cron.remove", json!({"id": id})),
            "run" => ("cron.run", json!({"id": id})),
            _ => ("cron.runs", json!({"id": id, "limit": limits::TOOL_SESSION_ROWS})),
        };
        self.call_for_tool(ticket, method, params, now, fx)
    }

    /// What is wished for, as parameters; `known` is the session of a job that is there. A new one is its agent's, and
    /// whose one is does not change.
    fn own_wish(&self, own: &Place, args: &Map<String, Value>, known: Option<&str>, now: Now) -> Value {
        let mut said = args.clone();
        let job = said.remove("job");
        said.retain(|name, _| !matches!(name.as_str(), "action" | "id" | "mode"));
        if let Some(Value::Object(job)) = job {
            said.extend(job);
        }
        let here = Some(own.key.as_str()).filter(|key| !is_reserved(key));
        let mut job = wish::members(&said, here, known, now.wall_ms);
        // A declaration would find the job of whoever declared it before.
        for name in ["agentId", "declarationKey", "id", "jobId"] {
            job.remove(name);
        }
        if known.is_none() {
            job.insert("agentId".into(), own.agent.clone().into());
            let target = job.get("sessionTarget").and_then(Value::as_str).unwrap_or_default();
            if target.starts_with(IN_SESSION) && !job.contains_key("delivery") && self.last_channel(own).is_some() {
                job.insert("delivery".into(), json!({"mode": "announce"}));
            }
        }
        Value::Object(job)
    }

    fn jobs_of(&self, agent: &str) -> impl Iterator<Item = &CronEntry> {
        self.cron.book.jobs.iter().filter(move |job| self.cron_agent(job) == agent)
    }

    fn own_status(&self, own: &Place) -> Value {
        let next = self.jobs_of(&own.agent).filter_map(CronEntry::next_run).min().filter(|_| self.cron.enabled);
        json!({"enabled": self.cron.enabled, "jobs": self.jobs_of(&own.agent).count(), "next": next.map(date::iso_utc)})
    }

    fn own_jobs(&self, own: &Place) -> Value {
        let row = |job: &CronEntry| {
            let of = |name: &str| job.members().get(name).cloned().unwrap_or_default();
            json!({
                "id": job.id(), "name": of("name"), "enabled": job.is_enabled(), "schedule": of("schedule"),
                "session": of("sessionTarget"), "next": job.next_run().map(date::iso_utc),
                "lastStatus": job.inner("state", "lastStatus").cloned().unwrap_or_default(),
            })
        };
        let rows: Vec<Value> = self.jobs_of(&own.agent).take(limits::CRON_PAGE).map(row).collect();
        json!({"total": self.jobs_of(&own.agent).count(), "jobs": rows})
    }

    fn tool_wake(
        &mut self,
        own: &Place,
        text: &str,
        mode: &str,
        now: Now,
        fx: &mut Vec<Effect>,
    ) -> Result<ToolReply, DeskFault> {
        if text.is_empty() {
            return Err(DeskFault::Refused("wake needs text".to_string()));
        }
        let main = self.main_place(&own.agent);
        self.queue_system_event(&main, text, now);
        let mode = if mode == "next-heartbeat" { Wake::NextHeartbeat } else { Wake::Now };
        self.wake(&main.agent, mode, "wake", now, fx);
        Ok(ToolReply::Value(json!({"ok": true})))
    }
}

/// Webhooks are called with the operator's token: where they are is not for a model to say.
fn no_webhook(wish: &Value, job: Option<&CronEntry>) -> Result<(), DeskFault> {
    let posts = job.is_some_and(|job| job.inner_text("delivery", "mode") == "webhook");
    let wanted = wish.get("delivery").is_some_and(|delivery| posts || delivery.get("mode") == Some(&"webhook".into()));
    match wanted {
        true => Err(DeskFault::Refused("delivery to a webhook is set by the operator: openclaw cron edit".to_string())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tool::desk::Ask;
    use crate::gateway::desk::ToolAsk;
    use crate::gateway::disk::{Done, Job, Then};
    use crate::gateway::event::Input;
    use crate::gateway::script::{Script, request};

    /// A gateway with two agents and one job of each, made by hand.
    fn gateway() -> (Script, Vec<String>) {
        let mut script = Script::new(json!({"agents": {"list": [{"id": "main", "default": true}, {"id": "ops"}]}}));
        script.join(1, 4);
        script.state.sessions.ready = true;
        script.state.cron.standing = Standing::Ready;
        let ids = ["main", "ops"].map(|agent| {
            let params = json!({"name": agent, "agentId": agent, "schedule": {"kind": "every", "everyMs": 60_000},
                "payload": {"kind": "systemEvent", "text": "x"}});
            stored(script.raw(request(1, "cron.add", params)), &mut script);
            script.state.cron.book.jobs.last().unwrap().id().to_string()
        });
        (script, ids.into())
    }

    /// Has everything written, and gives what a tool was answered.
    fn stored(effects: Vec<Effect>, script: &mut Script) -> Option<Result<Value, String>> {
        let mut said = None;
        for effect in effects {
            match effect {
                Effect::Disk(Job::Write(_), then) => {
                    let effects = script.raw(Input::Stored { then, done: Done::Written(Ok(())) });
                    said = stored(effects, script).or(said);
                }
                Effect::Disk(_, Then::Answer(_)) => said = Some(Ok("read".into())),
                Effect::AnswerTool(9, ToolReply::Value(value)) => said = Some(Ok(value)),
                Effect::AnswerTool(9, ToolReply::Refused(fault)) => said = Some(Err(fault.to_string())),
                Effect::Send(conn, bytes) if conn.0 == 9 => {
                    assert!(script.state.call_is_over(9), "one answer");
                    let frame: Value = serde_json::from_slice(&bytes).unwrap();
                    said = Some(match frame["ok"] == true {
                        true => Ok(frame["payload"].clone()),
                        false => Err(frame["error"]["message"].as_str().unwrap().to_string()),
                    });
                }
                _ => {}
            }
        }
        said
    }

    fn place(key: &str) -> Behalf {
        let agent = crate::session::key::agent_of(key).unwrap().to_string();
        Behalf::Place(Place { agent, key: key.to_string() })
    }

    fn ask(script: &mut Script, by: &Behalf, args: Value) -> Result<Value, String> {
        let ask = ToolAsk::Ask(Ask::Cron(args.as_object().unwrap().clone()));
        let effects = script.raw(Input::Tool { by: by.clone(), ticket: 9, ask });
        stored(effects, script).expect("an answer")
    }

    #[test]
    fn an_agent_plans_in_its_own_name_for_the_conversation_it_is_in() {
        let (mut script, _) = gateway();
        let by = place("agent:ops:desk");
        let wish = json!({"at": "20m", "message": "Say that tea is ready", "agentId": "main", "declarationKey": "x"});
        let job = ask(&mut script, &by, json!({"action": "add", "job": wish})).unwrap();
        assert_eq!(
            (&job["agentId"], &job["sessionTarget"]),
            (&json!("ops"), &json!("session:agent:ops:desk")),
            "{job}"
        );
        assert_eq!((job.get("delivery"), job.get("declarationKey")), (None, None));
        let said = json!({"action": "update", "id": job["id"], "job": {"agentId": "main", "name": "tea"}});
        let changed = ask(&mut script, &by, said).unwrap();
        assert_eq!((&changed["agentId"], &changed["name"]), (&json!("ops"), &json!("tea")));
        let own = place(&format!("agent:ops:cron:{}", job["id"].as_str().unwrap()));
        let wish = json!({"every": "1h", "message": "go"});
        let inner = ask(&mut script, &own, json!({"action": "add", "job": wish})).unwrap();
        assert_eq!(inner["sessionTarget"], "isolated", "nobody may speak into a job's own session");
    }

    #[test]
    fn jobs_of_others_do_not_exist_for_it() {
        let (mut script, ids) = gateway();
        let by = place("agent:ops:main");
        let list = ask(&mut script, &by, json!({"action": "list"})).unwrap();
        assert_eq!((&list["total"], &list["jobs"][0]["id"]), (&json!(1), &json!(ids[1])));
        assert_eq!(ask(&mut script, &by, json!({"action": "status"})).unwrap()["jobs"], 1);
        for action in ["get", "update", "remove", "run", "runs"] {
            let refused = ask(&mut script, &by, json!({"action": action, "id": ids[0], "job": {"name": "x"}}));
            assert!(refused.unwrap_err().starts_with("no job \""), "{action}");
        }
        for action in ["get", "update", "runs", "run", "remove"] {
            let done = ask(&mut script, &by, json!({"action": action, "id": ids[1], "job": {"name": "x"}}));
            assert!(done.is_ok(), "{action}: {done:?}");
        }
        let other = json!({"at": "1h", "message": "x", "session": "session:agent:main:main"});
        let refused = ask(&mut script, &by, json!({"action": "add", "job": other})).unwrap_err();
        assert!(refused.contains("belongs to agent \"main\""), "{refused}");
        let post = json!({"at": "1h", "message": "x", "delivery": {"mode": "webhook", "to": "https://example.org"}});
        let refused = ask(&mut script, &by, json!({"action": "add", "job": post})).unwrap_err();
        assert!(refused.contains("set by the operator"), "{refused}");
        let reserved = json!({"at": "1h", "message": "x", "session": "session:cron:1"});
        let refused = ask(&mut script, &by, json!({"action": "add", "job": reserved})).unwrap_err();
        assert!(refused.contains("nobody may speak into session"), "{refused}");
    }

    #[test]
    fn no_stranger_plans_work_and_what_is_wrong_is_said() {
        let (mut script, ids) = gateway();
        let by = place("agent:main:main");
        let wrong = ask(&mut script, &by, json!({"action": "add", "job": {"message": "x"}})).unwrap_err();
        assert_eq!(wrong, "invalid cron.add params: must have required property 'schedule'");
        let empty = ask(&mut script, &by, json!({"action": "wake"})).unwrap_err();
        assert_eq!(empty, "wake needs text");
        assert!(ask(&mut script, &by, json!({"action": "wake", "text": "look"})).is_ok());
        assert!(script.state.system_events.texts("agent:main:main").any(|line| line == "look"));
        let params = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"});
        let effects = script.raw(request(1, "chat.send", params));
        stored(effects, &mut script);
        let no = script.state.runs.find("k").unwrap();
        assert!(ask(&mut script, &Behalf::Run(no), json!({"action": "list"})).is_ok());
        script.state.runs.get_mut(no).unwrap().speaker = Speaker::Channel;
        for action in ["list", "add", "remove", "run", "wake"] {
            let said = json!({"action": action, "id": ids[0], "text": "x", "job": {"at": "1h", "message": "x"}});
            let refused = ask(&mut script, &Behalf::Run(no), said).unwrap_err();
            assert!(refused.contains("only the operator's own turns may"), "{refused}");
        }
        assert_eq!(script.state.cron.book.jobs.len(), 2);
    }
}
