//! What fifty rules cost a transaction, beside the same rules in CEL (the `cel` crate): run with `make bench`.
//!
//! Every rule is evaluated, as where none but the last applies. Both are measured in turns, in one run, so that what
//! else the machine does weighs on both; medians are shown. Before that, both have to agree on every rule and every
//! transaction. CEL is shown twice: on variables that are there already, and with making them of the transaction, which
//! ours, reading the transaction itself, includes. The crate compiles a regular expression whenever it is evaluated, so
//! rules without one are shown alone too.

mod facts;
mod table;

use cel::{Context, Env, Program, Value};
use plainspan::rules::described::Described;
use plainspan::rules::expr::{Buffers, Macros};
use plainspan::rules::{Level, Rule, TransactionFacts};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::{PATTERNS_FROM, RULES, TRANSACTIONS};

/// Turns of each side.
const TURNS: usize = 101;
/// Evaluations of all rules in one turn.
const ROUNDS: u32 = 200;

fn main() {
    let transactions = TRANSACTIONS.map(described);
    let bench = Bench::new();
    for transaction in &transactions {
        bench.must_agree(&facts(transaction));
    }
    println!("rules, microseconds a transaction, median of {TURNS} turns:");
    for (name, rules) in [
        ("50 rules", 0..RULES.len()),
        ("the 45 without a regular expression", 0..PATTERNS_FROM),
        ("the 5 with one", PATTERNS_FROM..RULES.len()),
    ] {
        for (number, transaction) in transactions.iter().enumerate() {
            let row = bench.measure(&facts(transaction), rules.clone());
            println!("  {name}, transaction {}: {row}", number + 1);
        }
    }
}

fn described(text: &str) -> Described {
    let value = serde_json::from_str(text).expect("the table holds JSON");
    Described::new(&value).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn facts(described: &Described) -> TransactionFacts<'_> {
    TransactionFacts {
        transaction: &described.transaction,
        process: &described.process,
    }
}

/// The rules of both sides, compiled.
struct Bench {
    ours: Vec<Rule>,
    cel: Vec<Program>,
    env: Arc<Env>,
}

/// Medians.
struct Row {
    ours: Duration,
    cel: Duration,
    cel_with_variables: Duration,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let ratio = |time: Duration| time.as_secs_f64() / self.ours.as_secs_f64();
        write!(
            f,
            "ours {:.2}; cel {:.2} ({:.1} times); cel with its variables {:.2} ({:.1} times)",
            micros(self.ours),
            micros(self.cel),
            ratio(self.cel),
            micros(self.cel_with_variables),
            ratio(self.cel_with_variables),
        )
    }
}

impl Bench {
    fn new() -> Bench {
        let env = Arc::new(Env::stdlib());
        let ours = RULES.iter().enumerate().map(|(index, (text, _))| {
            Rule::new(index, None, text, Level::Full, &Macros::default()).unwrap_or_else(|faults| {
                panic!(
                    "{}",
                    faults.iter().map(|f| f.render(text)).collect::<String>()
                )
            })
        });
        let cel = RULES.iter().map(|(_, text)| {
            env.compile(text)
                .unwrap_or_else(|error| panic!("{text}: {error}"))
        });
        Bench {
            ours: ours.collect(),
            cel: cel.collect(),
            env: env.clone(),
        }
    }

    fn context(&self, facts: &TransactionFacts<'_>) -> Context<'static, 'static> {
        let mut context = Context::with_env(self.env.clone());
        for (name, value) in facts::variables(facts) {
            context.add_variable_from_value(name, value);
        }
        context
    }

    /// Both sides say the same of each rule, or there is nothing to compare.
    fn must_agree(&self, facts: &TransactionFacts<'_>) {
        let context = self.context(facts);
        let mut buffers = Buffers::default();
        for ((ours, cel), (text, _)) in self.ours.iter().zip(&self.cel).zip(RULES) {
            let ours = ours.program.evaluate(facts, &mut buffers).is_true();
            let result = cel.execute(&context);
            assert_eq!(
                ours,
                result == Ok(Value::Bool(true)),
                "{text}: CEL says {result:?}"
            );
        }
    }

    fn measure(&self, facts: &TransactionFacts<'_>, rules: std::ops::Range<usize>) -> Row {
        let ours = &self.ours[rules.clone()];
        let cel = &self.cel[rules];
        let mut buffers = Buffers::default();
        let mut times = [const { Vec::new() }; 3];
        let prepared = self.context(facts);
        // The first turn warms up.
        for turn in 0..=TURNS {
            let turns = [
                timed(|| {
                    let applies =
                        |rule: &&Rule| rule.program.evaluate(facts, &mut buffers).is_true();
                    ours.iter().filter(applies).count()
                }),
                timed(|| applying(cel, &prepared)),
                timed(|| applying(cel, &self.context(facts))),
            ];
            if turn > 0 {
                times
                    .iter_mut()
                    .zip(turns)
                    .for_each(|(all, one)| all.push(one));
            }
        }
        let [ours, cel, cel_with_variables] = times.map(median);
        Row {
            ours,
            cel,
            cel_with_variables,
        }
    }
}

/// How many of `programs` are true.
fn applying(programs: &[Program], context: &Context<'_, '_>) -> usize {
    let applies = |program: &&Program| matches!(program.execute(context), Ok(Value::Bool(true)));
    programs.iter().filter(applies).count()
}

/// The time of one call, over [`ROUNDS`] calls.
fn timed(mut call: impl FnMut() -> usize) -> Duration {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(call());
    }
    start.elapsed() / ROUNDS
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
