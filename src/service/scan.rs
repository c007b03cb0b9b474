//! Other services that look like a gateway (`spec/lifecycle.md` 20).
//! Reads unit files; changes none.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Paths;
use crate::limits;
use crate::sys::order;

/// Words that mark a unit file, in the order in which they are looked for.
const MARKERS: [&str; 3] = ["openclaw", "clawdbot", "moltbot"];
const SYSTEM_DIRS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// A service that may be another gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Unit name.
    pub label: String,
    /// The file.
    pub path: PathBuf,
    /// Whether it lies in a system directory.
    pub system: bool,
    /// The word that gave it away.
    pub marker: &'static str,
}

/// Looks through the user's units, with `deep` through the system's too.
pub fn extra_services(paths: &Paths, own_unit: &str, deep: bool) -> Vec<Extra> {
    let user = paths.home.join(".config/systemd/user");
    let mut found = scan(&user, own_unit, false);
    if deep {
        let mut seen: Vec<PathBuf> = Vec::new();
        for dir in SYSTEM_DIRS.map(PathBuf::from) {
            // `/lib` is often a link to `/usr/lib`.
            let real = fs::canonicalize(&dir).unwrap_or_else(|_| dir.clone());
            if !seen.contains(&real) {
                found.extend(scan(&dir, own_unit, true));
                seen.push(real);
            }
        }
    }
    found
}

fn scan(dir: &Path, own_unit: &str, system: bool) -> Vec<Extra> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).take(limits::UNIT_FILES).collect();
    order::by(&mut files, Ord::cmp);
    files.into_iter().filter_map(|path| extra(path, own_unit, system)).collect()
}

fn extra(path: PathBuf, own_unit: &str, system: bool) -> Option<Extra> {
    let label = path.file_name()?.to_str()?.to_string();
    if !label.ends_with(".service") || label == own_unit || label == "openclaw-gateway.service" {
        return None;
    }
    let text = super::read_text(&path)?.to_lowercase();
    let marker = MARKERS.into_iter().find(|marker| text.contains(marker))?;
    (!is_profile(&label, &text)).then_some(Extra { label, path, system, marker })
}

/// A gateway of another profile of the same installation is no stranger.
fn is_profile(label: &str, text: &str) -> bool {
    let marked = text.contains("openclaw_service_marker=openclaw") && text.contains("openclaw_service_kind=gateway");
    marked || (label.starts_with("openclaw-gateway") && text.contains("gateway"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_strangers_and_spares_profiles_and_itself() {
        let dir = std::env::temp_dir().join(format!("openclaw-scan-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let put = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        put("openclaw-gateway.service", "ExecStart=openclaw gateway");
        put("openclaw-gateway-x.service", "ExecStart=openclaw gateway");
        put("old.service", "ExecStart=/opt/Clawdbot/run");
        put("other.service", "ExecStart=/bin/true");
        put(
            "marked.service",
            "Environment=OPENCLAW_SERVICE_MARKER=openclaw\nEnvironment=OPENCLAW_SERVICE_KIND=gateway",
        );
        let labels: Vec<(String, &str)> =
            scan(&dir, "mine.service", false).into_iter().map(|extra| (extra.label, extra.marker)).collect();
        assert_eq!(labels, [("old.service".to_string(), "clawdbot")]);
        fs::remove_dir_all(dir).unwrap();
    }
}
