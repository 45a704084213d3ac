//! The tables of keys: everything that a configuration may hold, in the order of the file.
//!
//! To add a key, add a line; to use it, read it in `build`. What this version does not act on is here too:
//! - keys and types of QTap are accepted with a warning, unless going on without them would keep or send more than the
//!   file asks for: those are refused (`scrub` of `dlp` here; rules and endpoints that lower the level in `build::tap`
//!   and `build::stack`);
//! - keys of our own that a later version acts on are refused: they promise privacy or cost;
//! - stores of other vendors are refused: nothing would arrive.

use super::model::{
    Compression, Direction, ExeStrategy, OtlpProtocol, RedactMode, RedactPlace, TraceContextPolicy,
};
use super::table::{Choices, Key, Kind, LATER, Section, State, Tagged, Variant, key, variant};
use super::text::{glob, identifier, not_empty};
use crate::rules::Level;
use Kind::{
    Any, Bool, Checked, Choice, Credential, Duration, List, Map, Number, Ratio, Size,
    Tagged as Typed, Text,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Milliseconds of a day.
const DAY: u64 = 86_400_000;
const MAX_U32: u64 = u32::MAX as u64;

pub(super) static ROOT: Section = Section {
    name: "the configuration",
    keys: &[
        key("version", Number(2, 2)).required(),
        key("services", Kind::Section(&SERVICES)),
        key("stacks", Map(&Kind::Section(&STACK))),
        key("tap", Kind::Section(&TAP)),
        key("metrics", Any).later(),
        key("resource", Kind::Section(&RESOURCE)),
        key("limits", Kind::Section(&LIMITS)),
        key("tags", List(&Kind::Section(&TAG)))
            .ignored("tags are not added by this version")
            .idle("[]"),
        key("control", Any).ignored("Plainspan only observes: no connection is denied"),
        key("rulekit", Kind::Section(&RULEKIT)),
    ],
};

static SERVICES: Section = Section {
    name: "services",
    keys: &[
        key("event_stores", List(&Typed(&EVENT_STORE))),
        key("object_stores", List(&Typed(&OBJECT_STORE))),
        key("qscan", Any).ignored("there is no Qscan service here"),
    ],
};

// Event stores.

static EVENT_STORE: Tagged = Tagged {
    what: "event store",
    variants: &[
        variant("otel", &OTEL),
        variant("stdout", &PLAIN_EVENT_STORE),
        variant("disabled", &PLAIN_EVENT_STORE),
        variant("axiom", &UNREAD).state(COLLECTOR),
        variant("pulse", &UNREAD).state(COLLECTOR),
        variant("pulse-streaming", &UNREAD).state(COLLECTOR),
        variant("pulse-legacy", &UNREAD).state(COLLECTOR),
    ],
};

const COLLECTOR: State = State::Refused(
    "send to an OpenTelemetry collector (`type: otel`), which has an exporter for it",
);

/// Of types that are refused or ignored as a whole.
static UNREAD: Section = Section {
    name: "",
    keys: &[key("type", Text)],
};

static PLAIN_EVENT_STORE: Section = Section {
    name: "event store",
    keys: &[key("id", Checked(identifier)), key("type", Text)],
};

/// What has no default here has one that depends on the environment and the signal: see `build::otlp`.
pub(super) static OTEL: Section = Section {
    name: "event store otel",
    keys: &[
        key("id", Checked(identifier)),
        key("type", Text),
        key("endpoint", Checked(not_empty)),
        key("protocol", Choice(&PROTOCOLS)),
        key("signals", List(&Choice(&SIGNALS))).default("[traces, logs, metrics]"),
        key("headers", Map(&Credential)),
        key("tls", Kind::Section(&TLS)),
        key("compression", Choice(&COMPRESSIONS)),
        key("timeout", Duration(1, DAY)),
        key("environment", Checked(not_empty)),
        key("service_name", Text).ignored(
            "each observed service has a name of its own; OTEL_SERVICE_NAME names the agent itself",
        ),
        key("spool", Any).later(),
    ],
};

static TLS: Section = Section {
    name: "tls",
    keys: &[
        key("enabled", Bool),
        key("ca_file", Checked(not_empty)),
        key("cert_file", Checked(not_empty)),
        key("key_file", Checked(not_empty)),
        key("insecure_skip_verify", Bool).default("false"),
    ],
};

pub(super) static PROTOCOLS: Choices<OtlpProtocol> = Choices::new(&[
    ("grpc", OtlpProtocol::Grpc),
    ("http", OtlpProtocol::Http),
    ("http/protobuf", OtlpProtocol::Http),
]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

pub(super) static SIGNALS: Choices<Signal> = Choices::new(&[
    ("traces", Signal::Traces),
    ("logs", Signal::Logs),
    ("metrics", Signal::Metrics),
]);

pub(super) static COMPRESSIONS: Choices<Compression> = Choices::new(&[
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("zstd", Compression::Zstd),
]);

// Object stores.

static OBJECT_STORE: Tagged = Tagged {
    what: "object store",
    variants: &[
        variant("s3", &S3),
        variant("disk", &DISK),
        variant("stdout", &PLAIN_OBJECT_STORE),
        variant("disabled", &PLAIN_OBJECT_STORE),
        variant("gcs", &UNREAD).state(State::Refused(LATER)),
        variant("azure", &UNREAD).state(State::Refused(LATER)),
        variant("qpoint", &UNREAD).state(WAREHOUSE),
        variant("otel", &UNREAD).state(OTEL_OBJECTS),
    ],
};

const WAREHOUSE: State =
    State::Refused("payloads go to `s3` or `disk`; there is no Warehouse client");
const OTEL_OBJECTS: State = State::Refused(
    "payloads go to `s3` or `disk`; an event store of type otel sends the link to a collector",
);
const RECORDS: &str = "the payload link goes to every event store that takes spans or log records";

static S3: Section = Section {
    name: "object store s3",
    keys: &[
        key("id", Checked(identifier)),
        key("type", Text),
        key("endpoint", Checked(not_empty)).default("s3.amazonaws.com"),
        key("bucket", Checked(not_empty)).required(),
        key("region", Checked(not_empty)).default("us-east-1"),
        key("access_url", Checked(not_empty)),
        key("insecure", Bool).default("false"),
        key("access_key", Credential),
        key("secret_key", Credential),
        key("prefix", Text).default("''"),
        key("layout", Choice(&LAYOUTS)).default("object"),
        key("event_store", Kind::Section(&RECORD_STORE)).ignored(RECORDS),
    ],
};

static DISK: Section = Section {
    name: "object store disk",
    keys: &[
        key("id", Checked(identifier)),
        key("type", Text),
        key("path", Checked(not_empty)).required(),
        key("access_url", Checked(not_empty)),
        key("layout", Choice(&LAYOUTS)).default("object"),
        key("max_bytes", Size(1, u64::MAX)).later(),
        key("max_age", Duration(1, u64::MAX)).later(),
        key("event_store", Kind::Section(&RECORD_STORE)).ignored(RECORDS),
    ],
};

static PLAIN_OBJECT_STORE: Section = Section {
    name: "object store",
    keys: &[
        key("id", Checked(identifier)),
        key("type", Text),
        key("event_store", Kind::Section(&RECORD_STORE)).ignored(RECORDS),
    ],
};

static RECORD_STORE: Section = Section {
    name: "event_store",
    keys: &[key("id", Text), key("disabled", Bool)],
};

static LAYOUTS: Choices<()> = Choices {
    words: &[("object", ())],
    later: &["segment"],
};

// Stacks.

static STACK: Section = Section {
    name: "stack",
    keys: &[key("plugins", List(&Typed(&PLUGIN)))],
};

static PLUGIN: Tagged = Tagged {
    what: "plugin",
    variants: &[
        variant("http_capture", &HTTP_CAPTURE_PLUGIN),
        variant("access_logs", &ACCESS_LOGS_PLUGIN),
        variant("debug", &ACCESS_LOGS_PLUGIN)
            .former_name_of("access_logs")
            .state(State::Ignored(
                "`debug` is a former name: write `access_logs`",
            )),
        variant("report_usage", &BARE_PLUGIN),
        variant("http_metrics", &BARE_PLUGIN),
        variant("detect_errors", &OTHER_PLUGIN).state(NOT_RUN),
        variant("qscan", &OTHER_PLUGIN).state(NOT_RUN),
        variant("dlp", &DLP_PLUGIN).state(NOT_RUN),
        variant("llm", &OTHER_PLUGIN).state(NOT_RUN),
    ],
};

const NOT_RUN: State = State::Ignored("this plugin of QTap is not run by this version");
const NO_SETTINGS: &str = "this plugin has no settings here";

static BARE_PLUGIN: Section = Section {
    name: "plugin",
    keys: &[
        key("type", Text),
        key("config", Any).ignored(NO_SETTINGS).idle("{}"),
    ],
};
static OTHER_PLUGIN: Section = Section {
    name: "plugin",
    keys: &[key("type", Text), key("config", Any)],
};
static DLP_PLUGIN: Section = Section {
    name: "plugin dlp",
    keys: &[key("type", Text), key("config", Kind::Section(&DLP))],
};
static HTTP_CAPTURE_PLUGIN: Section = Section {
    name: "plugin http_capture",
    keys: &[
        key("type", Text),
        key("config", Kind::Section(&HTTP_CAPTURE)),
    ],
};
static ACCESS_LOGS_PLUGIN: Section = Section {
    name: "plugin access_logs",
    keys: &[
        key("type", Text),
        key("config", Kind::Section(&ACCESS_LOGS)),
    ],
};

static DLP: Section = Section {
    name: "dlp.config",
    keys: &[
        key("scan_headers", Bool),
        key("rules", List(&Kind::Section(&DLP_RULE))),
    ],
};

static DLP_RULE: Section = Section {
    name: "dlp.config.rules",
    keys: &[
        key("label", Text),
        key("expression", Text),
        key("scrub", Bool)
            .refused("would not scrub anything in this version: use `redact` of http_capture")
            .idle("false"),
        key("report", Bool),
        key("record", Bool),
        key("fail_on_detect", Bool),
    ],
};

static HTTP_CAPTURE: Section = Section {
    name: "http_capture.config",
    keys: &[
        key("level", Choice(&LEVELS)).default("none"),
        key("format", Choice(&FORMATS)).default("json"),
        // Looked at in `build::stack`, which warns or refuses.
        key("rules", List(&Kind::Section(&RULE))),
        key("object_store", Kind::Section(&STORE_CHOICE)),
        key("headers", Kind::Section(&HEADERS)),
        key("redact", Kind::Section(&REDACT)),
        key("sample", Any).later(),
        key("bodies", Kind::Section(&BODIES)),
    ],
};

pub(super) static LEVELS: Choices<Level> = Choices::new(&[
    ("none", Level::None),
    ("summary", Level::Summary),
    ("headers", Level::Headers),
    ("details", Level::Headers),
    ("full", Level::Full),
]);

static FORMATS: Choices<()> = Choices::new(&[("json", ()), ("text", ())]);

static RULE: Section = Section {
    name: "http_capture.config.rules",
    keys: &[
        key("name", Text),
        key("expr", Checked(not_empty)).required(),
        key("level", Choice(&LEVELS)).required(),
        key("format", Choice(&FORMATS)),
    ],
};

static STORE_CHOICE: Section = Section {
    name: "http_capture.config.object_store",
    keys: &[
        key("id", Text),
        key("disabled", Bool).default("false"),
        key("from_level", Choice(&LEVELS)).default("summary"),
    ],
};

static HEADERS: Section = Section {
    name: "http_capture.config.headers",
    keys: &[
        key("include", List(&Checked(glob))).default("['*']"),
        key("exclude", List(&Checked(glob))).default("[]"),
    ],
};

static REDACT: Section = Section {
    name: "http_capture.config.redact",
    keys: &[
        key("hash_key", Credential).later(),
        key("rules", List(&Kind::Section(&REDACT_RULE))).default("[]"),
    ],
};

static REDACT_RULE: Section = Section {
    name: "http_capture.config.redact.rules",
    keys: &[
        key("name", Checked(not_empty)),
        key("in", Choice(&PLACES)).required(),
        key("match", Choice(&MATCHES)).default("exact"),
        key("key", Checked(not_empty)).required(),
        key("mode", Choice(&MODES)).default("mask"),
    ],
};

pub(super) static PLACES: Choices<RedactPlace> = Choices {
    words: &[
        ("header", RedactPlace::Header),
        ("query", RedactPlace::Query),
        ("cookie", RedactPlace::Cookie),
    ],
    later: &["json", "body"],
};

#[derive(Clone, Copy)]
pub(super) enum MatchWord {
    Exact,
    Glob,
    Regex,
}

pub(super) static MATCHES: Choices<MatchWord> = Choices::new(&[
    ("exact", MatchWord::Exact),
    ("glob", MatchWord::Glob),
    ("regex", MatchWord::Regex),
]);

pub(super) static MODES: Choices<RedactMode> = Choices {
    words: &[("mask", RedactMode::Mask), ("keep", RedactMode::Keep)],
    later: &["hash", "drop"],
};

static BODIES: Section = Section {
    name: "http_capture.config.bodies",
    keys: &[
        key("max_bytes", Size(0, GIB)).default("1MiB"),
        key("content_types", List(&Text)).later().idle("[]"),
        key("as_sent", Bool).later().idle("false"),
    ],
};

static ACCESS_LOGS: Section = Section {
    name: "access_logs.config",
    keys: &[
        key("mode", Choice(&LEVELS)).default("summary"),
        key("format", Choice(&LINE_FORMATS)).default("console"),
        key("rules", List(&Kind::Section(&ACCESS_RULE)))
            .ignored("rules are not evaluated by this version: `mode` applies to every transaction")
            .idle("[]"),
    ],
};

/// True: JSON.
pub(super) static LINE_FORMATS: Choices<bool> = Choices::new(&[("console", false), ("json", true)]);

static ACCESS_RULE: Section = Section {
    name: "access_logs.config.rules",
    keys: &[
        key("name", Text),
        key("expr", Checked(not_empty)).required(),
        key("mode", Choice(&LEVELS)).required(),
    ],
};

// Tap.

static TAP: Section = Section {
    name: "tap",
    keys: &[
        key("direction", Choice(&DIRECTIONS)).default("all"),
        key("ignore_loopback", Bool).default("false"),
        key("audit_include_dns", Bool)
            .ignored("DNS is not looked at")
            .idle("false"),
        key("http", Kind::Section(&TAP_HTTP)),
        other_protocol("redis"),
        other_protocol("mysql"),
        other_protocol("postgres"),
        other_protocol("kafka"),
        other_protocol("grpc"),
        key("filters", Kind::Section(&FILTERS)),
        // Looked at in `build::tap`, which warns or refuses.
        key("endpoints", List(&Kind::Section(&ENDPOINT))),
        key("trace", Kind::Section(&TRACE)),
        key("routes", List(&Text)).later().idle("[]"),
        key("route_heuristic", Bool).later().idle("false"),
        key("private_ranges", List(&Text)).later().idle("[]"),
        key("progress", Duration(1, DAY)).later(),
        key("java", Bool).later().idle("false"),
    ],
};

const fn other_protocol(name: &'static str) -> Key {
    key(name, Kind::Section(&OTHER_PROTOCOL)).ignored("only HTTP is looked at")
}

pub(super) static DIRECTIONS: Choices<Direction> = Choices::new(&[
    ("all", Direction::All),
    ("ingress", Direction::Ingress),
    ("egress", Direction::Egress),
    ("egress-internal", Direction::EgressInternal),
    ("egress-external", Direction::EgressExternal),
]);

static TAP_HTTP: Section = Section {
    name: "tap.http",
    keys: &[key("stack", Text)],
};
static OTHER_PROTOCOL: Section = Section {
    name: "tap",
    keys: &[key("stack", Text)],
};

static FILTERS: Section = Section {
    name: "tap.filters",
    keys: &[
        key("groups", List(&Choice(&super::groups::GROUPS))).default("[]"),
        key("custom", List(&Kind::Section(&CUSTOM))).default("[]"),
        key("include", List(&Kind::Section(&INCLUDE))).default("[]"),
    ],
};

static CUSTOM: Section = Section {
    name: "tap.filters.custom",
    keys: &[
        key("exe", Checked(not_empty)).required(),
        key("strategy", Choice(&STRATEGIES)).default("exact"),
        // Looked at in `build::tap`, which warns.
        key("only", List(&Choice(&FACETS))),
    ],
};

pub(super) static STRATEGIES: Choices<ExeStrategy> = Choices::new(&[
    ("exact", ExeStrategy::Exact),
    ("prefix", ExeStrategy::Prefix),
    ("suffix", ExeStrategy::Suffix),
    ("contains", ExeStrategy::Contains),
    ("regex", ExeStrategy::Regex),
]);

static FACETS: Choices<()> = Choices::new(&[("data", ()), ("dns", ()), ("tls", ()), ("http", ())]);

static INCLUDE: Section = Section {
    name: "tap.filters.include",
    keys: &[
        key("exe", Checked(not_empty)),
        key("strategy", Choice(&STRATEGIES)).default("exact"),
        key("pid", Number(1, MAX_U32)),
        key("uid", Number(0, MAX_U32)),
        key("port", Number(1, 65535)),
        key("netns", Number(1, MAX_U32)),
        key("cgroup", Text).later(),
        key("container", Text).later(),
        key("pod", Text).later(),
        key("k8s_namespace", Text).later(),
    ],
};

static ENDPOINT: Section = Section {
    name: "tap.endpoints",
    keys: &[
        key("domain", Checked(not_empty)).required(),
        key("http", Kind::Section(&TAP_HTTP)),
        other_protocol("redis"),
        other_protocol("mysql"),
        other_protocol("postgres"),
        other_protocol("kafka"),
        other_protocol("grpc"),
    ],
};

static TRACE: Section = Section {
    name: "tap.trace",
    keys: &[
        key("context", Choice(&CONTEXTS)).default("auto"),
        key("joined_networks", List(&Text)).later().idle("[]"),
        key("untrusted", List(&Text)).later().idle("[]"),
    ],
};

pub(super) static CONTEXTS: Choices<TraceContextPolicy> = Choices::new(&[
    ("auto", TraceContextPolicy::Auto),
    ("adopt", TraceContextPolicy::Adopt),
    ("link", TraceContextPolicy::Link),
    ("off", TraceContextPolicy::Off),
]);

// The rest of the top level.

static RESOURCE: Section = Section {
    name: "resource",
    keys: &[key("attributes", Map(&Text))],
};

static LIMITS: Section = Section {
    name: "limits",
    keys: &[
        key("memory", Size(16 * MIB, 1 << 40)).default("256MiB"),
        key("connection_memory", Size(64 * KIB, GIB)).default("4MiB"),
        key("cpu", Ratio).later(),
        key("ring", Size(64 * KIB, GIB)).default("16MiB"),
    ],
};

static TAG: Section = Section {
    name: "tags",
    keys: &[key("key", Text), key("source", Text), key("location", Text)],
};

static RULEKIT: Section = Section {
    name: "rulekit",
    keys: &[key("macros", List(&Kind::Section(&MACRO)))
        .ignored("rules are not evaluated by this version, nor are the macros that they use")
        .idle("[]")],
};

static MACRO: Section = Section {
    name: "rulekit.macros",
    keys: &[
        key("name", Checked(not_empty)).required(),
        key("expr", Checked(not_empty)).required(),
    ],
};

/// The variant of `tagged` that has this name.
pub(super) fn variant_named(tagged: &'static Tagged, name: &str) -> Option<&'static Variant> {
    tagged.variants.iter().find(|v| v.name == name)
}
