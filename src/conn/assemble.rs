//! One direction's bytes in order: what comes twice is trimmed, what does not come is a gap of known length.

use crate::event::layout::flag;
use crate::event::{Data, Dir, Source};
use crate::proto::Piece;
use crate::transaction::Stamp;

/// No stream is longer; only a damaged recording says so.
const OFFSET_MAX: u64 = 1 << 60;
const NOT_WHOLE: u8 = flag::CUT | flag::FAULT | flag::NO_BYTES;

/// Where in its stream a direction is.
#[derive(Default)]
pub struct Assembly {
    /// Offset of the byte that comes next; None before the first event.
    next: Option<u64>,
    last: Option<Stamp>,
    /// What was before the first event was before the agent: it is not missing.
    late: bool,
}

/// What an event is for its direction, in this order.
pub struct Ordered<'a> {
    /// Bytes missing before the piece, and the last operation that was seen before them.
    pub before: Option<(u64, Stamp)>,
    pub piece: Piece<'a>,
    /// Bytes of the same operation missing after the piece.
    pub after: u64,
    /// These were left out on purpose.
    pub skipped: bool,
}

impl Assembly {
    /// `late`: the stream was not seen from its beginning, even where offsets are counted from there.
    pub fn new(late: bool) -> Self {
        Assembly {
            late,
            ..Assembly::default()
        }
    }

    /// Puts an event in its place. None: nothing in it is new.
    pub fn place<'a>(&mut self, data: &Data<'a>) -> Option<Ordered<'a>> {
        let stamp = stamp(data);
        let whole = data.flags & flag::WHOLE != 0;
        let start = data.offset.min(OFFSET_MAX);
        let from_start = whole && !self.late;
        // Sequence numbers tell how much a socket has moved. What it sent is one less where it did not connect, but
        // then requests come in the other direction.
        let counted = whole || data.source == Source::Socket;
        let next = *self.next.get_or_insert(if from_start { 0 } else { start });
        let seen = next.saturating_sub(start);
        let len = data.bytes.len() as u64;
        let after = self.missing_after(data);
        if seen >= len.saturating_add(after) && len.saturating_add(after) > 0 {
            return None;
        }
        let bytes = data
            .bytes
            .get(usize::try_from(seen).unwrap_or(usize::MAX)..)
            .unwrap_or(&[]);
        let before = (start > next).then(|| (start - next, self.last.unwrap_or(stamp)));
        let overlap_after = seen.saturating_sub(len);
        self.next = Some(next.max(start.saturating_add(len).saturating_add(after)));
        self.last = Some(stamp);
        Some(Ordered {
            before,
            piece: Piece {
                bytes,
                offset: counted.then_some(start.saturating_add(seen)),
                op_start: data.op_offset == 0 && seen == 0,
                stamp,
            },
            after: after.saturating_sub(overlap_after),
            skipped: data.flags & flag::SKIPPED != 0,
        })
    }

    /// The stream, counted from its first byte, ends at `total`: bytes missing before that, and the last operation seen.
    pub fn end_at(&mut self, total: u64) -> Option<(u64, Option<Stamp>)> {
        let total = total.min(OFFSET_MAX);
        let unseen = if self.late { total } else { 0 };
        let next = self.next.replace(total).unwrap_or(unseen);
        (total > next).then(|| (total - next, self.last))
    }

    /// Bytes of the operation that no event will bring.
    fn missing_after(&self, data: &Data<'_>) -> u64 {
        if data.flags & (flag::LAST | flag::SKIPPED | NOT_WHOLE) == 0 {
            return 0;
        }
        let end = u64::from(data.op_offset) + data.bytes.len() as u64;
        u64::from(data.op_len).saturating_sub(end)
    }
}

