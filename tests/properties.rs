//! What holds for any cutting, interleaving and loss of events.

mod http_support;

use http_support::{Cutting, Fixture, Recording, View, dump, feed, fixtures, limits, play, record};
use plainspan::conn::{Limits, Table};
use plainspan::event::build::encode;
use plainspan::event::layout::flag;
use plainspan::event::{Bound, Data, Dir, Event, Role, Source, decode};
use plainspan::event::{ConnId, KernelTime, TlsId};
use plainspan::transaction::{Headers, Mark, Protocol, Request, Response, Transaction};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

/// Random cases of each fixture: `PLAINSPAN_CASES`, else 500.
fn cases() -> u32 {
    match std::env::var("PLAINSPAN_CASES") {
        Ok(text) => text.parse().expect("PLAINSPAN_CASES is a number"),
        Err(_) => 500,
    }
}

fn views() -> impl Strategy<Value = View> {
    (any::<bool>(), any::<bool>()).prop_map(|(client, tls)| View {
        role: if client { Role::Client } else { Role::Server },
        tls,
    })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        prop::collection::vec(1usize..6, 1..12),
        prop::collection::vec(1usize..200, 1..12),
        prop::collection::vec(1usize..20_000, 1..12),
    ]
}

fn cuttings() -> impl Strategy<Value = Cutting> {
    (sizes(), sizes()).prop_map(|(operations, events)| Cutting { operations, events })
}

/// Byte-sized pieces of a big body would only take long.
fn sensible(fixture: &Fixture, cutting: Cutting) -> Cutting {
    let coarse = |sizes: Vec<usize>| {
        sizes
            .into_iter()
            .map(|s: usize| s.saturating_add(700))
            .collect()
    };
    if fixture.name != "big_body" {
        return cutting;
    }
    Cutting {
        operations: coarse(cutting.operations),
        events: coarse(cutting.events),
    }
}

/// What a fixture gives where nothing is cut or lost, for each way to see it.
struct Truth([Vec<Value>; 4]);

impl Truth {
    fn of(fixture: &Fixture) -> Truth {
        let views = [Role::Client, Role::Server].map(|role| [true, false].map(|tls| (role, tls)));
        let mut views = views.into_iter().flatten();
        Truth(std::array::from_fn(|_| {
            let (role, tls) = views.next().expect("four");
            truth(fixture, View { role, tls })
        }))
    }

    fn seen(&self, view: View) -> &Vec<Value> {
        &self.0[2 * usize::from(view.role == Role::Server) + usize::from(!view.tls)]
    }
}

fn truth(fixture: &Fixture, view: View) -> Vec<Value> {
    let seen = play(&record(fixture, view, &Cutting::none()));
    let complete = seen.transactions.iter().filter(|t| t.complete()).count();
    assert_eq!(complete, fixture.transactions, "{}", fixture.name);
    assert_eq!(seen.transactions.len(), complete, "{}", fixture.name);
    assert!(seen.lost.is_empty(), "{}", fixture.name);
    dumps(&seen)
}

/// In the order in which they came out; those of HTTP/2, which end in any order, sorted.
fn dumps(seen: &http_support::Seen) -> Vec<Value> {
    let mut all: Vec<Value> = seen.transactions.iter().map(|t| dump(t, false)).collect();
    if seen
        .transactions
        .iter()
        .any(|t| t.protocol == Protocol::Http2)
    {
        all.sort_by_key(Value::to_string);
    }
    all
}

/// Both directions in their own order, mixed as `choices` says: an event may be seen long after the answer to it.
fn mixed<'a>(recording: &'a Recording, choices: &[bool]) -> Vec<&'a [u8]> {
    let of = |dir: Dir| {
        let own = recording.data.iter().filter(move |(d, _)| *d == dir);
        own.map(|(_, r)| &r[..]).peekable()
    };
    let (mut reads, mut writes) = (of(Dir::Read), of(Dir::Write));
    let mut out: Vec<&[u8]> = recording.before.iter().map(|r| &r[..]).collect();
    for choice in choices.iter().cycle() {
        let next = match choice {
            true => reads.next().or_else(|| writes.next()),
            false => writes.next().or_else(|| reads.next()),
        };
        match next {
            Some(record) => out.push(record),
            None => break,
        }
    }
    out.extend(recording.after.iter().map(|r| &r[..]));
    out
}

