//! Transactions as a HAR file.

use crate::payload::{Document, har};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The text of an archive.
pub(super) fn archive<'d>(
    documents: impl Iterator<Item = &'d Document>,
) -> serde_json::Result<String> {
    let mut text = har::head();
    for (index, document) in documents.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(&har::Entry::of(document))?);
    }
    text.push_str(har::TAIL);
    text.push('\n');
    Ok(text)
}

/// Writes a new file, for its owner alone, and says where it is. Nothing that is there already is touched.
pub(super) fn save(name: &Path, text: &str) -> io::Result<PathBuf> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(name)?;
    file.write_all(text.as_bytes())?;
    std::path::absolute(name)
}
