//! One load, once.

use crate::Plan;
use crate::attached::{self, Attached, Ends, Level};
use crate::client::Seen;
use crate::cost;
use crate::empty;
use crate::harness::agent::{Agent, Launch, write_config};
use crate::harness::ledger::Ledger;
use crate::load::Load;
use crate::server::Scene;
use crate::sink::Sink;
use plainspan::probe::attach::Attachment;
use std::fmt;
use std::time::{Duration, Instant};

/// Times that a load is tried where others use the host too much.
const TRIES: usize = 4;

/// Figures of one load.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub seen: Seen,
    /// Of the server, for each request.
    pub server: Duration,
    /// Of the sink.
    pub sink: Duration,
    /// Of a core, by processes that are no part of this.
    pub noise: f64,
    pub agent: Option<AgentFigures>,
}

/// What the agent said of itself, and used.
#[derive(Debug, Clone, Copy)]
pub struct AgentFigures {
    /// CPU time for each transaction, until all of them had left.
    pub each: Duration,
    pub pss: u64,
    pub rss: u64,
    /// Transactions that it saw and kept for each request that the server counted, and each end.
    pub per_request: f64,
    /// Transactions, items of a signal, payloads and bytes of the kernel that were lost.
    pub lost: u64,
    /// Payloads that were stored for each transaction: what little room lowers has none.
    pub payloads: f64,
    pub bytes_seen: u64,
    pub bytes_copied: u64,
    /// That the server counted, questions for their number included.
    pub requests: u64,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.seen.requests as f64 / self.seen.seconds
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let (rate, server) = (self.rate(), micros(self.server));
        write!(f, "{rate:>8.0}/s, server {server:.1} µs")?;
        if let Some(agent) = &self.agent {
            let (each, whole) = (micros(agent.each), agent.per_request);
            let pss = agent.pss >> 20;
            write!(
                f,
                ", agent {each:.1} µs, {whole:.4} each, lost {}, {pss} MiB",
                agent.lost
            )?;
        }
        if self.noise > 0.1 {
            write!(f, ", noise {:.2}", self.noise)?;
        }
        Ok(())
    }
}

/// The server's files and code are in memory.
pub fn warm_up(load: &Load, scene: &Scene) {
    load.client.run(scene, 1, 0);
}

/// Once more where others disturbed it.
pub fn quiet(plan: &Plan, load: &Load, scene: &Scene, sink: &Sink, attached: Attached) -> Measured {
    let mut least: Option<Measured> = None;
    for _ in 0..TRIES {
        let now = once(load, scene, sink, (attached, &|c| c), (plan.seconds, 0));
        if least.is_none_or(|before| now.noise < before.noise) {
            least = Some(now);
        }
        if now.noise < plan.noise {
            break;
        }
    }
    least.expect("at least one try")
}

/// What is attached lives as long as this.
enum Held {
    Nothing,
    Empty { _links: Attachment },
    Agent { agent: Agent, ends: Ends },
}

/// Changes to a configuration.
pub type Change<'a> = &'a dyn Fn(crate::harness::config::Config) -> crate::harness::config::Config;

