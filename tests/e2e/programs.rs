//! The servers and clients themselves, without an agent: when this fails, the others say nothing about Plainspan.

use crate::harness::exchange::hundred_calls;
use crate::harness::plan::{Call, Client};
use crate::harness::servers::{self, Server};
use crate::harness::work::Work;
use crate::harness::{pattern, sha256, turn};

#[test]
fn every_client_gets_right_answers_from_every_server() {
    let _turn = turn();
    let work = Work::new();
    let all = [
        Client::Curl,
        Client::PythonRequests,
        Client::PythonUrllib,
        Client::PythonPausing(0),
        Client::Node,
    ];
    let starts: [fn(&Work) -> Server; 4] = [
        servers::nginx,
        servers::python,
        servers::asyncio,
        servers::node,
    ];
    for start in starts {
        let server = start(&work);
        for client in all {
            let calls = [
                Call::get(work.url_path("get/1?x=1")).header("x-call", "1"),
                Call::post(work.url_path("upload/2"), pattern(200 * 1024)),
            ];
            let answers = client.perform(
                &work,
                &server.base(),
                &[calls.to_vec(), vec![calls[0].clone()]],
            );
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(statuses, [200; 3], "{client:?}");
            let text = String::from_utf8_lossy(&answers[0].body);
            assert_eq!(
                text,
                format!("asked GET {}\n", calls[0].target),
                "{client:?}"
            );
            let text = String::from_utf8_lossy(&answers[1].body);
            let digest = format!("{} {}\n", 200 * 1024, sha256(&pattern(200 * 1024)));
            assert!(text == digest || text == "stored\n", "{client:?}: {text}");
            if !matches!(client, Client::PythonUrllib) {
                let ports: Vec<u16> = answers
                    .iter()
                    .filter_map(|answer| answer.local_port)
                    .collect();
                assert_eq!(ports.len(), 3, "{client:?} did not tell its ports");
                assert!(
                    ports[0] == ports[1] && ports[1] != ports[2],
                    "{client:?} did not keep its connection: {ports:?}"
                );
            }
        }
    }
}

#[test]
fn a_hundred_calls_are_fifty_on_five_connections_and_fifty_on_their_own() {
    let _turn = turn();
    let work = Work::new();
    let server = servers::nginx_plain(&work);
    let calls = hundred_calls(&work);
    let answers = Client::Curl.perform(&work, &server.base(), &calls);
    let ports: Vec<u16> = answers
        .iter()
        .map(|answer| answer.local_port.expect("curl tells"))
        .collect();
    let kept: std::collections::BTreeSet<_> = ports[..50].iter().collect();
    let fresh: std::collections::BTreeSet<_> = ports[50..].iter().collect();
    assert_eq!((kept.len(), fresh.len()), (5, 50));
    let targets: std::collections::BTreeSet<_> =
        calls.iter().flatten().map(|call| &call.target).collect();
    assert_eq!(targets.len(), 100, "a target twice");
}

#[test]
fn the_s3_store_gives_back_what_it_was_given_and_nothing_else() {
    let _turn = turn();
    let store = crate::seaweedfs::SeaweedFs::start();
    assert_eq!(store.get("first").as_deref(), Ok(&b"first"[..]));
    assert!(store.get("no-such-object").is_err());
}
