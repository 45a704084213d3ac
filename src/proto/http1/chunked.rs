//! The chunked transfer coding (RFC 9112 §7.1), line by line.

/// Longest line of the coding with its extensions, in bytes.
pub const LINE_MAX: usize = 4096;

/// Where in the coding a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunked {
    /// At a chunk's size.
    Size,
    /// So many bytes of the chunk's data are left; never 0.
    Data(u64),
    /// At the line end after the data.
    DataEnd,
    /// In the trailer section.
    Trailer,
}

/// What follows a line with a chunk's size; None where the line is none. Extensions are passed over.
pub fn after_size(line: &[u8]) -> Option<Chunked> {
    if line.len() > LINE_MAX {
        return None;
    }
    let line = line.trim_ascii_end();
    let end = line.iter().position(|b| !b.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(end.unwrap_or(line.len()));
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    // Only an extension may follow (RFC 9112 §7.1.1).
    if !matches!(rest.trim_ascii_start().first(), None | Some(b';')) {
        return None;
    }
    let size = digits.iter().fold(0u64, |n, d| {
        n << 4 | u64::from(char::from(*d).to_digit(16).unwrap_or(0))
    });
    Some(match size {
        0 => Chunked::Trailer,
        n => Chunked::Data(n),
    })
}

/// A line of the coding that is not whole may still become one.
pub fn plausible(at: Chunked, line: &[u8]) -> bool {
    match at {
        Chunked::Size => line.first().is_none_or(u8::is_ascii_hexdigit) && line.len() <= LINE_MAX,
        Chunked::DataEnd => matches!(line, b"" | b"\r"),
        Chunked::Data(_) | Chunked::Trailer => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_hex_with_extensions() {
        for (line, want) in [
            (&b"5\r\n"[..], Some(Chunked::Data(5))),
            (b"1aF\n", Some(Chunked::Data(0x1af))),
            (b"0\r\n", Some(Chunked::Trailer)),
            (b"000\r\n", Some(Chunked::Trailer)),
            (b"5;name=value\r\n", Some(Chunked::Data(5))),
            (b"5 ; name\r\n", Some(Chunked::Data(5))),
            (b"ffffffffffffffff\r\n", Some(Chunked::Data(u64::MAX))),
            (b"10000000000000000\r\n", None),
            (b"\r\n", None),
            (b"5 5\r\n", None),
            (b"0x5\r\n", None),
            (b"-5\r\n", None),
            (b"+5\r\n", None),
        ] {
            assert_eq!(
                after_size(line),
                want,
                "{:?}",
                String::from_utf8_lossy(line)
            );
        }
    }
}
