//! `plainspan run`: the main job.

use super::args::{LogArgs, LogFormat, RunArgs, StatusListen};
use super::check;
use crate::agent;
use crate::config::{self, EMBEDDED, Environment, Loaded, file, render};
use crate::telemetry::own;
use std::path::Path;
use std::process::ExitCode;

/// 0: stopped as told; 1: this host cannot run it, or a part could not be started; 2: the configuration cannot be used.
pub fn run(args: &RunArgs, log: LogArgs) -> ExitCode {
    let environment = check::environment();
    let loaded = match &args.config {
        Some(path) => load(path, &environment),
        None => config::embedded(&environment)
            .map_err(|problems| check::ConfigError::Problems(render(EMBEDDED, &problems))),
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{}", error.to_string().trim_end());
            return ExitCode::from(2);
        }
    };
    if !loaded.warnings.is_empty() {
        eprint!("{}", render(&source(args), &loaded.warnings));
    }
    let options = agent::Options {
        config: loaded.config,
        digest: loaded.digest,
        source: source(args),
        read: args.config.clone().map(|path| -> agent::Reader {
            Box::new(move || load(&path, &environment).map_err(|error| error.to_string()))
        }),
        dry_run: args.dry_run,
        tier: args.tier.unwrap_or_default(),
        record: args.record.clone(),
        status_listen: match args.status_listen {
            StatusListen::Off => None,
            StatusListen::At(address) => Some(address),
        },
        ui: args.ui,
        log_level: log.log_level.name().to_owned(),
        log_format: match log.log_format {
            LogFormat::Text => own::LogFormat::Text,
            LogFormat::Json => own::LogFormat::Json,
        },
    };
    match agent::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration with the keys that it names.
fn load(path: &Path, environment: &Environment) -> Result<Loaded, check::ConfigError> {
    let mut loaded = check::load_file(path, environment, check::reader(environment))?;
    file::load_hash_keys(&mut loaded.config, check::reader(environment))?;
    Ok(loaded)
}

/// What the configuration is called.
fn source(args: &RunArgs) -> String {
    args.config
        .as_ref()
        .map_or(EMBEDDED.to_owned(), |path| path.display().to_string())
}
