//! The audiences of stacks, and the payload stages that they share.

use super::Sinks;
use crate::config::{Config, HttpCapture, ObjectStore, Stack};
use crate::pipeline::Audience;
use crate::redact::Redactor;
use crate::rules::{Level, Ruleset};
use crate::sink::Fanout;
use crate::sink::payload::{PayloadOptions, PayloadStage};
use crate::telemetry::Ledger;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Payload stages, one for each store and lowest level that stacks ask for.
pub(super) struct Payloads {
    stages: Vec<Arc<PayloadStage>>,
    /// Place in `stages` by the stack's name.
    of_stack: BTreeMap<String, usize>,
}

impl Payloads {
    /// Starts what the configuration has in effect.
    pub fn start(
        config: &Config,
        telemetry: &Fanout,
        ledger: &Ledger,
        runtime: &Handle,
    ) -> anyhow::Result<Payloads> {
        let mut kinds: Vec<(&ObjectStore, Level)> = Vec::new();
        let mut of_stack = BTreeMap::new();
        for (name, stack) in &config.stacks {
            let Some((store, capture)) = store(config, stack) else {
                continue;
            };
            let kind = (store, capture.object_from_level);
            let place = kinds.iter().position(|known| *known == kind);
            of_stack.insert(name.clone(), place.unwrap_or(kinds.len()));
            if place.is_none() {
                kinds.push(kind);
            }
        }
        let share = config.limits.memory / 4 / (kinds.len().max(1) as u64);
        let stages = kinds.iter().map(|(store, from_level)| {
            let options = PayloadOptions {
                from_level: *from_level,
                max_queued_bytes: usize::try_from(share)?,
                ..PayloadOptions::default()
            };
            let telemetry = telemetry.clone();
            let next =
                Arc::new(move |capture, link, ticket| telemetry.deliver(capture, link, ticket));
            let stage = PayloadStage::start(store, options, ledger.clone(), runtime, next)?;
            Ok(Arc::new(stage))
        });
        Ok(Payloads {
            stages: stages.collect::<anyhow::Result<_>>()?,
            of_stack,
        })
    }

    /// The stage of a stack; None: its payloads go nowhere.
    pub fn of(&self, stack: &str) -> Option<&Arc<PayloadStage>> {
        self.stages.get(*self.of_stack.get(stack)?)
    }

    pub fn stages(&self) -> Vec<Arc<PayloadStage>> {
        self.stages.clone()
    }
}

fn store<'a>(config: &'a Config, stack: &'a Stack) -> Option<(&'a ObjectStore, &'a HttpCapture)> {
    let capture = stack.http_capture.as_ref()?;
    let id = capture.object_store.as_ref()?;
    let store = config.object_stores.iter().find(|store| store.id == *id)?;
    Some((store, capture))
}

/// Spans, log records and payloads of a stack.
pub(super) fn telemetry(
    config: &Config,
    stack: &Stack,
    sinks: &Sinks,
    payloads: Option<&Arc<PayloadStage>>,
) -> anyhow::Result<Audience> {
    let settings = stack.http_capture.clone().unwrap_or_default();
    Ok(Audience {
        rules: Ruleset::compile(settings.level, &settings.rules, &config.macros)?,
        // `report_usage` asks for a summary of everything.
        least: match stack.report_usage {
            true => Level::Summary,
            false => Level::None,
        },
        redactor: Redactor::new(&settings)?,
        payloads: payloads.cloned(),
        sinks: sinks.telemetry.clone(),
    })
}

/// Lines of a stack, where it has any.
pub(super) fn access(
    config: &Config,
    stack: &Stack,
    sinks: Option<&Fanout>,
) -> anyhow::Result<Option<Audience>> {
    let (Some(sinks), Some(access)) = (sinks, &stack.access_logs) else {
        return Ok(None);
    };
    let settings = stack.http_capture.clone().unwrap_or_default();
    Ok(Some(Audience {
        rules: Ruleset::compile(access.mode, &access.rules, &config.macros)?,
        least: Level::None,
        redactor: Redactor::new(&settings)?,
        payloads: None,
        sinks: sinks.clone(),
    }))
}
