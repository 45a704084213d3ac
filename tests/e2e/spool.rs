//! A collector that is away, and a spool: what happened meanwhile arrives in its order, after SIGKILL too, and where the
//! disk fails the books say so.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::ledger::Ledger;
use crate::harness::process::run_well;
use crate::harness::seen::{Seen, target};
use crate::harness::servers::{self, Server};
use crate::harness::work::Work;
use crate::harness::{free_port, turn};
use crate::otlp_sink::{Fault, OtlpSink};
use prost::Message;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// How long the collector refuses; `PLAINSPAN_TEST_DOWN_SECONDS` for the 60 s of the promise.
fn down_time() -> Duration {
    let seconds = std::env::var("PLAINSPAN_TEST_DOWN_SECONDS")
        .map_or(10, |text| text.parse().expect("seconds"));
    Duration::from_secs(seconds)
}

/// An agent with a spool, beside an nginx that it looks at alone.
struct Rig {
    work: Work,
    nginx: Server,
    config: Config,
    spool: PathBuf,
}

impl Rig {
    fn new(endpoint: &str) -> Rig {
        let work = Work::new();
        let spool = work.path("spool");
        Rig::at(work, &spool, endpoint, "1GiB")
    }

    fn at(work: Work, spool: &Path, endpoint: &str, max_bytes: &str) -> Rig {
        let nginx = servers::nginx_plain(&work);
        let config = Config::new("headers")
            .grpc(endpoint)
            .spool(spool, max_bytes)
            .tap("filters", json!({"include": [{"port": nginx.port}]}));
        Rig {
            work,
            nginx,
            config,
            spool: spool.to_owned(),
        }
    }

    fn start(&self) -> Agent {
        Agent::start(&self.work, &self.config.yaml())
    }

    fn get(&self) -> Gets {
        Gets::to(self.nginx.port, self.work.url_path("n/"))
    }

    /// Number of a request that a span is about.
    fn number(&self, path: &str) -> Option<u64> {
        path.strip_prefix(&self.work.url_path("n/"))?.parse().ok()
    }

    /// Numbers of the spans of one kind, in the order they came.
    fn numbers(&self, sink: &OtlpSink, kind: i32) -> Vec<u64> {
        let spans = sink.spans();
        let of_kind = spans.iter().filter(|span| span.span.kind == kind);
        of_kind
            .filter_map(|span| self.number(&target(span)?))
            .collect()
    }

    /// Spans of the requests; the agent sends its own, too.
    fn spans(&self, sink: &OtlpSink) -> u64 {
        let of = |kind| self.numbers(sink, kind).len() as u64;
        of(CLIENT) + of(SERVER)
    }

    /// Files of the spool of the traces, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.spool.join("collector.traces")).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|e| e == "spool"))
            .collect();
        files.sort();
        files
    }
}

const CLIENT: i32 = 3;
const SERVER: i32 = 2;

/// Requests on one connection, one after another, each with its number.
pub struct Gets {
    reader: BufReader<TcpStream>,
    prefix: String,
}

impl Gets {
    /// To nginx at this port; paths are the prefix and a number.
    pub fn to(port: u16, prefix: String) -> Gets {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("nginx listens");
        stream.set_nodelay(true).expect("a socket");
        Gets {
            reader: BufReader::new(stream),
            prefix,
        }
    }

    fn one(&mut self, number: u64, header: &str) {
        let request = format!(
            "GET {}{number} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n",
            self.prefix
        );
        let stream = self.reader.get_mut();
        stream.write_all(request.as_bytes()).expect("nginx reads");
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("nginx answers");
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("nginx answers");
    }

    /// So many a second, for this long, numbered from `first`; the next number.
    pub fn paced(&mut self, first: u64, per_second: u32, time: Duration) -> u64 {
        let started = Instant::now();
        let pause = Duration::from_secs(1) / per_second;
        let mut sent = 0;
        while started.elapsed() < time {
            let due = started + pause * sent;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.one(first + u64::from(sent), "");
            sent += 1;
        }
        first + u64::from(sent)
    }
}

/// What the spool of a signal holds, by `/status`.
fn spooled(ledger: &Ledger, signal: &str, what: &str) -> u64 {
    ledger.get(&["spools", &format!("collector/{signal}"), what])
}

/// Everything that was seen is in the spool, spans and log records.
fn all_spooled(ledger: &Ledger, items: u64) -> bool {
    ledger.kept() == items
        && ledger.in_flight() == 0
        && ["traces", "logs"]
            .iter()
            .all(|signal| spooled(ledger, signal, "items") == items)
}

