//! The hellos at the beginning of a TLS connection (RFC 8446 §4.1, RFC 5246 §7.4.1).
//!
//! Enters: the first raw TLS records of each direction. Leaves: a [`TlsInfo`], and the connection's [`Key`].
//! Holds: memory is bounded for each direction; what is cut off or damaged gives what can be read of it.

use crate::event::{Data, Dir};
use crate::join::Key;
use crate::transaction::TlsInfo;

/// Bytes kept of each direction: what the kernel programs copy (`PS_HELLO_MAX`).
const KEPT_MAX: usize = 2048;
/// Operations and bytes after which a direction without a hello is given up.
const OPERATIONS_MAX: u32 = 16;
const BYTES_MAX: u64 = 16 * 1024;
/// Bytes that tell a record with a hello from other bytes.
const MARK: usize = 10;
/// Random of a ServerHello that asks the client to try again (RFC 8446 §4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// Names and protocols longer than this are left out.
const NAME_MAX: usize = 255;
/// Most protocols that an offer lists.
const ALPN_MAX: usize = 32;

/// Collects and reads the hellos of one connection.
#[derive(Default)]
pub struct Hellos {
    directions: [Collector; 2],
    read: Hello,
    /// Who sent the ClientHello.
    client: Option<Dir>,
}

/// What hellos said.
#[derive(Default)]
struct Hello {
    info: TlsInfo,
    client_random: Option<[u8; 32]>,
    server_random: Option<[u8; 32]>,
    /// The ClientHello was read to its end, and announces no early data (RFC 8446 §4.2.10).
    no_early_data: bool,
}

impl Hellos {
    /// Takes raw bytes of the socket.
    pub fn push(&mut self, data: &Data<'_>) {
        let (own, other) = match (data.dir, &mut self.directions) {
            (Dir::Read, [read, write]) => (read, write),
            (Dir::Write, [read, write]) => (write, read),
        };
        if own.push(data, other.done) {
            match handshake_type(&own.bytes) {
                CLIENT_HELLO => {
                    own.done |= client_hello(&own.bytes, &mut self.read);
                    self.client = Some(data.dir);
                }
                _ => own.done |= server_hello(&own.bytes, &mut self.read),
            }
        }
        if own.done {
            own.bytes = Vec::new();
        }
    }

    /// What the hellos said so far.
    pub fn info(&self) -> &TlsInfo {
        &self.read.info
    }

    /// What the other end knows too, and nobody chose alone. None: not both hellos were seen.
    pub fn key(&self) -> Option<Key> {
        Some(Key::Tls {
            client: self.read.client_random?,
            server: self.read.server_random?,
        })
    }

    /// No byte of plaintext came before the handshake's end.
    pub fn no_early_data(&self) -> bool {
        self.read.no_early_data
    }

    /// This end sent the ClientHello.
    pub fn is_client(&self) -> bool {
        self.client == Some(Dir::Write)
    }

    /// Bytes of memory beyond the structure itself.
    pub fn memory(&self) -> usize {
        self.directions.iter().map(|d| d.bytes.capacity()).sum()
    }
}

/// Finds the hello in one direction.
#[derive(Default)]
struct Collector {
    /// From the first byte of a record that may hold a hello.
    bytes: Vec<u8>,
    next: Option<u64>,
    operations: u32,
    seen: u64,
    done: bool,
}

impl Collector {
    /// True: `bytes` may hold more of a hello than before.
    fn push(&mut self, data: &Data<'_>, other_found: bool) -> bool {
        if self.done || self.gives_up(data, other_found) {
            return false;
        }
        let hole = self.next.is_some_and(|next| next != data.offset);
        self.next = Some(data.offset.saturating_add(data.bytes.len() as u64));
        if hole {
            self.bytes.clear();
        }
        let op_start = data.op_offset == 0;
        if !self.bytes.is_empty() {
            self.append(data.bytes);
        }
        if self.bytes.is_empty() && op_start {
            // A proxy may have put the client's address in front.
            self.append(skip_proxy_header(data.bytes));
        }
        if !is_hello(&self.bytes) {
            self.bytes.clear();
        }
        self.bytes.len() >= MARK
    }

    fn gives_up(&mut self, data: &Data<'_>, other_found: bool) -> bool {
        self.operations = self
            .operations
            .saturating_add(u32::from(data.op_offset == 0));
        self.seen = self.seen.saturating_add(data.bytes.len() as u64);
        let tired = self.operations > OPERATIONS_MAX && self.seen > BYTES_MAX;
        self.done |= tired && !other_found && self.bytes.is_empty();
        self.done
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = KEPT_MAX.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        if !is_hello(&self.bytes) {
            self.bytes.clear();
        }
    }
}

const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: u8 = 20;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// Whether bytes are a record with a hello, or may become one.
fn is_hello(bytes: &[u8]) -> bool {
    let fits = |at: usize, ok: fn(u8) -> bool| bytes.get(at).is_none_or(|b| ok(*b));
    fits(0, |b| b == HANDSHAKE)
        && fits(1, |b| b == 3)
        && fits(5, |b| b == CLIENT_HELLO || b == SERVER_HELLO)
        && fits(9, |b| b == 3)
}

fn handshake_type(bytes: &[u8]) -> u8 {
    bytes.get(5).copied().unwrap_or(0)
}

/// What follows a PROXY protocol header, version 1 or 2.
fn skip_proxy_header(bytes: &[u8]) -> &[u8] {
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let skip = if bytes.starts_with(V2) {
        match bytes.get(14..16) {
            Some([high, low]) => 16 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        }
    } else if bytes.starts_with(b"PROXY ") {
        let line = &bytes[..bytes.len().min(107)];
        memchr::memchr(b'\n', line).map_or(0, |at| at + 1)
    } else {
        0
    };
    bytes.get(skip..).unwrap_or(&[])
}

