//! What a remote procedure call of gRPC, gRPC-Web or Connect says beyond HTTP: counts and a code, no bytes of anyone.

use super::Headers;
use std::borrow::Cow;

/// A call: what its messages were and how it ended. Its method is [`super::Transaction::rpc_method`]; what it said in
/// words is in the response's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grpc {
    pub kind: Kind,
    /// None: the request was not seen, or does not say that it is a call's.
    pub from_client: Option<Counts>,
    /// None: no response was seen, or it is not a call's, as when a proxy answers.
    pub from_server: Option<Counts>,
    /// None: it is not known how the call ended.
    pub code: Option<Code>,
    /// The code was not sent: it follows from how the stream was broken off.
    pub inferred: bool,
}

/// How messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Grpc,
    /// The trailers are the last message of the body.
    Web,
    /// The same in base64.
    WebText,
    /// Connect with streams; how the call ended is the last message of the body.
    Connect,
    /// Connect without: the body is the message.
    ConnectUnary,
}

impl Kind {
    /// By the content type: `application/grpc`, `application/grpc-web+proto` and so on. None: not gRPC, as far as it
    /// can tell.
    pub fn of(content_type: &[u8]) -> Option<Kind> {
        let media = content_type.split(|b| *b == b';').next()?.trim_ascii();
        let base = media.split(|b| *b == b'+').next()?.to_ascii_lowercase();
        match &base[..] {
            b"application/grpc" => Some(Kind::Grpc),
            b"application/grpc-web" => Some(Kind::Web),
            b"application/grpc-web-text" => Some(Kind::WebText),
            b"application/connect" => Some(Kind::Connect),
            _ => None,
        }
    }

    /// By the header fields of a request.
    pub fn of_request(headers: &Headers) -> Option<Kind> {
        let by_type = headers.get(b"content-type").and_then(Kind::of);
        by_type.or_else(|| {
            headers
                .get(b"connect-protocol-version")
                .map(|_| Kind::ConnectUnary)
        })
    }

    /// Flag of the message that says how the call ended; 0: there is none.
    pub(crate) fn end_flag(self) -> u8 {
        match self {
            Kind::Web | Kind::WebText => 0x80,
            Kind::Connect => 2,
            Kind::Grpc | Kind::ConnectUnary => 0,
        }
    }

    /// The name that spans and payloads carry.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Grpc => "grpc",
            Kind::Web => "grpc-web",
            Kind::WebText => "grpc-web-text",
            Kind::Connect => "connect",
            Kind::ConnectUnary => "connect-unary",
        }
    }

    /// `rpc.system.name` of the semantic conventions.
    pub fn system(self) -> &'static str {
        match self {
            Kind::Grpc | Kind::Web | Kind::WebText => "grpc",
            Kind::Connect | Kind::ConnectUnary => "connectrpc",
        }
    }
}

/// What was counted of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Whole messages.
    pub messages: u64,
    /// Of these: compressed ones.
    pub compressed: u64,
    /// Length of the whole messages as sent, without prefixes, in bytes.
    pub size: u64,
    /// Length of the longest.
    pub longest: u64,
    /// A message breaks off at the end.
    pub partial: bool,
    /// The framing breaks the rules: there may be more messages.
    pub malformed: bool,
    /// Bytes were lost where they matter: there may be more messages.
    pub gap: bool,
}

impl Counts {
    /// Names of what keeps the counts from being the whole truth.
    pub fn marks(&self) -> impl Iterator<Item = &'static str> {
        [
            (self.partial, "partial"),
            (self.malformed, "malformed"),
            (self.gap, "gap"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
    }
}

/// A status code of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u32);

/// Names of the status codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Code {
    pub const OK: Code = Code(0);
    pub const CANCELLED: Code = Code(1);
    pub const DEADLINE_EXCEEDED: Code = Code(4);
    pub const PERMISSION_DENIED: Code = Code(7);
    pub const RESOURCE_EXHAUSTED: Code = Code(8);
    pub const UNIMPLEMENTED: Code = Code(12);
    pub const INTERNAL: Code = Code(13);
    pub const UNAVAILABLE: Code = Code(14);

    /// The value of `rpc.response.status_code`: the code's name, else its number.
    pub fn name(self) -> Cow<'static, str> {
        let known = usize::try_from(self.0).ok().and_then(|c| CODES.get(c));
        known.map_or_else(|| self.0.to_string().into(), |name| (*name).into())
    }

    /// Of a code of Connect: the same in lower case, but `canceled`.
    pub fn of_connect(name: &str) -> Option<Code> {
        let name = match name {
            "canceled" => "cancelled",
            name => name,
        };
        let at = CODES.iter().position(|c| c.eq_ignore_ascii_case(name))?;
        u32::try_from(at).ok().map(Code)
    }

    /// What RST_STREAM with an error code of HTTP/2 means (gRPC over HTTP/2, "Errors"). None: nothing, or unknown.
    pub fn of_reset(code: u32) -> Option<Code> {
        Some(match code {
            // STREAM_CLOSED has no meaning: there can be no call any more.
            0..=4 | 6 | 9 | 10 => Code::INTERNAL,
            7 => Code::UNAVAILABLE,
            8 => Code::CANCELLED,
            11 => Code::RESOURCE_EXHAUSTED,
            12 => Code::PERMISSION_DENIED,
            _ => return None,
        })
    }

    /// The fault is the server's, so that its span is in error too (semantic conventions for gRPC). A code that is
    /// not known counts as UNKNOWN.
    pub fn is_server_error(self) -> bool {
        matches!(self.0, 2 | 4 | 12..=15 | 17..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_names_and_others_their_number() {
        assert_eq!(Code(14).name(), "UNAVAILABLE");
        assert_eq!(Code(99).name(), "99");
        assert_eq!(Code::of_connect("canceled"), Some(Code::CANCELLED));
        assert_eq!(Code::of_connect("unavailable"), Some(Code::UNAVAILABLE));
        assert_eq!(Code::of_connect("no such"), None);
    }

    #[test]
    fn the_servers_faults_are_those_of_the_conventions() {
        let faults: Vec<_> = (0..17)
            .map(Code)
            .filter(|c| c.is_server_error())
            .map(|c| c.name())
            .collect();
        let want = [
            "UNKNOWN",
            "DEADLINE_EXCEEDED",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
        ];
        assert_eq!(faults, want);
    }
}
