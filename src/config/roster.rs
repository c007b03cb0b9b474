//! Agents and the default model as changes of the configuration file: who exists, how a name becomes an id, which entry
//! is edited in which of the two spellings. Pure: text in, text out, checked before anybody writes it.

use serde_json::Value;

use super::edit::{self, Act, Change, Step};
use super::env::Env;
use super::load::{self, Snapshot};
use super::paths::Paths;
use super::sections::MAIN_AGENT;
use crate::limits;
use crate::sys::order;

/// What is wanted of an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// Its name for people.
    pub name: Option<String>,
    /// Its folder as written.
    pub workspace: Option<String>,
    /// Its model; an inner none takes its own one away.
    pub model: Option<Option<String>>,
    /// Its emoji.
    pub emoji: Option<String>,
    /// Its picture.
    pub avatar: Option<String>,
    /// Its character.
    pub theme: Option<String>,
    /// The name it presents itself with, where that is another.
    pub shown_name: Option<String>,
}

/// A changed file, not written yet.
#[derive(Debug)]
pub struct Changed {
    /// The file's new content, checked.
    pub snapshot: Snapshot,
    /// The agent it is about.
    pub agent: String,
    /// Entries of `bindings` that went with it.
    pub removed_bindings: usize,
}

/// The id of an agent with this name: lower case, everything else than letters, digits, `_` and `-` becomes `-`.
pub fn id_of(name: &str) -> Result<String, String> {
    let name = name.trim();
    if name.is_empty() {
        return Err("agent name is required".to_string());
    }
    let mut id = String::new();
    for letter in name.to_lowercase().chars() {
        let good = letter.is_ascii_alphanumeric() || letter == '_';
        match (good, id.ends_with('-')) {
            (true, _) => id.push(letter),
            (false, false) => id.push('-'),
            (false, true) => {}
        }
    }
    let id: String = id.trim_matches('-').chars().take(limits::AGENT_ID_CHARS).collect();
    if id.is_empty() {
        let shown: String = name.chars().take(limits::AGENT_ID_CHARS).collect();
        return Err(format!("agent name \"{shown}\" has no valid id characters; use at least one letter a-z or digit"));
    }
    Ok(id)
}

/// Adds an agent.
///
/// # Errors
/// A text for whoever asked.
pub fn create(file: &Snapshot, paths: &Paths, env: &Env, wish: &Wish) -> Result<Changed, String> {
    let name = wish.name.as_deref().unwrap_or_default().trim();
    let agent = id_of(name)?;
    if agent == MAIN_AGENT {
        return Err(format!("\"{agent}\" is reserved"));
    }
    if file.config.agents.find(&agent).is_some() {
        return Err(format!("agent \"{agent}\" already exists"));
    }
    let workspace = match wish.workspace.as_deref().map(str::trim).filter(|path| !path.is_empty()) {
        Some(path) => paths.expand(path, &paths.home),
        None => paths.state_dir.join(format!("workspace-{agent}")),
    };
    let mut entry = order::object([
        ("id".to_string(), agent.as_str().into()),
        ("name".to_string(), name.into()),
        ("workspace".to_string(), workspace.display().to_string().into()),
    ]);
    entry.extend(wish.model.clone().flatten().map(|model| ("model".to_string(), model.into())));
    let said = wish.identity().filter(|(_, text)| !text.is_empty());
    let mut identity = order::object(said.map(|(member, text)| (member.to_string(), text.into())));
    if !identity.is_empty() {
        identity.entry("name").or_insert_with(|| name.into());
        entry.insert("identity".to_string(), identity.into());
    }
    let changes = match Roll::of(file) {
        Roll::Entries => {
            entry.remove("id");
            let ownership = Change::at(&["agents", "ownership"], Act::Put("explicit".into()));
            vec![ownership, Change::at(&["agents", "entries", &agent], Act::Put(entry.into()))]
        }
        Roll::List(ids) => vec![first_of_several(file, &ids), Some(Change::at(LIST, Act::Append(entry.into())))]
            .into_iter()
            .flatten()
            .collect(),
    };
    changed(file, env, agent, &changes, true)
}

