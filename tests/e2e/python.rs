//! Python of the distribution: blocking and asyncio, as client and as server.

use crate::harness::exchange::hundred_calls;
use crate::harness::plan::{Call, Client};
use crate::harness::scene::Scene;
use crate::harness::servers::{self, Server};
use crate::harness::turn;
use crate::harness::work::Work;

/// One full exchange at level full; every request must be right.
fn exchange(
    client: Client,
    start: fn(&Work) -> Server,
    server_header: &'static str,
    calls: fn(&Work) -> Vec<Vec<Call>>,
) {
    let _turn = turn();
    let scene = Scene::new(start);
    let calls = calls(&scene.work);
    scene.exchange(client, &calls, server_header);
}

/// A few calls on each of two connections.
fn few_calls(work: &Work) -> Vec<Vec<Call>> {
    let call = |number: usize| match number % 2 {
        0 => Call::get(work.url_path(&format!("get/{number}?n={number}"))).header("x-call", "get"),
        _ => Call::post(
            work.url_path(&format!("upload/{number}")),
            vec![number as u8; 50_000],
        )
        .header("x-call", "post"),
    };
    (0..2)
        .map(|c| (0..4).map(|n| call(c * 4 + n)).collect())
        .collect()
}

#[test]
fn requests_of_python_requests_to_nginx_are_right() {
    exchange(
        Client::PythonRequests,
        servers::nginx,
        "nginx",
        hundred_calls,
    );
}

#[test]
fn requests_of_python_urllib_to_a_python_server_are_right() {
    exchange(Client::PythonUrllib, servers::python, "python", few_calls);
}

#[test]
fn requests_of_curl_to_a_blocking_python_server_are_right() {
    exchange(Client::Curl, servers::python, "python", hundred_calls);
}

#[test]
fn requests_of_curl_to_an_asyncio_server_are_right() {
    exchange(Client::Curl, servers::asyncio, "asyncio", hundred_calls);
}

#[test]
fn requests_of_python_requests_to_an_asyncio_server_are_right() {
    exchange(
        Client::PythonRequests,
        servers::asyncio,
        "asyncio",
        few_calls,
    );
}

#[test]
fn requests_of_python_to_a_plain_http_server_are_right() {
    exchange(
        Client::PythonRequests,
        servers::python_plain,
        "python",
        few_calls,
    );
}

#[test]
fn a_client_that_connects_and_waits_before_it_talks_is_seen_whole() {
    exchange(
        Client::PythonPausing(2),
        servers::asyncio,
        "asyncio",
        few_calls,
    );
    exchange(Client::PythonPausing(2), servers::nginx, "nginx", few_calls);
}
