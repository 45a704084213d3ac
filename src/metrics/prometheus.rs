//! Services as Prometheus text (exposition format 0.0.4), named as the collector's Prometheus exporter names them.

use super::aggregate::Services;
use super::attributes::{Attributes, Value};
use super::histogram::Histogram;
use super::labels::label_name;
use super::series::{Instrument, Point};
use crate::event::Role;
use std::fmt::Write;

/// Bytes of a label's value at the most.
const MAX_VALUE: usize = 256;

/// All metrics of services. Bounded by the attribute sets that are held.
pub fn render(services: &Services) -> String {
    let mut out = String::new();
    for role in [Role::Server, Role::Client] {
        let mut points = points(services, role);
        points.sort_by(|(a, _), (b, _)| a.cmp(b));
        for instrument in Instrument::all(role) {
            family(&mut out, instrument, &points);
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

fn family(out: &mut String, instrument: Instrument, points: &[(String, &Point)]) {
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
        histogram(out, &name, labels, (instrument.of)(point));
    }
}

/// Buckets are cumulative here.
fn histogram(out: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let bounds = histogram
        .scale()
        .shown_bounds()
        .map(|bound| bound.to_string());
    let bounds = bounds.chain(["+Inf".to_owned()]);
    let mut below = 0;
    for (bound, count) in bounds.zip(histogram.explicit().unwrap_or_default()) {
        below += count;
        writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}")
            .expect("a String takes any text");
    }
    let (sum, count) = (histogram.sum(), histogram.count());
    write!(
        out,
        "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}\n"
    )
    .expect("a String takes any text");
}
