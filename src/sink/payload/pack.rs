//! From captures to objects: what the writers are to put.
//!
//! Enters: jobs. Leaves: [`Parcel`]s, and to each job its link as soon as its place is known; with a spool, as soon as it
//! is on disk.

use super::ahead::{Ahead, Book, Head, Place};
use super::backlog;
use super::document::Hex;
use super::job::{About, Job, Kept};
use super::keep::blocking;
use super::segment::{self, Segment};
use super::store::Put;
use super::{Failure, Jobs, Shared, StoreError, document, take_some};
use crate::config::Layout;
use crate::enrich::rfc3339_millis;
use crate::sink::{PayloadFate, PayloadLink, PayloadStatus};
use crate::spool::journal::Claim;
use crate::telemetry::ledger::PayloadLost;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// Captures that are packed, and written ahead, at once.
const AT_ONCE: usize = 32;

/// One object on its way to the store, with the jobs that it ends.
pub(super) struct Parcel {
    pub key: String,
    pub bytes: Bytes,
    pub content_type: &'static str,
    pub jobs: Vec<Job>,
    /// What of it is on disk.
    pub claim: Option<Claim>,
    /// When it could be put.
    pub since: Instant,
}

impl Parcel {
    /// All of it is on disk.
    pub fn is_kept(&self) -> bool {
        self.claim.is_some() && self.jobs.iter().all(|job| job.kept() == Kept::Yes)
    }

    /// The store has it. What telemetry does not know yet is told.
    pub async fn stored(self, shared: &Shared, put: Put) {
        if let Some(claim) = self.claim {
            blocking(|| claim.done()).await;
        }
        // A segment is nobody else's: what is there is what an attempt has put whose answer was lost.
        let segment = shared.layout != Layout::Object;
        let same = put == Put::Deduplicated && !segment;
        let count = self.jobs.len() as u64;
        let left: Vec<_> = self
            .jobs
            .into_iter()
            .filter_map(|job| job.stored(same))
            .collect();
        let telemetry = &shared.telemetry;
        let agent = || telemetry.agent.clone();
        if segment {
            if let Some((_, link)) = left.first() {
                let size = self.bytes.len() as u64;
                let url = link.url.as_deref();
                (telemetry.tell)(backlog::stored(agent(), url, size, count));
            }
            return;
        }
        for (about, link) in left {
            let fate = PayloadFate::Stored { transactions: 1 };
            (telemetry.tell)(about.event(agent(), link, fate));
        }
    }

    /// The store did not take it, or is not asked: what is on disk waits there, the rest is lost.
    pub async fn put_off(self, shared: &Shared, error: Option<&StoreError>) {
        let unfit = error.filter(|error| error.failure() == Failure::Unfit);
        let reason = error.map_or_else(|| shared.keep.why(), StoreError::lost);
        if let Some(claim) = self.claim {
            let unfit = unfit.is_some();
            blocking(move || if unfit { claim.done() } else { claim.wait() }).await;
        }
        for job in self.jobs {
            match job.kept() {
                Kept::Yes if unfit.is_none() => job.spooled(),
                Kept::Full if unfit.is_none() => job.lost(PayloadLost::SpoolFull),
                Kept::Yes | Kept::Full | Kept::No => job.lost(reason),
            }
        }
        shared.keep.wake.notify_one();
    }

    /// Nobody takes it any more.
    fn stopped(self) {
        drop(self.claim);
        drop(self.jobs);
    }
}

