//! Keys of event stores and object stores.

use super::{DAY, HOUR, KIB, MIB};
use crate::config::model::{Compression, OtlpProtocol};
use crate::config::table::{Choices, Kind, LATER, Section, State, Tagged, key, variant};
use crate::config::text::{absolute, identifier, not_empty};
use Kind::{
    Any, Bool, Checked, Choice, Credential, Duration, List, Map, Size, Tagged as Typed, Text,
};

pub(super) static SERVICES: Section = Section {
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
pub(in crate::config) static OTEL: Section = Section {
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
        key("spool", Kind::Section(&SPOOL)),
    ],
};

/// Its defaults are in `build::otlp`: without the section there is no spool.
static SPOOL: Section = Section {
    name: "spool",
    keys: &[
        key("dir", Checked(absolute)),
        key("max_bytes", Size(1 << 20, 1 << 50)),
        key("max_age", Duration(1000, 365 * DAY)),
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

pub(in crate::config) static PROTOCOLS: Choices<OtlpProtocol> = Choices::new(&[
    ("grpc", OtlpProtocol::Grpc),
    ("http", OtlpProtocol::Http),
    ("http/protobuf", OtlpProtocol::Http),
]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Signal {
    Traces,
    Logs,
    Metrics,
}

pub(in crate::config) static SIGNALS: Choices<Signal> = Choices::new(&[
    ("traces", Signal::Traces),
    ("logs", Signal::Logs),
    ("metrics", Signal::Metrics),
]);

pub(in crate::config) static COMPRESSIONS: Choices<Compression> = Choices::new(&[
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
        key("segment_bytes", Size(64 * KIB, 256 * MIB)).default("8MiB"),
        key("segment_time", Duration(100, HOUR)).default("10s"),
        key("spool", Kind::Section(&SPOOL)),
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
        key("segment_bytes", Size(64 * KIB, 256 * MIB)).default("8MiB"),
        key("segment_time", Duration(100, HOUR)).default("10s"),
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
    words: &[("object", ()), ("segment", ())],
    later: &[],
};
