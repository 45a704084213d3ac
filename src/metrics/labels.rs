//! Headers whose values are attributes.
//!
//! Enters: headers of a transaction, as redaction leaves them. Leaves: names and values, shared.
//! Holds: different values are bounded by number and length; nothing is allocated for one that is known.

use crate::config::{MessageSide, MetricHeader};
use crate::redact::Redactor;
use crate::transaction::Transaction;
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of a value at the most.
const MAX_VALUE: usize = 255;
/// What values are that find no room.
pub const OTHER: &str = "_OTHER";

/// Name and value of an attribute.
pub type Label = (Arc<str>, Arc<str>);

/// The headers that are attributes, with their values so far. One for each configuration.
#[derive(Debug)]
pub struct Labels {
    headers: Vec<Header>,
    other: Arc<str>,
}

#[derive(Debug)]
struct Header {
    /// In lower case.
    name: String,
    from: MessageSide,
    attribute: Arc<str>,
    max_values: usize,
    values: HashSet<Arc<str>>,
}

impl Default for Labels {
    fn default() -> Self {
        Labels::new(&[])
    }
}

impl Labels {
    pub fn new(headers: &[MetricHeader]) -> Labels {
        let header = |header: &MetricHeader| Header {
            name: header.header.clone(),
            from: header.from,
            attribute: header.attribute.as_str().into(),
            max_values: header.max_values,
            values: HashSet::new(),
        };
        Labels {
            headers: headers.iter().map(header).collect(),
            other: OTHER.into(),
        }
    }

    /// The attributes of a transaction, redacted as `redactor` does it, and how many of its values found no room. The
    /// first field line of a name counts; a value that is empty is none.
    pub fn of(&mut self, transaction: &Transaction, redactor: &Redactor) -> (Box<[Label]>, u64) {
        if self.headers.is_empty() {
            return (Box::default(), 0);
        }
        let mut overflow = 0;
        let other = &self.other;
        let label = |header: &mut Header| {
            let fields = match header.from {
                MessageSide::Request => &transaction.request.as_ref()?.headers,
                MessageSide::Response => &transaction.response.as_ref()?.headers,
            };
            let named =
                |(name, _): &(&[u8], &[u8])| name.eq_ignore_ascii_case(header.name.as_bytes());
            let (_, value) = fields.iter().find(named)?;
            let shown = redactor.header_value(&header.name, value)?;
            let text = String::from_utf8_lossy(&shown);
            let text = text.trim();
            let text = &text[..text.floor_char_boundary(MAX_VALUE)];
            if text.is_empty() {
                return None;
            }
            let value = header.value(text).unwrap_or_else(|| {
                overflow += 1;
                other.clone()
            });
            Some((header.attribute.clone(), value))
        };
        let labels = self.headers.iter_mut().filter_map(label).collect();
        (labels, overflow)
    }
}

impl Header {
    /// The value as it is held; None: it is new, and there is no room.
    fn value(&mut self, text: &str) -> Option<Arc<str>> {
        if let Some(known) = self.values.get(text) {
            return Some(known.clone());
        }
        if self.values.len() >= self.max_values {
            return None;
        }
        let value: Arc<str> = text.into();
        self.values.insert(value.clone());
        Some(value)
    }
}

/// The name of an attribute as Prometheus has it.
pub fn label_name(attribute: &str) -> String {
    attribute.replace(['.', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HttpCapture, NameMatch, RedactMode, RedactPlace, RedactRule};
    use crate::redact::sample::headers;
    use crate::rules::sample;

    fn header(name: &str, from: MessageSide, attribute: &str, max_values: usize) -> MetricHeader {
        MetricHeader {
            header: name.to_owned(),
            from,
            attribute: attribute.to_owned(),
            max_values,
        }
    }

    fn shown(labels: &mut Labels, fields: &[(&str, &str)], redactor: &Redactor) -> (String, u64) {
        let mut transaction = sample::orders().transaction;
        transaction.request.as_mut().expect("a request").headers = headers(fields);
        transaction.response.as_mut().expect("a response").headers = headers(&[("X-Cache", "hit")]);
        let (labels, overflow) = labels.of(&transaction, redactor);
        let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        (pairs.join(" "), overflow)
    }

    fn redactor(mode: Option<RedactMode>) -> Redactor {
        let rule = |mode| RedactRule {
            name: "tenants".to_owned(),
            place: RedactPlace::Header,
            matcher: NameMatch::Exact("x-tenant".to_owned()),
            mode,
        };
        Redactor::new(&HttpCapture {
            redact: mode.map(rule).into_iter().collect(),
            ..HttpCapture::default()
        })
        .expect("a redactor")
    }

    #[test]
    fn chosen_headers_of_both_sides_are_attributes_and_values_beyond_the_bound_are_one() {
        let mut labels = Labels::new(&[
            header("x-tenant", MessageSide::Request, "tenant", 2),
            header("x-cache", MessageSide::Response, "cache", 1),
        ]);
        let plain = redactor(None);
        let mut of = |tenant: &str| shown(&mut labels, &[("X-Tenant", tenant)], &plain);
        assert_eq!(of("acme"), ("tenant=acme cache=hit".to_owned(), 0));
        assert_eq!(of(" b "), ("tenant=b cache=hit".to_owned(), 0));
        assert_eq!(of("c"), ("tenant=_OTHER cache=hit".to_owned(), 1));
        assert_eq!(of("acme"), ("tenant=acme cache=hit".to_owned(), 0));
        assert_eq!(of(""), ("cache=hit".to_owned(), 0));
        assert_eq!(shown(&mut labels, &[], &plain), ("cache=hit".to_owned(), 0));
    }

    #[test]
    fn a_value_is_redacted_as_on_the_span_and_cut() {
        let of = |name: &str, value: &str, mode| {
            let mut labels = Labels::new(&[header(name, MessageSide::Request, "a", 9)]);
            shown(&mut labels, &[(name, value)], &redactor(mode)).0
        };
        assert_eq!(of("x-tenant", "acme", None), "a=acme");
        assert_eq!(of("x-tenant", "acme", Some(RedactMode::Mask)), "a=REDACTED");
        assert_eq!(of("x-tenant", "acme", Some(RedactMode::Drop)), "");
        assert_eq!(of("authorization", "Bearer x", None), "a=REDACTED");
        assert_eq!(of("cookie", "sid=s3cret", None), "a=REDACTED");
        assert!(!of("referer", "https://u:s3cret@h/?token=s3cret", None).contains("s3cret"));
        let long = of("x-tenant", &"\u{e9}".repeat(400), None);
        assert_eq!(long.len(), "a=".len() + 254);
    }
}
