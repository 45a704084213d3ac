//! From settings to the configuration that runs.
//!
//! Enters: settings that fit the tables, the environment. Leaves: a [`Config`], the source of each value, and the
//! problems that only show when keys are seen together: names that do not exist, ids used twice, levels without effect.

mod agent;
mod metrics;
mod otlp;
mod redact;
mod routes;
mod rules;
mod stack;
mod stores;
mod tap;

use super::environment::Environment;
use super::model::{Config, Limits, TagRule};
use super::near::nearest;
use super::problem::{Problems, quote};
use super::schema::TAG_SOURCES;
use super::settings::Fields;
use super::sources::{Origin, Sources, yaml_text};
use super::text::{cores, method_name, show_size};
use super::tree::Mark;
use crate::rules::expr::Macros;
use crate::sink::otlp::KnownMethods;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Methods that are known, instead of the usual ones (semantic conventions, HTTP spans).
const KNOWN_METHODS: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";

/// What all parts of the building need.
pub(super) struct Builder<'a> {
    pub environment: &'a Environment,
    pub problems: &'a mut Problems,
    pub sources: Sources,
    /// The file as written.
    pub text: &'a str,
    /// Of the configuration, for its rules.
    pub macros: Macros,
}

impl Builder<'_> {
    /// Runs whatever the decoder found, so that all problems are found at once.
    pub fn config(&mut self, root: &Fields) -> Config {
        let none = Fields::default();
        let services = root.section("services").unwrap_or(&none);
        let tap = root.section("tap").unwrap_or(&none);
        self.sources.add_all(root);

        let mut resource = self.resource(root);
        let event_stores = self.event_stores(services, &mut resource);
        let object_stores = self.object_stores(services);
        let macros = self.macros(root);
        let stacks = self.stacks(root, &object_stores);
        let tap = self.tap(tap, root, &stacks);
        let metrics = self.metrics(root.section("metrics").unwrap_or(&none));
        let agent = self.agent();
        let limits = self.limits(root.section("limits").unwrap_or(&none));
        let config = Config {
            event_stores,
            object_stores,
            stacks,
            tap,
            resource,
            agent,
            limits,
            program_stats: root
                .section("telemetry")
                .and_then(|own| own.bool("program_stats"))
                .unwrap_or(false),
            live_socket: root
                .section("live")
                .and_then(|live| live.text("socket"))
                .filter(|path| *path != "off")
                .map(PathBuf::from),
            sandbox: root
                .section("security")
                .and_then(|security| security.bool("sandbox"))
                .unwrap_or(true),
            tags: tags(root),
            macros,
            metrics,
            known_methods: self.known_methods(),
        };
        self.nothing_leaves(&config, services.mark("event_stores"));
        self.bodies_fit(root, &config);
        config
    }

    /// A list without a method changes nothing.
    fn known_methods(&mut self) -> KnownMethods {
        let Some(list) = self.environment.get(KNOWN_METHODS) else {
            return KnownMethods::default();
        };
        let methods = KnownMethods::parse(list);
        let shown: Vec<String> = methods.listed().iter().map(|m| yaml_text(m)).collect();
        let wrong = |method: &&String| method_name(method).is_err();
        if let Some(method) = methods.listed().iter().find(wrong) {
            let message = format!(
                "environment variable {KNOWN_METHODS} names {}, which is no method",
                quote(method)
            );
            self.problems
                .error(Mark::default(), message)
                .hint("methods with commas between them, as `GET,POST,PROPFIND`");
        } else if !shown.is_empty() {
            self.sources.add(
                "http.known_methods".to_owned(),
                format!("[{}]", shown.join(", ")),
                Origin::Environment(KNOWN_METHODS.to_owned()),
            );
        }
        methods
    }

    fn resource(&mut self, root: &Fields) -> BTreeMap<String, String> {
        let attributes = root
            .section("resource")
            .map(|r| r.map("attributes"))
            .unwrap_or_default();
        for (name, setting) in attributes.iter().filter(|(name, _)| name == "service.name") {
            self.problems.warn(
                setting.mark,
                format!("`{name}` makes all observed services look like one"),
            );
            self.problems
                .hint("leave it out: each process gets its own service.name");
        }
        attributes
            .iter()
            .filter_map(|(k, s)| Some((k.clone(), s.value.text()?.to_owned())))
            .collect()
    }

    fn limits(&mut self, fields: &Fields) -> Limits {
        let default = Limits::default();
        let memory = fields.size("memory").unwrap_or(default.memory);
        let connection = fields
            .size("connection_memory")
            .unwrap_or(default.connection_memory as u64);
        if connection > memory {
            let message = format!(
                "connection_memory ({}) is more than memory",
                show_size(connection)
            );
            self.problems
                .error(fields.mark("connection_memory"), message);
            self.problems
                .hint(format!("at most limits.memory, {}", show_size(memory)));
        }
        let ring = fields.size("ring").unwrap_or(default.ring.into());
        let rounded = ring.checked_next_power_of_two().unwrap_or(ring);
        if rounded != ring {
            let message = format!(
                "the ring's size is a power of two: {} is used",
                show_size(rounded)
            );
            self.problems.warn(fields.mark("ring"), message);
            self.problems.hint(format!("write {}", show_size(rounded)));
        }
        Limits {
            memory,
            connection_memory: usize::try_from(connection).unwrap_or(usize::MAX),
            cpu: fields.text("cpu").and_then(|t| cores(t).ok()).flatten(),
            ring: u32::try_from(rounded).unwrap_or(default.ring),
        }
    }

    fn nothing_leaves(&mut self, config: &Config, mark: Mark) {
        if config.http_stack().is_none() {
            return;
        }
        // An error above may be all that keeps a store away.
        if self.problems.has_errors() {
            return;
        }
        if config.event_stores.is_empty()
            && config.object_stores.is_empty()
            && config
                .stacks
                .values()
                .all(|stack| stack.access_logs.is_none())
        {
            self.problems.warn(
                mark,
                "nothing receives what is captured: there is no event store and no object store",
            );
            self.problems
                .hint("add one to services.event_stores, or set OTEL_EXPORTER_OTLP_ENDPOINT");
        }
    }

    /// A body larger than what one connection may hold is never kept whole.
    fn bodies_fit(&mut self, root: &Fields, config: &Config) {
        let plugins = root
            .map("stacks")
            .iter()
            .filter_map(|(_, s)| s.value.section())
            .flat_map(|s| s.sections("plugins"));
        for bodies in plugins
            .filter_map(|p| p.section("config"))
            .filter_map(|c| c.section("bodies"))
        {
            let limit = config.limits.connection_memory as u64;
            if bodies.size("max_bytes").is_some_and(|bytes| bytes > limit) {
                let mark = match bodies.written.contains(&"max_bytes") {
                    true => bodies.mark("max_bytes"),
                    false => root
                        .section("limits")
                        .map_or(root.mark, |l| l.mark("connection_memory")),
                };
                self.problems.warn(
                    mark,
                    "bodies.max_bytes is more than what one connection may hold",
                );
                self.problems
                    .hint(format!("limits.connection_memory is {}", show_size(limit)));
            }
        }
    }

    /// Reports a name that does not exist.
    fn no_such(&mut self, mark: Mark, what: &str, name: &str, known: &[&str]) {
        self.problems.error(
            mark,
            format!("there is no {what} {}", super::problem::quote(name)),
        );
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => format!("the file has no {what}"),
            None => format!("known: {}", known.join(", ")),
        };
        self.problems.hint(hint);
    }
}

fn tags(root: &Fields) -> Vec<TagRule> {
    let rule = |fields: &Fields| {
        Some(TagRule {
            key: fields.text("key")?.to_owned(),
            source: fields.choice("source", &TAG_SOURCES)?,
            location: fields.text("location")?.to_owned(),
        })
    };
    root.sections("tags").filter_map(rule).collect()
}
