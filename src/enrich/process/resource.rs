//! The OTLP resource of a process (semantic conventions v1.44, `service`, `process`, `container`, `k8s`, `host`).
//!
//! The table of all attributes with their sources is in `docs/resources.md`; each of its rows has a test.

use super::ResourceValue;
use super::host::Host;
use super::identity::Identity;
use super::procfs::Facts;
use super::said::{Said, host_knows};
use super::wanted::Wanted;
use super::{service, workload};
use crate::enrich::published::Published;
use crate::enrich::rfc3339;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Namespace of `service.instance.id` (semantic conventions, `service.instance.id`).
const INSTANCE_NAMESPACE: Uuid = Uuid::from_u128(0x4d63009a_8d0f_11ee_aad7_4c796ed8e320);

/// What a resource is made of.
pub(super) struct Sources<'a> {
    pub pid: u32,
    pub name: &'a str,
    pub facts: &'a Facts,
    /// What its SDK says.
    pub published: Option<&'a Published>,
    pub container_id: Option<&'a str>,
    pub identity: &'a Identity,
    pub owner: Option<&'a str>,
    pub host: &'a Host,
    pub wanted: &'a Wanted,
}

/// Attributes in the order of their names. Who says something better overwrites it: the executable, systemd, Kubernetes,
/// the process itself, the configuration; and what is found out of a process, nobody overwrites.
pub(super) fn attributes(from: &Sources<'_>) -> Vec<(String, ResourceValue)> {
    let mut all = BTreeMap::new();
    all.insert(
        "service.name".to_owned(),
        text(format!("unknown_service:{}", from.name)),
    );
    all.insert("service.instance.id".to_owned(), text(instance_id(from)));
    let unit = from.identity.cgroups.unit();
    if let Some(service) = unit.and_then(|unit| unit.service) {
        all.insert("service.name".to_owned(), text(service));
    }
    for (key, value) in service::of_pod(from.identity) {
        all.insert(key.to_owned(), text(value));
    }
    all.extend(Said::of(from.facts, from.published).into_attributes());
    for (key, value) in &from.wanted.resource {
        if !host_knows(key) {
            all.insert(key.clone(), text(value.clone()));
        }
    }
    all.extend(found_out(from));
    all.into_iter().collect()
}

/// What nobody has to say.
fn found_out(from: &Sources<'_>) -> Vec<(String, ResourceValue)> {
    let facts = from.facts;
    let mut all = Vec::with_capacity(32);
    let mut put = |key: &str, value: Option<ResourceValue>| {
        all.extend(value.map(|value| (key.to_owned(), value)));
    };
    let string = |value: Option<&str>| value.map(|value| text(value.to_owned()));
    let number = |value: Option<u32>| value.map(|value| ResourceValue::Int(value.into()));
    put("process.pid", number(Some(from.pid)));
    put("process.vpid", number(facts.vpid));
    put("process.parent_pid", number(facts.parent_pid));
    put("process.executable.name", string(Some(from.name)));
    put("process.executable.path", string(facts.exe.as_deref()));
    put("process.owner", string(from.owner));
    let started = facts.started.map(|time| text(rfc3339(time)));
    put("process.creation.time", started);
    put("process.linux.cgroup", string(facts.cgroups.unified()));
    put("host.name", string(from.host.name.as_deref()));
    put("host.id", string(from.host.id.as_deref()));
    put("host.arch", string(Some(Host::arch())));
    put("os.type", string(Some("linux")));
    let unit = facts.cgroups.unit().map(|unit| text(unit.name));
    put("plainspan.systemd.unit", unit);
    let of = workload::attributes(from.container_id, from.identity, &from.wanted.tags);
    all.extend(of);
    all
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

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
