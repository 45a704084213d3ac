//! A list of attributes under construction.

use super::names;
use crate::transaction::Headers;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
use std::borrow::Cow;

/// Attributes in the order they were added. Values longer than [`names::MAX_VALUE`] are cut, and named.
#[derive(Debug, Default)]
pub struct Attributes {
    list: Vec<KeyValue>,
    truncated: Vec<String>,
}

impl Attributes {
    pub fn with_capacity(attributes: usize) -> Self {
        Attributes {
            list: Vec::with_capacity(attributes),
            truncated: Vec::new(),
        }
    }

    pub fn text<'a>(&mut self, name: &str, value: impl Into<Cow<'a, str>>) {
        let value = self.capped(name, value.into());
        self.push(name, Value::StringValue(value));
    }

    /// Adds it where there is one.
    pub fn maybe_text<'a>(&mut self, name: &str, value: Option<impl Into<Cow<'a, str>>>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// An integer of OTLP is signed: what does not fit is its greatest.
    pub fn int(&mut self, name: &str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.push(name, Value::IntValue(value));
    }

    pub fn double(&mut self, name: &str, value: f64) {
        self.push(name, Value::DoubleValue(value));
    }

    pub fn bool(&mut self, name: &str, value: bool) {
        self.push(name, Value::BoolValue(value));
    }

    pub fn texts(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        let values = values.into_iter().map(text_value).collect();
        self.push(name, Value::ArrayValue(ArrayValue { values }));
    }

    /// One attribute for each name of a header field, `prefix` and the name in lower case, with one element for each
    /// field line. Pseudo-headers (`:path`) are none.
    pub fn headers(&mut self, prefix: &str, headers: &Headers) {
        let first = self.list.len();
        for (name, value) in headers.iter() {
            if name.first().is_none_or(|b| *b == b':') {
                continue;
            }
            let key = format!(
                "{prefix}{}",
                String::from_utf8_lossy(name).to_ascii_lowercase()
            );
            let value = self.capped(&key, String::from_utf8_lossy(value));
            let element = text_value(value);
            let known = self.list[first..].iter_mut().find(|kv| kv.key == key);
            match known.and_then(elements) {
                Some(elements) => elements.push(element),
                None => self.push(
                    &key,
                    Value::ArrayValue(ArrayValue {
                        values: vec![element],
                    }),
                ),
            }
        }
    }

    /// The list, with the names of those that were cut.
    pub fn finish(mut self) -> Vec<KeyValue> {
        if !self.truncated.is_empty() {
            self.truncated.dedup();
            let truncated = std::mem::take(&mut self.truncated);
            self.texts(names::TRUNCATED, truncated);
        }
        self.list
    }

    fn push(&mut self, name: &str, value: Value) {
        self.list.push(KeyValue {
            key: name.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }

    fn capped(&mut self, name: &str, value: Cow<'_, str>) -> String {
        if value.len() <= names::MAX_VALUE {
            return value.into_owned();
        }
        self.truncated.push(name.to_owned());
        value[..value.floor_char_boundary(names::MAX_VALUE)].to_owned()
    }
}

fn text_value(text: String) -> AnyValue {
    AnyValue {
        value: Some(Value::StringValue(text)),
    }
}

fn elements(attribute: &mut KeyValue) -> Option<&mut Vec<AnyValue>> {
    match attribute.value.as_mut()?.value.as_mut()? {
        Value::ArrayValue(array) => Some(&mut array.values),
        _ => None,
    }
}
