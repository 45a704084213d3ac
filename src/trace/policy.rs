//! What the trace context of a request does to our span (`tap.trace.context`).

use crate::config::TraceContextPolicy;
use crate::event::Role;
use crate::telemetry::ledger::LeftOut;
use crate::transaction::{TraceContext, TraceContextSource};

/// What the headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    None,
    Sampled,
    /// The caller keeps no span of this trace.
    Unsampled,
    /// It stands there more than once.
    Repeated,
}

impl Header {
    pub fn of(context: Option<&TraceContext>) -> Header {
        match context {
            None => Header::None,
            Some(context) if context.source == TraceContextSource::W3cRepeated => Header::Repeated,
            Some(context) if context.is_sampled() => Header::Sampled,
            Some(_) => Header::Unsampled,
        }
    }
}

/// All that the place of a span depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub policy: TraceContextPolicy,
    pub role: Role,
    pub header: Header,
    /// The process makes spans of its own.
    pub has_sdk: bool,
    /// The peer is not among `tap.trace.untrusted`.
    pub trusted: bool,
    /// This context was the parent of so many, or for so long, that it is not believed any more.
    pub capped: bool,
    /// The request opens a tunnel: what goes through is of many callers.
    pub tunnel: bool,
}

/// Why a context is linked to, and is no parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    Policy,
    Repeated,
    Tunnel,
    Untrusted,
    Capped,
}

/// The place of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the header's trace, a child of its span.
    Adopt,
    /// In a trace of its own, with a link to the header's context.
    Link(Why),
    /// In a trace of its own.
    Own,
    /// No span leaves: somebody else makes it, or nobody wants one of this trace. The event and the payload leave, under
    /// the header's ids.
    NoSpan(LeftOut),
}

/// Decides.
///
/// A client's request without a header was not made through the SDK of its process, which would have injected one: it
/// gets a span. A server's request without one may still have a span of the SDK, with ids that nobody sees.
pub fn place(asked: Asked) -> Place {
    let seen = asked.header != Header::None;
    let auto = asked.policy == TraceContextPolicy::Auto;
    if auto && asked.has_sdk && (seen || asked.role == Role::Server) {
        return Place::NoSpan(LeftOut::SdkTraced);
    }
    match (asked.policy, asked.header) {
        (_, Header::None) | (TraceContextPolicy::Off, _) => return Place::Own,
        (TraceContextPolicy::Link, _) => return Place::Link(Why::Policy),
        (TraceContextPolicy::Auto | TraceContextPolicy::Adopt, _) => {}
    }
    let doubts = [
        (asked.header == Header::Repeated, Why::Repeated),
        (asked.tunnel, Why::Tunnel),
        // What this side's own process sends is its own.
        (asked.role == Role::Server && !asked.trusted, Why::Untrusted),
        (asked.capped, Why::Capped),
    ];
    if let Some((_, why)) = doubts.into_iter().find(|(doubt, _)| *doubt) {
        return Place::Link(why);
    }
    if auto && asked.header == Header::Unsampled {
        return Place::NoSpan(LeftOut::Unsampled);
    }
    Place::Adopt
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: [TraceContextPolicy; 4] = [
        TraceContextPolicy::Auto,
        TraceContextPolicy::Adopt,
        TraceContextPolicy::Link,
        TraceContextPolicy::Off,
    ];
    const HEADERS: [Header; 4] = [
        Header::None,
        Header::Sampled,
        Header::Unsampled,
        Header::Repeated,
    ];
    const SDK: Place = Place::NoSpan(LeftOut::SdkTraced);
    const UNSAMPLED: Place = Place::NoSpan(LeftOut::Unsampled);
    const LINK: Place = Place::Link(Why::Policy);
    const TWICE: Place = Place::Link(Why::Repeated);
    const STRANGER: Place = Place::Link(Why::Untrusted);
    const CAPPED: Place = Place::Link(Why::Capped);

    /// Places for the headers: none, sampled, unsampled, repeated.
    type Row = [Place; 4];

    /// What stands for a policy, a side, an SDK, a trusted peer, a cap: all 64.
    fn row(policy: TraceContextPolicy, role: Role, sdk: bool, trusted: bool, capped: bool) -> Row {
        use Place::{Adopt, Own};
        use TraceContextPolicy::{Adopt as AdoptAll, Auto, Link, Off};
        match (policy, role, sdk, trusted, capped) {
            (Auto, Role::Server, true, _, _) => [SDK, SDK, SDK, SDK],
            (Auto, Role::Client, true, _, _) => [Own, SDK, SDK, SDK],
            (Auto, Role::Client, false, _, false) => [Own, Adopt, UNSAMPLED, TWICE],
            (Auto, Role::Client, false, _, true) => [Own, CAPPED, CAPPED, TWICE],
            (Auto, Role::Server, false, true, false) => [Own, Adopt, UNSAMPLED, TWICE],
            (Auto, Role::Server, false, true, true) => [Own, CAPPED, CAPPED, TWICE],
            (Auto, Role::Server, false, false, _) => [Own, STRANGER, STRANGER, TWICE],
            (AdoptAll, Role::Client, _, _, false) => [Own, Adopt, Adopt, TWICE],
            (AdoptAll, Role::Client, _, _, true) => [Own, CAPPED, CAPPED, TWICE],
            (AdoptAll, Role::Server, _, true, false) => [Own, Adopt, Adopt, TWICE],
            (AdoptAll, Role::Server, _, true, true) => [Own, CAPPED, CAPPED, TWICE],
            (AdoptAll, Role::Server, _, false, _) => [Own, STRANGER, STRANGER, TWICE],
            (Link, _, _, _, _) => [Own, LINK, LINK, LINK],
            (Off, _, _, _, _) => [Own, Own, Own, Own],
        }
    }

    #[test]
    fn the_place_follows_policy_side_header_sdk_trust_and_cap() {
        let both = [false, true];
        let mut cases = 0;
        for policy in POLICIES {
            for role in [Role::Client, Role::Server] {
                for (has_sdk, trusted, capped) in both
                    .into_iter()
                    .flat_map(|a| both.into_iter().flat_map(move |b| both.map(|c| (a, b, c))))
                {
                    let row = row(policy, role, has_sdk, trusted, capped);
                    for (header, wanted) in HEADERS.into_iter().zip(row) {
                        let asked = Asked {
                            policy,
                            role,
                            header,
                            has_sdk,
                            trusted,
                            capped,
                            tunnel: false,
                        };
                        assert_eq!(place(asked), wanted, "{asked:?}");
                        cases += 1;
                    }
                }
            }
        }
        assert_eq!(cases, 4 * 2 * 8 * 4);
    }

    #[test]
    fn a_tunnels_caller_is_linked_where_it_would_have_been_the_parent() {
        for (policy, wanted) in POLICIES.into_iter().zip([
            Place::Link(Why::Tunnel),
            Place::Link(Why::Tunnel),
            LINK,
            Place::Own,
        ]) {
            let asked = Asked {
                policy,
                role: Role::Server,
                header: Header::Sampled,
                has_sdk: false,
                trusted: true,
                capped: false,
                tunnel: true,
            };
            assert_eq!(place(asked), wanted, "{policy:?}");
        }
    }
}
