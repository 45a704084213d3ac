//! A dry run: counts what a configuration would send and store, and lets nothing leave.
//!
//! Enters: captures, as the sinks of a real run get them. Leaves: a table on stdout, at the end.
//! Holds: no store is contacted and no content kept; what a capture would be is made, measured and let go by a thread
//! of its own, from a queue bounded by count and bytes.
//!
//! OTLP is measured as protobuf before compression, without the resource that the items of a batch share; payloads as
//! documents, before the store finds that it has one already.

use super::sinks::Sinks;
use super::stacks::store;
use super::telemetry_stores;
use crate::config::{AccessLogs, Config, EventStoreKind, OtelStore, Stack};
use crate::redact::Capture;
use crate::rules::Level;
use crate::sink::otlp::{EncodeOptions, KnownMethods, encode};
use crate::sink::payload::{self, LinkTemplate};
use crate::sink::stdout::Form;
use crate::sink::{Delivery, Fanout, PayloadLink, PayloadStatus, ProgressDelivery, Sink};
use crate::telemetry::ledger::{Lost, Snapshot};
use anyhow::Context;
use prost::Message;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const QUEUE: usize = 4096;
const QUEUE_BYTES: usize = 64 << 20;
const DAY: f64 = 86_400.0;

/// A number of things and their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes as u64;
    }
}

/// What leaves of one stack at one level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Row {
    transactions: u64,
    spans: Sum,
    logs: Sum,
    lines: Sum,
    payloads: Sum,
}

type Table = BTreeMap<(String, Level), Row>;

/// One capture to measure.
struct Job {
    delivery: Delivery,
    measure: Arc<Measure>,
    bytes: usize,
}