/// An agent that has so many requests a second in its spool and is then killed; how many there were, and who asked.
fn spooled_and_killed(rig: &Rig, per_second: u32, time: Duration) -> (u64, Gets) {
    let agent = rig.start();
    let mut gets = rig.get();
    let all = gets.paced(0, per_second, time);
    agent.wait_ledger("all spooled", LIMIT, |l| all_spooled(l, 2 * all));
    agent.kill();
    (all, gets)
}

/// Waits for so many spans and log records of the requests at the collector, and until nothing waits; the ledger then.
fn all_arrived(rig: &Rig, agent: &Agent, sink: &OtlpSink, items: u64) -> Ledger {
    let arrived = sink.wait_for(|sink| rig.spans(sink) >= items, LIMIT);
    assert!(arrived, "{}", agent.ledger());
    let logs = sink.wait_logs(items as usize, LIMIT);
    assert!(logs, "{}", agent.ledger());
    agent.wait_ledger("nothing waits", LIMIT, nothing_waits)
}

/// The books of the traces: offered, exported, and what was lost by this reason.
fn of_traces(ledger: &Ledger, reason: &str) -> [u64; 3] {
    let number = |path: &[&str]| ledger.get(&[&["signals", "collector/traces"], path].concat());
    [
        number(&["offered"]),
        number(&["exported"]),
        number(&["lost", reason]),
    ]
}

/// No transaction, span or log record was lost. Of metrics numbers are, that did not arrive within their interval: the
/// next ones say the same and more.
fn assert_no_request_lost(ledger: &Ledger) {
    let lost = ["traces", "logs"].map(|name| ledger.signal_lost(&format!("collector/{name}")));
    assert_eq!((ledger.lost(), lost), (0, [0, 0]), "{ledger}");
}

fn nothing_waits(ledger: &Ledger) -> bool {
    ["traces", "logs"]
        .iter()
        .all(|signal| ledger.get(&["signals", &format!("collector/{signal}"), "in_flight"]) == 0)
}

#[test]
fn under_500_requests_a_second_a_collector_that_refuses_costs_nothing_and_the_order_is_kept() {
    let _turn = turn();
    let sink = OtlpSink::start();
    sink.fail_always(Fault::Unavailable);
    let rig = Rig::new(&sink.grpc_endpoint());
    let agent = rig.start();
    let mut gets = rig.get();
    let down = gets.paced(0, 500, down_time());
    let ledger = agent.ledger();
    assert_no_request_lost(&ledger);
    assert!(spooled(&ledger, "traces", "items") > down, "{ledger}");
    sink.heal();
    // Fresh ones beside the spool.
    let all = gets.paced(down, 500, Duration::from_secs(2));
    assert!(
        all * 10 >= (down_time().as_secs() + 2) * 500 * 9,
        "only {all} requests"
    );

    let ledger = all_arrived(&rig, &agent, &sink, 2 * all);
    assert_no_request_lost(&ledger);
    assert_eq!(spooled(&ledger, "traces", "batches"), 0);
    assert_eq!(rig.files(), [] as [PathBuf; 0]);
    for kind in [CLIENT, SERVER] {
        let seen = rig.numbers(&sink, kind);
        // What came long before the collector did is from the spool.
        let old: Vec<u64> = seen.iter().copied().filter(|n| *n + 1500 < down).collect();
        assert!(old.is_sorted(), "kind {kind}: {old:?}");
        let mut whole = seen;
        whole.sort_unstable();
        assert_eq!(whole, (0..all).collect::<Vec<_>>(), "kind {kind}");
    }
    agent.stop();
}

#[test]
fn after_sigkill_the_next_agent_sends_all_that_is_in_the_spool() {
    let _turn = turn();
    let port = free_port();
    let rig = Rig::new(&format!("http://127.0.0.1:{port}"));
    let (all, _) = spooled_and_killed(&rig, 200, Duration::from_secs(4));

    let sink = OtlpSink::start_at(port);
    let agent = rig.start();
    let ledger = all_arrived(&rig, &agent, &sink, 2 * all);
    ledger.assert_nothing_lost();
    let wanted = [2 * all, 2 * all, 0];
    assert_eq!(of_traces(&ledger, "shutdown"), wanted, "{ledger}");
    for kind in [CLIENT, SERVER] {
        assert_eq!(rig.numbers(&sink, kind), (0..all).collect::<Vec<_>>());
    }
    assert!(
        agent.log().contains("batches from before"),
        "{}",
        agent.log()
    );
    agent.stop();
}

