//! Joining the client's and the server's span of one request that carries no trace header (`docs/trace-join.md`).
//!
//! Enters: what both ends of a connection see of it alone, and where in it the request stands. Leaves: ids that both
//! ends compute alike, on one host or on two.
//! Holds: pure; what is not certain gives no ids; a key is never shown: not by `Debug`, not in what leaves, not in logs.

mod ends;
mod kept;

pub use ends::{ClientEnd, ClientEnds};
pub use kept::{KEPT_MAX, Keeper, Kept, KeptError, Store, offer};

use crate::event::{KernelTime, Role};
use crate::redact::HashKey;
use crate::transaction::Request;
use sha2::{Digest, Sha256};
use std::fmt;

/// Begins every message; its last byte ends it.
const NAME: &[u8] = b"trace-join/1\0";
/// Name, two kinds, position, and the longest key.
const MESSAGE_MAX: usize = NAME.len() + 2 + 8 + 64;

/// What tells one connection from all others, at both of its ends and nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// Randoms of the ClientHello and of the ServerHello (RFC 8446 §4.1).
    Tls { client: [u8; 32], server: [u8; 32] },
    /// Initial sequence numbers of TCP: of the side that sends requests, and of the other.
    Tcp { client: u32, server: u32 },
}

/// Says which kind it is, not what it holds: the random of a ClientHello is also the label of a line in a key log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Tls { .. } => "Key::Tls(..)",
            Key::Tcp { .. } => "Key::Tcp(..)",
        })
    }
}

/// What this end knows of a connection for joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub key: Key,
    /// Both ends count the plaintext of HTTP/1 alike: there was no early data (RFC 8446 §2.3) that one of them may not
    /// have seen, or have seen twice.
    pub counted: bool,
    /// When this agent met the connection.
    pub since: KernelTime,
}

/// Where in its connection a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Offset of the request line's first byte in the plaintext from client to server.
    Http1(u64),
    /// Stream identifier (RFC 9113 §5.1.1).
    Http2(u32),
}

impl Known {
    /// Where a request on this connection stands; None where it is not certain, or was pushed by the server.
    pub fn position(&self, request: &Request) -> Option<Position> {
        match (request.offset, request.h2_stream) {
            // A request that asks for an upgrade to h2c is its stream 1 too.
            (Some(offset), _) => self.counted.then_some(Position::Http1(offset)),
            (None, Some(stream)) => (stream % 2 == 1).then_some(Position::Http2(stream)),
            (None, None) => None,
        }
    }
}

/// Ids of the two spans of one request. None is all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinedIds {
    pub trace_id: [u8; 16],
    pub client_span: [u8; 8],
    pub server_span: [u8; 8],
}

/// One request between two processes, as one of its ends sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    pub ids: JoinedIds,
    /// This end.
    pub role: Role,
    /// The other end's span is there, or comes: it can be a parent.
    pub has_client: bool,
}

impl Hop {
    /// Id of this end's span.
    pub fn span_id(&self) -> [u8; 8] {
        match self.role {
            Role::Client => self.ids.client_span,
            Role::Server => self.ids.server_span,
        }
    }

    /// The span that this end's is a child of.
    pub fn parent(&self) -> Option<[u8; 8]> {
        (self.role == Role::Server && self.has_client).then_some(self.ids.client_span)
    }
}

/// Computes ids: alike wherever the site's key is the same. Not `Debug`.
#[derive(Default)]
pub struct Scheme {
    site: Option<HashKey>,
}

impl Scheme {
    /// `site_key`: of all agents that are to meet; None: nothing but what is on the wire.
    pub fn new(site_key: Option<&[u8]>) -> Self {
        Scheme {
            site: site_key.map(HashKey::new),
        }
    }

    /// Ids of the request at `position` of the connection `key`.
    pub fn ids(&self, key: &Key, position: Position) -> JoinedIds {
        let mut message = Message::new();
        message.add(NAME);
        let (kind, number) = match position {
            Position::Http1(offset) => (1, offset),
            Position::Http2(stream) => (2, u64::from(stream)),
        };
        match key {
            Key::Tls { client, server } => {
                message.add(&[1, kind]);
                message.add(&number.to_be_bytes());
                message.add(client);
                message.add(server);
            }
            Key::Tcp { client, server } => {
                message.add(&[2, kind]);
                // Who reads it off sequence numbers knows no more.
                message.add(&(number & u64::from(u32::MAX)).to_be_bytes());
                message.add(&client.to_be_bytes());
                message.add(&server.to_be_bytes());
            }
        }
        let digest: [u8; 32] = match &self.site {
            Some(key) => key.mac(message.bytes()),
            None => Sha256::digest(message.bytes()).into(),
        };
        JoinedIds {
            trace_id: part(&digest, 0),
            client_span: part(&digest, 16),
            server_span: part(&digest, 24),
        }
    }
}

/// What is hashed, on the stack.
struct Message {
    bytes: [u8; MESSAGE_MAX],
    len: usize,
}

impl Message {
    fn new() -> Self {
        Message {
            bytes: [0; MESSAGE_MAX],
            len: 0,
        }
    }

