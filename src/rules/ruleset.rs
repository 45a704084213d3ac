//! The rules of one plugin: an ordered list, the first that applies decides.

use super::expr::{Buffers, Facts, Fault, Known, Macros, Program, Truths};
use super::{Decision, Level};
use std::sync::Arc;

/// Rules, and the level of what none of them applies to.
#[derive(Debug, Clone)]
pub struct Ruleset {
    rules: Arc<[Rule]>,
    default: Level,
}

/// An expression and the level that it gives.
#[derive(Debug, Clone)]
pub struct Rule {
    /// As spans show it; `rule 2` where the configuration gives none.
    pub name: Arc<str>,
    /// The expression as written.
    pub text: Arc<str>,
    pub level: Level,
    pub program: Program,
}

/// What became of a rule, for explanations.
#[derive(Debug, Clone)]
pub struct Verdict<'a> {
    pub rule: &'a Rule,
    pub outcome: Truths,
    /// The rule that decides.
    pub decides: bool,
}

impl Rule {
    /// What the rule at place `index` (from 0) of its list is called: limits of its own are found by it.
    pub fn called(index: usize, name: Option<&str>) -> String {
        name.map_or_else(|| format!("rule {}", index + 1), str::to_owned)
    }

    /// Compiles the rule at place `index` (from 0) of its list.
    ///
    /// # Errors
    /// Everything that is wrong with the expression.
    pub fn new(
        index: usize,
        name: Option<&str>,
        text: &str,
        level: Level,
        macros: &Macros,
    ) -> Result<Rule, Vec<Fault>> {
        let (program, _) = Program::compile(text, macros)?;
        Ok(Rule {
            name: Rule::called(index, name).into(),
            text: text.into(),
            level,
            program,
        })
    }
}

impl Ruleset {
    pub fn new(default: Level, rules: Vec<Rule>) -> Ruleset {
        Ruleset {
            rules: rules.into(),
            default,
        }
    }

    /// Names of the environment's variables that the rules ask for.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        self.rules.iter().flat_map(|rule| rule.program.variables())
    }

    /// Compiles the rules of a configuration that has been checked.
    ///
    /// # Errors
    /// Name and faults of the first rule that cannot be used.
    pub fn compile(
        default: Level,
        rules: &[crate::config::Rule],
        macros: &[crate::config::Macro],
    ) -> Result<Ruleset, RulesError> {
        let mut known = Macros::default();
        for one in macros {
            known
                .add(&one.name, &one.expr)
                .map_err(|reason| RulesError {
                    rule: one.name.clone(),
                    reason,
                })?;
        }
        let compiled = rules.iter().enumerate().map(|(index, rule)| {
            let name = rule.name.as_deref();
            let unusable = |faults: Vec<Fault>| RulesError {
                rule: Rule::called(index, name),
                reason: faults.iter().map(|f| f.render(&rule.expr)).collect(),
            };
            Rule::new(index, name, &rule.expr, rule.level, &known).map_err(unusable)
        });
        Ok(Ruleset::new(default, compiled.collect::<Result<_, _>>()?))
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The level of what no rule applies to.
    pub fn default_level(&self) -> Level {
        self.default
    }

    /// The level of a transaction of which everything is known.
    pub fn decide(&self, facts: &dyn Facts, buffers: &mut Buffers) -> Decision {
        let applies = |rule: &&Rule| rule.program.evaluate(facts, buffers).is_true();
        match self.rules.iter().find(applies) {
            Some(rule) => Decision {
                level: rule.level,
                rule: Some(rule.name.clone()),
            },
            None => Decision {
                level: self.default,
                rule: None,
            },
        }
    }

    /// The highest level that can still come out, whatever the facts that are not known yet turn out to be.
    pub fn upper_bound(&self, facts: &dyn Facts, buffers: &mut Buffers) -> Level {
        let mut bound = Level::None;
        for rule in self.rules.iter() {
            let outcome = rule.program.evaluate(facts, buffers);
            if outcome.may_be_true() {
                bound = bound.max(rule.level);
            }
            // What comes after a rule that applies for sure decides nothing.
            if outcome.is_true() {
                return bound;
            }
        }
        bound.max(self.default)
    }

    /// The lowest level that can still come out, whatever the facts that are not known yet turn out to be.
    pub fn lower_bound(&self, facts: &dyn Facts, buffers: &mut Buffers) -> Level {
        let mut bound = Level::Full;
        for rule in self.rules.iter() {
            let outcome = rule.program.evaluate(facts, buffers);
            if outcome.may_be_true() {
                bound = bound.min(rule.level);
            }
            if outcome.is_true() {
                return bound;
            }
        }
        bound.min(self.default)
    }

    /// The highest level that can come out for any transaction.
    pub fn highest(&self) -> Level {
        self.upper_bound(&super::expr::Presence::NotYet, &mut Buffers::default())
    }

    /// From when on everything is known that a rule asks for.
    pub fn known(&self) -> Known {
        self.rules
            .iter()
            .map(|rule| rule.program.known())
            .max()
            .unwrap_or(Known::Process)
    }

    /// Every rule with what became of it, up to the one that decides.
    pub fn explain(&self, facts: &dyn Facts) -> Vec<Verdict<'_>> {
        let mut buffers = Buffers::default();
        let mut verdicts = Vec::new();
        for rule in self.rules.iter() {
            let outcome = rule.program.evaluate(facts, &mut buffers);
            let decides = outcome.is_true();
            verdicts.push(Verdict {
                rule,
                outcome,
                decides,
            });
            if decides {
                break;
            }
        }
        verdicts
    }

    /// Rules that never decide, each with the rule before it that takes all that it applies to.
    pub fn shadowed(rules: &[(&Program, usize)]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (at, (later, index)) in rules.iter().enumerate() {
            let before = rules.get(..at).unwrap_or_default();
            if let Some((_, earlier)) = before
                .iter()
                .find(|(earlier, _)| earlier.is_always() || later.implies(earlier))
            {
                found.push((*index, *earlier));
            }
        }
        found
    }
}

/// A rule that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("rule `{rule}` cannot be used: {reason}")]
pub struct RulesError {
    rule: String,
    reason: String,
}
