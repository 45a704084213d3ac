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
use std::collections::VecDeque;
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
        let start = capture.start;
        let service = document::service_name(&capture).to_owned();
        drop(capture);
        if document.len() > job.shared().options.max_object_bytes {
            too_large(job, document.len());
            continue;
        }
        let digest = hex(&Sha256::digest(&document));
        let key = job.shared().link.key(&digest, start, &service);
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

/// Segments that are open at once where each service has its own. The oldest is closed for one more.
const MAX_OPEN: usize = 32;

/// A segment that still takes documents.
struct Open {
    /// Whose documents it takes; empty where it takes all.
    service: String,
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
    // In the order in which they were opened.
    let mut open: VecDeque<Open> = VecDeque::new();
    loop {
        let closes = open.front().map(|open| open.until);
        let job = tokio::select! {
            biased;
            job = jobs.recv() => job,
            () = until(closes) => {
                close_first(&shared, &mut open, &parcels);
                continue;
            }
            // Who stops waits for what is open, and nothing more comes.
            () = shared.closing.notified() => {
                while let Ok(job) = jobs.try_recv() {
                    add(&shared, &mut open, job, time, &parcels);
                }
                close_all(&shared, &mut open, &parcels);
                continue;
            }
        };
        let Some(job) = job else {
            return close_all(&shared, &mut open, &parcels);
        };
        let place = add(&shared, &mut open, job, time, &parcels);
        let full = |open: &Open| open.segment.len() as u64 >= bytes;
        if let Some(place) = place
            && open.get(place).is_some_and(full)
            && let Some(full) = open.remove(place)
        {
            close(&shared, full, &parcels);
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

/// Adds a document, to a new segment where none is open for it; says to which.
fn add(
    shared: &Shared,
    open: &mut VecDeque<Open>,
    mut job: Job,
    time: Duration,
    parcels: &UnboundedSender<Parcel>,
) -> Option<usize> {
    let capture = job.capture()?;
    let service = match shared.link.by_service() {
        true => document::service_name(&capture),
        false => "",
    };
    let max = shared.options.max_object_bytes;
    let place = match ready(shared, open, service, time, parcels) {
        Ok(place) => place,
        Err(error) => {
            unpackable(shared, job, &error);
            return None;
        }
    };
    let into = open.get_mut(place)?;
    let added = match into.segment.add(&capture, max) {
        Ok(added) => added,
        Err(segment::AddError::TooLarge(size)) => {
            too_large(job, size);
            return None;
        }
        Err(segment::AddError::Compress(error)) => {
            unpackable(shared, job, &error);
            return None;
        }
    };
    let digest = hex(&added.digest);
    let url = shared.link.url(&into.key, &digest);
    let link = PayloadLink {
        url: url.map(|url| format!("{url}#bytes={}-{}", added.first, added.last)),
        digest: Some(digest),
        size: Some(added.size as u64),
        status: PayloadStatus::Pending,
    };
    let frame = added.last - added.first + 1;
    let frame = usize::try_from(frame).unwrap_or(usize::MAX);
    drop(capture);
    job.encoded(frame.saturating_add(BESIDE), link);
    shared.ledger.bodies_shared(added.shared, added.saved);
    into.jobs.push(job);
    Some(place)
}

fn unpackable(shared: &Shared, job: Job, error: &std::io::Error) {
    shared.store.report(&StoreError::compressor(error));
    job.lost(PayloadLost::StoreFailed);
}

/// The place of the segment for `service`, which is made where none is open.
fn ready(
    shared: &Shared,
    open: &mut VecDeque<Open>,
    service: &str,
    time: Duration,
    parcels: &UnboundedSender<Parcel>,
) -> std::io::Result<usize> {
    if let Some(place) = open.iter().position(|open| open.service == service) {
        return Ok(place);
    }
    let segment = Segment::new()?;
    if open.len() >= MAX_OPEN {
        close_first(shared, open, parcels);
    }
    let now = SystemTime::now();
    open.push_back(Open {
        service: service.to_owned(),
        key: shared.link.key(&name(now), now, service),
        segment,
        jobs: Vec::new(),
        until: Instant::now() + time,
    });
    Ok(open.len() - 1)
}

/// Names sort by time; no two are alike.
fn name(now: SystemTime) -> String {
    let time: String = rfc3339_millis(now)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    format!("{time}-{:016x}{}", fastrand::u64(..), segment::SUFFIX)
}

fn close_first(shared: &Shared, open: &mut VecDeque<Open>, parcels: &UnboundedSender<Parcel>) {
    if let Some(first) = open.pop_front() {
        close(shared, first, parcels);
    }
}

fn close_all(shared: &Shared, open: &mut VecDeque<Open>, parcels: &UnboundedSender<Parcel>) {
    open.drain(..).for_each(|open| close(shared, open, parcels));
}

fn close(shared: &Shared, open: Open, parcels: &UnboundedSender<Parcel>) {
    let Open {
        key, segment, jobs, ..
    } = open;
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
