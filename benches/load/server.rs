//! The server under load.

use crate::cost;
use crate::harness::process::{Running, wait_for_port};
use crate::harness::work::Work;
use crate::harness::{free_port, http, repository};
use crate::load::Load;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Nginx,
    Node,
    Go,
}

/// How a server is set up, where a load does not say.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub program: Program,
    /// Of each response.
    pub bytes: u64,
    /// nginx's processes.
    pub workers: u32,
    /// Header fields of each response beyond the server's own.
    pub fields: u32,
}

/// A server that runs.
pub struct Scene {
    pub work: Work,
    running: Running,
    pub port: u16,
    /// Where nginx counts its requests.
    counts: Option<SocketAddr>,
    /// The program that serves, as `include` names it.
    pub exe: PathBuf,
    /// The file with the TLS calls.
    pub tls: PathBuf,
    /// Path of the response.
    pub path: String,
    /// Processes that serve.
    pub processes: Vec<u32>,
}

impl Scene {
    pub fn start(load: &Load) -> Scene {
        Scene::set_up(Setup {
            program: load.server,
            bytes: load.bytes,
            workers: 2,
            fields: 0,
        })
    }

    /// # Panics
    /// When it does not listen.
    pub fn set_up(setup: Setup) -> Scene {
        let work = Work::new();
        let port = free_port();
        match setup.program {
            Program::Nginx => nginx(work, port, setup),
            Program::Node => {
                let mut command = Command::new("node");
                command.arg(repository("tests/programs/server.js"));
                let exe = on_path("node");
                simple(work, port, setup, command, exe)
            }
            Program::Go => {
                let exe = repository("target/go/new");
                let mut command = Command::new(&exe);
                command.arg("server");
                simple(work, port, setup, command, exe)
            }
        }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}{}", self.port, self.path)
    }

    /// CPU time of all that serves.
    pub fn cpu(&self) -> Duration {
        cost::cpu_of(&self.processes)
    }

    /// Requests so far as the server counts them, where it does; this question is one of them.
    pub fn requests(&self) -> Option<u64> {
        let (_, page) = http::get(self.counts?, "/count").expect("nginx's count");
        // Active connections, a heading, then connections accepted and handled, and requests.
        let line = page.lines().nth(2).expect("a line of numbers");
        let requests = line.split_whitespace().nth(2).expect("a third number");
        Some(requests.parse().expect("a number"))
    }

    /// What it said, for messages.
    pub fn outputs(&self) -> String {
        self.running.outputs()
    }
}

/// A server that takes address, port, certificate and key.
fn simple(work: Work, port: u16, setup: Setup, mut command: Command, exe: PathBuf) -> Scene {
    command
        .args(["127.0.0.1", &port.to_string()])
        .arg(work.path("cert.pem"))
        .arg(work.path("key.pem"));
    let mut running = Running::start(&mut command, work.dir(), "server");
    running.wait_for_output("ready", Duration::from_secs(20));
    let processes = vec![running.pid()];
    Scene {
        work,
        running,
        port,
        counts: None,
        tls: exe.clone(),
        exe,
        path: format!("/bytes/{}", setup.bytes),
        processes,
    }
}

/// nginx with a copy of libssl of its own, so that what is attached to it is not attached to the client.
fn nginx(work: Work, port: u16, setup: Setup) -> Scene {
    let exe = on_path("nginx");
    let lib = work.folder("lib");
    let mut tls = None;
    for (name, from) in libraries(&exe) {
        if name.starts_with("libssl.so") || name.starts_with("libcrypto.so") {
            let to = lib.join(&name);
            std::fs::copy(&from, &to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
            if name.starts_with("libssl.so") {
                tls = Some(to);
            }
        }
    }
    let www = work.folder("www");
    std::fs::write(www.join("f"), vec![b'x'; setup.bytes as usize]).expect("a file to serve");
    let counting = free_port();
    let conf = work.path("nginx.conf");
    std::fs::write(&conf, configuration(&work, port, counting, setup)).expect("nginx.conf");
    let mut command = Command::new(&exe);
    command.arg("-p").arg(work.dir()).arg("-c").arg(&conf);
    command.env("LD_LIBRARY_PATH", &lib);
    let running = Running::start(&mut command, work.dir(), "nginx");
    wait_for_port(&running, "127.0.0.1", port);
    let processes = cost::children(running.pid());
    assert_eq!(processes.len(), setup.workers as usize, "nginx's workers");
    Scene {
        work,
        running,
        port,
        counts: Some((Ipv4Addr::LOCALHOST, counting).into()),
        exe,
        tls: tls.expect("nginx uses libssl"),
        path: "/f".into(),
        processes,
    }
}

fn configuration(work: &Work, port: u16, counting: u16, setup: Setup) -> String {
    let dir = work.dir().display();
    let workers = setup.workers;
    let mut fields = String::new();
    for n in 0..setup.fields {
        writeln!(fields, "add_header x-field-{n} value-{n};").expect("a String takes all");
    }
    format!(
        "daemon off; user root; worker_processes {workers}; pid {dir}/nginx.pid; error_log {dir}/error.log crit;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile off; default_type text/plain; keepalive_requests 1000000000; keepalive_timeout 75s;
    output_buffers 2 64k; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; http2_max_requests 1000000000; http2_max_concurrent_streams 256;
    server {{
        listen 127.0.0.1:{port} ssl http2; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
        root {dir}/www;
        {fields}
    }}
    server {{ listen 127.0.0.1:{counting}; location /count {{ stub_status; }} }}
}}
"
    )
}

/// Names and files of the libraries that a program is linked to.
fn libraries(exe: &Path) -> Vec<(String, PathBuf)> {
    let told = Command::new("ldd").arg(exe).output().expect("start ldd");
    let text = String::from_utf8_lossy(&told.stdout);
    let line = |line: &str| {
        let (name, rest) = line.trim().split_once(" => ")?;
        let path = rest.split_whitespace().next()?;
        Some((name.to_owned(), PathBuf::from(path)))
    };
    text.lines().filter_map(line).collect()
}

/// A program of the host, links followed.
fn on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = [PathBuf::from("/usr/sbin")];
    let found = std::env::split_paths(&path)
        .chain(more)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run tests/setup.sh"));
    found.canonicalize().expect("a path without links")
}
