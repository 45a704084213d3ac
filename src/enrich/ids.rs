//! Ids of transactions and spans.

use crate::config::TraceContextPolicy;
use crate::join::Hop;
use crate::redact::{Origin, SpanIds};
use crate::trace::Place;
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
    /// Of what lasts.
    seed: u64,
}

/// What the ids of a span are made of.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    pub place: Place,
    /// What the request's headers say.
    pub context: Option<&'a TraceContext>,
    /// What its connection makes of it; both its ends have the same.
    pub hop: Option<&'a Hop>,
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

    pub fn policy(&self) -> TraceContextPolicy {
        self.policy
    }

    /// Id of a transaction: 32 hex digits. `lasting`: the number of one that reported before its end; for one number it
    /// is always the same.
    pub fn transaction(&mut self, lasting: Option<u64>) -> String {
        let random = match lasting {
            Some(number) => self.of_lasting(number).u128(1..),
            None => self.random.u128(1..),
        };
        let mut id = String::with_capacity(32);
        // Writing to a String cannot fail.
        write!(id, "{random:032x}").expect("a String takes any text");
        id
    }

    /// Ids of a span. `lasting`: as for [`Ids::transaction`].
    pub fn span(&mut self, lasting: Option<u64>, made: Made<'_>) -> SpanIds {
        match lasting {
            Some(number) => {
                let mut random = self.of_lasting(number);
                // The transaction's.
                random.u128(1..);
                span(&mut random, made)
            }
            None => span(&mut self.random, made),
        }
    }

    fn of_lasting(&self, number: u64) -> fastrand::Rng {
        // One step of the generator a number: without spreading them, the numbers' sequences would be alike.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let seed = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(ODD)).u64(..);
        fastrand::Rng::with_seed(seed)
    }
}

fn span(random: &mut fastrand::Rng, made: Made<'_>) -> SpanIds {
    let Made {
        place,
        context,
        hop,
    } = made;
    let span_id = match hop {
        Some(hop) => hop.span_id(),
        None => random.u64(1..).to_be_bytes(),
    };
    let own = |random: &mut fastrand::Rng| {
        let parent_span_id = hop.and_then(Hop::parent);
        SpanIds {
            trace_id: match hop {
                Some(hop) => hop.ids.trace_id,
                None => random.u128(1..).to_be_bytes(),
            },
            span_id,
            parent_span_id,
            origin: match parent_span_id {
                Some(_) => Origin::Computed,
                None => Origin::Root,
            },
            no_span: None,
            flags: SAMPLED | RANDOM,
            tracestate: String::new(),
            link: None,
        }
    };
    match (place, context) {
        (Place::NoSpan(reason), context) => SpanIds {
            no_span: Some(reason),
            ..nobody(context, hop, random)
        },
        (Place::Adopt, Some(parent)) => SpanIds {
            trace_id: parent.trace_id,
            span_id,
            parent_span_id: Some(parent.span_id),
            origin: Origin::Header,
            no_span: None,
            flags: parent.flags,
            tracestate: parent.tracestate.clone(),
            link: None,
        },
        (Place::Link(_), context) => SpanIds {
            link: context.cloned(),
            ..own(random)
        },
        (Place::Own | Place::Adopt, _) => own(random),
    }
}

