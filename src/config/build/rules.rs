//! Rules and macros: read, checked, and looked at for what is hardly meant.

use super::Builder;
use crate::config::inside::locate;
use crate::config::model::{Macro, Ratio, Rule, RuleLimits, Sample};
use crate::config::problem::quote;
use crate::config::schema::LEVELS;
use crate::config::settings::{Fields, Setting};
use crate::config::text;
use crate::config::tree::Mark;
use crate::rules::expr::{Fault, Program, Span, lint, parse};
use crate::rules::{Level, Rule as Compiled, Ruleset};
use std::collections::BTreeMap;

impl Builder<'_> {
    /// Takes the macros in, for the rules that come after.
    pub(super) fn macros(&mut self, root: &Fields) -> Vec<Macro> {
        let none = Fields::default();
        let sections = root.section("rulekit").unwrap_or(&none).sections("macros");
        let written: Vec<(&Fields, &str, &str)> = sections
            .filter_map(|fields| Some((fields, fields.text("name")?, fields.text("expr")?)))
            .collect();
        for (fields, name, expr) in &written {
            if let Err(problem) = self.macros.add(name, expr) {
                self.problems.error(fields.mark("name"), problem);
            }
        }
        // All names are known now: a macro may call one that comes after it.
        let mut seen: Vec<&str> = Vec::new();
        for (fields, name, expr) in &written {
            if seen.contains(name) {
                continue;
            }
            seen.push(name);
            let mut faults = self.macros.check(name);
            if let Ok(parsed) = parse(expr) {
                faults.extend(lint::of_text(expr, &parsed));
            }
            self.faults(fields.get("expr"), expr, &faults);
        }
        let as_model = |(_, name, expr): (&Fields, &str, &str)| Macro {
            name: name.to_owned(),
            expr: expr.to_owned(),
        };
        written.into_iter().map(as_model).collect()
    }

    /// The rules of a plugin; `level`: the key of a rule that says what it gives.
    pub(super) fn rules(&mut self, config: &Fields, level: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        let default = config.choice(level, &LEVELS).unwrap_or(Level::None);
        let mut programs: Vec<(Program, Mark, String)> = Vec::new();
        for (index, fields) in config.sections("rules").enumerate() {
            let Some(expr) = fields.text("expr") else {
                continue;
            };
            let name = fields.text("name").filter(|name| !name.is_empty());
            self.payload_format(fields);
            let called = name.map_or_else(|| Compiled::called(index, None), quote);
            if let Some(program) = self.rule(fields.get("expr"), expr) {
                let gives = fields.choice(level, &LEVELS).unwrap_or(default);
                if gives < default && program.asks_for_unknown() {
                    self.leaks(&called, fields.mark("expr"));
                }
                if !program.never().iter().any(|never| never.whole) {
                    programs.push((program, fields.mark("expr"), called));
                }
            }
            if let Some(level) = fields.choice(level, &LEVELS) {
                rules.push(Rule {
                    name: name.map(str::to_owned),
                    expr: expr.to_owned(),
                    level,
                });
            }
        }
        self.shadowed(&programs);
        rules
    }

    /// What rules decide beside the level, by name.
    pub(super) fn by_rule(&mut self, config: &Fields) -> BTreeMap<String, RuleLimits> {
        let rules: Vec<(String, &Fields)> = config
            .sections("rules")
            .enumerate()
            .map(|(index, fields)| {
                let name = fields.text("name").filter(|name| !name.is_empty());
                (Compiled::called(index, name), fields)
            })
            .collect();
        let mut limits = BTreeMap::new();
        for (name, fields) in &rules {
            let own = RuleLimits {
                ratio: fields.text("ratio").and_then(|t| text::share(t).ok()),
                max_bytes: fields
                    .size("max_bytes")
                    .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            };
            if own == RuleLimits::default() {
                continue;
            }
            if rules.iter().filter(|(other, _)| other == name).count() > 1 {
                let message = format!(
                    "{} has `ratio` or `max_bytes`, and is not the only rule of its name",
                    quote(name)
                );
                self.problems
                    .error(fields.mark("name"), message)
                    .hint("give each rule a name of its own");
            }
            limits.insert(name.clone(), own);
        }
        limits
    }

    /// `sample`, its expressions checked.
    pub(super) fn sample(&mut self, fields: &Fields) -> Sample {
        for setting in fields.list("keep") {
            if let Some(expr) = setting.value.text() {
                self.rule(Some(setting), expr);
            }
        }
        let rate = |key| fields.text(key).and_then(|t| text::rate(t).ok()).flatten();
        Sample {
            ratio: fields
                .text("ratio")
                .and_then(|t| text::share(t).ok())
                .unwrap_or(Ratio::ALL),
            per_endpoint: rate("per_endpoint"),
            per_process: rate("per_process"),
            keep: fields.texts("keep").map(str::to_owned).collect(),
        }
    }

    fn rule(&mut self, setting: Option<&Setting>, expr: &str) -> Option<Program> {
        let parsed = match parse(expr) {
            Ok(parsed) => parsed,
            Err(fault) => {
                self.faults(setting, expr, &[fault]);
                return None;
            }
        };
        let mut faults = lint::of_text(expr, &parsed);
        let program = Program::new(&parsed, &self.macros, &mut faults);
        self.faults(setting, expr, &faults);
        let program = program?;
        for never in program.never() {
            // What stands in a macro is said at the rule: another rule may use it with better reason.
            let (span, reason) = match never.source {
                None => (never.span, never.reason),
                Some(name) => (
                    parsed.span,
                    format!("in the macro `{name}`: {}", never.reason),
                ),
            };
            let reason = match never.whole {
                true => format!("the rule never applies: {reason}"),
                false => reason,
            };
            self.faults(setting, expr, &[Fault::warning(span, reason)]);
        }
        Some(program)
    }

    /// A rule that lowers the level protects something: to go on without what it asks for would leak.
    fn leaks(&mut self, called: &str, mark: Mark) {
        let message = format!(
            "{called} lowers the level by what this version does not know: more would be kept than the file asks for"
        );
        self.problems
            .error(mark, message)
            .hint("lower the plugin's own level, or say it with other fields");
    }

    fn shadowed(&mut self, programs: &[(Program, Mark, String)]) {
        let list: Vec<(&Program, usize)> = programs
            .iter()
            .enumerate()
            .map(|(i, p)| (&p.0, i))
            .collect();
        for (later, earlier) in Ruleset::shadowed(&list) {
            if let (Some((_, mark, name)), Some((_, _, before))) =
                (programs.get(later), programs.get(earlier))
            {
                let message = format!(
                    "{name} never decides: whatever it applies to, {before} takes before it"
                );
                self.problems
                    .warn(*mark, message)
                    .hint(format!("put it before {before}, or remove it"));
            }
        }
    }

    /// Reports faults of an expression where they stand in the file.
    fn faults(&mut self, setting: Option<&Setting>, text: &str, faults: &[Fault]) {
        let scalar = setting.map(|setting| setting.mark).unwrap_or_default();
        for fault in faults {
            let mark = match scalar.line {
                0 => scalar,
                _ => locate(
                    self.text,
                    scalar,
                    text,
                    Span::new(fault.span.start, fault.span.end),
                ),
            };
            let problem = match fault.warning {
                true => self.problems.warn(mark, fault.message.clone()),
                false => self.problems.error(mark, fault.message.clone()),
            };
            if let Some(hint) = &fault.hint {
                problem.hint(hint.clone());
            }
        }
    }
}
