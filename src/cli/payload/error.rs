//! What can go wrong between a link and what is written.

use super::super::check::ConfigError;
use crate::payload::curl::CurlError;
use crate::payload::{DocumentError, SelectError, escaped};
use crate::sink::payload::StartError;
use crate::sink::payload::segment::ReadError;
use std::io;
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    // Wrong usage or configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(
        "{url} is in no store that is known: give the agent's configuration with -c, which has its credentials"
    )]
    NoConfig { url: String },
    #[error(
        "{url} belongs to no object store of the configuration, so nothing was sent there; its stores: {stores}"
    )]
    Foreign { url: String, stores: String },
    #[error("{url} is no file:// URL of this host")]
    NoFile { url: String },
    #[error("the configuration has no object store {0}")]
    NoStore(String),
    #[error("object store `{id}` keeps nothing that could be read again")]
    Nothing { id: String },
    #[error("{url} names many transactions: give one of their links (`plainspan payload list`)")]
    Many { url: String },
    // What a store says, and what was there.
    #[error(transparent)]
    Start(Box<StartError>),
    #[error("{place}: {what}")]
    Store { place: String, what: String },
    #[error("{place}: {source}")]
    File { place: String, source: io::Error },
    #[error("{place}: {what}")]
    Unfit { place: String, what: &'static str },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("there is no line for curl: {0}")]
    Curl(#[from] CurlError),
    #[error("the document has no body of the {side}: {why}")]
    NoBody { side: &'static str, why: String },
    #[error("the body is no text: send it to a file or a pipe, not to a terminal")]
    Binary,
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

impl From<StartError> for PayloadError {
    fn from(error: StartError) -> Self {
        PayloadError::Start(Box::new(error))
    }
}

impl PayloadError {
    /// Says it on stderr. 1: it failed; 2: it was asked wrongly; 0: nobody reads on, so all was read that was asked for.
    pub fn tell(&self) -> ExitCode {
        use PayloadError as E;
        if let E::Write(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {}", escaped_lines(&self.to_string()));
        match self {
            E::Config(_)
            | E::Select(_)
            | E::NoConfig { .. }
            | E::Foreign { .. }
            | E::NoFile { .. }
            | E::NoStore(_)
            | E::Nothing { .. }
            | E::Many { .. } => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Problems of a configuration have many lines.
fn escaped_lines(text: &str) -> String {
    let lines: Vec<String> = text
        .trim_end()
        .lines()
        .map(|l| escaped(l.as_bytes()))
        .collect();
    lines.join("\n")
}
