//! Keys of event stores and object stores.

use super::{DAY, HOUR, KIB, MIB};
use crate::config::model::{Compression, OtlpProtocol};
use crate::config::table::{Choices, Kind, Section, State, Tagged, key, variant};
use crate::config::text::{absolute, identifier, not_empty};
use crate::sink::payload::check_prefix;
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
        variant("gcs", &GCS),
        variant("azure", &AZURE),
        variant("disk", &DISK),
        variant("stdout", &PLAIN_OBJECT_STORE),
        variant("disabled", &PLAIN_OBJECT_STORE),
        variant("qpoint", &UNREAD).state(WAREHOUSE),
        variant("otel", &UNREAD).state(OTEL_OBJECTS),
    ],
};

const WAREHOUSE: State =
    State::Refused("payloads go to `s3`, `gcs`, `azure` or `disk`; there is no Warehouse client");
const OTEL_OBJECTS: State = State::Refused(
    "payloads go to `s3`, `gcs`, `azure` or `disk`; an event store of type otel sends the link to a collector",
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
        key("insecure", Bool).default("false"),
        key("access_key", Credential),
        key("secret_key", Credential),
        key("encryption", Choice(&ENCRYPTIONS)),
        key("kms_key_id", Checked(not_empty)),
        key("object_tags", Map(&Text)),
        key("access_url", Checked(not_empty)),
        key("prefix", Checked(check_prefix)).default("''"),
        key("layout", Choice(&LAYOUTS)).default("object"),
        key("segment_bytes", Size(64 * KIB, 256 * MIB)).default("8MiB"),
        key("segment_time", Duration(100, HOUR)).default("10s"),
        key("spool", Kind::Section(&SPOOL)),
        key("event_store", Kind::Section(&RECORD_STORE)).ignored(RECORDS),
    ],
};

static GCS: Section = Section {
    name: "object store gcs",
    keys: &[
        key("id", Checked(identifier)),
        key("type", Text),
        key("endpoint", Checked(not_empty)).default("storage.googleapis.com"),
        key("bucket", Checked(not_empty)).required(),
        key("insecure", Bool).default("false"),
        key("credentials_file", Checked(absolute)),
        key("encryption", Any).refused(ENCRYPTED_BY_BUCKET),
        key("kms_key_id", Any).refused(ENCRYPTED_BY_BUCKET),
        key("object_tags", Any).refused(
            "is not possible: Google Cloud Storage has no tags of objects; label the bucket",
        ),
        key("access_url", Checked(not_empty)),
        key("prefix", Checked(check_prefix)).default("''"),
        key("layout", Choice(&LAYOUTS)).default("object"),
        key("segment_bytes", Size(64 * KIB, 256 * MIB)).default("8MiB"),
        key("segment_time", Duration(100, HOUR)).default("10s"),
        key("spool", Kind::Section(&SPOOL)),
        key("event_store", Kind::Section(&RECORD_STORE)).ignored(RECORDS),
    ],
};

static AZURE: Section = Section {
    name: "object store azure",
    keys: &[
        key("id", Checked(identifier)),
        key("type", Text),
        // Its default is of the account: see `build::stores`.
        key("endpoint", Checked(not_empty)),
        key("account", Checked(not_empty)).required(),
        key("container", Checked(not_empty)).required(),
        key("insecure", Bool).default("false"),
        key("access_key", Credential),
        key("encryption", Any).refused(ENCRYPTED_BY_BUCKET),
        key("kms_key_id", Any).refused(ENCRYPTED_BY_BUCKET),
        key("object_tags", Map(&Text)),
        key("access_url", Checked(not_empty)),
        key("prefix", Checked(check_prefix)).default("''"),
        key("layout", Choice(&LAYOUTS)).default("object"),
        key("segment_bytes", Size(64 * KIB, 256 * MIB)).default("8MiB"),
        key("segment_time", Duration(100, HOUR)).default("10s"),
        key("spool", Kind::Section(&SPOOL)),
        key("event_store", Kind::Section(&RECORD_STORE)).ignored(RECORDS),
    ],
};

const ENCRYPTED_BY_BUCKET: &str = "is not possible: this store encrypts everything, with the key that the bucket or the container is configured for; set it there";

static DISK: Section = Section {
    name: "object store disk",
    keys: &[
        key("id", Checked(identifier)),
        key("type", Text),
        key("path", Checked(not_empty)).required(),
        key("max_bytes", Size(MIB, 1 << 50)).default("1GiB"),
        key("max_age", Duration(1000, 3650 * DAY)).default("7d"),
        key("object_tags", Any).refused("is not possible: files have no tags"),
        key("access_url", Checked(not_empty)),
        key("prefix", Checked(check_prefix)).default("''"),
        key("layout", Choice(&LAYOUTS)).default("object"),
        key("segment_bytes", Size(64 * KIB, 256 * MIB)).default("8MiB"),
        key("segment_time", Duration(100, HOUR)).default("10s"),
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

pub(in crate::config) static ENCRYPTIONS: Choices<bool> =
    Choices::new(&[("AES256", false), ("aws:kms", true)]);

static LAYOUTS: Choices<()> = Choices {
    words: &[("object", ()), ("segment", ())],
    later: &[],
};
