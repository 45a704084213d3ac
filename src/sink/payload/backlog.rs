//! What waits in the spool of a store: put when the store takes it, oldest first, beside what is fresh.

use super::Shared;
use super::ahead::{self, Head, Place};
use super::keep::{self, blocking};
use super::segment::{self, Entry};
use super::store::Put;
use super::{Failure, StoreError};
use crate::enrich::Process;
use crate::sink::{PayloadEvent, PayloadFate, PayloadStatus};
use crate::spool::journal::{self, Journals, Opened};
use crate::spool::{Lock, Scanned, SpoolError};
use crate::telemetry::ledger::{PayloadLost, Spool};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;

/// Between two looks at what may have come to wait.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks at a folder that an older configuration of this agent still uses.
const LOOK: Duration = Duration::from_millis(100);
/// What of a file is in memory at once, in bytes; of frames, all.
const AT_ONCE: usize = 4 << 20;
/// Objects that are put at the same time.
const PUTS: usize = 8;

/// Opens the spool, and puts what waits in it, until it is aborted.
pub(super) async fn run(shared: Arc<Shared>, place: keep::Place) {
    match open(place).await {
        Ok((journals, scanned)) => found(&shared, journals, scanned),
        Err(error) => {
            tracing::error!(%error, store = shared.link.store(), "payloads wait in memory alone");
            return shared.keep.without();
        }
    }
    loop {
        tokio::select! {
            () = shared.keep.wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
        shared.keep.turn_page().await;
        let Some(journals) = shared.keep.journals() else {
            return;
        };
        while let Some(number) = journals.first() {
            publish(&shared, &journals);
            let file = Waiting {
                shared: &shared,
                journals: &journals,
                number,
                processes: HashMap::new(),
            };
            if !file.go().await {
                break;
            }
        }
        publish(&shared, &journals);
    }
}

async fn open(place: keep::Place) -> Result<(Arc<Journals>, Scanned), SpoolError> {
    let keep::Place {
        folder,
        mut lock,
        limits,
    } = place;
    let lock = loop {
        match lock.take() {
            Some(lock) => break lock,
            None => {
                tokio::time::sleep(LOOK).await;
                lock = Lock::take(&folder)?;
            }
        }
    };
    let opened = blocking(move || Journals::open(lock, limits)).await;
    opened.unwrap_or_else(|| {
        Err(SpoolError::Io {
            path: folder,
            action: "open it",
            source: std::io::ErrorKind::Other.into(),
        })
    })
}

/// Says what an agent before this one left, and puts it into the books. What this process has in its books already, from
/// a configuration that had the spool before, is not counted again.
fn found(shared: &Shared, journals: Arc<Journals>, scanned: Scanned) {
    let Scanned {
        left,
        corrupt,
        unreadable,
        unreadable_files,
    } = scanned;
    let known = shared.ledger.spool(&shared.keep.name);
    let known = match known.folder == journals.folder().display().to_string() {
        true => known.items,
        false => 0,
    };
    let all = left.items + corrupt.items;
    shared.ledger.payloads_found(all.saturating_sub(known));
    let missing = known.saturating_sub(all);
    let lost = corrupt.items + missing;
    shared.ledger.payloads_lost(PayloadLost::SpoolCorrupt, lost);
    let folder = journals.folder().display();
    if left.items > 0 {
        tracing::info!(store = shared.link.store(), folder = %folder, payloads = left.items, "spool: payloads from before are stored too");
    }
    if lost > 0 || unreadable > 0 || unreadable_files > 0 {
        tracing::warn!(
            store = shared.link.store(),
            folder = %folder,
            payloads = lost,
            unreadable_bytes = unreadable,
            unreadable_files,
            "spool: something is damaged, or was not written to its end; it is passed over. Of unreadable bytes nobody can tell how many payloads they were"
        );
    }
    publish(shared, &journals);
    shared.keep.opened(journals);
}

/// Tells the ledger what waits.
pub(super) fn publish(shared: &Shared, journals: &Journals) {
    let state = journals.state();
    let spool = Spool {
        folder: journals.folder().display().to_string(),
        batches: state.left.batches,
        items: state.left.items,
        progress: 0,
        bytes: state.bytes,
        oldest_unix_seconds: state.oldest.map_or(0, |millis| millis / 1000),
        oldest_age_seconds: 0,
    };
    shared.ledger.set_spool(&shared.keep.name, spool);
}

/// One file that waits.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    journals: &'a Arc<Journals>,
    number: u64,
    /// By the number that heads have.
    processes: HashMap<usize, Arc<Process>>,
}

