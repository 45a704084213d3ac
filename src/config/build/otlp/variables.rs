//! `OTEL_EXPORTER_OTLP_*`.

use super::Picked;
use crate::config::build::Builder;
use crate::config::near::nearest;
use crate::config::schema::Signal;
use crate::config::sources::Origin;
use crate::config::tree::Mark;

pub(super) const PREFIX: &str = "OTEL_EXPORTER_OTLP_";
/// Each signal with its word in variables, and in URLs and messages.
pub(super) const SIGNAL_WORDS: [(Signal, &str, &str); 3] = [
    (Signal::Traces, "TRACES", "traces"),
    (Signal::Logs, "LOGS", "logs"),
    (Signal::Metrics, "METRICS", "metrics"),
];
const VARIABLES: [&str; 9] = [
    "ENDPOINT",
    "PROTOCOL",
    "HEADERS",
    "TIMEOUT",
    "COMPRESSION",
    "INSECURE",
    "CERTIFICATE",
    "CLIENT_KEY",
    "CLIENT_CERTIFICATE",
];
/// Variables of metrics alone.
pub(in crate::config::build) const TEMPORALITY: &str =
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
pub(in crate::config::build) const AGGREGATION: &str =
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";

impl Builder<'_> {
    /// The variable of the signal, else the general one.
    pub(super) fn variable(&self, signal: Signal, name: &str) -> Option<Picked<String>> {
        let word = SIGNAL_WORDS
            .iter()
            .find(|(s, ..)| *s == signal)
            .map_or("", |(_, word, _)| word);
        let names = [
            (format!("{PREFIX}{word}_{name}"), true),
            (format!("{PREFIX}{name}"), false),
        ];
        names.into_iter().find_map(|(variable, of_signal)| {
            let value = self.environment.get(&variable)?.trim().to_owned();
            Some(Picked {
                value,
                origin: Origin::Environment(variable),
                mark: Mark::default(),
                of_signal,
            })
        })
    }

    /// A value of the environment that `read` understands; else an error that does not show it.
    pub(super) fn read_variable<T>(
        &mut self,
        signal: Signal,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Picked<T>> {
        let found = self.variable(signal, name)?;
        match read(&found.value) {
            Ok(value) => Some(Picked {
                value,
                origin: found.origin,
                mark: found.mark,
                of_signal: found.of_signal,
            }),
            Err(problem) => {
                self.complain(&found.origin, found.mark, &problem);
                None
            }
        }
    }

    pub(super) fn complain(&mut self, origin: &Origin, mark: Mark, problem: &str) {
        match origin {
            Origin::Environment(name) => self
                .problems
                .error(mark, format!("environment variable {name} {problem}")),
            Origin::File(_) | Origin::Default => {
                self.problems.error(mark, format!("`endpoint` {problem}"))
            }
        };
    }

    /// A misspelt variable would change nothing, and nobody would know.
    pub(in crate::config::build) fn unknown_variables(&mut self) {
        let mut known: Vec<String> = VARIABLES.iter().map(|v| format!("{PREFIX}{v}")).collect();
        known.extend(
            SIGNAL_WORDS
                .iter()
                .flat_map(|(_, w, _)| VARIABLES.iter().map(move |v| format!("{PREFIX}{w}_{v}"))),
        );
        known.extend([TEMPORALITY, AGGREGATION].map(str::to_owned));
        let environment = self.environment;
        for name in environment
            .names_with(PREFIX)
            .filter(|n| !known.iter().any(|k| k == n))
        {
            self.problems.warn(
                Mark::default(),
                format!("environment variable {name} is not acted on"),
            );
            if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
                self.problems.hint(format!("did you mean {near}?"));
            }
        }
    }
}
