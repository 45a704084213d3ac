//! `/proc/PID/cgroup`: the groups of a process, and the container that they name.

/// Paths kept of one process at the most.
const PATHS_MAX: usize = 32;

/// The groups of a process (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cgroups {
    /// Each path once, those of version 2 first; as this process sees them.
    paths: Vec<String>,
}

impl Cgroups {
    /// Reads the file's text: lines `hierarchy:controllers:path`.
    pub fn parse(text: &str) -> Cgroups {
        let split = |line: &str| {
            let mut parts = line.splitn(3, ':');
            let version_2 = parts.next()? == "0";
            let path = parts.nth(1)?;
            path.starts_with('/').then(|| (version_2, path.to_owned()))
        };
        let mut lines: Vec<(bool, String)> = text.lines().filter_map(split).collect();
        lines.sort_by_key(|(version_2, _)| !version_2);
        let mut paths: Vec<String> = Vec::new();
        for (_, path) in lines {
            if paths.len() < PATHS_MAX && !paths.contains(&path) {
                paths.push(path);
            }
        }
        Cgroups { paths }
    }

    /// Whether the process is in this group or in one below it, in any hierarchy.
    pub fn within(&self, group: &str) -> bool {
        let group = group.trim_end_matches('/');
        self.paths.iter().any(|path| {
            path.strip_prefix(group)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// The container's id, 64 hex digits. Docker, containerd, CRI-O and Podman, with the cgroup driver `cgroupfs`
    /// (`/docker/ID`, `/kubepods/burstable/podUID/ID`) and `systemd` (`…/docker-ID.scope`,
    /// `…/cri-containerd-ID.scope`, `…-podUID.slice:cri-containerd:ID`). The innermost wins.
    pub fn container(&self) -> Option<String> {
        self.paths.iter().find_map(|path| {
            path.rsplit('/')
                .find_map(container_of)
                .map(|id| id.to_ascii_lowercase())
        })
    }

    /// The pod's uid, from a path of the kubelet: `podUID`, `kubepods-burstable-podUID.slice` with `_` for `-`.
    pub fn pod_uid(&self) -> Option<String> {
        let of_element = |element: &str| {
            let element = element.split(':').next()?;
            let element = element.strip_suffix(".slice").unwrap_or(element);
            let element = element.rsplit("-pod").next()?;
            let uid = element.strip_prefix("pod").unwrap_or(element);
            let uid = uid.replace('_', "-");
            is_uid(&uid).then_some(uid)
        };
        self.paths
            .iter()
            .filter(|path| path.contains("kubepods"))
            .find_map(|path| path.rsplit('/').find_map(of_element))
    }
}

fn container_of(element: &str) -> Option<&str> {
    let element = element.strip_suffix(".scope").unwrap_or(element);
    // The monitor of a container runs beside it, not in it.
    if element.contains("conmon-") {
        return None;
    }
    let id = element.rsplit(['-', ':']).next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// A UUID, or the hash that names a static pod.
fn is_uid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let hyphens = text.bytes().filter(|byte| *byte == b'-').count();
    digits == 32 && digits + hyphens == text.len() && matches!(hyphens, 0 | 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    fn id() -> String {
        "0123456789abcdef".repeat(4)
    }

    #[test]
    fn container_ids_of_all_runtimes_are_found() {
        let id = id();
        for line in [
            format!("0::/system.slice/docker-{id}.scope"),
            format!("0::/../../docker/{id}"),
            format!("4:memory:/docker/{id}"),
            format!("0::/docker/{}/docker/{id}", "f".repeat(64)),
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{id}.scope"
            ),
            format!("0::/system.slice/containerd.service/kubepods-podx.slice:cri-containerd:{id}"),
            format!("0::/kubepods/besteffort/pod1/{id}"),
            format!("0::/kubepods/besteffort/pod1/crio-{id}"),
            format!("0::/machine.slice/libpod-{id}.scope/container"),
            format!(
                "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope"
            ),
            format!("0::/default/nerdctl-{id}.scope"),
            format!("0::/crio-{id}.scope"),
            format!("0::/ecs/cluster/task/{id}"),
        ] {
            let text = format!("12:pids:/\n{line}\n");
            assert_eq!(
                Cgroups::parse(&text).container().as_deref(),
                Some(&*id),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_no_container_has_no_id() {
        let id = id();
        for line in [
            "0::/user.slice/session-1.scope".to_owned(),
            "garbage".to_owned(),
            format!("0:{id}"),
            format!("0::/machine.slice/libpod-conmon-{id}.scope"),
            format!("0::/crio-conmon-{id}.scope"),
            format!("0::/docker/{}", &id[1..]),
            format!("0::/docker/{id}0"),
        ] {
            assert_eq!(Cgroups::parse(&line).container(), None, "{line}");
        }
    }

    #[test]
    fn on_a_host_with_both_versions_each_hierarchy_counts() {
        let id = id();
        let text = format!("9:name=systemd:/a/b\n4:memory:/docker/{id}\n0::/user.slice\n");
        let cgroups = Cgroups::parse(&text);
        assert_eq!(cgroups.container(), Some(id));
        for inside in ["/a", "/a/b", "/a/b/", "/user.slice", "/docker", "/"] {
            assert!(cgroups.within(inside), "{inside}");
        }
        for outside in ["/b", "/a/b/c", "/user", "/a/"] {
            let wanted = outside == "/a/";
            assert_eq!(cgroups.within(outside), wanted, "{outside}");
        }
    }

    #[test]
    fn the_pod_s_uid_is_in_the_kubelet_s_paths() {
        let under = UID.replace('-', "_");
        for path in [
            format!("/kubepods/burstable/pod{UID}/{}", id()),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/x.scope"
            ),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{under}.slice/x.scope"
            ),
            format!(
                "/system.slice/containerd.service/kubepods-pod{under}.slice:cri-containerd:{}",
                id()
            ),
        ] {
            let text = format!("0::{path}\n");
            assert_eq!(
                Cgroups::parse(&text).pod_uid().as_deref(),
                Some(UID),
                "{path}"
            );
        }
        assert_eq!(Cgroups::parse("0::/kubepods/burstable\n").pod_uid(), None);
        assert_eq!(
            Cgroups::parse(&format!("0::/podman/pod{UID}\n")).pod_uid(),
            None
        );
    }
}
