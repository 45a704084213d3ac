//! At level headers less than one in a hundred bytes of a big download is copied, whatever carries it, or 64 KiB of what
//! cannot be followed.

use crate::harness::exchange::wait_for_targets;
use crate::harness::ledger::Ledger;
use crate::harness::plan::Call;
use crate::harness::scene::{Scene, complete};
use crate::harness::servers::{self, PYTHON};
use crate::harness::{pattern, turn};
use std::process::Command;
use std::time::Duration;

const SIZE: u64 = 20_000_000;
/// Of one end in one direction without a turn.
const BOUND: u64 = 64 << 10;

/// curl fetches `target`; spans of both ends say all of it, and nothing was lost. The ledger then.
fn download(scene: Scene, target: &str, version: &str) -> Ledger {
    let output = scene.curl(target, &[version, "-f"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    wait_for_targets(&scene.agent, &scene.sink, &[Call::get(target)], 2);
    let ledger = scene
        .agent
        .wait_ledger("all bytes", Duration::from_secs(10), |ledger| {
            ledger.get(&["bytes", "seen"]) >= 2 * SIZE
        });
    ledger.assert_nothing_lost();
    let (seen, _work) = scene.stop();
    let pair = seen.pair(target);
    for span in [pair.client, pair.server] {
        assert!(complete(span), "{target}: {span:#?}");
        assert_eq!(
            span.int("http.response.body.size"),
            Some(SIZE as i64),
            "{target}"
        );
    }
    ledger
}

/// Both ends are seen, so there is twice of everything.
fn assert_left_out(ledger: &Ledger, reason: &str, most: u64) {
    let copied = ledger.get(&["bytes", "copied"]);
    let skipped = ledger.get(&["bytes", "skipped", reason]);
    println!(
        "{copied} of {} bytes copied, {skipped} skipped ({reason})",
        2 * SIZE
    );
    assert!(copied <= 2 * most, "{ledger}");
    assert!(skipped >= 2 * (SIZE - most), "{ledger}");
    assert!(2 * most < 2 * SIZE / 100);
}

#[test]
fn http_2_without_tls_is_told_by_its_heads() {
    let _turn = turn();
    let scene = Scene::at_level("headers", |work| {
        let file = work.folder("nginx/www").join("20m.bin");
        std::fs::write(file, pattern(SIZE as usize)).expect("write a file to serve");
        servers::nginx_http2(work, "http")
    });
    let target = scene.work.url_path("file/20m.bin");
    let ledger = download(scene, &target, "--http2-prior-knowledge");
    assert_left_out(&ledger, "content", SIZE / 101);
}

#[test]
fn content_of_http_1_that_ends_with_the_connection_is_told_by_its_head() {
    let _turn = turn();
    for start in [servers::python, servers::python_plain] {
        let scene = Scene::at_level("headers", start);
        let target = scene.work.url_path(&format!("close/{SIZE}"));
        let ledger = download(scene, &target, "--http1.1");
        assert_left_out(&ledger, "content", SIZE / 101);
    }
}

#[test]
fn content_of_http_1_that_is_not_followed_stops_at_a_bound_and_is_whole_to_its_span() {
    let _turn = turn();
    for start in [servers::odd, servers::odd_plain] {
        let scene = Scene::at_level("headers", start);
        let target = scene.work.url_path(&SIZE.to_string());
        let ledger = download(scene, &target, "--http1.1");
        assert_left_out(&ledger, "unfollowed", BOUND + 1000);
    }
}

/// Asks for bytes of no protocol, three times on one connection.
const OPAQUE: &str = "import socket,ssl,sys
port,ca,n=sys.argv[1:]
c=ssl.create_default_context(cafile=ca).wrap_socket(socket.create_connection(('127.0.0.1',int(port))),server_hostname='localhost')
for _ in range(3):
    c.sendall(b'\\x84%s\\n'%n.encode());left=int(n)
    while left: left-=len(c.recv(65536))
";

#[test]
fn what_is_no_http_stops_at_a_bound_in_each_turn() {
    let _turn = turn();
    let scene = Scene::at_level("headers", servers::odd);
    let mut client = Command::new(PYTHON);
    client.args(["-c", OPAQUE, &scene.server.port.to_string()]);
    client
        .arg(scene.work.path("cert.pem"))
        .arg(SIZE.to_string());
    scene.run(&mut client, "opaque");
    let ledger = scene
        .agent
        .wait_ledger("all bytes", Duration::from_secs(10), |ledger| {
            ledger.get(&["bytes", "seen"]) >= 6 * SIZE
                && ledger.get(&["connections", "uncaptured", "not_http"]) >= 2
        });
    let copied = ledger.get(&["bytes", "copied"]);
    let skipped = ledger.get(&["bytes", "skipped", "unfollowed"]);
    println!("{copied} of {} bytes copied, {skipped} skipped", 6 * SIZE);
    // Three answers of which each end copies the bound, and the questions.
    assert!((6 * BOUND..6 * BOUND + 1000).contains(&copied), "{ledger}");
    assert_eq!(skipped, 6 * (SIZE - BOUND), "{ledger}");
    assert_eq!((ledger.seen(), ledger.lost()), (0, 0), "{ledger}");
    ledger.assert_nothing_lost();
    scene.stop();
}
