//! `plainspan rules`: what the rules of a configuration make of a transaction.
//!
//! Enters: a configuration, and transactions described in JSON. Leaves: text on stdout.
//! Holds: a transaction goes through the stack that the agent would choose for it, and through the same rules.

mod expectations;
mod explain;
mod routes;

use super::args::{ExplainArgs, RulesCommand, RulesTestArgs};
use super::check::{self, ConfigError};
use crate::config::Environment;
use crate::config::file::Reader;
use crate::rules::RulesError;
use crate::rules::described::{Described, DescribedError};
use crate::rules::expr::FIELDS;
use routes::Routes;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes of a description or of a file of expectations, at most.
const MAX_TEXT: u64 = 64 << 20;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum RulesCommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not {what}: {reason}", path.display())]
    Format {
        path: PathBuf,
        what: &'static str,
        reason: String,
    },
    #[error("{}: {error}", path.display())]
    Described {
        path: PathBuf,
        error: DescribedError,
    },
    #[error("the expectation `{name}`: {error}")]
    Expectation { name: String, error: DescribedError },
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// 0: said, and every expectation met; 1: one was not; 2: the configuration or what goes with it cannot be used.
pub fn rules(command: &RulesCommand) -> ExitCode {
    let environment = check::environment();
    let reader = check::reader(&environment);
    let out = &mut io::stdout().lock();
    let done = match command {
        RulesCommand::Explain(args) => explain(args, &environment, reader, out).map(|()| true),
        RulesCommand::Test(args) => test(args, &environment, reader, out),
        RulesCommand::Fields => fields(out).map(|()| true).map_err(RulesCommandError::Write),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // `rules fields | head` closes stdout: what was asked for has been read.
        Err(RulesCommandError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error @ RulesCommandError::Write(_)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {}", error.to_string().trim_end());
            ExitCode::from(2)
        }
    }
}

/// Writes through which stack a transaction goes, which rule of each plugin decides, and why.
///
/// # Errors
/// When a file cannot be read or used, or the text cannot be written.
pub fn explain(
    args: &ExplainArgs,
    environment: &Environment,
    reader: Reader,
    out: &mut dyn Write,
) -> Result<(), RulesCommandError> {
    let config = check::load_file(&args.file, environment, reader)?.config;
    let routes = Routes::new(&config)?;
    let route = routes.of(describe(&args.transaction)?);
    let mut text = String::new();
    route.explain(&config.macros, &mut text);
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a line for each expectation beside the configuration, with an explanation where it is not met. True: all are.
///
/// # Errors
/// When a file cannot be read or used, or the text cannot be written.
pub fn test(
    args: &RulesTestArgs,
    environment: &Environment,
    reader: Reader,
    out: &mut dyn Write,
) -> Result<bool, RulesCommandError> {
    let config = check::load_file(&args.file, environment, reader)?.config;
    let routes = Routes::new(&config)?;
    let path = args.file.with_extension("tests.yaml");
    let expectations = expectations::read(&path)?;
    let mut text = String::new();
    let mut missed = 0;
    for expectation in &expectations {
        let route = routes.of(expectation.describe(&path)?);
        let faults = expectation.faults(&route);
        // Writing to a `String` cannot fail.
        let name = shown(&expectation.name);
        if faults.is_empty() {
            let _always = writeln!(text, "ok      {name}");
            continue;
        }
        missed += 1;
        let faults = shown(&faults.join("; "));
        let _always = writeln!(text, "FAILED  {name}: {faults}");
        route.explain(&config.macros, &mut text);
    }
    let all = expectations.len();
    let _always = writeln!(text, "{} of {all} expectations met", all - missed);
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(missed == 0)
}

fn describe(path: &Path) -> Result<Described, RulesCommandError> {
    let text = read(path)?;
    let value = serde_json::from_str(&text).map_err(|error| RulesCommandError::Format {
        path: path.to_owned(),
        what: "JSON",
        reason: error.to_string(),
    })?;
    Described::new(&value).map_err(|error| RulesCommandError::Described {
        path: path.to_owned(),
        error,
    })
}

fn read(path: &Path) -> Result<String, RulesCommandError> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => io::stdin().lock().take(MAX_TEXT).read_to_string(&mut text),
        false => {
            std::fs::File::open(path).and_then(|file| file.take(MAX_TEXT).read_to_string(&mut text))
        }
    };
    read.map_err(|source| RulesCommandError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(text)
}

/// Text from outside, fit for a terminal.
fn shown(text: &str) -> String {
    text.chars().flat_map(|c| {
        let unsafe_ = c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let (plain, escaped) = if unsafe_ { (None, Some(c.escape_unicode())) } else { (Some(c), None) };
        plain.into_iter().chain(escaped.into_iter().flatten())
    }).collect()
}

/// Writes the table of fields.
///
/// # Errors
/// Those of writing.
pub fn fields(out: &mut dyn Write) -> io::Result<()> {
    for def in FIELDS {
        let name = if def.keyed() {
            format!("{}<name>", def.name)
        } else {
            def.name.to_owned()
        };
        writeln!(
            out,
            "{name:32} {:14} {:26} {}",
            def.ty.describe(),
            def.known.describe(),
            def.meaning
        )?;
    }
    out.flush()
}
