//! Clients: how each is started with a plan.

use super::programs::{bun, deno, node16, rustls_peer, unpacked};
use crate::harness::plan::Program;
use crate::harness::process::Running;
use crate::harness::servers::{PYTHON, program};
use crate::harness::venv;
use crate::harness::work::Work;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A client, and whether one has to run before the agent.
#[derive(Clone, Copy)]
pub struct Start {
    pub program: Program,
    pub idle: Option<fn() -> Command>,
}

impl Start {
    /// One that does nothing, where the row needs it.
    pub fn idle(&self, work: &Work) -> Option<Running> {
        self.idle.map(|command| {
            let mut running = Running::start(&mut command(), work.dir(), "idle");
            running.wait_for_output("ready", Duration::from_secs(20));
            running
        })
    }
}

/// A client that carries out its connections one after the other: eight of it run at once.
const fn eight(name: &'static str, command: fn() -> Command) -> Start {
    start(name, command, 8, "1.1")
}

/// A client that does them side by side itself.
const fn one(name: &'static str, command: fn() -> Command) -> Start {
    start(name, command, 1, "1.1")
}

pub const fn start(
    name: &'static str,
    command: fn() -> Command,
    at_once: usize,
    http: &'static str,
) -> Start {
    Start {
        program: Program {
            name,
            command,
            at_once,
            http,
        },
        idle: None,
    }
}

impl Start {
    pub const fn with_idle(mut self, idle: fn() -> Command) -> Start {
        self.idle = Some(idle);
        self
    }
}

/// A program of Python's that has the module, says so and waits.
fn idle_pycurl() -> Command {
    let mut command = Command::new(venv("bin/python"));
    command.args([
        "-c",
        "import pycurl, time; print('ready', flush=True); time.sleep(300)",
    ]);
    command
}

/// The same with the module that brings a libssl.
fn idle_psycopg2() -> Command {
    let mut command = Command::new(venv("bin/python"));
    command.args([
        "-c",
        "import psycopg2, time; print('ready', flush=True); time.sleep(300)",
    ]);
    command
}

fn idle_script(interpreter: impl AsRef<Path>) -> Command {
    let mut command = Command::new(interpreter.as_ref());
    command.args(["-e", "console.log('ready'); setTimeout(() => {}, 300000)"]);
    command
}

fn script(interpreter: impl AsRef<Path>, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(interpreter.as_ref());
    command.arg(program("stacks").join(name)).args(arguments);
    command
}

pub const WGET: Start = one("wget", || script(PYTHON, "each_client.py", &["wget"]));
pub const LIBCURL_GNUTLS: Start = eight("libcurl-gnutls", || {
    script(PYTHON, "libcurl.py", &["libcurl-gnutls.so.4"])
});
pub const LIBCURL_NSS: Start = eight("libcurl-nss", || {
    script(PYTHON, "libcurl.py", &["libcurl-nss.so.4"])
});
pub const PYCURL: Start = eight("pycurl", || {
    script(venv("bin/python"), "pycurl_client.py", &["1.1"])
})
.with_idle(idle_pycurl);
pub const PYCURL_HTTP2: Start = start(
    "pycurl-2",
    || script(venv("bin/python"), "pycurl_client.py", &["2"]),
    8,
    "2",
)
.with_idle(idle_pycurl);
pub const PSYCOPG2: Start = eight("psycopg2", || {
    script(venv("bin/python"), "psycopg2_client.py", &[])
})
.with_idle(idle_psycopg2);
/// pyOpenSSL over packages that are unpacked.
pub fn python_openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new(venv("bin/python"));
    let packages = ["cryptography", "pyOpenSSL", "asn1crypto"].map(unpacked);
    let path = packages.map(|folder| folder.display().to_string());
    command.env("PYTHONPATH", path.join(":")).args(arguments);
    command
}

fn pyopenssl() -> Command {
    let script = program("stacks/pyopenssl_client.py");
    python_openssl(&[&script.display().to_string()])
}

pub const PYOPENSSL: Start = eight("pyopenssl", pyopenssl).with_idle(|| {
    let mut command = pyopenssl();
    command.arg("idle");
    command
});
/// The same with the libraries of a package for an interpreter that is not here.
fn psycopg2_old() -> Command {
    let folder = unpacked("psycopg2_binary/psycopg2/.libs");
    let mut command = script(PYTHON, "psycopg2_client.py", &[]);
    command.arg(&folder).env("LD_LIBRARY_PATH", folder);
    command
}

pub const PSYCOPG2_OLD: Start = eight("psycopg2-old", psycopg2_old).with_idle(|| {
    let mut command = psycopg2_old();
    command.arg("idle");
    command
});

