//! The live page, asked by curl and shown by Chromium.

use super::{CANARY, SOON, Stage};
use crate::harness::process::{Output, Running, run};
use crate::harness::{repository, turn, wait_until};
use serde_json::{Value, json};
use std::process::Command;

impl Stage {
    /// curl to the page: status code and body on stdout.
    fn ask(&self, path: &str, options: &[&str]) -> (u16, String) {
        let mut command = Command::new("curl");
        command.args(["-q", "-s", "-S", "--max-time", "10", "-w", "\n%{http_code}"]);
        command
            .args(options)
            .arg(format!("http://127.0.0.1:{}{path}", self.port));
        let Output { stdout, stderr, .. } = run(&mut command, self.work.dir(), "curl-page", SOON);
        let (body, code) = stdout
            .rsplit_once('\n')
            .unwrap_or_else(|| panic!("{stderr}"));
        (code.parse().expect("a status"), body.to_owned())
    }

    /// A curl that reads events.
    fn events(&self, name: &str, filter: &str) -> Running {
        let bearer = format!("authorization: Bearer {}", self.token());
        let watch = json!({"version": 1, "filter": filter, "recent": true}).to_string();
        let mut command = Command::new("curl");
        command.args([
            "-q",
            "-s",
            "-S",
            "-N",
            "-H",
            &bearer,
            "--data-binary",
            &watch,
        ]);
        command.arg(format!("http://127.0.0.1:{}/api/transactions", self.port));
        let running = Running::start(&mut command, self.work.dir(), name);
        let hello = || running.stdout().contains("event: hello").then_some(());
        wait_until(SOON, "hello of the page", hello, || running.outputs());
        running
    }
}

/// The transactions of a stream of events.
fn transactions(events: &str) -> Vec<Value> {
    let blocks = events
        .split("\n\n")
        .filter(|block| block.starts_with("event: transaction\n"));
    let data = blocks.filter_map(|block| block.lines().nth(1)?.strip_prefix("data: "));
    data.filter_map(|json| serde_json::from_str(json).ok())
        .collect()
}

#[test]
fn the_page_shows_nothing_captured_to_who_has_no_token_is_elsewhere_or_is_another_page() {
    let _turn = turn();
    let stage = Stage::new("full");
    let token = stage.token();
    let bearer = format!("authorization: Bearer {token}");
    let watch = ["-X", "POST", "--data-binary", "{\"version\":1}"];
    for (path, options) in [("/api/status", &[][..]), ("/api/transactions", &watch)] {
        assert_eq!(stage.ask(path, options).0, 401, "{path}");
        let with = |more: &[&str]| stage.ask(path, &[options, more].concat()).0;
        assert_eq!(with(&["-H", "authorization: Bearer wrong"]), 401);
        assert_eq!(with(&["-H", &bearer, "-H", "host: evil.example"]), 403);
        assert_eq!(
            with(&["-H", &bearer, "-H", "origin: http://evil.example"]),
            403
        );
        assert_eq!(
            with(&["-H", &bearer, "-H", "sec-fetch-site: cross-site"]),
            403
        );
        let target = format!("{path}?token={token}");
        let (code, said) = stage.ask(&target, options);
        assert_eq!(code, 400, "{said}");
        assert!(said.contains("query"), "{said}");
    }
    assert_eq!(stage.ask("/", &["-H", "host: evil.example"]).0, 403);
    let (code, page) = stage.ask("/", &["-D", "-"]);
    assert_eq!(code, 200);
    for wanted in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(page.to_lowercase().contains(wanted), "no {wanted}\n{page}");
    }
    let (code, status) = stage.ask("/api/status", &["-H", &bearer]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!((code, &status["ready"]), (200, &Value::Bool(true)));
    assert!(
        status["ledger"]["transactions"].is_object() && status["verdicts"]["processes"].is_array()
    );
    let wrong = [
        &watch[..3],
        &[
            "{\"version\":1,\"filter\":\"http.res.status >\"}",
            "-H",
            &bearer,
        ],
    ]
    .concat();
    let (code, refused) = stage.ask("/api/transactions", &wrong);
    let refused: Value = serde_json::from_str(&refused).expect("JSON");
    assert_eq!((code, &refused["column"]), (422, &json!(18)));

    // Who looks is not looked at: the agent's own page is no traffic of the host.
    let own = stage.events(
        "own",
        &format!("http.req.host == \"127.0.0.1:{}\"", stage.port),
    );
    let events = stage.events("events", &stage.filter());
    for index in 0..10 {
        stage.curl(&format!("unique/{index}?token={CANARY}"), &[]);
    }
    let told = wait_until(
        SOON,
        "event of each end of each request",
        || Some(transactions(&events.stdout())).filter(|told| told.len() >= 20),
        || events.outputs(),
    );
    assert_eq!(told.len(), 20);
    assert!(!events.stdout().contains(CANARY), "{}", events.stdout());
    assert_eq!(stage.ask("/api/status", &["-H", &bearer]).0, 200);
    let token = stage.token();
    assert!(
        !stage.agent.page("/status").contains(&token)
            && !stage.agent.page("/metrics").contains(&token)
    );
    stage.agent.stop();
    wait_until(
        SOON,
        "end of the events",
        || events.stdout().contains("event: end").then_some(()),
        || events.outputs(),
    );
    assert_eq!(transactions(&own.stdout()).len(), 0, "{}", own.outputs());
}

