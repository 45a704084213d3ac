//! Node over HTTPS both ways: OpenSSL inside the program itself.

use crate::harness::exchange::hundred_calls;
use crate::harness::plan::Client;
use crate::harness::scene::Scene;
use crate::harness::servers::{self, Server};
use crate::harness::turn;
use crate::harness::work::Work;

fn exchange(client: Client, server: fn(&Work) -> Server, server_header: &'static str) {
    let _turn = turn();
    // A Node that runs when the agent starts, so that its program has its probes before a client of it comes.
    let mut idle = None;
    let scene = Scene::new(|work| {
        let node = servers::node(work);
        if server_header == "node" {
            return node;
        }
        idle = Some(node);
        server(work)
    });
    let calls = hundred_calls(&scene.work);
    scene.exchange(client, &calls, server_header);
    drop(idle);
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
pub fn requests_of_node_to_node_are_right() {
    exchange(Client::Node, servers::node, "node");
}
