//! Payloads in a real S3 store.

use crate::harness::agent::{Agent, Launch, write_config};
use crate::harness::config::Config;
use crate::harness::exchange::{verify_document, wait_for_targets};
use crate::harness::plan::{Call, Client};
use crate::harness::seen::Seen;
use crate::harness::servers::{self, Server};
use crate::harness::work::Work;
use crate::harness::{sha256, turn};
use crate::otlp_sink::OtlpSink;
use crate::seaweedfs::SeaweedFs;
use serde_json::{Value, json};
use std::time::Duration;

/// Whether the agent gets the keys that the store knows.
const GOOD: bool = true;
const WRONG: bool = false;

/// Only traffic of this server: SeaweedFS talks HTTP among its own parts, and would store a payload for each of those.
fn only(server: &Server) -> Value {
    json!({"include": [{"port": server.port}]})
}

/// An object store of the configuration.
fn s3(store: &SeaweedFs, good: bool) -> Value {
    let secret = if good {
        store.secret_key()
    } else {
        "not-the-secret"
    };
    json!({
        "id": "payloads", "type": "s3", "endpoint": store.endpoint(), "bucket": store.bucket(), "region": "us-east-1",
        "insecure": true,
        "access_url": "{{SCHEME}}://{{ENDPOINT}}/{{BUCKET}}/{{DIGEST}}",
        "access_key": {"type": "text", "value": store.access_key()},
        "secret_key": {"type": "text", "value": secret},
    })
}

#[test]
fn the_object_of_the_link_is_in_s3_and_its_sha_256_is_its_key() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let store = SeaweedFs::start();
    let nginx = servers::nginx(&work);
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .s3(s3(&store, GOOD))
        .tap("filters", only(&nginx));
    let agent = Agent::start(&work, &config.yaml());
    let calls = [
        Call::get(work.url_path("get/s3?n=1")),
        Call::post(
            work.url_path("upload/s3"),
            crate::harness::pattern(200 * 1024),
        ),
    ];
    let answers = Client::Curl.perform(&work, &nginx.base(), &[calls.to_vec()]);
    wait_for_targets(&agent, &sink, &calls, 2);
    agent.ledger().assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    for (call, answer) in calls.iter().zip(&answers) {
        let pair = seen.pair(&call.target);
        for span in [pair.client, pair.server] {
            let url = span.text("plainspan.payload.url").expect("a payload link");
            let digest = span.text("plainspan.payload.digest").expect("a digest");
            assert_eq!(
                url,
                format!("http://{}/{}/{digest}", store.endpoint(), store.bucket())
            );
            let object = store.get(&digest).unwrap_or_else(|e| panic!("{url}: {e}"));
            assert_eq!(sha256(&object), digest, "{url}");
            verify_document(&object, span, call, answer);
            assert_eq!(
                seen.log_of(span).attr("plainspan.payload.url"),
                Some(json!(url))
            );
        }
    }
}

#[test]
fn with_wrong_credentials_the_agent_says_so_spans_go_on_and_the_payloads_are_lost_by_name() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let store = SeaweedFs::start();
    let nginx = servers::nginx(&work);
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .s3(s3(&store, WRONG))
        .tap("filters", only(&nginx));
    let agent = Launch::new(&write_config(&work, &config.yaml())).start(&work);
    let calls: Vec<Call> = (0..3)
        .map(|n| Call::get(work.url_path(&format!("get/denied/{n}"))))
        .collect();
    Client::Curl.perform(&work, &nginx.base(), std::slice::from_ref(&calls));
    wait_for_targets(&agent, &sink, &calls, 2);
    let ledger = agent.wait_ledger("lost payloads", Duration::from_secs(30), |ledger| {
        ledger.get(&["payloads", "lost", "store_failed"]) >= 6
    });
    assert_eq!(
        ledger.lost(),
        0,
        "the transactions themselves are not lost: {ledger}"
    );
    let log = agent.log();
    assert!(log.contains("payloads"), "the log names the store\n{log}");
    assert!(
        !log.contains("not-the-secret"),
        "the log shows a credential\n{log}"
    );
    let told = log
        .lines()
        .any(|line| (line.contains("WARN") || line.contains("ERROR")) && line.contains("403"))
        || log.contains("SignatureDoesNotMatch")
        || log.contains("AccessDenied");
    assert!(told, "the log does not say what the store answered\n{log}");
    agent.stop();
    let seen = Seen::of(&sink);
    for call in &calls {
        let pair = seen.pair(&call.target);
        for span in [pair.client, pair.server] {
            let status = span.text("plainspan.payload.status");
            assert!(
                matches!(status.as_deref(), Some("lost" | "pending")),
                "{status:?}"
            );
        }
    }
}
