//! The kernel's reports of new executable mappings: one event without samples for each CPU, and its ring.
//!
//! Enters: `perf_event_open`. Leaves: [`Record`]s. Holds: every record is read once, and a full ring shows as `Lost`.
//! Layouts are those of linux/perf_event.h.

use super::maps::{MappedFile, Mapping, file_path};
use crate::probe::host;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_DUMMY: u64 = 9;
const PERF_FLAG_FD_CLOEXEC: u64 = 8;
const RECORD_LOST: u32 = 2;
const RECORD_MMAP2: u32 = 10;
/// `perf_event_attr`: report executable mappings (`mmap`), as PERF_RECORD_MMAP2 (`mmap2`), and wake by bytes, not by
/// samples (`watermark`). Without `build_id` each record names device and inode.
const ATTR_FLAGS: u64 = 1 << 8 | 1 << 14 | 1 << 23;

const PAGE: usize = 4096;
/// Data pages a CPU, a power of two. With the first page it stays within the default of `perf_event_mlock_kb`
/// (516 KiB a CPU) and holds over a thousand records.
const DATA_PAGES: usize = 64;
/// `perf_event_mmap_page`: where the kernel has written to, and where we have read to.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

/// `perf_event_attr` in its first published size; the kernel takes the rest as zeros.
#[repr(C)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    bp_type: u32,
    config1: u64,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A file was mapped executable. `generation` tells files apart that had the same inode number in turn.
    Mapped { mapping: Mapping, generation: u64 },
    /// So many records found no room.
    Lost(u64),
    /// There may have been no room for records since. The kernel tells how many only with its next record, which on a
    /// quiet CPU can be long in coming.
    Full,
}

/// Why the kernel does not report mappings.
#[derive(Debug, thiserror::Error)]
pub enum PerfError {
    #[error(
        "cannot watch for new mappings on CPU {cpu}: perf_event_open: {error}; this needs root or CAP_PERFMON"
    )]
    Open { cpu: u32, error: io::Error },
    #[error(
        "the kernel does not report new mappings, because kernel.perf_event_paranoid is {level}: set it to 2, or start the \
         agent with CAP_SYS_ADMIN too, which it gives up then"
    )]
    Paranoid { level: i32 },
    #[error(
        "cannot map the ring of CPU {cpu}: {error}; raise kernel.perf_event_mlock_kb or give CAP_IPC_LOCK"
    )]
    Map { cpu: u32, error: io::Error },
    #[error("cannot read the list of CPUs in /sys/devices/system/cpu/online: {0}")]
    Cpus(io::Error),
}

impl PerfError {
    /// What a refusal to watch a CPU is about; `paranoid` is `kernel.perf_event_paranoid` where it can be read.
    fn refused(cpu: u32, error: io::Error, paranoid: Option<i32>) -> PerfError {
        match paranoid {
            // Levels of Debian's own kernels: CAP_PERFMON is not enough (mainline ends at 2).
            Some(level) if level > 2 && error.kind() == io::ErrorKind::PermissionDenied => {
                PerfError::Paranoid { level }
            }
            _ => PerfError::Open { cpu, error },
        }
    }
}

/// The kernel's reports of new mappings, or why there are none. They are asked for while the process still has all of its
/// rights, and begin with [`Reports::rings`]: memory of rings counts where old kernels count that of kernel programs.
pub struct Reports(Result<Vec<Event>, PerfError>);

impl Reports {
    pub fn ask() -> Reports {
        Reports(Event::of_all_cpus())
    }

    /// Why there are none.
    pub fn refusal(&self) -> Option<&PerfError> {
        self.0.as_ref().err()
    }