/// One payload of it.
struct Piece {
    at: usize,
    place: Place,
    /// The line of the index; None: it is an object of its own.
    entry: Option<Entry>,
    bytes: Vec<u8>,
}

impl Waiting<'_> {
    /// Puts what is in it, or gives it up where it is too old. False: the store does not take it now.
    async fn go(mut self) -> bool {
        let expired = self.journals.expired(self.number, crate::spool::now());
        if !expired && self.shared.keep.next_try().is_some() {
            return false;
        }
        let (journals, number) = (self.journals.clone(), self.number);
        let mut opened = match blocking(move || journals.read(number)).await {
            Some(Ok(opened)) => opened,
            Some(Err(error)) => {
                tracing::warn!(%error, store = self.shared.link.store(), "spool: a file cannot be read; the payloads in it are lost");
                return self.over(PayloadLost::SpoolCorrupt).await;
            }
            None => return self.over(PayloadLost::SpoolCorrupt).await,
        };
        let mut frames = Vec::new();
        loop {
            let Some((rest, pieces)) = self.some(opened).await else {
                return self.over(PayloadLost::SpoolCorrupt).await;
            };
            opened = rest;
            if pieces.is_empty() {
                break;
            }
            if expired {
                // Should the agent stop before the file goes, the next one does not count them again.
                pieces.iter().for_each(|piece| opened.mark(piece.at));
                self.give_up(&pieces, PayloadLost::SpoolExpired);
                continue;
            }
            let (of_segment, objects) = pieces.into_iter().partition(|p| p.entry.is_some());
            frames.extend::<Vec<Piece>>(of_segment);
            if !self.objects(objects, &opened).await {
                return false;
            }
        }
        if !frames.is_empty() && !self.segment(frames).await {
            return false;
        }
        self.over(PayloadLost::SpoolCorrupt).await
    }

    /// The file goes; what is still in it is lost.
    async fn over(&self, reason: PayloadLost) -> bool {
        let (journals, number) = (self.journals.clone(), self.number);
        let left = blocking(move || journals.remove(number)).await.unwrap_or(0);
        self.shared.ledger.payloads_lost(reason, left);
        true
    }

    /// Some of what is in the file; none: its end.
    async fn some(&mut self, mut opened: Opened) -> Option<(Opened, Vec<Piece>)> {
        loop {
            let read = move || {
                let (mut entries, mut bytes) = (Vec::new(), 0);
                while bytes < AT_ONCE
                    && let Some(entry) = opened.next_entry()
                {
                    if let journal::Entry::Content { content, .. } = &entry {
                        bytes += content.len();
                    }
                    entries.push(entry);
                }
                (opened, entries)
            };
            let (rest, entries) = blocking(read).await?;
            let end = entries.is_empty();
            let pieces: Vec<Piece> = entries.into_iter().filter_map(|e| self.piece(e)).collect();
            if end || !pieces.is_empty() {
                return Some((rest, pieces));
            }
            // Damaged ones and resources alone: there may be more behind them.
            opened = rest;
        }
    }

    fn piece(&mut self, entry: journal::Entry) -> Option<Piece> {
        let (at, content) = match entry {
            journal::Entry::Content { at, content } => (at, content),
            journal::Entry::Damaged { items } => {
                self.lost(PayloadLost::SpoolCorrupt, items);
                return None;
            }
        };
        // One that says nothing is counted with the file's rest.
        let (head, bytes) = ahead::read(content)?;
        let (place, entry) = match head {
            Head::Resource { number, attributes } => {
                let process = Arc::new(ahead::process(attributes));
                self.processes.insert(number, process);
                return None;
            }
            Head::Document(place) => (place, None),
            Head::Frame { place, entry } => (place, Some(*entry)),
        };
        Some(Piece {
            at,
            place,
            entry,
            bytes,
        })
    }

    fn lost(&self, reason: PayloadLost, count: u64) {
        self.journals.done(self.number, count);
        self.shared.ledger.payloads_lost(reason, count);
    }

    /// Counts payloads as lost, and tells of each.
    fn give_up(&self, pieces: &[Piece], reason: PayloadLost) {
        self.lost(reason, pieces.len() as u64);
        for piece in pieces {
            let process = self.process(&piece.place);
            let about = piece.place.about(process.clone());
            let link = piece.place.link(PayloadStatus::Lost);
            let event = about.event(process, link, PayloadFate::Lost(reason));
            (self.shared.telemetry.tell)(event);
        }
    }

    fn process(&self, place: &Place) -> Arc<Process> {
        self.processes
            .get(&place.resource)
            .cloned()
            .unwrap_or_default()
    }

    /// Puts objects, several at a time. False: the store does not take them now.
    async fn objects(&mut self, objects: Vec<Piece>, opened: &Opened) -> bool {
        let mut objects = objects.into_iter();
        loop {
            let mut puts = JoinSet::new();
            let round = self.shared.keep.round();
            for mut piece in objects.by_ref().take(PUTS) {
                let shared = self.shared.clone();
                puts.spawn(async move {
                    let bytes = Bytes::from(std::mem::take(&mut piece.bytes));
                    let put = shared
                        .store
                        .put(&piece.place.key, bytes, "application/json");
                    (put.await, piece)
                });
            }
            if puts.is_empty() {
                return true;
            }
            let mut all = true;
            while let Some(ended) = puts.join_next().await {
                let Ok((put, piece)) = ended else {
                    all = false;
                    continue;
                };
                all &= self.ended(put, piece, round, opened);
            }
            if !all {
                return false;
            }
        }
    }

    /// One object was put, or not. False: the store did not take it now.
    fn ended(
        &self,
        put: Result<Put, StoreError>,
        piece: Piece,
        round: u64,
        opened: &Opened,
    ) -> bool {
        let shared = self.shared;
        match put {
            Ok(put) => {
                shared.keep.works();
                opened.mark(piece.at);
                self.journals.done(self.number, 1);
                shared.ledger.payload_stored(put == Put::Deduplicated);
                let about = piece.place.about(self.process(&piece.place));
                let link = piece.place.link(PayloadStatus::Stored);
                let fate = PayloadFate::Stored { transactions: 1 };
                let event = about.event(shared.telemetry.agent.clone(), link, fate);
                (shared.telemetry.tell)(event);
                true
            }
            Err(error) if error.failure() == Failure::Unfit => {
                shared.store.report(&error);
                opened.mark(piece.at);
                self.give_up(&[piece], error.lost());
                true
            }
            Err(error) => {
                shared.store.report(&error);
                shared.keep.failed(round, &error);
                false
            }
        }
    }

    /// Puts a segment together and stores it. False: the store does not take it now.
    async fn segment(&mut self, frames: Vec<Piece>) -> bool {
        let Some(key) = frames.first().map(|piece| piece.place.key.clone()) else {
            return true;
        };
        let (mut places, mut entries) = (Vec::new(), Vec::new());
        for piece in frames {
            if let Some(entry) = piece.entry {
                entries.push((entry, piece.bytes));
                places.push(piece.place);
            }
        }
        let (object, count) = match blocking(move || segment::assemble(entries)).await {
            Some(Ok(assembled)) => assembled,
            Some(Err(error)) => {
                self.shared.store.report(&StoreError::compressor(&error));
                return true;
            }
            None => return true,
        };
        let size = object.len() as u64;
        let round = self.shared.keep.round();
        let put = self
            .shared
            .store
            .put(&key, Bytes::from(object), "application/zstd");
        match put.await {
            Ok(_) => {
                self.shared.keep.works();
                let count = count as u64;
                self.journals.done(self.number, count);
                for _ in 0..count {
                    self.shared.ledger.payload_stored(false);
                }
                let url = places.into_iter().find_map(|place| place.url);
                (self.shared.telemetry.tell)(stored(
                    self.shared.telemetry.agent.clone(),
                    url.as_deref(),
                    size,
                    count,
                ));
                true
            }
            Err(error) if error.failure() == Failure::Unfit => {
                self.shared.store.report(&error);
                let pieces = places.into_iter().map(|place| Piece {
                    at: 0,
                    place,
                    entry: None,
                    bytes: Vec::new(),
                });
                self.give_up(&pieces.collect::<Vec<_>>(), error.lost());
                true
            }
            Err(error) => {
                self.shared.store.report(&error);
                self.shared.keep.failed(round, &error);
                false
            }
        }
    }
}

/// The event of a segment that is stored; `link`: of any of its payloads.
pub(super) fn stored(
    agent: Arc<Process>,
    link: Option<&str>,
    size: u64,
    transactions: u64,
) -> PayloadEvent {
    let url = link.map(|link| link.split('#').next().unwrap_or(link).to_owned());
    PayloadEvent {
        process: agent,
        time: SystemTime::now(),
        span: None,
        transaction: None,
        url,
        digest: None,
        size: Some(size),
        fate: PayloadFate::Stored { transactions },
    }
}
