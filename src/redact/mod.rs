//! Redaction: the only way from captured bytes to a sink.
//!
//! Enters: a raw transaction, its level, the policy. Leaves: a [`Redacted`] capture, and how many values each matcher
//! touched.
//! Holds: a [`Redacted`] is made here and nowhere else, and sinks take nothing but [`Redacted`]; what the level does not
//! keep is removed here, so no sink can leak it; raw values have no `Debug` and no serialisation; bytes that were
//! replaced are overwritten with zeros.
//!
//! What is masked by default: values of headers that carry credentials, all cookies, user info of URLs, and parameters
//! that carry credentials in the request target and in headers that are URLs. Rules of the configuration come first;
//! `keep` in one of them is the only way to undo a default. Heads that break the grammar are masked where a secret could
//! hide. In content, the built-in detectors look for secrets, and rules for members of JSON and for patterns; it is
//! decoded and masked when a sink asks ([`Content`]), and what cannot be looked into is left out.

mod body;
mod card;
mod detect;
mod facts;
mod grpc;
mod head;
mod hits;
mod json;
mod limits;
mod matchers;
mod modes;
mod names;
mod pattern;
mod spans;
mod url;
mod view;
mod websocket;

pub use body::{BodyPolicy, Content};
pub use detect::DETECTORS;
pub use facts::Facts;
pub use grpc::Message;
pub use hits::Hits;
pub use matchers::{Dropped, Report};
pub(crate) use modes::HashKey;
pub(crate) use pattern::check_pattern;
pub use websocket::SocketMessage;

use crate::config::{HashKeySource, HttpCapture, RedactMode, RedactPlace};
use crate::enrich::Process;
use crate::routes::Route;
use crate::rules::{Decision, Level};
use crate::sampling::{Sampling, tracestate};
use crate::telemetry::ledger::{BodiesLeftOut, LeftOut};
use crate::transaction::{Progress, TraceContext, Transaction};
use head::Places;
use matchers::BodyRules;
use names::Rules;
use regex::bytes::Regex;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

/// What takes the place of a secret.
pub const MASK: &[u8] = b"REDACTED";

/// A rule or pattern that cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum RedactorError {
    #[error("{what}: `{pattern}` is not a valid pattern: {reason}")]
    Pattern {
        what: String,
        pattern: String,
        reason: String,
    },
    #[error(
        "rule `{0}` hashes, and there is no key: set `hash_key` or `hash_key_file` of `redact`"
    )]
    NoKey(String),
    #[error("{0} redaction rules are more than the 60000 that one stack can have")]
    TooManyRules(usize),
}

/// The redaction policy of a stack, compiled.
pub struct Redactor {
    places: Arc<Places>,
    /// Names that level `headers` keeps; empty: all.
    include: Vec<Regex>,
    exclude: Vec<Regex>,
    as_sent: bool,
    limits: limits::Limits,
    /// Names of the matchers: the built-in ones, then the rules'.
    names: Arc<[Box<str>]>,
}

/// What a capture says beside the transaction.
#[derive(Clone)]
pub struct About {
    /// 32 hex digits, random.
    pub id: String,
    pub process: Arc<Process>,
    pub decision: Decision,
    /// Wall-clock times of `transaction.timing`.
    pub start: SystemTime,
    pub end: SystemTime,
    pub ids: SpanIds,
    pub sampling: Sampling,
    pub route: Option<Route>,
}

