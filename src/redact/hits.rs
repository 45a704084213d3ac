//! How many values each matcher touched.

use std::sync::Arc;

/// Index of a matcher in its redactor's list of names.
pub(super) type MatcherId = u16;

/// How many values of one transaction each matcher touched. Allocates only where one did.
#[derive(Debug, Clone)]
pub struct Hits {
    names: Arc<[Box<str>]>,
    counts: Vec<(MatcherId, u64)>,
}

impl Hits {
    pub(super) fn new(names: Arc<[Box<str>]>) -> Self {
        Hits {
            names,
            counts: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, id: MatcherId) {
        match self.counts.iter_mut().find(|(i, _)| *i == id) {
            Some((_, n)) => *n += 1,
            None => self.counts.push((id, 1)),
        }
    }

    /// Name of each matcher that touched something, and how many values it touched.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts
            .iter()
            .filter_map(|(id, n)| Some((&**self.names.get(usize::from(*id))?, *n)))
    }

    /// Values touched in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, n)| n).sum()
    }
}
