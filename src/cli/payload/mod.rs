//! `plainspan payload`: reads back what the agent stored.
//!
//! Enters: links, or a store of a configuration. Leaves: documents, archives, lists, reports on stdout.
//! Holds: credentials go only to a configured store, and only for URLs that are its own; a link is one read, two where
//! a body is shared; what is read and held is bounded; what documents become is `crate::payload`'s part.

pub mod args;
mod documents;
mod error;
mod fetch;
mod get;
mod many;
mod names;
mod open;
mod out;
mod places;
mod walk;

use args::PayloadCommand;
use out::Out;
use std::process::ExitCode;

/// 0: done; 1: something could not be read or written; 2: it was asked wrongly, or the configuration cannot be used.
pub fn payload(command: &PayloadCommand) -> ExitCode {
    let out = &mut Out::new();
    let done = match command {
        PayloadCommand::Get(args) => get::get(args, out).map(|()| true),
        PayloadCommand::List(args) => many::list(args, out),
        PayloadCommand::Export(args) => many::export(args, out),
        PayloadCommand::Report(args) => many::report(args, out),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => error.tell(),
    }
}
