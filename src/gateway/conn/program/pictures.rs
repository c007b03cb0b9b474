//! Pictures of a program's request on their way to the model: what the operator allows is read, other servers are asked
//! where it says so, some at one time, through the agent's own guard against private addresses (http.md 6.3).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::super::body::{self, Body};
use super::{Answered, Exchange};
use crate::agent::control::{AbortReason, Control};
use crate::agent::http::Settings;
use crate::agent::message::Block;
use crate::agent::tool::web::{HttpWeb, Web, check_address, fetch};
use crate::config::Config;
use crate::gateway::programs::target::Target;
use crate::http::api::invalid;
use crate::http::api::pictures::{Picture, Rules, fit_together};
use crate::http::route;
use crate::limits;
use crate::sys::thread::{self, Pending};

/// Why there are no pictures.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// One is not taken, or not to be had.
    Refused,
    /// There is no room for them.
    Crowded,
    /// They are not waited for.
    Left(AbortReason),
}

/// What `gateway.http.endpoints.<endpoint>.images` allows.
fn rules(config: &Config, endpoint: &str) -> Rules {
    let at = config.raw.pointer(&format!("/gateway/http/endpoints/{endpoint}/images")).unwrap_or(&Value::Null);
    let count = |name: &str| at.get(name).and_then(Value::as_u64);
    let size = |name: &str, unset: usize| count(name).and_then(|n| usize::try_from(n).ok()).unwrap_or(unset);
    let texts = |name: &str| {
        let list = at.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(String::from).collect()
    };
    let unset = Rules::default();
    Rules {
        allow_url: at.get("allowUrl").and_then(Value::as_bool).unwrap_or(false),
        hosts: texts("urlAllowlist"),
        mimes: texts("allowedMimes"),
        max_bytes: size("maxBytes", unset.max_bytes).min(limits::PICTURES_BYTES),
        redirects: size("maxRedirects", unset.redirects).min(limits::WEB_REDIRECTS),
        time: count("timeoutMs").map_or(unset.time, std::time::Duration::from_millis).min(limits::WEB_TIME),
    }
}

impl Exchange<'_> {
    /// The pictures at these addresses; without one of them, what the request is answered.
    pub fn pictures(
        &self,
        addresses: &[String],
        endpoint: &str,
        target: &Target,
        refusal: &str,
    ) -> Result<Vec<Block>, Answered> {
        let left = || match self.hub.is_stopping() {
            true => Some(AbortReason::Shutdown),
            false => self.is_gone().then_some(AbortReason::Gone),
        };
        gather(addresses, &rules(&target.config, endpoint), target, self.body, &left).map_err(|fault| match fault {
            Fault::Refused => Answered::Reply(invalid(refusal)),
            Fault::Crowded => Answered::Reply(body::crowded()),
            Fault::Left(AbortReason::Shutdown) => Answered::Reply(route::unavailable()),
            Fault::Left(_) => Answered::Gone,
        })
    }
}

/// What is fetched counts with the request's body. `left` tells why nobody waits any more, once nobody does.
fn gather(
    addresses: &[String],
    rules: &Rules,
    target: &Target,
    body: &Body,
    left: &dyn Fn() -> Option<AbortReason>,
) -> Result<Vec<Block>, Fault> {
    let mut pictures = rules.read(addresses).ok_or(Fault::Refused)?;
    let address = |picture: &Picture| match picture {
        Picture::Url(address) => Some(address.clone()),
        Picture::Data { .. } => None,
    };
    let elsewhere: Vec<String> = pictures.iter().filter_map(address).collect();
    let most = elsewhere.len().saturating_mul(rules.max_bytes).min(limits::PICTURES_BYTES);
    if !body.hold(most) {
        return Err(Fault::Crowded);
    }
    let web = HttpWeb::new(Settings::new(&target.env, None)).reading(rules.max_bytes);
    let fetched = fetch_all(&Arc::new(web), &Arc::new(elsewhere), rules, left)?;
    body.let_go(most.saturating_sub(fetched.iter().map(Picture::size).sum()));
    let places = pictures.iter_mut().filter(|picture| matches!(picture, Picture::Url(_)));
    places.zip(fetched).for_each(|(place, picture)| *place = picture);
    let block = |picture| match picture {
        Picture::Data { mime, data, .. } => Some(Block::image(data, mime)),
        Picture::Url(_) => None,
    };
    match fit_together(&pictures) {
        true => Ok(pictures.into_iter().filter_map(block).collect()),
        false => Err(Fault::Refused),
    }
}

