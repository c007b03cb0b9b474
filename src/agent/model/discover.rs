//! Zero configuration: looks for a model server on this machine and picks one of its models (decisions.md 15). Owns
//! the places, the questions and the choice; says what it found and why, or what to set.

use std::time::Duration;

use serde_json::Value;

use super::resolve::{Origin, Selection};
use super::{ErrorKind, ModelError, ModelRef, ollama, openai_completions};
use crate::agent::control::Control;
use crate::agent::http::{Client, Deadlines, HttpError, Reach, Request, Settings};
use crate::config::Env;
use crate::limits;

/// Where to look. The three are asked in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Ollama.
    pub ollama: String,
    /// llama.cpp's server.
    pub llamacpp: String,
    /// LM Studio.
    pub lmstudio: String,
    /// Time for one answer.
    pub patience: Duration,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            ollama: "http://127.0.0.1:11434".to_string(),
            llamacpp: "http://127.0.0.1:8080".to_string(),
            lmstudio: "http://127.0.0.1:1234".to_string(),
            patience: limits::DISCOVERY_ANSWER,
        }
    }
}

impl Places {
    /// The usual places, with the ports that Ollama (`OLLAMA_HOST`) and llama.cpp (`LLAMA_ARG_PORT`) read themselves and
    /// `OPENCLAW_LMSTUDIO_PORT`; never another machine than this one.
    pub fn of(env: &Env) -> Places {
        let host = env.get("OLLAMA_HOST").map(|host| host.trim().trim_start_matches("http://").trim_end_matches('/'));
        let Places { ollama, llamacpp, lmstudio, patience } = Places::default();
        Places {
            ollama: at_port(ollama, host.and_then(|host| host.rsplit_once(':')).map(|(_, port)| port)),
            llamacpp: at_port(llamacpp, env.get("LLAMA_ARG_PORT")),
            lmstudio: at_port(lmstudio, env.get("OPENCLAW_LMSTUDIO_PORT")),
            patience,
        }
    }
}

fn at_port(usual: String, port: Option<&str>) -> String {
    port.and_then(|port| port.trim().parse::<u16>().ok()).map_or(usual, |port| format!("http://127.0.0.1:{port}"))
}

/// A server and its model, ready to be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Provider id and model.
    pub reference: ModelRef,
    /// Address as the wire form wants it.
    pub base_url: String,
    /// The wire form.
    pub api: &'static str,
    /// Tokens of context, when the server says.
    pub context_window: Option<u64>,
    /// Whether it can be given tools; none when the server does not say.
    pub tools: Option<bool>,
    /// Whether it can see.
    pub images: bool,
    /// Whether it can think.
    pub reasoning: bool,
    /// One line for `status` and the log.
    pub why: String,
}

impl Found {
    /// The selection of a turn for which nobody chose a model.
    pub fn selection(&self) -> Selection {
        Selection { primary: self.reference.clone(), fallbacks: Vec::new(), origin: Origin::Discovered }
    }
}

/// Asks all three places: one model of each server there is, in the order in which [`look`] would choose.
pub fn look_everywhere(places: &Places, control: &Control) -> Vec<Found> {
    let asker = Asker { control, patience: places.patience };
    let asks: [Option<Found>; 3] = [
        ask_ollama(&places.ollama, &asker).ok(),
        ask_llamacpp(&places.llamacpp, &asker).ok(),
        ask_lmstudio(&places.lmstudio, &asker).ok(),
    ];
    asks.into_iter().flatten().collect()
}

