//! Processes and the service that each stands for.

use std::time::SystemTime;

/// An observed process, as it was when it was first seen. Shared by all its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// Processes seen so far.
#[derive(Debug, Default)]
pub struct Processes {
    known: std::collections::HashMap<u32, std::sync::Arc<Process>>,
}

impl Processes {
    pub fn new(_resource: &std::collections::BTreeMap<String, String>) -> Self {
        Processes::default()
    }
    pub fn exec(&mut self, exec: &crate::event::Exec<'_>) {
        self.known.remove(&exec.pid);
        self.get(exec.pid, exec.time);
    }
    pub fn exit(&mut self, _pid: u32, _time: crate::event::KernelTime) {}
    pub fn get(&mut self, pid: u32, _now: crate::event::KernelTime) -> std::sync::Arc<Process> {
        self.known
            .entry(pid)
            .or_insert_with(|| {
                let exe = std::fs::read_link(format!("/proc/{pid}/exe"))
                    .ok()
                    .map(|p| p.display().to_string());
                let name = exe
                    .as_deref()
                    .and_then(|e| e.rsplit('/').next())
                    .unwrap_or("?")
                    .to_owned();
                std::sync::Arc::new(Process {
                    pid,
                    parent_pid: None,
                    resource: vec![(
                        "service.name".into(),
                        ResourceValue::Str(format!("unknown_service:{name}")),
                    )],
                    exe,
                    name,
                    uid: None,
                    owner: None,
                    started: None,
                    netns: None,
                    container_id: None,
                    is_agent: pid == std::process::id(),
                })
            })
            .clone()
    }
}