fn run<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    };
    if let Err(e) = TestRunner::new(config).run(&strategy, test) {
        panic!("{e}");
    }
}

#[test]
fn any_cutting_and_interleaving_gives_the_same_transactions() {
    for fixture in fixtures() {
        let truth = Truth::of(&fixture);
        let choices = prop::collection::vec(any::<bool>(), 1..40);
        run(
            (views(), cuttings(), choices),
            |(view, cutting, choices)| {
                let recording = record(&fixture, view, &sensible(&fixture, cutting));
                let seen = feed(mixed(&recording, &choices), limits());
                prop_assert_eq!(&dumps(&seen), truth.seen(view), "{}", fixture.name);
                prop_assert!(seen.lost.is_empty());
                Ok(())
            },
        );
    }
}

#[test]
fn with_lost_events_each_transaction_is_right_or_marked() {
    for fixture in fixtures() {
        let truth = Truth::of(&fixture);
        let drops = prop::collection::vec(prop::bool::weighted(0.15), 1..40);
        run((views(), cuttings(), drops), |(view, cutting, drops)| {
            let mut recording = record(&fixture, view, &sensible(&fixture, cutting));
            let mut drop = drops.iter().cycle();
            recording.data.retain(|_| drop.next() != Some(&true));
            check_right_or_marked(&fixture, &recording, truth.seen(view))
        });
    }
}

/// The request's beginning is lost, so it waits until its frames are sure; meanwhile an interim response is lost.
#[test]
fn bytes_lost_before_a_request_is_understood_mark_its_response() {
    let mut fixtures = fixtures().into_iter();
    let fixture = fixtures.find(|f| f.name == "h2_interim_and_trailers");
    let fixture = fixture.expect("a fixture");
    let view = View {
        role: Role::Server,
        tls: false,
    };
    let cutting = Cutting {
        operations: vec![20, 38, 1, 93, 43, 33, 35, 51],
        events: vec![93],
    };
    let mut recording = record(&fixture, view, &cutting);
    let mut at = 0..;
    recording
        .data
        .retain(|_| at.next().is_some_and(|at| at % 10 != 1 && at % 10 != 4));
    let truth = Truth::of(&fixture);
    if let Err(e) = check_right_or_marked(&fixture, &recording, truth.seen(view)) {
        panic!("{e}");
    }
    let seen = play(&recording);
    let marked = |t: &Transaction| t.marks.has(Mark::ResponseGap) && t.request.is_some();
    assert!(seen.transactions.iter().any(marked));
}

#[test]
fn with_cut_operations_each_transaction_is_right_or_marked() {
    for fixture in fixtures() {
        let truth = Truth::of(&fixture);
        let keep =
            prop::collection::vec(prop_oneof![Just(None), (0usize..60).prop_map(Some)], 1..20);
        run((views(), sizes(), keep), |(view, operations, keep)| {
            let events = vec![usize::MAX];
            let cutting = sensible(&fixture, Cutting { operations, events });
            let mut recording = record(&fixture, view, &cutting);
            for ((_, record), keep) in recording.data.iter_mut().zip(keep.iter().cycle()) {
                if let Some(keep) = keep {
                    *record = cut(record, *keep);
                }
            }
            check_right_or_marked(&fixture, &recording, truth.seen(view))
        });
    }
}

/// The record with at most `keep` of its bytes, as an operation is reported whose buffer is not copied whole.
fn cut(record: &[u8], keep: usize) -> Vec<u8> {
    let Ok(Event::Data(data)) = decode(record) else {
        panic!("not data")
    };
    let keep = keep.min(data.bytes.len());
    encode(&Event::Data(Data {
        bytes: &data.bytes[..keep],
        flags: data.flags | flag::CUT,
        ..data
    }))
}

