//! What viewers are shown of a transaction that several audiences take.

use super::tests::{audience, stage};
use super::*;
use crate::rules::sample;
use crate::sink::live::{Feed, Message, VERSION, Watch};
use serde_json::Value;

/// Levels and documents that viewers are shown of one transaction, where telemetry and lines want it at these levels.
fn shown(telemetry_level: Level, access_level: Level) -> Vec<String> {
    let feed = Feed::default();
    let (mut telemetry, _spans) = audience(telemetry_level, &[], Level::None);
    let (mut access, _lines) = audience(access_level, &[], Level::None);
    telemetry.sinks = telemetry.sinks.watched(&feed);
    access.sinks = access.sinks.watched_alone(&feed);
    let mut stage = stage(telemetry, Some(access));
    let watch = Watch {
        version: VERSION,
        ..Watch::default()
    };
    let mut viewer = feed.watch(&watch).expect("a viewer");
    let mut transaction = sample::orders().transaction;
    transaction.pid = u32::MAX - 1;
    stage.transaction(Raw::new(Box::new(transaction)));
    feed.close();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let mut levels = Vec::new();
    while let Some(message) = runtime.as_ref().expect("a runtime").block_on(viewer.next()) {
        let Message::Transaction(json) = message else {
            panic!("missed")
        };
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        levels.push(
            json["document"]["level"]
                .as_str()
                .expect("a level")
                .to_owned(),
        );
    }
    levels
}

#[test]
fn a_transaction_is_shown_once_as_telemetry_has_it_else_as_lines_have_it_else_not_at_all() {
    for (telemetry, access, wanted) in [
        (Level::Headers, Level::Summary, &["headers"][..]),
        (Level::Summary, Level::Full, &["summary"]),
        (Level::Full, Level::None, &["full"]),
        (Level::None, Level::Headers, &["headers"]),
        (Level::None, Level::None, &[]),
    ] {
        assert_eq!(shown(telemetry, access), wanted, "{telemetry:?} {access:?}");
    }
}
