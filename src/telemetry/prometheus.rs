//! The agent's own numbers as Prometheus text (exposition format 0.0.4) or OpenMetrics text (1.0.0).

use super::samples::samples;
use super::status::Status;
use std::fmt::Write;

/// The forms that `/metrics` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text, exposition format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0: the same numbers under the same names, and exemplars.
    OpenMetrics,
}

impl Exposition {
    /// What a client wants whose header `accept` has this value: the form that it rates higher (RFC 9110, section
    /// 12.5.1), OpenMetrics where it rates both the same, plain text where it names neither.
    pub fn wanted(accept: &str) -> Exposition {
        let quality = |media: &str| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                parts.next()?.eq_ignore_ascii_case(media).then_some(())?;
                let mut quality = 1.0;
                for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                    match name {
                        "q" => quality = value.parse::<f32>().ok()?,
                        // 0.0.1 was a draft.
                        "version" if value == "0.0.1" => return None,
                        _ => {}
                    }
                }
                Some(quality)
            });
            ranges.fold(0.0, f32::max)
        };
        let open = quality("application/openmetrics-text");
        match open > 0.0 && open >= quality("text/plain") {
            true => Exposition::OpenMetrics,
            false => Exposition::Text,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What a page has to end with.
    pub fn end(self) -> &'static str {
        match self {
            Exposition::Text => "",
            Exposition::OpenMetrics => "# EOF\n",
        }
    }

    /// A metric's name in its lines of help and type. OpenMetrics names a counter without `_total` there.
    fn family(self, name: &str) -> &str {
        match self {
            Exposition::Text => name,
            Exposition::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
        }
    }
}

/// Every number of the status, each metric with its help and type.
pub fn render(status: &Status, exposition: Exposition) -> String {
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
            let family = exposition.family(&name);
            write!(
                out,
                "# HELP {family} {}\n# TYPE {family} {kind}\n",
                number.help
            )
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
        let text = render(&full(), Exposition::Text);
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
        let text = render(&full(), Exposition::Text);
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
    #[test]
    fn open_metrics_has_the_same_lines_and_names_counters_without_their_suffix() {
        let lines = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let (text, open) = (
            render(&full(), Exposition::Text),
            render(&full(), Exposition::OpenMetrics),
        );
        assert_eq!(lines(&text), lines(&open));
        assert!(open.contains("# TYPE plainspan_transactions_seen counter\n"));
        assert!(open.contains("# TYPE plainspan_ready gauge\n"));
        let families = open.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<&str> = families.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names.len(), NUMBERS.len());
        assert!(!names.iter().any(|name| name.ends_with("_total")));
        let one = |name| names.iter().filter(|other| *other == name).count() == 1;
        assert!(names.iter().all(one), "two families of one name");
        // Its help may hold no quote that is not escaped.
        assert!(NUMBERS.iter().all(|n| !n.help.contains('"')));
    }

    #[test]
    fn who_asks_for_open_metrics_gets_it_and_everybody_else_gets_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, wanted) in [
            ("", Exposition::Text),
            ("*/*", Exposition::Text),
            (prometheus, Exposition::OpenMetrics),
            ("Application/OpenMetrics-Text", Exposition::OpenMetrics),
            ("application/openmetrics-text; q=0", Exposition::Text),
            (
                "application/openmetrics-text;version=0.0.1",
                Exposition::Text,
            ),
            (
                "application/openmetrics-text;q=0.4, text/plain;q=0.5",
                Exposition::Text,
            ),
            ("application/openmetrics-text;q=x", Exposition::Text),
        ] {
            assert_eq!(Exposition::wanted(accept), wanted, "{accept}");
        }
    }
}
