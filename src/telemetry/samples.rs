//! What the agent says of itself at one moment, as points of the [`numbers`](super::numbers).

use super::ledger::{Signal, SignalLost, Snapshot};
use super::numbers::{self, Number};
use super::queues::Fill;
use super::status::{ConfigStatus, Status};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// One point.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub number: &'static Number,
    pub labels: Vec<(&'static str, String)>,
    pub value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    Int(u64),
    Double(f64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Int(n) => n.fmt(f),
            Value::Double(n) => n.fmt(f),
        }
    }
}

/// All points, those of one metric one after another.
pub fn samples(status: &Status) -> Vec<Sample> {
    let mut out = Samples(Vec::new());
    ledger(&status.ledger, &mut out);
    exporters(status, &mut out);
    agent(status, &mut out);
    stacks(status, &mut out);
    config(&status.config, &mut out);
    out.0.sort_by_key(|sample| sample.number.name);
    out.0
}

struct Samples(Vec<Sample>);

type Labels = Vec<(&'static str, String)>;

impl Samples {
    fn add(&mut self, name: &str, labels: Labels, value: Value) {
        match numbers::find(name) {
            Some(number) => self.0.push(Sample {
                number,
                labels,
                value,
            }),
            // A test meets every name that can come.
            None => tracing::error!(name, "a number that the table does not have"),
        }
    }

    fn int(&mut self, name: &str, labels: Labels, value: u64) {
        self.add(name, labels, Value::Int(value));
    }
}

/// The ledger's own shape names its metrics, so that a new reason cannot be forgotten here.
fn ledger(ledger: &Snapshot, out: &mut Samples) {
    let Ok(Json::Object(groups)) = serde_json::to_value(ledger) else {
        unreachable!("the ledger serialises to an object");
    };
    for (group, value) in &groups {
        match group.as_str() {
            "signals" => each_signal(value, |counts, labels| {
                walk("plainspan.signals", counts, &labels, out);
            }),
            // The folder is no number.
            "spools" => each_signal(value, |state, labels| {
                for (key, value) in state.as_object().into_iter().flatten() {
                    if let Some(value) = value.as_u64() {
                        out.int(&format!("plainspan.spool.{key}"), labels.clone(), value);
                    }
                }
            }),
            "redacted" => leaves("plainspan.redacted", "matcher", value, &[], out),
            _ => walk(&format!("plainspan.{group}"), value, &[], out),
        }
    }
}

fn each_signal(value: &Json, mut give: impl FnMut(&Json, Labels)) {
    for (name, counts) in value.as_object().into_iter().flatten() {
        give(counts, of_signal(name));
    }
}

/// Labels of `STORE/SIGNAL`.
fn of_signal(name: &str) -> Labels {
    let (store, signal) = name.rsplit_once('/').unwrap_or((name, ""));
    vec![("store", store.to_owned()), ("signal", signal.to_owned())]
}

fn walk(prefix: &str, value: &Json, labels: &[(&'static str, String)], out: &mut Samples) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let metric = format!("{prefix}.{key}");
        if value.is_object() {
            leaves(&metric, "reason", value, labels, out);
        } else {
            out.int(&metric, labels.to_vec(), value.as_u64().unwrap_or(0));
        }
    }
}

fn leaves(
    metric: &str,
    label: &'static str,
    value: &Json,
    labels: &[(&'static str, String)],
    out: &mut Samples,
) {
    for (reason, value) in value.as_object().into_iter().flatten() {
        let mut labels = labels.to_vec();
        labels.push((label, reason.clone()));
        out.int(metric, labels, value.as_u64().unwrap_or(0));
    }
}

/// Queues, and those that exporters of OTLP empty by the words of the conventions.
fn exporters(status: &Status, out: &mut Samples) {
    for (name, fill) in &status.agent.queues {
        for (what, value) in [
            ("items", fill.items),
            ("bytes", fill.bytes),
            ("max_items", fill.max_items),
            ("max_bytes", fill.max_bytes),
        ] {
            out.int(&format!("plainspan.queue.{what}"), of_signal(name), value);
        }
        if let Some(exporter) = fill.exporter {
            let books = Books::of(name, &status.ledger.signals);
            component(name, exporter, fill, &books, out);
        }
    }
}

/// What became of a signal's items, reports of transactions that last among the log records included.
struct Books {
    exported: u64,
    lost: BTreeMap<String, u64>,
}

impl Books {
    fn of(name: &str, signals: &BTreeMap<String, Signal>) -> Books {
        let reports = name
            .strip_suffix("/logs")
            .map(|store| format!("{store}/progress"));
        let pages = [Some(name), reports.as_deref()];
        let mut books = Books {
            exported: 0,
            lost: BTreeMap::new(),
        };
        for signal in pages.into_iter().flatten().filter_map(|n| signals.get(n)) {
            books.exported += signal.exported;
            for (reason, count) in reasons(&signal.lost) {
                *books.lost.entry(reason).or_default() += count;
            }
        }
        books
    }
}

fn reasons(lost: &SignalLost) -> Vec<(String, u64)> {
    let json = serde_json::to_value(lost).unwrap_or_default();
    let reasons = json.as_object().into_iter().flatten();
    let count = |(reason, n): (&String, &Json)| (reason.clone(), n.as_u64().unwrap_or(0));
    reasons.map(count).collect()
}

fn component(name: &str, exporter: &'static str, fill: &Fill, books: &Books, out: &mut Samples) {
    const QUEUE_FULL: &str = "queue_full";
    let (item, processor) = match exporter {
        "otlp_grpc_span_exporter" | "otlp_http_span_exporter" => {
            ("span", Some("batching_span_processor"))
        }
        "otlp_grpc_log_exporter" | "otlp_http_log_exporter" => {
            ("log", Some("batching_log_processor"))
        }
        _ => ("metric_data_point", None),
    };
    let of = |kind: &str, error: Option<&str>| {
        let mut labels = vec![
            ("otel.component.name", format!("{kind}/{name}")),
            ("otel.component.type", kind.to_owned()),
        ];
        labels.extend(error.map(|error| ("error.type", error.to_owned())));
        labels
    };
    let exported = format!("otel.sdk.exporter.{item}.exported");
    out.int(&exported, of(exporter, None), books.exported);
    let mut finished = books.exported;
    for (reason, count) in &books.lost {
        if reason != QUEUE_FULL {
            out.int(&exported, of(exporter, Some(reason)), *count);
            finished += count;
        }
    }
    let inflight = format!("otel.sdk.exporter.{item}.inflight");
    out.int(&inflight, of(exporter, None), fill.in_flight);
    if let Some(processor) = processor {
        let own = |what: &str| format!("otel.sdk.processor.{item}.{what}");
        let refused = books.lost.get(QUEUE_FULL).copied().unwrap_or(0);
        out.int(&own("queue.size"), of(processor, None), fill.items);
        out.int(&own("queue.capacity"), of(processor, None), fill.max_items);
        out.int(&own("processed"), of(processor, None), finished);
        out.int(&own("processed"), of(processor, Some(QUEUE_FULL)), refused);
    }
}

/// What went through the probes.
fn stacks(status: &Status, out: &mut Samples) {
    for (stack, calls) in &status.stacks {
        for (direction, n) in [("read", &calls.reads), ("write", &calls.writes)] {
            let labels = || {
                vec![
                    ("stack", (*stack).to_owned()),
                    ("direction", direction.to_owned()),
                ]
            };
            out.int("plainspan.tls.calls", labels(), n.calls);
            out.int("plainspan.tls.calls_odd", labels(), n.odd);
            out.int("plainspan.tls.plaintext", labels(), n.bytes);
        }
    }
}

/// What the agent takes and holds.
fn agent(status: &Status, out: &mut Samples) {
    let agent = &status.agent;
    let one = |key, value: &str| vec![(key, value.to_owned())];
    for (name, value) in [
        ("plainspan.queue.connections", status.queues.connections),
        (
            "plainspan.queue.connection_bytes",
            status.queues.connection_bytes,
        ),
        ("plainspan.queue.tls_sessions", status.queues.tls_sessions),
        ("plainspan.ready", u64::from(status.ready)),
        ("plainspan.memory.rss", agent.memory.rss_bytes),
        ("plainspan.memory.pss", agent.memory.pss_bytes),
    ] {
        out.int(name, Labels::new(), value);
    }
    let uptime = Value::Double(status.uptime_seconds);
    out.add("plainspan.uptime", Labels::new(), uptime);
    for (mode, seconds) in [
        ("user", agent.cpu_seconds.user),
        ("system", agent.cpu_seconds.system),
    ] {
        let labels = one("cpu.mode", mode);
        out.add("plainspan.cpu.time", labels, Value::Double(seconds));
    }
    if let Some(budget) = &agent.cpu_budget {
        for (name, value) in [
            ("plainspan.cpu_budget.limit", budget.limit),
            ("plainspan.cpu_budget.used", budget.used),
        ] {
            out.add(name, Labels::new(), Value::Double(value));
        }
        let level = one("level", budget.level);
        out.int("plainspan.cpu_budget.level", level, 1);
        for (direction, steps) in [
            ("lowered", budget.steps.lowered),
            ("raised", budget.steps.raised),
        ] {
            out.int(
                "plainspan.cpu_budget.steps",
                one("direction", direction),
                steps,
            );
        }
    }
    for (name, ring) in &agent.rings {
        out.int("plainspan.ring.size", one("ring", name), ring.size_bytes);
        out.int("plainspan.ring.used", one("ring", name), ring.used_bytes);
        out.int(
            "plainspan.ring.most_used",
            one("ring", name),
            ring.most_used_bytes,
        );
    }
    for (name, program) in &agent.programs {
        let labels = one("program", name);
        out.int("plainspan.program.runs", labels.clone(), program.runs);
        let time = Value::Double(program.run_seconds);
        out.add("plainspan.program.run_time", labels, time);
    }
    for (name, map) in &agent.maps {
        out.int("plainspan.map.entries", one("map", name), map.entries);
        out.int(
            "plainspan.map.max_entries",
            one("map", name),
            map.max_entries,
        );
    }
}

/// Of the configuration: which one, since when, and how reloads ended.
fn config(config: &ConfigStatus, out: &mut Samples) {
    let digest = vec![("digest", config.digest.clone())];
    out.int("plainspan.config.info", digest, 1);
    let loaded = config.loaded_unix_seconds;
    out.int("plainspan.config.loaded_seconds", Labels::new(), loaded);
    for (result, count) in [
        ("applied", config.reloads.applied),
        ("refused", config.reloads.refused),
    ] {
        let labels = vec![("result", result.to_owned())];
        out.int("plainspan.config.reloads", labels, count);
    }
}

#[cfg(test)]
#[path = "samples_tests.rs"]
pub(super) mod tests;
