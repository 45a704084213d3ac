//! A payload link taken apart.

/// What `plainspan.payload.url` names: an object, or bytes of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Of the object, without what stands behind `#bytes=`.
    pub url: String,
    /// First and last byte, both included. None: the whole object.
    pub bytes: Option<(u64, u64)>,
}

/// A link that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LinkError {
    #[error("`#bytes={0}` is no range: write #bytes=FIRST-LAST, as the span has it")]
    Range(String),
}

const BYTES: &str = "#bytes=";

impl std::str::FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let Some((url, range)) = text.rsplit_once(BYTES) else {
            return Ok(Link {
                url: text.to_owned(),
                bytes: None,
            });
        };
        let bytes = parse_range(range).ok_or_else(|| LinkError::Range(range.to_owned()))?;
        Ok(Link {
            url: url.to_owned(),
            bytes: Some(bytes),
        })
    }
}

/// `FIRST-LAST`.
pub(super) fn parse_range(text: &str) -> Option<(u64, u64)> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (first, last) = text.split_once('-')?;
    let range = (digits(first) && digits(last)).then(|| (first.parse().ok(), last.parse().ok()))?;
    match range {
        (Some(first), Some(last)) if first <= last => Some((first, last)),
        _ => None,
    }
}

/// The digest that an object of layout `object` is named after.
pub fn digest_of(key: &str) -> Option<&str> {
    let name = key.rsplit('/').next()?;
    let hex = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    (name.len() == 64 && name.bytes().all(hex)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_an_object_or_bytes_of_one() {
        let link: Link = "https://x/b/k#bytes=10-19".parse().expect("a link");
        assert_eq!((&*link.url, link.bytes), ("https://x/b/k", Some((10, 19))));
        let link: Link = "file:///a%23b".parse().expect("a link");
        assert_eq!((&*link.url, link.bytes), ("file:///a%23b", None));
        let link: Link = "https://x/#/view/k#bytes=0-0".parse().expect("a link");
        assert_eq!(
            (&*link.url, link.bytes),
            ("https://x/#/view/k", Some((0, 0)))
        );
    }

    #[test]
    fn a_range_that_is_none_is_an_error() {
        for range in [
            "",
            "-",
            "1",
            "2-1",
            "+1-2",
            "1-2-3",
            "a-b",
            "0-99999999999999999999",
        ] {
            let error = format!("https://x#bytes={range}").parse::<Link>();
            assert_eq!(error, Err(LinkError::Range(range.to_owned())), "{range}");
        }
    }

    #[test]
    fn the_name_of_a_document_is_its_digest() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(digest_of(&format!("p/q/{digest}")), Some(&*digest));
        assert_eq!(digest_of("p/20261123T0-9f3c.ndjson.zst"), None);
        assert_eq!(digest_of(&digest.to_uppercase()), None);
    }
}
