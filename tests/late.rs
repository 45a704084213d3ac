//! An agent that starts at any event of a connection: what it says is true, and what it can't know is marked.

mod http_support;

use http_support::{
    Cutting, Fixture, Recording, Seen, Step, View, dump, feed, fixtures, limits, record,
};
use plainspan::event::build::encode;
use plainspan::event::layout::flag;
use plainspan::event::record::Reader;
use plainspan::event::{ConnOpen, Data, Event, Role, Source, decode};
use plainspan::transaction::Transaction;
use serde_json::Value;
use std::path::Path;

/// The records as an agent gets them that starts before data record number `start`: no hellos, and no offsets from the
/// stream's first byte, except on a plain socket with `exact`.
fn met_late(records: &[Vec<u8>], start: usize, exact: bool) -> Vec<Vec<u8>> {
    let mut number = 0;
    let mut out = Vec::new();
    for record in records {
        match decode(record).expect("an event") {
            Event::Data(data) if data.source == Source::Hello => {}
            Event::Data(data) => {
                number += 1;
                let keep = if exact && data.tls.is_none() {
                    flag::WHOLE
                } else {
                    0
                };
                let flags = data.flags & (!flag::WHOLE | keep);
                // A call that began before the agent is not seen at all.
                if number > start
                    && (data.op_offset == 0
                        || !out.is_empty() && !starts_inside(records, start, &data))
                {
                    out.push(encode(&Event::Data(Data { flags, ..data })));
                }
            }
            Event::ConnOpen(open) => {
                let (role, whole) = (None, false);
                out.push(encode(&Event::ConnOpen(ConnOpen {
                    role,
                    whole,
                    ..open
                })));
            }
            _ => out.push(record.clone()),
        }
    }
    out
}

/// The event is of the operation that was under way before data record number `start`.
fn starts_inside(records: &[Vec<u8>], start: usize, event: &Data<'_>) -> bool {
    let data = records.iter().filter_map(|r| match decode(r) {
        Ok(Event::Data(data)) if data.source != Source::Hello => Some(data),
        _ => None,
    });
    let Some(before) = start.checked_sub(1).and_then(|n| data.into_iter().nth(n)) else {
        return false;
    };
    let operation = |d: &Data<'_>| (d.dir as u8, d.offset - u64::from(d.op_offset));
    operation(&before) == operation(event)
}

fn data_records(records: &[Vec<u8>]) -> usize {
    let is_data =
        |r: &&Vec<u8>| matches!(decode(r), Ok(Event::Data(d)) if d.source != Source::Hello);
    records.iter().filter(is_data).count()
}

/// Every claim of `got` is in `want`: what is absent, empty or 0 claims nothing.
fn fits(got: &Value, want: &Value, marks: &[&str]) -> bool {
    let has = |mark: &str| marks.contains(&mark);
    // A switch to HTTP/2 whose request was not seen stands for itself.
    let status = &got["response"]["status"];
    let interim = want["response"]["interim"].as_array();
    if *status == 101 && has("request_missing") && interim.is_some_and(|all| all.contains(status)) {
        return true;
    }
    // A response that crossed the reset of its stream counts for nothing, but the reset was not seen.
    let reset = |m: &Value| m == "stream_reset";
    let was_reset = want["marks"]
        .as_array()
        .is_some_and(|marks| marks.iter().any(reset));
    if has("request_missing") && was_reset && want["response"].is_null() {
        return got["role"] == want["role"] && got["request"].is_null();
    }
    // Without its request the content of a response is a guess.
    let unasked = has("request_missing") || got["request"]["method"] == "";
    let guess = unasked && matches!(want["request"]["method"].as_str(), Some("HEAD" | "CONNECT"));
    let part = |name: &str, gap: bool| {
        let (got, want) = (&got[name], &want[name]);
        if got.is_null() {
            return true;
        }
        let same =
            |field: &str, nothing: &Value| got[field] == *nothing || got[field] == want[field];
        let empty = Value::from("");
        let fields = |field: &str| {
            let all = want[field].as_array();
            let known = |line: &Value| all.is_some_and(|all| all.contains(line));
            let subset = got[field]
                .as_array()
                .is_some_and(|lines| lines.iter().all(known));
            if has("headers_unknown") {
                subset
            } else {
                got[field] == want[field]
            }
        };
        let text = |v: &Value| v["body"]["bytes"].as_str().unwrap_or_default().to_owned();
        let body = if guess && name == "response" {
            true
        } else if gap {
            text(want).starts_with(&text(got))
        } else {
            got["body"] == want["body"]
        };
        let head = ["method", "target", "reason"]
            .iter()
            .all(|f| same(f, &empty));
        head && same("status", &Value::from(0))
            && body
            && fields("headers")
            && (gap || fields("trailers"))
    };
    got["role"] == want["role"]
        && got["protocol"] == want["protocol"]
        && part("request", has("request_gap") || has("request_cut"))
        && part("response", has("response_gap") || has("response_cut"))
}

