//! Finding libraries: wherever they come from, nothing is missed once they are attached, and nothing is seen twice.

mod container;
mod curls;
mod doctor;
mod filtered;
mod late;
mod loops;
mod overlays;
mod replaced;

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::Call;
use crate::harness::process::Running;
use crate::harness::seen::Seen;
use crate::harness::servers::{self, PYTHON, Server, program};
use crate::harness::wait_until;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where Debian has the libraries.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// Copies the TLS library, so that no other process maps this file, with what it needs. Answers its path.
fn own_library(dir: &Path) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for name in ["libcrypto.so.3", "libssl.so.3"] {
        let from = Path::new(LIBRARIES).join(name);
        std::fs::copy(&from, dir.join(name)).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    }
    dir.join("libssl.so.3")
}

/// An agent beside nginx, with a collector.
struct Stage {
    sink: OtlpSink,
    nginx: Server,
    agent: Agent,
    work: Work,
}

impl Stage {
    fn new() -> Stage {
        Stage::with(|config| config)
    }

    /// With a configuration that is more than the usual one.
    fn with(more: impl FnOnce(Config) -> Config) -> Stage {
        let work = Work::new();
        let sink = OtlpSink::start();
        let nginx = servers::nginx(&work);
        let config = Config::new("headers").grpc(&sink.grpc_endpoint());
        let agent = Agent::start(&work, &more(config).yaml());
        Stage {
            sink,
            nginx,
            agent,
            work,
        }
    }

    /// So many calls for paths of this name.
    fn calls(&self, name: &str, number: usize) -> Vec<Call> {
        let target = |n| self.work.url_path(&format!("get/{name}/{n}"));
        (0..number).map(|n| Call::get(target(n))).collect()
    }

    /// The verdict on the library that a process sees at this path.
    fn verdict(&self, path: &Path) -> Option<Value> {
        verdict(&self.agent, path)
    }

    /// Waits until the library at this path is captured; answers how.
    fn wait_captured(&self, path: &Path) -> String {
        wait_until(
            Duration::from_secs(10),
            &format!("capture of {}", path.display()),
            || {
                let state = self.verdict(path)?["state"].as_str()?.to_owned();
                state.starts_with("attached").then_some(state)
            },
            || format!("{:#}", self.agent.status()["verdicts"]["libraries"]),
        )
    }

    /// Stops the agent when all calls are there: each exactly once at either end, and nothing lost.
    fn finish(self, calls: &[Call]) {
        crate::harness::exchange::wait_for_targets(&self.agent, &self.sink, calls, 2);
        self.agent.ledger().assert_nothing_lost();
        self.agent.stop();
        let seen = Seen::of(&self.sink);
        for call in calls {
            seen.pair(&call.target);
        }
    }
}

fn verdict(agent: &Agent, path: &Path) -> Option<Value> {
    let status = agent.status();
    let libraries = status["verdicts"]["libraries"].as_array()?;
    let of_path = |library: &&Value| library["path"].as_str() == path.to_str();
    libraries.iter().find(of_path).cloned()
}

/// A client of its own process that uses the library in a folder and asks when it is told.
struct Asker {
    running: Running,
    folder: PathBuf,
    base: String,
    asked: usize,
}

impl Asker {
    fn start(stage: &Stage, name: &str, library: &Path) -> Asker {
        Asker::start_as(stage, Path::new(PYTHON), name, library)
    }

    /// Python by another name.
    fn start_as(stage: &Stage, python: &Path, name: &str, library: &Path) -> Asker {
        let folder = stage.work.folder(&format!("asker-{name}"));
        let mut command = Command::new(python);
        command.arg(program("asker.py")).arg(&folder);
        command.arg(stage.work.path("cert.pem"));
        command.env("LD_LIBRARY_PATH", library.parent().expect("a folder"));
        let mut running = Running::start(&mut command, stage.work.dir(), name);
        running.wait_for_output("loaded", Duration::from_secs(15));
        let path = library.to_str().expect("UTF-8");
        assert!(running.stdout().contains(path), "{}", running.outputs());
        Asker {
            running,
            folder,
            base: stage.nginx.base(),
            asked: 0,
        }
    }

    /// Has it make these calls, and waits for the last answer.
    fn ask(&mut self, calls: &[Call]) {
        for call in calls {
            let url = format!("{}{}", self.base, call.target);
            let part = self.folder.join("part");
            std::fs::write(&part, url).expect("write a URL");
            let name = self.folder.join(format!("{:04}.url", self.asked));
            std::fs::rename(part, &name).expect("rename");
            self.asked += 1;
        }
        let last = self.folder.join(format!("{:04}.done", self.asked - 1));
        let running = &self.running;
        wait_until(
            Duration::from_secs(30),
            "last answer",
            || last.exists().then_some(()),
            || running.outputs(),
        );
    }

    fn end(mut self) {
        std::fs::write(self.folder.join("end"), "").expect("write the end");
        let status = self.running.wait(Duration::from_secs(10));
        assert!(status.success(), "{}", self.running.outputs());
    }
}
