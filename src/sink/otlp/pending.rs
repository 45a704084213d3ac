//! Items that wait to become a batch.

use super::batch::{Batch, BatchLimits};
use super::queue::{Encoded, OVERHEAD};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Encoded items, oldest first.
#[derive(Default)]
pub struct Pending {
    items: VecDeque<Encoded>,
    /// Of their messages.
    bytes: usize,
}

impl Pending {
    pub fn push(&mut self, item: Encoded) {
        self.bytes += item.message.len();
        self.items.push_back(item);
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The next batch.
    pub fn take(&mut self, limits: BatchLimits) -> Batch {
        let batch = Batch::take(&mut self.items, limits);
        self.bytes = self.bytes.saturating_sub(batch.message_bytes());
        batch
    }

    /// They make a batch of the largest size.
    pub fn full(&self, limits: BatchLimits) -> bool {
        self.items.len() >= limits.items || self.bytes >= limits.bytes
    }

    /// They are more than `limits`, with what items take beside their content.
    pub fn beyond(&self, limits: BatchLimits) -> bool {
        let bytes = self.bytes + self.items.len() * OVERHEAD;
        self.items.len() > limits.items || bytes > limits.bytes
    }

    /// When the item in front must be on its way.
    pub fn due(&self, delay: Duration) -> Option<Instant> {
        self.items.front().map(|item| item.since + delay)
    }
}
