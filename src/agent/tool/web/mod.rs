//! The tool `web_fetch`: which addresses may be asked, redirects, and what becomes of an answer. The client behind
//! [`Web`] looks up the name itself and connects only to an address it has checked, so a name that changes its mind
//! between look and use leads nowhere.

mod address;
mod client;

use std::time::Instant;

pub use self::address::{check as check_address, host_of};
pub use self::client::HttpWeb;
use super::Work;
use super::outcome::ToolOutcome;
use super::readable::{self, Form};
use super::settings::Settings;
use super::text;
use crate::agent::control::Control;
use crate::limits;

/// One answer of a server, redirects included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// `Location`.
    pub location: Option<String>,
    /// `Content-Type`, whole.
    pub content_type: String,
    /// The body, at most `limits::WEB_BYTES` of it.
    pub body: Vec<u8>,
    /// Whether there was more.
    pub cut: bool,
}

/// A client for pages of strangers: GET without cookies or credentials, to public addresses only, no redirects of its
/// own.
pub trait Web: Send + Sync {
    /// Fetches one address; the text of a failure is for the model and holds no secrets.
    fn get(&self, url: &str, control: &Control) -> Result<Page, String>;
}

/// Runs `web_fetch`.
pub(super) fn run(web: &dyn Web, work: &Work<'_>, settings: &Settings) -> ToolOutcome {
    let url = work.args.text("url").trim();
    let started = Instant::now();
    let control = work.control.step(limits::WEB_TIME);
    let outcome = match fetch(web, url, limits::WEB_REDIRECTS, &address::check, &control) {
        Ok((last, page)) => show(url, &last, &page, work, settings, started),
        Err(text) => ToolOutcome::error(format!("web_fetch: {text}")),
    };
    outcome.with_meta(text::label(&bare(url), limits::META_CHARS))
}

/// Follows redirects, each address checked like the first one.
pub fn fetch(
    web: &dyn Web,
    url: &str,
    redirects: usize,
    check: &dyn Fn(&str) -> Result<(), String>,
    control: &Control,
) -> Result<(String, Page), String> {
    let mut url = url.to_string();
    for _ in 0..=redirects {
        check(&url)?;
        if let Some(reason) = control.stopped() {
            return Err(format!("stopped ({})", reason.name()));
        }
        let page = web.get(&url, control)?;
        let target = page.location.as_deref().filter(|_| (300..400).contains(&page.status));
        match target {
            None => return Ok((url, page)),
            Some(target) => url = address::join(&url, target)?,
        }
    }
    Err(format!("more than {redirects} redirects"))
}

fn show(url: &str, last: &str, page: &Page, work: &Work<'_>, settings: &Settings, started: Instant) -> ToolOutcome {
    let form = if work.args.text("extractMode") == "text" { Form::Text } else { Form::Markdown };
    let (title, mut shown) = match readable(page, form) {
        Ok(read) => read,
        Err(text) => return ToolOutcome::error(format!("web_fetch: {text}")),
    };
    let most = work.args.count("maxChars").unwrap_or(settings.web_chars).min(settings.web_chars);
    let end = shown.floor_char_boundary(most);
    let truncated = page.cut || end < shown.len();
    shown.truncate(end);
    let details = json!({
        "url": url, "finalUrl": last, "status": page.status, "contentType": page.content_type, "title": title,
        "truncated": truncated, "length": shown.len(),
        "tookMs": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    let mut head = format!("[{last}, status {}]\n", page.status);
    if let Some(title) = title {
        head.push_str(&format!("# {title}\n"));
    }
    let tail = if truncated { "\n[cut]" } else { "" };
    let outcome = ToolOutcome::text(format!("{head}{shown}{tail}")).with_details(details);
    ToolOutcome { is_error: page.status >= 400, ..outcome }
}

/// Title and text of a page.
fn readable(page: &Page, form: Form) -> Result<(Option<String>, String), String> {
    let mut parts = page.content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts.find_map(|part| part.to_ascii_lowercase().strip_prefix("charset=").map(String::from));
    let looks_like_html = || {
        let start: Vec<u8> = page.body.iter().take(256).copied().collect();
        let start = String::from_utf8_lossy(&start).to_ascii_lowercase();
        start.contains("<!doctype html") || start.contains("<html")
    };
    let html =
        matches!(media.as_str(), "text/html" | "application/xhtml+xml") || (media.is_empty() && looks_like_html());
    let words = ["json", "xml", "javascript", "yaml", "x-www-form-urlencoded"];
    let textual =
        html || media.is_empty() || media.starts_with("text/") || words.iter().any(|word| media.contains(word));
    if !textual {
        return Err(format!("the page is {media}, which is no text"));
    }
    let decoded = decode(&page.body, charset.as_deref());
    if html {
        let read = readable::read(&decoded, form);
        return Ok((read.title, read.text));
    }
    Ok((None, text::safe(decoded.as_bytes())))
}

/// UTF-8, or the one-byte character sets of old pages.
fn decode(body: &[u8], charset: Option<&str>) -> String {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match charset.map(|name| name.trim_matches(['"', '\''])) {
        Some("iso-8859-1" | "latin1" | "windows-1252" | "us-ascii") if std::str::from_utf8(body).is_err() => {
            body.iter().map(|byte| char::from(*byte)).collect()
        }
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

/// The address without its query, which may hold keys.
fn bare(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
