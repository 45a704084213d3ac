//! Captures in a store, and the command.

use crate::bare;
use plainspan::config::{Environment, HttpCapture, ObjectStore, load};
use plainspan::enrich::{Process, ResourceValue};
use plainspan::event::{KernelTime, Role};
use plainspan::redact::{About, Raw, Redacted, Redactor};
use plainspan::rules::Level;
use plainspan::sink::payload::{Next, PayloadOptions, PayloadStage};
use plainspan::sink::{PayloadLink, PayloadStatus};
use plainspan::telemetry::Ledger;
use plainspan::telemetry::ledger::SharedTicket;
use plainspan::transaction::{Headers, Request, Response, Timing, Transaction};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tempfile::TempDir;

pub const LAYOUTS: [&str; 2] = ["object", "segment"];

/// A transaction in the making: `GET http://shop.example/` by a client, answered 200, unless told otherwise.
#[derive(Clone)]
pub struct Said {
    pub method: &'static str,
    pub target: String,
    pub request: Vec<(&'static str, Vec<u8>)>,
    pub body: Vec<u8>,
    /// None: no response was seen.
    pub status: Option<u16>,
    pub response: Vec<(&'static str, Vec<u8>)>,
    pub answer: Vec<u8>,
    pub service: &'static str,
    pub role: Role,
    /// Seconds since 2026-11-23T00:00:00Z.
    pub at: u64,
    pub millis: u64,
    pub level: Level,
}

pub fn get(target: &str) -> Said {
    Said {
        method: "GET",
        target: target.to_owned(),
        request: vec![("Host", b"shop.example".to_vec())],
        body: Vec::new(),
        status: Some(200),
        response: Vec::new(),
        answer: Vec::new(),
        service: "shop",
        role: Role::Client,
        at: 0,
        millis: 10,
        level: Level::Full,
    }
}

impl Said {
    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Said {
        self.request.push((name, value.as_ref().to_vec()));
        self
    }

    pub fn post(mut self, body: impl AsRef<[u8]>) -> Said {
        self.method = "POST";
        self.body = body.as_ref().to_vec();
        self
    }

    pub fn answered(mut self, status: u16, content_type: &str, body: impl AsRef<[u8]>) -> Said {
        self.status = Some(status);
        self.response.push(("Content-Type", content_type.into()));
        self.answer = body.as_ref().to_vec();
        self
    }

    fn capture(&self, number: usize) -> Arc<Redacted> {
        let headers = |lines: &[(&str, Vec<u8>)]| {
            let mut headers = Headers::default();
            for (name, value) in lines {
                headers.push(name.as_bytes(), value);
            }
            headers
        };
        let request = Request {
            method: self.method.into(),
            target: self.target.clone().into_bytes(),
            headers: headers(&self.request),
            body: bare::body(&self.body),
            ..Request::default()
        };
        let response = |status| Response {
            status,
            reason: b"Fine".to_vec(),
            headers: headers(&self.response),
            body: bare::body(&self.answer),
            ..Response::default()
        };
        let nanos = self.millis * 1_000_000;
        let transaction = Transaction {
            role: self.role,
            request: Some(request),
            response: self.status.map(response),
            timing: Timing {
                start: KernelTime(1_000),
                request_end: KernelTime(1_000 + nanos / 10),
                response_start: self.status.map(|_| KernelTime(1_000 + nanos / 2)),
                end: KernelTime(1_000 + nanos),
            },
            ..bare::transaction()
        };
        let process = Process {
            pid: 1,
            resource: vec![(
                "service.name".into(),
                ResourceValue::Str(self.service.into()),
            )],
            ..Process::default()
        };
        let start = UNIX_EPOCH + Duration::from_secs(1_795_392_000 + self.at);
        let about = About {
            id: format!("{number:032x}"),
            process: Arc::new(process),
            start,
            end: start + Duration::from_millis(self.millis),
            decision: plainspan::rules::Decision {
                level: self.level,
                rule: None,
            },
            ..bare::about()
        };
        let policy = HttpCapture {
            level: Level::Full,
            ..HttpCapture::default()
        };
        let redactor = Redactor::new(&policy).expect("a good policy");
        Arc::new(redactor.redact(Raw::new(Box::new(transaction)), about).0)
    }
}

/// A configuration with one store, `payloads`, with these keys.
pub fn configuration(keys: &str) -> String {
    format!("version: 2\nservices: {{object_stores: [{{id: payloads, {keys}}}]}}\n")
}

pub fn settings(keys: &str) -> ObjectStore {
    let loaded = load(&configuration(keys), "test", &Environment::default());
    let stores = loaded.expect("a good configuration").config.object_stores;
    stores.into_iter().next().expect("a store")
}

/// A store that captures were put into by the payload stage.
pub struct Stored {
    pub links: Vec<PayloadLink>,
    dir: TempDir,
}

impl Stored {
    /// In a folder.
    pub fn in_a_folder(layout: &str, said: &[Said]) -> Stored {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("payloads");
        Stored::with(
            dir,
            &format!("type: disk, path: '{}', layout: {layout}", path.display()),
            said,
        )
    }

    /// In a store with these keys.
    pub fn at(keys: &str, layout: &str, said: &[Said]) -> Stored {
        let dir = tempfile::tempdir().expect("a folder");
        Stored::with(dir, &format!("{keys}, layout: {layout}"), said)
    }

    fn with(dir: TempDir, keys: &str, said: &[Said]) -> Stored {
        std::fs::write(dir.path().join("plainspan.yaml"), configuration(keys)).expect("written");
        let captures = said.iter().enumerate().map(|(n, said)| said.capture(n));
        let links = store(&settings(keys), captures.collect());
        Stored { links, dir }
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("plainspan.yaml")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Of the folder.
    pub fn folder(&self) -> PathBuf {
        self.path("payloads")
    }

    pub fn folder_url(&self) -> String {
        format!("file://{}/", self.folder().display())
    }

    pub fn url(&self, number: usize) -> &str {
        self.links[number].url.as_deref().expect("a link")
    }

    /// What the command gives for this link; it ends well.
    pub fn get(&self, number: usize, options: &[&str]) -> Vec<u8> {
        let config = self.config();
        let config = config.to_str().expect("text");
        let mut arguments = vec!["get", "-c", config, self.url(number)];
        arguments.extend(options);
        well(&arguments).stdout
    }
}

fn store(settings: &ObjectStore, captures: Vec<Arc<Redacted>>) -> Vec<PayloadLink> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (sender, gone) = std::sync::mpsc::channel();
    let next: Next = Arc::new(move |capture, link, ticket: SharedTicket| {
        ticket.taken();
        let link = link.expect("a payload was wanted");
        sender
            .send((capture.id.clone(), link))
            .expect("somebody waits");
    });
    let ledger = Ledger::new();
    let options = PayloadOptions {
        patience: Duration::from_secs(60),
        ..PayloadOptions::default()
    };
    let stage = PayloadStage::start(settings, options, ledger.clone(), runtime.handle(), next);
    let stage = stage.expect("a stage");
    let count = captures.len();
    for capture in captures {
        stage.offer(capture, ledger.transaction_seen().shared());
    }
    runtime.block_on(stage.drain(Instant::now() + Duration::from_secs(60)));
    let mut links: Vec<_> = gone.try_iter().collect();
    links.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(links.len(), count);
    let links: Vec<_> = links.into_iter().map(|(_, link)| link).collect();
    assert!(
        links
            .iter()
            .all(|link| link.status == PayloadStatus::Stored)
    );
    links
}

/// `plainspan payload` with these arguments.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plainspan"));
    command.arg("payload").args(arguments).stdin(Stdio::null());
    command
}

pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command")
}

/// Runs the command; it ends well.
pub fn well(arguments: &[&str]) -> Output {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{arguments:?}: {}: {said}",
        output.status
    );
    output
}

/// Runs the command; it ends with this code, and writes nothing but what it says on stderr, which this returns.
pub fn fails(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(said.starts_with("error: "), "{said}");
    said
}

/// Lines of JSON.
pub fn lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(bytes).expect("text");
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    text.lines().map(line).collect()
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}
