//! The service that a pod stands for, by the rules of the semantic conventions for Kubernetes.

use super::identity::Identity;
use super::workload::{Image, maker};

const ANNOTATION: &str = "resource.opentelemetry.io/";

/// `service.*` of a process in a pod; empty without a pod.
pub(super) fn of_pod(identity: &Identity) -> Vec<(&'static str, String)> {
    let (Some(container), Some(pod)) = (&identity.container, identity.pod()) else {
        return Vec::new();
    };
    let said = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    let annotation = |name: &str| said(pod.annotations.get(&format!("{ANNOTATION}{name}")));
    let label = |name: &str| said(pod.labels.get(name));
    let owner = || maker(pod).map(str::to_owned);
    let name = annotation("service.name")
        .or_else(|| label("app.kubernetes.io/instance"))
        .or_else(|| label("app.kubernetes.io/name"))
        .or_else(owner)
        .unwrap_or_else(|| pod.name.clone());
    let namespace = annotation("service.namespace").unwrap_or_else(|| pod.namespace.clone());
    let image = container.image.as_deref().map(Image::parse);
    let of_image = || {
        let image = image.as_ref()?;
        image.tag.or(image.digest).map(str::to_owned)
    };
    let version = annotation("service.version")
        .or_else(|| label("app.kubernetes.io/version"))
        .or_else(of_image);
    let of_names = || {
        let container = pod.container.as_ref()?;
        Some(format!("{}.{}.{container}", pod.namespace, pod.name))
    };
    let instance = annotation("service.instance.id").or_else(of_names);
    let all = [
        ("service.name", Some(name)),
        ("service.namespace", Some(namespace)),
        ("service.version", version),
        ("service.instance.id", instance),
    ];
    all.into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::identity::{Container, Labels, Pod};
    use std::sync::Arc;

    fn made(
        owner: Option<&str>,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) -> Vec<String> {
        let map = |pairs: &[(&str, &str)]| -> Labels {
            let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            pairs.iter().map(own).collect()
        };
        let container = Container {
            image: Some("shop/web:2.1".into()),
            pod: Some(Pod {
                name: "web-5d4-x".into(),
                namespace: "prod".into(),
                container: Some("web".into()),
                owner: owner.map(|name| ("ReplicaSet".into(), name.into())),
                labels: map(labels),
                annotations: map(annotations),
                ..Pod::default()
            }),
            ..Container::default()
        };
        let identity = Identity {
            container: Some(Arc::new(container)),
            ..Identity::default()
        };
        let values = of_pod(&identity).into_iter().map(|(_, value)| value);
        values.collect()
    }

    #[test]
    fn the_name_is_taken_from_where_it_is_said_best() {
        let hash = ("pod-template-hash", "5d4");
        let instance = ("app.kubernetes.io/instance", "shop");
        let app = ("app.kubernetes.io/name", "app");
        let name = |owner, labels: &[_], annotations: &[_]| {
            made(owner, labels, annotations).swap_remove(0)
        };
        let says = [("resource.opentelemetry.io/service.name", "said")];
        assert_eq!(name(Some("web-5d4"), &[hash, instance, app], &says), "said");
        assert_eq!(name(Some("web-5d4"), &[hash, instance, app], &[]), "shop");
        assert_eq!(name(Some("web-5d4"), &[hash, app], &[]), "app");
        assert_eq!(name(Some("web-5d4"), &[hash], &[]), "web");
        assert_eq!(name(Some("web-5d4"), &[], &[]), "web-5d4");
        assert_eq!(name(None, &[], &[]), "web-5d4-x");
    }

    #[test]
    fn namespace_version_and_instance_follow_the_pod() {
        assert_eq!(
            made(None, &[], &[])[1..],
            ["prod", "2.1", "prod.web-5d4-x.web"]
        );
        assert_eq!(
            made(None, &[("app.kubernetes.io/version", "3")], &[])[2],
            "3"
        );
    }
}
