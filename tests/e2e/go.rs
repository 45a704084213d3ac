//! Go's own TLS, stripped, as a server and as a client: two versions of Go, and Caddy.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::scene::{Scene, complete};
use crate::harness::servers::{self, Server};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};

/// 200 requests on 10 connections, GET and POST in turns, whose bodies come back.
fn two_hundred_calls(work: &Work) -> Vec<Vec<Call>> {
    let call = |number: usize| {
        let call = match number % 2 {
            0 => Call::get(work.url_path(&format!("get/{number}?number={number}"))),
            _ => Call::post(work.url_path(&format!("echo/{number}")), body(number)),
        };
        call.header("x-call", &number.to_string())
    };
    (0..10)
        .map(|c| (0..20).map(|n| call(c * 20 + n)).collect())
        .collect()
}

/// Up to 200 KB of text that no other call sends.
fn body(number: usize) -> Vec<u8> {
    (0..number * 1024)
        .map(|at| b'a' + ((at * 7 + at / 251 + number) % 26) as u8)
        .collect()
}

/// Every call is there once on each side, right to the last byte of its bodies and with its peers. `idle`: a build whose
/// program runs before the agent starts, so that it has its probes before its first connection.
fn exchange(
    client: Client,
    server: impl Fn(&Work) -> Server,
    idle: Option<&str>,
    server_header: &'static str,
) {
    let _turn = turn();
    let mut held = None;
    let scene = Scene::new(|work| {
        held = idle.map(|build| servers::go(work, build, None));
        server(work)
    });
    let calls = two_hundred_calls(&scene.work);
    scene.exchange(client, &calls, server_header);
    drop(held);
}

#[test]
pub fn two_hundred_requests_of_go_to_go_over_http_1_are_right() {
    let server = |w: &Work| servers::go(w, "new", None);
    exchange(Client::Go("new", "1.1"), server, None, "go");
}

#[test]
pub fn two_hundred_requests_of_go_to_go_over_http_2_are_right() {
    let server = |w: &Work| servers::go(w, "new", None);
    exchange(Client::Go("new", "2"), server, None, "go");
}

#[test]
fn an_old_go_serves_a_new_one_and_the_other_way_round() {
    let old = |w: &Work| servers::go(w, "old", None);
    exchange(Client::Go("new", "1.1"), old, Some("new"), "go");
    let new = |w: &Work| servers::go(w, "new", None);
    exchange(Client::Go("old", "2"), new, Some("old"), "go");
}

#[test]
fn programs_that_can_be_moved_and_that_use_c_are_right_too() {
    let server = |w: &Work| servers::go(w, "new-pie", None);
    exchange(Client::Go("new-cgo", "2"), server, Some("new-cgo"), "go");
    let server = |w: &Work| servers::go(w, "old-pie", None);
    exchange(Client::Go("old-pie", "1.1"), server, None, "go");
}

#[test]
fn the_socket_is_found_through_a_type_of_the_programs_own() {
    let server = |w: &Work| servers::go(w, "new", Some("wrapped"));
    exchange(Client::Go("new", "1.1"), server, None, "go");
}

#[test]
fn two_hundred_requests_of_curl_and_of_go_to_caddy_are_right() {
    exchange(Client::Curl, servers::caddy, None, "caddy");
    exchange(Client::Go("new", "2"), servers::caddy, Some("new"), "caddy");
}

#[test]
fn where_other_goroutines_use_the_socket_the_peer_is_unknown_and_never_wrong() {
    let _turn = turn();
    let scene = Scene::new(|w| servers::go(w, "new", Some("piped")));
    let calls = two_hundred_calls(&scene.work);
    let client = Client::Go("new", "1.1");
    client.perform(&scene.work, &scene.server.base(), &calls);
    let calls: Vec<Call> = calls.into_iter().flatten().collect();
    let (seen, _work) = scene.finish_calls(&calls, 2);
    for call in &calls {
        let spans = seen.spans_of(&call.target);
        assert_eq!(spans.len(), 2, "{}", call.target);
        assert!(spans.iter().all(|span| complete(span)), "{}", call.target);
        let peers = spans
            .iter()
            .filter(|s| s.attr("network.peer.port").is_some());
        let known: Vec<_> = peers.collect();
        assert_eq!(known.len(), 1, "{}: the client's alone", call.target);
    }
}

#[test]
fn a_program_of_go_has_its_verdict() {
    let _turn = turn();
    let scene = Scene::at_level("headers", |w| servers::go(w, "old", None));
    let status = scene.agent.status();
    let libraries = status["verdicts"]["libraries"]
        .as_array()
        .expect("verdicts");
    let mut stacks = libraries
        .iter()
        .filter(|l| {
            l["path"]
                .as_str()
                .is_some_and(|path| path.ends_with("/target/go/old"))
        })
        .map(|library| (&library["state"], &library["stacks"][0]));
    let (state, stack) = stacks
        .next()
        .unwrap_or_else(|| panic!("no verdict: {status:#}"));
    assert_eq!(state, "attached");
    assert_eq!(stack["name"], "go");
    assert_eq!(stack["version"], "go1.19.8");
    let targets = stack["targets"].as_array().expect("targets");
    let is = |target: &Value, symbol: &str, instruction: &str| {
        target["symbol"] == symbol
            && target["instruction"] == instruction
            && target["method"] == "function_table"
    };
    for (symbol, instruction) in [
        ("crypto/tls.(*Conn).Read", "jbe"),
        ("crypto/tls.(*Conn).Read", "ret"),
        ("crypto/tls.(*Conn).writeRecordLocked", "jbe"),
    ] {
        let found = targets.iter().any(|target| is(target, symbol, instruction));
        assert!(found, "{symbol} {instruction}: {targets:#?}");
    }
    scene.agent.stop();
}

#[test]
fn a_program_of_go_goes_on_while_agents_come_and_go() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = servers::go(&work, "new", None);
    let config = Config::new("headers").grpc(&sink.grpc_endpoint()).yaml();
    let over = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                let version = ["1.1", "2"][rounds % 2];
                let calls = two_hundred_calls(&work);
                let answers = Client::Go("new", version).perform(&work, &server.base(), &calls);
                for (call, answer) in calls.iter().flatten().zip(&answers) {
                    assert_eq!(answer.status, 200, "{}", call.target);
                    if let Some(body) = &call.body {
                        assert!(answer.body == *body, "{}", call.target);
                    }
                }
                rounds += 1;
            }
            rounds
        });
        for _ in 0..4 {
            Agent::start(&work, &config).stop();
        }
        over.store(true, Ordering::Relaxed);
        load.join().expect("no call failed")
    });
    assert!(rounds > 1, "{rounds} rounds are no load");
}
