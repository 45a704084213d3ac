//! Everything that goes wrong on a host, at once and for long, under a steady load: clients and servers are killed,
//! configurations exchanged, the collector and the store fail, programs and network namespaces come and go, and for a
//! while a second agent with a ring that is far too small stands beside the first. All of it is drawn from one seed.

use super::memory::Watch;
use super::store::{Mode, Store};
use super::{only_programs, setting};
use crate::harness::agent::{Agent, Launch, write_config};
use crate::harness::config::Config;
use crate::harness::process::Running;
use crate::harness::servers::{self, Server};
use crate::harness::work::Work;
use crate::harness::{free_port, turn, wait_until};
use crate::otlp_sink::{Fault, OtlpSink};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Within what PSS stays from the warm-up, a quarter of the time, to the end, in KiB.
const WITHIN_KIB: u64 = 2 * 1024;
/// What may be more when all is over, in KiB.
const AT_END_KIB: u64 = 2 * 1024;
/// Until all that was known of what is gone is forgotten.
const SETTLED: Duration = Duration::from_secs(180);

/// Splitmix64: the same seed gives the same chaos.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least))
    }
}

/// A client that does little; `doomed`: it is killed then.
struct Client {
    running: Running,
    doomed: Option<Instant>,
    must_work: bool,
}

/// Two configurations that take turns.
struct Configs([String; 2]);

impl Configs {
    fn new(work: &Work, sink: &OtlpSink, store: &Store) -> Configs {
        let config = |level: &str, name: &str| {
            Config::new(level)
                .grpc_without_metrics(&sink.grpc_endpoint())
                .spool(&work.folder("spool"), "64MiB")
                .s3(store.config(&work.folder("payload-spool")))
                .capture(
                    "object_store",
                    json!({"id": "payloads", "from_level": "full"}),
                )
                .rule("full", "http.req.path contains \"/full/\"", "full")
                .resource("configuration", name)
                .limit("memory", "64MiB")
                .tap("filters", only_programs())
                .yaml()
        };
        Configs([config("headers", "one"), config("summary", "two")])
    }
}

struct Chaos {
    dice: Dice,
    work: Work,
    sink: OtlpSink,
    store: Store,
    agent: Agent,
    configs: Configs,
    nginx: Server,
    /// Ends and is started again.
    victim: Option<Server>,
    clients: Vec<Client>,
    started: u64,
    /// When the collector, and the store, are well again.
    heal: [Option<Instant>; 2],
    /// Reloads that must be applied, and refused.
    reloads: [u64; 2],
    counts: BTreeMap<&'static str, u64>,
    netns_port: u16,
    current: usize,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        let work = Work::new();
        let sink = OtlpSink::start().unread();
        let store = Store::start();
        let nginx = servers::nginx(&work);
        let configs = Configs::new(&work, &sink, &store);
        let agent = Launch::new(&write_config(&work, &configs.0[0]))
            .quiet()
            .start(&work);
        Chaos {
            dice: Dice(seed),
            sink,
            store,
            agent,
            configs,
            nginx,
            victim: None,
            clients: Vec::new(),
            started: 0,
            heal: [None; 2],
            reloads: [0; 2],
            counts: BTreeMap::new(),
            netns_port: free_port(),
            current: 0,
            work,
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn start(&mut self, command: &mut Command, doomed: Option<Duration>, must_work: bool) {
        // Few names: their outputs are written over.
        let name = format!("client-{}", self.started % 64);
        self.started += 1;
        self.clients.push(Client {
            running: Running::start(command, self.work.dir(), &name),
            doomed: doomed.map(|after| Instant::now() + after),
            must_work: must_work && doomed.is_none(),
        });
    }

    fn curl(&self, server: &Server, target: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["-q", "-s", "-S", "-f", "-o", "/dev/null", "--cacert"])
            .arg(self.work.path("cert.pem"))
            .arg(format!("{}{target}", server.base()));
        command
    }

    /// One thing happens.
    fn act(&mut self) {
        let kind = self.dice.below(100);
        match kind {
            0..50 => {
                let target = match self.dice.below(10) {
                    0 => self.work.url_path("full/200k.bin"),
                    _ => self.work.url_path("get/churn"),
                };
                let mut command = self.curl(&self.nginx, &target);
                self.start(&mut command, None, true);
                self.count("clients that came and went");
            }
            50..65 => self.doom(),
            65..72 => self.end_victim(),
            72..82 => self.namespace(),
            82..88 => self.reload(),
            88..94 => self.fail_collector(),
            _ => self.fail_store(),
        }
    }

