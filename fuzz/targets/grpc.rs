//! Messages of gRPC and gRPC-Web: any cutting counts the same, splitting finds what counting found, base64 changes
//! nothing.

use super::input::{Input, chosen, pieces};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plainspan::proto::grpc::{Counts, Kind, Messages, Status, method, split};
use plainspan::transaction::Headers;

/// The longest trailer section that is kept, in bytes.
const TRAILERS_MAX: usize = 16 << 10;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (choices, cut) = (input.byte(), usize::from(input.byte()));
    let kind = [Kind::Grpc, Kind::Web, Kind::WebText][usize::from(choices & 3) % 3];
    if choices & 4 != 0 {
        return heads(input);
    }
    if choices & 8 != 0 {
        return with_gaps(kind, input, cut);
    }
    let body = input.0;
    let whole = read(kind, body, usize::MAX);
    let counts = whole.counts();
    check(&whole, body.len());
    if !chosen(data) {
        return;
    }
    assert_eq!(counts, read(kind, body, cut).counts(), "pieces of {cut}");
    if kind != Kind::WebText {
        check_split(counts, kind, body);
    }
    if kind == Kind::Web {
        let text = STANDARD.encode(body);
        let same = read(Kind::WebText, text.as_bytes(), cut);
        assert_eq!(counts, same.counts(), "base64");
        assert!(whole.trailers() == same.trailers());
    }
}

fn read(kind: Kind, body: &[u8], cut: usize) -> Messages {
    let mut messages = Messages::new(kind);
    pieces(body, cut).for_each(|piece| messages.feed(piece));
    messages
}

fn check(messages: &Messages, len: usize) {
    let counts = messages.counts();
    assert!(counts.compressed <= counts.messages);
    assert!(counts.longest <= counts.size);
    assert!(counts.gap || counts.size + 5 * counts.messages <= len as u64);
    let trailers = messages.trailers();
    let bytes: usize = trailers.iter().map(|(n, v)| n.len() + v.len()).sum();
    assert!(bytes <= TRAILERS_MAX);
    if let Some(status) = Status::of(&Headers::default(), &trailers) {
        assert!(!status.name().is_empty());
    }
}

/// Splitting finds the whole messages that were counted, up to what counting ended at.
fn check_split(counts: Counts, kind: Kind, body: &[u8]) {
    let ends = |p: &plainspan::proto::grpc::Part<'_>| p.trailers;
    let parts = split(body).take_while(|p| !ends(p));
    let whole: Vec<_> = parts.filter(|p| p.bytes.len() == p.len as usize).collect();
    assert_eq!(whole.len() as u64, counts.messages, "{kind:?}");
    let size: u64 = whole.iter().map(|p| u64::from(p.len)).sum();
    assert_eq!(size, counts.size);
    let compressed = whole.iter().filter(|p| p.compressed).count();
    assert_eq!(compressed as u64, counts.compressed);
}

fn with_gaps(kind: Kind, mut input: Input<'_>, cut: usize) {
    let (mut whole, mut in_pieces) = (Messages::new(kind), Messages::new(kind));
    let mut len = 0;
    while !input.is_empty() {
        let bytes = input.text();
        len += bytes.len();
        whole.feed(bytes);
        pieces(bytes, cut).for_each(|piece| in_pieces.feed(piece));
        let gap = u64::from(input.byte()) << 2;
        if gap > 0 {
            whole.gap(gap);
            in_pieces.gap(gap / 2);
            in_pieces.gap(gap - gap / 2);
            len += gap as usize;
        }
    }
    assert_eq!(whole.counts(), in_pieces.counts());
    check(&whole, len);
}

/// Heads: type, target and status.
fn heads(mut input: Input<'_>) {
    let (kind, target) = (input.text(), input.text());
    if Kind::of(kind).is_some() {
        assert!(
            kind.trim_ascii()
                .to_ascii_lowercase()
                .starts_with(b"application/grpc")
        );
    }
    if let Some(name) = method(target) {
        assert!(name.len() < target.len() && name.contains(&b'/'));
    }
    let mut headers = [Headers::default(), Headers::default()];
    for headers in &mut headers {
        headers.push(b"grpc-status", input.text());
        headers.push(b"Grpc-Message", input.text());
    }
    let [headers, trailers] = headers;
    if let Some(status) = Status::of(&headers, &trailers) {
        assert!(!status.name().is_empty());
        assert!(!format!("{status:?}").is_empty());
    }
}
