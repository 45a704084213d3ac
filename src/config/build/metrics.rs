//! Metrics of transactions.

use super::Builder;
use crate::config::model::{MessageSide, MetricHeader, MetricsSettings};
use crate::config::problem::quote;
use crate::config::schema::MESSAGE_SIDES;
use crate::config::settings::Fields;
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
            headers: self.metric_headers(fields),
        }
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
