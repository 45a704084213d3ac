//! What a transaction looks like on stdout.

use super::{access, console, escape, span};
use crate::config::AccessLogs;
use crate::redact::Capture;
use crate::rules::Level;
use crate::sink::PayloadLink;
use crate::sink::otlp::{EncodeOptions, KnownMethods};
use std::io::IsTerminal;

/// A form of lines, each a whole number of them for one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// For people. Shows `detail` at most, and what the level keeps.
    Console { detail: Level, colour: bool },
    /// The span as one flat JSON object a line.
    Spans(EncodeOptions),
    /// JSON with QTap's keys, one object a line; shows `mode` at most.
    AccessLogs { mode: Level },
}

impl Form {
    /// Of an event store: readable lines on a terminal, else NDJSON.
    pub fn of_event_store() -> Form {
        if std::io::stdout().is_terminal() {
            return Form::Console {
                detail: Level::Summary,
                colour: colour(),
            };
        }
        Form::Spans(EncodeOptions {
            known_methods: KnownMethods::from_environment(),
        })
    }

    /// Of the plugin `access_logs`.
    pub fn of_access_logs(access: &AccessLogs) -> Form {
        match access.json {
            true => Form::AccessLogs {
                mode: access.highest(),
            },
            false => Form::Console {
                detail: access.highest(),
                colour: colour(),
            },
        }
    }

    /// Bytes that the lines of a capture have.
    pub fn measure(&self, capture: &Capture, link: Option<&PayloadLink>) -> usize {
        let mut lines = Vec::new();
        self.push(&mut lines, capture, link);
        lines.len()
    }

    /// Appends the lines of a capture, the last with its line break.
    pub(super) fn push(&self, out: &mut Vec<u8>, capture: &Capture, link: Option<&PayloadLink>) {
        match self {
            Form::Console { detail, colour } => {
                let mut text = String::with_capacity(256);
                let detail = capture.decision.level.min(*detail);
                console::push(&mut text, capture, link, detail, *colour);
                out.extend_from_slice(text.as_bytes());
            }
            Form::Spans(options) => {
                escape::push_json(out, span::encode(capture, link, options));
                out.push(b'\n');
            }
            Form::AccessLogs { mode } => {
                let mode = capture.decision.level.min(*mode);
                escape::push_json(out, access::encode(capture, link, mode));
                out.push(b'\n');
            }
        }
    }

    /// Whether transactions show before they end: access logs in JSON are read by programs that count lines.
    pub(super) fn takes_progress(&self) -> bool {
        match self {
            Form::Console { .. } | Form::Spans(_) => true,
            Form::AccessLogs { .. } => false,
        }
    }

    /// Appends the line of a report of a transaction that goes on.
    pub(super) fn push_progress(&self, out: &mut Vec<u8>, capture: &Capture) {
        match self {
            Form::Console { .. } => {
                let mut text = String::with_capacity(256);
                console::push_progress(&mut text, capture);
                out.extend_from_slice(text.as_bytes());
            }
            Form::Spans(options) => {
                escape::push_json(out, span::encode_progress(capture, options));
                out.push(b'\n');
            }
            Form::AccessLogs { .. } => {}
        }
    }

    /// Whether lines may hold all that was kept of bodies.
    pub(super) fn has_whole_bodies(&self) -> bool {
        matches!(self, Form::AccessLogs { mode: Level::Full })
    }
}

/// Colours are for terminals, and for those who did not refuse them (no-color.org).
fn colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !refused
}
