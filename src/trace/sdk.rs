//! Processes that make spans of their own.
//!
//! Enters: transactions, starts and ends of processes. Leaves: whether a process has an SDK.
//! Holds: evidence is a successful export of spans (OTLP or Zipkin) by the process itself: what traffic shows. Who takes
//! such exports from others is a collector or a proxy, and passes on what others made. Bounded by number.

use crate::event::{KernelTime, Role};
use crate::transaction::Transaction;
use std::collections::HashMap;

/// Processes that are remembered at the most.
const PROCESSES_MAX: usize = 65_536;
/// So long after an export a relay would have answered who gave it the spans, in ns: its call ends first.
const SETTLED: u64 = 500_000_000;
/// How long one that has ended is remembered, in ns: its last transactions may come later.
const LINGER: u64 = 10_000_000_000;

/// Ends of the paths that spans are sent to: OTLP over HTTP, over gRPC, Zipkin.
const PATHS: [&[u8]; 3] = [
    b"/v1/traces",
    b"/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    b"/api/v2/spans",
];

#[derive(Default)]
struct Evidence {
    /// First successful export.
    exported: Option<KernelTime>,
    /// It takes exports of others.
    relays: bool,
    ended: Option<KernelTime>,
}

/// What is known of all processes.
#[derive(Default)]
pub struct Sdks {
    processes: HashMap<u32, Evidence>,
}

impl Sdks {
    /// Takes a transaction that has ended. True: it is the first evidence of an SDK in its process.
    pub fn saw(&mut self, transaction: &Transaction) -> bool {
        if !is_export(transaction) {
            return false;
        }
        let relays = transaction.role == Role::Server;
        if !relays && !is_successful(transaction) {
            return false;
        }
        let known = self.processes.contains_key(&transaction.pid);
        if !known && self.processes.len() >= PROCESSES_MAX {
            return false;
        }
        let evidence = self.processes.entry(transaction.pid).or_default();
        if relays {
            evidence.relays = true;
            return false;
        }
        let first = evidence.exported.is_none() && !evidence.relays;
        evidence.exported.get_or_insert(transaction.timing.end);
        first
    }

    /// Whether the process makes spans of its own, as far as is known at `now`.
    pub fn has(&self, pid: u32, now: KernelTime) -> bool {
        let Some(evidence) = self.processes.get(&pid) else {
            return false;
        };
        let settled = |time: KernelTime| now.since(time) >= SETTLED;
        !evidence.relays && evidence.exported.is_some_and(settled)
    }

    /// The process has a new program.
    pub fn exec(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// The process is gone.
    pub fn exit(&mut self, pid: u32, time: KernelTime) {
        if let Some(evidence) = self.processes.get_mut(&pid) {
            evidence.ended = Some(time);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: KernelTime) {
        self.processes
            .retain(|_, e| e.ended.is_none_or(|time| now.since(time) <= LINGER));
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> u64 {
        (self.processes.capacity() * size_of::<(u32, Evidence)>()) as u64
    }
}

fn is_export(transaction: &Transaction) -> bool {
    let Some(request) = &transaction.request else {
        return false;
    };
    let mut parts = request.target.splitn(2, |b| *b == b'?');
    let path = parts.next().unwrap_or_default();
    request.method == b"POST" && PATHS.iter().any(|end| path.ends_with(end))
}

fn is_successful(transaction: &Transaction) -> bool {
    let taken = |status: u16| (200..300).contains(&status);
    let response = transaction.response.as_ref();
    let refused = transaction
        .grpc
        .as_ref()
        .and_then(|grpc| grpc.code)
        .is_some_and(|code| code.name() != "OK");
    response.is_some_and(|response| taken(response.status)) && !refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample;

    const LATER: KernelTime = KernelTime(10_000_000_000);

    fn export(change: impl FnOnce(&mut Transaction)) -> Transaction {
        let mut transaction = sample::orders().transaction;
        transaction.pid = 7;
        transaction.role = Role::Client;
        transaction.timing.end = KernelTime(1);
        let request = transaction.request.as_mut().expect("a request");
        request.method = b"POST".to_vec();
        request.target = b"/v1/traces".to_vec();
        transaction.response.as_mut().expect("a response").status = 200;
        change(&mut transaction);
        transaction
    }

    fn to(target: &str) -> impl FnOnce(&mut Transaction) {
        move |t| t.request.as_mut().expect("a request").target = target.into()
    }

    fn has(transactions: &[Transaction]) -> bool {
        let mut sdks = Sdks::default();
        for transaction in transactions {
            sdks.saw(transaction);
        }
        sdks.has(7, LATER)
    }

    #[test]
    fn who_exports_spans_itself_and_is_thanked_has_an_sdk() {
        for target in [
            "/v1/traces",
            "http://collector:4318/otlp/v1/traces?tenant=a",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            "/api/v2/spans",
        ] {
            assert!(has(&[export(to(target))]), "{target}");
        }
        assert!(!has(&[export(to("/v1/traces/one"))]));
        assert!(!has(&[export(to("/v1/metrics"))]));
        let get = |t: &mut Transaction| {
            t.request.as_mut().expect("a request").method = b"GET".to_vec();
        };
        assert!(!has(&[export(get)]));
        let refused = |t: &mut Transaction| {
            t.response.as_mut().expect("a response").status = 404;
        };
        assert!(!has(&[export(refused)]));
        assert!(!has(&[export(|t| t.response = None)]));
    }

    #[test]
    fn who_passes_on_spans_of_others_has_none_whatever_is_seen_first() {
        let received = export(|t| t.role = Role::Server);
        assert!(!has(&[export(|_| {}), received.clone()]));
        assert!(!has(&[received.clone(), export(|_| {})]));
        assert!(!has(&[received]));
    }

    #[test]
    fn evidence_counts_a_moment_later_and_for_the_program_that_gave_it() {
        let mut sdks = Sdks::default();
        assert!(sdks.saw(&export(|_| {})) && !sdks.saw(&export(|_| {})));
        assert!(!sdks.has(7, KernelTime(SETTLED)) && sdks.has(7, KernelTime(SETTLED + 1)));
        assert!(!sdks.has(8, LATER));
        sdks.exit(7, LATER);
        sdks.tick(KernelTime(LATER.0 + LINGER));
        assert!(sdks.has(7, LATER));
        sdks.tick(KernelTime(LATER.0 + LINGER + 1));
        assert!(!sdks.has(7, LATER));
        sdks.saw(&export(|_| {}));
        sdks.exec(7);
        assert!(!sdks.has(7, LATER));
    }
}