/// A write counts at the call's entry, a read at its return.
fn stamp(data: &Data<'_>) -> Stamp {
    Stamp {
        time: match data.dir {
            Dir::Read => data.time,
            Dir::Write => data.entry,
        },
        pid: data.pid,
        tid: data.tid,
        turn: data.turn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Bound, KernelTime};

    fn data(offset: u64, bytes: &[u8]) -> Data<'_> {
        Data {
            time: KernelTime(2),
            entry: KernelTime(1),
            pid: 1,
            tid: 1,
            conn: None,
            tls: None,
            offset,
            op_len: bytes.len() as u32,
            op_offset: 0,
            turn: 0,
            dir: Dir::Write,
            source: Source::Socket,
            bound: Bound::None,
            flags: flag::WHOLE | flag::LAST,
            bytes,
        }
    }

    fn place(a: &mut Assembly, data: &Data<'_>) -> Option<(u64, Vec<u8>, u64)> {
        let o = a.place(data)?;
        Some((o.before.map_or(0, |b| b.0), o.piece.bytes.to_vec(), o.after))
    }

    #[test]
    fn a_jump_forward_is_a_gap_and_a_step_back_is_trimmed() {
        let mut a = Assembly::default();
        assert_eq!(
            place(&mut a, &data(0, b"abc")),
            Some((0, b"abc".to_vec(), 0))
        );
        assert_eq!(place(&mut a, &data(5, b"fg")), Some((2, b"fg".to_vec(), 0)));
        assert_eq!(place(&mut a, &data(5, b"fg")), None);
        assert_eq!(place(&mut a, &data(6, b"gh")), Some((0, b"h".to_vec(), 0)));
    }

    #[test]
    fn the_first_event_of_a_whole_stream_tells_what_came_before() {
        assert_eq!(
            place(&mut Assembly::default(), &data(7, b"a")),
            Some((7, b"a".to_vec(), 0))
        );
        // Of a socket the offset is known all the same, of a TLS session it is not.
        for (source, offset) in [(Source::Socket, Some(7)), (Source::Tls, None)] {
            let late = Data {
                flags: flag::LAST,
                source,
                ..data(7, b"a")
            };
            let mut a = Assembly::default();
            let ordered = a.place(&late).expect("new");
            assert!(ordered.before.is_none());
            assert_eq!(ordered.piece.offset, offset);
        }
    }

    #[test]
    fn the_rest_of_a_cut_operation_is_missing_at_once() {
        let mut a = Assembly::default();
        let cut = Data {
            op_len: 10,
            flags: flag::WHOLE | flag::CUT,
            ..data(0, b"abc")
        };
        assert_eq!(place(&mut a, &cut), Some((0, b"abc".to_vec(), 7)));
        assert_eq!(place(&mut a, &data(10, b"k")), Some((0, b"k".to_vec(), 0)));
        let unseen = Data {
            op_len: 4,
            flags: flag::WHOLE | flag::NO_BYTES,
            ..data(11, b"")
        };
        assert_eq!(place(&mut a, &unseen), Some((0, vec![], 4)));
        assert_eq!(place(&mut a, &unseen), None);
    }

    #[test]
    fn numbers_of_a_damaged_recording_do_no_harm() {
        let mut a = Assembly::default();
        let odd = Data {
            op_offset: u32::MAX,
            op_len: u32::MAX,
            ..data(u64::MAX, b"abc")
        };
        assert!(a.place(&odd).is_some());
        assert!(a.place(&odd).is_none());
        assert!(a.place(&data(0, b"abc")).is_none());
    }

    #[test]
    fn a_write_counts_at_entry_and_a_read_at_return() {
        let write = data(0, b"a");
        let read = Data {
            dir: Dir::Read,
            ..write
        };
        assert_eq!((stamp(&write).time.0, stamp(&read).time.0), (1, 2));
    }

    #[test]
    fn what_was_left_out_on_purpose_is_told_from_a_loss_before_it() {
        let mut a = Assembly::default();
        assert!(a.place(&data(0, b"abc")).is_some());
        // The kernel programs let the operation end where the bytes left out do.
        let skipped = Data {
            op_len: 15,
            op_offset: 5,
            flags: flag::WHOLE | flag::LAST | flag::SKIPPED,
            ..data(5, b"")
        };
        let ordered = a.place(&skipped).expect("new");
        assert_eq!(ordered.before.map(|b| b.0), Some(2));
        assert_eq!((ordered.after, ordered.skipped), (10, true));
        assert_eq!(place(&mut a, &data(15, b"k")), Some((0, b"k".to_vec(), 0)));
    }
}
