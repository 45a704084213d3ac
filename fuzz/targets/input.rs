//! Choices read from an input.

/// The rest of an input. At its end every choice is 0 and every text empty.
#[derive(Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// At most `len` bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// A text with its length, of at most 255 bytes, in front.
    pub fn text(&mut self) -> &'a [u8] {
        let len = self.byte();
        self.take(len.into())
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// The pieces of `bytes` in sizes of `size`.
pub fn pieces(bytes: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(size.max(1))
}

/// Whether the costly half of the promises is looked at: of each input of the corpus; while fuzzing of one in four,
/// which the input itself chooses.
#[allow(unexpected_cfgs, reason = "cargo-fuzz sets it")]
pub fn chosen(data: &[u8]) -> bool {
    let sum = data
        .iter()
        .fold(0u8, |sum, b| sum.wrapping_mul(5).wrapping_add(*b));
    !cfg!(fuzzing) || sum.is_multiple_of(4)
}
