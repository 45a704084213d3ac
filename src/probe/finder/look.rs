//! What the lanes do: finding the file behind a mapping, and scanning a file or taking its scan from the cache.

use super::cache::{Cache, CacheError, Key};
use super::file::{Located, locate};
use super::lane::{Lane, Wake};
use super::maps::Mapping;
use crate::probe::elf::{self, Identity, MAX_TIME, Scan, ScanError};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long opening a file may take.
const MAX_LOOK: Duration = Duration::from_secs(5);

/// A scanner that reads and does not come back is given up so long after its own end.
const GRACE: Duration = Duration::from_secs(5);

/// A file and what is in it.
pub struct Scanned {
    pub located: Located,
    pub scan: Result<Scan, ScanError>,
    pub from_cache: bool,
    /// Why an entry of the cache was not believed, or none could be written.
    pub cache_error: Option<CacheError>,
}

/// The two threads that touch files of others.
pub struct Lanes {
    pub looks: Lane<Mapping, io::Result<Located>>,
    pub scans: Lane<Located, Scanned>,
}

impl Lanes {
    /// # Errors
    /// Where no thread can be had.
    pub fn start(proc: PathBuf, cache: Option<Cache>, wake: &Arc<Wake>) -> io::Result<Lanes> {
        let look = move |mapping: Mapping| locate(&proc, &mapping);
        let scan = move |located: Located| scan(cache.as_ref(), located);
        Ok(Lanes {
            looks: Lane::start("finder-look", wake.clone(), MAX_LOOK, look)?,
            scans: Lane::start("finder-scan", wake.clone(), MAX_TIME + GRACE, scan)?,
        })
    }
}

fn scan(cache: Option<&Cache>, located: Located) -> Scanned {
    let mut from_cache = false;
    let mut cache_error = None;
    let scan = match located.open() {
        Ok(file) => {
            let scan = scan_open(cache, &file, (&mut from_cache, &mut cache_error));
            // Code that changed while it was read is that of no file.
            match located.is_unchanged(&file) {
                Ok(true) => scan,
                Ok(false) => Err(ScanError::Read(io::Error::other("it changes"))),
                Err(error) => Err(ScanError::Read(error)),
            }
        }
        Err(error) => Err(ScanError::Read(error)),
    };
    Scanned {
        located,
        scan,
        from_cache,
        cache_error,
    }
}

fn scan_open(
    cache: Option<&Cache>,
    file: &File,
    (from_cache, error): (&mut bool, &mut Option<CacheError>),
) -> Result<Scan, ScanError> {
    let Some(cache) = cache else {
        return elf::scan_file(file);
    };
    let key = Key::new(&Identity::of(file)?, file)?;
    match cache.get(&key, file) {
        Ok(Some(scan)) => {
            *from_cache = true;
            return Ok(scan);
        }
        Ok(None) => {}
        Err(why) => *error = Some(why),
    }
    let began = Instant::now();
    let scan = elf::scan_file(file)?;
    if let Err(why) = cache.put(&key, file, &scan, began.elapsed()) {
        *error = Some(why);
    }
    Ok(scan)
}
