//! Bodies in a content coding: stored decoded, measured as they went.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::{body_of, read_file_url, wait_for_targets};
use crate::harness::plan::{Call, Client};
use crate::harness::seen::Seen;
use crate::harness::work::Work;
use crate::harness::{pattern, servers, turn};
use crate::otlp_sink::OtlpSink;
use serde_json::Value;

#[test]
fn a_body_that_nginx_sends_in_gzip_is_stored_decoded_on_both_sides() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());
    let call = Call::get(work.url_path("gzip/200k.bin")).header("accept-encoding", "gzip");
    Client::Curl.perform(&work, &nginx.base(), &[vec![call.clone()]]);
    wait_for_targets(&agent, &sink, std::slice::from_ref(&call), 2);
    agent.ledger().assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    let pair = seen.pair(&call.target);
    for span in [pair.client, pair.server] {
        let url = span.text("plainspan.payload.url").expect("a payload link");
        let document: Value =
            serde_json::from_slice(&read_file_url(&url)).expect("a payload is JSON");
        let response = &document["response"];
        let what = (&response["body_encoding"], &response["body_decode_stop"]);
        assert_eq!(response["headers"]["Content-Encoding"], "gzip", "{what:?}");
        assert!(body_of(response) == pattern(200 * 1024), "{what:?}");
        assert_eq!(response["body_encoding"], "gzip");
        assert_eq!(response["body_decoded_truncated"], false);
        assert_eq!(response["body_is_text"], true);
        let sent = response["body_size"].as_u64().expect("a size");
        assert!((100..100 * 1024).contains(&sent), "{sent}");
        assert_eq!(span.int("http.response.body.size"), Some(sent as i64));
    }
}
