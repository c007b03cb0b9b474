//! The page a person sees at `/`: static, without scripts and foreign assets. Knows nothing of the gateway's state,
//! so it may be shown to anyone.

use crate::http::reply::{HTML, Reply};

/// Nothing may be loaded but the page's own style, nothing may frame it.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const INDEX: &str = concat!(
    r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>OpenClaw gateway</title>
<style>
:root { color-scheme: light dark; --ground: #fbfaf8; --text: #1c1b1a; --soft: #5c5853; --line: #d9d4cd; --link: #a3321a }
@media (prefers-color-scheme: dark) { :root { --ground: #171615; --text: #ece9e4; --soft: #a8a29a; --line: #3a3734; --link: #ff9c82 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.6 system-ui, sans-serif }
main { max-width: 42rem; margin: 0 auto; padding: clamp(1.5rem, 6vw, 4rem) 1.25rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
p { margin: .5rem 0 }
.soft { color: var(--soft) }
a { color: var(--link) }
a:focus-visible { outline: 2px solid currentcolor; outline-offset: 2px }
code { font: .92em/1.5 ui-monospace, monospace; overflow-wrap: anywhere }
dl { margin: 0; border-top: 1px solid var(--line) }
dl div { padding: .6rem 0; border-bottom: 1px solid var(--line) }
dt { font-weight: 600 }
dd { margin: 0; color: var(--soft) }
</style>
</head>
<body>
<main>
<h1>OpenClaw gateway</h1>
<p class="soft">Version "#,
    env!("CARGO_PKG_VERSION"),
    r#". It is running.</p>
<p>This process keeps your messaging channels, agent turns and devices in one place. Clients talk to it over a WebSocket on this very address.</p>
<h2>Connect</h2>
<dl>
<div><dt>Command line, on this machine</dt><dd><code>openclaw health</code></dd></div>
<div><dt>Command line, from another machine</dt><dd><code>openclaw gateway call health --url ws://this-address --token …</code></dd></div>
<div><dt>Your own program</dt><dd>Open a WebSocket on any path of this address, wait for the event <code>connect.challenge</code>, then send <code>connect</code> with your token.</dd></div>
</dl>
<h2>Look after it</h2>
<dl>
<div><dt><a href="health">/health</a></dt><dd>Answers as long as the process lives.</dd></div>
<div><dt><a href="ready">/ready</a></dt><dd>Tells whether every part is ready.</dd></div>
<div><dt><a href="startup">/startup</a></dt><dd>Tells whether the start is complete.</dd></div>
<div><dt>If something is wrong</dt><dd><code>openclaw gateway status</code> and <code>openclaw logs --follow</code></dd></div>
</dl>
</main>
</body>
</html>
"#
);

/// The index page.
pub fn index() -> Reply {
    Reply::new(200)
        .header("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
        .header("X-Frame-Options", "DENY")
        .header("Content-Security-Policy", POLICY)
        .header("Cache-Control", "no-cache")
        .body(HTML, INDEX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_needs_nothing_from_elsewhere() {
        let page = INDEX.replace("ws://this-address", "");
        for forbidden in ["//", "http:", "<script", "<link", "<img", "onclick", "src=", "url(", "@import"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn page_is_accessible_and_named() {
        for wanted in [
            "<html lang=",
            "<title>",
            "name=\"viewport\"",
            "<main>",
            "<h1>",
            "prefers-color-scheme",
            env!("CARGO_PKG_VERSION"),
        ] {
            assert!(INDEX.contains(wanted), "{wanted}");
        }
        assert_eq!(INDEX.matches("<h1").count(), 1);
    }

    #[test]
    fn page_cannot_be_framed_and_runs_nothing() {
        let reply = index();
        let policy = reply.header_value("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("script"));
    }
}
