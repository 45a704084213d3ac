//! The task of one signal: encodes what was offered, makes batches of it, and hands them over.
//!
//! While the destination answers, several requests are under way, one of them from the spool where that has any. While
//! it does not, one at a time is tried, and where there is a spool everything else goes there.

use super::batch::{Batch, BatchLimits};
use super::books::Books;
use super::client::Client;
use super::disk::{Disk, Spooled};
use super::encode::EncodeOptions;
use super::health::Health;
use super::pending::Pending;
use super::queue::{Item, Room, Sending, Signal};
use super::report::Report;
use super::retry::{Reply, RetryPolicy};
use super::task::{Stop, stopped};
use crate::telemetry::ledger::Lost;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

/// Items taken from the queue at once.
const TAKE: usize = 256;
/// Requests under way at once, so that the time of one round trip does not bound what is sent.
const UNDER_WAY: usize = 4;

/// What a worker goes by.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    pub batch: BatchLimits,
    /// An item waits this long for others at the most.
    pub delay: Duration,
    /// With a spool: what waits in memory beyond this goes there, though the destination works.
    pub spill: BatchLimits,
    pub retry: RetryPolicy,
}

/// What a worker is made of.
pub struct Parts {
    pub signal: Signal,
    pub encode: Arc<EncodeOptions>,
    pub options: WorkerOptions,
    pub queue: mpsc::UnboundedReceiver<Item>,
    pub client: Client,
    pub report: Report,
    pub room: Arc<Room>,
    pub books: Books,
    pub disk: Disk,
}

/// A batch in memory that was tried, or is about to be.
struct Outgoing {
    batch: Batch,
    request: Bytes,
    /// When it was tried first.
    since: Instant,
}

/// What one request under way carries.
enum Load {
    Fresh(Outgoing),
    Spooled(Spooled),
}

impl Load {
    /// Items.
    fn len(&self) -> usize {
        match self {
            Load::Fresh(outgoing) => outgoing.batch.len(),
            Load::Spooled(spooled) => spooled.len(),
        }
    }
}

struct Flight {
    /// Batches are numbered in their order.
    number: u64,
    round: u64,
    load: Load,
    // Counts it as under way.
    _sending: Sending,
}

pub struct Worker {
    signal: Signal,
    encode: Arc<EncodeOptions>,
    options: WorkerOptions,
    queue: mpsc::UnboundedReceiver<Item>,
    taken: Vec<Item>,
    stop: Stop,
    client: Arc<Client>,
    report: Report,
    room: Arc<Room>,
    books: Books,
    disk: Disk,
    health: Health,
    pending: Pending,
    /// What has to be tried again, by number.
    again: BTreeMap<u64, Outgoing>,
    sends: JoinSet<Reply>,
    flights: HashMap<Id, Flight>,
    next_number: u64,
    /// The queue may still give something.
    open: bool,
    deadline: Option<Instant>,
}

/// What there is to do.
enum Step {
    Spool,
    SendAgain,
    SendFresh,
    SendSpooled,
}

impl Worker {
    pub fn new(parts: Parts, stop: Stop) -> Worker {
        Worker {
            signal: parts.signal,
            encode: parts.encode,
            options: parts.options,
            queue: parts.queue,
            taken: Vec::with_capacity(TAKE),
            stop,
            client: Arc::new(parts.client),
            report: parts.report,
            room: parts.room,
            books: parts.books,
            disk: parts.disk,
            health: Health::new(parts.options.retry),
            pending: Pending::default(),
            again: BTreeMap::new(),
            sends: JoinSet::new(),
            flights: HashMap::new(),
            next_number: 0,
            open: true,
            deadline: None,
        }
    }

    /// Runs until the queue is closed and empty, or the deadline has passed.
    pub async fn run(mut self) {
        loop {
            self.act().await;
            if self.over() {
                break;
            }
            let wake = self.wake();
            tokio::select! {
                count = self.queue.recv_many(&mut self.taken, TAKE), if self.open => {
                    self.open = count > 0;
                    for item in self.taken.drain(..) {
                        self.pending.push(item.encode(self.signal, &self.encode));
                    }
                }
                Some(landed) = self.sends.join_next_with_id() => self.landed(landed).await,
                opened = self.disk.opened(), if self.disk.opening() => {
                    self.disk.found(opened, &self.books, &mut self.report);
                }
                () = at(wake), if wake.is_some() => {}
                deadline = stopped(&mut self.stop), if self.deadline.is_none() => {
                    self.deadline = Some(deadline);
                    // What was offered is still taken out; from now on nothing is added.
                    self.queue.close();
                    self.health.stop();
                }
            }
        }
        self.disk.close(&self.books).await;
    }

