//! The configuration that runs: validated, with every default filled in.

use super::private::PrivateRanges;
use crate::metrics::Aggregation;
use crate::routes::Pattern;
use crate::rules::Level;
use crate::rules::expr::Net;
use crate::sink::otlp::KnownMethods;
use crate::trace::CapSettings;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A value that must not be shown: `Debug` and `Display` mask it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Secret(value.into())
    }

    /// The value, for the one place that has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("********")
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("********")
    }
}

/// Everything that `run` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// In the order of the file. The first `otel` store takes the agent's own telemetry.
    pub event_stores: Vec<EventStore>,
    /// In the order of the file; the first is the default.
    pub object_stores: Vec<ObjectStore>,
    pub stacks: BTreeMap<String, Stack>,
    pub tap: Tap,
    /// Attributes put on the resource of every observed service.
    pub resource: BTreeMap<String, String>,
    /// Attributes of the agent's own resource.
    pub agent: BTreeMap<String, String>,
    pub limits: Limits,
    /// The kernel counts the runs of BPF programs, and their time.
    pub program_stats: bool,
    /// Where `plainspan tail` attaches; None: nowhere.
    pub live_socket: Option<PathBuf>,
    /// The agent gives up what it does not need (`crate::guard`).
    pub sandbox: bool,
    pub tags: Vec<TagRule>,
    /// Named expressions that rules may call.
    pub macros: Vec<Macro>,
    pub metrics: MetricsSettings,
    /// Methods that go into `http.request.method` as they are; of the environment.
    pub known_methods: KnownMethods,
}

/// Metrics of transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Between two exports.
    pub interval: Duration,
    /// Attribute sets of one process, and of all services at `/metrics`.
    pub max_series: usize,
    /// Histograms of durations show a transaction.
    pub exemplars: bool,
    pub temporality: Temporality,
    /// Of what is exported over OTLP.
    pub aggregation: Aggregation,
    /// Headers that are attributes.
    pub headers: Vec<MetricHeader>,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        MetricsSettings {
            interval: crate::metrics::INTERVAL,
            max_series: crate::metrics::Limits::default().of_process,
            exemplars: true,
            temporality: Temporality::default(),
            aggregation: Aggregation::default(),
            headers: Vec::new(),
        }
    }
}

/// From when on numbers count that are exported over OTLP (OTLP metrics exporter specification).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Temporality {
    /// Since the start of what is counted.
    #[default]
    Cumulative,
    /// Since those before arrived; what can go down is always as it is now.
    Delta,
    /// As `Delta`, but what the agent reads of itself when it is asked counts since its start.
    LowMemory,
}

/// A header whose value is an attribute of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricHeader {
    /// In lower case.
    pub header: String,
    pub from: MessageSide,
    pub attribute: String,
    /// Different values at the most; all others are one more.
    pub max_values: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageSide {
    Request,
    Response,
}

impl Config {
    /// The stack that HTTP traffic goes through; None: HTTP is not captured.
    pub fn http_stack(&self) -> Option<&Stack> {
        self.tap
            .http_stack
            .as_ref()
            .and_then(|name| self.stacks.get(name))
    }
}

/// Where telemetry goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStore {
    /// `id` of the file, else the type, made unique. Names the store in the ledger.
    pub id: String,
    pub kind: EventStoreKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventStoreKind {
    Otel(Box<OtelStore>),
    /// Readable lines on a terminal, else NDJSON with the span's attribute names.
    Stdout,
    Disabled,
}

/// OTLP destination, with file, environment and defaults already merged for each signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtelStore {
    /// None: the signal is off.
    pub traces: Option<OtlpEndpoint>,
    pub logs: Option<OtlpEndpoint>,
    pub metrics: Option<OtlpEndpoint>,
    /// Where batches wait while the destination is away; None: in memory alone.
    pub spool: Option<SpoolSettings>,
}

/// A spool on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Each signal, and the payloads of each store, have a folder of their own in it.
    pub dir: PathBuf,
    /// Of all signals of the store, or of its payloads.
    pub max_bytes: u64,
    /// What is older is given up.
    pub max_age: Duration,
}

/// How one signal reaches its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    pub protocol: OtlpProtocol,
    /// gRPC: `http(s)://host:port`. HTTP: the whole URL, `/v1/traces` and so on included.
    pub url: String,
    /// Name and value of each header (gRPC: metadata).
    pub headers: Vec<(String, Secret)>,
    pub tls: OtlpTls,
    pub compression: Compression,
    /// Of one request.
    pub timeout: Duration,
    /// On the way to it; None: it is asked directly.
    pub proxy: Option<OtlpProxy>,
}

