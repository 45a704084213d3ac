//! Both ends of a connection compute the same ids, and where events are lost joins are missing, never wrong.

mod http_support;

use http_support::{Cutting, Fixture, Seen, View, feed, fixtures, limits, record};
use plainspan::conn::Table;
use plainspan::event::record::Reader;
use plainspan::event::{Dir, Event, KernelTime, Role, decode};
use plainspan::join::Scheme;
use plainspan::transaction::Transaction;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::HashMap;
use std::path::Path;

/// Random cases: `PLAINSPAN_CASES`, else 500 for each fixture.
fn cases() -> u32 {
    match std::env::var("PLAINSPAN_CASES") {
        Ok(text) => text.parse().expect("PLAINSPAN_CASES is a number"),
        Err(_) => 500,
    }
}

type TraceId = [u8; 16];

/// What a request asks for: unknown parts claim nothing.
type Asked = (Vec<u8>, Vec<u8>);

/// Trace id and request of what can be joined.
fn joined(transactions: &[Transaction]) -> Vec<(TraceId, Asked)> {
    let scheme = Scheme::default();
    let of = |t: &Transaction| {
        let known = t.connection.join?;
        let request = t.request.as_ref()?;
        let position = known.position(request)?;
        let ids = scheme.ids(&known.key, position);
        Some((
            ids.trace_id,
            (request.method.clone(), request.target.clone()),
        ))
    };
    transactions.iter().filter_map(of).collect()
}

/// A request on the wire has one trace id, and a trace id one request.
fn truth(transactions: &[Transaction]) -> HashMap<TraceId, Asked> {
    let all = joined(transactions);
    let truth: HashMap<_, _> = all.iter().cloned().collect();
    assert_eq!(
        truth.len(),
        all.len(),
        "two requests of one end share a trace id"
    );
    truth
}

/// Nothing in `seen` claims to be a request that it is not.
fn never_wrong(truth: &HashMap<TraceId, Asked>, seen: &[Transaction], what: &str) {
    let all = joined(seen);
    let mut ids: Vec<TraceId> = all.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "{what}: one request, two spans");
    for (id, (method, target)) in &all {
        let Some((true_method, true_target)) = truth.get(id) else {
            continue;
        };
        assert!(
            (method.is_empty() || method == true_method)
                && (target.is_empty() || target == true_target),
            "{what}: {:?} {:?} is joined with {:?} {:?}",
            String::from_utf8_lossy(method),
            String::from_utf8_lossy(target),
            String::from_utf8_lossy(true_method),
            String::from_utf8_lossy(true_target),
        );
    }
}

fn view(role: Role, tls: bool) -> View {
    View { role, tls }
}

/// One end of a fixture, with the data events left out for which `drop` says so.
fn end(fixture: &Fixture, view: View, cutting: &Cutting, mut drop: impl FnMut() -> bool) -> Seen {
    let recording = record(fixture, view, cutting);
    let hellos = recording.before.iter().filter(|r| {
        let data = matches!(decode(r), Ok(Event::Data(_)));
        !(data && drop())
    });
    let mut records: Vec<&[u8]> = hellos.map(|r| &r[..]).collect();
    records.extend(
        recording
            .data
            .iter()
            .filter(|_| !drop())
            .map(|(_, r)| &r[..]),
    );
    records.extend(recording.after.iter().map(|r| &r[..]));
    feed(records, limits())
}

#[test]
fn both_ends_of_every_connection_give_each_request_the_same_ids() {
    for fixture in fixtures() {
        for tls in [false, true] {
            let none = Cutting::none();
            let client = end(&fixture, view(Role::Client, tls), &none, || false);
            let server = end(&fixture, view(Role::Server, tls), &none, || false);
            let (client, server) = (truth(&client.transactions), truth(&server.transactions));
            assert_eq!(client, server, "{} tls: {tls}", fixture.name);
            assert!(!client.is_empty(), "{} tls: {tls}", fixture.name);
        }
    }
}

#[test]
fn with_lost_events_at_either_end_joins_are_missing_and_never_wrong() {
    let sizes = || prop::collection::vec(1usize..300, 1..12);
    let cuttings =
        || (sizes(), sizes()).prop_map(|(operations, events)| Cutting { operations, events });
    let drops = |share| prop::collection::vec(prop::bool::weighted(share), 1..400);
    let drops = || prop_oneof![drops(0.01), drops(0.15)];
    let config = || Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    };
    for fixture in fixtures().iter().filter(|f| f.name != "big_body") {
        let strategy = (any::<bool>(), cuttings(), cuttings(), drops(), drops());
        let run = TestRunner::new(config()).run(
            &strategy,
            |(tls, at_client, at_server, client_drops, server_drops)| {
                let whole = end(fixture, view(Role::Client, tls), &Cutting::none(), || false);
                let truth = truth(&whole.transactions);
                for (role, cutting, drops) in [
                    (Role::Client, at_client, client_drops),
                    (Role::Server, at_server, server_drops),
                ] {
                    let mut drops = drops.iter().copied().cycle();
                    let seen = end(fixture, view(role, tls), &cutting, || {
                        drops.next().unwrap_or(false)
                    });
                    never_wrong(&truth, &seen.transactions, fixture.name);
                }
                Ok(())
            },
        );
        if let Err(error) = run {
            panic!("{}: {error}", fixture.name);
        }
    }
}