    /// Starts them. None, and why, where this kernel's setting alone is in the way: passes over /proc find the same, later.
    ///
    /// # Errors
    /// Where it is for any other reason, or a ring cannot be mapped.
    pub(super) fn rings(self) -> Result<(Rings, Option<PerfError>), PerfError> {
        match self.0 {
            Ok(events) => {
                let rings = events
                    .into_iter()
                    .map(Ring::map)
                    .collect::<Result<_, _>>()?;
                Ok((Rings { rings }, None))
            }
            Err(why @ PerfError::Paranoid { .. }) => Ok((Rings { rings: Vec::new() }, Some(why))),
            Err(error) => Err(error),
        }
    }
}

/// The rings of all CPUs.
pub struct Rings {
    rings: Vec<Ring>,
}

impl Rings {
    /// Descriptors that become readable when records are there.
    pub fn fds(&self) -> impl Iterator<Item = RawFd> {
        self.rings.iter().map(|r| r.fd.as_raw_fd())
    }

    /// Takes all records that are there now.
    pub fn drain(&mut self, mut each: impl FnMut(Record)) {
        for ring in &mut self.rings {
            ring.drain(&mut each);
        }
    }
}

/// `0-3,8` (Documentation/ABI/stable/sysfs-devices-system-cpu).
fn cpu_list(list: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

/// What a CPU reports, without a ring yet.
struct Event {
    cpu: u32,
    fd: OwnedFd,
}

impl Event {
    /// A CPU that comes up later is not watched.
    fn of_all_cpus() -> Result<Vec<Event>, PerfError> {
        let list =
            std::fs::read_to_string("/sys/devices/system/cpu/online").map_err(PerfError::Cpus)?;
        let cpus = cpu_list(&list).ok_or_else(|| {
            let text = format!("`{}` is no list of CPUs", list.trim());
            PerfError::Cpus(io::Error::new(io::ErrorKind::InvalidData, text))
        })?;
        cpus.into_iter().map(Event::open).collect()
    }

    fn open(cpu: u32) -> Result<Event, PerfError> {
        let open_error = |error| PerfError::refused(cpu, error, host::perf_event_paranoid());
        let attr = Attr {
            kind: PERF_TYPE_SOFTWARE,
            size: size_of::<Attr>() as u32,
            config: PERF_COUNT_SW_DUMMY,
            sample_period: 0,
            sample_type: 0,
            read_format: 0,
            flags: ATTR_FLAGS,
            wakeup_watermark: 1,
            bp_type: 0,
            config1: 0,
        };
        // SAFETY: `attr` has the size that it says and outlives the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attr,
                -1,
                cpu,
                -1,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        let fd = i32::try_from(fd).map_err(|e| open_error(io::Error::other(e)))?;
        if fd < 0 {
            return Err(open_error(io::Error::last_os_error()));
        }
        // SAFETY: the system call has just made this descriptor, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Event { cpu, fd })
    }
}

struct Ring {
    fd: OwnedFd,
    base: NonNull<u8>,
    buffer: Vec<u8>,
}

// SAFETY: the mapping belongs to this value alone and is not bound to a thread.
unsafe impl Send for Ring {}

/// The longest record that is asked for: a mapping with the longest path there can be.
const RECORD_MAX: u64 = 128 + 4096;

impl Ring {
    const MAPPED: usize = (DATA_PAGES + 1) * PAGE;

    fn map(event: Event) -> Result<Self, PerfError> {
        let Event { cpu, fd } = event;
        // SAFETY: a new shared mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Ring::MAPPED,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(base.cast::<u8>()) {
            Some(first) if base != libc::MAP_FAILED => Ok(Ring {
                fd,
                base: first,
                buffer: Vec::new(),
            }),
            _ => Err(PerfError::Map {
                cpu,
                error: io::Error::last_os_error(),
            }),
        }
    }

    /// A counter in the first page, which the kernel shares.
    fn counter(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: `offset` is one of the two constants, 8-byte aligned and inside the first page, which stays mapped
        // as long as `self` lives; the kernel accesses it as one aligned word.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    fn drain(&mut self, each: &mut impl FnMut(Record)) {
        // Acquire: the records before the head are read after it. Release: the tail moves after they were read.
        let head = self.counter(DATA_HEAD).load(Ordering::Acquire);
        let mut tail = self.counter(DATA_TAIL).load(Ordering::Relaxed);
        let full = head.saturating_sub(tail) + RECORD_MAX > (DATA_PAGES * PAGE) as u64;
        while tail < head {
            let Some(size) = self.copy(tail, head - tail) else {
                // No kernel writes such a record. What is left cannot be told apart: count it and go on behind it.
                each(Record::Lost(1));
                tail = head;
                break;
            };
            if let Some(record) = parse(&self.buffer) {
                each(record);
            }
            tail += size;
        }
        self.counter(DATA_TAIL).store(tail, Ordering::Release);
        if full {
            each(Record::Full);
        }
    }

    /// Copies the record at `tail` to `buffer`; answers its size. `None` where it is not within `left` bytes.
    fn copy(&mut self, tail: u64, left: u64) -> Option<u64> {
        self.copy_bytes(tail, 8)?;
        let size = u64::from(u16::from_le_bytes(*self.buffer.get(6..)?.first_chunk()?));
        if size < 8 || size > left {
            return None;
        }
        self.copy_bytes(tail, usize::try_from(size).ok()?)?;
        Some(size)
    }

    fn copy_bytes(&mut self, position: u64, len: usize) -> Option<()> {
        const DATA: usize = DATA_PAGES * PAGE;
        let from = usize::try_from(position % DATA as u64).ok()?;
        let before_end = len.min(DATA.checked_sub(from)?);
        let behind = len - before_end;
        if behind > DATA {
            return None;
        }
        self.buffer.clear();
        self.buffer.reserve(len);
        // SAFETY: both parts are inside the data pages: `from + before_end <= DATA` and `behind <= DATA`. `buffer` has
        // room for `len` bytes, all of which are written before its length is set. The kernel does not write between
        // tail and head.
        unsafe {
            let data = self.base.as_ptr().add(PAGE);
            let to = self.buffer.as_mut_ptr();
            std::ptr::copy_nonoverlapping(data.add(from), to, before_end);
            std::ptr::copy_nonoverlapping(data, to.add(before_end), behind);
            self.buffer.set_len(len);
        }
        Some(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `open` with this size, and nothing refers to it any more.
        let failed = unsafe { libc::munmap(self.base.as_ptr().cast(), Ring::MAPPED) } != 0;
        if failed {
            tracing::warn!(error = %io::Error::last_os_error(), "cannot unmap a perf ring");
        }
    }
}

/// A whole record, header included. `None` for kinds and mappings that do not matter here.
fn parse(record: &[u8]) -> Option<Record> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(*record.get(at..)?.first_chunk()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(*record.get(at..)?.first_chunk()?));
    match u32_at(0)? {
        RECORD_LOST => Some(Record::Lost(u64_at(16)?)),
        RECORD_MMAP2 => {
            let start = u64_at(16)?;
            let name = record.get(72..)?;
            let name = name.split(|b| *b == 0).next().unwrap_or_default();
            let (path, deleted) = file_path(name)?;
            let mapping = Mapping {
                pid: u32_at(8)?,
                start,
                end: start.checked_add(u64_at(24)?)?,
                file_offset: u64_at(32)?,
                key: MappedFile {
                    major: u32_at(40)?,
                    minor: u32_at(44)?,
                    inode: u64_at(48)?,
                },
                path,
                deleted,
            };
            let generation = u64_at(56)?;
            Some(Record::Mapped {
                mapping,
                generation,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn rings() -> Rings {
        let (rings, missing) =
            (Reports::ask().rings()).expect("this test needs root or CAP_PERFMON");
        assert!(missing.is_none(), "{missing:?}");
        rings
    }

    #[test]
    fn debian_s_levels_are_told_from_missing_rights_and_leave_passes_over_proc() {
        let denied = || io::Error::from_raw_os_error(libc::EACCES);
        for (error, level, paranoid) in [
            (denied(), Some(3), true),
            (denied(), Some(2), false),
            (denied(), None, false),
            (io::Error::from_raw_os_error(libc::EMFILE), Some(3), false),
        ] {
            let error = PerfError::refused(0, error, level);
            let said = error.to_string();
            assert_eq!(
                said.contains("perf_event_paranoid is 3"),
                paranoid,
                "{said}"
            );
            let reports = Reports(Err(error));
            assert_eq!(reports.refusal().map(ToString::to_string), Some(said));
            match reports.rings() {
                Ok((rings, why)) => assert!(paranoid && why.is_some() && rings.fds().count() == 0),
                Err(_) => assert!(!paranoid),
            }
        }
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpu_list("0-1\n"), Some(vec![0, 1]));
        assert_eq!(cpu_list("0,2-3,7"), Some(vec![0, 2, 3, 7]));
        assert_eq!(cpu_list(""), None);
    }

    #[test]
    fn a_cut_record_is_not_read_beyond_its_end() {
        let mut record = vec![0; 80];
        record[0] = 10;
        record[72..79].copy_from_slice(b"/a/b.so");
        assert!(parse(&record).is_some());
        for end in 0..72 {
            assert_eq!(parse(&record[..end]), None, "{end}");
        }
    }

    fn drained(rings: &mut Rings) -> Vec<Record> {
        let mut records = Vec::new();
        rings.drain(|record| records.push(record));
        records
    }

    #[test]
    fn programs_that_start_are_reported_with_their_mappings() {
        let mut rings = rings();
        let status = Command::new("/bin/true").status().expect("started");
        assert!(status.success());
        let began = Instant::now();
        let mut libc_seen = false;
        while !libc_seen && began.elapsed() < Duration::from_secs(5) {
            libc_seen = drained(&mut rings).iter().any(|record| {
                matches!(record, Record::Mapped { mapping, .. }
                    if mapping.path.ends_with("libc.so.6") && mapping.key.inode != 0)
            });
        }
        assert!(libc_seen);
    }

    /// Keeps this thread on the processor that it runs on.
    fn stay_here() {
        // SAFETY: `set` is a set of processors on this stack, zero is one without any, and the calls only read and write it.
        let kept = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let here = usize::try_from(libc::sched_getcpu()).expect("a processor");
            libc::CPU_SET(here, &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &set)
        };
        assert_eq!(kept, 0, "{}", std::io::Error::last_os_error());
    }

    #[test]
    fn a_full_ring_says_how_much_is_lost_and_goes_on() {
        let mut rings = rings();
        let own = std::process::id();
        let file = std::fs::File::open("/bin/true").expect("opened");
        // The kernel tells of a loss on the processor where it happened.
        stay_here();
        let map = || {
            // SAFETY: a new read-only mapping at an address of the kernel's choice.
            let at = unsafe {
                let access = libc::PROT_READ | libc::PROT_EXEC;
                libc::mmap(
                    std::ptr::null_mut(),
                    PAGE,
                    access,
                    libc::MAP_PRIVATE,
                    file.as_raw_fd(),
                    0,
                )
            };
            assert_ne!(at, libc::MAP_FAILED);
            // SAFETY: it is the mapping just made.
            assert_eq!(unsafe { libc::munmap(at, PAGE) }, 0);
        };
        (0..8000).for_each(|_| map());
        assert!(!drained(&mut rings).is_empty());
        map();
        let records = drained(&mut rings);
        let lost = records
            .iter()
            .any(|r| matches!(r, Record::Lost(n) if *n > 1000));
        let after = records.iter().any(|r| {
            matches!(r, Record::Mapped { mapping, .. }
                if mapping.pid == own && mapping.path == Path::new("/usr/bin/true"))
        });
        assert!(lost && after, "{} records", records.len());
    }
}
