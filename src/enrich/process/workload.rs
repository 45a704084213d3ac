//! Attributes of containers and pods (semantic conventions v1.44, `container`, `k8s`).

use super::ResourceValue;
use super::identity::Identity;
use crate::config::{TagRule, TagSource};
use crate::enrich::identity::{Container, Pod};

/// Label that a ReplicaSet of a Deployment puts on its pods: the end of its own name.
const TEMPLATE_HASH: &str = "pod-template-hash";

type Attributes = Vec<(String, ResourceValue)>;

/// What is known of a process's container and pod; labels and annotations are those that `tags` name.
pub(super) fn attributes(
    container_id: Option<&str>,
    identity: &Identity,
    tags: &[TagRule],
) -> Attributes {
    let mut all = Attributes::new();
    put(&mut all, "container.id", container_id);
    put(
        &mut all,
        "plainspan.container.lookup",
        identity.lookup.missing(),
    );
    let container = identity.container.as_deref();
    let runtime = container.and_then(|container| container.runtime.as_deref());
    let runtime = runtime.or(identity.cgroups.runtime());
    put(&mut all, "container.runtime.name", runtime);
    if let Some(container) = container {
        of_container(&mut all, container);
    }
    match identity.pod() {
        Some(pod) => of_pod(&mut all, pod),
        // The path of the group says whose it is, where nobody else does.
        None => put(&mut all, "k8s.pod.uid", identity.cgroups.pod_uid()),
    }
    for tag in tags {
        let key = match tag.source {
            TagSource::Env => continue,
            TagSource::PodLabel => "k8s.pod.label",
            TagSource::PodAnnotation => "k8s.pod.annotation",
            TagSource::ContainerLabel => "container.label",
        };
        let key = format!("{key}.{}", tag.location);
        if !all.iter().any(|(known, _)| *known == key) {
            put(&mut all, &key, identity.value(tag));
        }
    }
    all
}

fn put(all: &mut Attributes, key: &str, value: Option<impl Into<String>>) {
    all.extend(value.map(|value| (key.to_owned(), ResourceValue::Str(value.into()))));
}

fn of_container(all: &mut Attributes, container: &Container) {
    put(all, "container.name", container.name.as_deref());
    let Some(image) = container.image.as_deref().map(Image::parse) else {
        return;
    };
    put(all, "container.image.name", image.name);
    put(all, "container.image.id", image.id);
    let list = |text: String| ResourceValue::Strs(vec![text]);
    if let Some(tag) = image.tag {
        all.push(("container.image.tags".into(), list(tag.to_owned())));
    }
    if let (Some(name), Some(digest)) = (image.name, image.digest) {
        let digest = list(format!("{name}@{digest}"));
        all.push(("container.image.repo_digests".into(), digest));
    }
}

fn of_pod(all: &mut Attributes, pod: &Pod) {
    put(all, "k8s.pod.name", Some(&*pod.name));
    put(all, "k8s.namespace.name", Some(&*pod.namespace));
    put(all, "k8s.pod.uid", pod.uid.as_deref());
    put(all, "k8s.pod.ip", pod.ip.as_deref());
    put(all, "k8s.container.name", pod.container.as_deref());
    put(all, "k8s.node.name", pod.node.as_deref());
    for (key, name) in owners(pod) {
        put(all, key, Some(name));
    }
}

/// Names of what made the pod, the first the maker of the others, with their attributes.
fn owners(pod: &Pod) -> impl Iterator<Item = (&'static str, &str)> {
    let told = pod.workload.as_ref().and_then(of_owner);
    let made = told.or_else(|| Some(("k8s.deployment.name", deployment(pod)?)));
    made.into_iter()
        .chain(pod.owner.as_ref().and_then(of_owner))
}

/// What stands for the pod's service: what made the maker of the pod, of whatever kind, else its maker. A node makes
/// static pods of all services.
pub(super) fn maker(pod: &Pod) -> Option<&str> {
    let told = pod.workload.as_ref().map(|(_, name)| &**name);
    let owner = pod.owner.as_ref().filter(|(kind, _)| kind != "Node");
    told.or_else(|| deployment(pod))
        .or_else(|| owner.map(|(_, name)| &**name))
}

fn of_owner((kind, name): &(String, String)) -> Option<(&'static str, &str)> {
    let key = match kind.as_str() {
        "Deployment" => "k8s.deployment.name",
        "ReplicaSet" => "k8s.replicaset.name",
        "StatefulSet" => "k8s.statefulset.name",
        "DaemonSet" => "k8s.daemonset.name",
        "CronJob" => "k8s.cronjob.name",
        "Job" => "k8s.job.name",
        _ => return None,
    };
    Some((key, name))
}

