use clap::Parser;
use plainspan::cli::{self, args::Cli};
use std::process::ExitCode;

/// What one thread makes another frees, several times a transaction: this allocator has no lock for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::dispatch(&Cli::parse())
}
