//! Streams whose process ends.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn exit(b: &EventBuilder) -> Vec<u8> {
    encode(&Event::Exit {
        time: b.now,
        pid: 7,
    })
}

fn tick(bench: &mut Bench, b: &EventBuilder, later: u64) {
    bench
        .table
        .tick(KernelTime(b.now.0 + later), &mut bench.seen);
}

#[test]
fn an_exit_ends_the_tls_streams_of_its_process() {
    let mut bench = Bench::new();
    let mut b = client().over_tls(3);
    let mut other = EventBuilder::new(8, 2, Role::Client).over_tls(4);
    bench.feed_all([
        b.open(),
        b.data(Write, GET),
        other.open(),
        other.data(Write, GET),
        exit(&b),
    ]);
    assert_eq!(bench.take(), [row("GET", 0, "response_missing")]);
    bench.feed(&other.data(Read, OK));
    assert_eq!(bench.take(), [row("GET", 200, "")]);
}

#[test]
fn a_socket_that_is_not_known_to_be_open_ends_with_its_process() {
    let mut bench = Bench::new();
    let mut b = client();
    bench.feed_all([b.open(), b.data(Write, GET)]);
    bench.table.sockets.clear();
    bench.feed(&exit(&b));
    assert_eq!(bench.take(), [row("GET", 0, "response_missing")]);
}

#[test]
fn a_socket_ends_after_its_process_and_what_was_lost_last_counts() {
    let mut bench = Bench::new();
    let mut b = client();
    bench.feed_all([b.open(), b.data(Write, GET), b.data(Read, OK)]);
    let _lost = [b.data(Write, GET), b.data(Read, OK)];
    bench.feed_all([exit(&b), b.close()]);
    assert_eq!(bench.take(), [row("GET", 200, "")]);
    assert_eq!(bench.seen.lost, [(Lost::RingFull, 1)]);
    assert_eq!(bench.table.open(), 0);
    tick(&mut bench, &b, 10 * SECOND);
    assert!(bench.table.orphans.is_empty());
}

#[test]
fn a_socket_whose_end_is_lost_ends_a_while_after_its_process() {
    let mut bench = Bench::new();
    let mut b = client();
    bench.feed_all([b.open(), b.data(Write, GET), exit(&b)]);
    tick(&mut bench, &b, SECOND);
    assert!(bench.take().is_empty());
    tick(&mut bench, &b, 3 * SECOND);
    assert_eq!(bench.take(), [row("GET", 0, "response_missing")]);
    assert!(bench.table.pairs.is_empty() && bench.table.orphans.is_empty());
}

#[test]
fn a_socket_that_another_process_has_too_goes_on() {
    let mut bench = Bench::new();
    let mut b = client();
    bench.feed_all([b.open(), b.data(Write, GET), exit(&b)]);
    b.wait(1_000_000);
    b.pid = 9;
    bench.feed(&b.data(Read, OK));
    assert_eq!(bench.take(), [row("GET", 200, "")]);
    tick(&mut bench, &b, 10 * SECOND);
    assert_eq!(bench.table.pairs.len(), 1);
}
