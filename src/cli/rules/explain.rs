//! Which rule decided, and why.

use super::routes::{Plugin, Route};
use super::shown;
use crate::config::Macro;
use crate::rules::expr::{Facts, Part, Step};
use crate::rules::{Rule, Verdict};
use std::fmt::Write as _;

impl Route<'_> {
    /// Adds the stack, and for each of its plugins the level, the rules up to the one that decides, and the part of that
    /// one that did.
    pub fn explain(&self, macros: &[Macro], out: &mut String) {
        // Writing to a `String` cannot fail, here and below.
        let _always = match self.stack() {
            Some(name) => writeln!(out, "stack `{}`", shown(name)),
            None => writeln!(out, "no stack: nothing of it is captured"),
        };
        for plugin in self.plugins() {
            plugin.explain(macros, &self.facts(), out);
        }
    }
}

impl Plugin {
    fn explain(&self, macros: &[Macro], facts: &dyn Facts, out: &mut String) {
        let verdicts = self.rules.explain(facts);
        let decided = verdicts.iter().find(|verdict| verdict.decides);
        let level = decided.map_or(self.rules.default_level(), |verdict| verdict.rule.level);
        let by = match decided {
            Some(verdict) => format!("by `{}`", shown(&verdict.rule.name)),
            None => "by default: no rule applies".to_owned(),
        };
        let _always = writeln!(out, "{}: level {}, {by}", self.name, level.name());
        for verdict in &verdicts {
            explain(verdict, macros, facts, out);
        }
    }
}

fn explain(verdict: &Verdict<'_>, macros: &[Macro], facts: &dyn Facts, out: &mut String) {
    let rule = verdict.rule;
    let outcome = verdict.outcome.describe();
    let _always = writeln!(out, "  `{}` is {outcome}", shown(&rule.name));
    for step in rule.program.steps(facts) {
        explain_step(&step, rule, macros, out);
    }
    if verdict.decides {
        let part = text(macros, rule, &rule.program.cause(facts));
        let _always = writeln!(out, "  decided by: {}", shown(&part));
    }
}

fn explain_step(step: &Step, rule: &Rule, macros: &[Macro], out: &mut String) {
    let part = text(macros, rule, &step.part);
    let indent = "  ".repeat(step.depth + 2);
    let outcome = step.outcome.describe();
    let _always = write!(out, "{indent}{outcome:8} {}", shown(&part));
    for (i, (field, value)) in step.values.iter().enumerate() {
        let between = if i == 0 { "   -- " } else { ", " };
        let _always = write!(out, "{between}{field} is {}", shown(value));
    }
    out.push('\n');
}

/// The text of a part of a rule, in one line; with the macro that it stands in.
fn text(macros: &[Macro], rule: &Rule, part: &Part) -> String {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match &part.source {
        None => one_line(part.span.of(&rule.text)),
        Some(name) => {
            let found = macros.iter().find(|m| m.name == **name);
            let text = found.map_or("", |m| m.expr.as_str());
            format!("{} (in `{name}`)", one_line(part.span.of(text)))
        }
    }
}
