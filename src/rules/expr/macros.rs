//! Named expressions that rules call.

use super::Fault;
use super::ast::Expr;
use super::check::{Checker, FUNCTIONS};
use super::parser::parse;
use std::sync::Arc;

/// Named expressions that others may call.
#[derive(Debug, Clone, Default)]
pub struct Macros(Vec<Macro>);

#[derive(Debug, Clone)]
pub(super) struct Macro {
    pub name: Arc<str>,
    pub text: Arc<str>,
    /// None: it cannot be read.
    pub expr: Option<Expr>,
}

impl Macros {
    /// Adds a macro. Faults of its text are for [`Macros::check`].
    ///
    /// # Errors
    /// When the name cannot be called, or is taken.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), String> {
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !begins || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(
                "a macro's name is letters, digits and `_`, and begins with none of the digits"
                    .to_owned(),
            );
        }
        if FUNCTIONS.iter().any(|(function, ..)| *function == name) {
            return Err(format!("`{name}` is the name of a function"));
        }
        if parse(&format!("{name}()")).is_err() {
            return Err(format!("`{name}` is a word of the language"));
        }
        if self.get(name).is_some() {
            return Err(format!("a second macro `{name}`"));
        }
        self.0.push(Macro {
            name: name.into(),
            text: text.into(),
            expr: parse(text).ok(),
        });
        Ok(())
    }

    /// All that is wrong with the text of macro `name`.
    pub fn check(&self, name: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        let Some(found) = self.get(name) else {
            return faults;
        };
        match parse(&found.text) {
            Ok(expr) => {
                let mut checker = Checker::new(self, &mut faults);
                checker.inside.push(found.name.clone());
                checker.node(&expr);
            }
            Err(fault) => faults.push(fault),
        }
        faults
    }

    /// The text of a macro.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|found| &*found.text)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|m| &*m.name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Macro> {
        self.0.iter().find(|m| &*m.name == name)
    }
}