#[test]
fn what_a_stop_cannot_send_is_sent_after_the_next_start() {
    let _turn = turn();
    let port = free_port();
    let rig = Rig::new(&format!("http://127.0.0.1:{port}"));
    let agent = rig.start();
    let mut gets = rig.get();
    for number in 0..50 {
        gets.one(number, "");
    }
    agent.wait_ledger("all seen", LIMIT, |ledger| ledger.kept() == 100);
    let stopped = agent.stop();
    assert!(
        stopped.stderr.contains("stay for the next start"),
        "{}",
        stopped.stderr
    );
    let sink = OtlpSink::start_at(port);
    let agent = rig.start();
    let arrived = sink.wait_for(|sink| rig.spans(sink) == 100, LIMIT);
    assert!(arrived, "{}", agent.ledger());
    assert!(sink.wait_logs(100, LIMIT), "{}", agent.ledger());
    agent.stop();
}

#[test]
fn flipped_bits_in_the_spool_cost_their_batches_alone_and_stop_nothing() {
    let _turn = turn();
    let port = free_port();
    let rig = Rig::new(&format!("http://127.0.0.1:{port}"));
    let (all, mut gets) = spooled_and_killed(&rig, 100, Duration::from_secs(5));
    // One bit in the first record's header, one in the content at the end, and an end that is torn.
    let files = rig.files();
    flip(&files[0], 10);
    let last = files.last().expect("a file");
    let length = last.metadata().expect("a file").len();
    flip(last, length - 3);
    let mut torn = std::fs::OpenOptions::new()
        .append(true)
        .open(last)
        .expect("a file");
    torn.write_all(b"\xffPSB\x01\0\0\0torn").expect("room");

    let sink = OtlpSink::start_at(port);
    let agent = rig.start();
    let ledger = agent.wait_ledger("nothing waits", LIMIT, |ledger| {
        nothing_waits(ledger) && ledger.get(&["signals", "collector/logs", "exported"]) == 2 * all
    });
    let [offered, exported, corrupt] = of_traces(&ledger, "spool_corrupt");
    assert!(corrupt > 0 && exported > 0, "{ledger}");
    // What has no header any more cannot be counted as items: the log gives its bytes.
    assert!(offered < 2 * all, "{ledger}");
    assert_eq!(offered, exported + corrupt, "{ledger}");
    assert_eq!(rig.spans(&sink), exported);
    for kind in [CLIENT, SERVER] {
        assert!(rig.numbers(&sink, kind).is_sorted());
    }
    assert!(
        agent.log().contains("something is damaged"),
        "{}",
        agent.log()
    );
    // It goes on as ever.
    gets.one(all, "");
    assert!(
        sink.wait_for(|sink| rig.spans(sink) == exported + 2, LIMIT),
        "{}",
        agent.ledger()
    );
    agent.stop();
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x20], at).expect("a byte");
}

/// A small file system in memory; unmounted when it goes.
struct Small(PathBuf);

impl Small {
    fn new(work: &Work, size: &str) -> Small {
        let path = work.folder("small");
        let mut mount = Command::new("mount");
        mount
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=700"),
                "tmpfs",
            ])
            .arg(&path);
        run_well(&mut mount, work.dir(), "mount", Duration::from_secs(10));
        Small(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        match Command::new("umount").arg("-l").arg(&self.0).status() {
            Ok(status) if status.success() => {}
            other => eprintln!("{} stays mounted: {other:?}", self.0.display()),
        }
    }
}

#[test]
fn on_a_full_disk_batches_wait_in_memory_and_arrive() {
    let _turn = turn();
    let work = Work::new();
    let small = Small::new(&work, "256k");
    let port = free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let rig = Rig::at(work, &small.0.join("spool"), &endpoint, "1GiB");
    let agent = rig.start();
    let mut gets = rig.get();
    // Some of it fits, and then nothing does.
    let first = gets.paced(0, 50, Duration::from_secs(3));
    agent.wait_ledger("all spooled", LIMIT, |l| all_spooled(l, 2 * first));
    let filler = small.0.join("filler");
    let full = std::fs::write(&filler, vec![1; 1 << 20]);
    assert!(full.is_err(), "the disk is larger than was asked for");
    let all = gets.paced(first, 50, Duration::from_secs(4));
    let ledger = agent.wait_ledger("all seen", LIMIT, |ledger| ledger.kept() == 2 * all);
    ledger.assert_nothing_lost();
    assert!(ledger.in_flight() > 0, "{ledger}");
    assert!(
        agent.log().contains("cannot write to the spool"),
        "{}",
        agent.log()
    );

    let sink = OtlpSink::start_at(port);
    let ledger = all_arrived(&rig, &agent, &sink, 2 * all);
    ledger.assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    for number in 0..all {
        seen.pair(&rig.work.url_path(&format!("n/{number}")));
    }
}

