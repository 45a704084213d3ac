//! The ledger as Prometheus text (exposition format 0.0.4).

use super::status::{ConfigStatus, Status};
use serde_json::Value;
use std::fmt::Write;

/// Every number of the status, as `plainspan_<group>_…`. The leaf of a group of reasons becomes the label `reason`.
pub fn render(status: &Status) -> String {
    let mut out = String::with_capacity(4096);
    let mut before = String::new();
    for sample in samples(status) {
        let (kind, name) = (sample.kind(), sample.name());
        // The samples of one name follow one another.
        if name != before {
            writeln!(out, "# TYPE {name} {kind}").expect("a String takes any text");
            before.clone_from(&name);
        }
        let labels = sample
            .labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escape(value)))
            .collect::<Vec<_>>()
            .join(",");
        let braces = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        writeln!(out, "{name}{braces} {}", sample.value).expect("a String takes any text");
    }
    out
}

/// One number of the ledger.
pub struct Sample {
    /// Dotted, as OTLP has it: `plainspan.transactions.lost`.
    pub metric: String,
    pub labels: Vec<(&'static str, String)>,
    pub value: u64,
    /// Goes up only.
    pub counter: bool,
}

impl Sample {
    fn name(&self) -> String {
        let name = self.metric.replace('.', "_");
        if self.counter {
            format!("{name}_total")
        } else {
            name
        }
    }

    fn kind(&self) -> &'static str {
        if self.counter { "counter" } else { "gauge" }
    }
}

/// All numbers of the status, those of one metric one after another.
pub fn samples(status: &Status) -> Vec<Sample> {
    let mut out = Vec::new();
    // The ledger's own shape names the metrics, so that a new reason cannot be forgotten here.
    match serde_json::to_value(&status.ledger) {
        Ok(Value::Object(groups)) => {
            for (group, value) in &groups {
                if group == "signals" {
                    signals(value, &mut out);
                } else if group == "spools" {
                    spools(value, &mut out);
                } else if group == "redacted" {
                    leaves("plainspan.redacted", "matcher", value, &[], &mut out);
                } else {
                    walk(&format!("plainspan.{group}"), value, &[], &mut out);
                }
            }
        }
        Ok(_) | Err(_) => unreachable!("the ledger serialises to an object"),
    }
    for (metric, value) in [
        ("plainspan.queue.connections", status.queues.connections),
        (
            "plainspan.queue.connection_bytes",
            status.queues.connection_bytes,
        ),
        ("plainspan.ready", u64::from(status.ready)),
    ] {
        out.push(Sample {
            metric: metric.into(),
            labels: Vec::new(),
            value,
            counter: false,
        });
    }
    config(&status.config, &mut out);
    out.sort_by(|a, b| a.metric.cmp(&b.metric));
    out
}

/// Of the configuration: which one, since when, and how reloads ended.
fn config(config: &ConfigStatus, out: &mut Vec<Sample>) {
    let mut push = |metric: &str, labels: Vec<(&'static str, String)>, value, counter| {
        out.push(Sample {
            metric: format!("plainspan.config.{metric}"),
            labels,
            value,
            counter,
        });
    };
    let digest = vec![("digest", config.digest.clone())];
    push("info", digest, 1, false);
    push(
        "loaded_seconds",
        Vec::new(),
        config.loaded_unix_seconds,
        false,
    );
    for (result, count) in [
        ("applied", config.reloads.applied),
        ("refused", config.reloads.refused),
    ] {
        push("reloads", vec![("result", result.to_owned())], count, true);
    }
}

fn signals(value: &Value, out: &mut Vec<Sample>) {
    for (name, counts) in value.as_object().into_iter().flatten() {
        walk("plainspan.signals", counts, &of_signal(name), out);
    }
}

/// What waits: all of it goes up and down.
fn spools(value: &Value, out: &mut Vec<Sample>) {
    for (name, state) in value.as_object().into_iter().flatten() {
        for (key, value) in state.as_object().into_iter().flatten() {
            // The folder is no number.
            if let Some(value) = value.as_u64() {
                out.push(Sample {
                    metric: format!("plainspan.spool.{key}"),
                    labels: of_signal(name).into(),
                    value,
                    counter: false,
                });
            }
        }
    }
}

/// Labels of `STORE/SIGNAL`.
fn of_signal(name: &str) -> [(&'static str, String); 2] {
    let (store, signal) = name.split_once('/').unwrap_or((name, ""));
    [("store", store.to_owned()), ("signal", signal.to_owned())]
}

fn walk(prefix: &str, value: &Value, labels: &[(&'static str, String)], out: &mut Vec<Sample>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let metric = format!("{prefix}.{key}");
        if value.is_object() {
            leaves(&metric, "reason", value, labels, out);
        } else {
            out.push(Sample {
                metric,
                labels: labels.to_vec(),
                value: value.as_u64().unwrap_or(0),
                counter: !matches!(key.as_str(), "in_flight" | "open"),
            });
        }
    }
}

fn leaves(
    metric: &str,
    label: &'static str,
    value: &Value,
    labels: &[(&'static str, String)],
    out: &mut Vec<Sample>,
) {
    for (reason, value) in value.as_object().into_iter().flatten() {
        let mut labels = labels.to_vec();
        labels.push((label, reason.clone()));
        out.push(Sample {
            metric: metric.to_owned(),
            labels,
            value: value.as_u64().unwrap_or(0),
            counter: true,
        });
    }
}

/// The value of a label.
pub fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Ledger;
    use crate::telemetry::ledger::{Lost, Spool};
    use crate::telemetry::status::Queues;

    #[test]
    fn every_reason_is_a_label_and_every_name_has_one_type_line() {
        let ledger = Ledger::new();
        ledger.transaction_seen().lost(Lost::RingFull);
        ledger.signal_offered("collector/traces", 2);
        ledger.redacted("a\"b", 3);
        let spool = Spool {
            batches: 4,
            ..Spool::default()
        };
        ledger.set_spool("collector/logs", spool);
        let status = Status {
            pid: 1,
            config: ConfigStatus::default(),
            version: "0",
            tier: "session".into(),
            ready: true,
            uptime_seconds: 1.0,
            ledger: ledger.snapshot(),
            queues: Queues::default(),
            verdicts: Value::Null,
        };
        let text = render(&status);
        for line in [
            "plainspan_transactions_seen_total 1",
            "plainspan_transactions_lost_total{reason=\"ring_full\"} 1",
            "plainspan_signals_in_flight{store=\"collector\",signal=\"traces\"} 2",
            "plainspan_spool_batches{store=\"collector\",signal=\"logs\"} 4",
            "plainspan_redacted_total{matcher=\"a\\\"b\"} 3",
            "plainspan_ready 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
        let mut types: Vec<_> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), all);
    }
}
