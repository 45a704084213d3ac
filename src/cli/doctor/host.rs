//! What the agent needs of this host.

use crate::guard::capabilities::{self, USES, Use};
use crate::probe::finder::Reports;
use crate::probe::host;
use crate::probe::kernel::{Kernel, KernelOptions};
use crate::probe::tier::Tier;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::io;

/// One thing that was looked at.
pub struct Check {
    outcome: Outcome,
    name: Cow<'static, str>,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// It works, with less.
    Less,
    Fails,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Fine => "ok",
            Outcome::Less => "warning",
            Outcome::Fails => "FAILS",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Check {
            outcome,
            name,
            text,
        } = self;
        write!(f, "{:<8} {name}: {text}", outcome.word())
    }
}

impl Check {
    fn new(outcome: Outcome, name: &'static str, text: impl Into<String>) -> Check {
        Check {
            outcome,
            name: name.into(),
            text: text.into(),
        }
    }

    pub fn is_failure(&self) -> bool {
        self.outcome == Outcome::Fails
    }

    pub fn json(&self) -> Value {
        json!({"check": self.name, "outcome": self.outcome.word(), "text": self.text})
    }
}

/// All checks. A running agent has shown that the kernel programs can be loaded.
pub fn checks(agent: Option<&Value>) -> Vec<Check> {
    let mut checks = programs(agent);
    checks.extend(capabilities(agent.is_some()));
    checks.extend(agent.map(sandbox).unwrap_or_default());
    checks.push(match host::sees_all_processes() {
        Ok(true) => Check::new(Outcome::Fine, "processes", "all of the host are seen"),
        Ok(false) => Check::new(
            Outcome::Less,
            "processes",
            "only those of this container are seen: share the host's process namespace (hostPID: true, --pid=host)",
        ),
        Err(error) => Check::new(Outcome::Less, "processes", error.to_string()),
    });
    checks.push(mappings());
    if agent.is_none() {
        checks.push(reports());
    }
    checks.push(seccomp());
    checks.extend(agent.and_then(cpu_budget));
    checks
}

/// What a running agent takes of its CPU budget, where it has one.
fn cpu_budget(agent: &Value) -> Option<Check> {
    let budget = agent
        .pointer("/agent/cpu_budget")
        .filter(|b| b.is_object())?;
    let cores = |key: &str| budget.get(key).and_then(Value::as_f64).unwrap_or_default();
    let level = budget.get("level").map(plain).unwrap_or_default();
    let text = format!("{:.2} of {:.2} cores", cores("used"), cores("limit"));
    Some(match level.as_str() {
        "full" => Check::new(Outcome::Fine, "limits.cpu", text),
        "none" => Check::new(
            Outcome::Less,
            "limits.cpu",
            format!(
                "{text}; nothing is captured until the agent takes less: raise limits.cpu, or want less"
            ),
        ),
        level => Check::new(
            Outcome::Less,
            "limits.cpu",
            format!(
                "{text}; no level above {level} until it takes less: raise limits.cpu, or want less"
            ),
        ),
    })
}

/// The kernel programs; behind them each tier that the kernel did not take.
fn programs(agent: Option<&Value>) -> Vec<Check> {
    let name = "kernel programs";
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    if let Some(agent) = agent {
        let of = |key: &str| agent.get(key).map(plain).unwrap_or_default();
        let text = format!(
            "kernel {release}; agent {} runs as process {}, probes of tier {}",
            of("version"),
            of("pid"),
            of("tier")
        );
        let mut checks = vec![Check::new(Outcome::Fine, name, text)];
        let refused = agent.get("tiers_refused").and_then(Value::as_array);
        checks.extend(refused.into_iter().flatten().map(|refused| {
            let of = |key: &str| refused.get(key).map(plain).unwrap_or_default();
            not_taken(&of("tier"), &of("why"))
        }));
        return checks;
    }
    // Small rings: nothing is captured.
    let options = KernelOptions {
        ring_bytes: 64 << 10,
        control_ring_bytes: 64 << 10,
        max_connections: 1024,
        ..KernelOptions::default()
    };
    match Kernel::load(&options) {
        Ok(kernel)
            if kernel.chosen().tiers.calls == Tier::Perf
                && matches!(host::perf_probes_allowed(), Ok(false)) =>
        {
            let text =
                format!("kernel {release} has probes of tier perf alone, which need CAP_SYS_ADMIN");
            vec![Check::new(Outcome::Fails, name, text)]
        }
        Ok(kernel) => {
            let text = format!(
                "kernel {release} takes them, with probes of tier {}",
                kernel.chosen().tiers
            );
            let refused = kernel.chosen().refused.iter();
            let mut checks = vec![Check::new(Outcome::Fine, name, text)];
            checks.extend(refused.map(|refused| not_taken(refused.tier, &refused.why)));
            checks
        }
        Err(error) => vec![Check::new(Outcome::Fails, name, error.to_string())],
    }
}

