//! Reading a process that publishes what the tests tell it to.

use super::super::message::{PAYLOAD_MAX, ProcessContext};
use super::*;
use crate::enrich::ResourceValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

const PROC: &str = "/proc";

/// A process that publishes.
struct Publisher {
    child: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
    /// The kernel took the name of the mapping.
    named: bool,
}

impl Publisher {
    fn start(kind: &str) -> Publisher {
        let program = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/programs/process_context.py"
        );
        let mut child = Command::new("python3")
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut publisher = Publisher {
            told: child.stdin.take().expect("its input"),
            says: BufReader::new(child.stdout.take().expect("its output")),
            child,
            named: false,
        };
        publisher.named = publisher.tell(&format!("map {kind}")) == "named";
        publisher
    }

    fn tell(&mut self, command: &str) -> String {
        writeln!(self.told, "{command}").expect("told");
        let mut said = String::new();
        self.says.read_line(&mut said).expect("an answer");
        assert!(said.ends_with('\n'), "{command}: it ended");
        said.trim().to_owned()
    }

    fn payload(&mut self, bytes: &[u8]) -> u64 {
        let said = self.tell(&format!("payload {}", hex(bytes)));
        said.parse().expect("an address")
    }

    fn header(&mut self, version: u32, size: u32, published_at: u64, payload: u64) {
        let mut bytes = b"OTEL_CTX".to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(published_at.to_le_bytes());
        bytes.extend(payload.to_le_bytes());
        self.tell(&format!("write 0 {}", hex(&bytes)));
    }

    fn publish(&mut self, name: &str, published_at: u64) {
        let bytes = context(name);
        let at = self.payload(&bytes);
        self.header(2, bytes.len() as u32, published_at, at);
    }

    fn ask(&self, known: Option<Arc<Published>>) -> Ask {
        Ask {
            number: 1,
            pid: self.child.id(),
            start_boottime_ns: start(Path::new(PROC), self.child.id()),
            known,
        }
    }

    fn read(&self, known: Option<Arc<Published>>) -> Found {
        read(Path::new(PROC), &self.ask(known))
    }

    /// Why what it has published is not followed.
    fn refused(&self) -> Refused {
        let dir = Path::new(PROC).join(self.child.id().to_string());
        let memory = File::open(dir.join("mem")).expect("its memory");
        let [at] = mappings(&dir).expect("its mappings")[..] else {
            panic!("not one mapping");
        };
        follow(&memory, at, None).expect_err("refused")
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("into a text");
        text
    })
}

fn context(name: &str) -> Vec<u8> {
    let attribute = KeyValue {
        key: "service.name".into(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(name.into())),
        }),
        ..KeyValue::default()
    };
    let resource = Resource {
        attributes: vec![attribute],
        ..Resource::default()
    };
    let context = ProcessContext {
        resource: Some(resource),
        attributes: Vec::new(),
    };
    context.encode_to_vec()
}

fn new(found: Found) -> Arc<Published> {
    match found {
        Found::New(published) => published,
        other => panic!("{other:?}"),
    }
}

