//! Bytes of one direction that are kept until it is known how to read them.

use super::Piece;
use crate::transaction::Stamp;

/// Most memory of a backlog, in bytes.
const BACKLOG_MAX: usize = 256 * 1024;

/// Pieces and gaps in order, copied.
#[derive(Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

#[derive(Clone, Copy)]
struct Item {
    kind: ItemKind,
    stamp: Stamp,
}

#[derive(Clone, Copy)]
enum ItemKind {
    Bytes {
        len: usize,
        offset: Option<u64>,
        op_start: bool,
    },
    Gap(u64),
    Skip(u64),
}

/// What comes out again.
pub enum Held<'a> {
    Piece(Piece<'a>),
    Gap(u64, Stamp),
    /// Left out on purpose.
    Skip(u64, Stamp),
}

impl Backlog {
    pub fn push(&mut self, piece: Piece<'_>) {
        if piece.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(piece.bytes);
        self.items.push(Item {
            kind: ItemKind::Bytes {
                len: piece.bytes.len(),
                offset: piece.offset,
                op_start: piece.op_start,
            },
            stamp: piece.stamp,
        });
    }

    pub fn push_gap(&mut self, len: u64, stamp: Stamp) {
        self.items.push(Item {
            kind: ItemKind::Gap(len),
            stamp,
        });
    }

    pub fn push_skip(&mut self, len: u64, stamp: Stamp) {
        self.items.push(Item {
            kind: ItemKind::Skip(len),
            stamp,
        });
    }

    /// It holds as much as it may.
    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.items.len() * size_of::<Item>() >= BACKLOG_MAX
    }

    /// The bytes of all pieces.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All that was held, in order.
    pub fn iter(&self) -> impl Iterator<Item = Held<'_>> {
        let mut rest = &self.bytes[..];
        self.items.iter().map(move |item| match item.kind {
            ItemKind::Gap(len) => Held::Gap(len, item.stamp),
            ItemKind::Skip(len) => Held::Skip(len, item.stamp),
            ItemKind::Bytes {
                len,
                offset,
                op_start,
            } => {
                let (bytes, after) = rest.split_at(len);
                rest = after;
                Held::Piece(Piece {
                    bytes,
                    offset,
                    op_start,
                    stamp: item.stamp,
                })
            }
        })
    }

    /// Bytes of memory that this holds.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.items.capacity() * size_of::<Item>()
    }
}
