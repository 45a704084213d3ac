//! The agent never captures itself: not what it exports, not what it stores, not who asks for its status.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::wait_for_targets;
use crate::harness::plan::{Call, Client};
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn s3_at(port: u16) -> Value {
    json!({
        "id": "payloads", "type": "s3", "endpoint": format!("127.0.0.1:{port}"), "bucket": "loop",
        "region": "us-east-1", "insecure": true,
        "access_key": {"type": "text", "value": "key"}, "secret_key": {"type": "text", "value": "secret"},
    })
}

/// A store that is slow reads what the agent said at its start when all is attached.
#[test]
fn what_the_agent_says_while_it_starts_makes_no_transactions() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let store = TcpListener::bind("127.0.0.1:0").expect("port");
    let port = store.local_addr().expect("address").port();
    let this_program = std::env::current_exe().expect("own path");
    let config = Config::new("full")
        .s3(s3_at(port))
        .tap("filters", json!({"include": [{"exe": this_program}]}))
        .grpc(&sink.grpc_endpoint());
    let agent = Agent::start(&work, &config.yaml());

    let (mut connection, _) = store.accept().expect("the write probe");
    let mut first = String::new();
    BufReader::new(&connection)
        .read_line(&mut first)
        .expect("request line");
    assert!(first.starts_with("PUT /loop/"), "{first}");
    connection
        .write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .expect("response");
    drop(connection);
    std::thread::sleep(Duration::from_secs(1));
    let ledger = agent.ledger();
    assert_eq!(ledger.kept(), 0, "the write probe was seen: {ledger}");
    agent.stop();
}

#[test]
fn export_storage_and_status_of_the_agent_make_no_transactions() {
    let _turn = turn();
    for grpc in [true, false] {
        let work = Work::new();
        let sink = OtlpSink::start();
        // Stands for S3: it takes every PUT, and is a program like any other. (A store that talks HTTP among its own
        // parts would make transactions by that, and each a payload more.)
        let store = servers::python_plain(&work);
        let nginx = servers::nginx(&work);
        let payloads = s3_at(store.port);
        // Both ends of all that the agent itself says, and nothing else of a busy host.
        let this_program = std::env::current_exe().expect("own path");
        let include = json!({"include": [
            {"port": nginx.port}, {"port": sink.port()}, {"port": store.port}, {"exe": this_program},
        ]});
        let config = Config::new("full").s3(payloads).tap("filters", include);
        let config = match grpc {
            true => config.grpc(&sink.grpc_endpoint()),
            false => config.http(&sink.http_endpoint()),
        };
        let agent = Agent::start(&work, &config.yaml());
        let calls: Vec<Call> = (0..5)
            .map(|n| Call::get(work.url_path(&format!("get/loop/{n}"))))
            .collect();
        Client::Curl.perform(&work, &nginx.base(), std::slice::from_ref(&calls));
        wait_for_targets(&agent, &sink, &calls, 2);
        let limit = Duration::from_secs(10);
        agent.wait_ledger("settled ledger", limit, |l| {
            l.in_flight() == 0 && l.get(&["payloads", "in_flight"]) == 0
        });

        // Idle, but for this test that asks for the status again and again, and for the agent's own exports.
        let before = agent.ledger().kept();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            agent.page("/metrics");
            agent.page("/readyz");
            std::thread::sleep(Duration::from_millis(100));
        }
        let after = agent.ledger();
        assert_eq!(
            after.kept(),
            before,
            "the agent's own traffic was seen: {after}\n{}",
            Seen::of(&sink).summary()
        );
        let own = [sink.port(), agent.status_address().port(), store.port];
        agent.stop();
        for span in Seen::of(&sink).spans() {
            for name in ["server.port", "network.peer.port"] {
                let port = span.int(name).and_then(|port| u16::try_from(port).ok());
                assert!(
                    port.is_none_or(|port| !own.contains(&port)),
                    "a span of the agent's own traffic: {span:#?}"
                );
            }
        }
    }
}
