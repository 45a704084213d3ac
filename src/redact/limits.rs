//! Limits of bodies: by the rule that decided, and by their media type.

use super::{Facts, Redactor, RedactorError, globs};
use crate::config::HttpCapture;
use crate::rules::{Decision, Level};
use crate::transaction::{Body, Transaction};
use regex::bytes::Regex;

/// What of bodies is kept at level full.
pub(super) struct Limits {
    /// Of rules that have their own, in bytes.
    by_rule: Vec<(Box<str>, usize)>,
    /// Bytes of each body.
    max_bytes: usize,
    /// Media types; empty: all.
    types: Vec<Regex>,
}

impl Limits {
    pub fn new(capture: &HttpCapture) -> Result<Limits, RedactorError> {
        let own = |(name, limits): (&String, &crate::config::RuleLimits)| {
            Some((name.as_str().into(), limits.max_bytes?))
        };
        let types: Vec<String> = capture
            .body_content_types
            .iter()
            .map(|glob| glob.to_ascii_lowercase())
            .collect();
        Ok(Limits {
            by_rule: capture.by_rule.iter().filter_map(own).collect(),
            max_bytes: capture.body_max_bytes,
            types: globs("bodies.content_types", &types)?,
        })
    }

    /// Bytes of a body that are kept of what `decision` decided.
    pub fn max_bytes(&self, decision: &Decision) -> usize {
        let rule = decision.rule.as_deref();
        let own = rule.and_then(|rule| self.by_rule.iter().find(|(name, _)| **name == *rule));
        own.map_or(self.max_bytes, |(_, max_bytes)| *max_bytes)
    }

    /// A body without a media type, as messages of a WebSocket have none, is of no type that was asked for.
    fn wants(&self, content_type: Option<&str>) -> bool {
        let essence = content_type
            .and_then(|value| value.split(';').next())
            .map(|value| value.trim().to_ascii_lowercase());
        self.types.is_empty()
            || essence
                .is_some_and(|essence| self.types.iter().any(|t| t.is_match(essence.as_bytes())))
    }
}

impl Redactor {
    /// Cuts bodies to what is wanted of them; sizes stay, and what is cut is marked as truncated.
    pub(super) fn limit_bodies(
        &self,
        transaction: &mut Transaction,
        facts: &Facts,
        decision: &Decision,
    ) {
        if decision.level < Level::Full {
            return;
        }
        let most = self.limits.max_bytes(decision) as u64;
        let cut = |body: &mut Body, content_type: Option<&str>| {
            body.keep(match self.limits.wants(content_type) {
                true => most,
                false => 0,
            });
        };
        if let Some(request) = &mut transaction.request {
            cut(&mut request.body, facts.request_content_type.as_deref());
        }
        if let Some(response) = &mut transaction.response {
            cut(&mut response.body, facts.response_content_type.as_deref());
        }
        if let Some(websocket) = &mut transaction.websocket {
            match self.limits.wants(None) {
                true => websocket.keep(self.limits.max_bytes(decision)),
                false => websocket.discard(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{about, body, policy, transaction};
    use super::super::{Raw, Redacted, Redactor};
    use crate::config::{HttpCapture, RuleLimits};
    use crate::rules::Level;

    fn redact(policy: &HttpCapture, content_type: &[(&str, &str)], rule: Option<&str>) -> Redacted {
        let mut t = transaction("/", &[], content_type);
        t.response.as_mut().unwrap().body = body(b"0123456789");
        let mut about = about(Level::Full);
        about.decision.rule = rule.map(Into::into);
        Redactor::new(policy).unwrap().redact(Raw::new(t), about).0
    }

    fn kept(capture: &Redacted) -> (usize, u64, bool) {
        let body = &capture.transaction.response.as_ref().unwrap().body;
        (body.bytes().len(), body.size(), body.truncated())
    }

    #[test]
    fn a_body_of_another_type_is_not_kept_and_its_size_is() {
        let mut policy = policy();
        policy.body_content_types = vec!["application/JSON".into(), "text/*".into()];
        for (content_type, want) in [
            (Some("Application/json; charset=utf-8"), (10, 10, false)),
            (Some("text/html"), (10, 10, false)),
            (Some("image/png"), (0, 10, true)),
            (Some("application/json-seq"), (0, 10, true)),
            (None, (0, 10, true)),
        ] {
            let field = content_type.map(|value| ("Content-Type", value));
            let capture = redact(&policy, field.as_slice(), None);
            assert_eq!(kept(&capture), want, "{content_type:?}");
        }
        policy.body_content_types.clear();
        assert_eq!(kept(&redact(&policy, &[], None)), (10, 10, false));
    }

    #[test]
    fn a_rule_has_its_own_limit_of_bodies() {
        let mut policy = policy();
        policy.body_max_bytes = 8;
        let limit = |max_bytes| RuleLimits {
            ratio: None,
            max_bytes: Some(max_bytes),
        };
        policy.by_rule.insert("small".into(), limit(3));
        policy.by_rule.insert("large".into(), limit(100));
        assert_eq!(kept(&redact(&policy, &[], Some("small"))), (3, 10, true));
        assert_eq!(kept(&redact(&policy, &[], Some("large"))), (10, 10, false));
        assert_eq!(kept(&redact(&policy, &[], Some("other"))), (8, 10, true));
        assert_eq!(redact(&policy, &[], Some("large")).bodies.max_bytes, 100);
    }
}
