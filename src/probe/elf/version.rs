//! The version of a TLS implementation, as texts in its file say it.

use super::ScanError;
use super::bytes::{MAX_READ, ReadAt};
use super::image::{Image, Use};
use memchr::memmem::Finder;

/// What stands before a version, in the order of what is worth more.
struct Texts {
    stack: &'static str,
    /// Text, and what it says of the implementation.
    before: &'static [(&'static str, &'static str)],
}

static TEXTS: [Texts; 3] = [
    Texts {
        stack: "openssl",
        before: &[
            ("OpenSSL ", "OpenSSL"),
            ("LibreSSL ", "LibreSSL"),
            ("AWS-LC ", "AWS-LC"),
        ],
    },
    Texts {
        stack: "gnutls",
        before: &[("Enabled GnuTLS ", "GnuTLS")],
    },
    Texts {
        stack: "nss",
        before: &[("Version: NSS ", "NSS"), ("Version: NSPR ", "NSPR")],
    },
];

/// The names that OpenSSL gives the versions of its symbols: `OPENSSL_3.2.0`, and `OPENSSL_1_1_1` before.
const SYMBOLS: &str = "OPENSSL_";

/// Constants that are looked through, bytes: a text is near the code that uses it, and time is bounded.
const MOST: u64 = MAX_READ / 4;

/// A version is shorter, bytes.
const LONGEST: usize = 24;

/// `OpenSSL 3.0.17`, or `OpenSSL 3.0 or later` where only the names of its functions tell; `None` where nothing does.
pub fn find<B: ReadAt>(image: &Image<'_, B>, stack: &str) -> Result<Option<String>, ScanError> {
    let Some(texts) = TEXTS.iter().find(|texts| texts.stack == stack) else {
        return Ok(None);
    };
    let finders = texts.before.iter().map(|(text, _)| Finder::new(text));
    let finders: Vec<Finder<'_>> = finders.collect();
    let symbols = Finder::new(SYMBOLS);
    let mut said: Vec<Option<String>> = vec![None; finders.len()];
    let mut newest: Option<Vec<u32>> = None;
    let mut left = MOST;
    // A file of one segment has its constants beside its code.
    for region in image.loaded(Use::Constants).chain(image.loaded(Use::Code)) {
        if region.size > left {
            continue;
        }
        left -= region.size;
        let part = region.part("constants");
        part.strings(image.bytes(), 64, |_, piece| {
            for (found, (finder, (_, name))) in
                said.iter_mut().zip(finders.iter().zip(texts.before))
            {
                if found.is_none() {
                    let after = finder.find_iter(piece).map(|at| at + finder.needle().len());
                    let numbers = after.filter_map(|at| number(piece.get(at..)?, b"."));
                    *found = numbers.map(|text| format!("{name} {text}")).next();
                }
            }
            if stack == "openssl" {
                let after = symbols.find_iter(piece).map(|at| at + SYMBOLS.len());
                let versions = after.filter_map(|at| parts(&number(piece.get(at..)?, b"._")?));
                newest = versions.chain(newest.take()).max();
            }
            Ok(())
        })?;
        if said.iter().any(Option::is_some) {
            break;
        }
    }
    let told = said.into_iter().flatten().next();
    let least = || newest.map(|n| format!("OpenSSL {} or later", join(&n)));
    Ok(told.or_else(least))
}

/// The version at the beginning of `text`: numbers with one of `between` between them, two at least, and letters
/// behind, as in `1.1.1w`.
fn number(text: &[u8], between: &[u8]) -> Option<String> {
    let of_version = |b: &&u8| b.is_ascii_digit() || between.contains(b);
    let len = text.iter().take(LONGEST).take_while(of_version).count();
    let letters = text.get(len..)?.iter().take(2);
    let letters = letters.take_while(|b| b.is_ascii_lowercase()).count();
    let digits = std::str::from_utf8(text.get(..len)?).ok()?;
    let mut parts = digits.split(|c: char| !c.is_ascii_digit());
    let whole = parts.clone().count() >= 2 && parts.all(|part| !part.is_empty());
    let text = std::str::from_utf8(text.get(..len + letters)?).ok()?;
    whole.then(|| text.to_owned())
}

fn parts(version: &str) -> Option<Vec<u32>> {
    let digits = version.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let parts = digits.split(['.', '_']).map(str::parse);
    parts.collect::<Result<_, _>>().ok()
}

/// Without a zero at the end, which stands for a whole series.
fn join(parts: &[u32]) -> String {
    let parts = match parts {
        [major, minor, 0] => &[*major, *minor],
        all => all,
    };
    let parts: Vec<String> = parts.iter().map(u32::to_string).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_with_dots_and_perhaps_letters() {
        let dots = |text: &str| number(text.as_bytes(), b".");
        assert_eq!(dots("3.0.17 1 Jul 2025").as_deref(), Some("3.0.17"));
        assert_eq!(dots("1.1.1w  11 Sep 2023").as_deref(), Some("1.1.1w"));
        assert_eq!(dots("3.7.9 logging...").as_deref(), Some("3.7.9"));
        assert_eq!(dots("%s"), None);
        assert_eq!(dots("3"), None);
        assert_eq!(dots("3..1"), None);
        assert_eq!(dots("is broken"), None);
    }

    #[test]
    fn the_newest_of_the_names_of_functions_counts() {
        let parsed = ["3.0.0", "1_1_1", "3.2.0"].map(|v| parts(v).expect("a version"));
        assert_eq!(join(parsed.iter().max().expect("some")), "3.2");
        assert_eq!(join(&parsed[1]), "1.1.1");
    }

    #[test]
    fn libraries_of_the_system_say_their_versions() {
        for (library, begins) in [
            ("libssl.so.3", "OpenSSL 3.0"),
            ("libgnutls.so.30", "GnuTLS 3."),
        ] {
            let path = format!("/usr/lib/x86_64-linux-gnu/{library}");
            let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            let scan = crate::probe::elf::scan(&bytes).expect("an ELF file");
            let version = scan.stacks[0].version.as_deref().unwrap_or_default();
            assert!(version.starts_with(begins), "{library}: {version}");
        }
    }
}
