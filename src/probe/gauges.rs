//! What the kernel says of the loaded programs and their maps, for the agent's own telemetry.

use super::kernel::KernelError;
use libbpf_rs::{MapCore, MapFlags, MapHandle, libbpf_sys};
use std::collections::BTreeMap;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Entries read from a map by one call.
const BATCH: u32 = 1024;

/// Handles of programs and maps. They keep both in the kernel for as long as they live.
pub struct Gauges {
    pub(super) programs: Vec<(String, OwnedFd)>,
    pub(super) maps: Vec<(&'static str, MapHandle)>,
}

/// How often a program ran, and for how long, while the kernel counted that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    pub count: u64,
    pub nanoseconds: u64,
}

/// How full a map is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fill {
    pub entries: u64,
    pub max: u64,
}

impl Gauges {
    /// By the program's name. The kernel counts only while statistics are on, for whichever reason.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn runs(&self) -> io::Result<BTreeMap<String, Runs>> {
        let of = |(name, program): &(String, OwnedFd)| Ok((name.clone(), runs(program)?));
        self.programs.iter().map(of).collect()
    }

    /// By the map's name. Walks the maps: some milliseconds where they are full.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn maps(&self) -> Result<BTreeMap<&'static str, Fill>, KernelError> {
        let of = |(name, map): &(&'static str, MapHandle)| {
            let entries = map
                .lookup_batch(BATCH, MapFlags::ANY, MapFlags::ANY)
                .map_err(|error| KernelError::Map {
                    what: "the maps",
                    source: io::Error::other(error),
                })?;
            let max = map.max_entries().into();
            // Entries that come and go meanwhile may be met twice.
            let entries = (entries.count() as u64).min(max);
            Ok((*name, Fill { entries, max }))
        };
        self.maps.iter().map(of).collect()
    }
}

fn runs(program: &OwnedFd) -> io::Result<Runs> {
    let mut info = MaybeUninit::<libbpf_sys::bpf_prog_info>::zeroed();
    let mut len = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: an open descriptor, and room of the length that is said; zeroes ask for no arrays.
    let failed = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), info.as_mut_ptr(), &raw mut len)
    };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(-failed));
    }
    // SAFETY: all zeroes is a value of this structure of numbers, and the kernel wrote over some of them.
    let info = unsafe { info.assume_init() };
    Ok(Runs {
        count: info.run_cnt,
        nanoseconds: info.run_time_ns,
    })
}

/// While it lives, the kernel counts the runs of all programs of the host and measures them.
pub struct RunStats(
    #[expect(dead_code, reason = "held: the kernel counts while it is open")] OwnedFd,
);

impl RunStats {
    /// Lets the kernel count (`BPF_ENABLE_STATS`, kernel 5.8).
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn start() -> io::Result<RunStats> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        // SAFETY: just opened, owned by nobody else.
        Ok(RunStats(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}
