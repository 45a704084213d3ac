//! Clients: how each is started with a plan.

use super::programs::{bun, node16};
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

const fn start(
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
    const fn with_idle(mut self, idle: fn() -> Command) -> Start {
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
pub const BUN: Start =
    one("bun", || script(bun(), "fetch_client.mjs", &[])).with_idle(|| idle_script(bun()));
