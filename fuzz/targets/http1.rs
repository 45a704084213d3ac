//! A session of HTTP/1 by a script of operations, gaps, ends and time.

use super::input::Input;
use super::session::{self, Out, Session};
use plainspan::event::{Dir, KernelTime};
use plainspan::proto::{Ending, Piece, http1};
use plainspan::transaction::{BodyLimits, Stamp};

/// Memory of a session that was fed nothing, and for each byte fed, in bytes: the shortest request costs an exchange.
const BASE: usize = 64 << 10;
const EACH: usize = 256;

impl Session for http1::Session {
    fn new(limits: BodyLimits, late: bool) -> Self {
        http1::Session::new(limits, late)
    }

    fn bytes(&mut self, dir: Dir, piece: Piece<'_>, out: &mut Out) {
        self.bytes(dir, piece, out);
    }

    fn gap(&mut self, dir: Dir, len: u64, stamp: Stamp, out: &mut Out) {
        self.gap(dir, len, stamp, out);
    }

    fn end_of(&mut self, dir: Dir, out: &mut Out) {
        self.end_of(dir, out);
    }

    fn tick(&mut self, now: KernelTime, out: &mut Out) {
        self.tick(now, out);
    }

    fn end(&mut self, ending: Ending, out: &mut Out) {
        // What HTTP/2 goes on with belongs to another session.
        drop(self.take_upgrade());
        self.end(ending, 0, out);
    }

    fn in_progress(&self) -> u64 {
        self.in_progress()
    }

    fn bound(&mut self, fed: usize, _: &mut Out) {
        let memory = self.memory();
        assert!(memory <= BASE + EACH * fed, "{memory} bytes for {fed}");
    }

    /// Words that a parser looks for.
    fn special(input: &mut Input<'_>) -> Vec<u8> {
        let words: [&[u8]; 16] = [
            b"GET / HTTP/1.1\r\n",
            b"HEAD /x HTTP/1.0\r\n",
            b"CONNECT a:1 HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\n",
            b"Content-Length: 20\r\n",
            b"Content-Length: 18446744073709551615\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Upgrade: websocket\r\nConnection: upgrade\r\n",
            b"\r\n",
            b"5\r\nhello\r\n",
            b"ffffffffffffffff\r\n",
            b"0\r\n\r\n",
            b"\x81\x02hi",
        ];
        let choices = [input.byte(), input.byte(), input.byte()];
        let chosen = choices.map(|c| [words[usize::from(c >> 4)], words[usize::from(c & 15)]]);
        chosen.concat().concat()
    }
}

pub fn run(data: &[u8]) {
    session::run::<http1::Session>(data);
}
