//! The format of a spool's files: records, one behind another.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | `FF` `PSB`: no text in UTF-8 has the first |
//! | 4 | version, 1 |
//! | 5–7 | 0 |
//! | 8–11 | length of the content |
//! | 12–15 | length of the request in it |
//! | 16–19 | spans, or log records of transactions |
//! | 20–23 | log records of transactions that last |
//! | 24–31 | when it was written, milliseconds since 1970 |
//! | 32–35 | CRC-32 of the content |
//! | 36–39 | CRC-32 of bytes 0–35 |
//! | 40–43 | `DONE` once it needs no sending any more, else 0; in no checksum |
//! | 44– | content: the request of OTLP, compressed with zstd |
//!
//! Numbers are little-endian. Pure: bytes in, bytes out. Holds: any bytes can be read; what is damaged is told from what
//! is not, and the records before and behind it are found.

use super::Tally;
use memchr::memmem;
use std::io;

/// Bytes in front of the content.
pub const HEADER: usize = 44;
/// Where the mark of a record is, from its beginning.
pub const MARK_AT: usize = 40;
/// The mark of a record that needs no sending any more. Anything else means that it does: sent twice is better than lost.
pub const DONE: [u8; 4] = *b"DONE";
/// Bytes of a request that fits, and of its content. What claims more is not believed.
pub const MOST: usize = 256 << 20;

const MAGIC: [u8; 4] = [0xff, b'P', b'S', b'B'];
const VERSION: u8 = 1;
/// Fast: a spool is written while the destination is down, and the host may be busy.
const LEVEL: i32 = 1;

/// What a record says of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the content.
    pub content: u32,
    /// Bytes of the request.
    pub request: u32,
    pub items: u32,
    pub progress: u32,
    /// Milliseconds since 1970.
    pub written: u64,
    pub crc: u32,
}

impl Header {
    pub fn tally(&self) -> Tally {
        Tally {
            batches: 1,
            items: self.items.into(),
            progress: self.progress.into(),
        }
    }

    fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[8..12].copy_from_slice(&self.content.to_le_bytes());
        out[12..16].copy_from_slice(&self.request.to_le_bytes());
        out[16..20].copy_from_slice(&self.items.to_le_bytes());
        out[20..24].copy_from_slice(&self.progress.to_le_bytes());
        out[24..32].copy_from_slice(&self.written.to_le_bytes());
        out[32..36].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..36]);
        out[36..40].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// None: there is no header at the beginning of these bytes.
    fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..HEADER)?;
        if bytes.get(..5)? != [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], VERSION] {
            return None;
        }
        if u32_at(bytes, 36)? != crc32fast::hash(bytes.get(..36)?) {
            return None;
        }
        let header = Header {
            content: u32_at(bytes, 8)?,
            request: u32_at(bytes, 12)?,
            items: u32_at(bytes, 16)?,
            progress: u32_at(bytes, 20)?,
            written: u64::from(u32_at(bytes, 24)?) | u64::from(u32_at(bytes, 28)?) << 32,
            crc: u32_at(bytes, 32)?,
        };
        let fits = |len: u32| len as usize <= MOST;
        (fits(header.content) && fits(header.request)).then_some(header)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// A record of this request.
///
/// # Errors
/// When it is larger than [`MOST`], or cannot be compressed.
pub fn encode(request: &[u8], tally: Tally, written: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "the batch is too large");
    if request.len() > MOST {
        return Err(too_large());
    }
    let content = zstd::bulk::compress(request, LEVEL)?;
    if content.len() > MOST {
        return Err(too_large());
    }
    let number = |n: u64| u32::try_from(n).map_err(|_| too_large());
    let header = Header {
        content: number(content.len() as u64)?,
        request: number(request.len() as u64)?,
        items: number(tally.items)?,
        progress: number(tally.progress)?,
        written,
        crc: crc32fast::hash(&content),
    };
    let mut record = Vec::with_capacity(HEADER + content.len());
    record.extend_from_slice(&header.encode());
    record.extend_from_slice(&content);
    Ok(record)
}

/// What is at one place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    Record {
        header: Header,
        content: &'a [u8],
    },
    /// It needs no sending any more.
    Done,
    /// What it held is known, what it holds is not right.
    Damaged {
        header: Header,
    },
    /// Nothing that can be read.
    Noise,
}

/// A place and what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    pub at: usize,
    /// Where the next one begins.
    pub end: usize,
    /// It goes on behind the end of the file.
    pub torn: bool,
    pub found: Found<'a>,
}

