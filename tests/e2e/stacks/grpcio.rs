//! PyPI's grpcio, whose extension module has a stripped BoringSSL of its own, as both ends: 200 calls on eight
//! connections side by side.

use super::programs::package;
use super::{Row, assert_verdict, scene};
use crate::harness::free_port;
use crate::harness::process::{Running, run_well};
use crate::harness::scene::{complete, marks};
use crate::harness::seen::{Seen, header, parent};
use crate::harness::servers::{Server, program};
use crate::harness::venv;
use crate::harness::wait_until;
use crate::harness::work::Work;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const CALLS: usize = 200;

pub fn version() -> String {
    let print = "import grpc; print(grpc.__version__)";
    super::programs::version_in(&super::programs::said(
        Command::new(venv("bin/python")).args(["-c", print]),
    ))
}

fn server(work: &Work) -> Server {
    assert!(package("grpc").exists(), "no grpcio: run tests/setup.sh");
    let port = free_port();
    let mut command = Command::new(venv("bin/python"));
    command.arg(program("stacks/grpcio_server.py"));
    command.args(["127.0.0.1", &port.to_string()]);
    command.arg(work.path("cert.pem")).arg(work.path("key.pem"));
    let mut running = Running::start(&mut command, work.dir(), "grpcio");
    running.wait_for_output("ready", Duration::from_secs(20));
    Server::https(running, port)
}

fn call_all(dir: &Path, port: u16, cert: &Path, service: &str) {
    let mut command = Command::new(venv("bin/python"));
    command.arg(program("stacks/grpcio_client.py"));
    command.arg(port.to_string()).arg(cert).arg(service);
    run_well(&mut command, dir, "calls", Duration::from_secs(60));
}

pub fn run(row: &Row) {
    let scene = scene(server);
    let service = format!("test{}.Echo", std::process::id());
    let (port, cert) = (scene.server.port, scene.work.path("cert.pem"));
    call_all(scene.work.dir(), port, &cert, &service);
    let target = |number: usize| format!("/{service}/{number}");
    let arrived = || {
        let seen = Seen::of(&scene.sink);
        (0..CALLS)
            .map(|n| seen.spans_of(&target(n)).len())
            .sum::<usize>()
    };
    wait_until(
        Duration::from_secs(20),
        "span of each call at both ends",
        || (arrived() >= 2 * CALLS).then_some(()),
        || format!("{} of {}\n{}", arrived(), 2 * CALLS, scene.agent.ledger()),
    );
    scene.agent.ledger().assert_nothing_lost();
    assert_verdict(row, &scene);
    let (seen, _work) = scene.stop();
    for number in 0..CALLS {
        let target = target(number);
        let pair = seen.pair(&target);
        for span in [pair.client, pair.server] {
            assert!(complete(span), "{target}: {}", marks(span));
            let version = span.text("network.protocol.version");
            assert_eq!(version.as_deref(), Some("2"), "{target}");
            // A message has five bytes in front (gRPC over HTTP/2, Length-Prefixed-Message).
            let size = 5 + 300 * number as i64;
            assert_eq!(span.int("http.request.body.size"), Some(size), "{target}");
            assert_eq!(span.int("http.response.body.size"), Some(size), "{target}");
            let call = header(span.attr("http.request.header.x-call"));
            assert_eq!(call, [number.to_string()], "{target}");
            assert!(span.text("network.peer.address").is_some(), "{target}");
        }
        assert_eq!(
            pair.client.int("network.peer.port"),
            Some(port.into()),
            "{target}"
        );
        // Both ends compute it from what they know of their connection.
        assert_eq!(parent(pair.server), Some(pair.client.span_id()), "{target}");
    }
}
