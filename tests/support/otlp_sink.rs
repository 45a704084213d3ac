//! An OTLP server for tests: gRPC and HTTP/protobuf on one loopback port, with faults that tests turn on and off.
//!
//! It speaks gRPC by hand, so that it can behave as the collector of the Go world does where servers differ: a reply is
//! compressed as its request was, a message above 4 MiB is RESOURCE_EXHAUSTED, and every request's bytes are kept as
//! they came (decompressed), for a search of things that must not be there.
#![allow(dead_code)] // Each test binary uses a part of it.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::http::{HeaderMap, HeaderValue, header};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::{
    logs::v1 as logs_service, metrics::v1 as metrics_service, trace::v1 as trace_service,
};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What the collector's receiver takes at the most, decompressed.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Attributes by name.
pub type Attributes = BTreeMap<String, Value>;

/// A span as it arrived.
#[derive(Debug, Clone)]
pub struct SeenSpan {
    pub resource: Attributes,
    pub scope: InstrumentationScope,
    /// Schema URL of the scope.
    pub schema_url: String,
    pub span: Span,
}

/// A log record as it arrived.
#[derive(Debug, Clone)]
pub struct SeenLog {
    pub resource: Attributes,
    pub scope: InstrumentationScope,
    pub schema_url: String,
    pub record: LogRecord,
}

/// A metric as it arrived.
#[derive(Debug, Clone)]
pub struct SeenMetric {
    pub resource: Attributes,
    pub scope: InstrumentationScope,
    pub metric: Metric,
}

/// The value of an attribute. Arrays and maps become JSON's, bytes an array of numbers.
pub fn attr(attributes: &[KeyValue], name: &str) -> Option<Value> {
    attributes
        .iter()
        .find(|kv| kv.key == name)
        .map(|kv| json(kv.value.as_ref()))
}

impl SeenSpan {
    pub fn attr(&self, name: &str) -> Option<Value> {
        attr(&self.span.attributes, name)
    }

    /// The attribute, where it is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.attr(name)?.as_str().map(str::to_owned)
    }

    /// The attribute, where it is an integer.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attr(name)?.as_i64()
    }

    /// `service.name` of the resource.
    pub fn service(&self) -> Option<&str> {
        self.resource.get("service.name")?.as_str()
    }

    /// Lower-case hex.
    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// Lower-case hex.
    pub fn span_id(&self) -> String {
        hex(&self.span.span_id)
    }
}

impl SeenLog {
    pub fn attr(&self, name: &str) -> Option<Value> {
        attr(&self.record.attributes, name)
    }

    /// The body, where it is a string.
    pub fn body(&self) -> Option<String> {
        json(self.record.body.as_ref()).as_str().map(str::to_owned)
    }
}

/// Lower-case hex of bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// How the server misbehaves.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// gRPC UNAVAILABLE, HTTP 503.
    Unavailable,
    /// gRPC RESOURCE_EXHAUSTED (with RetryInfo where a delay is given), HTTP 429 (with Retry-After).
    Exhausted { retry_after: Option<Duration> },
    /// gRPC INVALID_ARGUMENT, HTTP 400.
    Invalid,
    /// Success that says that so many items were refused; the last ones of the request are not kept.
    PartialSuccess { rejected: usize, message: String },
    /// Fine, but late.
    Slow(Duration),
    /// These codes, with no more.
    Code { grpc: u32, http: u16 },
    /// HTTP: this status with this Retry-After; gRPC: UNAVAILABLE.
    RetryAfter { http: u16, value: String },
    /// HTTP: this status with a Retry-After that is a date; gRPC: UNAVAILABLE.
    RetryAt { http: u16, after: Duration },
    /// The connection ends without a reply.
    Disconnect,
    /// The connection is reset in the middle of the request.
    Reset,
    /// The reply ends in its middle.
    CutReply,
}

/// Counts of what came in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests, refused ones included.
    pub requests: u64,
    /// Bytes of their bodies as they came over the wire, compressed where they were.
    pub wire_bytes: u64,
    /// Bytes of their bodies after decompression.
    pub bytes: u64,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    pub path: String,
    pub headers: HeaderMap,
    /// Decompressed message.
    pub body: Bytes,
}

