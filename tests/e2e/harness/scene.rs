//! An agent beside one server, and what its spans say.

use super::agent::Agent;
use super::config::Config;
use super::exchange::{Exchange, read_file_url, wait_for_targets};
use super::plan::{Answer, Call, Client};
use super::process::{Output, run, run_well};
use super::seen::Seen;
use super::servers::{PYTHON, Server, program};
use super::venv;
use super::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// An agent, a server that was there before it, and where it all goes.
pub struct Scene {
    pub sink: OtlpSink,
    pub server: Server,
    pub agent: Agent,
    pub work: Work,
}

impl Scene {
    /// At level full, with payloads on the disk.
    pub fn new(start: impl FnOnce(&Work) -> Server) -> Scene {
        Scene::with(start, |work, sink, _| Config::full(work, sink))
    }

    /// At this level, without payloads.
    pub fn at_level(level: &str, start: impl FnOnce(&Work) -> Server) -> Scene {
        Scene::with(start, |_, sink, _| {
            Config::new(level).grpc(&sink.grpc_endpoint())
        })
    }

    /// With a configuration of the test's own.
    pub fn with(
        start: impl FnOnce(&Work) -> Server,
        configure: impl FnOnce(&Work, &OtlpSink, &Server) -> Config,
    ) -> Scene {
        let work = Work::new();
        let sink = OtlpSink::start();
        let server = start(&work);
        let config = configure(&work, &sink, &server);
        let agent = Agent::start(&work, &config.yaml());
        Scene {
            sink,
            server,
            agent,
            work,
        }
    }

    /// Makes these calls over one connection.
    pub fn perform(&self, client: Client, calls: &[Call]) -> Vec<Answer> {
        client.perform(&self.work, &self.server.base(), &[calls.to_vec()])
    }

    /// Makes these calls, each list over a connection of its own. All of them must be right, and nothing lost.
    pub fn exchange(self, client: Client, calls: &[Vec<Call>], server_header: &'static str) {
        let ends = (client, &self.server);
        let exchange = Exchange::perform(
            &self.work,
            &self.agent,
            &self.sink,
            ends,
            calls,
            server_header,
        );
        self.agent.ledger().assert_nothing_lost();
        let (seen, _work) = self.stop();
        exchange.verify(&seen);
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

    /// Talks over a WebSocket to the end; `options` of the client.
    pub fn websocket(&self, target: &str, options: &[&str]) {
        let base = self.server.base().replace("https://", "wss://");
        let mut command = Command::new(venv("bin/python"));
        command
            .arg(program("websocket_client.py"))
            .arg(format!("{base}{target}"))
            .arg(self.work.path("cert.pem"))
            .args(options);
        self.run(&mut command, "websocket_client");
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

    /// Waits until the target of each call has `spans` spans.
    pub fn wait_for(&self, calls: &[Call], spans: usize) {
        wait_for_targets(&self.agent, &self.sink, calls, spans);
    }

    /// Stops the agent, and gives all that came out by then. Payloads are in the folder, as long as that is held.
    pub fn stop(self) -> (Seen, Work) {
        self.agent.stop();
        (Seen::of(&self.sink), self.work)
    }

    /// Stops the agent once the target of each call has `spans` spans; nothing may be lost then.
    pub fn finish_calls(self, calls: &[Call], spans: usize) -> (Seen, Work) {
        self.wait_for(calls, spans);
        self.agent.ledger().assert_nothing_lost();
        self.stop()
    }

    /// As [`Scene::finish_calls`], by their targets.
    pub fn finish_all(self, targets: &[&str], spans: usize) -> (Seen, Work) {
        let calls: Vec<Call> = targets.iter().map(|target| Call::get(*target)).collect();
        self.finish_calls(&calls, spans)
    }

    /// Stops the agent once both sides of the target are there.
    pub fn finish(self, target: &str) -> (Seen, Work) {
        self.wait_for(&[Call::get(target)], 2);
        self.stop()
    }
}

/// Nothing is missing, by the span's own word.
pub fn complete(span: &SeenSpan) -> bool {
    span.attr("plainspan.capture.complete") == Some(Value::Bool(true))
}

/// What is missing, as the span says it; empty where nothing is.
pub fn marks(span: &SeenSpan) -> String {
    span.attr("plainspan.capture.marks")
        .unwrap_or_default()
        .to_string()
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
