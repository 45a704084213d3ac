//! A line for each transaction, readable or JSON.

use super::attach::Attached;
use super::{TailArgs, TailError};
use crate::payload::escaped_json;
use serde::Deserialize;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// As much of a message as its line needs.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Told {
    Transaction { line: String },
    Missed { count: u64 },
}

/// Writes until the count is full, stdout is closed, or the agent goes.
pub fn run(args: &TailArgs) -> Result<(), TailError> {
    let mut attached = Attached::new(&args.socket, &args.filter, false)?;
    let agent = &attached.agent;
    eprintln!(
        "attached to the agent (pid {}, {})",
        agent.pid, agent.version
    );
    let mut out = io::stdout().lock();
    let terminal = out.is_terminal();
    let mut left = args.count;
    let mut line = String::new();
    while left != Some(0) {
        if !attached.line(&mut line)? {
            return Err(TailError::Ended);
        }
        let text = match attached.read(&line)? {
            Told::Missed { count } => {
                eprintln!("{count} transactions came too fast and are not shown");
                continue;
            }
            Told::Transaction { .. } if args.json && terminal => escaped_json(&line),
            Told::Transaction { .. } if args.json => std::mem::take(&mut line),
            Told::Transaction { line } => line + "\n",
        };
        // Each at once: somebody looks.
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => left = left.map(|left| left - 1),
            // `| head` has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(TailError::Write(error)),
        }
    }
    Ok(())
}