#[derive(Default)]
struct State {
    spans: Vec<SeenSpan>,
    logs: Vec<SeenLog>,
    metrics: Vec<SeenMetric>,
    requests: Vec<SeenRequest>,
    stats: Stats,
    /// The fault, and how many requests it still meets.
    fault: Option<(u64, Fault)>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Requests are kept and answered, not looked at.
    unread: AtomicBool,
    /// Bytes of a message that are taken at the most, where it is not [`MAX_MESSAGE`].
    max_message: AtomicUsize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Certificates of a server that speaks TLS.
pub struct Tls {
    pub config: Arc<tokio_rustls::rustls::ServerConfig>,
}

/// The server. It stops when dropped.
pub struct OtlpSink {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: bool,
    thread: Option<(oneshot::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl OtlpSink {
    /// Listens on a random loopback port.
    pub fn start() -> Self {
        Self::listen(0, None)
    }

    /// Listens on this loopback port: for a collector that comes up later, see [`free_port`].
    pub fn start_at(port: u16) -> Self {
        Self::listen(port, None)
    }

    /// Speaks TLS on a random loopback port.
    pub fn start_tls(tls: Tls) -> Self {
        Self::listen(0, Some(tls))
    }

    fn listen(port: u16, tls: Option<Tls>) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_or_else(|e| panic!("test server cannot listen on 127.0.0.1:{port}: {e}"));
        listener
            .set_nonblocking(true)
            .expect("a socket can be told not to block");
        let address = listener.local_addr().expect("address of a bound listener");
        let shared = Arc::new(Shared::default());
        let has_tls = tls.is_some();
        let (stop, stopped) = oneshot::channel();
        let state = shared.clone();
        // A thread with its own runtime: tests call from inside and outside of others.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime of the test server");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(listener, tls, state) => {}
                    _ = stopped => {}
                }
            });
        });
        OtlpSink {
            shared,
            address,
            tls: has_tls,
            thread: Some((stop, thread)),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT`, for gRPC.
    pub fn grpc_endpoint(&self) -> String {
        self.http_endpoint()
    }

    /// `http://127.0.0.1:PORT`, for HTTP: `/v1/traces` and so on are to be appended.
    pub fn http_endpoint(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        // By name with TLS, since certificates have names.
        let host = if self.tls { "localhost" } else { "127.0.0.1" };
        format!("{scheme}://{host}:{}", self.address.port())
    }

    /// Takes messages of so many bytes at the most, over gRPC and over HTTP.
    pub fn limit_messages(&self, bytes: usize) {
        self.shared.max_message.store(bytes, Ordering::Relaxed);
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<SeenSpan> {
        self.shared.lock().spans.clone()
    }

    /// Answers at once and reads later, with [`OtlpSink::read`]: a collector that takes little of the processor.
    pub fn unread(self) -> Self {
        self.shared.unread.store(true, Ordering::Relaxed);
        self
    }

    /// Gives what came unread to `look`, request by request, so that few spans are in memory at a time.
    pub fn read(&self, mut look: impl FnMut(&SeenSpan)) {
        let requests = std::mem::take(&mut self.shared.lock().requests);
        for request in requests {
            let apart = Shared::default();
            let stored = store(&apart, &request.path, &request.body, None);
            if let Err((_, _, error)) = stored {
                panic!("a request to {} cannot be read: {error}", request.path);
            }
            apart.lock().spans.iter().for_each(&mut look);
        }
    }

    /// All log records so far.
    pub fn logs(&self) -> Vec<SeenLog> {
        self.shared.lock().logs.clone()
    }

    /// All metrics so far, one entry for each time they came.
    pub fn metrics(&self) -> Vec<SeenMetric> {
        self.shared.lock().metrics.clone()
    }

    /// Every request so far, refused ones included.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.lock().requests.clone()
    }

    /// The decompressed bodies and the headers of every request, refused ones included, one after the other.
    pub fn all_bytes(&self) -> Vec<u8> {
        let state = self.shared.lock();
        let mut all = Vec::new();
        for request in &state.requests {
            all.extend_from_slice(format!("{} {:?}\n", request.path, request.headers).as_bytes());
            all.extend_from_slice(&request.body);
            all.push(b'\n');
        }
        all
    }

    pub fn stats(&self) -> Stats {
        self.shared.lock().stats
    }

    /// Forgets what came so far; faults stay.
    pub fn clear(&self) {
        let mut state = self.shared.lock();
        *state = State {
            fault: state.fault.take(),
            ..State::default()
        };
    }

    /// The next `count` requests meet the fault.
    pub fn fail_next(&self, count: u64, fault: Fault) {
        self.shared.lock().fault = (count > 0).then_some((count, fault));
    }

    /// Every request meets the fault, until [`OtlpSink::heal`].
    pub fn fail_always(&self, fault: Fault) {
        self.fail_next(u64::MAX, fault);
    }

    /// No faults from now on.
    pub fn heal(&self) {
        self.shared.lock().fault = None;
    }

    /// Waits until `condition` holds, looking again at each request. False when the time is up.
    #[must_use]
    pub fn wait_for(&self, condition: impl Fn(&OtlpSink) -> bool, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        loop {
            if condition(self) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // In steps: a condition may look at more than this server.
            let step = left.min(Duration::from_millis(50));
            let guard = self.shared.lock();
            drop(self.shared.changed.wait_timeout(guard, step));
        }
    }

    /// Waits for so many spans.
    #[must_use]
    pub fn wait_spans(&self, count: usize, timeout: Duration) -> bool {
        self.wait_for(|s| s.shared.lock().spans.len() >= count, timeout)
    }

    /// Waits for so many log records.
    #[must_use]
    pub fn wait_logs(&self, count: usize, timeout: Duration) -> bool {
        self.wait_for(|s| s.shared.lock().logs.len() >= count, timeout)
    }
}

