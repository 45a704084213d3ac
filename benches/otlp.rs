//! CPU time per span for encoding and sending, beside the path of the OpenTelemetry SDK (`BatchSpanProcessor` and
//! `opentelemetry-otlp`), in one run: `make bench`. Ends with an error where ours is more than half of the SDK's.
//!
//! Both send the same spans over gRPC to a collector in another process, so that its time does not count; user and
//! system time of all threads of this one does. Ours has the queue, the ledger, encoding, framing and sending; the
//! SDK's has what an instrumented program would do for a span whose attributes are at hand, its queue, conversion,
//! encoding and sending.

#[path = "../tests/support/otlp_sink.rs"]
mod otlp_sink;

use opentelemetry::trace::{Span as _, SpanKind, Tracer, TracerProvider};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
};
use otlp_sink::OtlpSink as Collector;
use plainspan::config::{
    Compression, HttpCapture, OtelStore, OtlpEndpoint, OtlpProtocol, OtlpTls, TraceContextPolicy,
};
use plainspan::conn::{ConnectionFate, Limits, Output, Table};
use plainspan::enrich::{Ids, Made, Processes};
use plainspan::event::build::EventBuilder;
use plainspan::event::{Dir, KernelTime, Role, decode};
use plainspan::redact::{About, Raw, Redacted, Redactor};
use plainspan::rules::{Decision, Level};
use plainspan::sampling::Sampling;
use plainspan::sink::otlp::{EncodeOptions, OtlpOptions, OtlpSink, encode};
use plainspan::sink::{Delivery, Sink};
use plainspan::telemetry::Ledger;
use plainspan::telemetry::ledger::Lost;
use plainspan::trace::Place;
use plainspan::transaction::{BodyLimits, Transaction};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Spans of one measurement.
const SPANS: u64 = 100_000;
/// Spans under way at the most, so that neither path loses any.
const AHEAD: u64 = 10_000;
/// Measurements of each path; the least counts, for everything else only adds to it.
const TIMES: usize = 3;
/// What ours may cost at the most, as a share of the SDK's.
const MOST: f64 = 0.5;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    // cargo passes options of its own, such as `--bench`.
    if std::env::args().any(|argument| argument == "--collector") {
        return collect();
    }
    let collector = Other::start();
    let capture = Arc::new(capture());
    let bytes = encode::span_bytes(
        Vec::new(),
        &encode::Common::new(&capture, None, &EncodeOptions::default()),
    )
    .len();
    println!("CPU time per span of {bytes} bytes, {SPANS} spans, least of {TIMES}\n");
    println!("compression   plainspan         SDK   ratio");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut worst = 0.0_f64;
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let (mut ours, mut sdk) = (f64::MAX, f64::MAX);
        // In turns: what else the machine does meets both.
        for _ in 0..TIMES {
            ours = ours.min(run_ours(&collector, &runtime, &capture, compression));
            sdk = sdk.min(run_sdk(&collector, &runtime, &capture, compression));
        }
        let ratio = ours / sdk;
        worst = worst.max(ratio);
        let name = format!("{compression:?}").to_lowercase();
        println!("{name:<11} {ours:>8.2} µs {sdk:>8.2} µs   {ratio:.2}");
    }
    drop(collector);
    if worst > MOST {
        eprintln!("\nours costs {worst:.2} of the SDK's, and may cost {MOST}");
        std::process::exit(1);
    }
}

/// The collector's process: answers, reads nothing, and ends with its standard input.
fn collect() {
    let sink = Collector::start().unread();
    println!("{}", sink.grpc_endpoint());
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(100));
            sink.clear();
        }
    });
    let ended = std::io::stdin().read_to_end(&mut Vec::new());
    ended.expect("standard input is a pipe");
}

struct Other {
    child: Child,
    endpoint: String,
}

