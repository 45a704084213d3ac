//! The feed's one thread, which is there while somebody watches: it filters, encodes, and hands out.

use super::VERSION;
use super::encode::encode;
use super::filter::{self, Refused, Watch};
use super::viewer::{Line, Subscription};
use crate::redact::Redacted;
use crate::rules::TransactionFacts;
use crate::rules::expr::{Buffers, Macros, Program};
use crate::sink::PayloadLink;
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bounds, each by count and bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// What waits to be encoded.
    pub intake: (usize, usize),
    /// What waits for one viewer.
    pub viewer: (usize, usize),
    /// What a viewer who comes now is shown first.
    pub recent: (usize, usize),
    pub viewers: usize,
    /// How long after the last viewer the recent ones are still collected: who changes a filter, or loads a page again,
    /// comes back at once.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            intake: (1024, 8 << 20),
            viewer: (2048, 4 << 20),
            recent: (1000, 8 << 20),
            viewers: 8,
            linger: Duration::from_secs(60),
        }
    }
}

/// One capture on its way to viewers.
#[derive(Clone)]
pub(super) struct Item {
    capture: Arc<Redacted>,
    link: Option<PayloadLink>,
    bytes: usize,
}

impl Item {
    pub fn new(capture: &Arc<Redacted>, link: Option<&PayloadLink>) -> Item {
        Item {
            bytes: capture.transaction.memory(),
            capture: capture.clone(),
            link: link.cloned(),
        }
    }
}

pub(super) struct Hub {
    limits: Limits,
    watched: Arc<AtomicBool>,
    state: Mutex<State>,
    /// Something came in, or a viewer came or left.
    news: Condvar,
}

#[derive(Default)]
struct State {
    intake: VecDeque<Item>,
    bytes: usize,
    /// Found no room since the thread looked last; they would stand behind the intake.
    missed: u64,
    /// Viewers that the thread does not know yet.
    joining: Vec<Viewer>,
    /// Those that watch, the joining ones included.
    lines: Vec<Arc<Line>>,
    /// The thread is there.
    running: bool,
    closed: bool,
    macros: Arc<Macros>,
}

struct Viewer {
    filter: Option<Program>,
    recent: bool,
    line: Arc<Line>,
}

impl Hub {
    pub fn new(limits: Limits, watched: Arc<AtomicBool>) -> Hub {
        Hub {
            limits,
            watched,
            state: Mutex::default(),
            news: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn offer(&self, item: Item) {
        let mut state = self.lock();
        if !state.running {
            return;
        }
        state.take_in(item, self.limits.intake);
        drop(state);
        self.news.notify_one();
    }

    pub fn set_macros(&self, macros: Macros) {
        self.lock().macros = Arc::new(macros);
    }

    pub fn viewers(&self) -> usize {
        let mut state = self.lock();
        state.forget_gone();
        state.lines.len()
    }

    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(state);
        self.news.notify_one();
    }

    pub fn watch(self: Arc<Hub>, watch: &Watch) -> Result<Subscription, Refused> {
        if watch.version != VERSION {
            let theirs = watch.version;
            return Err(Refused::because(format!(
                "the agent speaks version {VERSION} of the live feed and the viewer version {theirs}; use the viewer that \
                 came with the agent"
            )));
        }
        let macros = self.lock().macros.clone();
        let filter = filter::compile(&watch.filter, &macros)?;
        let line = Line::new();
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::because("the agent is stopping"));
        }
        state.forget_gone();
        if state.lines.len() >= self.limits.viewers {
            let most = self.limits.viewers;
            return Err(Refused::because(format!(
                "{most} viewers watch already; end one of them"
            )));
        }
        if !state.running {
            let hub = self.clone();
            let thread = std::thread::Builder::new().name("live".to_owned());
            thread.spawn(move || hub.run()).map_err(|error| {
                Refused::because(format!("the agent cannot start a thread: {error}"))
            })?;
            state.running = true;
            self.watched.store(true, Ordering::Relaxed);
        }
        state.lines.push(line.clone());
        state.joining.push(Viewer {
            filter,
            recent: watch.recent,
            line: line.clone(),
        });
        drop(state);
        self.news.notify_one();
        let hub = self;
        Ok(Subscription::new(
            line,
            Box::new(move || {
                // Not between the thread's look and its wait.
                drop(hub.lock());
                hub.news.notify_one();
            }),
        ))
    }

    /// The thread: until nobody has watched for a while, or the agent stops.
    fn run(&self) {
        let mut work = Work {
            limits: self.limits,
            viewers: Vec::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            number: 0,
            buffers: Buffers::default(),
            alone_since: None,
        };
        while let Some(batch) = self.next(&mut work) {
            for viewer in batch.joining {
                work.join(viewer);
            }
            for item in batch.items {
                work.show(item);
            }
            if batch.missed > 0 {
                work.miss(batch.missed);
            }
            work.viewers.retain(|viewer| !viewer.line.is_gone());
        }
        for viewer in &work.viewers {
            viewer.line.end();
        }
    }

    /// What there is to do; None: nothing any more.
    fn next(&self, work: &mut Work) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            state.forget_gone();
            let alone = state.lines.is_empty();
            work.alone_since = work.alone_since.filter(|_| alone);
            let patience = alone.then(|| {
                let since = work.alone_since.get_or_insert_with(Instant::now);
                self.limits.linger.saturating_sub(since.elapsed())
            });
            if patience.is_some_and(|left| left.is_zero()) {
                break;
            }
            if !state.intake.is_empty() || !state.joining.is_empty() || state.missed > 0 {
                return Some(state.take());
            }
            if state.closed {
                break;
            }
            if work.viewers.iter().any(|viewer| viewer.line.is_gone()) {
                return Some(Batch::default());
            }
            let Some(patience) = patience else {
                state = self
                    .news
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.news.wait_timeout(state, patience);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        // Whoever comes from here on starts another thread.
        self.watched.store(false, Ordering::Relaxed);
        state.running = false;
        state.take();
        None
    }
}

