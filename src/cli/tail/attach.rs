//! The viewer's end of the agent's socket.

use crate::payload::Document;
use crate::sink::live::socket::Reply;
use crate::sink::live::{Refused, VERSION, Watch};
use serde::Deserialize;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the agent may take to say hello.
const PATIENCE: Duration = Duration::from_secs(10);
/// A line holds at most two bodies of 1 GiB as base64, and no honest agent sends such.
const MAX_LINE: u64 = 4 << 30;

/// Why nothing can be seen.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(
        "no agent is there: nothing listens at {0}; start one with `sudo plainspan run`, or name its live.socket with --socket"
    )]
    NoAgent(PathBuf),
    #[error(
        "{0} may be opened by root, and by the user that the agent runs as, alone: try `sudo plainspan tail`"
    )]
    NotAllowed(PathBuf),
    #[error("{}", .0.reason)]
    Refused(Refused),
    #[error("what answers at {path} is no agent of this version: {reason}")]
    Unknown { path: PathBuf, reason: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// What is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub version: String,
    pub pid: u32,
}

/// One line of the agent.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Told {
    Transaction(Box<Shown>),
    Missed { count: u64 },
}

/// A transaction.
#[derive(Debug, Deserialize)]
pub struct Shown {
    /// Its readable line.
    pub line: String,
    /// Name of the process.
    pub process: String,
    /// As `error.type`.
    pub error: Option<String>,
    pub route: Option<String>,
    pub payload: Option<Payload>,
    pub document: Document,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Payload {
    pub url: Option<String>,
    pub status: String,
}

/// A connection to the agent.
pub struct Attached {
    pub agent: Agent,
    reader: BufReader<UnixStream>,
    path: PathBuf,
}

impl Attached {
    /// Asks the agent at `path` for what fits `filter`.
    ///
    /// # Errors
    /// When there is none, it refuses, or it is another program.
    pub fn new(path: &Path, filter: &str, recent: bool) -> Result<Attached, AttachError> {
        let io = |source: io::Error| match source.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => AttachError::NoAgent(path.into()),
            ErrorKind::PermissionDenied => AttachError::NotAllowed(path.into()),
            _ => AttachError::Io {
                path: path.into(),
                source,
            },
        };
        let mut stream = UnixStream::connect(path).map_err(io)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(io)?;
        let watch = Watch {
            version: VERSION,
            filter: filter.to_owned(),
            recent,
        };
        let unknown = |reason: &dyn std::fmt::Display| AttachError::Unknown {
            path: path.into(),
            reason: reason.to_string(),
        };
        let mut line = serde_json::to_string(&watch).map_err(|error| unknown(&error))?;
        line.push('\n');
        stream.write_all(line.as_bytes()).map_err(io)?;
        let mut reader = BufReader::new(stream);
        line.clear();
        (&mut reader)
            .take(MAX_LINE)
            .read_line(&mut line)
            .map_err(io)?;
        if line.is_empty() {
            return Err(unknown(&"it said nothing"));
        }
        match serde_json::from_str(&line).map_err(|error| unknown(&error))? {
            Reply::Hello { agent, pid, .. } => {
                reader.get_ref().set_read_timeout(None).map_err(io)?;
                Ok(Attached {
                    agent: Agent {
                        version: agent,
                        pid,
                    },
                    reader,
                    path: path.into(),
                })
            }
            Reply::Refused(refused) => Err(AttachError::Refused(refused)),
        }
    }

    /// The stream, to end it from elsewhere.
    pub fn stream(&self) -> io::Result<UnixStream> {
        self.reader.get_ref().try_clone()
    }

    /// The next line as it came, in place of what `line` held. False: the agent ended the connection.
    pub fn line(&mut self, line: &mut String) -> Result<bool, AttachError> {
        line.clear();
        let read = (&mut self.reader).take(MAX_LINE).read_line(line);
        match read {
            Ok(_) if line.ends_with('\n') => Ok(true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(source) => Err(AttachError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// What a line says.
    pub fn read<'l, T: Deserialize<'l>>(&self, line: &'l str) -> Result<T, AttachError> {
        serde_json::from_str(line).map_err(|error| AttachError::Unknown {
            path: self.path.clone(),
            reason: error.to_string(),
        })
    }
}
