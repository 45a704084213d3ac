//! Each row of the tables of `docs/resources.md`.

use super::*;
use crate::config::{TagRule, TagSource};
use crate::enrich::identity::{Cgroups, Container, Pod};
use crate::enrich::process::identity::{Lookup, Variables};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// What Python's `uuid.uuid5` makes of MACHINE/PID/START.
const INSTANCE: &str = "18056fdd-3461-5da8-9014-bd13200d502b";
const UID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// What is known of a process.
struct Given {
    facts: Facts,
    published: Option<Published>,
    container: Option<Container>,
    lookup: Lookup,
    host: Host,
    wanted: Wanted,
}

/// A process of which the host knows the usual, and nobody says anything.
fn given() -> Given {
    Given {
        facts: Facts {
            exe: Some("/usr/sbin/nginx".into()),
            parent_pid: Some(1),
            start_boottime_ns: Some(70_000_000),
            started: Some(UNIX_EPOCH + Duration::from_millis(1_767_225_600_250)),
            ..Facts::default()
        },
        published: None,
        container: None,
        lookup: Lookup::None,
        host: Host {
            name: Some("node-1".into()),
            id: Some("0123456789abcdef0123456789abcdef".into()),
        },
        wanted: Wanted::default(),
    }
}

impl Given {
    fn made(&self) -> BTreeMap<String, String> {
        let mut identity = Identity {
            cgroups: self.facts.cgroups.clone(),
            env: Variables::default(),
            ..Identity::default()
        };
        let container = self.container.clone().map(Arc::new);
        identity.set(self.lookup, container, &[]);
        let container_id = self.facts.cgroups.container();
        let all = attributes(&Sources {
            pid: 42,
            name: "nginx",
            facts: &self.facts,
            published: self.published.as_ref(),
            container_id: container_id.as_deref(),
            identity: &identity,
            owner: Some("www-data"),
            host: &self.host,
            wanted: &self.wanted,
        });
        let shown = |value| match value {
            ResourceValue::Str(text) => text,
            ResourceValue::Int(number) => number.to_string(),
            ResourceValue::Strs(texts) => format!("{texts:?}"),
        };
        all.into_iter()
            .map(|(key, value)| (key, shown(value)))
            .collect()
    }

    fn groups(mut self, path: &str) -> Given {
        self.facts.cgroups = Cgroups::parse(&format!("0::{path}\n"));
        self
    }

    fn environment(mut self, name: &str, attributes: &str) -> Given {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.facts.service_name = some(name);
        self.facts.resource_attributes = some(attributes);
        self
    }

    fn publishes(mut self, key: &str, value: &str) -> Given {
        let published = self.published.get_or_insert(Published {
            attributes: Vec::new(),
            address: 1,
            published_at: 1,
        });
        let pair = (key.to_owned(), ResourceValue::Str(value.to_owned()));
        published.attributes.push(pair);
        self
    }

    fn configured(mut self, key: &str, value: &str) -> Given {
        self.wanted
            .resource
            .insert(key.to_owned(), value.to_owned());
        self
    }

    fn tag(mut self, source: TagSource, location: &str) -> Given {
        self.wanted.tags.push(TagRule {
            key: "any".into(),
            source,
            location: location.to_owned(),
        });
        self
    }

    fn container(mut self, change: impl FnOnce(&mut Container)) -> Given {
        self.lookup = Lookup::Known;
        let container = self.container.get_or_insert_default();
        container.image = Some("registry:5000/shop/web:2.1@sha256:1".into());
        container.name = Some("web".into());
        change(container);
        self.groups(&format!("/docker/{ID}"))
    }

    fn pod(self, change: impl FnOnce(&mut Pod)) -> Given {
        let given = self.container(|container| {
            let pod = container.pod.get_or_insert(Pod {
                name: "web-5d4-x".into(),
                namespace: "prod".into(),
                uid: Some(UID.into()),
                ..Pod::default()
            });
            change(pod);
        });
        given.groups(&format!("/kubepods/pod{UID}/{ID}"))
    }

    /// A pod of a ReplicaSet that a Deployment may have made.
    fn replica(self) -> Given {
        self.pod(|pod| {
            pod.owner = owner("ReplicaSet", "web-5d4");
            pod.container = Some("web".into());
        })
    }

    fn hashed(self) -> Given {
        self.replica().label("pod-template-hash", "5d4")
    }