/// Fetches them in a few threads, each of which takes every so manyth; in the order of the addresses. The first failure
/// stops the others, and so does that nobody waits any more; threads that do not notice at once end by themselves.
fn fetch_all<W: Web + 'static>(
    web: &Arc<W>,
    addresses: &Arc<Vec<String>>,
    rules: &Rules,
    left: &dyn Fn() -> Option<AbortReason>,
) -> Result<Vec<Picture>, Fault> {
    let lanes = limits::PICTURES_AT_ONCE.min(addresses.len());
    // The time for one is never longer.
    let control = Control::within(limits::WEB_TIME);
    let sum = Arc::new(AtomicUsize::new(0));
    let start = |lane: usize| {
        let (web, addresses, rules, control) = (web.clone(), addresses.clone(), rules.clone(), control.clone());
        let sum = sum.clone();
        let fits = move |size: usize| sum.fetch_add(size, Ordering::AcqRel) + size <= limits::PICTURES_BYTES;
        thread::ask("picture", limits::STACK_RUN, move || {
            let mine = addresses.iter().skip(lane).step_by(lanes);
            let one =
                |address: &String| fetched(&*web, address, &rules, &control).filter(|picture| fits(picture.size()));
            let found: Option<Vec<Picture>> = mine.map(one).collect();
            if found.is_none() {
                control.cancel(AbortReason::Dropped);
            }
            found
        })
    };
    let started: io::Result<Vec<Pending<_>>> = (0..lanes).map(start).collect();
    let found = match started {
        Ok(started) => started.into_iter().map(|lane| wait(lane, &control, left)).collect(),
        Err(error) => {
            log::error!(target: "http", "cannot start a thread for pictures error={error}");
            Err(Fault::Refused)
        }
    };
    if found.is_err() {
        control.cancel(AbortReason::Dropped);
    }
    let mut found: Vec<std::vec::IntoIter<Picture>> = found?;
    let next = |at: usize| found.get_mut(at % lanes).and_then(Iterator::next).ok_or(Fault::Refused);
    (0..addresses.len()).map(next).collect()
}

/// What one thread fetched.
fn wait(
    lane: Pending<Option<Vec<Picture>>>,
    control: &Control,
    left: &dyn Fn() -> Option<AbortReason>,
) -> Result<std::vec::IntoIter<Picture>, Fault> {
    while !lane.is_over(limits::CLIENT_CHECK) {
        if let Some(reason) = left() {
            control.cancel(reason);
            return Err(Fault::Left(reason));
        }
    }
    lane.join().flatten().map(Vec::into_iter).ok_or(Fault::Refused)
}

