//! What the kernel programs count of each probed file, and the numbers by which they know the files.
//!
//! Enters: the maps `ps_libraries` and `ps_library_counts`. Leaves: a number for a file that is being probed, and its
//! [`CallCounts`]. Holds: a number belongs to one file at a time; what its file before had counted is forgotten first.

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `PS_LIBRARIES`: numbers there are, with 0, which stands for none.
const NUMBERS: u32 = 1024;
/// `sizeof(struct ps_library)`.
const LIBRARY_SIZE: usize = 24;
/// `sizeof(struct ps_library_counts)`.
const COUNTS_SIZE: usize = 64;

/// Calls of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    pub calls: u64,
    /// Plaintext that they moved.
    pub bytes: u64,
    /// That cannot be what they were taken for: more bytes than were asked for, results that no such function returns,
    /// objects and buffers where no memory is, plaintext that is a TLS record.
    pub odd: u64,
    /// That moved bytes, and had nothing odd about them.
    pub right: u64,
}

impl Calls {
    fn add(&mut self, other: &Calls) {
        self.calls += other.calls;
        self.bytes += other.bytes;
        self.odd += other.odd;
        self.right += other.right;
    }

    fn since(&self, before: &Calls) -> Calls {
        let less = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Calls {
            calls: less(self.calls, before.calls),
            bytes: less(self.bytes, before.bytes),
            odd: less(self.odd, before.odd),
            right: less(self.right, before.right),
        }
    }
}

/// What went through the probes of one file so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CallCounts {
    pub reads: Calls,
    pub writes: Calls,
}

/// Odd calls without a single right one after which a file is not what it was taken for.
const ODD_MAX: u64 = 8;

impl CallCounts {
    /// Adds those of another file.
    pub fn add(&mut self, other: &CallCounts) {
        self.reads.add(&other.reads);
        self.writes.add(&other.writes);
    }

    /// What came since `before`; all of it where the probes were attached anew meanwhile.
    pub fn since(&self, before: &CallCounts) -> CallCounts {
        CallCounts {
            reads: self.reads.since(&before.reads),
            writes: self.writes.since(&before.writes),
        }
    }

    /// Why the probes cannot stand where they were meant to: the first calls of one direction gave nothing that could be
    /// right. None: nothing speaks against them.
    pub fn implausible(&self) -> Option<String> {
        let wrong = |of: &Calls| of.odd >= ODD_MAX && of.right == 0;
        let (name, of) = if wrong(&self.reads) {
            ("reads", &self.reads)
        } else if wrong(&self.writes) {
            ("writes", &self.writes)
        } else {
            return None;
        };
        let (odd, calls) = (of.odd, of.calls);
        Some(format!(
            "detached: {odd} of the first {calls} calls that were taken for {name} cannot be: impossible results or \
             memory. Please report this version of the program"
        ))
    }
}

/// Gives out the numbers.
pub(super) struct Numbers {
    taken: Mutex<Vec<bool>>,
    libraries: MapHandle,
    counts: MapHandle,
}

/// The number of one probed file. Dropping it gives it back.
pub(super) struct Number {
    number: u32,
    of: Arc<Numbers>,
}

impl Numbers {
    pub fn new(libraries: MapHandle, counts: MapHandle) -> Numbers {
        Numbers {
            taken: Mutex::new(vec![false; NUMBERS as usize]),
            libraries,
            counts,
        }
    }

    // A panic elsewhere leaves the list whole.
    fn lock(&self) -> MutexGuard<'_, Vec<bool>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number with nothing counted; None where all are taken, or the maps can't be written: that file is not counted.
    pub fn take(this: &Arc<Self>) -> Option<Number> {
        let mut taken = this.lock();
        let free = taken.iter().skip(1).position(|taken| !taken)? + 1;
        let number = u32::try_from(free).ok()?;
        if let Err(error) = this.clear(number) {
            tracing::warn!(%error, "cannot count the calls of a TLS library");
            return None;
        }
        *taken.get_mut(free)? = true;
        Some(Number {
            number,
            of: this.clone(),
        })
    }

    fn clear(&self, number: u32) -> libbpf_rs::Result<()> {
        let key = number.to_ne_bytes();
        let cpus = libbpf_rs::num_possible_cpus()?;
        let none = vec![vec![0; COUNTS_SIZE]; cpus];
        self.counts.update_percpu(&key, &none, MapFlags::ANY)?;
        self.libraries
            .update(&key, &[0; LIBRARY_SIZE], MapFlags::ANY)
    }
}

impl Number {
    /// For the attach cookies.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What was counted; None where the map cannot be read.
    pub fn counts(&self) -> Option<CallCounts> {
        let key = self.number.to_ne_bytes();
        let values = match self.of.counts.lookup_percpu(&key, MapFlags::ANY) {
            Ok(values) => values?,
            Err(error) => {
                tracing::debug!(%error, "cannot read the calls of a TLS library");
                return None;
            }
        };
        let mut n = [0u64; COUNTS_SIZE / 8];
        for cpu in &values {
            for (sum, bytes) in n.iter_mut().zip(cpu.as_chunks::<8>().0) {
                *sum = sum.wrapping_add(u64::from_ne_bytes(*bytes));
            }
        }
        let of = |dir: usize| Calls {
            calls: n[dir],
            bytes: n[2 + dir],
            odd: n[4 + dir],
            right: n[6 + dir],
        };
        Some(CallCounts {
            reads: of(0),
            writes: of(1),
        })
    }
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.number)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if let Some(taken) = self.of.lock().get_mut(self.number as usize) {
            *taken = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(odd: u64, right: u64) -> CallCounts {
        CallCounts {
            reads: Calls {
                calls: odd + right,
                odd,
                right,
                ..Calls::default()
            },
            ..CallCounts::default()
        }
    }

    #[test]
    fn a_file_whose_first_calls_are_all_odd_is_not_what_it_was_taken_for() {
        assert_eq!(reads(7, 0).implausible(), None);
        let said = reads(8, 0).implausible().expect("implausible");
        assert!(said.contains("8 of the first 8 calls") && said.contains("reads"));
        let both = CallCounts {
            reads: Calls {
                right: 9,
                ..Calls::default()
            },
            writes: reads(20, 0).reads,
        };
        assert!(
            both.implausible()
                .is_some_and(|said| said.contains("writes"))
        );
    }

    #[test]
    fn what_came_since_is_all_where_counting_began_anew() {
        assert_eq!(reads(5, 7).since(&reads(2, 3)), reads(3, 4));
        assert_eq!(reads(1, 1).since(&reads(2, 3)), reads(1, 1));
        let mut sum = reads(1, 2);
        sum.add(&reads(3, 4));
        assert_eq!(sum, reads(4, 6));
    }

    #[test]
    fn one_call_that_is_right_speaks_for_a_file() {
        assert_eq!(reads(8, 1).implausible(), None);
        assert_eq!(reads(0, 0).implausible(), None);
    }
}