    fn label(self, key: &str, value: &str) -> Given {
        self.pod(|pod| {
            pod.labels.insert(key.to_owned(), value.to_owned());
        })
    }

    fn annotation(self, key: &str, value: &str) -> Given {
        self.pod(|pod| {
            pod.annotations.insert(key.to_owned(), value.to_owned());
        })
    }
}

fn owner(kind: &str, name: &str) -> Option<(String, String)> {
    Some((kind.to_owned(), name.to_owned()))
}

fn owned(kind: &str) -> Given {
    given().pod(|pod| pod.owner = owner(kind, "own"))
}

fn made_by(kind: &str, workload: &str) -> Given {
    given().pod(|pod| {
        pod.owner = owner(kind, "web-5d4");
        pod.workload = owner(workload, "web");
    })
}

type Row = (&'static str, Given, Option<&'static str>);

/// `service.name`, from the least to the best, each over what comes before.
#[rustfmt::skip]
fn names() -> Vec<Row> {
    let name = |given, wanted| ("service.name", given, Some(wanted));
    let unit = || given().groups("/system.slice/shop.service");
    let says = "resource.opentelemetry.io/service.name";
    vec![
        name(given(), "unknown_service:nginx"),
        name(given().groups("/system.slice/run-u7.service"), "unknown_service:nginx"),
        name(given().container(|_| ()), "unknown_service:nginx"),
        name(unit(), "shop"),
        name(given().groups("/system.slice/shop@3.service"), "shop"),
        name(given().groups(&format!("/system.slice/shop.service/libpod-payload-{ID}")), "shop"),
        name(given().pod(|_| ()).groups(&format!("/kubepods/pod{UID}/{ID}/system.slice/shop.service")), "web-5d4-x"),
        name(given().pod(|_| ()), "web-5d4-x"),
        name(owned("Node"), "web-5d4-x"),
        name(owned("Job"), "own"),
        name(made_by("Job", "CronJob"), "web"),
        name(owned("DaemonSet"), "own"),
        name(owned("StatefulSet"), "own"),
        name(given().replica(), "web-5d4"),
        name(given().hashed(), "web"),
        name(made_by("ReplicaSet", "Deployment"), "web"),
        name(made_by("ReplicaSet", "Rollout"), "web"),
        name(given().hashed().label("app.kubernetes.io/name", "app"), "app"),
        name(given().hashed().label("app.kubernetes.io/name", "app").label("app.kubernetes.io/instance", "shop"), "shop"),
        name(given().label("app.kubernetes.io/instance", "shop").annotation(says, "said"), "said"),
        name(given().annotation(says, "said").environment("", "service.name=listed"), "listed"),
        name(given().annotation(says, "said").environment("named", "service.name=listed"), "named"),
        name(unit().environment("named", ""), "named"),
        name(given().environment("named", "service.name=listed").publishes("service.name", "sdk"), "sdk"),
        name(given().environment("named", "").publishes("service.name", "unknown_service:x"), "named"),
        name(given().publishes("service.name", "sdk").configured("service.name", "all"), "all"),
    ]
}

#[rustfmt::skip]
fn of_service() -> Vec<Row> {
    let annotation = |name: &str| format!("resource.opentelemetry.io/service.{name}");
    let listed = "service.namespace=n,service.version=v,service.instance.id=i";
    let pod = || given().replica();
    vec![
        ("service.namespace", given(), None),
        ("service.namespace", pod(), Some("prod")),
        ("service.namespace", pod().annotation(&annotation("namespace"), "shop"), Some("shop")),
        ("service.namespace", pod().environment("", listed), Some("n")),
        ("service.version", given(), None),
        ("service.version", pod(), Some("2.1")),
        ("service.version", given().pod(|_| ()).container(|c| c.image = Some("web@sha256:1".into())), Some("sha256:1")),
        ("service.version", pod().label("app.kubernetes.io/version", "3"), Some("3")),
        ("service.version", pod().label("app.kubernetes.io/version", "3").annotation(&annotation("version"), "4"), Some("4")),
        ("service.version", pod().environment("", listed), Some("v")),
        ("service.instance.id", given(), Some(INSTANCE)),
        ("service.instance.id", pod(), Some("prod.web-5d4-x.web")),
        ("service.instance.id", pod().annotation(&annotation("instance.id"), "one"), Some("one")),
        ("service.instance.id", pod().environment("", listed), Some("i")),
        ("service.instance.id", pod().environment("", listed).publishes("service.instance.id", "own"), Some("own")),
    ]
}

