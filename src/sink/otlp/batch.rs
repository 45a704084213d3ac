//! One request: encoded items grouped by resource.
//!
//! `ExportTraceServiceRequest` and `ExportLogsServiceRequest` have the same shape and field numbers (OTLP 1.x), so the
//! frame around spans and log records is written here once, by hand, around messages that are encoded already.

use super::encode::wire::{begin, bytes, field_len};
use super::encode::{self, names};
use super::queue::Encoded;
use crate::enrich::Process;
use crate::spool::Tally;
use crate::telemetry::ledger::Lost;
use bytes::{Bytes, BytesMut};
use prost::Message;
use std::collections::VecDeque;
use std::sync::Arc;

/// `resource_spans`, `resource_logs`.
const GROUPS: u32 = 1;
/// `resource` of a group; `scope` of its part.
const HEAD: u32 = 1;
/// `scope_spans`, `scope_logs` of a group; `spans`, `log_records` of its part.
const ITEMS: u32 = 2;
/// `schema_url` of the part.
const SCHEMA: u32 = 3;
/// Bytes of a field's tag and length at the most.
const FIELD: usize = 6;

/// Bounds of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    pub items: usize,
    /// Bytes before compression. One item that is larger goes alone.
    pub bytes: usize,
}

/// Items of one request.
pub struct Batch {
    groups: Vec<Group>,
    scope: Vec<u8>,
    /// Upper bound of the request's bytes.
    bytes: usize,
    items: usize,
}

struct Group {
    process: Arc<Process>,
    resource: Vec<u8>,
    items: Vec<Encoded>,
}

impl Batch {
    /// Takes items from the front of `pending` for as long as the limits allow, at least one where there is one.
    pub fn take(pending: &mut VecDeque<Encoded>, limits: BatchLimits) -> Batch {
        let mut batch = Batch {
            groups: Vec::new(),
            scope: encode::scope().encode_to_vec(),
            bytes: 0,
            items: 0,
        };
        while batch.items < limits.items {
            let Some(next) = pending.front() else {
                break;
            };
            let group = batch
                .groups
                .iter()
                .position(|g| Arc::ptr_eq(&g.process, &next.process));
            let resource = match group {
                Some(_) => Vec::new(),
                None => encode::resource(&next.process).encode_to_vec(),
            };
            let more = batch.cost(&next.message, &resource, group.is_none());
            if batch.items > 0 && batch.bytes + more > limits.bytes {
                break;
            }
            if let Some(item) = pending.pop_front() {
                batch.bytes += more;
                batch.items += 1;
                batch.add(item, resource, group);
            }
        }
        batch
    }

    fn cost(&self, message: &[u8], resource: &[u8], new_group: bool) -> usize {
        let head = if new_group {
            resource.len() + self.scope.len() + names::SCHEMA_URL.len() + 5 * FIELD
        } else {
            0
        };
        head + message.len() + FIELD
    }

    fn add(&mut self, item: Encoded, resource: Vec<u8>, group: Option<usize>) {
        match group.and_then(|index| self.groups.get_mut(index)) {
            Some(group) => group.items.push(item),
            None => self.groups.push(Group {
                process: item.process.clone(),
                resource,
                items: vec![item],
            }),
        }
    }

    pub fn len(&self) -> usize {
        self.items
    }

    /// What is in it, for the books.
    pub fn tally(&self) -> Tally {
        let items = self.groups.iter().flat_map(|g| &g.items);
        let progress = items.filter(|item| item.progress).count();
        Tally {
            batches: 1,
            items: (self.items - progress) as u64,
            progress: progress as u64,
        }
    }

    /// Bytes of the messages, without what is around them.
    pub fn message_bytes(&self) -> usize {
        let items = self.groups.iter().flat_map(|g| &g.items);
        items.map(|item| item.message.len()).sum()
    }

    /// The request, which has the messages from now on.
    pub fn encode(&mut self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.bytes);
        for group in &mut self.groups {
            let part = field_len(self.scope.len())
                + field_len(names::SCHEMA_URL.len())
                + group
                    .items
                    .iter()
                    .map(|i| field_len(i.message.len()))
                    .sum::<usize>();
            begin(
                &mut out,
                GROUPS,
                field_len(group.resource.len()) + field_len(part),
            );
            bytes(&mut out, HEAD, &group.resource);
            begin(&mut out, ITEMS, part);
            bytes(&mut out, HEAD, &self.scope);
            for item in &mut group.items {
                bytes(&mut out, ITEMS, &std::mem::take(&mut item.message));
            }
            bytes(&mut out, SCHEMA, names::SCHEMA_URL.as_bytes());
        }
        out.freeze()
    }

    /// The destination took all but the last `rejected` items: which ones it refused it does not say.
    pub fn exported(self, rejected: usize) {
        let taken = self.items.saturating_sub(rejected);
        for (index, item) in self.into_items().enumerate() {
            if index < taken {
                item.exported();
            } else {
                item.lost(Lost::Rejected);
            }
        }
    }

    pub fn lost(self, reason: Lost) {
        self.into_items().for_each(|item| item.lost(reason));
    }

    /// A spool has it.
    pub fn spooled(self) {
        self.into_items().for_each(Encoded::spooled);
    }

    fn into_items(self) -> impl Iterator<Item = Encoded> {
        self.groups.into_iter().flat_map(|g| g.items)
    }
}
