//! What is wrong with what ran: pure, so that it can be seen to fail.

use crate::machine::Ran;
use crate::report::{Done, Outcome};
use crate::table::{Agent, Kernel, Seccomp, Stack};

/// What of a kernel has to be done: tier, and what with it.
pub fn wanted(kernel: &Kernel) -> Vec<(&'static str, &'static str)> {
    match kernel.agent {
        Agent::Refuses { .. } => vec![("", REFUSAL)],
        Agent::Captures {
            tiers,
            missing,
            seccomp,
            ..
        } => {
            let tiers = [AUTOMATIC].into_iter().chain(tiers.iter().copied());
            let captured =
                |stack: &Stack| seccomp == Seccomp::Captured || !stack.has_return_probes();
            let stacks = || Stack::ALL.into_iter().filter(captured).map(Stack::name);
            let of_tier = |tier| stacks().chain([SECCOMP, END]).map(move |what| (tier, what));
            let mut wanted: Vec<_> = tiers.flat_map(of_tier).collect();
            wanted.extend(missing.iter().map(|tier| (*tier, REFUSAL)));
            wanted
        }
    }
}

/// The tier that nobody asked for.
pub const AUTOMATIC: &str = "automatic";
/// The agent does not start, and says why.
pub const REFUSAL: &str = "refusal";
/// A program under a seccomp filter.
pub const SECCOMP: &str = "seccomp";
/// The agent ends well, with a ledger that balances, and nothing but what was asked for is a span.
pub const END: &str = "end";

/// All that is not as wanted, each with what the machine said of it.
pub fn wrong(ran: &Ran) -> Vec<String> {
    let name = ran.kernel.name;
    let mut wrong = Vec::new();
    for done in &ran.done {
        if let Outcome::Wrong(why) = &done.outcome {
            wrong.push(format!("kernel {name}, {} {}: {why}", done.tier, done.what));
        }
    }
    let is = |done: &&Done, (tier, what): (&str, &str)| done.tier == tier && done.what == what;
    for want in wanted(ran.kernel) {
        let times = ran.done.iter().filter(|done| is(done, want)).count();
        if times != 1 {
            wrong.push(format!(
                "kernel {name}, {} {}: told {times} times, not once",
                want.0, want.1
            ));
        }
    }
    if let Some(failure) = &ran.failure {
        wrong.push(format!("kernel {name}: {failure}"));
    }
    wrong
}
