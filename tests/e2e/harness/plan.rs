//! Calls that clients carry out, and the clients.

use super::process::{Running, run_well};
use super::servers::{PYTHON, go_program, program};
use super::work::Work;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One request to make.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: &'static str,
    /// Path and query, on no other request of the host.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Call {
    pub fn get(target: impl Into<String>) -> Call {
        Call {
            method: "GET",
            target: target.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub fn post(target: impl Into<String>, body: Vec<u8>) -> Call {
        Call {
            method: "POST",
            target: target.into(),
            headers: Vec::new(),
            body: Some(body),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// What the client itself saw.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// The client's port; None where its library does not tell.
    pub local_port: Option<u16>,
}

/// A program that makes requests.
#[derive(Debug, Clone, Copy)]
pub enum Client {
    Curl,
    /// HTTP/2 by ALPN; without TLS by `Upgrade: h2c`.
    CurlHttp2,
    /// HTTP/2 from the first byte.
    CurlPriorKnowledge,
    /// `requests`: a session a connection.
    PythonRequests,
    /// `urllib`: a connection a call.
    PythonUrllib,
    /// Connects, waits so many seconds, then talks.
    PythonPausing(u32),
    Node,
    /// `tests/programs/go`: this build of it, speaking this version of HTTP. Connections side by side.
    Go(&'static str, &'static str),
    Program(Program),
}

/// A program that carries out a plan in a file, as `tests/programs/client.py` says.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    /// How it is started with a plan, and with `idle` in its place.
    pub command: fn() -> Command,
    /// How many of it run at once, each with its part of the connections.
    pub at_once: usize,
    /// `network.protocol.version` of what it speaks.
    pub http: &'static str,
}

impl Client {
    /// Carries out the calls, each inner list on one kept-open connection; answers in the order of the calls.
    ///
    /// # Panics
    /// When the client fails.
    pub fn perform(self, work: &Work, base: &str, connections: &[Vec<Call>]) -> Vec<Answer> {
        self.carry_out(&Plan::new(work, base, connections))
    }

    /// The same with `OTEL_SERVICE_NAME` in the client's environment.
    pub fn perform_as(
        self,
        service: &str,
        work: &Work,
        base: &str,
        connections: &[Vec<Call>],
    ) -> Vec<Answer> {
        let mut plan = Plan::new(work, base, connections);
        plan.service = Some(service);
        self.carry_out(&plan)
    }

    /// The same with so many seconds between the handshakes and the first request, of a program that can wait.
    pub fn perform_after(
        self,
        work: &Work,
        base: &str,
        connections: &[Vec<Call>],
        seconds: u32,
    ) -> Vec<Answer> {
        let mut plan = Plan::new(work, base, connections);
        plan.wait = seconds;
        self.carry_out(&plan)
    }

    fn carry_out(self, plan: &Plan<'_>) -> Vec<Answer> {
        match self {
            Client::Curl => plan.curl("http1.1"),
            Client::CurlHttp2 => plan.curl("http2"),
            Client::CurlPriorKnowledge => plan.curl("http2-prior-knowledge"),
            Client::PythonRequests => plan.script(PYTHON, "client.py", &["requests"], 0),
            Client::PythonUrllib => plan.script(PYTHON, "client.py", &["urllib"], 0),
            Client::PythonPausing(seconds) => plan.script(PYTHON, "client.py", &["raw"], seconds),
            Client::Node => plan.script("node", "client.js", &[], 0),
            Client::Program(program) => plan.program(program),
            Client::Go(build, version) => {
                let mut command = Command::new(go_program(build));
                command.args(["client", version]);
                plan.follow(command, build, 0)
            }
        }
    }
}

impl Client {
    /// `network.protocol.version` of what it speaks.
    pub fn version(self) -> &'static str {
        match self {
            Client::CurlHttp2 | Client::CurlPriorKnowledge => "2",
            Client::Program(program) => program.http,
            Client::Go(_, version) => version,
            _ => "1.1",
        }
    }
}

struct Plan<'a> {
    work: &'a Work,
    base: &'a str,
    connections: &'a [Vec<Call>],
    /// What the client's environment says that it is.
    service: Option<&'a str>,
    /// Seconds that a program waits before its first request.
    wait: u32,
    /// Where bodies and outputs go and come.
    dir: PathBuf,
}

