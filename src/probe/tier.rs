//! Tiers: the ways in which kernels let the same thing be seen, best first. Of three things each kernel has its own best:
//! calls of TLS libraries, sends and receives of sockets, and loops in kernel programs.
//!
//! Enters: what a user forces, and how what was tried failed. Leaves: what to try next, and at the end what is in use and
//! why. Holds: no tier is chosen by a kernel's version; one that was refused is not tried again.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// How TLS calls are probed, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// `uprobe.session`: one link a file, one program for entry and return (kernel 6.13).
    Session,
    /// `uprobe.multi`: two links a file (kernel 6.6).
    Multi,
    /// A perf event for each place, entry and return (kernel 5.15). Slow to detach, and needs CAP_SYS_ADMIN.
    Perf,
}

/// How sends and receives are seen, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketTier {
    /// The tracepoints `sock_send_length` and `sock_recv_length` (kernel 6.3).
    Tracepoints,
    /// At the end of TCP's functions, by fexit.
    Fexit,
    /// At both ends of TCP's functions, by kprobes.
    Kprobes,
    /// At the end of system calls. Costs every system call of the host a little, and does not see io_uring.
    Syscalls,
}

/// How kernel programs loop, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoopTier {
    /// The helper `bpf_loop` (kernel 5.17).
    BpfLoop,
    /// Over the elements of an array, by the helper `bpf_for_each_map_elem` (kernel 5.13).
    ForEach,
}

impl Tier {
    /// All, best first.
    pub const ALL: [Tier; 3] = [Tier::Session, Tier::Multi, Tier::Perf];

    pub fn name(self) -> &'static str {
        match self {
            Tier::Session => "session",
            Tier::Multi => "multi",
            Tier::Perf => "perf",
        }
    }
}

impl SocketTier {
    /// All, best first.
    pub const ALL: [SocketTier; 4] = [
        SocketTier::Tracepoints,
        SocketTier::Fexit,
        SocketTier::Kprobes,
        SocketTier::Syscalls,
    ];

    pub fn name(self) -> &'static str {
        match self {
            SocketTier::Tracepoints => "tracepoints",
            SocketTier::Fexit => "fexit",
            SocketTier::Kprobes => "kprobes",
            SocketTier::Syscalls => "syscalls",
        }
    }
}

impl LoopTier {
    /// All, best first.
    pub const ALL: [LoopTier; 2] = [LoopTier::BpfLoop, LoopTier::ForEach];

    pub fn name(self) -> &'static str {
        match self {
            LoopTier::BpfLoop => "bpf_loop",
            LoopTier::ForEach => "for_each",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of each. Written as `--tier` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiers {
    pub calls: Tier,
    pub sockets: SocketTier,
    pub loops: LoopTier,
}

impl fmt::Display for Tiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, sockets, loops) = (self.calls.name(), self.sockets.name(), self.loops.name());
        write!(f, "{calls},{sockets},{loops}")
    }
}

/// What a user forces; None: the best that the kernel has. Written as words with commas between, in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forced {
    pub calls: Option<Tier>,
    pub sockets: Option<SocketTier>,
    pub loops: Option<LoopTier>,
}

impl From<Tier> for Forced {
    fn from(tier: Tier) -> Forced {
        Forced {
            calls: Some(tier),
            ..Forced::default()
        }
    }
}

impl From<SocketTier> for Forced {
    fn from(tier: SocketTier) -> Forced {
        Forced {
            sockets: Some(tier),
            ..Forced::default()
        }
    }
}

impl FromStr for Forced {
    type Err = String;

    fn from_str(text: &str) -> Result<Forced, String> {
        let mut forced = Forced::default();
        for word in text.split(',') {
            let twice = if let Some(tier) = Tier::ALL.into_iter().find(|t| t.name() == word) {
                forced.calls.replace(tier).is_some()
            } else if let Some(tier) = SocketTier::ALL.into_iter().find(|t| t.name() == word) {
                forced.sockets.replace(tier).is_some()
            } else if let Some(tier) = LoopTier::ALL.into_iter().find(|t| t.name() == word) {
                forced.loops.replace(tier).is_some()
            } else {
                return Err(format!("{word:?} is no tier: write {}", words()));
            };
            if twice {
                return Err(format!(
                    "{word:?} is the second one of its kind: write {}",
                    words()
                ));
            }
        }
        Ok(forced)
    }
}

/// What can be written.
fn words() -> String {
    let (calls, sockets, loops) = (
        Tier::ALL.map(Tier::name),
        SocketTier::ALL.map(SocketTier::name),
        LoopTier::ALL.map(LoopTier::name),
    );
    format!(
        "at most one of {} (TLS calls), one of {} (sockets) and one of {} (loops), with commas between",
        calls.join(", "),
        sockets.join(", "),
        loops.join(", ")
    )
}

/// A tier that was tried, and how it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub tier: &'static str,
    pub why: String,
}

/// What a failure was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Calls,
    Sockets,
    Loops,
}

/// The tiers in use, and those that were refused before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub tiers: Tiers,
    pub refused: Vec<Refused>,
}

