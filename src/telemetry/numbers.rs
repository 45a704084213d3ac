//! Every number that the agent says about itself: one table for OTLP, Prometheus text and `docs/own-telemetry.md`.
//!
//! Names, once there, stay. A test compares the table with what is said, and with the page.

/// Does it only grow?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A cumulative sum that only grows.
    Counter,
    /// A sum that goes up and down: parts of it can be added.
    UpDown,
    Gauge,
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Number {
    /// As OTLP has it.
    pub name: &'static str,
    pub kind: Kind,
    /// UCUM: `1`, `By`, `s`, or what is counted in braces.
    pub unit: &'static str,
    /// Attributes; those of a point are among them.
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

impl Number {
    /// As Prometheus has it: with the unit, and `_total` for what only grows.
    pub fn prometheus(&self) -> String {
        let mut name = self.name.replace('.', "_");
        let unit = match self.unit {
            "s" => "seconds",
            "By" => "bytes",
            _ => "",
        };
        if !unit.is_empty() && !name.split('_').any(|part| part == unit) {
            name.push('_');
            name.push_str(unit);
        }
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// The word of the exposition format.
    pub fn prometheus_type(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::UpDown | Kind::Gauge => "gauge",
        }
    }
}

/// The metric of this name.
pub fn find(name: &str) -> Option<&'static Number> {
    let at = NUMBERS.binary_search_by(|number| number.name.cmp(name));
    at.ok().and_then(|at| NUMBERS.get(at))
}