#[test]
fn a_full_spool_stays_within_its_bytes_and_is_sent_after_sigkill_and_the_rest_is_lost_by_name() {
    let _turn = turn();
    let work = Work::new();
    let spool = work.path("spool");
    let port = free_port();
    let rig = Rig::at(work, &spool, &format!("http://127.0.0.1:{port}"), "1MiB");
    let agent = rig.start();
    let mut gets = rig.get();
    // No compressor makes this smaller than three quarters.
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..400 {
        let fat: String = (0..3000).map(|_| random.alphanumeric()).collect();
        gets.one(number, &format!("x-fat: {fat}\r\n"));
        std::thread::sleep(Duration::from_millis(10));
    }
    let ledger = agent.wait_ledger("the last is spooled or lost", LIMIT, |ledger| {
        ledger.kept() == 800 && ledger.in_flight() == 0
    });
    let lost = ledger.get(&["transactions", "lost", "spool_full"]);
    assert!(lost > 0 && lost < 800, "{ledger}");
    assert_eq!(ledger.exported() + lost, 800, "{ledger}");
    let bytes = spooled(&ledger, "traces", "bytes") + spooled(&ledger, "logs", "bytes");
    assert!(bytes <= 1 << 20, "{ledger}");
    let on_disk: u64 = rig
        .files()
        .iter()
        .map(|f| f.metadata().expect("a file").len())
        .sum();
    assert_eq!(on_disk, spooled(&ledger, "traces", "bytes"));
    let held = spooled(&ledger, "traces", "items");

    agent.kill();

    let sink = OtlpSink::start_at(port);
    let agent = rig.start();
    let arrived = sink.wait_for(|sink| rig.spans(sink) == held, LIMIT);
    assert!(arrived, "{}", agent.ledger());
    let ledger = agent.wait_ledger("nothing waits", LIMIT, nothing_waits);
    ledger.assert_nothing_lost();
    assert_eq!(
        of_traces(&ledger, "spool_full"),
        [held, held, 0],
        "{ledger}"
    );
    assert_eq!(rig.spans(&sink), held);
    agent.stop();
}

#[test]
fn under_500_requests_a_second_without_a_spool_the_bound_holds_what_it_can_and_the_rest_is_lost_by_name()
 {
    // An eighth of the memory for each signal; what an item takes beside its message.
    const MEMORY: &str = "16MiB";
    const BOUND: u64 = 2 << 20;
    const OVERHEAD: u64 = 128;
    let _turn = turn();
    let sink = OtlpSink::start();
    sink.fail_always(Fault::Unavailable);
    let work = Work::new();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("headers")
        .grpc(&sink.grpc_endpoint())
        .limit("memory", MEMORY)
        .tap("filters", json!({"include": [{"port": nginx.port}]}));
    let rig = Rig {
        spool: work.path("none"),
        work,
        nginx,
        config,
    };
    let agent = rig.start();
    let all = rig.get().paced(0, 500, down_time());
    let down = agent.wait_ledger("all seen", LIMIT, |ledger| ledger.kept() == 2 * all);
    let [offered, exported, lost] = of_traces(&down, "queue_full");
    let held = down.get(&["signals", "collector/traces", "in_flight"]);
    assert_eq!([offered, exported], [2 * all, 0], "{down}");
    assert_eq!(held + lost, 2 * all, "{down}");
    assert!(lost > 0, "the bound held it all: {down}");

    sink.heal();
    let ledger = agent.wait_ledger("nothing waits", LIMIT, nothing_waits);
    let wanted = [2 * all, held, 2 * all - held];
    assert_eq!(of_traces(&ledger, "queue_full"), wanted, "{ledger}");
    // A transaction that one of the signals lost is lost.
    let queue_full = ledger.get(&["transactions", "lost", "queue_full"]);
    assert_eq!(
        (ledger.lost(), ledger.in_flight()),
        (queue_full, 0),
        "{ledger}"
    );
    assert_eq!(ledger.exported() + queue_full, 2 * all, "{ledger}");
    assert_eq!(rig.spans(&sink), held);
    // What was held is the oldest, and as much as the bound says.
    let spans = sink.spans();
    let of_requests = spans
        .iter()
        .filter(|span| target(span).is_some_and(|path| rig.number(&path).is_some()));
    let bytes: u64 = of_requests
        .map(|span| span.span.encoded_len() as u64 + OVERHEAD)
        .sum();
    assert!((BOUND * 9 / 10..=BOUND).contains(&bytes), "{bytes}");
    for kind in [CLIENT, SERVER] {
        let mut seen = rig.numbers(&sink, kind);
        seen.sort_unstable();
        let count = seen.len() as u64;
        assert!(
            seen.last().is_some_and(|last| *last < count + 50),
            "{kind}: {seen:?}"
        );
    }
    agent.stop();
}
