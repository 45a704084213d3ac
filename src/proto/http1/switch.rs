//! What follows HTTP/1 on a connection that leaves it: after 101, and after CONNECT.

use super::super::Piece;
use super::super::websocket::{From, Reader};
use crate::proto::Ending;
use crate::transaction::Exchange;
use crate::transaction::{BodyLimits, Headers, Mark, Message, Schedule};

/// What a response switches both directions to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// To nothing: HTTP goes on.
    No,
    /// To what has to be found out, as at a connection's beginning: a tunnel's inside, HTTP/2 by upgrade.
    Unknown,
    WebSocket {
        deflate: bool,
    },
    /// To something that is not read.
    Opaque,
}

impl Switch {
    /// What a final response does (RFC 9110 §7.8, §9.3.6). `connect`: it answers CONNECT.
    pub fn of(response: &Message, connect: bool) -> Switch {
        let Some(response) = response.response() else {
            return Switch::No;
        };
        match response.status {
            101 => Switch::upgrade(&response.headers),
            200..=299 if connect => Switch::Unknown,
            _ => Switch::No,
        }
    }

    fn upgrade(headers: &Headers) -> Switch {
        // The first is what is spoken next; others are layers above it.
        let first = headers
            .get(b"upgrade")
            .and_then(|v| v.split(|b| *b == b',').next())
            .unwrap_or_default()
            .trim_ascii();
        let is = |name: &[u8]| first.eq_ignore_ascii_case(name);
        if is(b"websocket") {
            let extensions = headers.get_all(b"sec-websocket-extensions");
            let deflate = extensions
                .flat_map(|v| v.split(|b| *b == b','))
                .filter_map(|e| e.split(|b| *b == b';').next())
                .any(|e| e.trim_ascii().eq_ignore_ascii_case(b"permessage-deflate"));
            Switch::WebSocket { deflate }
        } else if is(b"h2c") {
            Switch::Unknown
        } else {
            Switch::Opaque
        }
    }
}

/// A WebSocket that goes on, with the exchange that it began with.
pub struct Socket {
    reader: Reader,
    exchange: Option<Exchange>,
}

impl Socket {
    pub fn new(limits: BodyLimits, deflate: bool) -> Self {
        Socket {
            reader: Reader::new(limits, deflate),
            exchange: None,
        }
    }

    /// Takes the exchange that opened it; gives it back where it has one already.
    pub fn hold(&mut self, exchange: Exchange) -> Option<Exchange> {
        match self.exchange {
            Some(_) => Some(exchange),
            None => {
                self.exchange = Some(exchange);
                None
            }
        }
    }

    pub fn feed(&mut self, from: From, piece: Piece<'_>) {
        self.reader.feed(from, piece.bytes, piece.stamp);
    }

    pub fn gap(&mut self, from: From, len: u64) {
        self.reader.gap(from, len);
    }

    /// Both sides closed, and all is known.
    pub fn is_closed(&self) -> bool {
        self.exchange.is_some() && self.reader.is_closed()
    }

    /// It holds a transaction that has not ended.
    pub fn is_open(&self) -> bool {
        self.exchange.is_some()
    }

    /// The exchange with the counts of what followed so far, where it is to report now.
    pub fn report(&mut self, schedule: &mut Schedule) -> Option<Exchange> {
        let exchange = self.exchange.as_mut()?;
        if !schedule.due(exchange.first().time, &mut exchange.lasting) {
            return None;
        }
        let mut copy = exchange.so_far(None, None);
        let (websocket, marks) = self.reader.so_far();
        copy.websocket = Some(websocket);
        marks.into_iter().for_each(|m| copy.marks.set(m));
        Some(copy)
    }

    /// The exchange with all that followed.
    pub fn finish(self, ending: Ending) -> Option<Exchange> {
        let mut exchange = self.exchange?;
        let open = !self.reader.is_closed();
        if let Some(last) = self.reader.last()
            && let Some(response) = exchange.response.as_mut()
            && response.last.time < last.time
        {
            response.last = last;
        }
        let (websocket, marks) = self.reader.finish(ending != Ending::Unfinished);
        marks.into_iter().for_each(|m| exchange.marks.set(m));
        match ending {
            Ending::Unfinished if open => exchange.marks.set(Mark::Unfinished),
            Ending::Reset if open => exchange.marks.set(Mark::Reset),
            _ => {}
        }
        exchange.websocket = Some(websocket);
        Some(exchange)
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> usize {
        let exchange = self.exchange.as_ref().map_or(0, Exchange::memory);
        size_of::<Self>() + self.reader.memory() + exchange
    }
}

#[cfg(test)]
#[path = "switch_tests.rs"]
mod tests;
