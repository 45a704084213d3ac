//! What a process says of itself: in its environment, and by what its SDK publishes.

use super::ResourceValue;
use super::procfs::Facts;
use crate::enrich::published::Published;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

/// Attributes of one process, and bytes of a name, at the most.
const ATTRIBUTES_MAX: usize = 128;
const KEY_MAX: usize = 256;
/// Bytes of a text, and texts of a list, that are kept.
const TEXT_MAX: usize = 4 << 10;
const TEXTS_MAX: usize = 64;

/// What is found out of a process, and not believed of its own word nor of a configuration for all.
const HOST_KNOWS: [&str; 6] = [
    "process.",
    "container.",
    "k8s.",
    "host.",
    "os.",
    "plainspan.",
];
/// Of these, what no host knows.
const HOST_KNOWS_NOT: [&str; 1] = ["k8s.cluster."];
/// What a telemetry is made by. Ours is not made by the SDK of the process.
const OF_ANOTHER: &str = "telemetry.";
/// How an SDK is called that nobody named (resource conventions, `service.name`).
const UNNAMED: &str = "unknown_service";

/// Attributes by name, bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::enrich) struct Said(BTreeMap<String, ResourceValue>);

impl Said {
    /// What the environment says, under what the SDK itself says: that has the environment in it, and what the program
    /// set beside.
    pub(super) fn of(facts: &Facts, published: Option<&Published>) -> Said {
        let mut said = Said::default();
        let own = facts.resource_attributes.as_deref();
        for (key, value) in own.and_then(pairs).unwrap_or_default() {
            said.put(key, ResourceValue::Str(value));
        }
        if let Some(name) = &facts.service_name {
            said.put("service.name".into(), ResourceValue::Str(name.clone()));
        }
        for (key, value) in published.iter().flat_map(|published| &published.attributes) {
            said.put(key.clone(), value.clone());
        }
        said
    }

    /// Takes an attribute, or not, where it is not the process's to say or one too many.
    pub(in crate::enrich) fn put(&mut self, key: String, value: ResourceValue) {
        let strange = key.is_empty() || key.len() > KEY_MAX || key.starts_with(OF_ANOTHER);
        if strange || host_knows(&key) {
            return;
        }
        let Some(value) = bounded(&key, value) else {
            return;
        };
        if self.0.len() < ATTRIBUTES_MAX || self.0.contains_key(&key) {
            self.0.insert(key, value);
        }
    }

    pub(in crate::enrich) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their names.
    pub(in crate::enrich) fn into_attributes(self) -> Vec<(String, ResourceValue)> {
        self.0.into_iter().collect()
    }
}

/// Whether an attribute is the host's to say.
pub(super) fn host_knows(key: &str) -> bool {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    begins(&HOST_KNOWS) && !begins(&HOST_KNOWS_NOT)
}

/// None: it says nothing.
fn bounded(key: &str, value: ResourceValue) -> Option<ResourceValue> {
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text
    };
    Some(match value {
        ResourceValue::Str(text) => {
            let unnamed = key == "service.name" && (text.is_empty() || text.starts_with(UNNAMED));
            if unnamed {
                return None;
            }
            ResourceValue::Str(cut(text))
        }
        ResourceValue::Int(number) => ResourceValue::Int(number),
        ResourceValue::Strs(texts) => {
            ResourceValue::Strs(texts.into_iter().take(TEXTS_MAX).map(cut).collect())
        }
    })
}

/// `OTEL_RESOURCE_ATTRIBUTES`: `key=value,…`, percent-encoded. None: not of that form, and dropped whole as the
/// specification says.
pub(crate) fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    list.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let decode = |part: &str| {
                let decoded = percent_decode_str(part.trim()).decode_utf8().ok()?;
                Some(decoded.into_owned())
            };
            Some((decode(key).filter(|key| !key.is_empty())?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> ResourceValue {
        ResourceValue::Str(text.into())
    }

    #[test]
    fn attributes_that_cannot_be_decoded_are_dropped_whole() {
        assert_eq!(pairs("a=b,c"), None);
        assert_eq!(pairs("a=%ff"), None);
        assert_eq!(pairs(" a = b ,"), Some(vec![("a".into(), "b".into())]));
    }

    #[test]
    fn the_sdk_s_own_word_is_above_the_environment_s() {
        let facts = Facts {
            service_name: Some("by-name".into()),
            resource_attributes: Some("service.name=by-list,team=a%2Cb,stage=env".into()),
            ..Facts::default()
        };
        let said = |published: Option<&Published>, key: &str| {
            Said::of(&facts, published).0.get(key).cloned()
        };
        assert_eq!(said(None, "service.name"), Some(text("by-name")));
        assert_eq!(said(None, "team"), Some(text("a,b")));
        let mut published = Published {
            attributes: vec![
                ("service.name".into(), text("by-sdk")),
                ("stage".into(), text("sdk")),
                ("telemetry.sdk.language".into(), text("python")),
            ],
            address: 1,
            published_at: 1,
        };
        assert_eq!(said(Some(&published), "service.name"), Some(text("by-sdk")));
        assert_eq!(said(Some(&published), "stage"), Some(text("sdk")));
        assert_eq!(said(Some(&published), "team"), Some(text("a,b")));
        assert_eq!(said(Some(&published), "telemetry.sdk.language"), None);
        // An SDK that nobody named names nobody.
        published.attributes = vec![("service.name".into(), text("unknown_service:python"))];
        assert_eq!(
            said(Some(&published), "service.name"),
            Some(text("by-name"))
        );
    }

    #[test]
    fn a_process_cannot_say_more_than_is_kept() {
        let many: Vec<String> = (0..1000)
            .map(|n| format!("k{n}={}", "é".repeat(9000)))
            .collect();
        let facts = Facts {
            resource_attributes: Some(many.join(",")),
            ..Facts::default()
        };
        let said = Said::of(&facts, None);
        assert_eq!(said.0.len(), ATTRIBUTES_MAX);
        for value in said.0.values() {
            assert!(matches!(value, ResourceValue::Str(text) if text.len() == TEXT_MAX));
        }
        let mut said = Said::default();
        said.put("k".repeat(KEY_MAX + 1), text("v"));
        said.put(String::new(), text("v"));
        assert!(said.is_empty());
        said.put("l".into(), ResourceValue::Strs(vec!["x".into(); 1000]));
        assert_eq!(
            said.0["l"],
            ResourceValue::Strs(vec!["x".into(); TEXTS_MAX])
        );
    }
}
