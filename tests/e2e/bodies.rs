//! Bodies that nobody wants stay in the kernel: 100 MB go by, and the ledger says where each byte went.

use crate::harness::agent::{Agent, write_config};
use crate::harness::config::Config;
use crate::harness::exchange::{body_of, wait_for_targets};
use crate::harness::plan::Call;
use crate::harness::process::{Running, run_well};
use crate::harness::scene::{complete, payload};
use crate::harness::seen::{Seen, target};
use crate::harness::servers::{self, PYTHON, Server};
use crate::harness::work::Work;
use crate::harness::{pattern, turn, wait_until};
use crate::otlp_sink::OtlpSink;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

const SIZE: u64 = 100_000_000;
/// What heads, and what stands around chunks, may come to: one in a hundred of the content.
const HEADS: u64 = SIZE / 100;

/// nginx with a file of 100 MB.
fn nginx(work: &Work, start: fn(&Work) -> Server) -> (Server, String) {
    let server = start(work);
    let file = work.folder("nginx/www").join("100m.bin");
    std::fs::write(file, pattern(SIZE as usize)).expect("write a file to serve");
    (server, work.url_path("file/100m.bin"))
}

/// A Python server that sends 100 MB in chunks of 64 KiB.
fn chunks(work: &Work, start: fn(&Work) -> Server) -> (Server, String) {
    (start(work), work.url_path(&format!("flood/{SIZE}")))
}

fn download(work: &Work, server: &Server, target: &str) {
    let mut command = Command::new("curl");
    command.args(["-q", "-sSf", "--http1.1", "-o", "/dev/null", "--cacert"]);
    command.arg(work.path("cert.pem"));
    command.arg(format!("{}{target}", server.base()));
    run_well(&mut command, work.dir(), "curl", Duration::from_secs(60));
}

/// Proportional set size of the agent, in bytes.
fn pss(agent: &Agent) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", agent.pid());
    let text = std::fs::read_to_string(path).expect("smaps_rollup");
    let line = text.lines().find(|l| l.starts_with("Pss:")).expect("Pss");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    kib << 10
}

type Start = fn(&Work) -> Server;
type Served = fn(&Work, Start) -> (Server, String);

/// Each of the programs that serve 100 MB, over TLS and plain.
const SERVED: [(&str, Served, Start); 4] = [
    ("nginx over TLS", nginx, servers::nginx),
    ("nginx without TLS", nginx, servers::nginx_plain),
    ("chunks over TLS", chunks, servers::python),
    ("chunks without TLS", chunks, servers::python_plain),
];

#[test]
fn at_level_none_nothing_of_100_mb_is_copied_and_memory_stays_flat() {
    let _turn = turn();
    for (name, served, start) in SERVED {
        let work = Work::new();
        let sink = OtlpSink::start();
        let (server, target) = served(&work, start);
        let config = Config::new("none").grpc(&sink.grpc_endpoint());
        let agent = Agent::start(&work, &config.yaml());
        let before = pss(&agent);
        download(&work, &server, &target);
        let ledger = agent.wait_ledger("all bytes", Duration::from_secs(10), |ledger| {
            ledger.get(&["bytes", "skipped", "level_none"]) >= 2 * SIZE
        });
        let after = pss(&agent);
        assert!(after < before + (2 << 20), "{name}: {before} {after}");
        assert_eq!(ledger.get(&["bytes", "copied"]), 0, "{name}: {ledger}");
        assert_eq!((ledger.seen(), ledger.get(&["bytes", "lost"])), (0, 0));
        agent.stop();
        assert!(Seen::of(&sink).spans_of(&target).is_empty());
    }
}

#[test]
fn at_level_headers_100_mb_are_told_by_their_heads() {
    let _turn = turn();
    for (name, served, start) in SERVED {
        let work = Work::new();
        let sink = OtlpSink::start();
        let (server, target) = served(&work, start);
        let config = Config::new("headers").grpc(&sink.grpc_endpoint());
        let agent = Agent::start(&work, &config.yaml());
        let before = pss(&agent);
        download(&work, &server, &target);
        wait_for_targets(&agent, &sink, &[Call::get(target.as_str())], 2);
        let after = pss(&agent);
        let ledger = agent.wait_ledger("all bytes", Duration::from_secs(10), |ledger| {
            ledger.get(&["bytes", "seen"]) >= 2 * SIZE
        });
        ledger.assert_nothing_lost();
        // Both ends are seen, so there is twice of everything.
        let copied = ledger.get(&["bytes", "copied"]);
        println!(
            "{name}: {copied} of {} bytes copied, PSS {before} -> {after}",
            2 * SIZE
        );
        assert!(copied < 2 * HEADS, "{name}: {ledger}");
        assert!(ledger.get(&["bytes", "skipped", "content"]) > 2 * (SIZE - HEADS));
        // The ring's pages count once they are touched; bodies would be many times this.
        assert!(after < before + (12 << 20), "{name}: {before} {after}");
        agent.stop();
        let seen = Seen::of(&sink);
        let pair = seen.pair(&target);
        for span in [pair.client, pair.server] {
            assert!(complete(span), "{name}");
            assert_eq!(
                span.int("http.response.body.size"),
                Some(SIZE as i64),
                "{name}"
            );
        }
    }
}

