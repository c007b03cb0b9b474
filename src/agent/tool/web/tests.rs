//! `web_fetch` against scripted answers, and the real client against this machine, which it must refuse.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::TcpListener;

use serde_json::Value;

use super::*;
use crate::agent::http;
use crate::agent::http::upstream::{Step, Upstream};
use crate::agent::tool::approval::judge::Origin;
use crate::agent::tool::args::Args;
use crate::agent::tool::table::find;

/// Answers by address; everything asked is remembered.
struct Script {
    pages: HashMap<String, Page>,
    asked: std::sync::mpsc::Sender<String>,
}

impl Web for Script {
    fn get(&self, url: &str, _: &Control) -> Result<Page, String> {
        let _ = self.asked.send(url.to_string());
        self.pages.get(url).cloned().ok_or_else(|| "no such server".to_string())
    }
}

fn fetched(pages: Vec<(&str, Page)>, arguments: Value) -> (ToolOutcome, Vec<String>) {
    let (asked, receive) = std::sync::mpsc::channel();
    let pages = pages.into_iter().map(|(url, page)| (url.to_string(), page)).collect();
    let script = Script { pages, asked };
    let args = Args::read(find("web_fetch").unwrap(), &arguments).unwrap();
    let settings = Settings::read(&Value::Null, "main", Origin::Operator);
    let on = RefCell::new(|_| ());
    let work = Work { args: &args, control: &Control::new(), on: &mut *on.borrow_mut() };
    let outcome = run(&script, &work, &settings);
    drop(script);
    (outcome, receive.iter().collect())
}

fn html(body: &str) -> Page {
    Page { status: 200, content_type: "text/html; charset=utf-8".into(), body: body.into(), ..Page::default() }
}

fn to(location: &str) -> Page {
    Page { status: 302, location: Some(location.into()), ..Page::default() }
}

fn text(outcome: &ToolOutcome) -> &str {
    outcome.content[0].as_text().unwrap()
}

#[test]
fn a_page_becomes_text_with_its_title() {
    let page = html("<html><head><title>T &amp; t</title></head><body><p>Hello <b>you</b></p></body></html>");
    let (outcome, _) = fetched(vec![("http://a.org/x?key=1", page)], json!({"url": "http://a.org/x?key=1"}));
    assert_eq!(text(&outcome), "[http://a.org/x?key=1, status 200]\n# T & t\nHello **you**");
    assert_eq!((outcome.is_error, outcome.meta.as_str()), (false, "http://a.org/x"));
    assert_eq!(outcome.details.unwrap()["title"], "T & t");
}

#[test]
fn every_redirect_is_checked_like_the_first_address() {
    let pages = vec![("http://a.org/", to("/b")), ("http://a.org/b", to("http://169.254.169.254/x"))];
    let (outcome, asked) = fetched(pages, json!({"url": "http://a.org/"}));
    assert!(outcome.is_error && text(&outcome).contains("private address"));
    assert_eq!(asked, ["http://a.org/", "http://a.org/b"]);
    let (outcome, asked) = fetched(vec![("http://a.org/", to("/"))], json!({"url": "http://a.org/"}));
    assert!(text(&outcome).contains("redirects"));
    assert_eq!(asked.len(), limits::WEB_REDIRECTS + 1);
}

#[test]
fn private_addresses_are_not_even_asked() {
    let (outcome, asked) = fetched(vec![], json!({"url": "http://localhost:18789/"}));
    assert!(outcome.is_error && asked.is_empty());
}

#[test]
fn texts_are_cut_and_binaries_refused() {
    let long = html(&"x".repeat(100_000));
    let (outcome, _) = fetched(vec![("http://a.org", long)], json!({"url": "http://a.org", "maxChars": 10}));
    assert_eq!(text(&outcome), "[http://a.org, status 200]\nxxxxxxxxxx\n[cut]");
    let pdf = Page { status: 200, content_type: "application/pdf".into(), ..Page::default() };
    let (outcome, _) = fetched(vec![("http://a.org", pdf)], json!({"url": "http://a.org"}));
    assert!(outcome.is_error && text(&outcome).contains("application/pdf"));
}

#[test]
fn statuses_and_character_sets_are_shown() {
    let page = Page {
        status: 404,
        content_type: "text/plain; charset=ISO-8859-1".into(),
        body: b"gr\xfcn".to_vec(),
        ..Page::default()
    };
    let (outcome, _) = fetched(vec![("http://a.org", page)], json!({"url": "http://a.org"}));
    assert!(outcome.is_error);
    assert_eq!(text(&outcome), "[http://a.org, status 404]\ngrün");
}

#[test]
fn the_real_client_never_connects_to_this_machine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let web = HttpWeb::new(http::Settings::default());
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
        let answer = web.get(&format!("http://{host}:{port}/"), &Control::within(limits::WEB_TIME));
        assert!(answer.is_err(), "{host}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
}

#[test]
fn the_real_client_reads_pages_and_cuts_long_ones() {
    let head = "Location: /next\r\nContent-Type: text/plain\r\n";
    let long = Upstream::answer("200 OK", "Content-Type: text/plain\r\n", &"x".repeat(limits::WEB_BYTES + 5000));
    let server = Upstream::play(vec![Upstream::answer("302 Found", head, "moved"), long]);
    let web = HttpWeb::anywhere();
    let page = web.get(&server.url, &Control::within(limits::WEB_TIME)).unwrap();
    assert_eq!((page.status, page.location.as_deref()), (302, Some("/next")), "redirects are the caller's");
    let asked = server.asked().head.to_ascii_lowercase();
    assert!(!asked.contains("cookie") && !asked.contains("authorization") && asked.contains("accept: text/html"));
    let page = web.get(&server.url, &Control::within(limits::WEB_TIME)).unwrap();
    assert_eq!((page.body.len(), page.cut), (limits::WEB_BYTES, true));
}

#[test]
fn a_server_that_hangs_or_never_ends_is_left_in_time() {
    let flood = vec![
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_vec()),
        Step::Flood(vec![b'x'; 65536]),
    ];
    let server = Upstream::play(vec![flood, vec![Step::Hang]]);
    let web = HttpWeb::anywhere();
    assert!(web.get(&server.url, &Control::within(limits::WEB_TIME)).unwrap().cut);
    let limit = Control::within(std::time::Duration::from_millis(100));
    assert!(web.get(&server.url, &limit).is_err());
}
