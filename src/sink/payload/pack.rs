//! From captures to objects: what the writers are to put. Segments are made in [`super::bundle`].
//!
//! Enters: jobs. Leaves: [`Parcel`]s, and to each job its link as soon as its place is known; with a spool, as soon as it
//! is on disk.

use super::ahead::{Ahead, Head, Place};
use super::backlog;
use super::document::Hex;
use super::job::{About, Job, Kept};
use super::keep::blocking;
use super::store::Put;
use super::{Failure, Jobs, Shared, StoreError, document, take_some};
use crate::config::Layout;
use crate::sink::{PayloadFate, PayloadLink, PayloadStatus};
use crate::spool::journal::Claim;
use crate::telemetry::ledger::PayloadLost;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

/// Captures that are packed, and written ahead, at once.
pub(super) const AT_ONCE: usize = 32;

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

pub(super) fn send(parcels: &UnboundedSender<Parcel>, parcel: Parcel) {
    if let Err(stopped) = parcels.send(parcel) {
        stopped.0.stopped();
    }
}

pub(super) fn hex(digest: &[u8]) -> String {
    Hex(digest).to_string()
}

pub(super) fn too_large(job: Job, size: usize) {
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
    let start = capture.start;
    drop(capture);
    if document.len() > job.shared().options.max_object_bytes {
        too_large(job, document.len());
        return None;
    }
    let digest = hex(&Sha256::digest(&document));
    let service = document::resource(&about.process, "service.name");
    let key = job.shared().link.key(&digest, start, service);
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
