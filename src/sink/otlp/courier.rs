//! Requests of the agent's own telemetry, on the way that transactions go: TLS, headers, compression, timeouts.
//!
//! Holds: one attempt a request, in no queue and no book, and no span about it: what is lost here is told by the next
//! request, and exporting makes nothing to export.

use super::client::Client;
use super::queue::Signal;
use super::report::Report;
use super::retry::Reply;
use super::room::Room;
use super::{StartError, metrics, split};
use crate::config::OtlpEndpoint;
use crate::telemetry::ledger::Lost;
use bytes::Bytes;
use tokio::sync::Mutex;

/// Takes requests of one signal to one destination.
pub struct Courier {
    client: Client,
    /// Items of a request.
    count: fn(&[u8]) -> u64,
    report: Mutex<Report>,
}

impl Courier {
    /// Of spans. Has to be made inside a Tokio runtime.
    ///
    /// # Errors
    /// When a URL, a header or a TLS file cannot be used.
    pub fn of_spans(endpoint: &OtlpEndpoint) -> Result<Courier, StartError> {
        let service = Signal::Traces.service();
        Courier::new("own/traces", (service, split::items), endpoint)
    }

    /// Of metrics; the same.
    ///
    /// # Errors
    /// The same.
    pub fn of_metrics(endpoint: &OtlpEndpoint) -> Result<Courier, StartError> {
        let service = metrics::SERVICE;
        Courier::new("own/metrics", (service, metrics::points), endpoint)
    }

    fn new(
        name: &'static str,
        (service, count): (&'static str, fn(&[u8]) -> u64),
        endpoint: &OtlpEndpoint,
    ) -> Result<Courier, StartError> {
        let report = Report::new(name, &endpoint.url, Room::new(None, 0, 0)).without_spans();
        Ok(Courier {
            client: Client::new(service, count, endpoint)?,
            count,
            report: Mutex::new(report),
        })
    }

    /// Sends a request once. Trouble is in the log, at a bounded rate.
    ///
    /// # Errors
    /// When it did not arrive; the text says why.
    pub async fn send(&self, request: Bytes) -> Result<(), String> {
        let items = usize::try_from((self.count)(&request)).unwrap_or(usize::MAX);
        let reply = self.client.send(request).await;
        let mut report = self.report.lock().await;
        let (reason, error) = match reply {
            Reply::Accepted { rejected, message } => {
                let rejected = usize::try_from(rejected).unwrap_or(usize::MAX).min(items);
                report.accepted(rejected, &message);
                return Ok(());
            }
            Reply::Refused { error, .. } => (Lost::Rejected, error),
            Reply::Later { error, .. } => (Lost::RetryExhausted, error),
        };
        report.lost(items, reason, &error);
        Err(error)
    }
}
