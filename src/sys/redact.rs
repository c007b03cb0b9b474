//! Takes secrets out of texts meant for logs and people: values of key-like assignments, bearer headers, known token
//! forms, PEM blocks, passwords in URLs. Rather too much than too little; clean text is returned as it is, without a copy.

use std::borrow::Cow;
use std::ops::Range;

/// What stands for a secret.
const MASK: &str = "***";
/// Ends of names whose values are secrets, lower case, with `-` and `_` left out.
const NAMES: [&str; 16] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "authorization",
    "signature",
    "privatekey",
    "privatekeypem",
    "credential",
    "credentials",
    "cookie",
    "accesskey",
    "secretkey",
    "serviceaccount",
];
/// Words that follow such a name in prose and are no secrets.
const WORDS: [&str; 26] = [
    "absent",
    "configured",
    "empty",
    "expected",
    "expired",
    "false",
    "generated",
    "invalid",
    "is",
    "mismatch",
    "missing",
    "must",
    "no",
    "none",
    "not",
    "null",
    "ok",
    "present",
    "rejected",
    "required",
    "rotated",
    "set",
    "true",
    "undefined",
    "unset",
    "yes",
];
/// Beginnings of well-known tokens, and how many token characters must follow.
const PREFIXES: [(&str, usize); 22] = [
    ("sk-", 8),
    ("sk_live_", 8),
    ("sk_test_", 8),
    ("rk_live_", 8),
    ("ghp_", 10),
    ("gho_", 10),
    ("ghu_", 10),
    ("ghs_", 10),
    ("ghr_", 10),
    ("github_pat_", 10),
    ("glpat-", 10),
    ("xoxa-", 6),
    ("xoxb-", 6),
    ("xoxp-", 6),
    ("xoxr-", 6),
    ("xoxs-", 6),
    ("xapp-", 6),
    ("AIza", 20),
    ("npm_", 20),
    ("hf_", 20),
    ("gsk_", 16),
    ("eyJ", 20),
];
/// Longest name looked back for.
const NAME_BYTES: usize = 64;
/// Longest `scheme://user` looked back for.
const URL_USER_BYTES: usize = 256;

/// The text without its secrets.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(secret) = next_secret(text, at) {
        out.push_str(text.get(kept..secret.start).unwrap_or_default());
        out.push_str(MASK);
        kept = secret.end;
        at = secret.end;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}

/// The first secret that begins at or after `from`; all ranges lie on ASCII borders, so they are character borders.
fn next_secret(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        let found = match byte {
            b':' | b'=' => assigned(text, at).or_else(|| bot_token(text, at)).or_else(|| url_password(text, at)),
            b'-' => pem(text, at).or_else(|| flag(text, at)),
            b'b' | b'B' if is_start(bytes, at) => scheme(text, at),
            b's' | b'r' | b'g' | b'x' | b'A' | b'n' | b'h' | b'e' if is_start(bytes, at) => known(text, at),
            _ => None,
        };
        if let Some(secret) = found.filter(|secret| secret.end > secret.start && secret.start >= from) {
            return Some(secret);
        }
        at += 1;
    }
    None
}

/// `name=value`, `name: value`, `"name":"value"`, also with escaped quotes.
fn assigned(text: &str, sign: usize) -> Option<Range<usize>> {
    let name = name_before(text, sign)?;
    if !is_secret_name(name) {
        return None;
    }
    let mut start = sign + 1;
    start += run(text, start, |byte| byte == b' ' || byte == b'\t');
    let whole_line = ["authorization", "cookie"].iter().any(|end| normal(name).ends_with(end));
    value(text, start, whole_line)
}

/// `--token value`: the flag form with a blank instead of a sign.
fn flag(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?.strip_prefix("--")?;
    let size = rest.bytes().take(NAME_BYTES).take_while(|byte| is_name(*byte)).count();
    let (name, after) = rest.split_at_checked(size)?;
    if !is_secret_name(name) || !after.starts_with(' ') || after.starts_with(" -") {
        return None;
    }
    value(text, at + 2 + size + 1, false)
}

