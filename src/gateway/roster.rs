//! The disk thread's part in a changed configuration: an agent's entry in the file, its folder, what is put away with
//! it, and the session indexes of agents that are new. Knows no connection and no state.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::disk::Place;
use super::sessions::{self, Shelf};
use crate::config::load::{self, Snapshot};
use crate::config::model::Config;
use crate::config::roster::{self, Changed, Wish};
use crate::protocol::errors::WireError;
use crate::session::workspace;
use crate::store::index_file::IndexFiles;
use crate::store::{atomic, trash};
use crate::sys::order;

/// What is to become of the configuration.
pub enum Wanted {
    /// It is read anew.
    Reread,
    /// Another agent.
    Create(Wish),
    /// An agent becomes another.
    Update(String, Wish),
    /// An agent goes; and its files, when?
    Delete(String, Option<u64>),
}

/// The job.
pub struct Renewal {
    /// What is wanted.
    pub wanted: Wanted,
    /// Agents whose sessions the state has.
    pub known: Vec<String>,
}

/// The configuration as it is now.
pub struct Renewed {
    /// The file.
    pub snapshot: Snapshot,
    /// Sessions of agents that are new.
    pub shelves: Vec<(String, Shelf)>,
    /// The answer to whoever wanted it.
    pub answer: Value,
}

/// Does it. The file is on disk when this answers.
pub fn renew(place: &Place, files: &mut IndexFiles, job: Renewal) -> Result<Renewed, WireError> {
    let before = load::load(&place.paths, &place.env);
    let mut known = job.known;
    let (snapshot, answer) = match job.wanted {
        Wanted::Reread => reread(before)?,
        Wanted::Create(wish) => {
            let changed = roster::create(&before, &place.paths, &place.env, &wish).map_err(WireError::invalid)?;
            // One that was deleted a moment ago may still be known.
            known.retain(|id| *id != changed.agent);
            created(place, changed, &wish)?
        }
        Wanted::Update(id, wish) => {
            let changed = roster::update(&before, &place.paths, &place.env, &id, &wish).map_err(WireError::invalid)?;
            save(&changed.snapshot)?;
            seed(place, &changed)?;
            let answer = json!({"ok": true, "agentId": changed.agent});
            (changed.snapshot, answer)
        }
        Wanted::Delete(id, files) => {
            let changed = roster::delete(&before, &place.env, &id).map_err(WireError::invalid)?;
            save(&changed.snapshot)?;
            deleted(place, &before.config, changed, files)
        }
    };
    let fresh = snapshot.config.agents.resolved().into_iter().map(|agent| agent.id).filter(|id| !known.contains(id));
    let stores = fresh.map(|id| (id.clone(), snapshot.config.session_store(&place.paths, &id))).collect();
    Ok(Renewed { shelves: sessions::read_all(stores, files), snapshot, answer })
}

fn reread(file: Snapshot) -> Result<(Snapshot, Value), WireError> {
    if let Some(issue) = file.issues.first() {
        return Err(WireError::unavailable(format!("secrets not reloaded: invalid config: {issue}")));
    }
    let answer = json!({"ok": true, "warningCount": file.warnings.len()});
    Ok((file, answer))
}

fn save(file: &Snapshot) -> Result<(), WireError> {
    let text = file.raw.as_deref().unwrap_or_default();
    atomic::write(&file.path, text.as_bytes(), atomic::PRIVATE)
        .map_err(|error| WireError::unavailable(format!("cannot write {}: {error}", file.path.display())))
}

/// The folder first: an agent without one is no agent, a folder without one is harmless.
fn created(place: &Place, changed: Changed, wish: &Wish) -> Result<(Snapshot, Value), WireError> {
    seed(place, &changed)?;
    save(&changed.snapshot)?;
    let folder = changed.snapshot.config.workspace(&place.paths, &changed.agent);
    let mut answer = json!({
        "ok": true, "agentId": changed.agent, "name": wish.name.as_deref().unwrap_or_default().trim(),
        "workspace": folder.display().to_string(),
    });
    if let (Some(members), Some(Some(model))) = (answer.as_object_mut(), &wish.model) {
        members.insert("model".to_string(), model.as_str().into());
    }
    Ok((changed.snapshot, answer))
}

fn seed(place: &Place, changed: &Changed) -> Result<(), WireError> {
    let config = &changed.snapshot.config;
    let folder = config.workspace(&place.paths, &changed.agent);
    let made = match config.agents.defaults.skip_bootstrap {
        true => atomic::create_dir(&folder),
        false => workspace::seed(&folder).map(drop),
    };
    made.map_err(|error| WireError::unavailable(format!("cannot make the workspace {}: {error}", folder.display())))
}

fn deleted(place: &Place, before: &Config, changed: Changed, files: Option<u64>) -> (Snapshot, Value) {
    let Changed { snapshot, agent, removed_bindings } = changed;
    let mut answer = order::object([
        ("ok".to_string(), true.into()),
        ("agentId".to_string(), agent.as_str().into()),
        ("removedBindings".to_string(), removed_bindings.into()),
    ]);
    if let Some(now_ms) = files {
        let (mut removed, mut failed) = (Vec::new(), Vec::new());
        let folder = before.workspace(&place.paths, &agent);
        let home = place.paths.agents_dir.join(&agent);
        let own = [home.join("agent"), home.join("sessions")];
        for path in own.into_iter().chain([folder.clone()]) {
            let kept = if path == folder { keeper(place, &snapshot.config, &path) } else { None };
            match kept.map_or_else(|| trash::put(&place.paths.home, &path, now_ms).map_err(|e| e.to_string()), Err) {
                Ok(moved) => {
                    let method = if moved.is_some() { "trash" } else { "missing" };
                    removed.push(json!({"path": path.display().to_string(), "method": method}));
                }
                Err(reason) => failed.push(json!({"path": path.display().to_string(), "reason": reason})),
            }
        }
        // What else stands there is not known to be the agent's.
        let _ = std::fs::remove_dir(&home);
        answer.insert("removed".to_string(), removed.into());
        answer.insert("failed".to_string(), failed.into());
    }
    (snapshot, Value::Object(answer))
}

