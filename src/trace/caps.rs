//! How often, and how long, one context is believed to be a parent.
//!
//! Enters: a context and the request that carries it. Leaves: whether it is adopted once more.
//! Holds: both ends of one request get the same answer; contexts are bounded by number, and one that was refused lately
//! is forgotten last: who sends the same parent for ever (a pool, a loop over a batch) stays refused.

use crate::event::KernelTime;
use crate::transaction::TraceContext;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Contexts that are remembered at the most.
const CONTEXTS_MAX: usize = 16_384;
/// Requests of a context whose answer is remembered, for their other end.
const RECENT: usize = 16;
/// Contexts that are looked at for one to forget.
const LOOKS: usize = 8;

/// What one context may be the parent of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapSettings {
    /// Requests; both ends of one are one.
    pub requests: u32,
    /// Since it was seen first.
    pub age: Duration,
}

impl Default for CapSettings {
    fn default() -> Self {
        CapSettings {
            requests: 100,
            age: Duration::from_secs(600),
        }
    }
}

type Context = ([u8; 16], [u8; 8]);

struct Adopted {
    first: KernelTime,
    requests: u32,
    /// Requests that were asked about lately and what was said, newest last.
    recent: VecDeque<(u64, bool)>,
    /// It was refused since the last look at what to forget.
    refused: bool,
}

/// All contexts that were parents lately.
#[derive(Default)]
pub struct Caps {
    settings: CapSettings,
    known: HashMap<Context, Adopted>,
    /// In the order in which they are forgotten.
    order: VecDeque<Context>,
}

impl Caps {
    pub fn set(&mut self, settings: CapSettings) {
        self.settings = settings;
    }

    /// Whether the context is adopted once more at `now`. `request`: the same number for both ends of one request.
    pub fn admits(&mut self, context: &TraceContext, request: u64, now: KernelTime) -> bool {
        let key = (context.trace_id, context.span_id);
        if !self.known.contains_key(&key) {
            self.make_room();
            self.order.push_back(key);
        }
        let settings = self.settings;
        let known = self.known.entry(key).or_insert_with(|| Adopted {
            first: now,
            requests: 0,
            recent: VecDeque::new(),
            refused: false,
        });
        if let Some((_, said)) = known.recent.iter().find(|(asked, _)| *asked == request) {
            return *said;
        }
        let age = Duration::from_nanos(now.since(known.first));
        let admitted = known.requests < settings.requests && age <= settings.age;
        known.requests = known.requests.saturating_add(u32::from(admitted));
        known.refused |= !admitted;
        if known.recent.len() == RECENT {
            known.recent.pop_front();
        }
        known.recent.push_back((request, admitted));
        admitted
    }

    fn make_room(&mut self) {
        if self.known.len() < CONTEXTS_MAX {
            return;
        }
        for look in 1..=LOOKS {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            match self.known.get_mut(&oldest) {
                Some(known) if known.refused && look < LOOKS => {
                    known.refused = false;
                    self.order.push_back(oldest);
                }
                _ => {
                    self.known.remove(&oldest);
                    return;
                }
            }
        }
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> u64 {
        let recent = RECENT * size_of::<(u64, bool)>();
        let each = size_of::<(Context, Adopted)>() + size_of::<Context>();
        (self.known.capacity() * each + self.known.len() * recent) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::TraceContextSource;

    const SECOND: u64 = 1_000_000_000;

    fn context(number: u64) -> TraceContext {
        TraceContext {
            trace_id: [1; 16],
            span_id: (number + 1).to_be_bytes(),
            flags: 1,
            tracestate: String::new(),
            source: TraceContextSource::W3c,
        }
    }

    fn caps(requests: u32, seconds: u64) -> Caps {
        let mut caps = Caps::default();
        caps.set(CapSettings {
            requests,
            age: Duration::from_secs(seconds),
        });
        caps
    }

    #[test]
    fn a_context_is_adopted_so_often_and_no_more_and_each_counts_for_itself() {
        let mut caps = caps(3, 600);
        let said: Vec<bool> = (0..5)
            .map(|n| caps.admits(&context(0), n, KernelTime(n)))
            .collect();
        assert_eq!(said, [true, true, true, false, false]);
        assert!(caps.admits(&context(1), 9, KernelTime(9)));
    }

    #[test]
    fn both_ends_of_a_request_are_one_and_get_one_answer() {
        let mut caps = caps(2, 600);
        let said: Vec<bool> = [1, 1, 2, 3, 2, 3, 1]
            .into_iter()
            .map(|n| caps.admits(&context(0), n, KernelTime(0)))
            .collect();
        assert_eq!(said, [true, true, true, false, true, false, true]);
    }

    #[test]
    fn a_context_that_is_too_old_is_not_adopted() {
        let mut caps = caps(100, 60);
        assert!(caps.admits(&context(0), 1, KernelTime(SECOND)));
        assert!(caps.admits(&context(0), 2, KernelTime(61 * SECOND)));
        assert!(!caps.admits(&context(0), 3, KernelTime(61 * SECOND + 1)));
    }

    #[test]
    fn contexts_are_bounded_and_one_that_is_sent_for_ever_stays_refused() {
        let mut caps = caps(1, 600);
        let mut forever = 0;
        for number in 1..3 * CONTEXTS_MAX as u64 {
            assert!(caps.admits(&context(number), number, KernelTime(number)));
            if number % 100 == 0 {
                forever += u32::from(caps.admits(&context(0), number, KernelTime(number)));
            }
        }
        assert!(caps.known.len() <= CONTEXTS_MAX && caps.order.len() <= CONTEXTS_MAX);
        assert_eq!(forever, 1, "adopted once, and never again");
    }
}
