//! Capabilities: which the agent uses, for what, and without which it goes on.

use super::{Measure, Plan, State};
use caps::{CapSet, Capability, CapsHashSet};

/// One that the agent uses.
pub struct Use {
    pub capability: Capability,
    pub name: &'static str,
    /// What there is with it.
    pub gives: &'static str,
    /// What is missing without it, and what to do where that differs from giving it.
    pub lacks: &'static str,
}

/// All that any host needs, in the order of the documentation.
pub const USES: [Use; 6] = [
    Use {
        capability: Capability::CAP_BPF,
        name: "CAP_BPF",
        gives: "kernel programs can be loaded",
        lacks: "no kernel program can be loaded: the agent does not start",
    },
    Use {
        capability: Capability::CAP_PERFMON,
        name: "CAP_PERFMON",
        gives: "probes can be attached, new mappings are reported",
        lacks: "no probe can be attached: the agent does not start",
    },
    Use {
        capability: Capability::CAP_SYS_PTRACE,
        name: "CAP_SYS_PTRACE",
        gives: "files and mappings of others can be looked at",
        lacks: "what programs of other users had mapped before is not captured over TLS, and they have no command line or environment",
    },
    Use {
        capability: Capability::CAP_DAC_READ_SEARCH,
        name: "CAP_DAC_READ_SEARCH",
        gives: "programs that only their users may read can be scanned",
        lacks: "programs and libraries that only their users may read are not captured over TLS",
    },
    Use {
        capability: Capability::CAP_CHECKPOINT_RESTORE,
        name: "CAP_CHECKPOINT_RESTORE",
        gives: "deleted files of running programs can be opened",
        lacks: "a program whose file was replaced while it runs, as by an upgrade, is not captured over TLS",
    },
    Use {
        capability: Capability::CAP_SYS_NICE,
        name: "CAP_SYS_NICE",
        gives: "the capture thread goes first",
        lacks: "under load more is lost",
    },
];

/// For `tap.java` beside those (`probe::java`).
pub const JAVA: [Capability; 6] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
];

/// This thread has it in effect.
///
/// # Errors
/// What the kernel says.
pub fn has(capability: Capability) -> Result<bool, String> {
    caps::has_cap(None, CapSet::Effective, capability).map_err(|error| error.to_string())
}

/// CAP_SYS_ADMIN includes what was taken out of it later.
pub fn has_or_admin(capability: Capability) -> Result<bool, String> {
    let newer = [
        Capability::CAP_BPF,
        Capability::CAP_PERFMON,
        Capability::CAP_CHECKPOINT_RESTORE,
    ];
    Ok(has(capability)? || newer.contains(&capability) && has(Capability::CAP_SYS_ADMIN)?)
}

/// What is kept of what there is. CAP_SYS_NICE is not: [`super::Priority`] has it for as long as it is needed.
fn kept(permitted: &CapsHashSet, plan: &Plan) -> CapsHashSet {
    let needed = |capability: &Capability| {
        let used = USES.iter().any(|of| of.capability == *capability);
        let used = used && *capability != Capability::CAP_SYS_NICE;
        // As root's older capability it stands for those that are missing.
        let admin = *capability == Capability::CAP_SYS_ADMIN
            && (plan.admin || !permitted.contains(&Capability::CAP_BPF));
        used || admin || plan.java && JAVA.contains(capability)
    };
    permitted.iter().copied().filter(needed).collect()
}

/// Gives up what is not needed, in all sets of this thread.
pub(super) fn lower(plan: &Plan) -> Measure {
    match try_lower(plan) {
        Ok((kept, true)) => Measure::of(State::On, names(&kept)),
        Ok((kept, false)) => {
            let text = "the bounding set stays as it was, which needs CAP_SETPCAP to be lowered";
            Measure::of(State::Partly, format!("{}; {text}", names(&kept)))
        }
        Err(error) => Measure::of(State::Off, error.to_string()),
    }
}

/// What is kept, and whether no other can come back by a program that is started.
fn try_lower(plan: &Plan) -> Result<(CapsHashSet, bool), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept = kept(&permitted, plan);
    let mut whole = true;
    for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
        // Whoever started the agent with its own set alone has done enough.
        let own = USES.iter().any(|used| used.capability == *capability);
        whole &= caps::drop(None, CapSet::Bounding, *capability).is_ok() || own;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // In effect and then permitted: the first is never more than the second.
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok((kept, whole))
}

fn names(set: &CapsHashSet) -> String {
    let mut names: Vec<String> = set.iter().map(ToString::to_string).collect();
    names.sort();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(of: &[Capability]) -> CapsHashSet {
        of.iter().copied().collect()
    }

    #[test]
    fn of_root_s_capabilities_those_are_kept_that_this_run_needs() {
        let root = caps::all();
        let plan = Plan::default();
        let always = [
            Capability::CAP_BPF,
            Capability::CAP_CHECKPOINT_RESTORE,
            Capability::CAP_DAC_READ_SEARCH,
            Capability::CAP_PERFMON,
            Capability::CAP_SYS_PTRACE,
        ];
        assert_eq!(kept(&root, &plan), set(&always));
        let admin = Plan {
            admin: true,
            ..Plan::default()
        };
        let with = |more: &[Capability]| set(&[&always[..], more].concat());
        assert_eq!(kept(&root, &admin), with(&[Capability::CAP_SYS_ADMIN]));
        let java = Plan {
            java: true,
            ..Plan::default()
        };
        assert_eq!(kept(&root, &java), with(&JAVA));
        assert_eq!(
            names(&set(&always)),
            "CAP_BPF, CAP_CHECKPOINT_RESTORE, CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_SYS_PTRACE"
        );
    }

    #[test]
    fn where_the_newer_ones_are_missing_the_older_one_that_includes_them_stays() {
        let old = set(&[Capability::CAP_SYS_ADMIN, Capability::CAP_NET_ADMIN]);
        assert_eq!(
            kept(&old, &Plan::default()),
            set(&[Capability::CAP_SYS_ADMIN])
        );
        assert_eq!(names(&kept(&set(&[]), &Plan::default())), "none");
    }
}
