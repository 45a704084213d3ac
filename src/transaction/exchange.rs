//! A request with its response, each as far as it is known: what a protocol hands on.

use super::websocket::WebSocket;
use super::{Content, Lasting, Mark, Marks, Message, Protocol, Request, Response, Stamp};
use crate::event::KernelTime;

/// Interim responses of one request that are kept.
pub const INTERIM_MAX: usize = 32;

/// What framing of a response has to know of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// False: the request was not seen; the other fields mean nothing.
    pub known: bool,
    pub head: bool,
    pub connect: bool,
    /// It asks to leave HTTP: CONNECT, or `Upgrade`.
    pub switches: bool,
    /// It waits for 100 (Continue) before it sends its body.
    pub expects: bool,
}

/// A request with its response, each as far as it is known.
pub struct Exchange {
    pub request: Option<Message>,
    pub response: Option<Message>,
    /// Status codes of interim responses.
    pub interim: Vec<u16>,
    pub marks: Marks,
    /// What followed a switch to WebSocket.
    pub websocket: Option<WebSocket>,
    /// Its stream of HTTP/2 was broken off: with which error code (RFC 9113 §7), and when.
    pub broken_off: Option<(u32, KernelTime)>,
    /// It reported progress.
    pub lasting: Option<Lasting>,
    pub(super) asked: Asked,
    pub(super) first: Stamp,
    pub(super) protocol: Protocol,
    /// Nothing more comes of the request, or of the response.
    pub(super) request_done: bool,
    pub(super) response_done: bool,
}

impl Exchange {
    pub(super) fn begin(first: Stamp, protocol: Protocol, asked: Asked) -> Self {
        Exchange {
            request: None,
            response: None,
            interim: Vec::new(),
            marks: Marks::default(),
            websocket: None,
            broken_off: None,
            lasting: None,
            asked,
            first,
            protocol,
            request_done: false,
            response_done: false,
        }
    }

    /// Joins what a protocol has matched itself, each message whole or not. `marks`: what the messages don't say.
    pub fn join(
        first: Stamp,
        protocol: Protocol,
        (request, response): (Option<Message>, Option<Message>),
        interim: Vec<u16>,
        marks: Marks,
    ) -> Self {
        let mut exchange = Exchange::begin(first, protocol, Asked::default());
        exchange.interim = interim;
        exchange.marks = marks;
        if let Some(message) = request {
            exchange.set_request(message);
        }
        if let Some(message) = response {
            exchange.set_response(message);
        }
        exchange
    }

    /// What is known so far, without content. `request`, `response`: those that are being read.
    pub fn so_far(&self, request: Option<&Message>, response: Option<&Message>) -> Exchange {
        let mut copy = Exchange::begin(self.first, self.protocol, self.asked);
        copy.interim = self.interim.clone();
        copy.marks = self.marks;
        copy.lasting = self.lasting;
        if let Some(message) = self.request.as_ref().or(request) {
            copy.set_request(message.without_content());
        }
        if let Some(message) = self.response.as_ref().or(response) {
            copy.set_response(message.without_content());
        }
        copy
    }

    /// First byte of the request; of the response where there is no request.
    pub fn first(&self) -> Stamp {
        self.first
    }

    /// Version of the response, else of the request.
    pub fn protocol(&self) -> Protocol {
        let seen = |m: &Option<Message>| {
            m.as_ref()
                .filter(|m| m.content.is_some())
                .map(|m| m.protocol)
        };
        seen(&self.request).unwrap_or(seen(&self.response).unwrap_or(self.protocol))
    }

    /// Status code of the response.
    pub fn status(&self) -> Option<u16> {
        self.response.as_ref().and_then(Message::status)
    }

    /// Neither message could be read.
    pub fn is_empty(&self) -> bool {
        let readable = |m: &Option<Message>| m.as_ref().is_some_and(|m| m.content.is_some());
        !readable(&self.request) && !readable(&self.response) && self.interim.is_empty()
    }

    /// Without pipelining, what the other end sends in this turn is its response.
    pub(super) fn is_answered_in(&self, turn: u32) -> bool {
        let last = match &self.request {
            Some(request) => request.last.turn,
            // Of a request that is not whole, the rest went in the turn in which it began, but for 100 (Continue).
            None if self.interim.is_empty() => self.first.turn,
            None => return true,
        };
        last.wrapping_add(1) == turn
    }

    /// Bytes of its messages are missing.
    pub fn has_gap(&self) -> bool {
        let messages = [&self.request, &self.response];
        messages.into_iter().flatten().any(|m| m.gap)
    }

    pub(super) fn set_request(&mut self, message: Message) {
        self.request_done = true;
        let own = [Mark::RequestGap, Mark::RequestMalformed, Mark::RequestCut];
        self.mark(&message, own);
        self.request = Some(message);
    }

    pub(super) fn set_response(&mut self, message: Message) {
        self.response_done = true;
        let own = [
            Mark::ResponseGap,
            Mark::ResponseMalformed,
            Mark::ResponseCut,
        ];
        self.mark(&message, own);
        self.response = Some(message);
    }

    fn mark(&mut self, message: &Message, [gap, malformed, cut]: [Mark; 3]) {
        for (set, mark) in [
            (message.gap, gap),
            (message.malformed, malformed),
            (message.headers_cut, Mark::HeadersCut),
            (message.cut, cut),
            (message.unfinished, Mark::Unfinished),
            (message.reset, Mark::Reset),
        ] {
            if set {
                self.marks.set(mark);
            }
        }
    }

    /// Approximate memory that this holds, in bytes.
    pub fn memory(&self) -> usize {
        let message = |m: &Option<Message>| m.as_ref().map_or(0, Message::memory);
        let interim = self.interim.capacity() * size_of::<u16>();
        size_of::<Self>() + message(&self.request) + message(&self.response) + interim
    }

    /// Two halves, where there is a response for a request.
    pub(super) fn split(mut self) -> impl Iterator<Item = Exchange> {
        let asks = self.request.is_some() || !self.request_done;
        let answer = self.response.take_if(|_| asks).map(|response| {
            let interim = std::mem::take(&mut self.interim);
            let mut marks = Marks::default();
            marks.set(Mark::RequestMissing);
            let (first, messages) = (response.first, (None, Some(response)));
            let mut half = Exchange::join(first, self.protocol, messages, interim, marks);
            half.request_done = true;
            half
        });
        if answer.is_some() {
            let gap = self.marks.has(Mark::RequestGap);
            self.marks = Marks::default();
            // It is not the application that gave no response.
            self.marks.set(Mark::ResponseMissing);
            self.marks.set(Mark::ResponseGap);
            if gap {
                self.marks.set(Mark::RequestGap);
            }
            if let Some(request) = self.request.take() {
                self.set_request(request);
            }
        }
        [Some(self), answer].into_iter().flatten()
    }

    /// Takes the parts that a transaction is made of.
    pub fn into_parts(self) -> (Option<Request>, Option<Response>) {
        let request = match self.request.and_then(|m| m.content) {
            Some(Content::Request(request)) => Some(request),
            _ => None,
        };
        let response = match self.response.and_then(|m| m.content) {
            Some(Content::Response(mut response)) => {
                response.interim = self.interim;
                Some(response)
            }
            _ => None,
        };
        (request, response)
    }
}
