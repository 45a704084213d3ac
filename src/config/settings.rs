//! What the tables made of a file: every key with its value and where the value comes from.

use super::model::Secret;
use super::table::Choices;
use super::tree::Mark;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Number(u64),
    Text(String),
    Duration(Duration),
    Size(u64),
    Secret(Secret),
    List(Vec<Setting>),
    /// Free keys.
    Map(Vec<(String, Setting)>),
    Section(Fields),
    /// Of a key that is not looked into.
    Unread,
}

/// A value, its place and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub value: Value,
    /// Of the value; nowhere for a default.
    pub mark: Mark,
}

/// The settings of one section, in the order of its table; keys without value and default are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fields {
    /// Name of the section's table.
    pub section: &'static str,
    /// The type of a tagged section.
    pub kind: &'static str,
    /// Where the section stands; nowhere when it is not in the file.
    pub mark: Mark,
    pub entries: Vec<(&'static str, Setting)>,
    /// Keys that are in the file, with a right value or a wrong one.
    pub written: Vec<&'static str>,
}

impl Fields {
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.entries
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, setting)| setting)
    }

    /// Where the value stands; where the section does, when the value is a default.
    pub fn mark(&self, key: &str) -> Mark {
        self.get(key)
            .map(|s| s.mark)
            .filter(|m| m.line > 0)
            .unwrap_or(self.mark)
    }

    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)?.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)?.value {
            Value::Number(value) => Some(value),
            _ => None,
        }
    }

    pub fn size(&self, key: &str) -> Option<u64> {
        match self.get(key)?.value {
            Value::Size(value) => Some(value),
            _ => None,
        }
    }

    pub fn duration(&self, key: &str) -> Option<Duration> {
        match self.get(key)?.value {
            Value::Duration(value) => Some(value),
            _ => None,
        }
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.value.text()
    }

    pub fn secret(&self, key: &str) -> Option<&Secret> {
        match &self.get(key)?.value {
            Value::Secret(value) => Some(value),
            _ => None,
        }
    }

    /// What the word of a choice means.
    pub fn choice<T: Copy>(&self, key: &str, choices: &Choices<T>) -> Option<T> {
        choices.get(self.text(key)?)
    }

    pub fn list(&self, key: &str) -> &[Setting] {
        match self.get(key).map(|s| &s.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    pub fn map(&self, key: &str) -> &[(String, Setting)] {
        match self.get(key).map(|s| &s.value) {
            Some(Value::Map(entries)) => entries,
            _ => &[],
        }
    }

    pub fn section(&self, key: &str) -> Option<&Fields> {
        self.get(key)?.value.section()
    }

    /// The texts of a list.
    pub fn texts<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.list(key).iter().filter_map(|s| s.value.text())
    }

    /// The sections of a list.
    pub fn sections(&self, key: &str) -> impl Iterator<Item = &Fields> {
        self.list(key).iter().filter_map(|s| s.value.section())
    }
}

impl Value {
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn section(&self) -> Option<&Fields> {
        match self {
            Value::Section(fields) => Some(fields),
            _ => None,
        }
    }
}
