//! What is expected of rules, as it stands beside a configuration.

use super::routes::Route;
use super::{RulesCommandError, describe};
use crate::pipeline::NO_STACK;
use crate::rules::described::Described;
use crate::rules::expr::Buffers;
use crate::rules::{Decision, Level};
use serde::Deserialize;
use std::path::Path;

/// A transaction and what is expected of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectation {
    pub name: String,
    transaction: serde_json::Value,
    /// `none`: it goes through none.
    stack: Option<String>,
    level: Option<String>,
    /// Empty: none.
    rule: Option<String>,
    mode: Option<String>,
}

/// Reads the file of expectations.
pub(super) fn read(path: &Path) -> Result<Vec<Expectation>, RulesCommandError> {
    let format = |reason: String| RulesCommandError::Format {
        path: path.to_owned(),
        what: "a list of {name, transaction, stack, level, rule, mode}",
        reason,
    };
    let text = super::read(path)?;
    let expectations: Vec<Expectation> =
        serde_yaml::from_str(&text).map_err(|error| format(error.to_string()))?;
    if expectations.is_empty() {
        return Err(format("it expects nothing".to_owned()));
    }
    for expectation in &expectations {
        let expects = [&expectation.level, &expectation.mode];
        if let Some(word) = expects
            .into_iter()
            .flatten()
            .find(|word| Level::parse(word).is_none())
        {
            return Err(format(format!(
                "`{}`: `{word}` is no level",
                expectation.name
            )));
        }
        let names = [&expectation.rule, &expectation.stack];
        if expects.into_iter().chain(names).all(Option::is_none) {
            return Err(format(format!(
                "`{}` expects nothing: give it stack, level, rule or mode",
                expectation.name
            )));
        }
    }
    Ok(expectations)
}

impl Expectation {
    /// The transaction, given here or in a file `beside` the expectations.
    pub fn describe(&self, beside: &Path) -> Result<Described, RulesCommandError> {
        match &self.transaction {
            serde_json::Value::String(file) => describe(&beside.with_file_name(file)),
            value => Described::new(value).map_err(|error| RulesCommandError::Expectation {
                name: self.name.clone(),
                error,
            }),
        }
    }

    /// What is not as expected.
    pub fn faults(&self, route: &Route<'_>) -> Vec<String> {
        let mut faults = Vec::new();
        let found = route.stack().unwrap_or(NO_STACK);
        if let Some(stack) = self.stack.as_deref().filter(|stack| *stack != found) {
            faults.push(format!("it goes through stack `{found}`, not `{stack}`"));
        }
        let asked = [
            ("level", "http_capture", &self.level, &self.rule),
            ("mode", "access_logs", &self.mode, &None),
        ];
        for (what, plugin, level, rule) in asked {
            if level.is_none() && rule.is_none() {
                continue;
            }
            let Some(decision) = decide(route, plugin) else {
                faults.push(format!("the stack has no {plugin}"));
                continue;
            };
            let other_level = |level: &&String| Level::parse(level) != Some(decision.level);
            if let Some(level) = level.as_ref().filter(other_level) {
                faults.push(format!("{what} {}, not {level}", decision.level.name()));
            }
            let found = decision.rule.as_deref().unwrap_or_default();
            if let Some(rule) = rule.as_ref().filter(|rule| *rule != found) {
                let (found, rule) = (named(found), named(rule));
                faults.push(format!("{found} decides, not {rule}"));
            }
        }
        faults
    }
}

/// What a plugin makes of a transaction; None: its stack has no such plugin.
fn decide(route: &Route<'_>, plugin: &str) -> Option<Decision> {
    if route.stack().is_none() {
        return Some(Decision {
            level: Level::None,
            rule: None,
        });
    }
    let plugin = route.plugins().iter().find(|p| p.name == plugin)?;
    Some(plugin.rules.decide(&route.facts(), &mut Buffers::default()))
}

fn named(rule: &str) -> String {
    match rule {
        "" => "no rule".to_owned(),
        rule => format!("rule `{rule}`"),
    }
}
