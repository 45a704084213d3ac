//! Messages of a WebSocket as sinks may show them.
//!
//! Compressed ones (permessage-deflate, RFC 7692) are inflated for a look, and shown so. The first ones of a direction
//! can be, one after another; behind one that is missing, none can.

use super::Capture;
use super::body::Part;
use super::hits::Hits;
use super::matchers::{BodyRules, Dropped};
use super::names::UNREADABLE;
use crate::transaction::websocket::{Frames, WebSocketMessage};
use flate2::{Decompress, FlushDecompress, Status};
use std::borrow::Cow;

/// What a sender leaves out at the end of a message (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Room that is made at once, in bytes.
const STEP: usize = 16 * 1024;

/// A message, with what may be shown of it.
pub struct SocketMessage<'a> {
    pub message: &'a WebSocketMessage,
    pub bytes: Cow<'a, [u8]>,
    /// The bytes are still compressed.
    pub compressed: bool,
    /// Something in it was masked, hashed or left out.
    pub redacted: bool,
    /// Why some or all of it was left out.
    pub dropped: Option<Dropped>,
}

impl Capture {
    /// Messages that were kept of the client, then of the server; empty below level full.
    pub fn websocket_messages(&self) -> [Vec<SocketMessage<'_>>; 2] {
        let Some(websocket) = &self.transaction.websocket else {
            return [Vec::new(), Vec::new()];
        };
        self.count(Part::WebSocket, |hits| {
            [&websocket.from_client, &websocket.from_server].map(|f| self.direction(f, hits))
        })
    }

    fn direction<'a>(&self, frames: &'a Frames, hits: &mut Hits) -> Vec<SocketMessage<'a>> {
        let rules = self.bodies.places.as_ref().map(|places| &places.body);
        let Some(rules) = rules.filter(|rules| !rules.is_empty()) else {
            return frames.kept.iter().map(as_sent).collect();
        };
        let mut inflater = Inflater::new(self.bodies.max_bytes);
        let shown = |message| hidden(rules, message, &mut inflater, hits);
        frames.kept.iter().map(shown).collect()
    }
}

fn as_sent(message: &WebSocketMessage) -> SocketMessage<'_> {
    SocketMessage {
        message,
        bytes: Cow::Borrowed(&message.bytes),
        compressed: message.compressed,
        redacted: false,
        dropped: None,
    }
}

fn hidden<'a>(
    rules: &BodyRules,
    message: &'a WebSocketMessage,
    inflater: &mut Inflater,
    hits: &mut Hits,
) -> SocketMessage<'a> {
    let mut shown = as_sent(message);
    let mut cut = message.truncated();
    if message.compressed {
        match inflater.message(message) {
            Some((bytes, whole)) => {
                shown.bytes = Cow::Owned(bytes);
                shown.compressed = false;
                cut |= !whole;
            }
            None => {
                hits.add(UNREADABLE);
                shown.bytes = Cow::Borrowed(b"");
                shown.redacted = true;
                shown.dropped = Some(Dropped::Coded);
                return shown;
            }
        }
    }
    let masked = rules.mask(&shown.bytes, None, cut, hits);
    if masked.changed {
        shown.redacted = true;
        shown.dropped = masked.dropped;
        shown.bytes = Cow::Owned(masked.bytes.into_owned());
    }
    shown
}

/// Inflates messages of one direction in their order, all with one window: a sender that does not use it for later
/// messages does no harm by that.
struct Inflater {
    state: Decompress,
    /// What may still come out of all messages together.
    room: usize,
    broken: bool,
}

impl Inflater {
    fn new(room: usize) -> Self {
        Inflater {
            state: Decompress::new(false),
            room,
            broken: false,
        }
    }

    /// The message as it was meant, and whether that is all of it; None: it cannot be told.
    fn message(&mut self, message: &WebSocketMessage) -> Option<(Vec<u8>, bool)> {
        if self.broken || !message.follows {
            self.broken = true;
            return None;
        }
        let mut out = Vec::new();
        let whole = self.feed(&message.bytes, &mut out)
            && !message.truncated()
            && self.feed(&TAIL, &mut out);
        self.broken = !whole;
        self.room = self.room.saturating_sub(out.len());
        Some((out, whole))
    }

    /// False: it is damaged, or there is no more room.
    fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> bool {
        loop {
            let (read, written) = (self.state.total_in(), out.len());
            let room = STEP.min(self.room.saturating_sub(written));
            out.reserve_exact(room);
            let mut part = vec![0; room];
            let before = self.state.total_out();
            let status = self
                .state
                .decompress(bytes, &mut part, FlushDecompress::Sync);
            let made = (self.state.total_out() - before) as usize;
            out.extend_from_slice(part.get(..made).unwrap_or_default());
            let taken = (self.state.total_in() - read) as usize;
            bytes = bytes.get(taken..).unwrap_or_default();
            match status {
                Err(_) => return false,
                // The last block of a stream; another one may begin in the next message.
                Ok(Status::StreamEnd) => {
                    self.state.reset(false);
                    if bytes.is_empty() {
                        return true;
                    }
                }
                Ok(_) if bytes.is_empty() && made < room => return true,
                Ok(_) if made == 0 && taken == 0 => return bytes.is_empty(),
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
