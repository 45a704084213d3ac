//! One stream: a request with its response (RFC 9113 §5, §8).

use super::super::Ending;
use super::super::detect::Kind;
use super::block::Block;
use crate::event::KernelTime;
use crate::transaction::{
    BodyLimits, Content, Exchange, INTERIM_MAX, Lasting, Mark, Marks, Message, Protocol, Request,
    Response, Stamp,
};

/// `NO_ERROR` (RFC 9113 §7).
pub const NO_ERROR: u32 = 0;
/// Content of a tunnel is counted, not kept.
const TUNNEL: BodyLimits = BodyLimits {
    capture: false,
    max_bytes: 0,
};

/// The messages of one direction of a stream.
#[derive(Default)]
pub struct Side {
    pub message: Option<Message>,
    /// It was seen to end.
    pub done: bool,
    /// Bytes were lost that may have been its.
    pub lost: bool,
}

/// How a stream was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    pub time: KernelTime,
    /// The sender of these broke it off.
    pub by: Kind,
    pub code: u32,
}

/// One stream.
#[derive(Default)]
pub struct Stream {
    pub request: Side,
    pub response: Side,
    pub reset: Option<Reset>,
    /// When it is given up waiting for.
    pub deadline: Option<KernelTime>,
    /// What [`Stream::memory`] said last.
    pub counted: usize,
    /// It reported progress.
    pub lasting: Option<Lasting>,
    interim: Vec<u16>,
    unknown: bool,
}

impl Stream {
    /// Stream 1 of a connection that came from HTTP/1: its request is whole.
    pub fn after_upgrade(request: Message, interim: Vec<u16>, lasting: Option<Lasting>) -> Self {
        Stream {
            request: Side {
                message: Some(request),
                done: true,
                lost: false,
            },
            interim,
            lasting,
            ..Stream::default()
        }
    }

    pub fn side(&mut self, kind: Kind) -> &mut Side {
        match kind {
            Kind::Request => &mut self.request,
            Kind::Response => &mut self.response,
        }
    }

    /// Some of its message in this direction was seen, or its end.
    pub fn has_begun(&self, kind: Kind) -> bool {
        let side = match kind {
            Kind::Request => &self.request,
            Kind::Response => &self.response,
        };
        side.message.is_some() || side.done
    }

    /// What comes in this direction at `time` comes after the stream was broken off.
    pub fn is_cut_before(&self, time: KernelTime) -> bool {
        self.reset.is_some_and(|r| time > r.time)
    }

    /// The stream is older than what was seen of the connection: the head of this message is unknown, and what came of
    /// its content till now.
    pub fn begin_unseen(&mut self, id: u32, kind: Kind, first: Stamp) {
        let content = match kind {
            Kind::Request => Content::Request(Request {
                h2_stream: Some(id),
                ..Request::default()
            }),
            Kind::Response => Content::Response(Response::default()),
        };
        let mut message = Message {
            protocol: Protocol::Http2,
            content: Some(content),
            gap: true,
            ..Message::begin(first)
        };
        if let Some(body) = message.body_mut() {
            // An unknown number of bytes: none that follow are the content's beginning.
            body.push_missing(0);
        }
        self.unknown = true;
        self.side(kind).message.get_or_insert(message);
    }

    /// Takes a header block of the stream: of a message's head, an interim response, or trailers.
    pub fn block(&mut self, id: u32, kind: Kind, block: Block, last: Stamp) {
        let (wire, end_stream) = (block.wire, block.end_stream);
        if self.side(kind).done {
            return;
        }
        if self.side(kind).message.is_some() {
            self.trailers(kind, block);
        } else if !self.interim_response(kind, &block) {
            self.head(id, kind, block, last);
        } else {
            return;
        }
        let side = self.side(kind);
        if let Some(message) = &mut side.message {
            message.add_wire(wire);
            message.last = last;
        }
        side.done |= end_stream;
    }

