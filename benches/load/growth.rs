//! How the agent's own cost for a transaction grows, at level headers on the server's end.

use crate::Plan;
use crate::attached::{Attached, Ends, Level};
use crate::client::Client;
use crate::harness::config::Config;
use crate::load::{HTTP1_1K, Load};
use crate::measure::{self, Measured};
use crate::server::{Program, Scene, Setup};
use crate::sink::Sink;
use crate::table;
use std::time::Duration;

/// Cost for each transaction, by how much there is of a thing.
pub struct Grown {
    pub of: &'static str,
    /// Whether it may grow with their number.
    pub linear: bool,
    pub costs: Vec<(u32, Duration)>,
}

/// What is as it is where nothing else is said.
#[derive(Clone, Copy)]
struct Case {
    connections: u32,
    workers: u32,
    rules: u32,
    fields: u32,
}

const USUAL: Case = Case {
    connections: 16,
    workers: 2,
    rules: 0,
    fields: 0,
};

pub fn measure(plan: &Plan, sink: &Sink) -> Vec<Grown> {
    let many = |of, linear, numbers: &[u32], case: fn(u32) -> Case| Grown {
        of,
        linear,
        costs: numbers
            .iter()
            .map(|n| (*n, cost(plan, sink, (of, *n), case(*n))))
            .collect(),
    };
    let grown = vec![
        many("connections", false, &[1, 10, 100, 1000], |n| Case {
            connections: n,
            ..USUAL
        }),
        many("processes", false, &[1, 10, 100], |n| Case {
            workers: n,
            connections: 200,
            ..USUAL
        }),
        many("rules", false, &[0, 10, 100], |n| Case {
            rules: n,
            ..USUAL
        }),
        // Beside the one of the client and the five of the server.
        many("header fields", true, &[5, 20, 80], |n| Case {
            fields: n,
            ..USUAL
        }),
    ];
    println!("\nCPU time of the agent for each transaction, level headers, nginx's end\n");
    println!("| of | number | µs | against the least number |\n|---|---|---|---|");
    for Grown { of, costs, .. } in &grown {
        let first = costs[0].1.as_secs_f64();
        for (number, cost) in costs {
            let (cost, ratio) = (cost.as_secs_f64() * 1e6, cost.as_secs_f64() / first);
            println!("| {of} | {number} | {cost:.1} | {ratio:.2} |");
        }
    }
    grown
}

/// Median of some rounds.
fn cost(plan: &Plan, sink: &Sink, (of, number): (&str, u32), case: Case) -> Duration {
    let load = Load {
        name: HTTP1_1K,
        server: Program::Nginx,
        client: Client::Wrk {
            connections: case.connections,
            each_its_own: false,
        },
        bytes: 1 << 10,
        attached: &[],
    };
    let scene = Scene::set_up(Setup {
        program: load.server,
        bytes: load.bytes,
        workers: case.workers,
        fields: case.fields,
    });
    measure::warm_up(&load, &scene);
    let rules = |mut config: Config| {
        for n in 0..case.rules {
            let expr = format!("http.req.path == \"/no/{n}\" and http.res.status == {n}");
            config = config.rule(&format!("rule {n}"), &expr, "headers");
        }
        config
    };
    let attached = Attached::Agent(Level::Headers, Ends::Server);
    let once = |_| -> Measured {
        let long = (plan.seconds, case.fields);
        let measured = measure::once(&load, &scene, sink, (attached, &rules), long);
        eprintln!("{number} {of}: {measured}");
        measured
    };
    let rounds = (0..plan.rounds).map(once);
    let costs = rounds.filter_map(|m| Some(m.agent?.each.as_secs_f64()));
    Duration::from_secs_f64(table::median(costs))
}
