//! WebSocket over TLS: one transaction a side, with all that went over it.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::{read_file_url, wait_for_targets};
use crate::harness::plan::Call;
use crate::harness::process::run_well;
use crate::harness::seen::Seen;
use crate::harness::servers::program;
use crate::harness::work::Work;
use crate::harness::{servers, turn, venv};
use crate::otlp_sink::OtlpSink;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

#[test]
fn frames_and_messages_of_a_websocket_are_counted_and_stored_on_both_sides() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = servers::websocket(&work);
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());
    let call = Call::get(work.url_path("socket"));
    let base = server.base().replace("https://", "wss://");
    let mut client = Command::new(venv("bin/python"));
    client
        .arg(program("websocket_client.py"))
        .arg(format!("{base}{}", call.target))
        .arg(work.path("cert.pem"));
    run_well(
        &mut client,
        work.dir(),
        "websocket_client",
        Duration::from_secs(20),
    );
    wait_for_targets(&agent, &sink, std::slice::from_ref(&call), 2);
    agent.ledger().assert_nothing_lost();
    agent.stop();

    let seen = Seen::of(&sink);
    let pair = seen.pair(&call.target);
    for span in [pair.client, pair.server] {
        assert_eq!(span.int("http.response.status_code"), Some(101));
        let count = |name: &str| span.int(&format!("plainspan.websocket.{name}"));
        assert_eq!(count("from_client.messages"), Some(2), "{}", seen.summary());
        assert_eq!(count("from_client.text"), Some(1));
        assert_eq!(count("from_client.binary"), Some(1));
        assert!(count("from_client.continuation") >= Some(1));
        assert_eq!(count("from_client.ping"), Some(1));
        assert_eq!(count("from_server.pong"), Some(1));
        assert_eq!(count("from_server.messages"), Some(4));
        assert_eq!(count("close_code"), Some(1000));

        let url = span.text("plainspan.payload.url").expect("a payload link");
        let document: Value =
            serde_json::from_slice(&read_file_url(&url)).expect("a payload is JSON");
        assert_eq!(document["complete"], true, "{}", document["marks"]);
        let messages = document["websocket"]["messages"]
            .as_array()
            .expect("messages");
        let told: Vec<_> = messages
            .iter()
            .map(|m| (m["from"].as_str(), m["text"].as_str(), m["size"].as_u64()))
            .collect();
        let (client, server) = (Some("client"), Some("server"));
        let wanted = [
            (client, Some("hello"), Some(5)),
            (server, Some("5 came"), Some(6)),
            (server, Some("hello"), Some(5)),
            (client, None, Some(70_000)),
            (server, Some("70000 came"), Some(10)),
            (server, None, Some(70_000)),
        ];
        assert_eq!(told, wanted);
        let times = messages.iter().map(|m| m["time_ns"].as_u64());
        assert!(times.clone().is_sorted() && times.into_iter().all(|t| t.is_some()));
    }
}
