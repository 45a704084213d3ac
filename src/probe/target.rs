//! What to probe in an ELF file: made by the scanner, attached by [`super::attach`].

/// One place to probe in one ELF file.
///
/// The session object is the call's first argument, the buffer its second, the buffer's length its third.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Offset in the file, in bytes, of an instruction at which the arguments are in their registers and the stack
    /// pointer is as at the function's entry. It must be the start of an instruction.
    pub file_offset: u64,
    pub call: TlsCall,
    pub result: CallResult,
    /// What the user sees: `SSL_read`, or `ssl_read_internal (from SSL_read)`.
    pub symbol: String,
}

/// What a call of a TLS library does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsCall {
    /// Plaintext from the peer.
    Read,
    /// Plaintext to the peer.
    Write,
    /// Moves no plaintext, but does socket I/O for the session: `SSL_do_handshake`, `SSL_connect`, `SSL_accept`,
    /// `SSL_shutdown`.
    Handshake,
    /// Ends the session object: `SSL_free`.
    Free,
    /// Reads and consumes nothing: `SSL_peek`.
    Peek,
    /// Makes a session object, and returns it: `SSL_new`.
    New,
}

/// How a call tells the number of bytes that it moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// An `int` is returned: the bytes if above 0.
    Int,
    /// 1 is returned, and the bytes are stored as `size_t` where an argument points.
    Ex {
        /// Index of that argument from 0: 3 or 4.
        out_arg: u8,
    },
    /// It moves none.
    None,
}

impl Target {
    /// The attach cookie, by which the kernel programs know what was called: `enum ps_tls_call` and
    /// `enum ps_tls_result` in `bpf/parts/tls.bpf.h`.
    pub fn cookie(&self) -> u64 {
        let call = match self.call {
            TlsCall::Read => 1,
            TlsCall::Write => 2,
            TlsCall::Handshake => 3,
            TlsCall::Free => 4,
            TlsCall::Peek => 5,
            TlsCall::New => 6,
        };
        let (result, out_arg) = match self.result {
            CallResult::None => (0, 0),
            CallResult::Int => (1, 0),
            CallResult::Ex { out_arg } => (2, out_arg),
        };
        call | result << 8 | u64::from(out_arg) << 16
    }

    /// Whether the return of the call matters.
    pub(super) fn has_return(&self) -> bool {
        self.call != TlsCall::Free
    }
}
