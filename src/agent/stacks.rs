//! The audiences of stacks, and the payload stages that they share.

use super::Parts;
use super::shares::Shares;
use super::sinks::{Running, same};
use crate::config::{Config, HttpCapture, ObjectStore, Stack};
use crate::pipeline::{Audience, Destination};
use crate::redact::{Redactor, RedactorError};
use crate::rules::{Level, Ruleset};
use crate::sampling::Sampler;
use crate::sink::Fanout;
use crate::sink::payload::{PayloadOptions, PayloadStage, Telemetry};
use crate::telemetry::Ledger;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A payload stage, and the store and bounds that it was made of; the agent's own attributes are on its events.
pub(super) type RunningPayloads = Running<MadeOf, PayloadStage>;
type MadeOf = (ObjectStore, PayloadOptions, BTreeMap<String, String>);

/// Payload stages, one for each store that stacks ask for.
#[derive(Default)]
pub(super) struct Payloads {
    pub stages: Vec<RunningPayloads>,
    /// Place in `stages` by the stack's name, and the lowest level at which a payload is wanted.
    of_stack: BTreeMap<String, (usize, Level)>,
}

impl Payloads {
    /// Starts what the configuration has in effect. What is the same goes on as it was `before`, which must have the
    /// same telemetry behind it.
    pub fn start(
        config: &Config,
        telemetry: &Fanout,
        ledger: &Ledger,
        runtime: &Handle,
        before: Option<&Payloads>,
    ) -> anyhow::Result<Payloads> {
        let mut stores: Vec<&ObjectStore> = Vec::new();
        let mut of_stack = BTreeMap::new();
        for (name, stack) in &config.stacks {
            let Some((store, capture)) = store(config, stack) else {
                continue;
            };
            let place = stores.iter().position(|known| *known == store);
            let from = capture.object_from_level;
            of_stack.insert(name.clone(), (place.unwrap_or(stores.len()), from));
            if place.is_none() {
                stores.push(store);
            }
        }
        let share = Shares::of(config.limits.memory).payloads(stores.len());
        let stages = stores.into_iter().map(|store| {
            let options = PayloadOptions {
                max_queued_bytes: share,
                ..PayloadOptions::default()
            };
            let made_of = (store.clone(), options, config.agent.clone());
            if let Some(part) = same(before.map(|b| &*b.stages), &made_of) {
                return Ok(Running { made_of, part });
            }
            let (next, tell) = (telemetry.clone(), telemetry.clone());
            let telemetry = Telemetry::new(
                Arc::new(move |capture, link, ticket| next.deliver(capture, link, ticket)),
                Arc::new(move |event| tell.tell(event)),
                &config.agent,
            );
            let stage = PayloadStage::start(store, options, ledger.clone(), runtime, telemetry)?;
            let part = Arc::new(stage);
            Ok(Running { made_of, part })
        });
        Ok(Payloads {
            stages: stages.collect::<anyhow::Result<_>>()?,
            of_stack,
        })
    }

    /// The stage of a stack, and its lowest level; None: its payloads go nowhere.
    fn of(&self, stack: &str) -> Option<Destination> {
        let (place, from_level) = *self.of_stack.get(stack)?;
        let stage = self.stages.get(place)?.part.clone();
        Some(Destination { stage, from_level })
    }
}

/// The store that the payloads of a stack go to, where one is in effect.
pub(super) fn store<'a>(
    config: &'a Config,
    stack: &'a Stack,
) -> Option<(&'a ObjectStore, &'a HttpCapture)> {
    let capture = stack.http_capture.as_ref()?;
    let id = capture.object_store.as_ref()?;
    let store = config.object_stores.iter().find(|store| store.id == *id)?;
    Some((store, capture))
}

/// Spans, log records and payloads of a stack.
pub(super) fn telemetry(
    config: &Config,
    (name, stack): (&str, &Stack),
    parts: &Parts<'_>,
) -> anyhow::Result<Audience> {
    let settings = stack.http_capture.clone().unwrap_or_default();
    Ok(Audience {
        rules: Ruleset::compile(settings.level, &settings.rules, &config.macros)?,
        // `report_usage` asks for a summary of everything.
        least: match stack.report_usage {
            true => Level::Summary,
            false => Level::None,
        },
        // Where anything is captured, its levels say what is counted.
        counts_all: stack.http_metrics && settings.highest() == Level::None,
        sampler: Sampler::new(&settings, &config.macros)?,
        redactor: redactor(&settings, parts.ledger)?,
        payloads: parts.payloads.of(name),
        sinks: parts.sinks.telemetry_of(name).clone(),
    })
}

/// Lines of a stack, where it has any. They are not sampled.
pub(super) fn access(
    config: &Config,
    (name, stack): (&str, &Stack),
    parts: &Parts<'_>,
) -> anyhow::Result<Option<Audience>> {
    let (Some(sinks), Some(access)) = (parts.sinks.access.get(name), &stack.access_logs) else {
        return Ok(None);
    };
    let settings = stack.http_capture.clone().unwrap_or_default();
    Ok(Some(Audience {
        rules: Ruleset::compile(access.mode, &access.rules, &config.macros)?,
        least: Level::None,
        counts_all: false,
        sampler: Sampler::new(&HttpCapture::default(), &[])?,
        redactor: redactor(&settings, parts.ledger)?,
        payloads: None,
        sinks: sinks.clone(),
    }))
}

/// What matchers of content touch is known when a sink asks for content: it is counted then.
fn redactor(settings: &HttpCapture, ledger: &Ledger) -> Result<Redactor, RedactorError> {
    let ledger = ledger.clone();
    let report = move |matcher: &str, count| ledger.redacted(matcher, count);
    Ok(Redactor::new(settings)?.reporting(Arc::new(report)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};

    /// The store in effect with this `object_store`, and from which level on.
    fn in_effect(choice: &str) -> Option<(String, Level)> {
        let text = format!(
            "version: 2\n\
             services: {{object_stores: [{{type: disk, path: /p, id: first}}, {{type: disk, path: /q, id: second}}]}}\n\
             stacks: {{s: {{plugins: [{{type: http_capture, config: {{level: full, object_store: {choice}}}}}]}}}}\n"
        );
        let loaded = load(&text, "test", &Environment::default()).expect("a configuration");
        let config = &loaded.config;
        let (store, capture) = store(config, config.stacks.get("s")?)?;
        Some((store.id.clone(), capture.object_from_level))
    }

    #[test]
    fn a_stack_s_payloads_go_to_the_store_that_it_names_from_the_level_on_that_it_says() {
        for (choice, expected) in [
            ("{}", Some(("first", Level::Summary))),
            ("{id: second}", Some(("second", Level::Summary))),
            (
                "{id: second, from_level: full}",
                Some(("second", Level::Full)),
            ),
            ("{id: second, disabled: true}", None),
            ("{disabled: true}", None),
        ] {
            let expected = expected.map(|(id, level)| (id.to_owned(), level));
            assert_eq!(in_effect(choice), expected, "{choice}");
        }
    }
}
