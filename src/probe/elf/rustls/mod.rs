//! rustls 0.20 to 0.23 inside of a program, with symbols or without, with the cryptography of aws-lc or of ring.
//!
//! Its record layer protects and opens each record by one call through a table of methods (a vtable), so these functions
//! are never inlined. The last method of `MessageEncrypter`, `encrypted_payload_len`, is two instructions with a constant
//! that tells the suite; what points to it is the end of a table, and the table of the suite's `MessageDecrypter` stands
//! right before that.
//!
//! Before 0.22 there is no such method, and both tables have one. They are those of objects as large as a key of ring, the
//! only cryptography that there is, and the code of the methods tells the rest: what it adds to the length of the content,
//! what it compares that of a record with, and whether it reads the type.
//!
//! Enters: an image. Leaves: the places of each suite, or why there are none. Holds: every place is a method in a table,
//! so a function's entry, or reached from it by decoding; and its code reads its arguments where the kernel programs
//! read them. The layout of Rust's types is promised by nobody: code that reads anything else is not probed.
//!
//! Sources: `crypto/cipher.rs`, `msgs/message/{inbound,outbound}.rs` and `record_layer.rs` of rustls 0.23.0 to 0.23.46;
//! `cipher.rs`, `msgs/message.rs`, `record_layer.rs`, `tls12/` and `tls13/` of 0.20.9, 0.21.12 and 0.22.4.

mod leaves;
mod proof;
mod tables;
#[cfg(test)]
mod tests;

use super::bytes::ReadAt;
use super::code::{self, Needs};
use super::image::{Image, Use};
use super::{Method, Placement, ScanError, Stack};
use crate::probe::target::{Probe, RustlsForm, RustlsMethod, RustlsSuite, Target};
use iced_x86::Register;
use memchr::memmem;
use std::collections::HashSet;
use tables::Table;

/// What the user sees of this family.
const NAME: &str = "rustls";

/// A text of rustls that every version has, in `impl Display for Error`.
const MARK: &[u8] = b"cannot decrypt peer's message";

/// How the panics of rustls name their source files: the version follows.
const SOURCE: &[u8] = b"/rustls-0.";

/// A program with less code than this holds no TLS, bytes.
const LEAST_CODE: u64 = 64 << 10;

/// What is looked through at the most, bytes.
const MOST_CONSTANTS: u64 = 400 << 20;

/// Versions that are told of, in one program.
const MAX_VERSIONS: usize = 4;

/// How much of a function is read, bytes.
const FUNCTION: u64 = 1 << 10;

/// Registers of the arguments of both methods: where the result goes, the object, the message, its number.
const ARGUMENTS: [Register; 4] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX];

/// The places to probe; `None` where there is no rustls.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    let size = |of| image.loaded(of).fold(0u64, |n, r| n.saturating_add(r.size));
    if size(Use::Code) < LEAST_CODE || size(Use::Constants) > MOST_CONSTANTS {
        return Ok(None);
    }
    let texts = texts(image)?;
    if !texts.rustls {
        return Ok(None);
    }
    let mut stack = Stack {
        name: NAME,
        version: (!texts.versions.is_empty()).then(|| texts.versions.join(", ")),
        targets: Vec::new(),
        placements: Vec::new(),
        refused: None,
    };
    for table in tables::find(image)? {
        pair(image, &table, &mut stack)?;
    }
    if texts.may_be_before_22() {
        before_22(image, &mut stack)?;
    }
    if stack.targets.is_empty() {
        stack.refused = Some(refusal(&texts.versions));
    }
    Ok(Some(stack))
}

fn refusal(versions: &[String]) -> String {
    let found = match versions {
        [] => String::new(),
        _ => format!(" ({})", versions.join(", ")),
    };
    match !versions.is_empty() && versions.iter().all(|v| minor(v) < 20) {
        true => format!("it is older than 0.20{found}, the first that can be captured"),
        false => format!(
            "its record layer{found} is not compiled in a way that is known: built without optimisation, or for \
             another version of rustls"
        ),
    }
}

struct Texts {
    rustls: bool,
    /// Each once. A program may have several.
    versions: Vec<String>,
}

impl Texts {
    fn may_be_before_22(&self) -> bool {
        self.versions.is_empty() || self.versions.iter().any(|v| matches!(minor(v), 20 | 21))
    }
}

/// 21 of 0.21.12.
fn minor(version: &str) -> u32 {
    let number = version.split('.').nth(1).and_then(|n| n.parse().ok());
    number.unwrap_or(u32::MAX)
}

/// What the constants say: whether this is rustls, and its versions where its source files are named.
fn texts<B: ReadAt>(image: &Image<'_, B>) -> Result<Texts, ScanError> {
    let mut texts = Texts {
        rustls: false,
        versions: Vec::new(),
    };
    let constants: Vec<_> = image.loaded(Use::Constants).collect();
    // Older linkers put constants in front of the code, in one segment.
    let regions = match constants.is_empty() {
        true => image.loaded(Use::Code).collect(),
        false => constants,
    };
    let (mark, source) = (memmem::Finder::new(MARK), memmem::Finder::new(SOURCE));
    for region in regions {
        region
            .part("constants")
            .large_strings(image.bytes(), 64, |_, piece| {
                texts.rustls |= mark.find(piece).is_some();
                for at in source.find_iter(piece) {
                    let found = piece.get(at + SOURCE.len() - 2..).and_then(version);
                    let found = found.filter(|found| {
                        texts.versions.len() < MAX_VERSIONS && !texts.versions.contains(found)
                    });
                    texts.versions.extend(found);
                }
                Ok(())
            })?;
    }
    Ok(texts)
}

