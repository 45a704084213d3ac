//! Real servers, each on a free port.

use super::process::{Running, wait_for_port};
use super::work::Work;
use super::{free_port, pattern, repository, venv};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A server that runs, and where.
pub struct Server {
    /// The server ends with it.
    pub running: Running,
    pub scheme: &'static str,
    /// Address that it listens on.
    pub address: String,
    pub port: u16,
}

impl Server {
    /// A server over TLS that listens on a port of loopback.
    pub fn https(running: Running, port: u16) -> Server {
        Server {
            running,
            scheme: "https",
            address: "127.0.0.1".into(),
            port,
        }
    }

    /// `https://localhost:PORT`, or with the address where that is not loopback.
    pub fn base(&self) -> String {
        let host = if self.address == "127.0.0.1" {
            "localhost"
        } else {
            &self.address
        };
        format!("{}://{host}:{}", self.scheme, self.port)
    }
}

/// Python of the distribution: the one on PATH may be another build, with another OpenSSL.
pub const PYTHON: &str = "/usr/bin/python3";

/// nginx over TLS on loopback.
pub fn nginx(work: &Work) -> Server {
    start_nginx(work, "https", "127.0.0.1")
}

/// nginx without TLS on loopback.
pub fn nginx_plain(work: &Work) -> Server {
    start_nginx(work, "http", "127.0.0.1")
}

/// nginx over TLS on an address of this host.
pub fn nginx_at(work: &Work, address: &str) -> Server {
    start_nginx(work, "https", address)
}

/// nginx on loopback with HTTP/2: over TLS by ALPN, else from the first byte.
pub fn nginx_http2(work: &Work, scheme: &'static str) -> Server {
    start_nginx_with(work, scheme, "127.0.0.1", " http2")
}

fn start_nginx(work: &Work, scheme: &'static str, address: &str) -> Server {
    start_nginx_with(work, scheme, address, "")
}

fn start_nginx_with(work: &Work, scheme: &'static str, address: &str, more: &str) -> Server {
    let port = free_port();
    let dir = work.folder("nginx");
    for name in ["cert.pem", "key.pem"] {
        std::fs::copy(work.path(name), dir.join(name)).expect("copy the certificate");
    }
    let www = work.folder("nginx/www");
    let files = [
        ("small.txt", 1024),
        ("200k.bin", 200 * 1024),
        ("1m.bin", 1 << 20),
    ];
    for (name, size) in files {
        std::fs::write(www.join(name), pattern(size)).expect("write a file to serve");
    }
    let tls = if scheme == "https" { " ssl" } else { "" };
    let template =
        std::fs::read_to_string(repository("tests/programs/nginx.conf")).expect("nginx.conf");
    let conf = template
        .replace("@LISTEN@", &format!("listen {address}:{port}{tls}{more};"))
        .replace("@DIR@", dir.to_str().expect("a path in UTF-8"));
    let path = dir.join("nginx.conf");
    std::fs::write(&path, conf).expect("write nginx.conf");
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(&dir).arg("-c").arg(&path);
    let running = Running::start(&mut command, work.dir(), &format!("nginx-{scheme}"));
    wait_for_port(&running, address, port);
    Server {
        running,
        scheme,
        address: address.into(),
        port,
    }
}

/// `tests/programs/server.py`: blocking, over TLS.
pub fn python(work: &Work) -> Server {
    script(work, PYTHON, "server.py", "https")
}

/// `tests/programs/server.py`: blocking, without TLS.
pub fn python_plain(work: &Work) -> Server {
    script(work, PYTHON, "server.py", "http")
}

/// `tests/programs/asyncio_server.py`, over TLS.
pub fn asyncio(work: &Work) -> Server {
    script(work, PYTHON, "asyncio_server.py", "https")
}

/// `tests/programs/server.js`, over TLS.
pub fn node(work: &Work) -> Server {
    script(work, "node", "server.js", "https")
}

