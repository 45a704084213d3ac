//! What is looked at, whose it is, and into which traces it goes.

use super::HashKeySource;
use crate::config::private::PrivateRanges;
use crate::routes::Pattern;
use crate::rules::expr::Net;
use crate::trace::CapSettings;
use std::path::PathBuf;
use std::time::Duration;

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    pub direction: Direction,
    /// Leaves out what has 127/8 or ::1 at either end.
    pub ignore_loopback: bool,
    pub http_stack: Option<String>,
    /// Processes left out: predefined groups and custom ones, as patterns of the executable's path.
    pub exclude: Vec<ExeMatch>,
    /// Processes of which only what goes over TLS is left out.
    pub exclude_tls: Vec<ExeMatch>,
    /// When not empty, only these.
    pub include: Vec<Include>,
    /// Stacks of single domains, in the order of the file.
    pub endpoints: Vec<EndpointStack>,
    /// Networks that are internal beside the usual.
    pub private_ranges: PrivateRanges,
    pub identity: IdentitySources,
    pub trace_context: TraceContextPolicy,
    pub join: Join,
    /// A transaction that lasts longer reports once in each such time.
    pub progress: Duration,
    /// Routes of paths, in the order of the file.
    pub routes: Vec<Pattern>,
    /// What no pattern applies to has a route by guess.
    pub route_heuristic: bool,
    /// Folder for what was found in large programs; None: they are looked through whenever they start.
    pub scan_cache: Option<PathBuf>,
    /// A library is loaded into JVMs, which shows the plaintext of their TLS.
    pub java: bool,
}

impl Default for Tap {
    /// Everything is looked at, and no stack takes it.
    fn default() -> Self {
        Tap {
            direction: Direction::All,
            ignore_loopback: false,
            http_stack: None,
            exclude: Vec::new(),
            exclude_tls: Vec::new(),
            include: Vec::new(),
            endpoints: Vec::new(),
            private_ranges: PrivateRanges::default(),
            identity: IdentitySources::default(),
            trace_context: TraceContextPolicy::Auto,
            join: Join::default(),
            progress: Duration::from_secs(60),
            routes: Vec::new(),
            route_heuristic: false,
            scan_cache: None,
            java: false,
        }
    }
}

/// How the spans of both ends of a request without a trace header meet (`docs/trace-join.md`), and whose header is
/// believed (`docs/trace-context.md`).
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Networks whose hosts have an agent of their own.
    pub networks: Vec<Net>,
    /// Key of all agents that are to meet; without it the connection alone decides.
    pub site_key: Option<HashKeySource>,
    /// What has to survive a restart; None: nothing.
    pub state_file: Option<PathBuf>,
    /// Networks whose trace headers are linked to and never adopted.
    pub untrusted: Vec<Net>,
    /// What one span may be the parent of.
    pub caps: CapSettings,
    /// A call may be the child of the request that its thread handles.
    pub inferred: bool,
}

impl Default for Join {
    fn default() -> Self {
        Join {
            networks: Vec::new(),
            site_key: None,
            state_file: None,
            untrusted: Vec::new(),
            caps: CapSettings::default(),
            inferred: true,
        }
    }
}

// Addresses and prefixes compare as themselves.
impl Eq for Join {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    All,
    Ingress,
    Egress,
    /// Egress to private addresses.
    EgressInternal,
    /// Egress to all others.
    EgressExternal,
}

/// Matches the path of a process's executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExeMatch {
    pub exe: String,
    pub strategy: ExeStrategy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExeStrategy {
    Exact,
    Prefix,
    Suffix,
    Contains,
    Regex,
}

/// One entry of `tap.filters.include`: all of its keys must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Include {
    pub exe: Option<ExeMatch>,
    pub pid: Option<u32>,
    pub uid: Option<u32>,
    /// Local or remote port.
    pub port: Option<u16>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// Path of a control group: the process is in it, or below it.
    pub cgroup: Option<String>,
    /// Pattern of the container's name; or the first 12 digits of its id at least.
    pub container: Option<String>,
    /// Patterns of the pod's name and namespace.
    pub pod: Option<String>,
    pub k8s_namespace: Option<String>,
}

/// A stack for one domain, or for all below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStack {
    /// Lower-case; `*.example.com`: every name below, not `example.com` itself.
    pub domain: String,
    /// None: nothing of it is captured.
    pub stack: Option<String>,
}

/// Whom containers and pods are asked of. Sockets that are not there are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentitySources {
    /// Docker's socket, or Podman's.
    pub docker: Vec<PathBuf>,
    pub containerd: Vec<PathBuf>,
    pub cri: Vec<PathBuf>,
    pub kubelet: Option<KubernetesServer>,
    pub kubernetes: Option<Kubernetes>,
}

/// A server of Kubernetes: the kubelet's own, for its list of pods, or the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesServer {
    /// `https://host:10250`, without path.
    pub url: String,
    /// Of a service account; read anew for each request.
    pub token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

/// Kubernetes' API, for the pods of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    pub server: KubernetesServer,
    /// `spec.nodeName` of its pods.
    pub node: String,
}

/// A tag and where its values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRule {
    pub key: String,
    pub source: TagSource,
    /// Name of the variable, label or annotation.
    pub location: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagSource {
    /// The process's environment.
    Env,
    PodLabel,
    PodAnnotation,
    ContainerLabel,
}

/// What a trace context in the request does to our span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceContextPolicy {
    /// Adopt, but make no span where the process makes its own, or where the caller keeps none.
    Auto,
    /// Always a span, in the header's trace.
    Adopt,
    /// Our own trace, with a link to the header's context.
    Link,
    Off,
}
