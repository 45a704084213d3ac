//! What waits for one viewer.

use hyper::body::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What a viewer gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A JSON object, without a line break.
    Transaction(Bytes),
    /// So many that it was too slow for, or that came too fast for all, would stand here.
    Missed(u64),
}

/// The messages of one viewer, between the feed and the task that sends them.
pub(super) struct Line {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Nothing comes any more.
    over: bool,
    /// Nobody takes anything any more.
    gone: bool,
}

impl Line {
    pub fn new() -> Arc<Line> {
        Arc::new(Line {
            waiting: Mutex::default(),
            news: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message of at most `most` (count, bytes) that wait together; one alone always finds room.
    pub fn push(&self, json: Bytes, most: (usize, usize)) {
        let mut waiting = self.lock();
        let bytes = waiting.bytes.saturating_add(json.len());
        let full = waiting.messages.len() >= most.0 || bytes > most.1;
        if full && !waiting.messages.is_empty() {
            waiting.miss(1);
        } else {
            waiting.bytes = bytes;
            waiting.messages.push_back(Message::Transaction(json));
        }
        drop(waiting);
        self.news.notify_one();
    }

    pub fn miss(&self, count: u64) {
        self.lock().miss(count);
        self.news.notify_one();
    }

    pub fn end(&self) {
        self.lock().over = true;
        self.news.notify_one();
    }

    pub fn is_gone(&self) -> bool {
        self.lock().gone
    }
}

impl Waiting {
    fn miss(&mut self, count: u64) {
        match self.messages.back_mut() {
            Some(Message::Missed(before)) => *before = before.saturating_add(count),
            _ => self.messages.push_back(Message::Missed(count)),
        }
    }
}

/// One viewer's end of the feed. Who drops it watches no longer.
pub struct Subscription {
    line: Arc<Line>,
    /// Tells the feed that it is gone.
    left: Box<dyn Fn() + Send + Sync>,
}

impl Subscription {
    pub(super) fn new(line: Arc<Line>, left: Box<dyn Fn() + Send + Sync>) -> Subscription {
        Subscription { line, left }
    }

    /// The next message; None: the agent stops. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            {
                let mut waiting = self.line.lock();
                if let Some(message) = waiting.messages.pop_front() {
                    if let Message::Transaction(json) = &message {
                        waiting.bytes = waiting.bytes.saturating_sub(json.len());
                    }
                    return Some(message);
                }
                if waiting.over {
                    return None;
                }
            }
            self.line.news.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.line.lock().gone = true;
        (self.left)();
    }
}