impl Redactor {
    /// Compiles the policy of `capture`. An empty list of headers to include means all, as `*` does.
    ///
    /// # Errors
    /// When a glob or regular expression is not valid.
    pub fn new(capture: &HttpCapture) -> Result<Redactor, RedactorError> {
        let rules = &capture.redact;
        if rules.len() > 60_000 {
            return Err(RedactorError::TooManyRules(rules.len()));
        }
        let first = names::BUILT_IN.len() as hits::MatcherId;
        let key = match &capture.hash_key {
            Some(HashKeySource::Text(key)) => Some(modes::HashKey::new(key.expose().as_bytes())),
            Some(HashKeySource::File(_)) | None => None,
        };
        let hashes = rules.iter().find(|r| r.mode == RedactMode::Hash);
        if let (Some(rule), None) = (hashes, &key) {
            return Err(RedactorError::NoKey(rule.name.clone()));
        }
        let with = Arc::new(modes::Substitute { key });
        let place = |place| Rules::new(rules, place, first, &with);
        let own = rules.iter().map(|r| r.name.as_str());
        let names: Arc<[Box<str>]> = names::BUILT_IN
            .into_iter()
            .chain(own)
            .map(Box::from)
            .collect();
        Ok(Redactor {
            places: Arc::new(Places {
                header: place(RedactPlace::Header)?,
                query: place(RedactPlace::Query)?,
                cookie: place(RedactPlace::Cookie)?,
                body: BodyRules::new(rules, first, &with, &names)?,
                ordinary: names::Ordinary::default(),
            }),
            include: match capture.headers_include.iter().any(|g| g == "*") {
                true => Vec::new(),
                false => globs("headers.include", &capture.headers_include)?,
            },
            exclude: globs("headers.exclude", &capture.headers_exclude)?,
            as_sent: capture.body_as_sent,
            limits: limits::Limits::new(capture)?,
            names,
        })
    }

    /// Tells `report` what matchers of content touch: that is known when a sink asks for content.
    pub fn reporting(mut self, report: Report) -> Self {
        if let Some(places) = Arc::get_mut(&mut self.places) {
            places.body.report = Some(report);
        }
        self
    }

    /// The header that names the server is hidden.
    pub fn hides_host(&self) -> bool {
        self.places.masks_header(b"host") || self.places.masks_header(b":authority")
    }

    /// What is left of the value of a header `name`, which is in lower case; None: nothing. What is hidden here is
    /// counted where the header itself is.
    pub fn header_value<'v>(&self, name: &str, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        self.places
            .header_value(name.as_bytes(), value, &mut Hits::new(self.names.clone()))
    }

    /// Masks the secrets of `raw`, and removes what the level does not keep.
    pub fn redact(&self, raw: Raw<Box<Transaction>>, about: About) -> (Redacted, Hits) {
        let Raw(mut transaction) = raw;
        let mut hits = Hits::new(self.names.clone());
        self.places.heads(&mut transaction, &mut hits);
        let facts = Facts::read(&transaction);
        self.cut(&mut transaction, about.decision.level);
        let left_out = self.limit_bodies(&mut transaction, &facts, &about.decision);
        let mut capture = self.capture(transaction, facts, about);
        capture.bodies.left_out = left_out;
        (Redacted(capture), hits)
    }

    /// Masks the secrets of `raw`, and removes all header fields: a report is of level summary, whatever the
    /// transaction's own level is. What was masked is counted at the transaction's end.
    pub fn redact_progress(&self, raw: Raw<Progress>, about: About) -> RedactedProgress {
        let mut transaction = Box::new(raw.0.into_transaction());
        self.places
            .heads(&mut transaction, &mut Hits::new(self.names.clone()));
        let facts = Facts::read(&transaction);
        self.cut(&mut transaction, about.decision.level.min(Level::Summary));
        RedactedProgress(self.capture(transaction, facts, about))
    }

    fn capture(&self, mut transaction: Box<Transaction>, facts: Facts, about: About) -> Capture {
        // It has made the ids, and is for nobody else.
        transaction.connection.join = None;
        let mut ids = about.ids;
        if self.places.masks_header(b"tracestate") {
            ids.tracestate = tracestate::threshold_alone(&ids.tracestate);
            if let Some(link) = &mut ids.link {
                link.tracestate.clear();
            }
        }
        let bodies = BodyPolicy {
            max_bytes: self.limits.max_bytes(&about.decision),
            as_sent: self.as_sent,
            left_out: BodiesLeftOut::default(),
            places: Some(self.places.clone()),
            counted: Arc::default(),
        };
        Capture {
            id: about.id,
            transaction,
            process: about.process,
            decision: about.decision,
            start: about.start,
            end: about.end,
            ids,
            sampling: about.sampling,
            route: about.route,
            facts,
            bodies,
        }
    }
}