    fn interim_response(&mut self, kind: Kind, block: &Block) -> bool {
        let status = block.head.as_ref().and_then(|h| h.status);
        let Some(status @ 100..=199) = status.filter(|_| kind == Kind::Response) else {
            return false;
        };
        if block.end_stream {
            return false;
        }
        self.unknown |= block.head.as_ref().is_some_and(|h| h.unknown);
        if self.interim.len() < INTERIM_MAX {
            self.interim.push(status);
        }
        true
    }

    fn head(&mut self, id: u32, kind: Kind, block: Block, last: Stamp) {
        let mut message = Message {
            protocol: Protocol::Http2,
            last,
            headers_cut: block.is_cut(),
            gap: block.head.is_none() || self.side(kind).lost,
            ..Message::begin(block.first)
        };
        if let Some(head) = block.head {
            let unknown = head.unknown;
            self.unknown |= unknown;
            let (content, malformed) = match kind {
                Kind::Request => {
                    let (request, malformed) = head.into_request(id);
                    (Content::Request(request), malformed)
                }
                Kind::Response => {
                    let (response, malformed) = head.into_response();
                    (Content::Response(response), malformed)
                }
            };
            message.set_head(content);
            if unknown {
                message.suspect_grpc();
            }
            message.malformed = malformed;
        }
        self.side(kind).message = Some(message);
    }

    fn trailers(&mut self, kind: Kind, block: Block) {
        let unknown = block.head.as_ref().is_some_and(|h| h.unknown);
        self.unknown |= unknown;
        let Some(message) = &mut self.side(kind).message else {
            return;
        };
        // Trailers end the stream (RFC 9113 §8.1).
        message.malformed |= !block.end_stream;
        message.headers_cut |= block.is_cut();
        match block.head {
            Some(head) => {
                let (fields, malformed) = head.into_trailers();
                message.malformed |= malformed;
                message.set_trailers(fields);
            }
            None => message.gap = true,
        }
    }

    /// Takes content.
    pub fn data(&mut self, kind: Kind, bytes: &[u8], last: Stamp, limits: BodyLimits) {
        let limits = if self.is_tunnel(kind) { TUNNEL } else { limits };
        let side = self.side(kind);
        if let Some(message) = side.message.as_mut().filter(|_| !side.done) {
            message.last = last;
            message.push_content(bytes, limits);
        }
    }

    /// `len` bytes of content were left out on purpose.
    pub fn skipped(&mut self, kind: Kind, len: u64, last: Stamp, limits: BodyLimits) {
        let limits = if self.is_tunnel(kind) { TUNNEL } else { limits };
        let side = self.side(kind);
        if let Some(message) = side.message.as_mut().filter(|_| !side.done) {
            message.last = last;
            message.skip_content(len, limits);
        }
    }

    /// `len` bytes of content are missing.
    pub fn missing(&mut self, kind: Kind, len: u64) {
        let side = self.side(kind);
        if let Some(message) = side.message.as_mut().filter(|_| !side.done) {
            message.miss_content(len);
        }
    }

    /// A DATA frame of `wire` bytes is over.
    pub fn data_end(&mut self, kind: Kind, wire: u64, end_stream: bool, last: Stamp) {
        let side = self.side(kind);
        if let Some(message) = side.message.as_mut().filter(|_| !side.done) {
            message.add_wire(wire);
            message.last = last;
        }
        side.done |= end_stream;
    }

    /// Bytes were lost that may have been of this stream. False: it had ended in this direction.
    pub fn lose(&mut self, kind: Kind) -> bool {
        let side = self.side(kind);
        if side.done {
            return false;
        }
        side.lost = true;
        if let Some(message) = &mut side.message {
            message.lose();
        }
        true
    }

    /// Bytes were lost before the stream was known that may have been its response's, of which the rest may have come.
    pub fn lost_response(&mut self) {
        if !self.lose(Kind::Response) {
            self.response.lost = true;
            if let Some(message) = &mut self.response.message {
                message.lose();
            }
        }
    }