    /// A client in the middle of something is killed.
    fn doom(&mut self) {
        self.revive();
        let Some(victim) = &self.victim else { return };
        let target = match self.dice.below(3) {
            0 => self.work.url_path("full/flood/100000000"),
            1 => self.work.url_path("endless/0.1"),
            _ => self.work.url_path("slow/2"),
        };
        let mut command = self.curl(victim, &target);
        let after = self.dice.between(20, 1500);
        self.start(&mut command, Some(after), false);
        self.count("clients killed");
    }

    fn revive(&mut self) {
        if self.victim.is_none() {
            self.victim = Some(servers::python(&self.work));
        }
    }

    /// The server is killed in the middle of what it does.
    fn end_victim(&mut self) {
        if let Some(mut victim) = self.victim.take() {
            victim.running.signal(libc::SIGKILL);
            victim.running.wait(Duration::from_secs(5));
            self.count("servers killed");
        }
    }

    /// A network namespace with a server and a client, which goes with them.
    fn namespace(&mut self) {
        let port = self.netns_port;
        let script = format!(
            "ip link set lo up; /usr/bin/python3 -m http.server -d {dir} -b 127.0.0.1 {port} & s=$!; \
             curl -q -s -f -o /dev/null --retry 50 --retry-connrefused --retry-delay 0 --retry-max-time 20 \
             http://127.0.0.1:{port}/cert.pem; code=$?; kill $s; wait $s; exit $code",
            dir = self.work.dir().display()
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script]);
        self.start(&mut command, None, true);
        self.count("network namespaces");
    }

    fn reload(&mut self) {
        if self.dice.below(4) == 0 {
            let bad = self.configs.0[self.current].replace("direction:", "directon:");
            write_config(&self.work, &bad);
            self.reloads[1] += 1;
            self.count("reloads of a bad file");
        } else {
            self.current = 1 - self.current;
            write_config(&self.work, &self.configs.0[self.current]);
            self.reloads[0] += 1;
            self.count("reloads");
        }
        self.agent.signal(libc::SIGHUP);
        // Two signals at once would be one.
        let wanted = self.reloads;
        wait_until(
            Duration::from_secs(30),
            "reload",
            || (reloads(&self.agent) == wanted).then_some(()),
            || self.agent.log(),
        );
    }

    fn fail_collector(&mut self) {
        let fault = match self.dice.below(4) {
            0 => Fault::Unavailable,
            1 => Fault::Slow(Duration::from_secs(1)),
            2 => Fault::Disconnect,
            _ => Fault::Exhausted {
                retry_after: Some(Duration::from_millis(200)),
            },
        };
        self.sink.fail_always(fault);
        self.heal[0] = Some(Instant::now() + self.dice.between(500, 4000));
        self.count("failures of the collector");
    }

    fn fail_store(&mut self) {
        self.store.set(match self.dice.below(3) {
            0 => Mode::Failing,
            1 => Mode::Slow,
            _ => Mode::Gone,
        });
        self.heal[1] = Some(Instant::now() + self.dice.between(500, 4000));
        self.count("failures of the store");
    }

    /// What is due: clients that ended or are to end, destinations that are well again.
    fn look(&mut self) {
        let now = Instant::now();
        for client in &self.clients {
            if client.doomed.is_some_and(|due| due <= now) {
                client.running.signal(libc::SIGKILL);
            }
        }
        let mut failed = Vec::new();
        self.clients
            .retain_mut(|client| match client.running.exited() {
                None => true,
                Some(status) => {
                    if client.must_work && status.code() != Some(0) {
                        failed.push(format!("{status}: {}", client.running.outputs()));
                    }
                    false
                }
            });
        assert!(
            failed.is_empty(),
            "clients that nobody killed failed: {failed:?}"
        );
        if self.heal[0].is_some_and(|due| due <= now) {
            self.sink.heal();
            self.heal[0] = None;
        }
        if self.heal[1].is_some_and(|due| due <= now) {
            self.store.set(Mode::Well);
            self.heal[1] = None;
        }
        // What came is thrown away: the sink is in this process, and for long.
        self.sink.clear();
    }

    /// Chaos for this long; a sample of memory every two seconds.
    fn rage(&mut self, time: Duration, mut watch: Option<&mut Watch>) {
        let end = Instant::now() + time;
        let mut next = Instant::now();
        let mut sample = Instant::now();
        while Instant::now() < end {
            self.look();
            if Instant::now() >= next {
                self.act();
                next = Instant::now() + self.dice.between(50, 350);
            }
            if let Some(watch) = watch.as_deref_mut()
                && Instant::now() >= sample
            {
                watch.sample();
                sample = Instant::now() + Duration::from_secs(2);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Collector and store take nothing until all that may wait for them does, with payloads among it: what this takes
    /// of memory, the agent keeps.
    fn worst(&mut self, time: Duration, watch: &mut Watch) {
        self.sink.fail_always(Fault::Unavailable);
        self.store.set(Mode::Failing);
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.look();
            let mut command = self.curl(&self.nginx, &self.work.url_path("full/200k.bin"));
            self.start(&mut command, None, true);
            watch.sample();
            std::thread::sleep(Duration::from_millis(100));
        }
        self.sink.heal();
        self.store.set(Mode::Well);
    }

    /// Nothing happens any more, and all that did has gone its way.
    fn calm(&mut self) {
        self.sink.heal();
        self.store.set(Mode::Well);
        self.heal = [None; 2];
        self.end_victim();
        let end = Instant::now() + Duration::from_secs(60);
        while !self.clients.is_empty() {
            assert!(Instant::now() < end, "clients do not end");
            self.look();
            std::thread::sleep(Duration::from_millis(50));
        }
        self.agent.wait_ledger("empty queues", SETTLED, |ledger| {
            let signals = ["collector/traces", "collector/logs"];
            let waiting: u64 = signals
                .iter()
                .map(|s| ledger.get(&["signals", s, "in_flight"]))
                .sum();
            ledger.in_flight() == 0 && waiting == 0 && ledger.get(&["payloads", "in_flight"]) == 0
        });
    }

    fn held(&self) -> Held {
        let pid = self.agent.pid();
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
        let status = self.agent.status();
        let maps = status["agent"]["maps"].as_object().expect("maps");
        let entries = |map: &serde_json::Value| map["entries"].as_u64().expect("a number");
        Held {
            descriptors: fds.count(),
            maps: maps.iter().map(|(n, m)| (n.clone(), entries(m))).collect(),
        }
    }
}

/// What must not grow.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    maps: BTreeMap<String, u64>,
}

