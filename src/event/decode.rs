//! Decoding of kernel events. Layout: [`super::layout`].

use super::layout::{self, kind, size};
use super::{
    Bound, ConnEnd, ConnId, ConnOpen, Data, Dir, Event, Exec, KernelTime, Role, Source, Tls, TlsId,
    Verdict,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why a record is not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("record of {len} bytes is too short for event kind {kind}")]
    Short { kind: u16, len: usize },
    #[error("event version {0}, this agent reads version {want}", want = layout::VERSION)]
    Version(u16),
    #[error("unknown event kind {0}")]
    Kind(u16),
    #[error("field {0} holds {1}, which has no meaning")]
    Value(&'static str, u64),
}

/// Reads the record of one event.
///
/// # Errors
/// When the record is not an event of this version. Nothing else can be wrong with it.
pub fn decode(record: &[u8]) -> Result<Event<'_>, Error> {
    let r = Reader { record };
    if record.len() < size::HEADER {
        return Err(Error::Short {
            kind: 0,
            len: record.len(),
        });
    }
    let version = r.u16(2);
    if version != layout::VERSION {
        return Err(Error::Version(version));
    }
    let kind = r.u16(0);
    let (need, read): (usize, Read) = match kind {
        kind::DATA => (size::DATA, data),
        kind::CONN_OPEN => (size::CONN_OPEN, conn_open),
        kind::CONN_EOF => (size::CONN_END, |r| Ok(Event::ConnEof(conn_end(r)?))),
        kind::CONN_CLOSE => (size::CONN_END, |r| Ok(Event::ConnClose(conn_end(r)?))),
        kind::TLS_BIND => (size::TLS_SHORT, |r| Ok(Event::TlsBind(tls(r)?))),
        kind::TLS_END => (size::TLS_SHORT, |r| Ok(Event::TlsEnd(tls(r)?))),
        kind::EXEC => (size::EXEC, exec),
        kind::EXIT => (size::EXIT, |r| {
            Ok(Event::Exit {
                time: r.time(),
                pid: r.u32(4),
            })
        }),
        other => return Err(Error::Kind(other)),
    };
    if record.len() < need {
        return Err(Error::Short {
            kind,
            len: record.len(),
        });
    }
    read(r)
}

/// Bytes of a variable of an environment at the most.
const VARIABLE_MAX: usize = (size::EXEC_ENVIRON - size::EXEC) / 4;

/// Reads the fields of one kind of event, once the record is known to be long enough.
type Read = for<'a> fn(Reader<'a>) -> Result<Event<'a>, Error>;

#[derive(Clone, Copy)]
struct Reader<'a> {
    record: &'a [u8],
}

// Every offset is below the size that `decode` checked.
impl<'a> Reader<'a> {
    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.record[at..at + N]);
        out
    }

    fn u8(self, at: usize) -> u8 {
        self.record[at]
    }

    fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    fn time(self) -> KernelTime {
        KernelTime(self.u64(8))
    }

    fn conn(self, at: usize) -> Option<ConnId> {
        Some(self.u64(at)).filter(|id| *id != 0).map(ConnId)
    }

    fn tls(self, at: usize) -> Option<TlsId> {
        Some(self.u64(at)).filter(|id| *id != 0).map(TlsId)
    }

    fn text(self, at: usize, len: usize) -> &'a [u8] {
        let field = &self.record[at..at + len];
        let end = memchr::memchr(0, field).unwrap_or(len);
        &field[..end]
    }
}

