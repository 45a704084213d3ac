use super::*;
use crate::event::KernelTime;
use crate::transaction::pairing::Pairing;
use crate::transaction::{Asked, Protocol};
use proptest::prelude::*;

fn stamp(turn: u32) -> Stamp {
    Stamp {
        time: KernelTime(u64::from(turn)),
        pid: 1,
        tid: 1,
        turn,
    }
}

/// An exchange of a request that began in this turn, and no more of it.
fn request(turn: u32) -> Exchange {
    let mut pairing = Pairing::default();
    pairing.request_begins(stamp(turn), Protocol::Http11, Asked::default());
    pairing.pop_rest(false, false).expect("it has begun")
}

fn lossy(late: bool) -> Turns {
    let mut turns = Turns::new(late);
    turns.gap(1 << 20);
    turns
}

#[test]
fn two_turns_that_nothing_was_seen_of_are_a_lost_transaction() {
    let mut turns = lossy(false);
    // An exchange of which no message is there is taken for a response.
    assert_eq!(turns.before(&request(7), false), 3);
    assert_eq!(turns.before(&request(9), false), 0);
    assert_eq!(turns.before(&request(15), false), 2);
    assert_eq!(turns.at_end(19, false), 2);
}

#[test]
fn without_missing_bytes_nothing_is_lost_whatever_the_turns_are() {
    let mut turns = Turns::new(false);
    assert_eq!(turns.before(&request(101), false), 0);
    assert_eq!(turns.at_end(1001, false), 0);
    let mut turns = Turns::new(false);
    turns.gap(2 * SHORTEST);
    assert_eq!(turns.before(&request(101), false), 2);
    assert_eq!(turns.at_end(1001, false), 0);
}

#[test]
fn of_what_was_not_seen_from_its_beginning_nothing_is_counted_before_the_first_exchange() {
    let mut turns = lossy(true);
    assert_eq!(turns.before(&request(101), false), 0);
    assert_eq!(turns.before(&request(105), false), 1);
    turns.forget();
    assert_eq!(turns.before(&request(205), false), 0);
}

#[test]
fn with_pipelining_what_was_seen_to_be_lost_counts() {
    let mut turns = lossy(false);
    turns.lost();
    turns.lost();
    assert_eq!(turns.before(&request(1), true), 2);
    assert_eq!(turns.at_end(1001, true), 0);
    // Without it the turns know better.
    turns = lossy(false);
    turns.lost();
    turns.lost();
    assert_eq!(turns.before(&request(3), false), 1);
}

proptest! {
    /// Whichever transactions are given, all others before the end are counted.
    #[test]
    fn what_is_given_and_what_is_lost_is_all(seen in prop::collection::vec(any::<bool>(), 1..100)) {
        let mut turns = lossy(false);
        let (mut given, mut lost) = (0, 0);
        for (n, seen) in (0u32..).zip(&seen) {
            if *seen {
                given += 1;
                lost += turns.before(&request(2 * n + 1), false);
            }
        }
        let last = 2 * seen.len() as u32 - 1;
        lost += turns.at_end(last, false);
        prop_assert_eq!(given + lost, seen.len() as u64);
    }
}