/// What a capture would be made into.
struct Measure {
    stack: String,
    traces: bool,
    logs: bool,
    /// Of stores of type stdout, or `access_logs`.
    lines: Option<Form>,
    payloads: Option<(LinkTemplate, Level)>,
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
        for (name, stack) in &config.stacks {
            let telemetry = self.fanout(Measure::telemetry(config, name, stack));
            sinks.measured.insert(name.clone(), telemetry);
            let logs = stack.access_logs.as_ref();
            if let Some(logs) = logs.filter(|logs| logs.highest() > Level::None) {
                let access = self.fanout(Measure::access(name, logs));
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

    /// Measures what waits, and writes the table to stdout. To be called when the capture thread has ended.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn report(self, ledger: &Snapshot) -> anyhow::Result<()> {
        let time = self.started.elapsed();
        drop(self.jobs);
        let Ok(table) = self.thread.join() else {
            anyhow::bail!("the thread of the dry run panicked: there are no numbers");
        };
        let text = render(&table, time, ledger);
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

impl Measure {
    /// Of the spans, log records and payloads of a stack.
    fn telemetry(config: &Config, name: &str, stack: &Stack) -> Measure {
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
            traces: otel(|otel| otel.traces.is_some()),
            logs: otel(|otel| otel.logs.is_some()),
            lines: kinds()
                .any(|kind| *kind == EventStoreKind::Stdout)
                .then(Form::of_event_store),
            payloads: store(config, stack)
                .map(|(store, capture)| (LinkTemplate::new(store), capture.object_from_level)),
        }
    }

    /// Of the lines of a stack.
    fn access(name: &str, logs: &AccessLogs) -> Measure {
        Measure {
            stack: format!("{name} (access_logs)"),
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
        let options = EncodeOptions {
            known_methods: KnownMethods::from_environment(),
        };
        if self.traces {
            let span = encode::span(capture, link.as_ref(), &options);
            row.spans.add(span.encoded_len());
        }
        if self.logs {
            let record = encode::log_record(capture, link.as_ref(), capture.end, &options);
            row.logs.add(record.encoded_len());
        }
        if let Some(form) = &self.lines {
            row.lines.add(form.measure(capture, link.as_ref()));
        }
    }

    fn payload(&self, row: &mut Row, capture: &Capture) -> Option<PayloadLink> {
        let (template, from) = self.payloads.as_ref()?;
        if capture.decision.level < *from {
            return None;
        }
        let size = payload::encode(capture).len();
        row.payloads.add(size);
        let digest = "0".repeat(64);
        Some(PayloadLink {
            url: template.url(&digest),
            digest: Some(digest),
            size: Some(size as u64),
            status: PayloadStatus::Stored,
        })
    }
}

fn render(table: &Table, time: Duration, ledger: &Snapshot) -> String {
    let mut out = String::new();
    let seconds = time.as_secs_f64().max(0.001);
    let mut rows = vec![
        [
            "stack",
            "level",
            "transactions",
            "spans",
            "log records",
            "lines",
            "payloads",
            "a day",
        ]
        .map(str::to_owned),
    ];
    let mut all = Row::default();
    for ((stack, level), row) in table {
        rows.push(cells(stack, level.name(), row, seconds));
        all.transactions += row.transactions;
        for (sum, one) in [
            (&mut all.spans, row.spans),
            (&mut all.logs, row.logs),
            (&mut all.lines, row.lines),
            (&mut all.payloads, row.payloads),
        ] {
            sum.count += one.count;
            sum.bytes += one.bytes;
        }
    }
    rows.push(cells("all", "", &all, seconds));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let text = |out: &mut String, line: std::fmt::Arguments<'_>| {
        out.write_fmt(line).expect("a String takes any text");
    };
    text(
        &mut out,
        format_args!("In {seconds:.1} s nothing was sent or stored. It would have been:\n\n"),
    );
    for row in &rows {
        for (cell, width) in row.iter().zip(widths).take(2) {
            text(&mut out, format_args!("{cell:<width$}  "));
        }
        for (cell, width) in row.iter().zip(widths).skip(2) {
            text(&mut out, format_args!("{cell:>width$}  "));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    let t = &ledger.transactions;
    text(&mut out, format_args!("\nTransactions seen: {}", t.seen));
    for (reason, count) in [
        ("left out by level none", t.left_out.level_none),
        ("by filters", t.left_out.filtered),
        ("by the ratio", t.left_out.sampled_out),
        ("by a rate", t.left_out.rate_limited),
        ("not measured in time", t.lost.queue_full),
    ] {
        if count > 0 {
            text(&mut out, format_args!("; {reason}: {count}"));
        }
    }
    out.push_str(".\nSizes are before compression and without shared resources; a day goes on as these seconds went.\n");
    out
}

fn cells(stack: &str, level: &str, row: &Row, seconds: f64) -> [String; 8] {
    let sums = [row.spans, row.logs, row.lines, row.payloads];
    let a_day = sums.iter().map(|sum| sum.bytes).sum::<u64>() as f64 / seconds * DAY;
    let sum = |sum: Sum| match sum.count {
        0 => "-".to_owned(),
        count => format!("{count} ({})", bytes(sum.bytes as f64)),
    };
    [
        stack.to_owned(),
        level.to_owned(),
        row.transactions.to_string(),
        sum(row.spans),
        sum(row.logs),
        sum(row.lines),
        sum(row.payloads),
        bytes(a_day),
    ]
}

fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_stack_and_level_and_one_for_all() {
        let row = |transactions, bytes| Row {
            transactions,
            spans: Sum {
                count: transactions,
                bytes,
            },
            ..Row::default()
        };
        let table = Table::from([
            (("shop".into(), Level::Full), row(2, 4096)),
            (("shop".into(), Level::Summary), row(10, 1024)),
        ]);
        let mut ledger = Snapshot::default();
        ledger.transactions.seen = 15;
        ledger.transactions.left_out.level_none = 3;
        let text = render(&table, Duration::from_secs(60), &ledger);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .filter(|cell| !cell.is_empty())
                    .map(str::trim)
                    .collect()
            })
            .collect();
        assert_eq!(
            lines[3],
            [
                "shop",
                "summary",
                "10",
                "10 (1.0 KiB)",
                "-",
                "-",
                "-",
                "1.4 MiB"
            ]
        );
        assert_eq!(
            lines[4],
            ["shop", "full", "2", "2 (4.0 KiB)", "-", "-", "-", "5.6 MiB"]
        );
        assert_eq!(
            lines[5],
            ["all", "12", "12 (5.0 KiB)", "-", "-", "-", "7.0 MiB"]
        );
        assert!(
            text.contains("Transactions seen: 15; left out by level none: 3.\n"),
            "{text}"
        );
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        for (count, want) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1536.0, "1.5 KiB"),
            (5e18, "4440.9 PiB"),
        ] {
            assert_eq!(bytes(count), want);
        }
    }
}
