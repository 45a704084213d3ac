//! From an exchange to a transaction.

use super::{Output, call, socket};
use crate::event::{ConnId, Dir, KernelTime, Role, TlsId};
use crate::proto::Sink;
use crate::redact::Raw;
use crate::telemetry::ledger::Lost;
use crate::trace::{Begin, Begun};
use crate::transaction::{
    ConnectionInfo, Exchange, Message, Progress, Request, Stamp, Timing, TraceContext, Transaction,
};

/// Makes transactions of what one stream gives, for an [`Output`].
pub struct Finisher<'a, O> {
    pub out: &'a mut O,
    pub socket: Option<&'a socket::Socket>,
    pub conn: Option<ConnId>,
    pub tls: Option<TlsId>,
    pub now: KernelTime,
    /// Transactions given.
    pub given: u64,
    /// One of them was asked by this end.
    pub asked: bool,
}

impl<O: Output> Sink for Finisher<'_, O> {
    fn exchange(&mut self, exchange: Exchange, requests: Dir, ordinal: u64) {
        let connection = socket::info(self.socket, self.conn, self.tls, requests);
        let transaction = transaction(exchange, requests, ordinal, connection, self.now);
        self.given += 1;
        self.asked |= transaction.role == Role::Client;
        self.out.transaction(Raw::new(Box::new(transaction)));
    }

    fn progress(&mut self, so_far: Exchange, requests: Dir, ordinal: u64) {
        if so_far.is_empty() {
            return;
        }
        let connection = socket::info(self.socket, self.conn, self.tls, requests);
        let transaction = transaction(so_far, requests, ordinal, connection, self.now);
        let progress = Progress::at(transaction, self.now);
        self.out.progress(Raw::new(progress));
    }

    fn begins(&mut self, first: Stamp, requests: Dir, request: &Request) {
        let connection = socket::info(self.socket, self.conn, self.tls, requests);
        let known = connection.join;
        self.out.begins(Begun {
            role: role(requests),
            begin: begin(first),
            position: known.and_then(|known| Some((known.key, known.position(request)?))),
            context: TraceContext::from_headers(&request.headers),
            tunnel: request.method == b"CONNECT",
            connection,
        });
    }

    fn answers(&mut self, first: Stamp, by: Option<u32>) {
        self.out.answers(begin(first), by, self.now);
    }

    fn is_handling(&self, pid: u32, tid: u32) -> bool {
        self.out.is_handling(pid, tid)
    }

    fn lost(&mut self, reason: Lost, transactions: u64) {
        self.out.lost(reason, transactions);
    }
}

/// `requests`: the direction that they go.
fn role(requests: Dir) -> Role {
    match requests {
        Dir::Write => Role::Client,
        Dir::Read => Role::Server,
    }
}

fn begin(first: Stamp) -> Begin {
    Begin {
        pid: first.pid,
        tid: first.tid,
        time: first.time,
    }
}

fn transaction(
    mut exchange: Exchange,
    requests: Dir,
    ordinal: u64,
    connection: ConnectionInfo,
    now: KernelTime,
) -> Transaction {
    let first = exchange.first();
    let timing = timing(&exchange, now);
    let (protocol, marks) = (exchange.protocol(), exchange.marks);
    let websocket = exchange.websocket.take();
    let grpc = call::of(&mut exchange);
    let lasting = exchange.lasting;
    let (request, response) = exchange.into_parts();
    let headers = request.as_ref().map(|r| &r.headers);
    Transaction {
        role: role(requests),
        protocol,
        pid: first.pid,
        tid: first.tid,
        connection,
        ordinal,
        context: headers.and_then(TraceContext::from_headers),
        request,
        response,
        timing,
        marks,
        websocket,
        grpc,
        lasting,
    }
}

fn timing(exchange: &Exchange, now: KernelTime) -> Timing {
    let start = exchange.first().time;
    let readable = |m: &&Message| m.content.is_some();
    let response = exchange.response.as_ref().filter(readable);
    Timing {
        start,
        request_end: exchange.request.as_ref().map_or(start, |m| m.last.time),
        response_start: response.map(|m| m.first.time),
        end: response.map_or(now.max(start), |m| m.last.time),
    }
}