/// Without a list there is an agent all the same; it must not lose its place to the new one. And protocol 4's programs
/// want to be told which of several agents is the default one.
fn first_of_several(file: &Snapshot, ids: &[String]) -> Option<Change> {
    if ids.is_empty() {
        return Some(Change::at(LIST, Act::Append(json!({"id": MAIN_AGENT, "default": true}))));
    }
    let marked = file.config.agents.list.iter().any(|agent| agent.is_default);
    let mut place = place_of(file, file.config.default_agent_id()).filter(|_| !marked)?;
    place.push(Step::Name("default".to_string()));
    Some(Change::new(place, Act::Put(true.into())))
}

/// Changes an agent.
///
/// # Errors
/// A text for whoever asked.
pub fn update(file: &Snapshot, paths: &Paths, env: &Env, id: &str, wish: &Wish) -> Result<Changed, String> {
    let agent = known(file, id)?;
    let mut changes = Vec::new();
    let place = match place_of(file, &agent) {
        Some(place) => place,
        // The agent that exists without being listed.
        None if file.config.agents.list.is_empty() => {
            changes.push(Change::at(LIST, Act::Append(json!({"id": agent}))));
            let mut place = steps(LIST);
            place.push(Step::At(0));
            place
        }
        None => return Err(elsewhere(&agent)),
    };
    let mut set = |names: &[&str], act: Act| {
        let path = place.iter().cloned().chain(names.iter().map(|name| Step::Name((*name).to_string()))).collect();
        changes.push(Change::new(path, act));
    };
    if let Some(name) = &wish.name {
        set(&["name"], Act::Put(name.as_str().into()));
    }
    if let Some(workspace) = wish.workspace.as_deref().map(str::trim).filter(|path| !path.is_empty()) {
        set(&["workspace"], Act::Put(paths.expand(workspace, &paths.home).display().to_string().into()));
    }
    match &wish.model {
        Some(Some(model)) => set(&["model"], Act::Put(model.as_str().into())),
        Some(None) => set(&["model"], Act::Remove),
        None => {}
    }
    let presented = file.config.agents.find(&agent).and_then(|agent| agent.identity).and_then(|known| known.name);
    let renamed = wish.name.as_deref().filter(|_| presented.is_some() && wish.shown_name.is_none());
    for (member, text) in wish.identity().chain(renamed.map(|name| ("name", name))) {
        set(&["identity", member], if text.is_empty() { Act::Remove } else { Act::Put(text.into()) });
    }
    changed(file, env, agent, &changes, true)
}

/// Takes an agent out, and the bindings that name it.
///
/// # Errors
/// A text for whoever asked.
pub fn delete(file: &Snapshot, env: &Env, id: &str) -> Result<Changed, String> {
    let agent = normal(id);
    if agent == MAIN_AGENT {
        return Err(format!("\"{agent}\" cannot be deleted"));
    }
    let agent = known(file, &agent)?;
    let place = place_of(file, &agent).ok_or_else(|| elsewhere(&agent))?;
    let mut changes = vec![Change::new(place, Act::Remove)];
    let marked = file.config.agents.list.iter().any(|known| known.id == agent && known.is_default);
    if let (Roll::List(ids), true) = (Roll::of(file), marked && file.config.agents.list.len() > 2) {
        // Who is the first now becomes what the deleted one was.
        let next = ids.iter().filter(|id| **id != agent).count();
        let path = steps(LIST).into_iter().chain([Step::At(0), Step::Name("default".to_string())]).collect();
        changes.extend((next > 0).then(|| Change::new(path, Act::Put(true.into()))));
    }
    let bindings = file.parsed.get("bindings").and_then(Value::as_array).into_iter().flatten().enumerate();
    let own = |binding: &Value| binding.get("agentId").and_then(Value::as_str).is_some_and(|id| normal(id) == agent);
    let own: Vec<usize> = bindings.filter(|(_, binding)| own(binding)).map(|(at, _)| at).collect();
    // From the end, so that the places before stay.
    changes.extend(
        own.iter().rev().map(|at| Change::new(vec![Step::Name("bindings".to_string()), Step::At(*at)], Act::Remove)),
    );
    let mut changed = changed(file, env, agent, &changes, false)?;
    changed.removed_bindings = own.len();
    Ok(changed)
}

