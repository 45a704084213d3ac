//! What is printed: medians, and ratios within a round.

use crate::Results;
use crate::attached::Attached;
use crate::load;
use crate::measure::{AgentFigures, Measured};

/// # Panics
/// Of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    assert!(!values.is_empty(), "a median of nothing");
    let (below, above) = ((values.len() - 1) / 2, values.len() / 2);
    (values[below] + values[above]) / 2.0
}

/// Median of a figure.
pub fn of(rounds: &[Measured], figure: impl Fn(&Measured) -> f64) -> f64 {
    median(rounds.iter().map(figure))
}

/// Median of the ratios of a figure in each round.
pub fn ratio(rounds: &[Measured], to: &[Measured], figure: impl Fn(&Measured) -> f64) -> f64 {
    median(std::iter::zip(rounds, to).map(|(this, other)| figure(this) / figure(other)))
}

/// Median of a figure of the agent.
pub fn agent(rounds: &[Measured], figure: impl Fn(&AgentFigures) -> f64) -> Option<f64> {
    let all: Option<Vec<f64>> = rounds
        .iter()
        .map(|m| m.agent.as_ref().map(&figure))
        .collect();
    all.map(|values| median(values.into_iter()))
}

pub fn print(results: &Results) {
    for load in load::all() {
        let of_load =
            |attached: &Attached| Some((*attached, results.get(&(load.name, *attached))?));
        let lines: Vec<(Attached, &Vec<Measured>)> =
            load.attached.iter().filter_map(of_load).collect();
        let Some((_, nothing)) = lines.first() else {
            continue;
        };
        println!("\n{}\n", load.name);
        println!(
            "| attached | requests/s | of nothing's | server µs | p50 ms | p99 ms | agent µs | sink cores | PSS MiB | RSS MiB | transactions of requests | payloads of transactions | copied of seen | lost | noise |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        for (attached, rounds) in &lines {
            println!("{}", line(*attached, rounds, nothing));
        }
    }
}

fn line(attached: Attached, rounds: &[Measured], nothing: &[Measured]) -> String {
    let rate = of(rounds, Measured::rate);
    let share = ratio(rounds, nothing, Measured::rate);
    let server = of(rounds, |m| m.server.as_secs_f64() * 1e6);
    let (p50, p99) = (
        of(rounds, |m| m.seen.p50.as_secs_f64() * 1e3),
        of(rounds, |m| m.seen.p99.as_secs_f64() * 1e3),
    );
    let sink = of(rounds, |m| m.sink.as_secs_f64() / m.seen.seconds);
    let noise = of(rounds, |m| m.noise);
    let figure = |digits: usize, value: fn(&AgentFigures) -> f64| {
        agent(rounds, value).map_or("–".into(), |value| format!("{value:.digits$}"))
    };
    let each = figure(1, |a| a.each.as_secs_f64() * 1e6);
    let pss = figure(0, |a| a.pss as f64 / 1048576.0);
    let rss = figure(0, |a| a.rss as f64 / 1048576.0);
    let whole = figure(4, |a| a.per_request);
    let payloads = figure(4, |a| a.payloads);
    let copied = figure(4, |a| {
        a.bytes_copied as f64 / (a.bytes_seen as f64).max(1.0)
    });
    let lost = figure(0, |a| a.lost as f64);
    format!(
        "| {attached} | {rate:.0} | {share:.2} | {server:.1} | {p50:.2} | {p99:.2} | {each} | {sink:.2} | {pss} | {rss} | {whole} | {payloads} | {copied} | {lost} | {noise:.2} |"
    )
}

/// Kernel and CPU.
pub fn host() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("of a kind that the kernel does not name", |(_, name)| name);
    let number = cpus.matches("processor\t").count();
    format!("Linux {}, {number} CPUs: {model}", release.trim())
}
