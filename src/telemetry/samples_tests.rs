use super::*;
use crate::probe::count::CallCounts;
use crate::telemetry::Ledger;
use crate::telemetry::ledger::{Lost, Spool, SpoolLost};
use crate::telemetry::numbers::NUMBERS;
use crate::telemetry::state::{
    AgentState, Cpu, CpuBudget, CpuSteps, MapFill, Memory, Program, Ring,
};
use crate::telemetry::status::Connections;
use std::collections::{BTreeMap, BTreeSet};

/// A status in which every number that there can be is there.
pub(in crate::telemetry) fn full() -> Status {
    let ledger = Ledger::new();
    ledger.transaction_seen().lost(Lost::RingFull);
    ledger.signal_offered("collector/traces", 7);
    ledger.signal_exported("collector/traces", 2);
    ledger.signal_lost("collector/traces", Lost::QueueFull, 1);
    ledger.signal_lost_in_spool("collector/traces", SpoolLost::Expired, 1);
    ledger.signal_offered("collector/logs", 3);
    ledger.signal_exported("collector/logs", 3);
    ledger.signal_offered("collector/progress", 2);
    ledger.signal_exported("collector/progress", 2);
    ledger.signal_offered("collector/metrics", 5);
    ledger.redacted("a\"b", 3);
    let spool = Spool {
        batches: 4,
        ..Spool::default()
    };
    ledger.set_spool("collector/logs", spool);
    let queue = |exporter| Fill {
        items: 3,
        in_flight: 2,
        bytes: 100,
        max_items: 10,
        max_bytes: 1000,
        exporter,
        store: None,
    };
    let ring = Ring {
        size_bytes: 4096,
        used_bytes: 16,
        most_used_bytes: 900,
    };
    let program = Program {
        runs: 5,
        run_seconds: 0.25,
    };
    let map = MapFill {
        entries: 1,
        max_entries: 8,
    };
    Status {
        pid: 1,
        config: ConfigStatus::default(),
        version: "0",
        tier: "session,tracepoints,bpf_loop".into(),
        tiers_refused: Vec::new(),
        ready: true,
        sandbox: BTreeMap::new(),
        uptime_seconds: 1.5,
        ledger: ledger.snapshot(),
        queues: Connections::default(),
        agent: AgentState {
            cpu_seconds: Cpu {
                user: 1.25,
                system: 0.5,
            },
            cpu_budget: Some(CpuBudget {
                limit: 0.5,
                used: 0.25,
                probes: true,
                level: "headers",
                steps: CpuSteps {
                    lowered: 1,
                    raised: 0,
                },
            }),
            memory: Memory {
                rss_bytes: 2,
                pss_bytes: 1,
            },
            rings: BTreeMap::from([("data", ring), ("control", ring)]),
            programs: BTreeMap::from([("ps_sock_send".to_owned(), program)]),
            maps: BTreeMap::from([("connections", map)]),
            queues: BTreeMap::from([
                (
                    "collector/traces".to_owned(),
                    queue(Some("otlp_grpc_span_exporter")),
                ),
                (
                    "collector/logs".to_owned(),
                    queue(Some("otlp_grpc_log_exporter")),
                ),
                (
                    "collector/metrics".to_owned(),
                    queue(Some("otlp_grpc_metric_exporter")),
                ),
                ("payloads/payloads".to_owned(), queue(None)),
            ]),
        },
        stacks: BTreeMap::from([("openssl", CallCounts::default())]),
        verdicts: serde_json::Value::Null,
    }
}

#[test]
fn every_number_of_the_table_is_said_and_none_besides() {
    let said: BTreeSet<&str> = samples(&full()).iter().map(|s| s.number.name).collect();
    let table: BTreeSet<&str> = NUMBERS.iter().map(|n| n.name).collect();
    assert_eq!(said, table);
    // What is not in the table would be missing above: the ledger says nothing else.
    let ledger = serde_json::to_value(&full().ledger).expect("JSON");
    for (group, value) in ledger.as_object().expect("an object") {
        let prefix = match group.as_str() {
            "signals" | "spools" | "redacted" => continue,
            group => format!("plainspan.{group}"),
        };
        for key in value.as_object().expect("an object").keys() {
            let name = format!("{prefix}.{key}");
            assert!(table.contains(name.as_str()), "{name} is not in the table");
        }
    }
}

#[test]
fn points_have_the_labels_of_the_table_and_no_two_the_same() {
    let mut points = BTreeSet::new();
    for sample in samples(&full()) {
        let number = sample.number;
        let known = |(label, _): &(&str, String)| number.labels.contains(label);
        assert!(sample.labels.iter().all(known), "{sample:?}");
        let optional = usize::from(number.labels.contains(&"error.type"));
        assert!(
            sample.labels.len() + optional >= number.labels.len(),
            "{sample:?}"
        );
        let point = format!("{} {:?}", number.name, sample.labels);
        assert!(points.insert(point.clone()), "{point} twice");
    }
}

#[test]
fn exporters_speak_the_words_of_the_conventions() {
    let samples = samples(&full());
    let of = |name: &str, component: &str, error: Option<&str>| {
        let found = samples.iter().find(|s| {
            let label = |key| {
                s.labels
                    .iter()
                    .find(|(k, _)| *k == key)
                    .map(|(_, v)| v.as_str())
            };
            s.number.name == name
                && label("otel.component.name") == Some(component)
                && label("error.type") == error
        });
        match found.map(|s| s.value) {
            Some(Value::Int(n)) => Some(n),
            _ => None,
        }
    };
    let exporter = "otlp_grpc_span_exporter/collector/traces";
    let processor = "batching_span_processor/collector/traces";
    let exported = "otel.sdk.exporter.span.exported";
    assert_eq!(of(exported, exporter, None), Some(2));
    assert_eq!(of(exported, exporter, Some("spool_expired")), Some(1));
    assert_eq!(of(exported, exporter, Some("queue_full")), None);
    assert_eq!(
        of("otel.sdk.exporter.span.inflight", exporter, None),
        Some(2)
    );
    let processed = "otel.sdk.processor.span.processed";
    assert_eq!(of(processed, processor, None), Some(3));
    assert_eq!(of(processed, processor, Some("queue_full")), Some(1));
    let size = "otel.sdk.processor.span.queue.size";
    assert_eq!(of(size, processor, None), Some(3));
    // Reports of transactions that last are log records.
    let logs = "otlp_grpc_log_exporter/collector/logs";
    assert_eq!(of("otel.sdk.exporter.log.exported", logs, None), Some(5));
}
