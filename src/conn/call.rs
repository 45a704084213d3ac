//! From an exchange to what it is as a call of gRPC, gRPC-Web or Connect.

use crate::proto::grpc::{Status, timeout};
use crate::transaction::grpc::{Code, Counts, Grpc, Kind};
use crate::transaction::pairing::Exchange;
use crate::transaction::{Content, Headers, Message, Request, Response};

/// By how much a stream may be broken off before its deadline and still count as broken off by it: a part of the time
/// that the call had, and nanoseconds. Clients start their clock before they send, and round what they send.
const EARLY_PART: u64 = 20;
const EARLY_NS: u64 = 10_000_000;

/// What the exchange is as a call; None: it is none. The trailer fields that gRPC-Web and Connect have at the end of a
/// body go to the message's trailers, where redaction reads names and values; the kept part of the body ends in front of
/// them.
pub fn of(exchange: &mut Exchange) -> Option<Grpc> {
    let asked = exchange.request.as_ref().and_then(request);
    let by_request = asked.and_then(|r| Kind::of_request(&r.headers));
    let by_response = exchange.response.as_ref().and_then(response);
    let by_response = by_response.and_then(|r| Kind::of(r.headers.get(b"content-type")?));
    let kind = by_request.or(by_response)?;
    let mut grpc = Grpc {
        kind,
        from_client: by_request.and_then(|_| counts(exchange.request.as_ref()?, kind)),
        from_server: None,
        code: None,
        inferred: false,
    };
    let answered = |r: &Response| kind != Kind::ConnectUnary || (200..300).contains(&r.status);
    if let Some(message) = &exchange.response
        && response(message).is_some_and(answered)
    {
        grpc.from_server = counts(message, kind);
    }
    let messages = [&mut exchange.request, &mut exchange.response];
    messages.into_iter().flatten().for_each(move_trailers);
    grpc.code = exchange.response.as_ref().and_then(sent_code);
    if grpc.code.is_none() && kind == Kind::Grpc {
        grpc.code = inferred_code(exchange);
        grpc.inferred = grpc.code.is_some();
    }
    Some(grpc)
}

fn request(message: &Message) -> Option<&Request> {
    match message.content.as_ref()? {
        Content::Request(request) => Some(request),
        Content::Response(_) => None,
    }
}

fn response(message: &Message) -> Option<&Response> {
    match message.content.as_ref()? {
        Content::Response(response) => Some(response),
        Content::Request(_) => None,
    }
}

fn counts(message: &Message, kind: Kind) -> Option<Counts> {
    if let Some(messages) = &message.grpc {
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
    if let Some(trailers) = trailers_mut(message) {
        section
            .iter()
            .for_each(|(name, value)| trailers.push(name, value));
    }
}

fn trailers_mut(message: &mut Message) -> Option<&mut Headers> {
    match message.content.as_mut()? {
        Content::Request(r) => Some(&mut r.trailers),
        Content::Response(r) => Some(&mut r.trailers),
    }
}

/// The code that the response names.
fn sent_code(message: &Message) -> Option<Code> {
    let response = response(message)?;
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
    let asked = exchange.request.as_ref().and_then(request);
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