/// Goes from the best tiers to those that the kernel takes.
#[derive(Debug)]
pub struct Search {
    forced: Forced,
    now: Tiers,
    refused: Vec<Refused>,
}

impl Search {
    pub fn new(forced: Forced) -> Search {
        let now = Tiers {
            calls: forced.calls.unwrap_or(Tier::ALL[0]),
            sockets: forced.sockets.unwrap_or(SocketTier::ALL[0]),
            loops: forced.loops.unwrap_or(LoopTier::ALL[0]),
        };
        Search {
            forced,
            now,
            refused: Vec::new(),
        }
    }

    /// What to try now.
    pub fn now(&self) -> Tiers {
        self.now
    }

    /// The kernel did not take that part of it. False: there is no other, or the user wants this one.
    pub fn refuse(&mut self, part: Part, why: impl Into<String>) -> bool {
        let (tier, more) = match part {
            Part::Calls => {
                let was = self.now.calls;
                let next = after(&Tier::ALL, was).filter(|_| self.forced.calls.is_none());
                self.now.calls = next.unwrap_or(was);
                (was.name(), next.is_some())
            }
            Part::Sockets => {
                let was = self.now.sockets;
                let next = after(&SocketTier::ALL, was).filter(|_| self.forced.sockets.is_none());
                self.now.sockets = next.unwrap_or(was);
                (was.name(), next.is_some())
            }
            Part::Loops => {
                let was = self.now.loops;
                let next = after(&LoopTier::ALL, was).filter(|_| self.forced.loops.is_none());
                self.now.loops = next.unwrap_or(was);
                (was.name(), next.is_some())
            }
        };
        let why = why.into();
        self.refused.push(Refused { tier, why });
        more
    }

    /// The kernel takes what is tried now.
    pub fn chosen(self) -> Chosen {
        Chosen {
            tiers: self.now,
            refused: self.refused,
        }
    }

    /// All that was refused, a line each.
    pub fn refusals(&self) -> String {
        let lines = self
            .refused
            .iter()
            .map(|r| format!("{}: {}", r.tier, r.why));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn after<T: Copy + PartialEq>(all: &[T], one: T) -> Option<T> {
    let at = all.iter().position(|other| *other == one)?;
    all.get(at + 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_read_as_they_are_written_in_any_order() {
        for calls in Tier::ALL {
            for sockets in SocketTier::ALL {
                for loops in LoopTier::ALL {
                    let tiers = Tiers {
                        calls,
                        sockets,
                        loops,
                    };
                    let forced = Forced {
                        calls: Some(calls),
                        sockets: Some(sockets),
                        loops: Some(loops),
                    };
                    assert_eq!(tiers.to_string().parse(), Ok(forced));
                }
            }
        }
        let some = Forced {
            sockets: Some(SocketTier::Syscalls),
            ..Tier::Perf.into()
        };
        assert_eq!("syscalls,perf".parse(), Ok(some));
        assert_eq!("perf".parse(), Ok(Forced::from(Tier::Perf)));
        for wrong in ["", "fast", "perf,", "perf,multi", "fexit, perf", "Perf"] {
            let error = wrong.parse::<Forced>().expect_err(wrong);
            assert!(error.contains("tracepoints, fexit"), "{error}");
        }
    }

    #[test]
    fn each_part_goes_down_on_its_own_until_the_kernel_takes_it() {
        let mut search = Search::new(Forced::default());
        assert_eq!(search.now().to_string(), "session,tracepoints,bpf_loop");
        assert!(search.refuse(Part::Sockets, "no such tracepoint"));
        assert!(search.refuse(Part::Calls, "no such link"));
        assert!(search.refuse(Part::Calls, "no such link"));
        assert!(search.refuse(Part::Sockets, "EPERM"));
        assert!(search.refuse(Part::Loops, "no such helper"));
        assert_eq!(search.now().to_string(), "perf,kprobes,for_each");
        let chosen = search.chosen();
        let refused: Vec<_> = chosen.refused.iter().map(|r| r.tier).collect();
        let expected = ["tracepoints", "session", "multi", "fexit", "bpf_loop"];
        assert_eq!(refused, expected);
        assert_eq!(chosen.refused[3].why, "EPERM");
    }

    #[test]
    fn a_search_ends_at_the_last_tier() {
        let mut search = Search::new(Forced::default());
        assert!(search.refuse(Part::Calls, "1"));
        assert!(search.refuse(Part::Calls, "2"));
        assert!(!search.refuse(Part::Calls, "3"));
        assert_eq!(search.refusals(), "session: 1\nmulti: 2\nperf: 3");
    }

    #[test]
    fn what_is_forced_is_not_given_up_and_the_rest_is_searched() {
        let forced = "fexit".parse().expect("a tier");
        let mut search = Search::new(forced);
        assert_eq!(search.now().to_string(), "session,fexit,bpf_loop");
        assert!(search.refuse(Part::Calls, "no such link"));
        assert!(!search.refuse(Part::Sockets, "EPERM"));
        assert_eq!(search.now().to_string(), "multi,fexit,bpf_loop");
    }
}
