//! Paths as runtimes, kubelets and systemd make them.

use super::*;

const UID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const STATIC: &str = "0f8fad5bd9cb469fa16570867728950e";

/// What a file says: whose container (`container.runtime.name`), whether it is [`ID`], the pod, the service.
struct Shape {
    of: &'static str,
    /// `ID`, `POD`, `UID`, `U_ID` (the uid with `_`) and `STATIC` stand for their values; `|` ends a line.
    file: &'static str,
    container: bool,
    runtime: Option<&'static str>,
    pod: Option<&'static str>,
    unit: Option<&'static str>,
}

const fn shape(of: &'static str, file: &'static str) -> Shape {
    Shape {
        of,
        file,
        container: true,
        runtime: None,
        pod: None,
        unit: None,
    }
}

impl Shape {
    const fn by(mut self, runtime: &'static str) -> Shape {
        self.runtime = Some(runtime);
        self
    }

    const fn in_pod(mut self, uid: &'static str) -> Shape {
        self.pod = Some(uid);
        self
    }

    const fn unit(mut self, name: &'static str) -> Shape {
        self.unit = Some(name);
        self
    }

    const fn no_container(mut self) -> Shape {
        self.container = false;
        self
    }

    fn text(&self) -> String {
        self.file
            .replace("U_ID", &UID.replace('-', "_"))
            .replace("POD", POD)
            .replace("STATIC", STATIC)
            .replace("UID", UID)
            .replace("ID", ID)
            .replace('|', "\n")
    }
}

