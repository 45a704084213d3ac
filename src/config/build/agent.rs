//! What the agent says of itself: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.

use super::Builder;
use crate::config::sources::{Origin, yaml_text};
use crate::config::tree::Mark;
use crate::enrich::resource_pairs;
use std::collections::BTreeMap;

const NAME: &str = "OTEL_SERVICE_NAME";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

impl Builder<'_> {
    /// Attributes of the agent's own resource: what it knows better itself, else `OTEL_SERVICE_NAME`, else
    /// `OTEL_RESOURCE_ATTRIBUTES`, else the default (OpenTelemetry specification, "Resource SDK").
    pub(super) fn agent(&mut self) -> BTreeMap<String, String> {
        let mut found: BTreeMap<String, (String, Origin)> = BTreeMap::new();
        let mut put = |key: &str, value: &str, origin| {
            found.insert(key.to_owned(), (value.to_owned(), origin));
        };
        put("service.name", "plainspan", Origin::Default);
        if let Some(list) = self.environment.get(ATTRIBUTES) {
            match resource_pairs(list) {
                Some(pairs) => {
                    for (key, value) in &pairs {
                        put(key, value, Origin::Environment(ATTRIBUTES.into()));
                    }
                }
                None => {
                    let message = format!(
                        "environment variable {ATTRIBUTES} cannot be read, and has no effect"
                    );
                    self.problems
                        .warn(Mark::default(), message)
                        .hint("key=value pairs with `,` between them, both percent-encoded");
                }
            }
        }
        if let Some(name) = self.environment.get(NAME) {
            put("service.name", name, Origin::Environment(NAME.into()));
        }
        put(
            "service.version",
            env!("CARGO_PKG_VERSION"),
            Origin::Default,
        );
        for (key, (value, origin)) in &found {
            let path = format!("agent.resource.attributes.{key}");
            self.sources.add(path, yaml_text(value), origin.clone());
        }
        let values = found.into_iter().map(|(key, (value, _))| (key, value));
        values.collect()
    }
}
