//! Whether a destination takes anything, and when to ask it next.

use super::retry::RetryPolicy;
use std::time::Duration;
use tokio::time::Instant;

/// Between attempts while the agent stops.
const STOPPING_WAIT: Duration = Duration::from_millis(500);

/// The state of one destination. Pure: the clock and the jitter are given.
#[derive(Debug)]
pub struct Health {
    policy: RetryPolicy,
    /// Failures in a row; those of requests that were under way together count once.
    failures: u32,
    /// Grows with each failure that counts.
    round: u64,
    /// Before it nothing is sent.
    next: Option<Instant>,
    /// The destination named it itself.
    asked: bool,
    stopping: bool,
}

impl Health {
    pub fn new(policy: RetryPolicy) -> Health {
        Health {
            policy,
            failures: 0,
            round: 0,
            next: None,
            asked: false,
            stopping: false,
        }
    }

    pub fn failing(&self) -> bool {
        self.failures > 0
    }

    /// To be given back with the outcome of a request that is sent now.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Nothing may be sent before; None: at once.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// A request of `round` failed. Gives the wait until the next attempt.
    pub fn failed(
        &mut self,
        round: u64,
        after: Option<Duration>,
        now: Instant,
        jitter: f64,
    ) -> Duration {
        if round == self.round {
            self.round += 1;
            self.failures = self.failures.saturating_add(1);
            let own = self.policy.wait(self.failures, jitter);
            let own = if self.stopping {
                own.min(STOPPING_WAIT)
            } else {
                own
            };
            self.asked = after.is_some();
            self.next = Some(now + after.map_or(own, |after| self.at_least(after)));
        } else if let Some(after) = after {
            self.asked = true;
            self.failures = self.failures.max(1);
            self.next = self.next.max(Some(now + self.at_least(after)));
        }
        let next = self.next.unwrap_or(now);
        next.saturating_duration_since(now)
    }

    /// Not even a server that says 0 is asked without a pause.
    fn at_least(&self, after: Duration) -> Duration {
        // A wait that no clock can hold is as good as a year.
        let year = Duration::from_secs(365 * 86_400);
        after.max(self.policy.first / 5).min(year)
    }

    /// It answered, or what it did not answer to was given up: the next attempt is made at once.
    pub fn works(&mut self) {
        self.failures = 0;
        self.next = None;
        self.asked = false;
    }

    /// There is little time left: one more attempt at once, unless the server itself asked to wait.
    pub fn stop(&mut self) {
        self.stopping = true;
        if !self.asked {
            self.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(4),
        budget: Duration::from_secs(60),
    };

    #[test]
    fn failures_of_requests_under_way_together_count_once() {
        let now = Instant::now();
        let mut health = Health::new(POLICY);
        let round = health.round();
        let waits = [(); 3].map(|()| health.failed(round, None, now, 0.5).as_secs());
        assert_eq!(waits, [1; 3]);
        let round = health.round();
        assert_eq!(health.failed(round, None, now, 0.5).as_secs(), 2);
        health.works();
        assert!(!health.failing() && health.next().is_none());
        let round = health.round();
        assert_eq!(health.failed(round, None, now, 0.5).as_secs(), 1);
    }

    #[test]
    fn the_longest_wait_that_a_server_asked_for_is_kept_even_while_stopping() {
        let now = Instant::now();
        let mut health = Health::new(POLICY);
        let round = health.round();
        for (after, wanted) in [(7, 7), (0, 7), (9, 9)] {
            let after = Some(Duration::from_secs(after));
            assert_eq!(health.failed(round, after, now, 0.5).as_secs(), wanted);
        }
        health.stop();
        assert!(health.next() > Some(now));
        let round = health.round();
        let wait = health.failed(round, None, now, 0.5);
        assert_eq!(wait, STOPPING_WAIT);
        health.stop();
        assert!(health.failing() && health.next().is_none());
    }
}
