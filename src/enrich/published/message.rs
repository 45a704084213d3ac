//! Header and payload of a process context, without any I/O.

use super::super::process::{ResourceValue, Said};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

/// Bytes of the header: signature, version, size, time, address.
pub(super) const HEADER: usize = 32;
/// Bytes of a payload at the most.
pub(super) const PAYLOAD_MAX: u32 = 64 << 10;
const SIGNATURE: &[u8; 8] = b"OTEL_CTX";
const VERSION: u32 = 2;

/// Why a mapping gives nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    #[error("it does not begin with the signature")]
    Signature,
    #[error("version {0} is not known, {VERSION} is")]
    Version(u32),
    #[error("a payload of {0} bytes: there must be some, and {PAYLOAD_MAX} at the most")]
    Size(u32),
    #[error("it was being changed during each of the tries")]
    Changing,
    #[error("the payload cannot be decoded: {0}")]
    Payload(#[from] prost::DecodeError),
    #[error("the payload has no attributes")]
    Empty,
    #[error("its memory cannot be read: {0}")]
    Memory(String),
}

/// A header that can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub size: u32,
    /// Nanoseconds, of a clock of the publisher's choice; 0 while it is being changed.
    pub published_at: u64,
    /// Address of the payload.
    pub payload: u64,
}

impl Header {
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Header, Refused> {
        let long = |at: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(field)
        };
        if !bytes.starts_with(SIGNATURE) {
            return Err(Refused::Signature);
        }
        // Version and size are two halves of one word.
        let (version, size) = (long(8) as u32, (long(8) >> 32) as u32);
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        let published_at = long(16);
        if published_at != 0 && !(1..=PAYLOAD_MAX).contains(&size) {
            return Err(Refused::Size(size));
        }
        Ok(Header {
            size,
            published_at,
            payload: long(24),
        })
    }
}

/// `opentelemetry.proto.processcontext.v1development.ProcessContext`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ProcessContext {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Of the publisher, not of its resource.
    #[prost(message, repeated, tag = "2")]
    pub attributes: Vec<KeyValue>,
}

/// The attributes of a payload that a resource can have.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<(String, ResourceValue)>, Refused> {
    let context = ProcessContext::decode(payload)?;
    let resource = context.resource.unwrap_or_default();
    let mut said = Said::default();
    for attribute in resource.attributes {
        if let Some(value) = attribute.value.and_then(value) {
            said.put(attribute.key, value);
        }
    }
    match said.is_empty() {
        true => Err(Refused::Empty),
        false => Ok(said.into_attributes()),
    }
}

/// Numbers with a fraction and truth values as text; bytes, maps and lists of anything but text are left out.
fn value(value: AnyValue) -> Option<ResourceValue> {
    Some(match value.value? {
        Value::StringValue(text) => ResourceValue::Str(text),
        Value::IntValue(number) => ResourceValue::Int(number),
        Value::BoolValue(truth) => ResourceValue::Str(truth.to_string()),
        Value::DoubleValue(number) => ResourceValue::Str(number.to_string()),
        Value::ArrayValue(list) => {
            let text = |value: AnyValue| match value.value? {
                Value::StringValue(text) => Some(text),
                _ => None,
            };
            let texts: Option<Vec<String>> = list.values.into_iter().map(text).collect();
            ResourceValue::Strs(texts?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::ArrayValue;

    fn header(version: u32, size: u32, published_at: u64) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(SIGNATURE);
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        bytes[12..16].copy_from_slice(&size.to_le_bytes());
        bytes[16..24].copy_from_slice(&published_at.to_le_bytes());
        bytes[24..].copy_from_slice(&0x7f00_u64.to_le_bytes());
        bytes
    }

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn payload(attributes: Vec<(&str, Value)>) -> Vec<u8> {
        let pair = |(key, value): (&str, Value)| KeyValue {
            key: key.into(),
            value: Some(any(value)),
            ..KeyValue::default()
        };
        let resource = Resource {
            attributes: attributes.into_iter().map(pair).collect(),
            ..Resource::default()
        };
        let context = ProcessContext {
            resource: Some(resource),
            attributes: vec![pair(("threadlocal.schema", Value::IntValue(1)))],
        };
        context.encode_to_vec()
    }

    #[test]
    fn a_header_is_followed_only_in_its_own_form() {
        let wanted = Header {
            size: 10,
            published_at: 5,
            payload: 0x7f00,
        };
        assert_eq!(Header::parse(&header(2, 10, 5)), Ok(wanted));
        for (bytes, refused) in [
            ([0; HEADER], Refused::Signature),
            (header(1, 10, 5), Refused::Version(1)),
            (header(3, 10, 5), Refused::Version(3)),
            (header(2, 0, 5), Refused::Size(0)),
            (
                header(2, PAYLOAD_MAX + 1, 5),
                Refused::Size(PAYLOAD_MAX + 1),
            ),
            (header(2, u32::MAX, 5), Refused::Size(u32::MAX)),
        ] {
            assert_eq!(Header::parse(&bytes), Err(refused));
        }
        let changing = Header::parse(&header(2, 0, 0)).map(|header| header.published_at);
        assert_eq!(changing, Ok(0));
    }

    #[test]
    fn attributes_of_the_resource_come_out_by_their_types() {
        let text = |text: &str| any(Value::StringValue(text.into()));
        let list = |values| Value::ArrayValue(ArrayValue { values });
        let bytes = payload(vec![
            ("service.name", Value::StringValue("orders".into())),
            ("shard", Value::IntValue(3)),
            ("canary", Value::BoolValue(true)),
            ("weight", Value::DoubleValue(0.5)),
            ("zones", list(vec![text("a"), text("b")])),
            ("mixed", list(vec![text("a"), any(Value::IntValue(1))])),
            ("raw", Value::BytesValue(vec![1])),
        ]);
        let own = |key: &str, value| (key.to_owned(), value);
        let str = |text: &str| ResourceValue::Str(text.into());
        assert_eq!(
            decode(&bytes),
            Ok(vec![
                own("canary", str("true")),
                own("service.name", str("orders")),
                own("shard", ResourceValue::Int(3)),
                own("weight", str("0.5")),
                own("zones", ResourceValue::Strs(vec!["a".into(), "b".into()])),
            ])
        );
    }

    #[test]
    fn what_is_no_process_context_gives_nothing() {
        assert_eq!(decode(&[]), Err(Refused::Empty));
        assert_eq!(decode(&payload(vec![])), Err(Refused::Empty));
        let whole = payload(vec![("service.name", Value::StringValue("orders".into()))]);
        for end in 1..whole.len() {
            let cut = decode(&whole[..end]);
            assert!(cut.is_err() || cut == decode(&whole), "{end}: {cut:?}");
        }
        // Lists in lists without end.
        let mut deep = AnyValue::default();
        for _ in 0..2000 {
            deep = any(Value::ArrayValue(ArrayValue { values: vec![deep] }));
        }
        let mut bytes = Vec::new();
        let mut inner = deep.encode_to_vec();
        for tag in [0x12, 0x0a, 0x0a] {
            bytes.clear();
            bytes.push(tag);
            prost::encode_length_delimiter(inner.len(), &mut bytes).expect("room");
            bytes.extend_from_slice(&inner);
            inner.clone_from(&bytes);
        }
        assert!(matches!(decode(&bytes), Err(Refused::Payload(_))));
    }
}