fn with_dotnet() -> Command {
    let openssl = unpacked("openssl_1_1");
    let mut command = Command::new(PYTHON);
    let libraries = [openssl.clone(), openssl.join("psycopg2_binary.libs")];
    let packages = ["pythonnet", "clr_loader", "cffi", "pycparser"].map(unpacked);
    for (name, paths) in [
        ("LD_LIBRARY_PATH", &libraries[..]),
        ("PYTHONPATH", &packages),
    ] {
        command.env(
            name,
            std::env::join_paths(paths).expect("no colon in a path"),
        );
    }
    command
}

fn dotnet(version: &str) -> Command {
    let mut command = with_dotnet();
    command.arg(program("stacks/dotnet_client.py"));
    command.arg(unpacked("")).arg(version);
    command
}

/// Loads the library as .NET does.
fn idle_dotnet() -> Command {
    let mut command = with_dotnet();
    command.args([
        "-c",
        "import ctypes, time; ctypes.CDLL('libssl.so.1.1'); print('ready', flush=True); time.sleep(300)",
    ]);
    command
}

pub const DOTNET: Start = one("dotnet", || dotnet("1.1")).with_idle(idle_dotnet);
pub const DOTNET_HTTP2: Start = start("dotnet-2", || dotnet("2"), 1, "2").with_idle(idle_dotnet);
pub const PHP_CURL: Start = eight("php-curl", || script("php", "client.php", &["curl"]));
pub const PHP_STREAMS: Start = eight("php-streams", || script("php", "client.php", &["streams"]));
pub const RUBY: Start = eight("ruby", || script("ruby", "client.rb", &[]));
pub const PERL: Start = eight("perl", || script("perl", "client.pl", &[]));
pub const REQUESTS: Start = eight("requests", || {
    let mut command = Command::new(PYTHON);
    command.arg(program("client.py")).arg("requests");
    command
});
pub const AIOHTTP: Start = one("aiohttp", || script(PYTHON, "aiohttp_client.py", &[]));
pub const THREADS: Start = one("threads", || script(PYTHON, "threads_client.py", &[]));
pub const NODE16: Start = one("node16", || {
    let mut command = Command::new(node16());
    command.arg(program("client.js"));
    command
})
.with_idle(|| idle_script(node16()));
pub const NODE: Start = one("node", || {
    let mut command = Command::new("node");
    command.arg(program("client.js"));
    command
})
.with_idle(|| idle_script("node"));
pub const NODE_HTTP2: Start = start("http2", || script("node", "http2_client.js", &[]), 1, "2")
    .with_idle(|| idle_script("node"));
pub const NODE_FETCH: Start =
    one("fetch", || script("node", "fetch_client.mjs", &[])).with_idle(|| idle_script("node"));
fn idle_peer() -> Command {
    let mut command = Command::new(rustls_peer());
    command.arg("idle");
    command
}

fn peer(how: &str) -> Command {
    let mut command = Command::new(rustls_peer());
    command.args(["client", how]);
    command
}

const fn rustls(name: &'static str, command: fn() -> Command, http: &'static str) -> Start {
    start(name, command, 1, http).with_idle(idle_peer)
}

pub const RUSTLS_AWS_LC: Start = rustls("rustls", || peer("aws-lc,1.3,1.1"), "1.1");
pub const RUSTLS_RENEW: Start = rustls("rustls-renew", || peer("aws-lc,1.3,1.1,renew"), "1.1");
pub const RUSTLS_AWS_LC_12: Start = rustls("rustls-1.2", || peer("aws-lc,1.2,2"), "2");
pub const RUSTLS_RING: Start = rustls("rustls-ring", || peer("ring,1.3,2"), "2");
pub const RUSTLS_RING_12: Start = rustls("rustls-ring-1.2", || peer("ring,1.2,1.1,chacha"), "1.1");

/// It refuses a certificate that is its own authority, unless it is told to look at none.
fn deno_client(version: &str) -> Command {
    let mut command = Command::new(deno());
    command.args(["run", "--quiet", "--no-check", "--allow-all"]);
    command.arg("--unsafely-ignore-certificate-errors=localhost");
    command.arg(program("stacks/deno_client.ts")).arg(version);
    command
}

fn idle_deno() -> Command {
    let mut command = Command::new(deno());
    command.args(["eval", "console.log('ready'); setTimeout(() => {}, 300000)"]);
    command
}

pub const DENO: Start = start("deno", || deno_client("1.1"), 1, "1.1").with_idle(idle_deno);
pub const DENO_HTTP2: Start = start("deno-2", || deno_client("2"), 1, "2").with_idle(idle_deno);
pub const BUN: Start =
    one("bun", || script(bun(), "fetch_client.mjs", &[])).with_idle(|| idle_script(bun()));
