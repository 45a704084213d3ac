//! What went wrong at a store, and what to do about it.

/// A put failed, retries included.
#[derive(Debug, thiserror::Error)]
#[error("{what}; {hint}")]
pub struct StoreError {
    pub(super) what: String,
    pub(super) hint: &'static str,
}

impl StoreError {
    /// The queue in front of the store has no room.
    pub(super) fn queue_full() -> StoreError {
        StoreError {
            what: "too many payloads wait for the store".to_owned(),
            hint: "it is too slow or down; a lower level for some of the traffic asks less of it",
        }
    }

    /// A document is larger than one object may be.
    pub(super) fn too_large(size: usize, max: usize) -> StoreError {
        StoreError {
            what: format!("its document has {size} bytes, more than the {max} of one object"),
            hint: "lower `bodies.max_bytes`",
        }
    }

    pub(super) fn compressor(error: &std::io::Error) -> StoreError {
        StoreError {
            what: format!("cannot compress it: {error}"),
            hint: "give the agent more memory",
        }
    }
}

pub(super) const FOLDER_HINT: &str = "check the folder's owner and mode, and the room on its disk";

pub(super) fn not_implemented(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. })
        || code(&chain(error)).is_some_and(|c| c == "NotImplemented")
}

/// What failed and what to do about it.
pub(super) fn explain(error: &object_store::Error) -> StoreError {
    let text = chain(error);
    let code = code(&text);
    StoreError {
        hint: hint(error, code, &text),
        what: match (code, tag(&text, "Message")) {
            (Some(code), Some(message)) => printable(&format!("the store said {code}: {message}")),
            (Some(code), None) => printable(&format!("the store said {code}")),
            (None, _) => printable(&text),
        },
    }
}

fn hint(error: &object_store::Error, code: Option<&str>, text: &str) -> &'static str {
    use object_store::Error as E;
    match code {
        Some(
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "InvalidSecurity",
        ) => return CREDENTIALS,
        Some("NoSuchBucket") => return BUCKET,
        Some(
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraint",
        ) => {
            return "check `region` and `endpoint`: the bucket is elsewhere";
        }
        Some("RequestTimeTooSkewed") => return "set this host's clock",
        Some("SlowDown" | "ServiceUnavailable" | "InternalError") => {
            return "the store is overloaded or at fault; a lower level for some of the traffic asks less of it";
        }
        _ => {}
    }
    match error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } if code.is_none() => CREDENTIALS,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            "these credentials may not write there: allow s3:PutObject on the bucket"
        }
        E::NotFound { .. } => BUCKET,
        E::Generic { store, .. } if *store == "LocalFileSystem" => FOLDER_HINT,
        _ if text.contains("169.254.169.254") || text.contains("metadata") => {
            "no credentials were found: set `access_key` and `secret_key`, or give this host a role"
        }
        _ => {
            "check that `endpoint` can be reached from here, and that `insecure` is right: true for plain http"
        }
    }
}

const CREDENTIALS: &str = "the credentials are wrong: check `access_key` and `secret_key`";
const BUCKET: &str = "there is no such bucket: create it, or correct `bucket` and `endpoint`";

/// The error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
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

/// The error code in an S3 answer.
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