/// `0.23.46` at the beginning of `text`, up to a slash.
fn version(text: &[u8]) -> Option<String> {
    let end = text.iter().take(24).position(|b| *b == b'/')?;
    let version = std::str::from_utf8(text.get(..end)?).ok()?;
    let plain = version
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    plain.then(|| version.to_owned())
}

/// Both methods of a suite, where the code of both is as it must be.
fn pair<B: ReadAt>(
    image: &Image<'_, B>,
    table: &Table,
    stack: &mut Stack,
) -> Result<(), ScanError> {
    let suite = table.suite;
    let encrypt = image.code(table.encrypt, FUNCTION)?;
    let Some(form) = proof::encrypts(&encrypt, table.encrypt) else {
        return Ok(());
    };
    for (is_next, entry) in &table.decrypts {
        let decrypt = image.code(*entry, FUNCTION)?;
        let of_decrypt = match form {
            RustlsForm::Slices => proof::decrypts(&decrypt, *entry, suite).then_some(form),
            _ => proof::decrypts_vector(&decrypt, *entry)
                .and_then(|(other, form)| (other == suite).then_some(form)),
        };
        let Some(of_decrypt) = of_decrypt else {
            continue;
        };
        let encrypt = (RustlsMethod::Encrypt, table.encrypt, &*encrypt);
        push(image, (suite, form), encrypt, stack)?;
        let decrypt = (RustlsMethod::Decrypt, *entry, &*decrypt);
        push(image, (suite, of_decrypt), decrypt, stack)?;
        // The table that stands where it always does is the one; others may be of other suites.
        if *is_next {
            break;
        }
    }
    Ok(())
}

/// The methods of 0.20 and 0.21. A suite of which there is only one is none.
fn before_22<B: ReadAt>(image: &Image<'_, B>, stack: &mut Stack) -> Result<(), ScanError> {
    let methods = tables::of_keys(image)?;
    let mut code = Vec::new();
    for entry in methods {
        code.push((entry, image.code(entry, FUNCTION)?));
    }
    let (mut encrypts, mut decrypts) = (Vec::new(), Vec::new());
    for (entry, code) in &code {
        let form = proof::encrypts(code, *entry).filter(|form| *form != RustlsForm::Slices);
        let suite = form.and_then(|_| proof::makes_records_of(code, *entry));
        encrypts.extend(suite.zip(form).map(|of| (of, *entry, code.as_slice())));
        let decrypt = proof::decrypts_vector(code, *entry);
        decrypts.extend(decrypt.map(|of| (of, *entry, code.as_slice())));
    }
    let suites = |methods: &[((RustlsSuite, RustlsForm), u64, &[u8])]| -> HashSet<RustlsSuite> {
        methods.iter().map(|((suite, _), ..)| *suite).collect()
    };
    let both = &suites(&encrypts) & &suites(&decrypts);
    for (method, found) in [
        (RustlsMethod::Encrypt, encrypts),
        (RustlsMethod::Decrypt, decrypts),
    ] {
        for ((suite, form), entry, code) in found {
            if both.contains(&suite) {
                push(image, (suite, form), (method, entry, code), stack)?;
            }
        }
    }
    Ok(())
}

fn push<B: ReadAt>(
    image: &Image<'_, B>,
    (suite, form): (RustlsSuite, RustlsForm),
    (method, entry, code): (RustlsMethod, u64, &[u8]),
    stack: &mut Stack,
) -> Result<(), ScanError> {
    let outside = || ScanError::Damaged("a function's code");
    let needs = Needs {
        arguments: &ARGUMENTS,
        returns: method == RustlsMethod::Decrypt,
    };
    let place = code::place(code, entry, needs);
    let offset = place.map_or(0, |p| p.offset);
    let address = entry.checked_add(offset).ok_or_else(outside)?;
    let file_offset = image.file_offset(address).ok_or_else(outside)?;
    // Two suites may share a function: what it is can then not be told at its call.
    if stack.targets.iter().any(|t| t.file_offset == file_offset) {
        return Ok(());
    }
    let code = image.code(address, 16)?;
    let mnemonic = place.map_or_else(|| code::mnemonic(&code), |p| Some(p.mnemonic));
    let (Some(mnemonic), Some(file_byte)) = (mnemonic, code.first()) else {
        return Err(outside());
    };
    stack.targets.push(Target {
        file_offset,
        probe: Probe::Rustls {
            method,
            suite,
            form,
            offset: u8::try_from(offset).map_err(|_| outside())?,
        },
        symbol: format!("{method} of {suite}"),
    });
    stack.placements.push(Placement {
        method: Method::MethodTable,
        instruction: format!("{mnemonic:?}").to_lowercase(),
        offset,
        emulated: place.is_some(),
        file_byte: *file_byte,
    });
    Ok(())
}