/// The handshake messages in records of one direction, joined; what comes in front of the first encrypted record.
fn handshake(mut bytes: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(bytes.len());
    while let [kind, 3, _, high, low, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let fragment = &rest[..len.min(rest.len())];
        match *kind {
            HANDSHAKE => joined.extend_from_slice(fragment),
            CHANGE_CIPHER_SPEC => {}
            _ => break,
        }
        bytes = rest.get(len..).unwrap_or(&[]);
    }
    joined
}

/// A cursor that never reads past its end.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    /// A vector with a length of one byte.
    fn vec8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    /// A vector with a length of two bytes.
    fn vec16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// The body of the next handshake message with its type, and whether all of it is there.
    fn message(&mut self) -> Option<(u8, &'a [u8], bool)> {
        let kind = self.u8()?;
        let len = self.take(3)?;
        let len = u32::from_be_bytes([0, len[0], len[1], len[2]]) as usize;
        let whole = len <= self.0.len();
        Some((kind, self.take(len.min(self.0.len()))?, whole))
    }

    /// The next extension; the last one may be cut.
    fn extension(&mut self) -> Option<(u16, &'a [u8])> {
        let kind = self.u16()?;
        Some((kind, self.vec16()?))
    }
}

/// Reads a ClientHello. True: all of it was there.
fn client_hello(records: &[u8], read: &mut Hello) -> bool {
    let joined = handshake(records);
    let Some((CLIENT_HELLO, body, whole)) = Cursor(&joined).message() else {
        return false;
    };
    // A hello that is cut off, or kept in part only, gives what is in front of the cut.
    let fields = read_client_hello(body, read);
    read.no_early_data = whole && fields == Some(Early::No);
    whole || records.len() >= KEPT_MAX
}

/// Whether a client announces early data.
#[derive(PartialEq, Eq)]
enum Early {
    Yes,
    No,
}

/// None: the hello ends before its extensions do.
fn read_client_hello(body: &[u8], read: &mut Hello) -> Option<Early> {
    let mut c = Cursor(body);
    let mut early = Early::No;
    c.u16()?;
    // A client that is asked to try again sends the same (RFC 8446 §4.1.2).
    // Cannot fail: 32 bytes are an array of 32.
    let random = c.take(32)?.try_into().ok()?;
    read.client_random.get_or_insert(random);
    c.vec8()?; // session id
    c.vec16()?; // cipher suites
    c.vec8()?; // compression methods
    let info = &mut read.info;
    // Before TLS 1.3 a hello may have none.
    let extensions = c.u16().unwrap_or(0);
    let whole = c.0.len() >= usize::from(extensions);
    while let Some((kind, content)) = c.extension() {
        match kind {
            0 => info.sni = server_name(content),
            16 => info.alpn_offered = protocols(content).unwrap_or_default(),
            42 => early = Early::Yes,
            _ => {}
        }
    }
    whole.then_some(early)
}

/// The DNS name of a `server_name` extension (RFC 6066 §3).
fn server_name(content: &[u8]) -> Option<String> {
    let mut names = Cursor(Cursor(content).vec16()?);
    while let Some(kind) = names.u8() {
        let name = names.vec16()?;
        if kind == 0 {
            return text(name);
        }
    }
    None
}

/// The names of an ALPN extension (RFC 7301 §3.1).
fn protocols(content: &[u8]) -> Option<Vec<String>> {
    let mut list = Cursor(Cursor(content).vec16()?);
    let mut names = Vec::new();
    while let Some(name) = list.vec8() {
        if names.len() < ALPN_MAX {
            names.extend(text(name));
        }
    }
    Some(names)
}

fn text(bytes: &[u8]) -> Option<String> {
    let fits =
        !bytes.is_empty() && bytes.len() <= NAME_MAX && bytes.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// Reads the first ServerHello that does not ask for another ClientHello. True: it was there whole.
fn server_hello(records: &[u8], read: &mut Hello) -> bool {
    let joined = handshake(records);
    let mut c = Cursor(&joined);
    while let Some((kind, body, whole)) = c.message() {
        if kind != SERVER_HELLO {
            return true;
        }
        if body.get(2..34) == Some(&RETRY_RANDOM) {
            continue;
        }
        return read_server_hello(body, read).is_some() && whole || records.len() >= KEPT_MAX;
    }
    false
}

fn read_server_hello(body: &[u8], read: &mut Hello) -> Option<()> {
    let mut c = Cursor(body);
    let legacy = c.u16()?;
    // Cannot fail: 32 bytes are an array of 32.
    let random = c.take(32)?.try_into().ok()?;
    read.server_random.get_or_insert(random);
    let info = &mut read.info;
    info.version = version(legacy);
    c.vec8()?; // session id
    c.take(3)?; // cipher suite, compression method
    if c.u16().is_some() {
        while let Some((kind, content)) = c.extension() {
            // supported_versions (RFC 8446 §4.2.1)
            if kind == 43
                && let Some(selected) = Cursor(content).u16()
            {
                info.version = version(selected);
            }
        }
    }
    Some(())
}

/// `tls.protocol.version` of the semantic conventions.
fn version(number: u16) -> Option<&'static str> {
    match number {
        0x0301 => Some("1.0"),
        0x0302 => Some("1.1"),
        0x0303 => Some("1.2"),
        0x0304 => Some("1.3"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;
