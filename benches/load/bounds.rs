//! The bounds that the project has set itself, each beside its value.

use crate::Results;
use crate::attached::{Attached, Ends, Level};
use crate::growth::Grown;
use crate::idle::Still;
use crate::load::{HTTP1_1K, HTTP1_100M, HTTP2_1K, HTTP2_100M};
use crate::measure::{AgentFigures, Measured};
use crate::table;
use std::process::Command;

struct Bound {
    what: String,
    value: f64,
    limit: f64,
    /// Whether the limit is the most.
    most: bool,
}

impl Bound {
    fn met(&self) -> bool {
        match self.most {
            true => self.value <= self.limit,
            false => self.value >= self.limit,
        }
    }
}

fn most(what: impl Into<String>, value: f64, limit: f64) -> Bound {
    Bound {
        what: what.into(),
        value,
        limit,
        most: true,
    }
}

fn least(what: impl Into<String>, value: f64, limit: f64) -> Bound {
    Bound {
        most: false,
        ..most(what, value, limit)
    }
}

/// Those whose loads were measured.
pub fn print(results: &Results, grown: Option<&Vec<Grown>>, still: Option<&Still>) {
    let mut bounds = Vec::new();
    for name in [HTTP1_1K, HTTP2_1K] {
        small(results, name, &mut bounds);
    }
    for name in [HTTP1_100M, HTTP2_100M] {
        large(results, name, &mut bounds);
    }
    exact(results, &mut bounds);
    for grown in grown.into_iter().flatten().filter(|grown| !grown.linear) {
        let first = grown.costs[0].1.as_secs_f64();
        let ratios = grown.costs.iter().map(|(_, c)| c.as_secs_f64() / first);
        let greatest = ratios.fold(0.0, f64::max);
        bounds.push(most(format!("growth with {}", grown.of), greatest, 1.5));
    }
    if let Some(still) = still {
        bounds.push(most("idle: PSS, MiB", still.pss as f64 / 1048576.0, 35.0));
        bounds.push(most("idle: share of a core", still.cpu, 0.002));
        let ready = still.ready.as_secs_f64();
        bounds.push(most("from start to ready, s", ready, 1.5));
    }
    binary(&mut bounds);

    println!("\n| bound | value | limit | |\n|---|---|---|---|");
    for bound in &bounds {
        let sign = if bound.most { "≤" } else { "≥" };
        let said = if bound.met() { "MET" } else { "MISSED" };
        println!(
            "| {} | {:.4} | {sign} {} | {said} |",
            bound.what, bound.value, bound.limit
        );
    }
    let missed = bounds.iter().filter(|bound| !bound.met()).count();
    println!("\n{missed} of {} missed", bounds.len());
}

fn server(m: &Measured) -> f64 {
    m.server.as_secs_f64()
}

/// Small responses at saturation.
fn small(results: &Results, name: &'static str, bounds: &mut Vec<Bound>) {
    let get = |attached| results.get(&(name, attached));
    let (Some(nothing), Some(empty)) = (get(Attached::Nothing), get(Attached::Empty)) else {
        return;
    };
    let mut agents = |level, ends, share: Option<f64>, each: Option<f64>| {
        let attached = Attached::Agent(level, ends);
        let Some(rounds) = get(attached) else {
            return;
        };
        if let Some(limit) = share {
            let value = table::ratio(rounds, nothing, Measured::rate);
            let what = format!("{name}, {attached}: requests/s of nothing attached's");
            bounds.push(least(what, value, limit));
        }
        let micros = |a: &AgentFigures| a.each.as_secs_f64() * 1e6;
        if let (Some(limit), Some(value)) = (each, table::agent(rounds, micros)) {
            let what = format!("{name}, {attached}: agent CPU for a transaction, µs");
            bounds.push(most(what, value, limit));
        }
        let mib = |a: &AgentFigures| a.pss as f64 / 1048576.0;
        if let Some(value) = table::agent(rounds, mib) {
            bounds.push(most(format!("{name}, {attached}: PSS, MiB"), value, 60.0));
        }
    };
    agents(Level::Summary, Ends::Server, None, Some(5.0));
    agents(Level::Headers, Ends::Server, Some(0.60), Some(8.0));
    agents(Level::Full, Ends::Server, None, Some(15.0));
    agents(Level::Headers, Ends::Both, Some(0.45), Some(8.0));
    agents(Level::Full, Ends::Both, Some(0.35), Some(15.0));
    if let Some(headers) = get(Attached::Agent(Level::Headers, Ends::Server)) {
        let of = |to| table::ratio(headers, to, server);
        let what = format!("{name}: server CPU at headers, of empty programs'");
        bounds.push(most(what, of(empty), 1.25));
        let what = format!("{name}: server CPU at headers, of nothing attached's");
        bounds.push(most(what, of(nothing), 1.6));
    }
}

/// Large responses at level headers.
fn large(results: &Results, name: &'static str, bounds: &mut Vec<Bound>) {
    let headers = Attached::Agent(Level::Headers, Ends::Server);
    let both = (
        results.get(&(name, headers)),
        results.get(&(name, Attached::Empty)),
    );
    let (Some(rounds), Some(empty)) = both else {
        return;
    };
    let value = table::ratio(rounds, empty, Measured::rate);
    bounds.push(least(
        format!("{name}: throughput of empty programs'"),
        value,
        0.97,
    ));
    let copied = |a: &AgentFigures| a.bytes_copied as f64 / a.bytes_seen as f64;
    if let Some(value) = table::agent(rounds, copied) {
        bounds.push(most(format!("{name}: bytes copied of seen"), value, 0.005));
    }
}

/// Nothing lost, and a transaction a request, wherever there is an agent that keeps any.
fn exact(results: &Results, bounds: &mut Vec<Bound>) {
    let mut lost = 0;
    let mut apart: f64 = 0.0;
    let kept =
        |attached: &Attached| matches!(attached, Attached::Agent(level, _) if *level > Level::None);
    let agents = results
        .iter()
        .filter(|((_, attached), _)| kept(attached))
        .flat_map(|(_, rounds)| rounds.iter().filter_map(|m| m.agent.as_ref()));
    for agent in agents {
        lost += agent.lost;
        apart = apart.max((agent.per_request - 1.0).abs() * agent.requests as f64);
    }
    bounds.push(most("lost, in all rounds", lost as f64, 0.0));
    bounds.push(most(
        "transactions apart from requests, in any round",
        apart,
        0.0,
    ));
}

/// The program file.
fn binary(bounds: &mut Vec<Bound>) {
    let path = env!("CARGO_BIN_EXE_plainspan");
    let size = std::fs::metadata(path).expect("the program").len();
    bounds.push(most("program file, MiB", size as f64 / 1048576.0, 20.0));
    let said = |program: &str, option: &str| {
        let told = Command::new(program).args([option, path]).output();
        let told = told.unwrap_or_else(|e| panic!("{program}: {e}"));
        String::from_utf8_lossy(&told.stdout).into_owned()
    };
    let dynamic = said("readelf", "-d");
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    let foreign = needed.filter(|line| {
        let known = ["libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"];
        !known.iter().any(|name| line.contains(name))
    });
    bounds.push(most(
        "libraries beside libc and libgcc_s",
        foreign.count() as f64,
        0.0,
    ));
    let newer = said("readelf", "-V")
        .split("GLIBC_2.")
        .skip(1)
        .filter_map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().ok()
        })
        .max();
    bounds.push(most(
        "newest GLIBC_2.x",
        f64::from(newer.unwrap_or(0)),
        34.0,
    ));
}
