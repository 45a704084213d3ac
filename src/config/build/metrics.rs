//! Metrics of transactions.

use super::Builder;
use super::otlp::{AGGREGATION, TEMPORALITY};
use crate::config::model::{MessageSide, MetricHeader, MetricsSettings};
use crate::config::problem::quote;
use crate::config::schema::{AGGREGATIONS, MESSAGE_SIDES, TEMPORALITIES};
use crate::config::settings::Fields;
use crate::config::sources::Origin;
use crate::config::table::{Choices, Words};
use crate::config::tree::Mark;
use crate::metrics::label_name;

/// Headers that are attributes, at the most: each multiplies the series.
const MAX_HEADERS: usize = 16;

impl Builder<'_> {
    pub(super) fn metrics(&mut self, fields: &Fields) -> MetricsSettings {
        let default = MetricsSettings::default();
        let series = fields.number("max_series");
        MetricsSettings {
            interval: fields.duration("interval").unwrap_or(default.interval),
            max_series: series
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(default.max_series),
            exemplars: fields.bool("exemplars").unwrap_or(default.exemplars),
            temporality: self.preferred(
                fields,
                "temporality_preference",
                (TEMPORALITY, &["cumulative", "delta", "lowmemory"]),
                &TEMPORALITIES,
            ),
            aggregation: self.preferred(
                fields,
                "default_histogram_aggregation",
                (
                    AGGREGATION,
                    &[
                        "explicit_bucket_histogram",
                        "base2_exponential_bucket_histogram",
                    ],
                ),
                &AGGREGATIONS,
            ),
            headers: self.metric_headers(fields),
        }
    }

    /// The file's word, else the variable's, whose words stand for those of the file one by one; else the first. Case
    /// does not count in variables (OTLP metrics exporter specification).
    fn preferred<T: Copy + Default + Sync>(
        &mut self,
        fields: &Fields,
        key: &str,
        (variable, words): (&str, &[&str]),
        choices: &'static Choices<T>,
    ) -> T {
        if fields.get(key).is_some() {
            return fields.choice(key, choices).unwrap_or_default();
        }
        let names = choices.names();
        let path = format!("metrics.{key}");
        let first = names.first().copied().unwrap_or_default();
        let Some(asked) = self.environment.get(variable).map(str::trim) else {
            self.sources.add(path, first.to_owned(), Origin::Default);
            return T::default();
        };
        let found = words
            .iter()
            .position(|word| asked.eq_ignore_ascii_case(word));
        let Some(&name) = found.and_then(|at| names.get(at)) else {
            let message = format!(
                "environment variable {variable} is {}, which is none of {}",
                quote(asked),
                words.join(", ")
            );
            self.problems.error(Mark::default(), message);
            return T::default();
        };
        let origin = Origin::Environment(variable.to_owned());
        self.sources.add(path, name.to_owned(), origin);
        choices.get(name).unwrap_or_default()
    }

    fn metric_headers(&mut self, fields: &Fields) -> Vec<MetricHeader> {
        let mut headers: Vec<MetricHeader> = Vec::new();
        for entry in fields.sections("headers") {
            let (Some(header), Some(attribute), Some(from), Some(max_values)) = (
                entry.text("header"),
                entry.text("attribute"),
                entry.choice::<MessageSide>("from", &MESSAGE_SIDES),
                entry.number("max_values"),
            ) else {
                continue;
            };
            let label = label_name(attribute);
            if headers
                .iter()
                .any(|known| label_name(&known.attribute) == label)
            {
                let message = format!("{} is an attribute already", quote(attribute));
                self.problems
                    .error(entry.mark("attribute"), message)
                    .hint("each header has an attribute of its own");
                continue;
            }
            headers.push(MetricHeader {
                header: header.to_ascii_lowercase(),
                from,
                attribute: attribute.to_owned(),
                max_values: usize::try_from(max_values).unwrap_or(usize::MAX),
            });
        }
        if headers.len() > MAX_HEADERS {
            self.problems
                .error(
                    fields.mark("headers"),
                    format!("more than {MAX_HEADERS} headers are attributes"),
                )
                .hint("each one multiplies the series: leave out those that no alert needs");
        }
        headers
    }
}
