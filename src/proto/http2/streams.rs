//! The streams of a connection that have not ended.
//!
//! Holds: the memory of all is known without a look at each; those that wait, and the last that were given up, are listed.

use super::super::detect::Kind;
use super::GIVEN_UP_KEPT;
use super::stream::Stream;
use crate::event::KernelTime;
use std::collections::{BTreeMap, VecDeque};

/// By their numbers, in which order clients open them.
#[derive(Default)]
pub struct Streams {
    open: BTreeMap<u32, Stream>,
    /// Streams with a deadline.
    pending: Vec<u32>,
    /// The last streams that were taken out before both their messages had ended.
    given_up: VecDeque<u32>,
    /// Of `open`, in bytes.
    memory: usize,
    /// The same at the last [`Streams::mark`].
    marked: usize,
}

impl Streams {
    pub fn get(&self, id: u32) -> Option<&Stream> {
        self.open.get(&id)
    }

    pub fn contains(&self, id: u32) -> bool {
        self.open.contains_key(&id)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Streams, the oldest first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.open.values_mut()
    }

    pub fn oldest(&self) -> Option<u32> {
        self.open.first_key_value().map(|(id, _)| *id)
    }

    /// Streams above `last` that the client opened.
    pub fn of_client_above(&self, last: u32) -> Vec<u32> {
        let above = self.open.range(last.saturating_add(1)..);
        above.map(|(id, _)| *id).filter(|id| id % 2 == 1).collect()
    }

    /// Makes the stream where it is not there.
    pub fn enter(&mut self, id: u32) {
        self.open.entry(id).or_default();
    }

    pub fn insert(&mut self, id: u32, stream: Stream) {
        self.open.insert(id, stream);
        self.touch(id, |_| ());
    }

    /// Lets a stream work, and counts its memory.
    pub fn touch(&mut self, id: u32, work: impl FnOnce(&mut Stream)) {
        let Some(stream) = self.open.get_mut(&id) else {
            return;
        };
        work(stream);
        let after = stream.memory();
        let before = std::mem::replace(&mut stream.counted, after);
        self.memory = (self.memory + after).saturating_sub(before);
    }

    /// Takes a stream out.
    pub fn remove(&mut self, id: u32) -> Option<Stream> {
        let stream = self.open.remove(&id)?;
        self.memory = self.memory.saturating_sub(stream.counted);
        if stream.deadline.is_some() {
            self.pending.retain(|pending| *pending != id);
        }
        if !(stream.request.done && stream.response.done) {
            if self.given_up.len() >= GIVEN_UP_KEPT {
                self.given_up.pop_front();
            }
            self.given_up.push_back(id);
        }
        Some(stream)
    }

    /// It was taken out not long ago, before both its messages had ended: what still comes of it begins nothing.
    pub fn was_given_up(&self, id: u32) -> bool {
        self.given_up.contains(&id)
    }

    /// The stream is waited for until then.
    pub fn wait(&mut self, id: u32, until: KernelTime) {
        if let Some(stream) = self.open.get_mut(&id)
            && stream.deadline.replace(until).is_none()
        {
            self.pending.push(id);
        }
    }

    /// The `at`th stream that is waited for, from 0.
    pub fn pending(&self, at: usize) -> Option<u32> {
        self.pending.get(at).copied()
    }

    /// Bytes of this direction were lost: the streams that have not ended in it are waited for until then.
    pub fn lose(&mut self, kind: Kind, until: KernelTime) {
        for (id, stream) in &mut self.open {
            if stream.lose(kind) && stream.deadline.is_none() {
                stream.deadline = Some(until);
                self.pending.push(*id);
            }
        }
    }

    /// The caller has seen to its bound.
    pub fn mark(&mut self) {
        self.marked = self.memory;
    }

    /// Memory that was gained since the last [`Streams::mark`], in bytes.
    pub fn gain(&self) -> usize {
        self.memory.saturating_sub(self.marked)
    }

    /// Approximate memory beyond the structure itself, in bytes.
    pub fn memory(&self) -> usize {
        self.memory + (self.pending.capacity() + self.given_up.capacity()) * size_of::<u32>()
    }
}
