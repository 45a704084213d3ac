//! The line that `payload get --curl` writes, run by shells.

use crate::server::{Asked, Reply, Server};
use crate::stored::{Said, Stored, get};
use plainspan::rules::Level;
use std::path::Path;
use std::process::Command;

/// Answers 418 to everything: only a request that arrived gets that.
fn teapot() -> Server {
    Server::start(|_| Reply {
        status: 418,
        ..Reply::default()
    })
}

/// Runs the line of this transaction, and gives what arrived.
fn replayed(shell: &str, server: &Server, said: &Said) -> (Asked, String) {
    let host = server.address.to_string();
    let said = Said {
        request: [("Host", host.into_bytes())]
            .into_iter()
            .chain(said.request.iter().skip(1).cloned())
            .collect(),
        ..said.clone()
    };
    let stored = Stored::in_a_folder("segment", &[said]);
    let output = crate::stored::well(&["get", stored.url(0), "--curl"]);
    let line = String::from_utf8(output.stdout).expect("text");
    assert!(
        !line.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')),
        "{line:?}"
    );
    let empty = tempfile::tempdir().expect("a folder");
    server.forget();
    let status = run(shell, line.trim_end_matches('\n'), empty.path());
    assert_eq!(status, "418", "{line}");
    let left: Vec<_> = std::fs::read_dir(empty.path()).expect("a folder").collect();
    assert!(left.is_empty(), "the line made {left:?}: {line}");
    let mut asked = server.asked();
    assert_eq!(asked.len(), 1, "{line}");
    (
        asked.remove(0),
        String::from_utf8(output.stderr).expect("text"),
    )
}

/// The status that curl got.
fn run(shell: &str, line: &str, dir: &Path) -> String {
    let line =
        format!("{line} --silent --show-error --output /dev/null --write-out '%{{http_code}}'");
    // What is given with -c is one word of at most 128 KiB.
    let script = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(script.path(), line).expect("written");
    let output = Command::new(shell)
        .arg(script.path())
        .current_dir(dir)
        .env("no_proxy", "*")
        .env("HOME", dir)
        .output()
        .unwrap_or_else(|e| panic!("{shell}: {e}"));
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    String::from_utf8(output.stdout).expect("text")
}

fn hostile() -> Vec<Said> {
    vec![
        get("/plain?a=1&b=%20"),
        get("/';touch%20x;'?q=$(touch${IFS}x)`touch%20x`\"&b=[1-3]{a,b}")
            .header(
                "X-Quote",
                "'; touch x; ' \"$(touch x)\" `touch x` \\ ! !! %s",
            )
            .header("User-Agent", "-o x")
            .post("'; touch x; '\n$(touch x)\n"),
        get("/odd")
            .header("X-Bytes", b"a\xffb\x01c\x1b[2J!")
            .header("X-Empty", "")
            .post((0..=255).cycle().take(1000).collect::<Vec<u8>>()),
        get("/file").header("Accept", "a/b").post("@/etc/passwd"),
        get("/long").post("long ".repeat(60_000)),
        get("/asks").post(vec![7; 1 << 20]),
        Said {
            method: "PURGE",
            ..get("/../up/./x")
        },
        Said {
            method: "HEAD",
            ..get("/head")
        },
        Said {
            method: "GET",
            ..get("/body").post("in a GET")
        },
    ]
}

#[test]
fn a_line_sends_the_same_request_and_nothing_of_it_runs() {
    let server = teapot();
    for shell in ["sh", "bash"] {
        for said in hostile() {
            let (asked, told) = replayed(shell, &server, &said);
            assert_eq!((&*asked.method, &*asked.version), (said.method, "HTTP/1.1"));
            let path = said.target.split(['?', '\'']).next().expect("a path");
            assert!(asked.target.starts_with(path), "{}", asked.target);
            assert!(asked.body == said.body, "body of {}", said.target);
            for (name, value) in said.request.iter().skip(1) {
                assert_eq!(
                    asked.header(name),
                    Some(&**value),
                    "{name} of {}",
                    said.target
                );
            }
            // Nothing is there that was not: but where the request goes, and how long it is.
            for (name, _) in &asked.headers {
                let known = ["host", "content-length"]
                    .iter()
                    .any(|n| n.eq_ignore_ascii_case(name));
                let sent = said
                    .request
                    .iter()
                    .any(|(n, _)| n.eq_ignore_ascii_case(name));
                assert!(known || sent, "{name} of {}", said.target);
            }
            assert_eq!(told, "", "{}", said.target);
        }
    }
}

#[test]
fn a_query_arrives_as_it_was_but_for_what_a_url_cannot_have() {
    let server = teapot();
    let (asked, _) = replayed("sh", &server, &hostile()[1]);
    assert_eq!(
        asked.target,
        "/';touch%20x;'?q=$(touch${IFS}x)`touch%20x`%22&b=[1-3]{a,b}"
    );
}

#[test]
fn redacted_values_stand_in_the_line_and_are_told() {
    let server = teapot();
    let said = get("/secret?token=abc&a=1")
        .header("Authorization", "Bearer abc")
        .header("Cookie", "a=1");
    let (asked, told) = replayed("sh", &server, &said);
    assert_eq!(asked.target, "/secret?token=REDACTED&a=1");
    assert_eq!(asked.header("authorization"), Some(&b"REDACTED"[..]));
    for part in [
        "`Authorization` was redacted",
        "`Cookie` was redacted",
        "the URL were redacted",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let said = Said {
        level: Level::Headers,
        ..get("/h").post("gone")
    };
    let (asked, told) = replayed("sh", &server, &said);
    assert!(
        asked.body.is_empty() && told.contains("not kept at this level"),
        "{told}"
    );
}