#[test]
fn a_connection_of_http_2_that_is_met_late_gives_what_is_right_or_marked() {
    let mut fixtures = http_support::frames::fixtures();
    fixtures.retain(|f| f.name != "h2_upgrade");
    fixtures.push(http_support::calls::grpc());
    for fixture in fixtures {
        let truth = Truth::of(&fixture);
        let skip = any::<prop::sample::Index>();
        run((views(), cuttings(), skip), |(view, cutting, skip)| {
            let mut recording = record(&fixture, view, &sensible(&fixture, cutting));
            let late = skip.index(recording.data.len());
            recording.data.drain(..late);
            for (_, record) in &mut recording.data {
                *record = without_beginning(record);
            }
            check_right_or_marked(&fixture, &recording, truth.seen(view))
        });
    }
}

/// Operations of a few bytes, so that a connection is met in the middle of frames, of blocks and of heads too.
#[test]
fn a_connection_of_http_2_that_is_met_at_any_position_says_no_wrong_field_and_names_what_is_unknown()
 {
    let fixtures = http_support::frames::fixtures();
    let (mut known, mut unknown) = (0, 0);
    for fixture in fixtures.iter().filter(|f| f.name != "h2_upgrade") {
        for (tls, role) in [(true, Role::Client), (false, Role::Server)] {
            let view = View { role, tls };
            let size = if fixture.name == "big_body" { 700 } else { 5 };
            let cutting = Cutting {
                operations: vec![usize::MAX],
                events: vec![size],
            };
            let all = play(&record(fixture, view, &Cutting::none())).transactions;
            for late in 0..record(fixture, view, &cutting).data.len() {
                let mut recording = record(fixture, view, &cutting);
                recording.data.drain(..late);
                for (_, record) in &mut recording.data {
                    *record = without_beginning(record);
                }
                for t in play(&recording).transactions {
                    let place = format!("{} from event {late}", fixture.name);
                    unknown += usize::from(check_late(&t, &all, &place));
                    known += 1;
                }
            }
        }
    }
    assert!(known > unknown && unknown > 0, "{known} {unknown}");
}

/// Every field of what was met late is one of the same stream in truth, and all of them are there, or it says that
/// some are unknown. True: it says so.
fn check_late(t: &Transaction, all: &[Transaction], place: &str) -> bool {
    let unknown = t.marks.has(Mark::HeadersUnknown);
    let ours = [
        t.request.as_ref().map(request_fields),
        t.response.as_ref().map(response_fields),
    ];
    let of = |t: &Transaction| {
        [
            t.request.as_ref().map(request_fields).unwrap_or_default(),
            t.response.as_ref().map(response_fields).unwrap_or_default(),
        ]
    };
    let fits = |truth: &&Transaction| {
        let truth = of(truth);
        ours.iter()
            .zip(&truth)
            .all(|(own, truth)| own.iter().flatten().all(|field| truth.contains(field)))
    };
    let mut true_ones = all.iter().filter(fits).peekable();
    assert!(
        true_ones.peek().is_some(),
        "{place}: wrong: {:#}",
        dump(t, true)
    );
    // Trailers whose beginning was not seen look like none.
    let whole = |truth: &Transaction| {
        let truth = of(truth);
        let mut both = ours.iter().zip(&truth);
        both.all(|(own, truth)| own.as_ref().is_none_or(|own| own.len() == truth.len()))
    };
    let marked = !t.marks.is_empty();
    assert!(
        marked || true_ones.any(whole),
        "{place}: {:#}",
        dump(t, true)
    );
    let missing = !all.iter().filter(fits).any(whole);
    let gap = [Mark::RequestGap, Mark::ResponseGap, Mark::RequestMissing]
        .into_iter()
        .any(|mark| t.marks.has(mark));
    assert!(!missing || unknown || gap, "{place}: {:#}", dump(t, true));
    unknown
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn owned(headers: &Headers) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    headers.iter().map(|(n, v)| (n.to_vec(), v.to_vec()))
}

