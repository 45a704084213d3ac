//! Servers and proxies of the rows.

use super::programs::{bun, deno, envoy, node16, rustls_peer};
use crate::harness::free_port;
use crate::harness::process::{Running, wait_for_port};
use crate::harness::servers::{PYTHON, Server, program};
use crate::harness::work::Work;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ADDRESS: &str = "127.0.0.1";

/// A server that is told address, port, certificate and key, and says that it is ready.
pub fn told(work: &Work, mut command: Command, name: &str) -> Server {
    let port = free_port();
    command
        .args([ADDRESS, &port.to_string()])
        .arg(work.path("cert.pem"))
        .arg(work.path("key.pem"));
    let mut running = Running::start(&mut command, work.dir(), name);
    running.wait_for_output("ready", Duration::from_secs(20));
    Server::https(running, port)
}

fn script(interpreter: impl AsRef<Path>, name: &str) -> Command {
    let mut command = Command::new(interpreter.as_ref());
    command.arg(program(name));
    command
}

pub fn node16_server(work: &Work) -> Server {
    told(work, script(node16(), "server.js"), "node16")
}

pub fn bun_server(work: &Work) -> Server {
    told(work, script(bun(), "stacks/bun_server.mjs"), "bun")
}

pub fn deno_server(work: &Work) -> Server {
    let mut command = Command::new(deno());
    command.args(["run", "--quiet", "--no-check", "--allow-all"]);
    command.arg(program("stacks/deno_server.ts"));
    told(work, command, "deno")
}

fn rustls(work: &Work, how: &str) -> Server {
    let mut command = Command::new(rustls_peer());
    command.args(["server", how]);
    told(work, command, "rustls")
}

pub fn rustls_aws_lc(work: &Work) -> Server {
    rustls(work, "aws-lc,1.3,2")
}

pub fn rustls_aws_lc_12(work: &Work) -> Server {
    rustls(work, "aws-lc,1.2,1.1,chacha")
}

pub fn rustls_ring(work: &Work) -> Server {
    rustls(work, "ring,1.3,1.1")
}

pub fn rustls_ring_12(work: &Work) -> Server {
    rustls(work, "ring,1.2,2")
}

pub fn uvicorn(work: &Work) -> Server {
    told(work, script(PYTHON, "stacks/uvicorn_server.py"), "uvicorn")
}

pub fn puma(work: &Work) -> Server {
    let port = free_port();
    let file = |name: &str| work.path(name).display().to_string();
    let bind = format!(
        "ssl://{ADDRESS}:{port}?cert={}&key={}",
        file("cert.pem"),
        file("key.pem")
    );
    let mut command = Command::new("puma");
    command.args([
        "--threads",
        "8:8",
        "--environment",
        "production",
        "--bind",
        &bind,
    ]);
    command
        .arg(program("stacks/config.ru"))
        .current_dir(work.dir());
    listening(Running::start(&mut command, work.dir(), "puma"), port)
}

pub fn apache2(work: &Work) -> Server {
    let port = free_port();
    let address = format!("{ADDRESS}:{port}");
    let file = configured(work, "apache2.conf", &[("@ADDRESS@", &address)]);
    // Reads the whole body before it answers.
    let answer = work.path("answer.sh");
    let text = "#!/bin/sh\nsize=$(wc -c)\nprintf 'content-type: text/plain\\n\\n%s %s %s\\n' \"$REQUEST_METHOD\" \"$size\" \"$REQUEST_URI\"\n";
    std::fs::write(&answer, text).expect("write the CGI program");
    let executable = std::fs::Permissions::from_mode(0o755);
    for path in [&answer, &work.dir().to_path_buf()] {
        std::fs::set_permissions(path, executable.clone()).expect("let apache2 in");
    }
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-f").arg(file).arg("-DFOREGROUND");
    listening(Running::start(&mut command, work.dir(), "apache2"), port)
}

/// Before a server on another port of loopback.
pub fn haproxy(work: &Work, behind: u16) -> Server {
    let port = free_port();
    let both = ["cert.pem", "key.pem"]
        .map(|name| std::fs::read_to_string(work.path(name)).expect("read the certificate"));
    std::fs::write(work.path("both.pem"), both.concat()).expect("write the certificate");
    let words = [
        ("@ADDRESS@", format!("{ADDRESS}:{port}")),
        ("@BACK@", format!("{ADDRESS}:{behind}")),
    ];
    let words = words.each_ref().map(|(word, text)| (*word, text.as_str()));
    let file = configured(work, "haproxy.cfg", &words);
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(file);
    listening(Running::start(&mut command, work.dir(), "haproxy"), port)
}

/// Before a server on another port of loopback.
pub fn envoy_proxy(work: &Work, behind: u16) -> Server {
    let port = free_port();
    let words = [
        ("@PORT@", port.to_string()),
        ("@BACK_PORT@", behind.to_string()),
    ];
    let words = words.each_ref().map(|(word, text)| (*word, text.as_str()));
    let file = configured(work, "envoy.yaml", &words);
    let mut command = Command::new(envoy());
    command.arg("-c").arg(file);
    command.args([
        "--concurrency",
        "2",
        "--log-level",
        "warn",
        "--disable-hot-restart",
    ]);
    listening(Running::start(&mut command, work.dir(), "envoy"), port)
}

fn listening(running: Running, port: u16) -> Server {
    wait_for_port(&running, ADDRESS, port);
    Server::https(running, port)
}

/// A configuration of `tests/programs/stacks` with its words filled in.
fn configured(work: &Work, name: &str, words: &[(&str, &str)]) -> PathBuf {
    let template = std::fs::read_to_string(program("stacks").join(name)).expect("a configuration");
    let dir = work.dir().to_str().expect("a path in UTF-8");
    let text = words
        .iter()
        .fold(template.replace("@DIR@", dir), |text, (word, by)| {
            text.replace(word, by)
        });
    let path = work.path(name);
    std::fs::write(&path, text).expect("write the configuration");
    path
}
