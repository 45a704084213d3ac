//! Limits of bodies: by the rule that decided, and by their media type.

use super::{Facts, Redactor, RedactorError, globs};
use crate::config::HttpCapture;
use crate::rules::{Decision, Level};
use crate::telemetry::ledger::BodiesLeftOut;
use crate::transaction::websocket::WebSocket;
use crate::transaction::{Body, Transaction};
use regex::bytes::Regex;

/// What of bodies is kept at level full.
pub(super) struct Limits {
    /// Of rules that have their own, in bytes.
    by_rule: Vec<(Box<str>, usize)>,
    /// Bytes of each body.
    max_bytes: usize,
    /// Media types, which know no case; empty: all.
    types: Vec<Regex>,
}

impl Limits {
    pub fn new(capture: &HttpCapture) -> Result<Limits, RedactorError> {
        let own = |(name, limits): (&String, &crate::config::RuleLimits)| {
            Some((name.as_str().into(), limits.max_bytes?))
        };
        Ok(Limits {
            by_rule: capture.by_rule.iter().filter_map(own).collect(),
            max_bytes: capture.body_max_bytes,
            types: globs("bodies.content_types", &capture.body_content_types)?,
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
        let essence = content_type.and_then(|value| value.split(';').next());
        let is_asked_for = |essence: &str| {
            let essence = essence.trim().as_bytes();
            self.types.iter().any(|glob| glob.is_match(essence))
        };
        self.types.is_empty() || essence.is_some_and(is_asked_for)
    }
}

impl Redactor {
    /// Cuts bodies to what is wanted of them; sizes stay, and what is cut is marked as truncated. Leaves what was left out,
    /// here or, by the same limits, before.
    pub(super) fn limit_bodies(
        &self,
        transaction: &mut Transaction,
        facts: &Facts,
        decision: &Decision,
    ) -> BodiesLeftOut {
        let mut left_out = BodiesLeftOut::default();
        if decision.level < Level::Full {
            return left_out;
        }
        let most = self.limits.max_bytes(decision);
        if let Some(request) = &mut transaction.request {
            let wanted = self.limits.wants(facts.request_content_type.as_deref());
            limit(&mut request.body, wanted, most, &mut left_out);
        }
        if let Some(response) = &mut transaction.response {
            let wanted = self.limits.wants(facts.response_content_type.as_deref());
            limit(&mut response.body, wanted, most, &mut left_out);
        }
        if let Some(websocket) = &mut transaction.websocket {
            limit_messages(websocket, self.limits.wants(None), most, &mut left_out);
        }
        left_out
    }
}

fn limit(body: &mut Body, wanted: bool, most: usize, left_out: &mut BodiesLeftOut) {
    body.keep(if wanted { most as u64 } else { 0 });
    if !wanted {
        left_out.content_type += u64::from(body.size() > 0);
    } else if body.bytes().len() == most && body.size() > most as u64 {
        // Where it ends before, something else than the limit ended it.
        left_out.max_bytes += 1;
    }
}

fn limit_messages(
    websocket: &mut WebSocket,
    wanted: bool,
    most: usize,
    left_out: &mut BodiesLeftOut,
) {
    match wanted {
        true => websocket.keep(most),
        false => websocket.discard(),
    }
    for frames in [&websocket.from_client, &websocket.from_server] {
        let some = u64::from(frames.left_out() > 0);
        match wanted {
            true => left_out.max_bytes += some,
            false => left_out.content_type += some,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{about, body, policy, transaction};
    use super::super::{Raw, Redacted, Redactor};
    use crate::config::{HttpCapture, RuleLimits};
    use crate::rules::Level;
    use crate::transaction::Body;
    use crate::transaction::websocket::{WebSocket, WebSocketMessage};

    fn redact(policy: &HttpCapture, content_type: &[(&str, &str)], rule: Option<&str>) -> Redacted {
        let mut t = transaction("/", &[], content_type);
        t.response.as_mut().unwrap().body = body(b"0123456789");
        let mut about = about(Level::Full);
        about.decision.rule = rule.map(Into::into);
        Redactor::new(policy)
            .unwrap()
            .redact(Raw::new(Box::new(t)), about)
            .0
    }

    fn left_out(capture: &Redacted) -> (u64, u64) {
        let left_out = capture.bodies.left_out;
        (left_out.content_type, left_out.max_bytes)
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
            // The request has a body too, and none has said its type.
            let of_response = u64::from(want.2);
            assert_eq!(left_out(&capture), (1 + of_response, 0), "{content_type:?}");
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
        for (rule, want) in [("small", 2), ("large", 0), ("other", 1)] {
            let capture = redact(&policy, &[], Some(rule));
            assert_eq!(left_out(&capture), (0, want), "{rule}");
        }
    }

    #[test]
    fn a_body_that_ends_before_the_limit_was_not_left_out_by_it() {
        let mut policy = policy();
        policy.body_max_bytes = 12;
        let of = |body: Body, level| {
            let mut t = transaction("/", &[], &[]);
            t.response.as_mut().unwrap().body = body;
            let redactor = Redactor::new(&policy).unwrap();
            left_out(&redactor.redact(Raw::new(Box::new(t)), about(level)).0)
        };
        let mut gap = body(b"0123456789");
        gap.push_missing(90);
        assert_eq!(of(gap, Level::Full), (0, 0));
        assert_eq!(of(body(b"0123456789ab"), Level::Full), (0, 0));
        assert_eq!(of(body(b"0123456789abc"), Level::Full), (0, 1));
        // Nothing is kept of bodies there, whatever their limits.
        assert_eq!(of(body(b"0123456789abc"), Level::Headers), (0, 0));
    }

    #[test]
    fn messages_of_each_side_of_a_websocket_are_a_body() {
        let of = |policy: &HttpCapture| {
            let mut t = transaction("/", &[], &[]);
            t.request.as_mut().unwrap().body = Body::default();
            t.response.as_mut().unwrap().body = Body::default();
            let mut websocket = WebSocket::default();
            websocket.from_client.messages = 1;
            websocket.from_client.kept.push(WebSocketMessage {
                text: true,
                compressed: false,
                whole: true,
                follows: true,
                time: t.timing.start,
                size: 6,
                bytes: b"secret".to_vec(),
            });
            t.websocket = Some(websocket);
            let redactor = Redactor::new(policy).unwrap();
            left_out(&redactor.redact(Raw::new(Box::new(t)), about(Level::Full)).0)
        };
        let mut policy = policy();
        assert_eq!(of(&policy), (0, 0));
        policy.body_max_bytes = 1;
        assert_eq!(of(&policy), (0, 1));
        policy.body_content_types = vec!["text/*".into()];
        assert_eq!(of(&policy), (1, 0));
    }
}
