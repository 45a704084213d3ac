//! Metrics of transactions out: all that was counted, each interval, to one store.
//!
//! Enters: the numbers of all processes. Leaves: requests of many resources.
//! Holds: one request at a time; a request that does not arrive within an interval is lost, and the next one, being
//! cumulative, says the same and more. Processes that are gone are kept until their last numbers have arrived.

use super::client::Client;
use super::encode;
use super::queue::Room;
use super::report::Report;
use super::retry::{Reply, RetryPolicy};
use super::task::{Stop, Task, stopped};
use super::{OtlpOptions, StartError};
use crate::config::OtlpEndpoint;
use crate::enrich::Process;
use crate::metrics::{Collected, Metrics};
use crate::telemetry::Ledger;
use crate::telemetry::ledger::Lost;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use prost::Message;
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
}

impl OtlpMetrics {
    /// Starts to export what `metrics` counts.
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
        let worker = Worker {
            name: name.clone(),
            client,
            metrics,
            ledger,
            interval: options.metrics_interval,
            retry: options.retry,
            request_bytes: options.batch.bytes,
            report: Report::new(&name, &endpoint.url, room.clone()),
            room,
        };
        let task = Task::start(name, runtime, |stop| worker.run(stop));
        Ok(OtlpMetrics { task })
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
        let now = SystemTime::now();
        let collected = self.metrics.collect(now, alive);
        let mut arrived = true;
        for (request, points) in requests(&collected, now, self.request_bytes) {
            self.ledger.signal_offered(&self.name, points);
            match self.deliver(request, points, stop.clone()).await {
                End::Accepted(rejected) => {
                    let rejected = rejected.min(points);
                    self.ledger.signal_exported(&self.name, points - rejected);
                    self.ledger
                        .signal_lost(&self.name, Lost::Rejected, rejected);
                }
                End::Lost(reason) => {
                    self.ledger.signal_lost(&self.name, reason, points);
                    // What was refused for good would be refused again.
                    arrived &= reason == Lost::Rejected;
                }
            }
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

/// Requests of at most `max_bytes`, each with its data points. One resource that is larger goes alone.
fn requests(collected: &[Collected], now: SystemTime, max_bytes: usize) -> Vec<(Bytes, u64)> {
    let mut requests = Vec::new();
    let mut pending: Vec<ResourceMetrics> = Vec::new();
    let (mut bytes, mut points) = (0, 0);
    let mut close = |pending: &mut Vec<ResourceMetrics>, points: u64| {
        if !pending.is_empty() {
            let request = ExportMetricsServiceRequest {
                resource_metrics: std::mem::take(pending),
            };
            requests.push((Bytes::from(request.encode_to_vec()), points));
        }
    };
    for metrics in collected
        .iter()
        .filter_map(|collected| encode::resource_metrics(collected, now))
    {
        // With its tag and length.
        let more = metrics.encoded_len() + 6;
        if bytes + more > max_bytes {
            close(&mut pending, points);
            (bytes, points) = (0, 0);
        }
        bytes += more;
        points += encode::points(&metrics);
        pending.push(metrics);
    }
    close(&mut pending, points);
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
