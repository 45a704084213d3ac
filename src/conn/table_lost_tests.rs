//! How many transactions are lost that nothing was seen of.

use super::*;

/// Feeds as many exchanges as there are letters: `s`een, `l`ost as a whole, `r`esponse lost. Transactions, and how many
/// were said to be lost.
fn after(story: &str, mut b: EventBuilder, ends: bool) -> (usize, u64) {
    let mut bench = Bench::new();
    bench.feed(&b.open());
    for what in story.chars() {
        let (request, response) = (b.data(Write, GET), b.data(Read, OK));
        if what != 'l' {
            bench.feed(&request);
        }
        if what == 's' {
            bench.feed(&response);
        }
    }
    if ends {
        if b.tls.is_some() {
            bench.feed(&b.tls_end());
        }
        bench.feed(&b.close());
    }
    bench.table.finish(KernelTime(u64::MAX), &mut bench.seen);
    let why = bench
        .seen
        .lost
        .iter()
        .all(|(why, _)| *why == Lost::RingFull);
    assert!(why, "{:?}", bench.seen.lost);
    let lost = bench.seen.lost.iter().map(|(_, n)| n).sum();
    (bench.take().len(), lost)
}

#[test]
fn without_pipelining_what_is_given_and_what_is_lost_are_all_requests() {
    for story in [
        "ssss", "slls", "llss", "sslll", "srls", "lrrl", "srrrs", "lslslsl", "sllrlls",
    ] {
        let all = story.len() as u64;
        for tls in [false, true] {
            let b = match tls {
                true => client().over_tls(7),
                false => client(),
            };
            let (given, lost) = after(story, b, true);
            assert_eq!(
                given as u64 + lost,
                all,
                "{story}, TLS {tls}: {given} given, {lost} lost"
            );
        }
    }
}

#[test]
fn of_a_connection_that_is_still_open_the_last_ones_are_not_known() {
    let (given, lost) = after("slslll", client(), false);
    assert_eq!((given, lost), (2, 1));
}

#[test]
fn of_a_connection_of_which_nothing_is_seen_nothing_is_said() {
    assert_eq!(after("lll", client(), true), (0, 0));
}

#[test]
fn a_request_whose_end_is_lost_is_not_answered_by_a_response_to_another() {
    let mut bench = Bench::new();
    let mut b = client();
    bench.feed_all([
        b.open(),
        b.data(
            Write,
            b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nhalf of the bod",
        ),
    ]);
    // Its own response too, and the next three requests with the responses of two.
    let _lost = b.data(Write, b"y, and the rest");
    for _ in 0..3 {
        let _lost = [b.data(Read, OK), b.data(Write, GET)];
    }
    bench.feed_all([
        b.data(Read, OK),
        b.data(Write, GET),
        b.data(Read, OK),
        b.close(),
    ]);
    let seen: Vec<(String, u16)> = bench.take().into_iter().map(|(m, s, _)| (m, s)).collect();
    let row = |method: &str, status| (method.to_owned(), status);
    assert_eq!(seen, [row("POST", 0), row("-", 200), row("GET", 200)]);
    assert_eq!(bench.seen.lost, [(Lost::RingFull, 2)]);
}

#[test]
fn what_a_call_brings_after_its_connection_is_over_is_no_loss_of_all_before() {
    let mut bench = Bench::new();
    let mut b = client().over_tls(3);
    bench.feed_all([b.open(), b.data(Write, GET), b.data(Read, OK)]);
    bench.feed_all([b.data(Write, GET), b.data(Read, OK), b.data(Write, GET)]);
    let (in_progress, close) = (b.data(Read, OK), b.close());
    bench.feed_all([close, in_progress, b.data(Read, OK), b.tls_end()]);
    let answered = || row("GET", 200, "");
    let left = row("GET", 0, "response_missing");
    assert_eq!(bench.take(), [answered(), answered(), left]);
    assert_eq!(bench.seen.lost, []);
    let seen = |fate: &&ConnectionFate| **fate == ConnectionFate::Seen;
    assert_eq!(bench.seen.fates.iter().filter(seen).count(), 1);
    assert_eq!(bench.table.open(), 0);
    assert!(bench.table.over.is_empty());
}