/// The value at `start`: to the closing quote, or to the end of the word or line. `None` for no value, for prose and
/// for a nested JSON value, whose own fields are looked at in turn.
fn value(text: &str, start: usize, whole_line: bool) -> Option<Range<usize>> {
    let rest = text.get(start..)?;
    let quote_size = ["\\\"", "\"", "'", "`"].iter().find(|quote| rest.starts_with(**quote)).map_or(0, |q| q.len());
    if quote_size > 0 {
        let (quote, inner) = rest.split_at_checked(quote_size)?;
        let end = closing(inner, quote);
        return Some(start + quote_size..start + quote_size + end);
    }
    let end = if whole_line {
        rest.find(['"', '\'', '\\', '\n', '\r', '}']).unwrap_or(rest.len())
    } else {
        rest.find(|c: char| c.is_whitespace() || ",;&\"'`<>()[]{}\\".contains(c)).unwrap_or(rest.len())
    };
    let word = rest.get(..end)?.trim_end();
    let plain = word.trim_end_matches(['.', ':', '!', '?']).to_ascii_lowercase();
    if word.is_empty() || word.starts_with(MASK) || WORDS.contains(&plain.as_str()) {
        return None;
    }
    Some(start..start + word.len())
}

/// Bytes before the closing quote; an escaped quote does not close a plain one.
fn closing(inner: &str, quote: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in inner.bytes().enumerate() {
        let here = inner.get(at..).unwrap_or_default();
        if !escaped && here.starts_with(quote) {
            return at;
        }
        escaped = byte == b'\\' && !escaped && quote.len() == 1;
    }
    inner.len()
}

/// `Bearer value` and `Basic value` wherever they stand.
fn scheme(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let word = ["bearer ", "basic "].iter().find(|word| has_prefix(rest, word))?;
    let start = at + word.len() + run(text, at + word.len(), |byte| byte == b' ');
    let size = run(text, start, is_token);
    (size >= 6).then(|| start..start + size)
}

/// A token with a well-known beginning, which is kept so that a person sees what kind it was.
fn known(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let (prefix, least) = PREFIXES.iter().find(|(prefix, _)| rest.starts_with(prefix))?;
    let start = at + prefix.len();
    let size = run(text, start, is_token);
    (size >= *least).then(|| start..start + size)
}

/// A Telegram bot token: digits, a colon, 30 and more token characters.
fn bot_token(text: &str, colon: usize) -> Option<Range<usize>> {
    let digits = text.get(..colon)?.bytes().rev().take(12).take_while(u8::is_ascii_digit).count();
    if digits < 6 {
        return None;
    }
    let size = run(text, colon + 1, is_token);
    (size >= 30).then(|| colon + 1..colon + 1 + size)
}

/// The password of `scheme://user:password@host`.
fn url_password(text: &str, colon: usize) -> Option<Range<usize>> {
    let near = text.as_bytes().get(colon.saturating_sub(URL_USER_BYTES)..colon)?;
    let user = near.get(near.windows(3).rposition(|part| part == b"://")? + 3..)?;
    let rest = text.get(colon + 1..)?;
    let end = rest.find(|c: char| c.is_whitespace() || "/@\"'<>".contains(c))?;
    let clean = !user.iter().any(|byte| b"/@ \"'".contains(byte));
    (clean && rest.as_bytes().get(end) == Some(&b'@')).then(|| colon + 1..colon + 1 + end)
}

/// Everything between the lines of a PEM block, or to the end of a text that was cut inside one.
fn pem(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?.strip_prefix("-----BEGIN ")?;
    let label = rest.find("-----").filter(|size| *size <= NAME_BYTES)?;
    let start = text.len() - rest.len() + label + 5;
    let end = text.get(start..)?.find("-----END ").map_or(text.len(), |size| start + size);
    Some(start..end)
}

/// The name that ends just before a sign, quotes and blanks between them left out.
fn name_before(text: &str, sign: usize) -> Option<&str> {
    let before = text.get(..sign)?.trim_end_matches([' ', '"', '\'', '\\', '`']);
    let size = before.bytes().rev().take(NAME_BYTES).take_while(|byte| is_name(*byte)).count();
    before.get(before.len() - size..).filter(|name| !name.is_empty())
}

/// Whether a name ends like those of secrets do, `-`, `_` and case aside.
pub fn is_secret_name(name: &str) -> bool {
    let last = name.as_bytes().last().map(u8::to_ascii_lowercase);
    // most names end in another letter: no copy for them
    if !matches!(last, Some(b'n' | b'd' | b'e' | b't' | b'y' | b'l' | b's' | b'm')) {
        return false;
    }
    let name = normal(name);
    NAMES.iter().any(|end| name.ends_with(end))
}

