//! The task of one signal: takes batches from the shelf, and hands them over.
//!
//! While the destination answers, several requests are under way, one of them from the spool where that has any. While
//! it does not, one at a time is tried, and where there is a spool everything else goes there.

use super::batch::{Batch, BatchLimits};
use super::books::Books;
use super::client::Client;
use super::disk::{Disk, Spooled};
use super::health::Health;
use super::report::Report;
use super::retry::{Reply, RetryPolicy};
use super::room::Sending;
use super::shelf::{Shelf, Waiting};
use super::task::{Stop, stopped};
use crate::telemetry::ledger::Lost;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

/// Requests under way at once, so that the time of one round trip does not bound what is sent.
const UNDER_WAY: usize = 4;

/// What a worker goes by.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// An item waits this long for others at the most.
    pub delay: Duration,
    /// With a spool: what waits in memory beyond this goes there, though the destination works.
    pub spill: BatchLimits,
    pub retry: RetryPolicy,
}

/// What a worker is made of.
pub struct Parts {
    pub options: WorkerOptions,
    pub shelf: Arc<Shelf>,
    pub client: Client,
    pub report: Report,
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
    options: WorkerOptions,
    shelf: Arc<Shelf>,
    stop: Stop,
    client: Arc<Client>,
    report: Report,
    books: Books,
    disk: Disk,
    health: Health,
    /// What has to be tried again, by number.
    again: BTreeMap<u64, Outgoing>,
    sends: JoinSet<Reply>,
    flights: HashMap<Id, Flight>,
    next_number: u64,
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
            options: parts.options,
            shelf: parts.shelf,
            stop,
            client: Arc::new(parts.client),
            report: parts.report,
            books: parts.books,
            disk: parts.disk,
            health: Health::new(parts.options.retry),
            again: BTreeMap::new(),
            sends: JoinSet::new(),
            flights: HashMap::new(),
            next_number: 0,
            deadline: None,
        }
    }

    /// Runs until the shelf is closed and empty, or the deadline has passed.
    pub async fn run(mut self) {
        loop {
            self.act().await;
            if self.over() {
                break;
            }
            let wake = self.wake();
            tokio::select! {
                () = self.shelf.changed() => {}
                Some(landed) = self.sends.join_next_with_id() => self.landed(landed).await,
                opened = self.disk.opened(), if self.disk.opening() => {
                    self.disk.found(opened, &self.books, &mut self.report);
                }
                () = at(wake), if wake.is_some() => {}
                deadline = stopped(&mut self.stop), if self.deadline.is_none() => {
                    self.deadline = Some(deadline);
                    // What was offered still leaves; from now on nothing is added.
                    self.shelf.close();
                    self.health.stop();
                }
            }
        }
        self.disk.close(&self.books).await;
    }

    fn over(&self) -> bool {
        let waiting = self.shelf.waiting();
        waiting.closed && waiting.is_empty() && self.again.is_empty() && self.flights.is_empty()
    }

    /// When there is something to do though nothing happens.
    fn wake(&self) -> Option<Instant> {
        let waiting = self.shelf.waiting();
        let due = waiting.due(self.options.delay);
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
        let again = next.filter(|_| idle && (!self.again.is_empty() || self.backlog(waiting)));
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
                    if let Some((number, outgoing)) = self.fresh() {
                        self.send(number, outgoing.request.clone(), Load::Fresh(outgoing));
                    }
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
        let waiting = self.shelf.waiting();
        let flush = self.flush(waiting, now);
        let failing = self.health.failing();
        if self.disk.takes() {
            if failing && (flush || !self.again.is_empty()) {
                return Some(Step::Spool);
            }
            if waiting.beyond(self.options.spill) {
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
        if self.backlog(waiting) && !spooled {
            return Some(Step::SendSpooled);
        }
        flush.then_some(Step::SendFresh)
    }

    /// What waits must go on its way.
    fn flush(&self, waiting: Waiting, now: Instant) -> bool {
        let due = waiting.due(self.options.delay);
        let late = due.is_some_and(|due| due <= now);
        (late || waiting.closed || waiting.full) && !waiting.is_empty()
    }

    /// The spool has something to send. While the agent stops it keeps what it has.
    fn backlog(&self, waiting: Waiting) -> bool {
        self.disk.backlog() && self.deadline.is_none() && !waiting.closed
    }

    /// The next batch of the shelf, which only this worker takes from.
    fn fresh(&mut self) -> Option<(u64, Outgoing)> {
        let mut batch = self.shelf.take()?;
        let request = batch.encode();
        self.next_number += 1;
        let outgoing = Outgoing {
            batch,
            request,
            since: Instant::now(),
        };
        Some((self.next_number, outgoing))
    }

    fn send(&mut self, number: u64, request: Bytes, load: Load) {
        let client = self.client.clone();
        let send = self.sends.spawn(async move { client.send(request).await });
        let flight = Flight {
            number,
            round: self.health.round(),
            _sending: self.shelf.room().sending(load.len()),
            load,
        };
        self.flights.insert(send.id(), flight);
    }

    /// Gives the next batch to the spool, or keeps it where the spool cannot be written.
    async fn spool(&mut self) {
        let next = match self.again.pop_first() {
            Some(again) => Some(again),
            None => self.fresh(),
        };
        let Some((number, outgoing)) = next else {
            return;
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
        self.shelf.close();
        let left = |worker: &Worker| !worker.again.is_empty() || !worker.shelf.waiting().is_empty();
        while self.disk.takes() && left(self) {
            self.spool().await;
        }
        while let Some((number, outgoing)) = self.fresh() {
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
