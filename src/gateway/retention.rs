//! Old sessions let go by age and number: all of them where the configuration asks for it (`session.maintenance`, agent.md
//! 9), by themselves those that nobody can name again. Which ones is decided here, from the indexes in memory; their files
//! are the disk thread's. An index without them is on disk before a file goes: a kill between leaves a transcript
//! without a session, which a later sweep finds.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::disk::Commit;
use super::event::Effect;
use super::session_key::Place;
use super::state::State;
use crate::limits;
use crate::session::key::KeyRules;
use crate::session::retention::{Going, Keep};
use crate::session::settings::Settings;
use crate::session::throwaway;
use crate::store::session::archive;
use crate::store::session::retain::{Leftovers, Retain};
use crate::store::session::throwaway::Kind;
use crate::sys::clock::Now;

/// When sessions were let go.
#[derive(Default)]
pub struct Sweeps {
    /// When all were looked at last.
    last: Option<Duration>,
    /// Sessions that nobody can name again that have begun since some were let go.
    begun: usize,
}

impl Sweeps {
    /// The index could not be saved, so that transcripts stay which have no session any more: they are looked for soon.
    pub fn again(&mut self) {
        self.last = None;
    }
}

/// What a sweep looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sweep {
    /// The indexes.
    Sessions,
    /// The folders, too.
    Files,
}

impl State {
    /// Lets old sessions go, now and then.
    pub fn retain_sessions(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let waits = self.sweeps.last.is_some_and(|last| now.mono.saturating_sub(last) < limits::SESSION_RETAIN);
        if waits || !self.sessions.ready || self.stopping {
            return;
        }
        self.sweeps.last = Some(now.mono);
        self.sweep_sessions(Sweep::Files, now, fx);
    }

    /// A session that nobody can name again has begun. A burst of them must not wait for the next sweep, and a single one
    /// must not look through the index.
    pub fn throwaway_begun(&mut self, now: Now, fx: &mut Vec<Effect>) {
        self.sweeps.begun += 1;
        if self.sweeps.begun >= limits::THROWAWAY_SLACK && self.sessions.ready && !self.stopping {
            self.sweep_sessions(Sweep::Sessions, now, fx);
        }
    }

    /// Somebody speaks into a session or changes it: it is no longer one that nobody can name.
    pub fn keep_session(&mut self, place: &Place) {
        let Place { agent, key } = place;
        if self.sessions.get(agent, key).is_some_and(throwaway::wants_mark)
            && let Some(entry) = self.sessions.get_mut(agent, key)
        {
            throwaway::keep(entry);
        }
    }

    fn sweep_sessions(&mut self, sweep: Sweep, now: Now, fx: &mut Vec<Effect>) {
        self.sweeps.begun = 0;
        let settings = Settings::read(&self.config.raw);
        // A warning an hour will do.
        if settings.keep.warn_only && sweep == Sweep::Sessions {
            return;
        }
        let agents: Vec<String> = self.sessions.indexes().map(|(agent, _)| agent.to_string()).collect();
        let mut commit = Commit::default();
        for agent in agents {
            let Some(folder) = self.sessions.folder(&agent) else { continue };
            let going = self.going(&agent, &settings, now);
            let verb = if settings.keep.warn_only { "would go" } else { "go" };
            log_going(&agent, &going, verb);
            if !settings.keep.warn_only {
                let retain = self.take_out(&agent, folder, &going, &settings, sweep, now);
                commit.retain.extend(retain);
                let gone = going.iter().filter_map(|gone| self.change_of(&agent, &gone.key, "delete", now));
                commit.changed.extend(gone);
            }
        }
        if !commit.retain.is_empty() {
            self.commit_sessions(commit, fx);
        }
    }

