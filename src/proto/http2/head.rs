//! What the fields of a header block say (RFC 9113 §8).

use super::hpack::Decoder;
use crate::transaction::{Headers, Request, Response};

/// A header block, decoded.
#[derive(Default)]
pub struct Head {
    method: Option<Vec<u8>>,
    authority: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    /// `:protocol` of an extended CONNECT (RFC 8441 §4).
    protocol: Option<Vec<u8>>,
    /// `:status` as a number; 0 where it is none.
    pub status: Option<u16>,
    fields: Headers,
    scheme: bool,
    /// Fields that the decoder could not know were left out.
    pub unknown: bool,
    /// It breaks the RFC, or breaks off.
    pub malformed: bool,
    /// It is larger than is read.
    pub cut: bool,
}

impl Head {
    /// Decodes a block. Where it breaks off, what was decoded is there, and the decoder knows nothing any more.
    pub fn decode(decoder: &mut Decoder, block: &[u8]) -> Head {
        let mut head = Head::default();
        let decoded = decoder.decode(block, |name, value| match (name, value) {
            (Some(name), Some(value)) => head.field(name, value),
            _ => head.unknown = true,
        });
        if let Err(error) = decoded {
            head.malformed = true;
            head.cut = error.is_bound();
            decoder.lost_block();
        }
        head
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        if name.first() != Some(&b':') {
            self.malformed |= name.iter().any(u8::is_ascii_uppercase);
            self.fields.push(name, value);
            return;
        }
        // Pseudo-header fields stand in front, once each (RFC 9113 §8.3).
        self.malformed |= !self.fields.is_empty();
        let slot = match name {
            b":method" => &mut self.method,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            b":scheme" => {
                self.malformed |= std::mem::replace(&mut self.scheme, true);
                return;
            }
            b":status" => {
                let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                let number = number.filter(|n| (100..1000).contains(n));
                self.malformed |= number.is_none() || self.status.is_some();
                self.status = Some(number.unwrap_or(0));
                return;
            }
            _ => {
                self.malformed = true;
                return;
            }
        };
        self.malformed |= slot.is_some();
        slot.get_or_insert_with(|| value.to_vec());
    }

    /// It has pseudo-header fields of a request.
    pub fn is_request(&self) -> bool {
        self.method.is_some() || self.path.is_some() || self.authority.is_some() || self.scheme
    }

    /// As a request; true where it breaks the RFC.
    pub fn into_request(self, stream: u32) -> (Request, bool) {
        let method = self.method.unwrap_or_default();
        let connect = method == b"CONNECT" && self.protocol.is_none();
        let target = match connect {
            true => self.authority.clone(),
            false => self.path,
        };
        let missing = !self.unknown && (method.is_empty() || target.is_none());
        let mut headers = Headers::with_capacity(self.fields.len() + 2, 0);
        let pseudo = [
            (&b"host"[..], self.authority),
            (b":protocol", self.protocol),
        ];
        for (name, value) in pseudo {
            // A request has one host for everything that reads transactions, whatever its HTTP version.
            if let Some(value) = value.filter(|_| self.fields.get(name).is_none()) {
                headers.push(name, &value);
            }
        }
        self.fields
            .iter()
            .for_each(|(name, value)| headers.push(name, value));
        let request = Request {
            method,
            target: target.unwrap_or_default(),
            headers,
            h2_stream: Some(stream),
            ..Request::default()
        };
        (request, self.malformed || missing || self.status.is_some())
    }

    /// As a final response; true where it breaks the RFC.
    pub fn into_response(self) -> (Response, bool) {
        let missing = !self.unknown && self.status.is_none();
        let malformed = self.malformed || missing || self.is_request();
        let response = Response {
            status: self.status.unwrap_or(0),
            headers: self.fields,
            ..Response::default()
        };
        (response, malformed)
    }

    /// As a trailer section; true where it breaks the RFC.
    pub fn into_trailers(self) -> (Headers, bool) {
        let pseudo = self.is_request() || self.status.is_some();
        (self.fields, self.malformed || pseudo)
    }
}
