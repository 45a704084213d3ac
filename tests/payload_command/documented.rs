//! The one-liners of `docs/payloads.md`, run as they stand there.

use crate::stored::{Said, Stored, get};
use plainspan::event::Role;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Blocks of this language.
fn blocks(language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(root().join("docs/payloads.md")).expect("the page");
    let mut blocks = Vec::new();
    let mut rest = page.as_str();
    while let Some((_, block)) = rest.split_once(&format!("```{language}\n")) {
        let (block, after) = block.split_once("```").expect("an end");
        blocks.push(block.trim().to_owned());
        rest = after;
    }
    blocks
}

fn some() -> Vec<Said> {
    let said = |n: usize| {
        let said = get(&format!("/items/{}", n % 2)).header("x-user", ["ann", "bob", "bob"][n % 3]);
        said.answered(
            if n == 4 { 500 } else { 200 },
            "text/plain",
            "z".repeat(3_000),
        )
    };
    let mut all: Vec<_> = (0..9).map(said).collect();
    all.push(Said {
        service: "cart",
        role: Role::Server,
        status: None,
        ..get("/items/7")
    });
    all
}

#[test]
fn one_liners_with_jq_give_what_they_say() {
    let segments = Stored::in_a_folder("segment", &some());
    let objects = Stored::in_a_folder("object", &some());
    let program = PathBuf::from(env!("CARGO_BIN_EXE_plainspan"));
    let path = std::env::var("PATH").expect("PATH");
    let path = format!("{}:{path}", program.parent().expect("a folder").display());
    let run = |line: &String| {
        let line = line
            .replace(
                "/var/lib/plainspan/payloads",
                crate::stored::text(&segments.folder()),
            )
            .replace(
                "/var/lib/plainspan/objects",
                crate::stored::text(&objects.folder()),
            );
        let output = Command::new("bash")
            .args(["-c", &format!("set -o pipefail; {line}")])
            .env("PATH", &path)
            .output()
            .expect("bash");
        assert!(output.status.success(), "{line}: {output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines()
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let got: Vec<_> = blocks("sh").iter().map(run).collect();
    let users = ["6 bob", "3 ann", "1 -"];
    assert_eq!(got[0], users);
    assert_eq!(got[1], ["9 shop", "1 cart"]);
    let endpoints = [
        "5 GET shop.example/items/0",
        "4 GET shop.example/items/1",
        "1 GET shop.example/items/7",
    ];
    assert_eq!(got[2], endpoints);
    assert_eq!(got[3], [segments.url(4)]);
    assert_eq!(got[4], ["z".repeat(3_000)]);
    assert_eq!(got[5], users);
    assert_eq!(got.len(), 6);
}

#[test]
fn queries_of_duckdb_give_what_they_say() {
    let segments = Stored::in_a_folder("segment", &some());
    let default = || root().join("target/test-venv");
    let venv = std::env::var_os("PLAINSPAN_TEST_VENV").map_or_else(default, PathBuf::from);
    let query = |sql: &String| {
        let sql = sql.replace(
            "/var/lib/plainspan/payloads",
            crate::stored::text(&segments.folder()),
        );
        let program =
            "import duckdb, sys\nfor row in duckdb.sql(sys.argv[1]).fetchall(): print(*row)";
        let output = Command::new(venv.join("bin/python"))
            .args(["-c", program, &sql])
            .output();
        let output = output.expect("Python of tests/setup.sh");
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let got: Vec<_> = blocks("sql").iter().map(query).collect();
    assert_eq!(got[0], ["bob 6", "ann 3", "None 1"]);
    assert_eq!(got[1], ["shop 9 10.0", "cart 1 10.0"]);
    assert_eq!(
        got[2],
        [
            "GET shop.example /items/0 5 1",
            "GET shop.example /items/1 4 0",
            "GET shop.example /items/7 1 0"
        ]
    );
    assert_eq!(got.len(), 3);
}
