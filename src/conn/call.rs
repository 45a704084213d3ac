//! From an exchange to what it is as a call of gRPC, gRPC-Web or Connect.

use crate::proto::grpc::{Messages, Status, timeout};
use crate::transaction::grpc::{Code, Counts, Grpc, Kind};
use crate::transaction::{Content, Exchange, Headers, Message};

/// By how much a stream may be broken off before its deadline and still count as broken off by it: a part of the time
/// that the call had, and nanoseconds. Clients start their clock before they send, and round what they send.
const EARLY_PART: u64 = 20;
const EARLY_NS: u64 = 10_000_000;

/// What the exchange is as a call; None: it is none. The trailer fields that gRPC-Web and Connect have at the end of a
/// body go to the message's trailers, where redaction reads names and values; the kept part of the body ends in front of
/// them.
pub fn of(exchange: &mut Exchange) -> Option<Grpc> {
    let asked = exchange.request.as_ref().and_then(Message::request);
    let answer = exchange.response.as_ref().and_then(Message::response);
    let by_request = asked.and_then(|r| Kind::of_request(&r.headers));
    let by_response = answer.and_then(|r| Kind::of(r.headers.get(b"content-type")?));
    let guessed = || names_grpc(exchange).then_some(Kind::Grpc);
    let kind = by_request.or(by_response).or_else(guessed)?;
    let answered =
        kind != Kind::ConnectUnary || answer.is_some_and(|r| (200..300).contains(&r.status));
    let mut grpc = Grpc {
        kind,
        from_client: exchange.request.as_ref().and_then(|m| counts(m, kind)),
        from_server: exchange
            .response
            .as_ref()
            .filter(|_| answered)
            .and_then(|m| counts(m, kind)),
        code: None,
        inferred: false,
    };
    let messages = [&mut exchange.request, &mut exchange.response];
    messages.into_iter().flatten().for_each(move_trailers);
    grpc.code = exchange.response.as_ref().and_then(sent_code);
    if grpc.code.is_none() && kind == Kind::Grpc {
        grpc.code = inferred_code(exchange);
        grpc.inferred = grpc.code.is_some();
    }
    Some(grpc)
}

/// A content type is not known, and fields of gRPC are there. Where the type is known, such fields make no call of it.
fn names_grpc(exchange: &Exchange) -> bool {
    let messages = [&exchange.request, &exchange.response];
    let suspected = messages.into_iter().flatten().any(|m| m.grpc.is_some());
    let named = |h: &Headers| h.iter().any(|(name, _)| name.starts_with(b"grpc-"));
    suspected
        && messages.into_iter().flatten().any(|m| match &m.content {
            Some(Content::Request(r)) => named(&r.headers),
            Some(Content::Response(r)) => named(&r.headers) || named(&r.trailers),
            None => false,
        })
}

fn counts(message: &Message, kind: Kind) -> Option<Counts> {
    let like = |messages: &&Messages| messages.kind() == kind;
    if let Some(messages) = message.grpc.as_deref().filter(like) {
        return Some(messages.counts());
    }
    if kind != Kind::ConnectUnary {
        return None;
    }
    let (headers, body) = match message.content.as_ref()? {
        Content::Request(r) => (&r.headers, &r.body),
        Content::Response(r) => (&r.headers, &r.body),
    };
    let partial = message.cut || message.unfinished;
    let whole = !partial && !message.gap;
    let coded = headers.get(b"content-encoding");
    let size = if whole { body.size() } else { 0 };
    Some(Counts {
        messages: u64::from(whole),
        compressed: u64::from(whole && coded.is_some_and(|c| c != b"identity")),
        size,
        longest: size,
        partial,
        malformed: false,
        gap: message.gap,
    })
}

fn move_trailers(message: &mut Message) {
    let Some(grpc) = &message.grpc else { return };
    let Some(at) = grpc.trailers_at() else { return };
    let section = match grpc.connect_end() {
        // JSON without header fields is like any message.
        Some(end) if end.is_plain => return,
        Some(end) => end.metadata,
        None => grpc.trailers(),
    };
    if let Some(body) = message.body_mut() {
        body.keep(at);
    }
    if let Some(trailers) = message.trailers_mut() {
        section
            .iter()
            .for_each(|(name, value)| trailers.push(name, value));
    }
}

/// The code that the response names.
fn sent_code(message: &Message) -> Option<Code> {
    let response = message.response()?;
    let of_connect = || message.grpc.as_ref()?.connect_end()?.code;
    let of_fields = Status::of(&response.headers, &response.trailers).map(|s| s.code);
    of_fields.or_else(of_connect)
}