#[test]
fn a_rule_that_may_want_a_body_has_it_copied() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = servers::nginx(&work);
    let config = Config::new("headers")
        .rule("large", "http.res.body.size > 1MB", "full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());
    let target = work.url_path("file/1m.bin");
    download(&work, &server, &target);
    wait_for_targets(&agent, &sink, &[Call::get(target.as_str())], 2);
    agent.stop();
    let seen = Seen::of(&sink);
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        assert_eq!(
            span.text("plainspan.capture.level").as_deref(),
            Some("full")
        );
        assert!(body_of(&payload(span)["response"]) == pattern(1 << 20));
    }
}

#[test]
fn what_rules_say_of_a_port_holds_for_each_connection() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let (quiet, loud) = (servers::python_plain(&work), servers::python_plain(&work));
    let of = |server: &Server| format!("src.port == {0} or dst.port == {0}", server.port);
    let config = Config::new("headers")
        .rule("quiet", &of(&quiet), "none")
        .rule("loud", &of(&loud), "full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());
    let target = work.url_path("size/3000000");
    for _ in 0..2 {
        download(&work, &quiet, &target);
    }
    let ledger = agent.wait_ledger("left out", Duration::from_secs(10), |ledger| {
        ledger.get(&["bytes", "skipped", "level_none"]) > 0
    });
    // The kernel hears of it a few milliseconds after the connection began.
    println!("{}", ledger.get(&["bytes", "copied"]));
    download(&work, &loud, &target);
    wait_for_targets(&agent, &sink, &[Call::get(target.as_str())], 2);
    agent.stop();
    let seen = Seen::of(&sink);
    assert_eq!(seen.spans_of(&target).len(), 2);
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        assert_eq!(
            span.text("plainspan.capture.level").as_deref(),
            Some("full")
        );
    }
}

/// Asks for 200 KiB again and again on one connection: `http.client` for HTTP/1, `http2` of Node for HTTP/2.
const HELD_HTTP1: &str = "import http.client,ssl,sys,time
port,path,ca=sys.argv[1:]
c=http.client.HTTPSConnection('localhost',int(port),context=ssl.create_default_context(cafile=ca))
end=time.time()+6;n=0
while time.time()<end:
    c.request('GET','%s?%d'%(path,n));c.getresponse().read();n+=1;time.sleep(0.05)
";
const HELD_HTTP2: &str = "const http2=require('http2'),fs=require('fs'),[port,path,ca]=process.argv.slice(1);
const s=http2.connect('https://localhost:'+port,{family:4,ca:fs.readFileSync(ca)});
const end=Date.now()+6000;let n=0;
const one=()=>{if(Date.now()>end)return s.close();
const r=s.request({':path':path+'?'+n++});r.on('data',()=>{});r.on('end',()=>setTimeout(one,50))};one();";

fn held(start: impl Fn(&Work) -> Server, program: &[&str]) {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = start(&work);
    let configuration = |level: &str| {
        Config::new(level)
            .grpc(&sink.grpc_endpoint())
            .disk(&work.folder("payloads"))
            .tap("filters", json!({"include": [{"port": server.port}]}))
            .yaml()
    };
    let agent = Agent::start(&work, &configuration("headers"));
    let path = work.url_path("file/200k.bin");
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(server.port.to_string());
    command.arg(&path).arg(work.path("cert.pem"));
    let mut client = Running::start(&mut command, work.dir(), "held");
    let skipped = |agent: &Agent| agent.ledger().get(&["bytes", "skipped", "content"]);
    agent.wait_ledger("some content left out", Duration::from_secs(5), |ledger| {
        ledger.get(&["bytes", "skipped", "content"]) > 2 << 20
    });
    write_config(&work, &configuration("full"));
    agent.signal(libc::SIGHUP);
    wait_until(
        Duration::from_secs(10),
        "the reload",
        || (agent.status()["config"]["reloads"]["applied"] == json!(1)).then_some(()),
        || agent.log(),
    );
    // The kernel's counters are read twice a second.
    std::thread::sleep(Duration::from_millis(1100));
    let before = skipped(&agent);
    let ended = client.wait(Duration::from_secs(20));
    assert!(ended.success(), "{}", client.outputs());
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(skipped(&agent), before, "content is copied now");
    agent.ledger().assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    let number = |text: &str| {
        text.rsplit_once('?')
            .and_then(|(_, n)| n.parse::<u32>().ok())
    };
    let of_level = |level: &str| {
        let own = seen.spans().iter().filter(|s| {
            target(s).is_some_and(|t| t.starts_with(&path))
                && s.text("plainspan.capture.level").as_deref() == Some(level)
        });
        own.collect::<Vec<_>>()
    };
    let (heads, whole) = (of_level("headers"), of_level("full"));
    assert!(
        heads.len() > 5 && whole.len() > 20,
        "{} {}",
        heads.len(),
        whole.len()
    );
    assert!(heads.iter().chain(&whole).all(|s| complete(s)));
    let first = whole.iter().filter_map(|s| number(&target(s)?)).min();
    let first = first.expect("one");
    let body = pattern(200 * 1024);
    for span in whole {
        // The one that was on its way at the reload may lack its beginning, and says so.
        let n = number(&target(span).expect("a target")).expect("a number");
        let document: Value = payload(span);
        if n > first + 1 {
            assert!(body_of(&document["response"]) == body, "{n} of {first}");
        }
    }
}

#[test]
fn a_reload_gives_whole_bodies_on_an_open_connection_of_http_1() {
    held(servers::nginx, &[PYTHON, "-c", HELD_HTTP1]);
}

#[test]
fn a_reload_gives_whole_bodies_on_an_open_connection_of_http_2() {
    held(
        |work| servers::nginx_http2(work, "https"),
        &["node", "-e", HELD_HTTP2],
    );
}
