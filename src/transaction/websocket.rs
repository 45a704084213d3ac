//! What went over a WebSocket (RFC 6455) that began with a transaction.

use crate::event::KernelTime;

/// Frames and messages of both directions.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebSocket {
    pub from_client: Frames,
    pub from_server: Frames,
    /// Messages are compressed (permessage-deflate, RFC 7692): those marked so are kept as they were sent; sinks get them
    /// inflated where redaction has to look into them.
    pub deflate: bool,
}

/// Frames of one direction.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Frames {
    /// Frames by opcode, whole ones.
    pub continuation: u64,
    pub text: u64,
    pub binary: u64,
    pub close: u64,
    pub ping: u64,
    pub pong: u64,
    /// Messages, whole ones: text or binary, of one frame or several.
    pub messages: u64,
    /// Payload of text and binary messages, in bytes.
    pub payload: u64,
    /// Bytes of all frames, headers included, as far as seen or known to be missing.
    pub wire_size: u64,
    /// Status code of the close frame (RFC 6455 §7.4).
    pub close_code: Option<u16>,
    /// The first messages, as far as the limit of bodies goes.
    pub kept: Vec<WebSocketMessage>,
}

impl Frames {
    /// Text and binary messages that are not among those kept.
    pub fn left_out(&self) -> u64 {
        let kept = self.kept.iter().filter(|m| m.whole).count() as u64;
        self.messages.saturating_sub(kept)
    }

    fn keep(&mut self, len: usize) {
        let mut room = len;
        let mut fits = 0;
        for message in &mut self.kept {
            let own = size_of::<WebSocketMessage>();
            let cut = message.bytes.len() > room.saturating_sub(own);
            if room < own || (cut && room == own) {
                break;
            }
            room -= own;
            if let Some(rest) = message.bytes.get_mut(room..).filter(|_| cut) {
                rest.fill(0);
                message.bytes.truncate(room);
            }
            fits += 1;
            room -= message.bytes.len();
            if cut {
                break;
            }
        }
        for message in self.kept.drain(fits..) {
            let mut bytes = message.bytes;
            bytes.fill(0);
        }
    }

    /// The same without messages.
    pub fn counts(&self) -> Frames {
        Frames {
            kept: Vec::new(),
            ..*self
        }
    }

    fn memory(&self) -> usize {
        let bytes: usize = self.kept.iter().map(|m| m.bytes.capacity()).sum();
        bytes + self.kept.capacity() * size_of::<WebSocketMessage>()
    }
}

/// A text or binary message. Not `Debug`: it may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSocketMessage {
    pub text: bool,
    /// The bytes are compressed.
    pub compressed: bool,
    /// Its last frame was seen to its end.
    pub whole: bool,
    /// All messages of its direction before it were kept whole: so it can be inflated, which needs what went before.
    pub follows: bool,
    /// When its first byte moved.
    pub time: KernelTime,
    /// Length of the payload on the wire, unmasked, in bytes.
    pub size: u64,
    /// A prefix of the payload.
    pub bytes: Vec<u8>,
}

impl WebSocketMessage {
    /// Some of the payload is not among the bytes.
    pub fn truncated(&self) -> bool {
        !self.whole || (self.bytes.len() as u64) < self.size
    }
}

impl WebSocket {
    /// The status code of the client's close frame, else of the server's: the second repeats the first (RFC 6455 §5.5.1).
    pub fn close_code(&self) -> Option<u16> {
        self.from_client.close_code.or(self.from_server.close_code)
    }

    /// Keeps what fits into `len` bytes of memory for each direction: whole messages, and the head of the first that does
    /// not fit. What goes is overwritten with zeros first. Counts stay.
    pub fn keep(&mut self, len: usize) {
        self.from_client.keep(len);
        self.from_server.keep(len);
    }

    /// Lets go of the messages, overwritten with zeros first. Counts stay.
    pub fn discard(&mut self) {
        for frames in [&mut self.from_client, &mut self.from_server] {
            frames.kept.iter_mut().for_each(|m| m.bytes.fill(0));
            frames.kept = Vec::new();
        }
    }

    /// Bytes of memory that this holds beyond itself.
    pub fn memory(&self) -> usize {
        self.from_client.memory() + self.from_server.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: usize = size_of::<WebSocketMessage>();

    fn message(bytes: &[u8]) -> WebSocketMessage {
        WebSocketMessage {
            text: true,
            compressed: false,
            whole: true,
            follows: true,
            time: KernelTime(1),
            size: bytes.len() as u64,
            bytes: bytes.to_vec(),
        }
    }

    fn kept(len: usize) -> Vec<(Vec<u8>, bool)> {
        let mut websocket = WebSocket::default();
        websocket.from_server.messages = 3;
        websocket.from_server.kept = vec![message(b"one"), message(b"three"), message(b"")];
        websocket.keep(len);
        let frames = websocket.from_server;
        assert_eq!(frames.messages, 3);
        let shown = |m: &WebSocketMessage| (m.bytes.clone(), m.truncated());
        frames.kept.iter().map(shown).collect()
    }

    #[test]
    fn a_smaller_limit_keeps_the_first_messages_and_the_head_of_the_next() {
        let one = (b"one".to_vec(), false);
        let three = (b"three".to_vec(), false);
        let all = [one.clone(), three.clone(), (Vec::new(), false)];
        assert_eq!(kept(usize::MAX), all);
        assert_eq!(kept(3 * OWN + 8), all);
        assert_eq!(kept(3 * OWN + 7), [one.clone(), three]);
        assert_eq!(kept(2 * OWN + 5), [one.clone(), (b"th".to_vec(), true)]);
        assert_eq!(kept(2 * OWN + 3), std::slice::from_ref(&one));
        assert_eq!(kept(OWN + 3), [one]);
        assert_eq!(kept(OWN + 1), [(b"o".to_vec(), true)]);
        assert_eq!(kept(OWN - 1), []);
        assert_eq!(kept(0), []);
    }
}
