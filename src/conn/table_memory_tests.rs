//! What a table and a connection may hold, and what is given up beyond that.

use super::*;

#[test]
fn what_is_idle_longest_is_given_up_and_counted() {
    let mut bench = Bench::new();
    bench.table.limits.total_memory = 100_000;
    for conn in 1..200 {
        let mut b = EventBuilder::new(1, conn, Role::Client);
        b.wait(conn * 1_000_000);
        bench.feed_all([b.open(), b.data(Write, GET)]);
        assert!(bench.table.memory() <= 100_000);
    }
    let lost: u64 = bench.seen.lost.iter().map(|(_, n)| n).sum();
    assert!(bench.seen.lost.iter().all(|(why, _)| *why == Lost::Evicted));
    bench.table.finish(KernelTime(1), &mut bench.seen);
    assert!(lost > 0);
    assert_eq!(lost + bench.take().len() as u64, 199);
}

#[test]
fn what_others_hold_is_of_the_same_memory_up_to_a_half() {
    for (beside, most) in [(40_000, 60_000), (u64::MAX, 50_000)] {
        let mut bench = Bench::new();
        bench.table.limits.total_memory = 100_000;
        bench.table.leave(beside);
        for conn in 1..200 {
            let mut b = EventBuilder::new(1, conn, Role::Client);
            b.wait(conn * 1_000_000);
            bench.feed_all([b.open(), b.data(Write, GET)]);
            assert!(bench.table.memory() <= most);
        }
        assert!(!bench.seen.lost.is_empty());
    }
}

#[test]
fn one_connection_has_a_bound_of_its_own() {
    let mut bench = Bench::new();
    bench.table.limits.connection_memory = 20_000;
    let mut b = client();
    bench.feed_all([
        b.open(),
        b.data(Write, b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n"),
    ]);
    bench.feed(&b.data(Write, &[b'x'; 40_000]));
    assert_eq!(bench.seen.lost, [(Lost::Evicted, 1)]);
    bench.feed_all([
        b.data(Write, &[b'x'; 59_999]),
        b.data(Write, GET),
        b.data(Read, OK),
    ]);
    bench.table.tick(KernelTime(u64::MAX), &mut bench.seen);
    assert_eq!(bench.take(), [row("GET", 200, "")]);
}

#[test]
fn a_body_of_any_length_holds_no_more_than_its_limit() {
    let mut b = client();
    let mut bench = Bench::new();
    bench.feed_all([b.open(), b.data(Write, GET)]);
    bench.feed(&b.data(
        Read,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ));
    let chunk = [&b"4000\r\n"[..], &[b'x'; 0x4000], b"\r\n"].concat();
    for _ in 0..1000 {
        bench.feed(&b.data(Read, &chunk));
        let most = limits().body.max_bytes as u64 + 64 * 1024;
        assert!(bench.table.memory() < most, "{}", bench.table.memory());
    }
    bench.feed(&b.data(Read, b"0\r\n\r\n"));
    let response = bench.last().response.as_ref().expect("seen");
    assert_eq!(response.body.size(), 1000 * 0x4000);
    assert_eq!(response.body.bytes().len(), limits().body.max_bytes);
}
