//! A request in parts, for destinations that take less in one request than we send.
//!
//! Requests of all signals have the same shape: groups of a resource (field 1), parts of a scope in them (field 2), and
//! items in those (field 2). What is around the items is in both halves. Pure.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use std::ops::Range;

/// Field of the groups, of the parts in a group, of the items in a part.
const PATH: [u32; 3] = [1, 2, 2];

/// Items of a request; what cannot be read has none.
pub fn items(request: &[u8]) -> u64 {
    count(request, &PATH).unwrap_or(0)
}

/// The first half of the items and the others. None: there is only one, or the request cannot be read.
pub fn halves(request: &[u8]) -> Option<[Bytes; 2]> {
    let all = count(request, &PATH)?;
    if all < 2 {
        return None;
    }
    let half = |wanted: Range<u64>| {
        let mut out = Vec::with_capacity(request.len() / 2);
        keep(request, &PATH, &mut 0, &wanted, &mut out)?;
        Some(Bytes::from(out))
    };
    Some([half(0..all / 2)?, half(all / 2..all)?])
}

/// One field: its number, its content where that has a length, and all its bytes.
struct Field<'a> {
    number: u32,
    content: Option<&'a [u8]>,
    whole: &'a [u8],
}

/// Takes the field in front of `rest`. None: these are no fields.
fn field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let all = *rest;
    let (number, kind) = decode_key(rest).ok()?;
    let content = if kind == WireType::LengthDelimited {
        let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
        let content = rest.get(..length)?;
        rest.advance(length);
        Some(content)
    } else {
        skip_field(kind, number, rest, DecodeContext::default()).ok()?;
        None
    };
    let whole = all.get(..all.len() - rest.len())?;
    Some(Field {
        number,
        content,
        whole,
    })
}

fn count(mut message: &[u8], path: &[u32]) -> Option<u64> {
    let Some((wanted, below)) = path.split_first() else {
        return Some(1);
    };
    let mut found = 0;
    while !message.is_empty() {
        let field = field(&mut message)?;
        if let Some(content) = field.content.filter(|_| field.number == *wanted) {
            found += count(content, below)?;
        }
    }
    Some(found)
}

/// Writes the message without the items outside of `wanted`; `seen` counts those that have gone by. Gives how many it
/// wrote.
fn keep(
    mut message: &[u8],
    path: &[u32],
    seen: &mut u64,
    wanted: &Range<u64>,
    out: &mut Vec<u8>,
) -> Option<u64> {
    let (child, below) = path.split_first()?;
    let mut kept = 0;
    while !message.is_empty() {
        let field = field(&mut message)?;
        let Some(content) = field.content.filter(|_| field.number == *child) else {
            out.put_slice(field.whole);
            continue;
        };
        if below.is_empty() {
            if wanted.contains(seen) {
                out.put_slice(field.whole);
                kept += 1;
            }
            *seen += 1;
            continue;
        }
        let mut inner = Vec::new();
        let in_it = keep(content, below, seen, wanted, &mut inner)?;
        // A group without items says nothing.
        if in_it > 0 {
            encode_key(field.number, WireType::LengthDelimited, out);
            encode_varint(inner.len() as u64, out);
            out.put_slice(&inner);
            kept += in_it;
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    /// A request of groups with so many spans in each, numbered in their names.
    fn request(sizes: &[usize]) -> ExportTraceServiceRequest {
        let mut number = 0;
        let group = |(index, size): (usize, &usize)| ResourceSpans {
            resource: Some(Resource {
                dropped_attributes_count: index as u32 + 1,
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "s".into(),
                    ..InstrumentationScope::default()
                }),
                spans: (0..*size)
                    .map(|_| {
                        number += 1;
                        Span {
                            name: (number - 1).to_string(),
                            start_time_unix_nano: 7,
                            ..Span::default()
                        }
                    })
                    .collect(),
                schema_url: "url".into(),
            }],
            schema_url: String::new(),
        };
        ExportTraceServiceRequest {
            resource_spans: sizes.iter().enumerate().map(group).collect(),
        }
    }

    #[test]
    fn halves_have_all_items_in_their_order_and_what_is_around_them() {
        for sizes in [&[2][..], &[5], &[1, 1], &[3, 1, 4], &[0, 7, 0], &[1, 6]] {
            let whole = request(sizes);
            let bytes = whole.encode_to_vec();
            let all = sizes.iter().sum::<usize>() as u64;
            assert_eq!(items(&bytes), all);
            let [first, second] = halves(&bytes).expect("more than one");
            assert_eq!((items(&first), items(&second)), (all / 2, all - all / 2));
            let mut names = Vec::new();
            for half in [first, second] {
                let half = ExportTraceServiceRequest::decode(half).expect("protobuf");
                for group in half.resource_spans {
                    let number = group.resource.expect("a resource").dropped_attributes_count;
                    let scoped = &group.scope_spans[0];
                    assert_eq!(scoped.schema_url, "url");
                    assert!(scoped.scope.is_some() && !scoped.spans.is_empty());
                    names.extend(scoped.spans.iter().map(|s| (number, s.name.clone())));
                }
            }
            let wanted = whole.resource_spans.iter().flat_map(|group| {
                let number = group
                    .resource
                    .as_ref()
                    .map_or(0, |r| r.dropped_attributes_count);
                let spans = group.scope_spans.iter().flat_map(|s| &s.spans);
                spans.map(move |s| (number, s.name.clone()))
            });
            assert_eq!(names, wanted.collect::<Vec<_>>(), "{sizes:?}");
        }
    }

    #[test]
    fn one_item_and_what_is_no_request_cannot_be_halved() {
        assert_eq!(halves(&request(&[1]).encode_to_vec()), None);
        assert_eq!(halves(&[]), None);
        let whole = request(&[3]).encode_to_vec();
        for end in 1..whole.len() {
            assert_eq!(halves(&whole[..end]), None, "{end}");
        }
        assert_eq!(items(b"\xff\xff\xff"), 0);
    }
}