/// `tests/programs/http2_server.js`, over TLS.
pub fn node_http2(work: &Work) -> Server {
    script(work, "node", "http2_server.js", "https")
}

/// `tests/programs/late_http2_server.js`, over TLS.
pub fn late_http2_tls(work: &Work) -> Server {
    script(work, "node", "late_http2_server.js", "https")
}

/// `tests/programs/late_http2_server.js`, without TLS.
pub fn late_http2_plain(work: &Work) -> Server {
    script(work, "node", "late_http2_server.js", "http")
}

/// `tests/programs/late_grpc_server.py`, over TLS.
pub fn late_grpc(work: &Work) -> Server {
    script(work, PYTHON, "late_grpc_server.py", "https")
}

/// `tests/programs/h2c_server.py`, without TLS.
pub fn h2c(work: &Work) -> Server {
    script(work, PYTHON, "h2c_server.py", "http")
}

/// `nghttpd` over TLS, which serves files, with a trailer, and pushes `/pushed.css` with `/page`.
pub fn nghttpd(work: &Work) -> Server {
    start_nghttpd(work, "https")
}

/// The same without TLS: HTTP/2 from the first byte.
pub fn nghttpd_plain(work: &Work) -> Server {
    start_nghttpd(work, "http")
}

fn start_nghttpd(work: &Work, scheme: &'static str) -> Server {
    let port = free_port();
    let www = work.folder("nghttpd");
    std::fs::write(www.join("page"), pattern(20_000)).expect("write a file to serve");
    std::fs::write(www.join("pushed.css"), pattern(3000)).expect("write a file to serve");
    // A path that no other request of the host has.
    let own = work.folder(&format!("nghttpd{}", work.url_path("")));
    std::fs::write(own.join("load"), pattern(600)).expect("write a file to serve");
    let mut command = Command::new("nghttpd");
    command.args([
        "--address=127.0.0.1",
        "--push=/page=/pushed.css",
        "--trailer=x-end: yes",
    ]);
    command.arg("-d").arg(&www);
    if scheme == "http" {
        command.arg("--no-tls").arg(port.to_string());
    } else {
        command.arg(port.to_string());
        command.arg(work.path("key.pem")).arg(work.path("cert.pem"));
    }
    let running = Running::start(&mut command, work.dir(), &format!("nghttpd-{scheme}"));
    wait_for_port(&running, "127.0.0.1", port);
    Server {
        running,
        scheme,
        address: "127.0.0.1".into(),
        port,
    }
}

/// `tests/programs/odd_server.py`, over TLS.
pub fn odd(work: &Work) -> Server {
    script(work, PYTHON, "odd_server.py", "https")
}

/// `tests/programs/odd_server.py`, without TLS.
pub fn odd_plain(work: &Work) -> Server {
    script(work, PYTHON, "odd_server.py", "http")
}

/// `tests/programs/proxy.py`, without TLS.
pub fn proxy(work: &Work) -> Server {
    script(work, PYTHON, "proxy.py", "http")
}

/// `tests/programs/grpc_server.py`, over TLS.
pub fn grpc(work: &Work) -> Server {
    script(work, PYTHON, "grpc_server.py", "https")
}

/// `tests/programs/websocket_server.py`, over TLS.
pub fn websocket(work: &Work) -> Server {
    let python = venv("bin/python");
    let python = python.to_str().expect("a path in UTF-8");
    script(work, python, "websocket_server.py", "https")
}

/// A build of `tests/programs/go`: `new`, `new-pie`, `new-cgo`, `old`, `old-pie`, `old-symbols`.
///
/// # Panics
/// When it is not built.
pub fn go_program(build: &str) -> PathBuf {
    let path = repository("target/go").join(build);
    let found = path.exists();
    assert!(found, "{} is missing: run tests/setup.sh", path.display());
    path
}