/// Records of a file that real programs made.
fn recording(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
    let file = std::fs::File::open(folder.join(name)).expect("a recording");
    let mut reader = Reader::new(std::io::BufReader::new(file)).expect("an event file");
    let mut records = Vec::new();
    while let Some((_, record)) = reader.read().expect("an undamaged file") {
        records.push(record.to_vec());
    }
    records
}

fn replay<'a>(records: impl Iterator<Item = &'a Vec<u8>>) -> Seen {
    let mut table = Table::new(limits());
    let mut seen = Seen::default();
    for record in records {
        table.handle(&decode(record).expect("an event"), &mut seen);
    }
    table.finish(KernelTime(u64::MAX), &mut seen);
    seen
}

/// By the side that asks, and the side that answers.
fn sides(seen: Seen) -> [Vec<Transaction>; 2] {
    let all = seen.transactions.into_iter();
    let (clients, servers) = all.partition(|t: &Transaction| t.role == Role::Client);
    [clients, servers]
}

const REAL: [&str; 4] = [
    "real_curl_asyncio_tls.events",
    "real_curl_nginx_plain.events",
    "real_curl_nginx_tls.events",
    "real_grpcio_tls.events",
];

#[test]
fn real_programs_meet_in_every_request() {
    for name in REAL {
        let [clients, servers] = sides(replay(recording(name).iter()));
        let (at_clients, at_servers) = (truth(&clients), truth(&servers));
        assert_eq!(at_clients, at_servers, "{name}");
        assert_eq!(at_clients.len(), clients.len(), "{name}");
        assert!(!at_clients.is_empty(), "{name}");
    }
}

#[test]
fn real_programs_with_one_event_in_a_hundred_lost_are_joined_right_or_not_at_all() {
    for name in REAL {
        let records = recording(name);
        let [clients, _] = sides(replay(records.iter()));
        let truth = truth(&clients);
        let (mut found, mut all) = (0, 0);
        for seed in 0..u64::from(cases()) {
            let mut random = fastrand::Rng::with_seed(seed);
            let some = records.iter().filter(|record| {
                let data = matches!(decode(record), Ok(Event::Data(_)));
                !(data && random.u32(0..100) == 0)
            });
            for side in sides(replay(some)) {
                never_wrong(&truth, &side, &format!("{name}, seed {seed}"));
                let known = |(id, _): &(TraceId, Asked)| truth.contains_key(id);
                found += joined(&side).iter().filter(|one| known(one)).count();
                all += truth.len();
            }
        }
        assert!(found * 10 > all * 8, "{name}: {found} of {all} joined");
    }
}

/// The same connection, met late at one end: of a plain one the kernel knows all that is needed.
#[test]
fn a_plain_connection_that_is_older_than_the_agent_is_joined() {
    let fixtures = fixtures();
    let fixture = fixtures
        .iter()
        .find(|f| f.name == "keep_alive")
        .expect("the fixture");
    let whole = end(fixture, view(Role::Client, false), &Cutting::none(), || {
        false
    });
    let truth = truth(&whole.transactions);
    for role in [Role::Client, Role::Server] {
        let recording = record(fixture, view(role, false), &Cutting::none());
        let first_answer = recording
            .data
            .iter()
            .position(|(dir, _)| (*dir == Dir::Read) == (role == Role::Client))
            .expect("an answer");
        let mut records: Vec<Vec<u8>> = Vec::new();
        for record in recording
            .before
            .iter()
            .chain(recording.data.iter().skip(first_answer + 1).map(|(_, r)| r))
        {
            records.push(match decode(record).expect("an event") {
                Event::ConnOpen(open) => {
                    // The kernel programs take an end of unknown role for the one that connected.
                    let more = u32::from(role == Role::Server);
                    let late = plainspan::event::ConnOpen {
                        role: None,
                        whole: false,
                        local_isn: open.local_isn + more,
                        ..open
                    };
                    plainspan::event::build::encode(&Event::ConnOpen(late))
                }
                Event::Data(data) => {
                    let exact = data.dir == Dir::Read;
                    let flags = data.flags & !plainspan::event::layout::flag::WHOLE;
                    let flags = if exact { data.flags } else { flags };
                    plainspan::event::build::encode(&Event::Data(plainspan::event::Data {
                        flags,
                        ..data
                    }))
                }
                _ => record.clone(),
            });
        }
        let seen = replay(records.iter());
        let late = joined(&seen.transactions);
        assert!(
            late.len() + 1 >= truth.len() && !late.is_empty(),
            "{role:?}: {}",
            late.len()
        );
        for (id, asked) in &late {
            assert_eq!(truth.get(id), Some(asked), "{role:?}");
        }
    }
}