#[rustfmt::skip]
const SHAPES: &[Shape] = &[
    // Docker.
    shape("docker, v1, cgroupfs", "12:pids:/docker/ID|4:memory:/docker/ID|1:name=systemd:/docker/ID").by("docker"),
    shape("docker, v1, systemd", "4:memory:/system.slice/docker-ID.scope|1:name=systemd:/system.slice/docker-ID.scope").by("docker"),
    shape("docker, v2, systemd", "0::/system.slice/docker-ID.scope").by("docker"),
    shape("docker, v2, cgroupfs", "0::/docker/ID").by("docker"),
    shape("docker, hybrid", "9:name=systemd:/docker/ID|4:memory:/docker/ID|0::/system.slice/containerd.service").by("docker"),
    shape("docker, seen from another cgroup namespace", "0::/../../docker/ID").by("docker"),
    shape("docker, rootless", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope").by("docker"),
    shape("docker, with a slice of its own", "0::/shop.slice/docker-ID.scope").by("docker"),
    shape("docker in docker", "0::/docker/POD/docker/ID").by("docker"),
    shape("docker, upper-case digits as no runtime writes them", "0::/docker/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF").by("docker"),
    // containerd without Kubernetes.
    shape("nerdctl, v2", "0::/system.slice/nerdctl-ID.scope").by("containerd"),
    shape("nerdctl, in a namespace", "0::/default/nerdctl-ID.scope").by("containerd"),
    shape("ctr, v1", "4:memory:/default/ID"),
    // Podman.
    shape("podman, v2, root", "0::/machine.slice/libpod-ID.scope/container").by("podman"),
    shape("podman, v1, root", "4:memory:/machine.slice/libpod-ID.scope|1:name=systemd:/machine.slice/libpod-ID.scope").by("podman"),
    shape("podman, cgroupfs", "4:memory:/libpod_parent/libpod-ID").by("podman"),
    shape("podman, rootless", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container").by("podman"),
    shape("podman, rootless, in a pod", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_POD.slice/libpod-ID.scope").by("podman"),
    shape("podman, in a pod", "0::/machine.slice/machine-libpod_pod_POD.slice/libpod-ID.scope/container").by("podman"),
    shape("podman, quadlet", "0::/system.slice/shop-web.service/libpod-payload-ID").by("podman").unit("shop-web.service"),
    shape("podman, quadlet, rootless", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-ID").by("podman").unit("web.service"),
    shape("podman's monitor, root", "0::/machine.slice/libpod-conmon-ID.scope").no_container(),
    // Kubernetes.
    shape("containerd, v1, cgroupfs", "4:memory:/kubepods/burstable/podUID/ID").in_pod(UID),
    shape("containerd, v1, cgroupfs, guaranteed", "4:memory:/kubepods/podUID/ID").in_pod(UID),
    shape("containerd, v1, systemd", "4:memory:/system.slice/containerd.service/kubepods-burstable-podU_ID.slice:cri-containerd:ID").by("containerd").in_pod(UID),
    shape("containerd, v2, systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/cri-containerd-ID.scope").by("containerd").in_pod(UID),
    shape("containerd, v2, systemd, guaranteed", "0::/kubepods.slice/kubepods-podU_ID.slice/cri-containerd-ID.scope").by("containerd").in_pod(UID),
    shape("containerd, static pod", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSTATIC.slice/cri-containerd-ID.scope").by("containerd").in_pod(STATIC),
    shape("containerd, kind", "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podU_ID.slice/cri-containerd-ID.scope").by("containerd").in_pod(UID),
    shape("docker below the kubelet, v1, systemd", "4:memory:/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/docker-ID.scope").by("docker").in_pod(UID),
    shape("docker below the kubelet, minikube in docker", "4:memory:/docker/POD/kubepods/besteffort/podUID/ID").in_pod(UID),
    shape("cri-o, v2, crun", "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/crio-ID.scope/container").by("cri-o").in_pod(UID),
    shape("cri-o, v1, systemd", "4:memory:/kubepods.slice/kubepods-podU_ID.slice/crio-ID.scope").by("cri-o").in_pod(UID),
    shape("cri-o, cgroupfs", "4:memory:/kubepods/besteffort/podUID/crio-ID").by("cri-o").in_pod(UID),
    shape("cri-o's monitor", "0::/kubepods.slice/kubepods-podU_ID.slice/crio-conmon-ID.scope").no_container().in_pod(UID),
    shape("hybrid, containerd", "11:memory:/kubepods/burstable/podUID/ID|1:name=systemd:/kubepods/burstable/podUID/ID|0::/").in_pod(UID),
    shape("a systemd in a pod", "0::/kubepods.slice/kubepods-podU_ID.slice/cri-containerd-ID.scope/system.slice/nginx.service").by("containerd").in_pod(UID).unit("nginx.service"),
    shape("ECS", "0::/ecs/cluster/task/ID"),
    // systemd.
    shape("service, v2", "0::/system.slice/nginx.service").no_container().unit("nginx.service"),
    shape("service, v1", "4:memory:/system.slice|1:name=systemd:/system.slice/nginx.service").no_container().unit("nginx.service"),
    shape("service, hybrid", "4:memory:/|1:name=systemd:/system.slice/nginx.service|0::/system.slice/nginx.service").no_container().unit("nginx.service"),
    shape("service that has groups of its own", "0::/system.slice/web.service/worker-1").no_container().unit("web.service"),
    shape("template", "0::/system.slice/system-worker.slice/worker@3.service").no_container().unit("worker@3.service"),
    shape("escaped", r"0::/system.slice/shop\x2dfront\x40home.service").no_container().unit("shop-front@home.service"),
    shape("user's service", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service").no_container().unit("web.service"),
    shape("in its own slice", "0::/shop.slice/shop-web.slice/web.service").no_container().unit("web.service"),
    shape("user's manager", "0::/user.slice/user-1000.slice/user@1000.service/init.scope").no_container(),
    shape("session", "0::/user.slice/user-1000.slice/session-1.scope").no_container(),
    shape("a program of a desktop", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-web-12.scope").no_container(),
    // Nothing of all that.
    shape("the root", "9:name=systemd:/|0::/").no_container(),
    shape("no file of groups", "garbage|0:ID|").no_container(),
    shape("a pod of podman's is none of the kubelet's", "0::/podman/podUID").no_container(),
    shape("no pod", "0::/kubepods/burstable").no_container(),
];

#[test]
fn paths_of_all_runtimes_in_all_versions_say_whose_a_process_is() {
    for shape in SHAPES {
        let cgroups = Cgroups::parse(&shape.text());
        let of = shape.of;
        let container = shape.container.then_some(ID);
        assert_eq!(cgroups.container().as_deref(), container, "{of}");
        assert_eq!(cgroups.runtime(), shape.runtime, "{of}");
        assert_eq!(cgroups.pod_uid().as_deref(), shape.pod, "{of}");
        let unit = cgroups.unit().map(|unit| unit.name);
        assert_eq!(unit.as_deref(), shape.unit, "{of}");
    }
}

#[test]
fn an_id_is_of_64_digits() {
    for path in [&ID[1..], &format!("{ID}0"), &format!("x{}", &ID[1..])] {
        let text = format!("0::/docker/{path}\n");
        assert_eq!(Cgroups::parse(&text).container(), None, "{path}");
    }
}

#[test]
fn a_service_is_called_the_same_in_all_its_instances_and_runs() {
    for (element, name, service) in [
        ("nginx.service", "nginx.service", Some("nginx")),
        ("worker@3.service", "worker@3.service", Some("worker")),
        ("worker@a@b.service", "worker@a@b.service", Some("worker")),
        (r"a\x2db@c\x2fd.service", "a-b@c/d.service", Some("a-b")),
        (r"caf\xc3\xa9.service", "café.service", Some("café")),
        (r"odd\xzz.service", r"odd\xzz.service", Some(r"odd\xzz")),
        ("_cpu.service", "cpu.service", Some("cpu")),
        ("run-u17.service", "run-u17.service", None),
        ("run-p17-i18.service", "run-p17-i18.service", None),
        (
            "run-r0123456789abcdef0123456789abcdef.service",
            "run-r0123456789abcdef0123456789abcdef.service",
            None,
        ),
        ("run-red.service", "run-red.service", Some("run-red")),
        ("run-shop.service", "run-shop.service", Some("run-shop")),
    ] {
        let unit = Unit::parse(element).unwrap_or_else(|| panic!("{element} is a service"));
        assert_eq!(
            (&*unit.name, unit.service.as_deref()),
            (name, service),
            "{element}"
        );
    }
    for element in [
        "user@1000.service",
        "session-1.scope",
        "system.slice",
        "@x.service",
        ".service",
        r"bad\xff.service",
        r"line\x0a.service",
        "nginx",
    ] {
        assert_eq!(Unit::parse(element), None, "{element}");
    }
}

#[test]
fn on_a_host_with_both_versions_each_hierarchy_counts() {
    let text = format!("9:name=systemd:/a/b\n4:memory:/docker/{ID}\n0::/user.slice\n");
    let cgroups = Cgroups::parse(&text);
    assert_eq!(cgroups.container().as_deref(), Some(ID));
    assert_eq!(cgroups.unified(), Some("/user.slice"));
    for inside in ["/a", "/a/b", "/a/b/", "/user.slice", "/docker", "/", "/a/"] {
        assert!(cgroups.within(inside), "{inside}");
    }
    for outside in ["/b", "/a/b/c", "/user"] {
        assert!(!cgroups.within(outside), "{outside}");
    }
    assert_eq!(Cgroups::parse("4:memory:/a\n").unified(), None);
    assert_eq!(Cgroups::parse("0::/\n").unified(), None);
}