/// Known fields, method and target.
fn request_fields(r: &Request) -> Fields {
    let own = [(&b":method"[..], &r.method), (b":path", &r.target)];
    let own = own.into_iter().filter(|(_, v)| !v.is_empty());
    let own = own.map(|(n, v)| (n.to_vec(), v.clone()));
    own.chain(owned(&r.headers))
        .chain(owned(&r.trailers))
        .collect()
}

/// Known fields and status.
fn response_fields(r: &Response) -> Fields {
    let status = (r.status > 0).then(|| (b":status".to_vec(), r.status.to_string().into_bytes()));
    let own = status.into_iter().chain(owned(&r.headers));
    own.chain(owned(&r.trailers)).collect()
}

/// The record as it is where the stream was not seen from its first byte.
fn without_beginning(record: &[u8]) -> Vec<u8> {
    let Ok(Event::Data(data)) = decode(record) else {
        panic!("not data")
    };
    encode(&Event::Data(Data {
        flags: data.flags & !flag::WHOLE,
        ..data
    }))
}

fn check_right_or_marked(
    fixture: &Fixture,
    recording: &Recording,
    truth: &[Value],
) -> Result<(), TestCaseError> {
    let seen = play(recording);
    let mut truth: Vec<&Value> = truth.iter().collect();
    for t in seen.transactions.iter().filter(|t| t.complete()) {
        let got = dump(t, false);
        let at = truth.iter().position(|want| **want == got);
        prop_assert!(
            at.is_some(),
            "{}: not true and not marked: {got:#}",
            fixture.name
        );
        truth.remove(at.unwrap_or(0));
    }
    Ok(())
}

fn any_event() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::sample::select(words()).prop_map(|w| w.to_vec()),
        prop::collection::vec(prop::sample::select(words()), 0..6).prop_map(|w| w.concat()),
    ];
    let place = (0u64..300, 0u32..200, 0u32..200, 0u8..32);
    let at = (1u64..4, 0u64..3, any::<bool>(), 0u8..3, 0u64..1000);
    (text, place, at).prop_map(|(bytes, (offset, op_len, op_offset, flags), at)| {
        let (conn, tls, read, source, time) = at;
        encode(&Event::Data(Data {
            time: KernelTime(time),
            entry: KernelTime(time),
            pid: 1,
            tid: 1,
            conn: Some(ConnId(conn)),
            tls: Some(TlsId(tls)).filter(|t| t.0 > 0 && source == 1),
            offset,
            op_len,
            op_offset,
            turn: 0,
            dir: if read { Dir::Read } else { Dir::Write },
            source: [Source::Socket, Source::Tls, Source::Hello][usize::from(source)],
            bound: Bound::None,
            flags,
            bytes: &bytes,
        }))
    })
}

fn words() -> Vec<&'static [u8]> {
    vec![
        b"GET / HTTP/1.1\r\n",
        b"HEAD /x HTTP/1.0\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switch\r\n",
        b"Content-Length: 20\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Upgrade: x\r\n",
        b"\r\n",
        b"\n",
        b"5\r\nhello\r\n",
        b"ffffffffffffffff\r\n",
        b"0\r\n\r\n",
        b"\x16\x03\x01\x00\x20\x01\x00\x00\x1c\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x04\x01\x05\0\0\0\x01\x82\x86\x84\xbe",
        b"\0\0\x01\x01\x04\0\0\0\x01\x88",
        b"\0\0\x06\x05\x04\0\0\0\x01\0\0\0\x02\x82\x84",
        b"\0\0\x03\0\x08\0\0\0\x01\x09ab",
        b"\0\0\x05\0\x01\0\0\0\x01hello",
        b"\0\xff\xff\0\0\0\0\0\x03",
        b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
        b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\0\0\x01\x09\0\0\0\0\x01\x82",
    ]
}

