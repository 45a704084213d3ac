//! Payloads in a real S3 store.

use crate::harness::config::Config;
use crate::harness::exchange::verify_document;
use crate::harness::ledger::Ledger;
use crate::harness::plan::{Call, Client};
use crate::harness::scene::Scene;
use crate::harness::servers;
use crate::harness::{pattern, sha256, turn};
use crate::seaweedfs::SeaweedFs;
use serde_json::{Value, json};
use std::time::Duration;

/// Whether the agent gets the keys that the store knows.
const GOOD: bool = true;
const WRONG: bool = false;

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

/// nginx, and an agent that stores payloads there.
fn beside(store: &SeaweedFs, good: bool) -> Scene {
    Scene::with(servers::nginx, |_, sink, nginx| {
        // SeaweedFS talks HTTP among its own parts, and each of those would be a payload too.
        let only_nginx = json!({"include": [{"port": nginx.port}]});
        Config::new("full")
            .grpc(&sink.grpc_endpoint())
            .s3(s3(store, good))
            .tap("filters", only_nginx)
    })
}

#[test]
fn the_object_of_the_link_is_in_s3_and_its_sha_256_is_its_key() {
    let _turn = turn();
    let store = SeaweedFs::start();
    let scene = beside(&store, GOOD);
    let calls = [
        Call::get(scene.work.url_path("get/s3?n=1")),
        Call::post(scene.work.url_path("upload/s3"), pattern(200 * 1024)),
    ];
    let answers = scene.perform(Client::Curl, &calls);
    let (seen, _work) = scene.finish_calls(&calls, 2);
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
    let store = SeaweedFs::start();
    let scene = beside(&store, WRONG);
    let calls: Vec<Call> = (0..3)
        .map(|n| Call::get(scene.work.url_path(&format!("get/denied/{n}"))))
        .collect();
    scene.perform(Client::Curl, &calls);
    scene.wait_for(&calls, 2);
    let lost = |ledger: &Ledger| ledger.get(&["payloads", "lost", "store_refused"]) >= 6;
    let ledger = scene
        .agent
        .wait_ledger("lost payloads", Duration::from_secs(30), lost);
    assert_eq!(
        ledger.lost(),
        0,
        "the transactions themselves are not lost: {ledger}"
    );
    let log = scene.agent.log();
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
    let (seen, _work) = scene.stop();
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
