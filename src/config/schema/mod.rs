//! The tables of keys: everything that a configuration may hold, in the order of the file.
//!
//! To add a key, add a line; to use it, read it in `build`. What this version does not act on is here too:
//! - keys and types of QTap are accepted with a warning, unless going on without them would keep or send more than the
//!   file asks for: those are refused (`scrub` of `dlp` here; rules and endpoints that lower the level in `build::tap`
//!   and `build::stack`);
//! - keys of our own that a later version acts on are refused: they promise privacy or cost;
//! - stores of other vendors are refused: nothing would arrive.

mod stacks;
mod stores;
mod tap;

pub(super) use stacks::{LEVELS, LINE_FORMATS, MATCHES, MODES, MatchWord, PLACES};
pub(super) use stores::{COMPRESSIONS, ENCRYPTIONS, PROTOCOLS, SIGNALS, Signal};
pub(super) use tap::{CONTEXTS, DIRECTIONS, STRATEGIES};

use super::model::{MessageSide, TagSource, Temporality};
use super::table::{Choices, Kind, Section, key};
use super::text::{absolute_or_off, header_name, is_cores, metric_attribute, not_empty};
use crate::metrics::Aggregation;
use Kind::{Any, Bool, Checked, Choice, Duration, List, Map, Number, Size, Text};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Milliseconds of a day.
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

pub(in crate::config) static ROOT: Section = Section {
    name: "the configuration",
    keys: &[
        key("version", Number(2, 2)).required(),
        key("services", Kind::Section(&stores::SERVICES)),
        key("stacks", Map(&Kind::Section(&stacks::STACK))),
        key("tap", Kind::Section(&tap::TAP)),
        key("metrics", Kind::Section(&METRICS)),
        key("resource", Kind::Section(&RESOURCE)),
        key("limits", Kind::Section(&LIMITS)),
        key("telemetry", Kind::Section(&TELEMETRY)),
        key("live", Kind::Section(&LIVE)),
        key("security", Kind::Section(&SECURITY)),
        key("tags", List(&Kind::Section(&TAG))).default("[]"),
        key("control", Any).ignored("Plainspan only observes: no connection is denied"),
        key("rulekit", Kind::Section(&RULEKIT)),
    ],
};

static METRICS: Section = Section {
    name: "metrics",
    keys: &[
        key("interval", Duration(1000, DAY)).default("10s"),
        key("max_series", Number(1, 16_384)).default("2000"),
        key("exemplars", Bool).default("true"),
        key("temporality_preference", Choice(&TEMPORALITIES)),
        key("default_histogram_aggregation", Choice(&AGGREGATIONS)),
        key("headers", List(&Kind::Section(&METRIC_HEADER))),
    ],
};

/// Words of OpenTelemetry's declarative configuration.
pub(in crate::config) static TEMPORALITIES: Choices<Temporality> = Choices::new(&[
    ("cumulative", Temporality::Cumulative),
    ("delta", Temporality::Delta),
    ("low_memory", Temporality::LowMemory),
]);

/// Words of OpenTelemetry's declarative configuration.
pub(in crate::config) static AGGREGATIONS: Choices<Aggregation> = Choices::new(&[
    ("explicit_bucket_histogram", Aggregation::Explicit),
    (
        "base2_exponential_bucket_histogram",
        Aggregation::Exponential,
    ),
]);

static METRIC_HEADER: Section = Section {
    name: "metrics.headers",
    keys: &[
        key("header", Checked(header_name)).required(),
        key("from", Choice(&MESSAGE_SIDES)).default("request"),
        key("attribute", Checked(metric_attribute)).required(),
        key("max_values", Number(1, 2000)).default("100"),
    ],
};

pub(in crate::config) static MESSAGE_SIDES: Choices<MessageSide> = Choices::new(&[
    ("request", MessageSide::Request),
    ("response", MessageSide::Response),
]);

static RESOURCE: Section = Section {
    name: "resource",
    keys: &[key("attributes", Map(&Text))],
};

static LIMITS: Section = Section {
    name: "limits",
    keys: &[
        key("memory", Size(16 * MIB, 1 << 40)).default("256MiB"),
        key("connection_memory", Size(64 * KIB, GIB)).default("4MiB"),
        key("cpu", Checked(is_cores)).default("off"),
        key("ring", Size(64 * KIB, GIB)).default("16MiB"),
    ],
};

static TELEMETRY: Section = Section {
    name: "telemetry",
    keys: &[key("program_stats", Bool).default("false")],
};

static LIVE: Section = Section {
    name: "live",
    keys: &[key("socket", Checked(absolute_or_off)).default("/run/plainspan/live.sock")],
};

static SECURITY: Section = Section {
    name: "security",
    keys: &[key("sandbox", Bool).default("true")],
};

static TAG: Section = Section {
    name: "tags",
    keys: &[
        key("key", Checked(not_empty)).required(),
        key("source", Choice(&TAG_SOURCES)).required(),
        key("location", Checked(not_empty)).required(),
    ],
};

pub(in crate::config) static TAG_SOURCES: Choices<TagSource> = Choices::new(&[
    ("env", TagSource::Env),
    ("k8s.label", TagSource::PodLabel),
    ("k8s.annotation", TagSource::PodAnnotation),
    ("container.label", TagSource::ContainerLabel),
]);

static RULEKIT: Section = Section {
    name: "rulekit",
    keys: &[key("macros", List(&Kind::Section(&MACRO)))],
};

static MACRO: Section = Section {
    name: "rulekit.macros",
    keys: &[
        key("name", Checked(not_empty)).required(),
        key("expr", Checked(not_empty)).required(),
    ],
};