/// The Deployment of a pod whose ReplicaSet it made, by their names. It is not asked where the API said whose the
/// ReplicaSet is.
fn deployment(pod: &Pod) -> Option<&str> {
    let (kind, name) = pod.owner.as_ref()?;
    let hash = pod.labels.get(TEMPLATE_HASH)?;
    (kind == "ReplicaSet" && pod.workload.is_none())
        .then(|| name.strip_suffix(&**hash)?.strip_suffix('-'))
        .flatten()
}

/// A reference of an image: `registry:5000/shop/web:2.1@sha256:…`, or an id alone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Image<'a> {
    pub name: Option<&'a str>,
    pub tag: Option<&'a str>,
    pub digest: Option<&'a str>,
    pub id: Option<&'a str>,
}

impl<'a> Image<'a> {
    pub fn parse(reference: &'a str) -> Image<'a> {
        if reference.starts_with("sha256:") {
            return Image {
                id: Some(reference),
                ..Image::default()
            };
        }
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // A colon before the last slash is that of a port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        Image {
            name: Some(name),
            tag,
            digest,
            id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::identity::Cgroups;
    use crate::enrich::process::identity::Lookup;
    use std::sync::Arc;

    fn shown(all: &Attributes) -> Vec<String> {
        let text = |(key, value): &(String, ResourceValue)| match value {
            ResourceValue::Str(text) => format!("{key}={text}"),
            ResourceValue::Int(number) => format!("{key}={number}"),
            ResourceValue::Strs(texts) => format!("{key}={texts:?}"),
        };
        all.iter().map(text).collect()
    }

    #[test]
    fn images_are_taken_apart() {
        for (reference, name, tag, digest) in [
            ("nginx", "nginx", None, None),
            ("nginx:1.27", "nginx", Some("1.27"), None),
            ("r:5000/a/b", "r:5000/a/b", None, None),
            ("r:5000/a/b:c", "r:5000/a/b", Some("c"), None),
            ("a/b@sha256:1", "a/b", None, Some("sha256:1")),
            ("a/b:c@sha256:1", "a/b", Some("c"), Some("sha256:1")),
        ] {
            let image = Image::parse(reference);
            assert_eq!(
                (image.name, image.tag, image.digest),
                (Some(name), tag, digest),
                "{reference}"
            );
        }
        assert_eq!(Image::parse("sha256:1").id, Some("sha256:1"));
        assert_eq!(Image::parse("sha256:1").name, None);
    }

    #[test]
    fn a_container_with_its_pod_has_their_attributes() {
        let container = Container {
            name: Some("web".into()),
            image: Some("shop/web:2.1".into()),
            runtime: Some("containerd".into()),
            pod: Some(Pod {
                name: "web-5d4-x".into(),
                namespace: "prod".into(),
                uid: Some("u".into()),
                container: Some("web".into()),
                node: Some("n1".into()),
                owner: Some(("ReplicaSet".into(), "web-5d4".into())),
                labels: [(TEMPLATE_HASH.to_owned(), "5d4".to_owned())].into(),
                ..Pod::default()
            }),
            ..Container::default()
        };
        let identity = Identity {
            lookup: Lookup::Known,
            container: Some(Arc::new(container)),
            ..Identity::default()
        };
        assert_eq!(
            shown(&attributes(Some("c1"), &identity, &[])),
            [
                "container.id=c1",
                "container.runtime.name=containerd",
                "container.name=web",
                "container.image.name=shop/web",
                "container.image.tags=[\"2.1\"]",
                "k8s.pod.name=web-5d4-x",
                "k8s.namespace.name=prod",
                "k8s.pod.uid=u",
                "k8s.container.name=web",
                "k8s.node.name=n1",
                "k8s.deployment.name=web",
                "k8s.replicaset.name=web-5d4",
            ]
        );
    }

    #[test]
    fn what_nobody_knows_is_said_to_be_unknown_and_not_left_to_guess() {
        let uid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        for (lookup, says) in [
            (Lookup::Pending, "pending"),
            (Lookup::NotFound, "not_found"),
            (Lookup::Unavailable, "unavailable"),
        ] {
            let identity = Identity {
                cgroups: Cgroups::parse(&format!("0::/kubepods/burstable/pod{uid}/c1\n")),
                lookup,
                ..Identity::default()
            };
            assert_eq!(
                shown(&attributes(Some("c1"), &identity, &[])),
                [
                    "container.id=c1".to_owned(),
                    format!("plainspan.container.lookup={says}"),
                    format!("k8s.pod.uid={uid}"),
                ]
            );
        }
        assert!(attributes(None, &Identity::default(), &[]).is_empty());
    }
}
