//! Clients of S3 and compatibles, Google Cloud Storage and Azure.
//!
//! Enters: a store of the configuration. Leaves: a client that follows no redirect ([`super::client`]). Holds: what the configuration says goes before what the environment says.

use super::StartError;
use super::client::Connector;
use super::explain::{self, Words};
use super::link::azure_service;
use crate::config::{AzureStore, Encryption, GcsStore, ObjectStoreKind, S3Store};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ObjectStore, RetryConfig, TagSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Name of a setting of `object_store`.
const ENCRYPTION: &str = "aws_server_side_encryption";

/// A client, and what its store is called.
pub(super) struct Client {
    pub store: Arc<dyn ObjectStore>,
    /// How messages call its parts.
    pub words: Words,
    /// Of each object.
    pub tags: TagSet,
}

/// Endpoint and bucket, as messages say them; None: it is no store of the network.
pub(super) fn place(kind: &ObjectStoreKind) -> Option<String> {
    Some(match kind {
        ObjectStoreKind::S3(s3) => format!("{}, bucket {}", s3.endpoint, s3.bucket),
        ObjectStoreKind::Gcs(gcs) => format!("{}, bucket {}", gcs.endpoint, gcs.bucket),
        ObjectStoreKind::Azure(azure) => {
            format!("{}, container {}", azure_service(azure), azure.container)
        }
        _ => return None,
    })
}

/// What a call of a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tries {
    /// One attempt, without an end: `Store::put` ends it and tries again, for it knows what the store asks to wait for.
    One,
    /// Up to four, of a minute each.
    Several,
}

impl Tries {
    fn config(self) -> RetryConfig {
        RetryConfig {
            max_retries: match self {
                Tries::One => 0,
                Tries::Several => 3,
            },
            retry_timeout: Duration::from_secs(10),
            ..RetryConfig::default()
        }
    }

    fn connector(self) -> Connector {
        Connector {
            timeout: match self {
                Tries::One => None,
                Tries::Several => Some(Duration::from_secs(60)),
            },
        }
    }
}

/// A client of the store; None: it is no store of the network.
///
/// # Errors
/// When its settings, or those of the environment, cannot be used. Nothing is asked yet.
pub(super) fn connect(
    id: &str,
    kind: &ObjectStoreKind,
    tries: Tries,
) -> Result<Option<Client>, StartError> {
    let built = match kind {
        ObjectStoreKind::S3(s3) => built(s3_client(s3, tries), explain::S3, &s3.object_tags),
        ObjectStoreKind::Gcs(gcs) => built(gcs_client(gcs, tries), explain::GCS, &BTreeMap::new()),
        ObjectStoreKind::Azure(azure) => built(
            azure_client(azure, tries),
            explain::AZURE,
            &azure.object_tags,
        ),
        _ => return Ok(None),
    };
    built.map(Some).map_err(|source| StartError::Client {
        id: id.to_owned(),
        source,
    })
}

fn built(
    store: object_store::Result<impl ObjectStore>,
    words: Words,
    tags: &BTreeMap<String, String>,
) -> object_store::Result<Client> {
    let mut set = TagSet::default();
    for (name, value) in tags {
        set.push(name, value);
    }
    Ok(Client {
        store: Arc::new(store?),
        words,
        tags: set,
    })
}

fn scheme(insecure: bool) -> &'static str {
    if insecure { "http" } else { "https" }
}

fn s3_client(s3: &S3Store, tries: Tries) -> object_store::Result<impl ObjectStore + use<>> {
    let builder = match &s3.credentials {
        Some((access, secret)) => {
            let builder = AmazonS3Builder::new()
                .with_access_key_id(access.expose())
                .with_secret_access_key(secret.expose());
            match session_token(access.expose()) {
                Some(token) => builder.with_token(token),
                None => builder,
            }
        }
        None => AmazonS3Builder::from_env(),
    };
    let builder = match &s3.encryption {
        None => builder,
        Some(Encryption::Aes256) => builder.with_config(ENCRYPTION.parse()?, "AES256"),
        Some(Encryption::Kms(None)) => builder.with_config(ENCRYPTION.parse()?, "aws:kms"),
        Some(Encryption::Kms(Some(key))) => builder.with_sse_kms_encryption(key),
    };
    builder
        .with_http_connector(tries.connector())
        .with_allow_http(s3.insecure)
        // Goes before all that the environment says of endpoints.
        .with_config(AmazonS3ConfigKey::S3Endpoint, s3_endpoint(s3))
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_virtual_hosted_style_request(false)
        .with_retry(tries.config())
        .build()
}

/// Temporary keys come with a token beside them in the environment. It belongs to the key that stands there only.
fn session_token(access_key: &str) -> Option<String> {
    let same = std::env::var("AWS_ACCESS_KEY_ID").is_ok_and(|key| key == access_key);
    let token = std::env::var("AWS_SESSION_TOKEN").ok()?;
    (same && !token.is_empty()).then_some(token)
}

/// URL of the endpoint. AWS's global name knows buckets of one region only; the region's own name is asked instead.
fn s3_endpoint(s3: &S3Store) -> String {
    let scheme = scheme(s3.insecure);
    match s3.endpoint.as_str() {
        "s3.amazonaws.com" => format!("{scheme}://s3.{}.amazonaws.com", s3.region),
        other => format!("{scheme}://{other}"),
    }
}

fn gcs_client(gcs: &GcsStore, tries: Tries) -> object_store::Result<impl ObjectStore + use<>> {
    let builder = match &gcs.credentials_file {
        Some(path) => GoogleCloudStorageBuilder::new()
            .with_service_account_path(path.to_string_lossy().into_owned()),
        None => GoogleCloudStorageBuilder::from_env(),
    };
    builder
        .with_http_connector(tries.connector())
        .with_base_url(&format!("{}://{}", scheme(gcs.insecure), gcs.endpoint))
        .with_bucket_name(&gcs.bucket)
        .with_retry(tries.config())
        .build()
}

fn azure_client(
    azure: &AzureStore,
    tries: Tries,
) -> object_store::Result<impl ObjectStore + use<>> {
    let builder = match &azure.access_key {
        Some(key) => MicrosoftAzureBuilder::new().with_access_key(key.expose()),
        None => MicrosoftAzureBuilder::from_env(),
    };
    let service = format!("{}://{}", scheme(azure.insecure), azure_service(azure));
    builder
        .with_http_connector(tries.connector())
        .with_allow_http(azure.insecure)
        .with_use_emulator(false)
        .with_account(&azure.account)
        .with_container_name(&azure.container)
        .with_endpoint(service)
        .with_retry(tries.config())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awss_own_name_is_asked_in_the_region() {
        let mut s3 = S3Store {
            endpoint: "s3.amazonaws.com".to_owned(),
            region: "eu-west-1".to_owned(),
            ..S3Store::default()
        };
        assert_eq!(s3_endpoint(&s3), "https://s3.eu-west-1.amazonaws.com");
        s3.endpoint = "minio:9000".to_owned();
        s3.insecure = true;
        assert_eq!(s3_endpoint(&s3), "http://minio:9000");
    }
}
