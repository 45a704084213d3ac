//! What went wrong at a store: what kind of failure it is, and what to do about it.

use super::client::Answer;
use crate::telemetry::ledger::PayloadLost;
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as StdError;
use std::io;
use std::time::Duration;

/// What kind of failure it was: whether to try again, and what the ledger calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The store is down, cannot be reached, is too slow, or has too much to do. The same put may succeed soon.
    Unavailable,
    /// The store takes nothing from this agent until somebody changes its settings, its rights, its keys, the bucket or
    /// a clock. Worth keeping, not worth asking often.
    Refused,
    /// There is no room: a disk or a quota is full. As [`Failure::Refused`].
    Full,
    /// No store takes this one payload, whenever it is asked.
    Unfit,
}

/// A put failed, retries included.
#[derive(Debug, thiserror::Error)]
#[error("{what}; {hint}")]
pub struct StoreError {
    pub(super) failure: Failure,
    /// What the store asks to wait for before the next request.
    pub(super) after: Option<Duration>,
    pub(super) what: String,
    pub(super) hint: String,
}

impl StoreError {
    pub(super) fn new(
        failure: Failure,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> StoreError {
        StoreError {
            failure,
            after: None,
            what: what.into(),
            hint: hint.into(),
        }
    }

    pub fn failure(&self) -> Failure {
        self.failure
    }

    /// How long the store asks to be left alone (RFC 9110 §10.2.3); None: it did not say.
    pub fn retry_after(&self) -> Option<Duration> {
        self.after
    }

    /// What a payload is counted as that is given up over this.
    pub fn lost(&self) -> PayloadLost {
        match self.failure {
            Failure::Unavailable => PayloadLost::StoreFailed,
            Failure::Refused => PayloadLost::StoreRefused,
            Failure::Full => PayloadLost::StoreFull,
            Failure::Unfit => PayloadLost::TooLarge,
        }
    }

    /// The queue in front of the store has no room.
    pub(super) fn queue_full() -> StoreError {
        StoreError::new(
            Failure::Unavailable,
            "too many payloads wait for the store",
            "it is too slow or down; a lower level for some of the traffic asks less of it",
        )
    }

    /// A document is larger than one object may be.
    pub(super) fn too_large(size: usize, max: usize) -> StoreError {
        StoreError::new(
            Failure::Unfit,
            format!("its document has {size} bytes, more than the {max} of one object"),
            "lower `bodies.max_bytes`",
        )
    }

    pub(super) fn compressor(error: &io::Error) -> StoreError {
        StoreError::new(
            Failure::Unavailable,
            format!("cannot compress it: {error}"),
            "give the agent more memory",
        )
    }

    /// No answer came in time.
    pub(super) fn slow(time: Duration) -> StoreError {
        StoreError::new(
            Failure::Unavailable,
            format!("the store gave no answer within {} s", time.as_secs()),
            SLOW,
        )
    }

    /// A file or a folder could not be used.
    pub(super) fn file(what: String, error: &io::Error) -> StoreError {
        let failure = of_file(error);
        let hint = match failure {
            Failure::Full => ROOM,
            _ => FOLDER_HINT,
        };
        StoreError::new(failure, what, hint)
    }
}

pub(super) const FOLDER_HINT: &str = "check the folder's owner and mode, and the room on its disk";
const ROOM: &str = "make room on the disk, or lower `max_bytes` and `max_age`";
const CREDENTIALS: &str = "the credentials are wrong: check";
const CLOCK: &str = "set this host's clock";
const SLOW: &str =
    "it, or the network to it, is too slow; a lower level for some of the traffic asks less of it";
const OVERLOADED: &str =
    "the store is overloaded or at fault; a lower level for some of the traffic asks less of it";
const ENDPOINT: &str = "check that `endpoint` can be reached from here, and that `insecure` is right: true for plain http";

pub(super) fn not_implemented(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. })
        || code(&chain(error)).is_some_and(|c| c == "NotImplemented")
}

/// The object was there already. A conflict (409) is also what a store says of a bucket that is being removed.
pub(super) fn was_there(error: &object_store::Error) -> bool {
    let there = matches!(
        code(&chain(error)),
        None | Some(
            "PreconditionFailed" | "BlobAlreadyExists" | "ConditionNotMet" | "UnmodifiedSince"
        )
    );
    matches!(error, object_store::Error::AlreadyExists { .. }) && there
}