/// What is at `at`; None: the end of the file.
pub fn step(bytes: &[u8], at: usize) -> Option<Step<'_>> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
    let step = |end, torn, found| {
        Some(Step {
            at,
            end,
            torn,
            found,
        })
    };
    let Some(header) = Header::decode(rest) else {
        let next = next_header(bytes, at + 1);
        return step(next.unwrap_or(bytes.len()), next.is_none(), Found::Noise);
    };
    let done = rest.get(MARK_AT..HEADER) == Some(&DONE);
    let end = at + HEADER + header.content as usize;
    let found = |other| if done { Found::Done } else { other };
    let Some(content) = bytes.get(at + HEADER..end) else {
        // Records behind it are there only where bytes were taken out of the middle.
        let next = next_header(bytes, at + HEADER);
        let end = next.unwrap_or(bytes.len());
        return step(end, next.is_none(), found(Found::Damaged { header }));
    };
    let whole = header.crc == crc32fast::hash(content);
    let other = match whole {
        true => Found::Record { header, content },
        false => Found::Damaged { header },
    };
    step(end, false, found(other))
}

fn next_header(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let mut places = memmem::find_iter(rest, &MAGIC);
    places
        .find(|at| rest.get(*at..).and_then(Header::decode).is_some())
        .map(|at| from + at)
}

/// The request in a record's content.
///
/// # Errors
/// When it is not what the header says, in spite of its checksum.
pub fn request(header: &Header, content: &[u8]) -> io::Result<Vec<u8>> {
    let request = zstd::bulk::decompress(content, header.request as usize)?;
    if request.len() != header.request as usize {
        let text = "the request is shorter than the record says";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tally(items: u64) -> Tally {
        Tally {
            batches: 1,
            items,
            progress: 1,
        }
    }

    /// The requests of whole records, in their order.
    fn requests(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut at = 0;
        let mut all = Vec::new();
        while let Some(step) = super::step(bytes, at) {
            assert!(step.end > at && step.end <= bytes.len(), "{step:?}");
            if let Found::Record { header, content } = step.found {
                all.push(request(&header, content).expect("a whole record"));
            }
            at = step.end;
        }
        all
    }

    fn three() -> (Vec<Vec<u8>>, Vec<u8>) {
        let texts: Vec<Vec<u8>> = [&b"first"[..], b"the second, a little longer", b"3"]
            .map(<[u8]>::to_vec)
            .into();
        let record = |text: &Vec<u8>| encode(text, tally(7), 1_700_000_000_123).expect("a record");
        let bytes = texts.iter().flat_map(record).collect();
        (texts, bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        let (texts, bytes) = three();
        assert_eq!(requests(&bytes), texts);
        let first = step(&bytes, 0).expect("a record");
        let Found::Record { header, .. } = first.found else {
            panic!("{first:?}");
        };
        assert_eq!(
            (header.tally(), header.written),
            (tally(7), 1_700_000_000_123)
        );
    }

    #[test]
    fn after_any_cut_the_records_before_it_are_there_and_the_rest_is_known_as_torn() {
        let (texts, bytes) = three();
        let ends: Vec<usize> = {
            let mut at = 0;
            std::iter::from_fn(|| {
                at = step(&bytes, at)?.end;
                Some(at)
            })
            .collect()
        };
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(requests(&bytes[..cut]), texts[..whole], "cut at {cut}");
            let at = whole.checked_sub(1).map_or(0, |last| ends[last]);
            match step(&bytes[..cut], at) {
                None => assert_eq!(at, cut),
                Some(last) => {
                    assert!(last.torn, "cut at {cut}: {last:?}");
                    let header_there = cut - at >= HEADER;
                    assert_eq!(matches!(last.found, Found::Damaged { .. }), header_there);
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_harms_its_own_record_alone() {
        let (texts, bytes) = three();
        let second = step(&bytes, 0).expect("a record").end;
        let third = step(&bytes, second).expect("a record").end;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                let hit = usize::from(at >= second) + usize::from(at >= third);
                let start = [0, second, third][hit];
                let mut left = texts.clone();
                // In the mark a flipped bit changes nothing.
                if !(MARK_AT..HEADER).contains(&(at - start)) {
                    left.remove(hit);
                }
                assert_eq!(requests(&bytes), left, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_record_that_is_done_is_passed_over() {
        let (texts, mut bytes) = three();
        let second = step(&bytes, 0).expect("a record").end;
        bytes[second + MARK_AT..second + HEADER].copy_from_slice(&DONE);
        assert_eq!(requests(&bytes), [texts[0].clone(), texts[2].clone()]);
    }

    #[test]
    fn records_behind_bytes_that_are_missing_are_found() {
        let (texts, bytes) = three();
        for missing in 1..HEADER + 8 {
            let got = requests(&bytes[missing..]);
            assert_eq!(got, texts[1..], "{missing} bytes missing at the beginning");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..300), header in any::<bool>()) {
            let mut all = if header { three().1 } else { MAGIC.to_vec() };
            all.extend(bytes);
            let wanted = if header { 3 } else { 0 };
            prop_assert_eq!(requests(&all).len(), wanted);
        }

        #[test]
        fn of_scrambled_records_only_true_ones_come_out(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let (texts, mut bytes) = three();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            for request in requests(&bytes) {
                prop_assert!(texts.contains(&request));
            }
        }
    }
}