fn send(parcels: &UnboundedSender<Parcel>, parcel: Parcel) {
    if let Err(stopped) = parcels.send(parcel) {
        stopped.0.stopped();
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

/// A document that is about to be an object.
struct Packed {
    job: Job,
    about: About,
    key: String,
    document: Bytes,
    held: usize,
    link: PayloadLink,
}

/// Makes each capture an object, whose name is its digest.
pub(super) async fn objects(shared: Arc<Shared>, jobs: Jobs, parcels: UnboundedSender<Parcel>) {
    shared.keep.settled().await;
    while let Some(some) = take_some(&jobs, AT_ONCE).await {
        let packed: Vec<Packed> = some.into_iter().filter_map(pack).collect();
        let claims = match shared.keep.journals() {
            Some(_) => {
                let ahead = packed.iter().map(|packed| Ahead {
                    process: packed.about.process.clone(),
                    head: Head::Document(Place::new(&packed.key, &packed.link, &packed.about)),
                    bytes: packed.document.clone(),
                });
                shared.keep.documents(ahead.collect()).await
            }
            None => Vec::new(),
        };
        let mut claims = claims.into_iter();
        for packed in packed {
            let (kept, claim) = claims.next().unwrap_or((Kept::No, None));
            let mut job = packed.job;
            job.set_kept(kept);
            job.encoded(packed.held, packed.link);
            let parcel = Parcel {
                key: packed.key,
                bytes: packed.document,
                content_type: "application/json",
                jobs: vec![job],
                claim,
                since: Instant::now(),
            };
            send(&parcels, parcel);
        }
        tokio::task::yield_now().await;
    }
}

/// None: it is too large, or its telemetry has gone, which before encoding is at its end only.
fn pack(job: Job) -> Option<Packed> {
    let capture = job.capture()?;
    let document = document::encode(&capture);
    let about = About::of(&capture);
    drop(capture);
    if document.len() > job.shared().options.max_object_bytes {
        too_large(job, document.len());
        return None;
    }
    let digest = hex(&Sha256::digest(&document));
    let key = job.shared().link.key(&digest);
    let link = PayloadLink {
        url: job.shared().link.url(&key, &digest),
        digest: Some(digest),
        size: Some(document.len() as u64),
        status: PayloadStatus::Pending,
    };
    Some(Packed {
        job,
        about,
        key,
        held: document.capacity(),
        document: Bytes::from(document),
        link,
    })
}

/// What is held of a document beside its frame, in bytes: its line of the index, its job, its bodies' places, whom it is
/// about.
const BESIDE: usize = 1000;

/// A segment that still takes documents.
struct Open {
    key: String,
    segment: Segment,
    jobs: Vec<Job>,
    /// When it is closed at the latest.
    until: Instant,
    /// What is written ahead of it.
    book: Option<Book>,
    /// Documents in it.
    kept: u64,
}

/// A document that is in the open segment, and whose link nobody has yet.
struct Fresh {
    job: Job,
    link: PayloadLink,
    held: usize,
    ahead: Option<Ahead>,
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
    // What is open takes a part of the room, and must leave some for what is under way.
    let room = shared.options.max_queued_bytes as u64 / 4;
    let bytes = bytes.min(room.max(1));
    let mut open: Option<Open> = None;
    shared.keep.settled().await;
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
                    add(&shared, &mut open, job, &mut jobs, (bytes, time)).await;
                }
                close(&shared, &mut open, &parcels);
                continue;
            }
        };
        let Some(job) = job else {
            return close(&shared, &mut open, &parcels);
        };
        add(&shared, &mut open, job, &mut jobs, (bytes, time)).await;
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

/// Adds a document, and what else has come, to a new segment where none is open: until there are enough, or it is large
/// enough.
async fn add(
    shared: &Shared,
    open: &mut Option<Open>,
    first: Job,
    jobs: &mut UnboundedReceiver<Job>,
    (bytes, time): (u64, Duration),
) {
    let mut next = Some(first);
    let mut fresh = Vec::new();
    if let Some(open) = open
        && open.book.is_none()
        && open.kept == 0
    {
        open.book = shared.keep.book().await;
    }
    while let Some(job) = next {
        let open = match ready(shared, open, time).await {
            Ok(open) => open,
            Err(error) => {
                shared.store.report(&StoreError::compressor(&error));
                return job.lost(PayloadLost::StoreFailed);
            }
        };
        fresh.extend(document_of(shared, open, job));
        let enough = fresh.len() >= AT_ONCE || open.segment.len() as u64 >= bytes;
        next = if enough { None } else { jobs.try_recv().ok() };
    }
    if let Some(open) = open {
        let mut kept = write_ahead(shared, open, &mut fresh).await.into_iter();
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
    }
}

/// Adds one document; None: it is lost.
fn document_of(shared: &Shared, open: &mut Open, job: Job) -> Option<Fresh> {
    let capture = job.capture()?;
    let added = open.segment.add(&capture, shared.options.max_object_bytes);
    let added = match added {
        Ok(added) => added,
        Err(segment::AddError::TooLarge(size)) => {
            too_large(job, size);
            return None;
        }
        Err(segment::AddError::Compress(error)) => {
            shared.store.report(&StoreError::compressor(&error));
            job.lost(PayloadLost::StoreFailed);
            return None;
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
    shared.ledger.bodies_shared(added.shared, added.saved);
    let ahead = open.book.as_ref().and_then(|_| {
        let (bytes, entry) = open.segment.last()?;
        let about = About::of(&capture);
        Some(Ahead {
            head: Head::Frame {
                place: Place::new(&open.key, &link, &about),
                entry: entry.clone(),
            },
            process: about.process,
            bytes: Bytes::copy_from_slice(bytes),
        })
    });
    Some(Fresh {
        job,
        link,
        held: frame.saturating_add(BESIDE),
        ahead,
    })
}

/// Writes documents ahead, where there is a spool; for each whether it is on disk.
async fn write_ahead(shared: &Shared, open: &mut Open, fresh: &mut [Fresh]) -> Vec<Kept> {
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

async fn ready<'a>(
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
            book: shared.keep.book().await,
            kept: 0,
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
        key,
        segment,
        jobs,
        book,
        kept,
        ..
    }) = open.take()
    else {
        return;
    };
    // The file goes with the last of its claims.
    let claim = book
        .filter(|_| kept > 0)
        .map(|book| book.journal.claim(Vec::new(), kept));
    match segment.finish() {
        Ok(bytes) if !jobs.is_empty() => send(
            parcels,
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
            shared.store.report(&StoreError::compressor(&error));
            if let Some(claim) = claim {
                claim.done();
            }
            jobs.into_iter()
                .for_each(|job| job.lost(PayloadLost::StoreFailed));
        }
    }
}
