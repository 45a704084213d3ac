//! What to probe in an ELF file: made by the scanner, attached by [`super::attach`].
//!
//! A [`Target`] is one place, and a [`Probe`] says which of the kernel programs stand there and what they find. A stack
//! whose calls have the form of [`Probe::Call`] needs no programs of its own; any other form is another variant, with
//! programs of its own in [`super::attach`].

use serde::{Deserialize, Serialize};
use std::fmt;

/// One place to probe in one ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Offset in the file, in bytes. It must be the start of an instruction; `probe` says what must hold there.
    pub file_offset: u64,
    pub probe: Probe,
    /// What the user sees: `SSL_read`, or `ssl_read_internal (from SSL_read)`.
    pub symbol: String,
}

/// What fires at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Probe {
    /// A call of the C calling convention, seen at its entry and, where it matters, at its return. The session object
    /// is the first argument, the buffer the second, the buffer's length the third.
    ///
    /// At the place the arguments are in their registers and the stack pointer is as at the function's entry.
    Call { call: TlsCall, result: CallResult },
    /// A place in Go's `crypto/tls`. A return is a place of its own, never the return address: Go moves its stacks.
    Go(GoPoint),
    /// A method of rustls: the result's place is the first argument, the object the second, a pointer to the message the
    /// third, the record's number the fourth.
    Rustls {
        method: RustlsMethod,
        suite: RustlsSuite,
        form: RustlsForm,
        /// Bytes from the function's entry to the place.
        offset: u8,
    },
}

/// Which method of rustls's record layer a place is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RustlsMethod {
    /// `MessageEncrypter::encrypt`, seen at its entry.
    Encrypt,
    /// `MessageDecrypter::decrypt`, seen at its entry and its return.
    Decrypt,
}

/// How rustls protects records: by this they differ in length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RustlsSuite {
    Tls13,
    /// TLS 1.2 with AES-GCM.
    Tls12Gcm,
    /// TLS 1.2 with ChaCha20-Poly1305.
    Tls12ChaCha,
}

/// How rustls passes a record, and what its record layer is: by this its versions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RustlsForm {
    /// 0.23: slices of what is encrypted, a borrowed slice of what is decrypted.
    Slices,
    /// 0.20 to 0.22: one slice of what is encrypted, a vector of what is decrypted. The type stands before the version.
    /// The `decrypt` of TLS 1.3 has this one: the type is always the same.
    VectorTypeFirst,
    /// The same, and the version stands before the type. Compilers choose, for each of the two.
    VectorTypeLast,
}

impl RustlsForm {
    /// Where the type stands in a message that is encrypted, bytes. In a vector's message it is 8 bytes further.
    pub(super) fn type_at(self) -> u8 {
        match self {
            RustlsForm::Slices => 0x20,
            RustlsForm::VectorTypeFirst => 0x10,
            RustlsForm::VectorTypeLast => 0x14,
        }
    }
}

impl RustlsSuite {
    /// Bytes of the shortest record that `decrypt` takes.
    pub(super) fn least(self) -> u8 {
        match self {
            RustlsSuite::Tls13 | RustlsSuite::Tls12ChaCha => 16,
            RustlsSuite::Tls12Gcm => 24,
        }
    }
}

impl fmt::Display for RustlsSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RustlsSuite::Tls13 => "TLS 1.3",
            RustlsSuite::Tls12Gcm => "TLS 1.2 with AES-GCM",
            RustlsSuite::Tls12ChaCha => "TLS 1.2 with ChaCha20",
        })
    }
}

impl fmt::Display for RustlsMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RustlsMethod::Encrypt => "MessageEncrypter::encrypt",
            RustlsMethod::Decrypt => "MessageDecrypter::decrypt",
        })
    }
}

/// What a place in Go's `crypto/tls` is. Arguments are in the registers of Go's internal ABI: rax, rbx, rcx, rdi, rsi.
///
/// All but the return are the branch of the stack check at a function's entry (`jbe`), where the arguments are in their
/// registers, the stack pointer is as at the entry, and the flags tell whether the function will begin again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GoPoint {
    /// `(*Conn).Read(buffer, length)`.
    Read,
    /// `(*Conn).Write(buffer, length)`.
    Write,
    /// `(*Conn).writeRecordLocked(type, buffer, length)`, which makes the records of a write.
    Record,
    /// `(*Conn).clientHandshake` or `serverHandshake`: moves no plaintext, but does socket I/O.
    Handshake,
    /// `(*Conn).Close`.
    Close,
    /// A `ret` of `Read`, with the number of bytes in rax, or of a handshake.
    Return,
}

/// What a call of a TLS library does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

