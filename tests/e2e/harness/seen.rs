//! What arrived at the collector, by request.

use crate::otlp_sink::{OtlpSink, SeenLog, SeenSpan, hex};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

/// Spans and log records of one moment.
pub struct Seen {
    spans: Vec<SeenSpan>,
    /// Of each span.
    targets: Vec<Option<String>>,
    logs: Vec<SeenLog>,
}

/// The two spans of one request between programs of this host.
#[derive(Debug)]
pub struct Pair<'a> {
    pub client: &'a SeenSpan,
    pub server: &'a SeenSpan,
}

impl Seen {
    pub fn of(sink: &OtlpSink) -> Seen {
        let spans = sink.spans();
        Seen {
            targets: spans.iter().map(target).collect(),
            spans,
            logs: sink.logs(),
        }
    }

    pub fn spans(&self) -> &[SeenSpan] {
        &self.spans
    }

    /// Spans of requests whose target (path, and query where there is one) is this.
    pub fn spans_of(&self, target: &str) -> Vec<&SeenSpan> {
        let of_target = |(_, of): &(_, &Option<String>)| of.as_deref() == Some(target);
        let all = self.spans.iter().zip(&self.targets);
        all.filter(of_target).map(|(span, _)| span).collect()
    }

    /// Exactly one CLIENT and one SERVER span of this target.
    ///
    /// # Panics
    /// When there are others, more or fewer.
    pub fn pair(&self, target: &str) -> Pair<'_> {
        let spans = self.spans_of(target);
        let of = |kind: SpanKind| {
            let found: Vec<_> = spans
                .iter()
                .copied()
                .filter(|s| s.span.kind == kind as i32)
                .collect();
            assert_eq!(
                found.len(),
                1,
                "{} spans of {target}, not one: {found:#?}",
                kind.as_str_name()
            );
            found[0]
        };
        let pair = Pair {
            client: of(SpanKind::Client),
            server: of(SpanKind::Server),
        };
        assert_eq!(spans.len(), 2, "spans of neither kind: {spans:#?}");
        pair
    }

    /// Exactly one span of this target and kind.
    pub fn one(&self, target: &str, kind: SpanKind) -> &SeenSpan {
        let found: Vec<_> = self
            .spans_of(target)
            .into_iter()
            .filter(|s| s.span.kind == kind as i32)
            .collect();
        assert_eq!(
            found.len(),
            1,
            "{} spans of {target}, not one: {found:#?}",
            kind.as_str_name()
        );
        found[0]
    }

    /// Exactly one log record with the ids of this span.
    pub fn log_of(&self, span: &SeenSpan) -> &SeenLog {
        let found: Vec<_> = self
            .logs
            .iter()
            .filter(|log| {
                log.record.event_name == "plainspan.http.transaction"
                    && log.record.span_id == span.span.span_id
                    && log.record.trace_id == span.span.trace_id
            })
            .collect();
        assert_eq!(
            found.len(),
            1,
            "log records of span {}: {found:#?}",
            span.span_id()
        );
        found[0]
    }

    /// Targets and kinds of all spans, for messages.
    pub fn summary(&self) -> String {
        let line = |s: &SeenSpan| {
            format!(
                "{} {:?} {:?}",
                s.span.kind().as_str_name(),
                s.service(),
                target(s)
            )
        };
        self.spans.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Path and query that a span is about: `url.path` and `url.query`, or taken from `url.full`.
pub fn target(span: &SeenSpan) -> Option<String> {
    target_by(|name| span.text(name))
}

/// The same of a log record.
pub fn target_of_log(log: &SeenLog) -> Option<String> {
    target_by(|name| log.attr(name)?.as_str().map(str::to_owned))
}

fn target_by(text: impl Fn(&str) -> Option<String>) -> Option<String> {
    if let Some(path) = text("url.path") {
        return Some(match text("url.query") {
            Some(query) => format!("{path}?{query}"),
            None => path,
        });
    }
    let full = url::Url::parse(&text("url.full")?).ok()?;
    Some(match full.query() {
        Some(query) => format!("{}?{query}", full.path()),
        None => full.path().to_owned(),
    })
}

/// Lines of a header attribute; none where it is absent.
pub fn header(value: Option<Value>) -> Vec<String> {
    let lines = value
        .and_then(|v| v.as_array().cloned())
        .unwrap_or_default();
    lines
        .iter()
        .map(|line| line.as_str().expect("header lines are strings").to_owned())
        .collect()
}

/// Parent span id in hex; None for a root.
pub fn parent(span: &SeenSpan) -> Option<String> {
    Some(hex(&span.span.parent_span_id)).filter(|id| !id.is_empty())
}
