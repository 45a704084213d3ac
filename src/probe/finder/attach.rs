//! What the finder needs of the one who attaches probes.

use crate::probe::attach::{Attacher, Attachment};
use crate::probe::count::CallCounts;
use crate::probe::target::Target;
use std::path::Path;

/// Attaches probes to files.
pub trait Attach {
    /// Keeps the probes of one file attached until it is dropped.
    type Link: Send;

    /// Attaches all `targets` of the file at `path`, for every process that maps it. The path may be one of
    /// `/proc/self/fd`: it leads to the file during the call only.
    ///
    /// # Errors
    /// Where the kernel refuses; then nothing stays attached.
    fn attach(&self, path: &Path, targets: &[Target]) -> Result<Self::Link, AttachError>;

    /// What went through the probes so far; None where nobody counts.
    fn counts(&self, _link: &Self::Link) -> Option<CallCounts> {
        None
    }
}

/// Why probes could not be attached. The text says what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AttachError(pub String);

impl Attach for Attacher {
    type Link = Attachment;

    fn attach(&self, path: &Path, targets: &[Target]) -> Result<Attachment, AttachError> {
        Attacher::attach(self, path, targets).map_err(|error| AttachError(error.to_string()))
    }

    fn counts(&self, link: &Attachment) -> Option<CallCounts> {
        link.counts()
    }
}
