//! The writer's thread.

use super::Form;
use super::queue::{Content, Queue};
use crate::telemetry::ledger::Lost;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

/// Bytes that are collected before they are written, while more is there.
const BATCH: usize = 64 << 10;
/// Between two attempts at a stdout that somebody made non-blocking, and that is full.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes what comes until the queue is closed and empty, or `out` fails.
pub fn run(mut out: impl Write, name: &str, form: &Form, queue: &Queue) {
    let mut buffer = Vec::with_capacity(BATCH);
    while let Some(first) = queue.wait() {
        push(&mut buffer, form, first);
        while buffer.len() < BATCH {
            match queue.next() {
                Some(content) => push(&mut buffer, form, content),
                None => break,
            }
        }
        // In one piece: between two of them another sink may write.
        if let Err(error) = out.write_all(&buffer).and_then(|()| out.flush()) {
            queue.end(Lost::Rejected);
            tracing::error!(
                signal = name,
                %error,
                "cannot write to stdout; no more lines are written. Restart the agent with a stdout that is read"
            );
            return;
        }
        queue.written();
        buffer.clear();
        // One huge transaction must not be paid for ever after.
        buffer.shrink_to(2 * BATCH);
    }
}

fn push(buffer: &mut Vec<u8>, form: &Form, content: Content) {
    match content {
        Content::Capture(capture, link) => form.push(buffer, &capture, link.as_ref()),
        Content::Progress(progress) => form.push_progress(buffer, &progress),
        Content::Lines(lines) => buffer.extend_from_slice(&lines),
    }
}

/// The process's stdout. [`Write::write_all`] is one piece for all who write there.
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        patiently(|| io::stdout().flush())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        all(&mut io::stdout().lock(), bytes)
    }
}

/// Writes all of `bytes`; waits where `out` would have blocked, as if it did.
fn all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = patiently(|| out.write(bytes))?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(written..).unwrap_or_default();
    }
    // What the lock's own buffer kept belongs to the piece.
    patiently(|| out.flush())
}

fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes three bytes at a time, and is full or interrupted in between.
    struct Slow {
        taken: Vec<u8>,
        turn: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turn += 1;
            match self.turn % 3 {
                0 => Err(ErrorKind::WouldBlock.into()),
                1 => Err(ErrorKind::Interrupted.into()),
                _ => {
                    let some = bytes.get(..3).unwrap_or(bytes);
                    self.taken.extend_from_slice(some);
                    Ok(some.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_stdout_is_waited_for() {
        let mut out = Slow {
            taken: Vec::new(),
            turn: 0,
        };
        all(&mut out, b"ten bytes!").unwrap();
        assert_eq!(out.taken, b"ten bytes!");
    }
}
