//! `plainspan tail`: transactions as they come, from the running agent.
//!
//! Enters: the feed of the agent's local socket. Leaves: a view on the terminal ([`screen`]), else lines.
//! Holds: it shows what the agent sends, which is redacted; there is no other view. Nothing captured moves a cursor.

mod attach;
mod lines;
mod screen;

use super::args::TailArgs;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Why the view ends before it was told to.
#[derive(Debug, thiserror::Error)]
enum TailError {
    #[error(transparent)]
    Attach(#[from] attach::AttachError),
    #[error(
        "the agent ended the connection: it stopped, or was started anew; run this again once it runs"
    )]
    Ended,
    #[error("cannot write: {0}")]
    Write(std::io::Error),
    #[error("the terminal cannot be used: {0}; --lines needs none")]
    Terminal(std::io::Error),
}

/// 0: ended by its user; 1: no agent, or it went; 2: the filter cannot be used.
pub fn tail(args: &TailArgs) -> ExitCode {
    let lines = args.lines || args.json || args.count.is_some() || !std::io::stdout().is_terminal();
    let done = match lines {
        true => lines::run(args),
        false => screen::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(TailError::Attach(error @ attach::AttachError::Refused(_))) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
