//! What a viewer asks for, and why it does not get it.

use crate::rules::expr::{Fault, Macros, Program};
use serde::{Deserialize, Serialize};

/// What a viewer wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// Version of the viewer's protocol.
    pub version: u32,
    /// An expression of the rule language; empty: everything.
    pub filter: String,
    /// Also those of the last minutes that are still there.
    pub recent: bool,
}

/// Why a viewer sees nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Of many lines where it shows an expression.
    pub reason: String,
    /// Of the filter's first fault: its first character, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl Refused {
    pub(super) fn because(reason: impl Into<String>) -> Refused {
        Refused {
            reason: reason.into(),
            column: None,
        }
    }
}

/// Compiles a filter; None: everything fits.
pub(super) fn compile(text: &str, macros: &Macros) -> Result<Option<Program>, Refused> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let (program, _) = Program::compile(text, macros).map_err(|faults| refused(text, &faults))?;
    // Their values are shown nowhere: to ask for them piece by piece would show them.
    if let Some(name) = program.variables().first() {
        return Err(Refused::because(format!(
            "a filter cannot ask for the environment of processes (`{name}`)"
        )));
    }
    Ok(Some(program))
}

fn refused(text: &str, faults: &[Fault]) -> Refused {
    let errors = || faults.iter().filter(|fault| !fault.warning);
    let shown = |fault: &Fault| {
        let column = fault.column(text);
        format!("column {column}: {}", fault.render(text))
    };
    let reason: String = match errors().next() {
        Some(_) => errors().map(shown).collect(),
        // A macro's own text is at fault.
        None => "a macro that the filter calls cannot be used".to_owned(),
    };
    Refused {
        reason: reason.trim_end().to_owned(),
        column: errors().next().map(|fault| fault.column(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_shown_with_its_column_and_a_caret() {
        let refused = compile("http.res.status >== 500", &Macros::default()).expect_err("a fault");
        assert_eq!(refused.column, Some(19), "{}", refused.reason);
        assert!(
            refused.reason.starts_with("column 19: error: "),
            "{}",
            refused.reason
        );
        assert!(refused.reason.contains('^'), "{}", refused.reason);
    }

    #[test]
    fn an_unknown_field_names_the_nearest_one() {
        let refused = compile("http.res.stats >= 500", &Macros::default()).expect_err("no field");
        assert!(
            refused.reason.contains("http.res.status"),
            "{}",
            refused.reason
        );
    }

    #[test]
    fn a_filter_calls_macros_of_the_configuration() {
        let mut macros = Macros::default();
        macros
            .add("failed", "http.res.status >= 500")
            .expect("a macro");
        assert!(compile("failed()", &macros).expect("a filter").is_some());
        compile("failed()", &Macros::default()).expect_err("there is none");
    }

    #[test]
    fn nothing_to_ask_for_is_no_filter() {
        assert!(compile("  ", &Macros::default()).expect("none").is_none());
    }

    #[test]
    fn the_environment_of_processes_cannot_be_asked_for() {
        let refused = compile("src.process.env.TOKEN == \"a\"", &Macros::default());
        let refused = refused.expect_err("values that nobody is shown");
        assert!(refused.reason.contains("environment"), "{}", refused.reason);
    }
}
