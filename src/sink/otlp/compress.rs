//! Compression of whole requests.

use crate::config::Compression;
use bytes::Bytes;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// Of 72 KB of spans with ids, 2 gives 6 % more than 6 does, in a sixth of the time.
const GZIP_LEVEL: u32 = 2;
/// Of the same, 1 gives 2 % more than 3, its own default, in two thirds of the time.
const ZSTD_LEVEL: i32 = 1;

/// As `Content-Encoding` and `grpc-encoding` name it.
pub fn name(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
    }
}

/// # Errors
/// Why it cannot be compressed, in words.
pub fn compress(compression: Compression, message: Bytes) -> Result<Bytes, String> {
    let packed = match compression {
        Compression::None => return Ok(message),
        Compression::Gzip => gzip(&message),
        Compression::Zstd => zstd::encode_all(&message[..], ZSTD_LEVEL),
    };
    match packed {
        Ok(packed) => Ok(packed.into()),
        Err(error) => Err(format!("the request cannot be compressed: {error}")),
    }
}

fn gzip(message: &[u8]) -> io::Result<Vec<u8>> {
    let room = Vec::with_capacity(message.len() / 4);
    let mut writer = GzEncoder::new(room, flate2::Compression::new(GZIP_LEVEL));
    writer.write_all(message)?;
    writer.finish()
}
