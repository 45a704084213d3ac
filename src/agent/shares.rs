//! Who may hold how much of `limits.memory` (`docs/limits.md`).
//!
//! Holds: pure; all shares together are no more than the whole, whatever is configured.

/// Stores that take telemetry over OTLP, of which there is one at the most, and the signals that queue for it.
const SIGNALS: u64 = 2;

/// The shares of so many bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares(u64);

impl Shares {
    pub fn of(memory: u64) -> Shares {
        Shares(memory)
    }

    /// Connections and what is being put together of them, and what waits before the sinks.
    pub fn connections(self) -> u64 {
        self.0 / 2
    }

    /// What waits of one signal for the collector.
    pub fn signal(self) -> usize {
        bytes(self.0 / 4 / SIGNALS)
    }

    /// What waits for one of so many object stores.
    pub fn payloads(self, stores: usize) -> usize {
        bytes(self.0 / 4 / stores.max(1) as u64)
    }
}

/// 32-bit hosts are not supported, so nothing is cut.
fn bytes(share: u64) -> usize {
    usize::try_from(share).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_shares_are_the_whole_at_the_most(memory in 0_u64..1 << 40, stores in 0_usize..100) {
            let shares = Shares::of(memory);
            let payloads = shares.payloads(stores) as u64 * stores as u64;
            let signals = shares.signal() as u64 * SIGNALS;
            let all = shares.connections() + signals + payloads;
            prop_assert!(all <= memory, "{all} of {memory}");
            // Nor is much left to nobody.
            prop_assert!(stores == 0 || all + 4 + 2 * SIGNALS + stores as u64 >= memory);
        }
    }
}
