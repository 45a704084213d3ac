//! WebSocket (RFC 6455), read passively.
//!
//! Enters: bytes and gaps of both directions behind the 101 response. Leaves: [`WebSocket`], counts and messages.
//! Holds: nothing is copied but what is kept of messages, within the limits of bodies for each direction; any cutting of
//! the bytes gives the same; a frame that breaks the rules, or a gap that is not inside a payload, ends the reading of
//! its direction, which is marked, since nothing in the framing lets a reader find back.

use crate::transaction::websocket::{Frames, WebSocket, WebSocketMessage};
use crate::transaction::{BodyLimits, Mark, Stamp};

/// Longest header of a frame, in bytes: flags, length of 64 bits, masking key.
const HEADER_MAX: usize = 14;
/// Longest payload of a control frame, in bytes (RFC 6455 §5.5).
const CONTROL_MAX: u64 = 125;

/// Who sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Client = 0,
    Server = 1,
}

/// Reads both directions.
pub struct Reader {
    lanes: [Lane; 2],
    deflate: bool,
    last: Option<Stamp>,
}

struct Lane {
    state: State,
    limits: BodyLimits,
    deflate: bool,
    frames: Frames,
    /// The message whose frames come.
    message: Option<WebSocketMessage>,
    /// Some of the message was not kept: nothing behind that is.
    hole: bool,
    /// Memory of what is kept, in bytes.
    kept: usize,
    gap: bool,
    malformed: bool,
    /// A message was not kept whole.
    lost: bool,
}

enum State {
    /// So many bytes of a header are there.
    Header([u8; HEADER_MAX], usize),
    Payload(Frame, u64),
    /// Out of step, or closed: counted only.
    Over,
}

#[derive(Clone, Copy)]
struct Frame {
    fin: bool,
    opcode: u8,
    /// Zeros: not masked.
    key: [u8; 4],
    len: u64,
    compressed: bool,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Frame {
    /// The frame of a header: None where it is not whole, an error where it breaks RFC 6455 §5.2.
    fn read(header: &[u8], deflate: bool) -> Result<Option<Frame>, ()> {
        let [first, second, rest @ ..] = header else {
            return Ok(None);
        };
        let opcode = first & 15;
        let control = opcode >= 8;
        // RSV1 alone has a meaning, with permessage-deflate, on the first frame of a message (RFC 7692 §6).
        let compressed = first & 0x40 != 0;
        let allowed = deflate && matches!(opcode, TEXT | BINARY);
        if first & 0x30 != 0 || compressed && !allowed {
            return Err(());
        }
        if !matches!(opcode, CONTINUATION..=BINARY | CLOSE..=PONG) {
            return Err(());
        }
        let (len, rest) = match (second & 127, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
            }
            (126 | 127, _) => return Ok(None),
            (len, rest) => (u64::from(len), rest),
        };
        let fin = first & 0x80 != 0;
        if len >> 63 != 0 || control && (!fin || len > CONTROL_MAX) {
            return Err(());
        }
        let key = match (second & 0x80, rest) {
            (0, _) => [0; 4],
            (_, [a, b, c, d, ..]) => [*a, *b, *c, *d],
            _ => return Ok(None),
        };
        Ok(Some(Frame {
            fin,
            opcode,
            key,
            len,
            compressed,
        }))
    }

    fn is_data(&self) -> bool {
        self.opcode <= BINARY
    }
}

impl Reader {
    /// Behind a handshake. `deflate`: permessage-deflate was agreed on.
    pub fn new(limits: BodyLimits, deflate: bool) -> Self {
        let lane = || Lane {
            state: State::Header([0; HEADER_MAX], 0),
            limits,
            deflate,
            frames: Frames::default(),
            message: None,
            hole: false,
            kept: 0,
            gap: false,
            malformed: false,
            lost: false,
        };
        Reader {
            lanes: [lane(), lane()],
            deflate,
            last: None,
        }
    }

    /// Reads on.
    pub fn feed(&mut self, from: From, bytes: &[u8], stamp: Stamp) {
        let lane = &mut self.lanes[from as usize];
        if !bytes.is_empty() && !matches!(lane.state, State::Over) {
            self.last = self.last.filter(|l| l.time >= stamp.time).or(Some(stamp));
        }
        lane.feed(bytes, stamp);
    }

