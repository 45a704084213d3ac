//! The dynamic table of a header compression context (RFC 7541 §2.3), which may begin in the middle.

use super::static_table::STATIC;
use std::collections::VecDeque;

/// What an entry costs beside its bytes (RFC 7541 §4.1).
const OVERHEAD: usize = 32;

/// A name or value that a decoder may not know: entries made before it began to listen.
pub(super) type Known = Option<Box<[u8]>>;

/// One entry of the dynamic table.
pub(super) struct Entry {
    pub name: Known,
    pub value: Known,
}

impl Entry {
    fn size(&self) -> usize {
        let len = |part: &Known| part.as_deref().map_or(0, <[u8]>::len);
        len(&self.name) + len(&self.value) + OVERHEAD
    }
}

/// Where an index leads.
pub(super) enum Found<'a> {
    Static(&'static str, &'static str),
    Dynamic(&'a Entry),
    /// An entry from before the decoder began.
    Unknown,
}

/// Entries from the newest to the oldest.
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
    /// There may be older entries than those here. They have the higher indexes, and are evicted first, so that they
    /// disturb nothing: an encoder never names an evicted entry.
    older: bool,
}

impl Table {
    pub fn new(max_size: usize, older: bool) -> Self {
        Table {
            entries: VecDeque::new(),
            size: 0,
            max_size,
            older,
        }
    }

    /// None: the index names nothing, and the context is lost.
    pub fn get(&self, index: usize) -> Option<Found<'_>> {
        let Some(position) = index.checked_sub(STATIC.len() + 1) else {
            let (name, value) = STATIC.get(index.checked_sub(1)?)?;
            return Some(Found::Static(name, value));
        };
        match self.entries.get(position) {
            Some(entry) => Some(Found::Dynamic(entry)),
            None if self.older => Some(Found::Unknown),
            None => None,
        }
    }

    /// Adds an entry, and evicts what has no room any more (RFC 7541 §4.4). An entry with an unknown part counts as
    /// smaller than it is, so known entries may stay longer than in the encoder's table; none goes earlier.
    pub fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.evict(self.max_size.saturating_sub(size));
        if size <= self.max_size {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    /// Sets the maximum size. At 0 the table is empty for certain, and so known from then on.
    pub fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict(max_size);
        if max_size < OVERHEAD {
            self.entries.clear();
            self.size = 0;
            self.older = false;
        }
    }

    fn evict(&mut self, down_to: usize) {
        while self.size > down_to
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.size();
        }
    }

    /// Bytes that entries hold, by the RFC's counting.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Something was inserted that was not seen: all that was known is at an unknown distance now.
    pub fn forget(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.older = true;
    }
}
