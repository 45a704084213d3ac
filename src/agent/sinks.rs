//! Everything that captures go to, as started.

use super::{otlp_options, telemetry_stores};
use crate::config::{Config, EventStore, EventStoreKind, Temporality};
use crate::metrics::Metrics;
use crate::rules::Level;
use crate::sink::live::Feed;
use crate::sink::otlp::{OtlpMetrics, OtlpSink};
use crate::sink::stdout::{Form, StdoutSink};
use crate::sink::{Fanout, Sink};
use crate::telemetry::Ledger;
use anyhow::Context;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// A part that runs, and what it was made of.
pub(super) struct Running<M, S> {
    pub made_of: M,
    pub part: Arc<S>,
}

/// The sinks of all stacks.
#[derive(Default)]
pub(super) struct Sinks {
    /// What the telemetry of every stack goes to.
    pub telemetry: Fanout,
    /// Instead of it, by the stack's name: a dry run measures each on its own.
    pub measured: BTreeMap<String, Fanout>,
    /// Lines of `access_logs`, by the stack's name.
    pub access: BTreeMap<String, Fanout>,
    /// With `limits.memory`.
    pub otlp: Vec<Running<(EventStore, u64), OtlpSink>>,
    /// With `metrics.interval` and `metrics.temporality_preference`.
    pub metrics: Vec<Running<(EventStore, Duration, Temporality), OtlpMetrics>>,
    pub stdout: Vec<Running<(String, Form), StdoutSink>>,
}

impl Sinks {
    /// What is the same as `before` is taken from there.
    pub fn start(
        config: &Config,
        metrics: &Metrics,
        ledger: &Ledger,
        live: &Feed,
        runtime: &Handle,
        before: Option<&Sinks>,
    ) -> anyhow::Result<Sinks> {
        let mut sinks = Sinks::default();
        let mut telemetry: Vec<Arc<dyn Sink>> = Vec::new();
        for store in telemetry_stores(config) {
            match &store.kind {
                EventStoreKind::Otel(otel) => {
                    let made_of = (store.clone(), config.limits.memory);
                    let sink = same(before.map(|b| &*b.otlp), &made_of).map_or_else(
                        || {
                            let options = otlp_options(config);
                            OtlpSink::start(&store.id, otel, options, ledger.clone(), runtime)
                                .map(Arc::new)
                                .with_context(|| format!("event store `{}`", store.id))
                        },
                        Ok,
                    )?;
                    telemetry.push(sink.clone());
                    sinks.metrics(config, store, metrics, ledger, runtime, before)?;
                    sinks.otlp.push(Running {
                        made_of,
                        part: sink,
                    });
                }
                EventStoreKind::Stdout => {
                    let form = Form::of_event_store(&config.known_methods);
                    telemetry.push(sinks.lines(&store.id, form, ledger, before)?);
                }
                EventStoreKind::Disabled => {}
            }
        }
        sinks.telemetry = Fanout::new(telemetry).watched(live);
        for (name, stack) in &config.stacks {
            let logs = stack.access_logs.as_ref();
            let Some(logs) = logs.filter(|logs| logs.highest() > Level::None) else {
                continue;
            };
            let id = match config.tap.http_stack.as_ref() == Some(name) {
                true => "access_logs".to_owned(),
                false => format!("access_logs.{name}"),
            };
            let sink = sinks.lines(&id, Form::of_access_logs(logs), ledger, before)?;
            let lines = Fanout::new(vec![sink]).watched_alone(live);
            sinks.access.insert(name.clone(), lines);
        }
        Ok(sinks)
    }

    /// What the telemetry of a stack goes to.
    pub fn telemetry_of(&self, stack: &str) -> &Fanout {
        self.measured.get(stack).unwrap_or(&self.telemetry)
    }

    /// Metrics of transactions, where the store takes them.
    fn metrics(
        &mut self,
        config: &Config,
        store: &EventStore,
        metrics: &Metrics,
        ledger: &Ledger,
        runtime: &Handle,
        before: Option<&Sinks>,
    ) -> anyhow::Result<()> {
        let EventStoreKind::Otel(otel) = &store.kind else {
            return Ok(());
        };
        let Some(endpoint) = &otel.metrics else {
            return Ok(());
        };
        let settings = &config.metrics;
        let made_of = (store.clone(), settings.interval, settings.temporality);
        let before = before.map(|sinks| &*sinks.metrics);
        let part = match same(before, &made_of) {
            Some(part) => part,
            None => {
                let options = otlp_options(config);
                let (metrics, ledger) = (metrics.clone(), ledger.clone());
                let of_store =
                    |running: &&Running<(EventStore, _, _), _>| running.made_of.0.id == store.id;
                let before = before.and_then(|all| all.iter().find(of_store));
                let before = before.map(|running| &*running.part);
                OtlpMetrics::start(
                    &store.id, endpoint, &options, metrics, ledger, runtime, before,
                )
                .map(Arc::new)
                .with_context(|| format!("event store `{}`", store.id))?
            }
        };
        self.metrics.push(Running { made_of, part });
        Ok(())
    }

    fn lines(
        &mut self,
        id: &str,
        form: Form,
        ledger: &Ledger,
        before: Option<&Sinks>,
    ) -> anyhow::Result<Arc<StdoutSink>> {
        let made_of = (id.to_owned(), form);
        let sink = match same(before.map(|b| &*b.stdout), &made_of) {
            Some(sink) => sink,
            None => Arc::new(StdoutSink::start(id, made_of.1.clone(), ledger.clone())?),
        };
        self.stdout.push(Running {
            made_of,
            part: sink.clone(),
        });
        Ok(sink)
    }
}

/// The part among those of `before` that was made of the same.
pub(super) fn same<M: PartialEq, S>(
    before: Option<&[Running<M, S>]>,
    made_of: &M,
) -> Option<Arc<S>> {
    let running = before?.iter().find(|running| running.made_of == *made_of)?;
    Some(running.part.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};
    use crate::sink::otlp::KnownMethods;
    use std::time::SystemTime;

    #[tokio::test(flavor = "multi_thread")]
    async fn another_interval_or_temporality_makes_another_exporter() {
        let ledger = Ledger::new();
        let metrics = Metrics::new(KnownMethods::default(), ledger.clone(), SystemTime::now());
        let start = |settings: &str, before: Option<&Sinks>| {
            let text = format!(
                "version: 2\nservices: {{event_stores: [{{type: otel, endpoint: 'http://127.0.0.1:9'}}]}}\n\
                 metrics: {{{settings}}}\n"
            );
            let loaded = load(&text, "test", &Environment::default()).expect("a configuration");
            let (runtime, live) = (Handle::current(), Feed::default());
            Sinks::start(&loaded.config, &metrics, &ledger, &live, &runtime, before).expect("sinks")
        };
        let part = |sinks: &Sinks| sinks.metrics.first().map(|running| running.part.clone());
        let first = start("interval: 20s", None);
        let running = part(&first).expect("an exporter");
        for (settings, same) in [
            ("interval: 20s", true),
            ("interval: 30s", false),
            ("interval: 20s, temporality_preference: delta", false),
        ] {
            let now = part(&start(settings, Some(&first))).expect("an exporter");
            assert_eq!(Arc::ptr_eq(&running, &now), same, "{settings}");
        }
    }
}
