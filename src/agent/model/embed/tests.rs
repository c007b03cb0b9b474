//! Embeddings against scripted servers: forms, order, batches, choice of provider and keys, and every way to fail.

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::agent::http::upstream::{Asked, Step, Upstream, WATCHDOG};
use crate::agent::model::keys::Noted;

/// Time stands still, and pauses are over at once.
struct Still(Vec<Duration>);

impl World for Still {
    fn now_ms(&self) -> u64 {
        1_000
    }

    fn chance(&mut self) -> f64 {
        0.0
    }

    fn pause(&mut self, time: Duration, control: &Control) -> Pause {
        self.0.push(time);
        control.stopped().map_or(Pause::Over, Pause::Stopped)
    }
}

fn ground(config: Value, env: &[(&str, &str)], ollama: &str) -> Ground {
    Ground {
        config: Arc::new(Config::from_value(config)),
        env: Arc::new(Env::of(env.iter().copied())),
        profiles: AuthProfiles::default(),
        http: Settings::default(),
        places: Places { ollama: ollama.to_string(), patience: WATCHDOG, ..Places::default() },
        cooldowns: Cooldowns::default(),
    }
}

/// A configuration that asks a server in the form of a provider.
fn search(provider: &str, url: &str) -> Value {
    json!({"memory": {"search": {"provider": provider, "model": "m", "remote": {"baseUrl": url, "apiKey": "key-canary"}}}})
}

fn ask(texts: &[&str]) -> Ask {
    Ask { agent: "main".into(), texts: texts.iter().map(|text| (*text).to_string()).collect(), ..Ask::default() }
}

fn run(ask: &Ask, ground: &Ground) -> Result<Embedded, Refusal> {
    embed(ask, ground, &Control::within(WATCHDOG), &mut Still(Vec::new()), &mut Vec::new())
}

fn json(body: &str) -> Vec<Step> {
    Upstream::answer("200 OK", "Content-Type: application/json\r\n", body)
}

fn body(asked: &Asked) -> Value {
    serde_json::from_str(&asked.body).unwrap()
}

fn rows(embedded: &Embedded) -> Vec<Vec<f32>> {
    embedded.vectors.rows().map(<[f32]>::to_vec).collect()
}