impl Drop for OtlpSink {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.thread.take() else {
            return;
        };
        // Fails where the thread is gone; then joining says why.
        if stop.send(()).is_err() {
            eprintln!("test server: its thread ended early");
        }
        if thread.join().is_err() {
            eprintln!("test server: its thread panicked");
        }
    }
}

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|l| l.local_addr())
        .expect("a free loopback port")
        .port()
}

async fn accept(listener: TcpListener, tls: Option<Tls>, shared: Arc<Shared>) {
    let acceptor = tls.map(|t| tokio_rustls::TlsAcceptor::from(t.config));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            let socket = Socket::of(&stream);
            match acceptor {
                None => connection(stream, socket, shared).await,
                // A client that does not trust us is the client's business.
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => connection(stream, socket, shared).await,
                    Err(e) => eprintln!("test server: TLS handshake: {e}"),
                },
            }
        });
    }
}

/// The socket of a connection, to break it off.
#[derive(Clone)]
struct Socket {
    reset: Arc<tokio::sync::Notify>,
    fd: std::os::fd::RawFd,
}

impl Socket {
    fn of(stream: &tokio::net::TcpStream) -> Socket {
        use std::os::fd::AsRawFd;
        Socket {
            reset: Arc::default(),
            fd: stream.as_raw_fd(),
        }
    }

