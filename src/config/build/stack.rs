//! Stacks and their plugins.

use super::Builder;
use crate::config::model::{AccessLogs, HttpCapture, ObjectStore, ObjectStoreKind, Stack};
use crate::config::schema::{LEVELS, LINE_FORMATS};
use crate::config::settings::Fields;
use crate::config::tree::Mark;
use crate::rules::Level;
use std::collections::BTreeMap;

impl Builder<'_> {
    pub(super) fn stacks(
        &mut self,
        root: &Fields,
        stores: &[ObjectStore],
    ) -> BTreeMap<String, Stack> {
        let mut stacks = BTreeMap::new();
        for (name, setting) in root.map("stacks") {
            let Some(fields) = setting.value.section() else {
                continue;
            };
            if name == "none" {
                self.problems
                    .error(fields.mark, "a stack cannot be called `none`");
                self.problems
                    .hint("`stack: none` means that nothing is captured");
            }
            let stack = self.stack(fields, stores);
            stacks.insert(name.clone(), stack);
        }
        stacks
    }

    fn stack(&mut self, fields: &Fields, stores: &[ObjectStore]) -> Stack {
        let mut stack = Stack::default();
        let mut seen: Vec<&str> = Vec::new();
        for plugin in fields.sections("plugins") {
            if seen.contains(&plugin.kind) {
                self.problems.error(
                    plugin.mark,
                    format!("a second `{}` in one stack", plugin.kind),
                );
                self.problems.hint("put both into one");
                continue;
            }
            seen.push(plugin.kind);
            match (plugin.kind, plugin.section("config")) {
                ("http_capture", Some(config)) => {
                    stack.http_capture = Some(self.http_capture(config, stores))
                }
                ("access_logs", Some(config)) => stack.access_logs = Some(self.access_logs(config)),
                ("report_usage", _) => stack.report_usage = true,
                ("http_metrics", _) => stack.http_metrics = true,
                _ => {}
            }
        }
        stack
    }

    fn http_capture(&mut self, config: &Fields, stores: &[ObjectStore]) -> HttpCapture {
        let level = config.choice("level", &LEVELS).unwrap_or(Level::None);
        self.payload_format(config);
        let rules = self.rules(config, "level");
        let none = Fields::default();
        let headers = config.section("headers").unwrap_or(&none);
        let redact = config.section("redact").unwrap_or(&none);
        let bodies = config.section("bodies").unwrap_or(&none);
        let choice = config.section("object_store").unwrap_or(&none);
        let object_store = self.object_store_in_effect(choice, stores);
        if object_store.is_none()
            && let Some(mark) = full_at(config, level)
        {
            self.problems.warn(
                mark,
                "level full without an object store in effect: bodies are not kept",
            );
            self.problems.hint("add one to services.object_stores");
        }
        HttpCapture {
            level,
            rules,
            object_store,
            object_from_level: choice
                .choice("from_level", &LEVELS)
                .unwrap_or(Level::Summary),
            headers_include: owned(headers, "include"),
            headers_exclude: owned(headers, "exclude"),
            hash_key: self.hash_key(redact),
            redact: self.redaction(redact),
            body_max_bytes: bodies
                .size("max_bytes")
                .map_or(HttpCapture::default().body_max_bytes, |bytes| {
                    usize::try_from(bytes).unwrap_or(usize::MAX)
                }),
            body_as_sent: bodies.bool("as_sent").unwrap_or(false),
            body_content_types: owned(bodies, "content_types"),
            sample: self.sample(config.section("sample").unwrap_or(&none)),
            by_rule: self.by_rule(config),
        }
    }

    /// Of the plugin, or of a rule.
    pub(super) fn payload_format(&mut self, fields: &Fields) {
        if fields.text("format") == Some("text") {
            self.problems.warn(
                fields.mark("format"),
                "format `text` is not written by this version: payloads are JSON",
            );
        }
    }

    /// The store that the plugin names, else the first; None when it is disabled.
    fn object_store_in_effect(
        &mut self,
        choice: &Fields,
        stores: &[ObjectStore],
    ) -> Option<String> {
        let chosen = match choice.text("id") {
            Some(id) => {
                let found = stores.iter().find(|s| s.id == id);
                if found.is_none() {
                    let known: Vec<&str> = stores.iter().map(|s| s.id.as_str()).collect();
                    self.no_such(choice.mark("id"), "object store", id, &known);
                }
                found
            }
            None => stores.first(),
        };
        let disabled = choice.bool("disabled").unwrap_or(false);
        chosen
            .filter(|s| !disabled && s.kind != ObjectStoreKind::Disabled)
            .map(|s| s.id.clone())
    }

    fn access_logs(&mut self, config: &Fields) -> AccessLogs {
        AccessLogs {
            mode: config.choice("mode", &LEVELS).unwrap_or(Level::Summary),
            rules: self.rules(config, "mode"),
            json: config.choice("format", &LINE_FORMATS).unwrap_or(false),
        }
    }

    pub(super) fn checked(&mut self, mark: Mark, what: &str, result: Result<(), String>) {
        if let Err(problem) = result {
            self.problems.error(mark, format!("{what} {problem}"));
        }
    }
}

/// Where level full is asked for: by the plugin, or by a rule.
fn full_at(config: &Fields, level: Level) -> Option<Mark> {
    let of_rule = |rule: &Fields| {
        (rule.choice("level", &LEVELS) == Some(Level::Full)).then(|| rule.mark("level"))
    };
    match level {
        Level::Full => Some(config.mark("level")),
        _ => config.sections("rules").find_map(of_rule),
    }
}

fn owned(fields: &Fields, key: &str) -> Vec<String> {
    fields.texts(key).map(str::to_owned).collect()
}
