//! Metrics of transactions out: all that was counted, each interval, to one store.
//!
//! Enters: the numbers of all processes. Leaves: requests of many resources.
//! Holds: one request at a time; a request that does not arrive within an interval is lost, and the next one says the
//! same and more: being cumulative, or since the last that arrived. Processes that are gone are kept until their last
//! numbers have arrived.

use super::client::Client;
use super::encode;
use super::report::Report;
use super::retry::{Reply, RetryPolicy};
use super::room::Room;
use super::task::{Stop, Task, stopped};
use super::{OtlpOptions, StartError};
use crate::config::{OtlpEndpoint, Temporality};
use crate::enrich::Process;
use crate::metrics::{Attributes, Collected, Metrics, Series};
use crate::telemetry::Ledger;
use crate::telemetry::ledger::Lost;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, ResourceMetrics};
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::time::Instant;

/// The method of gRPC.
pub(super) const SERVICE: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// The metrics of one store of type `otel`.
pub struct OtlpMetrics {
    task: Task,
    /// None: numbers are cumulative.
    arrived: Option<Shared>,
}

impl OtlpMetrics {
    /// Starts to export what `metrics` counts; `before`: what exported to the same store until now.
    ///
    /// # Errors
    /// When a URL, a header or a TLS file cannot be used.
    pub fn start(
        store_id: &str,
        endpoint: &OtlpEndpoint,
        options: &OtlpOptions,
        metrics: Metrics,
        ledger: Ledger,
        runtime: &Handle,
        before: Option<&OtlpMetrics>,
    ) -> Result<OtlpMetrics, StartError> {
        let client = {
            // The gRPC channel starts a task of its own.
            let _inside = runtime.enter();
            Client::new(SERVICE, points, endpoint)?
        };
        let name: Arc<str> = format!("{store_id}/metrics").into();
        let room = Room::new(
            Some(super::component_type("metrics", endpoint.protocol)),
            0,
            0,
        );
        ledger.queues().watch(&name, &room);
        metrics.subscribe(SystemTime::now());
        let arrived = match options.temporality {
            Temporality::Cumulative => None,
            Temporality::Delta | Temporality::LowMemory => {
                let known = before.and_then(|before| before.arrived.clone());
                Some(known.unwrap_or_default())
            }
        };
        let worker = Worker {
            name: name.clone(),
            client,
            metrics,
            ledger,
            interval: options.metrics_interval,
            arrived: arrived.clone(),
            retry: options.retry,
            request_bytes: options.batch.bytes,
            report: Report::new(&name, &endpoint.url, room.clone()),
            room,
        };
        let task = Task::start(name, runtime, |stop| worker.run(stop));
        Ok(OtlpMetrics { task, arrived })
    }

    /// Exports what was counted a last time, until `deadline` at the latest.
    pub async fn drain(&self, deadline: std::time::Instant) {
        self.task.stop(deadline);
        self.task.ended().await;
    }
}

struct Worker {
    name: Arc<str>,
    client: Client,
    metrics: Metrics,
    ledger: Ledger,
    interval: Duration,
    /// None: numbers are cumulative.
    arrived: Option<Shared>,
    retry: RetryPolicy,
    request_bytes: usize,
    report: Report,
    room: Arc<Room>,
}

/// How one request ended.
enum End {
    Accepted(u64),
    Lost(Lost),
}

impl Worker {
    async fn run(mut self, mut stop: Stop) {
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(self.interval) => None,
                asked = stop.wait_for(Option::is_some) => Some(asked.is_ok()),
            };
            // Who lets go of it without a word wants nothing more of it.
            if asked == Some(false) {
                break;
            }
            self.export(&stop).await;
            if asked.is_some() {
                break;
            }
        }
        self.metrics.unsubscribe();
    }

    async fn export(&mut self, stop: &Stop) {
        let shared = self.arrived.clone();
        // Over a reload, who ends and who begins take turns.
        let mut known = match &shared {
            Some(shared) => Some(shared.lock().await),
            None => None,
        };
        let now = SystemTime::now();
        let collected = self.metrics.collect(now, alive);
        let (out, temporality) = match &known {
            None => (None, AggregationTemporality::Cumulative),
            Some(arrived) => (
                Some(arrived.since(&collected)),
                AggregationTemporality::Delta,
            ),
        };
        let out = out.as_deref().unwrap_or(&collected);
        let mut arrived = true;
        for request in requests(out, temporality, now, self.request_bytes) {
            let points = request.points;
            self.ledger.signal_offered(&self.name, points);
            let settled = match self.deliver(request.bytes, points, stop.clone()).await {
                End::Accepted(rejected) => {
                    let rejected = rejected.min(points);
                    self.ledger.signal_exported(&self.name, points - rejected);
                    self.ledger
                        .signal_lost(&self.name, Lost::Rejected, rejected);
                    true
                }
                End::Lost(reason) => {
                    self.ledger.signal_lost(&self.name, reason, points);
                    // What was refused for good would be refused again.
                    reason == Lost::Rejected
                }
            };
            if settled && let Some(known) = &mut known {
                known.add(collected.get(request.of).unwrap_or_default(), now);
            }
            arrived &= settled;
        }
        if let Some(known) = &mut known {
            known.retain(&collected);
        }
        if arrived {
            self.metrics.exported();
        }
    }

    async fn deliver(&mut self, request: Bytes, points: u64, stop: Stop) -> End {
        let items = usize::try_from(points).unwrap_or(usize::MAX);
        let _sending = self.room.sending(items);
        let (reason, error) = tokio::select! {
            biased;
            () = overdue(stop) => (Lost::Shutdown, "the agent is stopping".to_owned()),
            end = attempts(&mut self.client, &mut self.report, self.retry, self.interval, &request) => match end {
                Ok((rejected, message)) => {
                    let told = usize::try_from(rejected).unwrap_or(usize::MAX).min(items);
                    self.report.accepted(told, &message);
                    return End::Accepted(rejected);
                }
                Err(lost) => lost,
            },
        };
        self.report.lost(items, reason, &error);
        End::Lost(reason)
    }
}

