//! A process as a resource, and the scope of all that is captured.

use super::names;
use crate::enrich::{Process, ResourceValue};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// The resource of a process.
pub fn resource(process: &Process) -> Resource {
    let attributes = process.resource.iter().map(|(key, value)| KeyValue {
        key: key.clone(),
        value: Some(AnyValue {
            value: Some(match value {
                ResourceValue::Str(text) => cut(text),
                ResourceValue::Int(number) => Value::IntValue(*number),
                ResourceValue::Strs(texts) => Value::ArrayValue(ArrayValue {
                    values: texts
                        .iter()
                        .map(|text| AnyValue {
                            value: Some(cut(text)),
                        })
                        .collect(),
                }),
            }),
        }),
        ..KeyValue::default()
    });
    Resource {
        attributes: attributes.collect(),
        ..Resource::default()
    }
}

/// What a process says of itself may be of any length.
fn cut(text: &str) -> Value {
    Value::StringValue(text[..text.floor_char_boundary(names::MAX_VALUE)].to_owned())
}

/// The scope `plainspan`, with the agent's version.
pub fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: names::SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