/// The code that follows from how the stream was broken off. A client that gives up at its deadline sends CANCEL.
fn inferred_code(exchange: &Exchange) -> Option<Code> {
    let (reset, time) = exchange.broken_off?;
    let code = Code::of_reset(reset)?;
    if code != Code::CANCELLED {
        return Some(code);
    }
    let asked = exchange.request.as_ref().and_then(Message::request);
    let allowed = asked.and_then(|r| timeout(r.headers.get(b"grpc-timeout")?));
    let passed = time.since(exchange.first().time);
    let over = |allowed: u64| {
        let early = (allowed / EARLY_PART).saturating_add(EARLY_NS);
        passed.saturating_add(early) >= allowed
    };
    match allowed.is_some_and(over) {
        true => Some(Code::DEADLINE_EXCEEDED),
        false => Some(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::KernelTime;
    use crate::transaction::{BodyLimits, Marks, Protocol, Request, Response, Stamp};

    const LIMITS: BodyLimits = BodyLimits {
        capture: true,
        max_bytes: 1000,
    };

    fn message(content: Content, body: &[u8]) -> Message {
        let first = Stamp {
            time: KernelTime(0),
            pid: 1,
            tid: 1,
            turn: 0,
        };
        let mut message = Message::begin(first);
        message.set_head(content);
        message.push_content(body, LIMITS);
        message
    }

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes());
        }
        headers
    }

    fn exchange(
        asked: &[(&str, &str)],
        answer: &[(&str, &str)],
        status: u16,
        body: &[u8],
    ) -> Exchange {
        let request = Request {
            headers: headers(asked),
            ..Request::default()
        };
        let response = Response {
            status,
            headers: headers(answer),
            ..Response::default()
        };
        let request = message(Content::Request(request), b"");
        let response = message(Content::Response(response), body);
        let messages = (Some(request), Some(response));
        let first = messages.0.as_ref().map(|m| m.first);
        Exchange::join(
            first.expect("a request"),
            Protocol::Http11,
            messages,
            Vec::new(),
            Marks::default(),
        )
    }

    const WEB: [(&str, &str); 1] = [("content-type", "application/grpc-web")];

    #[test]
    fn header_fields_at_the_end_of_a_body_become_trailers_and_leave_the_body() {
        let body = b"\0\0\0\0\x01m\x80\0\0\0\x1egrpc-status: 3\r\nx-token: abcde";
        let mut exchange = exchange(&WEB, &WEB, 200, body);
        let grpc = of(&mut exchange).expect("a call");
        assert_eq!(grpc.code, Some(Code(3)));
        let response = exchange
            .response
            .as_ref()
            .and_then(Message::response)
            .expect("one");
        assert_eq!(response.trailers.get(b"x-token"), Some(&b"abcde"[..]));
        assert_eq!(response.body.bytes(), b"\0\0\0\0\x01m");
        assert_eq!(response.body.size(), body.len() as u64);
    }

    #[test]
    fn an_end_of_a_connect_stream_that_cannot_be_read_leaves_the_body() {
        let stream = [("content-type", "application/connect+proto")];
        let of_end = |flags: u8, end: &[u8]| {
            let body = [
                &b"\0\0\0\0\x01m"[..],
                &[flags, 0, 0, 0, end.len() as u8],
                end,
            ]
            .concat();
            let mut exchange = exchange(&stream, &stream, 200, &body);
            let grpc = of(&mut exchange).expect("a call");
            let response = exchange
                .response
                .as_ref()
                .and_then(Message::response)
                .expect("one");
            (grpc.code.map(|c| c.0), response.body.bytes().len())
        };
        assert_eq!(of_end(2, b"{}"), (Some(0), 13));
        assert_eq!(
            of_end(2, br#"{"error":{"code":"aborted"}}"#),
            (Some(10), 39)
        );
        assert_eq!(of_end(3, b"packed"), (None, 6));
    }

    #[test]
    fn what_a_proxy_answers_is_no_message_of_the_server() {
        let grpc = [("content-type", "application/grpc")];
        let html = [("content-type", "text/html")];
        let call = of(&mut exchange(&grpc, &html, 502, b"<html>")).expect("a call");
        assert_eq!((call.from_server, call.code), (None, None));
        let once = [
            ("content-type", "application/proto"),
            ("connect-protocol-version", "1"),
        ];
        let json = [("content-type", "application/json")];
        let call = of(&mut exchange(&once, &json, 404, b"{}")).expect("a call");
        assert_eq!((call.kind, call.from_server), (Kind::ConnectUnary, None));
        assert!(of(&mut exchange(&html, &html, 200, b"")).is_none());
    }
}