/// Where no span leaves: the header's ids, else those of the client's span where that is there, else none.
fn nobody(
    context: Option<&TraceContext>,
    hop: Option<&Hop>,
    random: &mut fastrand::Rng,
) -> SpanIds {
    let (trace_id, span_id, flags) = match (context, hop) {
        (Some(context), _) => (context.trace_id, context.span_id, context.flags),
        (None, Some(hop)) => (
            hop.ids.trace_id,
            hop.parent().unwrap_or_default(),
            SAMPLED | RANDOM,
        ),
        // Sampling asks it.
        (None, None) => (random.u128(1..).to_be_bytes(), [0; 8], SAMPLED | RANDOM),
    };
    SpanIds {
        trace_id,
        span_id,
        parent_span_id: None,
        origin: Origin::Root,
        no_span: None,
        flags,
        tracestate: context.map(|c| c.tracestate.clone()).unwrap_or_default(),
        link: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Role;
    use crate::join::JoinedIds;
    use crate::telemetry::ledger::LeftOut;
    use crate::trace::Why;
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

    fn ids() -> Ids {
        Ids::new(TraceContextPolicy::Auto)
    }

    fn made<'a>(place: Place, context: Option<&'a TraceContext>, hop: Option<&'a Hop>) -> Made<'a> {
        Made {
            place,
            context,
            hop,
        }
    }

    const NO_SPAN: Place = Place::NoSpan(LeftOut::SdkTraced);
    const LINK: Place = Place::Link(Why::Policy);

    #[test]
    fn a_context_is_adopted_as_the_parent() {
        let ids = ids().span(None, made(Place::Adopt, Some(&context()), None));
        assert_eq!(ids.trace_id, [7; 16]);
        assert_eq!(ids.parent_span_id, Some([9; 8]));
        assert_eq!((ids.flags, ids.tracestate.as_str()), (3, "a=b"));
        assert_ne!(ids.span_id, [9; 8]);
        assert_eq!((ids.origin, ids.no_span), (Origin::Header, None));
    }

    #[test]
    fn what_is_linked_is_a_root_with_a_link_and_what_is_its_own_forgets_the_context() {
        let linked = ids().span(None, made(LINK, Some(&context()), None));
        assert_eq!(linked.parent_span_id, None);
        assert_ne!(linked.trace_id, [7; 16]);
        assert_eq!(linked.link, Some(context()));
        let own = ids().span(None, made(Place::Own, Some(&context()), None));
        assert_eq!((own.parent_span_id, own.link), (None, None));
        assert_eq!(own.origin, Origin::Root);
    }

    #[test]
    fn without_a_span_the_event_has_the_headers_ids_else_those_of_the_client_else_none() {
        let at_server = hop(Role::Server, true);
        let header = ids().span(None, made(NO_SPAN, Some(&context()), Some(&at_server)));
        assert_eq!(
            (header.trace_id, header.span_id, header.flags),
            ([7; 16], [9; 8], 3)
        );
        assert_eq!(header.no_span, Some(LeftOut::SdkTraced));
        let client = ids().span(None, made(NO_SPAN, None, Some(&at_server)));
        assert_eq!(client.shown(), Some((&[1; 16], &[2; 8])));
        for hop in [None, Some(hop(Role::Server, false))] {
            let none = ids().span(None, made(NO_SPAN, None, hop.as_ref()));
            assert_eq!((none.span_id, none.shown()), ([0; 8], None));
        }
    }

    #[test]
    fn one_that_lasts_keeps_its_ids_and_shares_them_with_no_other() {
        let mut ids = ids();
        let root = made(Place::Own, None, None);
        assert_eq!(ids.span(Some(1), root), ids.span(Some(1), root));
        let (mut transactions, mut traces, mut spans) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for number in 1..1000 {
            let (id, span) = (ids.transaction(Some(number)), ids.span(Some(number), root));
            assert_eq!(id, ids.transaction(Some(number)));
            assert!(transactions.insert(id), "{number}");
            assert!(traces.insert(span.trace_id), "{number}");
            assert!(spans.insert(span.span_id), "{number}");
        }
        let adopted = ids.span(Some(1), made(Place::Adopt, Some(&context()), None));
        assert_eq!(
            (adopted.trace_id, adopted.parent_span_id),
            ([7; 16], Some([9; 8]))
        );
        let mut other = Ids::new(TraceContextPolicy::Auto);
        assert_ne!(other.span(Some(1), root), ids.span(Some(1), root));
    }

    #[test]
    fn ids_are_never_zero_and_differ() {
        let mut ids = ids();
        let root = made(Place::Own, None, None);
        let (a, b) = (ids.span(None, root), ids.span(None, root));
        assert_ne!(a.trace_id, b.trace_id);
        assert_ne!(a.span_id, b.span_id);
        assert_eq!(ids.transaction(None).len(), 32);
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
            let hop = hop(role, has_client);
            let own = made(Place::Own, None, Some(&hop));
            let span = ids().span(None, own);
            assert_eq!((span.trace_id, span.span_id), ([1; 16], span_id));
            assert_eq!(
                (span.parent_span_id, span.flags),
                (parent, SAMPLED | RANDOM)
            );
            let origin = parent.map_or(Origin::Root, |_| Origin::Computed);
            assert_eq!(span.origin, origin);
            assert_eq!(ids().span(Some(7), own), span);
        }
    }

    #[test]
    fn the_header_goes_before_the_hop_at_both_ends_and_where_it_is_not_adopted_the_hop_stays() {
        for role in [Role::Client, Role::Server] {
            let (hop, context) = (hop(role, true), context());
            let adopted = ids().span(None, made(Place::Adopt, Some(&context), Some(&hop)));
            assert_eq!(
                (adopted.trace_id, adopted.parent_span_id),
                ([7; 16], Some([9; 8]))
            );
            assert_eq!(adopted.span_id, hop.span_id());
            let linked = ids().span(None, made(LINK, Some(&context), Some(&hop)));
            assert_eq!(
                (linked.trace_id, linked.parent_span_id),
                ([1; 16], hop.parent())
            );
            assert_eq!(linked.link, Some(context));
        }
    }
}
