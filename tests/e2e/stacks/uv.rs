//! uv, which reads an index of packages from a web server: two requests a package, on several connections.

use super::programs::uv as program;
use super::{Row, git, scene};
use crate::harness::process::Running;
use crate::harness::servers::{PYTHON, nginx};
use crate::harness::work::Work;
use crate::harness::{sha256, wait_until};
use std::process::Command;
use std::time::Duration;

/// Half of the requests: the page of each, and what it needs itself.
const PACKAGES: usize = git::FILES / 2 + 1;

pub fn run(row: &Row) {
    // One that runs before the agent: it waits for an index that never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut idle = None;
    let scene = scene(|work| {
        let server = nginx(work);
        index(work);
        let port = silent.local_addr().expect("its address").port();
        let mut command = compile(work, &format!("http://127.0.0.1:{port}"));
        let running = Running::start(&mut command, work.dir(), "idle");
        wait_until(
            Duration::from_secs(20),
            "request of uv",
            || silent.accept().ok(),
            || running.outputs(),
        );
        idle = Some(running);
        server
    });
    let mut command = compile(&scene.work, &format!("{}/index", scene.server.base()));
    let host = format!("localhost:{}", scene.server.port);
    command.args(["--allow-insecure-host", &host]);
    git::reads(row, scene, command, "/index/");
    drop(idle);
}

/// Finds out what all packages need.
fn compile(work: &Work, index: &str) -> Command {
    let mut command = Command::new(program());
    command.args(["pip", "compile", "--quiet", "--no-cache", "--no-config"]);
    command.args(["--python", PYTHON, "--index-url", index]);
    command.arg("--output-file").arg(work.path("compiled.txt"));
    command.arg(work.path("requirements.txt"));
    command.current_dir(work.dir()).env("no_proxy", "*");
    command
}

/// An index of packages as files (PEP 503, PEP 658).
fn index(work: &Work) {
    let mut wanted = String::new();
    for number in 0..PACKAGES {
        let name = format!("package{number}");
        let wheel = format!("{name}-1.0-py3-none-any.whl");
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
        let page = work.folder(&format!("nginx/www/index/{name}"));
        let hash = sha256(metadata.as_bytes());
        let link =
            format!("<a href=\"{wheel}\" data-core-metadata=\"sha256={hash}\">{wheel}</a>\n");
        let text = format!("<!DOCTYPE html><html><body>\n{link}</body></html>\n");
        for (file, text) in [
            ("index.html".to_owned(), text),
            (format!("{wheel}.metadata"), metadata),
        ] {
            std::fs::write(page.join(file), text).expect("write the index");
        }
        wanted += &format!("{name}\n");
    }
    std::fs::write(work.path("requirements.txt"), wanted).expect("write what is wanted");
}
