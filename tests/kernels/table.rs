//! The kernels, what the agent does with each, and the stacks of the suite. All of it is data: a row more is a test more.

/// A kernel that `fetch.sh` fetches.
pub struct Kernel {
    /// Its folder, and its version as far as it is fixed.
    pub name: &'static str,
    /// Who has it.
    pub of: &'static str,
    pub agent: Agent,
}

/// What the agent does with a kernel.
pub enum Agent {
    /// It does not start, and says this.
    Refuses { says: &'static str },
    Captures {
        /// What it takes by itself, as `/status` names it.
        automatic: &'static str,
        /// What `--tier` can ask for.
        tiers: &'static [&'static str],
        /// What `--tier` cannot have, with this in the message.
        missing: &'static [&'static str],
        seccomp: Seccomp,
    },
}

/// What becomes of a program under a seccomp filter that has a probed library.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Seccomp {
    /// The kernel does it no harm: it is captured.
    Captured,
    /// A return probe would end it. It lives, and nobody's calls into C libraries are captured.
    Trap,
}

pub const KERNELS: &[Kernel] = &[
    Kernel {
        name: "5.10",
        of: "Debian 11",
        agent: Agent::Refuses {
            says: "cannot run the kernel programs",
        },
    },
    Kernel {
        name: "5.15",
        of: "Ubuntu 22.04",
        agent: Agent::Captures {
            automatic: "perf,fexit,for_each",
            tiers: &["perf,kprobes,for_each", "perf,syscalls,for_each"],
            missing: &["multi", "tracepoints", "bpf_loop"],
            seccomp: Seccomp::Captured,
        },
    },
    Kernel {
        name: "6.1",
        of: "Debian 12",
        agent: Agent::Captures {
            automatic: "perf,fexit,bpf_loop",
            tiers: &["perf,kprobes,bpf_loop", "perf,syscalls,for_each"],
            missing: &["multi", "tracepoints"],
            seccomp: Seccomp::Captured,
        },
    },
    Kernel {
        name: "6.11",
        of: "Ubuntu 24.04, February 2025",
        agent: Agent::Captures {
            automatic: "multi,tracepoints,bpf_loop",
            tiers: &["perf,kprobes,for_each"],
            missing: &["session"],
            seccomp: Seccomp::Trap,
        },
    },
    Kernel {
        name: "6.12",
        of: "Debian 12 backports",
        agent: Agent::Captures {
            automatic: "multi,tracepoints,bpf_loop",
            tiers: &["multi,fexit,for_each", "perf,tracepoints,bpf_loop"],
            missing: &["session"],
            seccomp: Seccomp::Captured,
        },
    },
];

/// What is run with each tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    OpensslHttp1,
    OpensslHttp2,
    Go,
    Rustls,
    Plain,
}

impl Stack {
    pub const ALL: [Stack; 5] = [
        Stack::OpensslHttp1,
        Stack::OpensslHttp2,
        Stack::Go,
        Stack::Rustls,
        Stack::Plain,
    ];

    /// As the page and the results name it.
    pub fn name(self) -> &'static str {
        match self {
            Stack::OpensslHttp1 => "OpenSSL HTTP/1.1",
            Stack::OpensslHttp2 => "OpenSSL HTTP/2",
            Stack::Go => "Go",
            Stack::Rustls => "rustls",
            Stack::Plain => "plain HTTP",
        }
    }

    /// It needs probes at returns of functions.
    pub fn has_return_probes(self) -> bool {
        match self {
            Stack::OpensslHttp1 | Stack::OpensslHttp2 | Stack::Rustls => true,
            Stack::Go | Stack::Plain => false,
        }
    }
}

/// A kernel of the table by its name.
///
/// # Panics
/// Where there is none.
pub fn kernel(name: &str) -> &'static Kernel {
    let found = KERNELS.iter().find(|kernel| kernel.name == name);
    found.unwrap_or_else(|| panic!("no kernel {name} in tests/kernels/table.rs"))
}
