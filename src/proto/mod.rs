//! Protocols: from bytes of both directions of a connection to messages and transactions.
//!
//! Enters: pieces of bytes in order, and gaps of known length. Leaves: exchanges.
//! Holds: nothing is copied but heads that are cut in two, and what of bodies is to be kept; any input is taken.

use crate::transaction::Stamp;

pub mod detect;
pub mod grpc;
pub mod http1;
pub mod websocket;

/// Bytes of one direction, in order, all moved by one operation.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    pub bytes: &'a [u8],
    /// Offset of `bytes[0]` in the stream, where that is counted from the stream's first byte.
    pub offset: Option<u64>,
    /// `bytes[0]` is the first byte of its operation.
    pub op_start: bool,
    pub stamp: Stamp,
}

impl<'a> Piece<'a> {
    /// Takes the first `n` bytes off; all where there are fewer.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.bytes.split_at(n.min(self.bytes.len()));
        self.bytes = rest;
        self.offset = self.offset.map(|o| o.saturating_add(head.len() as u64));
        self.op_start &= head.is_empty();
        head
    }

    /// Takes everything.
    pub fn take_all(&mut self) -> &'a [u8] {
        self.take(self.bytes.len())
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
