//! TLS of an implementation that no finder knows, or that was changed: to be told, not probed.
//!
//! Every implementation holds the labels that keys are derived with: "c hs traffic" and "s hs traffic" (RFC 8446, 7.1)
//! or "client finished" and "key expansion" (RFC 5246, 6.3 and 7.4.9). What holds them reads or writes TLS.

use super::bytes::ReadAt;
use super::image::{Image, Region, Use};
use super::{ScanError, Stack};
use memchr::memmem::Finder;

/// What the user sees of it.
pub const NAME: &str = "unknown";

/// Each row alone tells.
const LABELS: [[&str; 2]; 2] = [
    ["c hs traffic", "s hs traffic"],
    ["client finished", "key expansion"],
];

/// Constants that are looked through, bytes: where there are more, nothing is said.
const MOST: u64 = 128 << 20;

/// A stack without places, with why; `None` where there are no labels.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    match holds_labels(image) {
        Ok(true) => Ok(Some(Stack {
            name: NAME,
            version: None,
            targets: Vec::new(),
            placements: Vec::new(),
            refused: Some(
                "it holds an implementation of TLS that is not known, or was changed".to_owned(),
            ),
        })),
        // Too much was read for what is captured; this is only to be told.
        Ok(false) | Err(ScanError::TooLarge) => Ok(None),
        Err(error) => Err(error),
    }
}

fn holds_labels<B: ReadAt>(image: &Image<'_, B>) -> Result<bool, ScanError> {
    let mut regions: Vec<Region> = image.loaded(Use::Constants).collect();
    // Older linkers put constants in front of the code, in one segment.
    if regions.is_empty() {
        regions.extend(image.loaded(Use::Code));
    }
    let size = regions
        .iter()
        .fold(0u64, |n, region| n.saturating_add(region.size));
    if size > MOST {
        return Ok(false);
    }
    let finders = LABELS.map(|row| row.map(Finder::new));
    let mut found = [[false; 2]; 2];
    for region in regions {
        let part = region.part("constants");
        // No label is longer.
        part.strings(image.bytes(), 16, |_, piece| {
            for (found, finder) in found.iter_mut().flatten().zip(finders.iter().flatten()) {
                *found = *found || finder.find(piece).is_some();
            }
            Ok(())
        })?;
    }
    Ok(found.iter().any(|row| row.iter().all(|found| *found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::elf::scan;

    #[test]
    fn tls_whose_functions_have_other_names_is_told_and_not_probed() {
        let mut bytes = std::fs::read("/usr/lib/x86_64-linux-gnu/libssl.so.3")
            .expect("Debian's libssl3 is installed");
        let names: Vec<usize> = Finder::new("SSL_").find_iter(&bytes).collect();
        for at in names {
            bytes[at] = b'X';
        }
        let found = scan(&bytes).expect("an ELF file");
        assert_eq!(found.stacks.len(), 1);
        assert_eq!(found.stacks[0].name, NAME);
        assert!(found.stacks[0].refused.is_some() && found.targets().is_empty());
    }

    #[test]
    fn a_program_without_tls_has_no_stack() {
        let bytes = std::fs::read("/bin/true").expect("coreutils");
        assert_eq!(scan(&bytes).expect("an ELF file").stacks, []);
    }
}
