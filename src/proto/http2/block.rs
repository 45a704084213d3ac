//! Header blocks of one direction: HEADERS or PUSH_PROMISE and what continues them (RFC 9113 §4.3).

use super::BLOCK_MAX;
use super::frame::{Header, flag, kind};
use super::head::Head;
use super::hpack::Decoder;
use crate::transaction::Stamp;

/// A block that is over.
pub struct Block {
    pub stream: u32,
    /// The stream that a PUSH_PROMISE promises.
    pub promised: Option<u32>,
    pub end_stream: bool,
    /// Its first byte.
    pub first: Stamp,
    /// Bytes of its frames.
    pub wire: u64,
    /// None: the block was not all seen, or too long.
    pub head: Option<Head>,
    /// It was longer than is kept.
    pub too_long: bool,
}

impl Block {
    /// It was larger than is read.
    pub fn is_cut(&self) -> bool {
        self.too_long || self.head.as_ref().is_some_and(|h| h.cut)
    }
}

/// A block that goes on.
struct Open {
    block: Block,
    whole: bool,
}

/// Joins and decodes the blocks of one direction.
pub struct Blocks {
    decoder: Decoder,
    open: Option<Open>,
    bytes: Vec<u8>,
}

impl Blocks {
    /// `from_start`: every block since the connection began will be seen.
    pub fn new(from_start: bool) -> Self {
        Blocks {
            decoder: Decoder::new(from_start),
            open: None,
            bytes: Vec::new(),
        }
    }

    /// An unknown number of blocks was lost. What was read of one.
    pub fn lose(&mut self) -> Option<Block> {
        self.decoder.lost_block();
        self.bytes.clear();
        self.open.take().map(|open| open.block)
    }

    /// A block is open: only CONTINUATION may come.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a frame of a header block; no payload: it was not kept. Gives what ended.
    pub fn frame(&mut self, header: Header, payload: Option<&[u8]>, first: Stamp) -> Option<Block> {
        if header.kind == kind::CONTINUATION {
            self.go_on(header, payload);
        } else {
            self.begin(header, payload, first);
        }
        header.has(flag::END_HEADERS).then(|| self.end()).flatten()
    }

    fn begin(&mut self, header: Header, payload: Option<&[u8]>, first: Stamp) {
        let fragment = payload.and_then(|payload| fragment(header, payload));
        self.bytes.clear();
        self.open = Some(Open {
            whole: fragment.is_some(),
            block: Block {
                stream: header.stream,
                promised: fragment.as_ref().and_then(|f| f.promised),
                end_stream: header.kind == kind::HEADERS && header.has(flag::END_STREAM),
                first,
                wire: header.wire(),
                head: None,
                too_long: false,
            },
        });
        self.add(fragment.map(|f| f.bytes));
    }

    fn go_on(&mut self, header: Header, payload: Option<&[u8]>) {
        match &mut self.open {
            Some(open) if open.block.stream == header.stream => open.block.wire += header.wire(),
            _ => {
                // What it continues was lost.
                self.decoder.lost_block();
                return;
            }
        }
        self.add(payload);
    }

    fn add(&mut self, bytes: Option<&[u8]>) {
        let Some(open) = &mut self.open else { return };
        match bytes {
            Some(bytes) if self.bytes.len() + bytes.len() <= BLOCK_MAX => {
                self.bytes.extend_from_slice(bytes);
            }
            Some(_) => {
                open.block.too_long = true;
                open.whole = false;
            }
            None => open.whole = false,
        }
    }

    fn end(&mut self) -> Option<Block> {
        let open = self.open.take()?;
        let mut block = open.block;
        if open.whole {
            block.head = Some(Head::decode(&mut self.decoder, &self.bytes));
        } else {
            self.decoder.lost_block();
        }
        self.bytes.clear();
        self.bytes.shrink_to(4096);
        Some(block)
    }

    /// Approximate memory beyond the structure itself, in bytes.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + 2 * self.decoder.table_size()
    }
}

/// The part of a block that a frame's payload holds.
struct Fragment<'a> {
    promised: Option<u32>,
    bytes: &'a [u8],
}

/// Takes padding, priority and promised stream off. None: they do not fit the payload.
fn fragment(header: Header, mut payload: &[u8]) -> Option<Fragment<'_>> {
    if header.has(flag::PADDED) {
        let (pad, rest) = payload.split_first()?;
        payload = rest.get(..rest.len().checked_sub(usize::from(*pad))?)?;
    }
    if header.kind == kind::HEADERS && header.has(flag::PRIORITY) {
        payload = payload.get(5..)?;
    }
    let mut promised = None;
    if header.kind == kind::PUSH_PROMISE {
        let (id, rest) = payload.split_first_chunk::<4>()?;
        promised = Some(u32::from_be_bytes(*id) & 0x7fff_ffff);
        payload = rest;
    }
    Some(Fragment {
        promised,
        bytes: payload,
    })
}
