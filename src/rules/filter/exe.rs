//! Patterns of executables, by QTap's five strategies.

use super::FilterError;
use crate::config::{ExeMatch, ExeStrategy};

/// A pattern of an executable's path.
pub(super) enum Exe {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(regex::Regex),
}

impl Exe {
    pub fn new(pattern: &ExeMatch) -> Result<Exe, FilterError> {
        let text = pattern.exe.clone();
        Ok(match pattern.strategy {
            ExeStrategy::Exact => Exe::Exact(text),
            ExeStrategy::Prefix => Exe::Prefix(text),
            ExeStrategy::Suffix => Exe::Suffix(text),
            ExeStrategy::Contains => Exe::Contains(text),
            ExeStrategy::Regex => {
                Exe::Regex(
                    regex::Regex::new(&text).map_err(|source| FilterError::Regex {
                        pattern: text,
                        source: Box::new(source),
                    })?,
                )
            }
        })
    }

    pub fn matches(&self, exe: &str) -> bool {
        match self {
            Exe::Exact(text) => exe == text,
            Exe::Prefix(text) => exe.starts_with(text.as_str()),
            Exe::Suffix(text) => exe.ends_with(text.as_str()),
            Exe::Contains(text) => exe.contains(text.as_str()),
            Exe::Regex(regex) => regex.is_match(exe),
        }
    }
}

pub(super) fn exes(patterns: &[ExeMatch]) -> Result<Vec<Exe>, FilterError> {
    patterns.iter().map(Exe::new).collect()
}
