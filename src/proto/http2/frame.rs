//! What a frame is: its header, types and flags (RFC 9113 §4.1, §6).

use super::{BLOCK_MAX, FRAME_MAX};

/// Bytes of a frame header.
pub const HEADER: usize = 9;
/// Stream identifiers from here on are not believed where a boundary is looked for.
const STREAM_PLAUSIBLE: u32 = 1 << 24;

/// Frame types (RFC 9113 §6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    /// RFC 9218 §7.1.
    pub const PRIORITY_UPDATE: u8 = 0x10;
}

/// Flags of frames.
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Bytes of payload.
    pub len: u32,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Header {
    /// The header, and whether its reserved bit is set.
    pub fn parse(bytes: [u8; HEADER]) -> (Header, bool) {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        let header = Header {
            len: u32::from_be_bytes([0, l0, l1, l2]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        };
        (header, s0 & 0x80 != 0)
    }

    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Bytes on the wire.
    pub fn wire(self) -> u64 {
        HEADER as u64 + u64::from(self.len)
    }

    /// Its length and stream are such as its type allows (RFC 9113 §6).
    pub fn is_valid(self) -> bool {
        let padding = u32::from(self.has(flag::PADDED));
        let priority = if self.has(flag::PRIORITY) { 5 } else { 0 };
        let on_stream = self.stream != 0;
        match self.kind {
            kind::DATA => on_stream && self.len >= padding,
            kind::HEADERS => on_stream && self.len >= padding + priority,
            kind::PRIORITY => on_stream && self.len == 5,
            kind::RST_STREAM => on_stream && self.len == 4,
            kind::SETTINGS => {
                !on_stream && self.len.is_multiple_of(6) && !(self.has(flag::ACK) && self.len > 0)
            }
            kind::PUSH_PROMISE => on_stream && self.len >= 4 + padding,
            kind::PING => !on_stream && self.len == 8,
            kind::GOAWAY => !on_stream && self.len >= 8,
            kind::WINDOW_UPDATE => self.len == 4,
            kind::CONTINUATION => on_stream,
            _ => true,
        }
    }

    /// A frame as peers send them: what a boundary is recognised by.
    pub fn is_plausible(self, max: u32) -> bool {
        let defined = match self.kind {
            kind::DATA => flag::END_STREAM | flag::PADDED,
            kind::HEADERS => flag::END_STREAM | flag::END_HEADERS | flag::PADDED | flag::PRIORITY,
            kind::SETTINGS | kind::PING => flag::ACK,
            kind::PUSH_PROMISE => flag::END_HEADERS | flag::PADDED,
            kind::CONTINUATION => flag::END_HEADERS,
            kind::PRIORITY..=kind::WINDOW_UPDATE | kind::PRIORITY_UPDATE => 0,
            _ => return false,
        };
        self.flags & !defined == 0
            && self.len <= max
            && self.stream < STREAM_PLAUSIBLE
            && self.is_valid()
    }

    /// Its payload says something that is read.
    pub fn is_kept(self) -> bool {
        let len = self.len as usize;
        match self.kind {
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => len <= BLOCK_MAX,
            kind::RST_STREAM | kind::SETTINGS | kind::GOAWAY => len <= FRAME_MAX,
            _ => false,
        }
    }
}
