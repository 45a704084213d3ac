//! Event stores and object stores.

use super::Builder;
use crate::config::model::{
    AzureStore, DiskStore, Encryption, EventStore, EventStoreKind, GcsStore, Layout, ObjectStore,
    ObjectStoreKind, S3Store,
};
use crate::config::near::nearest;
use crate::config::problem::quote;
use crate::config::schema::ENCRYPTIONS;
use crate::config::settings::Fields;
use crate::config::sources::Origin;
use crate::config::template;
use crate::sink::payload::Prefix;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Attribute that QTap's `environment` becomes (semantic conventions, `deployment.environment.name`).
const ENVIRONMENT: &str = "deployment.environment.name";
/// Variables of the payload link.
const LINK: [&str; 5] = ["SCHEME", "ENDPOINT", "BUCKET", "DIGEST", "KEY"];

impl Builder<'_> {
    /// In the order of the file; one from the environment, where the file has none of type `otel`, comes last.
    pub(super) fn event_stores(
        &mut self,
        services: &Fields,
        resource: &mut BTreeMap<String, String>,
    ) -> Vec<EventStore> {
        let given: Vec<&Fields> = services.sections("event_stores").collect();
        let ids = self.ids(&given, "event store");
        let mut stores: Vec<EventStore> = Vec::new();
        for (fields, id) in given.iter().zip(ids) {
            let kind = match fields.kind {
                "otel" => {
                    self.deployment_environment(fields, resource);
                    EventStoreKind::Otel(Box::new(self.otel_store(fields, &id)))
                }
                "stdout" => EventStoreKind::Stdout,
                _ => EventStoreKind::Disabled,
            };
            stores.push(EventStore { id, kind });
        }
        let has_otel = stores
            .iter()
            .any(|s| matches!(s.kind, EventStoreKind::Otel(_)));
        if !has_otel && let Some(store) = self.otel_store_of_environment() {
            let taken: Vec<&str> = stores.iter().map(|s| s.id.as_str()).collect();
            let id = unique("otel", &taken);
            let kind = EventStoreKind::Otel(Box::new(self.resolved(store, &id)));
            stores.push(EventStore { id, kind });
        }
        if stores
            .iter()
            .any(|s| matches!(s.kind, EventStoreKind::Otel(_)))
        {
            self.unknown_variables();
        }
        stores
    }

    fn deployment_environment(&mut self, fields: &Fields, resource: &mut BTreeMap<String, String>) {
        let Some(environment) = fields.text("environment") else {
            return;
        };
        match resource.get(ENVIRONMENT) {
            Some(other) if other != environment => {
                let message = format!(
                    "`environment` has no effect: {ENVIRONMENT} is {} already",
                    quote(other)
                );
                self.problems.warn(fields.mark("environment"), message);
            }
            Some(_) => {}
            None => {
                let origin = Origin::of(fields.mark("environment"));
                let value = crate::config::sources::yaml_text(environment);
                self.sources
                    .add(format!("resource.attributes.{ENVIRONMENT}"), value, origin);
                resource.insert(ENVIRONMENT.to_owned(), environment.to_owned());
            }
        }
    }

    pub(super) fn object_stores(&mut self, services: &Fields) -> Vec<ObjectStore> {
        let given: Vec<&Fields> = services.sections("object_stores").collect();
        let ids = self.ids(&given, "object store");
        let stores = given
            .iter()
            .zip(ids)
            .filter_map(|(fields, id)| self.object_store(fields, id));
        stores.collect()
    }

    fn object_store(&mut self, fields: &Fields, id: String) -> Option<ObjectStore> {
        let access_url = fields.text("access_url").map(str::to_owned);
        if let Some(template) = &access_url {
            self.access_url(fields, template);
        }
        let kind = match fields.kind {
            "s3" => ObjectStoreKind::S3(self.s3(fields)?),
            "gcs" => ObjectStoreKind::Gcs(self.gcs(fields)?),
            "azure" => ObjectStoreKind::Azure(self.azure(fields)?),
            "disk" => ObjectStoreKind::Disk(self.disk(fields)?),
            "stdout" => ObjectStoreKind::Stdout,
            _ => ObjectStoreKind::Disabled,
        };
        let layout = layout(fields);
        // One that is wrong has had its error.
        let prefix = fields.text("prefix").unwrap_or_default();
        let prefix = Prefix::parse(prefix).map_or(String::new(), |p| p.to_string());
        if layout != Layout::Object || !prefix.is_empty() {
            self.key_in_link(fields, access_url.as_deref());
        }
        let spool = fields.section("spool").filter(|s| s.mark.line > 0);
        let spool =
            spool.and_then(|spool| self.spool(spool, &format!("services.object_stores[{id}]")));
        Some(ObjectStore {
            id,
            access_url,
            prefix,
            layout,
            spool,
            kind,
        })
    }

    /// A digest alone does not say where in the store its document is.
    fn key_in_link(&mut self, fields: &Fields, template: Option<&str>) {
        let names = template.map(template::variables);
        let Some(Ok(names)) = names else {
            return;
        };
        if names.contains(&"DIGEST") && !names.contains(&"KEY") {
            self.problems.error(
                fields.mark("access_url"),
                "`access_url` has `{{DIGEST}}` and not `{{KEY}}`: with a `prefix`, or in layout segment, no link would lead to its payload",
            );
            self.problems.hint("write `{{KEY}}`");
        }
    }

    fn s3(&mut self, fields: &Fields) -> Option<S3Store> {
        let credentials = match (fields.secret("access_key"), fields.secret("secret_key")) {
            (Some(access), Some(secret)) => Some((access.clone(), secret.clone())),
            _ => None,
        };
        for (given, missing) in [("access_key", "secret_key"), ("secret_key", "access_key")] {
            if fields.secret(given).is_some() && !self.mentioned(fields, missing) {
                self.problems
                    .error(fields.mark(given), format!("`{given}` without `{missing}`"));
                self.problems
                    .hint("give both, or neither for the usual AWS chain");
            }
        }
        let endpoint = fields.text("endpoint")?;
        self.host_and_port(fields, endpoint);
        Some(S3Store {
            endpoint: endpoint.to_owned(),
            bucket: fields.text("bucket")?.to_owned(),
            region: fields.text("region")?.to_owned(),
            insecure: fields.bool("insecure")?,
            credentials,
            encryption: self.encryption(fields),
            object_tags: self.object_tags(fields),
        })
    }

    fn encryption(&mut self, fields: &Fields) -> Option<Encryption> {
        let key = fields.text("kms_key_id").map(str::to_owned);
        let managed = fields.choice("encryption", &ENCRYPTIONS);
        if key.is_some() && managed != Some(true) {
            self.problems.error(
                fields.mark("kms_key_id"),
                "`kms_key_id` needs `encryption: aws:kms`",
            );
        }
        match managed? {
            true => Some(Encryption::Kms(key)),
            false => Some(Encryption::Aes256),
        }
    }

    /// Tags within what S3 and Azure take.
    fn object_tags(&mut self, fields: &Fields) -> BTreeMap<String, String> {
        let given = fields.map("object_tags");
        if given.len() > 10 {
            self.problems
                .error(fields.mark("object_tags"), "more than 10 `object_tags`");
            self.problems.hint("stores take 10");
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || " +-=._:/".contains(c);
        let mut tags = BTreeMap::new();
        for (name, setting) in given {
            let value = setting.value.text().unwrap_or_default();
            let lengths = (1..=128).contains(&name.len()) && value.len() <= 256;
            if !lengths || !name.chars().chain(value.chars()).all(fits) {
                let message = format!("no store takes the tag {}", quote(name));
                self.problems.error(setting.mark, message);
                self.problems.hint(
                    "1 to 128 characters for the name, up to 256 for the value: letters, digits, space and `+-=._:/`",
                );
            }
            tags.insert(name.clone(), value.to_owned());
        }
        tags
    }

    fn gcs(&mut self, fields: &Fields) -> Option<GcsStore> {
        let endpoint = fields.text("endpoint")?;
        self.host_and_port(fields, endpoint);
        Some(GcsStore {
            endpoint: endpoint.to_owned(),
            bucket: fields.text("bucket")?.to_owned(),
            insecure: fields.bool("insecure")?,
            credentials_file: fields.text("credentials_file").map(PathBuf::from),
        })
    }

    fn azure(&mut self, fields: &Fields) -> Option<AzureStore> {
        let account = fields.text("account")?;
        let endpoint = match fields.text("endpoint") {
            Some(endpoint) => {
                self.host_and_port(fields, endpoint);
                endpoint.to_owned()
            }
            None => format!("{account}.blob.core.windows.net"),
        };
        Some(AzureStore {
            endpoint,
            account: account.to_owned(),
            container: fields.text("container")?.to_owned(),
            insecure: fields.bool("insecure")?,
            access_key: fields.secret("access_key").cloned(),
            object_tags: self.object_tags(fields),
        })
    }

    fn disk(&mut self, fields: &Fields) -> Option<DiskStore> {
        Some(DiskStore {
            path: self.folder(fields)?,
            max_bytes: fields.size("max_bytes")?,
            max_age: fields.duration("max_age")?,
        })
    }

    /// A key that is there with a wrong value has had its error already.
    fn mentioned(&self, fields: &Fields, key: &str) -> bool {
        fields.written.contains(&key)
    }

    fn host_and_port(&mut self, fields: &Fields, endpoint: &str) {
        let mark = fields.mark("endpoint");
        if endpoint.contains("://") {
            self.problems.error(
                mark,
                format!(
                    "the endpoint of an object store has no scheme: {}",
                    quote(endpoint)
                ),
            );
            self.problems
                .hint("write host or host:port; plain http is `insecure: true`");
            return;
        }
        let url = url::Url::parse(&format!("https://{endpoint}"));
        let fits = url.as_ref().is_ok_and(|u| {
            u.path() == "/"
                && u.username().is_empty()
                && u.password().is_none()
                && u.port() != Some(0)
                && u.query().is_none()
        });
        if !fits {
            self.problems
                .error(
                    mark,
                    "the endpoint of an object store must be host or host:port",
                )
                .hint("ports: 1 to 65535");
        }
    }

    fn folder(&mut self, fields: &Fields) -> Option<PathBuf> {
        let path = PathBuf::from(fields.text("path")?);
        if !path.is_absolute() {
            self.problems
                .error(fields.mark("path"), "`path` must begin with `/`");
            self.problems.hint(
                "links are file:// URLs, and the agent's working folder is no place to rely on",
            );
        }
        Some(path)
    }

    fn access_url(&mut self, fields: &Fields, text: &str) {
        let mark = fields.mark("access_url");
        let names = match template::variables(text) {
            Ok(names) => names,
            Err(problem) => {
                self.problems.error(mark, format!("`access_url` {problem}"));
                return;
            }
        };
        for name in names.iter().filter(|n| !LINK.contains(n)) {
            self.problems.error(
                mark,
                format!("`access_url` has an unknown variable {}", quote(name)),
            );
            let hint = match nearest(name, LINK) {
                Some(near) => format!("did you mean `{{{{{near}}}}}`?"),
                None => format!("known: {}", LINK.join(", ")),
            };
            self.problems.hint(hint);
        }
        if !names.iter().any(|n| matches!(*n, "DIGEST" | "KEY")) {
            self.problems
                .warn(mark, "`access_url` gives every payload the same link");
            self.problems.hint("put `{{DIGEST}}` or `{{KEY}}` into it");
        }
        if crate::config::problem::mask_user_info(text) != text {
            self.problems.error(
                mark,
                "`access_url` must not hold user or password: the link goes into every span",
            );
        }
    }

    /// The ids of the file, or names made of the types, each once.
    fn ids(&mut self, stores: &[&Fields], what: &str) -> Vec<String> {
        let mut given: Vec<&str> = Vec::new();
        for fields in stores {
            let Some(id) = fields.text("id") else {
                continue;
            };
            if given.contains(&id) {
                self.problems.error(
                    fields.mark("id"),
                    format!("a second {what} with id {}", quote(id)),
                );
                self.problems.hint("ids are unique");
            }
            given.push(id);
        }
        let mut ids: Vec<String> = Vec::new();
        for fields in stores {
            let id = match fields.text("id") {
                Some(id) => id.to_owned(),
                None => {
                    let taken: Vec<&str> = given
                        .iter()
                        .copied()
                        .chain(ids.iter().map(String::as_str))
                        .collect();
                    unique(fields.kind, &taken)
                }
            };
            ids.push(id);
        }
        ids
    }
}

/// `name`, or `name-2` and so on when that is taken.
fn unique(name: &str, taken: &[&str]) -> String {
    let mut candidate = name.to_owned();
    let mut number = 1;
    while taken.contains(&candidate.as_str()) {
        number += 1;
        candidate = format!("{name}-{number}");
    }
    candidate
}

fn layout(fields: &Fields) -> Layout {
    match fields.text("layout") {
        Some("segment") => Layout::Segment {
            bytes: fields.size("segment_bytes").unwrap_or(8 << 20),
            time: fields
                .duration("segment_time")
                .unwrap_or(Duration::from_secs(10)),
        },
        _ => Layout::Object,
    }
}