    /// Closes it with a reset instead of an end. To be called while the connection is served.
    fn reset(&self) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: the socket is open for as long as its connection is served, and the option is of this type and size.
        let set = unsafe {
            libc::setsockopt(
                self.fd,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        self.reset.notify_one();
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    socket: Socket,
    shared: Arc<Shared>,
) {
    let of_connection = socket.clone();
    let service = hyper::service::service_fn(move |request| {
        answer(request, of_connection.clone(), shared.clone())
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    tokio::select! {
        served = builder.serve_connection(TokioIo::new(stream), service) => {
            if let Err(e) = served {
                eprintln!("test server: connection ended: {e}");
            }
        }
        () = socket.reset.notified() => {}
    }
}

type Reply = Response<BoxBody<Bytes, Hangup>>;

/// The fault `Disconnect`, as hyper understands it.
#[derive(Debug)]
struct Hangup;

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hang up without a reply")
    }
}

impl std::error::Error for Hangup {}

async fn answer(
    request: Request<Incoming>,
    socket: Socket,
    shared: Arc<Shared>,
) -> Result<Reply, Hangup> {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let grpc = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    if next_resets(&shared) {
        let Some(Ok(_)) = body.frame().await else {
            return Err(Hangup);
        };
        socket.reset();
        return std::future::pending().await;
    }
    let Ok(body) = body.collect().await else {
        return Err(Hangup);
    };
    let wire = body.to_bytes();
    let told = shared.max_message.load(Ordering::Relaxed);
    let most = |otherwise| if told > 0 { told } else { otherwise };
    let opened = if grpc {
        open_grpc(&parts.headers, &wire, most(MAX_MESSAGE))
    } else {
        // The collector's receiver over HTTP takes more; what stands before it may not.
        open_http(&parts.headers, &wire, most(usize::MAX))
    };
    let fault = {
        let mut state = shared.lock();
        state.stats.requests += 1;
        state.stats.wire_bytes += wire.len() as u64;
        if let Ok((message, _)) = &opened {
            state.stats.bytes += message.len() as u64;
            state.requests.push(SeenRequest {
                path: path.clone(),
                headers: parts.headers.clone(),
                body: message.clone(),
            });
        }
        take_fault(&mut state)
    };
    let (message, encoding) = match opened {
        Ok(opened) => opened,
        Err((grpc_code, http, text)) => {
            return Ok(failure(grpc, grpc_code, http, &text, None));
        }
    };
    let partial = match fault {
        None => None,
        Some(Fault::Unavailable) => return Ok(failure(grpc, 14, 503, "test: unavailable", None)),
        Some(Fault::Exhausted { retry_after }) => {
            let after = retry_after.map(|d| d.as_secs().to_string());
            let mut reply = failure(grpc, 8, 429, "test: exhausted", after.filter(|_| !grpc));
            if let Some(delay) = retry_after.filter(|_| grpc) {
                reply
                    .headers_mut()
                    .insert("grpc-status-details-bin", retry_info(delay));
            }
            return Ok(reply);
        }
        Some(Fault::Invalid) => return Ok(failure(grpc, 3, 400, "test: invalid", None)),
        Some(Fault::Code { grpc: code, http }) => {
            return Ok(failure(grpc, code, http, "test: code", None));
        }
        Some(Fault::RetryAfter { http, value }) => {
            return Ok(failure(grpc, 14, http, "test: later", Some(value)));
        }
        Some(Fault::RetryAt { http, after }) => {
            let date = httpdate::fmt_http_date(std::time::SystemTime::now() + after);
            return Ok(failure(grpc, 14, http, "test: later", Some(date)));
        }
        Some(Fault::Disconnect | Fault::Reset) => return Err(Hangup),
        Some(Fault::CutReply) => return Ok(cut_reply(grpc)),
        Some(Fault::Slow(delay)) => {
            tokio::time::sleep(delay).await;
            None
        }
        Some(Fault::PartialSuccess { rejected, message }) => Some((rejected, message)),
    };
    let unread = shared.unread.load(Ordering::Relaxed);
    if unread && partial.is_none() {
        return Ok(match grpc {
            true => grpc_success(&[], &encoding),
            false => http_success(Vec::new()),
        });
    }
    let stored = store(&shared, &path, &message, partial);
    shared.changed.notify_all();
    Ok(match stored {
        Ok(reply) if grpc => grpc_success(&reply, &encoding),
        Ok(reply) => http_success(reply),
        Err((grpc_code, http, text)) => failure(grpc, grpc_code, http, &text, None),
    })
}

/// Takes the fault where it is a reset, and counts the request.
fn next_resets(shared: &Shared) -> bool {
    let mut state = shared.lock();
    let resets = matches!(state.fault, Some((_, Fault::Reset)));
    if resets {
        state.stats.requests += 1;
        take_fault(&mut state);
    }
    resets
}

fn take_fault(state: &mut State) -> Option<Fault> {
    let (left, fault) = state.fault.as_mut()?;
    let fault = fault.clone();
    *left -= 1;
    if *left == 0 {
        state.fault = None;
    }
    Some(fault)
}

/// gRPC code, HTTP status, text.
type Refusal = (u32, u16, String);

/// The message of a unary call, and the encoding to answer with.
fn open_grpc(headers: &HeaderMap, wire: &Bytes, most: usize) -> Result<(Bytes, String), Refusal> {
    let [flag, a, b, c, d, rest @ ..] = &wire[..] else {
        return Err((13, 400, "no gRPC frame".into()));
    };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if rest.len() != length {
        return Err((
            13,
            400,
            format!("frame of {length} in {} bytes", rest.len()),
        ));
    }
    let encoding = match flag {
        0 => "identity".to_owned(),
        _ => text(headers, "grpc-encoding"),
    };
    let message = decompress(&encoding, rest).map_err(|e| (12, 400, e))?;
    if message.len() > most {
        let text = format!(
            "grpc: received message after decompression larger than max ({} vs. {most})",
            message.len()
        );
        return Err((8, 413, text));
    }
    Ok((message, encoding))
}

fn open_http(headers: &HeaderMap, wire: &Bytes, most: usize) -> Result<(Bytes, String), Refusal> {
    let kind = text(headers, "content-type");
    if kind != "application/x-protobuf" {
        return Err((3, 415, format!("content type {kind}")));
    }
    let encoding = text(headers, "content-encoding");
    let message = decompress(&encoding, wire).map_err(|e| (3, 400, e))?;
    if message.len() > most {
        return Err((8, 413, format!("{} bytes are too many", message.len())));
    }
    Ok((message, encoding))
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn decompress(encoding: &str, bytes: &[u8]) -> Result<Bytes, String> {
    let mut out = Vec::new();
    match encoding {
        "" | "identity" => out.extend_from_slice(bytes),
        "gzip" => {
            flate2::read::GzDecoder::new(bytes)
                .read_to_end(&mut out)
                .map_err(|e| format!("gzip: {e}"))?;
        }
        "zstd" => out = zstd::decode_all(bytes).map_err(|e| format!("zstd: {e}"))?,
        other => return Err(format!("encoding {other} is not supported")),
    }
    Ok(out.into())
}

fn compress(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    match encoding {
        "gzip" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer
                .write_all(bytes)
                .and_then(|()| writer.finish())
                .expect("writing to memory")
        }
        "zstd" => zstd::encode_all(bytes, 1).expect("writing to memory"),
        _ => bytes.to_vec(),
    }
}

fn store(
    shared: &Shared,
    path: &str,
    message: &[u8],
    partial: Option<(usize, String)>,
) -> Result<Vec<u8>, Refusal> {
    let refuse = |e: prost::DecodeError| (3, 400, format!("not protobuf: {e}"));
    let (rejected, error_message) = partial.unwrap_or_default();
    let count = rejected as i64;
    let said = rejected > 0 || !error_message.is_empty();
    let mut state = shared.lock();
    match path {
        "/v1/traces" | "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => {
            let request =
                trace_service::ExportTraceServiceRequest::decode(message).map_err(refuse)?;
            let mut seen = spans(request);
            seen.truncate(seen.len().saturating_sub(rejected));
            state.spans.append(&mut seen);
            let partial_success = said.then_some(trace_service::ExportTracePartialSuccess {
                rejected_spans: count,
                error_message,
            });
            Ok(trace_service::ExportTraceServiceResponse { partial_success }.encode_to_vec())
        }
        "/v1/logs" | "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => {
            let request =
                logs_service::ExportLogsServiceRequest::decode(message).map_err(refuse)?;
            let mut seen = logs(request);
            seen.truncate(seen.len().saturating_sub(rejected));
            state.logs.append(&mut seen);
            let partial_success = said.then_some(logs_service::ExportLogsPartialSuccess {
                rejected_log_records: count,
                error_message,
            });
            Ok(logs_service::ExportLogsServiceResponse { partial_success }.encode_to_vec())
        }
        "/v1/metrics" | "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => {
            let request =
                metrics_service::ExportMetricsServiceRequest::decode(message).map_err(refuse)?;
            let mut seen = metrics(request);
            seen.truncate(seen.len().saturating_sub(rejected));
            state.metrics.append(&mut seen);
            let partial_success = said.then_some(metrics_service::ExportMetricsPartialSuccess {
                rejected_data_points: count,
                error_message,
            });
            Ok(metrics_service::ExportMetricsServiceResponse { partial_success }.encode_to_vec())
        }
        other => Err((12, 404, format!("no such service: {other}"))),
    }
}

