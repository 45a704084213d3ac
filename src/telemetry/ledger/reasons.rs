//! Why something was left out, or lost. What a user can do about each is in `docs/ledger.md`.

/// Why a transaction was left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftOut {
    LevelNone,
    Filtered,
    SampledOut,
    RateLimited,
    SdkTraced,
    Unsampled,
    /// The agent took more CPU than `limits.cpu`.
    CpuBudget,
}

impl LeftOut {
    /// As in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            LeftOut::LevelNone => "level_none",
            LeftOut::Filtered => "filtered",
            LeftOut::SampledOut => "sampled_out",
            LeftOut::RateLimited => "rate_limited",
            LeftOut::SdkTraced => "sdk_traced",
            LeftOut::Unsampled => "unsampled",
            LeftOut::CpuBudget => "cpu_budget",
        }
    }
}

/// Why a transaction, or one of its signals, was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// The kernel's ring had no room: raise `limits.ring`.
    RingFull,
    /// Connection state was given up to stay within the memory of `limits`: raise `limits.memory` or
    /// `limits.connection_memory`.
    Evicted,
    /// More streams were open at once on an HTTP/2 connection than are followed: the oldest is given up. A peer that
    /// opens that many does not mean well, or takes no limit from the other one.
    StreamsFull,
    /// More requests waited for their responses on one HTTP/1 connection than are followed. A client that pipelines that
    /// many does not mean well.
    PipelineFull,
    /// Not understood as HTTP in the middle of a connection.
    Unparsable,
    /// A destination's queue was full: it is too slow, or down for too long.
    QueueFull,
    /// The destination refused it for good.
    Rejected,
    /// The destination could not be reached for as long as retries go on.
    RetryExhausted,
    /// The spool had no room.
    SpoolFull,
    /// The agent stopped first.
    Shutdown,
}

/// Why items of a signal were lost after a spool took them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpoolLost {
    /// They were there for longer than `spool.max_age`.
    Expired,
    /// What the spool had of them was damaged.
    Corrupt,
}

/// Why a payload was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayloadLost {
    /// The store is too slow, or down for too long.
    QueueFull,
    /// The store was down, could not be reached, was too slow or had too much to do.
    StoreFailed,
    /// The store takes nothing from this agent as it is configured.
    StoreRefused,
    /// There was no room in the store.
    StoreFull,
    /// Larger than one object may be.
    TooLarge,
    /// The spool had no room for it, and the store did not take it.
    SpoolFull,
    /// It was in the spool for longer than it may be.
    SpoolExpired,
    /// It was in the spool, and is damaged there.
    SpoolCorrupt,
    /// The agent stopped first.
    Shutdown,
}

impl PayloadLost {
    /// As in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            PayloadLost::QueueFull => "queue_full",
            PayloadLost::StoreFailed => "store_failed",
            PayloadLost::StoreRefused => "store_refused",
            PayloadLost::StoreFull => "store_full",
            PayloadLost::TooLarge => "too_large",
            PayloadLost::SpoolFull => "spool_full",
            PayloadLost::SpoolExpired => "spool_expired",
            PayloadLost::SpoolCorrupt => "spool_corrupt",
            PayloadLost::Shutdown => "shutdown",
        }
    }
}

/// Why payloads that were stored were removed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Removed {
    /// The local store had no more room: its oldest go.
    MaxBytes,
    /// They were older than the local store keeps them.
    MaxAge,
}

/// Why a connection gave no transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Uncaptured {
    /// TLS that began before the agent, or before its library was found.
    AttachedLate,
    /// TLS of a library that is not known.
    UnknownStack,
    Filtered,
    /// No HTTP in its first bytes.
    NotHttp,
    /// Its level could only be `none`, so nothing of it was copied.
    LevelNone,
    /// HTTP/2 of whose streams nothing could be told: none was opened, or their frames or fields were not understood.
    Http2,
}
