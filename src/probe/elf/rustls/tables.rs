//! Tables of methods (vtables): pointer to the drop function or 0, size, alignment, then the methods. Before Rust 1.74 or
//! so, a pointer to the table of a trait without methods stands in front of them.

use super::leaves;
use crate::probe::elf::ScanError;
use crate::probe::elf::bytes::{ReadAt, u64_at};
use crate::probe::elf::image::{Image, Use};
use crate::probe::target::RustlsSuite;
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// Where methods begin in a table, bytes.
const METHODS: u64 = 24;
/// How far before the table of `MessageEncrypter` that of the suite's `MessageDecrypter` stands, in every program seen.
const APART: u64 = 0x38;
/// How far from it other places for it are looked at, bytes.
const AROUND: u64 = 0x60;
/// Tables that are looked at. A program has some dozens.
const MAX: usize = 1024;
/// The largest object of a suite, bytes: keys and what they are expanded to.
const MAX_OBJECT: u64 = 4096;

/// Size of an object that holds a key of ring, and what else rustls has of it, bytes; it is aligned as ring's keys are.
const KEY_OBJECT: RangeInclusive<u64> = 256..=1024;
const KEY_ALIGNMENT: u64 = 16;
/// Objects of such a size that have a table. A large program has hundreds.
const MAX_KEY_OBJECTS: usize = 8192;

/// A table that ends as that of a `MessageEncrypter` does, and functions that may be the `decrypt` that goes with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub suite: RustlsSuite,
    /// Entry of `encrypt`.
    pub encrypt: u64,
    /// Entries, with whether their table stands where it always does; that one first.
    pub decrypts: Vec<(bool, u64)>,
}

/// All in the file, in the order of their addresses.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Vec<Table>, ScanError> {
    let leaves = leaves::find(image)?;
    let mut starts: Vec<(u64, RustlsSuite)> = Vec::new();
    image.pointers(|at, to| {
        // `encrypt` stands before it.
        if let Some(suite) = leaves.get(&to)
            && let Some(start) = at.checked_sub(METHODS + 8)
        {
            starts.push((start, *suite));
        }
        match starts.len() > MAX {
            true => Err(ScanError::TooLarge),
            false => Ok(()),
        }
    })?;
    starts.sort_unstable_by_key(|(start, _)| *start);
    let addresses: Vec<u64> = starts.iter().map(|(start, _)| *start).collect();
    let words = words(image, &addresses)?;
    let mut tables = Vec::new();
    for (start, suite) in starts {
        tables.extend(table(image, &words, start, suite)?);
    }
    Ok(tables)
}

/// Entries of the first methods of objects that may hold a key of ring.
pub fn of_keys<B: ReadAt>(image: &Image<'_, B>) -> Result<Vec<u64>, ScanError> {
    let mut starts = Vec::new();
    for region in [Use::Constants, Use::Variables]
        .into_iter()
        .flat_map(|of| image.loaded(of))
    {
        let mut before = 0;
        region
            .part("data")
            .entries(image.bytes(), 8, |index, word| {
                let word = u64_at(word, 0).unwrap_or_default();
                if word == KEY_ALIGNMENT && KEY_OBJECT.contains(&before) && before % 16 == 0 {
                    let start = region.address.checked_add(8 * index);
                    starts.extend(start.and_then(|at| at.checked_sub(16)));
                }
                before = word;
                match starts.len() > MAX_KEY_OBJECTS {
                    true => Err(ScanError::TooLarge),
                    false => Ok(()),
                }
            })?;
    }
    starts.sort_unstable();
    let words = words(image, &starts)?;
    let is_code = |to: &&u64| image.file_offset(**to).is_some();
    let method = |start: u64| {
        let first = words.get(&start.checked_add(METHODS)?)?;
        let second = || words.get(&start.checked_add(METHODS + 8)?).filter(is_code);
        Some(first).filter(is_code).or_else(second).copied()
    };
    let mut methods: Vec<u64> = starts.into_iter().filter_map(method).collect();
    methods.sort_unstable();
    methods.dedup();
    Ok(methods)
}

/// Pointers around the tables, by where they stand. `starts` are in order.
fn words<B: ReadAt>(image: &Image<'_, B>, starts: &[u64]) -> Result<HashMap<u64, u64>, ScanError> {
    let mut words = HashMap::new();
    let reach = AROUND + METHODS + 16;
    image.pointers(|at, to| {
        let next = starts.partition_point(|start| start.saturating_add(reach) < at);
        let near = starts
            .get(next)
            .is_some_and(|start| start.saturating_sub(reach) <= at);
        if near {
            words.insert(at, to);
        }
        Ok(())
    })?;
    Ok(words)
}

fn table<B: ReadAt>(
    image: &Image<'_, B>,
    words: &HashMap<u64, u64>,
    start: u64,
    suite: RustlsSuite,
) -> Result<Option<Table>, ScanError> {
    let method = |table: u64, index: u64| {
        let slot = table.checked_add(METHODS + 8 * index)?;
        words
            .get(&slot)
            .copied()
            .filter(|to| image.file_offset(*to).is_some())
    };
    let Some(encrypt) = method(start, 0).filter(|_| is_object(image, start)) else {
        return Ok(None);
    };
    let usual = start.checked_sub(APART);
    let others = (start.saturating_sub(AROUND)..=start.saturating_add(AROUND)).step_by(8);
    let places = usual
        .into_iter()
        .chain(others.filter(|at| Some(*at) != usual));
    let mut decrypts = Vec::new();
    for at in places.filter(|at| *at != start) {
        // One method alone.
        if let (Some(decrypt), None) = (method(at, 0), method(at, 1))
            && is_object(image, at)
        {
            decrypts.push((Some(at) == usual, decrypt));
        }
    }
    Ok(Some(Table {
        suite,
        encrypt,
        decrypts,
    }))
}

/// Whether size and alignment are those of an object. What cannot be read is none.
fn is_object<B: ReadAt>(image: &Image<'_, B>, table: u64) -> bool {
    let numbers = table
        .checked_add(8)
        .and_then(|at| image.at(at, 16, "a table of methods").ok()?);
    let numbers = numbers.unwrap_or_default();
    match (u64_at(&numbers, 0), u64_at(&numbers, 8)) {
        (Some(size @ 1..MAX_OBJECT), Some(align @ 1..=64)) => {
            align.is_power_of_two() && size.is_multiple_of(align)
        }
        _ => false,
    }
}