/// Asks the three places; the error says what each of them answered and what to set.
pub fn look(places: &Places, control: &Control) -> Result<Found, ModelError> {
    type Ask = fn(&str, &Asker<'_>) -> Result<Found, String>;
    let asks: [(&str, &str, Ask); 3] = [
        ("Ollama", &places.ollama, ask_ollama),
        ("llama.cpp", &places.llamacpp, ask_llamacpp),
        ("LM Studio", &places.lmstudio, ask_lmstudio),
    ];
    let asker = Asker { control, patience: places.patience };
    let mut tried = Vec::new();
    for (name, base, ask) in asks {
        match ask(base, &asker) {
            Ok(found) => return Ok(found),
            Err(why) => tried.push(format!("{name} at {base}: {why}")),
        }
        if let Some(reason) = control.stopped() {
            return Err(ModelError::new(ErrorKind::Aborted, format!("stopped ({})", reason.name())));
        }
    }
    Err(nothing(&tried))
}

fn nothing(tried: &[String]) -> ModelError {
    let message = format!(
        "no model is configured and none was found on this machine ({}). Start a local server (`ollama pull qwen3`), \
         or set a key (ANTHROPIC_API_KEY or OPENAI_API_KEY, in the environment or ~/.openclaw/.env) and a model \
         (`openclaw models set anthropic/<model>`, which is agents.defaults.model)",
        tried.join("; ")
    );
    // written here in full: the cleaner's bound is for texts of others
    ModelError { message, ..ModelError::new(ErrorKind::NotConfigured, "") }
}

/// The first model of the Ollama at this address that turns text into numbers, or why there is none.
pub(super) fn look_for_embeddings(base: &str, patience: Duration, control: &Control) -> Result<String, String> {
    let tags = ask(&format!("{base}/api/tags"), None, &Asker { control, patience })?;
    let mut names = list(&tags, "models").filter_map(|model| member(model, "name"));
    let found = names.find(|name| is_embedding(name) && !name.contains("rerank"));
    found.map(str::to_string).ok_or_else(|| "it has no embedding model (`ollama pull nomic-embed-text`)".to_string())
}

/// Who asks, and how long it may take.
struct Asker<'a> {
    control: &'a Control,
    patience: Duration,
}

/// One question; no proxy and no environment takes part on loopback.
fn ask(url: &str, body: Option<&Value>, asker: &Asker<'_>) -> Result<Value, String> {
    let step = asker.control.step(asker.patience);
    let connect = limits::DISCOVERY_CONNECT;
    let deadlines = Deadlines { connect, first: asker.patience, between: asker.patience };
    let say = |fault: HttpError| match fault {
        HttpError::Connect(..) => "nothing listens there".to_string(),
        HttpError::Timeout(..) | HttpError::Stopped(_) => "no answer in time".to_string(),
        _ => "not a model server".to_string(),
    };
    let client = Client::new(url, &Settings::default(), Reach::Anywhere).map_err(say)?;
    let body = body.map(Value::to_string);
    let request = Request { url, headers: &[], body: body.as_deref().map(str::as_bytes), deadlines };
    let mut answer = client.send(&request, &step).map_err(say)?;
    if answer.status != 200 {
        return Err(format!("it answered {}", answer.status));
    }
    let text = answer.read_all(limits::DISCOVERY_BYTES).map_err(say)?;
    serde_json::from_slice(&text).map_err(|_| "not a model server".to_string())
}

fn ask_ollama(base: &str, asker: &Asker<'_>) -> Result<Found, String> {
    let tags = ask(&format!("{base}/api/tags"), None, asker)?;
    let names: Vec<&str> = list(&tags, "models").filter_map(|model| member(model, "name")).collect();
    let usable = names.iter().filter(|name| !is_embedding(name)).take(limits::DISCOVERY_MODELS);
    let mut described: Vec<(&str, Value)> = Vec::new();
    for name in usable {
        let body = json!({"model": name, "name": name});
        described.push((name, ask(&format!("{base}/api/show"), Some(&body), asker).unwrap_or_default()));
    }
    let can = |details: &Value, what: &str| list(details, "capabilities").any(|ability| ability == what);
    // the list has the newest first; a model that takes tools is worth more than a newer one that does not
    let tools = described.iter().find(|(_, details)| can(details, "tools"));
    let Some((name, details)) = tools.or(described.first()) else {
        return Err("it has no models (`ollama pull qwen3`)".to_string());
    };
    let with_tools = can(details, "tools");
    let why = if with_tools { "its newest model that takes tools" } else { "its newest model; it takes no tools" };
    Ok(Found {
        reference: ModelRef::new("ollama", *name),
        base_url: base.to_string(),
        api: ollama::API,
        context_window: ollama_context(details),
        tools: details.get("capabilities").map(|_| with_tools),
        images: can(details, "vision"),
        reasoning: can(details, "thinking"),
        why: format!("found Ollama at {base}, using {why}: {name}"),
    })
}