#[test]
fn any_events_at_all_do_no_harm_and_the_books_balance() {
    let events = prop::collection::vec(any_event(), 0..60);
    let config = Config {
        cases: 4 * cases(),
        failure_persistence: None,
        ..Config::default()
    };
    let small = Limits {
        connection_memory: 64 * 1024,
        total_memory: 200 * 1024,
        ..limits()
    };
    let result = TestRunner::new(config).run(&events, |events| {
        let mut table = Table::new(small);
        let mut seen = http_support::Seen::default();
        for record in &events {
            let event = decode(record).expect("an event");
            table.handle(&event, &mut seen);
            prop_assert!(table.memory() <= small.total_memory);
        }
        table.tick(KernelTime(u64::MAX), &mut seen);
        table.finish(KernelTime(u64::MAX), &mut seen);
        prop_assert_eq!(table.memory(), 0);
        Ok(())
    });
    if let Err(e) = result {
        panic!("{e}");
    }
}

#[test]
fn raw_bytes_as_streams_never_panic_and_stay_bounded() {
    let streams = prop::collection::vec(
        (
            any::<bool>(),
            prop::collection::vec(prop::sample::select(words()), 1..8),
        ),
        1..20,
    );
    run((views(), streams), |(view, streams)| {
        let steps = streams.into_iter().map(|(request, words)| match request {
            true => http_support::Step::Request(words.concat()),
            false => http_support::Step::Response(words.concat()),
        });
        let fixture = Fixture {
            name: "words",
            steps: steps.collect(),
            transactions: 0,
        };
        let recording = record(&fixture, view, &Cutting::none());
        play(&recording);
        Ok(())
    });
}

/// One exchange of HTTP/1: lengths of the content, and how each end says them.
#[derive(Debug, Clone)]
struct Plan {
    upload: Option<(usize, bool)>,
    download: (usize, bool),
}

/// Bytes that are copied, or the length of content that may be left out.
enum Part {
    Copied(Vec<u8>),
    Content(usize),
}

fn message(head: String, (len, is_chunked): (usize, bool)) -> Vec<Part> {
    if !is_chunked {
        let head = format!("{head}Content-Length: {len}\r\n\r\n");
        return vec![Part::Copied(head.into_bytes()), Part::Content(len)];
    }
    let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let mut parts = vec![Part::Copied(head.into_bytes())];
    for chunk in [len / 3, len - len / 3].into_iter().filter(|n| *n > 0) {
        parts.push(Part::Copied(format!("{chunk:x}\r\n").into_bytes()));
        parts.push(Part::Content(chunk));
        parts.push(Part::Copied(b"\r\n".to_vec()));
    }
    parts.push(Part::Copied(b"0\r\nX-End: yes\r\n\r\n".to_vec()));
    parts
}

/// Both directions of the plans, all requests at once where `pipelined`.
fn directions(plans: &[Plan], pipelined: bool) -> Vec<(bool, Vec<Part>)> {
    let mut all = Vec::new();
    let mut answers = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        let request = match plan.upload {
            Some(content) => message(format!("POST /{n} HTTP/1.1\r\nHost: x\r\n"), content),
            None => vec![Part::Copied(
                format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(),
            )],
        };
        all.push((true, request));
        let answer = message(format!("HTTP/1.1 20{} OK\r\n", n % 3), plan.download);
        match pipelined {
            true => answers.push((false, answer)),
            false => all.push((false, answer)),
        }
    }
    all.extend(answers);
    all
}

