//! Every value in force and where it comes from, for `plainspan check --print`.

use super::problem::{MASK, escape, mask_user_info};
use super::settings::{Fields, Setting, Value};
use super::text::{show_duration, show_size};
use super::tree::Mark;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Line of the file, from 1.
    File(usize),
    /// Name of the variable.
    Environment(String),
    Default,
}

impl Origin {
    pub(super) fn of(mark: Mark) -> Self {
        if mark.line > 0 {
            Origin::File(mark.line)
        } else {
            Origin::Default
        }
    }
}

/// One value, as YAML; secrets are masked already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub path: String,
    pub value: String,
    pub origin: Origin,
}

/// All values of a configuration, in the order of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// Name of the configuration file.
    file: String,
    values: Vec<Source>,
}

impl Sources {
    pub(super) fn of(file: &str) -> Self {
        Sources {
            file: escape(file),
            values: Vec::new(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.values.iter()
    }

    pub(super) fn add(&mut self, path: String, value: String, origin: Origin) {
        self.values.push(Source {
            path: escape(&path),
            value: mask_user_info(&value),
            origin,
        });
    }

    pub(super) fn add_all(&mut self, fields: &Fields) {
        self.walk(String::new(), fields);
    }

    fn walk(&mut self, path: String, fields: &Fields) {
        for (name, setting) in &fields.entries {
            let path = if path.is_empty() {
                (*name).to_owned()
            } else {
                format!("{path}.{name}")
            };
            self.setting(path, setting);
        }
    }

    fn setting(&mut self, path: String, setting: &Setting) {
        let origin = Origin::of(setting.mark);
        match &setting.value {
            Value::Section(fields) => self.walk(path, fields),
            Value::List(items) if items.iter().any(|i| i.value.section().is_some()) => {
                let mut seen: Vec<&str> = Vec::new();
                for item in items {
                    let fields = item.value.section();
                    let name =
                        fields.and_then(|f| f.text("id").or(f.text("type")).or(f.text("name")));
                    let name = name.unwrap_or("item");
                    seen.push(name);
                    // As the ids of stores are made unique.
                    let number = seen.iter().filter(|n| **n == name).count();
                    let name = if number > 1 {
                        format!("{name}-{number}")
                    } else {
                        name.to_owned()
                    };
                    self.setting(format!("{path}[{name}]"), item);
                }
            }
            Value::Map(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    self.setting(format!("{path}.{key}"), value);
                }
            }
            Value::Unread => {}
            value => self.add(path, shown(value), origin),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Text(text) => yaml_text(text),
        Value::Duration(value) => show_duration(*value),
        Value::Size(value) => show_size(*value),
        Value::Secret(_) => yaml_text(MASK),
        Value::List(items) => format!(
            "[{}]",
            items
                .iter()
                .map(|i| shown(&i.value))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        Value::Map(_) | Value::Section(_) | Value::Unread => "{}".to_owned(),
    }
}

/// Text as YAML on one line: quoted by `serde_yaml` where it would be read as something else.
pub(super) fn yaml_text(text: &str) -> String {
    match serde_yaml::to_string(text) {
        Ok(yaml) if !yaml.trim_end().contains('\n') && !yaml.contains(", ") => {
            yaml.trim_end().to_owned()
        }
        // Text that YAML would fold: Rust's escapes are those of YAML's double quotes, but for `\u{…}`.
        Ok(_) | Err(_) => format!(
            "\"{}\"",
            escape(text).replace('\\', "\\\\").replace('"', "\\\"")
        ),
    }
}

/// A YAML map from each value's path to the value, with a comment that says where it comes from.
///
/// Secrets are masked.
pub fn describe(sources: &Sources) -> String {
    let lines: Vec<String> = sources
        .iter()
        .map(|s| format!("{}: {}", s.path, s.value))
        .collect();
    let width = lines
        .iter()
        .map(|l| l.chars().count())
        .filter(|w| *w <= 90)
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for (line, source) in lines.iter().zip(sources.iter()) {
        let origin = match &source.origin {
            Origin::File(number) => format!("{}:{number}", sources.file),
            Origin::Environment(name) => format!("environment {}", escape(name)),
            Origin::Default => "default".to_owned(),
        };
        out.push_str(&format!("{line:<width$}  # {origin}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_as_the_same_text() {
        for text in [
            "a",
            "true",
            "10",
            "",
            "*",
            "a: b",
            "# x",
            "a, b",
            "it's \"x\"",
            " lead",
        ] {
            let yaml = format!("k: {}  # c", yaml_text(text));
            let back: serde_yaml::Value = serde_yaml::from_str(&yaml).expect("YAML");
            assert_eq!(back.get("k").and_then(|v| v.as_str()), Some(text), "{yaml}");
        }
    }
}
