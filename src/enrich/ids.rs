//! Ids of transactions and spans.

use crate::config::TraceContextPolicy;
use crate::join::Hop;
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
    pub fn lasting(
        &self,
        number: u64,
        context: Option<&TraceContext>,
        hop: Option<&Hop>,
    ) -> (String, SpanIds) {
        // One step of the generator a number: without spreading them, the numbers' sequences would be alike.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let seed = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(ODD)).u64(..);
        let mut own = Ids {
            random: fastrand::Rng::with_seed(seed),
            policy: self.policy,
            seed: self.seed,
        };
        (own.transaction(), own.span(context, hop))
    }

    /// Id of a transaction: 32 hex digits.
    pub fn transaction(&mut self) -> String {
        let mut id = String::with_capacity(32);
        // Writing to a String cannot fail.
        write!(id, "{:032x}", self.random.u128(1..)).expect("a String takes any text");
        id
    }

    /// Ids of the span of a request that carried `context`. `hop`: what its connection makes of it; both its ends have
    /// the same, and the context of the header goes before it.
    pub fn span(&mut self, context: Option<&TraceContext>, hop: Option<&Hop>) -> SpanIds {
        let span_id = match hop {
            Some(hop) => hop.span_id(),
            None => self.random.u64(1..).to_be_bytes(),
        };
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
                trace_id: match hop {
                    Some(hop) => hop.ids.trace_id,
                    None => self.random.u128(1..).to_be_bytes(),
                },
                span_id,
                parent_span_id: hop.and_then(Hop::parent),
                flags: SAMPLED | RANDOM,
                tracestate: String::new(),
                link: context
                    .filter(|_| policy == TraceContextPolicy::Link)
                    .cloned(),
            },
        }
    }

    /// Whether a request that carried `context` becomes part of that trace.
    pub fn adopts(&self, context: Option<&TraceContext>) -> bool {
        let adopts = matches!(
            self.policy,
            TraceContextPolicy::Auto | TraceContextPolicy::Adopt
        );
        context.is_some() && adopts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Role;
    use crate::join::JoinedIds;
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
        let ids = Ids::new(TraceContextPolicy::Auto).span(Some(&context()), None);
        assert_eq!(ids.trace_id, [7; 16]);
        assert_eq!(ids.parent_span_id, Some([9; 8]));
        assert_eq!((ids.flags, ids.tracestate.as_str()), (3, "a=b"));
        assert_ne!(ids.span_id, [9; 8]);
    }

    #[test]
    fn policy_link_makes_a_root_with_a_link_and_off_forgets_the_context() {
        let linked = Ids::new(TraceContextPolicy::Link).span(Some(&context()), None);
        assert_eq!(linked.parent_span_id, None);
        assert_ne!(linked.trace_id, [7; 16]);
        assert_eq!(linked.link, Some(context()));
        let off = Ids::new(TraceContextPolicy::Off).span(Some(&context()), None);
        assert_eq!((off.parent_span_id, off.link), (None, None));
    }

    #[test]
    fn one_that_lasts_keeps_its_ids_and_shares_them_with_no_other() {
        let ids = Ids::new(TraceContextPolicy::Auto);
        assert_eq!(ids.lasting(1, None, None), ids.lasting(1, None, None));
        let (mut transactions, mut traces, mut spans) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for number in 1..1000 {
            let (id, span) = ids.lasting(number, None, None);
            assert!(transactions.insert(id), "{number}");
            assert!(traces.insert(span.trace_id), "{number}");
            assert!(spans.insert(span.span_id), "{number}");
        }
        let (_, adopted) = ids.lasting(1, Some(&context()), None);
        assert_eq!(
            (adopted.trace_id, adopted.parent_span_id),
            ([7; 16], Some([9; 8]))
        );
        let other = Ids::new(TraceContextPolicy::Auto);
        assert_ne!(other.lasting(1, None, None), ids.lasting(1, None, None));
    }

    #[test]
    fn ids_are_never_zero_and_differ() {
        let mut ids = Ids::new(TraceContextPolicy::Auto);
        let (a, b) = (ids.span(None, None), ids.span(None, None));
        assert_ne!(a.trace_id, b.trace_id);
        assert_ne!(a.span_id, b.span_id);
        assert_eq!(ids.transaction().len(), 32);
    }

    fn hop(role: Role, has_client: bool) -> Hop {
        Hop {
            ids: JoinedIds {
                trace_id: [1; 16],
                client_span: [2; 8],
                server_span: [3; 8],
            },
            role,
            has_client,
        }
    }

    #[test]
    fn both_ends_of_a_hop_meet_and_the_server_has_a_parent_only_where_that_comes() {
        for (role, has_client, span_id, parent) in [
            (Role::Client, true, [2; 8], None),
            (Role::Client, false, [2; 8], None),
            (Role::Server, true, [3; 8], Some([2; 8])),
            (Role::Server, false, [3; 8], None),
        ] {
            for policy in [
                TraceContextPolicy::Auto,
                TraceContextPolicy::Adopt,
                TraceContextPolicy::Link,
                TraceContextPolicy::Off,
            ] {
                let made = Ids::new(policy).span(None, Some(&hop(role, has_client)));
                assert_eq!((made.trace_id, made.span_id), ([1; 16], span_id));
                assert_eq!(
                    (made.parent_span_id, made.flags),
                    (parent, SAMPLED | RANDOM)
                );
                let (_, lasting) = Ids::new(policy).lasting(7, None, Some(&hop(role, has_client)));
                assert_eq!(lasting, made);
            }
        }
    }

    #[test]
    fn the_header_goes_before_the_hop_at_both_ends_and_where_it_is_not_adopted_the_hop_stays() {
        for role in [Role::Client, Role::Server] {
            let hop = hop(role, true);
            let made = Ids::new(TraceContextPolicy::Auto).span(Some(&context()), Some(&hop));
            assert_eq!(
                (made.trace_id, made.parent_span_id),
                ([7; 16], Some([9; 8]))
            );
            assert_eq!(made.span_id, hop.span_id());
            let linked = Ids::new(TraceContextPolicy::Link).span(Some(&context()), Some(&hop));
            assert_eq!(
                (linked.trace_id, linked.parent_span_id),
                ([1; 16], hop.parent())
            );
            assert_eq!(linked.link, Some(context()));
        }
    }
}
