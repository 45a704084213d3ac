//! From captures to objects: what the writers are to put.
//!
//! Enters: jobs. Leaves: [`Parcel`]s, and to each job its link as soon as its place is known.

use super::document::Hex;
use super::job::Job;
use super::segment::{self, Segment};
use super::{Jobs, Shared, StoreError, document, take};
use crate::config::Layout;
use crate::enrich::rfc3339_millis;
use crate::sink::{PayloadLink, PayloadStatus};
use crate::telemetry::ledger::PayloadLost;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// One object on its way to the store, with the jobs that it ends.
pub(super) struct Parcel {
    pub key: String,
    pub bytes: Bytes,
    pub content_type: &'static str,
    pub jobs: Vec<Job>,
}

impl Parcel {
    /// Nobody takes it any more.
    fn lost(self) {
        self.jobs
            .into_iter()
            .for_each(|job| job.lost(PayloadLost::Shutdown));
    }
}

fn send(parcels: &UnboundedSender<Parcel>, parcel: Parcel) {
    if let Err(stopped) = parcels.send(parcel) {
        stopped.0.lost();
    }
}

fn hex(digest: &[u8]) -> String {
    Hex(digest).to_string()
}

fn too_large(job: Job, size: usize) {
    let error = StoreError::too_large(size, job.shared().options.max_object_bytes);
    job.shared().store.report(&error);
    job.lost(PayloadLost::TooLarge);
}

/// Makes each capture an object, whose name is its digest.
pub(super) async fn objects(jobs: Jobs, parcels: UnboundedSender<Parcel>) {
    while let Some(mut job) = take(&jobs).await {
        let Some(capture) = job.capture() else {
            continue;
        };
        let document = document::encode(&capture);
        drop(capture);
        if document.len() > job.shared().options.max_object_bytes {
            too_large(job, document.len());
            continue;
        }
        let digest = hex(&Sha256::digest(&document));
        let key = job.shared().link.key(&digest);
        let link = PayloadLink {
            url: job.shared().link.url(&key, &digest),
            digest: Some(digest),
            size: Some(document.len() as u64),
            status: PayloadStatus::Pending,
        };
        job.encoded(document.capacity(), link);
        let parcel = Parcel {
            key,
            bytes: Bytes::from(document),
            content_type: "application/json",
            jobs: vec![job],
        };
        send(&parcels, parcel);
        tokio::task::yield_now().await;
    }
}

/// What is held of a document beside its frame, in bytes: its line of the index, its job, its bodies' places.
const BESIDE: usize = 700;

/// A segment that still takes documents.
struct Open {
    key: String,
    segment: Segment,
    jobs: Vec<Job>,
    /// When it is closed at the latest.
    until: Instant,
}

/// Makes segments of captures: closed at a size, at an age, or when `shared` closes.
pub(super) async fn segments(
    shared: Arc<Shared>,
    mut jobs: UnboundedReceiver<Job>,
    parcels: UnboundedSender<Parcel>,
) {
    let Layout::Segment { bytes, time } = shared.layout else {
        return;
    };
    let mut open: Option<Open> = None;
    loop {
        let closes = open.as_ref().map(|open| open.until);
        let job = tokio::select! {
            biased;
            job = jobs.recv() => job,
            () = until(closes) => {
                close(&shared, &mut open, &parcels);
                continue;
            }
            // Who stops waits for what is open, and nothing more comes.
            () = shared.closing.notified() => {
                while let Ok(job) = jobs.try_recv() {
                    add(&shared, &mut open, job, time);
                }
                close(&shared, &mut open, &parcels);
                continue;
            }
        };
        let Some(job) = job else {
            return close(&shared, &mut open, &parcels);
        };
        add(&shared, &mut open, job, time);
        if open
            .as_ref()
            .is_some_and(|open| open.segment.len() as u64 >= bytes)
        {
            close(&shared, &mut open, &parcels);
        }
        tokio::task::yield_now().await;
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Adds a document, to a new segment where none is open.
fn add(shared: &Shared, open: &mut Option<Open>, mut job: Job, time: Duration) {
    let Some(capture) = job.capture() else {
        return;
    };
    let max = shared.options.max_object_bytes;
    let added = match ready(shared, open, time) {
        Ok(open) => open.segment.add(&capture, max),
        Err(error) => Err(error.into()),
    };
    drop(capture);
    let (added, Some(open)) = (added, open) else {
        return job.lost(PayloadLost::StoreFailed);
    };
    let added = match added {
        Ok(added) => added,
        Err(segment::AddError::TooLarge(size)) => return too_large(job, size),
        Err(segment::AddError::Compress(error)) => {
            shared.store.report(&StoreError::compressor(&error));
            return job.lost(PayloadLost::StoreFailed);
        }
    };
    let digest = hex(&added.digest);
    let url = shared.link.url(&open.key, &digest);
    let link = PayloadLink {
        url: url.map(|url| format!("{url}#bytes={}-{}", added.first, added.last)),
        digest: Some(digest),
        size: Some(added.size as u64),
        status: PayloadStatus::Pending,
    };
    let frame = added.last - added.first + 1;
    let frame = usize::try_from(frame).unwrap_or(usize::MAX);
    job.encoded(frame.saturating_add(BESIDE), link);
    shared.ledger.bodies_shared(added.shared, added.saved);
    open.jobs.push(job);
}

fn ready<'a>(
    shared: &Shared,
    open: &'a mut Option<Open>,
    time: Duration,
) -> std::io::Result<&'a mut Open> {
    if open.is_none() {
        let segment = Segment::new()?;
        let name = name(SystemTime::now());
        *open = Some(Open {
            key: shared.link.key(&name),
            segment,
            jobs: Vec::new(),
            until: Instant::now() + time,
        });
    }
    open.as_mut()
        .ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

/// Names sort by time; no two are alike.
fn name(now: SystemTime) -> String {
    let time: String = rfc3339_millis(now)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    format!("{time}-{:016x}{}", fastrand::u64(..), segment::SUFFIX)
}

fn close(shared: &Shared, open: &mut Option<Open>, parcels: &UnboundedSender<Parcel>) {
    let Some(Open {
        key, segment, jobs, ..
    }) = open.take()
    else {
        return;
    };
    match segment.finish() {
        Ok(bytes) if !jobs.is_empty() => send(
            parcels,
            Parcel {
                key,
                bytes: Bytes::from(bytes),
                content_type: "application/zstd",
                jobs,
            },
        ),
        Ok(_) => {}
        Err(error) => {
            shared.store.report(&StoreError::compressor(&error));
            jobs.into_iter()
                .for_each(|job| job.lost(PayloadLost::StoreFailed));
        }
    }
}