    /// Steps over `len` bytes that are not to be seen.
    pub fn gap(&mut self, from: From, len: u64) {
        self.lanes[from as usize].gap(len);
    }

    /// Both sides have sent a close frame: nothing can follow.
    pub fn is_closed(&self) -> bool {
        self.lanes.iter().all(Lane::is_closed)
    }

    /// The operation of the newest byte.
    pub fn last(&self) -> Option<Stamp> {
        self.last
    }

    /// Approximate memory beyond the structure itself, in bytes.
    pub fn memory(&self) -> usize {
        let open = |l: &Lane| l.message.as_ref().map_or(0, |m| m.bytes.len());
        self.lanes.iter().map(|l| l.kept + open(l)).sum()
    }

    /// Counts so far, without messages, and what is wrong by now.
    pub fn so_far(&self) -> (WebSocket, Vec<Mark>) {
        let [client, server] = &self.lanes;
        let websocket = WebSocket {
            from_client: client.frames.counts(),
            from_server: server.frames.counts(),
            deflate: self.deflate,
        };
        let marks = [
            (client.gap, Mark::RequestGap),
            (client.malformed, Mark::RequestMalformed),
            (server.gap, Mark::ResponseGap),
            (server.malformed, Mark::ResponseMalformed),
        ];
        let set = marks.into_iter().filter(|(set, _)| *set);
        (websocket, set.map(|(_, mark)| mark).collect())
    }

    /// What was read, and what is wrong with it. `cut`: the connection ended, so that a frame that is not whole was cut off.
    pub fn finish(self, cut: bool) -> (WebSocket, Vec<Mark>) {
        let deflate = self.deflate;
        let [client, server] = self.lanes;
        let mut marks = Vec::new();
        let of_client = [Mark::RequestGap, Mark::RequestMalformed, Mark::RequestCut];
        let of_server = [
            Mark::ResponseGap,
            Mark::ResponseMalformed,
            Mark::ResponseCut,
        ];
        let websocket = WebSocket {
            from_client: client.finish(cut, of_client, &mut marks),
            from_server: server.finish(cut, of_server, &mut marks),
            deflate,
        };
        (websocket, marks)
    }
}

impl Lane {
    /// It sent a close frame: what follows is no part of the WebSocket, and not counted.
    fn is_closed(&self) -> bool {
        self.frames.close > 0
    }

    fn feed(&mut self, bytes: &[u8], stamp: Stamp) {
        if self.is_closed() {
            return;
        }
        let rest = self.read(bytes, stamp);
        let unread = if self.is_closed() { rest.len() } else { 0 };
        let size = bytes.len() - unread;
        self.frames.wire_size = self.frames.wire_size.saturating_add(size as u64);
    }