/// A proxy that is asked by CONNECT, and for plain HTTP by whole URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpProxy {
    /// `http(s)://host:port`.
    pub url: String,
    /// Value of `Proxy-Authorization`.
    pub authorization: Option<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    Grpc,
    /// HTTP with protobuf bodies.
    Http,
}

/// Used where the URL's scheme is https.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OtlpTls {
    /// PEM; None: the host's roots.
    pub ca_file: Option<PathBuf>,
    /// PEM; both or none.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Where payloads go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStore {
    pub id: String,
    /// Template of the link: `{{SCHEME}} {{ENDPOINT}} {{BUCKET}} {{DIGEST}} {{KEY}}`. None: the store's own URL of the object.
    pub access_url: Option<String>,
    /// Put before the name of each object, with variables in it (`sink::payload::Prefix`); empty or ends with `/`.
    pub prefix: String,
    pub layout: Layout,
    /// Where payloads wait while the store does not take them; None: in memory alone.
    pub spool: Option<SpoolSettings>,
    pub kind: ObjectStoreKind,
}

/// How payloads become objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One object a transaction; its name is the digest.
    Object,
    /// Many transactions in one object, which is closed at a size or at an age.
    Segment {
        /// Bytes from which on it is closed.
        bytes: u64,
        time: Duration,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectStoreKind {
    S3(S3Store),
    Gcs(GcsStore),
    Azure(AzureStore),
    /// A local folder; links are `file://` URLs.
    Disk(DiskStore),
    Stdout,
    Disabled,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3Store {
    /// Host and optional port, without scheme.
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    /// True: plain http.
    pub insecure: bool,
    /// Both or neither; neither: the usual AWS chain.
    pub credentials: Option<(Secret, Secret)>,
    /// What the store encrypts objects with; None: what the bucket says.
    pub encryption: Option<Encryption>,
    /// At most ten.
    pub object_tags: BTreeMap<String, String>,
}

/// Server-side encryption of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of the store.
    Aes256,
    /// With a key of the key management service; None: its default key.
    Kms(Option<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcsStore {
    /// Host and optional port, without scheme.
    pub endpoint: String,
    pub bucket: String,
    /// True: plain http.
    pub insecure: bool,
    /// Of a service account; None: the usual Google chain.
    pub credentials_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AzureStore {
    /// Host and optional port, without scheme; with the account as its path where the host does not begin with it.
    pub endpoint: String,
    pub account: String,
    pub container: String,
    /// True: plain http.
    pub insecure: bool,
    /// None: the usual Azure chain.
    pub access_key: Option<Secret>,
    /// At most ten.
    pub object_tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskStore {
    pub path: PathBuf,
    /// Room that payloads take on the disk at the most, in bytes.
    pub max_bytes: u64,
    /// Payloads are removed that are older.
    pub max_age: Duration,
}

impl DiskStore {
    /// With the default bounds.
    pub fn at(path: impl Into<PathBuf>) -> DiskStore {
        DiskStore {
            path: path.into(),
            max_bytes: 1 << 30,
            max_age: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// A named list of processing steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stack {
    pub http_capture: Option<HttpCapture>,
    pub access_logs: Option<AccessLogs>,
    /// `report_usage`: summary spans and log records.
    pub report_usage: bool,
    /// `http_metrics`: metrics of all transactions, where `http_capture` captures none; else of those that it gives a
    /// level.
    pub http_metrics: bool,
}

/// `rulekit.macros`: an expression under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Macro {
    pub name: String,
    pub expr: String,
}

/// An expression and the level that it gives; checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: Option<String>,
    pub expr: String,
    pub level: Level,
}

/// Plugin `http_capture`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCapture {
    /// Of what no rule applies to. Absent in the file: `none`.
    pub level: Level,
    /// In their order: the first that applies decides.
    pub rules: Vec<Rule>,
    /// Store of payloads; None: none is in effect.
    pub object_store: Option<String>,
    /// The lowest level at which an object is written.
    pub object_from_level: Level,
    /// Names of headers that level `headers` keeps, as globs; `exclude` wins.
    pub headers_include: Vec<String>,
    pub headers_exclude: Vec<String>,
    pub redact: Vec<RedactRule>,
    /// Key of mode `hash`.
    pub hash_key: Option<HashKeySource>,
    /// Bytes of each body that level `full` keeps.
    pub body_max_bytes: usize,
    /// Media types of bodies that are kept, as globs; empty: all.
    pub body_content_types: Vec<String>,
    /// Coded bodies are kept as sent too, beside what they decode to.
    pub body_as_sent: bool,
    pub sample: Sample,
    /// What rules decide beside the level, by the rule's name as [`crate::rules::Ruleset`] gives it.
    pub by_rule: BTreeMap<String, RuleLimits>,
}

/// What of the transactions of a stack leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    pub ratio: Ratio,
    /// Of each host that is asked; None: any number.
    pub per_endpoint: Option<Rate>,
    pub per_process: Option<Rate>,
    /// Expressions; what one of them applies to is always kept.
    pub keep: Vec<String>,
}

/// Limits of what one rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleLimits {
    /// None: that of the stack.
    pub ratio: Option<Ratio>,
    /// Bytes of each body; None: those of the stack.
    pub max_bytes: Option<usize>,
}

/// A share of all, from 0 to 1, as the threshold that random values of 56 bits must reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ratio(u64);

impl Ratio {
    pub const ALL: Ratio = Ratio(0);

    /// None: not from 0 to 1.
    pub fn new(share: f64) -> Option<Ratio> {
        let all = (1u64 << 56) as f64;
        (0.0..=1.0)
            .contains(&share)
            .then(|| Ratio(((1.0 - share) * all).round() as u64))
    }

    /// From 0 to 2^56; what is below is left out.
    pub fn threshold(self) -> u64 {
        self.0
    }
}

/// A number in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    pub period: Duration,
}

impl HttpCapture {
    /// The highest level that it or one of its rules gives.
    pub fn highest(&self) -> Level {
        highest(self.level, &self.rules)
    }

    /// Bytes of a body that it or one of its rules keeps at the most.
    pub fn most_body_bytes(&self) -> usize {
        let own = self.by_rule.values().filter_map(|limits| limits.max_bytes);
        own.fold(self.body_max_bytes, usize::max)
    }
}

impl AccessLogs {
    /// The highest level that it or one of its rules gives.
    pub fn highest(&self) -> Level {
        highest(self.mode, &self.rules)
    }
}

fn highest(default: Level, rules: &[Rule]) -> Level {
    rules
        .iter()
        .map(|rule| rule.level)
        .fold(default, Level::max)
}

impl Default for HttpCapture {
    /// What an absent plugin stands for: nothing is kept.
    fn default() -> Self {
        HttpCapture {
            level: Level::None,
            rules: Vec::new(),
            object_store: None,
            object_from_level: Level::Summary,
            headers_include: vec!["*".into()],
            headers_exclude: Vec::new(),
            redact: Vec::new(),
            hash_key: None,
            body_max_bytes: 1 << 20,
            body_content_types: Vec::new(),
            body_as_sent: false,
            sample: Sample::default(),
            by_rule: BTreeMap::new(),
        }
    }
}

/// Plugin `access_logs`: a line a transaction on stdout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogs {
    /// `summary`, `details` or `full`; `none` writes nothing. Of what no rule applies to.
    pub mode: Level,
    /// In their order: the first that applies decides.
    pub rules: Vec<Rule>,
    pub json: bool,
}

