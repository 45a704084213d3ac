//! Predefined groups of `tap.filters.groups`: executables of the platform itself, whose traffic is seldom wanted.

use super::model::{ExeMatch, ExeStrategy};
use super::table::Choices;

/// Names of QTap's code and of its documentation. Patterns are ends of paths: distributions put the same programs in
/// different folders (`/usr/bin`, `/usr/local/bin`, `/var/lib/rancher/…/bin`).
pub(super) static GROUPS: Choices<&'static [&'static str]> = Choices::new(&[
    ("container-runtimes", RUNTIMES),
    ("container", RUNTIMES),
    ("kubernetes", KUBERNETES),
    ("eks", EKS),
    ("gke", GKE),
    // The agent never sees itself, whatever the configuration says.
    ("qpoint", &[]),
]);

const RUNTIMES: &[&str] = &[
    "/containerd",
    "/containerd-shim",
    "/containerd-shim-runc-v2",
    "/dockerd",
    "/docker-proxy",
    "/runc",
    "/crun",
    "/crio",
    "/conmon",
];

const KUBERNETES: &[&str] = &[
    "/kubelet",
    "/kube-proxy",
    "/kube-apiserver",
    "/kube-controller-manager",
    "/kube-scheduler",
    "/coredns",
];

const EKS: &[&str] = &[
    "/aws-k8s-agent",
    "/aws-vpc-cni",
    "/eks-pod-identity-agent",
    "/amazon-ssm-agent",
];

const GKE: &[&str] = &[
    "/gke-metadata-server",
    "/gke-exec-auth-plugin",
    "/gce-pd-csi-driver",
    "/node-problem-detector",
];

/// The executables of a group.
pub(super) fn members(name: &str) -> Vec<ExeMatch> {
    let members = GROUPS.get(name).unwrap_or_default();
    members
        .iter()
        .map(|exe| ExeMatch {
            exe: (*exe).to_owned(),
            strategy: ExeStrategy::Suffix,
        })
        .collect()
}
