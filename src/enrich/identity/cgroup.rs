//! `/proc/PID/cgroup`: the groups of a process, and what they name: its container, its pod, its systemd unit.

use super::unit::Unit;

/// Paths kept of one process at the most.
const PATHS_MAX: usize = 32;

/// How an element of a path begins that a runtime names, and the runtime's `container.runtime.name`.
const RUNTIMES: [(&str, &str); 6] = [
    ("docker", "docker"),
    ("libpod", "podman"),
    ("libpod-payload", "podman"),
    ("crio", "cri-o"),
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
];

/// The groups of a process (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cgroups {
    /// Each path once, those of version 2 first; as this process sees them.
    paths: Vec<String>,
    /// The first path is that of version 2.
    version_2: bool,
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
        let version_2 = lines.first().is_some_and(|(version_2, _)| *version_2);
        let mut paths: Vec<String> = Vec::new();
        for (_, path) in lines {
            if paths.len() < PATHS_MAX && !paths.contains(&path) {
                paths.push(path);
            }
        }
        Cgroups { paths, version_2 }
    }

    /// Whether the process is in this group or in one below it, in any hierarchy.
    pub fn within(&self, group: &str) -> bool {
        let group = group.trim_end_matches('/');
        self.paths.iter().any(|path| {
            path.strip_prefix(group)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// The group of version 2, below the root: `/system.slice/nginx.service`.
    pub fn unified(&self) -> Option<&str> {
        let path = self.paths.first().filter(|_| self.version_2)?;
        (path != "/").then_some(path)
    }

    /// The container's id, 64 hex digits. Docker, containerd, CRI-O and Podman, with the cgroup driver `cgroupfs`
    /// (`/docker/ID`, `/kubepods/burstable/podUID/ID`) and `systemd` (`…/docker-ID.scope`,
    /// `…/cri-containerd-ID.scope`, `…-podUID.slice:cri-containerd:ID`). The innermost wins.
    pub fn container(&self) -> Option<String> {
        let (_, _, id) = self.innermost()?;
        Some(id.to_ascii_lowercase())
    }

    /// `container.runtime.name`, where the path says whose the container is.
    pub fn runtime(&self) -> Option<&'static str> {
        let (parent, runtime, _) = self.innermost()?;
        let known = |name: &str| RUNTIMES.iter().find(|(begin, _)| *begin == name);
        let of_parent = || known(parent).filter(|_| runtime.is_empty());
        known(runtime).or_else(of_parent).map(|(_, name)| *name)
    }

    /// Element above the container's, what stands before the id in the container's, and the id.
    fn innermost(&self) -> Option<(&str, &str, &str)> {
        self.paths.iter().find_map(|path| {
            let mut elements = path.rsplit('/');
            let (runtime, id) = elements.find_map(container_of)?;
            Some((elements.next().unwrap_or_default(), runtime, id))
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

    /// The systemd service of the process. Of a container it is that of a systemd inside, or that which runs this one
    /// container (Podman's Quadlet): the service of a runtime says nothing of its containers.
    pub fn unit(&self) -> Option<Unit> {
        let contained = self.innermost().is_some();
        self.paths.iter().find_map(|path| {
            let elements: Vec<&str> = path.split('/').collect();
            let (at, unit) = elements
                .iter()
                .enumerate()
                .rev()
                .find_map(|(at, element)| Some((at, Unit::parse(element)?)))?;
            let is_container = |element: &&str| container_of(element).is_some();
            let of_process = match elements.iter().rposition(is_container) {
                None => !contained,
                Some(container) if container < at => true,
                Some(container) => {
                    container == at + 1
                        && elements
                            .get(container)
                            .is_some_and(|e| e.starts_with("libpod-"))
                }
            };
            of_process.then_some(unit)
        })
    }
}

/// What stands before a container's id in an element of a path, and the id.
fn container_of(element: &str) -> Option<(&str, &str)> {
    let element = element.strip_suffix(".scope").unwrap_or(element);
    // The monitor of a container runs beside it, not in it.
    if element.contains("conmon-") {
        return None;
    }
    let (before, id) = match element.rfind(['-', ':']) {
        Some(at) => (&element[..at], &element[at + 1..]),
        None => ("", element),
    };
    let runtime = before.rsplit(':').next().unwrap_or_default();
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((runtime, id))
}

/// A UUID, or the hash that names a static pod.
fn is_uid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let hyphens = text.bytes().filter(|byte| *byte == b'-').count();
    digits == 32 && digits + hyphens == text.len() && matches!(hyphens, 0 | 4)
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