fn data(r: Reader<'_>) -> Result<Event<'_>, Error> {
    let captured = r.u32(56) as usize;
    let bytes = r
        .record
        .get(size::DATA..size::DATA + captured)
        .ok_or(Error::Short {
            kind: kind::DATA,
            len: r.record.len(),
        })?;
    let dir = match r.u8(68) {
        0 => Dir::Read,
        1 => Dir::Write,
        other => return Err(Error::Value("dir", other.into())),
    };
    let source = match r.u8(69) {
        0 => Source::Socket,
        1 => Source::Tls,
        2 => Source::Hello,
        other => return Err(Error::Value("source", other.into())),
    };
    Ok(Event::Data(Data {
        time: r.time(),
        entry: KernelTime(r.u64(16)),
        pid: r.u32(4),
        tid: r.u32(64),
        conn: r.conn(24),
        tls: r.tls(32),
        offset: r.u64(40),
        op_len: r.u32(48),
        op_offset: r.u32(52),
        turn: r.u32(60),
        dir,
        source,
        bound: bound(r.u8(71))?,
        flags: r.u8(70),
        bytes,
    }))
}

fn bound(value: u8) -> Result<Bound, Error> {
    match value {
        0 => Ok(Bound::None),
        1 => Ok(Bound::Next),
        2 => Ok(Bound::Prev),
        3 => Ok(Bound::Exact),
        4 => Ok(Bound::Hello),
        other => Err(Error::Value("bound", other.into())),
    }
}

fn conn_open(r: Reader<'_>) -> Result<Event<'_>, Error> {
    let family = r.u8(60);
    let address = |at: usize| match family {
        4 => Ok(IpAddr::V4(Ipv4Addr::from(r.array::<4>(at)))),
        6 => Ok(IpAddr::V6(Ipv6Addr::from(r.array::<16>(at)))),
        other => Err(Error::Value("family", other.into())),
    };
    let role = match r.u8(61) {
        0 => None,
        1 => Some(Role::Client),
        2 => Some(Role::Server),
        other => return Err(Error::Value("role", other.into())),
    };
    Ok(Event::ConnOpen(ConnOpen {
        time: r.time(),
        pid: r.u32(4),
        conn: r.conn(16).ok_or(Error::Value("conn_id", 0))?,
        local: SocketAddr::new(address(24)?, r.u16(56)),
        remote: SocketAddr::new(address(40)?, r.u16(58)),
        role,
        whole: r.u8(62) & layout::CONN_WHOLE != 0,
        netns: r.u32(64),
        local_isn: r.u32(68),
        remote_isn: r.u32(72),
    }))
}

fn conn_end(r: Reader<'_>) -> Result<ConnEnd, Error> {
    let verdict = match r.u8(40) {
        0 => Verdict::Unknown,
        1 => Verdict::Http1,
        2 => Verdict::Http2,
        3 => Verdict::Tls,
        4 => Verdict::Other,
        other => return Err(Error::Value("verdict", other.into())),
    };
    Ok(ConnEnd {
        time: r.time(),
        conn: r.conn(16).ok_or(Error::Value("conn_id", 0))?,
        sent: r.u64(24),
        received: r.u64(32),
        verdict,
        reset: r.u8(41) & layout::CONN_RESET != 0,
        unwanted: r.u8(41) & layout::CONN_UNWANTED != 0,
        turn: r.u32(44),
    })
}

fn tls(r: Reader<'_>) -> Result<Tls, Error> {
    Ok(Tls {
        time: r.time(),
        pid: r.u32(4),
        tls: r.tls(16).ok_or(Error::Value("tls_id", 0))?,
        conn: r.conn(24),
        bound: bound(r.u8(32))?,
        turn: r.u32(36),
        moved: (r.record.len() >= size::TLS).then(|| [r.u64(40), r.u64(48)]),
    })
}

fn exec(r: Reader<'_>) -> Result<Event<'_>, Error> {
    let has_environ = r.record.len() >= size::EXEC_ENVIRON;
    let variable = |index| match has_environ {
        true => r.text(size::EXEC + index * VARIABLE_MAX, VARIABLE_MAX),
        false => &[],
    };
    Ok(Event::Exec(Exec {
        time: r.time(),
        pid: r.u32(4),
        start_boottime_ns: r.u64(16),
        comm: r.text(24, 16),
        path: r.text(40, 256),
        environ: [0, 1, 2, 3].map(variable),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_of_every_kind_is_an_error_and_never_a_panic() {
        for kind in 0..=9u16 {
            let mut record = vec![0u8; 400];
            record[..2].copy_from_slice(&kind.to_le_bytes());
            record[2..4].copy_from_slice(&layout::VERSION.to_le_bytes());
            record[16] = 1;
            record[60] = 4;
            for len in 0..record.len() {
                let result = decode(&record[..len]);
                if len < size::HEADER {
                    assert!(matches!(result, Err(Error::Short { .. })));
                }
            }
            assert_eq!(decode(&record).is_ok(), (1..=8).contains(&kind), "{kind}");
        }
    }

    #[test]
    fn a_captured_length_past_the_record_is_refused() {
        let mut record = vec![0u8; size::DATA + 4];
        record[0] = kind::DATA as u8;
        record[2..4].copy_from_slice(&layout::VERSION.to_le_bytes());
        record[56] = 5;
        assert!(matches!(decode(&record), Err(Error::Short { .. })));
        record[56] = 4;
        assert!(matches!(decode(&record), Ok(Event::Data(d)) if d.bytes.len() == 4));
    }
}