fn globs(what: &str, globs: &[String]) -> Result<Vec<Regex>, RedactorError> {
    globs
        .iter()
        .map(|glob| {
            names::glob_regex(glob).map_err(|reason| RedactorError::Pattern {
                what: what.to_owned(),
                pattern: glob.clone(),
                reason,
            })
        })
        .collect()
}

/// Something as captured: may hold secrets. It can be looked at inside the crate, and leaves it through redaction only.
pub struct Raw<T>(pub(crate) T);

impl<T> Raw<T> {
    /// Marks `value` as captured and not redacted.
    pub fn new(value: T) -> Self {
        Raw(value)
    }

    /// The value as captured, secrets included. For tests that compare what was captured with what was sent;
    /// no sink takes what comes out here.
    pub fn expose(self) -> T {
        self.0
    }
}

/// A transaction with all that sinks need, redacted and cut down to its level.
///
/// The field is private to this module: nothing else can make one.
pub struct Redacted(Capture);

/// What is known of a transaction that goes on, redacted: heads without fields, sizes and counts, no content.
///
/// The field is private to this module: nothing else can make one.
pub struct RedactedProgress(Capture);

impl std::ops::Deref for RedactedProgress {
    type Target = Capture;

    fn deref(&self) -> &Capture {
        &self.0
    }
}

/// One transaction as it leaves the pipeline.
#[derive(Clone)]
pub struct Capture {
    /// 32 hex digits, random; joins span, log record and payload.
    pub id: String,
    /// In a block of its own: it goes through many hands.
    pub transaction: Box<Transaction>,
    pub process: Arc<Process>,
    pub decision: Decision,
    /// Wall-clock times of `transaction.timing`.
    pub start: SystemTime,
    pub end: SystemTime,
    /// Trace and span id of the span that stands for this transaction.
    pub ids: SpanIds,
    pub sampling: Sampling,
    /// Of the path, where there is one.
    pub route: Option<Route>,
    /// What the attributes of every level need of the headers, taken before the level's cut.
    pub facts: Facts,
    /// What of bodies leaves: [`Capture::request_content`], [`Capture::response_content`].
    pub bodies: BodyPolicy,
}

/// How a span's parent is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// There is none.
    #[default]
    Root,
    /// A header of the request names it.
    Header,
    /// Both ends of the connection compute it (`crate::join`).
    Computed,
    /// The request that the process was handling (`crate::trace`).
    Inferred,
}

/// Ids of a span, and its parent where one is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanIds {
    pub trace_id: [u8; 16],
    /// Of this span; where none leaves, of the span that the event belongs to, or zeros: then the trace id is for sampling
    /// alone ([`SpanIds::shown`]).
    pub span_id: [u8; 8],
    pub parent_span_id: Option<[u8; 8]>,
    pub origin: Origin,
    /// Why no span leaves; None: it does.
    pub no_span: Option<LeftOut>,
    /// W3C flags of the span's own context.
    pub flags: u8,
    pub tracestate: String,
    /// A context to link to, where policy does not adopt it as the parent.
    pub link: Option<TraceContext>,
}

impl SpanIds {
    /// Trace and span id as they are shown; None: no span stands for the transaction, and none is known that it belongs
    /// to.
    pub fn shown(&self) -> Option<(&[u8; 16], &[u8; 8])> {
        (self.span_id != [0; 8]).then_some((&self.trace_id, &self.span_id))
    }
}

#[cfg(test)]
impl RedactedProgress {
    /// A report as it is, for tests of what comes after redaction.
    pub(crate) fn for_test(capture: Capture) -> Self {
        RedactedProgress(capture)
    }
}

#[cfg(test)]
impl Redacted {
    /// A capture as it is, for tests of what comes after redaction.
    pub(crate) fn for_test(capture: Capture) -> Self {
        Redacted(capture)
    }
}

impl std::ops::Deref for Redacted {
    type Target = Capture;

    fn deref(&self) -> &Capture {
        &self.0
    }
}

/// Says which one it is, not what it holds.
impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redacted({}, {})", self.id, self.decision.level.name())
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
