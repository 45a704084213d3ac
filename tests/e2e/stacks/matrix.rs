//! The page of what is captured: `docs/support-matrix.md`. Each row's test compares its line with what it has just seen;
//! with `PLAINSPAN_WRITE_MATRIX=1` it writes the line.

use super::rows::ROWS;
use super::{Association, End, Kind, Row};
use crate::harness::repository;

const PAGE: &str = "docs/support-matrix.md";

const HEAD: &str = "\
# Support matrix

Written by the end-to-end tests (`PLAINSPAN_WRITE_MATRIX=1 cargo test --test e2e stacks`), which also see to it that it is
true: a line is here because the program of that version was started, made or answered 200 requests over TLS on eight
connections side by side, half of them with bodies, and each request was there once on each side, whole and with the right
peer. What else is captured is whatever uses one of these libraries.

*Inside the program* means that the TLS implementation is linked into it: *stripped* without symbols, found by what its
code does ([architecture.md](architecture.md)). A *library of the agent* is put into a program where the configuration says
so ([java.md](java.md)). *Connection*: a program does its socket calls *inside* the TLS calls, which
names the connection for certain, *beside* them on the same thread, or *on other threads*: then the handshake tells
([association.md](association.md)).

| program | version | end | HTTP | TLS | version | where | connection | result |
|---|---|---|---|---|---|---|---|---|
";

/// Compares a row's line with the page, or writes it there.
///
/// # Panics
/// Where the page says something else.
pub fn check(row: &Row) {
    let line = line(row);
    let path = repository(PAGE);
    if std::env::var_os("PLAINSPAN_WRITE_MATRIX").is_some() {
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, with(&before, &line)).expect("write the page");
        return;
    }
    let page = std::fs::read_to_string(&path).expect("docs/support-matrix.md");
    assert!(
        page.lines().any(|l| l == line),
        "{PAGE} has no line\n{line}\nRun again with PLAINSPAN_WRITE_MATRIX=1"
    );
}

/// The page with this line in the row's place.
fn with(page: &str, line: &str) -> String {
    let mut lines = Vec::new();
    for each in ROWS {
        // Programs are asked for their versions.
        let key = key(each);
        if line.contains(&key) {
            lines.push(line.to_owned());
        } else if let Some(old) = page.lines().find(|l| l.contains(&key)) {
            lines.push(old.to_owned());
        }
    }
    HEAD.to_owned() + &lines.join("\n") + "\n"
}

/// What stands in no other line: program, major version, end, HTTP.
fn key(row: &Row) -> String {
    format!(
        "| {} | {} | {} | {} |",
        row.program,
        (row.version)(),
        end(row),
        row.http
    )
}

fn end(row: &Row) -> &'static str {
    match row.end {
        End::Client(_) | End::Known { .. } | End::Git | End::Cmake(_) | End::Uv => "client",
        End::Server { .. } => "server",
        End::Proxy { .. } => "proxy, both",
        End::Grpcio => "client, server",
    }
}

fn line(row: &Row) -> String {
    let kind = match row.kind {
        Kind::Shared => "library of the system",
        Kind::Bundled => "library of its package",
        Kind::Given => "library of the agent",
        Kind::Static => "inside the program",
        Kind::Stripped => "inside the program, stripped",
    };
    let association = match row.association {
        Association::Inside => "inside",
        Association::Beside => "beside",
        Association::Apart => "on other threads",
    };
    let stack = match row.stack {
        "openssl" => "OpenSSL",
        "boringssl" => "BoringSSL",
        "gnutls" => "GnuTLS",
        "nss" => "NSS",
        "jsse" => "JSSE",
        "go" => "Go",
        "rustls" => "rustls",
        other => panic!("no name for {other}"),
    };
    let version = (row.stack_version)();
    let end = format!("{stack} | {version} | {kind} | {association} | captured |");
    format!("{} {end}", key(row))
}

#[test]
fn the_page_has_a_line_for_each_row_and_no_other() {
    let page = std::fs::read_to_string(repository(PAGE)).expect("docs/support-matrix.md");
    assert!(page.starts_with(HEAD), "{PAGE} begins with something else");
    let lines: Vec<&str> = page.lines().skip(HEAD.lines().count()).collect();
    assert_eq!(lines.len(), ROWS.len(), "{lines:#?}");
    for row in ROWS {
        let line = line(row);
        assert!(lines.contains(&&*line), "{PAGE} has no line\n{line}");
    }
}
