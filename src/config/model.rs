//! The configuration that runs: validated, with every default filled in.

mod stores;
mod tap;

pub use stores::*;
pub use tap::*;

use crate::metrics::Aggregation;
use crate::rules::Level;
use crate::sink::otlp::KnownMethods;
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