    fn add(&mut self, more: &[u8]) {
        self.bytes[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A part of the digest as an id, which must not be all zeros.
fn part<const N: usize>(digest: &[u8; 32], at: usize) -> [u8; N] {
    let mut id = [0; N];
    id.copy_from_slice(&digest[at..at + N]);
    if id.iter().all(|byte| *byte == 0) {
        id[N - 1] = 1;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn tls() -> Key {
        let byte = |at: usize| u8::try_from(at).expect("below 64");
        Key::Tls {
            client: std::array::from_fn(byte),
            server: std::array::from_fn(|at| byte(at + 32)),
        }
    }

    const TCP: Key = Key::Tcp {
        client: 0x469a_0313,
        server: 0x8d11_a861,
    };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Site key, key, position; trace id, client's span id, server's span id.
    type Vector = (
        &'static [u8],
        Key,
        Position,
        &'static str,
        &'static str,
        &'static str,
    );

    #[test]
    fn the_test_vectors_of_the_specification_come_out() {
        let vectors: [Vector; 7] = [
            (
                b"",
                tls(),
                Position::Http2(1),
                "91b8791a461296793b076a91ba08e4e2",
                "ede2707282a7bd9c",
                "6087cb83d0fcd411",
            ),
            (
                b"",
                tls(),
                Position::Http2(3),
                "71a28edfa00be436e750390ed98301dc",
                "db11102225cc9ce1",
                "6bafc83f5b9f1ab7",
            ),
            (
                b"",
                tls(),
                Position::Http1(0),
                "afe20ffface7c915adebc2a830f10742",
                "91cb19433f8f83e9",
                "77499e85fa9d25a0",
            ),
            (
                b"",
                tls(),
                Position::Http1(78),
                "c92e9d3dcd9728a735147cc36f27d313",
                "6093157c8d5d41a3",
                "6d12efe80f16228c",
            ),
            (
                b"",
                TCP,
                Position::Http1(17890),
                "e951403ad5353e53a832a7ff26946b47",
                "7211b5d0e94a88bd",
                "b7a5abe67d7c2ed0",
            ),
            (
                b"k",
                tls(),
                Position::Http2(1),
                "4a213d020cddd0d1e894525a401d558f",
                "8fa155581dcd8457",
                "1622140ceda99de3",
            ),
            // Past 4 GiB, where sequence numbers have begun anew.
            (
                b"",
                TCP,
                Position::Http1((1 << 32) + 17890),
                "e951403ad5353e53a832a7ff26946b47",
                "7211b5d0e94a88bd",
                "b7a5abe67d7c2ed0",
            ),
        ];
        for (site, key, position, trace, client, server) in vectors {
            let scheme = Scheme::new((!site.is_empty()).then_some(site));
            let ids = scheme.ids(&key, position);
            assert_eq!(
                [
                    hex(&ids.trace_id),
                    hex(&ids.client_span),
                    hex(&ids.server_span)
                ],
                [trace, client, server],
                "{key:?} {position:?}"
            );
        }
    }

    #[test]
    fn neighbours_share_no_id_and_both_ends_keep_the_same_tenth() {
        let scheme = Scheme::default();
        let (mut traces, mut spans, mut kept) = (HashSet::new(), HashSet::new(), 0);
        for offset in 0..20_000 {
            let ids = scheme.ids(&TCP, Position::Http1(offset));
            assert!(traces.insert(ids.trace_id));
            assert!(spans.insert(ids.client_span) && spans.insert(ids.server_span));
            let random = u128::from_be_bytes(ids.trace_id) & ((1 << 56) - 1);
            kept += u32::from(random < (1 << 56) / 10);
        }
        assert!((1850..2150).contains(&kept), "{kept} of 20000");
    }

    #[test]
    fn a_part_of_zeros_is_no_id() {
        assert_eq!(part::<8>(&[0; 32], 16), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(part::<8>(&[7; 32], 24), [7; 8]);
    }

    #[test]
    fn a_key_never_shows_what_it_holds() {
        let known = Known {
            key: tls(),
            counted: true,
            since: KernelTime(1),
        };
        let shown = format!("{known:?} {TCP:?}");
        assert!(shown.contains("Key::Tls(..)") && shown.contains("Key::Tcp(..)"));
        for digits in ["31", "0x1f", "1f", "1184498451"] {
            assert!(!shown.contains(digits), "{shown}");
        }
    }

    #[test]
    fn the_position_is_the_offset_or_the_clients_stream_and_else_unknown() {
        let known = |counted| Known {
            key: TCP,
            counted,
            since: KernelTime(1),
        };
        let request = |offset, h2_stream| Request {
            offset,
            h2_stream,
            ..Request::default()
        };
        for (offset, stream, counted, wanted) in [
            (Some(7), None, true, Some(Position::Http1(7))),
            (Some(7), Some(1), true, Some(Position::Http1(7))),
            (Some(7), None, false, None),
            (None, Some(5), false, Some(Position::Http2(5))),
            (None, Some(2), true, None),
            (None, None, true, None),
        ] {
            assert_eq!(
                known(counted).position(&request(offset, stream)),
                wanted,
                "{offset:?} {stream:?}"
            );
        }
    }
}
