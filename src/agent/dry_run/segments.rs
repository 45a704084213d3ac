//! What payloads would add to the segments of a store, which are made and let go.

use crate::config::Layout;
use crate::redact::Capture;
use crate::sink::payload::segment::{AddError, Segment};
use std::time::{Duration, SystemTime};

/// The segments of one store; one at a time is open.
pub(super) struct Segments {
    open: Option<Open>,
    bytes: u64,
    time: Duration,
}

struct Open {
    segment: Segment,
    /// When it is closed at the latest.
    until: SystemTime,
}

/// What one payload adds.
pub(super) struct Added {
    /// Bytes in the store: the payload's frame, and the index of the segment before, where this one begins another.
    pub stored: usize,
    /// Bytes of the document.
    pub size: usize,
    /// First and last byte.
    pub range: (u64, u64),
}

impl Segments {
    /// None: the layout has none.
    pub fn of(layout: Layout) -> Option<Segments> {
        match layout {
            Layout::Object => None,
            Layout::Segment { bytes, time } => Some(Segments {
                open: None,
                bytes,
                time,
            }),
        }
    }

    /// Takes a payload; its time goes by when its transaction ended. None: it cannot be compressed, and the log says so.
    pub fn add(&mut self, capture: &Capture) -> Option<Added> {
        match self.try_add(capture) {
            Ok(added) => Some(added),
            Err(error) => {
                tracing::warn!(%error, "a payload is not measured");
                None
            }
        }
    }

    fn try_add(&mut self, capture: &Capture) -> Result<Added, AddError> {
        let full =
            |open: &Open| open.segment.len() as u64 >= self.bytes || capture.end >= open.until;
        let index = match self.open.take_if(|open| full(open)) {
            Some(open) => {
                let frames = open.segment.len();
                open.segment.finish()?.len() - frames
            }
            None => 0,
        };
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open {
                segment: Segment::new()?,
                until: capture.end + self.time,
            }),
        };
        let added = open.segment.add(capture, usize::MAX)?;
        let frame = usize::try_from(added.last - added.first + 1).unwrap_or(usize::MAX);
        Ok(Added {
            stored: index + frame,
            size: added.size,
            range: (added.first, added.last),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::sample::{body, policy, redact, transaction};
    use crate::rules::Level;

    #[test]
    fn what_payloads_add_is_what_their_segments_have() {
        let layout = Layout::Segment {
            bytes: 20_000,
            time: Duration::from_secs(60),
        };
        let mut segments = Segments::of(layout).expect("segments");
        let mut random = fastrand::Rng::with_seed(1);
        let (mut sum, mut sizes, mut begun) = (0, 0, 0);
        for number in 0..60 {
            let mut t = transaction(&format!("/{number}"), &[("host", "h")], &[]);
            let content: Vec<u8> = (0..900).map(|_| random.u8(..)).collect();
            t.request.as_mut().expect("a request").body = body(&content);
            let (capture, _) = redact(&policy(), t, Level::Full);
            let added = segments.add(&capture).expect("measured");
            sum += added.stored;
            sizes += added.size;
            begun += usize::from(added.range.0 == 0);
        }
        assert!(begun >= 3, "{begun}");
        // Random bytes do not compress, base64 of them does.
        assert!(sum > 60 * 900 && sum < sizes, "{sum} of {sizes}");
        assert!(Segments::of(Layout::Object).is_none());
    }
}