fn name(published: &Published) -> &str {
    match &published.attributes[..] {
        [(key, ResourceValue::Str(name))] if key == "service.name" => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_mapping_is_known_by_its_names() {
    for (line, wanted) in [
        (
            "7f00-7f02 rw-p 00000000 00:01 12      [anon_shmem:OTEL_CTX]",
            Some(0x7f00),
        ),
        (
            "7f00-7f02 rw-p 00000000 00:00 0 [anon:OTEL_CTX]",
            Some(0x7f00),
        ),
        (
            "7f00-7f02 rw-s 00000000 00:01 1029   /memfd:OTEL_CTX (deleted)",
            Some(0x7f00),
        ),
        (
            "7f00-7f02 rw-s 00000000 00:01 1029   /memfd:OTEL_CTX",
            Some(0x7f00),
        ),
        ("7f00-7f02 rw-p 00000000 00:00 0 [anon:OTEL_CTX2]", None),
        (
            "7f00-7f02 r--p 00000000 08:01 7   /tmp/memfd:OTEL_CTX",
            None,
        ),
        ("7f00-7f02 rw-p 00000000 00:00 0 ", None),
        ("7f00-7f02 rw-p", None),
        ("x rw-p 00000000 00:00 0 [anon:OTEL_CTX]", None),
        ("", None),
    ] {
        assert_eq!(address(line.as_bytes()), wanted, "{line}");
    }
    assert_eq!(address(b"\xff-\xff"), None);
}

#[test]
fn what_a_process_publishes_is_read_from_each_kind_of_mapping() {
    for kind in ["memfd", "anonymous", "bare"] {
        let mut publisher = Publisher::start(kind);
        assert_eq!(publisher.read(None), Found::Nothing, "{kind}");
        publisher.publish("orders", 5);
        if kind == "anonymous" && !publisher.named {
            // A kernel without CONFIG_ANON_VMA_NAME: the publisher knows that it cannot be found.
            assert_eq!(publisher.read(None), Found::Nothing);
            continue;
        }
        let published = new(publisher.read(None));
        assert_eq!(
            (name(&published), published.published_at),
            ("orders", 5),
            "{kind}"
        );
    }
}

#[test]
fn a_change_is_seen_and_until_it_is_whole_nothing_is() {
    let mut publisher = Publisher::start("memfd");
    publisher.publish("orders", 5);
    let first = new(publisher.read(None));
    assert_eq!(publisher.read(Some(first.clone())), Found::Same);
    publisher.header(2, 7, 0, 1);
    assert_eq!(publisher.read(Some(first.clone())), Found::Nothing);
    assert_eq!(publisher.refused(), Refused::Changing);
    publisher.publish("billing", 6);
    let second = new(publisher.read(Some(first)));
    assert_eq!(name(&second), "billing");
    // Its number is another process's now.
    let other = Ask {
        start_boottime_ns: Some(1),
        ..publisher.ask(None)
    };
    assert_eq!(read(Path::new(PROC), &other), Found::Nothing);
}

#[test]
fn what_is_changed_all_the_time_is_read_whole_or_not_at_all() {
    let mut publisher = Publisher::start("memfd");
    publisher.header(2, 0, 0, 0);
    let (short, long) = ("a".repeat(10), "b".repeat(20_000));
    let flip = format!("flip {} {}", hex(&context(&short)), hex(&context(&long)));
    publisher.tell(&flip);
    let mut seen = [0, 0];
    let mut reads = 0;
    let begin = Instant::now();
    // On a busy host, the publisher may stand still for long behind one of the two.
    while reads < 300 || (seen.contains(&0) && begin.elapsed() < Duration::from_secs(60)) {
        reads += 1;
        if let Found::New(published) = publisher.read(None) {
            // More than is kept of a text is cut.
            let name = name(&published);
            assert!(name == short || (name.len() == 4096 && long.starts_with(name)));
            seen[usize::from(name != short)] += 1;
        }
    }
    assert!(!seen.contains(&0), "{seen:?} of {reads}");
}

#[test]
fn hostile_content_gives_nothing() {
    let mut publisher = Publisher::start("memfd");
    let good = context("orders");
    let size = good.len() as u32;
    let at = publisher.payload(&good);
    let junk = publisher.payload(&[0xff; 64]);
    let huge = publisher.payload(&[0x0a; 64]);
    for (version, size, payload, says) in [
        (1, size, at, "version 1"),
        (3, size, at, "version 3"),
        (2, 0, at, "0 bytes"),
        (2, PAYLOAD_MAX + 1, at, "65537 bytes"),
        (2, u32::MAX, at, "4294967295 bytes"),
        (2, size, 0, "cannot be read"),
        (2, size, u64::MAX, "cannot be read"),
        (2, size, 0xffff_ffff_8000_0000, "cannot be read"),
        (2, 64, junk, "cannot be decoded"),
        (2, 64, huge, "cannot be decoded"),
        (2, size - 1, at, "cannot be decoded"),
    ] {
        publisher.header(version, size, 5, payload);
        let error = publisher.refused().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(publisher.read(None), Found::Nothing, "{says}");
    }
    publisher.tell("write 0 58");
    assert_eq!(publisher.refused(), Refused::Signature);
    publisher.publish("orders", 6);
    assert_eq!(name(&new(publisher.read(None))), "orders");
    let ask = publisher.ask(None);
    drop(publisher);
    assert_eq!(read(Path::new(PROC), &ask), Found::Nothing);
}
