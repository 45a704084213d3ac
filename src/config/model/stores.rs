//! Where telemetry and payloads go, and how.

use super::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

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
