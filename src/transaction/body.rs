//! Body of a message: what was captured, and the truth about the rest.

/// What of bodies is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// False: no body bytes are kept, only counted.
    pub capture: bool,
    /// Bytes of each body that are kept at the most, from its head.
    pub max_bytes: usize,
}

/// Content of one message (RFC 9110 §6.4), transfer coding removed, content coding as sent.
///
/// Not `Debug`: the bytes may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body {
    bytes: Vec<u8>,
    /// Bytes of content that went over the wire, as far as known.
    size: u64,
    /// Bytes of `size` that were lost, or not to be seen (`sendfile`), in front of or among those kept.
    missing: u64,
    /// Some of the content was left out of `bytes`, on purpose or not.
    truncated: bool,
}

impl Body {
    /// Adds content. Keeps what the limits allow; nothing after a hole, so that `bytes` is always a true prefix.
    pub fn push(&mut self, content: &[u8], limits: BodyLimits) {
        let before = self.size;
        self.size += content.len() as u64;
        if content.is_empty() || self.truncated {
            return;
        }
        // The limits may change in the middle of a body.
        let whole = self.bytes.len() as u64 == before;
        if !limits.capture || !whole {
            self.truncated = limits.capture || !self.bytes.is_empty();
            return;
        }
        let room = limits.max_bytes.saturating_sub(self.bytes.len());
        let take = room.min(content.len());
        self.grow(take, limits.max_bytes);
        self.bytes.extend_from_slice(&content[..take]);
        self.truncated = take < content.len();
    }

    /// Makes room for `more` bytes, in steps that double as a vector's do, but never beyond `max`.
    fn grow(&mut self, more: usize, max: usize) {
        let len = self.bytes.len();
        if self.bytes.capacity() - len < more {
            let doubled = self.bytes.capacity().saturating_mul(2).min(max);
            self.bytes
                .reserve_exact(more.max(doubled.saturating_sub(len)));
        }
    }

    /// Counts content that was not copied because nobody wants it.
    pub fn push_skipped(&mut self, len: u64, limits: BodyLimits) {
        self.size += len;
        self.truncated |= len > 0 && (limits.capture || !self.bytes.is_empty());
    }

    /// Counts content that is known to exist and was not seen.
    pub fn push_missing(&mut self, len: u64) {
        self.size += len;
        self.missing += len;
        self.truncated = true;
    }

    /// Keeps no bytes from `len` on; what goes is overwritten with zeros first. The size stays.
    pub fn keep(&mut self, len: u64) {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if let Some(rest) = self.bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
            rest.fill(0);
            self.bytes.truncate(len);
            self.truncated = true;
        }
    }

    /// The same without any bytes.
    pub fn counts(&self) -> Body {
        Body {
            bytes: Vec::new(),
            size: self.size,
            missing: self.missing,
            truncated: self.missing > 0,
        }
    }

    /// Lets go of the kept bytes, overwritten with zeros first. Sizes stay, as if nothing had been captured.
    pub fn discard(&mut self) {
        // Filling nothing is not free: some processors take hundreds of cycles for a masked write of no bytes to an
        // address that nobody has.
        if !self.bytes.is_empty() {
            self.bytes.fill(0);
            self.bytes = Vec::new();
        }
        self.truncated = self.missing > 0;
    }

    /// What was kept: a prefix of the content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Length of the content on the wire, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the content that were not seen.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Bytes of memory that this holds.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// The kept bytes are not the whole content (false where capturing was off and nothing is missing).
    pub fn truncated(&self) -> bool {
        self.truncated
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Body({} of {} bytes{})",
            self.bytes.len(),
            self.size,
            if self.truncated { ", truncated" } else { "" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BodyLimits = BodyLimits {
        capture: true,
        max_bytes: 4,
    };

    #[test]
    fn keeps_the_head_and_the_true_length() {
        let mut b = Body::default();
        b.push(b"abc", LIMITS);
        b.push(b"def", LIMITS);
        assert_eq!(
            (b.bytes(), b.size(), b.truncated()),
            (&b"abcd"[..], 6, true)
        );
    }

    #[test]
    fn memory_stays_within_the_limit_however_the_content_comes() {
        let limits = BodyLimits {
            capture: true,
            max_bytes: 1_000_003,
        };
        for piece in [1, 7, 16 * 1024, 3_000_000] {
            let mut b = Body::default();
            for _ in 0..2_000_000 / piece + 1 {
                b.push(&vec![b'x'; piece], limits);
                assert!(b.memory() <= limits.max_bytes, "{piece}");
            }
            assert_eq!(b.bytes().len(), limits.max_bytes);
        }
    }

    #[test]
    fn nothing_is_kept_after_a_hole() {
        let mut b = Body::default();
        b.push(b"ab", LIMITS);
        b.push_missing(10);
        b.push(b"c", LIMITS);
        assert_eq!((b.bytes(), b.size(), b.missing()), (&b"ab"[..], 13, 10));
    }

    #[test]
    fn limits_that_change_in_the_middle_leave_a_true_prefix() {
        let off = BodyLimits {
            capture: false,
            ..LIMITS
        };
        let of = |limits: [BodyLimits; 3]| {
            let mut b = Body::default();
            for limits in limits {
                b.push(b"a", limits);
            }
            (b.bytes().len(), b.size(), b.truncated())
        };
        assert_eq!(of([off, LIMITS, LIMITS]), (0, 3, true));
        assert_eq!(of([LIMITS, off, LIMITS]), (1, 3, true));
        assert_eq!(of([LIMITS, LIMITS, off]), (2, 3, true));
        assert_eq!(of([off, off, off]), (0, 3, false));
    }

    #[test]
    fn discarded_content_leaves_its_size() {
        let mut b = Body::default();
        b.push(b"abcdef", LIMITS);
        b.discard();
        assert_eq!((b.bytes().len(), b.size(), b.truncated()), (0, 6, false));
    }

    #[test]
    fn without_capture_only_the_size_is_known() {
        let off = BodyLimits {
            capture: false,
            max_bytes: 4,
        };
        let mut b = Body::default();
        b.push(b"abcdef", off);
        assert_eq!((b.bytes().len(), b.size(), b.truncated()), (0, 6, false));
    }
}
