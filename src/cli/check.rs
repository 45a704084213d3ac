//! `plainspan check`: reads a configuration, says everything that is wrong with it.

use super::args::CheckArgs;
use crate::config::file::{self, FileError, Reader};
use crate::config::{Environment, Loaded, Problem, Severity, describe, load, render};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    File(#[from] FileError),
    /// The problems as they are shown, with a last line that counts them.
    #[error("{0}")]
    Problems(String),
}

/// The process's environment, as configurations see it. Variables that are not UTF-8 cannot be referred to.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Who runs this process.
pub fn reader(environment: &Environment) -> Reader {
    // SAFETY: geteuid has no arguments, changes nothing and cannot fail.
    let uid = unsafe { libc::geteuid() };
    Reader {
        uid,
        sudo_uid: environment.get("SUDO_UID").and_then(|id| id.parse().ok()),
    }
}

/// Reads a configuration from a file, with the key files that it names. Warnings are in [`Loaded::warnings`].
///
/// # Errors
/// Why the file cannot be read or is not trusted, or everything that is wrong with it.
pub fn load_file(
    path: &Path,
    environment: &Environment,
    reader: Reader,
) -> Result<Loaded, ConfigError> {
    let name = path.display().to_string();
    let text = file::read(path, reader)?;
    let shown = |problems: Vec<Problem>| ConfigError::Problems(render(&name, &problems));
    let mut loaded = load(&text, &name, environment).map_err(shown)?;
    loaded
        .warnings
        .extend(file::key_file_problems(&loaded.config, reader));
    if loaded
        .warnings
        .iter()
        .any(|p| p.severity == Severity::Error)
    {
        return Err(shown(loaded.warnings));
    }
    Ok(loaded)
}

/// Problems go to stderr, what `--print` asks for to stdout. 0: it can be used; 2: it cannot; 1: nothing can be said,
/// because stdout or stderr cannot be written.
pub fn check(args: &CheckArgs) -> ExitCode {
    let environment = environment();
    let reader = reader(&environment);
    match report(
        args,
        &environment,
        reader,
        &mut io::stdout().lock(),
        &mut io::stderr().lock(),
    ) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        // `check --print | head` closes stdout: what was asked for has been read.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes the report; true: the configuration can be used.
///
/// # Errors
/// Those of writing.
pub fn report(
    args: &CheckArgs,
    environment: &Environment,
    reader: Reader,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<bool> {
    match load_file(&args.file, environment, reader) {
        Ok(loaded) => {
            if args.print {
                out.write_all(describe(&loaded.sources).as_bytes())?;
                out.flush()?;
            }
            err.write_all(render(&args.file.display().to_string(), &loaded.warnings).as_bytes())?;
            Ok(true)
        }
        Err(ConfigError::Problems(shown)) => {
            err.write_all(shown.as_bytes())?;
            Ok(false)
        }
        Err(ConfigError::File(error)) => {
            writeln!(err, "error: {error}")?;
            Ok(false)
        }
    }
}
