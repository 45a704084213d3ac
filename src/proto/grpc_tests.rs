use super::*;
use proptest::prelude::*;

fn message(flags: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![flags];
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
    out
}

fn read(kind: Kind, bytes: &[u8], sizes: &[usize]) -> (Counts, Headers) {
    let mut messages = Messages::new(kind);
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        messages.feed(piece);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    (messages.counts(), messages.trailers())
}

fn headers(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in fields {
        headers.push(name.as_bytes(), value.as_bytes());
    }
    headers
}

#[test]
fn the_content_type_tells_the_kind() {
    for (content_type, kind) in [
        ("application/grpc", Some(Kind::Grpc)),
        ("Application/gRPC+proto; charset=utf-8", Some(Kind::Grpc)),
        ("application/grpc-web+proto", Some(Kind::Web)),
        ("application/grpc-web-text", Some(Kind::WebText)),
        ("application/grpcx", None),
        ("application/connect+json", Some(Kind::Connect)),
        ("application/json", None),
        ("", None),
    ] {
        assert_eq!(Kind::of(content_type.as_bytes()), kind, "{content_type}");
    }
}

#[test]
fn the_method_is_the_path_without_its_first_slash() {
    let of = |target: &'static str| method(target.as_bytes());
    assert_eq!(of("/shop.v1.Cart/Add"), Some(&b"shop.v1.Cart/Add"[..]));
    assert_eq!(of("/prefix/a.B/C?x=/"), Some(&b"prefix/a.B/C"[..]));
    for none in ["/", "/a", "//b", "/a/", "a/b", "*", ""] {
        assert_eq!(of(none), None, "{none}");
    }
}

#[test]
fn messages_are_counted_with_their_sizes() {
    let body = [message(0, b"hello"), message(1, &[7; 300]), message(0, b"")].concat();
    let (counts, _) = read(Kind::Grpc, &body, &[3]);
    let want = Counts {
        messages: 3,
        compressed: 1,
        size: 305,
        longest: 300,
        ..Counts::default()
    };
    assert_eq!(counts, want);
    for cut in [1, 5, 9, 12, 100] {
        assert!(read(Kind::Grpc, &body[..cut], &[9]).0.partial, "{cut}");
    }
    assert!(!read(Kind::Grpc, &body[..10], &[9]).0.partial);
}

#[test]
fn an_unknown_flag_ends_the_counting() {
    let body = [message(0, b"a"), message(0x80, b"b"), message(0, b"c")].concat();
    let (counts, _) = read(Kind::Grpc, &body, &[100]);
    assert_eq!((counts.messages, counts.malformed), (1, true));
    let (counts, _) = read(Kind::Web, &message(2, b"b"), &[100]);
    assert_eq!((counts.messages, counts.malformed), (0, true));
}

#[test]
fn the_trailers_of_grpc_web_are_its_last_message() {
    let trailers = message(0x80, b"grpc-status: 5\r\ngrpc-message:no%20cart\r\n");
    let body = [message(0, b"hello"), trailers].concat();
    let text: String = [&body[..7], &body[7..]]
        .map(|part| STANDARD.encode(part))
        .concat();
    for (kind, bytes) in [(Kind::Web, &body[..]), (Kind::WebText, text.as_bytes())] {
        for size in [1, 2, 7, 1000] {
            let (counts, trailers) = read(kind, bytes, &[size]);
            assert_eq!(
                (counts.messages, counts.partial, counts.malformed),
                (1, false, false)
            );
            let status = Status::of(&Headers::default(), &trailers).expect("a status");
            assert_eq!(
                (&*status.name(), &*status.message),
                ("NOT_FOUND", "no cart")
            );
        }
    }
    let (counts, _) = read(Kind::WebText, b"!!!!", &[4]);
    assert!(counts.malformed);
}

