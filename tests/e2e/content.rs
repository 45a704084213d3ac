//! Bodies in a content coding: stored decoded, measured as they went.

use crate::harness::exchange::body_of;
use crate::harness::plan::{Call, Client};
use crate::harness::scene::{Scene, payload};
use crate::harness::{pattern, servers, turn};
use std::slice::from_ref;

#[test]
fn a_body_that_nginx_sends_in_gzip_is_stored_decoded_on_both_sides() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx);
    let call = Call::get(scene.work.url_path("gzip/200k.bin")).header("accept-encoding", "gzip");
    scene.perform(Client::Curl, from_ref(&call));
    let (seen, _work) = scene.finish_all(&[&call.target], 2);
    let pair = seen.pair(&call.target);
    for span in [pair.client, pair.server] {
        let document = payload(span);
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
