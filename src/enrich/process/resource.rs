//! The OTLP resource of a process (semantic conventions v1.44, `service`, `process`, `container`, `host`).

use super::ResourceValue;
use super::host::Host;
use super::identity::Identity;
use super::procfs::Facts;
use super::{service, workload};
use crate::enrich::rfc3339;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::time::SystemTime;
use uuid::Uuid;

/// Namespace of `service.instance.id` (semantic conventions, `service.instance.id`).
const INSTANCE_NAMESPACE: Uuid = Uuid::from_u128(0x4d63009a_8d0f_11ee_aad7_4c796ed8e320);
/// What the host knows better than the process, or than a configuration for all.
const HOST_KNOWS: [&str; 6] = [
    "process.",
    "container.",
    "k8s.",
    "host.",
    "os.",
    "plainspan.",
];

/// What a resource is made of.
pub(super) struct Sources<'a> {
    pub pid: u32,
    pub name: &'a str,
    pub facts: &'a Facts,
    pub container_id: Option<&'a str>,
    pub identity: &'a Identity,
    pub owner: Option<&'a str>,
    pub started: Option<SystemTime>,
    pub host: &'a Host,
    /// `resource.attributes` of the configuration.
    pub configured: &'a BTreeMap<String, String>,
}

/// Attributes in the order of their names.
pub(super) fn attributes(from: &Sources<'_>) -> Vec<(String, ResourceValue)> {
    let mut all = BTreeMap::new();
    all.insert(
        "service.name".to_owned(),
        text(format!("unknown_service:{}", from.name)),
    );
    all.insert("service.instance.id".to_owned(), text(instance_id(from)));
    for (key, value) in service::of_pod(from.identity) {
        all.insert(key.to_owned(), text(value));
    }
    let own = from.facts.resource_attributes.as_deref();
    for (key, value) in own.and_then(pairs).unwrap_or_default() {
        all.insert(key, text(value));
    }
    if let Some(name) = &from.facts.service_name {
        all.insert("service.name".to_owned(), text(name.clone()));
    }
    for (key, value) in from.configured {
        all.insert(key.clone(), text(value.clone()));
    }
    all.retain(|key, _| !HOST_KNOWS.iter().any(|prefix| key.starts_with(prefix)));
    all.extend(known_by_the_host(from));
    all.into_iter().collect()
}

fn known_by_the_host(from: &Sources<'_>) -> impl Iterator<Item = (String, ResourceValue)> {
    let facts = from.facts;
    let mut all = Vec::with_capacity(16);
    let mut put = |key: &str, value: Option<ResourceValue>| {
        all.extend(value.map(|value| (key.to_owned(), value)));
    };
    let string = |value: Option<&str>| value.map(|value| text(value.to_owned()));
    put("process.pid", Some(ResourceValue::Int(from.pid.into())));
    put(
        "process.parent_pid",
        facts.parent_pid.map(|pid| ResourceValue::Int(pid.into())),
    );
    put("process.executable.name", string(Some(from.name)));
    put("process.executable.path", string(facts.exe.as_deref()));
    put("process.owner", string(from.owner));
    put(
        "process.creation.time",
        from.started.map(|time| text(rfc3339(time))),
    );
    put("host.name", string(from.host.name.as_deref()));
    put("host.id", string(from.host.id.as_deref()));
    put("host.arch", string(Some(Host::arch())));
    put("os.type", string(Some("linux")));
    all.extend(workload::attributes(from.container_id, from.identity));
    all.into_iter()
}

fn text(value: String) -> ResourceValue {
    ResourceValue::Str(value)
}

/// The same for a process as long as it lives, and for no other process.
fn instance_id(from: &Sources<'_>) -> String {
    let seed = format!(
        "{}/{}/{}",
        from.host.id.as_deref().unwrap_or(""),
        from.pid,
        from.facts.start_boottime_ns.unwrap_or(0)
    );
    Uuid::new_v5(&INSTANCE_NAMESPACE, seed.as_bytes()).to_string()
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

    fn made(facts: &Facts, configured: &[(&str, &str)]) -> BTreeMap<String, ResourceValue> {
        let configured = configured
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        attributes(&Sources {
            pid: 42,
            name: "nginx",
            facts,
            container_id: None,
            identity: &Identity::default(),
            owner: Some("www-data"),
            started: None,
            host: &Host {
                name: Some("h".into()),
                id: Some("m".into()),
            },
            configured: &configured,
        })
        .into_iter()
        .collect()
    }

    fn string(all: &BTreeMap<String, ResourceValue>, key: &str) -> Option<String> {
        match all.get(key)? {
            ResourceValue::Str(value) => Some(value.clone()),
            ResourceValue::Int(value) => Some(value.to_string()),
            ResourceValue::Strs(values) => Some(values.join(",")),
        }
    }

    #[test]
    fn nobody_named_it_so_the_executable_does() {
        let all = made(&Facts::default(), &[]);
        assert_eq!(
            string(&all, "service.name").as_deref(),
            Some("unknown_service:nginx")
        );
        assert_eq!(string(&all, "process.pid").as_deref(), Some("42"));
        assert_eq!(string(&all, "host.name").as_deref(), Some("h"));
    }

    #[test]
    fn the_process_names_its_service_and_the_configuration_has_the_last_word() {
        let facts = Facts {
            service_name: Some("orders".into()),
            resource_attributes: Some("service.name=other,team=a%2Cb".into()),
            ..Facts::default()
        };
        let all = made(&facts, &[]);
        assert_eq!(string(&all, "service.name").as_deref(), Some("orders"));
        assert_eq!(string(&all, "team").as_deref(), Some("a,b"));
        let all = made(&facts, &[("team", "core")]);
        assert_eq!(string(&all, "team").as_deref(), Some("core"));
    }

    #[test]
    fn no_word_of_a_process_overrides_what_the_host_knows() {
        let facts = Facts {
            resource_attributes: Some(
                "process.pid=1,host.name=x,container.id=y,k8s.pod.name=z".into(),
            ),
            ..Facts::default()
        };
        let all = made(&facts, &[]);
        assert_eq!(string(&all, "process.pid").as_deref(), Some("42"));
        assert_eq!(string(&all, "host.name").as_deref(), Some("h"));
        assert_eq!(string(&all, "container.id"), None);
        assert_eq!(string(&all, "k8s.pod.name"), None);
    }

    #[test]
    fn attributes_that_cannot_be_decoded_are_dropped_whole() {
        assert_eq!(pairs("a=b,c"), None);
        assert_eq!(pairs("a=%ff"), None);
        assert_eq!(pairs(" a = b ,"), Some(vec![("a".into(), "b".into())]));
    }

    #[test]
    fn the_instance_is_the_process_not_the_number() {
        let at = |start| Facts {
            start_boottime_ns: Some(start),
            ..Facts::default()
        };
        let id = |facts: &Facts| string(&made(facts, &[]), "service.instance.id");
        assert_eq!(id(&at(1)), id(&at(1)));
        assert_ne!(id(&at(1)), id(&at(2)));
    }
}
