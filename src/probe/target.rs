//! What a scan of an ELF file hands to the attacher: places to probe and how to read the call there.

/// One place to probe in one ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Position of the instruction in the file, bytes.
    pub file_offset: u64,
    pub call: TlsCall,
    pub result: CallResult,
    /// What users see: `SSL_read`, `ssl_read_internal (from SSL_read)`.
    pub symbol: String,
}

/// What a TLS library's function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsCall {
    Read,
    Write,
    Handshake,
    Free,
}

/// How the call says how many bytes it moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// Returns the count (`int`, to be sign-extended).
    Int,
    /// Returns 1 and stores the count (`size_t`) through argument `out_arg` (zero-based: 3 or 4).
    Ex { out_arg: u8 },
    /// Moves no bytes.
    None,
}
