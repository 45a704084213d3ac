//! Kernel events, decoded.
//!
//! Enters: bytes of one ring-buffer record, or of one record of an event file.
//! Leaves: an [`Event`] that borrows from them.
//! Holds: decoding never allocates and never panics; a record that does not fit is a [`decode::Error`],
//! which is counted and passed over.

use std::net::SocketAddr;

pub mod build;
pub mod decode;
pub mod layout;
pub mod record;

pub use decode::decode;

/// Kernel time: nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KernelTime(pub u64);

impl KernelTime {
    /// Nanoseconds from `earlier` to `self`; 0 where `earlier` is later.
    pub fn since(self, earlier: KernelTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One socket between two peers, as the kernel programs number them. Unique while the agent runs; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// One TLS session object (an `SSL *` of one process). Unique while the agent runs; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlsId(pub u64);

/// Direction of an operation, seen from the process that did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dir {
    /// Received by this process.
    Read,
    /// Sent by this process.
    Write,
}

impl Dir {
    pub fn other(self) -> Dir {
        match self {
            Dir::Read => Dir::Write,
            Dir::Write => Dir::Read,
        }
    }
}

/// What the kernel programs copy of a stream's plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Want {
    /// Bytes are counted, nothing is copied.
    Nothing,
    /// All but content, which is counted; where that cannot be told apart, all.
    Heads,
    All,
}

impl Want {
    /// `enum ps_want`.
    pub(crate) fn code(self) -> u32 {
        match self {
            Want::All => 0,
            Want::Heads => 1,
            Want::Nothing => 2,
        }
    }

    /// As a policy: above the bit of `PS_POLICY_IGNORE`.
    pub(crate) fn policy(self) -> [u8; 4] {
        (self.code() << 1).to_ne_bytes()
    }
}

/// Where the bytes of a data event were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The socket's bytes are the plaintext.
    Socket,
    /// Plaintext from a call of a TLS library.
    Tls,
    /// The first raw TLS records on the socket (ClientHello, ServerHello).
    Hello,
}

/// Which side of the TCP connection this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It called `connect`.
    Client,
    /// It accepted.
    Server,
}

/// How sure the binding of a TLS session to a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// Not bound.
    None,
    /// The thread's next send after the TLS call.
    Next,
    /// The thread's last receive before the TLS call.
    Prev,
    /// Socket I/O inside the TLS call.
    Exact,
    /// The session has the random of the ClientHello that went over the connection.
    Hello,
}

/// What a connection carries, as far as its first bytes told the kernel program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Unknown,
    Http1,
    Http2,
    Tls,
    Other,
}

/// Bytes that one operation moved in one direction of a stream, or a piece of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// End of the operation.
    pub time: KernelTime,
    /// Start of the call; equal to `time` where unknown (socket operations).
    pub entry: KernelTime,
    /// Process (thread group) and thread that did it.
    pub pid: u32,
    pub tid: u32,
    /// None: the TLS session is not bound to a connection yet.
    pub conn: Option<ConnId>,
    /// None for [`Source::Socket`] and [`Source::Hello`].
    pub tls: Option<TlsId>,
    /// Offset of `bytes[0]` in this direction of the stream, in bytes.
    pub offset: u64,
    /// Length of the whole operation, in bytes.
    pub op_len: u32,
    /// Offset of `bytes[0]` in the operation.
    pub op_offset: u32,
    /// Changes of direction on the stream so far.
    pub turn: u32,
    pub dir: Dir,
    pub source: Source,
    pub bound: Bound,
    /// `layout::flag`.
    pub flags: u8,
    pub bytes: &'a [u8],
}

/// First I/O on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnOpen {
    pub time: KernelTime,
    pub pid: u32,
    pub conn: ConnId,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// None: the connection is older than the agent.
    pub role: Option<Role>,
    /// Seen from its handshake on.
    pub whole: bool,
    /// Inode number of the network namespace.
    pub netns: u32,
    pub local_isn: u32,
    pub remote_isn: u32,
}

/// End of a connection, or of its receiving direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnEnd {
    pub time: KernelTime,
    pub conn: ConnId,
    /// Bytes of the socket (for TLS: ciphertext), as far as seen.
    pub sent: u64,
    pub received: u64,
    pub verdict: Verdict,
    /// An operation failed with ECONNRESET or EPIPE.
    pub reset: bool,
    /// Some of its bytes were not copied because nothing of the connection was wanted.
    pub unwanted: bool,
    /// Turn of the last operation, as a data event's; 0: not known, or there was no turn.
    pub turn: u32,
}

/// Binding of a TLS session to a connection, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls {
    pub time: KernelTime,
    pub pid: u32,
    pub tls: TlsId,
    /// None: not known, or doubtful.
    pub conn: Option<ConnId>,
    pub bound: Bound,
    /// Plaintext bytes so far, by [`Dir`], since the kernel programs met the session: what a data event's `offset`
    /// counts. None: the recording does not say.
    pub moved: Option<[u64; 2]>,
    /// Turn of the last call, as a data event's; 0: not known, or there was no turn.
    pub turn: u32,
}

/// A process called `execve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exec<'a> {
    pub time: KernelTime,
    pub pid: u32,
    /// Start of the task, nanoseconds of CLOCK_BOOTTIME.
    pub start_boottime_ns: u64,
    pub comm: &'a [u8],
    /// As given to `execve`; may be relative, cut at 255 bytes.
    pub path: &'a [u8],
    /// `NAME=VALUE` of the variables that a process is known by; empty where it has not that many, or as long a one.
    pub environ: [&'a [u8]; 4],
}

/// One event from the kernel programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    Data(Data<'a>),
    ConnOpen(ConnOpen),
    /// A receive returned 0: nothing more will be read.
    ConnEof(ConnEnd),
    ConnClose(ConnEnd),
    TlsBind(Tls),
    TlsEnd(Tls),
    Exec(Exec<'a>),
    /// The last thread of the process is gone.
    Exit {
        time: KernelTime,
        pid: u32,
    },
}
