//! HTTP without TLS: the socket's own bytes.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::{Exchange, hundred_calls, wait_for_targets};
use crate::harness::plan::{Call, Client};
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::Value;

#[test]
fn every_plain_http_request_of_curl_to_nginx_is_right_and_its_times_fit_within_5_ms() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());

    let calls = hundred_calls(&work);
    let exchange = Exchange::perform(
        &work,
        &agent,
        &sink,
        (Client::Curl, &nginx),
        &calls,
        "nginx",
    );
    agent.ledger().assert_nothing_lost();
    agent.stop();
    exchange.verify(&Seen::of(&sink));
}

#[test]
fn a_response_sent_by_sendfile_has_its_true_size_and_is_marked_where_its_bytes_were_not_to_be_seen()
{
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());
    let call = Call::get(work.url_path("sendfile/200k.bin"));
    let answers = Client::Curl.perform(&work, &nginx.base(), &[vec![call.clone()]]);
    assert_eq!(answers[0].body.len(), 200 * 1024);
    wait_for_targets(&agent, &sink, std::slice::from_ref(&call), 2);
    agent.stop();

    let seen = Seen::of(&sink);
    let pair = seen.pair(&call.target);
    for span in [pair.client, pair.server] {
        assert_eq!(span.int("http.response.status_code"), Some(200));
        assert_eq!(span.int("http.response.body.size"), Some(200 * 1024));
        assert_eq!(
            span.span.status.as_ref().map_or(0, |status| status.code),
            0,
            "a gap of ours is no error"
        );
    }
    assert_eq!(
        pair.client.attr("plainspan.capture.complete"),
        Some(Value::Bool(true))
    );
    assert_eq!(
        pair.server.attr("plainspan.capture.complete"),
        Some(Value::Bool(false))
    );
}
