//! The guide is true: its files are written and its commands run, in its order, on a fresh Debian; what it shows came.
//!
//! Inside, `sudo` does what it is told, and `systemctl` speaks to the manager that there is. `api.example.com` is a server
//! on loopback whose certificate the root trusts.

use crate::root::Root;
use crate::user_path::{Server, install, release};
use crate::{repository, serve};
use std::os::unix::fs::PermissionsExt;

#[derive(Debug, PartialEq)]
enum Block {
    /// A path, and what it holds.
    File(String, String),
    Commands(String),
    /// Lines that came from the commands before it.
    Shown(String),
}

/// The fenced blocks that are not marked as not to be run.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    let mut run = true;
    while let Some(line) = lines.next() {
        if line.starts_with("<!-- not run:") {
            run = false;
        }
        let Some(kind) = line.strip_prefix("```") else {
            continue;
        };
        let content: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let content = content.join("\n") + "\n";
        if std::mem::replace(&mut run, true) {
            blocks.push(block(kind, content));
        }
    }
    blocks
}

fn block(kind: &str, content: String) -> Block {
    match kind {
        "yaml" => {
            let path = content
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("# "));
            let path = path.unwrap_or_else(|| panic!("a file without its path: {content}"));
            Block::File(path.to_owned(), content.clone())
        }
        "sh" => Block::Commands(content),
        "text" => Block::Shown(content),
        other => panic!("a block of kind {other:?} is not known to this test"),
    }
}

/// `…` stands for anything.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some("") => true,
        Some(part) => line.ends_with(part),
    }
}

/// A small program of the root.
fn script(root: &Root, path: &str, text: &str) {
    std::fs::write(root.path(path), text).expect("written");
    std::fs::set_permissions(root.path(path), std::fs::Permissions::from_mode(0o755))
        .expect("mode");
}

/// A root with the package, and somebody to ask.
fn prepared(folder: &std::path::Path, server: &Server) -> Root {
    release(folder, "0.1.0-1");
    let mut root = Root::new();
    let authority = root.path("/usr/local/share/ca-certificates");
    std::fs::create_dir_all(&authority).expect("a folder");
    std::fs::copy(folder.join("cert.pem"), authority.join("test.crt")).expect("copied");
    root.run(&["update-ca-certificates"]);
    std::fs::write(
        root.path("/etc/hosts"),
        "127.0.0.1 localhost api.example.com\n",
    )
    .expect("written");
    script(&root, "/usr/local/bin/sudo", "#!/bin/sh\nexec \"$@\"\n");
    script(
        &root,
        "/usr/local/bin/systemctl",
        "#!/bin/sh\nexec /usr/bin/systemctl --user \"$@\"\n",
    );
    // The guide asks at the usual port.
    std::fs::write(
        root.path("/root/.curlrc"),
        format!(
            "connect-to = api.example.com:443:127.0.0.1:{}\n",
            server.port()
        ),
    )
    .expect("written");
    root.start_systemd();
    install(&root, &serve::folder(folder));
    root.systemctl(&["daemon-reload"]);
    root
}

#[test]
fn what_the_guide_says_is_what_happens() {
    let text = std::fs::read_to_string(repository("docs/guide/README.md")).expect("the guide");
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let root = prepared(folder.path(), &server);
    let mut came = String::new();
    let (mut commands, mut shown) = (0, 0);
    for block in blocks(&text) {
        match block {
            Block::File(path, content) => {
                std::fs::write(root.path(&path), content).expect("written")
            }
            Block::Commands(lines) => {
                let output = root.try_run(&["bash", "-euo", "pipefail", "-c", &lines]);
                came = String::from_utf8_lossy(&output.stdout).into_owned();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(
                    output.status.success(),
                    "{lines}\n{came}{said}{}",
                    root.read("/var/log/plainspan.log")
                );
                commands += 1;
            }
            Block::Shown(lines) => {
                let mut rest = came.lines();
                for pattern in lines.lines() {
                    assert!(
                        rest.any(|line| fits(pattern, line)),
                        "{pattern:?} did not come, or not in its place:\n{came}"
                    );
                    shown += 1;
                }
            }
        }
    }
    assert!(
        commands >= 10 && shown >= 25,
        "{commands} blocks of commands, {shown} lines"
    );
}

#[test]
fn lines_fit_patterns() {
    assert!(fits("a…c", "abc") && fits("…b…", "abc") && fits("…", "") && fits("abc", "abc"));
    assert!(!fits("a…c", "abd") && !fits("abc", "abcd") && !fits("b…", "abc"));
}