/// What tests look at.
#[cfg(test)]
impl Hub {
    pub fn is_running(&self) -> bool {
        self.lock().running
    }

    /// Items that the thread has not taken.
    pub fn waiting(&self) -> usize {
        self.lock().intake.len()
    }

    /// Offers all of `items` before the thread can take one.
    pub fn offer_at_once(&self, items: impl Iterator<Item = Item>) {
        let mut state = self.lock();
        items.for_each(|item| state.take_in(item, self.limits.intake));
        drop(state);
        self.news.notify_one();
    }
}

#[derive(Default)]
struct Batch {
    joining: Vec<Viewer>,
    items: VecDeque<Item>,
    missed: u64,
}

impl State {
    fn forget_gone(&mut self) {
        self.lines.retain(|line| !line.is_gone());
    }

    fn take_in(&mut self, item: Item, most: (usize, usize)) {
        let bytes = self.bytes.saturating_add(item.bytes);
        let full = self.intake.len() >= most.0 || bytes > most.1;
        // What comes behind a miss would be shown before it.
        if self.missed > 0 || full && !self.intake.is_empty() {
            self.missed = self.missed.saturating_add(1);
        } else {
            self.bytes = bytes;
            self.intake.push_back(item);
        }
    }

    fn take(&mut self) -> Batch {
        self.bytes = 0;
        Batch {
            joining: std::mem::take(&mut self.joining),
            items: std::mem::take(&mut self.intake),
            missed: std::mem::take(&mut self.missed),
        }
    }
}

/// What the thread alone touches.
struct Work {
    limits: Limits,
    viewers: Vec<Viewer>,
    recent: VecDeque<(u64, Item)>,
    recent_bytes: usize,
    number: u64,
    buffers: Buffers,
    /// Nobody has watched since.
    alone_since: Option<Instant>,
}

impl Work {
    /// Takes a viewer in, and shows it what is there: the newest that fit, in their order.
    fn join(&mut self, viewer: Viewer) {
        let mut fitting = Vec::new();
        let mut bytes = 0;
        let recent = self.recent.iter().rev().filter(|_| viewer.recent);
        for (number, item) in recent {
            if !fits(&viewer, item, &mut self.buffers) {
                continue;
            }
            let json = encode(&item.capture, item.link.as_ref(), *number);
            bytes += json.len();
            if bytes > self.limits.viewer.1 || fitting.len() == self.limits.viewer.0 {
                break;
            }
            fitting.push(json);
        }
        for json in fitting.into_iter().rev() {
            viewer.line.push(json, self.limits.viewer);
        }
        self.viewers.push(viewer);
    }

    fn show(&mut self, item: Item) {
        self.number += 1;
        let mut encoded: Option<Bytes> = None;
        for viewer in &self.viewers {
            if fits(viewer, &item, &mut self.buffers) {
                let json = encoded
                    .get_or_insert_with(|| encode(&item.capture, item.link.as_ref(), self.number));
                viewer.line.push(json.clone(), self.limits.viewer);
            }
        }
        self.remember(item);
    }

    fn remember(&mut self, item: Item) {
        self.recent_bytes += item.bytes;
        self.recent.push_back((self.number, item));
        while self.recent.len() > self.limits.recent.0 || self.recent_bytes > self.limits.recent.1 {
            let Some((_, oldest)) = self.recent.pop_front() else {
                break;
            };
            self.recent_bytes -= oldest.bytes;
        }
    }

    fn miss(&mut self, count: u64) {
        self.number += count;
        for viewer in &self.viewers {
            viewer.line.miss(count);
        }
    }
}

/// Whether the viewer wants it, judged by what redaction left of it.
fn fits(viewer: &Viewer, item: &Item, buffers: &mut Buffers) -> bool {
    let facts = TransactionFacts {
        transaction: &item.capture.transaction,
        process: &item.capture.process,
    };
    let fits = |filter: &Program| filter.evaluate(&facts, buffers).is_true();
    viewer.filter.as_ref().is_none_or(fits)
}
