//! Services as Prometheus text (exposition format 0.0.4) or OpenMetrics text (1.0.0, with exemplars), named as the
//! collector's Prometheus exporter names them.

use super::aggregate::Services;
use super::attributes::{Attributes, Value};
use super::histogram::Histogram;
use super::labels::label_name;
use super::series::{Exemplar, Instrument, Point};
use crate::event::Role;
use crate::telemetry::prometheus::Exposition;
use std::fmt::Write;
use std::time::UNIX_EPOCH;

/// Bytes of a label's value at the most.
const MAX_VALUE: usize = 256;

/// All metrics of services. Bounded by the attribute sets that are held. OpenMetrics has to end with `# EOF` after all
/// that a page holds, which is not written here.
pub fn render(services: &Services, exposition: Exposition) -> String {
    let mut out = String::new();
    for role in [Role::Server, Role::Client] {
        let mut points = points(services, role);
        points.sort_by(|(a, _), (b, _)| a.cmp(b));
        for instrument in Instrument::all(role) {
            family(&mut out, instrument, &points, exposition);
        }
    }
    out
}

/// Points of one side, with their labels.
fn points(services: &Services, role: Role) -> Vec<(String, &Point)> {
    let known = services
        .iter()
        .filter(|((_, attributes), _)| attributes.role == role)
        .map(|((service, attributes), point)| (labels(service, attributes), point));
    let overflow = services
        .overflow()
        .filter(|(side, _)| *side == role)
        .map(|(_, point)| ("otel_metric_overflow=\"true\"".to_owned(), point));
    known.chain(overflow).collect()
}

fn labels((namespace, name): &(String, String), attributes: &Attributes) -> String {
    let mut out = String::new();
    label(&mut out, "service_namespace", Value::Text(namespace));
    label(&mut out, "service_name", Value::Text(name));
    for (key, value) in attributes.list() {
        label(&mut out, &label_name(key), value);
    }
    out
}

/// An empty value is the absence of its label.
fn label(out: &mut String, key: &str, value: Value<'_>) {
    if value == Value::Text("") {
        return;
    }
    let comma = if out.is_empty() { "" } else { "," };
    match value {
        Value::Text(text) => {
            let text = &text[..text.floor_char_boundary(MAX_VALUE)];
            let text = crate::telemetry::prometheus::escape(text);
            write!(out, "{comma}{key}=\"{text}\"")
        }
        Value::Int(number) => write!(out, "{comma}{key}=\"{number}\""),
    }
    .expect("a String takes any text");
}

fn family(
    out: &mut String,
    instrument: Instrument,
    points: &[(String, &Point)],
    exposition: Exposition,
) {
    let unit = match instrument.unit {
        "s" => "seconds",
        _ => "bytes",
    };
    let name = format!("{}_{unit}", instrument.name.replace('.', "_"));
    let used = |point: &Point| (instrument.of)(point).count() > 0;
    if !points.iter().any(|(_, point)| used(point)) {
        return;
    }
    write!(
        out,
        "# HELP {name} {}\n# TYPE {name} histogram\n",
        instrument.about
    )
    .expect("a String takes any text");
    for (labels, point) in points.iter().filter(|(_, point)| used(point)) {
        let shown = exposition == Exposition::OpenMetrics && instrument.unit == "s";
        let exemplar = point.exemplar.as_ref().filter(|_| shown);
        histogram(out, &name, labels, (instrument.of)(point), exemplar);
    }
}

/// Buckets are cumulative here. The exemplar, a duration in nanoseconds with it, stands at the bucket that it fell into.
fn histogram(
    out: &mut String,
    name: &str,
    labels: &str,
    histogram: &Histogram,
    mut exemplar: Option<&(Exemplar, u64)>,
) {
    let bounds = histogram.scale().shown_bounds();
    let bounds = bounds.chain([f64::INFINITY]);
    let mut below = 0;
    for (bound, count) in bounds.zip(histogram.explicit().unwrap_or_default()) {
        below += count;
        let le = match bound {
            f64::INFINITY => "+Inf".to_owned(),
            _ => bound.to_string(),
        };
        write!(out, "{name}_bucket{{{labels},le=\"{le}\"}} {below}")
            .expect("a String takes any text");
        let falls = |(_, value): &mut &(Exemplar, u64)| histogram.scale().shown(*value) <= bound;
        if let Some((of, value)) = exemplar.take_if(falls) {
            write_exemplar(out, of, histogram.scale().shown(*value));
        }
        out.push('\n');
    }
    let (sum, count) = (histogram.sum(), histogram.count());
    write!(
        out,
        "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}\n"
    )
    .expect("a String takes any text");
}

/// OpenMetrics 1.0.0, "Exemplars": labels, value, seconds since 1970.
fn write_exemplar(out: &mut String, exemplar: &Exemplar, seconds: f64) {
    let hex = |out: &mut String, bytes: &[u8]| {
        for byte in bytes {
            write!(out, "{byte:02x}").expect("a String takes any text");
        }
    };
    out.push_str(" # {trace_id=\"");
    hex(out, &exemplar.trace_id);
    out.push_str("\",span_id=\"");
    hex(out, &exemplar.span_id);
    // Before 1970 there was no transaction.
    let time = (exemplar.time.duration_since(UNIX_EPOCH)).unwrap_or_default();
    write!(
        out,
        "\"}} {seconds} {}.{:03}",
        time.as_secs(),
        time.subsec_millis()
    )
    .expect("a String takes any text");
}
