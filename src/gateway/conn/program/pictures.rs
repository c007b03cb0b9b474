//! Pictures of a program's request on their way to the model: what the operator allows is read, other servers are asked
//! where it says so, through the agent's own guard against private addresses (http.md 6.3).

use serde_json::Value;

use crate::agent::control::Control;
use crate::agent::http::Settings;
use crate::agent::message::Block;
use crate::agent::tool::web::{HttpWeb, Web, check_address, fetch};
use crate::config::Config;
use crate::gateway::programs::target::Target;
use crate::http::api::pictures::{Picture, Rules, fit_together};
use crate::limits;

/// What `gateway.http.endpoints.<endpoint>.images` allows.
pub fn rules(config: &Config, endpoint: &str) -> Rules {
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

/// The pictures at these addresses; none when one is not to be had.
pub fn gather(addresses: &[String], rules: &Rules, target: &Target) -> Option<Vec<Block>> {
    let mut pictures = rules.read(addresses)?;
    let web = HttpWeb::new(Settings::new(&target.env, None)).reading(rules.max_bytes);
    for picture in &mut pictures {
        if let Picture::Url(address) = picture {
            *picture = fetched(&web, address, rules)?;
        }
    }
    let block = |picture| match picture {
        Picture::Data { mime, data, .. } => Some(Block::image(data, mime)),
        Picture::Url(_) => None,
    };
    fit_together(&pictures).then(|| pictures.into_iter().filter_map(block).collect())
}

/// Every address on the way has to be allowed, not only the first.
fn fetched(web: &dyn Web, address: &str, rules: &Rules) -> Option<Picture> {
    let check = |address: &str| match rules.may_fetch(address) {
        true => check_address(address),
        false => Err("this host is not in urlAllowlist".to_string()),
    };
    match fetch(web, address, rules.redirects, &check, &Control::within(rules.time)) {
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
    use std::sync::Arc;

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
            fetched(&Onward(onward), &format!("https://a.org/{left}"), rules).is_some()
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
        for address in
            ["http://127.0.0.1:1/a.png", "http://localhost/a.png", "http://169.254.169.254/x", "http://[::1]/"]
        {
            assert_eq!(gather(&[address.to_string()], &any, &target), None, "{address}");
        }
        let here = gather(&["data:image/png;base64,AAAA".to_string()], &any, &target).unwrap();
        assert_eq!(here, [Block::image("AAAA", "image/png")]);
    }
}