impl TlsCall {
    pub const ALL: [TlsCall; 6] = [
        TlsCall::Read,
        TlsCall::Write,
        TlsCall::Handshake,
        TlsCall::Free,
        TlsCall::Peek,
        TlsCall::New,
    ];
}

/// How a call tells the number of bytes that it moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallResult {
    /// An `int` is returned: the bytes if above 0.
    Int,
    /// 1 is returned, and the bytes are stored as `size_t` where an argument points.
    Ex {
        /// Index of that argument from 0: 3 or 4.
        out_arg: u8,
    },
    /// An `int` is returned: the bytes if above 0. They are not in the buffer, so their number alone is known.
    Length,
    /// 0 is returned where all bytes moved.
    All,
    /// As `Int`, of an object that may be no TLS session: an NSPR descriptor.
    Descriptor {
        /// The fourth argument has the flags of `recv(2)`, by which a call may consume nothing.
        flags: bool,
    },
    /// It moves none.
    None,
}

/// The kernel programs that a kind of probe needs. Probes of one family are attached together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// [`Probe::Call`]: entry and return, `bpf/parts/tls.bpf.h`.
    Call,
    /// [`Probe::Go`]: one program for all places, `bpf/parts/go.bpf.h`.
    Go,
    /// [`Probe::Rustls`]: entry and, of `decrypt`, return, `bpf/parts/rustls.bpf.h`.
    Rustls,
}

impl Family {
    pub const ALL: [Family; 3] = [Family::Call, Family::Go, Family::Rustls];
}

impl Target {
    /// A place of [`Probe::Call`].
    pub fn call(file_offset: u64, call: TlsCall, result: CallResult, symbol: String) -> Target {
        Target {
            file_offset,
            probe: Probe::Call { call, result },
            symbol,
        }
    }
}

impl Probe {
    pub fn family(self) -> Family {
        match self {
            Probe::Call { .. } => Family::Call,
            Probe::Go(_) => Family::Go,
            Probe::Rustls { .. } => Family::Rustls,
        }
    }

    /// The attach cookie, by which the family's kernel programs know what was met. For calls: `enum ps_tls_call` and
    /// `enum ps_tls_result` in `bpf/parts/tls.bpf.h`; for Go: `enum ps_go_point` in `bpf/parts/go.bpf.h`; for rustls:
    /// `enum ps_rustls_method`, `enum ps_rustls_suite << 8`, the offset `<< 16` and the form's
    /// place of the type `<< 24` in `bpf/parts/rustls.bpf.h`.
    pub fn cookie(self) -> u64 {
        match self {
            Probe::Call { call, result } => call_cookie(call, result),
            Probe::Go(point) => go_cookie(point),
            Probe::Rustls {
                method,
                suite,
                form,
                offset,
            } => {
                let places = u64::from(offset) << 16 | u64::from(form.type_at()) << 24;
                rustls_cookie(method, suite) | places
            }
        }
    }

    /// Whether the return of the call matters.
    pub(super) fn has_return(self) -> bool {
        match self {
            Probe::Call { call, .. } => call != TlsCall::Free,
            Probe::Go(_) => false,
            Probe::Rustls { method, .. } => method == RustlsMethod::Decrypt,
        }
    }
}

fn rustls_cookie(method: RustlsMethod, suite: RustlsSuite) -> u64 {
    let method = match method {
        RustlsMethod::Encrypt => 1,
        RustlsMethod::Decrypt => 2,
    };
    let suite = match suite {
        RustlsSuite::Tls13 => 1,
        RustlsSuite::Tls12Gcm => 2,
        RustlsSuite::Tls12ChaCha => 3,
    };
    method | suite << 8
}

fn go_cookie(point: GoPoint) -> u64 {
    match point {
        GoPoint::Read => 1,
        GoPoint::Write => 2,
        GoPoint::Record => 3,
        GoPoint::Handshake => 4,
        GoPoint::Close => 5,
        GoPoint::Return => 6,
    }
}

fn call_cookie(call: TlsCall, result: CallResult) -> u64 {
    let call = match call {
        TlsCall::Read => 1,
        TlsCall::Write => 2,
        TlsCall::Handshake => 3,
        TlsCall::Free => 4,
        TlsCall::Peek => 5,
        TlsCall::New => 6,
    };
    let (result, out_arg) = match result {
        CallResult::None => (0, 0),
        CallResult::Int => (1, 0),
        CallResult::Ex { out_arg } => (2, out_arg),
        CallResult::Length => (3, 0),
        CallResult::All => (4, 0),
        CallResult::Descriptor { flags } => (5, u8::from(flags)),
    };
    call | result << 8 | u64::from(out_arg) << 16
}
