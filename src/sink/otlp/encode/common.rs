//! What span and log record of one capture say alike, read and encoded once for both.

use super::attributes::{Attributes, OF_SPAN};
use super::http::{self, Outcome, Web};
use super::{EncodeOptions, span};
use crate::redact::Capture;
use crate::rules::Level;
use crate::sink::PayloadLink;
use std::cell::Cell;

/// A buffer is kept up to this size, bytes.
const KEPT: usize = 256 << 10;

thread_local! {
    /// Memory of the attributes of one capture, used for the next.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A capture on its way into messages.
pub struct Common<'a> {
    pub(super) capture: &'a Capture,
    pub(super) options: &'a EncodeOptions,
    pub(super) level: Level,
    pub(super) outcome: Outcome,
    pub(super) web: Web<'a>,
    /// Attributes that both have, as those of a span.
    pub(super) alike: Attributes,
}

impl<'a> Common<'a> {
    pub fn new(
        capture: &'a Capture,
        link: Option<&PayloadLink>,
        options: &'a EncodeOptions,
    ) -> Common<'a> {
        Common::at(capture.decision.level, capture, link, options)
    }

    /// Cut down to `level` where that is below the capture's own.
    pub fn at(
        level: Level,
        capture: &'a Capture,
        link: Option<&PayloadLink>,
        options: &'a EncodeOptions,
    ) -> Common<'a> {
        let mut common = Common {
            capture,
            options,
            level,
            outcome: http::outcome(&capture.transaction),
            web: http::web(capture),
            alike: Attributes::of(OF_SPAN, BUFFER.take()),
        };
        span::alike(&mut common, link);
        common
    }
}

impl Drop for Common<'_> {
    fn drop(&mut self) {
        let mut buffer = self.alike.take_buffer();
        if buffer.capacity() <= KEPT {
            buffer.clear();
            BUFFER.set(buffer);
        }
    }
}
