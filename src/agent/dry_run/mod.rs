//! A dry run: counts what a configuration would send and store, and lets nothing leave.
//!
//! Enters: captures, as the sinks of a real run get them. Leaves: a table on stdout, at the end.
//! Holds: no store is contacted and no content kept; what a capture would be is made, measured and let go by a thread
//! of its own, from a queue bounded by count and bytes.
//!
//! OTLP is measured as protobuf before compression, without the resource that the items of a batch share; payloads as
//! documents, before the store finds that it has one already, or as what they add to segments.

mod segments;
mod table;

use super::sinks::Sinks;
use super::stacks::store;
use super::telemetry_stores;
use crate::config::{AccessLogs, Config, EventStoreKind, OtelStore, Stack};
use crate::redact::Capture;
use crate::rules::Level;
use crate::sink::otlp::{EncodeOptions, encode};
use crate::sink::payload::{self, LinkTemplate};
use crate::sink::stdout::Form;
use crate::sink::{Delivery, Fanout, PayloadLink, PayloadStatus, ProgressDelivery, Sink};
use crate::telemetry::ledger::{Lost, Snapshot};
use anyhow::Context;
use prost::Message;
use segments::Segments;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use table::{Row, Table, render};

const QUEUE: usize = 4096;
const QUEUE_BYTES: usize = 64 << 20;

/// One capture to measure.
struct Job {
    delivery: Delivery,
    measure: Arc<Measure>,
    bytes: usize,
}

/// What a capture would be made into.
struct Measure {
    stack: String,
    options: EncodeOptions,
    traces: bool,
    logs: bool,
    /// Of stores of type stdout, or `access_logs`.
    lines: Option<Form>,
    payloads: Option<Payloads>,
}

/// Where payloads would go.
struct Payloads {
    link: LinkTemplate,
    from_level: Level,
    /// Of layout `segment`: those of the store.
    segments: Option<Arc<Mutex<Segments>>>,
}

/// A dry run that goes on.
pub(super) struct DryRun {
    jobs: mpsc::SyncSender<Job>,
    queued: Arc<AtomicUsize>,
    thread: JoinHandle<Table>,
    started: Instant,
}

impl DryRun {
    pub fn start() -> anyhow::Result<DryRun> {
        let (jobs, to_measure) = mpsc::sync_channel::<Job>(QUEUE);
        let queued = Arc::new(AtomicUsize::new(0));
        let left = queued.clone();
        let thread = std::thread::Builder::new()
            .name("dry-run".into())
            .spawn(move || {
                let mut table = Table::new();
                while let Ok(job) = to_measure.recv() {
                    job.measure.take(&mut table, &job.delivery.capture);
                    left.fetch_sub(job.bytes, Ordering::Relaxed);
                    job.delivery.ticket.taken();
                }
                table
            })
            .context("cannot start the thread of the dry run")?;
        Ok(DryRun {
            jobs,
            queued,
            thread,
            started: Instant::now(),
        })
    }

    /// In the place of the sinks that `config` asks for.
    pub fn sinks(&self, config: &Config) -> Sinks {
        let mut sinks = Sinks::default();
        let mut segments = BTreeMap::new();
        for (name, stack) in &config.stacks {
            let telemetry = self.fanout(Measure::telemetry(config, name, stack, &mut segments));
            sinks.measured.insert(name.clone(), telemetry);
            let logs = stack.access_logs.as_ref();
            if let Some(logs) = logs.filter(|logs| logs.highest() > Level::None) {
                let access = self.fanout(Measure::access(config, name, logs));
                sinks.access.insert(name.clone(), access);
            }
        }
        sinks
    }

    fn fanout(&self, measure: Measure) -> Fanout {
        Fanout::new(vec![Arc::new(Scale {
            measure: Arc::new(measure),
            jobs: self.jobs.clone(),
            queued: self.queued.clone(),
        })])
    }