/// The model's own context, at most what is asked for unasked.
fn ollama_context(details: &Value) -> Option<u64> {
    let info = details.get("model_info")?.as_object()?;
    let (_, length) = info.iter().find(|(name, _)| name.ends_with(".context_length"))?;
    length.as_u64().map(|length| length.min(limits::MODEL_CONTEXT_LOCAL))
}

fn ask_llamacpp(base: &str, asker: &Asker<'_>) -> Result<Found, String> {
    let models = ask(&format!("{base}/v1/models"), None, asker)?;
    let name = list(&models, "data").find_map(|model| member(model, "id")).ok_or("it has no model loaded")?;
    let props = ask(&format!("{base}/props"), None, asker).unwrap_or_default();
    let context = props.pointer("/default_generation_settings/n_ctx").and_then(Value::as_u64);
    let sees = props.pointer("/modalities/vision").and_then(Value::as_bool).unwrap_or(false);
    Ok(Found {
        reference: ModelRef::new("llamacpp", name),
        base_url: format!("{base}/v1"),
        api: openai_completions::API,
        context_window: context.filter(|context| *context > 0),
        tools: None,
        images: sees,
        reasoning: false,
        why: format!("found a llama.cpp server at {base}, using the model it has loaded: {name}"),
    })
}

fn ask_lmstudio(base: &str, asker: &Asker<'_>) -> Result<Found, String> {
    // its own interface knows kinds and states; an older one only lists names
    let models = ask(&format!("{base}/api/v0/models"), None, asker)
        .or_else(|_| ask(&format!("{base}/v1/models"), None, asker))?;
    let usable: Vec<&Value> = list(&models, "data")
        .filter(|model| member(model, "type").is_none_or(|kind| kind == "llm" || kind == "vlm"))
        .filter(|model| member(model, "id").is_some_and(|id| !is_embedding(id)))
        .collect();
    let loaded = usable.iter().find(|model| member(model, "state") == Some("loaded"));
    let model = loaded.or(usable.first()).ok_or("it has no models")?;
    let name = member(model, "id").ok_or("it has no models")?;
    let context = ["loaded_context_length", "max_context_length"].iter().find_map(|name| model.get(name)?.as_u64());
    let why = if loaded.is_some() { "the model it has loaded" } else { "its first model" };
    Ok(Found {
        reference: ModelRef::new("lmstudio", name),
        base_url: format!("{base}/v1"),
        api: openai_completions::API,
        context_window: context,
        tools: None,
        images: member(model, "type") == Some("vlm"),
        reasoning: false,
        why: format!("found LM Studio at {base}, using {why}: {name}"),
    })
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn member<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Models that turn text into numbers cannot talk.
fn is_embedding(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["embed", "bge-", "minilm", "rerank"].iter().any(|piece| name.contains(piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::http::upstream::{Upstream, WATCHDOG};
    use std::net::TcpListener;

    fn closed() -> String {
        format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
    }

    fn json(body: &str) -> Vec<crate::agent::http::upstream::Step> {
        Upstream::answer("200 OK", "Content-Type: application/json\r\n", body)
    }

    fn looked(ollama: &str, llamacpp: &str, lmstudio: &str) -> Result<Found, ModelError> {
        let places =
            Places { ollama: ollama.into(), llamacpp: llamacpp.into(), lmstudio: lmstudio.into(), patience: WATCHDOG };
        look(&places, &Control::within(WATCHDOG))
    }

    #[test]
    fn ollamas_newest_model_with_tools_is_taken() {
        let upstream = Upstream::play(vec![
            json(r#"{"models":[{"name":"nomic-embed-text"},{"name":"new"},{"name":"llama3"}]}"#),
            json(r#"{"capabilities":["completion"]}"#),
            json(r#"{"capabilities":["completion","tools","vision"],"model_info":{"llama.context_length":131072}}"#),
        ]);
        let found = looked(&upstream.url, &closed(), &closed()).unwrap();
        assert_eq!((found.reference.to_string().as_str(), found.api), ("ollama/llama3", "ollama"));
        assert_eq!((found.tools, found.images), (Some(true), true));
        assert_eq!(found.context_window, Some(limits::MODEL_CONTEXT_LOCAL));
        assert!(found.why.contains("takes tools: llama3"), "{}", found.why);
        assert!(upstream.asked().head.starts_with("GET /api/tags"));
        assert!(upstream.asked().body.contains("\"new\""));
    }

    #[test]
    fn only_the_first_models_are_asked_for_what_they_can_do() {
        let names: Vec<Value> = (0..=limits::DISCOVERY_MODELS).map(|at| json!({"name": format!("m{at}")})).collect();
        let mut scripts = vec![json(&serde_json::to_string(&json!({"models": names})).unwrap())];
        scripts.extend((0..limits::DISCOVERY_MODELS).map(|_| json(r#"{"capabilities":["completion"]}"#)));
        scripts.push(json(r#"{"capabilities":["completion","tools"]}"#));
        let upstream = Upstream::play(scripts);
        let found = looked(&upstream.url, &closed(), &closed()).unwrap();
        assert_eq!((found.reference.model.as_str(), found.tools), ("m0", Some(false)));
    }

    #[test]
    fn a_server_that_says_too_much_or_nothing_is_none() {
        let mut list = r#"{"models":[{"name":"m"}]}"#.to_string();
        list.push_str(&" ".repeat(usize::try_from(limits::DISCOVERY_BYTES).unwrap() - list.len()));
        let fits = Upstream::play(vec![json(&list), json("{}")]);
        assert!(looked(&fits.url, &closed(), &closed()).is_ok());
        let too_long = Upstream::play(vec![json(&(list + " "))]);
        let error = looked(&too_long.url, &closed(), &closed()).unwrap_err();
        assert!(error.message.contains("not a model server"), "{error}");
        let silent = Upstream::play(vec![vec![crate::agent::http::upstream::Step::Hang]]);
        let places = Places { ollama: silent.url.clone(), llamacpp: closed(), lmstudio: closed(), ..Places::default() };
        let begun = std::time::Instant::now();
        let error = look(&places, &Control::within(WATCHDOG)).unwrap_err();
        assert!(error.message.contains("no answer in time"), "{error}");
        assert!(begun.elapsed() >= limits::DISCOVERY_ANSWER && begun.elapsed() < WATCHDOG / 2);
    }

    #[test]
    fn an_empty_ollama_gives_way_to_the_next_server() {
        let ollama = Upstream::play(vec![json(r#"{"models":[]}"#)]);
        let llama = Upstream::play(vec![
            json(r#"{"object":"list","data":[{"id":"qwen.gguf"}]}"#),
            json(r#"{"default_generation_settings":{"n_ctx":8192}}"#),
        ]);
        let found = looked(&ollama.url, &llama.url, &closed()).unwrap();
        assert_eq!((found.reference.to_string().as_str(), found.context_window), ("llamacpp/qwen.gguf", Some(8192)));
        assert_eq!(found.base_url, format!("{}/v1", llama.url));
    }

    #[test]
    fn lm_studio_offers_what_it_has_loaded() {
        let models = r#"{"data":[{"id":"text-embedding-x","type":"embeddings"},{"id":"a","type":"llm","state":"not-loaded"},{"id":"b","type":"vlm","state":"loaded","max_context_length":4096}]}"#;
        let studio = Upstream::play(vec![json(models)]);
        let found = looked(&closed(), &closed(), &studio.url).unwrap();
        assert_eq!((found.reference.model.as_str(), found.images, found.context_window), ("b", true, Some(4096)));
    }

    #[test]
    fn nothing_found_says_what_to_set() {
        let other = Upstream::play(vec![Upstream::answer("200 OK", "", "<html>some web page</html>")]);
        let error = looked(&closed(), &other.url, &closed()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotConfigured);
        for part in
            ["nothing listens there", "not a model server", "ANTHROPIC_API_KEY", "openclaw models set", "ollama pull"]
        {
            assert!(error.message.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn only_the_port_of_ollamas_variable_is_used() {
        let place = |host: &str| Places::of(&Env::of([("OLLAMA_HOST", host)])).ollama;
        assert_eq!(place("0.0.0.0:5555"), "http://127.0.0.1:5555");
        assert_eq!(place("http://10.0.0.9:777/"), "http://127.0.0.1:777");
        assert_eq!(place("10.0.0.9"), Places::default().ollama);
        let own = Places::of(&Env::of([("LLAMA_ARG_PORT", "81"), ("OPENCLAW_LMSTUDIO_PORT", "x")]));
        assert_eq!((own.llamacpp.as_str(), own.lmstudio), ("http://127.0.0.1:81", Places::default().lmstudio));
    }
}