impl Other {
    fn start() -> Other {
        let program = std::env::current_exe().expect("this program's path");
        let mut child = Command::new(program)
            .arg("--collector")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the collector");
        let stdout = child.stdout.take().expect("a pipe");
        let mut endpoint = String::new();
        let read = BufReader::new(stdout).read_line(&mut endpoint);
        read.expect("the collector's endpoint");
        Other {
            child,
            endpoint: endpoint.trim().to_owned(),
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Its standard input ends.
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the collector: {error}");
        }
    }
}

/// Keeps the one transaction.
struct One(Option<Transaction>);

impl Output for One {
    fn transaction(&mut self, transaction: Raw<Box<Transaction>>) {
        self.0 = Some(*transaction.expose());
    }

    fn lost(&mut self, reason: Lost, _: u64) {
        panic!("lost: {reason:?}");
    }

    fn connection(&mut self, _: ConnectionFate) {}
}

/// A server's transaction at level headers.
fn capture() -> Redacted {
    let mut builder = EventBuilder::new(1, 1, Role::Server).over_tls(2);
    let request = "GET /items/17?page=2 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench/1\r\nAccept: */*\r\nX-Tenant: acme\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 02 Mar 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nETag: \"5e-400\"\r\n\r\nok";
    let records = [
        builder.open(),
        builder.data(Dir::Read, request.as_bytes()),
        builder.data(Dir::Write, response.as_bytes()),
    ];
    let mut table = Table::new(Limits {
        body: BodyLimits {
            capture: false,
            max_bytes: 0,
        },
        connection_memory: 4 << 20,
        total_memory: 128 << 20,
    });
    let mut out = One(None);
    for record in &records {
        table.handle(&decode(record).expect("an event"), &mut out);
    }
    let transaction = out.0.expect("a transaction");
    let mut ids = Ids::new(TraceContextPolicy::Auto);
    let about = About {
        id: ids.transaction(None),
        process: Processes::new(&BTreeMap::new()).get(std::process::id(), KernelTime(0)),
        decision: Decision {
            level: Level::Headers,
            rule: None,
        },
        start: SystemTime::now(),
        end: SystemTime::now(),
        ids: ids.span(
            None,
            Made {
                place: Place::Own,
                context: None,
                hop: None,
            },
        ),
        sampling: Sampling::default(),
        route: None,
    };
    let settings = HttpCapture {
        level: Level::Headers,
        ..HttpCapture::default()
    };
    let redactor = Redactor::new(&settings).expect("no rules");
    redactor.redact(Raw::new(Box::new(transaction)), about).0
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage fills the struct that it is given; zeroed it is valid before too.
    let usage = unsafe {
        let done = libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        assert_eq!(done, 0, "getrusage cannot fail for this process");
        usage.assume_init()
    };
    let of = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Waits until no more than `most` of `sent` are not done.
fn wait(sent: u64, most: u64, done: impl Fn() -> u64) {
    let end = Instant::now() + PATIENCE;
    while sent - done() > most {
        assert!(Instant::now() < end, "{} of {sent}", done());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Microseconds of CPU time per span of `send`, which sends the spans and waits for them.
fn measured(send: impl FnOnce()) -> f64 {
    let before = cpu();
    send();
    (cpu() - before).as_secs_f64() * 1e6 / SPANS as f64
}

fn run_ours(
    collector: &Other,
    runtime: &tokio::runtime::Runtime,
    capture: &Arc<Redacted>,
    compression: Compression,
) -> f64 {
    let store = OtelStore {
        traces: Some(OtlpEndpoint {
            protocol: OtlpProtocol::Grpc,
            url: collector.endpoint.clone(),
            headers: Vec::new(),
            tls: OtlpTls::default(),
            compression,
            timeout: Duration::from_secs(10),
            proxy: None,
        }),
        logs: None,
        metrics: None,
        spool: None,
    };
    let ledger = Ledger::new();
    let options = OtlpOptions::default();
    let started = OtlpSink::start("bench", &store, options, ledger.clone(), runtime.handle());
    let sink = started.expect("a sink");
    let exported = || {
        let snapshot = ledger.snapshot();
        snapshot
            .signals
            .get("bench/traces")
            .map_or(0, |s| s.exported)
    };
    let cost = measured(|| {
        for n in 0..SPANS {
            if n % 1000 == 0 {
                wait(n, AHEAD, exported);
            }
            sink.offer(Delivery {
                capture: capture.clone(),
                link: None,
                ticket: ledger.transaction_seen().shared(),
            });
        }
        runtime.block_on(sink.drain(Instant::now() + PATIENCE));
    });
    assert_eq!(exported(), SPANS, "{:?}", ledger.snapshot());
    cost
}

/// Counts what the exporter was given, when it is done with it.
#[derive(Debug)]
struct Counting {
    exporter: OtlpExporter,
    exported: Arc<AtomicU64>,
}

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        self.exporter.export(batch).await?;
        self.exported.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &opentelemetry_sdk::Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The span's attributes as a program would hold them: names that are known when it is compiled.
fn attributes(span: &Span) -> Vec<KeyValue> {
    let text = |value: &Option<Any>| match value {
        Some(Any::StringValue(text)) => StringValue::from(text.clone()),
        other => panic!("no string: {other:?}"),
    };
    let value = |value: &Option<Any>| match value {
        Some(Any::IntValue(number)) => Value::I64(*number),
        Some(Any::DoubleValue(number)) => Value::F64(*number),
        Some(Any::BoolValue(is)) => Value::Bool(*is),
        Some(Any::ArrayValue(array)) => {
            let lines = array.values.iter().map(|line| text(&line.value));
            Value::Array(Array::String(lines.collect()))
        }
        other => Value::String(text(other)),
    };
    let pairs = span.attributes.iter().map(|pair| {
        let name: &'static str = Box::leak(pair.key.clone().into_boxed_str());
        let any = pair.value.as_ref().and_then(|any| any.value.clone());
        KeyValue::new(name, value(&any))
    });
    pairs.collect()
}

fn run_sdk(
    collector: &Other,
    runtime: &tokio::runtime::Runtime,
    capture: &Redacted,
    compression: Compression,
) -> f64 {
    let span = encode::span(capture, None, &EncodeOptions::default());
    let attributes = attributes(&span);
    let times = [span.start_time_unix_nano, span.end_time_unix_nano]
        .map(|nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
    let exporter = {
        let _inside = runtime.enter();
        let builder = OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(&collector.endpoint);
        let builder = match compression {
            Compression::None => builder,
            Compression::Gzip => builder.with_compression(opentelemetry_otlp::Compression::Gzip),
            Compression::Zstd => builder.with_compression(opentelemetry_otlp::Compression::Zstd),
        };
        builder.build().expect("an exporter")
    };
    let exported = Arc::new(AtomicU64::new(0));
    let counting = Counting {
        exporter,
        exported: exported.clone(),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(2 * AHEAD as usize)
        .build();
    let processor = BatchSpanProcessor::builder(counting)
        .with_batch_config(config)
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .build();
    let tracer = provider.tracer("bench");
    let done = || exported.load(Ordering::Relaxed);
    let cost = measured(|| {
        for n in 0..SPANS {
            if n % 1000 == 0 {
                wait(n, AHEAD, done);
            }
            let mut span = tracer
                .span_builder(span.name.clone())
                .with_kind(SpanKind::Server)
                .with_start_time(times[0])
                .with_attributes(attributes.clone())
                .start(&tracer);
            span.end_with_timestamp(times[1]);
        }
        // The processor sends what is left when it is told to, for five seconds at the most.
        if let Err(error) = provider.force_flush() {
            eprintln!("the SDK's flush: {error}");
        }
        wait(SPANS, 0, done);
    });
    if let Err(error) = provider.shutdown() {
        eprintln!("the SDK's shutdown: {error}");
    }
    std::io::stdout().flush().expect("standard output");
    cost
}
