use super::*;
use crate::event::KernelTime;
use crate::proto::Sink;
use crate::telemetry::ledger::Lost;
use crate::transaction::Exchange;
use crate::transaction::{BodyLimits, Content, Stamp};

#[derive(Default)]
struct Seen {
    exchanges: Vec<Exchange>,
    lost: u64,
}

impl Sink for Seen {
    fn exchange(&mut self, exchange: Exchange, _: Dir, _: u64) {
        self.exchanges.push(exchange);
    }

    fn lost(&mut self, _: Lost, transactions: u64) {
        self.lost += transactions;
    }
}

impl Seen {
    /// Target, status, bytes of the request's body, and whether nothing is marked.
    fn told(&self) -> Vec<(String, Option<u16>, u64, bool)> {
        let one = |e: &Exchange| {
            let Some(Content::Request(r)) = e.request.as_ref().and_then(|m| m.content.as_ref())
            else {
                panic!("no request")
            };
            let target = String::from_utf8_lossy(&r.target).into_owned();
            (target, e.status(), r.body.size(), e.marks.is_empty())
        };
        self.exchanges.iter().map(one).collect()
    }
}

const ASK: &[u8] = b"POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 21\r\n\r\n";
const NEXT: &[u8] = b"GET /2 HTTP/1.1\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const DONE: &[u8] = b"HTTP/1.1 204 Done\r\n\r\n";

/// Lets operations be seen in the order of `order`; each is one turn after the one before it in `steps`.
fn see(steps: &[(Dir, &[u8])], order: &[usize], ending: Ending) -> Seen {
    let limits = BodyLimits {
        capture: true,
        max_bytes: 1000,
    };
    let mut session = Session::new(limits, false);
    let mut seen = Seen::default();
    for at in order {
        let (dir, bytes) = steps[*at];
        let piece = Piece {
            bytes,
            offset: None,
            op_start: true,
            stamp: Stamp {
                time: KernelTime(*at as u64 + 1),
                pid: 1,
                tid: 1,
                turn: *at as u32,
            },
        };
        session.bytes(dir, piece, &mut seen);
    }
    session.end(ending, 0, &mut seen);
    seen
}

/// Both directions in their own order, in every order against each other.
fn orders(steps: &[(Dir, &[u8])]) -> Vec<Vec<usize>> {
    let of = |dir: Dir| (0..steps.len()).filter(move |at| steps[*at].0 == dir);
    let (reads, writes): (Vec<_>, Vec<_>) = (of(Dir::Read).collect(), of(Dir::Write).collect());
    let mut out = Vec::new();
    for choice in 0..1u32 << steps.len() {
        if choice.count_ones() as usize != reads.len() {
            continue;
        }
        let (mut r, mut w) = (reads.iter(), writes.iter());
        let next = |at: usize| match choice >> at & 1 {
            1 => r.next(),
            _ => w.next(),
        };
        out.push((0..steps.len()).filter_map(next).copied().collect());
    }
    out
}

#[test]
fn a_request_behind_a_refused_body_is_one_of_its_own() {
    let steps: [(Dir, &[u8]); 4] = [
        (Dir::Write, ASK),
        (Dir::Read, REFUSED),
        (Dir::Write, NEXT),
        (Dir::Read, DONE),
    ];
    for order in orders(&steps) {
        let seen = see(&steps, &order, Ending::Closed);
        let want = [
            ("/1".to_owned(), Some(417), 0, true),
            ("/2".to_owned(), Some(204), 0, true),
        ];
        assert_eq!(seen.told(), want, "{order:?}");
        assert_eq!(seen.lost, 0);
    }
}

#[test]
fn a_request_behind_a_refused_body_may_come_in_two_operations() {
    for cut in 1..NEXT.len() {
        let (first, rest) = NEXT.split_at(cut);
        // Of a part of the request line nobody can say for sure that it is no body.
        let sure = first.contains(&b'\n');
        let steps: [(Dir, &[u8]); 5] = [
            (Dir::Write, ASK),
            (Dir::Read, REFUSED),
            (Dir::Write, first),
            (Dir::Write, rest),
            (Dir::Read, DONE),
        ];
        for order in orders(&steps) {
            let told = see(&steps, &order, Ending::Closed).told();
            let want = [
                ("/1".to_owned(), Some(417), 0, sure),
                ("/2".to_owned(), Some(204), 0, true),
            ];
            assert_eq!(told, want, "{cut} {order:?}");
        }
    }
}

#[test]
fn a_body_that_looks_like_a_request_is_a_body_where_100_came() {
    let steps: [(Dir, &[u8]); 4] = [
        (Dir::Write, ASK),
        (Dir::Read, CONTINUE),
        (Dir::Write, b"GET /2 HTTP/1.1\r\n\r\n  "),
        (Dir::Read, DONE),
    ];
    for order in orders(&steps) {
        let seen = see(&steps, &order, Ending::Closed);
        assert_eq!(
            seen.told(),
            [("/1".to_owned(), Some(204), 21, true)],
            "{order:?}"
        );
    }
}

#[test]
fn a_body_that_is_sent_before_the_answer_is_a_body() {
    let seen = see(
        &[
            (Dir::Write, ASK),
            (Dir::Write, b"012345678901234567890"),
            (Dir::Read, DONE),
        ],
        &[0, 1, 2],
        Ending::Closed,
    );
    assert_eq!(seen.told(), [("/1".to_owned(), Some(204), 21, true)]);
}

#[test]
fn a_connection_that_ends_behind_a_refusal_leaves_a_whole_request() {
    for (ending, last) in [
        (Ending::Closed, REFUSED),
        (Ending::Reset, REFUSED),
        (Ending::Closed, &b"HTTP/1.0 413 No\r\n\r\nno"[..]),
    ] {
        let seen = see(&[(Dir::Write, ASK), (Dir::Read, last)], &[0, 1], ending);
        let told = seen.told();
        assert_eq!((told.len(), told[0].2, told[0].3), (1, 0, true), "{told:?}");
    }
    // Without an answer, or with a part of the body, it broke off.
    for steps in [
        vec![(Dir::Write, ASK)],
        vec![
            (Dir::Write, ASK),
            (Dir::Write, &b"0123"[..]),
            (Dir::Read, REFUSED),
        ],
        vec![
            (Dir::Write, ASK),
            (Dir::Read, CONTINUE),
            (Dir::Read, REFUSED),
        ],
    ] {
        let order: Vec<usize> = (0..steps.len()).collect();
        let seen = see(&steps, &order, Ending::Closed);
        assert!(!seen.told()[0].3, "{:?}", seen.told());
    }
}
