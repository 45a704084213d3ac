use super::*;
use crate::telemetry::ledger::Lost;
use crate::transaction::{Content, Mark};

#[derive(Default)]
struct Seen(Vec<Exchange>);

impl Sink for Seen {
    fn exchange(&mut self, exchange: Exchange, _: Dir, _: u64) {
        self.0.push(exchange);
    }

    fn lost(&mut self, _: Lost, _: u64) {}
}

const LIMITS: BodyLimits = BodyLimits {
    capture: true,
    max_bytes: 1000,
};

/// Some bytes, without an offset.
fn piece(bytes: &[u8], turn: u32, op_start: bool) -> Piece<'_> {
    let stamp = Stamp {
        time: KernelTime(u64::from(turn) + 1),
        pid: 1,
        tid: 1,
        turn,
    };
    Piece {
        bytes,
        offset: None,
        op_start,
        stamp,
    }
}

#[test]
fn a_response_whose_status_line_is_cut_ends_the_guessed_content_of_the_one_before() {
    let (mut session, mut seen) = (Session::new(LIMITS, true), Seen::default());
    // The second response's status line comes in two pieces, in what looks like content that ends by close.
    let steps: [(Dir, u32, bool, &[u8]); 6] = [
        (Dir::Read, 1, true, b"HTTP/1.1 200 OK\r\n\r\n"),
        (Dir::Write, 2, true, b"GET /2 HTTP/1.1\r\n\r\n"),
        (Dir::Read, 3, true, b"HTTP/1.1 2"),
        (Dir::Read, 3, false, b"02 OK\r\nContent-Length: 0\r\n\r\n"),
        (Dir::Write, 4, true, b"GET /3 HTTP/1.1\r\n\r\n"),
        (
            Dir::Read,
            5,
            true,
            b"HTTP/1.1 203 OK\r\nContent-Length: 0\r\n\r\n",
        ),
    ];
    for (dir, turn, op_start, bytes) in steps {
        session.bytes(dir, piece(bytes, turn, op_start), &mut seen);
    }
    session.end(Ending::Closed, 0, &mut seen);
    // The first one's request is not known; the others are pairs that belong together.
    let statuses = |e: &Exchange| e.response.as_ref().and_then(Message::status);
    let pairs: Vec<_> = seen.0.iter().map(|e| (target(e), statuses(e))).collect();
    assert_eq!(
        pairs,
        [
            (None, Some(200)),
            (Some("/2".to_owned()), Some(202)),
            (Some("/3".to_owned()), Some(203)),
        ]
    );
}

#[test]
fn what_is_no_response_in_the_direction_of_responses_marks_the_next_one_however_it_is_cut() {
    // A status line that breaks off: what follows it is the rest of its line, or a response.
    let steps: [(Dir, &[u8]); 4] = [
        (Dir::Write, b"GET /1 HTTP/1.1\r\n\r\n"),
        (Dir::Read, b"HTTP/1.0 2\0\0"),
        (Dir::Read, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Dir::Read, b"HTTP/1.1 201 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    for size in [1000, 6, 1] {
        let (mut session, mut seen) = (Session::new(LIMITS, false), Seen::default());
        for (turn, (dir, bytes)) in (0..).zip(steps) {
            for (number, bytes) in bytes.chunks(size).enumerate() {
                session.bytes(dir, piece(bytes, turn, number == 0), &mut seen);
            }
        }
        session.end(Ending::Closed, 0, &mut seen);
        assert!(
            seen.0.iter().all(|e| !e.marks.is_empty()),
            "pieces of {size}"
        );
    }
}

#[test]
fn a_tunnel_whose_server_sends_the_requests_ends_too() {
    let (mut session, mut seen) = (Session::new(LIMITS, false), Seen::default());
    // Behind a switch that nobody was seen to ask for, a request that asks to switch comes the other way.
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    for bytes in [&answer[..], request, b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n"] {
        session.bytes(Dir::Read, piece(bytes, 0, true), &mut seen);
    }
    session.end(Ending::Closed, 0, &mut seen);
    assert_eq!(session.in_progress(), 0);
    assert!(seen.0.iter().filter_map(target).eq(["/", "/2"]));
}

#[test]
fn a_switch_that_nobody_asked_for_leaves_no_request_unsaid() {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let part = b"POST /1 HTTP/1.1\r\nContent-Length: 10\r\n\r\npart";
    let kept = b"PUT /2 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    let rows: [(&[u8], &str, bool); 2] = [(part, "/1", true), (kept, "/2", false)];
    for (request, wanted, cut) in rows {
        let (mut session, mut seen) = (Session::new(LIMITS, false), Seen::default());
        session.bytes(Dir::Write, piece(request, 0, true), &mut seen);
        session.bytes(Dir::Read, piece(switch, 1, true), &mut seen);
        session.end(Ending::Closed, 0, &mut seen);
        let [exchange] = &seen.0[..] else {
            panic!("{} exchanges", seen.0.len());
        };
        assert_eq!(target(exchange).as_deref(), Some(wanted));
        assert_eq!(exchange.status(), Some(101));
        assert_eq!(exchange.marks.has(Mark::RequestCut), cut, "{wanted}");
    }
}

fn target(exchange: &Exchange) -> Option<String> {
    match exchange.request.as_ref()?.content.as_ref()? {
        Content::Request(request) => Some(String::from_utf8_lossy(&request.target).into_owned()),
        Content::Response(_) => None,
    }
}
