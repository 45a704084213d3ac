//! What the configuration asks of processes.

use super::{STRATEGY_VARIABLE, TAGS_VARIABLE};
use crate::config::{PrivateRanges, TagRule, TagSource};
use std::collections::BTreeMap;

/// What is made of processes beyond what `/proc` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Attributes that every resource gets.
    pub resource: BTreeMap<String, String>,
    pub tags: Vec<TagRule>,
    /// Networks that are internal.
    pub private: PrivateRanges,
    /// Variables of the environment that are kept, for rules.
    pub variables: Vec<String>,
}

impl Wanted {
    /// All variables to be read, each once.
    pub(super) fn complete(mut self) -> Wanted {
        let of_tags = self.tags.iter().filter(|tag| tag.source == TagSource::Env);
        let of_tags: Vec<String> = of_tags.map(|tag| tag.location.clone()).collect();
        self.variables.extend(of_tags);
        let own = [STRATEGY_VARIABLE, TAGS_VARIABLE].map(str::to_owned);
        self.variables.extend(own);
        self.variables.sort();
        self.variables.dedup();
        self
    }
}