impl Held {
    /// No more of anything. Policies are of processes of the whole host, which come and go beside the test: one each at
    /// the most.
    fn within(&self, before: &Held) -> bool {
        let processes = std::fs::read_dir("/proc").expect("/proc").count() as u64;
        let fits = |(name, n): (&String, &u64)| match &**name {
            "process_policies" => *n <= before.maps[name].max(processes),
            _ => *n <= before.maps[name],
        };
        self.descriptors <= before.descriptors && self.maps.iter().all(fits)
    }
}

fn reloads(agent: &Agent) -> [u64; 2] {
    let reloads = &agent.status()["config"]["reloads"];
    ["applied", "refused"].map(|name| reloads[name].as_u64().expect("a count"))
}

/// The steady load: HTTP/1.1 and HTTP/2 over TLS at a fixed rate. None of its requests may fail.
fn steady(chaos: &Chaos, http2: &Server, rate: u64, seconds: u64) -> Vec<Running> {
    let load = |name: &str, server: &Server, clients: u64, rate: u64, more: &[&str]| {
        let mut command = Command::new("h2load");
        command
            .args(more)
            .args(["-c", &clients.to_string(), "-D", &seconds.to_string()])
            .args(["--rps", &(rate / clients).to_string()])
            .arg(format!(
                "{}{}",
                server.base(),
                chaos.work.url_path("get/load")
            ));
        Running::start(&mut command, chaos.work.dir(), name)
    };
    vec![
        load("h2load-1", &chaos.nginx, 16, rate * 4 / 5, &["--h1"]),
        load("h2load-2", http2, 4, rate / 5, &["-m", "4"]),
    ]
}

/// Requests that were made; none failed.
fn answered(load: &Running) -> u64 {
    let text = load.stdout();
    let line = text.lines().find(|l| l.starts_with("requests: "));
    let line = line.unwrap_or_else(|| panic!("no result: {}", load.outputs()));
    let number = |what: &str| {
        let words: Vec<&str> = line.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        let at = words.iter().position(|w| *w == what).expect("its count");
        words[at - 1].parse::<u64>().expect("a number")
    };
    for bad in ["failed", "errored", "timeout"] {
        assert_eq!(number(bad), 0, "{line}");
    }
    number("succeeded")
}

