//! Files of a spool, numbered in the order they were begun.

use super::{SpoolError, Tally, record};
use bytes::Bytes;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const ENDING: &str = ".spool";
/// Digits of a name, so that names sort as numbers do.
const DIGITS: usize = 20;

/// One file.
#[derive(Debug)]
pub struct Segment {
    pub number: u64,
    pub bytes: u64,
    /// What in it waits.
    pub left: Tally,
    /// When the first that waits was written, milliseconds since 1970.
    pub oldest: u64,
}

impl Segment {
    pub fn new(number: u64) -> Segment {
        Segment {
            number,
            bytes: 0,
            left: Tally::default(),
            oldest: 0,
        }
    }
}

pub fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}{ENDING}"))
}

/// None: not the name of such a file.
pub fn number_of(name: &[u8]) -> Option<u64> {
    let digits = name.strip_suffix(ENDING.as_bytes())?;
    let right = digits.len() == DIGITS && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| right)?
        .parse()
        .ok()
}

/// Numbers of all files of a folder, in their order.
///
/// # Errors
/// When the folder cannot be listed.
pub fn numbers(folder: &Path) -> Result<Vec<u64>, SpoolError> {
    let listed = std::fs::read_dir(folder).and_then(|entries| {
        let names = entries.map(|entry| Ok(entry?.file_name()));
        names.collect::<io::Result<Vec<_>>>()
    });
    let names = listed.map_err(|source| SpoolError::Io {
        path: folder.to_owned(),
        action: "list it",
        source,
    })?;
    let numbers = names
        .iter()
        .filter_map(|name| number_of(name.as_encoded_bytes()));
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a new one, for its owner alone.
pub fn create(folder: &Path, number: u64) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path(folder, number))
}

/// The file that is read, whole in memory.
#[derive(Debug)]
pub struct Front {
    pub number: u64,
    pub bytes: Bytes,
    /// Up to where it was read.
    pub at: usize,
    file: File,
}

impl Front {
    /// # Errors
    /// When it cannot be read, or is no file.
    pub fn open(folder: &Path, number: u64) -> io::Result<Front> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path(folder, number))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Front {
            number,
            bytes: bytes.into(),
            at: 0,
            file,
        })
    }

    /// The record at `at` needs no sending any more.
    pub fn mark(&self, at: usize) {
        let place = (at + record::MARK_AT) as u64;
        if let Err(error) = self.file.write_all_at(&record::DONE, place) {
            tracing::warn!(%error, "spool: cannot mark a batch as sent; after a restart it is sent again");
        }
    }

    /// Cuts off what is behind `len`.
    pub fn cut(&self, len: usize) -> io::Result<()> {
        self.file.set_len(len as u64)
    }
}
