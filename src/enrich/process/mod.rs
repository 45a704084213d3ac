//! Processes and the service that each stands for.
//!
//! Enters: exec and exit events, process ids. Leaves: shared [`Process`]es.
//! Holds: `/proc` is read once a process, with bounds, as early as its `execve`; a process that is gone keeps its
//! identity for a minute. What a process says of itself never overrides what the host knows of it. A container's names,
//! labels and pod are asked for as soon as a process of it is known, and never waited for: until the answer is there,
//! the process says that it is on its way, and afterwards it is another [`Process`].

mod cache;
mod directory;
mod host;
mod identity;
mod maker;
mod procfs;
mod publication;
mod resource;
mod said;
mod service;
mod strategy;
mod wanted;
mod workload;

pub use cache::Processes;
pub use directory::Directory;
pub use identity::{Identity, Lookup, Tag, Variables};
pub(in crate::enrich) use procfs::start;
pub(in crate::enrich) use said::Said;
pub(crate) use said::pairs as resource_pairs;
pub use strategy::Strategy;
pub use wanted::Wanted;

use std::time::SystemTime;

/// Variable with the strategy that the process asks for (QTap).
const STRATEGY_VARIABLE: &str = "QPOINT_STRATEGY";
/// Variable with tags: `key:value,…` (QTap).
const TAGS_VARIABLE: &str = "QPOINT_TAGS";

/// An observed process, as it was when it was first seen. Shared by all its transactions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    pub pid: u32,
    pub parent_pid: Option<u32>,
    /// Path of the executable, as the process sees it.
    pub exe: Option<String>,
    /// Base name of the executable; the kernel's `comm` where the path is not known.
    pub name: String,
    pub uid: Option<u32>,
    /// Name of `uid` on the host.
    pub owner: Option<String>,
    pub started: Option<SystemTime>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// 64 hex digits, from the cgroup path.
    pub container_id: Option<String>,
    /// Groups, container, pod, tags, strategy.
    pub identity: Identity,
    /// The process's own network traffic is the agent's.
    pub is_agent: bool,
    /// The attributes of its OTLP resource, `service.name` and `service.instance.id` included.
    pub resource: Vec<(String, ResourceValue)>,
}

/// Value of a resource attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceValue {
    Str(String),
    Int(i64),
    Strs(Vec<String>),
}