#[test]
fn a_gap_inside_a_message_is_stepped_over_and_another_ends_the_counting() {
    let mut messages = Messages::new(Kind::Grpc);
    messages.feed(&message(0, &[1; 100])[..50]);
    messages.gap(55);
    messages.feed(&message(0, b"next"));
    assert_eq!(
        (messages.counts().messages, messages.counts().gap),
        (2, false)
    );
    messages.gap(1);
    messages.feed(&message(0, b"x"));
    assert_eq!(
        (messages.counts().messages, messages.counts().gap),
        (2, true)
    );
}

#[test]
fn a_kept_body_is_split_up_to_where_it_was_cut() {
    let body = [
        message(0, b"one"),
        message(1, b"three"),
        message(0, b"cut off"),
    ]
    .concat();
    let parts: Vec<_> = split(&body[..body.len() - 4]).collect();
    let told: Vec<_> = parts
        .iter()
        .map(|p| (p.compressed, p.len, p.bytes))
        .collect();
    let want: [(bool, u32, &[u8]); 3] =
        [(false, 3, b"one"), (true, 5, b"three"), (false, 7, b"cut")];
    assert_eq!(told, want);
    assert_eq!(split(b"\x09\0\0\0\x01a").count(), 0);
    assert_eq!(split(b"\0\0\0").count(), 0);
}

#[test]
fn the_status_is_in_the_trailers_or_in_headers_that_are_all_there_is() {
    let none = Headers::default();
    let of = |h: &Headers, t: &Headers| Status::of(h, t).map(|s| s.name().into_owned());
    let unavailable = headers(&[("grpc-status", "14"), ("grpc-message", "gone%21")]);
    assert_eq!(of(&none, &unavailable).as_deref(), Some("UNAVAILABLE"));
    assert_eq!(of(&unavailable, &none).as_deref(), Some("UNAVAILABLE"));
    assert_eq!(
        of(&none, &headers(&[("grpc-status", "0")])).as_deref(),
        Some("OK")
    );
    assert_eq!(
        of(&none, &headers(&[("grpc-status", "99")])).as_deref(),
        Some("99")
    );
    assert_eq!(of(&none, &headers(&[("grpc-status", "x")])), None);
    assert_eq!(of(&none, &none), None);
    let status = Status::of(&none, &unavailable).expect("a status");
    assert_eq!(
        (&*status.message, format!("{status:?}")),
        ("gone!", "Status(UNAVAILABLE)".into())
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn any_cutting_gives_the_same(
        parts in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..100)), 0..8),
        sizes in prop::collection::vec(1usize..30, 1..8),
        text in any::<bool>(),
    ) {
        let flags = [0, 1, 0x80, 0x40];
        let plain: Vec<u8> = parts.iter().flat_map(|(f, bytes)| message(flags[usize::from(*f)], bytes)).collect();
        let (kind, body) = match text {
            true => (Kind::WebText, STANDARD.encode(&plain).into_bytes()),
            false => (Kind::Web, plain),
        };
        prop_assert!(read(kind, &body, &sizes) == read(kind, &body, &[usize::MAX]));
    }

    #[test]
    fn any_bytes_do_no_harm(
        steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), any::<u64>(), any::<bool>()), 0..10),
        kind in prop::sample::select(vec![Kind::Grpc, Kind::Web, Kind::WebText]),
    ) {
        let mut messages = Messages::new(kind);
        for (bytes, len, gap) in &steps {
            messages.feed(bytes);
            if *gap {
                messages.gap(*len);
            }
            prop_assert!(messages.trailers.len() <= TRAILERS_MAX);
            split(bytes).for_each(drop);
        }
        messages.counts();
        messages.trailers();
    }
}

#[test]
fn a_gap_in_two_parts_counts_as_one_gap_does() {
    let read = |gaps: &[u64]| {
        let mut messages = Messages::new(Kind::Grpc);
        messages.feed(b"\0\0\0\0\x0ahello");
        gaps.iter().for_each(|len| messages.gap(*len));
        messages.counts()
    };
    let counts = read(&[8]);
    assert_eq!((counts.messages, counts.size, counts.gap), (1, 10, true));
    for gaps in [[5, 3], [4, 4], [6, 2]] {
        assert_eq!(read(&gaps), counts, "{gaps:?}");
    }
}