/// How the kinds of stores call their parts, in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words {
    /// Keys of the configuration that hold credentials.
    pub keys: &'static str,
    /// What objects are in, and its key.
    pub bucket: &'static str,
    /// What writing needs.
    pub right: &'static str,
    /// Where credentials come from when the configuration has none.
    pub usual: &'static str,
}

pub(super) const S3: Words = Words {
    keys: "`access_key` and `secret_key`",
    bucket: "bucket",
    right: "s3:PutObject on the bucket (and s3:PutObjectTagging with `object_tags`)",
    usual: "set `access_key` and `secret_key`, or give this host a role",
};

pub(super) const GCS: Words = Words {
    keys: "`credentials_file`, or what the environment names",
    bucket: "bucket",
    right: "storage.objects.create on the bucket",
    usual: "set `credentials_file`, or give this host a service account",
};

pub(super) const AZURE: Words = Words {
    keys: "`account` and `access_key`",
    bucket: "container",
    right: "writing of blobs in the container (and of their tags with `object_tags`)",
    usual: "set `access_key`, or give this host an identity",
};

pub(super) const FILES: Words = Words {
    keys: "`path`",
    bucket: "path",
    right: "writing in the folder",
    usual: "check `path`",
};

/// What failed and what to do about it.
pub(super) fn explain(error: &object_store::Error, answer: &Answer, words: Words) -> StoreError {
    if let Some(file) = cause::<io::Error>(error).filter(|_| is_local(error)) {
        return StoreError::file(printable(&chain(error)), file);
    }
    let text = chain(error);
    let code = code(&text);
    let (failure, hint) = judge(error, answer, code, &text, words);
    StoreError {
        failure,
        after: answer
            .retry_after
            .filter(|_| failure == Failure::Unavailable),
        hint,
        what: match (code, tag(&text, "Message")) {
            (Some(code), Some(message)) => printable(&format!("the store said {code}: {message}")),
            (Some(code), None) => printable(&format!("the store said {code}")),
            (None, _) => printable(&text),
        },
    }
}

fn judge(
    error: &object_store::Error,
    answer: &Answer,
    code: Option<&str>,
    text: &str,
    words: Words,
) -> (Failure, String) {
    use object_store::Error as E;
    if of_credentials(text) {
        let hint = format!("no credentials were found: {}", words.usual);
        return (Failure::Refused, hint);
    }
    if let Some(verdict) = code.and_then(|code| of_code(code, answer, text, words)) {
        return verdict;
    }
    let status = answer.status.unwrap_or_default();
    match (status, error) {
        (301 | 302 | 308, _) => (Failure::Refused, elsewhere(answer, text)),
        (408 | 429 | 500..=506 | 508..=599, _) => (Failure::Unavailable, OVERLOADED.into()),
        (507, _) => (Failure::Full, "make room in the store".into()),
        (401 | 403, _) if answer.skewed() => (Failure::Refused, CLOCK.into()),
        (401 | 403, _) if code.is_some() => (Failure::Refused, rights(words)),
        (401 | 403, _) => (Failure::Refused, wrong_keys(words)),
        (404, _) | (_, E::NotFound { .. }) => (Failure::Refused, no_bucket(words)),
        (400..=499, _) => (
            Failure::Refused,
            "check `endpoint`: what answers there may be no such store".into(),
        ),
        _ => unanswered(error, text, words),
    }
}

/// Codes of S3, GCS and Azure.
fn of_code(code: &str, answer: &Answer, text: &str, words: Words) -> Option<(Failure, String)> {
    let refused = |hint: String| Some((Failure::Refused, hint));
    match code {
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "ExpiredToken"
        | "InvalidSecurity"
        | "TokenRefreshRequired"
        | "AuthenticationRequired"
        | "InvalidAuthenticationInfo"
        | "AuthenticationFailed"
            if !answer.skewed() =>
        {
            refused(wrong_keys(words))
        }
        // Azure's word for a network that may not ask; its emulator's for a wrong key.
        "AuthorizationFailure" => refused(format!(
            "check {}, and whether the account's network rules let this host in",
            words.keys
        )),
        "RequestTimeTooSkewed" | "RequestExpired" => refused(CLOCK.into()),
        "NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName" | "ResourceNotFound" => {
            refused(no_bucket(words))
        }
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraint"
        | "IllegalLocationConstraintException" => refused(elsewhere(answer, text)),
        "SlowDown"
        | "ServiceUnavailable"
        | "InternalError"
        | "ServerBusy"
        | "OperationTimedOut"
        | "RequestLimitExceeded"
        | "Throttling"
        | "TooManyRequests"
        | "OperationAborted"
        | "ConditionalRequestConflict" => Some((Failure::Unavailable, OVERLOADED.into())),
        "TemporaryRedirect" | "ContainerBeingDeleted" => Some((
            Failure::Unavailable,
            "it is being made or moved: this passes by itself".into(),
        )),
        "BadDigest"
        | "IncompleteBody"
        | "RequestTimeout"
        | "XAmzContentSHA256Mismatch"
        | "Md5Mismatch" => Some((
            Failure::Unavailable,
            "the upload was torn: look at the network, and at proxies, between here and the store"
                .into(),
        )),
        "EntityTooLarge" | "RequestBodyTooLarge" => {
            Some((Failure::Unfit, "lower `bodies.max_bytes`".into()))
        }
        "QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity" => Some((
            Failure::Full,
            "make room in the store, or raise its quota".into(),
        )),
        _ if code.starts_with("KMS.") => refused(
            "check `encryption`: the key has to be there, on, and open to these credentials".into(),
        ),
        _ => None,
    }
}

