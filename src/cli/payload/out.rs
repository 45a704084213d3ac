//! stdout: data, byte for byte; on a terminal nothing that a terminal obeys.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

pub struct Out {
    out: BufWriter<StdoutLock<'static>>,
    pub terminal: bool,
}

impl Out {
    pub fn new() -> Out {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Out {
            out: BufWriter::with_capacity(64 << 10, stdout.lock()),
            terminal,
        }
    }

    /// # Errors
    /// Those of writing; so of all that follow.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// A line of text that is fit for a terminal already.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// JSON. On a terminal what JSON lets through and a terminal would obey is escaped, as JSON does it.
    pub fn json(&mut self, json: &[u8]) -> io::Result<()> {
        if !self.terminal {
            return self.raw(json);
        }
        let text = String::from_utf8_lossy(json);
        self.raw(crate::payload::escaped_json(&text).as_bytes())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
