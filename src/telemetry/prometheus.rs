//! The agent's own numbers as Prometheus text (exposition format 0.0.4).

use super::samples::samples;
use super::status::Status;
use std::fmt::Write;

/// Every number of the status, each metric with its help and type.
pub fn render(status: &Status) -> String {
    let mut out = String::with_capacity(16 << 10);
    let mut before = "";
    let mut name = String::new();
    for sample in samples(status) {
        let number = sample.number;
        // The samples of one name follow one another.
        if number.name != before {
            before = number.name;
            name = number.prometheus();
            let kind = number.prometheus_type();
            // The table's texts have nothing to escape.
            write!(out, "# HELP {name} {}\n# TYPE {name} {kind}\n", number.help)
                .expect("a String takes any text");
        }
        let labels = sample
            .labels
            .iter()
            .map(|(key, value)| format!("{}=\"{}\"", key.replace('.', "_"), escape(value)))
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
    use crate::telemetry::numbers::{NUMBERS, Number};
    use crate::telemetry::samples::tests::full;

    #[test]
    fn every_reason_is_a_label() {
        let text = render(&full());
        for line in [
            "plainspan_transactions_seen_total 1",
            "plainspan_transactions_lost_total{reason=\"ring_full\"} 1",
            "plainspan_signals_in_flight{store=\"collector\",signal=\"traces\"} 3",
            "plainspan_spool_batches{store=\"collector\",signal=\"logs\"} 4",
            "plainspan_redacted_total{matcher=\"a\\\"b\"} 3",
            "plainspan_ready 1",
            "plainspan_cpu_time_seconds_total{cpu_mode=\"user\"} 1.25",
            "plainspan_ring_most_used_bytes{ring=\"data\"} 900",
            "plainspan_program_runs_total{program=\"ps_sock_send\"} 5",
            "otel_sdk_processor_span_queue_capacity{otel_component_name=\"batching_span_processor/collector/traces\",otel_component_type=\"batching_span_processor\"} 10",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn every_number_of_the_table_has_one_help_and_one_type() {
        let text = render(&full());
        for (what, of) in [
            ("HELP", (|n| n.help) as fn(&Number) -> &'static str),
            ("TYPE", Number::prometheus_type),
        ] {
            let prefix = format!("# {what} ");
            let mut lines: Vec<&str> = text
                .lines()
                .filter_map(|l| l.strip_prefix(&prefix))
                .collect();
            let mut table: Vec<String> = NUMBERS
                .iter()
                .map(|number| format!("{} {}", number.prometheus(), of(number)))
                .collect();
            lines.sort_unstable();
            table.sort_unstable();
            assert_eq!(lines, table);
        }
        // Help has to be one line without what needs an escape.
        assert!(NUMBERS.iter().all(|n| !n.help.contains(['\\', '\n', '|'])));
    }
}
