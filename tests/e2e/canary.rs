//! Secrets of a request are in no output of any kind.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::{body_of, wait_for_targets};
use crate::harness::plan::{Call, Client};
use crate::harness::scene::Scene;
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::path::{Path, PathBuf};

/// Every secret of the requests holds this.
const CANARY: &str = "SECRET-CANARY";

/// All forms in which the canary could be hidden: as it is, percent-encoded, in base64 at each of three offsets.
fn forms() -> Vec<Vec<u8>> {
    let mut forms = vec![
        CANARY.as_bytes().to_vec(),
        CANARY.replace('-', "%2D").into_bytes(),
    ];
    for shift in 0..3 {
        let shifted = [&b"xx"[..shift], CANARY.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&shifted);
        // The first and the last characters also depend on the neighbours.
        let first = (shift * 8).div_ceil(6);
        let last = shifted.len() * 8 / 6;
        forms.push(encoded.as_bytes()[first..last].to_vec());
    }
    forms
}

fn assert_clean(what: &str, bytes: &[u8]) {
    for form in forms() {
        if let Some(at) = memchr::memmem::find(bytes, &form) {
            let around = &bytes[at.saturating_sub(300)..(at + 100).min(bytes.len())];
            panic!(
                "{what} holds the canary: …{}…",
                String::from_utf8_lossy(around)
            );
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

/// The event store wrote its lines, so that what is said of stdout is said of them too.
fn assert_span_lines(level: &str, stdout: &str) {
    let is_span = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line)
            .is_ok_and(|line| line["span_id"].is_string() && line["kind"].is_string())
    };
    assert_eq!(stdout.lines().any(is_span), level != "none", "{stdout}");
}

#[test]
fn the_canary_is_found_in_every_form_it_could_have() {
    for prefix in ["", "a", "ab", "abc"] {
        let text = format!("{prefix}{CANARY}tail");
        let encoded = base64::engine::general_purpose::STANDARD.encode(&text);
        let hit = forms()
            .iter()
            .any(|form| memchr::memmem::find(encoded.as_bytes(), form).is_some());
        assert!(hit, "{encoded}");
    }
}

#[test]
fn credentials_cookies_and_tokens_of_the_query_are_in_no_output_with_readable_access_logs() {
    no_output_has_the_canary("full", "console");
}

#[test]
fn credentials_cookies_and_tokens_of_the_query_are_in_no_output_with_access_logs_as_json() {
    no_output_has_the_canary("full", "json");
}

#[test]
fn credentials_cookies_and_tokens_of_the_query_are_in_no_output_at_lower_levels() {
    for (level, format) in [
        ("headers", "console"),
        ("summary", "json"),
        ("none", "console"),
    ] {
        no_output_has_the_canary(level, format);
    }
}

/// Runs with every output on; `format` of the access logs, which show all at any `level` of the others.
fn no_output_has_the_canary(level: &str, format: &str) {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    // Its answers set a cookie, and its plain HTTP takes the other way through the kernel programs.
    let python = {
        let mut command = std::process::Command::new(servers::PYTHON);
        let port = crate::harness::free_port();
        command
            .arg(servers::program("server.py"))
            .args(["127.0.0.1", &port.to_string()])
            .env("TEST_COOKIE", format!("{CANARY}-of-the-answer"));
        let mut running =
            crate::harness::process::Running::start(&mut command, work.dir(), "cookie-server");
        running.wait_for_output("ready", std::time::Duration::from_secs(20));
        (running, format!("http://localhost:{port}"))
    };
    let payloads = work.folder("payloads");
    let config = Config::new(level)
        .stdout()
        .grpc(&sink.grpc_endpoint())
        .disk(&payloads)
        .access_logs("full", format);
    let agent = Agent::start(&work, &config.yaml());

    let secrets = |call: Call| {
        call.header("authorization", &format!("Bearer {CANARY}"))
            .header("proxy-authorization", &format!("Basic {CANARY}"))
            .header("cookie", &format!("sid={CANARY}2; theme=dark"))
            .header("x-api-key", &format!("{CANARY}3"))
            .header("x-session-id", &format!("{CANARY}4"))
            .header(
                "referer",
                &format!("https://example.test/?access_token={CANARY}5"),
            )
    };
    let encoded = CANARY.replace('-', "%2D");
    let query = format!(
        "access_token={CANARY}6&n=1&acc%65ss_token={CANARY}7&Password={CANARY}8&sid={encoded}9"
    );
    let calls = [
        secrets(Call::get(work.url_path(&format!("file/small.txt?{query}")))),
        secrets(Call::post(
            work.url_path(&format!("upload/canary?{query}")),
            b"harmless".to_vec(),
        )),
    ];
    Client::Curl.perform(&work, &nginx.base(), &[calls.to_vec()]);
    let cookie = secrets(Call::get(work.url_path("cookie/1")));
    let location = secrets(Call::get(work.url_path("location/1")));
    Client::Curl.perform(&work, &python.1, &[vec![cookie, location]]);

    // The targets come redacted, so that they are counted and not looked for.
    let of_this_test = |sink: &OtlpSink| {
        let prefix = work.url_path("");
        let targets = sink
            .spans()
            .into_iter()
            .filter_map(|span| crate::harness::seen::target(&span));
        targets.filter(|target| target.starts_with(&prefix)).count()
    };
    let limit = std::time::Duration::from_secs(20);
    if level == "none" {
        agent.wait_ledger("four calls on two sides", limit, |ledger| {
            ledger.seen() >= 8
        });
    } else {
        let arrived = sink.wait_for(
            |sink| of_this_test(sink) >= 8 && sink.logs().len() >= 8,
            limit,
        );
        assert!(
            arrived,
            "{} of 8 spans\n{}",
            of_this_test(&sink),
            agent.ledger()
        );
    }

    for page in ["/status", "/metrics", "/readyz", "/healthz"] {
        assert_clean(page, agent.page(page).as_bytes());
    }
    let outputs = agent.stop();
    assert!(
        !outputs.stdout.is_empty(),
        "the access log and the stdout store wrote nothing"
    );
    assert_span_lines(level, &outputs.stdout);
    assert!(!outputs.stderr.is_empty(), "a debug log is not empty");
    assert_clean("stdout", outputs.stdout.as_bytes());
    assert_clean("the debug log", outputs.stderr.as_bytes());
    assert_clean("OTLP", &sink.all_bytes());
    let stored = files(&payloads);
    assert_eq!(stored.len() >= 8, level != "none", "payloads: {stored:?}");
    for file in stored {
        let bytes = std::fs::read(&file).expect("read a payload");
        assert_clean(&file.display().to_string(), &bytes);
        if let Ok(document) = serde_json::from_slice::<serde_json::Value>(&bytes) {
            assert_clean("a stored request body", &body_of(&document["request"]));
        }
    }
    // It was there to be leaked: what is masked says so, and what is harmless stays.
    let all = match level {
        "none" => outputs.stdout.clone(),
        _ => String::from_utf8_lossy(&sink.all_bytes()).into_owned(),
    };
    assert!(all.contains("REDACTED"), "nothing says REDACTED");
    assert!(
        all.contains("n=1"),
        "the harmless part of the query is gone"
    );
    // The agent's own spans go there at any level.
    assert_eq!(level == "none", of_this_test(&sink) == 0);
}

#[test]
fn secrets_of_content_are_in_no_output_at_level_full() {
    no_output_has_secrets_of_content("full", "mask");
}

#[test]
fn secrets_of_content_are_in_no_output_at_lower_levels() {
    for level in ["headers", "summary", "none"] {
        no_output_has_secrets_of_content(level, "mask");
    }
}

#[test]
fn a_hashed_secret_is_the_same_wherever_it_stands() {
    let all = no_output_has_secrets_of_content("full", "hash");
    let tags: std::collections::BTreeMap<&str, usize> =
        all.match_indices("hmac:")
            .fold(Default::default(), |mut tags, (at, _)| {
                let tag = all.get(at..at + "hmac:01234567:0123456789abcdef".len());
                *tags.entry(tag.expect("a tag")).or_default() += 1;
                tags
            });
    // Cut ones differ; whole ones came often.
    let most = tags.values().max().copied().unwrap_or_default();
    assert!(most >= 5, "{tags:?}");
}

/// Bodies, messages and metadata of every kind hold the canary, whole requests and such as are cut at each byte.
/// Returns all text that left.
fn no_output_has_secrets_of_content(level: &str, mode: &str) -> String {
    use crate::harness::process::{Running, run_well};
    use std::process::Command;
    use std::time::Duration;
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let http = servers::python_plain(&work);
    let grpc = servers::grpc(&work);
    let python = crate::harness::venv("bin/python");
    let (socket, socket_port) = {
        let port = crate::harness::free_port();
        let mut command = Command::new(&python);
        command
            .arg(servers::program("websocket_server.py"))
            .args(["127.0.0.1", &port.to_string()])
            .arg(work.path("cert.pem"))
            .arg(work.path("key.pem"))
            .env("TEST_COMPRESSION", "deflate");
        let mut running = Running::start(&mut command, work.dir(), "compressed-sockets");
        running.wait_for_output("ready", Duration::from_secs(20));
        (running, port)
    };
    let payloads = work.folder("payloads");
    let yaml = Config::new(level)
        .stdout()
        .grpc(&sink.grpc_endpoint())
        .disk(&payloads)
        .access_logs("full", "json")
        .yaml();
    let mut config: serde_json::Value = serde_yaml::from_str(&yaml).expect("own configuration");
    config["stacks"]["all"]["plugins"][0]["config"]["bodies"] =
        serde_json::json!({"as_sent": true});
    config["stacks"]["all"]["plugins"][0]["config"]["redact"] = serde_json::json!({
        "hash_key": {"type": "text", "value": "a key that is long enough"},
        "rules": [
            {"in": "json", "key": "private.name", "mode": mode},
            {"in": "body", "match": "regex", "key": "pin=([^\\s&]+)", "mode": mode},
        ],
    });
    let agent = Agent::start(&work, &serde_yaml::to_string(&config).expect("YAML"));
    let limit = Duration::from_secs(90);

    let message = format!("Bearer {CANARY}-of-a-message");
    let mut client = Command::new(servers::PYTHON);
    client
        .arg(servers::program("grpc_client.py"))
        .arg(format!("localhost:{}", grpc.port))
        .arg(work.path("cert.pem"))
        .env("TEST_MESSAGE", &message);
    run_well(&mut client, work.dir(), "grpc_client", limit);
    let mut client = Command::new(&python);
    client
        .arg(servers::program("websocket_client.py"))
        .arg(format!(
            "wss://localhost:{socket_port}{}",
            work.url_path("socket")
        ))
        .arg(work.path("cert.pem"))
        .env("TEST_MESSAGE", &message);
    run_well(&mut client, work.dir(), "websocket_client", limit);
    let mut client = Command::new(servers::PYTHON);
    client
        .arg(servers::program("secrets_client.py"))
        .args(["127.0.0.1", &http.port.to_string()])
        .arg(work.url_path(""))
        .arg(format!("{CANARY}-of-a-body"));
    run_well(&mut client, work.dir(), "secrets_client", limit);
    let last = Call::post(work.url_path("last/x"), b"done".to_vec());
    if level == "none" {
        // What is still on its way is drained when the agent stops.
        agent.wait_ledger("calls and uploads", limit, |ledger| ledger.seen() >= 20);
    } else {
        wait_for_targets(&agent, &sink, std::slice::from_ref(&last), 2);
    }

    let status = agent.page("/status");
    for page in ["/status", "/metrics"] {
        assert_clean(page, agent.page(page).as_bytes());
    }
    drop(socket);
    let outputs = agent.stop();
    assert_span_lines(level, &outputs.stdout);
    assert_clean("stdout", outputs.stdout.as_bytes());
    assert_clean("the debug log", outputs.stderr.as_bytes());
    assert_clean("OTLP", &sink.all_bytes());
    let mut all = outputs.stdout.clone();
    for file in files(&payloads) {
        let bytes = std::fs::read(&file).expect("read a payload");
        assert_clean(&file.display().to_string(), &bytes);
        let document: serde_json::Value = match serde_json::from_slice(&bytes) {
            Ok(document) => document,
            Err(_) => continue,
        };
        all.push_str(&String::from_utf8_lossy(&bytes));
        for message in ["request", "response"] {
            if document[message].get("body").is_some() {
                let body = body_of(&document[message]);
                assert_clean("a stored body", &body);
                all.push_str(&String::from_utf8_lossy(&body));
            }
        }
    }
    if level == "full" {
        // They were there to be leaked, and what was done is counted.
        for matcher in [
            "body/bearer-token",
            "body/card-number",
            "body/unreadable",
            "private.name",
        ] {
            assert!(
                status.contains(&format!("\"{matcher}\"")),
                "{matcher}: {status}"
            );
        }
        assert!(all.contains("Bearer REDACTED"), "no message is masked");
    }
    all
}

#[test]
fn a_rule_that_keeps_a_header_keeps_that_one_and_no_other() {
    let _turn = turn();
    let shown = serde_json::json!({"rules": [{"name": "shown", "in": "header", "match": "exact", "key": "x-api-key", "mode": "keep"}]});
    let scene = Scene::with(servers::nginx, |_, sink, _| {
        Config::new("headers")
            .grpc(&sink.grpc_endpoint())
            .capture("redact", shown)
    });
    let call = Call::get(scene.work.url_path("get/keep"))
        .header("x-api-key", "key-that-may-be-shown")
        .header("x-auth-token", CANARY);
    scene.perform(Client::Curl, std::slice::from_ref(&call));
    scene.wait_for(std::slice::from_ref(&call), 2);
    scene.agent.stop();
    let seen = Seen::of(&scene.sink);
    let pair = seen.pair(&call.target);
    for span in [pair.client, pair.server] {
        let lines = |name: &str| {
            crate::harness::seen::header(span.attr(&format!("http.request.header.{name}")))
        };
        assert_eq!(lines("x-api-key"), ["key-that-may-be-shown"]);
        assert_eq!(lines("x-auth-token"), ["REDACTED"]);
    }
    assert_clean("OTLP", &scene.sink.all_bytes());
}