/// The records of a connection. `sizes` cuts operations; content is left out where `skip` says so, else copied.
fn record_skips(
    all: &[(bool, Vec<Part>)],
    view: View,
    sizes: &[usize],
    skip: impl FnMut() -> bool,
) -> Recording {
    use plainspan::event::build::EventBuilder;
    let mut skip = skip;
    let mut b = EventBuilder::new(42, 1, view.role);
    if view.tls {
        b = b.over_tls(77);
    }
    let (requests, responses) = match view.role {
        Role::Client => (Dir::Write, Dir::Read),
        Role::Server => (Dir::Read, Dir::Write),
    };
    let before = vec![b.open()];
    let mut data = Vec::new();
    let mut sizes = sizes.iter().copied().cycle();
    for (is_request, parts) in all {
        let dir = if *is_request { requests } else { responses };
        for part in parts {
            let (copied, mut left) = match part {
                Part::Copied(bytes) => (Some(bytes), bytes.len()),
                Part::Content(len) => (None, *len),
            };
            let len = left;
            // A response that is read before its request waits in a backlog, which thousands of tiny operations would fill.
            let least = if copied.is_some() { 1 } else { 64 };
            while left > 0 {
                let n = sizes.next().unwrap_or(1).max(least).min(left);
                let at = len - left;
                match copied {
                    Some(bytes) => {
                        data.extend(
                            b.operation(dir, &bytes[at..at + n], &[])
                                .into_iter()
                                .map(|r| (dir, r)),
                        );
                    }
                    None if skip() => {
                        data.push((dir, b.partial(dir, &[], n as u32, flag::SKIPPED)))
                    }
                    None => {
                        let content = vec![b'x'; n];
                        data.extend(
                            b.operation(dir, &content, &[])
                                .into_iter()
                                .map(|r| (dir, r)),
                        );
                    }
                }
                left -= n;
            }
        }
    }
    let after = vec![if view.tls { b.tls_end() } else { b.eof() }, b.close()];
    Recording {
        before,
        data,
        after,
    }
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let content = || (0usize..5000, any::<bool>());
    let plan = (prop::option::of(content()), content());
    prop::collection::vec(
        plan.prop_map(|(upload, download)| Plan { upload, download }),
        1..5,
    )
}

/// Limits of a configuration that keeps no bodies.
fn without_bodies() -> Limits {
    let mut limits = limits();
    limits.body.capture = false;
    limits
}

#[test]
fn content_of_http_1_that_the_kernel_leaves_out_changes_no_transaction_however_it_is_cut() {
    let choices = || prop::collection::vec(any::<bool>(), 1..40);
    let strategy = (
        views(),
        plans(),
        any::<bool>(),
        sizes(),
        (choices(), choices()),
    );
    run(
        strategy,
        |(view, plans, pipelined, sizes, (skips, order))| {
            let all = directions(&plans, pipelined);
            let whole = record_skips(&all, view, &[usize::MAX], || false);
            let truth = feed(mixed(&whole, &[true, false]), without_bodies());
            prop_assert_eq!(truth.transactions.len(), plans.len());
            for (t, plan) in truth.transactions.iter().zip(&plans) {
                let size = t.response.as_ref().map(|r| r.body.size());
                prop_assert_eq!(size, Some(plan.download.0 as u64));
            }
            let mut skips = skips.iter().cycle();
            let recording = record_skips(&all, view, &sizes, || skips.next() == Some(&true));
            let seen = feed(mixed(&recording, &order), without_bodies());
            prop_assert!(seen.transactions.iter().all(Transaction::complete));
            prop_assert_eq!(dumps(&seen), dumps(&truth));
            prop_assert!(seen.lost.is_empty());
            Ok(())
        },
    );
}

#[test]
fn with_lost_events_beside_content_that_was_left_out_each_transaction_is_right_or_marked() {
    let choices = |p| prop::collection::vec(prop::bool::weighted(p), 1..40);
    let strategy = (views(), plans(), sizes(), choices(0.7), choices(0.15));
    run(strategy, |(view, plans, sizes, skips, drops)| {
        let all = directions(&plans, false);
        let whole = record_skips(&all, view, &[usize::MAX], || false);
        let mut truth = dumps(&feed(mixed(&whole, &[true, false]), without_bodies()));
        let mut skips = skips.iter().cycle();
        let mut recording = record_skips(&all, view, &sizes, || skips.next() == Some(&true));
        let mut drop = drops.iter().cycle();
        recording.data.retain(|_| drop.next() != Some(&true));
        let records = recording.before.iter().map(|r| &r[..]);
        let records = records.chain(recording.data.iter().map(|(_, r)| &r[..]));
        let seen = feed(
            records.chain(recording.after.iter().map(|r| &r[..])),
            without_bodies(),
        );
        for t in seen.transactions.iter().filter(|t| t.complete()) {
            let got = dump(t, false);
            let at = truth.iter().position(|want| *want == got);
            prop_assert!(at.is_some(), "not true and not marked: {got:#}");
            truth.remove(at.unwrap_or(0));
        }
        Ok(())
    });
}
