//! Recorded event files: raw kernel records, as they came out of the rings.
//!
//! A file holds plaintext of TLS connections: who may read it may read the traffic.
//!
//! Layout, little-endian: magic `PLAINSPN`, `u16` version of the file format, `u16` version of the records
//! ([`layout::VERSION`]), `u32` zero; then for each record `u8` ring, `u32` length, bytes.

use super::layout;
use std::io::{self, Read, Write};

const MAGIC: [u8; 8] = *b"PLAINSPN";
/// Version of the file format.
pub const VERSION: u16 = 1;
/// Longest record that a ring can hold and a reader takes, in bytes.
pub const RECORD_MAX: u32 = 1 << 20;
const HEADER: usize = 16;

/// The ring that a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    Data,
    Control,
}

/// Why a file can't be read on. Offsets count bytes from the file's beginning.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not an event file: it does not begin with the magic bytes of one")]
    Magic,
    #[error(
        "event file of format version {0}, this program reads version {VERSION}; record it anew"
    )]
    Format(u16),
    #[error(
        "event file with records of version {0}, this program reads version {want}; record it anew",
        want = layout::VERSION
    )]
    Records(u16),
    #[error("the file ends inside the record at offset {offset}; the recording was cut off there")]
    Cut { offset: u64 },
    #[error(
        "ring {ring} of the record at offset {offset} has no meaning; the file is damaged there"
    )]
    Ring { offset: u64, ring: u8 },
    #[error(
        "the record at offset {offset} claims {len} bytes, more than {RECORD_MAX}; the file is damaged there"
    )]
    Long { offset: u64, len: u32 },
    #[error("reading at offset {offset} failed")]
    Io { offset: u64, source: io::Error },
}

/// Writes an event file.
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// What writing to `out` gives.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&layout::VERSION.to_le_bytes())?;
        out.write_all(&[0; 4])?;
        Ok(Writer { out })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// What writing gives; `InvalidInput` for a record longer than [`RECORD_MAX`].
    pub fn write(&mut self, ring: Ring, record: &[u8]) -> io::Result<()> {
        let len = u32::try_from(record.len())
            .ok()
            .filter(|len| *len <= RECORD_MAX)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!(
                        "a record of {} bytes is longer than a ring allows",
                        record.len()
                    ),
                )
            })?;
        self.out.write_all(&[ring as u8])?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(record)
    }

    /// Flushes and gives back what was written to.
    ///
    /// # Errors
    /// What flushing gives.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads an event file record by record.
pub struct Reader<R> {
    input: R,
    offset: u64,
    record: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Begins reading.
    ///
    /// # Errors
    /// When this is not an event file of these versions.
    pub fn new(input: R) -> Result<Self, Error> {
        let mut reader = Reader {
            input,
            offset: 0,
            record: Vec::new(),
        };
        let mut header = [0; HEADER];
        if reader.fill(&mut header)? < HEADER || header[..8] != MAGIC {
            return Err(Error::Magic);
        }
        match u16::from_le_bytes([header[8], header[9]]) {
            VERSION => {}
            other => return Err(Error::Format(other)),
        }
        match u16::from_le_bytes([header[10], header[11]]) {
            layout::VERSION => Ok(reader),
            other => Err(Error::Records(other)),
        }
    }

    /// The next record; None at the end of the file.
    ///
    /// # Errors
    /// When the file is cut or damaged; the error names the offset. Nothing can be read after it.
    pub fn read(&mut self) -> Result<Option<(Ring, &[u8])>, Error> {
        let offset = self.offset;
        let mut head = [0; 5];
        match self.fill(&mut head)? {
            0 => return Ok(None),
            5 => {}
            _ => return Err(Error::Cut { offset }),
        }
        let ring = match head[0] {
            0 => Ring::Data,
            1 => Ring::Control,
            ring => return Err(Error::Ring { offset, ring }),
        };
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        if len > RECORD_MAX {
            return Err(Error::Long { offset, len });
        }
        let mut record = std::mem::take(&mut self.record);
        record.resize(len as usize, 0);
        let got = self.fill(&mut record);
        self.record = record;
        if got? < len as usize {
            return Err(Error::Cut { offset });
        }
        Ok(Some((ring, &self.record)))
    }

    /// Reads until `buffer` is full or the file ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while done < buffer.len() {
            match self.input.read(&mut buffer[done..]) {
                Ok(0) => break,
                Ok(n) => {
                    done += n;
                    self.offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(Error::Io {
                        offset: self.offset,
                        source,
                    });
                }
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut w = Writer::new(Vec::new()).expect("a vector takes all");
        w.write(Ring::Control, b"open").expect("written");
        w.write(Ring::Data, b"").expect("written");
        w.finish().expect("flushed")
    }

    fn error_of(file: &[u8]) -> String {
        let mut reader = match Reader::new(file) {
            Ok(reader) => reader,
            Err(e) => return e.to_string(),
        };
        loop {
            match reader.read() {
                Ok(Some(_)) => {}
                Ok(None) => return String::new(),
                Err(e) => return e.to_string(),
            }
        }
    }

    #[test]
    fn records_come_back_with_their_ring() {
        let file = file();
        let mut r = Reader::new(&file[..]).expect("an event file");
        assert_eq!(
            r.read().expect("a record"),
            Some((Ring::Control, &b"open"[..]))
        );
        assert_eq!(r.read().expect("a record"), Some((Ring::Data, &b""[..])));
        assert_eq!(r.read().expect("the end"), None);
    }

    #[test]
    fn damage_is_named_with_its_offset() {
        let good = file();
        assert_eq!(error_of(&good), "");
        assert!(error_of(&good[..good.len() - 1]).contains("offset 25"));
        assert!(error_of(&good[..23]).contains("offset 16"));
        let mut bad = good.clone();
        bad[25] = 9;
        assert!(error_of(&bad).contains("ring 9 of the record at offset 25"));
        let mut bad = good.clone();
        bad[20] = 0xff;
        assert!(error_of(&bad).contains("offset 16 claims"));
    }

    #[test]
    fn other_files_and_versions_are_refused() {
        assert!(error_of(b"hello").contains("not an event file"));
        let mut bad = file();
        bad[8] = 9;
        assert!(error_of(&bad).contains("format version 9"));
        let mut bad = file();
        bad[10] = 9;
        assert!(error_of(&bad).contains("records of version 9"));
    }

    #[test]
    fn a_record_too_long_for_a_ring_is_refused() {
        let mut w = Writer::new(Vec::new()).expect("a vector takes all");
        let long = vec![0; RECORD_MAX as usize + 1];
        assert!(w.write(Ring::Data, &long).is_err());
    }
}
