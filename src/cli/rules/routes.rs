//! Which stack a described transaction goes through, with the rules of that stack's plugins.

use crate::config::{Config, PrivateRanges, Stack};
use crate::pipeline::{Choice, Plugins, Stacks};
use crate::rules::described::Described;
use crate::rules::{RulesError, Ruleset, TransactionFacts};

/// The rules of a plugin, compiled.
pub(super) struct Plugin {
    pub name: &'static str,
    pub rules: Ruleset,
}

/// A stack of the configuration, as far as rules go.
struct Named {
    name: String,
    plugins: Vec<Plugin>,
}

/// All stacks of a configuration, and the agent's own choice among them.
pub(super) struct Routes {
    choice: Stacks,
    general: Option<Named>,
    /// In the order in which `choice` knows them.
    others: Vec<Named>,
    private: PrivateRanges,
}

/// A transaction on its way through a stack.
pub(super) struct Route<'a> {
    described: Described,
    stack: Option<&'a Named>,
}

impl Routes {
    /// # Errors
    /// The first rule that cannot be used.
    pub fn new(config: &Config) -> Result<Routes, RulesError> {
        let mut general = None;
        let mut others = Vec::new();
        for (name, stack) in &config.stacks {
            let named = Named {
                name: name.clone(),
                plugins: plugins(config, stack)?,
            };
            match config.tap.http_stack.as_ref() == Some(name) {
                true => general = Some(named),
                false => others.push(named),
            }
        }
        let names = others
            .iter()
            .map(|stack| (stack.name.clone(), Plugins::default()));
        Ok(Routes {
            choice: Stacks::new(&config.tap, names.collect()),
            general,
            others,
            private: config.tap.private_ranges.clone(),
        })
    }

    /// The way of a transaction, with the networks that the configuration says are internal.
    pub fn of(&self, mut described: Described) -> Route<'_> {
        described.process.identity.private = self.private.clone();
        let choice = self
            .choice
            .choose(&described.transaction, &described.process);
        let stack = match choice {
            Choice::General => self.general.as_ref(),
            Choice::Other(index) => self.others.get(index),
            Choice::Nothing => None,
        };
        Route { described, stack }
    }
}

impl Route<'_> {
    /// The stack's name; None: nothing of the transaction is captured.
    pub fn stack(&self) -> Option<&str> {
        self.stack.map(|stack| &*stack.name)
    }

    pub fn plugins(&self) -> &[Plugin] {
        self.stack.map_or(&[], |stack| &stack.plugins)
    }

    pub fn facts(&self) -> TransactionFacts<'_> {
        TransactionFacts {
            transaction: &self.described.transaction,
            process: &self.described.process,
        }
    }
}

fn plugins(config: &Config, stack: &Stack) -> Result<Vec<Plugin>, RulesError> {
    let capture = stack.http_capture.as_ref();
    let capture = capture.map(|capture| ("http_capture", capture.level, &capture.rules));
    let access = stack.access_logs.as_ref();
    let access = access.map(|access| ("access_logs", access.mode, &access.rules));
    let compile = |(name, level, rules): (_, _, &Vec<_>)| {
        let rules = Ruleset::compile(level, rules, &config.macros)?;
        Ok(Plugin { name, rules })
    };
    capture.into_iter().chain(access).map(compile).collect()
}