    /// Trailers of a message came whose head was not seen.
    pub fn missed(&mut self, kind: Kind, end_stream: bool) {
        let side = self.side(kind);
        side.lost = true;
        side.done |= end_stream;
    }

    /// Content in this direction is a tunnel's (RFC 9113 §8.5).
    fn is_tunnel(&self, kind: Kind) -> bool {
        let request = self.request.message.as_ref().and_then(Message::request);
        let connect = request.is_some_and(|r| r.method == b"CONNECT");
        let status = self.response.message.as_ref().and_then(Message::status);
        connect && (kind == Kind::Request || status.is_some_and(|s| (200..300).contains(&s)))
    }

    /// Ends the stream, as its messages did, or because it was broken off or given up, or with its connection.
    /// None: nothing of it is known.
    pub fn finish(mut self, ending: Option<Ending>) -> Option<Exchange> {
        let mut marks = Marks::default();
        if self.unknown {
            marks.set(Mark::HeadersUnknown);
        }
        // What came into a tunnel before its request was read.
        for kind in [Kind::Request, Kind::Response] {
            if self.is_tunnel(kind)
                && let Some(body) = self.side(kind).message.as_mut().and_then(Message::body_mut)
            {
                body.discard();
            }
        }
        // A server that has answered may end the rest of the request without fault (RFC 9113 §8.1).
        let benign = self.response.done && self.reset.is_some_and(|r| r.code == NO_ERROR);
        let whole = self.request.done && self.response.done;
        let broken_off = self.reset.is_some() && !benign && !whole;
        if broken_off {
            marks.set(Mark::StreamReset);
        }
        for side in [&mut self.request, &mut self.response] {
            if let Some(message) = side.message.as_mut().filter(|_| !side.done) {
                message.cut = broken_off || ending.is_some_and(|e| e != Ending::Unfinished);
                message.reset = ending == Some(Ending::Reset);
                message.unfinished = ending == Some(Ending::Unfinished) && !broken_off;
            }
        }
        if self.request.message.is_none() {
            marks.set(Mark::RequestMissing);
        }
        if self.response.message.is_none() {
            marks.set(match ending {
                Some(Ending::Unfinished) if !broken_off => Mark::Unfinished,
                _ => Mark::ResponseMissing,
            });
            if ending == Some(Ending::Reset) {
                marks.set(Mark::Reset);
            }
        }
        for (side, mark) in [
            (&self.request, Mark::RequestGap),
            (&self.response, Mark::ResponseGap),
        ] {
            if side.lost && side.message.is_none() {
                marks.set(mark);
            }
        }
        let first = self.first()?;
        let messages = (self.request.message, self.response.message);
        let mut exchange = Exchange::join(first, Protocol::Http2, messages, self.interim, marks);
        exchange.broken_off = self
            .reset
            .filter(|_| broken_off)
            .map(|reset| (reset.code, reset.time));
        exchange.lasting = self.lasting;
        Some(exchange)
    }

    /// First byte of the request; of the response where there is no request. None: nothing of it is known.
    pub fn first(&self) -> Option<Stamp> {
        let messages = [&self.request.message, &self.response.message];
        messages.into_iter().flatten().next().map(|m| m.first)
    }

    /// What is known so far, without content. None: nothing.
    pub fn so_far(&self) -> Option<Exchange> {
        let mut marks = Marks::default();
        if self.unknown {
            marks.set(Mark::HeadersUnknown);
        }
        let copy = |side: &Side| side.message.as_ref().map(Message::without_content);
        let messages = (copy(&self.request), copy(&self.response));
        let interim = self.interim.clone();
        let first = self.first()?;
        let mut exchange = Exchange::join(first, Protocol::Http2, messages, interim, marks);
        exchange.lasting = self.lasting;
        Some(exchange)
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> usize {
        let side = |side: &Side| side.message.as_ref().map_or(0, Message::memory);
        size_of::<(u32, Self)>()
            + side(&self.request)
            + side(&self.response)
            + self.interim.capacity() * size_of::<u16>()
    }
}