    fn over(&self) -> bool {
        !self.open && self.pending.is_empty() && self.again.is_empty() && self.flights.is_empty()
    }

    /// When there is something to do though nothing happens.
    fn wake(&self) -> Option<Instant> {
        let due = self.pending.due(self.options.delay);
        let next = self.health.next();
        let idle = self.flights.is_empty();
        let fresh = match self.health.failing() {
            true if self.disk.takes() => due,
            true => due
                .map(|due| next.map_or(due, |next| due.max(next)))
                .filter(|_| idle),
            // Where no more may be under way, what comes back wakes.
            false => due.filter(|_| self.flights.len() < UNDER_WAY),
        };
        let again = next.filter(|_| idle && (!self.again.is_empty() || self.backlog()));
        let times = [fresh, again, self.disk.next_try(), self.deadline];
        times.into_iter().flatten().min()
    }

    async fn act(&mut self) {
        loop {
            let now = Instant::now();
            // A deadline that has passed wins over replies that might come.
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                self.give_up().await;
                return;
            }
            match self.step(now) {
                Some(Step::Spool) => self.spool().await,
                Some(Step::SendAgain) => {
                    if let Some((number, outgoing)) = self.again.pop_first() {
                        self.send(number, outgoing.request.clone(), Load::Fresh(outgoing));
                    }
                }
                Some(Step::SendFresh) => {
                    let (number, outgoing) = self.fresh();
                    self.send(number, outgoing.request.clone(), Load::Fresh(outgoing));
                }
                Some(Step::SendSpooled) => {
                    if let Some((request, spooled)) =
                        self.disk.oldest(&self.books, &mut self.report).await
                    {
                        self.send(0, request, Load::Spooled(spooled));
                    }
                }
                None => return,
            }
        }
    }

    fn step(&self, now: Instant) -> Option<Step> {
        let flush = self.flush(now);
        let failing = self.health.failing();
        if self.disk.takes() {
            if failing && (flush || !self.again.is_empty()) {
                return Some(Step::Spool);
            }
            if self.pending.beyond(self.options.spill) {
                return Some(Step::Spool);
            }
        }
        let free = match failing {
            true => self.flights.is_empty() && self.health.next().is_none_or(|next| next <= now),
            false => self.flights.len() < UNDER_WAY,
        };
        if !free {
            return None;
        }
        if !self.again.is_empty() {
            return Some(Step::SendAgain);
        }
        let spooled = self
            .flights
            .values()
            .any(|flight| matches!(flight.load, Load::Spooled(_)));
        if self.backlog() && !spooled {
            return Some(Step::SendSpooled);
        }
        flush.then_some(Step::SendFresh)
    }

    /// What is pending must go on its way.
    fn flush(&self, now: Instant) -> bool {
        let late = self.pending.due(self.options.delay);
        let late = late.is_some_and(|due| due <= now);
        let flush = late || !self.open || self.pending.full(self.options.batch);
        flush && !self.pending.is_empty()
    }

    /// The spool has something to send. While the agent stops it keeps what it has.
    fn backlog(&self) -> bool {
        self.disk.backlog() && self.deadline.is_none() && self.open
    }

    fn fresh(&mut self) -> (u64, Outgoing) {
        let mut batch = self.pending.take(self.options.batch);
        let request = batch.encode();
        self.next_number += 1;
        let outgoing = Outgoing {
            batch,
            request,
            since: Instant::now(),
        };
        (self.next_number, outgoing)
    }

    fn send(&mut self, number: u64, request: Bytes, load: Load) {
        let client = self.client.clone();
        let send = self.sends.spawn(async move { client.send(request).await });
        let flight = Flight {
            number,
            round: self.health.round(),
            _sending: self.room.sending(load.len()),
            load,
        };
        self.flights.insert(send.id(), flight);
    }

    /// Gives the next batch to the spool, or keeps it where the spool cannot be written.
    async fn spool(&mut self) {
        let (number, outgoing) = match self.again.pop_first() {
            Some(again) => again,
            None => self.fresh(),
        };
        let Outgoing { batch, request, .. } = &outgoing;
        match self
            .disk
            .append(
                request.clone(),
                batch.tally(),
                &self.books,
                &mut self.report,
            )
            .await
        {
            Ok(()) => outgoing.batch.spooled(),
            Err(Some(reason)) => {
                self.report
                    .lost(batch.len(), reason, "the spool has no room");
                outgoing.batch.lost(reason);
            }
            // As without a spool, until it can be written again.
            Err(None) => {
                self.again.insert(number, outgoing);
            }
        }
    }

    /// A request came to its end.
    async fn landed(&mut self, landed: Result<(Id, Reply), JoinError>) {
        let (id, reply) = match landed {
            Ok(landed) => landed,
            Err(error) => {
                let reply = Reply::Later {
                    error: format!("the attempt broke off: {error}"),
                    after: None,
                };
                (error.id(), reply)
            }
        };
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        match reply {
            Reply::Accepted { rejected, message } => {
                self.accepted(flight.load, rejected, &message).await;
            }
            Reply::Refused { error, .. } => {
                self.health.works();
                match flight.load {
                    Load::Fresh(outgoing) => self.lost(outgoing, Lost::Rejected, &error),
                    Load::Spooled(spooled) => {
                        self.report.lost(spooled.len(), Lost::Rejected, &error);
                        let tally = spooled.tally();
                        self.disk.done(spooled, &self.books).await;
                        self.books.rejected(tally);
                    }
                }
            }
            Reply::Later { error, after } => self.failed(flight, &error, after),
        }
        self.report.remind();
    }

    async fn accepted(&mut self, load: Load, rejected: u64, message: &str) {
        self.health.works();
        let most = load.len();
        let rejected = usize::try_from(rejected).unwrap_or(usize::MAX).min(most);
        self.report.accepted(rejected, message);
        match load {
            Load::Fresh(outgoing) => outgoing.batch.exported(rejected),
            Load::Spooled(spooled) => {
                let tally = spooled.tally();
                self.disk.done(spooled, &self.books).await;
                self.books.exported(tally, rejected as u64);
            }
        }
    }

    /// What was in the spool stays there; what was not is tried again, or goes there.
    fn failed(&mut self, flight: Flight, error: &str, after: Option<Duration>) {
        self.report.failed(error);
        let now = Instant::now();
        let jitter = fastrand::f64();
        let wait = self.health.failed(flight.round, after, now, jitter);
        if let Load::Fresh(outgoing) = flight.load {
            self.again.insert(flight.number, outgoing);
        }
        if self.disk.takes() {
            return;
        }
        let budget = self.options.retry.budget;
        let exhausted = |outgoing: &Outgoing| (now - outgoing.since) + wait > budget;
        let gone: Vec<u64> = self
            .again
            .iter()
            .filter(|(_, outgoing)| exhausted(outgoing))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            if let Some(outgoing) = self.again.remove(&number) {
                self.lost(outgoing, Lost::RetryExhausted, error);
                // The next one has a budget of its own.
                self.health.works();
            }
        }
    }

    fn lost(&mut self, outgoing: Outgoing, reason: Lost, error: &str) {
        self.report.lost(outgoing.batch.len(), reason, error);
        outgoing.batch.lost(reason);
    }

    /// The time is over: what is left goes to the spool, or is lost.
    async fn give_up(&mut self) {
        self.sends.abort_all();
        self.disk.try_now();
        for (_, flight) in self.flights.drain() {
            if let Load::Fresh(outgoing) = flight.load {
                self.again.insert(flight.number, outgoing);
            }
        }
        // Everything was closed when the stop began.
        while let Ok(item) = self.queue.try_recv() {
            self.pending.push(item.encode(self.signal, &self.encode));
        }
        self.open = false;
        while self.disk.takes() && (!self.again.is_empty() || !self.pending.is_empty()) {
            self.spool().await;
        }
        while !self.pending.is_empty() {
            let (number, outgoing) = self.fresh();
            self.again.insert(number, outgoing);
        }
        while let Some((_, outgoing)) = self.again.pop_first() {
            self.lost(outgoing, Lost::Shutdown, "the agent is stopping");
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