const fn counter(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Number {
    Number {
        name,
        kind: Kind::Counter,
        unit,
        labels,
        help,
    }
}

const fn up_down(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Number {
    Number {
        kind: Kind::UpDown,
        ..counter(name, unit, labels, help)
    }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Number {
    Number {
        kind: Kind::Gauge,
        ..counter(name, unit, labels, help)
    }
}

const NONE: &[&str] = &[];
const REASON: &[&str] = &["reason"];
const SIGNAL: &[&str] = &["store", "signal"];
const SIGNAL_REASON: &[&str] = &["store", "signal", "reason"];
const COMPONENT: &[&str] = &["otel.component.name", "otel.component.type"];
const OUTCOME: &[&str] = &["otel.component.name", "otel.component.type", "error.type"];
const TRANSACTION: &str = "{transaction}";
const REPORT: &str = "{report}";
const ITEM: &str = "{item}";
const CONNECTION: &str = "{connection}";
const PAYLOAD: &str = "{payload}";
const SPAN: &str = "{span}";
const LOG: &str = "{log_record}";
const POINT: &str = "{data_point}";

/// All of them, by name.
#[rustfmt::skip]
pub static NUMBERS: &[Number] = &[
    counter("otel.sdk.exporter.log.exported", LOG, OUTCOME, "Log records whose export has ended; with error.type those that were lost."),
    up_down("otel.sdk.exporter.log.inflight", LOG, COMPONENT, "Log records in requests under way."),
    counter("otel.sdk.exporter.metric_data_point.exported", POINT, OUTCOME, "Data points whose export has ended; with error.type those that were lost."),
    up_down("otel.sdk.exporter.metric_data_point.inflight", POINT, COMPONENT, "Data points in requests under way."),
    counter("otel.sdk.exporter.span.exported", SPAN, OUTCOME, "Spans whose export has ended; with error.type those that were lost."),
    up_down("otel.sdk.exporter.span.inflight", SPAN, COMPONENT, "Spans in requests under way."),
    counter("otel.sdk.processor.log.processed", LOG, OUTCOME, "Log records that left the queue; with error.type those that found no room."),
    up_down("otel.sdk.processor.log.queue.capacity", LOG, COMPONENT, "Log records that the queue holds at the most."),
    up_down("otel.sdk.processor.log.queue.size", LOG, COMPONENT, "Log records in the queue, those under way included."),
    counter("otel.sdk.processor.span.processed", SPAN, OUTCOME, "Spans that left the queue; with error.type those that found no room."),
    up_down("otel.sdk.processor.span.queue.capacity", SPAN, COMPONENT, "Spans that the queue holds at the most."),
    up_down("otel.sdk.processor.span.queue.size", SPAN, COMPONENT, "Spans in the queue, those under way included."),
    counter("plainspan.bodies.left_out", "{body}", REASON, "Bodies at level full of which some or all was left out."),
    counter("plainspan.bytes.copied", "By", NONE, "Plaintext bytes copied from the kernel."),
    counter("plainspan.bytes.lost", "By", NONE, "Plaintext bytes that found no room or could not be read."),
    counter("plainspan.bytes.seen", "By", NONE, "Plaintext bytes that observed programs moved."),
    counter("plainspan.bytes.skipped", "By", REASON, "Plaintext bytes that were not copied on purpose, by why."),
    counter("plainspan.bytes.skipped_on_purpose", "By", NONE, "Plaintext bytes that were not copied on purpose."),
    counter("plainspan.capture.connections_not_tracked", CONNECTION, NONE, "Connections that found no room in the kernel's map."),
    counter("plainspan.capture.control_events_lost", "{event}", NONE, "Events that found no room in the control ring."),
    counter("plainspan.capture.data_events_lost", "{event}", NONE, "Events that found no room in the data ring."),
    counter("plainspan.capture.events_undecodable", "{event}", NONE, "Records without the shape of an event."),
    counter("plainspan.capture.policies_not_told", "{policy}", NONE, "Policies that the kernel programs could not be told."),
    counter("plainspan.capture.tls_calls_not_followed", "{call}", NONE, "Calls of a TLS library that were nested too deep, or found no room."),
    counter("plainspan.capture.tls_sessions_doubted", "{session}", NONE, "TLS sessions whose socket was taken back: something spoke against it."),
    counter("plainspan.capture.tls_sessions_not_tracked", "{session}", NONE, "TLS sessions that found no room in the kernel's map."),
    counter("plainspan.capture.tls_sessions_rebound", "{session}", NONE, "TLS sessions that were seen on another socket than before."),
    counter("plainspan.capture.user_memory_faults", "{read}", NONE, "Reads of a process's memory that failed."),
    gauge("plainspan.config.info", "1", &["digest"], "1; the label is the SHA-256 of the configuration in force."),
    gauge("plainspan.config.loaded_seconds", "s", NONE, "When the configuration came into force, seconds since 1970."),
    counter("plainspan.config.reloads", "{reload}", &["result"], "Reloads, by how they ended."),
    counter("plainspan.connections.captured", CONNECTION, NONE, "Connections that gave a transaction."),
    up_down("plainspan.connections.open", CONNECTION, NONE, "Connections that are open and gave no transaction yet."),
    counter("plainspan.connections.seen", CONNECTION, NONE, "Connections that did some I/O."),
    counter("plainspan.connections.uncaptured", CONNECTION, REASON, "Connections that ended without a transaction, by why."),
    counter("plainspan.cpu.time", "s", &["cpu.mode"], "CPU time of the agent, kernel programs not included."),
    gauge("plainspan.cpu_budget.level", "1", &["level"], "1; the label is the highest level that limits.cpu allows now."),
    gauge("plainspan.cpu_budget.limit", "{cpu}", NONE, "Cores that the agent may take before levels are lowered; not there without limits.cpu."),
    counter("plainspan.cpu_budget.steps", "{step}", &["direction"], "Steps by which levels were lowered, and raised again."),
    gauge("plainspan.cpu_budget.used", "{cpu}", NONE, "Cores that the agent took in the last seconds, and its kernel programs while the kernel measures them."),
    up_down("plainspan.map.entries", "{entry}", &["map"], "Entries of a map of the kernel programs."),
    up_down("plainspan.map.max_entries", "{entry}", &["map"], "Entries that the map holds at the most."),
    up_down("plainspan.memory.pss", "By", NONE, "Proportional set size of the agent."),
    up_down("plainspan.memory.rss", "By", NONE, "Resident set size of the agent; the rings' pages count twice."),
    counter("plainspan.metrics.overflow", TRANSACTION, REASON, "What metrics count without attributes, values or routes, or not for their process."),
    counter("plainspan.metrics.transactions", TRANSACTION, NONE, "Transactions that metrics count."),
    counter("plainspan.payloads.bodies_shared", "{body}", NONE, "Bodies that their segment had already."),
    counter("plainspan.payloads.bytes_saved", "By", NONE, "Bytes of bodies that their segment had already."),
    counter("plainspan.payloads.deduplicated", PAYLOAD, NONE, "Payloads among those stored that the store had already."),
    up_down("plainspan.payloads.in_flight", PAYLOAD, NONE, "Payloads on their way to the store."),
    counter("plainspan.payloads.left_out", PAYLOAD, REASON, "Payloads left out on purpose, by why."),
    counter("plainspan.payloads.lost", PAYLOAD, REASON, "Payloads lost, by why."),
    counter("plainspan.payloads.removed", "{object}", REASON, "Objects that a local store removed again, by why."),
    counter("plainspan.payloads.removed_bytes", "By", NONE, "Room on the disk that a local store made by it."),
    counter("plainspan.payloads.stored", PAYLOAD, NONE, "Payloads that are in the store."),
    counter("plainspan.payloads.wanted", PAYLOAD, NONE, "Payloads that were to be stored."),
    counter("plainspan.program.run_time", "s", &["program"], "Time in a kernel program; 0 unless the kernel counts (telemetry.program_stats)."),
    counter("plainspan.program.runs", "{run}", &["program"], "Runs of a kernel program; 0 unless the kernel counts (telemetry.program_stats)."),
    counter("plainspan.progress.exported", REPORT, NONE, "Reports of transactions that last which every signal took."),
    up_down("plainspan.progress.in_flight", REPORT, NONE, "Reports on their way."),
    counter("plainspan.progress.left_out", REPORT, REASON, "Reports left out on purpose, by why."),
    counter("plainspan.progress.lost", REPORT, REASON, "Reports lost, by why."),
    counter("plainspan.progress.marked", REPORT, REASON, "Reports of which a part was left out."),
    counter("plainspan.progress.seen", REPORT, NONE, "Reports of transactions that last."),
    up_down("plainspan.queue.bytes", "By", SIGNAL, "Bytes that wait in a queue."),
    up_down("plainspan.queue.connection_bytes", "By", NONE, "Bytes held for connections that are followed."),
    up_down("plainspan.queue.connections", CONNECTION, NONE, "Connections that are followed."),
    up_down("plainspan.queue.items", ITEM, SIGNAL, "Items that wait in a queue, those under way included."),
    up_down("plainspan.queue.max_bytes", "By", SIGNAL, "Bytes that the queue holds at the most."),
    up_down("plainspan.queue.max_items", ITEM, SIGNAL, "Items that the queue holds at the most; 0: it is none."),
    up_down("plainspan.queue.tls_sessions", "{session}", NONE, "TLS sessions that are followed."),
    gauge("plainspan.ready", "1", NONE, "1 from the moment that all that was there at start has its verdict."),
    counter("plainspan.redacted", "{value}", &["matcher"], "Values that redaction touched, by matcher."),
    gauge("plainspan.ring.most_used", "By", &["ring"], "The most bytes that waited in a ring since it was looked at last."),
    up_down("plainspan.ring.size", "By", &["ring"], "Size of a ring between the kernel and the agent."),
    up_down("plainspan.ring.used", "By", &["ring"], "Bytes that waited in a ring when it was read last."),
    counter("plainspan.sampling.always_kept", TRANSACTION, NONE, "Transactions that a keep rule of sampling kept."),
    counter("plainspan.sampling.asked", TRANSACTION, NONE, "Transactions that sampling decided about."),
    counter("plainspan.sampling.kept", TRANSACTION, NONE, "Transactions that sampling kept, each for a number of them."),
    counter("plainspan.sampling.left_out", TRANSACTION, REASON, "Transactions that sampling left out, by why."),
    counter("plainspan.signals.exported", ITEM, SIGNAL, "Items of a signal that the destination took."),
    up_down("plainspan.signals.in_flight", ITEM, SIGNAL, "Items of a signal on their way, in queue, request or spool."),
    counter("plainspan.signals.lost", ITEM, SIGNAL_REASON, "Items of a signal lost, by why."),
    counter("plainspan.signals.offered", ITEM, SIGNAL, "Items offered to a signal."),
    up_down("plainspan.spool.batches", "{batch}", SIGNAL, "Batches in a spool."),
    up_down("plainspan.spool.bytes", "By", SIGNAL, "Bytes of a spool on disk."),
    up_down("plainspan.spool.items", ITEM, SIGNAL, "Items in a spool."),
    gauge("plainspan.spool.oldest_age_seconds", "s", SIGNAL, "Age of the oldest batch in a spool."),
    gauge("plainspan.spool.oldest_unix_seconds", "s", SIGNAL, "When the oldest batch in a spool came, seconds since 1970; 0: there is none."),
    up_down("plainspan.spool.progress", REPORT, SIGNAL, "Reports of transactions that last in a spool."),
    counter("plainspan.tls.calls", "{call}", &["stack", "direction"], "Calls of a TLS library that were to read or write plaintext."),
    counter("plainspan.tls.calls_odd", "{call}", &["stack", "direction"], "Of these, calls that cannot be what they were taken for."),
    counter("plainspan.tls.plaintext", "By", &["stack", "direction"], "Plaintext that calls of a TLS library moved."),
    counter("plainspan.traces.inferred", TRANSACTION, NONE, "Spans of clients for which the request was found that they were made for."),
    counter("plainspan.traces.linked", TRANSACTION, REASON, "Trace contexts that became a link and no parent, by why."),
    counter("plainspan.traces.no_span", TRANSACTION, REASON, "Transactions that make no span of their own, by why."),
    counter("plainspan.transactions.exported", TRANSACTION, NONE, "Transactions that every signal took."),
    up_down("plainspan.transactions.in_flight", TRANSACTION, NONE, "Transactions on their way."),
    counter("plainspan.transactions.left_out", TRANSACTION, REASON, "Transactions left out on purpose, by why."),
    counter("plainspan.transactions.lost", TRANSACTION, REASON, "Transactions lost, by why."),
    counter("plainspan.transactions.marked", TRANSACTION, REASON, "Transactions of which a part was left out."),
    counter("plainspan.transactions.seen", TRANSACTION, NONE, "Transactions seen."),
    gauge("plainspan.uptime", "s", NONE, "Since when the agent runs."),
];

/// The table of `docs/own-telemetry.md`.
pub fn page() -> String {
    let mut out = String::from(
        "| OTLP | Prometheus | kind | unit | attributes | what it is |\n|---|---|---|---|---|---|\n",
    );
    for number in NUMBERS {
        let kind = match number.kind {
            Kind::Counter => "counter",
            Kind::UpDown => "up and down",
            Kind::Gauge => "gauge",
        };
        let labels: Vec<String> = number.labels.iter().map(|l| format!("`{l}`")).collect();
        out.push_str(&format!(
            "| `{}` | `{}` | {kind} | `{}` | {} | {} |\n",
            number.name,
            number.prometheus(),
            number.unit,
            labels.join(", "),
            number.help
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_are_apart() {
        assert!(NUMBERS.is_sorted_by(|a, b| a.name < b.name));
        let mut names: Vec<String> = NUMBERS.iter().map(Number::prometheus).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn names_of_prometheus_say_the_unit_once() {
        for (name, prometheus) in [
            ("plainspan.bytes.seen", "plainspan_bytes_seen_total"),
            ("plainspan.cpu.time", "plainspan_cpu_time_seconds_total"),
            ("plainspan.memory.pss", "plainspan_memory_pss_bytes"),
            (
                "plainspan.spool.oldest_age_seconds",
                "plainspan_spool_oldest_age_seconds",
            ),
            (
                "otel.sdk.processor.span.queue.size",
                "otel_sdk_processor_span_queue_size",
            ),
        ] {
            assert_eq!(
                find(name).map(Number::prometheus).as_deref(),
                Some(prometheus)
            );
        }
        assert_eq!(find("plainspan.none"), None);
    }

    #[test]
    fn the_page_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/own-telemetry.md");
        let text = std::fs::read_to_string(path).expect("docs/own-telemetry.md");
        let page = page();
        assert!(
            text.contains(&page),
            "docs/own-telemetry.md should have\n{page}"
        );
    }
}
