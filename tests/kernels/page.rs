//! The page of kernels: `docs/kernel-matrix.md`, compared with what ran, or written with `PLAINSPAN_WRITE_MATRIX=1`.

use crate::harness::repository;
use crate::machine::Ran;
use crate::report::Outcome;
use crate::table::{Agent, KERNELS, SETS, Stack, set_name};
use crate::verdicts::{AUTOMATIC, REFUSAL, SECCOMP};
use std::fmt::Write;

const PAGE: &str = "docs/kernel-matrix.md";

const HEAD: &str = "\
# Kernel matrix

Written by `tests/kernels` (`PLAINSPAN_WRITE_MATRIX=1 cargo test --test kernels`), which boots each kernel in a virtual machine on every
change and also sees to it that this page is true ([testing.md](testing.md)). *Captured*: real programs made requests,
each of which was there once on each side, whole, with the right peer and both bodies; no request failed, the agent's ledger balanced, and
nothing else was a span.

*automatic* is what the agent takes by itself; the other tiers were asked for with `--tier`. *Refused*: the agent did not start, and
said why. `perf,fexit,for_each` on 6.1 is all that 5.15 has ([kernels.md](kernels.md)). *Under seccomp* is a server and a client
with a filter that ends them at the system call by which return probes come back from 6.11 on.

";

const RIGHTS: &str = "\n## Capabilities\n\nThe agent as user `nobody` with these capabilities and no others, and one request of curl to nginx, both of root, over TLS. \
*Captures*: both ends were there. *Refuses*: it did not start, and said which one is missing. *With a warning*: this kernel does not tell it of new mappings \
without `CAP_SYS_ADMIN` at its start, so that it looks for new programs every 5 s. Kernel 6.18 has more rows \
([security.md](security.md)).\n\n";

const TIMES: &str = "\n## Times\n\nWhen this page was written, in software emulation on two processors that other builds used too, two machines at a time:\n\n";

/// The lines that are compared.
fn lines(ran: &[Ran]) -> String {
    let mut text = "| kernel | of | tier |".to_owned();
    for stack in Stack::ALL {
        let _ = write!(text, " {} |", stack.name());
    }
    text += " under seccomp |\n|---|---|---|---|---|---|---|---|---|\n";
    for ran in ran {
        let start = format!("| {} | {} |", ran.kernel.name, ran.kernel.of);
        match ran.kernel.agent {
            Agent::Refuses { says } => {
                let said = said(ran, "", REFUSAL);
                let _ = writeln!(text, "{start} – | {said}: \"{says}\" |  |  |  |  |  |");
            }
            Agent::Captures {
                automatic,
                tiers,
                missing,
                ..
            } => {
                for tier in [AUTOMATIC].into_iter().chain(tiers.iter().copied()) {
                    let name = if tier == AUTOMATIC {
                        format!("{tier}: {automatic}")
                    } else {
                        tier.to_owned()
                    };
                    let _ = write!(text, "{start} {name} |");
                    for stack in Stack::ALL {
                        let cell = said(ran, tier, stack.name());
                        let _ = write!(text, " {cell} |");
                    }
                    let _ = writeln!(text, " {} |", said(ran, tier, SECCOMP));
                }
                for tier in missing {
                    let _ = writeln!(
                        text,
                        "{start} {tier} | {} |  |  |  |  |  |",
                        said(ran, tier, REFUSAL)
                    );
                }
            }
        }
    }
    text
}

/// What an agent of an unprivileged user does with sets of capabilities.
fn rights(ran: &[Ran]) -> String {
    let mut text = "| kernel | `kernel.perf_event_paranoid` | capabilities | tier of TLS calls | agent |\n|---|---|---|---|---|\n".to_owned();
    for ran in ran {
        let Agent::Captures { rights, .. } = ran.kernel.agent else {
            continue;
        };
        for calls in rights {
            for set in SETS {
                let (name, what) = (ran.kernel.name, set_name(set));
                let _ = writeln!(
                    text,
                    "| {name} | {} | {what} | {calls} | {} |",
                    ran.paranoid,
                    said(ran, calls, &what)
                );
            }
        }
    }
    text
}

/// What came of one thing.
fn said(ran: &Ran, tier: &str, what: &str) -> String {
    let found = ran
        .done
        .iter()
        .find(|done| done.tier == tier && done.what == what);
    match found.map(|done| &done.outcome) {
        Some(Outcome::Right(said)) => said.clone(),
        Some(Outcome::Wrong(_)) => "**wrong**".to_owned(),
        None => "**missing**".to_owned(),
    }
}

/// How long it took.
fn times(ran: &[Ran]) -> String {
    let mut text = "| kernel | package | to the suite | suite |\n|---|---|---|---|\n".to_owned();
    for ran in ran {
        let (boot, suite) = (ran.boot.as_secs_f64(), ran.suite.as_secs_f64());
        let name = ran.kernel.name;
        let _ = writeln!(
            text,
            "| {name} | {} | {boot:.1} s | {suite:.1} s |",
            ran.package
        );
    }
    text
}

/// For people, with the time of each thing.
pub fn table(ran: &[Ran]) -> String {
    let mut text = lines(ran) + "\n" + &rights(ran) + "\n" + &times(ran) + "\n";
    for ran in ran {
        for done in &ran.done {
            let _ = writeln!(
                text,
                "{} {} {}: {:.1} s",
                ran.kernel.name, done.tier, done.what, done.seconds
            );
        }
    }
    text
}

/// Compares the page with what ran, or writes it.
///
/// # Panics
/// Where the page says something else.
pub fn check(ran: &[Ran]) {
    let path = repository(PAGE);
    let (lines, rights) = (lines(ran), rights(ran));
    if std::env::var_os("PLAINSPAN_WRITE_MATRIX").is_some() {
        assert_eq!(
            ran.len(),
            KERNELS.len(),
            "the page is written from a run of all kernels"
        );
        std::fs::write(
            &path,
            HEAD.to_owned() + &lines + RIGHTS + &rights + TIMES + &times(ran),
        )
        .expect("write the page");
        return;
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page.starts_with(HEAD),
        "{PAGE} begins with something else: run again with PLAINSPAN_WRITE_MATRIX=1"
    );
    let missing: Vec<&str> = lines
        .lines()
        .chain(rights.lines())
        .filter(|line| !page.lines().any(|l| l == *line))
        .collect();
    assert!(
        missing.is_empty(),
        "{PAGE} does not have\n{}\nRun again with PLAINSPAN_WRITE_MATRIX=1",
        missing.join("\n")
    );
}