    /// Measures what waits. To be called when the capture thread has ended, with all sinks let go.
    ///
    /// # Errors
    /// When there are no numbers.
    pub fn finish(self) -> anyhow::Result<Measured> {
        let time = self.started.elapsed();
        drop(self.jobs);
        match self.thread.join() {
            Ok(table) => Ok(Measured { table, time }),
            Err(_) => {
                anyhow::bail!("the thread of the dry run panicked: there are no numbers")
            }
        }
    }
}

/// What a dry run that is over has measured.
pub(super) struct Measured {
    table: Table,
    time: Duration,
}

impl Measured {
    /// Writes the table to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn report(&self, ledger: &Snapshot) -> anyhow::Result<()> {
        let text = render(&self.table, self.time, ledger);
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .context("cannot write the table of the dry run")
    }
}

/// The sink of a dry run.
struct Scale {
    measure: Arc<Measure>,
    jobs: mpsc::SyncSender<Job>,
    queued: Arc<AtomicUsize>,
}

impl Sink for Scale {
    fn offer(&self, delivery: Delivery) {
        let bytes = delivery.capture.transaction.memory();
        if self.queued.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            return delivery.ticket.lost(Lost::QueueFull);
        }
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        let job = Job {
            delivery,
            measure: self.measure.clone(),
            bytes,
        };
        if let Err(mpsc::TrySendError::Full(job) | mpsc::TrySendError::Disconnected(job)) =
            self.jobs.try_send(job)
        {
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
            job.delivery.ticket.lost(Lost::QueueFull);
        }
    }

    /// A report is a few hundred bytes a minute of what lasts: it is not asked for.
    fn takes_progress(&self) -> bool {
        false
    }

    fn offer_progress(&self, delivery: ProgressDelivery) {
        delivery.ticket.taken();
    }
}

fn options(config: &Config) -> EncodeOptions {
    EncodeOptions {
        known_methods: config.known_methods.clone(),
    }
}

impl Measure {
    /// Of the spans, log records and payloads of a stack.
    fn telemetry(
        config: &Config,
        name: &str,
        stack: &Stack,
        segments: &mut BTreeMap<String, Arc<Mutex<Segments>>>,
    ) -> Measure {
        let kinds = || {
            telemetry_stores(config)
                .into_iter()
                .map(|store| &store.kind)
        };
        let otel = |wants: fn(&OtelStore) -> bool| {
            kinds().any(|kind| matches!(kind, EventStoreKind::Otel(otel) if wants(otel)))
        };
        Measure {
            stack: name.to_owned(),
            options: options(config),
            traces: otel(|otel| otel.traces.is_some()),
            logs: otel(|otel| otel.logs.is_some()),
            lines: kinds()
                .any(|kind| *kind == EventStoreKind::Stdout)
                .then(|| Form::of_event_store(&config.known_methods)),
            payloads: store(config, stack).map(|(store, capture)| Payloads {
                link: LinkTemplate::new(store),
                from_level: capture.object_from_level,
                segments: Segments::of(store.layout).map(|new| {
                    let known = segments.entry(store.id.clone());
                    known.or_insert_with(|| Arc::new(Mutex::new(new))).clone()
                }),
            }),
        }
    }

    /// Of the lines of a stack.
    fn access(config: &Config, name: &str, logs: &AccessLogs) -> Measure {
        Measure {
            stack: format!("{name} (access_logs)"),
            options: options(config),
            traces: false,
            logs: false,
            lines: Some(Form::of_access_logs(logs)),
            payloads: None,
        }
    }

    fn take(&self, table: &mut Table, capture: &Capture) {
        let level = capture.decision.level;
        let row = table.entry((self.stack.clone(), level)).or_default();
        row.transactions += 1;
        let link = self.payload(row, capture);
        let options = &self.options;
        if self.traces && capture.ids.no_span.is_none() {
            let span = encode::span(capture, link.as_ref(), options);
            row.spans.add(span.encoded_len());
        }
        if self.logs {
            let record = encode::log_record(capture, link.as_ref(), capture.end, options);
            row.logs.add(record.encoded_len());
        }
        if let Some(form) = &self.lines {
            row.lines.add(form.measure(capture, link.as_ref()));
        }
    }

