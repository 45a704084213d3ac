//! More than `limits.memory` takes, of everything at once: bodies on many connections, spans and log records that no
//! collector takes, payloads that no store takes, and no spool. Memory stays within the limit, and what finds no room is
//! counted.

use super::memory::Watch;
use super::only_programs;
use super::store::{Mode, Store};
use crate::harness::agent::{Launch, write_config};
use crate::harness::config::Config;
use crate::harness::process::Running;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{Fault, OtlpSink};
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT_MIB: u64 = 32;
/// Beside the limit: what the allocator keeps and cannot use again, threads' stacks, what is known of processes and
/// files.
const BESIDE_MIB: u64 = 16;
const TIME: Duration = Duration::from_secs(30);

#[test]
fn memory_stays_within_its_limit_when_nothing_is_taken_from_the_agent() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start().unread();
    let store = Store::start();
    let nginx = servers::nginx(&work);
    let python_work = Work::new();
    let python = servers::python(&python_work);
    let mut payloads = store.config(&work.folder("not-used"));
    payloads.as_object_mut().expect("a store").remove("spool");
    let config = Config::new("full")
        .grpc_without_metrics(&sink.grpc_endpoint())
        .s3(payloads)
        .limit("memory", &format!("{LIMIT_MIB}MiB"))
        .tap("filters", only_programs());
    let agent = Launch::new(&write_config(&work, &config.yaml()))
        .quiet()
        .start(&work);
    let mut before = Watch::new("before", agent.pid());
    before.sample();

    sink.fail_always(Fault::Unavailable);
    store.set(Mode::Gone);
    let seconds = TIME.as_secs().to_string();
    let mut small = Command::new("h2load");
    small
        .args(["--h1", "-c", "20", "--rps", "100", "-D", &seconds])
        .arg(format!("{}{}", nginx.base(), work.url_path("get/small")));
    let mut small = Running::start(&mut small, work.dir(), "small");
    // 80 bodies of more than is kept of one, at once.
    let mut large = Command::new("curl");
    large
        .args(["-q", "-s", "-S", "-f", "--http1.1", "-o", "/dev/null"])
        .args(["-Z", "--parallel-max", "80", "--limit-rate", "150k"])
        .args(["--max-time", &seconds, "--cacert"])
        .arg(python_work.path("cert.pem"))
        .arg(format!(
            "{}{}?n=[1-80]",
            python.base(),
            python_work.url_path("flood/3000000")
        ));
    let mut large = Running::start(&mut large, work.dir(), "large");
    let mut watch = Watch::new("pressure", agent.pid());
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        watch.sample();
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("{}", agent.status()["queues"]);
    small.wait(Duration::from_secs(30));
    large.wait(Duration::from_secs(30));
    watch.print();

    let ledger = agent.ledger();
    let signals = ["collector/traces", "collector/logs"];
    let evicted = ledger.get(&["transactions", "lost", "evicted"]);
    let lowered = ledger.get(&["payloads", "left_out", "lowered"]);
    println!(
        "{evicted} transactions evicted, {:?} items of signals lost, {lowered} payloads lowered and {} lost",
        signals.map(|signal| ledger.signal_lost(signal)),
        ledger.payloads_lost()
    );
    let (least, _) = before.anonymous();
    let (_, most) = watch.anonymous();
    println!("{least} KiB before, {most} KiB at the most");
    assert!(evicted > 0, "connections had room: {ledger}");
    for signal in signals {
        let lost = ledger.get(&["signals", signal, "lost", "queue_full"]);
        assert!(lost > 0, "{signal} had room: {ledger}");
    }
    assert!(
        lowered + ledger.payloads_lost() > 0,
        "payloads had room: {ledger}"
    );
    assert!(
        most <= least + (LIMIT_MIB + BESIDE_MIB) * 1024,
        "{least} KiB before, {most} KiB at the most, with a limit of {LIMIT_MIB} MiB"
    );
    sink.heal();
    store.set(Mode::Well);
    agent.stop();
}