#[test]
fn after_chaos_the_books_balance_and_nothing_has_grown() {
    let _turn = turn();
    let seconds = setting("PLAINSPAN_SOAK_CHAOS_SECONDS", 1200);
    let rate = setting("PLAINSPAN_SOAK_CHAOS_RATE", 2000);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let seed = setting("PLAINSPAN_SOAK_CHAOS_SEED", now.as_secs());
    println!("PLAINSPAN_SOAK_CHAOS_SEED={seed}, {seconds} s at {rate} requests a second");

    let mut chaos = Chaos::new(seed);
    let second_work = Work::new();
    let http2 = servers::nginx_http2(&second_work, "https");
    std::fs::copy(second_work.path("cert.pem"), chaos.work.path("second.pem")).expect("a copy");
    // All that is made once is made.
    chaos.rage(Duration::from_secs(15), None);
    chaos.calm();
    std::thread::sleep(Duration::from_secs(15));
    let before = chaos.held();

    let mut loads = steady(&chaos, &http2, rate, seconds);
    let mut watch = Watch::new("chaos", chaos.agent.pid());
    let part = |share: u64| Duration::from_millis(seconds * share * 10);
    chaos.worst(part(5), &mut watch);
    chaos.rage(part(35), Some(&mut watch));
    let tiny_work = Work::new();
    let tiny_sink = OtlpSink::start().unread();
    let config = Config::new("full")
        .grpc_without_metrics(&tiny_sink.grpc_endpoint())
        .limit("ring", "64KiB")
        .tap("filters", only_programs());
    let copy = tiny_work.path("plainspan");
    let tiny = Launch::of_copy(&copy, &write_config(&tiny_work, &config.yaml()))
        .quiet()
        .start(&tiny_work);
    for _ in 0..10 {
        chaos.rage(part(2), Some(&mut watch));
        // As on a host that is too busy for it.
        tiny.signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(300));
        tiny.signal(libc::SIGCONT);
        tiny_sink.clear();
        // Its books balance, or this panics.
        tiny.ledger();
    }
    let ledger = tiny.ledger();
    let overflowed = ledger.get(&["transactions", "lost", "ring_full"]);
    println!(
        "ring of 64 KiB: {} transactions seen, {overflowed} lost, {} of {} bytes lost",
        ledger.seen(),
        ledger.get(&["bytes", "lost"]),
        ledger.get(&["bytes", "seen"])
    );
    assert!(
        ledger.get(&["bytes", "lost"]) > 0,
        "the small ring did not overflow"
    );
    tiny.stop();
    chaos.rage(part(40), Some(&mut watch));
    let mut requests = 0;
    for load in &mut loads {
        load.wait(Duration::from_secs(seconds / 5 + 60));
        requests += answered(load);
    }
    // Of the steady load no sample is taken while it ends.
    chaos.calm();
    watch.sample();
    watch.print();

    let limit = SETTLED;
    let after = std::cell::RefCell::new(chaos.held());
    wait_until(
        limit,
        "as few descriptors and map entries as before",
        || {
            *after.borrow_mut() = chaos.held();
            after.borrow().within(&before).then_some(())
        },
        || {
            format!(
                "before {before:?}\nafter {:?}\n{}",
                after.borrow(),
                chaos.agent.log()
            )
        },
    );
    let ledger = chaos.agent.ledger();
    assert_eq!(reloads(&chaos.agent), chaos.reloads);
    println!("{:?}", chaos.counts);
    println!("before {before:?}\nafter  {:?}", after.borrow());
    println!(
        "{requests} requests of the steady load, none failed; transactions: {} seen, {} exported, {} lost ({} in the ring); {} payloads stored, {} lost",
        ledger.seen(),
        ledger.exported(),
        ledger.lost(),
        ledger.get(&["transactions", "lost", "ring_full"]),
        ledger.get(&["payloads", "stored"]),
        ledger.payloads_lost(),
    );
    for (what, count) in &chaos.counts {
        assert!(*count > 0, "no {what}");
    }
    assert_eq!(ledger.in_flight(), 0, "{ledger}");
    assert!(ledger.seen() >= requests, "{ledger}");
    chaos.agent.stop();
    watch.assert_flat(part(25), WITHIN_KIB, AT_END_KIB);
}
