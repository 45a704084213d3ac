//! An agent at level full beside one server, and what its spans say.

use super::agent::Agent;
use super::config::Config;
use super::exchange::{read_file_url, wait_for_targets};
use super::plan::Call;
use super::process::{Output, run, run_well};
use super::seen::Seen;
use super::servers::{PYTHON, Server, program};
use super::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// An agent at level full, a server, and where it all goes.
pub struct Scene {
    pub sink: OtlpSink,
    pub server: Server,
    pub agent: Agent,
    pub work: Work,
}

impl Scene {
    pub fn new(start: impl FnOnce(&Work) -> Server) -> Scene {
        let work = Work::new();
        let sink = OtlpSink::start();
        let server = start(&work);
        let config = Config::new("full")
            .grpc(&sink.grpc_endpoint())
            .disk(&work.folder("payloads"));
        let agent = Agent::start(&work, &config.yaml());
        Scene {
            sink,
            server,
            agent,
            work,
        }
    }

    /// curl with these options; its exit code is the test's business.
    pub fn curl(&self, target: &str, options: &[&str]) -> Output {
        let mut command = Command::new("curl");
        command
            .args(["-q", "-s", "-S", "--http1.1", "--cacert"])
            .arg(self.work.path("cert.pem"));
        command
            .args(["-o", "/dev/null"])
            .args(options)
            .arg(format!("{}{target}", self.server.base()));
        run(
            &mut command,
            self.work.dir(),
            "curl",
            Duration::from_secs(30),
        )
    }

    /// Runs a program well to its end.
    pub fn run(&self, command: &mut Command, name: &str) -> Output {
        run_well(command, self.work.dir(), name, Duration::from_secs(60))
    }

    /// Sends each of `writes` by one write over one TLS connection, and gives what came until the server closed it.
    pub fn raw(&self, writes: &[&[u8]]) -> String {
        let plan = self.work.path("raw.json");
        let encoded: Vec<String> = writes.iter().map(|bytes| BASE64.encode(bytes)).collect();
        std::fs::write(&plan, json!(encoded).to_string()).expect("write the plan");
        let mut command = Command::new(PYTHON);
        command
            .arg(program("raw_client.py"))
            .arg(self.server.port.to_string())
            .arg(self.work.path("cert.pem"))
            .arg(&plan);
        self.run(&mut command, "raw_client").stdout
    }

    /// Waits until each target has `spans` spans; nothing may be lost then. Stops the agent.
    pub fn finish_all(self, targets: &[&str], spans: usize) -> (Seen, Work) {
        let calls: Vec<Call> = targets.iter().map(|target| Call::get(*target)).collect();
        wait_for_targets(&self.agent, &self.sink, &calls, spans);
        self.agent.ledger().assert_nothing_lost();
        self.agent.stop();
        (Seen::of(&self.sink), self.work)
    }

    /// Stops the agent once both sides of the target are there.
    pub fn finish(self, target: &str) -> (Seen, Work) {
        wait_for_targets(&self.agent, &self.sink, &[Call::get(target)], 2);
        self.agent.stop();
        (Seen::of(&self.sink), self.work)
    }
}

/// Nothing is missing, by the span's own word.
pub fn complete(span: &SeenSpan) -> bool {
    span.attr("plainspan.capture.complete") == Some(Value::Bool(true))
}

/// The span's status is Error.
pub fn failed(span: &SeenSpan) -> bool {
    span.span
        .status
        .as_ref()
        .is_some_and(|status| status.code == StatusCode::Error as i32)
}

/// The stored payload.
pub fn payload(span: &SeenSpan) -> Value {
    let url = span.text("plainspan.payload.url").expect("a payload link");
    serde_json::from_slice(&read_file_url(&url)).expect("a payload is JSON")
}

/// Duration.
pub fn seconds(span: &SeenSpan) -> f64 {
    (span.span.end_time_unix_nano - span.span.start_time_unix_nano) as f64 / 1e9
}