/// Where the key of mode `hash`, or of a site, comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKeySource {
    Text(Secret),
    /// Read when the agent starts: `file::load_hash_keys`.
    File(PathBuf),
}

/// One redaction matcher beside the built-in ones; the first that matches decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactRule {
    pub name: String,
    pub place: RedactPlace,
    pub matcher: NameMatch,
    pub mode: RedactMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactPlace {
    Header,
    Query,
    Cookie,
    /// Members of JSON in bodies and messages.
    Json,
    /// Text in bodies and messages.
    Body,
    /// What a built-in detector finds there; the matcher is its exact name, or `*` for all.
    Detector,
}

/// How a name is matched, a path of JSON, or text; ignoring case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameMatch {
    Exact(String),
    Glob(String),
    Regex(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactMode {
    /// The text `REDACTED` takes the place of the value.
    Mask,
    /// A keyed hash takes its place: the same for the same value.
    Hash,
    /// It is left out, with its name.
    Drop,
    /// The value stays.
    Keep,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    pub direction: Direction,
    /// Leaves out what has 127/8 or ::1 at either end.
    pub ignore_loopback: bool,
    pub http_stack: Option<String>,
    /// Processes left out: predefined groups and custom ones, as patterns of the executable's path.
    pub exclude: Vec<ExeMatch>,
    /// Processes of which only what goes over TLS is left out.
    pub exclude_tls: Vec<ExeMatch>,
    /// When not empty, only these.
    pub include: Vec<Include>,
    /// Stacks of single domains, in the order of the file.
    pub endpoints: Vec<EndpointStack>,
    /// Networks that are internal beside the usual.
    pub private_ranges: PrivateRanges,
    pub identity: IdentitySources,
    pub trace_context: TraceContextPolicy,
    pub join: Join,
    /// A transaction that lasts longer reports once in each such time.
    pub progress: Duration,
    /// Routes of paths, in the order of the file.
    pub routes: Vec<Pattern>,
    /// What no pattern applies to has a route by guess.
    pub route_heuristic: bool,
    /// Folder for what was found in large programs; None: they are looked through whenever they start.
    pub scan_cache: Option<PathBuf>,
    /// A library is loaded into JVMs, which shows the plaintext of their TLS.
    pub java: bool,
}

impl Default for Tap {
    /// Everything is looked at, and no stack takes it.
    fn default() -> Self {
        Tap {
            direction: Direction::All,
            ignore_loopback: false,
            http_stack: None,
            exclude: Vec::new(),
            exclude_tls: Vec::new(),
            include: Vec::new(),
            endpoints: Vec::new(),
            private_ranges: PrivateRanges::default(),
            identity: IdentitySources::default(),
            trace_context: TraceContextPolicy::Auto,
            join: Join::default(),
            progress: Duration::from_secs(60),
            routes: Vec::new(),
            route_heuristic: false,
            scan_cache: None,
            java: false,
        }
    }
}

/// How the spans of both ends of a request without a trace header meet (`docs/trace-join.md`), and whose header is
/// believed (`docs/trace-context.md`).
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Networks whose hosts have an agent of their own.
    pub networks: Vec<Net>,
    /// Key of all agents that are to meet; without it the connection alone decides.
    pub site_key: Option<HashKeySource>,
    /// What has to survive a restart; None: nothing.
    pub state_file: Option<PathBuf>,
    /// Networks whose trace headers are linked to and never adopted.
    pub untrusted: Vec<Net>,
    /// What one span may be the parent of.
    pub caps: CapSettings,
    /// A call may be the child of the request that its thread handles.
    pub inferred: bool,
}

