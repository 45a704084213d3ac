//! Who looks now: `plainspan tail` and the live page, with real traffic.

mod page;
mod screen;
mod tail;

use crate::harness::agent::{Agent, Launch, write_config};
use crate::harness::config::Config;
use crate::harness::process::{Output, Running, run_well};
use crate::harness::servers::{self, Server};
use crate::harness::work::Work;
use crate::harness::{free_port, wait_until};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// Every secret of the requests holds this. What is asked for with it is an answer that does not repeat it: what a body says
/// in words of its own is no matter of redaction by name.
const CANARY: &str = "SECRET-CANARY";

/// An agent at level full that stores payloads, beside nginx.
struct Stage {
    agent: Agent,
    server: Server,
    /// Of the live page.
    port: u16,
    work: Work,
}

impl Stage {
    fn new(level: &str) -> Stage {
        let work = Work::new();
        let server = servers::nginx(&work);
        let config = Config::new(level)
            .disk(&work.folder("payloads"))
            .root("live", json!({"socket": work.path("live.sock")}));
        let port = free_port();
        let agent = Launch::new(&write_config(&work, &config.yaml()))
            .arg(&format!("--ui=127.0.0.1:{port}"))
            .start(&work);
        Stage {
            agent,
            server,
            port,
            work,
        }
    }

    fn socket(&self) -> PathBuf {
        self.work.path("live.sock")
    }

    /// Holds of what this test asks for alone.
    fn filter(&self) -> String {
        format!("http.req.path contains \"{}\"", self.work.url_path(""))
    }

    /// `plainspan tail` on the agent's socket, attached.
    fn tail(&self, name: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plainspan"));
        command
            .arg("tail")
            .arg("--socket")
            .arg(self.socket())
            .args(arguments);
        let running = Running::start(&mut command, self.work.dir(), name);
        wait_until(
            SOON,
            "tail that is attached",
            || {
                running
                    .stderr()
                    .contains("attached to the agent")
                    .then_some(())
            },
            || running.outputs(),
        );
        running
    }

    /// One request of curl, with secrets in it.
    fn curl(&self, rest: &str, options: &[&str]) -> Output {
        let mut command = Command::new("curl");
        command.args(["-q", "-s", "-S", "--http1.1", "-o", "/dev/null", "--cacert"]);
        command.arg(self.work.path("cert.pem"));
        command.args(["-H", &format!("authorization: Bearer {CANARY}")]);
        command.args(options);
        command.arg(format!(
            "{}{}",
            self.server.base(),
            self.work.url_path(rest)
        ));
        run_well(&mut command, self.work.dir(), "curl", SOON)
    }

    /// What the agent printed for people who open the page.
    fn token(&self) -> String {
        let log = self.agent.log();
        let start = format!("live page: http://127.0.0.1:{}/#token=", self.port);
        let line = log.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no address of the page\n{log}"))
            .to_owned()
    }
}
