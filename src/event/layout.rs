//! Mirror of `bpf/include/event.h`: sizes, offsets and constants of the kernel's wire format.
//!
//! `tests/event_layout.rs` compiles the header and compares every number here with the compiler's.
//! A change raises [`VERSION`], because recorded event files depend on it; fields added at a structure's end do not.

/// `PS_EVENT_VERSION`.
pub const VERSION: u16 = 1;

/// `enum ps_kind`.
pub mod kind {
    pub const DATA: u16 = 1;
    pub const CONN_OPEN: u16 = 2;
    pub const CONN_EOF: u16 = 3;
    pub const CONN_CLOSE: u16 = 4;
    pub const TLS_BIND: u16 = 5;
    pub const TLS_END: u16 = 6;
    pub const EXEC: u16 = 7;
    pub const EXIT: u16 = 8;
}

/// `PS_F_*`, flags of a data event.
pub mod flag {
    pub const LAST: u8 = 1;
    pub const CUT: u8 = 2;
    pub const FAULT: u8 = 4;
    pub const NO_BYTES: u8 = 8;
    pub const WHOLE: u8 = 16;
    pub const SKIPPED: u8 = 32;
    pub const WAITED: u8 = 64;
}

/// `PS_CONN_RESET`.
pub const CONN_RESET: u8 = 1;
/// `PS_CONN_UNWANTED`.
pub const CONN_UNWANTED: u8 = 2;
/// `PS_CONN_WHOLE`.
pub const CONN_WHOLE: u8 = 1;

/// `sizeof` and `offsetof` of each structure.
pub mod size {
    pub const HEADER: usize = 16;
    pub const DATA: usize = 72;
    pub const CONN_OPEN: usize = 80;
    pub const CONN_END: usize = 48;
    pub const TLS: usize = 56;
    /// Of recordings that lack `moved`.
    pub const TLS_SHORT: usize = 40;
    pub const EXEC: usize = 296;
    pub const EXEC_ENVIRON: usize = 2344;
    pub const EXIT: usize = 16;
}

/// `enum ps_stat`: index into the kernel's counters.
pub mod stat {
    pub const BYTES_SEEN: usize = 0;
    pub const BYTES_COPIED: usize = 1;
    pub const BYTES_SKIPPED: usize = 2;
    pub const BYTES_LOST: usize = 3;
    pub const DATA_RING_FULL: usize = 4;
    pub const CONTROL_RING_FULL: usize = 5;
    pub const CONN_MAP_FULL: usize = 6;
    pub const TLS_MAP_FULL: usize = 7;
    pub const FAULT: usize = 8;
    pub const NO_TASK: usize = 9;
    pub const NESTED_LOST: usize = 10;
    pub const REBOUND: usize = 11;
    pub const SKIPPED_CONTENT: usize = 12;
    pub const SKIPPED_NONE: usize = 13;
    pub const SKIPPED_UNFOLLOWED: usize = 14;
    pub const DOUBTED: usize = 15;
    pub const MAX: usize = 16;
}
