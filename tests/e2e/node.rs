//! Node over HTTPS both ways: OpenSSL inside the program itself.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::{Exchange, hundred_calls};
use crate::harness::plan::Client;
use crate::harness::seen::Seen;
use crate::harness::servers::{self, Server};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;

fn exchange(client: Client, server: fn(&Work) -> Server, server_header: &'static str) {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    // A Node that runs when the agent starts, so that its program has its probes before a client of it comes.
    let node = servers::node(&work);
    let server = if server_header == "node" {
        node
    } else {
        server(&work)
    };
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());
    let calls = hundred_calls(&work);
    let exchange = Exchange::perform(
        &work,
        &agent,
        &sink,
        (client, &server),
        &calls,
        server_header,
    );
    agent.ledger().assert_nothing_lost();
    agent.stop();
    exchange.verify(&Seen::of(&sink));
}

#[test]
fn requests_of_curl_to_node_are_right() {
    exchange(Client::Curl, servers::node, "node");
}

#[test]
fn requests_of_node_to_nginx_are_right() {
    exchange(Client::Node, servers::nginx, "nginx");
}

#[test]
fn requests_of_node_to_node_are_right() {
    exchange(Client::Node, servers::node, "node");
}