/// Why a workspace stays where it is: somebody else needs it, or what is in it.
fn keeper(place: &Place, config: &Config, folder: &Path) -> Option<String> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let folder = real(folder);
    let touches = |other: &PathBuf| real(other).starts_with(&folder) || folder.starts_with(real(other));
    let agents = config.agents.resolved();
    let other = agents.iter().find(|agent| touches(&config.workspace(&place.paths, &agent.id)));
    if let Some(agent) = other {
        return Some(format!("it is also the workspace of agent \"{}\"", agent.id));
    }
    let vital = [&place.paths.home, &place.paths.state_dir, &place.paths.config_file];
    let vital = vital.into_iter().find(|path| real(path).starts_with(&folder));
    vital.map(|path| format!("{} is in it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Env;
    use crate::config::paths::{Paths, Profile};

    /// A place with this configuration.
    fn place(name: &str, config: &str) -> Place {
        let home = std::env::temp_dir().join(format!("openclaw-roster-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        let env = Env::of([("HOME", home.to_str().unwrap())]);
        let paths = Paths::resolve(&env, &Profile::none());
        std::fs::create_dir_all(&paths.state_dir).unwrap();
        std::fs::write(&paths.config_file, config).unwrap();
        Place { paths, env, log_file: Box::new(|| None) }
    }

    fn wish(name: &str, workspace: &str) -> Wish {
        Wish { name: Some(name.into()), workspace: Some(workspace.into()), ..Wish::default() }
    }

    fn job(wanted: Wanted) -> Renewal {
        Renewal { wanted, known: vec!["main".into()] }
    }

    fn delete(place: &Place, id: &str) -> Value {
        renew(place, &mut IndexFiles::default(), job(Wanted::Delete(id.into(), Some(5))))
            .map(|renewed| renewed.answer)
            .unwrap()
    }

    #[test]
    fn an_agent_comes_with_its_folder_and_goes_with_it() {
        let place = place("life", "{ // mine\n}");
        let made = renew(&place, &mut IndexFiles::default(), job(Wanted::Create(wish("Ops", "~/ops"))))
            .map_err(|e| e.message)
            .unwrap();
        let folder = place.paths.home.join("ops");
        assert_eq!(made.answer["workspace"], folder.to_str().unwrap());
        assert_eq!(made.shelves.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["ops"]);
        assert!(folder.join("AGENTS.md").exists());
        let text = || std::fs::read_to_string(&place.paths.config_file).unwrap();
        assert!(text().contains("// mine") && text().contains("\"ops\""));
        let sessions = place.paths.agents_dir.join("ops/sessions");
        std::fs::create_dir_all(&sessions).unwrap();
        let gone = delete(&place, "ops");
        let methods: Vec<&str> =
            gone["removed"].as_array().unwrap().iter().map(|row| row["method"].as_str().unwrap()).collect();
        assert_eq!((methods, &gone["failed"]), (vec!["missing", "trash", "trash"], &json!([])));
        assert!(!folder.exists() && !sessions.parent().unwrap().exists());
        assert!(place.paths.home.join(".Trash/ops-5/AGENTS.md").exists());
        assert!(!text().contains("\"ops\"") && text().contains("// mine"));
    }

    #[test]
    fn a_folder_that_others_need_stays() {
        let config = "{agents: {list: [{id: 'main', workspace: '~/all'}, {id: 'a', workspace: '~/all/a'}, {id: 'h', workspace: '~'}]}}";
        let place = place("shared", config);
        std::fs::create_dir_all(place.paths.home.join("all/a")).unwrap();
        for id in ["a", "h"] {
            let gone = delete(&place, id);
            assert_eq!(gone["failed"].as_array().unwrap().len(), 1, "{gone}");
            assert!(gone["failed"][0]["reason"].as_str().unwrap().contains("main"), "{gone}");
        }
        assert!(place.paths.home.join("all/a").exists());
        let elsewhere = Config::from_value(json!({"agents": {"defaults": {"workspace": "/elsewhere"}}}));
        assert!(keeper(&place, &elsewhere, &place.paths.home).unwrap().contains("is in it"));
        assert_eq!(keeper(&place, &elsewhere, &place.paths.home.join("all")), None);
    }

    #[test]
    fn nothing_is_written_when_the_folder_cannot_be_made_or_the_file_is_wrong() {
        let place = place("fail", "{gateway: {}}");
        std::fs::write(place.paths.home.join("file"), "").unwrap();
        let text = || std::fs::read_to_string(&place.paths.config_file).unwrap();
        let fault = |name: &str| {
            renew(&place, &mut IndexFiles::default(), job(Wanted::Create(wish(name, "~/file/ws"))))
                .err()
                .unwrap()
                .message
        };
        assert!(fault("x").contains("cannot make the workspace"));
        assert_eq!(text(), "{gateway: {}}");
        std::fs::write(&place.paths.config_file, "{gateway: {port: 'x'}}").unwrap();
        assert!(fault("x").contains("invalid"));
        assert!(
            renew(&place, &mut IndexFiles::default(), job(Wanted::Reread))
                .err()
                .unwrap()
                .message
                .contains("secrets not reloaded")
        );
    }
}
