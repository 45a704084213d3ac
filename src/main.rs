mod math;

use clap::Parser;
use plainspan::cli::{self, args::Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::dispatch(&Cli::parse())
}