/// The error of a server that plays these scripts.
fn fails(scripts: Vec<Vec<Step>>, ask: &Ask) -> ModelError {
    let upstream = Upstream::play(scripts);
    match run(ask, &ground(search("openai-compatible", &upstream.url), &[], "http://127.0.0.1:1")) {
        Err(Refusal::Model(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn vectors_come_back_in_the_order_of_the_texts() {
    let answer = r#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1,2.5]}],"usage":{"prompt_tokens":7,"total_tokens":9}}"#;
    let upstream = Upstream::play(vec![json(answer)]);
    let ground = ground(search("openai-compatible", &format!("{}/v1/", upstream.url)), &[], "");
    let embedded = run(&Ask { dimensions: Some(2), ..ask(&["a", "b"]) }, &ground).unwrap();
    assert_eq!(rows(&embedded), [[1.0, 2.5], [3.0, 4.0]]);
    assert_eq!((embedded.tokens, embedded.reference.to_string().as_str()), (7, "openai-compatible/m"));
    let asked = upstream.asked();
    assert!(asked.head.starts_with("POST /v1/embeddings "), "{}", asked.head);
    assert!(asked.head.contains("authorization: Bearer key-canary"), "{}", asked.head);
    assert_eq!(body(&asked), json!({"model": "m", "input": ["a", "b"], "dimensions": 2}));
}

#[test]
fn base64_and_answers_without_index_are_understood() {
    let upstream = Upstream::play(vec![json(r#"{"data":[{"embedding":"AACAPwAAAL8="},{"embedding":[0.5,1]}]}"#)]);
    let embedded = run(&ask(&["a", "b"]), &ground(search("openai-compatible", &upstream.url), &[], "")).unwrap();
    assert_eq!((rows(&embedded), embedded.tokens), (vec![vec![1.0, -0.5], vec![0.5, 1.0]], 0));
}

#[test]
fn ollama_is_asked_in_its_own_form_and_may_not_cut_texts() {
    let upstream = Upstream::play(vec![json(r#"{"model":"m","embeddings":[[1,2],[3,4]],"prompt_eval_count":5}"#)]);
    let ground = ground(search("ollama", &format!("{}/v1", upstream.url)), &[], "");
    let embedded = run(&ask(&["a", "b"]), &ground).unwrap();
    assert_eq!((rows(&embedded), embedded.tokens), (vec![vec![1.0, 2.0], vec![3.0, 4.0]], 5));
    let asked = upstream.asked();
    assert!(asked.head.starts_with("POST /api/embed "), "{}", asked.head);
    assert_eq!(body(&asked), json!({"model": "m", "input": ["a", "b"], "truncate": false}));
}

#[test]
fn many_texts_go_out_in_batches_and_their_tokens_are_added() {
    let texts: Vec<String> = (0..limits::EMBED_BATCH + 1).map(|n| n.to_string()).collect();
    let row = |n: usize| format!(r#"{{"index":{n},"embedding":[{n},1]}}"#);
    let first: Vec<String> = (0..limits::EMBED_BATCH).map(row).collect();
    let answer = |rows: &str| json(&format!(r#"{{"data":[{rows}],"usage":{{"total_tokens":3}}}}"#));
    let upstream = Upstream::play(vec![answer(&first.join(",")), answer(&row(0))]);
    let ask = Ask { texts, ..ask(&[]) };
    let embedded = run(&ask, &ground(search("openai-compatible", &upstream.url), &[], "")).unwrap();
    assert_eq!((embedded.vectors.rows().count(), embedded.tokens), (limits::EMBED_BATCH + 1, 6));
    assert_eq!(body(&upstream.asked())["input"].as_array().unwrap().len(), limits::EMBED_BATCH);
    assert_eq!(body(&upstream.asked())["input"], json!([limits::EMBED_BATCH.to_string()]));
}

#[test]
fn a_batch_is_bounded_in_bytes_and_never_empty() {
    let sizes = |texts: &[usize]| -> Vec<usize> {
        let texts: Vec<String> = texts.iter().map(|size| "x".repeat(*size)).collect();
        batches(&texts).map(<[String]>::len).collect()
    };
    let half = limits::EMBED_BATCH_BYTES / 2;
    assert_eq!(sizes(&[half, half, 1]), [2, 1]);
    assert_eq!(sizes(&[half + 1, half, 1]), [1, 2]);
    assert_eq!(sizes(&[limits::EMBED_BATCH_BYTES * 2, 1]), [1, 1]);
    assert_eq!(sizes(&[]), [0_usize; 0]);
}

#[test]
fn what_a_server_gets_wrong_is_told() {
    let rows: [(&str, &str); 11] = [
        (r#"{"data":[{"index":0,"embedding":[1]}]}"#, "1 vectors for 2 texts"),
        (r#"{"data":[{"embedding":[1]},{"embedding":[1]},{"embedding":[1]}]}"#, "3 vectors for 2 texts"),
        (r#"{"data":[{"embedding":[1]},{"embedding":[1,2]}]}"#, "differ in length (1 and 2)"),
        (r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}"#, "do not count from 0"),
        (r#"{"data":[{"index":1,"embedding":[1]},{"index":2,"embedding":[2]}]}"#, "do not count from 0"),
        (r#"{"data":[{"embedding":[1,"x"]},{"embedding":[2,1]}]}"#, "neither a list of numbers nor base64"),
        (r#"{"data":[{"embedding":"AAA="},{"embedding":"AAA="}]}"#, "neither a list of numbers nor base64"),
        (r#"{"data":[{"embedding":[1e39]},{"embedding":[1]}]}"#, "empty or not finite"),
        (r#"{"data":[{"embedding":[]},{"embedding":[]}]}"#, "empty or not finite"),
        (r#"{"data":"#, "malformed JSON"),
        (r#"{"object":"list"}"#, "no list `data`"),
    ];
    for (answer, text) in rows {
        let error = fails(vec![json(answer)], &ask(&["a", "b"]));
        assert_eq!(error.kind, ErrorKind::Protocol, "{answer}");
        assert!(error.message.contains(text), "{answer}: {error}");
    }
    let long = vec!["1"; limits::EMBED_DIMENSIONS + 1].join(",");
    let error = fails(vec![json(&format!(r#"{{"data":[{{"embedding":[{long}]}}]}}"#))], &ask(&["a"]));
    assert!(error.message.contains("8193 numbers, at most 8192"), "{error}");
    let html = Upstream::answer("200 OK", "Content-Type: text/html\r\n", "<html>");
    assert!(fails(vec![html], &ask(&["a"])).message.contains("look at baseUrl"));
}

#[test]
fn a_length_that_was_asked_for_and_not_given_is_an_error() {
    let asked = Ask { dimensions: Some(2), ..ask(&["a"]) };
    let error = fails(vec![json(r#"{"data":[{"embedding":[1,2,3]}]}"#)], &asked);
    assert!(error.message.contains("3 numbers where 2 were asked for"), "{error}");
}

#[test]
fn batches_of_different_length_are_an_error() {
    let texts = (0..limits::EMBED_BATCH + 1).map(|n| n.to_string()).collect();
    let first = vec![r#"{"embedding":[1]}"#; limits::EMBED_BATCH].join(",");
    let second = r#"{"data":[{"embedding":[1,2]}]}"#;
    let error = fails(vec![json(&format!(r#"{{"data":[{first}]}}"#)), json(second)], &Ask { texts, ..ask(&[]) });
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(error.message.contains("from one call to the next"), "{error}");
}

#[test]
fn refusals_of_the_server_are_typed_and_keep_the_key_to_themselves() {
    let say = |status: &str, body: &str| Upstream::answer(status, "Content-Type: application/json\r\n", body);
    let error = fails(vec![say("401 No", r#"{"error":{"message":"bad key key-canary"}}"#)], &ask(&["a"]));
    assert_eq!((error.kind, error.status), (ErrorKind::Auth, Some(401)));
    assert!(!error.message.contains("canary"), "{error}");
    let missing = r#"{"error":"model \"m\" not found, try pulling it first"}"#;
    assert_eq!(fails(vec![say("404 No", missing)], &ask(&["a"])).kind, ErrorKind::NotFound);
    let long = r#"{"error":"the input length exceeds the context length"}"#;
    assert_eq!(fails(vec![say("400 No", long)], &ask(&["a"])).kind, ErrorKind::ContextOverflow);
    let inside = fails(vec![json(r#"{"error":{"message":"no","code":402}}"#)], &ask(&["a"]));
    assert_eq!((inside.kind, inside.status), (ErrorKind::Billing, Some(402)));
    // what passes is tried three times
    let slow = || say("429 Slow", r#"{"error":{"message":"slow down"}}"#);
    let error = fails(vec![slow(), slow(), slow()], &ask(&["a"]));
    assert_eq!((error.kind, error.status), (ErrorKind::RateLimit, Some(429)));
    let broken = || say("500 Broken", "oops");
    assert_eq!(fails(vec![broken(), broken(), broken()], &ask(&["a"])).kind, ErrorKind::Server);
    let cut = || vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"data\":".to_vec())];
    assert_eq!(fails(vec![cut(), cut(), cut()], &ask(&["a"])).kind, ErrorKind::Network);
}

#[test]
fn a_passing_trouble_is_waited_for_and_what_it_teaches_is_kept() {
    let upstream = Upstream::play(vec![
        Upstream::answer("503 Busy", "Retry-After: 2\r\n", ""),
        json(r#"{"data":[{"embedding":[1]}]}"#),
    ]);
    let (mut world, mut changes) = (Still(Vec::new()), Vec::new());
    let ground = ground(search("openai-compatible", &upstream.url), &[], "");
    embed(&ask(&["a"]), &ground, &Control::within(WATCHDOG), &mut world, &mut changes).unwrap();
    assert_eq!(world.0, [Duration::from_secs(2)]);
    assert_eq!(changes, [Change { account: "openai-compatible".into(), noted: Noted::Used }]);
}

#[test]
fn a_pause_longer_than_the_time_left_ends_the_request_with_its_reason() {
    let upstream = Upstream::play(vec![Upstream::answer("429 Slow", "Retry-After: 59\r\n", "")]);
    let ground = ground(search("openai-compatible", &upstream.url), &[], "");
    let mut world = Still(Vec::new());
    let error = embed(&ask(&["a"]), &ground, &Control::within(WATCHDOG), &mut world, &mut Vec::new()).unwrap_err();
    let Refusal::Model(error) = error else { panic!("{error:?}") };
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimit, Some(Duration::from_secs(59))));
    assert!(world.0.is_empty());
}

#[test]
fn a_server_that_says_nothing_is_left_when_the_time_is_over_or_the_client_goes() {
    let upstream = Upstream::play(vec![vec![Step::Hang], vec![Step::Hang]]);
    let ground = ground(search("openai-compatible", &upstream.url), &[], "");
    let short = Control::within(Duration::from_millis(50));
    let kind = |control: &Control| match embed(&ask(&["a"]), &ground, control, &mut Still(Vec::new()), &mut Vec::new())
    {
        Err(Refusal::Model(error)) => error.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(&short), ErrorKind::Timeout);
    let control = Control::within(WATCHDOG);
    let theirs = control.clone();
    let asked = upstream.asked();
    assert!(asked.head.starts_with("POST"));
    let stopper = std::thread::spawn(move || {
        upstream.asked();
        theirs.cancel(AbortReason::Gone);
        upstream
    });
    assert_eq!(kind(&control), ErrorKind::Aborted);
    stopper.join().unwrap().left.recv_timeout(WATCHDOG).unwrap();
}

#[test]
fn the_nearest_section_wins_member_by_member() {
    let upstream = Upstream::play(vec![json(r#"{"data":[{"embedding":[1]}]}"#)]);
    let config = json!({
        "agents": {
            "defaults": {"memorySearch": {"provider": "voyage", "model": "openai-compatible/old", "inputType": "document"}},
            "list": [{"id": "ops", "memory": {"search": {"provider": "openai-compatible"}}}],
        },
        "memory": {"search": {"remote": {"baseUrl": upstream.url, "headers": {"X-Team": "t"}}, "outputDimensionality": 1}},
    });
    let asked = Ask { agent: "ops".into(), ..ask(&["a"]) };
    let embedded = run(&asked, &ground(config, &[("OPENAI_API_KEY", "k"), ("VOYAGE_API_KEY", "v")], "")).unwrap();
    assert_eq!(embedded.reference.to_string(), "openai-compatible/old");
    let asked = upstream.asked();
    assert!(asked.head.contains("x-team: t") && !asked.head.contains("authorization"), "{}", asked.head);
    assert_eq!(body(&asked), json!({"model": "old", "input": ["a"], "dimensions": 1, "input_type": "document"}));
}

#[test]
fn a_providers_key_and_headers_go_to_its_own_server_only() {
    let data = r#"{"data":[{"embedding":[1]}]}"#;
    let upstream = Upstream::play(vec![json(data), json(data)]);
    let provider = json!({"mine": {"baseUrl": upstream.url, "apiKey": "key-canary", "headers": {"x-own": "1"}}});
    let config = |remote: &str| json!({"models": {"providers": provider}, "memory": {"search": {"provider": "Mine", "model": "mine/org/m", "remote": {"baseUrl": remote}}}});
    run(&ask(&["a"]), &ground(config(&upstream.url), &[], "")).unwrap();
    let asked = upstream.asked();
    assert!(asked.head.contains("Bearer key-canary") && asked.head.contains("x-own"), "{}", asked.head);
    assert_eq!(body(&asked)["model"], "org/m");
    run(&ask(&["a"]), &ground(config(&format!("{}/other", upstream.url)), &[], "")).unwrap();
    let asked = upstream.asked();
    assert!(!asked.head.contains("canary") && !asked.head.contains("x-own"), "{}", asked.head);
}

#[test]
fn a_key_may_stand_in_a_variable_and_an_unset_one_is_told() {
    let upstream = Upstream::play(vec![json(r#"{"data":[{"embedding":[1]}]}"#)]);
    let config = |key: Value| json!({"memory": {"search": {"provider": "x", "model": "m", "remote": {"baseUrl": upstream.url, "apiKey": key}}}});
    run(&ask(&["a"]), &ground(config(json!({"source": "env", "id": "MY_KEY"})), &[("MY_KEY", "abc")], "")).unwrap();
    assert!(upstream.asked().head.contains("Bearer abc"));
    let Err(Refusal::Model(error)) = run(&ask(&["a"]), &ground(config(json!("NOT_SET")), &[], "")) else { panic!() };
    assert!(error.kind == ErrorKind::NotConfigured && error.message.contains("not set"), "{error}");
}

#[test]
fn voyage_names_the_length_otherwise() {
    let upstream = Upstream::play(vec![json(r#"{"data":[{"embedding":[1]}]}"#)]);
    let asked = Ask { dimensions: Some(1), ..ask(&["a"]) };
    let provider = json!({"models": {"providers": {"voyage": {"baseUrl": upstream.url}}}, "memory": {"search": {"provider": "voyage"}}});
    run(&asked, &ground(provider, &[("VOYAGE_API_KEY", "v")], "")).unwrap();
    assert_eq!(body(&upstream.asked()), json!({"model": "voyage-4-large", "input": ["a"], "output_dimension": 1}));
}

#[test]
fn another_model_must_be_the_same_providers() {
    let data = r#"{"data":[{"embedding":[1]}]}"#;
    let upstream = Upstream::play(vec![json(data), json(data)]);
    let ground = ground(search("openai-compatible", &upstream.url), &[], "");
    let with = |model: &str| Ask { model: Some(model.to_string()), ..ask(&["a"]) };
    run(&with("OpenAI-compatible/big"), &ground).unwrap();
    assert_eq!(body(&upstream.asked())["model"], "big");
    run(&with("small"), &ground).unwrap();
    assert_eq!(body(&upstream.asked())["model"], "small");
    let Err(Refusal::Request(text)) = run(&with("openai/x"), &ground) else { panic!() };
    assert_eq!(text, "This agent does not allow that embedding provider on `/v1/embeddings`.");
    let Err(Refusal::Request(text)) = run(&with("openai-compatible/"), &ground) else { panic!() };
    assert_eq!(text, "Unsupported embedding model reference.");
}

#[test]
fn without_settings_a_local_ollama_serves() {
    let tags = r#"{"models":[{"name":"llama3"},{"name":"bge-reranker"},{"name":"mxbai-embed-large"}]}"#;
    let upstream = Upstream::play(vec![json(tags), json(r#"{"embeddings":[[1]]}"#)]);
    let embedded = run(&ask(&["a"]), &ground(json!({}), &[], &upstream.url)).unwrap();
    assert_eq!(embedded.reference.to_string(), "ollama/mxbai-embed-large");
    assert!(upstream.asked().head.starts_with("GET /api/tags"));
    assert_eq!(body(&upstream.asked())["model"], "mxbai-embed-large");
}

#[test]
fn what_is_missing_is_said_with_the_names_to_set() {
    let says = |config: Value, texts: &[&str]| {
        let Err(Refusal::Model(error)) = run(&ask(&["a"]), &ground(config, &[], "http://127.0.0.1:1")) else {
            panic!()
        };
        assert!(texts.iter().all(|text| error.message.contains(text)), "{error}");
        error.kind
    };
    let search = |settings: Value| json!({"memory": {"search": settings}});
    let nothing = ["memory.search.provider", "OPENAI_API_KEY", "Ollama"];
    assert_eq!(says(json!({}), &nothing), ErrorKind::NotConfigured);
    assert_eq!(says(search(json!({"provider": "auto"})), &nothing), ErrorKind::NotConfigured);
    assert_eq!(says(search(json!({"provider": "openai"})), &["OPENAI_API_KEY"]), ErrorKind::Auth);
    says(search(json!({"provider": "none"})), &["switched off"]);
    says(search(json!({"provider": "local"})), &["runs no embedding model itself", "ollama"]);
    says(search(json!({"provider": "openai-compatible"})), &["memory.search.remote.baseUrl"]);
    says(search(json!({"provider": "anthropic"})), &["anthropic has no embedding models"]);
    says(search(json!({"provider": "nowhere"})), &["models.providers.nowhere.baseUrl"]);
    let nameless = json!({"provider": "openai-compatible", "remote": {"baseUrl": "http://127.0.0.1:1"}});
    says(search(nameless), &["Set memory.search.model"]);
}

#[test]
fn a_fallback_takes_the_place_of_a_provider_that_cannot_be_asked_at_all() {
    let upstream = Upstream::play(vec![json(r#"{"embeddings":[[1]]}"#)]);
    let config = json!({"memory": {"search": {"provider": "openai", "model": "x", "fallback": "ollama"}}});
    let embedded = run(&ask(&["a"]), &ground(config.clone(), &[], &upstream.url)).unwrap();
    assert_eq!(embedded.reference.to_string(), "ollama/nomic-embed-text");
    // a caller who names a model wants no other
    let named = Ask { model: Some("openai/x".into()), ..ask(&["a"]) };
    let Err(Refusal::Model(error)) = run(&named, &ground(config, &[], &upstream.url)) else { panic!() };
    assert_eq!(error.kind, ErrorKind::Auth);
}

#[test]
fn the_next_account_is_tried_and_the_one_without_rights_pauses() {
    let upstream = Upstream::play(vec![Upstream::answer("401 No", "", ""), json(r#"{"data":[{"embedding":[1]}]}"#)]);
    let file = json!({"profiles": {
        "p:a": {"type": "api_key", "provider": "p", "key": "one"}, "p:b": {"type": "api_key", "provider": "p", "key": "two"},
    }});
    let config = json!({"models": {"providers": {"p": {"baseUrl": upstream.url}}}, "memory": {"search": {"provider": "p", "model": "m"}}});
    let profiles = AuthProfiles::parse(file.to_string().as_bytes()).unwrap();
    let ground = Ground { profiles, ..ground(config, &[], "") };
    let mut changes = Vec::new();
    embed(&ask(&["a"]), &ground, &Control::within(WATCHDOG), &mut Still(Vec::new()), &mut changes).unwrap();
    assert!(upstream.asked().head.contains("Bearer one") && upstream.asked().head.contains("Bearer two"));
    assert!(matches!(changes[0].noted, Noted::CoolsUntil(_)) && changes[1].noted == Noted::Used);
}