/// The next tier does the same.
fn not_taken(tier: &str, why: &str) -> Check {
    Check::new(Outcome::Fine, "tier", format!("not {tier}: {why}"))
}

/// A value as people write it.
pub fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// What the agent uses. What loads programs is tried above.
fn capabilities(agent: bool) -> Vec<Check> {
    let check = |used: &Use| {
        let name = used.name;
        match capabilities::has_or_admin(used.capability) {
            Ok(true) => Check::new(Outcome::Fine, name, used.gives),
            // Those of this command; the agent has its own.
            Ok(false) if agent => Check::new(
                Outcome::Fine,
                name,
                format!(
                    "missing here, which says nothing of the agent: with it {}",
                    used.gives
                ),
            ),
            Ok(false) => Check::new(Outcome::Less, name, format!("missing: {}", used.lacks)),
            Err(error) => Check::new(Outcome::Less, name, format!("cannot be told: {error}")),
        }
    };
    USES.iter().map(check).collect()
}

/// What the agent did to itself, by its own word.
fn sandbox(agent: &Value) -> Vec<Check> {
    let measures = agent.get("sandbox").and_then(Value::as_object);
    let check = |(name, measure): (&String, &Value)| {
        let of = |key: &str| measure.get(key).map(plain).unwrap_or_default();
        let outcome = match of("state").as_str() {
            "on" => Outcome::Fine,
            _ => Outcome::Less,
        };
        Check {
            outcome,
            name: format!("sandbox: {name}").into(),
            text: format!("{}: {}", of("state"), of("text")),
        }
    };
    measures.into_iter().flatten().map(check).collect()
}

fn unknown(error: &io::Error) -> String {
    format!("cannot be told: {error}")
}

/// Of how many processes the agent would see nothing that they had mapped before it started.
fn mappings() -> Check {
    let name = "/proc";
    let entries = match fs::read_dir(name) {
        Ok(entries) => entries,
        Err(error) => return Check::new(Outcome::Fails, name, unknown(&error)),
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let (mut read, mut refused) = (0, Vec::new());
    for pid in pids {
        match fs::read(format!("/proc/{pid}/maps")) {
            Ok(_) => read += 1,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused.push(pid),
            // It has ended.
            Err(_) => {}
        }
    }
    let Some(first) = refused.first() else {
        let text = format!("mappings of all {read} processes can be read");
        return Check::new(Outcome::Fine, name, text);
    };
    let text = format!(
        "mappings of {} of {} processes cannot be read, of process {first} to begin with: what they had mapped before \
         the agent started is missed. Run as root or with CAP_SYS_PTRACE",
        refused.len(),
        read + refused.len()
    );
    Check::new(Outcome::Less, name, text)
}

/// What programs map from now on.
fn reports() -> Check {
    let name = "new mappings";
    match Reports::ask().refusal() {
        None => Check::new(Outcome::Fine, name, "the kernel reports them"),
        Some(why) => Check::new(Outcome::Less, name, why.to_string()),
    }
}

fn seccomp() -> Check {
    let name = "seccomp";
    match host::seccomp_ends_probed_programs() {
        Ok(false) => Check::new(Outcome::Fine, name, "programs with a filter can be probed"),
        Ok(true) => Check::new(
            Outcome::Fails,
            name,
            "this kernel (6.11 to 6.13, without the fix of 6.14) ends programs with a seccomp filter, as those in \
             containers have, when a probe returns: nothing is probed at returns, so of TLS only that of Go's programs is \
             captured. Update the kernel",
        ),
        Err(error) => Check::new(Outcome::Less, name, unknown(&error)),
    }
}
