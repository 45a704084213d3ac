//! What is wrong with what ran: pure, so that it can be seen to fail.

use crate::machine::Ran;
use crate::report::{Done, Outcome};
use crate::table::{Agent, Kernel, SETS, Stack, set_name};

/// What of a kernel has to be done: tier, and what with it.
pub fn wanted(kernel: &Kernel) -> Vec<(&'static str, String)> {
    match kernel.agent {
        Agent::Refuses { .. } => vec![("", REFUSAL.to_owned())],
        Agent::Captures {
            tiers,
            missing,
            rights,
            ..
        } => {
            let tiers = [AUTOMATIC].into_iter().chain(tiers.iter().copied());
            let each = || {
                let stacks = Stack::ALL.into_iter().map(Stack::name);
                stacks.chain([SECCOMP, END]).map(str::to_owned)
            };
            let captures = tiers.flat_map(|tier| each().map(move |what| (tier, what)));
            let refuses = missing.iter().map(|tier| (*tier, REFUSAL.to_owned()));
            let tried = rights
                .iter()
                .flat_map(|calls| SETS.iter().map(|set| (*calls, set_name(set))));
            captures.chain(refuses).chain(tried).collect()
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
    let is = |done: &&Done, (tier, what): &(&str, String)| done.tier == *tier && done.what == *what;
    for want in wanted(ran.kernel) {
        let times = ran.done.iter().filter(|done| is(done, &want)).count();
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