/// `tests/programs/go`, over TLS; `how` is what stands between TLS and the socket: nothing, `wrapped` or `piped`.
pub fn go(work: &Work, build: &str, how: Option<&str>) -> Server {
    let mut command = Command::new(go_program(build));
    command.arg("server");
    listening(work, command, build, "https", how)
}

/// Caddy over TLS: answers GET with what was asked, POST with the body that came.
pub fn caddy(work: &Work) -> Server {
    let port = free_port();
    let dir = work.folder("caddy");
    let template = std::fs::read_to_string(program("Caddyfile")).expect("Caddyfile");
    let text = |path: PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
    let conf = template
        .replace("@PORT@", &port.to_string())
        .replace("@CERT@", &text(work.path("cert.pem")))
        .replace("@KEY@", &text(work.path("key.pem")));
    let path = dir.join("Caddyfile");
    std::fs::write(&path, conf).expect("write Caddyfile");
    let mut command = Command::new(venv("bin/caddy"));
    command.args(["run", "--adapter", "caddyfile", "--config"]);
    command
        .arg(&path)
        .env("HOME", &dir)
        .env_remove("XDG_DATA_HOME");
    let running = Running::start(&mut command, work.dir(), "caddy");
    wait_for_port(&running, "127.0.0.1", port);
    Server {
        running,
        scheme: "https",
        address: "127.0.0.1".into(),
        port,
    }
}

fn script(work: &Work, interpreter: &str, name: &str, scheme: &'static str) -> Server {
    let mut command = Command::new(interpreter);
    command.arg(program(name));
    listening(work, command, name, scheme, None)
}

/// Starts a server that takes its address, its port, with TLS its certificate and key, and what comes `last`.
fn listening(
    work: &Work,
    mut command: Command,
    name: &str,
    scheme: &'static str,
    last: Option<&str>,
) -> Server {
    let port = free_port();
    command.args(["127.0.0.1", &port.to_string()]);
    if scheme == "https" {
        command.arg(work.path("cert.pem")).arg(work.path("key.pem"));
    }
    command.args(last);
    let mut running = Running::start(&mut command, work.dir(), &format!("{name}-{scheme}"));
    running.wait_for_output("ready", Duration::from_secs(20));
    Server {
        running,
        scheme,
        address: "127.0.0.1".into(),
        port,
    }
}

/// A script of `tests/programs`.
pub fn program(name: &str) -> PathBuf {
    repository("tests/programs").join(name)
}

/// A service that asks another one to answer: `tests/programs/middle.py` and `middle.js`.
pub struct Middle<'a> {
    /// `wsgi` (threads), `asyncio`, or `node`.
    pub mode: &'a str,
    /// `service.name` that it says of itself.
    pub name: &'a str,
    /// Whom it asks.
    pub back: String,
    /// Where its own SDK exports to.
    pub sdk: Option<String>,
    /// What it asks for beside.
    pub background: Option<String>,
    pub scheme: &'static str,
}

impl Middle<'_> {
    pub fn start(&self, work: &Work) -> Server {
        let port = free_port();
        let mut command = match self.mode {
            "node" => {
                let mut command = Command::new("node");
                command.arg(program("middle.js"));
                command
            }
            mode => {
                let mut command = Command::new(venv("bin/python"));
                command.arg(program("middle.py")).arg(mode);
                command
            }
        };
        command.args(["127.0.0.1", &port.to_string(), &self.back]);
        command.arg(work.path("cert.pem"));
        if self.scheme == "https" {
            command.arg(work.path("cert.pem")).arg(work.path("key.pem"));
        }
        command.env("OTEL_SERVICE_NAME", self.name);
        if let Some(endpoint) = &self.sdk {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        }
        if let Some(path) = &self.background {
            command.env("BACKGROUND", path);
        }
        let mut running = Running::start(&mut command, work.dir(), self.name);
        running.wait_for_output("ready", Duration::from_secs(30));
        Server {
            running,
            scheme: self.scheme,
            address: "127.0.0.1".into(),
            port,
        }
    }
}
