//! WebSocket over TLS: one transaction a side, with all that went over it.

use crate::harness::scene::{Scene, payload};
use crate::harness::{servers, turn};

#[test]
fn frames_and_messages_of_a_websocket_are_counted_and_stored_on_both_sides() {
    let _turn = turn();
    let scene = Scene::new(servers::websocket);
    let target = scene.work.url_path("socket");
    scene.websocket(&target, &[]);
    let (seen, _work) = scene.finish_all(&[&target], 2);
    let pair = seen.pair(&target);
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

        let document = payload(span);
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
