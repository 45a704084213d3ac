//! HTTP without TLS: the socket's own bytes.

use crate::harness::exchange::hundred_calls;
use crate::harness::plan::{Call, Client};
use crate::harness::scene::{Scene, complete};
use crate::harness::servers;
use crate::harness::turn;
use serde_json::Value;
use std::slice::from_ref;

#[test]
pub fn every_plain_http_request_of_curl_to_nginx_is_right_and_its_times_fit_within_5_ms() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx_plain);
    let calls = hundred_calls(&scene.work);
    scene.exchange(Client::Curl, &calls, "nginx");
}

#[test]
pub fn a_response_sent_by_sendfile_has_its_true_size_and_is_marked_where_its_bytes_were_not_to_be_seen()
 {
    let _turn = turn();
    let scene = Scene::new(servers::nginx_plain);
    let call = Call::get(scene.work.url_path("sendfile/200k.bin"));
    let answers = scene.perform(Client::Curl, from_ref(&call));
    assert_eq!(answers[0].body.len(), 200 * 1024);
    let (seen, _work) = scene.finish(&call.target);
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
    assert!(complete(pair.client));
    // False, not unsaid.
    assert_eq!(
        pair.server.attr("plainspan.capture.complete"),
        Some(Value::Bool(false))
    );
}
