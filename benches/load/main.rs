//! What the agent costs a server under load, and itself: `make bench`.
//!
//! Each load is put on a server with nothing attached, with empty programs at the places that the agent probes, and with
//! the agent at its levels, in turns, for some rounds; what is printed are medians, and ratios of figures of the same
//! round. All of it runs in a network namespace of its own, so the only traffic is that of the load. The agent exports
//! spans, log records and metrics over gRPC to a process that reads and discards them, whose time is shown apart.
//! It ends with every bound that the project has set itself, its value, and whether it is met.
//!
//! `PLAINSPAN_BENCH_ROUNDS` (3), `PLAINSPAN_BENCH_SECONDS` of each load (5), `PLAINSPAN_BENCH_ONLY`: loads whose names hold
//! this text alone; `PLAINSPAN_BENCH_ATTACHED`: of what is attached those whose names hold this; `PLAINSPAN_BENCH_NOISE` (0.2): a round in which others used more of a core than this is run again.

mod attached;
mod bounds;
mod client;
mod cost;
mod empty;
mod growth;
mod idle;
mod load;
mod measure;
mod netns;
mod server;
mod sink;
mod table;

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/e2e/harness/mod.rs"]
mod harness;
#[path = "../../tests/support/otlp_sink.rs"]
mod otlp_sink;

use attached::Attached;
use load::Load;
use measure::Measured;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// How much is measured.
pub struct Plan {
    pub rounds: usize,
    pub seconds: u64,
    pub only: Option<String>,
    pub attached: Option<String>,
    /// Of a core.
    pub noise: f64,
}

impl Plan {
    fn read() -> Plan {
        Plan {
            rounds: variable("PLAINSPAN_BENCH_ROUNDS", 3),
            seconds: variable("PLAINSPAN_BENCH_SECONDS", 5),
            only: std::env::var("PLAINSPAN_BENCH_ONLY").ok(),
            attached: std::env::var("PLAINSPAN_BENCH_ATTACHED").ok(),
            noise: variable("PLAINSPAN_BENCH_NOISE", 0.2),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }

    fn has_attached(&self, attached: Attached) -> bool {
        let name = attached.to_string();
        self.attached
            .as_ref()
            .is_none_or(|only| name.contains(only))
    }
}

fn variable<T: FromStr<Err: Display>>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) => default,
    }
}

/// Measurements by load and by what was attached, a round each.
pub type Results = BTreeMap<(&'static str, Attached), Vec<Measured>>;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, port] = arguments.as_slice()
        && word == "--sink"
    {
        return sink::run(port.parse().expect("a port"));
    }
    let plan = Plan::read();
    netns::enter_own();
    let sink = sink::Sink::start();
    let mut results = Results::new();
    for load in load::all().filter(|load| plan.has(load.name)) {
        rounds(&plan, &load, &sink, &mut results);
    }
    table::print(&results);
    let grown = plan.has("growth").then(|| growth::measure(&plan, &sink));
    let still = plan.has("idle").then(|| idle::measure(&sink));
    println!("\n{}", table::host());
    bounds::print(&results, grown.as_ref(), still.as_ref());
}

/// Every condition once a round, in an order that turns.
fn rounds(plan: &Plan, load: &Load, sink: &sink::Sink, results: &mut Results) {
    let scene = server::Scene::start(load);
    measure::warm_up(load, &scene);
    for round in 0..plan.rounds {
        let wanted = load.attached.iter().copied();
        let mut order: Vec<Attached> = wanted.filter(|a| plan.has_attached(*a)).collect();
        let turn = round % order.len().max(1);
        order.rotate_left(turn);
        for attached in order {
            let measured = measure::quiet(plan, load, &scene, sink, attached);
            eprintln!("{:<16} {attached:<24} {measured}", load.name);
            results
                .entry((load.name, attached))
                .or_default()
                .push(measured);
        }
    }
}