fn attributes(resource: Option<&Resource>) -> Attributes {
    resource.map_or_else(Attributes::new, |r| {
        r.attributes
            .iter()
            .map(|kv| (kv.key.clone(), json(kv.value.as_ref())))
            .collect()
    })
}

fn spans(request: trace_service::ExportTraceServiceRequest) -> Vec<SeenSpan> {
    let mut seen = Vec::new();
    for group in request.resource_spans {
        let resource = attributes(group.resource.as_ref());
        for scoped in group.scope_spans {
            let scope = scoped.scope.unwrap_or_default();
            seen.extend(scoped.spans.into_iter().map(|span| SeenSpan {
                resource: resource.clone(),
                scope: scope.clone(),
                schema_url: scoped.schema_url.clone(),
                span,
            }));
        }
    }
    seen
}

fn logs(request: logs_service::ExportLogsServiceRequest) -> Vec<SeenLog> {
    let mut seen = Vec::new();
    for group in request.resource_logs {
        let resource = attributes(group.resource.as_ref());
        for scoped in group.scope_logs {
            let scope = scoped.scope.unwrap_or_default();
            seen.extend(scoped.log_records.into_iter().map(|record| SeenLog {
                resource: resource.clone(),
                scope: scope.clone(),
                schema_url: scoped.schema_url.clone(),
                record,
            }));
        }
    }
    seen
}

