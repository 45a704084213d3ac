//! `ResourceSpans` and `ResourceLogs` in memory that is used again.
//!
//! Enters: a resource, then items that are encoded already. Leaves: the group as a field of its request.
//! Holds: nothing is copied once it was added: the lengths in front, which are known last, have room kept for them.

use super::encode::names;
use super::encode::wire::{self, begin, field_len};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// `resource_spans`, `resource_logs`.
const GROUP: u32 = 1;
/// `resource` of a group; `scope` of its part.
const HEAD: u32 = 1;
/// `scope_spans`, `scope_logs` of a group; `spans`, `log_records` of its part.
const ITEM: u32 = 2;
/// `schema_url` of the part.
const SCHEMA: u32 = 3;
/// Bytes of a field's tag and length at the most.
pub const FIELD: usize = 6;

/// Buffers that are not in use. Two for the batch that is being filled, of two processes, and two for that under way is
/// what a destination that keeps up needs.
const SPARE: usize = 4;

/// Buffers of one signal's batches.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    /// An empty buffer with room for `bytes`.
    fn take(&self, bytes: usize) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = spare.unwrap_or_default();
        buffer.reserve(bytes);
        buffer
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(buffer);
        }
    }
}

/// One group of a request.
pub struct Frame {
    /// Room for what stands in front of the items; the items.
    buffer: Vec<u8>,
    front: usize,
    resource: Vec<u8>,
}

impl Frame {
    /// Of no items yet, in a buffer of the pool that has room for `room` bytes of items.
    pub fn new(resource: Vec<u8>, scope: &[u8], pool: &Pool, room: usize) -> Frame {
        let front = Frame::front(&resource, scope);
        let mut buffer = pool.take(front + room + Frame::back());
        buffer.resize(front, 0);
        Frame {
            buffer,
            front,
            resource,
        }
    }

    /// Bytes in front of the items, at the most.
    fn front(resource: &[u8], scope: &[u8]) -> usize {
        4 * FIELD + resource.len() + scope.len()
    }

    /// Bytes behind them.
    fn back() -> usize {
        field_len(names::SCHEMA_URL.len())
    }

    /// Bytes beside the items, at the most.
    pub fn overhead(resource: &[u8], scope: &[u8]) -> usize {
        Frame::front(resource, scope) + Frame::back()
    }

    pub fn add(&mut self, message: &[u8]) {
        wire::bytes(&mut self.buffer, ITEM, message);
    }

    /// The buffer, and where in it the field begins.
    fn close(mut self, scope: &[u8]) -> (Vec<u8>, usize) {
        let items = self.buffer.len() - self.front;
        let part = field_len(scope.len()) + items + Frame::back();
        let mut head = Vec::with_capacity(self.front);
        begin(
            &mut head,
            GROUP,
            field_len(self.resource.len()) + field_len(part),
        );
        wire::bytes(&mut head, HEAD, &self.resource);
        begin(&mut head, ITEM, part);
        wire::bytes(&mut head, HEAD, scope);
        let start = self.front - head.len();
        self.buffer[start..self.front].copy_from_slice(&head);
        wire::bytes(&mut self.buffer, SCHEMA, names::SCHEMA_URL.as_bytes());
        (self.buffer, start)
    }
}

/// The request of these groups. Its memory goes back to the pool when it is dropped.
pub fn request(groups: impl IntoIterator<Item = Frame>, scope: &[u8], pool: &Arc<Pool>) -> Bytes {
    let mut all: Option<Request> = None;
    for group in groups {
        let (buffer, start) = group.close(scope);
        match &mut all {
            Some(all) => {
                all.buffer.extend_from_slice(&buffer[start..]);
                pool.give_back(buffer);
            }
            None => {
                all = Some(Request {
                    buffer,
                    start,
                    pool: pool.clone(),
                });
            }
        }
    }
    all.map_or_else(Bytes::new, Bytes::from_owner)
}

struct Request {
    buffer: Vec<u8>,
    start: usize,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Request {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    fn span(name: &str) -> Span {
        Span {
            name: name.to_owned(),
            ..Span::default()
        }
    }

    fn resource(dropped: u32) -> Resource {
        Resource {
            dropped_attributes_count: dropped,
            ..Resource::default()
        }
    }

    #[test]
    fn groups_read_back_whatever_their_sizes() {
        let pool = Arc::new(Pool::default());
        let scope = InstrumentationScope {
            name: "scope".to_owned(),
            ..InstrumentationScope::default()
        };
        let encoded = scope.encode_to_vec();
        // Sizes on both sides of where a length takes one byte more.
        for sizes in [vec![0], vec![1, 0], vec![40, 120, 130], vec![16_200; 3]] {
            let frames = sizes.iter().enumerate().map(|(index, size)| {
                let room = if index == 0 { 100 } else { 0 };
                let resource = resource(index as u32 + 1).encode_to_vec();
                let mut frame = Frame::new(resource, &encoded, &pool, room);
                frame.add(&span("first").encode_to_vec());
                frame.add(&span(&"x".repeat(*size)).encode_to_vec());
                frame
            });
            let bytes = request(frames, &encoded, &pool);
            let read = ExportTraceServiceRequest::decode(bytes).expect("a request");
            assert_eq!(read.resource_spans.len(), sizes.len());
            for (index, (group, size)) in read.resource_spans.iter().zip(&sizes).enumerate() {
                assert_eq!(group.resource, Some(resource(index as u32 + 1)));
                let [part] = &group.scope_spans[..] else {
                    panic!("one part a group");
                };
                assert_eq!(part.scope.as_ref(), Some(&scope));
                assert_eq!(part.schema_url, names::SCHEMA_URL);
                assert_eq!(part.spans, [span("first"), span(&"x".repeat(*size))]);
            }
        }
    }

    #[test]
    fn memory_comes_back_when_the_request_is_gone_and_no_more_is_kept_than_is_needed() {
        let pool = Arc::new(Pool::default());
        let one = || {
            let mut frame = Frame::new(Vec::new(), &[], &pool, 5000);
            frame.add(b"message");
            request([frame], &[], &pool)
        };
        let requests: Vec<Bytes> = (0..SPARE + 2).map(|_| one()).collect();
        let first = requests[0].clone();
        let spare = || pool.0.lock().expect("no panic").len();
        assert_eq!(spare(), 0);
        drop(requests);
        assert_eq!(spare(), SPARE, "of one more that are gone");
        let address = first.as_ptr();
        assert!(!one().as_ptr().eq(&address), "the first is still in use");
        drop(first);
        assert_eq!(spare(), SPARE);
    }
}
