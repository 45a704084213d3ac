//! The resource attributes of a process (semantic conventions v1.44).

use super::host::Host;
use super::proc::Said;
use super::{Process, ResourceValue};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Fixed by the conventions for `service.instance.id`.
const INSTANCE_NAMESPACE: Uuid = Uuid::from_u128(0x4d63009a_8d0f_11ee_aad7_4c796ed8e320);
/// Only we say these: neither the process nor the configuration overrides them.
const OURS: [&str; 4] = ["process.", "container.", "k8s.", "host."];

/// All attributes, sorted by name. `start`: clock ticks since boot. `added`: of the configuration; they override what
/// the process says of itself.
pub fn attributes(
    process: &Process,
    start: Option<u64>,
    said: &Said,
    host: &Host,
    added: &BTreeMap<String, String>,
) -> Vec<(String, ResourceValue)> {
    let mut all = BTreeMap::new();
    all.insert("os.type".to_owned(), text("linux"));
    let instance = instance(process.pid, start, host);
    all.insert("service.instance.id".to_owned(), text(&instance));
    let unnamed = match &*process.name {
        "" => "unknown_service".to_owned(),
        name => format!("unknown_service:{name}"),
    };
    all.insert("service.name".to_owned(), text(&unnamed));
    for (key, value) in &said.attributes {
        all.insert(key.clone(), text(value));
    }
    if let Some(name) = &said.service_name {
        all.insert("service.name".to_owned(), text(name));
    }
    for (key, value) in added {
        all.insert(key.clone(), text(value));
    }
    all.retain(|key, _| !OURS.iter().any(|prefix| key.starts_with(prefix)));
    all.extend(observed(process, host));
    all.into_iter().collect()
}

fn text(value: &str) -> ResourceValue {
    ResourceValue::Str(value.to_owned())
}

/// What was seen from outside.
fn observed(process: &Process, host: &Host) -> impl Iterator<Item = (String, ResourceValue)> {
    let number = |n: u32| Some(ResourceValue::Int(n.into()));
    let word = |w: Option<&str>| w.map(text);
    let created = process
        .started
        .map(|t| humantime::format_rfc3339_millis(t).to_string());
    [
        ("process.pid", number(process.pid)),
        ("process.parent_pid", process.parent_pid.and_then(number)),
        (
            "process.executable.name",
            word(Some(&*process.name).filter(|n| !n.is_empty())),
        ),
        ("process.executable.path", word(process.exe.as_deref())),
        ("process.owner", word(process.owner.as_deref())),
        ("process.creation.time", word(created.as_deref())),
        ("container.id", word(process.container_id.as_deref())),
        ("host.name", word(host.name.as_deref())),
        ("host.id", word(host.id.as_deref())),
        ("host.arch", word(Some(Host::arch()))),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
}

/// The same for one process however often it is looked at, and for no other.
fn instance(pid: u32, start: Option<u64>, host: &Host) -> String {
    let machine = host.id.as_deref().unwrap_or_default();
    let start = start.unwrap_or_default();
    let seed = format!("{machine} {pid} {start}");
    Uuid::new_v5(&INSTANCE_NAMESPACE, seed.as_bytes()).to_string()
}