    fn payload(&self, row: &mut Row, capture: &Capture) -> Option<PayloadLink> {
        let Payloads {
            link: template,
            from_level,
            segments,
        } = self.payloads.as_ref()?;
        if capture.decision.level < *from_level {
            return None;
        }
        let digest = "0".repeat(64);
        let (size, name, range) = match segments {
            None => {
                let size = payload::encode(capture).len();
                row.payloads.add(size);
                (size, digest.clone(), String::new())
            }
            Some(segments) => {
                let mut segments = segments.lock().unwrap_or_else(PoisonError::into_inner);
                let added = segments.add(capture)?;
                row.payloads.add(added.stored);
                let (first, last) = added.range;
                let name = format!("20260101T000000000Z-{:016x}{}", 0, payload::segment::SUFFIX);
                (added.size, name, format!("#bytes={first}-{last}"))
            }
        };
        let service = payload::service_name(capture);
        let key = template.key(&name, capture.start, service);
        Some(PayloadLink {
            url: template.url(&key, &digest).map(|url| url + &range),
            digest: Some(digest),
            size: Some(size as u64),
            status: PayloadStatus::Stored,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};
    use crate::redact::sample::{policy, redact, transaction};
    use crate::telemetry::Ledger;

    const TWO_STACKS: &str = "\
version: 2
services:
  event_stores: [{ type: otel, endpoint: 'http://localhost:4317' }]
  object_stores: [{ type: disk, path: /p }]
stacks:
  general:
    plugins: [{ type: http_capture, config: { level: headers, object_store: { from_level: full } } }]
  bank:
    plugins:
      - { type: http_capture, config: { level: summary } }
      - { type: access_logs, config: { mode: summary } }
tap:
  http: { stack: general }
  endpoints: [{ domain: '*.bank.example', http: { stack: bank } }]
";

    #[test]
    fn each_stack_is_measured_by_what_it_asks_for() {
        let config = match load(TWO_STACKS, "c.yaml", &Environment::default()) {
            Ok(loaded) => loaded.config,
            Err(problems) => panic!("{problems:?}"),
        };
        let dry_run = DryRun::start().expect("a thread");
        let ledger = Ledger::new();
        let sinks = dry_run.sinks(&config);
        let bank_lines = &sinks.access["bank"];
        let deliver = |fanouts: &[&Fanout], level| {
            let ticket = ledger.transaction_seen().shared();
            for fanout in fanouts {
                let (capture, _) = redact(&policy(), transaction("/", &[], &[]), level);
                fanout.deliver(Arc::new(capture), None, ticket.clone());
            }
            ticket.taken();
        };
        for _ in 0..3 {
            deliver(&[sinks.telemetry_of("general")], Level::Headers);
        }
        for _ in 0..2 {
            deliver(&[sinks.telemetry_of("bank"), bank_lines], Level::Summary);
        }
        assert!(!sinks.access.contains_key("general"));
        drop(sinks);
        let measured = dry_run.finish().expect("numbers");
        let counts: Vec<_> = measured
            .table
            .iter()
            .map(|((stack, level), row)| {
                let sums = [row.spans, row.logs, row.lines, row.payloads];
                assert!(sums.iter().all(|sum| (sum.count > 0) == (sum.bytes > 0)));
                (
                    &**stack,
                    *level,
                    row.transactions,
                    sums.map(|sum| sum.count),
                )
            })
            .collect();
        assert_eq!(
            counts,
            [
                ("bank", Level::Summary, 2, [2, 2, 0, 2]),
                ("bank (access_logs)", Level::Summary, 2, [0, 0, 2, 0]),
                ("general", Level::Headers, 3, [3, 3, 0, 0]),
            ]
        );
        assert_eq!(ledger.snapshot().transactions.exported, 5);
    }
}
