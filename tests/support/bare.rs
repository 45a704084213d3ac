//! A transaction of which almost nothing is known, for what wants one through the public interface.

use plainspan::enrich::Process;
use plainspan::event::Role;
use plainspan::redact::{About, SpanIds};
use plainspan::rules::{Decision, Level};
use plainspan::sampling::Sampling;
use plainspan::transaction::{
    Body, BodyLimits, ConnectionInfo, Marks, Protocol, Timing, Transaction,
};
use std::sync::Arc;
use std::time::SystemTime;

/// A client's, of HTTP/1.1, with neither request nor response.
pub fn transaction() -> Transaction {
    Transaction {
        role: Role::Client,
        protocol: Protocol::Http11,
        pid: 1,
        tid: 1,
        connection: ConnectionInfo::default(),
        ordinal: 0,
        request: None,
        response: None,
        timing: Timing::default(),
        marks: Marks::default(),
        context: None,
        websocket: None,
        grpc: None,
        lasting: None,
    }
}

/// Level full, of a process without a name, at the beginning of time.
pub fn about() -> About {
    let process = Process {
        pid: 1,
        ..Process::default()
    };
    About {
        id: String::new(),
        process: Arc::new(process),
        decision: Decision {
            level: Level::Full,
            rule: None,
        },
        start: SystemTime::UNIX_EPOCH,
        end: SystemTime::UNIX_EPOCH,
        ids: SpanIds {
            trace_id: [1; 16],
            span_id: [2; 8],
            parent_span_id: None,
            origin: plainspan::redact::Origin::default(),
            no_span: None,
            flags: 1,
            tracestate: String::new(),
            link: None,
        },
        sampling: Sampling::default(),
        route: None,
    }
}

/// Content, kept whole.
pub fn body(content: &[u8]) -> Body {
    let limits = BodyLimits {
        capture: true,
        max_bytes: usize::MAX,
    };
    let mut body = Body::default();
    body.push(content, limits);
    body
}
