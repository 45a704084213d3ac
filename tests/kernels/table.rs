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
        /// For which of its tiers of TLS calls sets of capabilities are tried.
        rights: &'static [&'static str],
    },
}

/// Sets of capabilities that an agent of an unprivileged user is given, as `setpriv` names them.
pub const SETS: [&[&str]; 2] = [
    &["bpf", "perfmon", "sys_ptrace", "dac_read_search"],
    &[
        "bpf",
        "perfmon",
        "sys_ptrace",
        "dac_read_search",
        "sys_admin",
    ],
];

/// A set as results and the page name it.
pub fn set_name(set: &[&str]) -> String {
    set.join(", ").to_uppercase()
}

/// What an agent of an unprivileged user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// It captures, and says nothing of what is missing.
    Enough,
    /// It captures, and says what it does without.
    Warns(&'static str),
    /// It does not start, and says this.
    Refuses(&'static str),
}

/// As the tier of TLS calls needs them, on Debian's kernels with the settings that they come with.
pub fn rights(calls: &str, set: &[&str]) -> Rights {
    match (calls, set.contains(&"sys_admin")) {
        (_, true) => Rights::Enough,
        ("perf", false) => Rights::Refuses("CAP_SYS_ADMIN"),
        _ => Rights::Warns(WITHOUT_REPORTS),
    }
}

/// Of an agent that is not told of new mappings.
pub const WITHOUT_REPORTS: &str = "kernel.perf_event_paranoid is 3";

pub const KERNELS: &[Kernel] = &[
    Kernel {
        name: "5.10",
        of: "Debian 11",
        agent: Agent::Refuses {
            says: "it has no cookies of probes (bpf_get_attach_cookie), which came with 5.15. Boot a kernel of 5.15 or later",
        },
    },
    Kernel {
        name: "6.1",
        of: "Debian 12",
        agent: Agent::Captures {
            automatic: "perf,fexit,bpf_loop",
            // The first is all that 5.15 has.
            tiers: &[
                "perf,fexit,for_each",
                "perf,kprobes,bpf_loop",
                "perf,syscalls,for_each",
            ],
            missing: &["multi", "tracepoints"],
            rights: &["perf"],
        },
    },
    Kernel {
        name: "6.12",
        of: "Debian 12 backports",
        agent: Agent::Captures {
            automatic: "multi,tracepoints,bpf_loop",
            tiers: &["multi,fexit,for_each", "perf,tracepoints,bpf_loop"],
            missing: &["session"],
            rights: &["multi", "perf"],
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
}

/// A kernel of the table by its name.
///
/// # Panics
/// Where there is none.
pub fn kernel(name: &str) -> &'static Kernel {
    let found = KERNELS.iter().find(|kernel| kernel.name == name);
    found.unwrap_or_else(|| panic!("no kernel {name} in tests/kernels/table.rs"))
}
