//! Transactions that last: when they report, and what.
//!
//! Holds: no clock (time comes with the ticks of the table); a report has no byte of any content, by construction.

use super::Transaction;
use crate::event::KernelTime;

/// Looked for what is due at most so many times in a period.
const LOOKS: u64 = 16;

/// What a transaction that lasts is known by before it ends, and when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting {
    /// Its number among all that lasted, from 1: what ids are made of that have to be the same at its end.
    pub number: u64,
    /// Reports so far, the one that carries this included.
    pub reports: u64,
    /// Whole periods that had passed at the last of them.
    periods: u64,
}

/// Says which transactions report, and when to ask again.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Between two reports of one transaction, in nanoseconds; never 0.
    period: u64,
    now: KernelTime,
    next: KernelTime,
    /// Transactions that lasted so far.
    numbers: u64,
}

impl Schedule {
    /// Reports every `period` nanoseconds; 0 counts as 1.
    pub fn new(period: u64) -> Self {
        Schedule {
            period: period.max(1),
            now: KernelTime(0),
            next: KernelTime(0),
            numbers: 0,
        }
    }

    /// Another period; numbers go on.
    pub fn set_period(&mut self, period: u64) {
        self.period = period.max(1);
        self.next = KernelTime(0);
    }

    /// It is `now`. True: all transactions have to be looked at, by [`Schedule::due`].
    pub fn tick(&mut self, now: KernelTime) -> bool {
        if now < self.next {
            return false;
        }
        self.now = now;
        // What begins from now on is not due before.
        self.next = later(now, self.period);
        true
    }

    /// Whether the transaction that began at `start` reports now. Numbers it then.
    pub fn due(&mut self, start: KernelTime, lasting: &mut Option<Lasting>) -> bool {
        let passed = self.now.since(start) / self.period;
        let due = passed > lasting.map_or(0, |l| l.periods);
        if due {
            let before = lasting.unwrap_or_else(|| {
                self.numbers += 1;
                Lasting {
                    number: self.numbers,
                    reports: 0,
                    periods: 0,
                }
            });
            *lasting = Some(Lasting {
                reports: before.reports + 1,
                periods: passed,
                ..before
            });
        }
        let next = later(start, self.period.saturating_mul(passed.saturating_add(1)));
        let soonest = later(self.now, self.period / LOOKS);
        self.next = self.next.min(next.max(soonest));
        due
    }
}

fn later(time: KernelTime, ns: u64) -> KernelTime {
    KernelTime(time.0.saturating_add(ns))
}

/// What is known of a transaction that goes on: heads, sizes and counts so far, and no content.
/// `timing.end` is the moment of the report.
#[derive(Clone, PartialEq, Eq)]
pub struct Progress(Transaction);

impl Progress {
    /// What `transaction` is at `now`; lets go of all content.
    pub fn at(mut transaction: Transaction, now: KernelTime) -> Self {
        if let Some(request) = &mut transaction.request {
            request.body.discard();
        }
        if let Some(response) = &mut transaction.response {
            response.body.discard();
        }
        if let Some(websocket) = &mut transaction.websocket {
            websocket.discard();
        }
        transaction.timing.end = now.max(transaction.timing.start);
        Progress(transaction)
    }

    /// The transaction so far.
    pub fn transaction(&self) -> &Transaction {
        &self.0
    }

    /// The same, owned.
    pub fn into_transaction(self) -> Transaction {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: KernelTime = KernelTime(1_000);

    fn reports(schedule: &mut Schedule, lasting: &mut Option<Lasting>, at: u64) -> bool {
        schedule.tick(KernelTime(at)) && schedule.due(START, lasting)
    }

    #[test]
    fn a_report_a_period_and_one_for_several_that_passed_unseen() {
        let mut schedule = Schedule::new(100);
        let mut lasting = None;
        let due: Vec<u64> = (1_000..2_000)
            .step_by(10)
            .filter(|at| !(1_250..1_500).contains(at))
            .filter(|at| reports(&mut schedule, &mut lasting, *at))
            .collect();
        assert_eq!(due, [1_100, 1_200, 1_500, 1_600, 1_700, 1_800, 1_900]);
        assert_eq!(lasting.map(|l| (l.number, l.reports)), Some((1, 7)));
    }

    #[test]
    fn it_is_not_asked_for_before_anything_can_be_due() {
        let mut schedule = Schedule::new(100);
        assert!(schedule.tick(KernelTime(1_000)));
        assert!(!schedule.tick(KernelTime(1_099)));
        assert!(schedule.tick(KernelTime(1_100)));
        // One of 1060 is due at 1160, but many of them make no look at every moment.
        assert!(!schedule.due(KernelTime(1_060), &mut None));
        assert!(!schedule.tick(KernelTime(1_159)));
        assert!(schedule.tick(KernelTime(1_160)));
        assert!(schedule.due(KernelTime(1_060), &mut None));
        assert!(!schedule.due(KernelTime(1_061), &mut None));
        assert!(!schedule.tick(KernelTime(1_165)));
        assert!(schedule.tick(KernelTime(1_166)));
    }

    #[test]
    fn each_transaction_has_its_number() {
        let mut schedule = Schedule::new(100);
        let (mut a, mut b) = (None, None);
        schedule.tick(KernelTime(1_200));
        assert!(schedule.due(START, &mut a) && schedule.due(START, &mut b));
        schedule.tick(KernelTime(1_300));
        assert!(schedule.due(START, &mut a) && schedule.due(START, &mut b));
        let number = |l: Option<Lasting>| l.map(|l| (l.number, l.reports));
        assert_eq!((number(a), number(b)), (Some((1, 2)), Some((2, 2))));
    }
}
