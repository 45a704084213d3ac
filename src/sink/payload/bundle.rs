//! From captures to segments: closed at a size, at an age, or when the stage closes.

use super::ahead::{Ahead, Book, Head, Place};
use super::job::{About, Job, Kept};
use super::pack::{AT_ONCE, Parcel, hex, send, too_large};
use super::segment::{self, Segment};
use super::{Shared, StoreError, document};
use crate::config::Layout;
use crate::enrich::rfc3339_millis;
use crate::sink::{PayloadLink, PayloadStatus};
use crate::telemetry::ledger::PayloadLost;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// What is held of a document beside its frame, in bytes: its line of the index, its job, its bodies' places, whom it is
/// about.
const BESIDE: usize = 1000;

/// Segments that are open at once where each service has its own. The oldest is closed for one more.
const MAX_OPEN: usize = 32;

/// A segment that still takes documents.
struct Open {
    /// Whose documents it takes; empty where it takes all.
    service: String,
    key: String,
    segment: Segment,
    jobs: Vec<Job>,
    /// Documents that are in it, and whose links nobody has yet.
    fresh: Vec<Fresh>,
    /// When it is closed at the latest.
    until: Instant,
    /// What is written ahead of it.
    book: Option<Book>,
    /// Documents in it.
    kept: u64,
}

struct Fresh {
    job: Job,
    link: PayloadLink,
    held: usize,
    ahead: Option<Ahead>,
}

/// Makes segments of captures, until there are no more.
pub(super) async fn segments(
    shared: Arc<Shared>,
    mut jobs: UnboundedReceiver<Job>,
    parcels: UnboundedSender<Parcel>,
) {
    let Layout::Segment { bytes, time } = shared.layout else {
        return;
    };
    shared.keep.settled().await;
    // What is open takes a part of the room, and must leave some for what is under way.
    let room = shared.options.max_queued_bytes;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut bundler = Bundler {
        bytes: bytes.min(room / 4).max(1),
        all_bytes: (room / 2).max(1),
        time,
        open: VecDeque::new(),
        shared,
        parcels,
    };
    loop {
        let closes = bundler.open.front().map(|open| open.until);
        let job = tokio::select! {
            biased;
            job = jobs.recv() => job,
            () = until(closes) => {
                bundler.close_first().await;
                continue;
            }
            // Who stops waits for what is open, and nothing more comes.
            () = bundler.shared.closing.notified() => {
                while let Ok(job) = jobs.try_recv() {
                    bundler.take(job, &mut jobs).await;
                }
                bundler.close_all().await;
                continue;
            }
        };
        let Some(job) = job else {
            return bundler.close_all().await;
        };
        bundler.take(job, &mut jobs).await;
        tokio::task::yield_now().await;
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

struct Bundler {
    shared: Arc<Shared>,
    parcels: UnboundedSender<Parcel>,
    /// From which size on a segment is closed, and the oldest of all that are open.
    bytes: usize,
    all_bytes: usize,
    time: Duration,
    /// In the order in which they were opened.
    open: VecDeque<Open>,
}

impl Bundler {
    /// Adds a document, and what else has come.
    async fn take(&mut self, first: Job, jobs: &mut UnboundedReceiver<Job>) {
        let (mut next, mut count) = (Some(first), 0);
        while let Some(job) = next {
            self.add(job).await;
            count += 1;
            next = match count < AT_ONCE {
                true => jobs.try_recv().ok(),
                false => None,
            };
        }
        for open in &mut self.open {
            write_ahead(&self.shared, open).await;
        }
    }

    /// Adds a document to the segment of its service.
    async fn add(&mut self, job: Job) {
        let Some(capture) = job.capture() else {
            return;
        };
        let service = match self.shared.link.by_service() {
            true => document::service_name(&capture),
            false => "",
        };
        let place = match self.ready(service).await {
            Ok(place) => place,
            Err(error) => return unpackable(&self.shared, job, &error),
        };
        let Some(open) = self.open.get_mut(place) else {
            return;
        };
        document_of(&self.shared, open, &capture, job);
        if open.segment.len() >= self.bytes
            && let Some(full) = self.open.remove(place)
        {
            self.close(full).await;
        }
        while self
            .open
            .iter()
            .map(|open| open.segment.len())
            .sum::<usize>()
            > self.all_bytes
        {
            self.close_first().await;
        }
    }

    /// The place of the segment for `service`, which is made where none is open.
    async fn ready(&mut self, service: &str) -> std::io::Result<usize> {
        if let Some(place) = self.open.iter().position(|open| open.service == service) {
            return Ok(place);
        }
        let segment = Segment::new()?;
        if self.open.len() >= MAX_OPEN {
            self.close_first().await;
        }
        let now = SystemTime::now();
        self.open.push_back(Open {
            service: service.to_owned(),
            key: self.shared.link.key(&name(now), now, service),
            segment,
            jobs: Vec::new(),
            fresh: Vec::new(),
            until: Instant::now() + self.time,
            book: self.shared.keep.book().await,
            kept: 0,
        });
        Ok(self.open.len() - 1)
    }

    async fn close_first(&mut self) {
        if let Some(first) = self.open.pop_front() {
            self.close(first).await;
        }
    }

    async fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close_first().await;
        }
    }

    async fn close(&self, mut open: Open) {
        write_ahead(&self.shared, &mut open).await;
        let Open {
            key,
            segment,
            jobs,
            book,
            kept,
            ..
        } = open;
        // The file goes with the last of its claims.
        let claim = book
            .filter(|_| kept > 0)
            .map(|book| book.journal.claim(Vec::new(), kept));
        match segment.finish() {
            Ok(bytes) if !jobs.is_empty() => send(
                &self.parcels,
                Parcel {
                    key,
                    bytes: Bytes::from(bytes),
                    content_type: "application/zstd",
                    jobs,
                    claim,
                    since: Instant::now(),
                },
            ),
            Ok(_) => {}
            Err(error) => {
                self.shared.store.report(&StoreError::compressor(&error));
                if let Some(claim) = claim {
                    claim.done();
                }
                jobs.into_iter()
                    .for_each(|job| job.lost(PayloadLost::StoreFailed));
            }
        }
    }
}