/// The request that failed was for credentials: of an instance, a task or a pod (AWS, GCP, Azure).
fn of_credentials(text: &str) -> bool {
    let places = [
        "/latest/api/token",
        "/latest/meta-data/",
        "//169.254.170.2",
        "//metadata.google.internal",
        "/computeMetadata/",
        "/metadata/identity",
    ];
    places.iter().any(|place| text.contains(place))
}

/// No answer came.
fn unanswered(error: &object_store::Error, text: &str, words: Words) -> (Failure, String) {
    use object_store::Error as E;
    match error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            return (Failure::Refused, wrong_keys(words));
        }
        E::NotImplemented { .. } | E::NotSupported { .. } | E::InvalidPath { .. } => {
            return (Failure::Refused, "this is a fault of the agent".into());
        }
        _ => {}
    }
    if text.contains("invalid peer certificate") || text.contains("UnknownIssuer") {
        return (
            Failure::Refused,
            "this host does not trust the store's certificate: add its authority to those of the host"
                .into(),
        );
    }
    match cause::<HttpError>(error).map(HttpError::kind) {
        Some(HttpErrorKind::Timeout) => (Failure::Unavailable, SLOW.into()),
        Some(HttpErrorKind::Request | HttpErrorKind::Interrupted) => (
            Failure::Unavailable,
            "the connection broke before the answer: look at the store, and at proxies in front of it"
                .into(),
        ),
        _ => (Failure::Unavailable, ENDPOINT.into()),
    }
}

fn wrong_keys(words: Words) -> String {
    format!("{CREDENTIALS} {}", words.keys)
}

fn rights(words: Words) -> String {
    format!(
        "these credentials may not write there: allow {}",
        words.right
    )
}

fn no_bucket(words: Words) -> String {
    let bucket = words.bucket;
    format!("there is no such {bucket}: create it, or correct `{bucket}` and `endpoint`")
}

/// The region is another one; which, the store may have said.
fn elsewhere(answer: &Answer, text: &str) -> String {
    let region = answer.region.as_deref().or_else(|| tag(text, "Region"));
    match region.filter(|r| r.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')) {
        Some(region) => format!("the bucket is elsewhere: set `region: {region}`"),
        None => "check `region` and `endpoint`: the bucket is elsewhere".to_owned(),
    }
}

fn of_file(error: &io::Error) -> Failure {
    use io::ErrorKind as K;
    match error.kind() {
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => Failure::Full,
        K::PermissionDenied | K::ReadOnlyFilesystem | K::NotADirectory | K::NotFound => {
            Failure::Refused
        }
        _ => Failure::Unavailable,
    }
}

fn is_local(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { store, .. } if *store == "LocalFileSystem")
        || cause::<HttpError>(error).is_none()
            && matches!(
                error,
                object_store::Error::NotFound { .. } | object_store::Error::PermissionDenied { .. }
            )
}

/// The first of the error's causes that is a `T`.
fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The error with its causes, each said once.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = source.source();
    }
    text
}

/// The error code in an answer of S3, GCS or Azure.
fn code(text: &str) -> Option<&str> {
    tag(text, "Code")
}

fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once("</")?;
    Some(value)
}

/// One line of at most 400 characters, without control characters: a store's answer may hold anything.
fn printable(text: &str) -> String {
    text.chars()
        .take(400)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