    /// The sessions of an agent that would go.
    fn going(&self, agent: &str, settings: &Settings, now: Now) -> Vec<Going> {
        let Some((_, index)) = self.sessions.indexes().find(|(known, _)| *known == agent) else { return Vec::new() };
        let busy = |key: &str| self.runs.of_session(key).next().is_some();
        // Whom somebody looks at, and what a program may still name by an answer, is not without a name yet.
        let stays = |key: &str| busy(key) || self.previous.has_session(key) || !self.watch.of(key).is_empty();
        let mut going = settings.keep_calls.throwaways(index, Kind::Call, stays, now.wall_ms);
        going.extend(settings.keep_runs.throwaways(index, Kind::Run, stays, now.wall_ms));
        if !settings.keep.is_all() {
            let rules = KeyRules { default_agent: agent.to_string(), ..KeyRules::of(&self.config) };
            let mut others = settings.keep.going(index, &rules, busy, now.wall_ms);
            let known: HashSet<String> = going.iter().map(|known| known.key.clone()).collect();
            others.retain(|other| !known.contains(&other.key));
            going.extend(others);
        }
        going
    }

    /// Takes sessions of an agent out of its index; what is to become of their transcripts, and of others of its folder.
    fn take_out(
        &mut self,
        agent: &str,
        folder: PathBuf,
        going: &[Going],
        settings: &Settings,
        sweep: Sweep,
        now: Now,
    ) -> Option<Retain> {
        let (mut gone, mut unnamed) = (Vec::new(), Vec::new());
        if !going.is_empty() {
            let index = self.sessions.open(agent, || folder.clone()).ok()?;
            for session in going {
                let file = index.remove(&session.key).and_then(|entry| archive::transcript(&folder, &entry));
                if session.throwaway.is_some() { &mut unnamed } else { &mut gone }.extend(file);
            }
        }
        let looks = sweep == Sweep::Files;
        let age = settings.keep.age.filter(|_| looks);
        let leftovers = if looks { leftovers(settings) } else { Vec::new() };
        if going.is_empty() && age.is_none() && leftovers.is_empty() {
            return None;
        }
        let named = self.sessions.transcripts_in(&folder);
        // Two keys may share a transcript.
        let is_shared = |path: &PathBuf| path.file_name().is_none_or(|name| named.contains(name));
        gone.retain(|path| !is_shared(path));
        unnamed.retain(|path| !is_shared(path));
        Some(Retain { folder, gone, unnamed, named, age, leftovers, now_ms: now.wall_ms })
    }
}

/// What is kept of transcripts without a session that nobody can name again.
fn leftovers(settings: &Settings) -> Vec<Leftovers> {
    let kinds = [(Kind::Call, &settings.keep_calls), (Kind::Run, &settings.keep_runs)];
    let some = kinds.into_iter().filter(|(_, keep)| !keep.is_all());
    some.map(|(kind, Keep { age, count, .. })| Leftovers { kind, age: *age, count: *count }).collect()
}

