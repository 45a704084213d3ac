//! What `include` lists: processes, connections, containers and pods.

use super::FilterError;
use super::exe::Exe;
use crate::config::Include;
use crate::enrich::{Lookup, Process};
use crate::transaction::ConnectionInfo;

/// One entry of `tap.filters.include`.
pub(super) struct IncludeRule {
    exe: Option<Exe>,
    container: Option<Name>,
    pod: Option<Name>,
    k8s_namespace: Option<Name>,
    rule: Include,
}

/// A pattern of a name.
struct Name {
    text: String,
    glob: globset::GlobMatcher,
}

/// What is known of a container or pod, where it is asked for.
pub(super) enum Known {
    Yes,
    No,
    /// The container's runtime has not answered yet.
    NotYet,
}

impl Name {
    fn new(pattern: &Option<String>) -> Result<Option<Name>, FilterError> {
        let Some(text) = pattern else {
            return Ok(None);
        };
        Ok(Some(Name {
            glob: globset::Glob::new(text)?.compile_matcher(),
            text: text.clone(),
        }))
    }

    fn matches(&self, name: &str) -> bool {
        self.glob.is_match(name)
    }

    /// The first 12 digits of the id, as runtimes show it, or more of them.
    fn is_id(&self, id: &str) -> bool {
        self.text.len() >= 12 && id.starts_with(self.text.as_str())
    }
}

impl IncludeRule {
    pub fn new(rule: &Include) -> Result<IncludeRule, FilterError> {
        Ok(IncludeRule {
            exe: rule.exe.as_ref().map(Exe::new).transpose()?,
            container: Name::new(&rule.container)?,
            pod: Name::new(&rule.pod)?,
            k8s_namespace: Name::new(&rule.k8s_namespace)?,
            rule: rule.clone(),
        })
    }

    /// What has no name that is known does not match; whether it has one may not be known yet.
    pub fn matches_workload(&self, process: &Process) -> Known {
        let identity = &process.identity;
        let pod = identity.pod();
        let container = self.container.as_ref().is_none_or(|wanted| {
            let name = identity.container.as_ref().and_then(|c| c.name.as_deref());
            let id = process.container_id.as_deref();
            name.is_some_and(|name| wanted.matches(name)) || id.is_some_and(|id| wanted.is_id(id))
        });
        let of_pod = |wanted: &Option<Name>, name: Option<&str>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| name.is_some_and(|name| wanted.matches(name)))
        };
        let all = container
            && of_pod(&self.pod, pod.map(|pod| &*pod.name))
            && of_pod(&self.k8s_namespace, pod.map(|pod| &*pod.namespace));
        match (all, identity.lookup) {
            (true, _) => Known::Yes,
            // A runtime that comes up late is asked again.
            (false, Lookup::Pending | Lookup::Unavailable | Lookup::NotFound) => Known::NotYet,
            (false, Lookup::None | Lookup::Known) => Known::No,
        }
    }

    /// Nothing is asked of the process.
    pub fn is_of_any_process(&self) -> bool {
        let Include {
            exe,
            pid,
            uid,
            cgroup,
            container,
            pod,
            k8s_namespace,
            port: _,
            netns: _,
        } = &self.rule;
        exe.is_none()
            && pid.is_none()
            && uid.is_none()
            && cgroup.is_none()
            && container.is_none()
            && pod.is_none()
            && k8s_namespace.is_none()
    }

    /// `any_user`: whichever user the process is of.
    pub fn matches_process(&self, process: &Process, exe: &str, any_user: bool) -> bool {
        let rule = &self.rule;
        self.exe.as_ref().is_none_or(|pattern| pattern.matches(exe))
            && rule.pid.is_none_or(|pid| pid == process.pid)
            && rule
                .uid
                .is_none_or(|uid| any_user || Some(uid) == process.uid)
            && rule
                .cgroup
                .as_ref()
                .is_none_or(|group| process.identity.cgroups.within(group))
    }

    pub fn matches_connection(&self, connection: &ConnectionInfo, process: &Process) -> bool {
        let has_port = |port| {
            [connection.local, connection.remote]
                .into_iter()
                .flatten()
                .any(|address| address.port() == port)
        };
        self.rule.port.is_none_or(has_port)
            && self
                .rule
                .netns
                .is_none_or(|ns| ns == connection.netns || Some(ns) == process.netns)
    }
}