#[test]
fn chromium_shows_each_transaction_as_text_filters_and_draws_the_trace() {
    let _turn = turn();
    let stage = Stage::new("full");
    let pictures = match std::env::var_os("PLAINSPAN_TEST_PICTURES") {
        Some(_) => repository("docs/images"),
        None => stage.work.folder("pictures"),
    };
    let modules = std::env::var_os("PLAINSPAN_TEST_NODE")
        .map_or_else(|| repository("target/test-node"), Into::into)
        .join("node_modules");
    let mut command = Command::new("node");
    command
        .arg(repository("tests/programs/live_page.js"))
        .arg(modules);
    command.arg(format!(
        "http://127.0.0.1:{}/#token={}",
        stage.port,
        stage.token()
    ));
    command
        .arg(stage.filter())
        .arg(&pictures)
        .arg(stage.work.path("go"))
        .arg(stage.work.url_path(""));
    let mut browser = Running::start(&mut command, stage.work.dir(), "chromium");
    let ready = || browser.stdout().contains("ready\n").then_some(());
    wait_until(3 * SOON, "page that listens", ready, || browser.outputs());
    for rest in [
        "unique/basket",
        "unique/checkout",
        "status/503",
        "status/404",
        "markup",
        "unique/search",
    ] {
        stage.curl(&format!("{rest}?token={CANARY}"), &["-H", "x-user: anna"]);
    }
    std::fs::write(stage.work.path("go"), "").expect("tell the browser");
    let code = browser.wait(3 * SOON).code();
    assert_eq!(code, Some(0), "{}", browser.outputs());
    let said = browser.stdout();
    let said: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(said["rows"], 12, "{said:#}");
    assert_eq!(said["failed_rows"], 2, "{said:#}");
    assert_eq!(said["title"], "Plainspan live", "markup was run: {said:#}");
    assert_eq!(
        (&said["scripts"], &said["images"]),
        (&json!(2), &json!(0)),
        "{said:#}"
    );
    assert_eq!(said["violations"], json!([]), "{said:#}");
    assert_eq!(said["errors"], json!([]), "{said:#}");
    assert_eq!(
        said["fall"], 2,
        "both ends of a request are one trace: {said:#}"
    );
    assert_eq!(
        (&said["address"], &said["leaks"]),
        (
            &json!(format!("http://127.0.0.1:{}/", stage.port)),
            &json!(false)
        ),
        "{said:#}"
    );
    let detail = said["detail"].as_str().expect("text");
    for wanted in [
        "x-markup",
        "<img src=x onerror=\"document.title=1\">",
        "<script>document.title=2</script>",
        "REDACTED",
        "file://",
    ] {
        assert!(detail.contains(wanted), "no {wanted}: {detail}");
    }
    let agent = said["agent"].as_str().expect("text");
    assert!(
        agent.contains("transactions.seen") && agent.contains("nginx"),
        "{agent}"
    );
    assert!(
        said["fault"]
            .as_str()
            .is_some_and(|fault| fault.contains("column 1:")),
        "{said:#}"
    );
    assert!(said["unlabelled"] == json!([]), "{said:#}");
    for (name, at_least) in [("live-light.png", 10_000), ("live-dark.png", 10_000)] {
        let picture = std::fs::read(pictures.join(name)).expect("a picture");
        assert!(
            picture.starts_with(b"\x89PNG") && picture.len() > at_least,
            "{name}: {} bytes",
            picture.len()
        );
    }
    assert!(!browser.outputs().contains(CANARY));
    stage.agent.ledger().assert_nothing_lost();
}