#[rustfmt::skip]
fn of_process() -> Vec<Row> {
    let mut inside = given();
    inside.facts.vpid = Some(7);
    vec![
        ("process.pid", given(), Some("42")),
        ("process.pid", given().environment("", "process.pid=1").configured("process.pid", "2"), Some("42")),
        ("process.vpid", given(), None),
        ("process.vpid", inside, Some("7")),
        ("process.parent_pid", given(), Some("1")),
        ("process.executable.name", given(), Some("nginx")),
        ("process.executable.path", given(), Some("/usr/sbin/nginx")),
        ("process.owner", given(), Some("www-data")),
        ("process.creation.time", given(), Some("2026-01-01T00:00:00.250000000Z")),
        ("process.linux.cgroup", given(), None),
        ("process.linux.cgroup", given().groups("/system.slice/a.service"), Some("/system.slice/a.service")),
        ("plainspan.systemd.unit", given(), None),
        ("plainspan.systemd.unit", given().groups("/system.slice/a@1.service"), Some("a@1.service")),
        ("plainspan.systemd.unit", given().groups("/system.slice/run-u7.service"), Some("run-u7.service")),
        ("host.name", given(), Some("node-1")),
        ("host.name", given().environment("", "host.name=x"), Some("node-1")),
        ("host.id", given(), Some("0123456789abcdef0123456789abcdef")),
        ("host.arch", given(), Some(if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" })),
        ("os.type", given(), Some("linux")),
    ]
}

#[rustfmt::skip]
fn of_container() -> Vec<Row> {
    let container = || given().container(|_| ());
    let labelled = |c: &mut Container| {
        c.labels.insert("tier".into(), "Front".into());
    };
    let mut pending = given().groups(&format!("/docker/{ID}"));
    pending.lookup = Lookup::Pending;
    vec![
        ("container.id", given(), None),
        ("container.id", given().environment("", "container.id=x"), None),
        ("container.id", container(), Some(ID)),
        ("container.name", container(), Some("web")),
        ("container.image.name", container(), Some("registry:5000/shop/web")),
        ("container.image.tags", container(), Some(r#"["2.1"]"#)),
        ("container.image.repo_digests", container(), Some(r#"["registry:5000/shop/web@sha256:1"]"#)),
        ("container.image.id", container(), None),
        ("container.image.id", given().container(|c| c.image = Some("sha256:1".into())), Some("sha256:1")),
        ("container.runtime.name", container(), Some("docker")),
        ("container.runtime.name", given().container(|c| c.runtime = Some("cri-o".into())), Some("cri-o")),
        ("container.label.*", given().container(labelled), None),
        ("container.label.*", given().container(labelled).tag(TagSource::ContainerLabel, "tier"), Some("tier=Front")),
        ("plainspan.container.lookup", container(), None),
        ("plainspan.container.lookup", pending, Some("pending")),
    ]
}

#[rustfmt::skip]
fn of_pod() -> Vec<Row> {
    let pod = || given().replica();
    let mut unknown = given().groups(&format!("/kubepods/pod{UID}/{ID}"));
    unknown.lookup = Lookup::NotFound;
    vec![
        ("k8s.cluster.name", given(), None),
        ("k8s.cluster.name", given().environment("", "k8s.cluster.name=eu"), Some("eu")),
        ("k8s.cluster.name", given().environment("", "k8s.cluster.name=eu").configured("k8s.cluster.name", "us"), Some("us")),
        ("k8s.namespace.name", pod(), Some("prod")),
        ("k8s.namespace.name", given().environment("", "k8s.namespace.name=x"), None),
        ("k8s.node.name", given().pod(|pod| pod.node = Some("n1".into())), Some("n1")),
        ("k8s.pod.name", pod(), Some("web-5d4-x")),
        ("k8s.pod.uid", pod(), Some(UID)),
        ("k8s.pod.uid", unknown, Some(UID)),
        ("k8s.pod.ip", given().pod(|pod| pod.ip = Some("10.0.0.7".into())), Some("10.0.0.7")),
        ("k8s.container.name", pod(), Some("web")),
        ("k8s.deployment.name", pod(), None),
        ("k8s.deployment.name", given().hashed(), Some("web")),
        ("k8s.deployment.name", made_by("ReplicaSet", "Deployment"), Some("web")),
        ("k8s.deployment.name", made_by("ReplicaSet", "Rollout").label("pod-template-hash", "5d4"), None),
        ("k8s.replicaset.name", pod(), Some("web-5d4")),
        ("k8s.statefulset.name", owned("StatefulSet"), Some("own")),
        ("k8s.daemonset.name", owned("DaemonSet"), Some("own")),
        ("k8s.job.name", owned("Job"), Some("own")),
        ("k8s.cronjob.name", made_by("Job", "CronJob"), Some("web")),
        ("k8s.pod.label.*", given().label("team", "Shop"), None),
        ("k8s.pod.label.*", given().label("team", "Shop").tag(TagSource::PodLabel, "team"), Some("team=Shop")),
        ("k8s.pod.annotation.*", given().annotation("note", "x").tag(TagSource::PodAnnotation, "note"), Some("note=x")),
        ("anything else", given().environment("", "team=a"), Some("team=a")),
        ("anything else", given().environment("", "team=a").publishes("team", "b"), Some("team=b")),
        ("anything else", given().publishes("team", "b").configured("team", "c"), Some("team=c")),
    ]
}

fn rows() -> Vec<Row> {
    [
        names(),
        of_service(),
        of_process(),
        of_container(),
        of_pod(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The value of a row's attribute; of many attributes in one row, `NAME=VALUE` of the one that is there.
fn value(made: &BTreeMap<String, String>, attribute: &str) -> Option<String> {
    let prefix = match attribute {
        "anything else" => "",
        _ => match attribute.strip_suffix('*') {
            Some(prefix) => prefix,
            None => return made.get(attribute).cloned(),
        },
    };
    let free = ["team", "tier", "note"];
    made.iter().find_map(|(key, value)| {
        let name = key
            .strip_prefix(prefix)
            .filter(|name| free.contains(name))?;
        Some(format!("{name}={value}"))
    })
}

#[test]
fn each_attribute_comes_from_who_knows_it_best() {
    for (at, (attribute, given, wanted)) in rows().into_iter().enumerate() {
        let made = given.made();
        let found = value(&made, attribute);
        assert_eq!(found.as_deref(), wanted, "row {at}, {attribute}: {made:#?}");
    }
}

/// First cells of the table below a heading, without backticks.
fn documented(heading: &str) -> BTreeSet<String> {
    let text = include_str!("../../../docs/resources.md");
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("no section {heading}"));
    let cells = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let names = cells
        .flat_map(|cell| cell.split(", "))
        .map(|name| name.replace('`', ""));
    names.filter(|name| name != "attribute").collect()
}

#[test]
fn the_documented_tables_are_those_of_the_tests() {
    let tested: BTreeSet<String> = rows()
        .into_iter()
        .map(|(name, ..)| name.to_owned())
        .collect();
    assert_eq!(documented("Attributes"), tested);
}

#[test]
fn what_is_left_out_is_in_no_resource() {
    let left_out = documented("Left out");
    assert!(left_out.len() > 5, "{left_out:?}");
    for (_, given, _) in rows() {
        let made = given
            .environment("", "telemetry.sdk.name=x,process.command=x,host.ip=x")
            .publishes("telemetry.sdk.language", "x")
            .made();
        for name in &left_out {
            let prefix = name.trim_end_matches('*');
            let found = made.keys().find(|key| match name.ends_with('*') {
                true => key.starts_with(prefix),
                false => *key == name,
            });
            assert_eq!(found, None);
        }
    }
}

#[test]
fn the_instance_is_the_process_not_the_number() {
    let at = |start, machine: &str| {
        let mut given = given();
        given.facts.start_boottime_ns = Some(start);
        given.host.id = Some(machine.into());
        given.made().remove("service.instance.id")
    };
    assert_eq!(at(1, "a"), at(1, "a"));
    assert_ne!(at(1, "a"), at(2, "a"));
    assert_ne!(at(1, "a"), at(1, "b"));
}

#[test]
fn an_empty_label_names_nothing() {
    let given = given().label("app.kubernetes.io/name", "");
    assert_eq!(given.made()["service.name"], "web-5d4-x");
}