    /// Gives what is left where reading is over.
    fn read<'a>(&mut self, mut bytes: &'a [u8], stamp: Stamp) -> &'a [u8] {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Over => break,
                State::Header(header, len) => {
                    let Some((byte, rest)) = bytes.split_first() else {
                        break;
                    };
                    bytes = rest;
                    if let Some(place) = header.get_mut(*len) {
                        *place = *byte;
                        *len += 1;
                    }
                    let read = Frame::read(&header[..*len], self.deflate);
                    match read {
                        Ok(None) => {}
                        Ok(Some(frame)) => self.begin(frame, stamp),
                        Err(()) => self.break_off(),
                    }
                }
                State::Payload(frame, done) => {
                    let rest = frame.len - *done;
                    let most = usize::try_from(rest).unwrap_or(usize::MAX);
                    let (payload, after) = bytes.split_at(most.min(bytes.len()));
                    bytes = after;
                    let (frame, at) = (*frame, *done);
                    *done += payload.len() as u64;
                    self.payload(frame, at, payload);
                    self.end_of_payload();
                }
            }
        }
        bytes
    }

    fn break_off(&mut self) {
        self.malformed = true;
        self.state = State::Over;
    }

    fn begin(&mut self, frame: Frame, stamp: Stamp) {
        if frame.is_data() {
            // Fragments come one after another (RFC 6455 §5.4).
            if (frame.opcode == CONTINUATION) != self.message.is_some() {
                return self.break_off();
            }
            let follows = !self.lost;
            let message = self.message.get_or_insert_with(|| {
                self.hole = false;
                WebSocketMessage {
                    text: frame.opcode == TEXT,
                    compressed: frame.compressed,
                    whole: false,
                    follows,
                    time: stamp.time,
                    size: 0,
                    bytes: Vec::new(),
                }
            });
            message.size = message.size.saturating_add(frame.len);
        }
        self.state = State::Payload(frame, 0);
        self.end_of_payload();
    }

    /// Takes payload that begins `at` bytes into its frame.
    fn payload(&mut self, frame: Frame, at: u64, payload: &[u8]) {
        let plain = |i: usize, byte: u8| byte ^ frame.key[(at as usize & 3).wrapping_add(i) & 3];
        if frame.opcode == CLOSE {
            for (i, byte) in payload.iter().enumerate() {
                let place = at + i as u64;
                let byte = u16::from(plain(i, *byte));
                match place {
                    0 if frame.len >= 2 => self.frames.close_code = Some(byte << 8),
                    1 => self.frames.close_code = self.frames.close_code.map(|c| c | byte),
                    _ => break,
                }
            }
        }
        if !frame.is_data() {
            return;
        }
        self.frames.payload = self.frames.payload.saturating_add(payload.len() as u64);
        let overhead = size_of::<WebSocketMessage>();
        let Some(message) = self.message.as_mut() else {
            return;
        };
        if self.hole || !self.limits.capture {
            return;
        }
        let used = self.kept + overhead + message.bytes.len();
        let room = self.limits.max_bytes.saturating_sub(used);
        let take = payload.iter().take(room).enumerate();
        message.bytes.extend(take.map(|(i, byte)| plain(i, *byte)));
        self.hole = room < payload.len();
    }

    /// Goes on to the next frame where all of this one's payload is there.
    fn end_of_payload(&mut self) {
        let State::Payload(frame, done) = self.state else {
            return;
        };
        if done < frame.len {
            return;
        }
        self.state = State::Header([0; HEADER_MAX], 0);
        let frames = &mut self.frames;
        match frame.opcode {
            CONTINUATION => frames.continuation += 1,
            TEXT => frames.text += 1,
            BINARY => frames.binary += 1,
            PING => frames.ping += 1,
            PONG => frames.pong += 1,
            _ => {
                frames.close += 1;
                // Nothing may follow (RFC 6455 §5.5.1).
                self.state = State::Over;
            }
        }
        if frame.is_data() && frame.fin {
            frames.messages += 1;
            if let Some(message) = self.message.take() {
                self.keep(WebSocketMessage {
                    whole: true,
                    ..message
                });
            }
        }
    }

    fn keep(&mut self, mut message: WebSocketMessage) {
        let memory = size_of::<WebSocketMessage>() + message.bytes.len();
        self.lost |= message.truncated();
        if self.limits.capture && self.kept + memory <= self.limits.max_bytes {
            message.bytes.shrink_to_fit();
            self.kept += memory;
            self.frames.kept.push(message);
        } else {
            self.lost = true;
        }
    }

    fn gap(&mut self, len: u64) {
        if self.is_closed() {
            return;
        }
        self.frames.wire_size = self.frames.wire_size.saturating_add(len);
        match &mut self.state {
            State::Over => {}
            State::Payload(frame, done) if len <= frame.len - *done => {
                *done += len;
                self.gap = true;
                if frame.is_data() {
                    self.frames.payload = self.frames.payload.saturating_add(len);
                    self.hole = true;
                }
                self.end_of_payload();
            }
            _ => {
                self.gap = true;
                self.state = State::Over;
            }
        }
    }

    fn finish(
        mut self,
        cut: bool,
        [gap, malformed, was_cut]: [Mark; 3],
        marks: &mut Vec<Mark>,
    ) -> Frames {
        let partial = match self.state {
            State::Header(_, len) => len > 0 || self.message.is_some(),
            State::Payload(..) => true,
            State::Over => false,
        };
        let set = [
            (self.gap, gap),
            (self.malformed, malformed),
            (cut && partial, was_cut),
        ];
        marks.extend(
            set.into_iter()
                .filter(|(set, _)| *set)
                .map(|(_, mark)| mark),
        );
        if let Some(message) = self.message.take() {
            self.keep(message);
        }
        self.frames
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