/// Every address on the way has to be allowed, not only the first.
fn fetched(web: &dyn Web, address: &str, rules: &Rules, control: &Control) -> Option<Picture> {
    let check = |address: &str| match rules.may_fetch(address) {
        true => check_address(address),
        false => Err("this host is not in urlAllowlist".to_string()),
    };
    match fetch(web, address, rules.redirects, &check, &control.step(rules.time)) {
        Ok((_, page)) if page.status == 200 && !page.cut => rules.fetched(&page.content_type, &page.body),
        Ok(_) => None,
        Err(text) => {
            log::info!(target: "http", "a picture cannot be fetched: {text}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use super::*;
    use crate::agent::tool::web::Page;
    use crate::config::Env;

    fn target(config: Config) -> Target {
        Target {
            agent: "main".into(),
            session_key: "agent:main:x".into(),
            named: false,
            model: None,
            channel: None,
            id: "u".into(),
            config: Arc::new(config),
            env: Arc::new(Env::default()),
        }
    }

    #[test]
    fn settings_are_read_and_kept_within_bounds() {
        let images = json!({"allowUrl": true, "urlAllowlist": ["a.org"], "allowedMimes": ["image/png"],
            "maxBytes": 1_u64 << 40, "maxRedirects": 99, "timeoutMs": 500});
        let endpoints = json!({"chatCompletions": {"images": images}});
        let config = Config::from_value(json!({"gateway": {"http": {"endpoints": endpoints}}}));
        let found = rules(&config, "chatCompletions");
        assert!(found.allow_url && found.hosts == ["a.org"] && found.mimes == ["image/png"]);
        assert_eq!((found.max_bytes, found.redirects), (limits::PICTURES_BYTES, limits::WEB_REDIRECTS));
        assert_eq!((found.time.as_millis(), rules(&config, "responses")), (500, Rules::default()));
    }

    /// Answers like a server that sends people on `left` times; `/left/…` counts down.
    struct Onward(&'static str);

    impl Web for Onward {
        fn get(&self, url: &str, _: &Control) -> Result<Page, String> {
            let left: usize = url.rsplit('/').next().unwrap().parse().unwrap();
            let page = Page { status: 200, content_type: "image/png".into(), body: b"abc".to_vec(), ..Page::default() };
            let location = (left > 0).then(|| format!("{}/{}", self.0, left - 1));
            Ok(Page { status: if left > 0 { 302 } else { 200 }, location, ..page })
        }
    }

    #[test]
    fn redirects_are_bounded_and_each_is_checked() {
        let any = Rules { allow_url: true, ..Rules::default() };
        let most = limits::PICTURE_REDIRECTS;
        let of = |rules: &Rules, onward: &'static str, left: usize| {
            fetched(&Onward(onward), &format!("https://a.org/{left}"), rules, &Control::new()).is_some()
        };
        assert!(of(&any, "https://b.org", most) && !of(&any, "https://b.org", most + 1));
        assert!(!of(&any, "http://10.0.0.1", 1));
        let only = Rules { hosts: vec!["a.org".into()], ..any.clone() };
        assert!(of(&only, "https://a.org", 1) && !of(&only, "https://b.org", 1));
        let jpeg = Rules { mimes: vec!["image/jpeg".into()], ..any };
        assert!(!of(&jpeg, "https://a.org", 0));
    }

    #[test]
    fn private_addresses_are_not_asked_even_where_others_are() {
        let any = Rules { allow_url: true, ..Rules::default() };
        let target = target(Config::default());
        let budget = Arc::default();
        let body = Body::new(&budget);
        for address in
            ["http://127.0.0.1:1/a.png", "http://localhost/a.png", "http://169.254.169.254/x", "http://[::1]/"]
        {
            assert_eq!(
                gather(&[address.to_string()], &any, &target, &body, &|| None),
                Err(Fault::Refused),
                "{address}"
            );
        }
        let data = ["data:image/png;base64,AAAA".to_string()];
        let here = gather(&data, &any, &target, &body, &|| None);
        assert_eq!(here.unwrap(), [Block::image("AAAA", "image/png")]);
        drop(body);
        let full = Body::new(&budget);
        assert!(full.hold(limits::HTTP_BODIES_BYTES - any.max_bytes + 1), "all was given back");
        let one = ["https://a.org/x.png".to_string()];
        assert_eq!(gather(&one, &any, &target, &Body::new(&budget), &|| None), Err(Fault::Crowded));
        assert!(gather(&data, &any, &target, &Body::new(&budget), &|| None).is_ok(), "its body has its own room");
    }

    /// Pictures of this size each.
    struct Large(usize);

    impl Web for Large {
        fn get(&self, _: &str, _: &Control) -> Result<Page, String> {
            let body = vec![0; self.0];
            Ok(Page { status: 200, content_type: "image/png".into(), body, ..Page::default() })
        }
    }

    #[test]
    fn together_they_are_bounded_while_they_come() {
        let rules = Rules { allow_url: true, ..Rules::default() };
        let all = |size: usize| {
            let addresses = (0..limits::PICTURES).map(|at| format!("https://a.org/{at}")).collect();
            fetch_all(&Arc::new(Large(size)), &Arc::new(addresses), &rules, &|| None).map(|found| found.len())
        };
        let each = limits::PICTURES_BYTES / limits::PICTURES;
        assert_eq!((all(each), all(each + 1)), (Ok(limits::PICTURES), Err(Fault::Refused)));
    }

    /// How many are asked for now, at most at one moment, and ever; and what a server does with each.
    struct Crowd {
        inside: Mutex<(usize, usize, usize)>,
        met: Condvar,
        ends: Sender<Option<AbortReason>>,
    }

    impl Web for Crowd {
        /// `/together…` waits until as many are there as may be; `/bad` is refused; everything else hangs.
        fn get(&self, url: &str, control: &Control) -> Result<Page, String> {
            let patience = Duration::from_secs(20);
            if url.ends_with("/bad") {
                return Err("bad".into());
            }
            let Some((_, number)) = url.split_once("/together") else {
                control.pause(patience);
                self.ends.send(control.stopped()).unwrap();
                return Err("left".into());
            };
            let mut inside = self.inside.lock().unwrap();
            inside.0 += 1;
            inside.1 = inside.1.max(inside.0);
            inside.2 += 1;
            self.met.notify_all();
            // A round of its own for every so many of them.
            let round = number.parse::<usize>().unwrap() / limits::PICTURES_AT_ONCE + 1;
            let alone = |inside: &mut (usize, usize, usize)| inside.2 < round * limits::PICTURES_AT_ONCE;
            let (mut inside, late) = self.met.wait_timeout_while(inside, patience, alone).unwrap();
            inside.0 -= 1;
            drop(inside);
            let page = Page { status: 200, content_type: "image/png".into(), body: number.into(), ..Page::default() };
            if late.timed_out() { Err("nobody else came".into()) } else { Ok(page) }
        }
    }

    fn crowd(paths: &[String], left: &dyn Fn() -> Option<AbortReason>) -> (Result<Vec<Picture>, Fault>, Crowded) {
        let (ends, ended) = channel();
        let web = Arc::new(Crowd { inside: Mutex::default(), met: Condvar::new(), ends });
        let rules = Rules { allow_url: true, time: limits::WEB_TIME, ..Rules::default() };
        let addresses = paths.iter().map(|path| format!("https://a.org/{path}")).collect();
        let found = fetch_all(&web, &Arc::new(addresses), &rules, left);
        (found, (web, ended))
    }

    type Crowded = (Arc<Crowd>, Receiver<Option<AbortReason>>);

    #[test]
    fn a_few_are_fetched_at_one_time_and_come_in_order() {
        let paths: Vec<String> = (0..limits::PICTURES).map(|at| format!("together{at}")).collect();
        let (found, (web, _)) = crowd(&paths, &|| None);
        let data = |at: usize| BASE64_STANDARD.encode(at.to_string());
        let expected = |at| Picture::Data { mime: "image/png".into(), data: data(at), size: 1 };
        assert_eq!(found.unwrap(), (0..limits::PICTURES).map(expected).collect::<Vec<_>>());
        let (_, most, ever) = *web.inside.lock().unwrap();
        assert_eq!((most, ever), (limits::PICTURES_AT_ONCE, limits::PICTURES), "so many at once, and all of them once");
    }

    #[test]
    fn the_first_failure_stops_the_others() {
        let paths: Vec<String> = ["hang", "hang", "bad", "hang", "hang"].map(String::from).to_vec();
        let (found, (_, ended)) = crowd(&paths, &|| None);
        assert_eq!(found, Err(Fault::Refused));
        // One that had not begun is not begun any more, nor is the fifth.
        let reasons: Vec<_> = ended.iter().collect();
        assert!(reasons.len() < limits::PICTURES_AT_ONCE, "{reasons:?}");
        assert!(reasons.iter().all(|reason| *reason == Some(AbortReason::Dropped)), "{reasons:?}");
    }

    #[test]
    fn nobody_waits_for_them_when_the_client_has_gone() {
        let (found, (_, ended)) = crowd(&["hang".into(), "hang".into()], &|| Some(AbortReason::Gone));
        assert_eq!(found, Err(Fault::Left(AbortReason::Gone)));
        let reasons: Vec<_> = ended.iter().collect();
        assert!(reasons.iter().all(|reason| *reason == Some(AbortReason::Gone)), "{reasons:?}");
    }
}
