//! Header fields in wire order, in one buffer.

/// Header fields (or trailers) in wire order, names in the case they had on the wire.
///
/// One allocation for the bytes, one for the index. Not `Debug`: values may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Field {
    name: Span,
    value: Span,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    len: u32,
}

impl Headers {
    /// No fields, room for `fields` fields of `bytes` bytes in all.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Headers {
            bytes: Vec::with_capacity(bytes),
            fields: Vec::with_capacity(fields),
        }
    }

    /// Appends a field line.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.store(value);
        self.fields.push(Field { name, value });
    }

    fn store(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Span {
            start,
            len: bytes.len() as u32,
        }
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..(span.start + span.len) as usize]
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// (name, value) in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields
            .iter()
            .map(|f| (self.slice(f.name), self.slice(f.value)))
    }

    /// Values of the field lines of this name, in wire order; names compare without case (RFC 9110 §5.1).
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }

    /// The first value of this name.
    pub fn get<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// Replaces the value of field `index`, and overwrites the old bytes with zeros, so that nothing
    /// that reads the buffer later can meet them.
    ///
    /// # Panics
    /// When `index` is not below [`Headers::len`].
    pub fn replace_value(&mut self, index: usize, value: &[u8]) {
        let old = self.fields[index].value;
        self.bytes[old.start as usize..(old.start + old.len) as usize].fill(0);
        self.fields[index].value = self.store(value);
    }

    /// Keeps the fields for which `keep(name, value)` is true; the bytes of the others become zeros.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.retain(|f| {
            let kept = keep(self.slice(f.name), self.slice(f.value));
            if !kept {
                let range = f.value.start as usize..(f.value.start + f.value.len) as usize;
                self.bytes[range].fill(0);
            }
            kept
        });
        self.fields = fields;
    }

    /// The whole buffer: also what no field points to any more.
    #[cfg(test)]
    pub(crate) fn buffer(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory that this holds.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.fields.capacity() * size_of::<Field>()
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Headers({} fields)", self.fields.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Headers {
        let mut h = Headers::default();
        h.push(b"Set-Cookie", b"a=1");
        h.push(b"Accept", b"*/*");
        h.push(b"set-cookie", b"b=2");
        h
    }

    #[test]
    fn repeated_names_keep_their_lines_and_order() {
        let h = sample();
        let all: Vec<_> = h.get_all(b"SET-COOKIE").collect();
        assert_eq!(all, [b"a=1", b"b=2"]);
        assert_eq!(h.get(b"accept"), Some(&b"*/*"[..]));
        assert_eq!(h.get(b"x-none"), None);
    }

    #[test]
    fn a_replaced_value_leaves_no_bytes_behind() {
        let mut h = sample();
        h.replace_value(0, b"REDACTED");
        assert_eq!(h.get(b"set-cookie"), Some(&b"REDACTED"[..]));
        assert_eq!(memchr::memmem::find(&h.bytes, b"a=1"), None);
    }

    #[test]
    fn retain_drops_fields_and_their_bytes() {
        let mut h = sample();
        h.retain(|name, _| !name.eq_ignore_ascii_case(b"set-cookie"));
        assert_eq!(h.len(), 1);
        assert_eq!(memchr::memmem::find(&h.bytes, b"b=2"), None);
    }
}
