//! Ends of connections, sessions and processes, put off so that none overtakes the bytes before it.

use crate::event::Event;

/// What must not overtake the bytes before it.
pub fn is_end(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::ConnEof(_) | Event::ConnClose(_) | Event::TlsEnd(_) | Event::Exit { .. }
    )
}

/// Records put off, one after another in one buffer.
#[derive(Default)]
pub struct Ends {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl Ends {
    pub fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.lengths.push(record.len());
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |len| {
            let (record, after) = rest.split_at(*len);
            rest = after;
            record
        })
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }
}