/// Adds one document.
fn document_of(shared: &Shared, open: &mut Open, capture: &crate::redact::Redacted, job: Job) {
    let added = open.segment.add(capture, shared.options.max_object_bytes);
    let added = match added {
        Ok(added) => added,
        Err(segment::AddError::TooLarge(size)) => return too_large(job, size),
        Err(segment::AddError::Compress(error)) => return unpackable(shared, job, &error),
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
    shared.ledger.bodies_shared(added.shared, added.saved);
    let ahead = open.book.as_ref().and_then(|_| {
        let (bytes, entry) = open.segment.last()?;
        let about = About::of(capture);
        Some(Ahead {
            head: Head::Frame {
                place: Place::new(&open.key, &link, &about),
                entry: Box::new(entry.clone()),
            },
            process: about.process,
            bytes: Bytes::copy_from_slice(bytes),
        })
    });
    open.fresh.push(Fresh {
        job,
        link,
        held: frame.saturating_add(BESIDE),
        ahead,
    });
}

fn unpackable(shared: &Shared, job: Job, error: &std::io::Error) {
    shared.store.report(&StoreError::compressor(error));
    job.lost(PayloadLost::StoreFailed);
}

/// Writes ahead what is fresh, where there is a spool, and tells the links.
async fn write_ahead(shared: &Shared, open: &mut Open) {
    if open.fresh.is_empty() {
        return;
    }
    let mut fresh = std::mem::take(&mut open.fresh);
    let mut kept = to_disk(shared, open, &mut fresh).await.into_iter();
    for Fresh {
        mut job,
        link,
        held,
        ..
    } in fresh
    {
        job.set_kept(kept.next().unwrap_or(Kept::No));
        job.encoded(held, link);
        open.jobs.push(job);
    }
    // One that was not there when the segment was opened takes what comes from now on.
    if open.book.is_none() && open.kept == 0 {
        open.book = shared.keep.book().await;
    }
}

/// For each whether it is on disk.
async fn to_disk(shared: &Shared, open: &mut Open, fresh: &mut [Fresh]) -> Vec<Kept> {
    let Some(book) = open.book.take() else {
        return Vec::new();
    };
    let ahead: Vec<Ahead> = fresh.iter_mut().filter_map(|f| f.ahead.take()).collect();
    let Some((book, written)) = shared.keep.write(book, ahead).await else {
        return Vec::new();
    };
    open.book = Some(book);
    let kept = written.into_iter().map(|written| match written {
        Ok(_) => {
            open.kept += 1;
            Kept::Yes
        }
        Err(kept) => kept,
    });
    kept.collect()
}

/// Names sort by time; no two are alike.
fn name(now: SystemTime) -> String {
    let time: String = rfc3339_millis(now)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    format!("{time}-{:016x}{}", fastrand::u64(..), segment::SUFFIX)
}