/// `long`: seconds, and header fields of each request.
pub fn once(
    load: &Load,
    scene: &Scene,
    sink: &Sink,
    (attached, change): (Attached, Change<'_>),
    (seconds, fields): (u64, u32),
) -> Measured {
    let held = match attached {
        Attached::Nothing => Held::Nothing,
        Attached::Empty => Held::Empty {
            _links: empty::attach(&scene.tls, scene.work.dir()),
        },
        Attached::Agent(level, ends) => start(scene, sink, (level, ends, change)),
    };
    std::thread::sleep(Duration::from_millis(300));

    let before = Used::now(scene, sink, &held);
    let counted = scene.requests();
    let start = Instant::now();
    let seen = load.client.run(scene, seconds, fields);
    let took = start.elapsed();
    let after = Used::now(scene, sink, &held);
    // Each question is one of its requests; the agent sees both, for its first figures are from before the first.
    let (requests, questions) = match (counted, scene.requests()) {
        (Some(before), Some(after)) => (after - before - 1, 2),
        _ => (seen.requests, 0),
    };
    let server = (after.server - before.server) / u32::try_from(requests).expect("requests");
    let known = [
        seen.cpu,
        after.server - before.server,
        after.sink - before.sink,
        after.agent - before.agent,
    ];
    let others = (after.busy - before.busy).saturating_sub(known.iter().sum());
    let agent = match held {
        Held::Nothing | Held::Empty { .. } => None,
        Held::Agent { agent, ends } => Some(settle(agent, ends, requests + questions, &before)),
    };
    Measured {
        seen,
        server,
        sink: after.sink - before.sink,
        noise: others.as_secs_f64() / took.as_secs_f64(),
        agent,
    }
}

/// CPU time so far.
struct Used {
    server: Duration,
    sink: Duration,
    agent: Duration,
    busy: Duration,
    ledger: Option<Ledger>,
}

impl Used {
    fn now(scene: &Scene, sink: &Sink, held: &Held) -> Used {
        let agent = match held {
            Held::Agent { agent, .. } => Some(agent),
            Held::Nothing | Held::Empty { .. } => None,
        };
        Used {
            server: scene.cpu(),
            sink: sink.cpu(),
            agent: agent.map_or(Duration::ZERO, |agent| cost::cpu(agent.pid())),
            busy: cost::busy(),
            ledger: agent.map(Agent::ledger),
        }
    }
}

/// The agent, once it has seen a request of the load's client.
fn start(scene: &Scene, sink: &Sink, (level, ends, change): (Level, Ends, Change<'_>)) -> Held {
    let endpoint = sink.endpoint();
    let config = attached::config(level, ends, &scene.exe, &endpoint, scene.work.dir());
    let file = write_config(&scene.work, &change(config).yaml());
    let agent = Launch::new(&file).quiet().start(&scene.work);
    let end = Instant::now() + Duration::from_secs(20);
    while level > Level::None && agent.ledger().seen() == 0 {
        assert!(
            Instant::now() < end,
            "the agent sees nothing\n{}",
            scene.outputs()
        );
        ask(scene);
    }
    drained(&agent);
    Held::Agent { agent, ends }
}

/// One request, of a program that uses the system's library.
fn ask(scene: &Scene) {
    let done = std::process::Command::new("curl")
        .args(["-sk", "-o", "/dev/null", &scene.url()])
        .status()
        .expect("start curl");
    assert!(done.success(), "curl: {done}");
}

/// Waits until everything has left.
fn drained(agent: &Agent) {
    agent.wait_ledger("drained ledger", Duration::from_secs(60), |l| {
        l.in_flight() == 0 && l.get(&["payloads", "in_flight"]) == 0
    });
}

fn settle(agent: Agent, ends: Ends, requests: u64, before: &Used) -> AgentFigures {
    let (pss, rss) = (cost::pss(agent.pid()), cost::rss(agent.pid()));
    drained(&agent);
    let (used, after) = (cost::cpu(agent.pid()) - before.agent, agent.ledger());
    agent.stop();
    let begin = before.ledger.as_ref().expect("an agent has a ledger");
    let number = |path: &[&str]| after.get(path) - begin.get(path);
    let transactions = after.kept() - begin.kept();
    let each = u32::try_from(transactions.max(1)).expect("transactions");
    if transactions != requests * ends.number() {
        let wanted = requests * ends.number();
        println!("{transactions} transactions, {wanted} wanted: {after}");
    }
    AgentFigures {
        each: used / each,
        pss,
        rss,
        per_request: transactions as f64 / (requests * ends.number()) as f64,
        lost: after.losses().iter().sum::<u64>() - begin.losses().iter().sum::<u64>(),
        payloads: number(&["payloads", "stored"]) as f64 / transactions.max(1) as f64,
        bytes_seen: number(&["bytes", "seen"]),
        bytes_copied: number(&["bytes", "copied"]),
        requests,
    }
}