/// Makes a model the one of all agents without one of their own; where the file lists the models that may be chosen, it
/// is added there.
///
/// # Errors
/// A text for whoever asked.
pub fn set_model(file: &Snapshot, env: &Env, model: &str) -> Result<Snapshot, String> {
    let defaults = file.parsed.pointer("/agents/defaults");
    let object = defaults.and_then(|defaults| defaults.get("model")).is_some_and(Value::is_object);
    let path: &[&str] =
        if object { &["agents", "defaults", "model", "primary"] } else { &["agents", "defaults", "model"] };
    let mut changes = vec![Change::at(path, Act::Put(model.into()))];
    let listed = defaults.and_then(|defaults| defaults.get("models")).and_then(Value::as_object);
    if listed.is_some_and(|listed| !listed.is_empty() && !listed.contains_key(model)) {
        changes.push(Change::at(&["agents", "defaults", "models", model], Act::Put(json!({}))));
    }
    let after = rewritten(file, env, &changes)?;
    let chosen = after.config.agents.defaults.model.as_ref().is_some_and(|choice| choice.primary == model);
    if chosen {
        Ok(after)
    } else {
        Err("agents.defaults.model is set by an included file; change it there".to_string())
    }
}

const LIST: &[&str] = &["agents", "list"];

/// In which spelling the file lists its agents.
enum Roll {
    /// `agents.list`, with the ids as they stand there.
    List(Vec<String>),
    /// `agents.entries`, as protocol 4 spells it.
    Entries,
}

impl Roll {
    fn of(file: &Snapshot) -> Roll {
        let ids = listed(file);
        let entries = file.parsed.pointer("/agents/entries").and_then(Value::as_object);
        match entries {
            Some(entries) if ids.is_empty() && !entries.is_empty() => Roll::Entries,
            _ => Roll::List(ids),
        }
    }
}

fn listed(file: &Snapshot) -> Vec<String> {
    let list = file.parsed.pointer("/agents/list").and_then(Value::as_array);
    let id = |entry: &Value| normal(entry.get("id").and_then(Value::as_str).unwrap_or_default());
    list.into_iter().flatten().map(id).collect()
}

/// Where an agent's entry stands in the file itself.
fn place_of(file: &Snapshot, agent: &str) -> Option<Vec<Step>> {
    if let Some(at) = listed(file).iter().position(|id| id == agent) {
        return Some(steps(LIST).into_iter().chain([Step::At(at)]).collect());
    }
    let entries = file.parsed.pointer("/agents/entries").and_then(Value::as_object)?;
    let written = entries.keys().find(|id| normal(id) == agent)?;
    Some(steps(&["agents", "entries", written]))
}

fn steps(names: &[&str]) -> Vec<Step> {
    names.iter().map(|name| Step::Name((*name).to_string())).collect()
}

fn normal(id: &str) -> String {
    id.trim().to_lowercase()
}

fn known(file: &Snapshot, id: &str) -> Result<String, String> {
    let agent = normal(id);
    let shown: String = agent.chars().take(limits::AGENT_ID_CHARS).collect();
    file.config.agents.find(&agent).map(|_| agent).ok_or_else(|| format!("agent \"{shown}\" not found"))
}

fn elsewhere(agent: &str) -> String {
    format!("agent \"{agent}\" stands in an included file; change it there")
}

/// The file with the changes in it, if it is still right and says of the agent what it should.
fn changed(file: &Snapshot, env: &Env, agent: String, changes: &[Change], exists: bool) -> Result<Changed, String> {
    let snapshot = rewritten(file, env, changes)?;
    if snapshot.config.agents.find(&agent).is_some() != exists {
        return Err(elsewhere(&agent));
    }
    Ok(Changed { snapshot, agent, removed_bindings: 0 })
}

