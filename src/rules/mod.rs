//! Capture level: how much of a transaction is kept.
//!
//! Enters: a raw transaction with its process. Leaves: its [`Level`], and the name of the rule that decided.
//! Holds: pure; the same transaction and policy give the same level.
//!
//! [`expr`] is the rule language, over the [`facts`] of a transaction; a [`Ruleset`] is the ordered list of a plugin's
//! rules: the first that applies decides, else the plugin's default level.

pub mod described;
pub mod expr;
pub mod facts;
pub mod filter;
#[cfg(test)]
mod properties;
mod ruleset;
#[cfg(test)]
pub(crate) mod sample;

pub use facts::{Early, TransactionFacts};
pub use filter::Filter;
pub use ruleset::{Rule, RulesError, Ruleset, Verdict};

/// How much of a transaction is kept. Ordered: each level keeps all that the one before it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing leaves; it is only counted.
    None,
    /// Who, what, when and the outcome, without headers.
    Summary,
    /// Summary and headers. `details` in a configuration means the same.
    Headers,
    /// Headers and bodies.
    Full,
}

impl Level {
    /// The word that configuration, attributes and docs use.
    pub fn name(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Summary => "summary",
            Level::Headers => "headers",
            Level::Full => "full",
        }
    }

    /// Reads a level; `details` is [`Level::Headers`].
    pub fn parse(text: &str) -> Option<Level> {
        match text {
            "none" => Some(Level::None),
            "summary" => Some(Level::Summary),
            "headers" | "details" => Some(Level::Headers),
            "full" => Some(Level::Full),
            _ => None,
        }
    }
}

/// A level and what decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub level: Level,
    /// Name of the rule; None: the stack's default level.
    pub rule: Option<std::sync::Arc<str>>,
}