fn normal(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).map(|c| c.to_ascii_lowercase()).collect()
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn run(text: &str, start: usize, wanted: impl Fn(u8) -> bool) -> usize {
    text.as_bytes().get(start..).unwrap_or_default().iter().take_while(|byte| wanted(**byte)).count()
}

fn is_start(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "C4nary-Value_0123456789";

    #[test]
    fn no_form_lets_the_canary_through() {
        for form in [
            "Authorization: Bearer @",
            "authorization: bearer   @ trailing",
            "Authorization: Custom @",
            "{\"authorization\":\"Digest @\"}",
            "Basic @",
            "Proxy-Authorization: Basic @",
            "X-OpenClaw-Token: @",
            "Cookie: a=1; session=@",
            "token=@",
            "gateway token = @",
            "OPENCLAW_GATEWAY_TOKEN=@ openclaw",
            "OPENCLAW_GATEWAY_PASSWORD='@'",
            "--token @ --verbose",
            "--token=@",
            "--api-key @",
            "{\"auth\":{\"token\":\"@\"}}",
            "{\"password\" : \"@ with blanks @\"}",
            "{\\\"token\\\":\\\"@\\\"}",
            "{\"token\":\"a\\\"@\"}",
            "apiKey: @",
            "api_key=@&x=1",
            "ws://host/?token=@&a=b",
            "http://host/#token=@",
            "https://user:@@host/",
            "clientSecret: '@'",
            "private_key=@",
            "signature=@",
            "deviceToken:@",
            "sk-@",
            "key is sk-ant-@",
            "ghp_@",
            "xoxb-@",
            "https://api.telegram.org/bot123456789:@0123456789abc/getMe",
            "jwt eyJ@.@.@",
            "-----BEGIN PRIVATE KEY-----\n@\n-----END PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\\n@",
            "gateway.auth.token=@",
            "password=@",
        ] {
            let text = form.replace('@', CANARY);
            let text = if form.contains("@@host") { format!("https://user:{CANARY}@host/") } else { text };
            let clean = redact(&text);
            assert!(!clean.contains("C4nary"), "{clean}");
            assert!(clean.contains(MASK), "{clean}");
            assert_eq!(redact(&clean), clean, "redacting twice changes nothing");
        }
    }

    #[test]
    fn what_surrounds_a_secret_stays() {
        assert_eq!(redact("a token=abc b=1"), "a token=*** b=1");
        assert_eq!(redact("{\"token\":\"abc\",\"port\":1}"), "{\"token\":\"***\",\"port\":1}");
        assert_eq!(redact("GET /?token=abc&x=ü HTTP"), "GET /?token=***&x=ü HTTP");
        assert_eq!(redact("key sk-abcdefghijkl."), "key sk-***");
        assert_eq!(redact("Authorization: Bearer abcdef"), "Authorization: ***");
    }

    #[test]
    fn several_secrets_all_go() {
        assert_eq!(redact("token=a password=b token=c"), "token=*** password=*** token=***");
    }

    #[test]
    fn clean_text_is_not_copied() {
        for text in [
            "",
            "listening on ws://127.0.0.1:18789 pid=42",
            "← connect client=cli version=dev mode=cli auth=token",
            "unauthorized reason=token_missing",
            "maxTokens=4096 tokens: 12",
            "invalid token: expected 5",
            "gateway token: not configured",
            "task-1234567890123456 disk-0123456789",
            "basic auth is off, bearer of bad news",
            "12:34:56 at 127.0.0.1:18789",
            "http://localhost:18789/path@x",
            "{\"token\":null,\"password\":\"\"}",
            "größe=ä: ü",
        ] {
            assert!(matches!(redact(text), Cow::Borrowed(_)), "{text} became {}", redact(text));
        }
    }

    #[test]
    fn any_bytes_and_cuts_are_survived() {
        let text = "token=\"a\\\"b\" ü -----BEGIN X----- Bearer éé sk-日本 https://ü:ß@x {\"password\":";
        for start in 0..=text.len() {
            for end in start..=text.len() {
                if let Some(part) = text.get(start..end) {
                    let _ = redact(part);
                }
            }
        }
    }

    #[test]
    fn hostile_text_takes_linear_time() {
        for unit in
            ["token=", ":", "=", "-----BEGIN ", "\\\"", "://a:", "--token ", "Bearer ", "a:b", "token= ", "cookie:\n"]
        {
            let text = unit.repeat(20_000 / unit.len());
            let begun = std::time::Instant::now();
            let _ = redact(&text);
            assert!(begun.elapsed().as_secs() < 2, "{unit}");
        }
    }
}