fn metrics(request: metrics_service::ExportMetricsServiceRequest) -> Vec<SeenMetric> {
    let mut seen = Vec::new();
    for group in request.resource_metrics {
        let resource = attributes(group.resource.as_ref());
        for scoped in group.scope_metrics {
            let scope = scoped.scope.unwrap_or_default();
            seen.extend(scoped.metrics.into_iter().map(|metric| SeenMetric {
                resource: resource.clone(),
                scope: scope.clone(),
                metric,
            }));
        }
    }
    seen
}

fn json(value: Option<&AnyValue>) -> Value {
    match value.and_then(|v| v.value.as_ref()) {
        Some(Any::StringValue(s)) => Value::from(s.as_str()),
        Some(Any::BoolValue(b)) => Value::from(*b),
        Some(Any::IntValue(n)) => Value::from(*n),
        Some(Any::DoubleValue(n)) => Value::from(*n),
        Some(Any::BytesValue(b)) => Value::from(b.as_slice()),
        Some(Any::ArrayValue(a)) => a.values.iter().map(|v| json(Some(v))).collect(),
        Some(Any::KvlistValue(l)) => l
            .values
            .iter()
            .map(|kv| (kv.key.clone(), json(kv.value.as_ref())))
            .collect(),
        _ => Value::Null,
    }
}

fn http_success(message: Vec<u8>) -> Reply {
    let mut reply = Response::new(full(message.into()));
    reply.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-protobuf"),
    );
    reply
}

/// Compressed as the request was, as servers of the Go world do.
fn grpc_success(message: &[u8], encoding: &str) -> Reply {
    let compressed = matches!(encoding, "gzip" | "zstd");
    let message = compress(encoding, message);
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(u8::from(compressed));
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(frame.freeze()).map_err(never);
    let body = body.with_trailers(async { Some(Ok(trailers)) });
    let mut reply = Response::new(BoxBody::new(body));
    let headers = reply.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    if compressed {
        headers.insert(
            "grpc-encoding",
            HeaderValue::from_str(encoding).expect("a known encoding"),
        );
    }
    reply
}

/// A refusal. gRPC: only headers, which is legal ("Trailers-Only").
fn failure(grpc: bool, code: u32, http: u16, text: &str, retry_after: Option<String>) -> Reply {
    let mut reply = Response::new(full(Bytes::new()));
    if grpc {
        let headers = reply.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert("grpc-status", HeaderValue::from(code));
        let text = HeaderValue::from_str(text).expect("texts of tests are printable");
        headers.insert("grpc-message", text);
        return reply;
    }
    *reply.status_mut() = StatusCode::from_u16(http).expect("a status that exists");
    *reply.body_mut() = full(Bytes::copy_from_slice(text.as_bytes()));
    if let Some(after) = retry_after {
        let after = HeaderValue::from_str(&after).expect("Retry-After of a test is printable");
        reply.headers_mut().insert(header::RETRY_AFTER, after);
    }
    reply
}

fn full(bytes: Bytes) -> BoxBody<Bytes, Hangup> {
    Full::new(bytes).map_err(never).boxed()
}

fn never(error: Infallible) -> Hangup {
    match error {}
}

/// A body that breaks off; whether its beginning was given.
struct Broken(bool);

impl hyper::body::Body for Broken {
    type Data = Bytes;
    type Error = Hangup;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Hangup>>> {
        let began = std::mem::replace(&mut self.0, true);
        let frame = hyper::body::Frame::data(Bytes::from_static(&[0, 0, 0]));
        Poll::Ready(Some(if began { Err(Hangup) } else { Ok(frame) }))
    }
}

/// A success whose body breaks off.
fn cut_reply(grpc: bool) -> Reply {
    let mut reply = Response::new(BoxBody::new(Broken(false)));
    let kind = match grpc {
        true => "application/grpc",
        false => "application/x-protobuf",
    };
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// `google.rpc.Status` with a `google.rpc.RetryInfo`, as the header carries it.
fn retry_info(delay: Duration) -> HeaderValue {
    use base64::Engine;
    let info = RetryInfo {
        retry_delay: Some(ProtoDuration {
            seconds: delay.as_secs() as i64,
            nanos: delay.subsec_nanos() as i32,
        }),
    };
    let status = RpcStatus {
        code: 8,
        message: "test: exhausted".into(),
        details: vec![ProtoAny {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: info.encode_to_vec(),
        }],
    };
    let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(status.encode_to_vec());
    HeaderValue::from_str(&text).expect("base64 is printable")
}

#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<ProtoAny>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ProtoAny {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
