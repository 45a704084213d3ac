//! Everything that captures go to, as started.

use super::{otlp_options, telemetry_stores};
use crate::config::{Config, EventStore, EventStoreKind};
use crate::metrics::Metrics;
use crate::rules::Level;
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
    /// With `metrics.interval`.
    pub metrics: Vec<Running<(EventStore, Duration), OtlpMetrics>>,
    pub stdout: Vec<Running<(String, Form), StdoutSink>>,
}

impl Sinks {
    /// What is the same as `before` is taken from there.
    pub fn start(
        config: &Config,
        metrics: &Metrics,
        ledger: &Ledger,
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
        sinks.telemetry = Fanout::new(telemetry);
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
            sinks.access.insert(name.clone(), Fanout::new(vec![sink]));
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
        let made_of = (store.clone(), config.metrics.interval);
        let part = match same(before.map(|b| &*b.metrics), &made_of) {
            Some(part) => part,
            None => {
                let options = otlp_options(config);
                let (metrics, ledger) = (metrics.clone(), ledger.clone());
                OtlpMetrics::start(&store.id, endpoint, &options, metrics, ledger, runtime)
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
    async fn another_interval_makes_another_exporter() {
        let ledger = Ledger::new();
        let metrics = Metrics::new(KnownMethods::default(), ledger.clone(), SystemTime::now());
        let start = |interval: &str, before: Option<&Sinks>| {
            let text = format!(
                "version: 2\nservices: {{event_stores: [{{type: otel, endpoint: 'http://127.0.0.1:9'}}]}}\n\
                 metrics: {{interval: {interval}}}\n"
            );
            let loaded = load(&text, "test", &Environment::default()).expect("a configuration");
            let runtime = Handle::current();
            Sinks::start(&loaded.config, &metrics, &ledger, &runtime, before).expect("sinks")
        };
        let part = |sinks: &Sinks| sinks.metrics.first().map(|running| running.part.clone());
        let first = start("20s", None);
        let same = start("20s", Some(&first));
        let other = start("30s", Some(&first));
        let (first, same, other) = (part(&first), part(&same), part(&other));
        let (Some(first), Some(same), Some(other)) = (first, same, other) else {
            panic!("no exporter");
        };
        assert!(Arc::ptr_eq(&first, &same));
        assert!(!Arc::ptr_eq(&first, &other));
    }
}
