//! A process as a resource, and the scope of all that is captured.

use super::names;
use crate::enrich::{Process, ResourceValue};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// The resource of a process.
pub fn resource(process: &Process) -> Resource {
    let attributes = process.resource.iter().map(|(key, value)| KeyValue {
        key: key.clone(),
        value: Some(AnyValue {
            value: Some(match value {
                // What a process says of itself may be of any length.
                ResourceValue::Str(text) => Value::StringValue(
                    text[..text.floor_char_boundary(names::MAX_VALUE)].to_owned(),
                ),
                ResourceValue::Int(number) => Value::IntValue(*number),
            }),
        }),
        ..KeyValue::default()
    });
    Resource {
        attributes: attributes.collect(),
        ..Resource::default()
    }
}

/// The scope `plainspan`, with the agent's version.
pub fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: names::SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
