//! The link of an object: the `access_url` template, filled.

use super::prefix::Prefix;
use crate::config::{AzureStore, ObjectStore, ObjectStoreKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

/// Everything but what a path may have as it is (RFC 3986 §3.3), and `/`.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Without a template: the store's own URL of the object.
const DEFAULT: &str = "{{SCHEME}}://{{ENDPOINT}}/{{BUCKET}}/{{KEY}}";

/// The template with everything filled in that is the same for all objects of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTemplate {
    /// Id of the store.
    store: String,
    /// None: the store's objects have no URL.
    template: Option<String>,
    prefix: Prefix,
}

impl LinkTemplate {
    pub fn new(store: &ObjectStore) -> LinkTemplate {
        let given = store.access_url.as_deref().unwrap_or(DEFAULT);
        let fill = |scheme: &str, endpoint: &str, bucket: &str| {
            given
                .replace("{{SCHEME}}", scheme)
                .replace("{{ENDPOINT}}", endpoint)
                .replace("{{BUCKET}}", bucket)
        };
        let scheme = |insecure: bool| if insecure { "http" } else { "https" };
        let template = match &store.kind {
            ObjectStoreKind::S3(s3) => Some(fill(scheme(s3.insecure), &s3.endpoint, &s3.bucket)),
            ObjectStoreKind::Gcs(gcs) => {
                Some(fill(scheme(gcs.insecure), &gcs.endpoint, &gcs.bucket))
            }
            ObjectStoreKind::Azure(azure) => Some(fill(
                scheme(azure.insecure),
                &azure_service(azure),
                &azure.container,
            )),
            ObjectStoreKind::Disk(disk) => {
                let path = std::path::absolute(&disk.path).unwrap_or_else(|_| disk.path.clone());
                Some(fill("file", "", &folder(&path)))
            }
            ObjectStoreKind::Stdout | ObjectStoreKind::Disabled => None,
        };
        LinkTemplate {
            store: store.id.clone(),
            template,
            // The configuration has been checked: nothing else comes here.
            prefix: Prefix::parse(&store.prefix).unwrap_or_default(),
        }
    }

    /// Id of the store.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The template with `{{KEY}}` and `{{DIGEST}}` alone left in it; None: the store's objects have no URL.
    pub fn template(&self) -> Option<&str> {
        self.template.as_deref()
    }

    /// What every key begins with: empty, or ends with `/`.
    pub fn prefix(&self) -> &str {
        self.prefix.fixed()
    }

    /// Key of the object with this name, a digest or the name of a segment, of this time and service.
    pub fn key(&self, name: &str, time: SystemTime, service: &str) -> String {
        self.prefix.fill(time, service) + name
    }

    /// Each service has keys of its own.
    pub fn by_service(&self) -> bool {
        self.prefix.by_service()
    }

    /// URL of what has this digest in the object with this key.
    pub fn url(&self, key: &str, digest: &str) -> Option<String> {
        let encoded = percent_encode(key.as_bytes(), PATH).to_string();
        let template = self.template.as_deref()?;
        Some(
            template
                .replace("{{DIGEST}}", digest)
                .replace("{{KEY}}", &encoded),
        )
    }
}

/// Host, and the account as a path where the host does not begin with it, as emulators have it.
pub(super) fn azure_service(azure: &AzureStore) -> String {
    let begins = azure.endpoint.strip_prefix(&azure.account);
    match begins.is_some_and(|rest| rest.starts_with('.')) {
        true => azure.endpoint.clone(),
        false => format!("{}/{}", azure.endpoint, azure.account),
    }
}

/// An absolute path as a URL has it, without the slash in front.
fn folder(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let start = bytes.iter().take_while(|b| **b == b'/').count();
    let end = bytes
        .iter()
        .rposition(|b| *b != b'/')
        .map_or(start, |i| i + 1);
    percent_encode(bytes.get(start..end).unwrap_or_default(), PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DiskStore, GcsStore, Layout, S3Store};

    fn link(kind: ObjectStoreKind, access_url: Option<&str>, prefix: &str) -> LinkTemplate {
        LinkTemplate::new(&ObjectStore {
            id: "payloads".into(),
            access_url: access_url.map(str::to_owned),
            prefix: prefix.into(),
            layout: Layout::Object,
            spool: None,
            kind,
        })
    }

    fn s3(access_url: Option<&str>, prefix: &str, insecure: bool) -> LinkTemplate {
        let kind = ObjectStoreKind::S3(S3Store {
            endpoint: "s3.example.com:9000".into(),
            bucket: "traffic".into(),
            insecure,
            ..S3Store::default()
        });
        link(kind, access_url, prefix)
    }

    #[test]
    fn without_a_template_the_link_is_the_stores_own_url() {
        assert_eq!(
            s3(None, "", true).url("ab12", "ab12").unwrap(),
            "http://s3.example.com:9000/traffic/ab12"
        );
        let link = s3(None, "team a/x/", false);
        assert_eq!(
            link.key("ab", SystemTime::UNIX_EPOCH, "shop"),
            "team a/x/ab"
        );
        assert_eq!(
            link.url("team a/x/ab", "ab").unwrap(),
            "https://s3.example.com:9000/traffic/team%20a/x/ab"
        );
    }

    #[test]
    fn a_template_is_filled_and_unknown_names_stay() {
        let url = "https://x/{{BUCKET}}/{{DIGEST}}?e={{ENDPOINT}}&s={{SCHEME}}&k={{KEY}}&{{NO}}";
        assert_eq!(
            s3(Some(url), "p/", false).url("p/ab", "ab").unwrap(),
            "https://x/traffic/ab?e=s3.example.com:9000&s=https&k=p/ab&{{NO}}"
        );
    }

    #[test]
    fn the_other_clouds_have_urls_too() {
        let gcs = ObjectStoreKind::Gcs(GcsStore {
            endpoint: "storage.googleapis.com".into(),
            bucket: "traffic".into(),
            ..GcsStore::default()
        });
        assert_eq!(
            link(gcs, None, "").url("ab", "ab").unwrap(),
            "https://storage.googleapis.com/traffic/ab"
        );
        let mut azure = AzureStore {
            endpoint: "shop.blob.core.windows.net".into(),
            account: "shop".into(),
            container: "traffic".into(),
            ..AzureStore::default()
        };
        let url = |azure: &AzureStore| {
            let link = link(ObjectStoreKind::Azure(azure.clone()), None, "");
            link.url("ab", "ab").unwrap()
        };
        assert_eq!(url(&azure), "https://shop.blob.core.windows.net/traffic/ab");
        azure.endpoint = "127.0.0.1:10000".into();
        azure.insecure = true;
        assert_eq!(url(&azure), "http://127.0.0.1:10000/shop/traffic/ab");
    }

    #[test]
    fn a_folder_has_file_urls() {
        let link = link(
            ObjectStoreKind::Disk(DiskStore::at("/var/lib/a b#c/")),
            None,
            "",
        );
        let url = link.url("ab", "ab").unwrap();
        assert_eq!(url, "file:///var/lib/a%20b%23c/ab");
        let path = url::Url::parse(&url).unwrap().to_file_path().unwrap();
        assert_eq!(path, Path::new("/var/lib/a b#c/ab"));
    }

    #[test]
    fn stdout_has_no_links() {
        let link = link(ObjectStoreKind::Stdout, None, "");
        assert_eq!(link.url("ab", "ab"), None);
    }
}
