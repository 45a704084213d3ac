//! Ids of transactions and spans.

use crate::config::TraceContextPolicy;
use crate::redact::SpanIds;
use crate::transaction::TraceContext;
use std::fmt::Write;

/// W3C trace flags.
const SAMPLED: u8 = 0x01;
/// W3C level 2: the last 56 bits of the trace id are random.
const RANDOM: u8 = 0x02;

/// Makes ids from one random stream, seeded by the operating system.
pub struct Ids {
    random: fastrand::Rng,
    policy: TraceContextPolicy,
    /// Of [`Ids::lasting`].
    seed: u64,
}

impl Ids {
    pub fn new(policy: TraceContextPolicy) -> Self {
        let mut random = fastrand::Rng::new();
        Ids {
            seed: random.u64(..),
            random,
            policy,
        }
    }

    /// Another policy, for the requests that follow.
    pub fn set_policy(&mut self, policy: TraceContextPolicy) {
        self.policy = policy;
    }

    /// Ids of the transaction and of the span of a request that lasts and carried `context`: for one `number` always
    /// the same, so that what is told before its end and its end have the same.
    pub fn lasting(&self, number: u64, context: Option<&TraceContext>) -> (String, SpanIds) {
        // One step of the generator a number: without spreading them, the numbers' sequences would be alike.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let seed = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(ODD)).u64(..);
        let mut own = Ids {
            random: fastrand::Rng::with_seed(seed),
            policy: self.policy,
            seed: self.seed,
        };
        (own.transaction(), own.span(context))
    }

    /// Id of a transaction: 32 hex digits.
    pub fn transaction(&mut self) -> String {
        let mut id = String::with_capacity(32);
        // Writing to a String cannot fail.
        write!(id, "{:032x}", self.random.u128(1..)).expect("a String takes any text");
        id
    }

    /// Ids of the span of a request that carried `context`.
    pub fn span(&mut self, context: Option<&TraceContext>) -> SpanIds {
        let span_id = self.random.u64(1..).to_be_bytes();
        match (context, self.policy) {
            (Some(parent), TraceContextPolicy::Auto | TraceContextPolicy::Adopt) => SpanIds {
                trace_id: parent.trace_id,
                span_id,
                parent_span_id: Some(parent.span_id),
                flags: parent.flags,
                tracestate: parent.tracestate.clone(),
                link: None,
            },
            (context, policy) => SpanIds {
                trace_id: self.random.u128(1..).to_be_bytes(),
                span_id,
                parent_span_id: None,
                flags: SAMPLED | RANDOM,
                tracestate: String::new(),
                link: context
                    .filter(|_| policy == TraceContextPolicy::Link)
                    .cloned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::TraceContextSource;
    use std::collections::HashSet;

    fn context() -> TraceContext {
        TraceContext {
            trace_id: [7; 16],
            span_id: [9; 8],
            flags: 3,
            tracestate: "a=b".into(),
            source: TraceContextSource::W3c,
        }
    }

    #[test]
    fn a_context_is_adopted_as_the_parent() {
        let ids = Ids::new(TraceContextPolicy::Auto).span(Some(&context()));
        assert_eq!(ids.trace_id, [7; 16]);
        assert_eq!(ids.parent_span_id, Some([9; 8]));
        assert_eq!((ids.flags, ids.tracestate.as_str()), (3, "a=b"));
        assert_ne!(ids.span_id, [9; 8]);
    }

    #[test]
    fn policy_link_makes_a_root_with_a_link_and_off_forgets_the_context() {
        let linked = Ids::new(TraceContextPolicy::Link).span(Some(&context()));
        assert_eq!(linked.parent_span_id, None);
        assert_ne!(linked.trace_id, [7; 16]);
        assert_eq!(linked.link, Some(context()));
        let off = Ids::new(TraceContextPolicy::Off).span(Some(&context()));
        assert_eq!((off.parent_span_id, off.link), (None, None));
    }

    #[test]
    fn one_that_lasts_keeps_its_ids_and_shares_them_with_no_other() {
        let ids = Ids::new(TraceContextPolicy::Auto);
        assert_eq!(ids.lasting(1, None), ids.lasting(1, None));
        let (mut transactions, mut traces, mut spans) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for number in 1..1000 {
            let (id, span) = ids.lasting(number, None);
            assert!(transactions.insert(id), "{number}");
            assert!(traces.insert(span.trace_id), "{number}");
            assert!(spans.insert(span.span_id), "{number}");
        }
        let (_, adopted) = ids.lasting(1, Some(&context()));
        assert_eq!(
            (adopted.trace_id, adopted.parent_span_id),
            ([7; 16], Some([9; 8]))
        );
        let other = Ids::new(TraceContextPolicy::Auto);
        assert_ne!(other.lasting(1, None), ids.lasting(1, None));
    }

    #[test]
    fn ids_are_never_zero_and_differ() {
        let mut ids = Ids::new(TraceContextPolicy::Auto);
        let (a, b) = (ids.span(None), ids.span(None));
        assert_ne!(a.trace_id, b.trace_id);
        assert_ne!(a.span_id, b.span_id);
        assert_eq!(ids.transaction().len(), 32);
    }
}