/// Checks what an agent says that started before data record number `start`. True: a pair was whole.
fn check(
    name: &str,
    records: &[Vec<u8>],
    start: usize,
    exact: bool,
    truth: &[Transaction],
) -> usize {
    let late = met_late(records, start, exact);
    let seen: Seen = feed(late.iter().map(|r| &r[..]), limits());
    let mut left: Vec<Value> = truth.iter().map(|t| dump(t, false)).collect();
    let mut whole = 0;
    for t in &seen.transactions {
        let got = dump(t, false);
        let marks: Vec<_> = t.marks.iter().map(|m| m.name()).collect();
        let at = left.iter().position(|want| fits(&got, want, &marks));
        let at = at.unwrap_or_else(|| {
            panic!("{name} from {start}: nothing like it happened: {got:#}\nof {left:#?}")
        });
        if t.complete() {
            whole += 1;
            left.remove(at);
        }
    }
    whole
}

fn check_all(name: &str, records: &[Vec<u8>]) {
    let truth = feed(records.iter().map(|r| &r[..]), limits()).transactions;
    for exact in [false, true] {
        for start in 0..data_records(records) {
            let whole = check(name, records, start, exact, &truth);
            assert!(
                start > 0 || whole > 0 || truth.iter().all(|t| !t.complete()),
                "{name}: nothing from its beginning"
            );
        }
    }
}

#[test]
fn from_every_event_of_every_recording_no_pair_is_wrong() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
    let mut recordings = 0;
    for entry in std::fs::read_dir(folder).expect("the fixtures folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        // What follows a switch to a protocol that is not known looks like HTTP to all who did not see the switch.
        if path.extension().is_none_or(|e| e != "events") || name == "upgrade" {
            continue;
        }
        let file = std::fs::File::open(&path).expect("a recording");
        let mut reader = Reader::new(std::io::BufReader::new(file)).expect("an event file");
        let mut records = Vec::new();
        while let Some((_, record)) = reader.read().expect("an undamaged file") {
            records.push(record.to_vec());
        }
        check_all(&name, &records);
        recordings += 1;
    }
    assert!(recordings >= 12, "recordings are missing");
}

/// All records of it, in their order.
fn all_records(recording: Recording) -> Vec<Vec<u8>> {
    let data = recording.data.into_iter().map(|(_, record)| record);
    let records = recording.before.into_iter().chain(data);
    records.chain(recording.after).collect()
}

#[test]
fn from_every_event_of_every_fixture_no_pair_is_wrong_however_it_is_cut() {
    let all = [usize::MAX];
    let cuttings: [(&[usize], &[usize]); 4] = [
        (&all, &all),
        (&[40], &all),
        (&[700, 90], &[300]),
        (&[9, 200], &all),
    ];
    for fixture in fixtures() {
        if matches!(fixture.name, "upgrade" | "big_body") {
            continue;
        }
        for (operations, events) in cuttings {
            for (role, tls) in [(Role::Client, true), (Role::Server, false)] {
                let cutting = Cutting {
                    operations: operations.to_vec(),
                    events: events.to_vec(),
                };
                let recording = record(&fixture, View { role, tls }, &cutting);
                let records = all_records(recording);
                check_all(fixture.name, &records);
            }
        }
    }
}

/// Each request and each response is an operation of its own, and `depth` requests are always sent before an answer.
fn pipelined(depth: usize) -> Fixture {
    let request = |n| format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n");
    let response = |n| format!("HTTP/1.1 200 OK\r\nX-Id: {n}\r\nContent-Length: 1\r\n\r\n{n}");
    let mut steps = Vec::new();
    for batch in 0..3 {
        let numbers = batch * depth..(batch + 1) * depth;
        steps.extend(
            numbers
                .clone()
                .map(|n| Step::Request(request(n).into_bytes())),
        );
        steps.extend(numbers.map(|n| Step::Response(response(n).into_bytes())));
    }
    Fixture {
        name: "pipelined",
        steps,
        transactions: 3 * depth,
    }
}

#[test]
fn requests_that_were_sent_before_the_start_do_not_shift_the_pairs_of_those_after_it() {
    for depth in 1..4 {
        for (role, tls) in [
            (Role::Client, true),
            (Role::Server, true),
            (Role::Client, false),
        ] {
            let recording = record(&pipelined(depth), View { role, tls }, &Cutting::none());
            let records = all_records(recording);
            check_all("pipelined", &records);
            // The second batch on is right wherever in the first the agent starts.
            let truth = feed(records.iter().map(|r| &r[..]), limits()).transactions;
            for start in 0..2 * depth {
                let whole = check("pipelined", &records, start, false, &truth);
                assert!(whole >= 2 * depth, "{depth} from {start}: {whole}");
            }
        }
    }
}
