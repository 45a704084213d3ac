//! A collector that is not there: what happened meanwhile arrives, or is counted by reason. The books always balance.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::ledger::Ledger;
use crate::harness::plan::{Call, Client};
use crate::harness::scene::Scene;
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::work::Work;
use crate::harness::{free_port, turn};
use crate::otlp_sink::{Fault, OtlpSink};
use serde_json::json;
use std::slice::from_ref;
use std::time::{Duration, Instant};

/// How long the collector is away; `PLAINSPAN_TEST_DOWN_SECONDS` for the 20 s of the promise.
fn down_time() -> Duration {
    let seconds = std::env::var("PLAINSPAN_TEST_DOWN_SECONDS")
        .map_or(8, |text| text.parse().expect("seconds"));
    Duration::from_secs(seconds)
}

#[test]
fn what_happens_while_the_collector_is_down_arrives_when_it_comes_up() {
    let _turn = turn();
    let work = Work::new();
    let port = free_port();
    let nginx = servers::nginx(&work);
    // Twenty seconds of a busy host would fill the queues with what is not this test's.
    let only_nginx = json!({"include": [{"port": nginx.port}]});
    let config = Config::new("headers")
        .grpc_without_metrics(&format!("http://127.0.0.1:{port}"))
        .tap("filters", only_nginx);
    let agent = Agent::start(&work, &config.yaml());

    let calls: Vec<Call> = (0..50)
        .map(|n| Call::get(work.url_path(&format!("get/down/{n}"))))
        .collect();
    Client::Curl.perform(&work, &nginx.base(), std::slice::from_ref(&calls));
    let up = Instant::now() + down_time();
    while Instant::now() < up {
        // Each reading checks the balance.
        let ledger = agent.ledger();
        assert_eq!(ledger.exported(), 0, "exported to nobody: {ledger}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(agent.ledger().seen() >= 100, "{}", agent.ledger());

    let sink = OtlpSink::start_at(port);
    let limit = Duration::from_secs(45);
    let arrived = |sink: &OtlpSink| {
        let seen = Seen::of(sink);
        calls
            .iter()
            .all(|call| seen.spans_of(&call.target).len() >= 2)
    };
    assert!(
        sink.wait_for(arrived, limit),
        "not all arrived\n{}\n{}",
        agent.ledger(),
        agent.log()
    );
    let ledger = agent.wait_ledger("settled ledger", limit, |l| l.in_flight() == 0);
    ledger.assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    for call in &calls {
        let pair = seen.pair(&call.target);
        seen.log_of(pair.client);
        seen.log_of(pair.server);
    }
}

#[test]
fn with_little_memory_and_no_collector_the_rest_is_lost_by_name_and_the_books_balance() {
    let _turn = turn();
    let work = Work::new();
    let nginx = servers::nginx(&work);
    let config = Config::new("headers")
        .grpc(&format!("http://127.0.0.1:{}", free_port()))
        .limit("memory", "16MiB");
    let agent = Agent::start(&work, &config.yaml());

    // 2000 requests of 1 KiB of headers are several MiB of spans; a queue has a part of the 16 MiB.
    let fat = "x".repeat(1024);
    let calls: Vec<Vec<Call>> = (0..20)
        .map(|c| {
            (0..100)
                .map(|n| {
                    Call::get(work.url_path(&format!("get/flood/{c}/{n}"))).header("x-fat", &fat)
                })
                .collect()
        })
        .collect();
    Client::PythonRequests.perform(&work, &nginx.base(), &calls);
    let limit = Duration::from_secs(20);
    let ledger = agent.wait_ledger("4000 transactions", limit, |ledger| ledger.seen() >= 4000);
    let full = ledger.get(&["transactions", "lost", "queue_full"]);
    assert!(full > 0, "the bound held it all: {ledger}");
    assert!(
        ledger.in_flight() > 0,
        "nothing is kept for later: {ledger}"
    );

    // Stopping cannot deliver what is queued: it is lost by name, within the bound of a stop.
    let outputs = agent.stop();
    assert!(
        outputs.stderr.contains("shutdown"),
        "the last log line has the ledger\n{}",
        outputs.stderr
    );
}

#[test]
fn a_collector_that_refuses_for_good_makes_transactions_rejected() {
    let _turn = turn();
    let scene = Scene::at_level("headers", servers::nginx);
    scene.sink.fail_always(Fault::Invalid);
    let call = Call::get(scene.work.url_path("get/refused"));
    scene.perform(Client::Curl, from_ref(&call));
    let limit = Duration::from_secs(20);
    let rejected = |ledger: &Ledger| ledger.get(&["transactions", "lost", "rejected"]) >= 2;
    let ledger = scene
        .agent
        .wait_ledger("rejected transactions", limit, rejected);
    assert_eq!(ledger.exported(), 0, "{ledger}");

    // The next ones are taken again.
    scene.sink.heal();
    let call = Call::get(scene.work.url_path("get/welcome"));
    scene.perform(Client::Curl, from_ref(&call));
    let arrived = |sink: &OtlpSink| Seen::of(sink).spans_of(&call.target).len() == 2;
    assert!(
        scene.sink.wait_for(arrived, limit),
        "{}",
        scene.agent.ledger()
    );
    scene.agent.stop();
}

#[test]
fn http_with_protobuf_arrives_as_grpc_does() {
    let _turn = turn();
    let scene = Scene::with(servers::nginx, |_, sink, _| {
        Config::new("headers").http(&sink.http_endpoint())
    });
    let call = Call::get(scene.work.url_path("get/http-protobuf?x=1"));
    scene.perform(Client::Curl, from_ref(&call));
    scene.wait_for(from_ref(&call), 2);
    scene.agent.ledger().assert_nothing_lost();
    scene.agent.stop();
    let seen = Seen::of(&scene.sink);
    let pair = seen.pair(&call.target);
    seen.log_of(pair.client);
    seen.log_of(pair.server);
    let paths: Vec<String> = scene
        .sink
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert!(
        paths.iter().all(|path| path.starts_with("/v1/")),
        "{paths:?}"
    );
}
