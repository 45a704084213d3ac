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
    pub fn of_event_store(known_methods: &KnownMethods) -> Form {
        if std::io::stdout().is_terminal() {
            return Form::Console {
                detail: Level::Summary,
                colour: colour(),
            };
        }
        Form::Spans(EncodeOptions {
            known_methods: known_methods.clone(),
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
    pub fn push(&self, out: &mut Vec<u8>, capture: &Capture, link: Option<&PayloadLink>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};
    use crate::event::Role;
    use crate::sink::testing;

    /// The form that a configuration with this `config` of access_logs has.
    fn form(config: &str) -> Form {
        let text = format!(
            "version: 2\nstacks: {{s: {{plugins: [{{type: access_logs, config: {config}}}]}}}}\n"
        );
        let loaded = load(&text, "test", &Environment::default()).expect("a configuration");
        let stack = loaded.config.stacks.get("s").expect("the stack");
        Form::of_access_logs(stack.access_logs.as_ref().expect("access_logs"))
    }

    #[test]
    fn the_configuration_of_access_logs_says_what_a_line_holds_and_in_which_form() {
        const BODY: &str = "hello";
        // A mark of the form, whether there are headers, whether there are bodies.
        for (config, mark, headers, bodies) in [
            ("{}", " → GET ", false, false),
            ("{mode: summary, format: console}", " → GET ", false, false),
            (
                "{mode: details, format: console}",
                "\n  REQUEST\n",
                true,
                false,
            ),
            ("{mode: full, format: console}", "\n  REQUEST\n", true, true),
            (
                "{mode: summary, format: json}",
                "\"bin\":\"curl\"",
                false,
                false,
            ),
            ("{mode: details, format: json}", "\"meta\":{", true, false),
            ("{mode: full, format: json}", "\"meta\":{", true, true),
            (
                "{mode: summary, format: json, rules: [{name: r, expr: 'true', mode: full}]}",
                "\"meta\":{",
                true,
                true,
            ),
        ] {
            let mut capture = testing::capture(Role::Client);
            // What the mode, or a rule's, lets through.
            capture.decision.level = Level::Full;
            capture.facts.response_content_type = Some("text/plain".into());
            let mut line = Vec::new();
            form(config).push(&mut line, &capture, None);
            let line = String::from_utf8(line).expect("lines are UTF-8");
            assert!(line.contains(mark), "{config}: {line}");
            assert_eq!(line.contains("User-Agent"), headers, "{config}: {line}");
            assert_eq!(line.contains(BODY), bodies, "{config}: {line}");
        }
    }

    #[test]
    fn a_line_holds_no_more_than_the_level_that_a_rule_gave() {
        for json in ["console", "json"] {
            let form = form(&format!(
                "{{format: {json}, mode: full, rules: [{{expr: 'http.res.status < 400', mode: summary}}]}}"
            ));
            let mut capture = testing::capture(Role::Client);
            capture.decision.level = Level::Summary;
            let mut line = Vec::new();
            form.push(&mut line, &capture, None);
            let line = String::from_utf8(line).expect("lines are UTF-8");
            assert!(
                !line.contains("User-Agent") && line.lines().count() == 1,
                "{line}"
            );
        }
    }
}