impl<'a> Plan<'a> {
    fn new(work: &'a Work, base: &'a str, connections: &'a [Vec<Call>]) -> Plan<'a> {
        let unique = tempfile::Builder::new()
            .prefix("plan-")
            .tempdir_in(work.dir())
            .expect("a folder");
        let dir = unique.keep();
        for (index, call) in connections.iter().flatten().enumerate() {
            if let Some(body) = &call.body {
                std::fs::write(dir.join(format!("{index}.body")), body).expect("write a body");
            }
        }
        Plan {
            work,
            base,
            connections,
            service: None,
            wait: 0,
            dir,
        }
    }

    fn body_file(&self, index: usize) -> PathBuf {
        self.dir.join(format!("{index}.body"))
    }

    fn answer_file(&self, index: usize) -> PathBuf {
        self.dir.join(index.to_string())
    }

    fn answers(&self, reports: &[Value]) -> Vec<Answer> {
        let count = self.connections.iter().flatten().count();
        let answer = |index: usize| {
            let of_index = |report: &&Value| report["index"].as_u64() == Some(index as u64);
            let report = reports
                .iter()
                .find(of_index)
                .unwrap_or_else(|| panic!("no answer to call {index}: {reports:?}"));
            let path = self.answer_file(index);
            Answer {
                status: report["status"]
                    .as_u64()
                    .and_then(|s| u16::try_from(s).ok())
                    .expect("a status"),
                // curl makes no file for an empty body.
                body: if path.exists() {
                    std::fs::read(&path).expect("read an answer")
                } else {
                    Vec::new()
                },
                local_port: report["local_port"]
                    .as_u64()
                    .and_then(|p| u16::try_from(p).ok())
                    .filter(|p| *p != 0),
            }
        };
        (0..count).map(answer).collect()
    }

    /// One curl a connection.
    fn curl(&self, version: &str) -> Vec<Answer> {
        let mut reports = Vec::new();
        let mut index = 0;
        for (number, calls) in self.connections.iter().enumerate() {
            let first = index;
            let file = self.dir.join(format!("{number}.curl"));
            std::fs::write(&file, self.curl_config(calls, first, version))
                .expect("write curl's configuration");
            let mut command = Command::new("curl");
            command.arg("-q").arg("-K").arg(&file).env("no_proxy", "*");
            command.envs(self.service.map(|name| ("OTEL_SERVICE_NAME", name)));
            let output = run_well(&mut command, &self.dir, "curl", Duration::from_secs(60));
            for line in output.stdout.lines() {
                let seen: Value = serde_json::from_str(line).expect("curl's own report");
                reports.push(json!({"index": index, "status": seen["response_code"], "local_port": seen["local_port"]}));
                index += 1;
            }
            assert_eq!(
                index,
                first + calls.len(),
                "curl answered fewer calls than asked"
            );
        }
        self.answers(&reports)
    }

    fn curl_config(&self, calls: &[Call], first: usize, version: &str) -> String {
        let mut lines = Vec::new();
        for (offset, call) in calls.iter().enumerate() {
            if offset > 0 {
                lines.push("next".to_owned());
            }
            let index = first + offset;
            let mut option = |name: &str, value: &str| {
                let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
                lines.push(format!("{name} = \"{quoted}\""));
            };
            option("url", &format!("{}{}", self.base, call.target));
            option("request", call.method);
            option("cacert", path_text(&self.work.path("cert.pem")));
            option("max-time", "30");
            option("output", path_text(&self.answer_file(index)));
            option("write-out", "%{json}\\n");
            for (name, value) in &call.headers {
                option("header", &format!("{name}: {value}"));
            }
            if call.body.is_some() {
                option(
                    "data-binary",
                    &format!("@{}", path_text(&self.body_file(index))),
                );
            }
            lines.extend(["silent", "show-error", version].map(str::to_owned));
        }
        lines.join("\n") + "\n"
    }

    fn script(&self, interpreter: &str, name: &str, arguments: &[&str], wait: u32) -> Vec<Answer> {
        let mut command = Command::new(interpreter);
        command.arg(program(name)).args(arguments);
        self.follow(command, name, wait)
    }

    /// Runs a client that takes the plan as a file, its last argument, and tells what came of each call.
    fn follow(&self, mut command: Command, name: &str, wait: u32) -> Vec<Answer> {
        let file = self.file("plan.json", &self.described(), wait);
        command.arg(&file);
        command.envs(self.service.map(|name| ("OTEL_SERVICE_NAME", name)));
        let output = run_well(&mut command, &self.dir, name, LIMIT);
        self.answers(&reports(&output.stdout))
    }

    /// Several of one program side by side.
    fn program(&self, program: Program) -> Vec<Answer> {
        let all = self.described();
        let each = all.len().div_ceil(program.at_once.max(1));
        let start = |(number, part): (usize, &[Vec<Value>])| {
            let name = format!("{}-{number}", program.name);
            let file = self.file(&format!("{name}.json"), part, self.wait);
            let mut command = (program.command)();
            command.arg(&file).env("no_proxy", "*");
            // Where Node, and what is like it, looks for more certificates.
            command.env("NODE_EXTRA_CA_CERTS", self.work.path("cert.pem"));
            Running::start(&mut command, &self.dir, &name)
        };
        let mut running: Vec<Running> = all.chunks(each).enumerate().map(start).collect();
        let mut seen = Vec::new();
        for running in &mut running {
            let status = running.wait(LIMIT);
            assert!(status.success(), "{status}\n{}", running.outputs());
            seen.extend(reports(&running.stdout()));
        }
        self.answers(&seen)
    }

    /// The calls of each connection as the scripts read them.
    fn described(&self) -> Vec<Vec<Value>> {
        let mut index = 0;
        let mut describe = |call: &Call| {
            let headers: serde_json::Map<String, Value> = call
                .headers
                .iter()
                .map(|(n, v)| (n.clone(), json!(v)))
                .collect();
            let body = call.body.as_ref().map(|_| self.body_file(index));
            let described = json!({
                "index": index, "method": call.method, "target": call.target, "headers": headers, "body": body,
            });
            index += 1;
            described
        };
        self.connections
            .iter()
            .map(|calls| calls.iter().map(&mut describe).collect())
            .collect()
    }

    /// Writes a plan of these connections.
    fn file(&self, name: &str, connections: &[Vec<Value>], wait: u32) -> PathBuf {
        let plan = json!({
            "base": self.base, "ca": self.work.path("cert.pem"), "out": self.dir, "wait": wait,
            "connections": connections,
        });
        let file = self.dir.join(name);
        std::fs::write(&file, plan.to_string()).expect("write the plan");
        file
    }
}

/// How long a program may take for its plan.
const LIMIT: Duration = Duration::from_secs(120);

/// What a program says of each call.
fn reports(stdout: &str) -> Vec<Value> {
    let report = |line| serde_json::from_str(line).expect("a report");
    stdout.lines().map(report).collect()
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