fn log_going(agent: &str, going: &[Going], verb: &str) {
    if going.is_empty() {
        return;
    }
    let throwaways = going.iter().filter(|session| session.throwaway.is_some()).count();
    let others = going.len() - throwaways;
    log::info!(
        target: "agent",
        "{} old sessions {verb} agent={agent} unnamed={throwaways} named={others} (session.maintenance)", going.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::disk::{Done, Job, Then};
    use crate::gateway::event::Timer;
    use crate::gateway::event::{Input, Order};
    use crate::gateway::programs::previous::{Given, Holder};
    use crate::gateway::programs::target::{Aim, Target};
    use crate::gateway::script::Script;
    use crate::gateway::sessions::Shelf;
    use crate::store::session::entry::Entry;
    use crate::store::sessions::Index;
    use std::path::Path;
    use std::sync::Arc;

    fn keys(script: &Script) -> Vec<String> {
        script.state.sessions.indexes().flat_map(|(_, index)| index.iter().map(|(key, _)| key.to_string())).collect()
    }

    fn gateway(maintenance: serde_json::Value) -> Script {
        let mut script = Script::new(json!({"session": {"maintenance": maintenance}}));
        let text = r#"{"agent:main:main": {"sessionId": "m", "updatedAt": 1}, "agent:main:old": {"sessionId": "o", "updatedAt": 1},
            "agent:main:new": {"sessionId": "n", "updatedAt": 1760000000000}}"#;
        load(&mut script, "x/sessions.json", Index::parse(text.as_bytes()).unwrap(), None);
        script
    }

    fn load(script: &mut Script, path: &str, index: Index, fault: Option<&str>) {
        let fault = fault.map(String::from);
        let shelf = Shelf { path: path.into(), index: Arc::new(index), fault, unsaved: false };
        script.state.sessions.fill(vec![("main".into(), shelf)]);
        script.state.sessions.ready = true;
    }

    fn uuid(number: usize) -> String {
        format!("6f07d653-4d76-4184-a1f6-{number:012}")
    }

    fn call(number: usize) -> String {
        format!("agent:main:openai:{}", uuid(number))
    }

    /// As many sessions of programs' calls, the last one of now, each a minute older than the next, and a named one.
    fn calls(count: usize, now: Now) -> Index {
        let mut index = Index::default();
        index.insert("agent:main:openai-user:ann", Entry::new(&uuid(0), 1));
        for number in 1..=count {
            let age = u64::try_from(count - number).unwrap() * 60_000;
            index.insert(&call(number), Entry::new(&Kind::Call.id(uuid(number)), now.wall_ms - age));
        }
        index
    }

    fn with_calls(count: usize, config: serde_json::Value) -> Script {
        let mut script = Script::new(config);
        let index = calls(count, script.now());
        load(&mut script, "x/sessions.json", index, None);
        script
    }

    /// A program's turn, as it names its session.
    fn order(script: &mut Script, aim: &Aim) -> (Target, Vec<Effect>) {
        let target = script.state.take_aim(&Aim { word: "openai", ..aim.clone() }).unwrap();
        let order = target.order(target.id.clone(), vec![crate::agent::message::Block::text("hi")]);
        let effects = script.raw(Input::Program { ticket: 1, order: Order::Run(Box::new(order)) });
        (target, effects)
    }

    /// Lets every run end.
    fn end_all(script: &mut Script) {
        let runs: Vec<_> = script.state.runs.all().map(|(no, _)| no).collect();
        for no in runs {
            let end = crate::agent::run::begin::not_started(&std::io::Error::other("broken"));
            script.raw(Input::Run(no, crate::agent::run::RunEvent::Failed(Box::new(end))));
        }
    }

    /// What is to become of files, once the indexes are on disk.
    fn retained(script: &mut Script, effects: Vec<Effect>, saved: Result<(), String>) -> Vec<Retain> {
        let wishes = |effects: Vec<Effect>| {
            let wish = |effect| if let Effect::Disk(Job::Retain(wishes), _) = effect { Some(wishes) } else { None };
            effects.into_iter().filter_map(wish).flatten().collect::<Vec<Retain>>()
        };
        let mut found = Vec::new();
        for effect in effects {
            match effect {
                Effect::Disk(Job::Retain(_), _) => panic!("before the index is on disk"),
                Effect::Disk(_, then @ Then::Commit(_)) => {
                    let done = Done::Written(saved.clone());
                    found.extend(wishes(script.raw(Input::Stored { then, done })));
                }
                _ => {}
            }
        }
        found
    }

    fn sweep(script: &mut Script) -> Vec<Retain> {
        let effects = script.raw(Input::Timer(Timer::Sweep));
        retained(script, effects, Ok(()))
    }

    #[test]
    fn old_sessions_go_by_age_and_never_the_main_one() {
        let mut script = gateway(json!({"pruneAfter": "30d"}));
        script.timer(Timer::Sweep);
        assert_eq!(keys(&script), ["agent:main:main", "agent:main:new"]);
    }

    #[test]
    fn nothing_goes_unasked_or_when_only_a_warning_is_wanted() {
        for maintenance in [json!({}), json!({"pruneAfter": "30d", "mode": "warn"})] {
            let mut script = gateway(maintenance);
            script.timer(Timer::Sweep);
            assert_eq!(keys(&script).len(), 3);
        }
    }

    #[test]
    fn they_are_looked_for_once_an_hour() {
        let mut script = gateway(json!({"maxEntries": 2}));
        script.timer(Timer::Sweep);
        assert_eq!(keys(&script), ["agent:main:main", "agent:main:new"]);
        script.state.config =
            Arc::new(crate::config::Config::from_value(json!({"session": {"maintenance": {"maxEntries": 1}}})));
        script.timer(Timer::Sweep);
        assert_eq!(keys(&script).len(), 2);
        script.wait(limits::SESSION_RETAIN);
        script.timer(Timer::Sweep);
        assert_eq!(keys(&script), ["agent:main:main"]);
    }

    #[test]
    fn of_sessions_that_nobody_can_name_so_many_are_kept_and_all_others() {
        let many = limits::THROWAWAY_SESSIONS + 7;
        let mut script = with_calls(many, json!({}));
        let wishes = sweep(&mut script);
        assert_eq!(keys(&script).len(), limits::THROWAWAY_SESSIONS + 1);
        assert!(script.state.sessions.holds("agent:main:openai-user:ann") && !script.state.sessions.holds(&call(7)));
        let [wish] = &wishes[..] else { panic!("{wishes:?}") };
        let names: Vec<String> = (1..=7).map(|number| format!("x/{}.jsonl", Kind::Call.id(uuid(number)))).collect();
        assert_eq!(wish.unnamed, names.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!((wish.gone.len(), wish.age, wish.leftovers.len()), (0, None, 2));
        script.wait(limits::THROWAWAY_AGE - Duration::from_secs(60));
        sweep(&mut script);
        assert_eq!(keys(&script).len(), 3, "those of the last minute and a named one");
    }

    #[test]
    fn a_burst_is_bounded_before_the_next_sweep_and_single_calls_look_at_nothing() {
        let mut script = with_calls(limits::THROWAWAY_SESSIONS, json!({}));
        for number in 1..=3 * limits::THROWAWAY_SLACK {
            script.wait(Duration::from_millis(10));
            let (target, effects) = order(&mut script, &Aim::default());
            let wishes = retained(&mut script, effects, Ok(()));
            assert!(script.state.sessions.holds(&target.session_key), "it runs");
            assert_eq!(wishes.len(), usize::from(number % limits::THROWAWAY_SLACK == 0), "{number}");
            assert!(wishes.iter().all(|wish| wish.leftovers.is_empty() && wish.age.is_none()), "no folder is read");
            assert!(keys(&script).len() <= limits::THROWAWAY_SESSIONS + limits::THROWAWAY_SLACK + 1);
            end_all(&mut script);
        }
        assert_eq!(keys(&script).len(), limits::THROWAWAY_SESSIONS + 1);
        assert!(script.state.sessions.holds("agent:main:openai-user:ann"));
    }

    #[test]
    fn what_a_program_names_is_never_counted() {
        let mut script = with_calls(0, json!({"session": {"maintenance": {"pruneAfter": "1m"}}}));
        let id = |script: &Script, key: &str| {
            Kind::of(&script.state.sessions.get("main", key).unwrap().session_id().unwrap())
        };
        let named = [
            Aim { user: "bob".into(), ..Aim::default() },
            Aim { session_key: "my-app".into(), ..Aim::default() },
            Aim { session_key: format!("openai:{}", uuid(5)), ..Aim::default() },
        ];
        for aim in &named {
            let (target, _) = order(&mut script, aim);
            assert_eq!(id(&script, &target.session_key), None, "{aim:?}");
        }
        let (target, _) = order(&mut script, &Aim::default());
        assert_eq!(id(&script, &target.session_key), Some(Kind::Call));
        // A program that has seen the key in a list and names it has made it its own.
        end_all(&mut script);
        let (again, _) = order(&mut script, &Aim { session_key: target.session_key.clone(), ..Aim::default() });
        assert_eq!(again.session_key, target.session_key);
        let entry = script.state.sessions.get("main", &target.session_key).unwrap();
        assert_eq!(throwaway::kind_of(&target.session_key, entry), None);
    }

    #[test]
    fn a_word_a_label_or_a_look_of_a_person_keeps_a_session() {
        let mut script = with_calls(4, json!({}));
        script.join(1, 4);
        script.call(1, "chat.send", json!({"sessionKey": call(1), "message": "and?", "idempotencyKey": "i"}));
        script.call(1, "sessions.patch", json!({"key": call(2), "label": "Mine"}));
        script.call(1, "sessions.messages.subscribe", json!({"key": call(3)}));
        end_all(&mut script);
        script.wait(limits::THROWAWAY_AGE * 2);
        sweep(&mut script);
        let held: Vec<bool> = (1..=4).map(|number| script.state.sessions.holds(&call(number))).collect();
        assert_eq!(held, [true, true, true, false]);
    }

    #[test]
    fn a_session_of_an_answer_that_can_be_named_stays() {
        let mut script = with_calls(limits::THROWAWAY_SESSIONS + 1, json!({}));
        let holder = Holder::of(&["secret"]);
        let given = Given { id: "resp_1".into(), holder, session_key: call(1), items: Vec::new() };
        script.raw(Input::Given(Box::new(given)));
        sweep(&mut script);
        assert!(script.state.sessions.holds(&call(1)));
        script.wait(limits::PREVIOUS_AGE + limits::SESSION_RETAIN);
        sweep(&mut script);
        assert!(!script.state.sessions.holds(&call(1)));
    }

    #[test]
    fn a_warning_changes_nothing_and_an_index_that_cannot_be_read_neither() {
        let warn = json!({"session": {"maintenance": {"mode": "warn"}}});
        let mut script = with_calls(limits::THROWAWAY_SESSIONS + 7, warn);
        assert_eq!(sweep(&mut script), []);
        assert_eq!(keys(&script).len(), limits::THROWAWAY_SESSIONS + 8);
        let mut script = Script::new(json!({"session": {"maintenance": {"pruneAfter": "1d"}}}));
        load(&mut script, "x/main.json", Index::default(), Some("torn"));
        let index = Index::parse(br#"{"agent:ops:old": {"sessionId": "o", "updatedAt": 1}}"#).unwrap();
        let shelf =
            |path: &str| Shelf { path: path.into(), index: Arc::new(index.clone()), fault: None, unsaved: false };
        script.state.sessions.fill(vec![("ops".into(), shelf("x/ops.json"))]);
        assert_eq!(sweep(&mut script), [], "its transcripts lie in the same folder");
        script.state.sessions.fill(vec![("own".into(), shelf("y/own.json"))]);
        script.wait(limits::SESSION_RETAIN);
        assert_eq!(sweep(&mut script).len(), 1);
    }

    #[test]
    fn agents_that_share_a_folder_keep_their_own_transcripts() {
        let mut script = with_calls(0, json!({}));
        let index = Index::parse(br#"{"agent:ops:a": {"sessionId": "theirs", "updatedAt": 1}}"#).unwrap();
        let shelf = Shelf { path: "x/ops.json".into(), index: Arc::new(index), fault: None, unsaved: false };
        script.state.sessions.fill(vec![("ops".into(), shelf)]);
        let wishes = sweep(&mut script);
        assert_eq!(wishes.len(), 2);
        assert!(wishes.iter().all(|wish| wish.named.len() == 2), "{wishes:?}");
    }

    #[test]
    fn a_transcript_that_another_key_has_stays() {
        let mut script = with_calls(0, json!({}));
        let mut index = calls(1, Now { wall_ms: 60_000, ..script.now() });
        let id = Kind::Call.id(uuid(1));
        index.insert("agent:main:mine", Entry::new(&id, 1));
        load(&mut script, "x/sessions.json", Index::default(), None);
        *script.state.sessions.open("main", || "x".into()).unwrap() = index;
        let wishes = sweep(&mut script);
        assert!(!script.state.sessions.holds(&call(1)));
        assert!(wishes[0].unnamed.is_empty() && wishes[0].gone.is_empty(), "{wishes:?}");
    }

    /// A run of a job, as cron begins it.
    fn run_job(script: &mut Script) -> (String, PathBuf) {
        let place = Place { agent: "main".into(), key: "agent:main:cron:j".into() };
        let id = script.state.entropy.uuid();
        let prompt = vec![crate::agent::message::Block::text("work")];
        let intake = crate::gateway::intake::Intake {
            fresh: true,
            throwaway: Some(Kind::Run),
            label: Some("Cron: j".into()),
            ..crate::gateway::intake::Intake::new(place, id, crate::gateway::runs::Origin::Agent, prompt, None)
        };
        let now = script.now();
        script.state.take_in_for(None, None, intake, now, &mut Vec::new()).unwrap();
        let entry = script.state.sessions.get("main", "agent:main:cron:j").unwrap();
        let file = archive::transcript(Path::new("x"), entry).unwrap();
        (entry.session_id().unwrap().into_owned(), file)
    }

    #[test]
    fn past_runs_of_jobs_are_left_to_the_sweep_but_for_those_somebody_spoke_into() {
        let mut script = with_calls(0, json!({"agents": {"defaults": {"model": "p/m"}}}));
        let (first, _) = run_job(&mut script);
        end_all(&mut script);
        let (second, file) = run_job(&mut script);
        end_all(&mut script);
        assert_eq!((Kind::of(&first), Kind::of(&second)), (Some(Kind::Run), Some(Kind::Run)));
        assert_eq!(keys(&script), ["agent:main:cron:j", "agent:main:openai-user:ann"]);
        script.join(1, 4);
        script.call(1, "chat.send", json!({"sessionKey": "cron:j", "message": "and?", "idempotencyKey": "i"}));
        end_all(&mut script);
        let (third, _) = run_job(&mut script);
        let entry = |key: &str| script.state.sessions.get("main", key).unwrap();
        assert_eq!(entry("agent:main:cron:j").session_id().as_deref(), Some(third.as_str()));
        assert_eq!(entry("agent:main:cron:j").flag(throwaway::KEPT), None);
        let kept = format!("agent:main:cron:j:run:{second}");
        assert_eq!(archive::transcript(Path::new("x"), entry(&kept)), Some(file.clone()));
        script.wait(limits::THROWAWAY_AGE * 2);
        let wishes = sweep(&mut script);
        assert!(script.state.sessions.holds(&kept));
        assert!(wishes[0].named.contains(file.file_name().unwrap()));
        assert!(!wishes[0].named.contains(std::ffi::OsStr::new(&format!("{first}.jsonl"))));
    }

    #[test]
    fn a_kill_between_index_and_files_leaves_the_old_state_or_a_leftover_that_is_found() {
        let folder = std::env::temp_dir().join(format!("openclaw-keep-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("sessions.json");
        let many = limits::THROWAWAY_SESSIONS + 1;
        let begin = || {
            let mut script = Script::new(json!({}));
            load(&mut script, path.to_str().unwrap(), Index::read(&path).unwrap(), None);
            script
        };
        let transcript = |number: usize| folder.join(format!("{}.jsonl", Kind::Call.id(uuid(number))));
        std::fs::write(&path, calls(many, Script::new(json!({})).now()).print()).unwrap();
        (1..=2).for_each(|number| std::fs::write(transcript(number), "x").unwrap());
        std::fs::write(folder.join("named.jsonl"), "x").unwrap();
        // Killed before the index is on disk, or the disk refuses it: nothing has happened.
        let mut script = begin();
        let effects = script.raw(Input::Timer(Timer::Sweep));
        assert_eq!(retained(&mut script, effects, Err("full".into())), []);
        assert!(script.state.sessions.unsaved().is_some(), "it is tried again");
        script.wait(limits::SWEEP);
        assert_eq!(sweep(&mut script)[0].leftovers.len(), 2, "and what is left lying is looked for");
        assert!(transcript(1).exists() && Index::read(&path).unwrap().get(&call(1)).is_some());
        // Killed when it is: a transcript without a session.
        let mut script = begin();
        script.raw(Input::Timer(Timer::Sweep));
        std::fs::write(&path, script.state.sessions.index("main").unwrap().print()).unwrap();
        assert!(transcript(1).exists() && Index::read(&path).unwrap().get(&call(1)).is_none());
        // It is found when it is too old, and the others are left alone.
        let mut script = begin();
        let now_ms = crate::sys::clock::wall_ms();
        script.set_clock(now_ms);
        let mut wishes = sweep(&mut script);
        wishes[0].unnamed.clear();
        assert_eq!(crate::store::session::retain::retain(&wishes[0]).unwrap(), (0, 0));
        let later = u64::try_from(limits::THROWAWAY_AGE.as_millis()).unwrap() + 60_000;
        wishes[0].named.insert(transcript(2).file_name().unwrap().into());
        let wish = Retain { now_ms: now_ms + later, ..wishes[0].clone() };
        assert_eq!(crate::store::session::retain::retain(&wish).unwrap(), (0, 1));
        assert!(!transcript(1).exists() && transcript(2).exists() && folder.join("named.jsonl").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