impl Default for Join {
    fn default() -> Self {
        Join {
            networks: Vec::new(),
            site_key: None,
            state_file: None,
            untrusted: Vec::new(),
            caps: CapSettings::default(),
            inferred: true,
        }
    }
}

// Addresses and prefixes compare as themselves.
impl Eq for Join {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    All,
    Ingress,
    Egress,
    /// Egress to private addresses.
    EgressInternal,
    /// Egress to all others.
    EgressExternal,
}

/// Matches the path of a process's executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExeMatch {
    pub exe: String,
    pub strategy: ExeStrategy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExeStrategy {
    Exact,
    Prefix,
    Suffix,
    Contains,
    Regex,
}

/// One entry of `tap.filters.include`: all of its keys must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Include {
    pub exe: Option<ExeMatch>,
    pub pid: Option<u32>,
    pub uid: Option<u32>,
    /// Local or remote port.
    pub port: Option<u16>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// Path of a control group: the process is in it, or below it.
    pub cgroup: Option<String>,
    /// Pattern of the container's name; or the first 12 digits of its id at least.
    pub container: Option<String>,
    /// Patterns of the pod's name and namespace.
    pub pod: Option<String>,
    pub k8s_namespace: Option<String>,
}

/// A stack for one domain, or for all below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStack {
    /// Lower-case; `*.example.com`: every name below, not `example.com` itself.
    pub domain: String,
    /// None: nothing of it is captured.
    pub stack: Option<String>,
}

/// Whom containers and pods are asked of. Sockets that are not there are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentitySources {
    /// Docker's socket, or Podman's.
    pub docker: Vec<PathBuf>,
    pub containerd: Vec<PathBuf>,
    pub cri: Vec<PathBuf>,
    pub kubelet: Option<KubernetesServer>,
    pub kubernetes: Option<Kubernetes>,
}

/// A server of Kubernetes: the kubelet's own, for its list of pods, or the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesServer {
    /// `https://host:10250`, without path.
    pub url: String,
    /// Of a service account; read anew for each request.
    pub token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

/// Kubernetes' API, for the pods of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    pub server: KubernetesServer,
    /// `spec.nodeName` of its pods.
    pub node: String,
}

/// A tag and where its values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRule {
    pub key: String,
    pub source: TagSource,
    /// Name of the variable, label or annotation.
    pub location: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagSource {
    /// The process's environment.
    Env,
    PodLabel,
    PodAnnotation,
    ContainerLabel,
}

/// What a trace context in the request does to our span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceContextPolicy {
    /// Adopt, but make no span where the process makes its own, or where the caller keeps none.
    Auto,
    /// Always a span, in the header's trace.
    Adopt,
    /// Our own trace, with a link to the header's context.
    Link,
    Off,
}

/// Bounds of the agent's own use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// All buffers together, in bytes.
    pub memory: u64,
    /// One connection, in bytes.
    pub connection_memory: usize,
    /// CPU that the agent takes before levels are lowered, in thousandths of a core; None: no bound.
    pub cpu: Option<u32>,
    /// The kernel's data ring, in bytes; a power of two.
    pub ring: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 256 << 20,
            connection_memory: 4 << 20,
            cpu: None,
            ring: 16 << 20,
        }
    }
}

/// A configuration shared by the stages.
pub type SharedConfig = Arc<Config>;
