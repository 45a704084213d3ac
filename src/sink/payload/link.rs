//! The link of an object: the `access_url` template, filled.

use crate::config::{ObjectStore, ObjectStoreKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
    prefix: String,
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
        let (template, prefix) = match &store.kind {
            ObjectStoreKind::S3(s3) => {
                let scheme = if s3.insecure { "http" } else { "https" };
                let url = fill(scheme, &s3.endpoint, &s3.bucket);
                (Some(url), s3.prefix.clone())
            }
            ObjectStoreKind::Disk { path } => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                (Some(fill("file", "", &folder(&path))), String::new())
            }
            ObjectStoreKind::Stdout | ObjectStoreKind::Disabled => (None, String::new()),
        };
        LinkTemplate {
            store: store.id.clone(),
            template,
            prefix,
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

    /// What every key of the store begins with.
    pub fn fixed_prefix(&self) -> &str {
        &self.prefix
    }

    /// Key of the object with this name: a digest, or the name of a segment.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
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
    use crate::config::{Layout, S3Store};

    fn s3(access_url: Option<&str>, prefix: &str, insecure: bool) -> LinkTemplate {
        LinkTemplate::new(&ObjectStore {
            id: "payloads".into(),
            access_url: access_url.map(str::to_owned),
            layout: Layout::Object,
            kind: ObjectStoreKind::S3(S3Store {
                endpoint: "s3.example.com:9000".into(),
                bucket: "traffic".into(),
                region: "us-east-1".into(),
                insecure,
                credentials: None,
                prefix: prefix.into(),
            }),
        })
    }

    #[test]
    fn without_a_template_the_link_is_the_stores_own_url() {
        assert_eq!(
            s3(None, "", true).url("ab12", "ab12").unwrap(),
            "http://s3.example.com:9000/traffic/ab12"
        );
        let link = s3(None, "team a/x/", false);
        assert_eq!(link.key("ab"), "team a/x/ab");
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
    fn a_folder_has_file_urls() {
        let link = LinkTemplate::new(&ObjectStore {
            id: "d".into(),
            access_url: None,
            layout: Layout::Object,
            kind: ObjectStoreKind::Disk {
                path: "/var/lib/a b#c/".into(),
            },
        });
        let url = link.url("ab", "ab").unwrap();
        assert_eq!(url, "file:///var/lib/a%20b%23c/ab");
        let path = url::Url::parse(&url).unwrap().to_file_path().unwrap();
        assert_eq!(path, Path::new("/var/lib/a b#c/ab"));
    }

    #[test]
    fn stdout_has_no_links() {
        let link = LinkTemplate::new(&ObjectStore {
            id: "o".into(),
            access_url: None,
            layout: Layout::Object,
            kind: ObjectStoreKind::Stdout,
        });
        assert_eq!(link.url("ab", "ab"), None);
    }
}
