//! HPACK for an observer (RFC 7541): decodes header blocks of one direction of a connection.
//!
//! Enters: whole header blocks, in order. Leaves: fields, a part of which may be unknown.
//! Holds: a context that begins in the middle of a connection, or has lost a block, is exact in what it says: entries
//! made since are known, older ones are reported as unknown, never guessed. Strings and lists are bounded.

mod codes;
mod huffman;
mod static_table;
mod table;

use table::{Entry, Found, Known, Table};

/// Bytes of one name or value at the most.
pub const MAX_STRING: usize = 16 << 10;
/// Bytes of names and values of one block at the most.
pub const MAX_LIST: usize = 64 << 10;
/// Fields of one block at the most.
pub const MAX_FIELDS: usize = 512;
/// Size of the dynamic table at the most; an encoder that uses more is not followed.
pub const MAX_TABLE: usize = 1 << 20;
/// `SETTINGS_HEADER_TABLE_SIZE` before any setting (RFC 9113 §6.5.2).
pub const DEFAULT_TABLE: usize = 4096;

/// Why a block cannot be decoded. The context is of no use any more, until [`Decoder::lost_block`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("header block ends in the middle of a field")]
    Short,
    #[error("integer in a header block is too large")]
    Integer,
    #[error("string in a header block is longer than {MAX_STRING} bytes")]
    StringTooLong,
    #[error("header block holds more than {MAX_FIELDS} fields or {MAX_LIST} bytes")]
    ListTooLong,
    #[error("Huffman code is not valid")]
    Huffman,
    #[error("index names no entry")]
    Index,
    #[error("table size update is larger than allowed, or not at the block's beginning")]
    TableSize,
}

impl Error {
    /// The block may be right, and is larger than is read.
    pub fn is_bound(self) -> bool {
        matches!(self, Error::StringTooLong | Error::ListTooLong)
    }
}

/// A name or a value. `None`: it was set before the decoder began.
pub type Part<'a> = Option<&'a [u8]>;

/// Decodes the header blocks of one direction.
pub struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// `from_start`: every block since the connection began will be seen.
    pub fn new(from_start: bool) -> Self {
        Decoder {
            table: Table::new(DEFAULT_TABLE, !from_start),
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// A block was lost: what it inserted is unknown.
    pub fn lost_block(&mut self) {
        self.table.forget();
    }

    /// Bytes that the dynamic table holds, as RFC 7541 §4.1 counts.
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    /// Decodes one whole block; `field` gets (name, value) in order.
    ///
    /// # Errors
    /// When the block breaks RFC 7541 or a bound. Fields before the fault have been given.
    pub fn decode(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(Part<'_>, Part<'_>),
    ) -> Result<(), Error> {
        let mut input = Input { rest: block };
        let mut budget = Budget::default();
        let mut first = true;
        while let Some(byte) = input.peek() {
            if byte & 0x80 != 0 {
                self.indexed(input.integer(7)?, &mut budget, &mut field)?;
            } else if byte & 0x40 != 0 {
                self.literal(&mut input, 6, true, &mut budget, &mut field)?;
            } else if byte & 0x20 != 0 {
                let size = input.integer(5)?;
                if !first || size > MAX_TABLE {
                    return Err(Error::TableSize);
                }
                self.table.resize(size);
                // Two updates may stand at the beginning (RFC 7541 §4.2).
                continue;
            } else {
                self.literal(&mut input, 4, false, &mut budget, &mut field)?;
            }
            first = false;
        }
        Ok(())
    }

    fn indexed(
        &mut self,
        index: usize,
        budget: &mut Budget,
        field: &mut impl FnMut(Part<'_>, Part<'_>),
    ) -> Result<(), Error> {
        let (name, value): (Part<'_>, Part<'_>) = match self.table.get(index).ok_or(Error::Index)? {
            Found::Static(name, value) => (Some(name.as_bytes()), Some(value.as_bytes())),
            Found::Dynamic(entry) => (entry.name.as_deref(), entry.value.as_deref()),
            Found::Unknown => (None, None),
        };
        budget.spend(name, value)?;
        field(name, value);
        Ok(())
    }

    fn literal(
        &mut self,
        input: &mut Input<'_>,
        prefix: u8,
        insert: bool,
        budget: &mut Budget,
        field: &mut impl FnMut(Part<'_>, Part<'_>),
    ) -> Result<(), Error> {
        let index = input.integer(prefix)?;
        self.name.clear();
        let known = if index == 0 {
            input.string(&mut self.name)?;
            true
        } else {
            match self.table.get(index).ok_or(Error::Index)? {
                Found::Static(name, _) => self.name.extend_from_slice(name.as_bytes()),
                Found::Dynamic(Entry {
                    name: Some(name), ..
                }) => self.name.extend_from_slice(name),
                Found::Dynamic(Entry { name: None, .. }) | Found::Unknown => {}
            }
            !self.name.is_empty()
        };
        self.value.clear();
        input.string(&mut self.value)?;
        let name = known.then_some(self.name.as_slice());
        budget.spend(name, Some(&self.value))?;
        field(name, Some(&self.value));
        if insert {
            let known = |part: &[u8]| -> Known { Some(part.into()) };
            self.table.insert(Entry {
                name: name.and_then(known),
                value: known(&self.value),
            });
        }
        Ok(())
    }
}

/// What one block may still hold.
#[derive(Default)]
struct Budget {
    fields: usize,
    bytes: usize,
}

impl Budget {
    fn spend(&mut self, name: Part<'_>, value: Part<'_>) -> Result<(), Error> {
        self.fields += 1;
        self.bytes += name.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        if self.fields > MAX_FIELDS || self.bytes > MAX_LIST {
            return Err(Error::ListTooLong);
        }
        Ok(())
    }
}

/// The rest of a block.
struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let (first, rest) = self.rest.split_first().ok_or(Error::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    /// An integer with a prefix of `bits` bits (RFC 7541 §5.1).
    fn integer(&mut self, bits: u8) -> Result<usize, Error> {
        let mask = (1u8 << bits) - 1;
        let prefix = self.byte()? & mask;
        if prefix < mask {
            return Ok(usize::from(prefix));
        }
        let mut value = usize::from(mask);
        for shift in (0..28).step_by(7) {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Integer)
    }

    /// A string literal (RFC 7541 §5.2), onto the end of `out`.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let huffman = self.peek().ok_or(Error::Short)? & 0x80 != 0;
        let len = self.integer(7)?;
        if len > MAX_STRING {
            return Err(Error::StringTooLong);
        }
        let (text, rest) = self.rest.split_at_checked(len).ok_or(Error::Short)?;
        self.rest = rest;
        if huffman {
            huffman::decode(text, out, MAX_STRING)
        } else {
            out.extend_from_slice(text);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
