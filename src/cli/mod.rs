//! The command line: what a person types, and what each command prints.
//!
//! Enters: arguments, environment. Leaves: an exit code (0 fine, 1 failed, 2 wrong usage or configuration).
//! Holds: stdout is data, stderr is for people and logs.

pub mod args;
pub mod check;
pub mod doctor;
pub mod payload;
pub mod reload;
pub mod rules;
pub mod run;
mod status;
pub mod tail;

use args::{Cli, Command};
use std::process::ExitCode;

/// Does what the command line says.
pub fn dispatch(cli: &Cli) -> ExitCode {
    match &cli.command {
        Command::Run(args) => run::run(args, cli.log),
        Command::Check(args) => check::check(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Reload(args) => reload::reload(args),
        Command::Tail(args) => tail::tail(args),
        Command::Rules(command) => rules::rules(command),
        Command::Payload(command) => payload::payload(command),
    }
}