fn rewritten(file: &Snapshot, env: &Env, changes: &[Change]) -> Result<Snapshot, String> {
    if let Some(issue) = file.issues.first() {
        return Err(format!("the config is invalid and was not changed: {issue}"));
    }
    let text = edit::apply(file.raw.as_deref().unwrap_or_default(), changes)?;
    if text.len() > limits::CONFIG_BYTES {
        return Err(format!("the config would have more than {} bytes", limits::CONFIG_BYTES));
    }
    let after = load::interpret(&file.path, text, env);
    match after.issues.first() {
        Some(issue) => Err(format!("the change would make the config invalid: {issue}")),
        None => Ok(after),
    }
}

impl Wish {
    /// Members of `identity`; an empty one is to go.
    fn identity(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let members =
            [("name", &self.shown_name), ("emoji", &self.emoji), ("avatar", &self.avatar), ("theme", &self.theme)];
        members.into_iter().filter_map(|(member, text)| Some((member, text.as_deref()?.trim())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::paths::Profile;
    use std::path::Path;

    fn world() -> (Env, Paths) {
        let env = Env::of([("HOME", "/home/ann")]);
        let paths = Paths::resolve(&env, &Profile::none());
        (env, paths)
    }

    fn file(text: &str) -> Snapshot {
        load::interpret(Path::new("/home/ann/.openclaw/openclaw.json"), text.to_string(), &world().0)
    }

    fn named(name: &str) -> Wish {
        Wish { name: Some(name.to_string()), ..Wish::default() }
    }

    fn add(text: &str, wish: &Wish) -> Result<Changed, String> {
        let (env, paths) = world();
        create(&file(text), &paths, &env, wish)
    }

    #[test]
    fn names_become_ids() {
        let id = |name: &str| id_of(name).unwrap();
        assert_eq!([id("Work Bot"), id("  a.b/c "), id("Ops_2"), id("--x--")], ["work-bot", "a-b-c", "ops_2", "x"]);
        assert_eq!(id(&"n".repeat(99)).len(), limits::AGENT_ID_CHARS);
        assert!(id_of(" ").is_err() && id_of("!!!").unwrap_err().contains("letter"));
    }

    #[test]
    fn a_new_agent_joins_the_one_that_was_there_unlisted() {
        let wish = Wish { workspace: Some("~/ws".into()), emoji: Some("🤖".into()), ..named("Work Bot") };
        let added = add("{\n  // mine\n  gateway: {mode: 'local'},\n}\n", &wish).unwrap();
        let list = &added.snapshot.parsed["agents"]["list"];
        assert_eq!(list[0], json!({"id": "main", "default": true}), "protocol 4's programs insist on the mark");
        let identity = json!({"name": "Work Bot", "emoji": "🤖"});
        let entry = json!({"id": "work-bot", "name": "Work Bot", "workspace": "/home/ann/ws", "identity": identity});
        assert_eq!((added.agent.as_str(), &list[1]), ("work-bot", &entry));
        assert!(added.snapshot.raw.as_deref().unwrap().contains("// mine"));
        assert_eq!(added.snapshot.config.default_agent_id(), "main");
    }

    #[test]
    fn one_of_several_agents_is_marked_as_the_default_one() {
        let list = |file: &Snapshot| file.parsed["agents"]["list"].clone();
        let two = add("{agents: {list: [{id: 'a'}]}}", &named("b")).unwrap().snapshot;
        assert_eq!((&list(&two)[0], list(&two)[1].get("default")), (&json!({"id": "a", "default": true}), None));
        let (env, _) = world();
        let three = file("{agents: {list: [{id: 'a', default: true}, {id: 'b'}, {id: 'c'}]}}");
        let left = delete(&three, &env, "a").unwrap().snapshot;
        assert_eq!(list(&left), json!([{"id": "b", "default": true}, {"id": "c"}]));
        assert_eq!(list(&delete(&three, &env, "b").unwrap().snapshot)[0], json!({"id": "a", "default": true}));
        assert_eq!(list(&delete(&left, &env, "b").unwrap().snapshot), json!([{"id": "c"}]));
    }

    #[test]
    fn the_spelling_of_protocol_four_is_kept() {
        let added = add("{agents: {entries: {main: {}}}}", &named("Ops")).unwrap();
        assert_eq!(added.snapshot.parsed["agents"]["entries"]["ops"]["name"], "Ops");
        assert!(added.snapshot.parsed["agents"].get("list").is_none());
        let (env, _) = world();
        let gone = delete(&added.snapshot, &env, "OPS").unwrap();
        assert_eq!(gone.snapshot.parsed["agents"]["entries"], json!({"main": {}}));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let text = |text: &str, name: &str| add(text, &named(name)).unwrap_err();
        assert_eq!(text("{}", "main"), "\"main\" is reserved");
        assert_eq!(text("{agents: {list: [{id: 'Ops'}]}}", "ops"), "agent \"ops\" already exists");
        assert!(text("{gateway: {port: 'x'}}", "ops").contains("invalid and was not changed"));
        let long = Wish { avatar: Some("x".repeat(limits::CONFIG_BYTES)), ..named("ops") };
        assert!(add("{}", &long).unwrap_err().contains("bytes"), "the next start could not read it");
        let (env, paths) = world();
        let none = update(&file("{}"), &paths, &env, "ghost", &Wish::default()).unwrap_err();
        assert_eq!(none, "agent \"ghost\" not found");
        assert_eq!(delete(&file("{}"), &env, "main").unwrap_err(), "\"main\" cannot be deleted");
    }

    #[test]
    fn an_agent_is_changed_in_place() {
        let (env, paths) = world();
        let before = file("{agents: {list: [{id: 'a'}, {id: 'b', model: 'x/y' /* why */, identity: {emoji: 'e'}}]}}");
        let wish = Wish { model: Some(None), emoji: Some("".into()), theme: Some("calm".into()), ..named("Bee") };
        let after = update(&before, &paths, &env, "b", &wish).unwrap().snapshot;
        assert_eq!(after.parsed["agents"]["list"][1], json!({"id": "b", "name": "Bee", "identity": {"theme": "calm"}}));
        let main = update(&file("{}"), &paths, &env, "main", &named("Me")).unwrap().snapshot;
        assert_eq!(main.parsed["agents"]["list"], json!([{"id": "main", "name": "Me"}]));
        let shown = Wish { shown_name: Some("Ay".into()), ..Wish::default() };
        let shown = update(&before, &paths, &env, "a", &shown).unwrap().snapshot;
        assert_eq!(shown.parsed["agents"]["list"][0], json!({"id": "a", "identity": {"name": "Ay"}}));
        let renamed = update(&shown, &paths, &env, "a", &named("Aye")).unwrap().snapshot;
        assert_eq!(renamed.parsed["agents"]["list"][0]["identity"]["name"], "Aye", "it presents itself anew");
    }

    #[test]
    fn bindings_go_with_their_agent() {
        let (env, _) = world();
        let text = "{agents: {list: [{id: 'main'}, {id: 'b'}]}, bindings: [{agentId: 'b'}, {agentId: 'main'}, {agentId: 'B'}]}";
        let gone = delete(&file(text), &env, "b").unwrap();
        assert_eq!((gone.removed_bindings, &gone.snapshot.parsed["bindings"]), (2, &json!([{"agentId": "main"}])));
        assert_eq!(gone.snapshot.parsed["agents"]["list"], json!([{"id": "main"}]));
    }

    #[test]
    fn a_model_is_chosen_for_all() {
        let (env, _) = world();
        let set = |text: &str| set_model(&file(text), &env, "p/m").unwrap().parsed["agents"]["defaults"].clone();
        assert_eq!(set("{}"), json!({"model": "p/m"}));
        assert_eq!(
            set("{agents: {defaults: {model: {primary: 'a/b', fallbacks: ['c/d']}, models: {'a/b': {}}}}}"),
            json!({"model": {"primary": "p/m", "fallbacks": ["c/d"]}, "models": {"a/b": {}, "p/m": {}}})
        );
    }
}