/// Tries for one interval at the most: after it there are newer numbers.
async fn attempts(
    client: &mut Client,
    report: &mut Report,
    retry: RetryPolicy,
    interval: Duration,
    request: &Bytes,
) -> Result<(u64, String), (Lost, String)> {
    let budget = retry.budget.min(interval);
    let started = Instant::now();
    let mut failures = 0;
    loop {
        let (error, after) = match client.send(request.clone()).await {
            Reply::Accepted { rejected, message } => return Ok((rejected, message)),
            Reply::Refused { error, .. } => return Err((Lost::Rejected, error)),
            Reply::Later { error, after } => (error, after),
        };
        failures += 1;
        report.failed(&error);
        let own = retry.wait(failures, fastrand::f64());
        let wait = after.map_or(own, |after| after.max(retry.first / 5));
        if started.elapsed() + wait > budget {
            return Err((Lost::RetryExhausted, error));
        }
        tokio::time::sleep(wait).await;
    }
}

/// Held while a store exports.
type Shared = Arc<tokio::sync::Mutex<Arrived>>;

/// What has arrived of each resource, and when it was collected: numbers since then are asked for.
#[derive(Debug, Default)]
struct Arrived(HashMap<u64, (SystemTime, Series<Attributes>)>);

impl Arrived {
    fn since(&self, collected: &[Collected]) -> Vec<Collected> {
        let since = |now: &Collected| match self.0.get(&now.number) {
            Some((at, before)) => Collected {
                start: *at,
                series: now.series.since(before),
                ..now.clone()
            },
            None => now.clone(),
        };
        collected.iter().map(since).collect()
    }

    fn add(&mut self, collected: &[Collected], now: SystemTime) {
        let all = collected.iter();
        self.0
            .extend(all.map(|one| (one.number, (now, one.series.clone()))));
    }

    /// Resources that were let go are not asked for again.
    fn retain(&mut self, collected: &[Collected]) {
        let held: HashSet<u64> = collected.iter().map(|one| one.number).collect();
        self.0.retain(|number, _| held.contains(number));
    }
}

struct Request {
    bytes: Bytes,
    /// Data points in it.
    points: u64,
    /// Of what was collected; some of these may have had nothing to say.
    of: Range<usize>,
}

/// Requests of at most `max_bytes`. One resource that is larger goes alone.
fn requests(
    collected: &[Collected],
    temporality: AggregationTemporality,
    now: SystemTime,
    max_bytes: usize,
) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut pending: Vec<ResourceMetrics> = Vec::new();
    let (mut bytes, mut points, mut first) = (0, 0, 0);
    let mut close = |pending: &mut Vec<ResourceMetrics>, points: u64, of: Range<usize>| {
        if !pending.is_empty() {
            let request = ExportMetricsServiceRequest {
                resource_metrics: std::mem::take(pending),
            };
            let bytes = Bytes::from(request.encode_to_vec());
            requests.push(Request { bytes, points, of });
        }
    };
    for (at, one) in collected.iter().enumerate() {
        let Some(metrics) = encode::resource_metrics(one, temporality, now) else {
            continue;
        };
        // With its tag and length.
        let more = metrics.encoded_len() + 6;
        if bytes + more > max_bytes {
            close(&mut pending, points, first..at);
            (bytes, points, first) = (0, 0, at);
        }
        bytes += more;
        points += encode::points(&metrics);
        pending.push(metrics);
    }
    close(&mut pending, points, first..collected.len());
    requests
}

/// Whether the number is still a process's. Where the kernel gave it to another one, the resource stays for as long as
/// that lives, or until that has a transaction.
fn alive(process: &Process) -> bool {
    Path::new("/proc").join(process.pid.to_string()).exists()
}

/// Ends when the deadline of the stop has passed. Without anyone left to ask for one it never does.
async fn overdue(mut stop: Stop) {
    tokio::time::sleep_until(stopped(&mut stop).await).await;
}

/// Data points of a request, where it can be read.
pub(super) fn points(request: &[u8]) -> u64 {
    ExportMetricsServiceRequest::decode(request).map_or(0, |request| {
        request.resource_metrics.iter().map(encode::points).sum()
    })
}
