//! git, which reads a repository of loose objects from a web server: a request an object, on several connections.

use super::{Row, assert_verdict, scene};
use crate::harness::process::run_well;
use crate::harness::scene::{Scene, complete, marks};
use crate::harness::seen::{Seen, parent, target};
use crate::harness::servers::nginx;
use crate::harness::wait_until;
use crate::harness::work::Work;
use crate::otlp_sink::SeenSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub const FILES: usize = 200;

pub fn run(row: &Row) {
    let scene = scene(|work| {
        let server = nginx(work);
        repository(work);
        server
    });
    let url = format!("{}/repository.git", scene.server.base());
    let mut clone = git(scene.work.dir());
    clone.args(["clone", "-q", &url, "clone"]);
    clone.env("GIT_SSL_CAINFO", scene.work.path("cert.pem"));
    reads(row, scene, clone, "/repository.git/");
}

/// Runs a program that reads what is below `folder` of nginx, at least [`FILES`] of it; each request must be there once
/// on each side, as nginx's own log has it.
pub fn reads(row: &Row, scene: Scene, mut program: Command, folder: &str) {
    let limit = Duration::from_secs(60);
    run_well(&mut program, scene.work.dir(), "reader", limit);
    let log = scene.work.path("nginx/access.log");
    let asked = || std::fs::read_to_string(&log).unwrap_or_default();
    let all = asked().lines().count();
    assert!(all > FILES, "{all} requests");
    wait_until(
        Duration::from_secs(20),
        "span of each request",
        || {
            (below(&Seen::of(&scene.sink), folder)
                .values()
                .flatten()
                .count()
                >= 2 * all)
                .then_some(())
        },
        || format!("{all} requests\n{}", scene.agent.ledger()),
    );
    scene.agent.ledger().assert_nothing_lost();
    assert_verdict(row, &scene);
    let port = scene.server.port;
    let (seen, _work) = scene.stop();
    let spans = below(&seen, folder);
    assert_eq!(spans.values().flatten().count(), 2 * all);
    for line in asked().lines() {
        // TARGET STATUS BYTES PORT
        let words: Vec<&str> = line.split(' ').collect();
        let [target, status, size, peer] = words[..] else {
            panic!("{line:?}")
        };
        let spans = spans
            .get(target)
            .unwrap_or_else(|| panic!("no span of {target}"));
        let of = |kind: SpanKind| {
            let mut found = spans.iter().filter(|s| s.span.kind == kind as i32);
            let one = found
                .next()
                .unwrap_or_else(|| panic!("no {kind:?} of {target}"));
            assert_eq!(found.count(), 0, "{kind:?} of {target} twice");
            one
        };
        let (client, server) = (of(SpanKind::Client), of(SpanKind::Server));
        for span in [client, server] {
            assert!(complete(span), "{target}: {}", marks(span));
            let said = span.int("http.response.status_code").map(|s| s.to_string());
            assert_eq!(said.as_deref(), Some(status), "{target}");
            let said = span.int("http.response.body.size").unwrap_or(0).to_string();
            assert_eq!(said, size, "{target}");
        }
        assert_eq!(client.int("network.peer.port"), Some(port.into()));
        let said = server.int("network.peer.port").map(|p| p.to_string());
        assert_eq!(said.as_deref(), Some(peer), "{target}");
        assert_eq!(
            parent(server),
            Some(client.span_id()),
            "{target} is on different connections"
        );
    }
}

/// Spans of requests for what is in the folder, by target.
fn below<'a>(seen: &'a Seen, folder: &str) -> BTreeMap<String, Vec<&'a SeenSpan>> {
    let mut spans: BTreeMap<String, Vec<&SeenSpan>> = BTreeMap::new();
    for span in seen.spans() {
        if let Some(target) = target(span).filter(|t| t.starts_with(folder)) {
            spans.entry(target).or_default().push(span);
        }
    }
    spans
}

fn git(dir: &Path) -> Command {
    let mut git = Command::new("/usr/bin/git");
    git.current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", dir);
    git.args([
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@example.test",
        "-c",
        "gc.auto=0",
    ]);
    git
}

/// A repository where nginx serves files, as `git clone` reads it without git on the other side.
fn repository(work: &Work) {
    let source = work.folder("source");
    for number in 0..FILES {
        let line = format!("file {number} of the test\n");
        std::fs::write(
            source.join(format!("{number}.txt")),
            line.repeat(number + 1),
        )
        .expect("write a file");
    }
    let bare = work.path("nginx/www/repository.git");
    let bare = bare.to_str().expect("a path in UTF-8");
    for arguments in [
        &["init", "-q", "-b", "main"][..],
        &["add", "."],
        &["commit", "-q", "-m", "All files"],
        &["clone", "-q", "--bare", "--no-hardlinks", ".", bare],
        &["-C", bare, "update-server-info"],
    ] {
        let mut git = git(&source);
        run_well(
            git.args(arguments),
            work.dir(),
            "git",
            Duration::from_secs(60),
        );
    }
}
