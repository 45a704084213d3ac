//! Facts from redacted headers, and the cut to a level.

use super::Redactor;
use super::names::{trim, with_lower};
use crate::proto::grpc::Status;
use crate::rules::Level;
use crate::transaction::{Headers, Transaction};

/// What span, log record and payload say at every level that is found in headers only. Redacted; where a rule masks the
/// header, the value here is the mask too. Bytes that are not UTF-8 became U+FFFD.
///
/// Request headers unless the name says otherwise. The first field line of a name counts; `headers_include` and
/// `headers_exclude` do not touch these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// `Host` (`:authority` in HTTP/2), port included.
    pub host: Option<String>,
    /// `Forwarded` (RFC 7239), all lines joined with `, `.
    pub forwarded: Option<String>,
    pub x_forwarded_proto: Option<String>,
    pub x_forwarded_host: Option<String>,
    pub x_forwarded_port: Option<String>,
    /// All lines joined with `, `.
    pub x_forwarded_for: Option<String>,
    pub user_agent: Option<String>,
    pub request_content_type: Option<String>,
    pub request_content_encoding: Option<String>,
    pub response_content_type: Option<String>,
    pub response_content_encoding: Option<String>,
    /// `grpc-message` of the response's trailers, else of its headers, as it was meant; None: none, or empty.
    pub grpc_message: Option<String>,
}

impl Facts {
    /// Reads the facts from headers that are redacted already.
    pub(super) fn read(transaction: &Transaction) -> Facts {
        let mut facts = Facts::default();
        if let Some(request) = &transaction.request {
            for (name, value) in request.headers.iter().filter(|(name, _)| may_be(name)) {
                with_lower(name, |lower| facts.request(lower, value));
            }
        }
        if let Some(response) = &transaction.response {
            for (name, value) in response.headers.iter().filter(|(name, _)| may_be(name)) {
                with_lower(name, |lower| match lower {
                    b"content-type" => first(&mut facts.response_content_type, value),
                    b"content-encoding" => first(&mut facts.response_content_encoding, value),
                    _ => {}
                });
            }
            if transaction.grpc.is_some() {
                let said = Status::of(&response.headers, &response.trailers);
                facts.grpc_message = said.map(|s| s.message).filter(|m| !m.is_empty());
            }
        }
        facts
    }

    fn request(&mut self, lower: &[u8], value: &[u8]) {
        match lower {
            b":authority" => self.host = Some(text(value)),
            b"host" => first(&mut self.host, value),
            b"forwarded" => joined(&mut self.forwarded, value),
            b"x-forwarded-for" => joined(&mut self.x_forwarded_for, value),
            b"x-forwarded-proto" => first(&mut self.x_forwarded_proto, value),
            b"x-forwarded-host" => first(&mut self.x_forwarded_host, value),
            b"x-forwarded-port" => first(&mut self.x_forwarded_port, value),
            b"user-agent" => first(&mut self.user_agent, value),
            b"content-type" => first(&mut self.request_content_type, value),
            b"content-encoding" => first(&mut self.request_content_encoding, value),
            _ => {}
        }
    }
}

/// Whether a field of this name may say a fact: most do not, and their first letter tells.
fn may_be(name: &[u8]) -> bool {
    let first = trim(name).first().map(u8::to_ascii_lowercase);
    matches!(first, Some(b'h' | b'f' | b'x' | b'u' | b'c' | b':'))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn first(slot: &mut Option<String>, value: &[u8]) {
    if slot.is_none() {
        *slot = Some(text(value));
    }
}

fn joined(slot: &mut Option<String>, value: &[u8]) {
    match slot {
        Some(before) => {
            before.push_str(", ");
            before.push_str(&String::from_utf8_lossy(value));
        }
        None => *slot = Some(text(value)),
    }
}

impl Redactor {
    /// Removes what `level` does not keep.
    pub(super) fn cut(&self, transaction: &mut Transaction, level: Level) {
        if let Some(websocket) = transaction
            .websocket
            .as_mut()
            .filter(|_| level < Level::Full)
        {
            websocket.discard();
        }
        if let Some(request) = &mut transaction.request {
            if level < Level::Full {
                request.body.discard();
            }
            self.cut_fields(&mut request.headers, level);
            self.cut_fields(&mut request.trailers, level);
        }
        if let Some(response) = &mut transaction.response {
            if level < Level::Full {
                response.body.discard();
            }
            if level < Level::Headers {
                response.reason.clear();
            }
            self.cut_fields(&mut response.headers, level);
            self.cut_fields(&mut response.trailers, level);
        }
    }

    fn cut_fields(&self, headers: &mut Headers, level: Level) {
        match level {
            Level::None | Level::Summary => *headers = Headers::default(),
            Level::Headers if self.narrows() => headers.retain(|name, _| self.keeps_name(name)),
            Level::Headers | Level::Full => {}
        }
    }

    fn narrows(&self) -> bool {
        !self.include.is_empty() || !self.exclude.is_empty()
    }

    fn keeps_name(&self, name: &[u8]) -> bool {
        with_lower(name, |lower| {
            let included =
                self.include.is_empty() || self.include.iter().any(|g| g.is_match(lower));
            included && !self.exclude.iter().any(|g| g.is_match(lower))
        })
    }
}
